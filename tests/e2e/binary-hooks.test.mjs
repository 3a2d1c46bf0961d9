// The `tidings` server's `[hooks]`: the back end decides, answers and is told, over HTTP (docs/hooks.md).
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { BackEnd, HOOK_SECRET, SILENT, status } from "./lib/back-end.mjs";
import { API_KEY, assertError, assertProblem, call, Plain, Place, poll, polled, publish, Sse, tailOf } from "./lib/channels.mjs";
import { Client, newest } from "./lib/clients.mjs";
import { request } from "./lib/http.mjs";
import { scratch } from "./lib/scratch.mjs";
import { enter, user } from "./lib/server.mjs";
import { freePort } from "./lib/targets.mjs";
import { now, SECRET, tokenOf } from "./lib/tokens.mjs";
import { until, within } from "./lib/wait.mjs";

const ALL = 'connect = true\ndisconnect = true\nsubscribe = ["mem:*", "kept:*"]\nevents = ["order:*", "ask"]\ntimeout = "1s"';

// A server and its back end. At the end nothing was wrong with any call, and the log has no secrets.
async function hooked(play, { answers, keys = ALL, more = "", backEnd, ...options } = {}) {
  backEnd ??= await BackEnd.open(answers);
  const place = await Place.open({ more: `${more}\n${backEnd.table(keys)}`, ...options, env: { RUST_LOG: "trace", ...backEnd.env, ...options.env } });
  try {
    await play(place, backEnd);
    assert.deepEqual(backEnd.problems, []);
    for (const secret of [SECRET, HOOK_SECRET, API_KEY, "eyJ"]) assert.ok(!place.server.stderr.includes(secret), place.server.stderr);
  } finally {
    await place.close();
    if (backEnd.http.listening) await backEnd.close();
  }
}

const refused = (answer, code, message = /./) => {
  assert.equal(answer.ok, false, JSON.stringify(answer));
  assert.equal(answer.code, code, JSON.stringify(answer));
  assert.match(answer.message, message);
};

// What becomes of somebody who comes, on each transport: a code, or `in`.
async function outcomes(place, token = tokenOf("ann")) {
  const socket = new Client(newest, place.url, { transports: ["websocket"], auth: { token } });
  const record = await socket.saw("an answer", (record) => !("event" in record));
  const plain = new Plain(place, { token });
  const first = await plain.next("an answer");
  const closed = first.type === "error" ? await plain.end() : undefined;
  const sse = new Sse(place, "mem:a", { token });
  const head = await within("the head of /sse", sse.opened);
  const ends = head.status === 200 && (await Promise.race([sse.ended.then(() => true), until("a cursor", () => sse.lastEventId !== "").then(() => false)]));
  const polls = await poll(place, "mem:a", { token, wait: 0 });
  for (const client of [socket, plain, sse]) client.close();
  return {
    // a stock client comes back by itself after a transport that closed, and after nothing else
    socketio: record.connect ? "in" : record.data ? `${record.data.code}: ${record.connect_error}` : "transport closed",
    ws: first.type === "welcome" ? "in" : `${first.code} ${closed}`,
    sse: ends ? "ended" : head.status,
    poll: polls.status === 200 ? "in" : `${polls.json.code} ${polls.status}`,
  };
}

describe("connect", { concurrency: 4 }, () => {
  test("tells who comes, on each transport, and lets in", () =>
    hooked(async (place, backEnd) => {
      const claims = { info: { name: "Ann" }, channels: { subscribe: ["room:*"] }, jti: "7" };
      const token = tokenOf("ann", claims);
      assert.deepEqual(await outcomes(place, token), { socketio: "in", ws: "in", sse: 200, poll: "in" });
      const calls = backEnd.of("connect");
      assert.deepEqual(calls.map(({ kind }) => kind), ["socketio-websocket", "websocket", "sse", "poll"]);
      for (const { user, claims: told, address, connection } of calls) {
        assert.deepEqual([user, address], ["ann", "127.0.0.1"]);
        assert.match(connection, /^[0-9a-f]{32}$/);
        const { exp, iat, ...rest } = told;
        assert.ok(exp > now() && iat <= now());
        assert.deepEqual(rest, { sub: "ann", info: claims.info, channels: { subscribe: ["room:*"], publish: [] }, jti: "7" });
      }
      assert.equal(new Set(calls.map(({ connection }) => connection)).size, 4);
      assert.equal(new Set(calls.map(({ id }) => id)).size, 4);
      // Who has no good token is no matter of the back end's.
      await outcomes(place, "nobody");
      assert.equal(backEnd.of("connect").length, 4);
    }));

  test("who has no token is nobody, where that is allowed", () =>
    hooked(
      async (place, backEnd) => {
        const client = await new Client(newest, place.url, { transports: ["websocket"] }).connected();
        const [told] = backEnd.of("connect");
        assert.ok(!("user" in told) && !("claims" in told));
        client.close();
        // Who was nobody and then says who it is, is asked about as that.
        backEnd.answers.connect = ({ user }) => ({ allow: user !== "eve" });
        const plain = new Plain(place);
        await plain.welcomed();
        await plain.refused("auth", { token: tokenOf("eve") }, "forbidden");
        await plain.result("auth", { token: tokenOf("ann") });
        assert.equal((await backEnd.saw("connect", ({ user }) => user === "ann")).address, "127.0.0.1");
        const asked = backEnd.of("connect").length;
        await plain.result("auth", { token: tokenOf("ann") });
        assert.equal(backEnd.of("connect").length, asked, "a fresh token of the same user is no new connection");
        plain.close();
      },
      { auth: '[auth]\nhs256 = { env = "E2E_SECRET" }\nanonymous = true\n' },
    ));

  test("refuses for good, with the back end's code and message", () =>
    hooked(async (place, backEnd) => {
      const said = { code: "banned", message: "until Monday" };
      const final = { socketio: "banned: until Monday", ws: "banned 4403", sse: 403, poll: "banned 403" };
      for (const answer of [{ allow: false, ...said }, status(403, said)]) {
        backEnd.answers.connect = answer;
        assert.deepEqual(await outcomes(place), final);
      }
      backEnd.answers.connect = status(401, "");
      const { socketio, ...rest } = await outcomes(place);
      assert.match(socketio, /^unauthenticated: /);
      assert.deepEqual(rest, { ws: "unauthenticated 4401", sse: 401, poll: "unauthenticated 401" });
      // One that says to come back later means it.
      backEnd.answers.connect = { allow: false, code: "too_many_connections", message: "full" };
      assert.deepEqual(await outcomes(place), { socketio: "transport closed", ws: "too_many_connections 4429", sse: "ended", poll: "too_many_connections 429" });
      await new Promise((done) => setTimeout(done, 100));
      assert.deepEqual(backEnd.of("disconnect"), [], "nobody was in");
    }));

  test("puts into channels, and says what presence shows", () =>
    hooked(async (place, backEnd) => {
      backEnd.answers.connect = ({ user }) => (user === "ann" ? { allow: true, subscribe: ["club:7", "mem:club"], info: { name: "Ann!" } } : {});
      const [ann, plain] = [await enter(place, "ann"), await Plain.enter(place, "ann")];
      // No rule is about this channel: the back end's word is enough.
      await publish(place, "club:7", "news", 1);
      await publish(place, "mem:club", "news", 2);
      for (const data of [1, 2]) {
        assert.equal((await ann.sawEvent("news")).args[0], data);
        assert.equal((await plain.nextOf("event")).data, data);
      }
      const bob = await enter(place, "bob");
      assert.deepEqual((await bob.ask("presence", "mem:club")).users, [{ user: "ann", info: { name: "Ann!" } }]);
      refused(await bob.ask("subscribe", "club:7"), "forbidden");
      assert.equal((await ann.ask("history", "club:7")).events.length, 1);
      // They don't count as asked for, can be left, and come back to.
      assert.equal((await ann.ask("unsubscribe", "club:7")).ok, true);
      assert.equal((await ann.ask("subscribe", "club:7")).ok, true);
      // A stream or a poll names it.
      const sse = new Sse(place, "club:7");
      await sse.open();
      await publish(place, "club:7", "news", 3);
      assert.equal((await sse.nextJson()).data.data, 3);
      assert.equal((await polled(place, "club:7", { wait: 0 })).events[0].data, 3);
      assertProblem(await poll(place, "club:7", { token: tokenOf("bob"), wait: 0 }), 403, "forbidden");
      // A fresh token takes nothing of it away.
      assert.equal((await ann.ask("auth", tokenOf("ann"))).ok, true);
      await plain.result("auth", { token: tokenOf("ann") });
      await publish(place, "club:7", "more", 4);
      await ann.sawEvent("more");
      assert.equal((await plain.events(2)).at(-1).data, 4);
      assert.equal(backEnd.of("subscribe").length, 1, "it has said so already; bob asked for presence");
      for (const client of [ann, plain, bob, sse]) client.close();
    }));

  test("lets nobody in with an answer that says neither yes nor no", () =>
    hooked(async (place, backEnd) => {
      for (const answer of [{ allow: null }, { code: "banned" }, { message: "until Monday" }]) {
        backEnd.answers.connect = answer;
        const { socketio, ws } = await outcomes(place);
        assert.deepEqual([socketio, ws], ["transport closed", "unavailable 1012"], JSON.stringify(answer));
      }
    }));

  test("puts nobody into another user's own channel", () =>
    hooked(async (place, backEnd) => {
      backEnd.answers.connect = { subscribe: ["user:bob"] };
      const { socketio, ws } = await outcomes(place);
      assert.deepEqual([socketio, ws], ["transport closed", "unavailable 1012"]);
      backEnd.answers.connect = { subscribe: ["user:ann"] };
      assert.deepEqual(await outcomes(place), { socketio: "in", ws: "in", sse: 200, poll: "in" });
    }));

  test("is asked once in ten seconds for who polls", () =>
    hooked(async (place, backEnd) => {
      const [ann, other] = [tokenOf("ann"), tokenOf("ann", { jti: "other" })];
      for (let n = 0; n < 5; n += 1) await polled(place, "mem:a", { token: ann, wait: 0 });
      assert.equal(backEnd.of("connect").length, 1);
      assert.equal(backEnd.of("subscribe").length, 1);
      await polled(place, "mem:a", { token: other, wait: 0 });
      assert.equal(backEnd.of("connect").length, 2, "another token is another matter");
      await polled(place, "mem:b", { token: ann, wait: 0 });
      assert.deepEqual(backEnd.of("subscribe").map(({ channels }) => channels), [["mem:a"], ["mem:a"], ["mem:b"]]);
      backEnd.answers.connect = { allow: false };
      for (let n = 0; n < 2; n += 1) assertProblem(await poll(place, "mem:a", { token: tokenOf("eve"), wait: 0 }), 403, "forbidden");
      assert.equal(backEnd.of("connect").length, 4, "a refusal is not remembered");
    }));
});

describe("a back end that", { concurrency: 3 }, () => {
  for (const [what, answer] of [["is down"], ...Object.entries(SILENT)])
    test(`${what}: nobody is let in, and everybody comes back`, () =>
      hooked(async (place, backEnd) => {
        if (answer) Object.assign(backEnd.answers, { connect: answer });
        else await backEnd.close();
        const later = { socketio: "transport closed", ws: "unavailable 1012", sse: "ended", poll: "unavailable 503" };
        assert.deepEqual(await outcomes(place), later);
        const ann = user(place, "ann", { reconnection: true, reconnectionDelay: 100, reconnectionDelayMax: 200 });
        await ann.sawDisconnect(); // not `connect_error`, after which a stock client stays away
        if (answer) backEnd.answers.connect = {};
        else await backEnd.listen();
        // Of itself, and perhaps after the breaker's pause.
        await ann.connected();
        ann.close();
      }));

  test("fails an event or a subscription: it is refused, and the client stays", () =>
    hooked(async (place, backEnd) => {
      const [ann, plain] = [await enter(place, "ann"), await Plain.enter(place, "ann")];
      for (const answer of Object.values(SILENT)) {
        Object.assign(backEnd.answers, { subscribe: answer, event: answer });
        refused(await ann.ask("order:new", 1), "unavailable", /try again/);
        Object.assign(backEnd.answers, { subscribe: { allow: true }, event: {} });
        assert.deepEqual(await ann.ask("ask"), { ok: true }, "one that goes well, so that the breaker stays closed");
        Object.assign(backEnd.answers, { subscribe: answer, event: answer });
        refused(await ann.ask("subscribe", "mem:a"), "unavailable", /try again/);
        await plain.refused("subscribe", { channels: ["mem:a"] }, "unavailable");
        Object.assign(backEnd.answers, { subscribe: { allow: true }, event: {} });
        assert.deepEqual(await ann.ask("ask"), { ok: true });
      }
      await publish(place, "mem:a", "e", 1);
      assert.deepEqual(await plain.settled(), []);
      backEnd.answers.event = {};
      assert.deepEqual(await ann.ask("order:new", 2), { ok: true });
      for (const client of [ann, plain]) client.close();
    }));

  test("breaks a connection before it answers: it is called once more, with the same id", () =>
    hooked(async (place, backEnd) => {
      const ann = await enter(place, "ann");
      let times = 0;
      backEnd.answers.event = (_, response) => ((times += 1) === 1 ? void response.destroy() : { reply: times });
      assert.deepEqual(await ann.ask("order:new", 1), { ok: true, data: 2 });
      const [first, second, ...rest] = backEnd.of("event");
      assert.equal(first.id, second.id);
      assert.deepEqual(first, second);
      assert.deepEqual(rest, []);
      ann.close();
    }));

  test("restarts: kept connections that have ended are no matter", () =>
    hooked(async (place, backEnd) => {
      const ann = await enter(place, "ann");
      for (let n = 0; n < 3; n += 1) {
        await backEnd.close();
        await backEnd.listen();
        assert.deepEqual(await ann.ask("order:new", n), { ok: true });
      }
      ann.close();
    }));
});

test("over https, vouched for by a CA of one's own", async () => {
  const folder = await scratch();
  const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  const args = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"];
  const extensions = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"];
  execFileSync("openssl", [...args, ...extensions, "-keyout", key, "-out", cert], { stdio: "pipe" });
  const tls = { cert: await readFile(cert), key: await readFile(key) };
  const play = async (place) => assert.equal((await outcomes(place)).ws, place.trusts ? "in" : "unavailable 1012");
  for (const trusts of [true, false])
    await hooked((place) => play(Object.assign(place, { trusts })), {
      backEnd: await BackEnd.open({}, 0, tls),
      keys: `connect = true${trusts ? `\nca = ${JSON.stringify(cert)}` : ""}`,
    });
});

describe("the breaker", () => {
  test("opens after five failures in a row, and closes after a trial that goes well", () =>
    hooked(async (place, backEnd) => {
      const ann = await enter(place, "ann");
      backEnd.answers.event = status(503);
      for (let n = 0; n < 5; n += 1) refused(await ann.ask("order:new", n), "unavailable");
      const opened = Date.now();
      for (let n = 0; n < 5; n += 1) refused(await ann.ask("order:new", n), "unavailable", /try again/);
      assert.equal(backEnd.of("event").length, 5, "it is left alone");
      await until("the trial", async () => (await ann.ask("order:new")) && backEnd.of("event").length === 6);
      const trial = Date.now();
      assert.ok(trial - opened > 900, `${trial - opened}`);
      backEnd.answers.event = { reply: "well" };
      await until("the next trial", async () => (await ann.ask("order:new")).ok);
      assert.ok(Date.now() - trial > 1900, "twice the pause");
      assert.deepEqual(await ann.ask("order:new"), { ok: true, data: "well" });
      const lines = place.server.stderr.split("\n");
      assert.equal(lines.filter((line) => line.includes("is not called for a while")).length, 1);
      assert.equal(lines.filter((line) => line.includes("answers again")).length, 1);
      ann.close();
    }));

  test("leaves one alone that says when to come back", () =>
    hooked(async (place, backEnd) => {
      const ann = await enter(place, "ann");
      backEnd.answers.event = status(503, "{}", { "retry-after": "2" });
      refused(await ann.ask("order:new"), "unavailable");
      const begin = Date.now();
      backEnd.answers.event = {};
      await until("its time", async () => (await ann.ask("order:new")).ok);
      assert.ok(Date.now() - begin > 1900);
      assert.equal(backEnd.of("event").length, 2);
      ann.close();
    }));
});

describe("subscribe", { concurrency: 4 }, () => {
  test("has a word in what the rules allow, once for a whole request", () =>
    hooked(async (place, backEnd) => {
      backEnd.answers.subscribe = ({ channels }) => ({ allow: !channels.includes("mem:no"), message: "members only" });
      const [ann, plain] = [await enter(place, "ann"), await Plain.enter(place, "ann")];
      assert.equal((await ann.ask("subscribe", ["mem:a", "mem:b", "public:x"])).ok, true);
      await plain.subscribe(["mem:a", "kept:b", "public:x"]);
      const [first, second] = backEnd.of("subscribe");
      assert.deepEqual([first.user, first.channels], ["ann", ["mem:a", "mem:b"]]);
      assert.deepEqual(second.channels, ["mem:a", "kept:b"]);
      assert.notEqual(first.connection, second.connection);
      assert.ok(backEnd.of("connect").some(({ connection }) => connection === first.connection));
      refused(await ann.ask("subscribe", ["mem:c", "mem:no"]), "forbidden", /^members only$/);
      await plain.refused("subscribe", { channels: ["mem:c", "mem:no"] }, "forbidden");
      // All or none.
      await publish(place, "mem:c", "e", 1);
      await publish(place, "mem:a", "e", 2);
      assert.equal((await ann.sawEvent("e")).args[0], 2);
      assert.equal((await plain.nextOf("event")).data, 2);
      // What the rules forbid is not asked for.
      const asked = backEnd.of("subscribe").length;
      refused(await ann.ask("subscribe", ["room:1", "mem:d"]), "forbidden");
      await plain.refused("subscribe", { channels: ["mem:d", "room:1"] }, "forbidden");
      assert.equal(backEnd.of("subscribe").length, asked);
      for (const client of [ann, plain]) client.close();
    }));

  test("guards streams, polls, history and presence as well", () =>
    hooked(async (place, backEnd) => {
      backEnd.answers.subscribe = ({ channels }) => ({ allow: !channels.includes("mem:no") });
      const token = tokenOf("ann");
      const sse = new Sse(place, ["mem:a", "mem:no"]);
      assert.equal((await sse.whole()).status, 403);
      assertProblem(await poll(place, ["mem:a", "mem:no"], { wait: 0 }), 403, "forbidden");
      const history = (channel) => call("GET", place, `/api/v1/channels/${encodeURIComponent(channel)}/history`, { token });
      assertProblem(await history("mem:no"), 403, "forbidden");
      assert.equal((await history("mem:a")).status, 200);
      const [ann, plain] = [await enter(place, "ann"), await Plain.enter(place, "ann")];
      for (const what of ["history", "presence"]) {
        refused(await ann.ask(what, "mem:no"), "forbidden");
        await plain.refused(what, { channel: "mem:no" }, "forbidden");
        assert.equal((await ann.ask(what, "mem:a")).ok, true);
        await plain.result(what, { channel: "mem:a" });
      }
      backEnd.answers.subscribe = status(500);
      assertProblem(await history("mem:b"), 503, "unavailable");
      assert.equal((await history("mem:a")).status, 200, "what was allowed holds for a moment");
      for (const client of [ann, plain]) client.close();
    }));

  test("is asked again when a client comes back to its session", () =>
    hooked(async (place, backEnd) => {
      const ann = await enter(place, "ann", { reconnection: true, reconnectionDelay: 100, reconnectionDelayMax: 200 });
      await ann.ask("subscribe", ["mem:a", "mem:b", "public:c"]);
      await publish(place, "mem:a", "first", 0);
      await ann.sawEvent("first");
      const asked = backEnd.of("subscribe").length;
      // It is out of one of them meanwhile; and the back end is down when it comes first.
      let fails = 2;
      backEnd.answers.subscribe = ({ channels }, response) =>
        (fails -= 1) >= 0 ? status(500)(0, response) : { allow: !channels.includes("mem:b") };
      ann.socket.io.engine.close();
      await ann.sawDisconnect();
      for (const channel of ["mem:b", "mem:a", "public:c"]) await publish(place, channel, "missed", channel);
      await until("it is back", () => ann.socket.connected);
      assert.equal(ann.socket.recovered, true);
      assert.ok(fails < 0);
      for (const channel of ["mem:a", "public:c"]) assert.equal((await ann.sawEvent("missed")).args[0], channel);
      await publish(place, "mem:b", "later", 1);
      await publish(place, "mem:a", "later", 2);
      assert.equal((await ann.sawEvent("later")).args[0], 2);
      const since = backEnd.of("subscribe").slice(asked).map(({ channels }) => channels.toSorted().join());
      assert.ok(since.includes("mem:a,mem:b") && since.includes("mem:b"), since.join(" "));
      ann.close();
    }));

  test("that is still asked about when a fresh token no longer grants it has ended with that", () =>
    hooked(
      async (place, backEnd) => {
        backEnd.answers.subscribe = () => sleep(400, { allow: true });
        const plain = await Plain.enter(place, "ann", { claims: { channels: { subscribe: ["room:*"] } } });
        const [, fresh] = await Promise.all([plain.ask("subscribe", { channels: ["room:6"] }), plain.ask("auth", { token: tokenOf("ann") })]);
        assert.deepEqual([fresh.type, fresh.result], ["ok", { ended: ["room:6"] }], JSON.stringify(fresh));
        assert.deepEqual(backEnd.of("subscribe").map(({ channels }) => channels), [["room:6"]]);
        await publish(place, "room:6", "e", 1);
        assert.deepEqual(await plain.settled(), []);
        plain.close();
      },
      { keys: 'subscribe = ["room:*"]' },
    ));

  for (const [what, long] of [["short", false], ["long", true]])
    test(`refuses a ${what} poll whose token is revoked while it is asked`, () =>
      hooked(async (place, backEnd) => {
        const since = long ? await tailOf(place, "mem:a", { token: tokenOf("bob") }) : undefined;
        let answered;
        backEnd.answers.subscribe = () => new Promise((done) => (answered = done));
        const polling = poll(place, "mem:a", { token: tokenOf("ann", { jti: "lost" }), ...(long ? { since, wait: 2 } : { wait: 0 }) });
        await backEnd.saw("subscribe", ({ user }) => user === "ann");
        assert.equal((await call("POST", place, "/api/v1/tokens/lost/revoke", { token: API_KEY })).status, 200);
        answered({ allow: true });
        assertProblem(await polling, 401, "unauthenticated");
      }));
});

describe("event", { concurrency: 4 }, () => {
  test("is answered by the back end, which publishes", () =>
    hooked(async (place, backEnd) => {
      const [ann, plain] = [await enter(place, "ann"), await Plain.enter(place, "bob")];
      await plain.subscribe(["mem:orders", "public:all"]);
      backEnd.answers.event = ({ id, data }) => ({
        reply: { id: 7, big: [data?.n] },
        publish: [
          { channel: "mem:orders", event: "order:saved", data: { ...data, bytes: { $bytes: "AAEC" } }, key: id },
          { channel: "public:all", event: "order:count" },
          // the rules would not let ann publish there
          { channel: "readonly:x", event: "order:log", data: [1] },
        ],
      });
      const answer = await ann.ask("order:new", { n: 1.5, bytes: Buffer.from([0, 1, 2]) }, "more", null);
      assert.deepEqual(answer, { ok: true, data: { id: 7, big: [1.5] } });
      const [told] = backEnd.of("event");
      const data = { n: 1.5, bytes: { $bytes: "AAEC" } };
      assert.deepEqual([told.event, told.user, told.data, told.args], ["order:new", "ann", data, [data, "more", null]]);
      assert.equal(told.connection, backEnd.of("connect")[0].connection);
      const [saved, count] = await plain.events(2);
      assert.deepEqual([saved.event, saved.channel, saved.user, saved.data], ["order:saved", "mem:orders", "ann", data]);
      assert.deepEqual([count.event, count.data, count.user], ["order:count", null, "ann"]);
      assert.equal((await polled(place, "readonly:x", { wait: 0 })).events[0].event, "order:log");
      await ann.ask("ask");
      const [, bare] = backEnd.of("event");
      assert.ok(bare.data === null && !("args" in bare));
      for (const client of [ann, plain]) client.close();
    }));

  test("that is sent without an ack is told of its refusal", () =>
    hooked(async (place, backEnd) => {
      const ann = await enter(place, "ann");
      backEnd.answers.event = { error: { code: "sold_out", message: "none left" } };
      assert.deepEqual(await ann.ask("order:new", 1), { ok: false, code: "sold_out", message: "none left" });
      ann.emit("order:new", 2);
      assert.deepEqual((await ann.sawEvent("tidings:error")).args[0], { code: "sold_out", message: "none left" });
      backEnd.answers.event = status(403, { message: "not you" });
      refused(await ann.ask("order:new"), "forbidden", /^not you$/);
      // Nothing of an answer is published that can't be published as a whole.
      const plain = await Plain.enter(place, "bob");
      await plain.subscribe("mem:a");
      for (const bad of [{ channel: "/", event: "e" }, { channel: "mem:a", event: "gap" }, { channel: "mem:a" }, { channel: "mem:a", event: "e", data: { $bytes: "?" } }]) {
        backEnd.answers.event = { publish: [{ channel: "mem:a", event: "e" }, bad] };
        refused(await ann.ask("order:new"), "unavailable");
      }
      assert.deepEqual(await plain.settled(), []);
      for (const client of [ann, plain]) client.close();
    }));

  test("publishes nothing of a list with a key that is too long", () =>
    hooked(async (place, backEnd) => {
      const [ann, plain] = [await enter(place, "ann"), await Plain.enter(place, "bob")];
      await plain.subscribe("mem:a");
      const pair = (key) => ({ publish: [{ channel: "mem:a", event: "good" }, { channel: "mem:a", event: "keyed", key }] });
      backEnd.answers.event = pair("x".repeat(129));
      refused(await ann.ask("order:new"), "unavailable");
      await publish(place, "mem:a", "marker", 1);
      assert.equal((await plain.nextOf("event")).event, "marker");
      backEnd.answers.event = pair("x".repeat(128));
      assert.deepEqual(await ann.ask("order:new"), { ok: true });
      assert.deepEqual((await plain.events(2)).map(({ event }) => event), ["good", "keyed"]);
      for (const client of [ann, plain]) client.close();
    }));

  test("is refused with the code and the message of a 403's `error`", () =>
    hooked(async (place, backEnd) => {
      const ann = await enter(place, "ann");
      for (const code of [403, 401]) {
        backEnd.answers.event = status(code, { error: { code: "nope", message: "m" } });
        assert.deepEqual(await ann.ask("order:new"), { ok: false, code: "nope", message: "m" }, `${code}`);
      }
      ann.close();
    }));

  test("has a reply of null, which is not none", () =>
    hooked(async (place, backEnd) => {
      const ann = await enter(place, "ann");
      backEnd.answers.event = { reply: null };
      assert.deepEqual(await ann.ask("order:new"), { ok: true, data: null });
      ann.close();
    }));

  test("of one socket are handled one after the other, those of others meanwhile", () =>
    hooked(async (place, backEnd) => {
      const [ann, bob] = [await enter(place, "ann"), await enter(place, "bob")];
      let [under_way, most] = [0, 0];
      const release = [];
      backEnd.answers.event = async ({ user, data }) => {
        if (user === "bob") return { reply: data };
        most = Math.max(most, (under_way += 1));
        await new Promise((done) => release.push(done));
        under_way -= 1;
        return { reply: data };
      };
      const asked = [1, 2, 3].map((n) => ann.ask("order:new", n));
      await until("the first", () => release.length === 1);
      assert.deepEqual(await bob.ask("order:new", 9), { ok: true, data: 9 });
      for (let n = 0; n < 3; n += 1) {
        await until(`call ${n}`, () => release.length === n + 1);
        release[n]();
      }
      assert.deepEqual(await Promise.all(asked), [1, 2, 3].map((data) => ({ ok: true, data })));
      assert.equal(most, 1);
      assert.deepEqual(backEnd.of("event").filter(({ user }) => user === "ann").map(({ data }) => data), [1, 2, 3]);
      for (const client of [ann, bob]) client.close();
    }));

  test("goes to [[on]] first; the server's own and those of nobody are not told", () =>
    hooked(
      async (place, backEnd) => {
        const ann = await enter(place, "ann");
        assert.match((await ann.ask("order:typed", 1)).id, /-/);
        refused(await ann.ask("else", 1), "unknown_event");
        assert.equal((await ann.ask("publish", "mem:a", "order:x", 1)).ok, true);
        assert.equal(backEnd.of("event").length, 0);
        assert.deepEqual(await ann.ask("order:other", 1), { ok: true });
        ann.close();
      },
      { more: '[[on]]\nevent = "order:typed"\nto = "mem:typed"\n' },
    ));
});

describe("disconnect", { concurrency: 4 }, () => {
  test("tells who has gone, why, and how long it was there, on each transport but polls", () =>
    hooked(async (place, backEnd) => {
      const begin = Date.now();
      const socket = await enter(place, "ann");
      const plain = await Plain.enter(place, "bob");
      const sse = new Sse(place, "mem:a", { token: tokenOf("eve") });
      await sse.open();
      const since = await tailOf(place, "mem:a", { token: tokenOf("joe") });
      await polled(place, "mem:a", { token: tokenOf("joe"), since, wait: 1 });
      await plain.result("auth", { token: tokenOf("bob") });
      assert.deepEqual(backEnd.of("disconnect"), []);
      for (const client of [socket, plain, sse]) client.close();
      const gone = {};
      for (const name of ["ann", "bob", "eve"]) gone[name] = await backEnd.saw("disconnect", ({ user }) => user === name);
      assert.deepEqual(Object.values(gone).map(({ reason }) => reason), ["client namespace disconnect", "transport close", "transport close"]);
      for (const { user: sub, connection, lasted_ms, claims, address } of Object.values(gone)) {
        const came = backEnd.of("connect").find((call) => call.connection === connection);
        assert.equal(came.user, sub);
        assert.equal(claims.sub, sub);
        assert.equal(address, "127.0.0.1");
        assert.ok(lasted_ms >= 0 && lasted_ms <= Date.now() - begin, `${lasted_ms}`);
      }
      await new Promise((done) => setTimeout(done, 200));
      assert.equal(backEnd.of("disconnect").length, 3, "once for each, and none for a poll");
    }));

  test("names a connection as the API's `disconnect` takes it", () =>
    hooked(async (place, backEnd) => {
      const plain = await Plain.enter(place, "ann");
      const { connection } = await backEnd.saw("connect");
      const away = () => call("POST", place, `/api/v1/connections/${connection}/disconnect`, { token: API_KEY });
      assert.deepEqual((await away()).json, { connections: 1 });
      assert.equal(await plain.end(), 4403);
      assert.equal((await backEnd.saw("disconnect")).reason, "forced close");
      assertProblem(await away(), 404, "not_found");
    }));

  test("arrives after the back end was down for a while, with the same id in each try", () =>
    hooked(async (place, backEnd) => {
      const clients = await Promise.all(["ann", "bob"].map((sub) => enter(place, sub)));
      backEnd.answers.disconnect = status(500);
      clients[0].close();
      const { id } = await backEnd.saw("disconnect");
      await backEnd.close();
      clients[1].close();
      await new Promise((done) => setTimeout(done, 2500));
      backEnd.answers.disconnect = {};
      await backEnd.listen();
      await backEnd.saw("disconnect", ({ user }) => user === "bob");
      await until("the first once more", () => backEnd.of("disconnect").filter((call) => call.id === id).length >= 2);
      const [first, ...again] = backEnd.of("disconnect").filter((call) => call.id === id);
      for (const call of again) assert.deepEqual(call, first);
    }));

  test("tells of those who were there when the server ends, within `drain`", () =>
    hooked(
      async (place, backEnd) => {
        await enter(place, "ann");
        await Plain.enter(place, "bob");
        let slow = 2;
        // One that fails is tried again, at the end too.
        backEnd.answers.disconnect = (_, response) => ((slow -= 1) >= 0 ? status(500)(0, response) : {});
        const { code } = await place.server.stop("SIGTERM");
        assert.equal(code, 0);
        for (const sub of ["ann", "bob"]) {
          const told = backEnd.of("disconnect").filter((call) => call.user === sub);
          assert.ok(told.length > 0 && told.every(({ reason }) => reason === "server shutting down"), JSON.stringify(told));
        }
        assert.equal(backEnd.of("disconnect").length, 4);
      },
      { top: 'drain = "10s"\n' },
    ));

  test("does not keep the server longer than `drain`", () =>
    hooked(
      async (place, backEnd) => {
        await enter(place, "ann");
        backEnd.answers.disconnect = status(500);
        const begin = Date.now();
        assert.equal((await place.server.stop("SIGTERM")).code, 0);
        assert.ok(Date.now() - begin < 5000, `${Date.now() - begin}`);
        assert.ok(place.server.stderr.includes("could not be told of all"), place.server.stderr);
      },
      { top: 'drain = "2s"\n' },
    ));
});

test("/metrics tells of the calls: how many, how they went, what they took", async () => {
  const port = await freePort();
  const env = { TIDINGS_ADMIN__LISTEN: `127.0.0.1:${port}` };
  const metrics = async () => (await request("GET", `http://127.0.0.1:${port}/metrics`)).body;
  const value = (text, series) => Number(text.split("\n").find((line) => line.startsWith(`${series} `))?.split(" ")[1]);
  const calls = (text, outcome) => value(text, `tidings_hook_calls_total{hook="connect",outcome="${outcome}"}`);
  await hooked(
    async (place, backEnd) => {
      const ann = await enter(place, "ann");
      const first = await metrics();
      assert.equal(calls(first, "answered"), 1, first);
      assert.ok(Number.isNaN(calls(first, "failed")), "none has yet");
      assert.equal(value(first, 'tidings_hook_seconds_bucket{hook="connect",le="+Inf"}'), 1, first);
      assert.equal(value(first, "tidings_hook_waiting"), 0, first);
      backEnd.answers.connect = status(500);
      assertError(await new Plain(place, { token: tokenOf("bob") }).next(), "unavailable");
      const second = await metrics();
      assert.deepEqual([calls(second, "answered"), calls(second, "failed")], [1, 1], second);
      // Who has gone waits while the back end can't be told.
      backEnd.answers.disconnect = status(500);
      ann.close();
      await until("one that waits", async () => value(await metrics(), "tidings_hook_waiting") === 1);
    },
    { env },
  );
});
