// Server-sent events, /sse, byte by byte and with npm's `eventsource`: each test is named by what PRODUCT.md says ("SSE").
import assert from "node:assert/strict";
import { once } from "node:events";
import http2 from "node:http2";
import { after, before, describe, test } from "node:test";
import { EventSource } from "eventsource";
import { chromium } from "playwright-core";
import {
  API_KEY,
  apiPublish,
  assertProblem,
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
  publish,
  query,
  seqOf,
  Sse,
  tailOf,
} from "./lib/channels.mjs";
import { Proxy } from "./lib/proxy.mjs";
import { AUTH, ID } from "./lib/server.mjs";
import { now, sign, tokenOf } from "./lib/tokens.mjs";
import { endLater } from "./lib/leftovers.mjs";
import { until, within } from "./lib/wait.mjs";

let place;
before(async () => (place = await Place.open()));
after(() => place?.close());

const count = (n) => Array.from({ length: n }, (_, i) => i);
const opened = async (channels, options) => {
  const sse = new Sse(place, channels, options);
  await sse.open();
  return sse;
};
// Refused with a status: the problem.
const refused = (server, channels, options) => new Sse(server, channels, options).whole();

describe("what it sends", { concurrency: true }, () => {
  test("Default `message` events: `data:` is `{channel, event, data, time, user}`, `id:` the id", async () => {
    const sse = await opened("mem:shape");
    const ann = await Plain.enter(place, "ann");
    const { id } = await ann.publish("mem:shape", "greeting", { text: "hello" });
    const got = await sse.nextJson();
    assert.deepEqual([got.event, got.id], ["message", id]);
    const { time, ...rest } = got.data;
    assert.deepEqual(rest, { channel: "mem:shape", event: "greeting", data: { text: "hello" }, user: "ann" });
    assert.ok(Number.isInteger(time) && Math.abs(time - Date.now()) < 60_000);
    const byApi = await publish(place, "mem:shape", "e", 1);
    const second = await sse.nextJson();
    assert.equal(second.id, byApi);
    assert.deepEqual(Object.keys(second.data).sort(), ["channel", "data", "event", "time"], "no user: it is absent for the API");
    const block = sse.blocks.find(({ id }) => id === byApi);
    assert.equal(block.event, undefined, "no event field");
    ann.close();
    sse.close();
  });

  test("`onmessage` fires, at npm's EventSource too", async () => {
    const source = new EventSource(
      `${place.url}/sse?${query([
        ["channel", "mem:stock"],
        ["access_token", tokenOf("ann")],
      ])}`,
    );
    endLater(() => source.close());
    const got = [];
    source.onmessage = ({ data, lastEventId }) => got.push([JSON.parse(data).data, lastEventId]);
    await within("open", once(source, "open"));
    const ids = [];
    for (const n of count(3)) ids.push(await publish(place, "mem:stock", "e", n));
    await until("three messages", () => got.length === 3);
    assert.deepEqual(
      got,
      ids.map((id, n) => [n, id]),
    );
    source.close();
  });

  test("`named=1` also sets `event:` to the event's name", async () => {
    const sse = await opened("mem:named", { named: 1 });
    const id = await publish(place, "mem:named", "chat:message", { n: 1 });
    const got = await sse.nextJson();
    assert.deepEqual([got.event, got.id, got.data.event, got.data.data], ["chat:message", id, "chat:message", { n: 1 }]);
    sse.close();
  });

  test("`format=raw` sends `data` alone", async () => {
    const sse = await opened("mem:raw", { format: "raw" });
    const named = await opened("mem:raw", { format: "raw", named: 1 });
    const kinds = [{ n: 1 }, "text", "", null, 7, [1, 2], "a\nb", { $bytes: "AQID" }];
    for (const data of kinds) await publish(place, "mem:raw", "kind", data);
    for (const data of kinds) {
      assert.deepEqual((await sse.nextJson()).data, data);
      const { event, data: again } = await named.nextJson();
      assert.deepEqual([event, again], ["kind", data]);
    }
    sse.close();
    named.close();
  });

  test("At once `id:<the connection's cursor>` with an empty line, the tail for a new client; it fires nothing", async () => {
    const id = await publish(place, "mem:tail", "e", 1);
    const sse = await opened("mem:tail");
    assert.match(sse.lastEventId, ID);
    assert.equal(epochOf(sse.lastEventId), epochOf(id));
    assert.ok(seqOf(sse.lastEventId) >= seqOf(id));
    assert.equal(sse.waiting, 0);
    const block = sse.blocks.find(({ id }) => id !== undefined);
    assert.equal(block.data, undefined);
    assert.equal(block.event, undefined);
    sse.close();
  });

  test("so a quiet client has a cursor too", async () => {
    const sse = await opened("mem:quiet");
    const cursor = sse.lastEventId;
    sse.close();
    const ids = [];
    for (const n of count(3)) ids.push(await publish(place, "mem:quiet", "e", n));
    const back = await opened("mem:quiet", { since: cursor });
    assert.deepEqual(
      (await back.events(3)).map(({ id }) => id),
      ids,
    );
    back.close();
  });

  test("the given id while resuming; never past what was delivered", async () => {
    const ids = [];
    for (const n of count(5)) ids.push(await publish(place, "mem:given", "e", n));
    const sse = await opened("mem:given", { since: ids[1] });
    assert.equal(sse.blocks.find(({ id }) => id !== undefined).id, ids[1]);
    assert.deepEqual(
      (await sse.events(3)).map(({ id }) => id),
      ids.slice(2),
    );
    // whatever was said in between: at no place of the stream is the cursor past what came before it
    let delivered = seqOf(ids[1]);
    for (const block of sse.blocks.filter(({ id }) => id !== undefined)) {
      if (block.data === undefined) assert.ok(seqOf(block.id) <= Math.max(delivered, seqOf(ids[1])), JSON.stringify(sse.blocks));
      delivered = Math.max(delivered, seqOf(block.id));
    }
    sse.close();
  });

  test("as heartbeat every 15 s; the tail for one that is up to date", async () => {
    const sse = await opened("mem:heart");
    const first = sse.lastEventId;
    const elsewhere = await publish(place, "mem:elsewhere", "e", 1);
    const blocks = sse.blocks.length;
    await until("a heartbeat", () => sse.blocks.length > blocks, 30_000);
    const beat = sse.blocks.at(-1);
    const said = beat.lines.filter((line) => !line.startsWith(":"));
    assert.deepEqual(
      said.map((line) => line.replace(/^id: ?/, "")),
      [beat.id],
    );
    assert.ok(seqOf(beat.id) >= seqOf(elsewhere) && seqOf(beat.id) > seqOf(first), `${first} ${beat.id}`);
    assert.equal(sse.waiting, 0);
    sse.close();
  });

  test("`retry:` with jitter", async () => {
    const all = [];
    for (const n of count(12)) {
      const sse = await opened(`mem:retry${n}`);
      const retry = sse.blocks.map(({ retry }) => retry).find((retry) => retry !== undefined);
      assert.ok(retry > 0 && retry <= 60_000, `${retry}`);
      all.push(retry);
      sse.close();
    }
    assert.ok(new Set(all).size > 3, all.join(" "));
  });

  test("`Cache-Control: no-store, no-transform`, `X-Accel-Buffering: no`", async () => {
    const sse = new Sse(place, "mem:headers");
    const { headers } = await sse.open();
    assert.match(headers["content-type"], /^text\/event-stream(; ?charset=utf-8)?$/i);
    assert.equal(headers["cache-control"], "no-store, no-transform");
    assert.equal(headers["x-accel-buffering"], "no");
    assert.equal(headers["content-length"], undefined);
    sse.close();
  });

  test("HTTP/1.1 and HTTP/2", async () => {
    const session = http2.connect(place.url);
    endLater(() => session.destroy());
    session.on("error", () => {});
    const path = `/sse?${query([
      ["channel", "mem:h2"],
      ["access_token", tokenOf("ann")],
    ])}`;
    const stream = session.request({ ":path": path });
    stream.setEncoding("utf8");
    let text = "";
    stream.on("data", (chunk) => (text += chunk));
    const [headers] = await within("the head over HTTP/2", once(stream, "response"));
    assert.equal(headers[":status"], 200);
    assert.match(headers["content-type"], /^text\/event-stream/);
    await until("the cursor", () => /^id: ?\S+\n\n/m.test(text));
    const id = await publish(place, "mem:h2", "e", "over h2");
    await until("the event", () => text.includes(id) && text.includes("over h2"));
    session.destroy();
  });

  test("several channels, one order, one id", async () => {
    const sse = await opened(["mem:m0", "mem:m1", "mem:m2"]);
    const ids = [];
    for (const n of count(30)) ids.push(await publish(place, `mem:m${n % 3}`, "e", n));
    const got = await sse.events(30);
    assert.deepEqual(
      got.map(({ id }) => id),
      ids,
    );
    assert.deepEqual(
      got.map(({ data }) => data.channel),
      count(30).map((n) => `mem:m${n % 3}`),
    );
    sse.close();
  });

  test("one event published to two of its channels comes once", async () => {
    const sse = await opened(["mem:both0", "mem:both1"]);
    const answer = await apiPublish(place, { channels: ["mem:both0", "mem:both1"], event: "e", data: 1 });
    assert.equal(answer.status, 200, answer.body);
    const end = await publish(place, "mem:both1", "end", 1);
    const got = await sse.events(2);
    assert.deepEqual(
      got.map(({ id }) => id),
      [answer.json.id, end],
    );
    assert.match(got[0].data.channel, /^mem:both[01]$/);
    sse.close();
  });
});

describe("resume", { concurrency: true }, () => {
  test("`Last-Event-ID` wins over the query's `lastEventId`", async () => {
    const ids = [];
    for (const n of count(4)) ids.push(await publish(place, "mem:wins", "e", n));
    const byQuery = await opened("mem:wins", { lastEventId: ids[0] });
    assert.deepEqual(
      (await byQuery.events(3)).map(({ id }) => id),
      ids.slice(1),
    );
    byQuery.close();
    const byHeader = await opened("mem:wins", { since: ids[2], lastEventId: ids[0] });
    assert.deepEqual(
      (await byHeader.events(1)).map(({ id }) => id),
      ids.slice(3),
    );
    const live = await publish(place, "mem:wins", "e", 4);
    assert.equal((await byHeader.nextJson()).id, live);
    byHeader.close();
  });

  test("A gap is an event named `gap` with `{channels, next}`; its id and `next` are where the replay starts, then comes all that is retained, then live", async () => {
    const ids = [];
    for (const n of count(4)) ids.push(await publish(place, "mem:gap", "e", n));
    const sse = await opened("mem:gap", { since: foreign(ids[3]) });
    const gap = await sse.nextJson();
    assert.equal(gap.event, "gap");
    assert.deepEqual(gap.data, { channels: ["mem:gap"], next: `${epochOf(ids[0])}-0` });
    assert.equal(gap.id, gap.data.next);
    assert.deepEqual(
      (await sse.events(4)).map(({ id }) => id),
      ids,
    );
    const live = await publish(place, "mem:gap", "e", 4);
    assert.equal((await sse.nextJson()).id, live);
    sse.close();
  });

  test("a gap with `format=raw` and with `named=1` is the same", async () => {
    const id = await publish(place, "mem:gap formats", "e", 1);
    for (const options of [{ format: "raw" }, { named: 1 }, { format: "raw", named: 1 }]) {
      const sse = await opened("mem:gap formats", { since: foreign(id), ...options });
      const gap = await sse.nextJson();
      assert.equal(gap.event, "gap");
      assert.deepEqual(gap.data, { channels: ["mem:gap formats"], next: `${epochOf(id)}-0` });
      assert.equal((await sse.nextJson()).id, id);
      sse.close();
    }
  });

  test("A gap's replay cut half-way goes on from its last id, without another gap", async () => {
    const ids = [];
    for (const n of count(6)) ids.push(await publish(place, "mem:half", "e", n));
    const sse = await opened("mem:half", { since: future(ids[5]) });
    const gap = await sse.nextJson();
    assert.equal(gap.event, "gap");
    // cut right behind the gap: its id is a cursor
    const fromGap = await opened("mem:half", { since: gap.id });
    assert.deepEqual(
      (await fromGap.events(6)).map(({ id }) => id),
      ids,
    );
    fromGap.close();
    const [one] = await sse.events(1);
    assert.equal(one.id, ids[0]);
    sse.close();
    const back = await opened("mem:half", { since: one.id });
    assert.deepEqual(
      (await back.events(5)).map(({ id, event }) => [event, id]),
      ids.slice(1).map((id) => ["message", id]),
    );
    back.close();
  });

  test("A mangled id is a gap here, not a 400", async () => {
    const id = await publish(place, "mem:mangled", "e", 1);
    const mangled = [
      "x",
      "aaaaaaaa-01",
      "aaaaaaaa-",
      "-1",
      "AAAAAAAA-1",
      "aaaaaaaa-12345678901234567",
      "é",
      "x".repeat(2000),
      "null",
      `${id} `.padEnd(30, "x"),
    ];
    for (const value of mangled) {
      const sse = await opened("mem:mangled", { lastEventId: value });
      const gap = await sse.nextJson();
      assert.deepEqual([gap.event, gap.data.channels, gap.id], ["gap", ["mem:mangled"], `${epochOf(id)}-0`], value.slice(0, 40));
      assert.equal((await sse.nextJson()).id, id);
      for (const block of sse.blocks) assert.equal(block.unknown, undefined);
      sse.close();
    }
    const byHeader = await opened("mem:mangled", { since: "no id at all" });
    assert.equal((await byHeader.nextJson()).event, "gap");
    byHeader.close();
  });

  test("an empty `Last-Event-ID` is none", async () => {
    await publish(place, "mem:empty id", "e", 1);
    const sse = await opened("mem:empty id", { lastEventId: "" });
    const id = await publish(place, "mem:empty id", "e", 2);
    assert.equal((await sse.nextJson()).id, id);
    sse.close();
  });

  test("npm's EventSource comes back by itself to what it missed", async () => {
    await inPlace({}, async (place) => {
      const proxy = await Proxy.to(place);
      const source = new EventSource(
        `${proxy.url}/sse?${query([
          ["channel", "mem:back"],
          ["access_token", tokenOf("ann")],
        ])}`,
      );
      endLater(() => source.close());
      const got = [];
      source.onmessage = ({ lastEventId }) => got.push(lastEventId);
      source.addEventListener("gap", () => got.push("gap"));
      await within("open", once(source, "open"));
      const ids = [await publish(place, "mem:back", "e", 0)];
      await until("the first", () => got.length === 1);
      for (const round of count(2)) {
        proxy.down();
        for (const n of count(5)) ids.push(await publish(place, "mem:back", "e", `${round} ${n}`));
        proxy.up();
        await until(
          () => `all of it: ${got.length} of ${ids.length}`,
          () => got.length >= ids.length,
          30_000,
        );
      }
      assert.deepEqual(got, ids);
      source.close();
      proxy.close();
    });
  });
});

// npm's `eventsource` takes no id from a block without data; browsers do, as the HTML Standard says (9.2.6).
test("a browser's EventSource that got no event yet has a cursor: `id:` alone moves `lastEventId` and fires nothing", async () => {
  await inPlace({ data: true }, async (place) => {
    const proxy = await Proxy.to(place);
    const browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
    });
    try {
      const page = await browser.newPage();
      await page.goto(`${proxy.url}/healthz`);
      await page.evaluate(
        (path) =>
          new Promise((done) => {
            globalThis.got = [];
            const source = new EventSource(path);
            source.onopen = () => done();
            source.onmessage = ({ lastEventId }) => globalThis.got.push(lastEventId);
            source.addEventListener("gap", () => globalThis.got.push("gap"));
          }),
        `/sse?${query([
          ["channel", "kept:browser"],
          ["channel", "mem:browser"],
          ["access_token", tokenOf("ann")],
        ])}`,
      );
      const got = () => page.evaluate(() => globalThis.got);
      await until("the cursor has passed", () => /\nid: ?[0-9a-z]{8}-\d+\n/.test(proxy.passed));
      const ids = [];
      for (const round of count(2)) {
        proxy.finish();
        for (const n of count(3)) ids.push(await publish(place, n % 2 ? "kept:browser" : "mem:browser", "e", `${round} ${n}`));
        proxy.up();
        await until("what it missed", async () => (await got()).length >= ids.length, 30_000);
        assert.deepEqual(await got(), ids);
      }
    } finally {
      await browser.close();
      proxy.close();
    }
  });
});

describe("smuggling", { concurrency: true }, () => {
  // Every line of the stream is one that the server meant.
  const clean = (sse) => {
    for (const { lines } of sse.blocks)
      for (const line of lines) assert.match(line, /^(data|id|event|retry):|^:/, JSON.stringify(line));
    assert.equal(sse.bytes.includes("\0"), false);
  };

  test("CR, LF and NUL can't be smuggled into a field: by data", async () => {
    const sse = await opened("mem:smuggle");
    const raw = await opened("mem:smuggle", { format: "raw" });
    const evil = "a\r\nevent: evil\r\ndata: evil\n\nid: evil\rdata: x\u0000\u2028\u2029\u0085";
    for (const data of [evil, { [evil]: evil }, [evil]]) {
      const id = await publish(place, "mem:smuggle", "e", data);
      const [whole, alone] = [await sse.nextJson(), await raw.nextJson()];
      assert.deepEqual([whole.event, whole.id, whole.data.data], ["message", id, data]);
      assert.deepEqual([alone.event, alone.id, alone.data], ["message", id, data]);
    }
    clean(sse);
    clean(raw);
    sse.close();
    raw.close();
  });

  test("by white space between the tokens of JSON", async () => {
    const sse = await opened("mem:space");
    const raw = await opened("mem:space", { format: "raw" });
    for (const space of ["\r\n", "\n", "\r", "\n\n", "\r\r", "\n\nid:evil\n".replace(/[^\n]/g, " ")]) {
      const body = `{"channel":"mem:space","event":"e","data":{"a":${space}[1,${space}2]${space},"b"${space}:3}}`;
      const answer = await call("POST", place, "/api/v1/publish", { token: API_KEY, body });
      assert.equal(answer.status, 200, answer.body);
      const [whole, alone] = [await sse.nextJson(), await raw.nextJson()];
      assert.deepEqual([whole.event, whole.id, whole.data.data], ["message", answer.json.id, { a: [1, 2], b: 3 }]);
      assert.deepEqual([alone.event, alone.id, alone.data], ["message", answer.json.id, { a: [1, 2], b: 3 }]);
    }
    clean(sse);
    clean(raw);
    sse.close();
    raw.close();
  });

  test("by names", async () => {
    const sse = await opened("mem:names", { named: 1 });
    for (const event of ["a\nb", "a\rb", "a\u0000b", "a\r\ndata: evil"]) {
      assertProblem(await apiPublish(place, { channel: "mem:names", event, data: 1 }), 400, "bad_request", JSON.stringify(event));
    }
    for (const channel of ["mem:a\nb", "mem:a\rb", "mem:a\u0000b"]) {
      assertProblem(await apiPublish(place, { channel, event: "e", data: 1 }), 400, "invalid_channel");
      assertProblem(await refused(place, channel), 400, "invalid_channel");
    }
    // what looks like fields is fine where it is no line
    for (const event of ["id: evil", ": comment", "data:x", " leading", "event: evil"]) {
      const id = await publish(place, "mem:names", event, 1);
      const got = await sse.nextJson();
      assert.deepEqual([got.id, got.data.event], [id, event]);
      assert.equal(got.event, event, "the space after the colon is the field's, the rest is the name");
    }
    clean(sse);
    sse.close();
  });

  test("by the id", async () => {
    for (const value of ["x\nevent: evil\ndata: evil\n\n", "x\r\n\r\ndata: evil\r\n\r\n", "x\u0000"]) {
      const sse = await opened("mem:by id", { lastEventId: value });
      assert.ok(!sse.bytes.includes("evil"), sse.bytes);
      clean(sse);
      sse.close();
    }
  });

  test("by the user", async () => {
    const sub = "evil\nid: evil\r\n\r\ndata: evil\u2028";
    const ann = Plain.as(place, sub);
    const sse = await opened("mem:by user");
    const first = await ann.next();
    // such a `sub` may be refused; where it isn't, it is a value like others
    if (first.type === "welcome") {
      const { id } = await ann.publish("mem:by user", "e", 1);
      const got = await sse.nextJson();
      assert.deepEqual([got.id, got.data.user], [id, sub]);
    }
    clean(sse);
    ann.close();
    sse.close();
  });
});

describe("refusals", { concurrency: true }, () => {
  test("Transient refusals (limits) answer 200 with `retry:` and end", async () => {
    await inPlace({ limits: `${FAST}connections_per_user = 2\n` }, async (place) => {
      const inside = [new Sse(place, "mem:a"), new Sse(place, "mem:a")];
      for (const sse of inside) await sse.open();
      const { status, headers, body } = await new Sse(place, "mem:a").whole();
      assert.equal(status, 200, body);
      assert.match(headers["content-type"], /^text\/event-stream/);
      assert.match(body, /^retry: ?[1-9]\d*$/m);
      assert.doesNotMatch(body, /^data/m);
      assert.doesNotMatch(body, /^id/m, "a refused client keeps the cursor that it has");
      inside[0].close();
      await until("room again", async () => {
        const sse = new Sse(place, "mem:a");
        await sse.open();
        const inside = sse.lastEventId !== "" && !sse.over;
        sse.close();
        return inside;
      });
      inside[1].close();
    });
  });

  test("Transient refusals (limits): connections in all, and per IP", async () => {
    for (const limit of ["connections", "connections_per_ip"]) {
      await inPlace({ limits: `${FAST}${limit} = 1\n` }, async (place) => {
        const inside = new Sse(place, "mem:a");
        await inside.open();
        const { status, body } = await new Sse(place, "mem:a", { token: tokenOf("bob") }).whole();
        assert.equal(status, 200, `${limit} ${body}`);
        assert.match(body, /^retry: ?[1-9]\d*$/m);
        inside.close();
      });
    }
  });

  test("Transient refusals (drain): the stream of one that is there gets `retry:` and ends", async () => {
    await inPlace({}, async (place) => {
      const sse = new Sse(place, "mem:a");
      await sse.open();
      const blocks = sse.blocks.length;
      const stopped = place.server.stop("SIGTERM");
      await within("the end", sse.ended);
      assert.ok(
        sse.blocks.slice(blocks).some(({ retry }) => retry > 0),
        JSON.stringify(sse.blocks),
      );
      assert.ok(sse.complete, "a body that ends as HTTP says");
      assert.deepEqual(await stopped, { code: 0, signal: null });
    });
  });

  test("400 is final", async () => {
    assertProblem(await refused(place, []), 400, /^(bad_request|invalid_channel)$/);
    assertProblem(await refused(place, ""), 400, "invalid_channel");
    assertProblem(await refused(place, "mem:" + "x".repeat(252)), 400, "invalid_channel");
    assertProblem(await refused(place, "/n,r"), 400, "invalid_channel");
    assertProblem(
      await refused(
        place,
        count(129).map((n) => `mem:${n}`),
      ),
      400,
      "too_many_channels",
    );
    const all = await opened(count(128).map((n) => `mem:${n}`));
    all.close();
    for (const options of [{ format: "xml" }, { named: "perhaps" }])
      assertProblem(await refused(place, "mem:a", options), 400, "bad_request");
  });

  test("401 is final", async () => {
    assertProblem(await refused(place, "mem:a", { token: null, access_token: "" }), 401, "unauthenticated");
    for (const [token, code] of [
      [null, "unauthenticated"],
      ["nonsense", "unauthenticated"],
      [sign({ sub: "ann", exp: now() - 120 }), "token_expired"],
      [sign({ sub: "ann", exp: now() + 60 }, { secret: "another secret" }), "token_signature"],
    ])
      assertProblem(await refused(place, "mem:a", { token }), 401, code);
  });

  test("403 is final: one forbidden channel refuses the whole request, a foreign origin too", async () => {
    for (const channels of ["room:1", ["mem:a", "room:1"], "none:1", "writeonly:1", "user:bob"])
      assertProblem(await refused(place, channels), 403, "forbidden");
    const { json } = assertProblem(await refused(place, "mem:a", { headers: { origin: FOREIGN } }), 403, "origin_not_allowed");
    assert.ok(json.detail.includes(FOREIGN) && json.detail.includes("allowed_origins"), json.detail);
  });

  test("npm's EventSource gives up on those", async () => {
    const source = new EventSource(
      `${place.url}/sse?${query([
        ["channel", "room:1"],
        ["access_token", tokenOf("ann")],
      ])}`,
    );
    endLater(() => source.close());
    const [error] = await within("an error", once(source, "error"));
    assert.equal(error.code, 403);
    assert.equal(source.readyState, EventSource.CLOSED);
  });

  test("405 for other methods", async () => {
    for (const method of ["POST", "PUT", "DELETE"])
      assertProblem(await call(method, place, "/sse?channel=mem:a", { token: tokenOf("ann") }), 405, "method_not_allowed");
  });

  test("answer allowed origins with CORS headers (credentials, `Vary: Origin`), on errors too, and preflights without a token", async () => {
    const sse = new Sse(place, "mem:cors", { headers: { origin: OWN } });
    const heads = [await sse.open()];
    sse.close();
    for (const options of [{}, { token: null }])
      heads.push(await refused(place, "room:1", { headers: { origin: OWN }, ...options }));
    assert.deepEqual(
      heads.map(({ status }) => status),
      [200, 403, 401],
    );
    const preflight = await call("OPTIONS", place, "/sse?channel=mem:a", {
      headers: {
        origin: OWN,
        "access-control-request-method": "GET",
        "access-control-request-headers": "authorization,last-event-id",
      },
    });
    assert.ok([200, 204].includes(preflight.status), preflight.body);
    assert.match(preflight.headers["access-control-allow-headers"], /authorization/i);
    assert.match(preflight.headers["access-control-allow-headers"], /last-event-id/i);
    for (const { headers } of [...heads, preflight]) {
      assert.equal(headers["access-control-allow-origin"], OWN);
      assert.equal(headers["access-control-allow-credentials"], "true");
      assert.match(headers.vary, /\borigin\b/i);
    }
  });

  test("who reads `user:<sub>` names it", async () => {
    const sse = await opened(["user:ann"]);
    const other = await opened(["mem:not named"]);
    const id = await publish(place, "user:ann", "note", 1);
    assert.equal((await sse.nextJson()).id, id);
    const end = await publish(place, "mem:not named", "end", 1);
    assert.equal((await other.nextJson()).id, end, "and gets it only so");
    sse.close();
    other.close();
  });

  test("anonymous reads what is anyone's; a cookie carries a token", async () => {
    await inPlace({ auth: `${AUTH}anonymous = true\ncookie = "session"\n` }, async (place) => {
      const sse = new Sse(place, "public:a", { token: null });
      await sse.open();
      const id = await publish(place, "public:a", "e", 1);
      assert.equal((await sse.nextJson()).id, id);
      sse.close();
      assert.equal((await refused(place, "mem:a", { token: null })).status, 403);
      const byCookie = new Sse(place, "mem:a", { token: null, headers: { cookie: `session=${tokenOf("ann")}` } });
      await byCookie.open();
      byCookie.close();
    });
  });
});

describe("the token's end", { concurrency: true }, () => {
  test("`expiring`, a named event, comes 60 s before the token ends", async () => {
    const sse = await opened("mem:expiring", { token: tokenOf("ann", { exp: now() + 63 }) });
    const id = await publish(place, "mem:expiring", "e", 1);
    assert.equal((await sse.nextJson()).id, id);
    const { event, id: cursor } = await sse.next();
    assert.equal(event, "expiring");
    assert.equal(epochOf(cursor), epochOf(id));
    const next = await publish(place, "mem:expiring", "e", 2);
    assert.equal((await sse.nextJson()).id, next);
    sse.close();
  });

  test("at its end the stream ends, not before", async () => {
    const exp = now() + 2;
    const sse = await opened("mem:end", { token: tokenOf("ann", { exp }) });
    await within("the end", sse.ended);
    assert.ok(Date.now() >= exp * 1000 - 100);
    assert.ok(sse.complete);
  });
});

test("a client that is gone leaves no presence", async () => {
  const watcher = await Plain.enter(place, "cid");
  await watcher.subscribe("mem:sse presence");
  const sse = await opened("mem:sse presence", { token: tokenOf("dora") });
  sse.close();
  await until("only cid", async () => (await watcher.result("presence", { channel: "mem:sse presence" })).count === 1);
  watcher.close();
});

test("the tail of a log without an event is `<epoch>-0`", async () => {
  await inPlace({}, async (place) => {
    const sse = new Sse(place, "mem:a");
    await sse.open();
    assert.match(sse.lastEventId, /^[0-9a-z]{8}-0$/);
    sse.close();
    assert.equal(await tailOf(place, "mem:a"), sse.lastEventId);
  });
});
