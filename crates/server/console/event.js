// An event in a list: when, its name, who published it, its place, and what it says.

import { el } from "./dom.js";
import { exactTime, start, time } from "./format.js";

// So much of what an event says is shown in a line, and when it is opened.
const LINE = 300;
const WHOLE = 20_000;

export function item({ id, event, time: when, user, data }) {
  const text = JSON.stringify(data) ?? "null";
  const head = [
    el("time", { datetime: exactTime(when), title: exactTime(when) }, time(when)),
    el("b.event-name", {}, event),
    user !== undefined && el("a.event-user", { href: `#/users/${encodeURIComponent(user)}` }, user),
    id && el("code.event-id", { title: `id ${id}` }, `#${id.split("-")[1]}`),
  ];
  const whole = el("details.event-data", {}, el("summary", {}, el("code", {}, start(text, LINE))));
  // Only when it is asked for: there can be many, and long ones.
  whole.addEventListener("toggle", () => {
    if (whole.open && whole.children.length === 1) whole.append(el("pre", {}, start(JSON.stringify(data, null, 2) ?? "null", WHOLE)));
  });
  return el("li.event", { "data-testid": "event", "data-id": id }, el("p.event-head", {}, head), whole);
}

// What events say, to the last digit where the browser can keep them: a number that JavaScript would change stays as it was written.
export const parse = (json) => JSON.parse(json, (_, value, { source } = {}) => (typeof value === "number" && String(value) !== source && JSON.rawJSON ? JSON.rawJSON(source) : value));
