// What keeps a panel's connection going: it runs until it is cut, comes back by itself after what is not for good, and
// rests while nobody can see the page, for a browser has few connections for all its tabs.

import { backOff } from "./panel.js";
import { sentence } from "./toasts.js";

const REST_AFTER_MS = 5_000;

export class Lifeline {
  #panel;
  #run;
  #rests;
  #going = new AbortController();
  #timer = 0;
  #begun = false;

  /**
   * `run(signal)` connects and stays until the signal ends it, or throws a Refusal. `rests` says whether it holds a
   * connection, which others may need while the page is hidden.
   */
  constructor(panel, run, { rests = false } = {}) {
    this.#panel = panel;
    this.#run = run;
    this.#rests = rests;
    this.#going.abort();
    document.addEventListener("visibilitychange", () => this.#look());
    addEventListener("online", () => this.#panel.state === "waiting" && this.start());
  }

  /** Connects, anew if it was. A panel that was cut stays cut. */
  restart() {
    this.#begun = true;
    if (this.#panel.state !== "cut") this.start();
  }

  /** Connects, after a cut too. */
  async start() {
    this.#end();
    const { signal } = (this.#going = new AbortController());
    if (this.#panel.state !== "live") this.#panel.become(this.#panel.away ? "catching" : "connecting");
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      try {
        await this.#run(signal);
        return;
      } catch (error) {
        if (signal.aborted) return;
        if (error.code !== "unreachable") {
          this.#panel.become("stopped", sentence(error));
          return;
        }
        if (this.#panel.state === "live") attempt = 0;
        this.#panel.become("waiting", error.message);
        await backOff(attempt, signal);
      }
    }
  }

  cut() {
    this.#end();
    this.#panel.become("cut");
  }

  #end() {
    this.#going.abort();
  }

  #look() {
    clearTimeout(this.#timer);
    if (!this.#rests || !this.#begun) return;
    if (!document.hidden) {
      if (this.#panel.state === "resting") this.start();
      return;
    }
    this.#timer = setTimeout(() => {
      if (this.#going.signal.aborted) return;
      this.#end();
      this.#panel.become("resting");
    }, REST_AFTER_MS);
  }
}
