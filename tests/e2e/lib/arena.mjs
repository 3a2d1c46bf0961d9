// A server under attack, and those who must not notice: one on Socket.IO and one on /ws who follow a channel in which somebody
// publishes all the while. An attack passes when both have every event in order, newcomers come in, the server's memory has
// stayed within a bound, and its log tells of no panic.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Place, Plain, publish } from "./channels.mjs";
import { request } from "./http.mjs";
import { endLater } from "./leftovers.mjs";
import { enter } from "./server.mjs";
import { freePort } from "./targets.mjs";
import { tokenOf } from "./tokens.mjs";
import { until, within } from "./wait.mjs";

const MB = 1 << 20;
const WELL = "kept:well";

export class Arena {
  static async open({ env = {}, ...options } = {}) {
    const arena = new Arena();
    const admin = await freePort();
    arena.metricsUrl = `http://127.0.0.1:${admin}/metrics`;
    arena.place = await Place.open({ data: true, ...options, env: { TIDINGS_ADMIN__LISTEN: `127.0.0.1:${admin}`, ...env } });
    arena.ws = await Plain.enter(arena.place, "bystander");
    await arena.ws.subscribe(WELL);
    arena.sio = await enter(arena.place.server, "bystander");
    assert.equal((await arena.sio.ask("subscribe", WELL)).ok, true);
    arena.heard = [];
    arena.sio.socket.on("well", (_data, _meta, id) => arena.heard.push(id));
    return arena;
  }

  async close() {
    this.ws?.cut();
    this.sio?.close();
    await this.place?.close();
  }

  // A number of /metrics, by its series; 0 where it has none yet.
  async metric(series) {
    const { body } = await request("GET", this.metricsUrl);
    const line = body.split("\n").find((line) => line.startsWith(`${series} `));
    return line ? Number(line.split(" ")[1]) : 0;
  }

  resident = () => this.metric("process_resident_memory_bytes");

  // The kernel counts the peak from here on. Where it doesn't, the memory is looked at once the attack is over.
  #forgetPeak() {
    try {
      writeFileSync(`/proc/${this.place.server.child.pid}/clear_refs`, "5");
      return true;
    } catch {
      return false;
    }
  }

  async #peak(isCounted) {
    if (!isCounted) return this.resident();
    const status = readFileSync(`/proc/${this.place.server.child.pid}/status`, "utf8");
    return Number(status.match(/^VmHWM:\s+(\d+) kB$/m)[1]) * 1024;
  }

  // Goes through the attack; `grows_mb` is what it may take at its height. Returns what it took.
  async attacked(attack, { grows_mb = 64 } = {}) {
    const { place } = this;
    const ids = [];
    let going = true;
    const publishing = (async () => {
      while (going) {
        ids.push(await publish(place, WELL, "well", ids.length));
        await sleep(20);
      }
    })();
    publishing.catch(() => {}); // told below
    const isCounted = this.#forgetPeak();
    const before = await this.resident();
    // one that fails is told below, so that the next one begins with nothing left to hear
    const outcome = await Promise.resolve(attack()).then(
      () => ({}),
      (error) => ({ error }),
    );
    going = false;
    await publishing;
    const peak = await this.#peak(isCounted);

    ids.push(await publish(place, WELL, "well", "the last"));
    assert.deepEqual(
      (await this.ws.events(ids.length)).map(({ id }) => id),
      ids,
    );
    await until("all of it at Socket.IO's client", () => this.heard.length >= ids.length);
    assert.deepEqual(this.heard.splice(0), ids);
    if (outcome.error) throw outcome.error;
    await this.newcomers();
    assert.equal(place.server.ended, false, place.server.stderr.slice(-4000));
    assert.doesNotMatch(place.server.stderr, /panic/i);
    const grown = Math.round((peak - before) / MB);
    assert.ok(grown <= grows_mb, `it grew by ${grown} MB`);
    return grown;
  }

  // One on each protocol comes in and is served.
  async newcomers() {
    const [ws, sio] = await Promise.all([Plain.enter(this.place, "newcomer"), enter(this.place.server, "newcomer")]);
    assert.equal((await ws.result("publish", { channel: "mem:new", event: "e", data: 1 })).duplicate, false);
    assert.equal((await sio.ask("publish", "mem:new", "e", 1)).ok, true);
    ws.close();
    sio.close();
  }
}

// For a file's or a group's tests that share one.
export const inArena = async (options, play) => {
  const arena = await Arena.open(options);
  try {
    await play(arena);
  } finally {
    await arena.close();
  }
};

// A TCP connection that says what no library would.
export class Raw {
  text = "";
  over = false;

  constructor(server, first, { from = "127.0.0.1" } = {}) {
    this.socket = net.connect({ port: server.port, host: "127.0.0.1", localAddress: from });
    this.open = new Promise((done) => this.socket.once("connect", done).once("close", done));
    if (first !== undefined) this.socket.write(first);
    this.socket.on("data", (bytes) => (this.text += bytes.toString("latin1")));
    this.socket.on("error", (error) => (this.error = error));
    this.ended = new Promise((done) => this.socket.once("close", () => done(this)));
    this.ended.then(() => (this.over = true));
    this.ended.then(endLater(() => this.cut()));
  }

  // Writes as fast as it is taken, `piece` again and again, until `bytes` are out or the server has had enough.
  async pour(piece, bytes = Infinity) {
    let sent = 0;
    while (sent < bytes && this.socket.writable) {
      if (!this.socket.write(piece)) await Promise.race([new Promise((done) => this.socket.once("drain", done)), this.ended]);
      sent += piece.length;
    }
    return sent;
  }

  // Everything up to the end of a head has come.
  async head() {
    await until("an answer's head", () => this.text.includes("\r\n\r\n") || this.over);
    return this.text;
  }

  end = (deadline_ms) => within("the end of a connection", this.ended, deadline_ms);

  get status() {
    return Number(this.text.match(/^HTTP\/1\.1 (\d+)/)?.[1]);
  }

  cut() {
    this.socket.destroy();
  }
}

export const upgrade = (server, target, more = "") =>
  `GET ${target} HTTP/1.1\r\nhost: 127.0.0.1:${server.port}\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n` +
  `sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n${more}\r\n`;

// The two WebSockets there are, by what has to be asked for; on both a user is in as soon as it is there.
export const WEBSOCKETS = {
  "/ws": (sub) => `/ws?access_token=${tokenOf(sub)}`,
  "Socket.IO": (sub) => `/socket.io/?EIO=4&transport=websocket&access_token=${tokenOf(sub)}`,
};

// A frame of a client, masked with zeros.
export function frame(opcode, payload, { fin = true } = {}) {
  const bytes = Buffer.from(payload);
  const length =
    bytes.length < 126
      ? [0x80 | bytes.length]
      : bytes.length < 65536
        ? [0x80 | 126, bytes.length >> 8, bytes.length & 255]
        : [0x80 | 127, 0, 0, 0, 0, ...[24, 16, 8, 0].map((shift) => (bytes.length >>> shift) & 255)];
  return Buffer.concat([Buffer.from([(fin ? 0x80 : 0) | opcode, ...length, 0, 0, 0, 0]), bytes]);
}

// The code of the close frame at the end of what came.
export function closeCode(raw) {
  const at = raw.text.lastIndexOf("\x88");
  return at < 0 ? undefined : (raw.text.charCodeAt(at + 2) << 8) | raw.text.charCodeAt(at + 3);
}

export const count = (n) => Array.from({ length: n }, (_, i) => i);
