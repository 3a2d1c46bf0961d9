// Publishing by hand.

import { post } from "./api.js";
import { el, note } from "./dom.js";

export function open(root, channel) {
  const event = el("input", { id: "publish-event", required: true, maxlength: 128, autocomplete: "off", spellcheck: "false", autocapitalize: "none", value: "message", "data-testid": "publish-event" });
  const data = el("textarea", { id: "publish-data", rows: 4, spellcheck: "false", "data-testid": "publish-data", "aria-describedby": "publish-answer" });
  data.value = "{}";
  const button = el("button.button", { "data-testid": "publish" }, "Publish");
  const answer = note("publish-answer");
  answer.line.id = "publish-answer";
  root.append(
    el(
      "form.panel.publish",
      { onsubmit: submit, "aria-label": "Publish", novalidate: true },
      el("div.panel-head", {}, el("h2", {}, "Publish")),
      el("label.field", {}, el("span", {}, "Event"), event),
      el("label.field", {}, el("span", {}, "Data, as JSON"), data),
      el("div.row", {}, button, answer.line),
    ),
  );

  async function submit(submitted) {
    submitted.preventDefault();
    const text = data.value.trim() || "null";
    try {
      JSON.parse(text);
      data.removeAttribute("aria-invalid");
    } catch (error) {
      data.setAttribute("aria-invalid", "true");
      data.focus();
      return answer.say("bad", `This is no JSON: ${error.message}`);
    }
    button.disabled = true;
    try {
      // As it was typed: a long number loses no digit.
      const body = `{"channel":${JSON.stringify(channel)},"event":${JSON.stringify(event.value)},"data":${text}}`;
      const { id, durability } = await post("publish", body);
      answer.say("good", id ? `Published as ${id}, kept in ${KEPT[durability] ?? durability}` : "Published, without an id: this channel passes on only the latest");
    } catch (refused) {
      answer.say("bad", `Not published: ${refused.message}`);
    } finally {
      button.disabled = false;
    }
  }

  return () => {};
}

const KEPT = { memory: "memory", process: "the store", power: "the store, on the disk" };
