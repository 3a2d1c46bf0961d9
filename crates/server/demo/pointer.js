// Our own pointer on the board: a mouse, a pen or a finger, or the arrow keys while the board has the focus.

const STEP = 0.02;
const LEAP = 0.1;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
/** Who moves by keys and listens, hears where the pointer is once it rests. */
const SAY_AFTER_MS = 600;

export class Pointer {
  /** Where it is, as fractions of the plane: `{x, y}`; none while it is elsewhere. */
  place;
  #plane;
  #ring;
  #moved;
  #last = { x: 0.5, y: 0.5 };
  #isByKeys = false;
  #timer = 0;

  /** `ring` shows where it is. `moved()` is called after each move, also off the plane. */
  constructor(plane, ring, moved) {
    this.#plane = plane;
    this.#ring = ring;
    this.#moved = moved;
    // A finger is there before it moves.
    for (const name of ["pointerdown", "pointermove"]) plane.addEventListener(name, (event) => this.#point(event));
    for (const name of ["pointerleave", "pointercancel"]) {
      plane.addEventListener(name, ({ isPrimary }) => isPrimary && !this.#isByKeys && this.#leave());
    }
    plane.addEventListener("keydown", (event) => this.#press(event));
    plane.addEventListener("blur", () => this.#isByKeys && this.#leave());
    // Who doesn't see the board doesn't point at it.
    document.addEventListener("visibilitychange", () => document.hidden && this.#leave());
    addEventListener("pagehide", () => this.#leave());
  }

  #point({ isPrimary, clientX, clientY }) {
    if (!isPrimary) return;
    const { left, top, width, height } = this.#plane.getBoundingClientRect();
    this.#isByKeys = false;
    this.#go((clientX - left) / width, (clientY - top) / height);
  }

  #press(event) {
    const { key, shiftKey, altKey, ctrlKey, metaKey } = event;
    if (altKey || ctrlKey || metaKey) return;
    if (key === "Escape") return this.#leave();
    if (!Object.hasOwn(ARROWS, key)) return;
    event.preventDefault();
    const [right, down] = ARROWS[key];
    const step = shiftKey ? LEAP : STEP;
    this.#isByKeys = true;
    this.#go(this.#last.x + right * step, this.#last.y + down * step);
    this.#sayLater();
  }

  #go(x, y) {
    this.place = this.#last = { x: fraction(x), y: fraction(y) };
    this.#ring.style.setProperty("--x", this.place.x);
    this.#ring.style.setProperty("--y", this.place.y);
    this.#ring.hidden = false;
    this.#moved();
  }

  #leave() {
    if (!this.place) return;
    clearTimeout(this.#timer);
    this.place = undefined;
    this.#isByKeys = false;
    this.#ring.hidden = true;
    this.#moved();
  }

  #sayLater() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const [across, down] = [this.#last.x, this.#last.y].map((part) => `${Math.round(part * 100)}%`);
      document.querySelector("#announcement").textContent = `${across} across, ${down} down.`;
    }, SAY_AFTER_MS);
  }
}

/** Within the plane, to a ten-thousandth. */
function fraction(value) {
  return Math.round(Math.min(Math.max(value, 0), 1) * 10_000) / 10_000;
}
