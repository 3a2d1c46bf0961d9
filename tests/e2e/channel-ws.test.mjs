// Plain WebSocket, /ws, with npm's `ws`: each test is named by what PRODUCT.md says ("Plain WebSocket `/ws`", "Auth", "Limits").
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  API_KEY,
  assertError,
  call,
  epochOf,
  FAST,
  foreign,
  FOREIGN,
  future,
  inPlace,
  OWN,
  Place,
  Plain,
  poll,
  publish,
  seqOf,
} from "./lib/channels.mjs";
import { AUTH, enter, ID } from "./lib/server.mjs";
import { now, sign, tokenOf } from "./lib/tokens.mjs";
import { until, within } from "./lib/wait.mjs";

let place;
before(async () => (place = await Place.open()));
after(() => place?.close());

const ws = (sub, options) => Plain.enter(place, sub, options);
const count = (n) => Array.from({ length: n }, (_, i) => i);

describe("coming in", { concurrency: true }, () => {
  test("Server: `welcome` (`user`, `heartbeat_ms`: 25000)", async () => {
    const plain = Plain.as(place, "ann");
    assert.deepEqual(await plain.next(), { type: "welcome", user: "ann", heartbeat_ms: 25000 });
    plain.close();
    assert.equal(await plain.end(), 1005);
  });

  test("`Authorization: Bearer`, `access_token` in the query, first `/ws` message", async () => {
    const token = tokenOf("ann");
    for (const plain of [new Plain(place, { token }), new Plain(place, { path: `/ws?access_token=${token}` })]) {
      assert.equal((await plain.welcomed()).user, "ann");
      plain.close();
    }
    const plain = new Plain(place);
    assert.equal((await plain.answered).status, 101);
    const answer = await plain.ask("auth", { token });
    assert.equal(answer.type, "ok", JSON.stringify(answer));
    assert.equal((await plain.welcomed()).user, "ann");
    assert.match((await plain.subscribe("mem:after auth")).cursor, ID);
    plain.close();
  });

  test("a cookie, where the config names one", async () => {
    await inPlace({ auth: `${AUTH}cookie = "session"\n` }, async (place) => {
      const plain = new Plain(place, { headers: { cookie: `a=b; session=${tokenOf("ann")}` } });
      assert.equal((await plain.welcomed()).user, "ann");
      plain.close();
    });
  });

  test("the first message may be an `auth` without id: no `ok`", async () => {
    const plain = new Plain(place);
    await plain.answered;
    plain.say({ type: "auth", token: tokenOf("ann") });
    await plain.welcomed();
    assert.deepEqual(await plain.settled(), []);
    plain.close();
  });

  test("Precedence: the `auth` message, `Authorization`, `access_token`, cookie; only the first found is checked", async () => {
    const bad = sign({ sub: "ann", exp: now() - 120 });
    const plain = new Plain(place, { token: bad, path: `/ws?access_token=${tokenOf("ann")}` });
    assertError(await plain.next(), "token_expired");
    assert.equal(await plain.end(), 4401);
    const good = new Plain(place, { token: tokenOf("ann"), path: `/ws?access_token=${bad}` });
    await good.welcomed();
    good.close();
  });

  test("A token that is refused gets the 101, an `error`, and close 4401", async () => {
    const wrong = {
      token_expired: sign({ sub: "ann", exp: now() - 120 }),
      token_not_yet_valid: sign({ sub: "ann", exp: now() + 7200, nbf: now() + 3600 }),
      token_signature: sign({ sub: "ann", exp: now() + 60 }, { secret: "another secret" }),
      token_algorithm: sign({ sub: "ann", exp: now() + 60 }, { alg: "none" }),
      unauthenticated: "nonsense",
    };
    for (const [code, token] of Object.entries(wrong)) {
      for (const inMessage of [false, true]) {
        const plain = new Plain(place, { token: inMessage ? undefined : token });
        assert.equal((await plain.answered).status, 101);
        if (inMessage) plain.say({ type: "auth", id: "a", token });
        const error = await plain.next();
        assertError(error, code, code);
        assert.equal(error.id, inMessage ? "a" : undefined);
        assert.equal(await plain.end(), 4401);
        assert.equal(plain.messages.length, 1);
      }
    }
  });

  test("with none, the first message must be `auth`, and anything else closes with 4401", async () => {
    for (const message of [
      { type: "subscribe", id: 1, channels: ["public:a"] },
      { type: "ping", id: 1 },
      { type: "nonsense" },
      { type: "auth", id: 1 },
      { type: "auth", id: 1, token: 7 },
      "no JSON",
      "[]",
    ]) {
      const plain = new Plain(place);
      await plain.answered;
      plain.say(message);
      assert.equal(await plain.end(), 4401, JSON.stringify(message));
      assert.deepEqual(
        plain.messages.filter(({ type }) => type !== "error"),
        [],
      );
    }
  });

  test("within 10 s (`handshake`): 4408", async () => {
    await inPlace({ limits: `${FAST}handshake = "1s"\n` }, async (place) => {
      const plain = new Plain(place);
      assert.equal((await plain.answered).status, 101);
      assert.equal(await plain.end(), 4408);
      const inTime = await Plain.enter(place, "ann");
      // as long again as the other one took: the time is that of the first message alone
      const late = new Plain(place);
      assert.equal(await late.end(), 4408);
      assert.deepEqual(await inTime.settled(), []);
      inTime.close();
    });
  });

  test("anonymous reads what is anyone's, and no more", async () => {
    await inPlace({ auth: `${AUTH}anonymous = true\n` }, async (place) => {
      const plain = new Plain(place);
      await plain.answered;
      await plain.subscribe("public:news");
      await plain.refused("subscribe", { channels: ["kept:a"] }, "forbidden");
      await plain.refused("publish", { channel: "public:news", event: "e", data: 1 }, "forbidden");
      const id = await publish(place, "public:news", "e", 1);
      await until("the event", () => plain.messages.some((message) => message.type === "event" && message.id === id));
      plain.close();
      const wrong = new Plain(place, { token: "nonsense" });
      assertError(await wrong.next(), "unauthenticated");
      assert.equal(await wrong.end(), 4401);
    });
  });

  test("A foreign origin is 403 before the 101, naming the origin and the setting", async () => {
    for (const origin of [FOREIGN, "null", `${OWN}.evil.example`]) {
      const answer = await new Plain(place, { token: tokenOf("ann"), origin }).answered;
      assert.equal(answer.status, 403, origin);
      assert.match(answer.headers["content-type"], /^application\/problem\+json/);
      assert.equal(answer.json.code, "origin_not_allowed");
      assert.ok(answer.body.includes(origin) && answer.body.includes("allowed_origins"), answer.body);
    }
  });

  test("the own host and `allowed_origins` pass", async () => {
    for (const origin of [OWN, place.url]) {
      const plain = new Plain(place, { token: tokenOf("ann"), origin });
      await plain.welcomed();
      plain.close();
    }
  });

  test("a request that is no upgrade is refused, and the server lives", async () => {
    const plainGet = await fetch(`${place.url}/ws`, { headers: { authorization: `Bearer ${tokenOf("ann")}` } });
    assert.ok(plainGet.status >= 400 && plainGet.status < 500, `${plainGet.status}`);
    const post = await fetch(`${place.url}/ws`, { method: "POST", body: "x" });
    assert.ok(post.status >= 400 && post.status < 500, `${post.status}`);
  });
});

describe("requests", { concurrency: true }, () => {
  test('`subscribe` → `{cursor}`; `{"type":"event", id, channel, event, data, time, user}`; `publish` → `{id, duplicate}`', async () => {
    const ann = await ws("ann");
    const bob = await ws("bob");
    const answer = await ann.ask("subscribe", { channels: ["mem:a", "mem:b"] });
    assert.deepEqual(Object.keys(answer).sort(), ["id", "result", "type"]);
    assert.match(answer.result.cursor, ID);
    const result = await bob.publish("mem:a", "greeting", { text: "é漢🙂\u0000\u2028" });
    assert.deepEqual(Object.keys(result).sort(), ["duplicate", "id"]);
    assert.match(result.id, ID);
    assert.equal(result.duplicate, false);
    const event = await ann.nextOf("event");
    const { time, ...rest } = event;
    assert.deepEqual(rest, {
      type: "event",
      id: result.id,
      channel: "mem:a",
      event: "greeting",
      data: { text: "é漢🙂\u0000\u2028" },
      user: "bob",
    });
    assert.ok(Number.isInteger(time) && Math.abs(time - Date.now()) < 60_000);
    assert.deepEqual(await bob.settled(), [], "who hasn't subscribed gets nothing");
    ann.close();
    bob.close();
  });

  test("`user` the publisher's `sub`, absent for the API", async () => {
    const ann = await ws("ann");
    await ann.subscribe("mem:by the api");
    const id = await publish(place, "mem:by the api", "e", [1]);
    const event = await ann.nextOf("event");
    assert.equal(event.id, id);
    assert.equal("user" in event, false);
    ann.close();
  });

  test("`unsubscribe` (`channels`)", async () => {
    const ann = await ws("ann");
    await ann.subscribe(["mem:u1", "mem:u2"]);
    assert.equal((await ann.ask("unsubscribe", { channels: ["mem:u1"] })).type, "ok");
    await ann.publish("mem:u1", "unheard", 1);
    const { id } = await ann.publish("mem:u2", "heard", 1);
    assert.equal((await ann.nextOf("event")).id, id);
    assert.deepEqual(await ann.settled(), []);
    assert.equal((await ann.ask("unsubscribe", { channels: ["mem:never subscribed"] })).type, "ok");
    ann.close();
  });

  test("`id` is a string of at most 64 bytes or an integer; it comes back as it was", async () => {
    const ann = await ws("ann");
    for (const id of ["", "a", "x".repeat(64), "é".repeat(32), 0, 1, -1, 2 ** 53 - 1]) {
      ann.say({ type: "ping", id });
      const { type, id: back } = await ann.next();
      assert.deepEqual([type, back], ["ok", id]);
    }
    for (const id of ["x".repeat(65), "é".repeat(33), 1.5, true, {}, []]) {
      ann.say({ type: "ping", id });
      assertError(await ann.next(), "bad_request", JSON.stringify(id).slice(0, 80));
    }
    assert.deepEqual(await ann.settled(), []);
    ann.close();
  });

  test("without it there is no `ok`", async () => {
    const ann = await ws("ann");
    ann.say({ type: "subscribe", channels: ["mem:no id"] });
    ann.say({ type: "ping" });
    ann.say({ type: "publish", channel: "mem:no id", event: "e", data: 1 });
    const event = await ann.nextOf("event");
    assert.equal(event.channel, "mem:no id");
    ann.say({ type: "unsubscribe", channels: ["mem:no id"] });
    assert.deepEqual(await ann.settled(), []);
    ann.say({ type: "subscribe", channels: ["nobody:may"] });
    const error = await ann.next();
    assertError(error, "forbidden");
    assert.equal("id" in error, false);
    ann.close();
  });

  test("Subscribing again without `since` is `ok` and no replay; with `since` it replays", async () => {
    const ann = await ws("ann");
    const { cursor } = await ann.subscribe("mem:again");
    const ids = [];
    for (const n of count(3)) ids.push((await ann.publish("mem:again", "e", n)).id);
    assert.deepEqual(
      (await ann.events(3)).map(({ id }) => id),
      ids,
    );
    await ann.subscribe(["mem:again", "mem:again"]);
    assert.deepEqual(await ann.settled(), []);
    await ann.subscribe("mem:again", cursor);
    assert.deepEqual(
      (await ann.events(3)).map(({ id }) => id),
      ids,
    );
    await ann.subscribe("mem:again", ids[1]);
    assert.deepEqual(
      (await ann.events(1)).map(({ id }) => id),
      [ids[2]],
    );
    const last = await ann.publish("mem:again", "e", 3);
    assert.equal((await ann.nextOf("event")).id, last.id, "one subscription, not two");
    assert.deepEqual(await ann.settled(), []);
    ann.close();
  });

  test("`since`: all of them from one cursor, in one step", async () => {
    const ann = await ws("ann");
    const start = (await ann.subscribe("mem:one0")).cursor;
    const ids = [];
    for (const n of count(30)) ids.push((await ann.publish(`mem:one${n % 3}`, "e", n)).id);
    const bob = await ws("bob");
    await bob.subscribe(
      count(3).map((n) => `mem:one${n}`),
      start,
    );
    const events = await bob.events(30);
    assert.deepEqual(
      events.map(({ id }) => id),
      ids,
    );
    assert.deepEqual(
      events.map(({ data }) => data),
      count(30),
    );
    assert.deepEqual(await bob.settled(), []);
    ann.close();
    bob.close();
  });

  test("`cursor` is `since` where given (never past what was delivered), else the tail", async () => {
    const ann = await ws("ann");
    const one = await ann.publish("mem:cursor", "e", 1);
    const two = await ann.publish("mem:cursor", "e", 2);
    const fresh = await ann.subscribe("mem:cursor");
    assert.ok(seqOf(fresh.cursor) >= seqOf(two.id));
    assert.equal(epochOf(fresh.cursor), epochOf(two.id));
    assert.deepEqual(await ann.settled(), []);
    assert.equal((await ann.subscribe("mem:cursor", one.id)).cursor, one.id);
    assert.equal((await ann.nextOf("event")).id, two.id);
    ann.close();
  });

  test("a cursor without an event since is a cursor all the same", async () => {
    const ann = await ws("ann");
    const { cursor } = await ann.subscribe("mem:quiet");
    await publish(place, "mem:elsewhere", "e", 1);
    const { id } = await ann.publish("mem:quiet", "e", 1);
    ann.close();
    const again = await ws("ann");
    assert.equal((await again.subscribe("mem:quiet", cursor)).cursor, cursor);
    const left = await again.events(1);
    assert.deepEqual(
      left.map((event) => event.id),
      [id],
    );
    assert.deepEqual(await again.settled(), [], "and no gap");
    again.close();
  });

  test("`gap` (`channels`, `next`): an id of another epoch or from the future, then all that is retained", async () => {
    const ann = await ws("ann");
    const ids = [];
    for (const n of count(3)) ids.push((await ann.publish("mem:gap", "e", n)).id);
    for (const since of [foreign(ids[2]), future(ids[2])]) {
      const bob = await ws("bob");
      await bob.subscribe(["mem:gap"], since);
      const gap = await bob.nextOf("gap");
      assert.deepEqual(gap.channels, ["mem:gap"]);
      assert.match(gap.next, ID);
      assert.equal(epochOf(gap.next), epochOf(ids[0]));
      assert.ok(seqOf(gap.next) < seqOf(ids[0]), "the replay starts before what is retained");
      assert.deepEqual(
        (await bob.events(ids.length)).map(({ id }) => id),
        ids,
      );
      ids.push((await ann.publish("mem:gap", "live", 1)).id);
      assert.equal((await bob.nextOf("event")).id, ids.at(-1));
      assert.deepEqual(await bob.settled(), []);
      bob.close();
    }
    ann.close();
  });

  test("a mangled `since` is `invalid_id`, and nothing is subscribed", async () => {
    const ann = await ws("ann");
    for (const since of [
      "",
      "x",
      "aaaaaaaa-01",
      "aaaaaaaa-",
      "AAAAAAAA-1",
      "aaaaaaaa-1 ",
      "aaaaaaaa--1",
      "aaaaaaaa-12345678901234567",
      7,
      {},
      [],
    ])
      await ann.refused(
        "subscribe",
        { channels: ["mem:mangled"], since },
        typeof since === "string" ? "invalid_id" : /^(invalid_id|bad_request)$/,
      );
    await ann.publish("mem:mangled", "e", 1);
    assert.deepEqual(await ann.settled(), []);
    ann.close();
  });

  test("`history` without `before` or `after` is the newest page, oldest first within it; `limit` 50, at most 1000", async () => {
    const ann = await ws("ann");
    const ids = [];
    for (const n of count(60)) ids.push((await ann.publish("mem:history", "e", n)).id);
    const newest = await ann.result("history", { channel: "mem:history" });
    assert.deepEqual(Object.keys(newest).sort(), ["events", "more"]);
    assert.deepEqual(
      newest.events.map(({ id }) => id),
      ids.slice(10),
    );
    assert.equal(newest.more, true);
    const { time, ...rest } = newest.events[0];
    assert.deepEqual(rest, { id: ids[10], channel: "mem:history", event: "e", data: 10, user: "ann" });
    assert.ok(Number.isInteger(time));
    const all = await ann.result("history", { channel: "mem:history", limit: 1000 });
    assert.deepEqual(
      all.events.map(({ id }) => id),
      ids,
    );
    assert.equal(all.more, false);
    for (const limit of [0, 1001, -1, "5", 1.5]) await ann.refused("history", { channel: "mem:history", limit }, "bad_request");
    ann.close();
  });

  test("`presence` (channel, `{after, limit}?`) → `{users, count}`", async () => {
    const [ann, bob] = [await ws("ann"), await ws("bob", { claims: { info: { name: "Bob" } } })];
    await ann.subscribe("mem:who");
    await bob.subscribe("mem:who");
    const join = await ann.nextOf("join");
    const first = join.user === "ann" ? await ann.nextOf("join") : join;
    assert.deepEqual(first, { type: "join", channel: "mem:who", user: "bob", info: { name: "Bob" } });
    const here = await ann.result("presence", { channel: "mem:who" });
    assert.deepEqual([here.count, here.users.map(({ user }) => user)], [2, ["ann", "bob"]]);
    const page = await ann.result("presence", { channel: "mem:who", after: "ann", limit: 1 });
    assert.deepEqual([page.count, page.users.map(({ user }) => user)], [2, ["bob"]]);
    bob.cut();
    const leave = await ann.nextOf("leave");
    assert.deepEqual([leave.channel, leave.user], ["mem:who", "bob"]);
    await ann.refused("presence", { channel: "public:none" }, /^(forbidden|bad_request|not_found)$/);
    await ann.refused("presence", { channel: "room:1" }, "forbidden");
    ann.close();
  });

  test("`auth` shows who the client is from then on, in the channels that it is in", async () => {
    const channels = '[[channels]]\nmatch = "hall"\nsubscribe = "anyone"\npresence = true\n';
    await inPlace({ auth: `${AUTH}anonymous = true\n`, channels }, async (place) => {
      const tokens = (sub) => tokenOf(sub, { info: { name: `${sub} anew` } });
      const [visitor, dan] = [new Plain(place), await enter(place.server, "dan", { claims: { info: { name: "Dan" } } })];
      const watcher = new Plain(place, { token: tokenOf("watcher") });
      for (const client of [visitor, watcher]) {
        await client.welcomed();
        await client.subscribe("hall");
      }
      await dan.ask("subscribe", "hall");
      const here = async () => (await watcher.result("presence", { channel: "hall" })).users.map(({ user, info }) => [user, info?.name]);
      assert.deepEqual(await here(), [["dan", "Dan"], ["watcher", undefined]]);
      assert.equal((await dan.ask("auth", tokens("dan"))).ok, true);
      assert.deepEqual(await here(), [["dan", "dan anew"], ["watcher", undefined]]);
      // Who was nobody when it subscribed is there as soon as it is somebody; a later token changes what is known of it.
      await visitor.result("auth", { token: tokenOf("ann") });
      assert.deepEqual((await here())[0], ["ann", undefined]);
      const joined = [await watcher.nextOf("join"), await watcher.nextOf("join"), await watcher.nextOf("join")];
      assert.deepEqual(
        joined.map(({ user }) => user),
        ["watcher", "dan", "ann"],
      );
      await visitor.result("auth", { token: tokens("ann") });
      assert.deepEqual((await here())[0], ["ann", "ann anew"]);
      visitor.close();
      const leave = await watcher.nextOf("leave");
      assert.deepEqual([leave.user, leave.info], ["ann", { name: "ann anew" }]);
      for (const client of [dan, watcher]) client.close();
    });
  });

  test("presence is of a user, whatever it speaks", async () => {
    const [plain, sio] = [await ws("ann"), await enter(place.server, "ann")];
    const watcher = await ws("cid");
    await watcher.subscribe("mem:mixed");
    await plain.subscribe("mem:mixed");
    await sio.ask("subscribe", "mem:mixed");
    const here = await watcher.result("presence", { channel: "mem:mixed" });
    assert.deepEqual(
      here.users.map(({ user }) => user),
      ["ann", "cid"],
    );
    sio.close();
    plain.close();
    for (;;) {
      const { type, user } = await watcher.next();
      if (type === "leave" && user === "ann") break;
      assert.equal(type, "join");
    }
    watcher.close();
  });

  test("`publish` with `key`: answered again with the first id, delivered once; other content is `key_conflict`", async () => {
    const ann = await ws("ann");
    await ann.subscribe("mem:key");
    const first = await ann.publish("mem:key", "e", { n: 1 }, { key: "k1" });
    const again = await ann.publish("mem:key", "e", { n: 1 }, { key: "k1" });
    assert.deepEqual(again, { id: first.id, duplicate: true });
    await ann.refused("publish", { channel: "mem:key", event: "e", data: { n: 2 }, key: "k1" }, "key_conflict");
    const other = await ann.publish("mem:key", "e", { n: 2 }, { key: "k2" });
    assert.equal(other.duplicate, false);
    assert.deepEqual(
      (await ann.events(2)).map(({ id }) => id),
      [first.id, other.id],
    );
    assert.deepEqual(await ann.settled(), []);
    ann.close();
  });

  test("`volatile`: no id, in the answer and in the event", async () => {
    const [ann, bob] = [await ws("ann"), await ws("bob")];
    await ann.subscribe("mem:volatile");
    await until("a volatile event", async () => {
      const result = await bob.publish("mem:volatile", "moved", { x: 1 }, { volatile: true });
      assert.equal("id" in result, false);
      return ann.messages.some(({ event }) => event === "moved");
    });
    const moved = ann.messages.find(({ event }) => event === "moved");
    assert.equal("id" in moved, false);
    assert.deepEqual([moved.channel, moved.data, moved.user], ["mem:volatile", { x: 1 }, "bob"]);
    // it is not kept, so it can't be known again
    await bob.refused("publish", { channel: "mem:volatile", event: "moved", data: 1, volatile: true, key: "k" }, "bad_request");
    ann.close();
    bob.close();
  });

  test('Bytes in JSON are `{"$bytes":"<base64>"}`, both ways', async () => {
    const ann = await ws("ann");
    const sio = await enter(place.server, "bob");
    await ann.subscribe("mem:bytes");
    await sio.ask("subscribe", "mem:bytes");
    const heard = [];
    sio.socket.on("from ws", (data) => heard.push(data));
    await ann.publish("mem:bytes", "from ws", { a: { $bytes: "AQID" }, b: [{ $bytes: "" }, { $bytes: "/+8=" }], c: "AQID" });
    await until("it at the stock client", () => heard.length === 1);
    const [{ a, b, c }] = heard;
    assert.deepEqual(
      [a, b[0], b[1]].map((bytes) => Buffer.from(bytes)),
      [Buffer.from([1, 2, 3]), Buffer.alloc(0), Buffer.from([255, 239])],
    );
    assert.equal(c, "AQID");
    const [own] = await ann.events(1);
    assert.deepEqual(own.data, { a: { $bytes: "AQID" }, b: [{ $bytes: "" }, { $bytes: "/+8=" }], c: "AQID" });
    await sio.ask("publish", "mem:bytes", "from sio", { list: [Buffer.from([255, 239]), 7] });
    const [event] = await ann.events(1);
    assert.deepEqual(event.data, { list: [{ $bytes: "/+8=" }, 7] });
    ann.close();
    sio.close();
  });

  test("data that is absent is null; any JSON passes", async () => {
    const ann = await ws("ann");
    await ann.subscribe("mem:kinds");
    const kinds = [null, 0, -1.5, "", [], [1, [2]], {}, { b: 1, a: 2 }, true, "é漢🙂\u0000"];
    for (const data of kinds) await ann.publish("mem:kinds", "kind", data);
    assert.deepEqual(
      (await ann.events(kinds.length)).map(({ data }) => data),
      kinds,
    );
    ann.close();
  });

  test("Every user may read `user:<sub>`; `/ws` is in it from the start; nobody else may", async () => {
    const ann = await ws("ann own");
    const id = await publish(place, "user:ann own", "note", 1);
    const event = await ann.nextOf("event");
    assert.deepEqual([event.id, event.channel], [id, "user:ann own"]);
    const bob = await ws("bob own");
    await bob.refused("subscribe", { channels: ["user:ann own"] }, "forbidden");
    await bob.refused("history", { channel: "user:ann own" }, "forbidden");
    ann.close();
    bob.close();
  });

  test("One forbidden channel refuses the whole request; unknown and forbidden look alike", async () => {
    const ann = await ws("ann");
    await ann.refused("subscribe", { channels: ["mem:whole", "room:1"] }, "forbidden");
    await ann.publish("mem:whole", "unheard", 1);
    assert.deepEqual(await ann.settled(), []);
    const there = await ann.refused("subscribe", { channels: ["room:1"] }, "forbidden");
    const notThere = await ann.refused("subscribe", { channels: ["none:1"] }, "forbidden");
    assert.equal(there.message.replace("room:1", ""), notThere.message.replace("none:1", ""));
    await ann.refused("publish", { channel: "readonly:1", event: "e", data: 1 }, "forbidden");
    await ann.refused("subscribe", { channels: ["writeonly:1"] }, "forbidden");
    await ann.refused("history", { channel: "writeonly:1" }, "forbidden");
    await ann.publish("writeonly:1", "e", 1);
    ann.close();
  });

  test('claims: `channels: {"subscribe":["room:*"],"publish":["room:7"]}`', async () => {
    const ann = await ws("ann", { claims: { channels: { subscribe: ["room:*"], publish: ["room:7"] } } });
    await ann.subscribe(["room:1", "room:7"]);
    await ann.publish("room:7", "e", 1);
    await ann.refused("publish", { channel: "room:1", event: "e", data: 1 }, "forbidden");
    ann.close();
  });

  test("128 subscriptions that a client asked for", async () => {
    const ann = await ws("ann");
    const many = (from, to) => count(to - from).map((n) => `mem:many${from + n}`);
    await ann.subscribe(many(0, 128));
    await ann.subscribe("mem:many5");
    await ann.refused("subscribe", { channels: ["mem:many128"] }, "too_many_channels");
    await ann.result("unsubscribe", { channels: ["mem:many0"] });
    await ann.refused("subscribe", { channels: many(128, 130) }, "too_many_channels");
    await ann.subscribe("mem:many128");
    const bob = await ws("bob");
    await bob.refused("subscribe", { channels: many(0, 129) }, "too_many_channels");
    const here = await bob.result("presence", { channel: "mem:many3" });
    assert.equal(
      here.users.some(({ user }) => user === "bob"),
      false,
    );
    ann.close();
    bob.close();
  });
});

describe("errors", { concurrency: true }, () => {
  test("what is no JSON is `invalid_json`; what is no request is an error; the connection lives on", async () => {
    const ann = await ws("ann");
    for (const text of ["", "{", "nonsense", '{"type":"ping",}', "\u0000", `${"[".repeat(100_000)}`]) {
      ann.say(text);
      assertError(await ann.next(), "invalid_json", text.slice(0, 40));
    }
    for (const text of ["[]", "7", "null", '"ping"', "{}", '{"type":7}', '{"type":null,"id":1}']) {
      ann.say(text);
      assertError(await ann.next(), /^(bad_request|invalid_json)$/, text);
    }
    assertError(await ann.ask("nonsense"), /^(bad_request|unknown_event)$/);
    for (const [type, fields] of [
      ["subscribe", {}],
      ["subscribe", { channels: "mem:a" }],
      ["subscribe", { channels: [] }],
      ["subscribe", { channels: [7] }],
      ["subscribe", { channels: null }],
      ["unsubscribe", {}],
      ["unsubscribe", { channels: [7] }],
      ["publish", {}],
      ["publish", { channel: "mem:a" }],
      ["publish", { channel: 7, event: "e", data: 1 }],
      ["publish", { channel: "mem:a", event: 7, data: 1 }],
      ["publish", { channel: "mem:a", event: "e", data: 1, volatile: "yes" }],
      ["publish", { channel: "mem:a", event: "e", data: 1, key: 7 }],
      ["history", {}],
      ["history", { channel: "mem:a", before: 7 }],
      ["presence", {}],
      ["presence", { channel: "mem:a", after: 7 }],
      ["auth", {}],
    ]) {
      // an empty list could be called nothing to do
      const answer = await ann.ask(type, fields);
      if (answer.type === "ok" && Array.isArray(fields.channels) && fields.channels.length === 0) continue;
      assertError(answer, /^(bad_request|invalid_channel|invalid_id|unauthenticated)$/, `${type} ${JSON.stringify(fields)}`);
    }
    assert.deepEqual(await ann.settled(), []);
    ann.close();
  });

  test("channel names 1–255 bytes, no control characters, none that begins with /", async () => {
    const ann = await ws("ann");
    const long = (bytes) => "mem:" + "x".repeat(bytes - 4);
    await ann.subscribe(long(255));
    for (const channel of [
      "",
      long(256),
      "mem:" + "é".repeat(126),
      "mem:a\nb",
      "mem:\u0000",
      "mem:\u007f",
      "mem:\u0085",
      "/",
      "/n,r",
    ]) {
      await ann.refused("subscribe", { channels: [channel] }, "invalid_channel");
      await ann.refused("subscribe", { channels: ["mem:good", channel] }, "invalid_channel");
      await ann.refused("publish", { channel, event: "e", data: 1 }, "invalid_channel");
      await ann.refused("history", { channel }, "invalid_channel");
      await ann.refused("presence", { channel }, "invalid_channel");
    }
    ann.close();
  });

  test("event names 1–128 bytes; names that Socket.IO reserves, `gap`, `expiring`, `open`, `error` and `tidings:…` are refused at publish", async () => {
    const ann = await ws("ann");
    await ann.publish("mem:names", "x".repeat(128), 1);
    const reserved = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];
    const own = ["gap", "expiring", "open", "error", "tidings:join", "tidings:anything"];
    for (const event of [...reserved, ...own, "", "x".repeat(129), "é".repeat(65), "a\nb", "a\u0000"])
      await ann.refused("publish", { channel: "mem:names", event, data: 1 }, "bad_request");
    ann.close();
  });

  test("a binary frame closes with 1003", async () => {
    const ann = await ws("ann");
    ann.say(Buffer.from('{"type":"ping"}'));
    assert.equal(await ann.end(), 1003);
    const nobody = new Plain(place);
    await nobody.answered;
    nobody.say(Buffer.from([1]));
    assert.ok([1003, 4401].includes(await nobody.end()));
  });

  test("message 1,000,000 bytes: at it and past it, 1009", async () => {
    const ann = await ws("ann");
    const message = (bytes) => {
      const empty = JSON.stringify({ type: "publish", id: 1, channel: "mem:large", event: "e", data: "" });
      return empty.slice(0, -2) + "x".repeat(bytes - empty.length) + '"}';
    };
    assert.equal(message(1_000_000).length, 1_000_000);
    ann.say(message(1_000_000));
    assert.equal((await ann.nextOf("ok")).id, 1);
    ann.say(message(1_000_001));
    assert.equal(await ann.end(), 1009);
    const after = await ws("ann");
    assert.deepEqual(await after.settled(), []);
    after.close();
  });

  test("text that is no UTF-8 closes the connection and nothing else", async () => {
    const ann = await ws("ann");
    // a text frame of these bytes is what no browser sends
    ann.ws.send(Buffer.from([0x22, 0xff, 0xfe, 0x22]), { binary: false });
    assert.ok([1003, 1007].includes(await ann.end()));
    const after = await ws("ann");
    assert.deepEqual(await after.settled(), []);
    after.close();
  });

  test("100 messages/s that a client sends (burst 200), refused with `rate_limited`", async () => {
    await inPlace({ limits: "messages_per_second = 5\nmessages_burst = 10\n" }, async (place) => {
      const ann = await Plain.enter(place, "ann");
      const answers = await Promise.all(count(40).map(() => ann.ask("ping")));
      assert.ok(
        answers.slice(0, 9).every(({ type }) => type === "ok"),
        "the burst",
      );
      const refused = answers.filter(({ type }) => type === "error");
      assert.ok(refused.length >= 20, `${refused.length}`);
      for (const answer of refused) assertError(answer, "rate_limited");
      await until("the rate allows another", async () => (await ann.ask("ping")).type === "ok");
      ann.close();
    });
  });

  test("closed after 10 s over it: 4429", async () => {
    await inPlace({ limits: "messages_per_second = 5\nmessages_burst = 10\n" }, async (place) => {
      const [ann, bob] = [await Plain.enter(place, "ann"), await Plain.enter(place, "bob")];
      await until(
        "the end of one who never stops",
        () => {
          if (ann.close_code === undefined) for (const n of count(5)) ann.say({ type: "ping", id: n });
          return ann.close_code !== undefined;
        },
        40_000,
      );
      assert.equal(ann.close_code, 4429);
      await bob.result("ping");
      bob.close();
    });
  });
});

describe("life", { concurrency: true }, () => {
  test("Expiry: an in-band fresh token through `auth`", async () => {
    const ann = await ws("ann", { claims: { exp: now() + 3 } });
    await ann.subscribe("mem:fresh");
    assert.equal((await ann.ask("auth", { token: tokenOf("ann", { exp: now() + 600 }) })).type, "ok");
    // another connection with the first token's end goes before this one would have gone
    const other = await ws("ann", { claims: { exp: now() + 4 } });
    assert.equal(await other.end(20_000), 4401);
    const { id } = await ann.publish("mem:fresh", "e", 1);
    assert.ok((await ann.settled()).some((message) => message.id === id));
    ann.close();
  });

  test("`auth` also drops subscriptions no longer granted", async () => {
    const ann = await ws("ann", { claims: { channels: { subscribe: ["room:1", "room:2"], publish: ["room:*"] } } });
    await ann.subscribe(["room:1", "room:2"]);
    const renewed = await ann.result("auth", { token: tokenOf("ann", { channels: { subscribe: ["room:2"], publish: ["room:*"] } }) });
    assert.deepEqual(renewed, { ended: ["room:1"] });
    await ann.publish("room:1", "unheard", 1);
    const { id } = await ann.publish("room:2", "heard", 1);
    assert.equal((await ann.nextOf("event")).id, id);
    await ann.refused("subscribe", { channels: ["room:1"] }, "forbidden");
    ann.close();
  });

  test("`auth` with a bad token, or with another user's, is refused", async () => {
    for (const [token, code] of [
      [sign({ sub: "ann", exp: now() - 120 }), "token_expired"],
      [tokenOf("bob"), /^(forbidden|unauthenticated|bad_request)$/],
    ]) {
      const ann = await ws("ann");
      assertError(await ann.ask("auth", { token }), code);
      ann.close();
    }
  });

  test("closed at the token's end: 4401, not before", async () => {
    const exp = now() + 2;
    const ann = await ws("ann", { claims: { exp } });
    await ann.subscribe("mem:a");
    assert.equal(await ann.end(), 4401);
    assert.ok(Date.now() >= exp * 1000 - 100);
  });

  test("Expiry: a warning 60 s before (`expiring`)", async () => {
    const ann = await ws("ann", { claims: { exp: now() + 63 } });
    assert.equal(ann.messages.length, 1);
    assert.equal((await ann.nextOf("expiring")).type, "expiring");
    assert.deepEqual(await ann.settled(), []);
    ann.close();
  });

  test("clients told to come back on shutdown: `/ws` 1012, exit 0", async () => {
    await inPlace({}, async (place) => {
      const [ann, bob] = [await Plain.enter(place, "ann"), await Plain.enter(place, "bob")];
      await ann.subscribe("mem:a");
      const stopped = place.server.stop("SIGTERM");
      assert.equal(await ann.end(), 1012);
      assert.equal(await bob.end(), 1012);
      assert.deepEqual(await stopped, { code: 0, signal: null });
    });
  });

  test("connections per user: one too many is told `too_many_connections`", async () => {
    await inPlace({ limits: `${FAST}connections_per_user = 2\n` }, async (place) => {
      const inside = [await Plain.enter(place, "ann"), await Plain.enter(place, "ann")];
      const third = Plain.as(place, "ann");
      const answer = await third.answered;
      if (answer.status === 101) {
        assertError(await third.next(), "too_many_connections");
        await third.end();
      } else assert.deepEqual([answer.status, answer.json.code], [429, "too_many_connections"]);
      await inside[0].result("ping");
      // a fresh token is no further connection
      assert.equal((await inside[0].ask("auth", { token: tokenOf("ann", { exp: now() + 600 }) })).type, "ok");
      const still = Plain.as(place, "ann");
      assert.notEqual((await still.next().catch(() => ({}))).type, "welcome");
      const bob = await Plain.enter(place, "bob");
      bob.close();
      inside[0].close();
      await inside[0].end();
      await until("room for another", async () => {
        const fourth = Plain.as(place, "ann");
        const { type } = await fourth.next().catch(() => ({}));
        fourth.cut();
        return type === "welcome";
      });
      inside[1].close();
    });
  });

  test("connections per user: who came as nobody counts as soon as it says who it is", async () => {
    await inPlace({ auth: `${AUTH}anonymous = true\n`, limits: `${FAST}connections_per_user = 2\n` }, async (place) => {
      const plains = [];
      for (const _ of count(3)) {
        const plain = new Plain(place);
        assert.equal("user" in (await plain.welcomed()), false);
        plains.push(plain);
      }
      const auth = { token: tokenOf("ann") };
      for (const plain of plains.slice(0, 2)) await plain.result("auth", auth);
      await plains[2].refused("auth", auth, "too_many_connections");
      const { status, json, body } = await call("GET", place, "/api/v1/users/ann/connections", { token: API_KEY });
      assert.deepEqual([status, json.connections?.map(({ kind }) => kind)], [200, ["websocket", "websocket"]], body);
      // A fresh token of one that is inside is no further one, and there is room when one has gone.
      await plains[0].result("auth", auth);
      plains[1].close();
      await plains[1].end();
      await until("room for another", async () => {
        const plain = new Plain(place);
        await plain.welcomed();
        const { type } = await plain.ask("auth", auth).catch(() => ({}));
        plain.cut();
        return type === "ok";
      });
      for (const plain of plains) plain.cut();
    });
  });

  test("The server sends WebSocket pings; a client that answers nothing for two heartbeats is closed: 4408", async () => {
    const [silent, alive] = [await ws("ann", { autoPong: false }), await ws("ann")];
    assert.equal(await silent.end(90_000), 4408);
    assert.ok(silent.pings >= 1 && alive.pings >= 1, `${silent.pings} and ${alive.pings} pings`);
    assert.deepEqual(await alive.settled(), []);
    alive.close();
  });

  test("one that sends messages answers something, without a pong", async () => {
    const talking = await ws("ann", { autoPong: false });
    const silent = await ws("ann", { autoPong: false });
    const talk = setInterval(() => talking.say({ type: "ping" }), 1000);
    assert.equal(await silent.end(90_000), 4408);
    clearInterval(talk);
    assert.deepEqual(await talking.settled(), []);
    talking.close();
  });

  test("what a subscriber loses with its connection it gets with its last id", async () => {
    const ann = await ws("ann");
    await ann.subscribe("mem:lost");
    const first = await ann.publish("mem:lost", "e", 0);
    await ann.nextOf("event");
    ann.cut();
    const missed = [];
    for (const n of count(5)) missed.push(await publish(place, "mem:lost", "e", n));
    const back = await ws("ann");
    await back.subscribe("mem:lost", first.id);
    assert.deepEqual(
      (await back.events(5)).map(({ id }) => id),
      missed,
    );
    assert.deepEqual(await back.settled(), []);
    back.close();
  });
});

test("the server is still well", async () => {
  const { status } = await within("a poll", poll(place, "mem:a", { wait: 0 }));
  assert.equal(status, 200);
});
