// The messages on the page: what was delivered and what was kept of earlier, in the server's order, and below it our own
// that are on their way.
//
// Everything that comes from outside becomes text through textContent, never markup.

import { epochOf, isAfter, seqOf } from "./ids.js";
import { avatar } from "./names.js";

const GROUP_MS = 5 * 60_000;
/** With more than that, the oldest go while the newest are in sight; they come back from the server. */
const KEPT = 500;
/** Whoever reads far back keeps more, but not without end. */
const KEPT_MAX = 5_000;
const NEAR_END_PX = 80;

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** What the page has of a room. */
class Room {
  /** Messages and lines, as they stand on the page. */
  delivered = [];
  /** Our own that are on their way. */
  pending = [];
  /** Whether the server may have older ones; unknown before the first page. */
  more = undefined;
  /** Where the next page of older ones begins, if that is not the oldest that is here. */
  before = "";
  #marks = new Map();

  /** The message that this one repeats. */
  known(message) {
    return marksOf(message).map((mark) => this.#marks.get(mark)).find(Boolean);
  }

  /** Where in `delivered` it belongs: before the first of its epoch that is later. */
  placeOf({ id }) {
    let place = this.delivered.length;
    if (!id) return place;
    for (let index = place - 1; index >= 0; index -= 1) {
      const other = this.delivered[index];
      if (!other.id) continue;
      if (!isAfter(other.id, id)) break;
      place = index;
    }
    return place;
  }

  keep(entry) {
    this.pending = this.pending.filter((other) => other !== entry);
    const place = this.placeOf(entry);
    this.delivered.splice(place, 0, entry);
    for (const mark of marksOf(entry)) this.#marks.set(mark, entry);
    return place;
  }

  drop(entry) {
    this.delivered = this.delivered.filter((other) => other !== entry);
    for (const mark of marksOf(entry)) this.#marks.delete(mark);
  }

  /** The id before which older ones are; none when nothing is here. Ids of an epoch that is over lead nowhere. */
  oldest() {
    const epoch = epochOf(this.delivered.findLast(({ id }) => id)?.id ?? "");
    if (epoch && epochOf(this.before) === epoch) return this.before;
    return this.delivered.find(({ id }) => id && epochOf(id) === epoch)?.id;
  }
}

/** By what a message is recognised: its id; its nonce, when its sender had to send it twice. */
function marksOf({ id, user, nonce }) {
  return [id && `id ${id}`, nonce && `nonce ${nonce} ${user}`].filter(Boolean);
}

export class Transcript {
  #log = document.querySelector("#log");
  #list = document.querySelector("#messages");
  #empty = document.querySelector("#empty");
  #older = document.querySelector("#older");
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

  /** Shows the room of `channel` with what this tab has of it. */
  show(channel) {
    this.settle();
    this.#room = this.#of(channel);
    this.#silently(() => {
      this.#elements.clear();
      this.#list.replaceChildren();
      for (const entry of [...this.#room.delivered, ...this.#room.pending]) this.#insert(entry, null);
      this.#edges();
      this.#toEnd();
    });
  }

  /** Who we are from now on: what we said under that name is ours, as is what this tab said under another. */
  own(user) {
    const theirs = [...this.#rooms.values()].flatMap(({ delivered }) => delivered).filter((entry) => entry.mine === false);
    const ours = theirs.filter((entry) => entry.user === user);
    for (const entry of ours) entry.mine = true;
    for (const entry of ours.filter((each) => this.#elements.has(each))) {
      const before = this.#elements.get(entry).nextElementSibling;
      this.#silently(() => {
        this.#remove(entry);
        this.#insert(entry, before);
      });
    }
    if (this.#pinned) this.#toEnd();
  }

  /** Our own message, new or with another status. */
  pending(message) {
    const room = this.#of(message.channel);
    if (room.delivered.includes(message)) return;
    const isNew = !room.pending.includes(message);
    if (isNew) room.pending.push(message);
    if (room !== this.#room) {
      // Its event comes when the room is entered again; until then its answer is the last we hear.
      if (message.status === "sent") room.keep(message);
      return;
    }
    if (isNew) {
      this.#insert(message, null);
      this.#edges();
      this.#toEnd();
    } else {
      this.#status(message);
    }
  }

  /**
   * A message from the server, just published or missed and now made up for; `line` goes above what was missed first.
   * Answers our own message that it is, if it is one on its way; `null` when it is here already.
   */
  delivered(channel, message, line = "") {
    const room = this.#of(channel);
    const known = room.known(message);
    if (known) {
      this.#confirm(room, known, message);
      return null;
    }
    const own = room.pending.find((other) => message.mine && other.nonce === message.nonce);
    if (own) message.missed = false;
    else if (line) this.note(line, { line: true });
    const entry = Object.assign(own ?? {}, message, { status: "sent" });
    const place = room.keep(entry);
    if (room === this.#room) {
      const pinned = this.#pinned;
      this.#place(entry, this.#elementAfter(place));
      this.#edges();
      if (pinned) this.#toEnd();
      else this.#jump.hidden = false;
    }
    this.#trim(room);
    return own;
  }

  /**
   * A page of older messages, which began at the id `begin`; `more` says whether there are others before it. What is in
   * sight stays where it is.
   */
  older(channel, messages, begin, more) {
    const room = this.#of(channel);
    room.more = more;
    room.before = begin;
    const isShown = room === this.#room;
    const add = () => {
      for (const message of messages) {
        const known = room.known(message);
        if (known) {
          this.#confirm(room, known, message);
          continue;
        }
        const entry = { ...message, status: "sent" };
        const place = room.keep(entry);
        if (isShown) this.#insert(entry, this.#elementAfter(place));
      }
      if (isShown) this.#edges();
    };
    if (isShown) this.#silently(() => this.#steadily(add));
    else add();
  }

  /** Whether the server may have older ones than are here; `undefined` before the first page. */
  more(channel) {
    return this.#of(channel).more;
  }

  /** The id before which older ones are; none when nothing is here. */
  oldest(channel) {
    return this.#of(channel).oldest();
  }

  /** A remark of the page itself. As a `line` it goes across: what is below it came after something. */
  note(text, { line = false } = {}) {
    const entry = { note: text, line, time: Date.now() };
    const place = this.#room.keep(entry);
    const pinned = this.#pinned;
    this.#insert(entry, this.#elementAfter(place));
    this.#edges();
    if (pinned) this.#toEnd();
  }

  /** The answered messages whose event won't come any more, because the connection ended or the room was left. */
  settle() {
    const sent = this.#room?.pending.filter((message) => message.status === "sent") ?? [];
    for (const message of sent) {
      const place = this.#room.keep(message);
      this.#place(message, this.#elementAfter(place));
    }
  }

  /** Takes our own message away that shall not be sent. */
  forget(message) {
    const room = this.#of(message.channel);
    room.pending = room.pending.filter((other) => other !== message);
    this.#remove(message);
    this.#edges();
  }

  #of(channel) {
    if (!this.#rooms.has(channel)) this.#rooms.set(channel, new Room());
    return this.#rooms.get(channel);
  }

  /** The event of a message of ours that we knew from its answer alone: now the server's time and place are known. */
  #confirm(room, known, message) {
    if (known.id || !message.id) return;
    room.drop(known);
    Object.assign(known, message, { status: "sent" });
    const place = room.keep(known);
    if (room === this.#room) this.#place(known, this.#elementAfter(place));
  }

  #trim(room) {
    const isShown = room === this.#room;
    const max = isShown && !this.#pinned ? KEPT_MAX : KEPT;
    if (room.delivered.length <= max) return;
    this.#steadily(() => {
      while (room.delivered.length > max) {
        const oldest = room.delivered[0];
        room.drop(oldest);
        if (isShown) this.#remove(oldest);
      }
    });
    room.more = true;
    room.before = "";
    if (isShown) this.#edges();
  }

  #elementAfter(place) {
    return this.#elements.get(this.#room.delivered[place + 1] ?? this.#room.pending[0]) ?? null;
  }

  /** What comes or goes above does not move what is in sight. */
  #steadily(change) {
    const { scrollHeight, scrollTop } = this.#log;
    change();
    if (this.#pinned) this.#toEnd();
    else this.#log.scrollTop = scrollTop + this.#log.scrollHeight - scrollHeight;
  }

  /** What is no news is not read out. */
  #silently(change) {
    this.#log.setAttribute("aria-live", "off");
    change();
    requestAnimationFrame(() => this.#log.setAttribute("aria-live", "polite"));
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

  #edges() {
    this.#older.hidden = !this.#room.more;
    // Before the first page nobody knows.
    this.#empty.hidden = this.#list.childElementCount > 0 || this.#room.more === undefined;
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
  stamp.append(make("span", "missed"), when, make("code", "seq"), make("span", "status"));
  bubble.append(words, " ", stamp);

  const body = make("div", "body");
  body.append(sender, bubble, make("div", "failure"));
  item.append(day, avatar(message.user), body);
  fill(item, message);
  return item;
}

/** What the server may change of a message that shows already: its sender, time and id. */
function fill(item, { id, user, text, time, raw, missed }) {
  item.toggleAttribute("data-raw", raw === true);
  item.toggleAttribute("data-missed", missed === true);
  if (id) item.dataset.id = id;
  item.querySelector(".missed").textContent = missed ? "missed" : "";
  const seq = item.querySelector(".seq");
  seq.textContent = id ? seqOf(id) : "";
  seq.title = id ? `id ${id}` : "";
  item.querySelector(".day-name").textContent = dayName(time);
  item.querySelector(".sender-name").textContent = user;
  item.querySelector(".text").textContent = text;
  const when = item.querySelector("time");
  when.textContent = CLOCK.format(time);
  when.dateTime = new Date(time).toISOString();
  when.title = FULL.format(time);
}

function noteElement({ note, line }) {
  const item = make("li", line ? "note line" : "note");
  item.append(make("span", "note-text", note));
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
