// The stock Socket.IO client with what a page needs around it: a token, a state that says when the next attempt is,
// and questions that fail instead of being kept back.
//
// The client would buffer whatever is emitted while it is offline and send it on its own later. Nothing here uses
// that: `ask` refuses while offline, and what has to wait, waits where the person can see it (outbox.js).

const ANSWER_MS = 10_000;
const DELAY_MAX_MS = 8_000;
const TOKEN_ATTEMPTS = 3;

/** What went wrong, with the server's code, or one of ours: `offline` (never sent), `unanswered` (may have arrived). */
export class Refusal extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * Dispatches `state` whenever `state` changes: `{name, attempt, next, detail}` with the names
 * `connecting`, `online`, `waiting` (for attempt `attempt`, at time `next`), `trying` (attempt `attempt`) and
 * `stopped` (for good, until `retry()`); and `transport` when the transport or its upgrade changes.
 */
export class Connection extends EventTarget {
  state = { name: "connecting", attempt: 0 };
  /** The user of the token, as the server has it. */
  user = "";
  #name = "";
  #token = "";
  #refused = 0;
  #timer = 0;
  #socket;
  #path = [];
  // The client doubles this for each attempt. Its own jitter would hide when the next one is, so it is off and each
  // tab draws its own start instead: a thousand tabs still don't come back at once.
  #delay_ms = 900 + Math.random() * 600;

  /** Asks for a token for `name` and connects; retries by itself while the server can't be reached. */
  async start(name) {
    this.#name = name;
    await this.#authenticate(0);
  }

  /** Becomes `name`: throws a Refusal, and stays who it was, when the server has no token for it. */
  async rename(name) {
    await this.#fetchToken(name);
    clearTimeout(this.#timer);
    this.#name = name;
    this.#open();
  }

  /** Tries now instead of when the client would. */
  retry() {
    clearTimeout(this.#timer);
    this.#refused = 0;
    if (this.#token) this.#open();
    else this.#authenticate(0);
  }

  /** Closes the transport under the client, which takes it for a broken line and comes back. */
  cut() {
    this.#socket?.io.engine?.close();
  }

  /** Emits and waits for the answer's fields; throws a Refusal otherwise. Never buffered, so never sent later. */
  async ask(event, ...args) {
    if (!this.#socket?.connected) throw new Refusal("offline", "There is no connection.");
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
    if (!this.#socket?.connected) return;
    this.#socket.volatile.timeout(ANSWER_MS).emit("publish", channel, event, data, { volatile: true }, () => {});
  }

  /** Listens to an event of the server; before `start`, too. */
  on(event, listener) {
    this.#client().on(event, listener);
  }

  /** `polling`, `websocket`, `polling → websocket` after the upgrade; empty without a connection. */
  get transport() {
    return this.#path.join(" → ");
  }

  async #authenticate(attempt) {
    try {
      await this.#fetchToken(this.#name);
    } catch (error) {
      if (error.code !== "unreachable") return this.#become({ name: "stopped", detail: error.message });
      const wait_ms = Math.min(this.#delay_ms * 2 ** attempt, DELAY_MAX_MS);
      this.#wait(attempt + 1, wait_ms);
      this.#timer = setTimeout(() => {
        this.#become({ name: "trying", attempt: attempt + 1 });
        this.#authenticate(attempt + 1);
      }, wait_ms);
      return;
    }
    this.#open();
  }

  async #fetchToken(name) {
    let response;
    let answer;
    try {
      response = await fetch("token", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ name }),
      });
      answer = await response.json().catch(() => ({}));
    } catch {
      throw new Refusal("unreachable", "The server can't be reached.");
    }
    if (response.ok && answer.token) {
      this.#token = answer.token;
      this.user = answer.user;
      return;
    }
    if (response.status >= 500 || response.status === 429) throw new Refusal("unreachable", answer.detail);
    const hint = "This page gets its tokens from a server that runs with --dev.";
    throw new Refusal(answer.code ?? "not_found", answer.detail ?? hint);
  }

  #open() {
    const socket = this.#client();
    // Also drops an attempt that is under way, and the client's timer for the next one.
    socket.disconnect();
    this.#become({ name: "connecting", attempt: 0 });
    socket.connect();
  }

  #client() {
    if (this.#socket) return this.#socket;
    const socket = window.io({
      autoConnect: false,
      auth: (answer) => answer({ token: this.#token }),
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
      if (reason === "io server disconnect") {
        this.#become({ name: "stopped", detail: "The server ended this connection." });
      } else if (reason !== "io client disconnect") {
        waitForNext();
      }
    });
    socket.on("connect_error", (error) => {
      if (socket.active) return waitForNext(reasonOf(error));
      this.#refuse(error);
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
