// Stock socket.io clients for the checker, which says what to do in JSON lines and reads what happens in JSON lines:
//
//   {"do":"subscribe","name":N,"url":U,"token":T,"transports":[…],"channels":[…]}   stays subscribed until it is closed
//   {"do":"connect","name":N,"url":U,"token":T,"transports":[…]}                    only publishes
//   {"do":"publish","name":N,"ref":R,"channel":C,"event":E,"data":D,"key":K}        answered with {"on":"answer"} or {"on":"failed"}
//   {"do":"close","name":N}
//
// It comes back by the client's own means alone: connection state recovery, and where that declined, `subscribe` with the last id.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../e2e/package.json", import.meta.url));
const { io } = require("sioc4");

// How long an answer may take: longer than the server is ever stopped for.
const ANSWER_MS = 8_000;

const clients = new Map();
const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

// Bytes in JSON, as the other transports have them.
function toJson(value) {
  if (value instanceof Uint8Array || value instanceof ArrayBuffer) return { $bytes: Buffer.from(value).toString("base64") };
  if (Array.isArray(value)) return value.map(toJson);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, toJson(inner)]));
}

function fromJson(value) {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(fromJson);
  if (typeof value.$bytes === "string" && Object.keys(value).length === 1) return Buffer.from(value.$bytes, "base64");
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, fromJson(inner)]));
}

class Client {
  // The last id that it got, and whether the server said that this session, however often restored, is subscribed.
  cursor = undefined;
  subscribed = false;

  constructor({ name, url, token, transports, channels }) {
    this.name = name;
    this.channels = channels;
    this.socket = io(url, {
      auth: { token },
      transports,
      forceNew: true,
      reconnectionDelay: 50,
      reconnectionDelayMax: 1_000,
    });
    this.socket.on("connect", () => this.connected());
    this.socket.on("disconnect", (reason) => {
      say({ on: "disconnect", name, reason });
      // The server said so, and a stock client stays away then.
      if (reason === "io server disconnect") this.flaw("disconnected by the server");
    });
    this.socket.on("connect_error", (error) => {
      // Active: it comes back by itself. Else the server refused it for good.
      if (!this.socket.active) this.flaw(`refused: ${error.message} ${JSON.stringify(error.data)}`);
    });
    this.socket.onAny((event, ...args) => this.happened(event, args));
  }

  flaw(text) {
    say({ on: "flaw", name: this.name, text });
  }

  connected() {
    const { recovered } = this.socket;
    say({ on: "connect", name: this.name, recovered });
    this.subscribed &&= recovered;
    if (this.channels && !this.subscribed) this.subscribe();
  }

  // Until it is answered, or the connection is lost: then the next connection asks.
  async subscribe() {
    const { id } = this.socket;
    const since = this.cursor;
    let answer;
    try {
      const args = since === undefined ? [this.channels] : [this.channels, { since }];
      answer = await this.socket.timeout(ANSWER_MS).emitWithAck("subscribe", ...args);
    } catch {
      if (this.socket.connected && this.socket.id === id) this.subscribe();
      return;
    }
    if (!answer?.ok) return this.flaw(`subscribe was answered with ${JSON.stringify(answer)}`);
    this.subscribed = true;
    if (this.cursor === undefined) this.cursor = answer.cursor;
    say({ on: "subscribed", name: this.name, cursor: answer.cursor, since });
  }

  happened(event, args) {
    if (event === "gap") {
      this.cursor = args[0]?.next;
      say({ on: "gap", name: this.name, gap: args[0] });
    } else if (event === "expiring" || event === "tidings:join" || event === "tidings:leave") {
      // None of the run's business.
    } else if (args.length !== 3 || typeof args[2] !== "string") {
      this.flaw(`${event} came with ${JSON.stringify(toJson(args)).slice(0, 300)}`);
    } else {
      const [data, meta, id] = args;
      this.cursor = id;
      say({ on: "event", name: this.name, id, event: { ...meta, event, data: toJson(data) } });
    }
  }

  async publish({ ref, channel, event, data, key }) {
    try {
      const options = key === undefined ? [] : [{ key }];
      const answer = await this.socket.timeout(ANSWER_MS).emitWithAck("publish", channel, event, fromJson(data), ...options);
      say({ on: "answer", ref, answer });
    } catch (error) {
      say({ on: "failed", ref, text: error.message });
    }
  }

  close() {
    this.socket.disconnect();
  }
}

const deeds = {
  subscribe: (order) => clients.set(order.name, new Client(order)),
  connect: (order) => clients.set(order.name, new Client(order)),
  publish: (order) => clients.get(order.name).publish(order),
  close({ name }) {
    clients.get(name)?.close();
    clients.delete(name);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  deeds[order.do](order);
}
process.exit();
