// The stock Socket.IO client with what a page needs around it: a token, a state that says when the next attempt is, a
// line that can be cut and let back, and questions that fail instead of being kept back.
//
// The client would buffer whatever is emitted while it is offline and send it on its own later. Nothing here uses
// that: `ask` refuses while offline, and what has to wait, waits where the person can see it (outbox.js).

import { Refusal } from "./refusal.js";

const ANSWER_MS = 10_000;
const DELAY_MAX_MS = 8_000;
const TOKEN_ATTEMPTS = 3;

/**
 * Dispatches `state` whenever `state` changes: `{name, attempt, next, detail}` with the names
 * `connecting`, `online`, `waiting` (for attempt `attempt`, at time `next`), `trying` (attempt `attempt`),
 * `cut` (by hand, until `retry()`) and `stopped` (for good, until `retry()`); and `transport` when the transport or its
 * upgrade changes.
 */
export class Connection extends EventTarget {
  state = { name: "connecting", attempt: 0 };
  #tokens;
  #name = "";
  #cut = false;
  #refused = 0;
  #timer = 0;
  #socket;
  #path = [];
  // The client doubles this for each attempt. Its own jitter would hide when the next one is, so it is off and each
  // tab draws its own start instead: a thousand tabs still don't come back at once.
  #delay_ms = 900 + Math.random() * 600;

  /** `tokens` is where the token comes from. */
  constructor(tokens) {
    super();
    this.#tokens = tokens;
  }

  /** The user of the token, as the server has it. */
  get user() {
    return this.#tokens.user;
  }

  /** Whether what the server kept of the connection before was restored: its subscriptions, and what was missed. */
  get recovered() {
    return this.#socket?.recovered === true;
  }

  /** Asks for a token for `name` and connects; retries by itself while the server can't be reached. */
  async start(name) {
    this.#name = name;
    await this.#authenticate(0);
  }

  /** Becomes `name`: throws a Refusal, and stays who it was, when the server has no token for it. */
  async rename(name) {
    await this.#tokens.become(name);
    this.#name = name;
    clearTimeout(this.#timer);
    if (!this.#cut) this.#open();
  }

  /** Tries now: instead of when the client would, or after a cut. */
  retry() {
    clearTimeout(this.#timer);
    this.#refused = 0;
    this.#cut = false;
    this.#client().io.reconnection(true);
    if (this.#tokens.token) this.#open();
    else this.#authenticate(0);
  }

  /** Closes the transport under the client, as a tunnel or a lift does, and keeps it closed until `retry()`. */
  cut() {
    const socket = this.#client();
    this.#cut = true;
    clearTimeout(this.#timer);
    socket.io.reconnection(false);
    // The client's own `disconnect` would tell the server that it won't come back.
    if (socket.connected) socket.io.engine.close();
    else socket.disconnect();
    this.#become({ name: "cut" });
  }

  /** Emits and waits for the answer's fields; throws a Refusal otherwise. Never buffered, so never sent later. */
  async ask(event, ...args) {
    if (!this.#socket?.connected || this.#cut) throw new Refusal("offline", "There is no connection.");
    let answer;
    try {
      answer = await this.#socket.timeout(ANSWER_MS).emitWithAck(event, ...args);
    } catch {
      const late = "The server didn't answer in time.";
      const lost = "The connection broke before the server answered.";
      throw new Refusal("unanswered", this.#socket.connected ? late : lost);
    }
    if (answer?.ok) return answer;
    throw new Refusal(answer?.code ?? "internal", answer?.message ?? "The server refused.");
  }

  /** Publishes what is worth nothing later: dropped when the transport isn't ready, and nobody hears of a refusal. */
  hint(channel, event, data) {
    if (!this.#socket?.connected || this.#cut) return;
    this.#socket.volatile.timeout(ANSWER_MS).emit("publish", channel, event, data, { volatile: true }, () => {});
  }

  /** Listens to an event of the server; before `start`, too. */
  on(event, listener) {
    this.#client().on(event, listener);
  }

  /** Listens to all of them: `listener(event, ...args)`. */
  onAny(listener) {
    this.#client().onAny(listener);
  }

  /** `polling`, `websocket`, `polling → websocket` after the upgrade; empty without a connection. */
  get transport() {
    return this.#path.join(" → ");
  }

  async #authenticate(attempt) {
    try {
      await this.#tokens.become(this.#name);
    } catch (error) {
      if (this.#cut) return;
      if (error.code !== "unreachable") return this.#become({ name: "stopped", detail: error.message });
      const wait_ms = Math.min(this.#delay_ms * 2 ** attempt, DELAY_MAX_MS);
      this.#wait(attempt + 1, wait_ms);
      this.#timer = setTimeout(() => {
        this.#become({ name: "trying", attempt: attempt + 1 });
        this.#authenticate(attempt + 1);
      }, wait_ms);
      return;
    }
    if (!this.#cut) this.#open();
  }

  #open() {
    const socket = this.#client();
    // Also drops an attempt that is under way, and the client's timer for the next one. After a cut that is still under
    // way, there is no goodbye to the server: it shall take the line for broken.
    if (socket.connected && socket.io.engine.readyState !== "open") {
      socket.once("disconnect", () => this.#cut || this.#open());
      return;
    }
    socket.disconnect();
    this.#become({ name: "connecting", attempt: 0 });
    socket.connect();
  }

  #client() {
    if (this.#socket) return this.#socket;
    const socket = window.io({
      autoConnect: false,
      auth: (answer) => answer({ token: this.#tokens.token }),
      reconnectionDelay: this.#delay_ms,
      reconnectionDelayMax: DELAY_MAX_MS,
      randomizationFactor: 0,
    });
    this.#socket = socket;
    let attempt = 0;
    const waitForNext = (detail) => {
      this.#wait(attempt + 1, Math.min(this.#delay_ms * 2 ** attempt, DELAY_MAX_MS), detail);
    };

    socket.on("connect", () => {
      attempt = 0;
      this.#refused = 0;
      this.#become({ name: "online", attempt });
    });
    socket.on("disconnect", (reason) => {
      attempt = 0;
      this.#route();
      if (this.#cut) return;
      if (reason === "io server disconnect") {
        this.#become({ name: "stopped", detail: "The server ended this connection." });
      } else if (reason !== "io client disconnect") {
        waitForNext();
      }
    });
    socket.on("connect_error", (error) => {
      if (this.#cut) return;
      if (socket.active) return waitForNext(reasonOf(error));
      this.#refuse(error);
    });
    // A fresh token in time spares the connection its end. Where that fails, it ends, and comes back with another.
    socket.on("expiring", async () => {
      try {
        await this.#tokens.renew();
        await this.ask("auth", this.#tokens.token);
      } catch (refusal) {
        console.info("the token could not be renewed:", refusal.message);
      }
    });
    socket.io.on("reconnect_attempt", (number) => {
      attempt = number;
      this.#become({ name: "trying", attempt });
    });
    socket.io.on("open", () => {
      const engine = socket.io.engine;
      this.#route(engine.transport.name);
      engine.on("upgrade", (transport) => this.#route(...this.#path, transport.name));
    });
    return socket;
  }

  /** CONNECT_ERROR, after which the client gives up. A token can have aged, or be of a server that was restarted. */
  #refuse(error) {
    const code = error.data?.code ?? "";
    const ofToken = code === "unauthenticated" || code.startsWith("token_");
    if (ofToken && this.#refused < TOKEN_ATTEMPTS) {
      this.#refused += 1;
      this.#authenticate(0);
    } else {
      this.#become({ name: "stopped", detail: error.message });
    }
  }

  #wait(attempt, wait_ms, detail) {
    this.#become({ name: "waiting", attempt, next: Date.now() + wait_ms, detail });
  }

  #route(...path) {
    this.#path = path;
    this.dispatchEvent(new Event("transport"));
  }

  #become(state) {
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}

/** The handshake's error body names what is wrong (a foreign origin and its setting); the client only keeps its request. */
function reasonOf(error) {
  try {
    const { message } = JSON.parse(error.context.responseText);
    return typeof message === "string" ? message : undefined;
  } catch {
    return undefined;
  }
}
