// A user: where it is connected, and sending it away.

import { get, part, post } from "./api.js";
import { ask, begin, el, every, note } from "./dom.js";
import { bytes, exactTime, number, span, time } from "./format.js";
import { pager, table } from "./pages.js";

const PAGE = 25;
const EVERY_MS = 3000;

const KINDS = {
  "socketio-websocket": "Socket.IO",
  "socketio-polling": "Socket.IO, polling",
  websocket: "WebSocket",
  sse: "event stream",
  poll: "poll",
};

export const title = (user) => user || "Users";

export function open(root, { subject: user }) {
  const name = el("input", { id: "user", type: "search", autocomplete: "off", spellcheck: "false", autocapitalize: "none", value: user ?? "", "data-testid": "user" });
  root.append(
    el("h1", {}, "Users"),
    el("p.lead", {}, "Where a user is connected, by the ", el("code", {}, "sub"), " of its tokens."),
    el(
      "form.row",
      {
        onsubmit: (event) => {
          event.preventDefault();
          if (name.value) location.hash = `#/users/${part(name.value)}`;
        },
      },
      el("label.field.grow", {}, el("span", {}, "User"), name),
      el("button.button", { "data-testid": "look-up" }, "Look up"),
    ),
  );
  if (!user) {
    begin(name);
    return undefined;
  }
  return openUser(root, user);
}

function openUser(root, user) {
  let skip = 0;
  let count = 0;
  const list = table({
    testid: "connections",
    caption: `Connections of ${user}`,
    columns: [{ name: "Kind", wide: true }, { name: "Since" }, { name: "Channels", numeric: true }, { name: "Waiting", numeric: true }, { name: "Act" }],
  });
  const pages = pager({ testid: "connections-page", names: ["Previous", "Next"], label: "Pages of connections", back: () => turn(-PAGE), on: () => turn(PAGE) });
  const result = note("user-note");
  const button = (testid, text, act) => el("button.button.small.danger", { type: "button", "data-testid": testid, onclick: act, disabled: true }, text);
  const all = button("disconnect-all", "Disconnect all", () => sendAway(false));
  const revoke = button("revoke", "Disconnect and revoke tokens", () => sendAway(true));
  // Also of who is not here, so that nobody comes back with an old token.
  revoke.disabled = false;
  const heading = el("h2.name", { dir: "auto" }, user);
  root.append(
    el("section.panel", {}, el("div.panel-head", {}, heading, el("span.grow"), all, revoke), list.element, pages.element),
    result.line,
  );

  async function load() {
    try {
      const page = await get(`users/${part(user)}/connections`, { skip, limit: PAGE });
      count = page.count;
      const now = Date.now();
      list.fill(
        page.connections.map(({ id, kind, since, channels, waiting_bytes }) => [
          KINDS[kind] ?? kind,
          el("time", { datetime: exactTime(since), title: exactTime(since) }, `${time(since)}, ${span(Math.max(0, now - since))}`),
          number(channels),
          bytes(waiting_bytes),
          el("button.button.small.quiet", { type: "button", "data-testid": "disconnect", "data-key": id, onclick: () => sendOneAway(id) }, "Disconnect", el("span.sr-only", {}, ` ${KINDS[kind] ?? kind}, connection ${id}`)),
        ]),
        skip > 0 ? "No more." : "This user has no connection.",
      );
      all.disabled = count === 0;
      pages.set({ back: skip > 0, on: skip + PAGE < count, text: `${number(count)} in all` });
    } catch (refused) {
      result.say("bad", refused.message);
    }
  }

  function turn(by) {
    if (skip + by < 0 || skip + by >= count + PAGE) return;
    skip += by;
    load();
  }

  const act = async (work, done) => {
    try {
      result.say("good", done(await work()));
    } catch (refused) {
      result.say("bad", refused.message);
    }
    load();
  };

  const sendOneAway = (id) =>
    act(
      () => post(`connections/${part(id)}/disconnect`),
      () => `Connection ${id} was sent away.`,
    );

  async function sendAway(revokes) {
    const text = revokes
      ? "All connections end, and the tokens that were issued until now hold no more: the user needs a fresh one."
      : "All connections end. Who has a token that holds can come back.";
    if (!(await ask(`Disconnect ${user}?`, text, revokes ? "Disconnect and revoke" : "Disconnect"))) return;
    await act(
      () => post(`users/${part(user)}/disconnect`, { revoke: revokes }),
      ({ connections }) => `${number(connections)} ${connections === 1 ? "connection was" : "connections were"} sent away${revokes ? ", and the tokens are revoked" : ""}.`,
    );
  }

  return every(EVERY_MS, load);
}
