// Users that a back end puts into channels by the server API, and takes out of them (PRODUCT.md, `POST users/{u}/join|leave`).
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { API_KEY, assertProblem, call, inPlace, Plain, poll, polled, publish, Sse } from "./lib/channels.mjs";
import { transports } from "./lib/clients.mjs";
import { Proxy } from "./lib/proxy.mjs";
import { enter } from "./lib/server.mjs";
import { tokenOf } from "./lib/tokens.mjs";
import { until } from "./lib/wait.mjs";

// Nobody may by the rules; presence is kept.
const CHANNELS = `
[[channels]]
match = "team:*"
history = { keep = 1000 }
presence = true

[[channels]]
match = "room:*"
history = { keep = 1000 }
subscribe = "claims"

[[channels]]
match = "open:*"
subscribe = "user"
`;
const at = { data: true, channels: CHANNELS };

const ask = (place, method, path, body) => call(method, place, `/api/v1/users/${path}`, { token: API_KEY, body });
async function answered(...request) {
  const { status, json, body } = await ask(...request);
  assert.equal(status, 200, body);
  return json;
}
const join = (place, user, channel) => answered(place, "POST", `${user}/join`, { channel });
const leave = (place, user, channel) => answered(place, "POST", `${user}/leave`, { channel });
const channelsOf = async (place, user) => (await answered(place, "GET", `${user}/channels`)).channels;
const presentIn = async (place, channel) => {
  const { json } = await call("GET", place, `/api/v1/channels/${encodeURIComponent(channel)}/presence`, { token: API_KEY });
  return json.users.map(({ user }) => user);
};

// A user's clients; `heard(event)` waits for an event, `quiet()` says which came that nobody waited for.
const CLIENTS = {
  ...Object.fromEntries(
    Object.entries(transports).map(([name, use]) => [
      `Socket.IO, ${name}`,
      async (place, user) => {
        const client = await enter(place, user, { transports: use });
        return {
          heard: async (event) => (await client.sawEvent(event)).args,
          asks: (channel) => client.ask("subscribe", channel),
          has: (event) => client.records.some((record) => record.event === event),
          settled: () => client.ask("subscribe", "open:x"),
          close: () => client.close(),
        };
      },
    ]),
  ),
  "/ws": async (place, user) => {
    const plain = await Plain.enter(place, user);
    return {
      heard: async (event) => {
        const message = await plain.nextOf("event");
        assert.equal(message.event, event);
        return [message.data, message];
      },
      asks: (channel) => plain.ask("subscribe", { channels: [channel] }),
      has: (event) => plain.messages.some((message) => message.event === event),
      settled: () => plain.result("ping"),
      close: () => plain.close(),
    };
  },
};

describe("a user that the back end puts into a channel", { concurrency: 2 }, () => {
  for (const [name, come] of Object.entries(CLIENTS)) {
    test(`${name}: gets what is published there, on all connections and those to come, also after a restart, until it leaves`, () =>
      inPlace(at, async (place) => {
        const [one, two, eve] = [await come(place, "ann"), await come(place, "ann"), await come(place, "eve")];
        assert.equal((await one.asks("team:1")).code, "forbidden");
        assert.deepEqual(await join(place, "ann", "team:1"), { connections: 2 });
        assert.deepEqual(await join(place, "ann", "team:1"), { connections: 2 }, "again");
        assert.deepEqual(await channelsOf(place, "ann"), ["team:1"]);
        assert.deepEqual(await presentIn(place, "team:1"), ["ann"]);
        await publish(place, "team:1", "first", { n: 1 });
        for (const client of [one, two]) assert.deepEqual((await client.heard("first"))[0], { n: 1 });

        const three = await come(place, "ann");
        await publish(place, "team:1", "second", {});
        for (const client of [one, two, three]) await client.heard("second");
        // It may ask for it by itself too, as for what was missed.
        const { type, ok } = await three.asks("team:1");
        assert.ok(type === "ok" || ok === true);

        for (const client of [one, two, three]) client.close();
        await place.restart();
        assert.deepEqual(await channelsOf(place, "ann"), ["team:1"]);
        const four = await come(place, "ann");
        await publish(place, "team:1", "third", {});
        await four.heard("third");

        assert.deepEqual(await leave(place, "ann", "team:1"), { connections: 1 });
        assert.deepEqual(await leave(place, "ann", "team:1"), { connections: 1 }, "again");
        await publish(place, "team:1", "fourth", {});
        await four.settled();
        assert.ok(!four.has("fourth"));
        assert.equal((await four.asks("team:1")).code, "forbidden");
        assert.deepEqual(await channelsOf(place, "ann"), []);
        await until("nobody is present", async () => (await presentIn(place, "team:1")).length === 0);
        await place.restart();
        assert.deepEqual(await channelsOf(place, "ann"), []);
        assert.ok(!eve.has("first"));
        for (const client of [four, eve]) client.close();
      }));
  }

  test("it may read the channel on event streams, polls and by the API, which name it themselves", () =>
    inPlace(at, async (place) => {
      const token = tokenOf("ann");
      assertProblem(await poll(place, "team:1", { token, wait: 0 }), 403, "forbidden");
      const own = new Sse(place, "user:ann", { token });
      await own.open();
      assert.deepEqual(await join(place, "ann", "team:1"), { connections: 0 }, "a stream names its channels");
      const stream = new Sse(place, "team:1", { token });
      await stream.open();
      const id = await publish(place, "team:1", "e", 1);
      assert.equal((await stream.nextJson()).id, id);
      const { events } = await polled(place, "team:1", { token, wait: 0 });
      assert.deepEqual(events.map((event) => event.id), [id]);
      const history = await call("GET", place, "/api/v1/channels/team%3A1/history", { token });
      assert.deepEqual(history.json.events.map((event) => event.id), [id]);
      assertProblem(await call("GET", place, "/api/v1/channels/team%3A1/history", { token: tokenOf("eve") }), 403, "forbidden");

      // Out of it: the stream hears nothing more, and does not get it back.
      assert.deepEqual(await leave(place, "ann", "team:1"), { connections: 2 });
      await publish(place, "team:1", "e", 2);
      await publish(place, "user:ann", "e", 3);
      assert.equal((await own.nextJson()).data.data, 3);
      assert.ok(!stream.bytes.includes('"data":2'));
      assertProblem(await poll(place, "team:1", { token, wait: 0 }), 403, "forbidden");
      assertProblem(await call("GET", place, "/api/v1/channels/team%3A1/history", { token }), 403, "forbidden");
      for (const one of [own, stream]) one.close();
    }));

  test("leaving takes it out of what the rules allow too, into which it may come back", () =>
    inPlace(at, async (place) => {
      const token = tokenOf("ann", { channels: { subscribe: ["room:*"] } });
      const [socket, plain] = [await enter(place, "ann", { token }), new Plain(place, { token })];
      await plain.welcomed();
      assert.equal((await socket.ask("subscribe", "room:1")).ok, true);
      await plain.subscribe("room:1");
      assert.deepEqual(await leave(place, "ann", "room:1"), { connections: 2 });
      await publish(place, "room:1", "missed", 1);
      assert.equal((await socket.ask("subscribe", "room:1")).ok, true);
      await plain.subscribe("room:1");
      await publish(place, "room:1", "heard", 2);
      await socket.sawEvent("heard");
      assert.equal((await plain.nextOf("event")).event, "heard");
      assert.ok(!socket.records.some(({ event }) => event === "missed"));
      // What it was put into, a token that does not grant it does not take away.
      await join(place, "ann", "team:1");
      assert.deepEqual(await socket.ask("auth", tokenOf("ann")), { ok: true, ended: ["room:1"] });
      assert.deepEqual(await plain.result("auth", { token: tokenOf("ann") }), { ended: ["room:1"] });
      await publish(place, "team:1", "still", 3);
      await socket.sawEvent("still");
      assert.equal((await plain.nextOf("event")).event, "still");
      for (const client of [socket, plain]) client.close();
    }));

  test("a Socket.IO session that is taken up again has it, and what was missed of it", () =>
    inPlace(at, async (place) => {
      const client = await enter(place, "ann");
      await join(place, "ann", "team:1");
      await publish(place, "team:1", "one", 1);
      await client.sawEvent("one");
      client.socket.io.engine.close();
      await client.sawDisconnect();
      await publish(place, "team:1", "two", 2);
      client.socket.connect();
      await client.sawEvent("two");
      assert.equal(client.socket.recovered, true);
      client.close();
    }));

  test("leaving reaches a Socket.IO session that is away: it comes back without the channel, and to what else it was in", () =>
    inPlace(at, async (place) => {
      const proxy = await Proxy.to(place);
      const again = { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 100 };
      const client = await enter(proxy, "ann", { ...again, claims: { channels: { subscribe: ["room:*"] } } });
      assert.equal((await client.ask("subscribe", ["room:left", "room:kept"])).ok, true);
      for (const channel of ["room:left", "room:kept"]) {
        await publish(place, channel, "before", channel);
        assert.equal((await client.sawEvent("before")).args[0], channel);
      }
      proxy.down();
      await client.sawDisconnect();
      await until("the server has seen it go", async () => (await answered(place, "GET", "ann/connections")).connections.length === 0);
      await leave(place, "ann", "room:left");
      for (const channel of ["room:left", "room:kept"]) await publish(place, channel, "missed", channel);
      proxy.up();
      await client.connected();
      assert.equal(client.socket.recovered, true);
      for (const channel of ["room:left", "room:kept"]) await publish(place, channel, "later", channel);
      await client.sawEvent("later");
      await client.ask("subscribe", "open:x"); // whatever was on its way has come
      const since = client.records.filter(({ event }) => ["missed", "later"].includes(event));
      assert.deepEqual(since.map(({ event, args }) => [event, args[0]]), [["missed", "room:kept"], ["later", "room:kept"]]);
      client.close();
      proxy.close();
    }));
});

describe("who may not", () => {
  test("needs the scope `admin`, and is told what is wrong", () =>
    inPlace(at, async (place) => {
      for (const [method, path] of [["POST", "join"], ["POST", "leave"], ["GET", "channels"]]) {
        const body = method === "POST" ? { channel: "team:1" } : undefined;
        assertProblem(await call(method, place, `/api/v1/users/ann/${path}`, { body }), 401, "unauthenticated", path);
        assertProblem(await call(method, place, `/api/v1/users/ann/${path}`, { token: tokenOf("ann"), body }), 401, "unauthenticated", path);
      }
      for (const path of ["join", "leave"]) {
        for (const [body, code] of [
          ["{", "invalid_json"],
          ["{}", "bad_request"],
          ['{"channel":1}', "bad_request"],
          ['{"channel":"team:1","more":1}', "bad_request"],
          ['{"channel":"/x"}', "invalid_channel"],
          ['{"channel":""}', "invalid_channel"],
          [`{"channel":"${"x".repeat(256)}"}`, "invalid_channel"],
          [`{"channel":${" ".repeat(5000)}"x"}`, "too_large"],
        ])
          assertProblem(await ask(place, "POST", `ann/${path}`, body), code === "too_large" ? 413 : 400, code, body.slice(0, 30));
        assertProblem(await ask(place, "POST", `${"x".repeat(251)}/${path}`, { channel: "a" }), 400, "bad_request");
      }
      assertProblem(await ask(place, "POST", "ann/join", { channel: "user:bob" }), 403, "forbidden");
      const bob = await enter(place, "bob");
      assertProblem(await ask(place, "POST", "ann/join", { channel: bob.socket.id }), 400, "invalid_channel");
      bob.close();
      assert.deepEqual(await channelsOf(place, "ann"), []);
    }));

  test("a thousand channels fit, and one more does not", () =>
    inPlace({ ...at, data: false }, async (place) => {
      for (let n = 0; n < 1000; n += 1) await join(place, "ann", `team:${n}`);
      assertProblem(await ask(place, "POST", "ann/join", { channel: "team:x" }), 400, "too_many_channels");
      assert.equal((await channelsOf(place, "ann")).length, 1000);
      const plain = await Plain.enter(place, "ann");
      await publish(place, "team:999", "e", 1);
      assert.equal((await plain.nextOf("event")).channel, "team:999");
      plain.close();
    }));
});
