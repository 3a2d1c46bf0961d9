// What an answered publish survives, seen in the server's system calls: with `durability = "power"` an event is written, then synced,
// then answered and delivered; with "process" it is written before it is answered.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import WebSocket from "ws";
import { request } from "./lib/http.mjs";
import { enter, start } from "./lib/server.mjs";
import { tokenOf } from "./lib/tokens.mjs";
import { parseTrace, readTrace, Streams, tracer, untraceable } from "./lib/trace.mjs";
import { until, within } from "./lib/wait.mjs";

const API_KEY = "an-api-key-of-the-tests:0123456789abcdefghijklmnopqrstuvwxyz";
const CHANNEL = "kept:trace";
const CHANNELS = `
[[channels]]
match = "kept:*"
history = { keep = 1000 }
subscribe = "user"
publish = "user"
`;

const forbidden = untraceable();
const options = { skip: forbidden && `NOT TESTED: this machine forbids tracing (${forbidden})` };
if (forbidden) console.error(`\n!!! durability is NOT TESTED here: tracing is forbidden (${forbidden})\n`);

// The data of an event, with a mark at each end to find it again by.
function marked() {
  const mark = `mark${randomBytes(8).toString("hex")}`;
  return { begin: `${mark}begin`, end: `${mark}end`, data: { a: `${mark}begin`, b: "-".repeat(50), c: `${mark}end` } };
}

// Ways to publish; each answers the id.
async function apiPublisher(server) {
  return async (data) => {
    const { status, body } = await request("POST", `${server.url}/api/v1/publish`, {
      headers: { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" },
      body: JSON.stringify({ channel: CHANNEL, event: "note", data }),
    });
    assert.equal(status, 200, body);
    const answer = JSON.parse(body);
    assert.equal(answer.durability, server.durability);
    return answer.id;
  };
}

class Plain {
  #waiting = new Map();
  #next = 1;

  static async open(server) {
    const plain = new Plain();
    plain.socket = new WebSocket(`${server.url.replace("http", "ws")}/ws`, { headers: { authorization: `Bearer ${tokenOf("ws")}` } });
    const welcome = new Promise((done) => {
      plain.socket.on("message", (text) => {
        const message = JSON.parse(text);
        if (message.type === "welcome") done();
        plain.#waiting.get(message.id)?.(message);
      });
    });
    await within("welcome", welcome);
    return plain;
  }

  async ask(type, rest) {
    const id = this.#next++;
    const answer = new Promise((done) => this.#waiting.set(id, done));
    this.socket.send(JSON.stringify({ type, id, ...rest }));
    const { type: kind, result, ...error } = await within(`${type} answered`, answer);
    assert.equal(kind, "ok", JSON.stringify(error));
    return result;
  }
}

async function plainPublisher(server) {
  const plain = await Plain.open(server);
  return async (data) => (await plain.ask("publish", { channel: CHANNEL, event: "note", data })).id;
}

async function socketioPublisher(server) {
  const client = await enter(server, "sio");
  server.ends.push(() => client.close());
  return async (data) => {
    const answer = await client.ask("publish", CHANNEL, "note", data);
    assert.equal(answer.ok, true, JSON.stringify(answer));
    return answer.id;
  };
}

const PUBLISHERS = { "the API": apiPublisher, "/ws": plainPublisher, "Socket.IO": socketioPublisher };

// Runs a server under the trace, publishes some one after another and some at once, in every way, with a subscriber listening.
// What was published, with its answers, and the calls.
async function traced(durability) {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "tidings-trace-")));
  after(() => rmSync(folder, { recursive: true, force: true }));
  const output = join(folder, "trace");
  const data = join(folder, "data");
  const server = await start({
    top: `data = ${JSON.stringify(data)}\ndurability = "${durability}"`,
    channels: CHANNELS,
    more: `[api]\nkey = "${API_KEY}"`,
    through: tracer(output),
  });
  server.durability = durability;
  server.ends = [];
  const published = [];
  try {
    const reader = await Plain.open(server);
    let deliveries = 0;
    reader.socket.on("message", (text) => (deliveries += JSON.parse(text).type === "event" ? 1 : 0));
    await reader.ask("subscribe", { channels: [CHANNEL] });
    for (const [way, open] of Object.entries(PUBLISHERS)) {
      const publish = await open(server);
      const one = async () => {
        const event = marked();
        published.push({ way, ...event, id: await publish(event.data) });
      };
      for (let count = 0; count < 5; count++) await one();
      await Promise.all(Array.from({ length: 10 }, one));
    }
    await until("all were delivered", () => deliveries === published.length);
    for (const end of server.ends) end();
    reader.socket.terminate();
  } finally {
    await server.stop("SIGKILL");
  }
  // the tracer ends after what it traces
  await until("the trace's end", () => readFileSync(output, "utf8").trimEnd().endsWith("+++ killed by SIGKILL +++"));
  return { published, calls: readTrace(output), data };
}

// Where an event shows in the calls: written to the store, answered, delivered.
class Shown {
  constructor(event, { stored, sockets }) {
    const { begin, end, id } = event;
    this.event = event;
    // The journal, and perhaps a table later: the first place is what an answer could have waited for.
    const kept = stored.find(end).sort((a, b) => a.last.ended - b.last.ended)[0];
    assert.ok(kept && stored.find(begin).length > 0, `${id} was not written to the store`);
    this.written = kept.last;
    this.file = kept.last.target;
    // The publisher's connection is one on which the event itself is never written.
    const readers = new Set(sockets.find(end).map((place) => place.last.target));
    this.delivered = sockets.find(begin).map((place) => place.first);
    const answers = sockets.find(`${id}\\"`).map((place) => place.first);
    this.answered = answers.filter((call) => !readers.has(call.target)).sort((a, b) => a.began - b.began)[0];
    assert.ok(this.answered, `the answer with ${id} is nowhere`);
    assert.ok(this.delivered.length > 0, `the delivery of ${id} is nowhere`);
  }

  // The sync that ended first of those that began after the event was written.
  synced(calls) {
    const after = calls.filter(
      (call) => call.isSync && call.result === 0 && call.target === this.file && call.began > this.written.ended,
    );
    return after.sort((a, b) => a.ended - b.ended)[0];
  }
}

function look({ published, calls, data }) {
  const stored = new Streams(calls, (target) => target.startsWith(`${data}/`));
  const sockets = new Streams(calls, (target) => target.startsWith("socket:") || target.startsWith("TCP"));
  return published.map((event) => new Shown(event, { stored, sockets }));
}

// Those for which nothing was answered or shown before it was written, or also synced.
const writtenFirst = (shown) =>
  [shown.answered, ...shown.delivered].every((call) => shown.written.ended < call.began);
const syncedFirst = (shown, calls) => {
  const sync = shown.synced(calls);
  return sync !== undefined && [shown.answered, ...shown.delivered].every((call) => sync.ended < call.began);
};
const named = ({ event: { way, id } }) => `${id} by ${way}`;

describe("what is answered is kept, seen in system calls", options, () => {
  test("power: written, synced, then answered and delivered", async () => {
    const trace = await traced("power");
    const all = look(trace);
    assert.equal(all.length, 45);
    assert.deepEqual(all.filter((shown) => !writtenFirst(shown)).map(named), [], "answered or delivered before it was written");
    assert.deepEqual(all.filter((shown) => !syncedFirst(shown, trace.calls)).map(named), [], "answered or delivered before it was synced");
  });

  test("process: written, then answered and delivered, and no sync is waited for", async () => {
    const trace = await traced("process");
    const all = look(trace);
    assert.equal(all.length, 45);
    assert.deepEqual(all.filter((shown) => !writtenFirst(shown)).map(named), [], "answered or delivered before it was written");
    // Also says that the test above could fail.
    assert.ok(all.some((shown) => !syncedFirst(shown, trace.calls)), "every event was synced before its answer");
  });
});

// Each sync takes three seconds here.
test("who asks nothing of the disk does not wait for it", options, async () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "tidings-slow-")));
  after(() => rmSync(folder, { recursive: true, force: true }));
  const delayed = ["-e", "inject=fdatasync:delay_enter=3000000"];
  const server = await start({
    top: `data = ${JSON.stringify(join(folder, "data"))}\ndurability = "power"`,
    channels: CHANNELS,
    more: `[api]\nkey = "${API_KEY}"`,
    through: [...tracer("/dev/null"), ...delayed],
  });
  server.durability = "power";
  try {
    let answered = false;
    const publish = (await apiPublisher(server))({ slow: true }).then(() => (answered = true));
    const path = `/poll?channel=user:ann&wait=0&access_token=${tokenOf("ann")}`;
    for (let n = 0; n < 5; n++) assert.equal((await request("GET", server.url + path)).status, 200);
    assert.equal(answered, false, "the polls waited for the publish");
    await within("the publish", publish);
  } finally {
    await server.stop("SIGKILL");
  }
});

// Each sync takes a third of a second here.
test("what one connection publishes at once shares a sync, and is answered in order", options, async () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "tidings-shared-")));
  after(() => rmSync(folder, { recursive: true, force: true }));
  const output = join(folder, "trace");
  const server = await start({
    top: `data = ${JSON.stringify(join(folder, "data"))}\ndurability = "power"`,
    channels: CHANNELS,
    through: [...tracer(output), "-e", "inject=fdatasync:delay_enter=300000"],
  });
  const syncs = () => readFileSync(output, "utf8").match(/fdatasync\(/g)?.length ?? 0;
  try {
    const plain = await Plain.open(server);
    const before = syncs();
    const answered = [];
    const publish = (n) =>
      plain.ask("publish", { channel: CHANNEL, event: "note", data: n }).then(({ id }) => answered.push([n, Number(id.split("-")[1])]));
    await Promise.all(Array.from({ length: 30 }, (_, n) => publish(n)));
    assert.deepEqual(answered.map(([n]) => n), Array.from({ length: 30 }, (_, n) => n));
    assert.deepEqual(answered.map(([, seq]) => seq), answered.map(([n]) => answered[0][1] + n));
    assert.ok(syncs() - before <= 5, `${syncs() - before} syncs`);
    plain.socket.terminate();
  } finally {
    await server.stop("SIGKILL");
  }
});

// The trace of a server that does it wrong, so that the look itself is tested, without any tracing.
describe("the look at the trace", () => {
  const event = { way: "a test", begin: "BEGIN", end: "END", id: "abcdefgh-7" };
  const WRITE = '10 write(5</d/store/0.jnl>, "\\0BEGIN", 6) = 6\n10 write(5</d/store/0.jnl>, "-END", 4) = 4';
  const SYNC = "10 fdatasync(5</d/store/0.jnl>)     = 0";
  const ANSWER = '11 writev(7<socket:[70]>, [{iov_base="HTTP/1.1 200 OK", iov_len=15}, {iov_base="{\\"id\\":\\"abcdefgh-7\\"}", iov_len=19}], 2) = 34';
  const DELIVERY = '12 sendto(8<socket:[80]>, "{\\"id\\":\\"abcdefgh-7\\",\\"data\\":\\"BEGIN-END\\"}", 40, MSG_NOSIGNAL, NULL, 0) = 40';

  const judge = (...lines) => {
    const calls = parseTrace(lines.join("\n"));
    const [shown] = look({ published: [event], calls, data: "/d" });
    return { written: writtenFirst(shown), synced: syncedFirst(shown, calls) };
  };

  test("the right order", () => assert.deepEqual(judge(WRITE, SYNC, ANSWER, DELIVERY), { written: true, synced: true }));
  test("no sync", () => assert.deepEqual(judge(WRITE, ANSWER, DELIVERY), { written: true, synced: false }));
  test("a sync that is too early", () => assert.deepEqual(judge(SYNC, WRITE, ANSWER, DELIVERY), { written: true, synced: false }));
  test("a sync of another file", () =>
    assert.deepEqual(judge(WRITE, SYNC.replace("0.jnl", "1.jnl"), ANSWER, DELIVERY), { written: true, synced: false }));
  test("a sync that failed", () =>
    assert.deepEqual(judge(WRITE, SYNC.replace("= 0", "= -1 EIO (Input/output error)"), ANSWER, DELIVERY), { written: true, synced: false }));
  test("a write and a sync without an end", () => {
    assert.deepEqual(judge(WRITE, SYNC.replace(/\s+= 0/, ""), ANSWER, DELIVERY), { written: true, synced: false });
    assert.deepEqual(judge(WRITE.replace(" = 4", ""), SYNC, ANSWER, DELIVERY), { written: false, synced: false });
    assert.deepEqual(judge(WRITE, SYNC, DELIVERY, ANSWER.replace(" = 34", "")), { written: true, synced: true });
  });
  test("an answer before the write", () => assert.deepEqual(judge(ANSWER, WRITE, SYNC, DELIVERY), { written: false, synced: false }));
  test("a delivery before the sync", () => assert.deepEqual(judge(WRITE, DELIVERY, SYNC, ANSWER), { written: true, synced: false }));
  test("an answer while the sync is under way", () => {
    const [begins, ends] = ["10 fdatasync(5</d/store/0.jnl> <unfinished ...>", "10 <... fdatasync resumed>)         = 0"];
    assert.deepEqual(judge(WRITE, begins, ANSWER, ends, DELIVERY), { written: true, synced: false });
    assert.deepEqual(judge(WRITE, begins, ends, ANSWER, DELIVERY), { written: true, synced: true });
  });
  test("a sync that began while the event was being written", () => {
    const [begins, ends] = ['10 write(5</d/store/0.jnl>, "BEGIN-END", 9 <unfinished ...>', "10 <... write resumed>)             = 9"];
    assert.deepEqual(judge(begins, SYNC.replace("10", "13"), ends, ANSWER, DELIVERY), { written: true, synced: false });
  });
  test("what is not there", () => {
    assert.throws(() => judge(SYNC, ANSWER, DELIVERY), /not written/);
    assert.throws(() => judge(WRITE, SYNC, DELIVERY), /answer/);
    assert.throws(() => judge(WRITE, SYNC, ANSWER), /delivery/);
  });
});
