// What keeps a panel's connection going: it runs until it is cut, comes back by itself after what is not for good, and
// rests while nobody can see the page.

import { backOff, pause } from "./panel.js";
import { sentence } from "./toasts.js";

const REST_AFTER_MS = 5_000;

/** With HTTP/1.1 a browser has six connections to a server, for all its tabs together. So many may be held for long. */
const SEATS = 4;
const SEAT_EVERY_MS = 2_000;

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
    if (this.#rests) await this.#sit(signal);
    if (signal.aborted) return;
    if (this.#panel.state !== "live") this.#panel.become(this.#panel.away ? "catching" : "connecting");
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      try {
        await this.#run(signal);
        return;
      } catch (error) {
        if (signal.aborted) return;
        if (error.code !== "unreachable") {
          this.#end();
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

  /** Waits for a connection that no other tab needs. */
  async #sit(signal) {
    while (!(await takeSeat(signal))) {
      if (signal.aborted) return;
      this.#panel.become("resting", "Other windows with this page have the browser's connections.");
      await pause(SEAT_EVERY_MS, signal);
    }
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

/** Takes a seat until the signal; whether one was free. */
async function takeSeat(signal) {
  if (!navigator.locks) return true;
  for (let seat = 0; seat < SEATS; seat += 1) {
    if (await takeLock(`tidings-demo-${seat}`, signal)) return true;
  }
  return false;
}

function takeLock(name, signal) {
  return new Promise((taken) => {
    navigator.locks.request(name, { ifAvailable: true }, (lock) => {
      taken(lock !== null);
      return lock && new Promise((release) => {
        if (signal.aborted) release();
        signal.addEventListener("abort", release, { once: true });
      });
    });
  });
}
