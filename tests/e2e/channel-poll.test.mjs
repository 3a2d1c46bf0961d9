// Polling, /poll, long and short, as requests: each test is named by what PRODUCT.md says ("Polling").
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  apiPublish,
  assertProblem,
  before as earlier,
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
  polled,
  publish,
  query,
  seqOf,
  tailOf,
} from "./lib/channels.mjs";
import { AUTH, enter, ID } from "./lib/server.mjs";
import { now, sign, tokenOf } from "./lib/tokens.mjs";
import { until, within } from "./lib/wait.mjs";

let place;
before(async () => (place = await Place.open()));
after(() => place?.close());

const count = (n) => Array.from({ length: n }, (_, i) => i);
const ids = (answer) => answer.events.map(({ id }) => id);
async function published(channel, n, data = (i) => i) {
  const all = [];
  for (const i of count(n)) all.push(await publish(place, channel, "e", data(i)));
  return all;
}

// A poll that the server has got and that isn't answered: waiting.
async function waiting(channels, options) {
  const abort = {};
  const sent = new Promise((done) => {
    abort.answer = poll(place, channels, {
      ...options,
      started: (outgoing) => {
        abort.cut = () => outgoing.destroy();
        outgoing.on("finish", done);
      },
    });
  });
  abort.answer.then(
    () => (abort.done = true),
    () => (abort.done = true),
  );
  await sent;
  return abort;
}

describe("with `since`", { concurrency: true }, () => {
  test('answers at once when there is something after it: `{"events", "next", "gap", "gaps"}`', async () => {
    const since = await tailOf(place, "mem:since");
    const ann = await Plain.enter(place, "ann");
    const { id } = await ann.publish("mem:since", "greeting", { text: "hello" });
    const answer = await poll(place, "mem:since", { since, wait: 60 });
    assert.equal(answer.status, 200);
    assert.match(answer.headers["content-type"], /^application\/json/);
    const { events, next, gap, gaps, ...rest } = answer.json;
    assert.deepEqual([rest, gap, gaps], [{}, false, []]);
    assert.ok(seqOf(next) >= seqOf(id), "all of it was returned: the last id, or the tail");
    const { time, ...event } = events[0];
    assert.deepEqual(event, { id, channel: "mem:since", event: "greeting", data: { text: "hello" }, user: "ann" });
    assert.ok(Number.isInteger(time) && Math.abs(time - Date.now()) < 60_000);
    const byApi = await publish(place, "mem:since", "e", 1);
    const second = await polled(place, "mem:since", { since: next });
    assert.deepEqual(ids(second), [byApi]);
    assert.equal("user" in second.events[0], false);
    ann.close();
  });

  test("else after `wait` seconds with an empty list", async () => {
    const [id] = await published("mem:empty", 1);
    const answer = await polled(place, "mem:empty", { since: id, wait: 1 });
    assert.deepEqual([answer.events, answer.gap, answer.gaps], [[], false, []]);
    assert.equal(epochOf(answer.next), epochOf(id));
    assert.ok(seqOf(answer.next) >= seqOf(id));
    const none = await polled(place, "mem:empty", { since: id, wait: 0 });
    assert.deepEqual([none.events, none.gap], [[], false]);
  });

  test("an event ends the wait of all who wait for its channel, and of nobody else", async () => {
    const since = await tailOf(place, "mem:wake");
    const waiters = [];
    for (const user of ["ann", "bob", "cid"]) waiters.push(await waiting("mem:wake", { since, wait: 60, token: tokenOf(user) }));
    const several = await waiting(["mem:wake", "mem:other"], { since, wait: 60 });
    const elsewhere = await waiting("mem:not woken", { since, wait: 60 });
    await publish(place, "mem:unheard", "e", 0);
    const id = await publish(place, "mem:wake", "e", 1);
    for (const { answer } of [...waiters, several]) {
      const { json } = await within("the waiter's answer", answer);
      assert.deepEqual([ids(json), json.gap], [[id], false]);
      assert.ok(seqOf(json.next) >= seqOf(id));
    }
    assert.equal(elsewhere.done, undefined);
    const other = await publish(place, "mem:not woken", "e", 1);
    assert.deepEqual(ids((await elsewhere.answer).json), [other]);
  });

  test("default 25, 0–60, larger is clamped", async () => {
    for (const wait of ["61", "100000", "18446744073709551616"]) {
      const since = await tailOf(place, "mem:clamp");
      const one = await waiting("mem:clamp", { since, wait });
      const id = await publish(place, "mem:clamp", "e", 1);
      const { status, json, body } = await within("an answer", one.answer);
      assert.equal(status, 200, body);
      assert.ok(ids(json).includes(id));
    }
    for (const wait of ["-1", "x", "", "1e9", "NaN", "1 "])
      assertProblem(await poll(place, "mem:clamp", { wait }), 400, "bad_request", `wait=${wait}`);
  });

  test("Nothing is lost between two polls, because `next` is a cursor, not a connection", async () => {
    let { next } = await polled(place, ["mem:n0", "mem:n1"], { wait: 1 });
    const expected = [];
    const got = [];
    for (const round of count(20)) {
      for (const n of count(round % 4)) expected.push(await publish(place, `mem:n${n % 2}`, "e", n));
      const answer = await polled(place, ["mem:n0", "mem:n1"], { since: next, wait: 0 });
      got.push(...ids(answer));
      assert.equal(answer.gap, false);
      next = answer.next;
    }
    assert.deepEqual(got, expected);
  });

  test("what is published to two of its channels comes once", async () => {
    const since = await tailOf(place, "mem:t0");
    const answer = await apiPublish(place, { channels: ["mem:t0", "mem:t1"], event: "e", data: 1 });
    assert.equal(answer.status, 200, answer.body);
    assert.deepEqual(ids(await polled(place, ["mem:t0", "mem:t1"], { since })), [answer.json.id]);
  });
});

describe("Without `since`", { concurrency: true }, () => {
  test("at once, with no events and `next` = the tail", async () => {
    const [, id] = await published("mem:tail", 2);
    for (const options of [{}, { wait: 60 }, { wait: 1 }]) {
      const answer = await polled(place, "mem:tail", options);
      assert.deepEqual([answer.events, answer.gap, answer.gaps], [[], false, []]);
      assert.equal(epochOf(answer.next), epochOf(id));
      assert.ok(seqOf(answer.next) >= seqOf(id));
    }
  });

  test("an empty log is `<epoch>-0`", async () => {
    await inPlace({}, async (place) => assert.match(await tailOf(place, "mem:a"), /^[0-9a-z]{8}-0$/));
  });

  test("`wait=0` without `since`: the newest `limit` (default 1) of each channel", async () => {
    const a = await published("mem:newest a", 5);
    const b = await published("mem:newest b", 3);
    const sorted = (list) => list.sort((x, y) => seqOf(x) - seqOf(y));
    const one = await polled(place, "mem:newest a", { wait: 0 });
    assert.deepEqual(ids(one), [a[4]]);
    assert.equal(one.gap, false);
    assert.ok(seqOf(one.next) >= seqOf(b[2]), "next is the tail");
    const both = await polled(place, ["mem:newest a", "mem:newest b", "mem:newest none"], { wait: 0 });
    assert.deepEqual(ids(both), sorted([a[4], b[2]]));
    const four = await polled(place, ["mem:newest a", "mem:newest b"], { wait: 0, limit: 4 });
    assert.deepEqual(ids(four), sorted([...a.slice(1), ...b]));
    const nothing = await polled(place, "mem:newest none", { wait: 0 });
    assert.deepEqual(nothing.events, []);
  });

  test("`ETag` is the last id of those channels, `If-None-Match` gives 304", async () => {
    const [, id] = await published("mem:etag", 2);
    await published("mem:etag elsewhere", 1);
    const first = await poll(place, "mem:etag", { wait: 0 });
    assert.match(first.headers.etag, /^(W\/)?"[^"]+"$/);
    assert.ok(first.headers.etag.includes(id), first.headers.etag);
    const match = (etag, options = {}) => poll(place, "mem:etag", { wait: 0, headers: { "if-none-match": etag }, ...options });
    for (const etag of [first.headers.etag, `"x", ${first.headers.etag}`, `W/${first.headers.etag.replace("W/", "")}`, "*"]) {
      const same = await match(etag);
      assert.equal(same.status, 304, `${etag} ${same.body}`);
      assert.equal(same.body, "");
      assert.equal(same.headers.etag, first.headers.etag);
    }
    for (const etag of ['"x"', `"${foreign(id)}"`, "mangled"]) assert.equal((await match(etag)).status, 200, etag);
    const [next] = await published("mem:etag", 1);
    const changed = await match(first.headers.etag);
    assert.equal(changed.status, 200);
    assert.deepEqual(ids(changed.json), [next]);
    assert.notEqual(changed.headers.etag, first.headers.etag);
  });

  test("the ETag of several channels changes with each of them", async () => {
    await published("mem:e0", 1);
    await published("mem:e1", 1);
    let { etag } = (await poll(place, ["mem:e0", "mem:e1"], { wait: 0 })).headers;
    for (const channel of ["mem:e0", "mem:e1", "mem:e0"]) {
      await published(channel, 1);
      const answer = await poll(place, ["mem:e0", "mem:e1"], { wait: 0, headers: { "if-none-match": etag } });
      assert.equal(answer.status, 200, channel);
      etag = answer.headers.etag;
    }
    assert.equal((await poll(place, ["mem:e0", "mem:e1"], { wait: 0, headers: { "if-none-match": etag } })).status, 304);
  });

  test("a 304 is for who may read alone", async () => {
    await published("mem:private", 1);
    const { etag } = (await poll(place, "mem:private", { wait: 0 })).headers;
    const headers = { "if-none-match": etag };
    assertProblem(await poll(place, "mem:private", { wait: 0, headers, token: null }), 401, "unauthenticated");
    assertProblem(await poll(place, "room:1", { wait: 0, headers: { "if-none-match": "*" } }), 403, "forbidden");
  });

  test("channels without an event have an answer, and an ETag that changes with their first", async () => {
    const { headers, status } = await poll(place, "mem:no event yet", { wait: 0 });
    assert.equal(status, 200);
    await published("mem:no event yet", 1);
    const again = await poll(place, "mem:no event yet", {
      wait: 0,
      headers: headers.etag ? { "if-none-match": headers.etag } : {},
    });
    assert.equal(again.status, 200);
    assert.equal(again.json.events.length, 1);
  });
});

describe("limits", { concurrency: true }, () => {
  test("`limit` 1–1000; cut short, `next` is the last id returned", async () => {
    const since = await tailOf(place, "mem:limit");
    const all = await published("mem:limit", 25);
    let next = since;
    const got = [];
    for (const _ of count(3)) {
      const answer = await polled(place, "mem:limit", { since: next, limit: 10 });
      got.push(...ids(answer));
      if (answer.events.length === 10) assert.equal(answer.next, answer.events[9].id);
      next = answer.next;
    }
    assert.deepEqual(got, all);
    assert.deepEqual(ids(await polled(place, "mem:limit", { since, limit: 1 })), all.slice(0, 1));
    assert.deepEqual(ids(await polled(place, "mem:limit", { since, limit: 1000 })), all);
    for (const limit of ["0", "1001", "-1", "x", "1.5", "", "99999999999999999999"])
      assertProblem(await poll(place, "mem:limit", { since, limit }), 400, "bad_request", `limit=${limit}`);
  });

  test("body about 1 MB; cut short, `next` is the last id returned", async () => {
    const since = await tailOf(place, "mem:bytes");
    const all = await published("mem:bytes", 30, (n) => `${n}`.padEnd(100_000, "x"));
    const got = [];
    let next = since;
    while (got.length < 30) {
      const { status, json, body } = await poll(place, "mem:bytes", { since: next, limit: 1000, wait: 0 });
      assert.equal(status, 200);
      assert.ok(body.length <= 1_300_000, `${body.length} bytes`);
      assert.ok(json.events.length > 0);
      if (got.length + json.events.length < 30) {
        assert.ok(body.length >= 500_000, `${body.length} bytes`);
        assert.equal(json.next, ids(json).at(-1));
      }
      got.push(...ids(json));
      next = json.next;
    }
    assert.deepEqual(got, all);
  });

  test("(without `since`: the oldest are left out and `next` is the tail)", async () => {
    const all = await published("mem:oldest", 30, (n) => `${n}`.padEnd(100_000, "x"));
    const { json, body } = await poll(place, "mem:oldest", { wait: 0, limit: 1000 });
    assert.ok(body.length <= 1_300_000, `${body.length} bytes`);
    assert.ok(json.events.length >= 5 && json.events.length < 30);
    assert.deepEqual(ids(json), all.slice(-json.events.length));
    assert.ok(seqOf(json.next) >= seqOf(all.at(-1)));
  });

  test("one event always fits", async () => {
    const since = await tailOf(place, "mem:large");
    // the largest message there is, full of what JSON writes longer
    const data = "\u0001".repeat(160_000);
    const all = [];
    for (const n of count(3)) all.push(await publish(place, "mem:large", "e", data + n));
    let next = since;
    for (const n of count(3)) {
      const answer = await polled(place, "mem:large", { since: next, wait: 0 });
      assert.ok(answer.events.length >= 1);
      assert.equal(answer.events[0].id, all[n]);
      assert.equal(answer.events[0].data, data + n);
      next = answer.events[0].id;
    }
    assert.deepEqual(ids(await polled(place, "mem:large", { wait: 0 })), [all[2]]);
  });

  test("subscriptions = 128: one channel more is `too_many_channels`", async () => {
    const many = (n) => count(n).map((i) => `mem:many${i}`);
    assert.equal((await poll(place, many(128), { wait: 0 })).status, 200);
    assertProblem(await poll(place, many(129), { wait: 0 }), 400, "too_many_channels");
  });
});

describe("headers", { concurrency: true }, () => {
  test("Long polls are `no-store`", async () => {
    const [id] = await published("mem:cache", 1);
    for (const options of [{ since: earlier(id), wait: 60 }, {}, { wait: 1 }, { since: id, wait: 1 }]) {
      const { headers } = await poll(place, "mem:cache", options);
      assert.equal(headers["cache-control"], "no-store", JSON.stringify(options));
    }
  });

  test("short ones `private, no-cache` with `Vary: Authorization, Cookie`", async () => {
    const [id] = await published("mem:short", 1);
    const answers = [await poll(place, "mem:short", { wait: 0 }), await poll(place, "mem:short", { wait: 0, since: id })];
    answers.push(await poll(place, "mem:short", { wait: 0, headers: { "if-none-match": answers[0].headers.etag } }));
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200, 304],
    );
    for (const { headers } of answers) {
      assert.equal(headers["cache-control"], "private, no-cache");
      const vary = headers.vary.toLowerCase().split(/ *, */);
      for (const name of ["authorization", "cookie"]) assert.ok(vary.includes(name), headers.vary);
    }
  });

  test("allowed origins get CORS headers (credentials, `Vary: Origin`, `Expose-Headers: ETag`), on errors too", async () => {
    await published("mem:cors", 1);
    const headers = { origin: OWN };
    const { etag } = (await poll(place, "mem:cors", { wait: 0 })).headers;
    const answers = {
      200: await poll(place, "mem:cors", { wait: 0, headers }),
      "200 long": await poll(place, "mem:cors", { headers }),
      304: await poll(place, "mem:cors", { wait: 0, headers: { ...headers, "if-none-match": etag } }),
      400: await poll(place, "mem:cors", { wait: "x", headers }),
      401: await poll(place, "mem:cors", { headers, token: null }),
      403: await poll(place, "room:1", { headers }),
      405: await call("DELETE", place, "/poll?channel=mem:cors", { headers }),
    };
    for (const [status, answer] of Object.entries(answers)) {
      assert.equal(answer.status, parseInt(status), status);
      assert.equal(answer.headers["access-control-allow-origin"], OWN, status);
      assert.equal(answer.headers["access-control-allow-credentials"], "true", status);
      assert.match(answer.headers["access-control-expose-headers"] ?? "", /\betag\b/i, status);
      assert.match(answer.headers.vary ?? "", /\borigin\b/i, status);
    }
  });

  test("the history answers allowed origins so too", async () => {
    await published("mem:cors history", 1);
    for (const token of [tokenOf("ann"), null]) {
      const answer = await call("GET", place, `/api/v1/channels/${encodeURIComponent("mem:cors history")}/history`, {
        token,
        headers: { origin: OWN },
      });
      assert.equal(answer.status, token ? 200 : 401, answer.body);
      assert.equal(answer.headers["access-control-allow-origin"], OWN);
      assert.equal(answer.headers["access-control-allow-credentials"], "true");
      assert.match(answer.headers.vary, /\borigin\b/i);
    }
  });

  test("without an Origin there is none allowed, but `Vary: Origin`", async () => {
    const { headers } = await poll(place, "mem:cors", { wait: 0 });
    assert.equal(headers["access-control-allow-origin"], undefined);
    assert.match(headers.vary, /\borigin\b/i);
  });

  test("preflights without a token", async () => {
    for (const path of ["/poll?channel=mem:a", "/sse?channel=mem:a", `/api/v1/channels/${encodeURIComponent("mem:a")}/history`]) {
      const answer = await call("OPTIONS", place, path, {
        headers: {
          origin: OWN,
          "access-control-request-method": "GET",
          "access-control-request-headers": "authorization, if-none-match",
        },
      });
      assert.ok([200, 204].includes(answer.status), `${path} ${answer.status} ${answer.body}`);
      assert.equal(answer.headers["access-control-allow-origin"], OWN, path);
      assert.equal(answer.headers["access-control-allow-credentials"], "true", path);
      assert.match(answer.headers["access-control-allow-methods"], /GET/, path);
      assert.match(answer.headers["access-control-allow-headers"], /authorization/i, path);
    }
    const foreigner = await call("OPTIONS", place, "/poll?channel=mem:a", {
      headers: { origin: FOREIGN, "access-control-request-method": "GET" },
    });
    assert.notEqual(foreigner.headers["access-control-allow-origin"], FOREIGN);
  });

  test("a foreign origin is 403, naming the origin and the setting", async () => {
    for (const origin of [FOREIGN, "null", `${OWN}:8443`]) {
      const { json, headers } = assertProblem(await poll(place, "mem:a", { headers: { origin } }), 403, "origin_not_allowed");
      assert.ok(json.detail.includes(origin) && json.detail.includes("allowed_origins"), json.detail);
      assert.equal(headers["access-control-allow-origin"], undefined);
    }
    assert.equal((await poll(place, "mem:a", { wait: 0, headers: { origin: place.url } })).status, 200);
  });
});

describe("gaps", { concurrency: true }, () => {
  test("an id of another epoch is a gap, and all that is retained comes", async () => {
    const all = await published("mem:gap", 3);
    const answer = await polled(place, ["mem:gap"], { since: foreign(all[2]), wait: 60 });
    assert.deepEqual([answer.gap, answer.gaps, ids(answer)], [true, ["mem:gap"], all]);
    assert.ok(seqOf(answer.next) >= seqOf(all[2]));
    const after = await polled(place, "mem:gap", { since: answer.next, wait: 0 });
    assert.deepEqual([after.gap, after.events], [false, []]);
  });

  test("an id from the future too", async () => {
    const all = await published("mem:future", 2);
    const answer = await polled(place, "mem:future", { since: future(all[0]), wait: 60 });
    assert.deepEqual([answer.gap, answer.gaps, ids(answer)], [true, ["mem:future"], all]);
    assert.ok(seqOf(answer.next) < seqOf(future(all[0])), "and the cursor is one of the past again");
    const [live] = await published("mem:future", 1);
    assert.deepEqual(ids(await polled(place, "mem:future", { since: answer.next })), [live]);
  });

  test("a gap is answered at once, with nothing retained too", async () => {
    const tail = await tailOf(place, "mem:gap and nothing");
    const answer = await polled(place, "mem:gap and nothing", { since: foreign(tail), wait: 60 });
    assert.deepEqual(answer.events, []);
    assert.equal(answer.gap, answer.gaps.length > 0);
    assert.equal(epochOf(answer.next), epochOf(tail));
  });

  test("a gap's replay cut short by the limit goes on without another gap", async () => {
    const all = await published("mem:gap pages", 7);
    const first = await polled(place, "mem:gap pages", { since: foreign(all[0]), limit: 3, wait: 0 });
    assert.deepEqual([first.gap, ids(first), first.next], [true, all.slice(0, 3), all[2]]);
    const second = await polled(place, "mem:gap pages", { since: first.next, limit: 10, wait: 0 });
    assert.deepEqual([second.gap, second.gaps, ids(second)], [false, [], all.slice(3)]);
  });

  test("a mangled `since` is `invalid_id`", async () => {
    for (const since of [
      "x",
      "aaaaaaaa-01",
      "aaaaaaaa-",
      "AAAAAAAA-1",
      "aaaaaaaa-1 ",
      "aaaaaaaa--1",
      "aaaaaaaa-12345678901234567",
      "\u0000",
      "é",
      "x".repeat(5000),
    ])
      assertProblem(await poll(place, "mem:a", { since, wait: 0 }), 400, "invalid_id", since.slice(0, 30));
  });
});

describe("who may", { concurrency: true }, () => {
  test("401 and 403 as everywhere; one forbidden channel refuses the whole request", async () => {
    for (const [token, code] of [
      [null, "unauthenticated"],
      ["nonsense", "unauthenticated"],
      [sign({ sub: "ann", exp: now() - 120 }), "token_expired"],
      [sign({ sub: "ann", exp: now() + 60 }, { secret: "another secret" }), "token_signature"],
      [sign({ sub: "ann", exp: now() + 60 }, { alg: "none" }), "token_algorithm"],
    ]) {
      const { headers } = assertProblem(await poll(place, "mem:a", { token }), 401, code);
      assert.ok(headers["www-authenticate"] === undefined || /bearer/i.test(headers["www-authenticate"]));
    }
    for (const channels of ["room:1", ["mem:a", "room:1"], "none:1", "writeonly:1", "user:bob"])
      assertProblem(await poll(place, channels, { wait: 0 }), 403, "forbidden");
    const there = await poll(place, "room:1");
    const notThere = await poll(place, "none:1");
    assert.equal(there.body.replaceAll("room:1", ""), notThere.body.replaceAll("none:1", ""));
  });

  test("`access_token` in the query, a cookie, anonymous", async () => {
    const byQuery = await call(
      "GET",
      place,
      `/poll?${query([
        ["channel", "mem:a"],
        ["wait", 0],
        ["access_token", tokenOf("ann")],
      ])}`,
    );
    assert.equal(byQuery.status, 200, byQuery.body);
    await inPlace({ auth: `${AUTH}anonymous = true\ncookie = "session"\n` }, async (place) => {
      assert.equal((await poll(place, "public:a", { token: null, wait: 0 })).status, 200);
      assertProblem(await poll(place, "mem:a", { token: null, wait: 0 }), 403, "forbidden");
      const headers = { cookie: `session=${tokenOf("ann")}` };
      assert.equal((await poll(place, "mem:a", { token: null, wait: 0, headers })).status, 200);
    });
  });

  test("`user:<sub>` if they name it", async () => {
    const id = await publish(place, "user:ann", "note", 1);
    assert.deepEqual(ids(await polled(place, "user:ann", { wait: 0 })), [id]);
    const since = earlier(id);
    assert.ok(!ids(await polled(place, "mem:quiet", { wait: 0, since })).includes(id));
  });

  test("405 for other methods, 400 without a channel", async () => {
    for (const method of ["POST", "PUT", "DELETE"])
      assertProblem(await call(method, place, "/poll?channel=mem:a", { token: tokenOf("ann") }), 405, "method_not_allowed");
    assertProblem(await poll(place, []), 400, /^(bad_request|invalid_channel)$/);
    assertProblem(await poll(place, ""), 400, "invalid_channel");
  });

  test("a poll that waits when its token ends is answered, and the next is 401", async () => {
    const token = tokenOf("ann", { exp: now() + 2 });
    const since = await tailOf(place, "mem:token ends");
    const waits = poll(place, "mem:token ends", { since, wait: 60, token });
    const answer = await within("the answer at the token's end", waits, 15_000);
    await publish(place, "mem:token ends", "e", 1);
    assert.equal(answer.status, 200);
    assert.deepEqual([answer.json.events, answer.json.gap], [[], false]);
    await until("401", async () => (await poll(place, "mem:token ends", { wait: 0, token })).status === 401);
  });
});

describe("life", { concurrency: true }, () => {
  test("a poll that was cut leaves no waiter; the next gets what it would have had", async () => {
    const since = await tailOf(place, "mem:cut");
    for (const _ of count(20)) {
      const one = await waiting("mem:cut", { since, wait: 60 });
      one.cut();
      await one.answer.catch(() => {});
    }
    const id = await publish(place, "mem:cut", "e", 1);
    assert.deepEqual(ids(await polled(place, "mem:cut", { since })), [id]);
  });

  test("on shutdown poll answers `next`", async () => {
    await inPlace({}, async (place) => {
      const since = await tailOf(place, "mem:a");
      let sent;
      const handed = new Promise((done) => (sent = done));
      const answer = poll(place, "mem:a", { since, wait: 60, started: (outgoing) => outgoing.on("finish", sent) });
      await handed;
      await polled(place, "mem:a", { wait: 0 }); // it has been read
      const stopped = place.server.stop("SIGTERM");
      const { status, json } = await within("the waiter's answer", answer);
      assert.deepEqual([status, json.events, json.next], [200, [], since]);
      assert.deepEqual(await stopped, { code: 0, signal: null });
    });
  });

  test("polls don't count for the rate", async () => {
    await inPlace({ limits: "messages_per_second = 2\nmessages_burst = 2\n" }, async (place) => {
      for (const _ of count(30)) assert.equal((await poll(place, "mem:a", { wait: 0 })).status, 200);
      for (const n of count(30)) await publish(place, "mem:a", "e", n);
    });
  });

  test("connections per user: one waiter too many is 429 `too_many_connections`", async () => {
    await inPlace({ limits: `${FAST}connections_per_user = 2\n` }, async (place) => {
      const inside = [await Plain.enter(place, "ann"), await Plain.enter(place, "ann")];
      assertProblem(
        await poll(place, "mem:a", { since: await tailOf(place, "mem:a", { token: tokenOf("bob") }), wait: 5 }),
        429,
        "too_many_connections",
      );
      for (const plain of inside) plain.close();
    });
  });

  test("the same event has the same id, data and time on every transport", async () => {
    const [sio, plain] = [await enter(place.server, "ann"), await Plain.enter(place, "ann")];
    await sio.ask("subscribe", "mem:same");
    await plain.subscribe("mem:same");
    const since = await tailOf(place, "mem:same");
    const id = await publish(place, "mem:same", "e", { a: [1, "é"] });
    const { args } = await sio.sawEvent("e");
    const event = await plain.nextOf("event");
    const [first] = (await polled(place, "mem:same", { since })).events;
    assert.match(id, ID);
    for (const [its, time, data] of [
      [args[2], args[1].time, args[0]],
      [event.id, event.time, event.data],
    ])
      assert.deepEqual([its, time, data], [first.id, first.time, first.data]);
    assert.equal(first.id, id);
    sio.close();
    plain.close();
  });

  test("two requests on one connection, one behind the other", async () => {
    const http = await import("node:http");
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const since = await tailOf(place, "mem:agent");
    for (const n of count(5)) {
      const answer = call(
        "GET",
        place,
        `/poll?${query([
          ["channel", "mem:agent"],
          ["since", since],
          ["limit", 1000],
        ])}`,
        { token: tokenOf("ann"), agent },
      );
      await publish(place, "mem:agent", "e", n);
      assert.ok((await answer).json.events.length >= 1);
    }
    agent.destroy();
  });
});

test("who long-polls is present while it waits and for the grace after, whatever number of polls that is", async () => {
  const channel = "mem:poll presence";
  const watcher = await Plain.enter(place, "cid");
  let { cursor: since } = await watcher.subscribe(channel);
  const present = async () => (await watcher.result("presence", { channel })).users.map(({ user }) => user);
  const heard = (type) => watcher.messages.filter((message) => message.type === type && message.user === "ann").length;
  assert.deepEqual(await present(), ["cid"]);
  // The first waits longer than the grace: who were present for that alone would leave meanwhile.
  for (const wait of [4, 1, 1]) {
    const one = await waiting(channel, { since, wait });
    await until("ann is present", async () => (await present()).includes("ann"));
    const { status, json, body } = await one.answer;
    assert.deepEqual([status, json?.events], [200, []], body);
    assert.deepEqual(await present(), ["ann", "cid"], "for a moment more");
    since = json.next;
  }
  assert.deepEqual([heard("join"), heard("leave")], [1, 0]);
  await until("ann's leave", () => heard("leave") > 0);
  assert.deepEqual(await watcher.settled(), []);
  assert.deepEqual([heard("join"), heard("leave")], [1, 1]);
  const { count: left, users } = await watcher.result("presence", { channel });
  assert.deepEqual([left, users.map(({ user }) => user)], [1, ["cid"]]);
  watcher.close();
});

test("the server is still well", async () => {
  assert.equal((await poll(place, "mem:a", { wait: 0 })).status, 200);
});
