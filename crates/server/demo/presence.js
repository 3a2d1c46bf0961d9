// Who is here, and who is typing.

import { avatar } from "./names.js";

const TYPING_EVERY_MS = 2_000;
const TYPING_FOR_MS = 4_500;

/** The list of people in the room, kept by the snapshot and by joins and leaves. */
export class People {
  #list = document.querySelector("#people");
  #count = document.querySelector("#count");
  #users = new Set();
  #me = "";

  /** A snapshot; `undefined` when the room doesn't say who is in it. */
  show(users, me) {
    this.#me = me;
    this.#users = new Set(users);
    this.#draw(users !== undefined);
  }

  join(user) {
    this.#users.add(user);
    this.#draw(true);
  }

  leave(user) {
    this.#users.delete(user);
    this.#draw(true);
  }

  #draw(known) {
    const others = [...this.#users].filter((user) => user !== this.#me).sort((a, b) => a.localeCompare(b));
    const users = this.#users.has(this.#me) ? [this.#me, ...others] : others;
    this.#list.replaceChildren(...users.map((user) => this.#person(user)));
    const people = users.length === 1 ? "1 person here" : `${users.length} people here`;
    this.#count.textContent = known ? people : "";
  }

  #person(user) {
    const item = document.createElement("li");
    item.className = "person";
    item.dataset.testid = "person";
    const name = document.createElement("span");
    name.className = "person-name";
    name.dir = "auto";
    name.textContent = user;
    item.append(avatar(user), name);
    if (user === this.#me) {
      const you = document.createElement("span");
      you.className = "you";
      you.textContent = "you";
      item.append(" ", you);
    }
    return item;
  }
}

/** Others' typing, each note good for a few seconds, and ours, told at most every other second. */
export class Typing {
  #line = document.querySelector("#typing");
  #until = new Map();
  #timer = 0;
  #told = 0;
  #tell;

  /** `tell(on)` lets the others know. */
  constructor(tell) {
    this.#tell = tell;
  }

  /** The composer changed. */
  wrote(text) {
    const now = Date.now();
    if (text.trim() === "") {
      if (this.#told > 0) this.#tell(false);
      this.#told = 0;
    } else if (now - this.#told >= TYPING_EVERY_MS) {
      this.#told = now;
      this.#tell(true);
    }
  }

  /** The message that was typed is sent: its arrival ends the note at the others. */
  sent() {
    this.#told = 0;
  }

  heard(user, on) {
    if (on) this.#until.set(user, Date.now() + TYPING_FOR_MS);
    else this.#until.delete(user);
    this.#draw();
  }

  clear() {
    this.#until.clear();
    this.#draw();
  }

  #draw() {
    clearTimeout(this.#timer);
    const now = Date.now();
    for (const [user, until] of this.#until) if (until <= now) this.#until.delete(user);
    const users = [...this.#until.keys()];
    const text =
      users.length === 0 ? ""
      : users.length === 1 ? `${users[0]} is typing…`
      : users.length === 2 ? `${users[0]} and ${users[1]} are typing…`
      : `${users.length} people are typing…`;
    if (this.#line.textContent !== text) this.#line.textContent = text;
    if (users.length > 0) {
      this.#timer = setTimeout(() => this.#draw(), Math.min(...this.#until.values()) - now);
    }
  }
}
