// The status panel: short polling. What counts is the newest value; a tag (`ETag`) spares the answer when it is unchanged.

import { Lifeline } from "./lifeline.js";
import { missedLine, Panel, pause } from "./panel.js";
import { poll } from "./poll.js";

const CHANNEL = "demo:status";
const EVERY_MS = 2_000;
const BARS = 30;

export class Status {
  #tokens;
  #id = "";
  #etag = "";
  #answers = { 200: 0, 304: 0 };
  #bars = [];
  #panel = new Panel("status", { onCut: () => this.#line.cut(), onBack: () => this.#line.start() });
  #line = new Lifeline(this.#panel, (signal) => this.#follow(signal));

  constructor(tokens) {
    this.#tokens = tokens;
    tokens.addEventListener("user", () => this.#line.restart());
  }

  async #follow(signal) {
    // Short polls skip what they didn't see. After a break this one asks once for all of it, to show how much that was.
    if (this.#id && this.#panel.away) await this.#catchUp(signal);
    for (;;) {
      // A page that nobody sees needs no news.
      if (!document.hidden) await this.#look(signal);
      this.#panel.become("live");
      await pause(EVERY_MS, signal);
      signal.throwIfAborted();
    }
  }

  async #catchUp(signal) {
    const { events, gap } = await poll(this.#tokens, { channel: CHANNEL, since: this.#id, wait: 0, limit: 1000 }, { signal });
    signal.throwIfAborted();
    const note = this.#panel.part("note");
    const count = ["nothing", "1 update"][events.length] ?? `${events.length} updates`;
    note.textContent = gap ? "some updates are no longer kept" : `${count} ${missedLine(this.#panel.away)}`;
    for (const event of events) this.#take(event, true);
  }

  async #look(signal) {
    const { status, events, etag } = await poll(this.#tokens, { channel: CHANNEL, wait: 0 }, { signal, etag: this.#etag });
    signal.throwIfAborted();
    this.#answers[status] += 1;
    this.#panel.part(String(status)).textContent = this.#answers[status];
    if (status === 304) return;
    this.#etag = etag;
    for (const event of events) this.#take(event, false);
  }

  #take({ id, data }, missed) {
    if (id === this.#id) return;
    this.#id = id;
    this.#panel.saw(id);
    this.#panel.count();
    const number = (value) => (Number.isFinite(value) ? value : 0);
    this.#show("connections", number(data?.connections));
    this.#show("channels", number(data?.channels));
    this.#show("retained", number(data?.retained));
    this.#show("uptime", lasting(number(data?.uptime_s)));
    this.#bars = [...this.#bars, { value: number(data?.connections), missed }].slice(-BARS);
    this.#draw();
  }

  #show(name, value) {
    this.#panel.part(name).textContent = value;
  }

  // The connections of the last updates; the numbers above say the newest to whoever can't see it.
  #draw() {
    const most = Math.max(4, ...this.#bars.map(({ value }) => value));
    const bars = this.#bars.map(({ value, missed }) => {
      const bar = document.createElement("span");
      bar.style.height = `${Math.max(6, (100 * value) / most)}%`;
      bar.toggleAttribute("data-missed", missed);
      return bar;
    });
    this.#panel.part("bars").replaceChildren(...bars);
  }
}

function lasting(seconds) {
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
