// What was said earlier, page by page: the newest when a room opens, older ones as one scrolls up to them.

import { messageOf } from "./message.js";

const PAGE = 50;
/** How far above what is in sight the next page is fetched. */
const AHEAD = "400px 0px 0px 0px";

export class Saved {
  #button = document.querySelector("#older");
  #connection;
  #transcript;
  #observer;
  #channel = "";
  #busy = false;

  constructor(connection, transcript) {
    this.#connection = connection;
    this.#transcript = transcript;
    this.#button.addEventListener("click", () => this.#older());
    const options = { root: document.querySelector("#log"), rootMargin: AHEAD };
    this.#observer = new IntersectionObserver((entries) => {
      if (entries.at(-1).isIntersecting) this.#older();
    }, options);
    this.#observer.observe(this.#button);
  }

  /** The room on the page. Loads its newest page, if none is here yet. Throws nothing: who can't have it, chats without. */
  async open(channel) {
    this.#channel = channel;
    if (this.#transcript.more(channel) === undefined) await this.#load({});
    else this.#look();
  }

  #older() {
    const before = this.#transcript.oldest(this.#channel);
    return this.#load(before ? { before } : {});
  }

  async #load(from) {
    if (this.#busy) return;
    const channel = this.#channel;
    this.#become(true);
    const isDone = await this.#fetch(channel, from);
    this.#become(false);
    if (channel !== this.#channel) await this.open(this.#channel);
    else if (isDone) this.#look();
  }

  async #fetch(channel, from) {
    try {
      const { events, more } = await this.#connection.ask("history", channel, { limit: PAGE, ...from });
      const messages = events.map((event) => messageOf(event, this.#connection.user)).filter(Boolean);
      this.#transcript.older(channel, messages, events[0]?.id ?? "", more && events.length > 0);
      return true;
    } catch ({ code }) {
      // Asked for again with the next connection; a refusal is for good.
      if (code === "offline" || code === "unanswered" || code === "rate_limited") return false;
      this.#transcript.older(channel, [], "", false);
      return true;
    }
  }

  /** Looks anew whether the button is in sight: a page may have been too short to move it out. */
  #look() {
    this.#observer.unobserve(this.#button);
    this.#observer.observe(this.#button);
  }

  // Not disabled, which would take the focus away.
  #become(busy) {
    this.#busy = busy;
    this.#button.setAttribute("aria-disabled", String(busy));
    this.#button.textContent = busy ? "Loading…" : "Earlier messages";
  }
}
