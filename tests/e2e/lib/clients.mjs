// Stock socket.io clients that write down what they see.
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { endLater } from "./leftovers.mjs";
import { DEADLINE_MS, until, within } from "./wait.mjs";

const require = createRequire(import.meta.url);

export const versions = {
  "3.0": require("sioc3").io,
  "4.0": require("sioc40").io,
  "4.8": require("sioc4").io,
};
export const newest = versions["4.8"];

export const transports = {
  polling: ["polling"],
  websocket: ["websocket"],
  upgrade: ["polling", "websocket"],
};

// One socket of one client. `records` is its transcript: what happened, in the order it happened.
export class Client {
  records = [];
  ids = [];
  #seen = 0;

  constructor(io, url, { nsp = "/", ...options } = {}) {
    this.socket = io(url + nsp, { forceNew: true, reconnection: false, ...options });
    this.upgrades = options.transports?.length > 1;
    this.ended = endLater(() => this.close());
    this.socket.on("connect", () => {
      this.ids.push(this.socket.id);
      this.records.push({ connect: this.socket.id });
    });
    this.socket.on("connect_error", (error) => {
      // what a transport says of its own failure is the client's, not the server's
      const record = { connect_error: error.message };
      if (error.data !== undefined) record.data = error.data;
      this.records.push(record);
    });
    this.socket.on("disconnect", (reason) => this.records.push({ disconnect: reason }));
    this.socket.onAny((event, ...args) => {
      const values = args.map((arg) => (typeof arg === "function" ? "<ack>" : plain(arg)));
      this.records.push({ event, args: values });
    });
  }

  // Connected, and on the transport that the test is about.
  async connected() {
    await until(
      () => `connect; so far ${JSON.stringify(this.records)}`,
      () => this.socket.connected,
    );
    if (this.upgrades) await until("the upgrade to WebSocket", () => this.transport === "websocket");
    return this;
  }

  get transport() {
    return this.socket.io.engine.transport.name;
  }

  emit(event, ...args) {
    this.socket.emit(event, ...args);
  }

  // Emits with an ack, writes the answer down, and returns its first argument.
  ask(event, ...args) {
    const answer = new Promise((done) => {
      this.socket.emit(event, ...args, (...answers) => {
        this.records.push({ ack: event, args: answers.map(plain) });
        done(answers[0]);
      });
    });
    return within(`the ack of ${event}`, answer);
  }

  // Everything the server sent before this has arrived.
  async barrier() {
    const answer = new Promise((done) => this.socket.emit("echo", "barrier", done));
    await within("the barrier's ack", answer);
  }

  // The next record, not yet taken, that the test accepts.
  async saw(what, accepts) {
    let at = -1;
    await until(
      () => `${what}; so far ${JSON.stringify(this.records).slice(0, 2000)}`,
      () => (at = this.records.findIndex((record, n) => n >= this.#seen && accepts(record))) >= 0,
      DEADLINE_MS,
    );
    this.#seen = at + 1;
    return this.records[at];
  }

  sawEvent = (event) => this.saw(`the event ${event}`, (record) => record.event === event);
  sawError = () => this.saw("connect_error", (record) => "connect_error" in record);
  sawDisconnect = () => this.saw("disconnect", (record) => "disconnect" in record);

  close() {
    this.ended();
    this.socket.disconnect();
  }
}

// A value as it can stand in a transcript: bytes become their length and hash.
export function plain(value) {
  if (value instanceof ArrayBuffer) return plain(Buffer.from(value));
  if (ArrayBuffer.isView(value)) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    return { $bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex").slice(0, 16) };
  }
  if (typeof value === "string" && value.length > 1000) return `${value.length} characters ${value.slice(0, 20)}`;
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
  return value;
}
