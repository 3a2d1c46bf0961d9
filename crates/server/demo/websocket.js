// A plain WebSocket, `/ws`: JSON messages without a client library. The first says who we are; a request with an `id` is
// answered under it, and what the server says by itself has none.

import { Refusal } from "./refusal.js";

/** What may be different in a moment. */
const TRANSIENT = ["draining", "internal", "rate_limited", "too_many_connections", "unavailable"];
const REVOKED = 4403;

export class PlainSocket {
  /** Rejects when the connection has ended: with a Refusal, or as the signal says. */
  ended;
  #socket;
  #tokens;
  #end;
  #opened;
  #asked = 0;
  #waiting = new Map();
  #hasHeard = true;

  /**
   * Connects; comes back when the server knows who we are. `hear(message)` gets what the server says by itself. A token can
   * have aged, or be of a server that was restarted: a refused one is renewed, once.
   */
  static async open(tokens, signal, hear) {
    try {
      return await new PlainSocket(tokens, signal, hear).#enter();
    } catch (error) {
      const ofToken = error.code === "unauthenticated" || error.code?.startsWith?.("token_");
      if (!ofToken || signal.aborted) throw error;
    }
    await tokens.renew();
    signal.throwIfAborted();
    return new PlainSocket(tokens, signal, hear).#enter();
  }

  constructor(tokens, signal, hear) {
    const address = new URL("/ws", location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    this.#socket = socket;
    this.#tokens = tokens;
    this.#opened = new Promise((done) => socket.addEventListener("open", done));
    this.ended = new Promise((_, refuse) => {
      this.#end = (reason) => {
        socket.close();
        refuse(reason);
        for (const answer of this.#waiting.values()) answer.refuse(reason);
        this.#waiting.clear();
      };
    });
    // It may end before anybody waits for that.
    this.ended.catch(() => {});
    signal.addEventListener("abort", () => this.#end(signal.reason), { once: true });
    socket.addEventListener("close", ({ code }) => this.#end(reasonOf(code)));
    socket.addEventListener("message", ({ data }) => {
      this.#hasHeard = true;
      if (!signal.aborted) this.#take(JSON.parse(data), hear);
    });
  }

  /** Asks and waits for the result; throws a Refusal otherwise. */
  ask(type, fields) {
    const id = ++this.#asked;
    return new Promise((done, refuse) => {
      if (!this.tell(type, { id, ...fields })) return refuse(new Refusal("unreachable", "There is no connection."));
      this.#waiting.set(id, { done, refuse });
    });
  }

  /** Says what needs no answer; whether it could. Never kept for later. */
  tell(type, fields) {
    if (this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify({ type, ...fields }));
    return true;
  }

  async #enter() {
    await Promise.race([this.#opened, this.ended]);
    await this.ask("auth", { token: this.#tokens.token });
    return this;
  }

  #take(message, hear) {
    const { type, id } = message;
    const answer = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (type === "ok") answer?.done(message.result);
    else if (type === "error" && answer) answer.refuse(refusalOf(message));
    else if (type === "welcome") this.#beat(message.heartbeat_ms);
    else if (type === "expiring") this.#renew();
    else hear(message);
  }

  /** The server's pings are answered by the browser, unseen. Only our own tell us that a line is dead. */
  #beat(every_ms) {
    const timer = setInterval(() => {
      if (!this.#hasHeard) return this.#end(new Refusal("unreachable", "The server has fallen silent."));
      this.#hasHeard = false;
      this.ask("ping").catch(() => {});
    }, every_ms);
    this.ended.catch(() => clearInterval(timer));
  }

  /** A fresh token in time spares the connection its end. Where that fails, it ends, and comes back with another. */
  async #renew() {
    try {
      await this.#tokens.renew();
      await this.ask("auth", { token: this.#tokens.token });
    } catch (refusal) {
      console.info("the token could not be renewed:", refusal.message);
    }
  }
}

function refusalOf({ code, message }) {
  return new Refusal(TRANSIENT.includes(code) ? "unreachable" : code, message);
}

/** Why a connection was closed. A token that has ended (4401) is followed by another with the next one. */
function reasonOf(code) {
  if (code === REVOKED) return new Refusal("revoked", "The server no longer lets you in.");
  return new Refusal("unreachable", "The connection broke.");
}
