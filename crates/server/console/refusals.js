// Who was not let in, and why.

import { get } from "./api.js";
import { el, every, note } from "./dom.js";
import { exactTime, number, time } from "./format.js";
import { table } from "./pages.js";

const EVERY_MS = 3000;

export const title = () => "Refusals";

export function open(root, { pulse }) {
  const counts = table({ testid: "refusal-counts", caption: "Refusals by code", columns: [{ name: "Code", wide: true }, { name: "Count", numeric: true }] });
  const latest = table({ testid: "refusals", caption: "The latest refusals", columns: [{ name: "Time" }, { name: "Code" }, { name: "Message", wide: true }] });
  const problem = note("refusals-note");
  root.append(
    el("h1", {}, "Refusals"),
    el("p.lead", {}, "Clients that were not let in, with what they were told. Counted since the server began; the latest hundred are kept."),
    problem.line,
    el(
      "div.columns.narrow-first",
      {},
      el("section.panel", {}, el("div.panel-head", {}, el("h2", {}, "By code")), counts.element),
      el("section.panel", {}, el("div.panel-head", {}, el("h2", {}, "Latest")), latest.element),
    ),
  );
  const unfollow = pulse.follow(({ refused }) => {
    const sorted = [...refused].sort(([, one], [, other]) => other - one);
    counts.fill(sorted.map(([code, count]) => [el("code", {}, code), number(count)]), "Nobody was refused.");
  });
  const stop = every(EVERY_MS, async () => {
    try {
      const page = await get("refusals");
      const row = ({ time: when, code, message }) => [el("time", { datetime: exactTime(when), title: exactTime(when) }, time(when)), el("code", {}, code), message];
      latest.fill(page.latest.map(row), "Nobody was refused.");
      problem.say("", "");
    } catch (refused) {
      problem.say("bad", refused.message);
    }
  });
  return () => {
    stop();
    unfollow();
  };
}
