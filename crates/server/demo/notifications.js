// The notifications panel: an EventSource on the user's own channel, which the browser itself brings back after a break.

import { Feed } from "./feed.js";
import { hasReached } from "./ids.js";
import { Lifeline } from "./lifeline.js";
import { Panel } from "./panel.js";
import { poll } from "./poll.js";
import { Refusal } from "./refusal.js";
import { fetchWith } from "./tokens.js";
import { sentence, toast } from "./toasts.js";
import { Unread } from "./unread.js";

const BEGIN_WITH = 20;
const TEXTS = [
  "The kettle boils.",
  "The tide turns in ten minutes.",
  "A parcel is at the door.",
  "Your table is ready.",
  "The ferry is on time.",
  "Somebody answered you.",
];

export class Notifications {
  #tokens;
  #cursor = "";
  #sent = 0;
  #panel = new Panel("notify", { onCut: () => this.#line.cut(), onBack: () => this.#line.start() });
  #line = new Lifeline(this.#panel, (signal) => this.#follow(signal), { rests: true });
  #unread;
  #feed = new Feed(this.#panel, ({ event, data }) => ({
    text: typeof data?.text === "string" ? data.text : `${event} ${JSON.stringify(data)}`,
  }));

  constructor(tokens) {
    this.#tokens = tokens;
    this.#unread = new Unread(this.#panel, tokens);
    tokens.addEventListener("user", () => this.#open());
    document.querySelector("#notify-me").addEventListener("click", () => this.#notify());
  }

  get #channel() {
    return `user:${this.#tokens.user}`;
  }

  /** Another user: another channel. */
  #open() {
    this.#cursor = "";
    this.#feed.clear();
    this.#unread.clear();
    this.#panel.anew();
    this.#line.restart();
  }

  /** As a back end would: clients may not publish to a user's own channel. It works while the stream is cut, too. */
  async #notify() {
    const text = TEXTS[this.#sent % TEXTS.length];
    this.#sent += 1;
    try {
      const headers = { "Content-Type": "application/json" };
      const response = await fetchWith(this.#tokens, "notify", { method: "POST", headers, body: JSON.stringify({ text }) });
      if (!response.ok) throw await Refusal.of(response);
      // An answer that nobody reads keeps its connection, of which there are few.
      await response.text();
    } catch (refusal) {
      toast(sentence(refusal));
    }
  }

  async #follow(signal) {
    // Asks for the newest: an EventSource doesn't say why it was refused, and a stream without a cursor begins now.
    const page = await this.#newest(signal, this.#cursor ? 1 : BEGIN_WITH);
    if (!this.#cursor) {
      this.#feed.begin(page.events);
      this.#to(page.next);
      this.#unread.saw(page.events.at(-1)?.id ?? "");
    } else {
      // It may have been read elsewhere while this one was away.
      this.#unread.ask();
    }
    let isRenewed;
    do isRenewed = await this.#stream(signal);
    while (isRenewed);
    throw new Refusal("unreachable", "The stream ended.");
  }

  #newest(signal, limit) {
    return poll(this.#tokens, { channel: this.#channel, wait: 0, limit }, { signal }).then((page) => {
      signal.throwIfAborted();
      return page;
    });
  }

  /** Until the browser gives up, or, which is the answer, the token was renewed because its end is near. */
  #stream(signal) {
    return new Promise((end) => {
      const parameters = { channel: this.#channel, access_token: this.#tokens.token, lastEventId: this.#cursor };
      const source = new EventSource(`/sse?${new URLSearchParams(parameters)}`);
      let target;
      const close = (isRenewed) => {
        source.close();
        end(isRenewed);
      };
      const caughtUp = () => {
        if (target !== undefined && (target === "" || hasReached(this.#cursor, target))) this.#panel.become("live");
      };
      signal.addEventListener("abort", () => close(false), { once: true });

      source.addEventListener("open", async () => {
        if (!this.#panel.away) return this.#panel.become("live");
        // What is there by now was missed; what comes after it is news.
        this.#panel.become("catching");
        target = undefined;
        const newest = await this.#newest(signal, 1).catch(() => ({ events: [] }));
        target = newest.events.at(-1)?.id ?? "";
        if (!signal.aborted) caughtUp();
      });
      source.addEventListener("message", ({ data, lastEventId }) => {
        this.#feed.add({ ...JSON.parse(data), id: lastEventId });
        this.#to(lastEventId);
        this.#unread.saw(lastEventId);
        if (this.#panel.state === "catching") caughtUp();
      });
      source.addEventListener("gap", ({ lastEventId }) => {
        this.#feed.gap();
        this.#to(lastEventId);
      });
      source.addEventListener("tidings:read", ({ data }) => {
        const told = JSON.parse(data);
        if (told.channel === this.#channel) this.#unread.told(told);
      });
      source.addEventListener("expiring", () => this.#tokens.renew().then(() => close(true), () => {}));
      source.addEventListener("error", () => {
        if (source.readyState === EventSource.CLOSED) close(false);
        else this.#panel.become("waiting");
      });
    });
  }

  #to(id) {
    this.#cursor = id;
    this.#panel.saw(id);
  }
}
