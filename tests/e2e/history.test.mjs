// History and publish keys, by the API, /ws and Socket.IO (PRODUCT.md, "Socket.IO on the binary", "Server API", guarantees 3 and 5).
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  API_KEY,
  apiPublish,
  assertProblem,
  call,
  epochOf,
  foreign,
  future,
  inPlace,
  Place,
  Plain,
  publish,
  query,
  RULES,
  seqOf,
} from "./lib/channels.mjs";
import { enter, ID } from "./lib/server.mjs";
import { tokenOf } from "./lib/tokens.mjs";

let place;
before(async () => (place = await Place.open({ data: true })));
after(() => place?.close());

const count = (n) => Array.from({ length: n }, (_, i) => i);
const ids = (page) => page.events.map(({ id }) => id);

const path = (channel, options = {}) =>
  `/api/v1/channels/${encodeURIComponent(channel)}/history?${query(Object.entries(options))}`;
const byApi = (channel, options, { key = API_KEY, server = place } = {}) =>
  call("GET", server, path(channel, options), { token: key });

// The three ways to ask: each answers {events, more}, or {code}.
const ways = {
  "the API": async () => ({
    ask: async (channel, options) => (await byApi(channel, options)).json,
    close() {},
  }),
  "the API with a user's token": async () => ({
    ask: async (channel, options) => (await byApi(channel, options, { key: tokenOf("ann") })).json,
    close() {},
  }),
  "/ws": async () => {
    const plain = await Plain.enter(place, "ann");
    return {
      ask: async (channel, options) => {
        const answer = await plain.ask("history", { channel, ...options });
        return answer.type === "ok" ? answer.result : answer;
      },
      close: () => plain.close(),
    };
  },
  "Socket.IO": async () => {
    const client = await enter(place.server, "ann");
    return {
      ask: async (channel, options) => {
        const { ok, ...answer } = await client.ask("history", channel, ...(options ? [options] : []));
        assert.equal(ok, answer.code === undefined);
        return answer;
      },
      close: () => client.close(),
    };
  },
};

for (const [name, open] of Object.entries(ways)) {
  describe(`by ${name}`, { concurrency: true }, () => {
    const channel = (kind) => `${kind}:history by ${name.replaceAll("/", "")}`;

    for (const kind of ["kept", "mem"]) {
      test(`the newest page, then backward, then forward, ${kind}`, async () => {
        const way = await open();
        const all = [];
        for (const n of count(120)) all.push(await publish(place, channel(kind), "e", { n }));
        const newest = await way.ask(channel(kind));
        assert.deepEqual(ids(newest), all.slice(-50), "`limit` 50, oldest first within it");
        assert.equal(newest.more, true);
        // backward to the start
        const back = [...ids(newest)];
        for (let more = true; more;) {
          const page = await way.ask(channel(kind), { before: back[0], limit: 30 });
          assert.deepEqual(ids(page), all.slice(Math.max(0, all.indexOf(back[0]) - 30), all.indexOf(back[0])));
          back.unshift(...ids(page));
          more = page.more;
          assert.equal(more, back[0] !== all[0]);
        }
        assert.deepEqual(back, all);
        // forward from the start
        const forward = [];
        for (let after = `${epochOf(all[0])}-0`, more = true; more; after = forward.at(-1)) {
          const page = await way.ask(channel(kind), { after, limit: 40 });
          forward.push(...ids(page));
          more = page.more;
          assert.equal(more, forward.length < all.length);
        }
        assert.deepEqual(forward, all);
        way.close();
      });
    }

    test("an event is `{id, channel, event, data, time, user}`", async () => {
      const way = await open();
      const bob = await Plain.enter(place, "bob");
      const sent = { a: [1, "é", null], $b: { $bytes: "AQID" } };
      const { id } = await bob.publish(channel("kept:shape of"), "shape", sent);
      const page = await way.ask(channel("kept:shape of"), { limit: 1 });
      const { time, data, ...rest } = page.events[0];
      assert.deepEqual(rest, { id, channel: channel("kept:shape of"), event: "shape", user: "bob" });
      assert.ok(Number.isInteger(time));
      assert.deepEqual(data.a, sent.a);
      const bytes = data.$b;
      if (bytes.$bytes === undefined)
        assert.deepEqual(Buffer.from(bytes), Buffer.from([1, 2, 3]), "Socket.IO has bytes of its own");
      else assert.equal(bytes.$bytes, "AQID");
      bob.close();
      way.close();
    });

    test("of a channel without an event: none, and no more", async () => {
      const way = await open();
      for (const options of [undefined, { limit: 10 }])
        assert.deepEqual(await way.ask("kept:never used", options), { events: [], more: false });
      way.close();
    });

    test("`limit` at most 1000, at it and past it", async () => {
      const way = await open();
      await publish(place, "kept:limits", "e", 1);
      assert.equal((await way.ask("kept:limits", { limit: 1000 })).events.length > 0, true);
      assert.equal((await way.ask("kept:limits", { limit: 1 })).events.length, 1);
      for (const limit of [0, 1001, -1, 1.5, "x"])
        assert.equal((await way.ask("kept:limits", { limit })).code, "bad_request", `${limit}`);
      way.close();
    });

    test("mangled ids are `invalid_id`; both at once is `bad_request`", async () => {
      const way = await open();
      const id = await publish(place, "kept:ids", "e", 1);
      for (const mangled of ["x", "aaaaaaaa-01", "AAAAAAAA-1", "aaaaaaaa-", "aaaaaaaa-12345678901234567"]) {
        assert.equal((await way.ask("kept:ids", { before: mangled })).code, "invalid_id", mangled);
        assert.equal((await way.ask("kept:ids", { after: mangled })).code, "invalid_id", mangled);
      }
      assert.equal((await way.ask("kept:ids", { before: id, after: id })).code, "bad_request");
      way.close();
    });

    test("foreign and future ids have an answer, and scan nothing", async () => {
      const way = await open();
      const strange_ids = channel("kept:strange ids");
      const id = await publish(place, strange_ids, "e", 1);
      for (const strange of [foreign(id), future(id), `${epochOf(id)}-0`]) {
        for (const side of ["before", "after"]) {
          const page = await way.ask(strange_ids, { [side]: strange });
          // a page or a refusal: nothing else
          if (page.code === undefined)
            assert.ok(Array.isArray(page.events) && typeof page.more === "boolean", JSON.stringify(page));
          else assert.match(page.code, /^(invalid_id|bad_request)$/);
        }
      }
      assert.deepEqual(ids(await way.ask(strange_ids, { after: `${epochOf(id)}-0` })), [id]);
      way.close();
    });

    if (name !== "the API")
      test("`history` and presence follow `subscribe`: forbidden channels are", async () => {
        const way = await open();
        await publish(place, "room:1", "secret", 1);
        for (const channel of ["room:1", "none:1", "writeonly:1", "user:bob"])
          assert.equal((await way.ask(channel)).code, "forbidden", channel);
        await publish(place, "user:ann", "note", 1);
        assert.equal((await way.ask("user:ann")).events.length > 0, true);
        way.close();
      });

    test("names that are none are `invalid_channel`", async () => {
      const way = await open();
      for (const channel of ["kept:" + "x".repeat(251), "kept:a\nb", "/n,r"])
        assert.equal((await way.ask(channel)).code, "invalid_channel");
      way.close();
    });
  });
}

describe("by the API", { concurrency: true }, () => {
  test("401 without a key or token, and with a bad one; 403 over HTTP", async () => {
    for (const key of [null, "nonsense", `${API_KEY}x`])
      assertProblem(await byApi("kept:a", {}, { key }), 401, /^(unauthenticated|token_\w+)$/);
    assertProblem(await byApi("room:1", {}, { key: tokenOf("ann") }), 403, "forbidden");
    assertProblem(
      await apiPublish(place, { channel: "kept:a", event: "e", data: 1 }, { key: tokenOf("ann") }),
      401,
      /^(unauthenticated|token_\w+)$/,
    );
    assertProblem(await apiPublish(place, { channel: "kept:a", event: "e", data: 1 }, { key: null }), 401, "unauthenticated");
  });

  test("401 when no key is configured", async () => {
    const { serving } = await import("./lib/server.mjs");
    await serving({ channels: RULES.replace(/^history = .*\n/gm, "") }, async (server) => {
      assertProblem(await apiPublish(server, { channel: "mem:a", event: "e", data: 1 }), 401, "unauthenticated");
      const answer = await call("GET", server, path("mem:a"), { token: tokenOf("ann") });
      assert.equal(answer.status, 200, "a user's token needs no key");
    });
  });

  test('`POST publish` → `{id, duplicate, durability: "memory"|"process"|"power"}`', async () => {
    const kept = await apiPublish(place, { channel: "kept:levels", event: "e", data: 1 });
    assert.match(kept.json.id, ID);
    assert.deepEqual(kept.json, { id: kept.json.id, duplicate: false, durability: "process" });
    const memory = await apiPublish(place, { channel: "mem:levels", event: "e", data: 1 });
    assert.deepEqual(memory.json, { id: memory.json.id, duplicate: false, durability: "memory" });
    // no rule: nobody but the API, memory only
    const none = await apiPublish(place, { channel: "nobody's", event: "e", data: 1 });
    assert.equal(none.json.durability, "memory");
    await inPlace({ data: true, top: 'durability = "power"\n' }, async (place) => {
      assert.equal((await apiPublish(place, { channel: "kept:a", event: "e", data: 1 })).json.durability, "power");
      assert.equal((await apiPublish(place, { channel: "mem:a", event: "e", data: 1 })).json.durability, "memory");
    });
    await inPlace({ channels: RULES.replace(/^history = .*\n/gm, "") }, async (place) => {
      assert.equal((await apiPublish(place, { channel: "kept:a", event: "e", data: 1 })).json.durability, "memory");
    });
  });

  test("`channels`: one event, one id, in each channel's history", async () => {
    const { json } = await apiPublish(place, { channels: ["kept:multi a", "kept:multi b"], event: "e", data: 1 });
    for (const channel of ["kept:multi a", "kept:multi b"]) assert.deepEqual(ids((await byApi(channel)).json), [json.id]);
    for (const body of [
      { channels: [], event: "e", data: 1 },
      { event: "e", data: 1 },
      { channel: "kept:a", channels: ["kept:b"], event: "e", data: 1 },
      { channel: 7, event: "e", data: 1 },
      { channels: "kept:a", event: "e", data: 1 },
    ])
      assertProblem(await apiPublish(place, body), 400, /^(bad_request|invalid_channel)$/, JSON.stringify(body));
  });

  test("only its own parameters count twice or not at all", async () => {
    await publish(place, "kept:twice", "e", 1);
    const answer = await call("GET", place, `${path("kept:twice", { limit: 5 })}&limit=7`, { token: API_KEY });
    assertProblem(answer, 400, "bad_request");
  });
});

describe("retention", { concurrency: true }, () => {
  const rules = (history) => `[[channels]]\nmatch = "some:*"\nhistory = ${history}\nsubscribe = "user"\npublish = "user"\n`;
  const newest = async (place, limit = 1000) => (await byApi("some:a", { limit }, { server: place })).json;
  const flood = async (place, n) => {
    const plain = await Plain.enter(place, "publisher");
    const results = await Promise.all(count(n).map((i) => plain.publish("some:a", "e", i)));
    plain.close();
    return results.map(({ id }) => id);
  };

  test("`keep` and `for`: what is promised is there after a kill, the newest without a hole", async () => {
    await inPlace({ data: true, channels: rules('{ keep = 50, for = "30d" }') }, async (place) => {
      const all = await flood(place, 400);
      await place.restart();
      const page = await newest(place);
      assert.ok(page.events.length >= 50, `${page.events.length}`);
      assert.deepEqual(ids(page), all.slice(-page.events.length));
      assert.equal(page.more, false);
    });
  });

  test("`keep = 5`: after a restart what is older is gone, and who missed it is told", async () => {
    await inPlace({ data: true, channels: rules("{ keep = 5 }") }, async (place) => {
      const all = await flood(place, 2000);
      await place.restart();
      const page = await newest(place);
      assert.ok(page.events.length >= 5 && page.events.length < 2000, `${page.events.length}`);
      const oldest = all.length - page.events.length;
      assert.deepEqual(ids(page), all.slice(oldest));
      const ann = await Plain.enter(place, "ann");
      await ann.subscribe("some:a", all[0]);
      assert.deepEqual((await ann.nextOf("gap")).channels, ["some:a"]);
      assert.deepEqual(
        (await ann.events(page.events.length)).map(({ id }) => id),
        all.slice(oldest),
      );
      // who missed nothing that is gone gets none
      await ann.subscribe("some:a", all[oldest - 1]);
      assert.deepEqual(
        (await ann.events(page.events.length)).map(({ id }) => id),
        all.slice(oldest),
      );
      assert.deepEqual(await ann.settled(), []);
      ann.close();
    });
  });

  test("`keep` alone, `for` alone", async () => {
    for (const history of ["{ keep = 100 }", '{ for = "1h" }']) {
      await inPlace({ data: true, channels: rules(history) }, async (place) => {
        const all = await flood(place, 30);
        await place.restart();
        assert.deepEqual(ids(await newest(place)), all, history);
      });
    }
  });

  test(
    "`for` ends: a channel of 1 s keeps nothing over minutes",
    { skip: process.env.TIDINGS_E2E_LONG ? false : "takes minutes; TIDINGS_E2E_LONG=1" },
    async () => {
      await inPlace({ data: true, channels: rules('{ for = "1s" }') }, async (place) => {
        const all = await flood(place, 10);
        await new Promise((done) => setTimeout(done, 260_000));
        assert.deepEqual(ids(await newest(place)), []);
        const ann = await Plain.enter(place, "ann");
        await ann.subscribe("some:a", all[4]);
        assert.deepEqual((await ann.nextOf("gap")).channels, ["some:a"]);
        ann.close();
      });
    },
  );

  test("Everything is retained for 2 minutes in memory: without a rule for history too, but not over a restart", async () => {
    await inPlace(
      { data: true, channels: '[[channels]]\nmatch = "some:*"\nsubscribe = "user"\npublish = "user"\n' },
      async (place) => {
        const all = await flood(place, 300);
        assert.deepEqual(ids(await newest(place)), all);
        await place.restart();
        assert.deepEqual(await newest(place), { events: [], more: false });
      },
    );
  });

  test("a noisy channel doesn't take the others' two minutes", async () => {
    await inPlace({}, async (place) => {
      const quiet = [];
      for (const n of count(5)) quiet.push(await publish(place, "mem:quiet", "e", n));
      const plain = await Plain.enter(place, "publisher");
      // 150 MB into one channel
      for (const _ of count(30))
        await Promise.all(count(10).map((n) => plain.publish("mem:noisy", "e", `${n}`.padEnd(500_000, "x"))));
      plain.close();
      assert.deepEqual(ids((await byApi("mem:quiet", {}, { server: place })).json), quiet);
    });
  });
});

describe("publish keys", { concurrency: true }, () => {
  // How each publishes: {id, duplicate} or {code}.
  const publishers = {
    "the API": async (server) => ({
      say: async (channel, data, key) => {
        const { status, json } = await apiPublish(server, { channel, event: "e", data, key });
        if (json.code === "key_conflict") assert.equal(status, 409);
        return json;
      },
      close() {},
    }),
    "/ws": async (server, sub) => {
      const plain = await Plain.enter(server, sub);
      return {
        say: async (channel, data, key) => {
          const answer = await plain.ask("publish", { channel, event: "e", data, key });
          return answer.type === "ok" ? answer.result : answer;
        },
        close: () => plain.close(),
      };
    },
    "Socket.IO": async (server, sub) => {
      const client = await enter(server.server ?? server, sub);
      return { say: (channel, data, key) => client.ask("publish", channel, "e", data, { key }), close: () => client.close() };
    },
  };

  for (const [name, open] of Object.entries(publishers)) {
    const channel = (kind, what) => `${kind}:keys ${name.replaceAll("/", "")} ${what}`;

    for (const kind of ["kept", "mem"]) {
      test(`by ${name}, ${kind}: stored and delivered once, answers the first id with \`duplicate: true\`; other content is a conflict`, async () => {
        const ann = await open(place, "ann");
        const listener = await Plain.enter(place, "listener");
        await listener.subscribe(channel(kind, "a"));
        const first = await ann.say(channel(kind, "a"), { n: 1 }, "k");
        assert.equal(first.duplicate, false);
        for (const _ of count(3)) {
          const again = await ann.say(channel(kind, "a"), { n: 1 }, "k");
          assert.deepEqual([again.id, again.duplicate], [first.id, true]);
        }
        assert.equal((await ann.say(channel(kind, "a"), { n: 2 }, "k")).code, "key_conflict");
        const other = await ann.say(channel(kind, "a"), { n: 2 }, "another");
        assert.equal(other.duplicate, false);
        // the scope is the channel too
        const elsewhere = await ann.say(channel(kind, "b"), { n: 1 }, "k");
        assert.equal(elsewhere.duplicate, false);
        assert.deepEqual(
          (await listener.events(2)).map(({ id }) => id),
          [first.id, other.id],
        );
        assert.deepEqual(await listener.settled(), []);
        assert.deepEqual(ids((await byApi(channel(kind, "a"))).json), [first.id, other.id]);
        listener.close();
        ann.close();
      });
    }

    test(`by ${name}: at once, many times: one event`, async () => {
      const ann = await open(place, "ann");
      const answers = await Promise.all(count(20).map(() => ann.say(channel("kept", "race"), "same", "k")));
      assert.equal(new Set(answers.map(({ id }) => id)).size, 1, JSON.stringify(answers));
      assert.equal(answers.filter(({ duplicate }) => !duplicate).length, 1);
      assert.equal((await byApi(channel("kept", "race"))).json.events.length, 1);
      ann.close();
    });

    test(`by ${name}: across restarts where there is history`, async () => {
      await inPlace({ data: true }, async (place) => {
        let ann = await open(place, "ann");
        const first = await ann.say("kept:a", { n: 1 }, "k");
        ann.close();
        for (const _ of count(2)) {
          await place.restart();
          ann = await open(place, "ann");
          const again = await ann.say("kept:a", { n: 1 }, "k");
          assert.deepEqual([again.id, again.duplicate], [first.id, true]);
          assert.equal((await ann.say("kept:a", { n: 2 }, "k")).code, "key_conflict");
          ann.close();
        }
        assert.deepEqual(ids((await byApi("kept:a", {}, { server: place })).json), [first.id]);
      });
    });
  }

  test("another user's key is another key; a user is one on all transports; the API is another", async () => {
    const [ann, bob, sio] = [
      await publishers["/ws"](place, "ann"),
      await publishers["/ws"](place, "bob"),
      await publishers["Socket.IO"](place, "ann"),
    ];
    const api = await publishers["the API"](place);
    const first = await ann.say("kept:whose", 1, "k");
    const hers = await sio.say("kept:whose", 1, "k");
    assert.deepEqual([hers.id, hers.duplicate], [first.id, true]);
    const his = await bob.say("kept:whose", 1, "k");
    assert.equal(his.duplicate, false);
    assert.notEqual(his.id, first.id);
    const server = await api.say("kept:whose", 1, "k");
    assert.equal(server.duplicate, false);
    assert.equal(new Set([first.id, his.id, server.id]).size, 3);
    assert.equal((await bob.say("kept:whose", 2, "k")).code, "key_conflict");
    for (const one of [ann, bob, sio]) one.close();
  });

  test("same content is the same, whatever the order of the request's fields; keys that are none are `bad_request`", async () => {
    const say = (body) => call("POST", place, "/api/v1/publish", { token: API_KEY, body });
    const first = await say('{"channel":"kept:space","event":"e","key":"k","data":{"a":1}}');
    const again = await say('{"key":"k","event":"e","channel":"kept:space","data":{"a":1}}');
    assert.deepEqual([again.json.id, again.json.duplicate], [first.json.id, true]);
    const event = await say('{"channel":"kept:space","event":"other","key":"k","data":{"a":1}}');
    assertProblem(event, 409, "key_conflict");
    for (const key of [7, {}, [], true, ""]) {
      const answer = await apiPublish(place, { channel: "kept:space", event: "e", data: 1, key });
      assertProblem(answer, 400, "bad_request", JSON.stringify(key));
    }
    // one as long as a message has an answer too
    const long = await apiPublish(place, { channel: "kept:space", event: "e", data: 1, key: "k".repeat(100_000) });
    assert.ok([200, 400, 413].includes(long.status), long.body);
  });

  test("answered in order with what is published without a key", async () => {
    const plain = await Plain.enter(place, "ann");
    const results = await Promise.all(count(100).map((n) => plain.publish("kept:mixed", "e", n, n % 2 ? { key: `${n}` } : {})));
    const order = results.map(({ id }) => seqOf(id));
    assert.deepEqual(
      order,
      [...order].sort((a, b) => a - b),
    );
    plain.close();
  });

  test("a key for `channels` together", async () => {
    const body = { channels: ["kept:together a", "kept:together b"], event: "e", data: 1, key: "k" };
    const first = await apiPublish(place, body);
    const again = await apiPublish(place, body);
    assert.deepEqual([again.json.id, again.json.duplicate], [first.json.id, true]);
    assert.equal((await byApi("kept:together a")).json.events.length, 1);
  });
});
