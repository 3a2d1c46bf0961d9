// The board: everybody's pointers, on a plain WebSocket. Its channel is conflated: however often one moves, the server passes
// on the latest place of each cursor (`data.id`), at most every 50 ms, and gives it to who comes later. Such an event has no
// id and is in no history: who was away has missed nothing, and only asks for what is.

import { Cursors } from "./cursors.js";
import { Lifeline } from "./lifeline.js";
import { Panel } from "./panel.js";
import { Pointer } from "./pointer.js";
import { sentence, toast } from "./toasts.js";
import { PlainSocket } from "./websocket.js";

const EVENT = "cursor";
/** A fast screen has more frames than the server takes messages, which are 100 a second. */
const SEND_EVERY_MS = 12;
/** A pointer that rests says that it is still there. */
const REST_MS = 10_000;
const ID_MAX = 64;
const ID_KEY = "tidings-demo-cursor";

export class Board {
  #tokens;
  #channel = "";
  /** The connection, while we are subscribed. */
  #socket;
  /** This tab's cursor; and the one it had before it was loaded again, whose last word need not have got out. */
  #id = crypto.getRandomValues(new Uint32Array(2)).reduce((id, part) => id + part.toString(36), "");
  #before = replaceId(this.#id);
  #panel = new Panel("board", { onCut: () => this.#line.cut(), onBack: () => this.#line.start() });
  #line = new Lifeline(this.#panel, (signal) => this.#follow(signal));
  #plane = this.#panel.part("plane");
  #cursors = new Cursors(this.#plane, (users) => this.#others(users));
  #pointer = new Pointer(this.#plane, this.#panel.part("ring"), () => this.#moved());
  #tallies = { sent: 0, received: 0 };
  #users = [];
  /** The users of the channel before we came, if they are known, and when that was. */
  #there = { users: undefined, time: 0 };
  #frame = 0;
  #timer = 0;
  #sent_ms = 0;
  /** Whether the others may have our cursor. */
  #isShown = false;

  constructor(tokens) {
    this.#tokens = tokens;
    tokens.addEventListener("user", () => this.#channel && this.#line.restart());
  }

  /** Goes to another room's board. */
  open(channel) {
    this.#unshow();
    this.#channel = channel;
    this.#cursors.clear();
    this.#panel.anew();
    for (const name of Object.keys(this.#tallies)) this.#tally(name, null);
    if (this.#tokens.token) this.#line.restart();
  }

  async #follow(signal) {
    const socket = await PlainSocket.open(this.#tokens, signal, (message) => this.#hear(message));
    try {
      // What is there comes with the subscription, whether we were here before or not: also from who has gone without a word.
      this.#cursors.clear();
      const time = Date.now();
      this.#there = { users: await this.#present(socket), time };
      await socket.ask("subscribe", { channels: [this.#channel] });
      signal.throwIfAborted();
      this.#socket = socket;
      this.#panel.become("live");
      if (this.#before) this.#publish({ id: this.#before, gone: true });
      this.#before = null;
      if (this.#pointer.place) this.#send();
      await socket.ended;
    } finally {
      if (this.#socket === socket) this.#socket = undefined;
    }
  }

  /** The users of the channel; `undefined` when it doesn't tell, or not of all. */
  async #present(socket) {
    try {
      const { users, count } = await socket.ask("presence", { channel: this.#channel });
      return users.length === count ? new Set(users.map(({ user }) => user)) : undefined;
    } catch {
      return undefined;
    }
  }

  // ---- ours

  #moved() {
    this.#look();
    if (!this.#pointer.place) this.#unshow();
    // The frame sends the place of its time, however many moves there were since the last one.
    else this.#frame ||= requestAnimationFrame((now_ms) => this.#onFrame(now_ms));
  }

  #onFrame(now_ms) {
    this.#frame = 0;
    if (now_ms - this.#sent_ms < SEND_EVERY_MS) return this.#moved();
    this.#sent_ms = now_ms;
    this.#send();
  }

  #send() {
    clearTimeout(this.#timer);
    const { place } = this.#pointer;
    if (!place) return;
    this.#timer = setTimeout(() => this.#send(), REST_MS);
    if (!this.#publish({ id: this.#id, ...place })) return;
    this.#isShown = true;
    this.#tally("sent");
  }

  #unshow() {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    this.#frame = 0;
    if (this.#isShown) this.#publish({ id: this.#id, gone: true });
    this.#isShown = false;
  }

  #publish(data) {
    return this.#socket?.tell("publish", { channel: this.#channel, event: EVENT, data }) ?? false;
  }

  // ---- the others'

  #hear(message) {
    if (message.type === "error") {
      // The next move replaces what was too much.
      if (message.code !== "rate_limited") toast(sentence(message));
      return;
    }
    // Everybody's own channel comes over this connection, too.
    if (message.channel !== this.#channel) return;
    if (message.type === "leave") this.#cursors.removeOf(message.user);
    else if (message.type === "event" && message.event === EVENT) this.#take(message);
  }

  /** Nothing is known of `data`: anybody may publish anything. Both clocks are this machine's, see `--dev`. */
  #take({ data, time, user }) {
    this.#panel.count();
    const id = data?.id;
    if (typeof id !== "string" || id.length > ID_MAX) return;
    const isPlace = [data.x, data.y].every((part) => typeof part === "number" && part >= 0 && part <= 1);
    if (isPlace) this.#tally("received");
    // Our own comes back like any other; it is counted, and where it is we know.
    if (id === this.#id) return;
    if (data.gone === true) this.#cursors.remove(id);
    else if (isPlace && !this.#hasGone(user, time)) this.#cursors.move(id, user ?? "server", data, Math.max(0, Date.now() - time));
  }

  /** Whether a place that was kept is of a user who has left meanwhile. What a back end publishes has no user. */
  #hasGone(user, time) {
    const there = this.#there;
    return user !== undefined && there.users !== undefined && time < there.time && !there.users.has(user);
  }

  #others(users) {
    this.#users = users;
    const who = this.#panel.part("who");
    who.textContent = users.length === 0 ? "Nobody else points at the board." : `Pointing at the board: ${users.join(", ")}.`;
    this.#look();
  }

  // ---- both

  #look() {
    this.#panel.part("empty").hidden = this.#pointer.place !== undefined || this.#users.length > 0;
  }

  /** One more; `null` begins anew. */
  #tally(name, more = 1) {
    this.#tallies[name] = more === null ? 0 : this.#tallies[name] + more;
    this.#panel.part(name).textContent = this.#tallies[name];
  }
}

/** Keeps the tab's id over its reloads, and answers the one that it had. Storage can be switched off. */
function replaceId(id) {
  try {
    const before = sessionStorage.getItem(ID_KEY);
    sessionStorage.setItem(ID_KEY, id);
    return before;
  } catch {
    return null;
  }
}
