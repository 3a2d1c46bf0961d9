// The frame that all panels have: what carries their events, whether it is live, the last id, a count, and a button that
// cuts the connection, so that one can watch it catch up.

const WORDS = {
  connecting: "connecting",
  live: "live",
  catching: "catching up",
  waiting: "reconnecting",
  resting: "resting",
  cut: "cut",
  stopped: "not connected",
};

export class Panel {
  /** `live`, `catching` (up with what was missed), `waiting`, `cut`, … */
  state = "connecting";
  /** While it isn't live, since when, and by whose hand: `{since, how}`. */
  away;
  #section;
  #announcement = document.querySelector("#announcement");
  #announces;
  #count = 0;

  /** `onCut()` ends the connection, `onBack()` lets it come back. `announces`: whether a cut and its end are read out. */
  constructor(id, { onCut, onBack, announces = true }) {
    this.#announces = announces;
    this.#section = document.querySelector(`#${id}`);
    this.part("cut").addEventListener("click", () => {
      if (this.state === "cut" || this.state === "stopped") onBack();
      else onCut();
    });
    this.become("connecting");
  }

  /** The element with this `data-part`. */
  part(name) {
    return this.#section.querySelector(`[data-part="${name}"]`);
  }

  become(state, detail = "") {
    const before = this.state;
    if (state === "live") this.#back();
    else if (before === "live") this.away = { since: Date.now(), how: state };
    // A cut is what one sees of it, whatever it was before.
    if (state === "cut" && this.away) this.away.how = "cut";
    this.state = state;
    this.#section.dataset.state = state;
    const word = this.part("state");
    word.textContent = WORDS[state];
    word.title = detail;
    // One button, whose name changes: the focus stays on it.
    const button = this.part("cut");
    const isGone = state === "cut" || state === "stopped";
    button.querySelector(".cut-word").textContent = isGone ? "Reconnect" : "Cut";
    if (state === "cut" && before !== "cut") this.#announce("cut");
  }

  transport(text) {
    this.part("transport").textContent = text;
  }

  saw(id) {
    const element = this.part("last-id");
    if (element.textContent !== id) element.textContent = id;
    element.title = id;
  }

  /** One event more; `null` begins anew. */
  count(more = 1) {
    this.#count = more === null ? 0 : this.#count + more;
    this.part("count").textContent = this.#count === 1 ? "1 event" : `${this.#count} events`;
    if (more) this.#section.dispatchEvent(new CustomEvent("arrived", { bubbles: true }));
  }

  /** Another channel: nothing of it was here or missed, and it isn't live yet. Who was cut stays cut. */
  anew() {
    this.count(null);
    if (this.state !== "cut") this.become("connecting");
    this.away = undefined;
  }

  #back() {
    if (this.away?.how === "cut") this.#announce("live again");
    this.away = undefined;
  }

  #announce(what) {
    if (this.#announces) this.#announcement.textContent = `${this.#section.querySelector("h2").textContent}: ${what}.`;
  }
}

/** The line above what was missed in an absence as `Panel.away` has it. */
export function missedLine({ since, how }) {
  const seconds = Math.ceil((Date.now() - since) / 1000);
  const time = seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
  return `missed ${how === "cut" ? "while cut" : "while away"}, ${time}`;
}

/** The line where something is missing for good. */
export const GAP_LINE = "some messages are no longer kept";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8_000;

/** Waits before attempt `attempt`, twice as long each time and never just as long as others; ends early with `signal`. */
export function backOff(attempt, signal) {
  const wait_ms = Math.min(FIRST_WAIT_MS * 2 ** attempt, LONGEST_WAIT_MS) * (0.75 + Math.random() / 2);
  return pause(wait_ms, signal);
}

/** Waits; ends early with `signal`. */
export function pause(wait_ms, signal) {
  return new Promise((done) => {
    if (signal.aborted) return done();
    const timer = setTimeout(done, wait_ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      done();
    }, { once: true });
  });
}
