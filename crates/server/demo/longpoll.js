// The long-poll panel: the chat's room once more, without WebSocket and EventSource. One request after another, each
// answered when there is something after the cursor; nothing is lost between two of them.

import { Feed } from "./feed.js";
import { Lifeline } from "./lifeline.js";
import { messageOf } from "./message.js";
import { Panel } from "./panel.js";
import { poll } from "./poll.js";

const BEGIN_WITH = 20;
const PAGE = 100;
const WAIT_S = 25;

export class LongPoll {
  #tokens;
  #channel = "";
  #cursor = "";
  #panel = new Panel("longpoll", { onCut: () => this.#line.cut(), onBack: () => this.#line.start() });
  #line = new Lifeline(this.#panel, (signal) => this.#follow(signal), { rests: true });
  #feed = new Feed(this.#panel, (event) => {
    const { user, text } = messageOf(event) ?? { user: event.user, text: event.event };
    return { who: user, text };
  });

  constructor(tokens) {
    this.#tokens = tokens;
    tokens.addEventListener("user", () => this.#channel && this.#line.restart());
  }

  /** Follows another room. */
  open(channel) {
    this.#channel = channel;
    this.#cursor = "";
    this.#feed.clear();
    this.#panel.anew();
    if (this.#tokens.token) this.#line.restart();
  }

  async #follow(signal) {
    if (!this.#cursor) {
      const { events, next } = await this.#ask({ wait: 0, limit: BEGIN_WITH }, signal);
      this.#feed.begin(events);
      this.#to(next);
    } else {
      let page;
      do {
        page = await this.#ask({ since: this.#cursor, wait: 0, limit: PAGE }, signal);
        this.#take(page);
      } while (page.events.length > 0);
    }
    this.#panel.become("live");
    for (;;) this.#take(await this.#ask({ since: this.#cursor, wait: WAIT_S, limit: PAGE }, signal));
  }

  async #ask(parameters, signal) {
    const page = await poll(this.#tokens, { channel: this.#channel, ...parameters }, { signal });
    // The room may have changed while the answer was read.
    signal.throwIfAborted();
    return page;
  }

  #take({ events, next, gap }) {
    if (gap) this.#feed.gap();
    for (const event of events) this.#feed.add(event);
    this.#to(next);
  }

  #to(next) {
    this.#cursor = next;
    this.#panel.saw(next);
  }
}
