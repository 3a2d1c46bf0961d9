// Which users are in a channel, a page at a time.

import { get, part } from "./api.js";
import { el, every, note } from "./dom.js";
import { number, start } from "./format.js";
import { pager, table } from "./pages.js";

const PAGE = 20;
const EVERY_MS = 5000;

export function open(root, channel) {
  let before = [];
  let last;
  const list = table({ testid: "presence", caption: "Users in the channel", columns: [{ name: "User", wide: true }, { name: "Info", wide: true }] });
  const problem = note("presence-note");
  const pages = pager({ testid: "presence-page", names: ["Previous", "Next"], label: "Pages of users", back: () => turn(-1), on: () => turn(1) });
  root.append(el("section.panel.presence", { "aria-label": "Presence" }, el("div.panel-head", {}, el("h2", {}, "Present")), list.element, pages.element, problem.line));

  async function load() {
    try {
      const { users, count } = await get(`channels/${part(channel)}/presence`, { after: before.at(-1), limit: PAGE });
      last = users.at(-1)?.user;
      list.fill(
        users.map(({ user, info }) => [
          el("a.name", { href: `#/users/${part(user)}`, "data-key": user }, user),
          info === undefined ? "" : el("code", {}, start(JSON.stringify(info), 200)),
        ]),
        "Nobody is here.",
      );
      const from = before.length * PAGE;
      pages.set({ back: before.length > 0, on: from + users.length < count, text: `${number(count)} in all` });
      problem.say("", "");
    } catch (refused) {
      problem.say("bad", refused.message);
    }
  }

  function turn(by) {
    if (by < 0 && before.length > 0) before.pop();
    else if (by > 0 && last !== undefined) before.push(last);
    else return;
    load();
  }

  return every(EVERY_MS, load);
}
