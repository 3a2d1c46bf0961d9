// Read marks on the `tidings` server: kept for a user, the same on all devices and transports (PRODUCT.md, `read` and `unread`).
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, test } from "node:test";
import { API_KEY, assertProblem, call, foreign, future, FOREIGN, inPlace, OWN, Place, Plain, publish, Sse } from "./lib/channels.mjs";
import { transports } from "./lib/clients.mjs";
import { enter } from "./lib/server.mjs";
import { tokenOf } from "./lib/tokens.mjs";

const CHANNELS = `
[[channels]]
match = "user:{user}"
history = { keep = 1000 }
subscribe = "owner"

[[channels]]
match = "room:*"
history = { keep = 1000 }
subscribe = "claims"
publish = "claims"

[[channels]]
match = "public:*"
subscribe = "anyone"
`;

// Published while nobody is there; their ids.
async function away(place, channel = "user:ann", count = 5) {
  const ids = [];
  while (ids.length < count) ids.push(await publish(place, channel, "invoice", { number: ids.length }));
  return ids;
}

const inbox = (place, method, path, { token = API_KEY, body, ...rest } = {}) => call(method, place, `/api/v1/users/${path}`, { token, body, ...rest });

async function answered(...request) {
  const { status, json, body } = await inbox(...request);
  assert.equal(status, 200, body);
  return json;
}

// The ways to ask, and to hear of it: `{unread(channel), read(channel, id), told(), close()}`.
const DEVICES = {
  ...Object.fromEntries(
    Object.keys(transports).map((name) => [
      `Socket.IO, ${name}`,
      async (place) => {
        const client = await enter(place, "ann", { transports: transports[name] });
        return {
          unread: (channel) => client.ask("unread", channel),
          read: (channel, id) => client.ask("read", channel, id),
          told: async () => (await client.sawEvent("tidings:read")).args[0],
          close: () => client.close(),
        };
      },
    ]),
  ),
  "/ws": async (place) => {
    const plain = await Plain.enter(place, "ann");
    const ok = async (type, fields) => ({ ok: true, ...(await plain.result(type, fields)) });
    return {
      unread: (channel) => ok("unread", { channel }),
      read: (channel, id) => ok("read", { channel, until: id }),
      told: async () => {
        const { type, ...told } = await plain.nextOf("read");
        return told;
      },
      close: () => plain.close(),
    };
  },
  "/sse and the API": async (place) => {
    const token = tokenOf("ann");
    const stream = new Sse(place, "user:ann", { token });
    await stream.open();
    return {
      unread: async (channel) => ({ ok: true, ...(await answered(place, "GET", `ann/unread?channel=${channel}`, { token })) }),
      read: async (channel, id) => ({ ok: true, ...(await answered(place, "POST", "ann/read", { token, body: { channel, id } })) }),
      told: async () => {
        const { event, data } = await stream.nextJson();
        assert.equal(event, "tidings:read");
        return data;
      },
      close: () => stream.close(),
    };
  },
};

describe("a user who comes back", () => {
  for (const [name, open] of Object.entries(DEVICES)) {
    test(`${name}: finds five unread, reads three, and the other devices hear that two are left`, () =>
      inPlace({ data: true, channels: CHANNELS }, async (place) => {
        const ids = await away(place);
        const device = await open(place);
        const others = await Promise.all(Object.values(DEVICES).map((other) => other(place)));
        const bob = await Plain.enter(place, "bob");
        assert.deepEqual(await device.unread("user:ann"), { ok: true, unread: 5 });
        const left = { unread: 2, read: ids[2] };
        assert.deepEqual(await device.read("user:ann", ids[2]), { ok: true, ...left });
        for (const other of others) {
          assert.deepEqual(await other.told(), { channel: "user:ann", ...left });
          assert.deepEqual(await other.unread("user:ann"), { ok: true, ...left });
        }
        // A mark never goes back.
        assert.deepEqual(await device.read("user:ann", ids[0]), { ok: true, ...left });
        assert.deepEqual(await device.read("user:ann", ids[4]), { ok: true, unread: 0, read: ids[4] });
        for (const other of others) assert.deepEqual(await other.told(), { channel: "user:ann", unread: 0, read: ids[4] });
        assert.deepEqual(await bob.settled(), [], "it is Ann's alone");
        for (const each of [device, ...others, bob]) each.close();
      }));
  }
});

describe("marks", { concurrency: true }, () => {
  test("survive kill -9, and so does what is unread", () =>
    inPlace({ data: true, channels: CHANNELS }, async (place) => {
      const ids = await away(place);
      for (let at = 0; at < 4; at += 1) {
        const ann = await enter(place, "ann");
        const left = { unread: 4 - at, read: ids[at] };
        assert.deepEqual(await ann.ask("read", "user:ann", ids[at]), { ok: true, ...left });
        await place.restart();
        ann.close();
        assert.deepEqual(await answered(place, "GET", "ann/unread"), left);
      }
      await away(place, "user:ann", 2);
      assert.deepEqual(await answered(place, "GET", "ann/unread"), { unread: 3, read: ids[3] });
    }));

  test("without a folder end with the server", () =>
    inPlace({ channels: CHANNELS }, async (place) => {
      const ids = await away(place);
      assert.deepEqual(await answered(place, "POST", "ann/read", { body: { id: ids[0] } }), { unread: 4, read: ids[0] });
      await place.restart();
      assert.deepEqual(await answered(place, "GET", "ann/unread"), { unread: 0 });
    }));

  test("are one for each channel; what a user has published is not unread", () =>
    inPlace({ data: true, channels: CHANNELS }, async (place) => {
      const claims = { channels: { subscribe: ["room:*"], publish: ["room:*"] } };
      const [ann, bob] = [await enter(place, "ann", { claims }), await Plain.enter(place, "bob", { claims })];
      const ids = [];
      for (const publisher of [ann, bob, ann, ann])
        ids.push((await (publisher === ann ? ann.ask("publish", "room:1", "e", 1) : bob.publish("room:1", "e", 1))).id);
      assert.deepEqual(await ann.ask("unread", "room:1"), { ok: true, unread: 1 });
      assert.deepEqual(await bob.result("unread", { channel: "room:1" }), { unread: 3 });
      assert.deepEqual(await ann.ask("read", "room:1", ids[1]), { ok: true, unread: 0, read: ids[1] });
      assert.deepEqual(await ann.ask("unread", "room:2"), { ok: true, unread: 0 });
      assert.deepEqual(await bob.result("unread", { channel: "room:1" }), { unread: 3 });
      // A back end asks for whom it wants.
      assert.deepEqual(await answered(place, "GET", "ann/unread?channel=room:1"), { unread: 0, read: ids[1] });
      assert.deepEqual(await answered(place, "POST", "bob/read", { body: { channel: "room:1", id: ids[3] } }), { unread: 0, read: ids[3] });
      assert.deepEqual(await bob.nextOf("read"), { type: "read", channel: "room:1", unread: 0, read: ids[3] });
      ann.close();
      bob.close();
    }));

  test("above a thousand there are more", () =>
    inPlace({ data: true, channels: CHANNELS.replaceAll("1000", "5000") }, async (place) => {
      const events = Array.from({ length: 1000 }, (_, n) => ({ channel: "user:ann", event: "e", data: n }));
      const batch = async (events) => (await call("POST", place, "/api/v1/batch", { token: API_KEY, body: { events } })).json.results;
      const [first] = await batch(events);
      assert.deepEqual(await answered(place, "GET", "ann/unread"), { unread: 1000 });
      await batch(events.slice(0, 1));
      assert.deepEqual(await answered(place, "GET", "ann/unread"), { unread: 1000, more: true });
      await place.restart();
      assert.deepEqual(await answered(place, "GET", "ann/unread"), { unread: 1000, more: true }, "also from the disk");
      assert.deepEqual(await answered(place, "POST", "ann/read", { body: { id: first.id } }), { unread: 1000, read: first.id });
    }));
});

describe("what is refused", { concurrency: true }, () => {
  test("on Socket.IO and /ws: foreign channels, ids that mean nothing, and who is nobody", () =>
    inPlace({ channels: CHANNELS, auth: `[auth]\nhs256 = { env = "E2E_SECRET" }\nanonymous = true\n` }, async (place) => {
      const [id] = await away(place, "public:1", 1);
      const [ann, plain] = [await enter(place, "ann"), await Plain.enter(place, "ann")];
      for (const [channel, mark, code] of [
        ["user:bob", id, "forbidden"],
        ["room:1", id, "forbidden"],
        ["/", id, "invalid_channel"],
        ["public:1", foreign(id), "invalid_id"],
        ["public:1", future(id), "invalid_id"],
        ["public:1", "nonsense", "invalid_id"],
      ]) {
        const { ok, code: said, message } = await ann.ask("read", channel, mark);
        assert.deepEqual([ok, said], [false, code], `${channel} ${mark} ${message}`);
        await plain.refused("read", { channel, until: mark }, code);
        if (code === "invalid_id") continue;
        assert.equal((await ann.ask("unread", channel)).code, code);
        await plain.refused("unread", { channel }, code);
      }
      for (const args of [["public:1"], ["public:1", 7], [], ["public:1", id, {}]]) assert.equal((await ann.ask("read", ...args)).code, "bad_request", args.join());
      assert.equal((await ann.ask("unread", "public:1", {})).code, "bad_request");
      assert.deepEqual(await ann.ask("unread", "public:1"), { ok: true, unread: 1 }, "nothing has changed");
      const nobody = await enter(place, "", { auth: {} });
      assert.equal((await nobody.ask("read", "public:1", id)).code, "unauthenticated");
      assert.equal((await nobody.ask("unread", "public:1")).code, "unauthenticated");
      for (const client of [ann, plain, nobody]) client.close();
    }));

  test("by the API: other users' tokens, and what is no request", async () => {
    await inPlace({ channels: CHANNELS }, async (place) => {
      const [id] = await away(place, "user:ann", 1);
      const [ann, bob] = ["ann", "bob"].map((sub) => tokenOf(sub));
      for (const [token, status, code] of [
        [undefined, 401, "unauthenticated"],
        [tokenOf("ann", { exp: 1 }), 401, "token_expired"],
        [bob, 403, "forbidden"],
      ]) {
        assertProblem(await call("GET", place, "/api/v1/users/ann/unread", { token }), status, code);
        assertProblem(await call("POST", place, "/api/v1/users/ann/read", { token, body: { id } }), status, code);
      }
      assertProblem(await inbox(place, "GET", "ann/unread?channel=room:1", { token: ann }), 403, "forbidden");
      assertProblem(await inbox(place, "POST", "ann/read", { token: ann, body: { channel: "user:bob", id } }), 403, "forbidden");
      for (const [body, code] of [
        ["{", "invalid_json"],
        [{}, "bad_request"],
        [{ id, chanel: "x" }, "bad_request"],
        [{ id: 7 }, "bad_request"],
        [{ id: "x" }, "invalid_id"],
        [{ id: foreign(id) }, "invalid_id"],
        [{ id: future(id) }, "invalid_id"],
        [{ id, channel: "/x" }, "invalid_channel"],
      ])
        assertProblem(await inbox(place, "POST", "ann/read", { body }), 400, code, JSON.stringify(body));
      assertProblem(await inbox(place, "POST", "ann/read", { body: " ".repeat(5000) }), 413, "too_large");
      assertProblem(await inbox(place, "POST", `${"x".repeat(251)}/read`, { body: { id } }), 400, "bad_request");
      assertProblem(await inbox(place, "GET", "ann/unread?channel=a&channel=b"), 400, "bad_request");
      assertProblem(await inbox(place, "GET", "ann/read"), 405, "method_not_allowed");
      assertProblem(await inbox(place, "POST", "ann/unread", { body: {} }), 405, "method_not_allowed");
      assert.deepEqual(await answered(place, "GET", "ann/unread", { token: ann }), { unread: 1 });
      // Pages of allowed origins may ask, and no others.
      const own = await inbox(place, "GET", "ann/unread", { token: ann, headers: { origin: OWN } });
      assert.deepEqual([own.status, own.headers["access-control-allow-origin"], own.headers["cache-control"]], [200, OWN, "no-store"]);
      assertProblem(await inbox(place, "POST", "ann/read", { token: ann, body: { id }, headers: { origin: FOREIGN } }), 403, "origin_not_allowed");
    });
  });
});

test("a key reads with `read` and marks with `admin`", async () => {
  const keys = { reads: "reads-reads-reads-reads-reads-reads-reads", marks: "marks-marks-marks-marks-marks-marks-marks" };
  const hash = (key) => createHash("sha256").update(key).digest("hex");
  const more = Object.entries({ reads: "read", marks: "admin" }).map(
    ([name, scope]) => `[[api.keys]]\nname = "${name}"\nsha256 = "${hash(keys[name])}"\nscopes = ["${scope}"]\n`,
  );
  // Before `[limits]`, that is in `[api]`.
  const place = await Place.open({ channels: CHANNELS, limits: "", more: more.join("") });
  try {
    const [id] = await away(place, "user:ann", 1);
    assert.deepEqual(await answered(place, "GET", "ann/unread", { token: keys.reads }), { unread: 1 });
    assertProblem(await inbox(place, "POST", "ann/read", { token: keys.reads, body: { id } }), 403, "forbidden");
    assertProblem(await inbox(place, "GET", "ann/unread", { token: keys.marks }), 403, "forbidden");
    assert.deepEqual(await answered(place, "POST", "ann/read", { token: keys.marks, body: { id } }), { unread: 0, read: id });
  } finally {
    await place.close();
  }
});
