// One channel: who is there, what was published and what is, and publishing to it.

import { get, part } from "./api.js";
import { el, every, note } from "./dom.js";
import { number } from "./format.js";
import * as history from "./history.js";
import * as presence from "./presence.js";
import * as publish from "./publish.js";
import * as tail from "./tail.js";

const EVERY_MS = 2000;

export const title = (channel) => channel;

export function open(root, { subject: channel }) {
  const subscribers = el("dd", { "data-testid": "subscribers" });
  const present = el("dd", { "data-testid": "present" });
  const rule = el("p.lead");
  const problem = note("channel-note");
  const columns = el("div.columns");
  root.append(
    el("p.path", {}, el("a", { href: "#/channels" }, "Channels")),
    el("h1.name", { dir: "auto" }, channel),
    rule,
    problem.line,
    el("dl.figures.few", {}, el("div", {}, el("dt", {}, "Subscribers, with this page"), subscribers), el("div", {}, el("dt", {}, "Users present"), present)),
    columns,
  );
  let parts;

  async function load() {
    try {
      const now = await get(`channels/${part(channel)}`);
      subscribers.textContent = number(now.subscribers);
      present.textContent = now.present === null ? "not kept" : number(now.present);
      rule.textContent = now.rule ?? "No rule is for it: nobody but back ends and this console can use it.";
      problem.say("", "");
      // The tail begins where the log was when this was first asked: nothing that is published from now on is missed.
      parts ??= [
        tail.open(columns, channel, now.cursor),
        publish.open(columns, channel),
        history.open(columns, channel),
        now.present === null ? undefined : presence.open(columns, channel),
      ];
    } catch (refused) {
      problem.say("bad", refused.message);
    }
  }

  const stop = every(EVERY_MS, load);
  let closed = false;
  return () => {
    if (closed) return;
    closed = true;
    stop();
    for (const close of parts ?? []) close?.();
    parts = [];
  };
}
