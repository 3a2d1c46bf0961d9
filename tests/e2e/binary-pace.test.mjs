// The `tidings` server: channels with a pace, `conflate`, `throttle` and `debounce`. Where a test wants to see what is held, the time is
// an hour; where it wants to see it go, a moment, and then it counts what came against the time that it took.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import {
  API_KEY,
  apiPublish,
  assertProblem,
  call,
  epochOf,
  inPlace,
  Place,
  Plain,
  poll,
  polled,
  publish,
  RULES,
  seqOf,
  Sse,
  tailOf,
} from "./lib/channels.mjs";
import { Proxy } from "./lib/proxy.mjs";
import { enter, ID, startDev, user } from "./lib/server.mjs";
import { runBinary } from "./lib/targets.mjs";
import { tokenOf } from "./lib/tokens.mjs";
import { until, within } from "./lib/wait.mjs";
import { Polling } from "./lib/wire.mjs";

const FLOW_MS = 200;
const THROTTLE_MS = 300;
const DEBOUNCE_MS = 200;

const rule = (match, pace) => `[[channels]]\nmatch = "${match}"\n${pace}\nsubscribe = "user"\npublish = "user"\n`;
const kept = (match, pace) => rule(match, `history = { keep = 100000 }\n${pace}`);

const PACES = [
  rule("slow:*", 'conflate = { by = "data.id", every = "1h" }'),
  rule("flow:*", `conflate = { by = "data.id", every = "${FLOW_MS}ms" }`),
  rule("gone:*", 'conflate = { by = "data.id", every = "50ms", for = "1s" }'),
  rule("deep:*", 'conflate = { by = "data.at.id", every = "1h" }'),
  rule("slow-one:*", 'conflate = { every = "1h" }'),
  rule("slow-user:*", 'conflate = { by = "user", every = "1h" }'),
  rule("slow-event:*", 'conflate = { by = "event", every = "1h" }'),
  ...["leading", "trailing", "both"].flatMap((edge) => [
    kept(`${edge}:*`, `throttle = { every = "1h", edge = "${edge}" }`),
    kept(`${edge}-flow:*`, `throttle = { every = "${THROTTLE_MS}ms", edge = "${edge}" }`),
    kept(`${edge}-fast:*`, `throttle = { every = "1ms", edge = "${edge}" }`),
    kept(`${edge}-user:*`, `throttle = { every = "1h", edge = "${edge}", by = "user" }`),
  ]),
  kept("edge:*", 'throttle = { every = "1h" }'),
  kept("quiet:*", 'debounce = "1h"'),
  kept("quiet-five:*", 'debounce = "5s"'),
  kept("quiet-user:*", 'debounce = { every = "1h", by = "user" }'),
  kept("quiet-event:*", 'debounce = { every = "1h", by = "event" }'),
  kept("quiet-field:*", 'debounce = { every = "1h", by = "data.id" }'),
  kept("quiet-flow:*", `debounce = "${DEBOUNCE_MS}ms"`),
  kept("quiet-flow-user:*", `debounce = { every = "${DEBOUNCE_MS}ms", by = "user" }`),
].join("\n");

const ON = `
[[on]]
event = "moved"
to = "slow:{data.map}"

[[on]]
event = "typing"
to = "leading:{data.room}"
volatile = true
`;

const PACED = { data: true, channels: `${RULES}\n${PACES}`, more: ON };

let place;
before(async () => (place = await Place.open(PACED)));
after(() => place?.close());

const count = (n) => Array.from({ length: n }, (_, i) => i);
const neverFalls = (numbers, what) => assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b), what);
const rises = (numbers, what) => assert.deepEqual(numbers, [...new Set(numbers)].sort((a, b) => a - b), what);
const numbersOf = (events) => events.map(({ data }) => data.n);

// A channel of its own for each test.
let channels = 0;
const fresh = (kind) => `${kind}:${(channels += 1)}`;

// So many times can have ended by now.
const timesSince = (begin, every_ms) => Math.floor((performance.now() - begin) / every_ms);

const history = async (channel, at = place) => {
  const answer = await call("GET", at, `/api/v1/channels/${encodeURIComponent(channel)}/history?limit=1000`, { token: API_KEY });
  assert.equal(answer.status, 200, answer.body);
  return answer.json.events;
};

// Who publishes, in each way: the answer, a refusal with its code. `none` is the answer without an id, `given` what else is in one
// with an id where there is a history.
const publishers = {
  "Socket.IO": {
    none: { ok: true, duplicate: false },
    given: { ok: true, duplicate: false },
    open: async (sub = "pub", at = place) => {
      const client = await enter(at, sub);
      const say = (channel, event, data, options) => client.ask("publish", channel, event, data, ...(options ? [options] : []));
      return { say, close: () => client.close() };
    },
  },
  "/ws": {
    none: { duplicate: false },
    given: { duplicate: false },
    open: async (sub = "pub", at = place) => {
      const plain = await Plain.enter(at, sub);
      const say = async (channel, event, data, options) => {
        const answer = await plain.ask("publish", { channel, event, data, ...options });
        return answer.type === "ok" ? answer.result : answer;
      };
      return { say, close: () => plain.close() };
    },
  },
  "the API": {
    none: { duplicate: false, durability: "memory" },
    given: { duplicate: false, durability: "process" },
    open: async (_sub, at = place) => ({
      say: async (channel, event, data, options) => {
        const answer = await apiPublish(at, { channel, event, data, ...options });
        if (answer.status !== 200) assertProblem(answer, 400, /./);
        return answer.json;
      },
      close() {},
    }),
  },
};

const refused = (answer, code, what = "") => assert.equal(answer.code, code, `${what} ${JSON.stringify(answer)}`);

// Published one behind the other, without waiting for an answer before the next: the answers, in order.
async function burst(channel, all, { sub = "pub", event = "e", at = place } = {}) {
  const plain = await Plain.enter(at, sub);
  const answers = [];
  for (let from = 0; from < all.length; from += 200) {
    const some = all.slice(from, from + 200).map((data) => plain.publish(channel, event, data));
    answers.push(...(await Promise.all(some)));
  }
  plain.close();
  return answers;
}

// Who listens, in each way. What was heard has an `id` where the transport gave it one.
const ways = {
  "Socket.IO over WebSocket": (ear, server, options) => overSocketIo(ear, server, { transports: ["websocket"], ...options }),
  "Socket.IO over polling": (ear, server, options) => overSocketIo(ear, server, { transports: ["polling"], ...options }),
  "/ws": async (ear, server, { since } = {}) => {
    const plain = new Plain(server, { token: tokenOf("ear") });
    plain.ws.on("message", (text) => {
      const { type, ...event } = JSON.parse(text);
      if (type === "event") ear.heard.push(event);
    });
    plain.closed.then(() => (ear.over = true));
    await plain.welcomed();
    await plain.subscribe(ear.channels, since);
    ear.end = () => plain.close();
  },
  "/sse": async (ear, server, { since } = {}) => {
    const sse = new Sse(server, ear.channels, { token: tokenOf("ear"), since });
    await sse.open();
    let read = 0;
    ear.listen = () => {
      for (; read < sse.blocks.length; read += 1) {
        const { data, id, event } = sse.blocks[read];
        if (data === undefined) continue;
        assert.equal(event, undefined, data);
        ear.heard.push({ ...JSON.parse(data), ...(id === undefined ? {} : { id }) });
      }
      ear.over = sse.over ?? false;
    };
    ear.end = () => sse.close();
  },
};
const STEADY = ["Socket.IO over WebSocket", "/ws", "/sse"];

async function overSocketIo(ear, server, options) {
  const client = await enter(server, "ear", options);
  client.socket.onAny((event, data, meta, ...ids) => {
    if (meta?.channel) ear.heard.push({ event, data, ...meta, ...(ids.length > 0 ? { id: ids[0] } : {}) });
  });
  client.socket.on("disconnect", () => (ear.over = true));
  const answer = await client.ask("subscribe", ear.channels);
  assert.equal(answer.ok, true, JSON.stringify(answer));
  ear.client = client;
  ear.end = () => client.close();
}

class Ear {
  static #ears = 0;
  #barriers = 0;
  heard = [];
  over = false;

  constructor(way, at, channels) {
    this.way = way;
    this.at = at;
    this.barrier = `mem:barrier ${(Ear.#ears += 1)}`;
    this.channels = [...channels, this.barrier];
  }

  static async open(way, channels, { at = place, through = at, ...options } = {}) {
    const ear = new Ear(way, at, [channels].flat());
    await ways[way](ear, through, options);
    return ear;
  }

  get all() {
    this.listen?.();
    return this.heard;
  }

  get got() {
    return this.all.filter(({ channel }) => channel !== this.barrier);
  }

  get data() {
    return this.got.map(({ data }) => data);
  }

  async until(what, accepts, deadline_ms = 30_000) {
    await until(
      () => `${what}, ${this.way}; so far ${JSON.stringify(this.got.slice(-30)).slice(0, 3000)}`,
      () => accepts(this.got),
      deadline_ms,
    );
    return this.got;
  }

  // All that was sent to it before has arrived.
  async settled() {
    const n = (this.#barriers += 1);
    await publish(this.at, this.barrier, "barrier", n);
    await until(`the barrier, ${this.way}`, () => this.all.some(({ channel, data }) => channel === this.barrier && data === n));
    return this;
  }

  // This data, in this order, and nothing else.
  async heardOnly(...data) {
    await this.until(`${data.length} events`, (got) => got.length >= data.length);
    await this.settled();
    assert.deepEqual(this.data, data, this.way);
  }

  close() {
    this.end();
  }
}

const listen = (of, channels, options) => Promise.all(of.map((way) => Ear.open(way, channels, options)));

// The newest of each key, in the order in which those came.
function latestOf(sent) {
  const latest = new Map();
  for (const data of sent) {
    latest.delete(data.id);
    latest.set(data.id, data);
  }
  return [...latest.values()];
}

const hasLatest = (sent) => (got) =>
  latestOf(sent).every(({ id, n }) => got.findLast(({ data }) => data.id === id)?.data.n === n);

describe("conflate: what is passed on", { concurrency: true }, () => {
  test("the first goes out at once, what follows is held, and who comes late gets the latest of each key", async () => {
    const channel = fresh("slow");
    const early = await listen(Object.keys(ways), channel);
    for (const ear of early) await ear.settled();
    const sent = [
      { id: "x", n: 1 },
      { id: "y", n: 2 },
      { id: "x", n: 3 },
      { id: "z", n: 4 },
      { id: "y", n: 5 },
    ];
    await burst(channel, sent.slice(0, 1));
    for (const ear of early) await ear.heardOnly(sent[0]);
    await burst(channel, sent.slice(1));
    for (const ear of early) await ear.heardOnly(sent[0]);
    const late = await listen(Object.keys(ways), channel);
    for (const ear of late) await ear.heardOnly(sent[2], sent[3], sent[4]);
    for (const ear of [...early, ...late]) ear.close();
  });

  test("of a flood each key comes at most once in a window, in order, the last of each at the end", async () => {
    const channel = fresh("flow");
    const steady = await listen(STEADY, channel);
    const polling = await Ear.open("Socket.IO over polling", channel);
    for (const ear of [...steady, polling]) await ear.settled();
    const sent = [];
    const begin = performance.now();
    const windows = () => steady[0].data.filter(({ id }) => id === "k0").length;
    while (windows() < 5) {
      const some = count(40).map((i) => ({ id: `k${i % 4}`, n: sent.length + i }));
      sent.push(...some);
      await burst(channel, some);
    }
    for (const ear of [...steady, polling]) await ear.until("the last of each", hasLatest(sent), 60_000);
    const most = timesSince(begin, FLOW_MS) + 2;
    for (const ear of steady) {
      await ear.settled();
      const numbers = numbersOf(ear.got);
      assert.equal(numbers[0], 0, `${ear.way}: the first was not held`);
      rises(numbers, `${ear.way}: in order, none twice`);
      for (const key of count(4)) {
        const times = ear.data.filter(({ id }) => id === `k${key}`).length;
        assert.ok(times <= most, `${ear.way}: ${times} of k${key}, at most ${most} of ${sent.length / 4}`);
      }
    }
    for (const key of count(4)) {
      const numbers = polling.data.filter(({ id }) => id === `k${key}`).map(({ n }) => n);
      neverFalls(numbers, "nobody is set back");
    }
    for (const ear of [...steady, polling]) ear.close();
  });

  test("what is the same again goes out again", async () => {
    const channel = fresh("flow");
    const [ear] = await listen(["/ws"], channel);
    await ear.settled();
    for (const times of [1, 2, 3]) {
      await publish(place, channel, "e", { id: "x", n: 1 });
      await ear.until(`it for the ${times}. time`, (got) => got.length === times);
    }
    ear.close();
  });

  test("without `by` a channel has one value", async () => {
    const channel = fresh("slow-one");
    await burst(channel, [{ id: "x" }, 7, null, "text", { id: "y" }]);
    for (const ear of await listen(Object.keys(ways), channel)) {
      await ear.heardOnly({ id: "y" });
      ear.close();
    }
  });

  test('`by = "user"`: one of each publisher, and the API is one', async () => {
    const channel = fresh("slow-user");
    await burst(channel, [1, 2], { sub: "ann" });
    await publish(place, channel, "e", 3);
    await burst(channel, [4, 5], { sub: "bob" });
    await publish(place, channel, "e", 6);
    await burst(channel, [7], { sub: "ann" });
    for (const ear of await listen(Object.keys(ways), channel)) {
      await ear.heardOnly(5, 6, 7);
      assert.deepEqual(ear.got.map((event) => event.user), ["bob", undefined, "ann"], ear.way);
      ear.close();
    }
  });

  test('`by = "event"`: one of each name', async () => {
    const channel = fresh("slow-event");
    for (const [event, n] of [["a", 1], ["b", 2], ["a", 3], ["c", 4]]) await publish(place, channel, event, n);
    for (const ear of await listen(Object.keys(ways), channel)) {
      await ear.heardOnly(2, 3, 4);
      assert.deepEqual(ear.got.map(({ event }) => event), ["b", "a", "c"], ear.way);
      ear.close();
    }
  });

  test("a field in an object in the data; a number and its text are one key", async () => {
    const channel = fresh("deep");
    const sent = [7, "8", "7", -1, 8].map((id, n) => ({ at: { id }, n }));
    await burst(channel, sent);
    const [ear] = await listen(["/ws"], channel);
    await ear.heardOnly(sent[2], sent[3], sent[4]);
    ear.close();
  });

  test("channels are apart from each other", async () => {
    const [one, other] = [fresh("slow"), fresh("slow")];
    await burst(one, [{ id: "x", n: 1 }]);
    await burst(other, [{ id: "x", n: 2 }]);
    await burst(one, [{ id: "x", n: 3 }]);
    for (const way of Object.keys(ways)) {
      const ear = await Ear.open(way, [one, other]);
      await ear.until("both", (got) => got.length >= 2);
      await ear.settled();
      const told = ear.got.map(({ channel, data }) => [channel, data.n]).sort();
      assert.deepEqual(told, [[one, 3], [other, 2]].sort(), way);
      ear.close();
    }
  });

  test("`for`: after its time a value is no longer kept", async () => {
    const channel = fresh("gone");
    await burst(channel, [{ id: "x", n: 1 }, { id: "y", n: 2 }]);
    await until("nothing is left", async () => (await polled(place, channel, { wait: 0, limit: 10 })).events.length === 0);
    const ears = await listen(Object.keys(ways), channel);
    for (const ear of ears) await ear.heardOnly();
    await publish(place, channel, "e", { id: "z", n: 3 });
    for (const ear of ears) {
      await ear.until("a new one", (got) => got.at(-1)?.data.n === 3);
      ear.close();
    }
  });

  test("who unsubscribes gets no more, and who subscribes again the latest", async () => {
    const channel = fresh("flow");
    const ann = await Plain.enter(place, "ann");
    await ann.subscribe(channel);
    assert.deepEqual(await ann.settled(), []);
    await publish(place, channel, "e", { id: "x", n: 1 });
    assert.equal((await ann.nextOf("event")).data.n, 1);
    await ann.result("unsubscribe", { channels: [channel] });
    const [other] = await listen(["/ws"], channel);
    await publish(place, channel, "e", { id: "x", n: 2 });
    await other.until("the second", (got) => got.at(-1)?.data.n === 2);
    assert.deepEqual(await ann.settled(), []);
    await ann.subscribe(channel);
    assert.equal((await ann.nextOf("event")).data.n, 2);
    ann.close();
    other.close();
  });
});

describe("conflate: no event of the log", { concurrency: true }, () => {
  for (const [name, { none, open }] of Object.entries(publishers)) {
    test(`published by ${name}: the answer has no id, whether it went out or is held`, async () => {
      const channel = fresh("slow");
      const by = await open();
      for (const n of count(3)) assert.deepEqual(await by.say(channel, "e", { id: "x", n }), none);
      by.close();
    });

    test(`published by ${name}: without the field of its key it is \`bad_request\`, and nobody gets it`, async () => {
      const channel = fresh("slow");
      const by = await open();
      const [ear] = await listen(["/ws"], channel);
      const wrong = [{}, { other: 1 }, { id: null }, { id: "" }, { id: 1.5 }, { id: true }, { id: {} }, { id: ["x"] }, null, 7, "id", [1]];
      for (const data of wrong) {
        const answer = await by.say(channel, "e", data);
        refused(answer, "bad_request", JSON.stringify(data));
        const said = answer.message ?? answer.detail;
        assert.ok(said.includes("data.id"), said);
      }
      await ear.heardOnly();
      const [late] = await listen(["/ws"], channel);
      await late.heardOnly();
      for (const one of [ear, late, by]) one.close();
    });

    test(`published by ${name}: with a \`key\` it is \`bad_request\`, and nobody gets it`, async () => {
      const channel = fresh("slow");
      const by = await open();
      const [ear] = await listen(["/ws"], channel);
      refused(await by.say(channel, "e", { id: "x" }, { key: "k" }), "bad_request");
      await ear.heardOnly();
      assert.deepEqual(await by.say(channel, "e", { id: "x" }), none);
      await ear.heardOnly({ id: "x" });
      for (const one of [ear, by]) one.close();
    });
  }

  test("of an event for several channels that is refused in one, nothing is published", async () => {
    const [slow, free] = [fresh("slow"), fresh("kept")];
    assertProblem(await apiPublish(place, { channels: [free, slow], event: "e", data: {} }), 400, "bad_request");
    assertProblem(await apiPublish(place, { channels: [free, slow], event: "e", data: { id: 1 }, key: "k" }), 400, "bad_request");
    assert.deepEqual(await history(free), []);
  });

  test("Socket.IO listeners get two arguments: the data, and where, when and by whom", async () => {
    for (const transports of [["websocket"], ["polling"]]) {
      const channel = fresh("slow");
      const [ann, bob] = [await enter(place, "ann", { transports }), await enter(place, "bob")];
      await ann.ask("subscribe", channel);
      assert.deepEqual(await bob.ask("publish", channel, "moved", { id: "x", at: [1, 2] }), { ok: true, duplicate: false });
      const { args } = await ann.sawEvent("moved");
      assert.equal(args.length, 2, JSON.stringify(args));
      assert.deepEqual(args[0], { id: "x", at: [1, 2] });
      const { time, ...rest } = args[1];
      assert.deepEqual(rest, { channel, user: "bob" });
      assert.ok(Number.isInteger(time) && Math.abs(time - Date.now()) < 60_000);
      ann.close();
      bob.close();
    }
  });

  for (const way of Object.keys(ways)) {
    test(`${way}: neither one that comes live nor the latest of one who comes late has an id`, async () => {
      const channel = fresh("slow");
      const live = await Ear.open(way, channel);
      await live.settled();
      const bob = await Plain.enter(place, "bob");
      await bob.publish(channel, "moved", { id: "x" });
      await live.until("it", (got) => got.length > 0);
      await publish(place, channel, "moved", { id: "y" });
      const late = await Ear.open(way, channel);
      await late.until("both", (got) => got.length > 1);
      for (const [{ time, ...event }, expected] of [
        [live.got[0], { channel, event: "moved", data: { id: "x" }, user: "bob" }],
        [late.got[0], { channel, event: "moved", data: { id: "x" }, user: "bob" }],
        [late.got[1], { channel, event: "moved", data: { id: "y" } }],
      ]) {
        assert.deepEqual(event, expected);
        assert.ok(Number.isInteger(time) && Math.abs(time - Date.now()) < 60_000);
      }
      for (const one of [live, late, bob]) one.close();
    });
  }

  test("bytes stay bytes", async () => {
    const channel = fresh("slow");
    const ann = await enter(place, "ann");
    await ann.ask("subscribe", channel);
    assert.deepEqual(await ann.ask("publish", channel, "e", { id: "x", bytes: Buffer.from("abc") }), { ok: true, duplicate: false });
    assert.equal((await ann.sawEvent("e")).args[0].bytes.$bytes, 3);
    const bob = await enter(place, "bob");
    await bob.ask("subscribe", channel);
    assert.equal((await bob.sawEvent("e")).args[0].bytes.$bytes, 3, "of one who comes late too");
    const [ear] = await listen(["/ws"], channel);
    await ear.heardOnly({ id: "x", bytes: { $bytes: Buffer.from("abc").toString("base64") } });
    for (const one of [ann, bob, ear]) one.close();
  });

  test("`[[on]]` publishes there without an id", async () => {
    const map = `${(channels += 1)}`;
    const ann = await enter(place, "ann");
    await ann.ask("subscribe", `slow:${map}`);
    for (const n of count(2)) assert.deepEqual(await ann.ask("moved", { map, id: "x", n }), { ok: true, duplicate: false });
    const { args } = await ann.sawEvent("moved");
    assert.deepEqual([args.length, args[0].n, args[1].user], [2, 0, "ann"]);
    refused(await ann.ask("moved", { map, n: 3 }), "bad_request");
    ann.close();
  });

  test("`tidings publish` prints an answer without an id", async () => {
    const cli = runBinary(["publish", fresh("slow"), "e", '{"id":1}', "--url", place.url, "--api-key", API_KEY]);
    assert.deepEqual(await within("its end", cli.exited), { code: 0, signal: null }, cli.stderr);
    assert.deepEqual(cli.lines.map((line) => JSON.parse(line)), [{ duplicate: false, durability: "memory" }]);
  });

  test("the history is empty, and no cursor moves", async () => {
    // without a store no one else moves them: with one, new channels do
    await inPlace({ ...PACED, data: false }, async (place) => {
      const first = await publish(place, "mem:before", "e", 1);
      const channel = "flow:cursor";
      const [ann, plain] = [await enter(place, "ann"), await Plain.enter(place, "bob")];
      const sse = new Sse(place, channel);
      await sse.open();
      const before = [(await ann.ask("subscribe", channel)).cursor, (await plain.subscribe(channel)).cursor, sse.lastEventId];
      assert.deepEqual(before, [first, first, first]);
      const ear = await Ear.open("/ws", channel, { at: place });
      const sent = count(10).map((n) => ({ id: `k${n % 3}`, n }));
      await burst(channel, sent, { at: place });
      await ear.until("the last of each", hasLatest(sent));
      await until("the last at /sse", () => sse.blocks.some(({ data }) => data && JSON.parse(data).data.n === 9));
      await until("the last at Socket.IO", () => ann.records.some(({ event, args }) => event === "e" && args[0].n === 9));
      assert.equal(sse.lastEventId, first, "/sse");
      for (const { data, id } of sse.blocks) if (data !== undefined) assert.equal(id, undefined, data);
      assert.equal(await tailOf(place, channel), first, "/poll");
      const late = await Plain.enter(place, "late");
      assert.equal((await late.subscribe(channel)).cursor, first, "/ws");
      const lateSse = new Sse(place, channel);
      await lateSse.open();
      assert.equal(lateSse.lastEventId, first, "/sse, late");
      assert.deepEqual(await history(channel, place), []);
      assert.deepEqual(await plain.result("history", { channel }), { events: [], more: false });
      assert.deepEqual(await ann.ask("history", channel), { ok: true, events: [], more: false });
      // the next event of the log has the next place in it
      const next = await publish(place, "mem:before", "e", 2);
      assert.equal(seqOf(next), seqOf(first) + 1);
      for (const one of [ann, plain, sse, late, lateSse, ear]) one.close();
    });
  });
});

test("conflate: with a store too, the next event of the log has the next place in it", async () => {
  await inPlace(PACED, async (place) => {
    const first = await publish(place, "mem:before", "e", 1);
    for (const n of count(10)) await publish(place, "slow:store", "e", { id: `k${n % 3}`, n });
    assert.equal(seqOf(await publish(place, "mem:before", "e", 2)), seqOf(first) + 1);
  });
});

describe("conflate: who comes back", { concurrency: true }, () => {
  const AGAIN = { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 100 };

  for (const transport of ["websocket", "polling"]) {
    test(`Socket.IO over ${transport}, recovered: what it missed of the log, and the latest values`, async () => {
      const [channel, logged] = [fresh("slow"), fresh("mem")];
      const proxy = await Proxy.to(place);
      const way = transport === "polling" ? "Socket.IO over polling" : "Socket.IO over WebSocket";
      const ear = await Ear.open(way, [channel, logged], { through: proxy, ...AGAIN });
      await ear.settled();
      await burst(channel, [{ id: "x", n: 1 }]);
      // an event of the log gives it an offset to come back with
      await publish(place, logged, "e", { n: 2 });
      await ear.until("both", (got) => got.length === 2);
      proxy.down();
      await until("it is gone", () => !ear.client.socket.connected);
      await burst(channel, [{ id: "x", n: 3 }, { id: "y", n: 4 }, { id: "x", n: 5 }]);
      await publish(place, logged, "e", { n: 6 });
      proxy.up();
      await ear.until("all of it", (got) => [4, 5, 6].every((n) => numbersOf(got).includes(n)));
      assert.equal(ear.client.socket.recovered, true);
      await ear.settled();
      const of = (name) => numbersOf(ear.got.filter((event) => event.channel === name));
      assert.deepEqual([of(channel), of(logged)], [[1, 4, 5], [2, 6]]);
      ear.close();
      proxy.close();
    });
  }

  for (const way of ["/ws", "/sse"]) {
    test(`${way}, with a cursor: what it missed of the log, and the latest values`, async () => {
      const [channel, logged] = [fresh("slow"), fresh("mem")];
      const since = await tailOf(place, logged);
      await burst(channel, [{ id: "x", n: 1 }, { id: "y", n: 2 }, { id: "x", n: 3 }]);
      const id = await publish(place, logged, "e", { n: 4 });
      const ear = await Ear.open(way, [channel, logged], { since });
      await ear.until("all of it", (got) => got.length >= 3);
      await ear.settled();
      const of = (name) => ear.got.filter((event) => event.channel === name).map((event) => [event.data.n, event.id]);
      assert.deepEqual(of(channel), [[2, undefined], [3, undefined]]);
      assert.deepEqual(of(logged), [[4, id]]);
      ear.close();
    });
  }

  test("a polling client gets what is the latest when it asks", async () => {
    const channel = fresh("slow");
    const polling = await new Polling(place).join(`40${JSON.stringify({ token: tokenOf("ann") })}`);
    await polling.post(`420["subscribe","${channel}"]`);
    assert.match((await polling.packets(1))[0], /^430\[\{"ok":true/);
    const sent = count(50).map((n) => ({ id: `k${n % 3}`, n }));
    await burst(channel, sent);
    const packets = (await polling.packets(3)).filter((packet) => packet.startsWith("42"));
    assert.deepEqual(
      packets.map((packet) => JSON.parse(packet.slice(2))[1]),
      latestOf(sent),
    );
    await polling.post("41");
  });
});

describe("conflate: /poll", { concurrency: true }, () => {
  const sent = [
    { id: "x", n: 1 },
    { id: "y", n: 2 },
    { id: "x", n: 3 },
    { id: "z", n: 4 },
  ];

  test("`wait=0` without `since`: the latest values, `limit` (default 1) of each channel, beside the events", async () => {
    const [one, other, logged, empty] = [fresh("slow"), fresh("slow"), fresh("mem"), fresh("slow")];
    await burst(one, sent, { sub: "bob" });
    await burst(other, sent.slice(0, 3));
    const ids = [await publish(place, logged, "e", { n: 5 }), await publish(place, logged, "e", { n: 6 })];
    const of = (answer, channel) => numbersOf(answer.events.filter((event) => event.channel === channel));

    assert.deepEqual(of(await polled(place, one, { wait: 0 }), one), [4]);
    assert.deepEqual(of(await polled(place, one, { wait: 0, limit: 2 }), one), [3, 4]);
    assert.deepEqual(of(await polled(place, one, { wait: 0, limit: 3 }), one), [2, 3, 4]);
    const all = await polled(place, one, { wait: 0, limit: 1000 });
    assert.deepEqual([all.gap, all.gaps, all.events.length], [false, [], 3]);
    const [{ time, ...first }] = all.events;
    assert.deepEqual(first, { channel: one, event: "e", data: sent[1], user: "bob" }, "no id");
    assert.ok(Number.isInteger(time));

    const several = await polled(place, [one, other, logged, empty], { wait: 0, limit: 2 });
    assert.deepEqual([of(several, one), of(several, other), of(several, logged), of(several, empty)], [[3, 4], [2, 3], [5, 6], []]);
    const told = several.events.filter(({ channel }) => channel === logged).map(({ id }) => id);
    assert.deepEqual(told, ids);
    assert.equal(epochOf(several.next), epochOf(ids[1]));
    assert.ok(seqOf(several.next) >= seqOf(ids[1]), "next is the tail");
    assert.deepEqual((await polled(place, empty, { wait: 0 })).events, []);
  });

  test("the ETag changes with each value, also one that is held or the same again; otherwise 304", async () => {
    const [channel, logged] = [fresh("slow"), fresh("mem")];
    const both = [logged, channel];
    const match = (etag) => poll(place, both, { wait: 0, limit: 10, headers: { "if-none-match": etag } });
    const seen = [(await poll(place, both, { wait: 0 })).headers.etag];
    const changes = [
      ...[...sent, sent[3]].map((data) => () => burst(channel, [data])),
      () => publish(place, logged, "e", 1),
      () => burst(channel, [sent[0]]),
      () => publish(place, logged, "e", 2),
    ];
    for (const change of changes) {
      const { status, body, headers } = await match(seen.at(-1));
      assert.deepEqual([status, body, headers.etag], [304, "", seen.at(-1)]);
      await change();
      const changed = await match(seen.at(-1));
      assert.equal(changed.status, 200, changed.body);
      assert.match(changed.headers.etag, /^(W\/)?"[^"]+"$/);
      seen.push(changed.headers.etag);
    }
    assert.equal(new Set(seen).size, seen.length, seen.join(" "));
    assert.equal((await match(seen.at(-1))).status, 304);
    for (const etag of seen.slice(0, -1)) assert.equal((await match(etag)).status, 200, etag);
  });

  test("with `since` it never has them, whether it waits or not", async () => {
    const [channel, logged] = [fresh("slow"), fresh("mem")];
    const since = await tailOf(place, [channel, logged]);
    await burst(channel, sent);
    for (const wait of [0, 1]) {
      const answer = await polled(place, [channel, logged], { since, wait });
      assert.deepEqual([answer.events, answer.gap, answer.gaps], [[], false, []], `wait=${wait}`);
    }
    assert.deepEqual((await polled(place, channel, { wait: 1 })).events, [], "nor one without, which gives a cursor");
  });

  test("they end no wait: an event of the log does, and comes alone", async () => {
    const [channel, logged] = [fresh("flow"), fresh("mem")];
    const since = await tailOf(place, [channel, logged]);
    const [ear] = await listen(["/ws"], channel);
    let handedOver;
    const asked = new Promise((done) => (handedOver = done));
    let answered = false;
    const answer = poll(place, [channel, logged], { since, wait: 60, started: (out) => out.on("finish", handedOver) });
    answer.then(() => (answered = true));
    await asked;
    for (const n of count(3)) {
      await publish(place, channel, "e", { id: "x", n });
      await ear.until("it", (got) => got.at(-1)?.data.n === n);
    }
    assert.equal(answered, false);
    const id = await publish(place, logged, "e", "logged");
    const { json } = await within("the answer", answer);
    assert.deepEqual(json.events.map((event) => [event.id, event.data]), [[id, "logged"]]);
    ear.close();
  });
});

describe("conflate: a client that reads nothing while thousands of values come", () => {
  const KEYS = 20;
  const VALUES = 2000;
  const BYTES = 16_000;

  test("gets the latest of every key once it reads again, and the server keeps no more than those", async () => {
    await inPlace({ ...PACED, more: rule("torrent:*", 'conflate = { by = "data.id", every = "5ms" }') }, async (place) => {
      const peak_kb = () => {
        const status = readFileSync(`/proc/${place.server.child.pid}/status`, "utf8");
        return Number(status.match(/VmHWM:\s+(\d+) kB/)[1]);
      };
      const channel = "torrent:a";
      const value = (n) => ({ id: `k${n % KEYS}`, n, text: "x".repeat(BYTES) });
      const proxies = [];
      const ears = [];
      for (const way of Object.keys(ways)) {
        const proxy = await Proxy.to(place);
        const ear = await Ear.open(way, channel, { at: place, through: proxy });
        await ear.settled();
        proxies.push(proxy);
        ears.push(ear);
      }
      const before = peak_kb();
      for (const proxy of proxies) proxy.stall();
      const sent = [];
      const ann = await Plain.enter(place, "ann");
      for (let from = 0; from < VALUES; from += 100) {
        const some = count(100).map((i) => value(from + i));
        await Promise.all(some.map((data) => ann.publish(channel, "e", data)));
        sent.push(...some.map(({ id, n }) => ({ id, n })));
      }
      for (const proxy of proxies) proxy.flow();
      for (const ear of ears) await ear.until("the latest of each", hasLatest(sent), 60_000);
      const grown = peak_kb() - before;
      // were they kept for each, it would be 32 MB for each
      assert.ok(grown < 40_000, `${grown} kB more than before`);
      // and it goes on
      const last = { id: "k0", n: VALUES };
      await ann.publish(channel, "e", last);
      for (const ear of ears) {
        await ear.until("what comes then", (got) => got.at(-1)?.data.n === VALUES);
        assert.equal(ear.over, false, `${ear.way}: it was not cut`);
        assert.ok(ear.got.length < VALUES, `${ear.way}: ${ear.got.length} of ${VALUES}`);
        for (const key of count(KEYS)) {
          const numbers = numbersOf(ear.got.filter(({ data }) => data.id === `k${key}`));
          neverFalls(numbers, `${ear.way}: nobody is set back`);
        }
        ear.close();
      }
      ann.close();
      for (const proxy of proxies) proxy.close();
    });
  });
});

describe("throttle", { concurrency: true }, () => {
  const sent = count(20).map((n) => ({ n }));

  for (const [edge, passes] of Object.entries({ leading: [0], trailing: [], both: [0] })) {
    test(`edge = "${edge}": what goes through within the time`, async () => {
      const channel = fresh(edge);
      const ears = await listen(Object.keys(ways), channel);
      const answers = await burst(channel, sent);
      const expected = passes.map((n) => ({ n }));
      for (const ear of ears) await ear.heardOnly(...expected);
      const events = await history(channel);
      assert.deepEqual(events.map(({ data }) => data), expected, "in the history is what went through, and nothing else");
      const ids = events.map(({ id }) => id);
      for (const id of ids) assert.match(id, ID);
      for (const ear of ears) assert.deepEqual(ear.got.map(({ id }) => id), ids, ear.way);
      assert.deepEqual(
        answers,
        sent.map(({ n }) => (passes.includes(n) ? { id: ids[passes.indexOf(n)], duplicate: false } : { duplicate: false })),
      );
      for (const ear of ears) ear.close();
    });

    test(`edge = "${edge}": time after time`, async () => {
      const channel = fresh(`${edge}-flow`);
      const ears = await listen(Object.keys(ways), channel);
      const all = [];
      const answers = [];
      const begin = performance.now();
      while (ears[0].got.length < 4) {
        const some = count(20).map((i) => ({ n: all.length + i }));
        all.push(...some);
        answers.push(...(await burst(channel, some)));
      }
      const last = all.at(-1).n;
      if (edge === "leading") await Promise.all(ears.map((ear) => ear.settled()));
      else for (const ear of ears) await ear.until("the last", (got) => got.at(-1)?.data.n === last);
      const most = timesSince(begin, THROTTLE_MS) + 2;
      const events = await history(channel);
      const told = events.map(({ id, data }) => [id, data.n]);
      for (const ear of ears) {
        assert.deepEqual(
          ear.got.map(({ id, data }) => [id, data.n]),
          told,
          ear.way,
        );
        ear.close();
      }
      assert.ok(told.length <= most, `${told.length} of ${all.length}, at most ${most}`);
      const numbers = numbersOf(events);
      rises(numbers);
      if (edge !== "trailing") assert.equal(numbers[0], 0, "the first was not held");
      // an id in an answer is that of its own event
      const answered = answers.flatMap(({ id }, n) => (id ? [[id, n]] : []));
      if (edge === "trailing") assert.deepEqual(answered, []);
      if (edge === "leading") assert.deepEqual(answered, told);
      for (const one of answered) assert.ok(told.some(([id, n]) => id === one[0] && n === one[1]), `${edge} ${one}`);
    });
  }

  test('without `edge` it is "both"', async () => {
    const channel = fresh("edge");
    const answers = await burst(channel, sent);
    assert.match(answers[0].id, ID);
    assert.deepEqual(answers.slice(1), sent.slice(1).map(() => ({ duplicate: false })));
    assert.deepEqual((await history(channel)).map(({ data }) => data), [{ n: 0 }]);
  });

  for (const [name, { none, given, open }] of Object.entries(publishers)) {
    test(`published by ${name}: an id where it goes through, none where it doesn't`, async () => {
      const channel = fresh("leading");
      const by = await open();
      const { id, ...rest } = await by.say(channel, "e", 1);
      assert.match(id, ID);
      assert.deepEqual(rest, given);
      for (const n of count(3)) assert.deepEqual(await by.say(channel, "e", n), none);
      assert.deepEqual((await history(channel)).map((event) => [event.id, event.data]), [[id, 1]]);
      by.close();
    });
  }

  test("after its time the next one goes through", async () => {
    const channel = fresh("leading-flow");
    const first = await publish(place, channel, "e", 0);
    assert.match(first, ID);
    let second;
    let n = 0;
    await until("another goes through", async () => (second = await publish(place, channel, "e", (n += 1))) !== undefined);
    assert.deepEqual((await history(channel)).map(({ id, data }) => [id, data]), [[first, 0], [second, n]]);
  });

  test('`by = "user"`: for each by itself', async () => {
    const channel = fresh("leading-user");
    const ids = [];
    for (const sub of ["ann", "bob"]) ids.push((await burst(channel, sent, { sub }))[0].id);
    ids.push(await publish(place, channel, "e", { n: 0 }));
    assert.equal(await publish(place, channel, "e", { n: 1 }), undefined);
    const events = await history(channel);
    assert.deepEqual(
      events.map(({ id, data, user: sub }) => [id, data.n, sub]),
      ids.map((id, n) => [id, 0, ["ann", "bob", undefined][n]]),
    );
  });

  test("channels are apart from each other", async () => {
    for (const channel of [fresh("leading"), fresh("leading")]) assert.match(await publish(place, channel, "e", 1), ID);
  });

  for (const name of ["Socket.IO", "/ws"]) {
    test(`a volatile publish by ${name} is throttled too, and has no id`, async () => {
      const { none, open } = publishers[name];
      const by = await open();
      const volatile = { volatile: true };
      const leading = fresh("leading");
      const ears = await listen(STEADY, leading);
      for (const ear of ears) await ear.settled();
      assert.deepEqual(await by.say(leading, "e", 1, volatile), none);
      for (const ear of ears) await ear.heardOnly(1);
      assert.deepEqual(await by.say(leading, "e", 2, volatile), none);
      assert.deepEqual(await by.say(leading, "e", 3), none, "nor does one through that is not volatile");
      for (const ear of ears) {
        await ear.heardOnly(1);
        assert.equal("id" in ear.got[0], false, ear.way);
      }
      assert.deepEqual(await history(leading), []);

      const trailing = fresh("trailing-flow");
      const [ear] = await listen(["/ws"], trailing);
      const begin = performance.now();
      // it may be lost, so it is said until it was heard
      await until("one that was held", async () => {
        assert.deepEqual(await by.say(trailing, "e", 1, volatile), none);
        return ear.got.length > 0;
      });
      assert.equal("id" in ear.got[0], false);
      assert.ok(ear.got.length <= timesSince(begin, THROTTLE_MS) + 1);
      assert.deepEqual(await history(trailing), []);
      for (const one of [...ears, ear, by]) one.close();
    });
  }

  test("a volatile `[[on]]` is throttled too", async () => {
    const room = `${(channels += 1)}`;
    const ann = await enter(place, "ann");
    await ann.ask("subscribe", `leading:${room}`);
    for (const n of count(3)) assert.deepEqual(await ann.ask("typing", { room, n }), { ok: true, duplicate: false });
    const { args } = await ann.sawEvent("typing");
    assert.deepEqual([args.length, args[0].n], [2, 0]);
    await ann.ask("subscribe", "mem:barrier");
    assert.equal(ann.records.filter(({ event }) => event === "typing").length, 1);
    ann.close();
  });
});

describe("throttle: an id in an answer is that of its own event", () => {
  for (const edge of ["leading", "trailing", "both"]) {
    test(`edge = "${edge}": many publish at once, and the clock is late`, async () => {
      const channel = fresh(`${edge}-fast`);
      const [ear] = await listen(["/ws"], channel);
      const many = await Promise.all(
        count(4).map(async (part) => {
          const some = count(1000).map((n) => ({ part, n }));
          const answers = await burst(channel, some, { sub: `pub${part}` });
          return answers.map(({ id }, n) => ({ id, part, n }));
        }),
      );
      const answered = many.flat().filter(({ id }) => id !== undefined);
      await ear.settled();
      const heard = new Map(ear.got.map(({ id, data }) => [id, data]));
      if (edge === "trailing") assert.deepEqual(answered.slice(0, 5), [], "who has to wait is answered before there is an id");
      const foreign = answered.filter(({ id, part, n }) => heard.get(id)?.part !== part || heard.get(id)?.n !== n);
      assert.deepEqual(foreign.slice(0, 5), [], "an answer has the id of its own event");
      ear.close();
    });
  }
});

describe("debounce", { concurrency: true }, () => {
  for (const [name, { none, open }] of Object.entries(publishers)) {
    test(`published by ${name}: held, and answered without an id`, async () => {
      const channel = fresh("quiet");
      const by = await open();
      const ears = await listen(Object.keys(ways), channel);
      for (const n of count(3)) assert.deepEqual(await by.say(channel, "e", n), none);
      for (const ear of ears) await ear.heardOnly();
      assert.deepEqual(await history(channel), []);
      for (const one of [...ears, by]) one.close();
    });
  }

  test("of a burst the last goes through when it is quiet, with an id, and is in the history", async () => {
    const channel = fresh("quiet-flow");
    const ears = await listen(Object.keys(ways), channel);
    const begin = performance.now();
    for (const round of [1, 2, 3]) {
      const answers = await burst(channel, count(20).map((n) => ({ n: round * 100 + n })));
      assert.deepEqual(answers, count(20).map(() => ({ duplicate: false })));
      for (const ear of ears) await ear.until("the last", (got) => got.at(-1)?.data.n === round * 100 + 19);
    }
    const most = timesSince(begin, DEBOUNCE_MS) + 1;
    const events = await history(channel);
    const told = events.map(({ id, data }) => [id, data.n]);
    assert.ok(told.length <= Math.min(most, 60), `${told.length}, at most ${most}`);
    for (const ear of ears) {
      assert.deepEqual(ear.got.map(({ id, data }) => [id, data.n]), told, ear.way);
      ear.close();
    }
    for (const [id] of told) assert.match(id, ID);
  });

  test('`by = "user"`: of each the last', async () => {
    const channel = fresh("quiet-flow-user");
    const [ear] = await listen(["/ws"], channel);
    const begin = performance.now();
    await Promise.all(["ann", "bob", "cid"].map((sub) => burst(channel, count(20).map((n) => ({ sub, n })), { sub })));
    for (const sub of ["ann", "bob", "cid"])
      await ear.until(`${sub}'s last`, (got) => got.some((event) => event.user === sub && event.data.n === 19));
    const most = timesSince(begin, DEBOUNCE_MS) + 1;
    for (const sub of ["ann", "bob", "cid"]) {
      const numbers = numbersOf(ear.got.filter((event) => event.user === sub));
      assert.ok(numbers.length <= most, `${numbers}, at most ${most}`);
      assert.equal(numbers.at(-1), 19);
    }
    assert.deepEqual((await history(channel)).map(({ id }) => id), ear.got.map(({ id }) => id));
    ear.close();
  });

  test("a volatile publish is held too, and has no id when it goes through", async () => {
    const channel = fresh("quiet-flow");
    const [ear] = await listen(["/ws"], channel);
    const ann = await enter(place, "ann");
    let n = 0;
    // it may be lost, so it is said until it was heard
    await until("one that was held", async () => {
      n += 1;
      assert.deepEqual(await ann.ask("publish", channel, "e", n, { volatile: true }), { ok: true, duplicate: false });
      const waited = until("it", () => ear.data.includes(n), 5_000);
      return waited.then(() => true, () => false);
    }, 60_000);
    assert.equal("id" in ear.got[0], false);
    assert.deepEqual(await history(channel), []);
    ann.close();
    ear.close();
  });

  test("without the field of its key it is `bad_request`", async () => {
    const channel = fresh("quiet-field");
    for (const { open, none } of Object.values(publishers)) {
      const by = await open();
      refused(await by.say(channel, "e", { other: 1 }), "bad_request");
      assert.deepEqual(await by.say(channel, "e", { id: 1 }), none);
      by.close();
    }
  });
});

describe("channels without a pace", { concurrency: true }, () => {
  test("pass each event on at once, with its id", async () => {
    for (const kind of ["mem", "kept"]) {
      const channel = fresh(kind);
      const ears = await listen(Object.keys(ways), channel);
      const answers = await burst(channel, count(50));
      for (const ear of ears) {
        await ear.heardOnly(...count(50));
        assert.deepEqual(ear.got.map(({ id }) => id), answers.map(({ id }) => id), ear.way);
        ear.close();
      }
      assert.deepEqual((await history(channel)).map(({ id }) => id), answers.map(({ id }) => id));
    }
  });

  test("nor is one who comes late to them told anything", async () => {
    const channel = fresh("mem");
    await burst(channel, count(3));
    for (const ear of await listen(Object.keys(ways), channel)) {
      await ear.heardOnly();
      ear.close();
    }
  });

  for (const kind of ["mem", "kept"]) {
    test(`get an event that is for a paced one too at once, with an id: ${kind}`, async () => {
      const durability = kind === "kept" ? "process" : "memory";
      for (const paced of [fresh("slow"), fresh("leading"), fresh("both"), fresh("trailing"), fresh("quiet")]) {
        const free = fresh(kind);
        // whatever comes now is held or dropped there
        await burst(paced, [{ id: "x", n: 0 }]);
        const [atFree, atPaced] = [await listen(Object.keys(ways), free), await Ear.open("/ws", paced)];
        await atPaced.settled();
        const before = atPaced.got.length;
        for (const channels of [[free, paced], [paced, free]]) {
          const { status, body, json } = await apiPublish(place, { channels, event: "e", data: { id: "x", n: 1 } });
          assert.equal(status, 200, body);
          assert.match(json.id, ID);
          assert.deepEqual(json, { id: json.id, duplicate: false, durability });
          for (const ear of atFree) await ear.until("it", (got) => got.some(({ id }) => id === json.id));
        }
        const events = await history(free);
        assert.deepEqual(numbersOf(events), [1, 1]);
        for (const ear of atFree) {
          await ear.settled();
          const told = ear.got.map(({ id, channel }) => [id, channel]);
          assert.deepEqual(told, events.map(({ id }) => [id, free]), ear.way);
        }
        await atPaced.settled();
        assert.equal(atPaced.got.length, before, `${paced}: held there`);
        for (const ear of [...atFree, atPaced]) ear.close();
      }
    });
  }

  test("of two paced ones, the answer has the id of the one that it goes through at once, whichever is named first", async () => {
    for (const first of ["leading", "slow"]) {
      const [leading, slow] = [fresh("leading"), fresh("slow")];
      const named = first === "leading" ? [leading, slow] : [slow, leading];
      const { json } = await apiPublish(place, { channels: named, event: "e", data: { id: "x", n: 1 } });
      const [event] = await history(leading);
      assert.deepEqual(json, { id: event.id, duplicate: false, durability: "process" }, `${named}`);
    }
  });

  test("and the paced one gets it at its time, by itself", async () => {
    const [free, flow, edge] = [fresh("kept"), fresh("flow"), fresh("trailing-flow")];
    const [atFlow, atEdge] = [await Ear.open("/ws", flow), await Ear.open("/ws", edge)];
    await atFlow.settled();
    const { json } = await apiPublish(place, { channels: [free, flow, edge], event: "e", data: { id: "x", n: 1 } });
    assert.match(json.id, ID);
    await atFlow.heardOnly({ id: "x", n: 1 });
    await atEdge.heardOnly({ id: "x", n: 1 });
    assert.equal("id" in atFlow.got[0], false);
    assert.match(atEdge.got[0].id, ID);
    assert.notEqual(atEdge.got[0].id, json.id);
    assert.deepEqual((await history(edge)).map(({ id }) => id), [atEdge.got[0].id]);
    atFlow.close();
    atEdge.close();
  });

  test("are all but `cursor:*` with --dev", async () => {
    const server = await startDev();
    const client = await user(server, "", { token: server.lines[0].slice("token ".length) }).connected();
    for (const n of count(3))
      assert.deepEqual(await client.ask("publish", "cursor:1", "moved", { id: "x", n }), { ok: true, duplicate: false });
    refused(await client.ask("publish", "cursor:1", "moved", { n: 3 }), "bad_request");
    assert.deepEqual((await client.ask("history", "cursor:1")).events, []);
    await client.ask("subscribe", "cursor:1");
    await client.saw("the latest", ({ event, args }) => event === "moved" && args[0].n === 2 && args.length === 2);
    for (const channel of ["room:1", "cursor"]) assert.match((await client.ask("publish", channel, "e", 1)).id, ID);
    client.close();
    await server.stop();
  });
});

describe("a server that is told to end", () => {
  const channel = Object.fromEntries(
    ["slow", "leading", "trailing", "both", "quiet", "quiet-five", "quiet-user", "quiet-event", "quiet-field"].map((kind) => [
      kind,
      `${kind}:end`,
    ]),
  );
  let place;
  let cursor;
  let ears;
  before(async () => {
    place = await Place.open(PACED);
    ears = await listen(STEADY, channel.slow, { at: place });
    for (const ear of ears) await ear.settled();
    cursor = await tailOf(place, channel.quiet);
    const all = count(5).map((n) => ({ id: `k${n % 2}`, n }));
    for (const kind of ["slow", "leading", "trailing", "both", "quiet", "quiet-field"]) await burst(channel[kind], all, { at: place });
    for (const sub of ["ann", "bob"]) await burst(channel["quiet-user"], all, { at: place, sub });
    for (const event of ["a", "b"]) await burst(channel["quiet-event"], all, { at: place, event });
    const eve = await enter(place, "eve");
    for (const n of count(2)) await eve.ask("publish", "quiet:volatile", "e", n, { volatile: true });
    await burst(channel["quiet-five"], all, { at: place });
    assert.deepEqual(await place.server.stop("SIGTERM"), { code: 0, signal: null });
    eve.close();
    await place.start();
  });
  after(() => place?.close());

  for (const kind of ["quiet", "quiet-five"])
    test(`what debounce holds is let through and kept: ${kind}`, async () => {
      const events = await history(channel[kind], place);
      const numbers = numbersOf(events);
      assert.equal(numbers.at(-1), 4);
      if (kind === "quiet") assert.deepEqual(numbers, [4]);
      for (const { id } of events) assert.match(id, ID);
    });

  test("who comes back with a cursor gets it", async () => {
    const ann = await Plain.enter(place, "ann");
    await ann.subscribe(channel.quiet, cursor);
    assert.equal((await ann.nextOf("event")).data.n, 4);
    ann.close();
  });

  test("of each user, event or field by itself", async () => {
    const told = async (kind, of) => (await history(channel[kind], place)).map((event) => [of(event), event.data.n]).sort();
    assert.deepEqual(await told("quiet-user", (event) => event.user), [["ann", 4], ["bob", 4]]);
    assert.deepEqual(await told("quiet-event", ({ event }) => event), [["a", 4], ["b", 4]]);
    assert.deepEqual(await told("quiet-field", ({ data }) => data.id), [["k0", 4], ["k1", 3]]);
  });

  test("what throttle holds is let through and kept; what it dropped is gone", async () => {
    for (const [kind, numbers] of Object.entries({ leading: [0], trailing: [4], both: [0, 4] }))
      assert.deepEqual(numbersOf(await history(channel[kind], place)), numbers, kind);
  });

  test("what is volatile is not kept", async () => assert.deepEqual(await history("quiet:volatile", place), []));

  test("conflated values that were held are told before the end, and gone after it", async () => {
    for (const ear of ears) {
      await ear.until("those held", (got) => got.length >= 3);
      assert.deepEqual(ear.got.map(({ data, id }) => [data.n, id]), [[0, undefined], [3, undefined], [4, undefined]], ear.way);
      ear.close();
    }
    for (const ear of await listen(STEADY, channel.slow, { at: place })) {
      await ear.heardOnly();
      ear.close();
    }
    assert.deepEqual((await polled(place, channel.slow, { wait: 0, limit: 10 })).events, []);
  });
});
