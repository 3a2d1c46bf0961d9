// The others' pointers on the board, each with a name and a colour: until it leaves, its user does, or it falls silent.

import { hue } from "./names.js";

/** Who still points says so more often, see board.js. */
const SILENCE_MS = 30_000;
/** Anybody may publish as many as they like. */
const SHOWN_MAX = 50;
/** From here on a name stands at the pointer's other side, to stay on the board. */
const TURN = { x: 0.6, y: 0.7 };

const SVG = "http://www.w3.org/2000/svg";
const ARROW = "M1 1v15.5l4.4-3.7 2.7 6.1 3-1.3-2.7-6 5.6-.5z";

export class Cursors {
  #plane;
  #changed;
  /** By id, the one that moved last at the end: `{user, element, timer}`. */
  #all = new Map();

  /** `changed(users)` is called when somebody came or went. */
  constructor(plane, changed) {
    this.#plane = plane;
    this.#changed = changed;
  }

  /** The cursor `id` of `user` was there so long ago. */
  move(id, user, { x, y }, age_ms) {
    if (age_ms >= SILENCE_MS) return this.remove(id);
    let cursor = this.#all.get(id);
    if (cursor && cursor.user !== user) {
      this.remove(id);
      cursor = undefined;
    }
    const isNew = !cursor;
    cursor ??= { user, element: make(user), timer: 0 };
    const { element } = cursor;
    element.style.setProperty("--x", x);
    element.style.setProperty("--y", y);
    element.toggleAttribute("data-left", x > TURN.x);
    element.toggleAttribute("data-above", y > TURN.y);
    clearTimeout(cursor.timer);
    cursor.timer = setTimeout(() => this.remove(id), SILENCE_MS - age_ms);
    this.#all.delete(id);
    this.#all.set(id, cursor);
    if (!isNew) return;
    this.#plane.append(element);
    if (this.#all.size > SHOWN_MAX) this.#drop(this.#all.keys().next().value);
    this.#tell();
  }

  remove(id) {
    if (this.#drop(id)) this.#tell();
  }

  /** The user has gone, with all tabs. */
  removeOf(user) {
    for (const [id, cursor] of this.#all) if (cursor.user === user) this.remove(id);
  }

  clear() {
    for (const id of this.#all.keys()) this.#drop(id);
    this.#tell();
  }

  #drop(id) {
    const cursor = this.#all.get(id);
    if (!cursor) return false;
    clearTimeout(cursor.timer);
    cursor.element.remove();
    return this.#all.delete(id);
  }

  #tell() {
    this.#changed([...new Set([...this.#all.values()].map(({ user }) => user))]);
  }
}

function make(user) {
  const element = document.createElement("div");
  element.className = "cursor";
  element.dataset.testid = "cursor";
  element.dataset.hue = hue(user);
  // Where somebody points can't be heard; who does is said elsewhere.
  element.setAttribute("aria-hidden", "true");
  const arrow = document.createElementNS(SVG, "svg");
  arrow.setAttribute("viewBox", "0 0 15 20");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ARROW);
  arrow.append(path);
  const name = document.createElement("span");
  name.className = "cursor-name";
  name.dir = "auto";
  name.textContent = user;
  element.append(arrow, name);
  return element;
}
