// A panel's list of events, the newest at its end; what was missed and made up for is marked.

import { seqOf } from "./ids.js";
import { GAP_LINE, missedLine } from "./panel.js";

const KEPT = 100;
const NEAR_END_PX = 24;

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit", second: "2-digit" });

export class Feed {
  #panel;
  #frame;
  #list;
  #describe;
  #ids = new Set();
  #pinned = true;
  /** The absence whose line is on the page. */
  #told;

  /** `describe(event)` answers `{who, text}`. */
  constructor(panel, describe) {
    this.#panel = panel;
    this.#describe = describe;
    this.#frame = panel.part("feed");
    this.#list = this.#frame.querySelector("ol");
    this.#frame.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.#frame;
      this.#pinned = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
    });
    new ResizeObserver(() => this.#toEnd()).observe(this.#frame);
  }

  /** Adds an event that came over the panel's connection; nothing happens to one that is here. */
  add(event) {
    if (this.#ids.has(event.id)) return;
    const missed = this.#panel.state === "catching" && this.#panel.away?.how !== "resting";
    if (missed && this.#told !== this.#panel.away) {
      this.#told = this.#panel.away;
      this.#line(missedLine(this.#told));
    }
    this.#append(event, missed);
    this.#panel.count();
  }

  /** Shows what was there before the connection. */
  begin(events) {
    for (const event of events) if (!this.#ids.has(event.id)) this.#append(event, false);
  }

  /** Something is missing here for good. */
  gap() {
    this.#line(GAP_LINE);
  }

  clear() {
    this.#ids.clear();
    this.#list.replaceChildren();
    this.#pinned = true;
  }

  #append(event, missed) {
    const { id, time } = event;
    const { who, text } = this.#describe(event);
    const item = make("li", "item");
    item.dataset.testid = "item";
    item.dataset.id = id;
    item.toggleAttribute("data-missed", missed);
    const when = make("time", "", CLOCK.format(time));
    when.dateTime = new Date(time).toISOString();
    const words = make("p", "item-text");
    if (who) words.append(make("b", "", who), " ");
    words.append(text);
    words.dir = "auto";
    const seq = make("code", "seq", String(seqOf(id)));
    seq.title = `id ${id}`;
    item.append(when, words, make("span", "missed", missed ? "missed" : ""), seq);
    this.#ids.add(id);
    this.#put(item);
  }

  #line(text) {
    const item = make("li", "note line");
    item.dataset.testid = "line";
    item.append(make("span", "note-text", text));
    this.#put(item);
  }

  #put(item) {
    this.#list.append(item);
    while (this.#list.childElementCount > KEPT) {
      this.#ids.delete(this.#list.firstElementChild.dataset.id);
      this.#list.firstElementChild.remove();
    }
    this.#toEnd();
  }

  #toEnd() {
    if (this.#pinned) this.#frame.scrollTop = this.#frame.scrollHeight;
  }
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}
