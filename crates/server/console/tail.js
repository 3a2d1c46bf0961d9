// What is published in a channel, as it is. The browser itself comes back with the last id when the line breaks.

import { address, get, part } from "./api.js";
import { el } from "./dom.js";
import { item, parse } from "./event.js";

// Events in the list, and held while it is paused; the oldest go.
const SHOWN_MAX = 200;

// When the server did not take it back: it is asked again after this.
const RETRY_MS = 3000;

export function open(root, channel, cursor) {
  let source;
  let since = cursor;
  let paused = false;
  let waiting = [];
  let dropped = 0;
  let frame;
  let retry;
  let closed = false;

  const list = el("ol.events", { "data-testid": "tail" });
  const state = el("span.tail-state", { "data-testid": "tail-state", role: "status" }, "connecting");
  const pause = el("button.button.small.quiet", { type: "button", "aria-pressed": "false", "data-testid": "tail-pause", onclick: toggle }, "Pause");
  const clear = el("button.button.small.quiet", { type: "button", "data-testid": "tail-clear", onclick: () => list.replaceChildren() }, "Clear");
  root.append(
    el(
      "section.panel.tail",
      { "aria-label": "Live events" },
      el("div.panel-head", {}, el("h2", {}, "Live tail"), state, el("span.grow"), clear, pause),
      list,
      el("p.empty", {}, "What is published from now on shows here, the newest on top."),
    ),
  );

  function connect() {
    source = new EventSource(address(`channels/${part(channel)}/tail`, { since }));
    source.addEventListener("open", () => say("live"));
    source.addEventListener("message", ({ data, lastEventId }) => {
      if (lastEventId) since = lastEventId;
      add({ id: lastEventId, ...parse(data) });
    });
    for (const change of ["join", "leave"])
      source.addEventListener(change, ({ data }) => add({ line: `${JSON.parse(data).user} ${change === "join" ? "came" : "left"}` }));
    source.addEventListener("gap", () => add({ line: "Some events are no longer kept." }));
    source.addEventListener("error", lost);
  }

  function lost() {
    say("coming back");
    if (source.readyState !== EventSource.CLOSED) return;
    // It was refused. The session may be over, which the question finds out; or the server is about to end.
    source.close();
    clearTimeout(retry);
    retry = setTimeout(async () => {
      await get("session").then(({ signed_in }) => signed_in || dispatchEvent(new Event("signed-out")), () => {});
      if (!closed) connect();
    }, RETRY_MS);
  }

  function say(word) {
    state.dataset.state = word;
    state.textContent = word;
  }

  function add(event) {
    waiting.push(event);
    if (waiting.length > SHOWN_MAX) {
      waiting.shift();
      dropped++;
    }
    if (paused) pause.textContent = `Resume (${waiting.length}${dropped > 0 ? "+" : ""} held)`;
    else frame ??= requestAnimationFrame(draw);
  }

  // However many came, the page is drawn once.
  function draw() {
    frame = undefined;
    const items = waiting.map((event) => (event.line ? line(event.line) : item(event)));
    if (dropped > 0) items.unshift(line(`${dropped} more came too fast to show`));
    [waiting, dropped] = [[], 0];
    list.prepend(...items.reverse());
    while (list.children.length > SHOWN_MAX) list.lastElementChild.remove();
  }

  function toggle() {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Resume" : "Pause";
    if (!paused) draw();
  }

  connect();
  return () => {
    closed = true;
    source.close();
    clearTimeout(retry);
    cancelAnimationFrame(frame);
  };
}

const line = (text) => el("li.line", {}, text);
