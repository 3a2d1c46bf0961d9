// The configuration in effect. Of secrets the server says no more than whether they are set.

import { get } from "./api.js";
import { el, note } from "./dom.js";
import { table } from "./pages.js";

export const title = () => "Config";

export function open(root) {
  const problem = note("config-note");
  const panels = el("div.config", { "data-testid": "config" });
  root.append(
    el("h1", {}, "Config"),
    el("p.lead", {}, "What this server runs with, and where each key was set. Secrets stay where they are."),
    problem.line,
    panels,
  );
  load();
  return undefined;

  async function load() {
    try {
      const { settings } = await get("config");
      for (const [name, group] of Map.groupBy(settings, groupOf)) {
        const rows = table({ caption: name, columns: [{ name: "Key" }, { name: "Value", wide: true }, { name: "Set in" }] });
        rows.fill(
          group.map(({ key, value, source }) => [
            el("code", {}, nameOf(key)),
            el("span.value", { "data-default": source === null, "data-testid": `config-${key}` }, key.startsWith("limits.") && value === "0" ? "0, no limit" : (value ?? "none")),
            el("span.source", { "data-default": source === null }, source ?? "default"),
          ]),
          "",
        );
        panels.append(el("section.panel", {}, el("div.panel-head", {}, el("h2", {}, name)), rows.element));
      }
    } catch (refused) {
      problem.say("bad", refused.message);
    }
  }
}

// `limits.session` stands in the table `[limits]`, `channels.2` is the second `[[channels]]`.
const LISTS = ["channels", "on"];
const groupOf = ({ key }) => {
  const [first, ...rest] = key.split(".");
  if (rest.length === 0) return "Server";
  return LISTS.includes(first) ? `[[${first}]]` : `[${first}]`;
};
const nameOf = (key) => {
  const [first, ...rest] = key.split(".");
  if (rest.length === 0) return first;
  return LISTS.includes(first) ? `${rest[0]}.` : rest.join(".");
};
