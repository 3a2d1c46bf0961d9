// One run of a scenario against one server, and its transcript: per client what it saw, per client what the server saw of it, and
// what the test itself noted; ids replaced by the clients' names, so that two runs can be compared.
import { isDeepStrictEqual } from "node:util";
import { Client, transports, versions } from "./clients.mjs";

export class Run {
  #clients = new Map();
  #notes = [];
  #logStart = 0;

  constructor(app, version, transport) {
    this.app = app;
    this.version = version;
    this.transport = transport;
  }

  async begin() {
    await this.app.quiet();
    this.#logStart = (await this.app.log()).length;
  }

  // A client with a connection of its own; not yet connected.
  open(name, options = {}) {
    const client = new Client(versions[this.version], this.app.url, {
      transports: transports[this.transport],
      ...options,
    });
    this.#clients.set(name, client);
    return client;
  }

  connect(name, options) {
    return this.open(name, options).connected();
  }

  // Another namespace on the connection of `client`.
  beside(name, client, nsp, options = {}) {
    const io = () => client.socket.io.socket(nsp, options);
    const second = new Client(io, "", { nsp });
    this.#clients.set(name, second);
    return second;
  }

  note(what, value) {
    this.#notes.push({ [what]: value });
  }

  // What a scenario that failed must not leave to the next one.
  abort() {
    for (const client of this.#clients.values()) client.close();
  }

  // Says good-bye, waits until the server has nothing left of any of it.
  async end() {
    this.abort();
    await this.app.quiet();
    return this.transcript((await this.app.log()).slice(this.#logStart));
  }

  transcript(log) {
    const names = new Map();
    for (const [name, client] of this.#clients) client.ids.forEach((id, n) => names.set(id, n ? `<${name}#${n}>` : `<${name}>`));
    const clients = {};
    const server = {};
    for (const [name, client] of this.#clients) {
      clients[name] = normalised(client.records, names);
      server[name] = normalised(
        log.filter((entry) => client.ids.includes(entry.id)),
        names,
      );
    }
    return { clients, server, notes: normalised(this.#notes, names) };
  }
}

function normalised(value, names, key) {
  if (typeof value === "string") return names.get(value) ?? value;
  if (Array.isArray(value)) {
    const list = value.map((inner) => normalised(inner, names));
    // sets in the contract of the app: their order means nothing
    if (key === "rooms") return list.sort();
    if (key === "responses" || key === "sockets") return list.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
    return list;
  }
  if (value && typeof value === "object") {
    const entries = Object.entries(value).map(([name, inner]) => [name, normalised(inner, names, name)]);
    if (["join", "leave", "rooms"].includes(value.ack)) {
      // the answer is the set of rooms
      const rooms = value.args[0];
      if (Array.isArray(rooms)) return { ack: value.ack, args: [rooms.map((room) => names.get(room) ?? room).sort()] };
    }
    return Object.fromEntries(entries);
  }
  return value;
}

// The streams ("clients.c1", "server.c1", "notes") in which two transcripts differ.
export function differences(reference, other) {
  const streams = (transcript) => {
    const all = new Map([["notes", transcript.notes]]);
    for (const side of ["clients", "server"])
      for (const [name, records] of Object.entries(transcript[side])) all.set(`${side}.${name}`, records);
    return all;
  };
  const left = streams(reference);
  const right = streams(other);
  const found = [];
  for (const stream of new Set([...left.keys(), ...right.keys()])) {
    const a = left.get(stream);
    const b = right.get(stream);
    if (!isDeepStrictEqual(a, b)) found.push({ stream, reference: a, other: b });
  }
  return found;
}
