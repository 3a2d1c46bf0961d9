// Looks at the server once a second, whatever page is open, and tells who listens.

import { get } from "./api.js";
import { Series } from "./series.js";

const EVERY_MS = 1000;

// After so long without a look, as in a tab that was not in sight, what the server kept says more.
const STALE_MS = 15_000;

export class Pulse extends EventTarget {
  series = new Series();
  glance;
  state = "connecting";
  #timer;
  // Changes with each start and stop, so that what was begun before ends.
  #run;

  start() {
    this.stop();
    this.#run = {};
    this.#beat(this.#run);
  }

  stop() {
    this.#run = undefined;
    clearTimeout(this.#timer);
  }

  // Calls `listener` now, if there is something, and whenever there is news; the answer ends that.
  follow(listener) {
    const hear = () => this.glance && listener(this.glance, this.series.samples);
    this.addEventListener("beat", hear);
    hear();
    return () => this.removeEventListener("beat", hear);
  }

  async #beat(run) {
    let state = "unreachable";
    try {
      const glance = await get("overview");
      const last = this.series.samples.at(-1);
      if (!last || Date.now() - last.at > STALE_MS) this.series = await recall(glance);
      this.series.add(glance);
      this.glance = glance;
      state = glance.state;
    } catch (refused) {
      // Whoever is signed out is told so elsewhere.
      if (refused.status === 401) return;
    }
    if (run !== this.#run) return;
    this.state = state;
    this.dispatchEvent(new Event("beat"));
    this.#timer = setTimeout(() => this.#beat(run), EVERY_MS);
  }
}

// What was before a glance, by the time of this machine.
async function recall(glance) {
  const series = new Series();
  const ahead = Date.now() - glance.time;
  for (const before of await get("recent")) if (before.time < glance.time) series.add(before, before.time + ahead);
  return series;
}
