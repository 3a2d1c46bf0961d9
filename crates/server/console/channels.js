// The channels that have subscribers, a page at a time.

import { get, part } from "./api.js";
import { begin, el, every, note } from "./dom.js";
import { number } from "./format.js";
import { pager, table } from "./pages.js";

const PAGE = 50;
const EVERY_MS = 5000;
const TYPING_MS = 250;

export const title = () => "Channels";

export const link = (channel) => el("a.name", { href: `#/channels/${part(channel)}`, "data-key": channel }, channel);

export function open(root) {
  // The last name of each page before this one.
  let before = [];
  let last;
  let typing;
  let asked = 0;

  const prefix = el("input", { id: "prefix", type: "search", autocomplete: "off", spellcheck: "false", autocapitalize: "none", maxlength: 255, "data-testid": "prefix", oninput: typed });
  const straight = el("p.straight", { hidden: true });
  const list = table({ testid: "channels", caption: "Channels", columns: [{ name: "Channel", wide: true }, { name: "Subscribers", numeric: true }] });
  const pages = pager({ testid: "channels-page", names: ["Previous", "Next"], label: "Pages of channels", back: () => turn(-1), on: () => turn(1) });
  const problem = note("channels-note");
  root.append(
    el("h1", {}, "Channels"),
    el("p.lead", {}, "Those that somebody is subscribed to, in the order of their names."),
    el("form.row", { onsubmit: go }, el("label.field.grow", {}, el("span", {}, "Name begins with"), prefix)),
    straight,
    el("section.panel", {}, list.element, pages.element),
    problem.line,
  );
  begin(prefix);

  async function load() {
    const turn = ++asked;
    try {
      const page = await get("channels", { prefix: prefix.value, after: before.at(-1), limit: PAGE });
      // Another page was asked for meanwhile.
      if (turn !== asked) return;
      last = page.channels.at(-1)?.channel;
      list.fill(
        page.channels.map(({ channel, subscribers }) => [link(channel), number(subscribers)]),
        before.length > 0 ? "No more." : prefix.value ? "No such channel has subscribers." : "Nobody is subscribed to anything.",
      );
      pages.set({ back: before.length > 0, on: page.more, text: `page ${before.length + 1}` });
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

  function typed() {
    before = [];
    const name = prefix.value;
    // A channel without subscribers is not in the list, and can be looked at all the same.
    straight.hidden = name === "";
    straight.replaceChildren("Open ", link(name), " itself, whether it has subscribers or not");
    clearTimeout(typing);
    typing = setTimeout(load, TYPING_MS);
  }

  function go(event) {
    event.preventDefault();
    if (prefix.value) location.hash = `#/channels/${part(prefix.value)}`;
  }

  const stop = every(EVERY_MS, load);
  return () => {
    stop();
    clearTimeout(typing);
    asked++;
  };
}
