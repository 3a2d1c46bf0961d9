// The messages on the page: what was delivered, in the server's order, and below it our own that are on their way.
//
// Everything that comes from outside becomes text through textContent, never markup.

import { avatar } from "./names.js";

const GROUP_MS = 5 * 60_000;
const KEPT = 500;
const SEEN_MAX = 4 * KEPT;
const NEAR_END_PX = 80;

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

export class Transcript {
  #log = document.querySelector("#log");
  #list = document.querySelector("#messages");
  #empty = document.querySelector("#empty");
  #jump = document.querySelector("#jump");
  #rooms = new Map();
  #room;
  #elements = new Map();
  #pinned = true;
  #again;
  #discard;

  /** `again(message)` and `discard(message)` are what the buttons of a failed message do. */
  constructor(again, discard) {
    this.#again = again;
    this.#discard = discard;
    this.#log.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.#log;
      this.#pinned = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
      if (this.#pinned) this.#jump.hidden = true;
    });
    this.#jump.addEventListener("click", () => {
      this.#toEnd();
      this.#log.focus();
    });
    // A growing composer or a phone's keyboard takes height from above: the newest message stays in sight.
    new ResizeObserver(() => this.#pinned && this.#toEnd()).observe(this.#log);
  }

  /** Shows the room of `channel` with what this tab has heard there. */
  show(channel) {
    this.settle();
    this.#room = this.#of(channel);
    // Not news, so not read out.
    this.#log.setAttribute("aria-live", "off");
    this.#elements.clear();
    this.#list.replaceChildren();
    for (const entry of [...this.#room.delivered, ...this.#room.pending]) this.#insert(entry, null);
    this.#emptyOrNot();
    this.#toEnd();
    requestAnimationFrame(() => this.#log.setAttribute("aria-live", "polite"));
  }

  /** Our own message, new or with another status. */
  pending(message) {
    const room = this.#of(message.channel);
    if (room.delivered.includes(message)) return;
    const isNew = !room.pending.includes(message);
    if (isNew) room.pending.push(message);
    if (room !== this.#room) {
      // Nothing of a room that was left comes back to this tab, so its answer is the last we hear.
      if (message.status === "sent") this.#keep(room, message);
      return;
    }
    if (isNew) {
      this.#insert(message, null);
      this.#emptyOrNot();
      this.#toEnd();
    } else {
      this.#status(message);
    }
  }

  /**
   * A message from the server. Answers our own message that it is, if it is one on its way; `null` when this tab
   * has had it before.
   */
  delivered(channel, message) {
    const room = this.#of(channel);
    if (this.#repeated(room, message)) return null;
    const own = room.pending.find((other) => message.mine && other.nonce === message.nonce);
    const entry = Object.assign(own ?? {}, message, { status: "sent" });
    this.#keep(room, entry);
    if (room === this.#room) {
      const pinned = this.#pinned;
      this.#place(entry, this.#elements.get(room.pending[0]) ?? null);
      this.#emptyOrNot();
      if (pinned) this.#toEnd();
      else this.#jump.hidden = false;
    }
    return own;
  }

  /** A remark of the page itself, such as that something may be missing here. */
  note(text) {
    const entry = { note: text, time: Date.now() };
    this.#keep(this.#room, entry);
    const pinned = this.#pinned;
    this.#insert(entry, this.#elements.get(this.#room.pending[0]) ?? null);
    this.#emptyOrNot();
    if (pinned) this.#toEnd();
  }

  /** The answered messages whose event won't come any more, because the connection ended or the room was left. */
  settle() {
    const sent = this.#room?.pending.filter((message) => message.status === "sent") ?? [];
    for (const message of sent) this.#keep(this.#room, message);
  }

  /** Takes our own message away that shall not be sent. */
  forget(message) {
    const room = this.#of(message.channel);
    room.pending = room.pending.filter((other) => other !== message);
    this.#remove(message);
    this.#emptyOrNot();
  }

  #of(channel) {
    if (!this.#rooms.has(channel)) this.#rooms.set(channel, { delivered: [], pending: [], seen: new Set() });
    return this.#rooms.get(channel);
  }

  #repeated(room, { id, user, nonce }) {
    const marks = [id && `id ${id}`, nonce && `nonce ${nonce} ${user}`].filter(Boolean);
    const repeated = marks.some((mark) => room.seen.has(mark));
    for (const mark of marks) room.seen.add(mark);
    while (room.seen.size > SEEN_MAX) room.seen.delete(room.seen.values().next().value);
    return repeated;
  }

  #keep(room, entry) {
    room.pending = room.pending.filter((other) => other !== entry);
    room.delivered.push(entry);
    if (entry.nonce) this.#repeated(room, { user: entry.user, nonce: entry.nonce });
    if (room.delivered.length > KEPT) this.#remove(room.delivered.shift());
  }

  #insert(entry, before) {
    const element = entry.note ? noteElement(entry) : messageElement(entry);
    this.#elements.set(entry, element);
    element.entry = entry;
    this.#list.insertBefore(element, before);
    this.#decorate(element);
    this.#decorate(element.nextElementSibling);
    if (!entry.note) this.#status(entry);
  }

  // Our own message is mostly where it belongs already: moved, it would be read out and come flying in twice.
  #place(entry, before) {
    const element = this.#elements.get(entry);
    if (element?.nextElementSibling === before) {
      fill(element, entry);
      this.#status(entry);
      this.#decorate(element);
      this.#decorate(before);
    } else {
      this.#remove(entry);
      this.#insert(entry, before);
    }
  }

  #remove(entry) {
    const element = this.#elements.get(entry);
    if (!element) return;
    const next = element.nextElementSibling;
    element.remove();
    this.#elements.delete(entry);
    this.#decorate(next);
  }

  // What depends on the message before: the day's line, and whether this one goes on what the same person was saying.
  #decorate(element) {
    if (!element || element.entry.note) return;
    const entry = element.entry;
    const previous = element.previousElementSibling?.entry;
    const newDay = !previous || dayOf(previous.time) !== dayOf(entry.time);
    const goesOn = !newDay && !previous.note && previous.user === entry.user && previous.mine === entry.mine;
    element.querySelector(".day").hidden = !newDay;
    element.toggleAttribute("data-follows", goesOn && entry.time - previous.time < GROUP_MS);
  }

  #status(message) {
    const element = this.#elements.get(message);
    if (!element) return;
    const { status, refusal } = message;
    element.dataset.status = status;
    const lost = refusal?.code === "unanswered";
    const word = { waiting: "sending", flying: "sending", failed: lost ? "not confirmed" : "not sent" }[status] ?? "";
    element.querySelector(".status").textContent = word;

    const failure = element.querySelector(".failure");
    failure.replaceChildren();
    if (status !== "failed") return;
    const again = button("Retry", () => this.#again(message));
    const discard = button("Discard", () => this.#discard(message));
    failure.append(make("p", "", lost ? "It may not have arrived." : "It was refused."), again, discard);
  }

  #emptyOrNot() {
    this.#empty.hidden = this.#list.childElementCount > 0;
  }

  #toEnd() {
    this.#pinned = true;
    this.#jump.hidden = true;
    this.#log.scrollTop = this.#log.scrollHeight;
  }
}

function messageElement(message) {
  const item = make("li", "message");
  item.dataset.testid = "message";
  item.toggleAttribute("data-mine", message.mine);

  const day = make("p", "day");
  day.append(make("span", "day-name"));

  const sender = make("p", "sender");
  const name = make("span", "sender-name");
  name.dataset.testid = "message-sender";
  name.dir = "auto";
  sender.append(name);

  const bubble = make("div", "bubble");
  bubble.dir = "auto";
  const words = make("p", "text");
  words.dataset.testid = "message-text";
  const stamp = make("p", "stamp");
  stamp.dir = "ltr";
  const when = make("time");
  when.dataset.testid = "message-time";
  stamp.append(when, make("span", "status"));
  bubble.append(words, " ", stamp);

  const body = make("div", "body");
  body.append(sender, bubble, make("div", "failure"));
  item.append(day, avatar(message.user), body);
  fill(item, message);
  return item;
}

/** What the server may change of a message that shows already: its sender and time. */
function fill(item, { user, text, time }) {
  item.querySelector(".day-name").textContent = dayName(time);
  item.querySelector(".sender-name").textContent = user;
  item.querySelector(".text").textContent = text;
  const when = item.querySelector("time");
  when.textContent = CLOCK.format(time);
  when.dateTime = new Date(time).toISOString();
  when.title = FULL.format(time);
}

function noteElement({ note }) {
  const item = make("li", "note", note);
  item.dataset.testid = "note";
  return item;
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function button(text, onClick) {
  const element = make("button", "button small", text);
  element.type = "button";
  element.addEventListener("click", onClick);
  return element;
}

function dayOf(time_ms) {
  return new Date(time_ms).toDateString();
}

function dayName(time_ms) {
  const yesterday = new Date();
  yesterday.setDate(yesterday.getDate() - 1);
  if (dayOf(time_ms) === dayOf(Date.now())) return "Today";
  if (dayOf(time_ms) === dayOf(yesterday)) return "Yesterday";
  return DAY.format(time_ms);
}
