// "Whatever arrives, the answer is a clear error to that client; nothing else is lost, and no input makes the process panic" (PRODUCT.md,
// "Limits"), on each way into a channel. After each of it the server still serves, and has said nothing of a panic.
import assert from "node:assert/strict";
import net from "node:net";
import { after, afterEach, before, describe, test } from "node:test";
import {
  API_KEY,
  apiPublish,
  assertError,
  assertProblem,
  call,
  epochOf,
  foreign,
  future,
  inPlace,
  Place,
  Plain,
  poll,
  polled,
  publish,
  query,
  Sse,
  tailOf,
} from "./lib/channels.mjs";
import { enter } from "./lib/server.mjs";
import { tokenOf } from "./lib/tokens.mjs";
import { until, within } from "./lib/wait.mjs";
import { raw } from "./lib/wire.mjs";

let place;
let bystander;
let heard = 0;
before(async () => {
  place = await Place.open({ data: true });
  bystander = await Plain.enter(place, "bystander");
  await bystander.subscribe(["kept:well", "mem:well"]);
});
after(() => {
  bystander?.close();
  return place?.close();
});

// Nobody else is harmed: who was there is there, with every event once.
afterEach(async () => {
  assert.equal(place.server.ended, false, place.server.stderr);
  const ids = [await publish(place, "kept:well", "e", heard), await publish(place, "mem:well", "e", heard)];
  heard += 2;
  assert.deepEqual(
    (await bystander.events(2)).map(({ id }) => id),
    ids,
  );
  assert.doesNotMatch(place.server.stderr, /panic/i);
});

const count = (n) => Array.from({ length: n }, (_, i) => i);
const token = () => tokenOf("ann");
const MANGLED = [
  "x",
  "-",
  "-1",
  "aaaaaaaa",
  "aaaaaaaa-",
  "aaaaaaaa-01",
  "aaaaaaaa-1x",
  "AAAAAAAA-1",
  "aaaaaaaaa-1",
  "aaaaaaaa--1",
  "aaaaaaaa-+1",
  "aaaaaaaa-12345678901234567",
  "aaaaaaaa-99999999999999999999",
  "\u0000",
  "é-1",
  "x".repeat(4000),
];
const CHANNELS = {
  "none at all": [],
  "an empty one": [""],
  "one too long": ["mem:" + "x".repeat(252)],
  "one with a line's end": ["mem:a\nb"],
  "a namespace": ["/n,r"],
};

// Asks with a target that no library would send; the status, or undefined where the connection just ended.
async function rawGet(target, headers = "") {
  const text = await raw(
    place,
    `GET ${target} HTTP/1.1\r\nhost: 127.0.0.1:${place.port}\r\nauthorization: Bearer ${token()}\r\n${headers}connection: close\r\n\r\n`,
    (text) => /^HTTP\/1.1 200[^]*event-stream[^]*id:/.test(text),
  );
  return text.match(/^HTTP\/1\.1 (\d+)/)?.[1];
}

describe("Unknown, foreign, future or mangled ids", () => {
  test("/poll", async () => {
    const id = await publish(place, "mem:ids", "e", 1);
    for (const since of MANGLED) assertProblem(await poll(place, "mem:ids", { since, wait: 0 }), 400, "invalid_id", since);
    for (const since of [foreign(id), future(id)]) {
      const answer = await polled(place, "mem:ids", { since, wait: 60 });
      assert.deepEqual([answer.gap, answer.gaps, answer.events.at(-1).id], [true, ["mem:ids"], id]);
    }
    // one that was never given, but lies in the past
    const known = await polled(place, "mem:ids", { since: `${epochOf(id)}-0`, wait: 0 });
    assert.equal(known.gap, false);
  });

  test("/sse", async () => {
    const id = await publish(place, "mem:sse ids", "e", 1);
    for (const lastEventId of [...MANGLED, foreign(id), future(id)]) {
      const sse = new Sse(place, "mem:sse ids", { lastEventId });
      await sse.open();
      const gap = await sse.nextJson();
      assert.deepEqual([gap.event, gap.data.channels], ["gap", ["mem:sse ids"]], lastEventId);
      assert.equal((await sse.nextJson()).id, id);
      sse.close();
    }
  });

  test("/ws", async () => {
    const ann = await Plain.enter(place, "ann");
    const { id } = await ann.publish("mem:ws ids", "e", 1);
    for (const since of MANGLED) await ann.refused("subscribe", { channels: ["mem:ws ids"], since }, "invalid_id");
    for (const before of MANGLED) await ann.refused("history", { channel: "mem:ws ids", before }, "invalid_id");
    for (const since of [foreign(id), future(id)]) {
      await ann.subscribe("mem:ws ids", since);
      assert.deepEqual((await ann.nextOf("gap")).channels, ["mem:ws ids"]);
      assert.equal((await ann.nextOf("event")).id, id);
    }
    ann.close();
  });

  test("Socket.IO", async () => {
    const ann = await enter(place.server, "ann");
    const { id } = await ann.ask("publish", "mem:sio ids", "e", 1);
    for (const since of MANGLED) assert.equal((await ann.ask("subscribe", "mem:sio ids", { since })).code, "invalid_id", since);
    for (const since of [7, {}, [], true])
      assert.match((await ann.ask("subscribe", "mem:sio ids", { since })).code, /^(invalid_id|bad_request)$/);
    for (const since of [foreign(id), future(id)]) {
      assert.equal((await ann.ask("subscribe", "mem:sio ids", { since })).ok, true);
      const gap = await ann.sawEvent("gap");
      assert.deepEqual(gap.args[0].channels, ["mem:sio ids"]);
      assert.equal((await ann.sawEvent("e")).args[2], id);
    }
    ann.close();
  });

  test("history over HTTP", async () => {
    for (const id of MANGLED)
      for (const side of ["before", "after"])
        assertProblem(
          await call("GET", place, `/api/v1/channels/mem%3Aids/history?${query([[side, id]])}`, { token: API_KEY }),
          400,
          "invalid_id",
          id,
        );
  });
});

describe("channels", () => {
  test("wrong ones, on each transport", async () => {
    const ann = await Plain.enter(place, "ann");
    for (const [what, channels] of Object.entries(CHANNELS)) {
      assertProblem(
        await poll(place, channels, { wait: 0 }),
        400,
        channels.length ? "invalid_channel" : /^(bad_request|invalid_channel)$/,
        what,
      );
      assertProblem(
        await new Sse(place, channels).whole(),
        400,
        channels.length ? "invalid_channel" : /^(bad_request|invalid_channel)$/,
        what,
      );
      if (channels.length) await ann.refused("subscribe", { channels }, "invalid_channel");
      if (channels.length)
        assertProblem(await apiPublish(place, { channels, event: "e", data: 1 }), 400, "invalid_channel", what);
    }
    ann.close();
  });

  test("unknown channels look like forbidden ones", async () => {
    assertProblem(await poll(place, "unknown", { wait: 0 }), 403, "forbidden");
    assertProblem(await new Sse(place, "unknown").whole(), 403, "forbidden");
  });

  test("a list over the limit, and far over it", async () => {
    for (const n of [129, 300]) {
      const many = count(n).map((i) => `mem:${i}`);
      assertProblem(await poll(place, many, { wait: 0 }), 400, "too_many_channels", `${n}`);
      assertProblem(await new Sse(place, many).whole(), 400, "too_many_channels", `${n}`);
    }
    const ann = await Plain.enter(place, "ann");
    const sio = await enter(place.server, "ann");
    for (const n of [129, 50_000]) {
      const many = count(n).map((i) => `mem:${i}`);
      await ann.refused("subscribe", { channels: many }, "too_many_channels");
      assert.equal((await sio.ask("subscribe", many)).code, "too_many_channels");
    }
    // the same 10,000 times is one
    const answer = await ann.ask("subscribe", { channels: count(10_000).map(() => "mem:same") });
    if (answer.type === "error") assertError(answer, "too_many_channels");
    ann.close();
    sio.close();
  });

  test("a head over 16 KiB is refused, the list in it or not", async () => {
    const status = await rawGet(`/poll?wait=0&${query(count(2000).map((i) => ["channel", `mem:${i}`]))}`);
    assert.ok(["400", "414", "431", undefined].includes(status), status);
    const header = await rawGet("/poll?wait=0&channel=mem:a", `x-large: ${"x".repeat(40_000)}\r\n`);
    assert.ok(["400", "431", undefined].includes(header), header);
  });
});

describe("parameters", () => {
  test("huge `wait` and `limit`", async () => {
    const since = await tailOf(place, "mem:huge");
    await publish(place, "mem:huge", "e", 1);
    for (const wait of ["61", "1000000000", "9".repeat(30), "9".repeat(400)]) {
      const { status } = await poll(place, "mem:huge", { since, wait });
      assert.equal(status, 200, wait);
    }
    for (const wait of ["-1", "-0", "0x10", "1.5", "", " ", "1e3", "∞", "\u0000"]) {
      const { status, json } = await poll(place, "mem:huge", { since, wait });
      assert.ok(status === 400 && json.code === "bad_request", `wait=${JSON.stringify(wait)}: ${status}`);
    }
    for (const limit of ["0", "1001", "9".repeat(30), "-1", "x", "", "1.5"])
      assertProblem(await poll(place, "mem:huge", { since, limit }), 400, "bad_request", limit);
  });

  test("the same parameter twice: `channel` may, others may not", async () => {
    const since = await tailOf(place, "mem:twice");
    const id = await publish(place, "mem:twice", "e", 1);
    const get = (path) => call("GET", place, path, { token: token() });
    const twice = await get(`/poll?channel=mem:twice&channel=mem:twice&wait=0&since=${since}`);
    assert.deepEqual([twice.status, twice.json.events.map((event) => event.id)], [200, [id]]);
    for (const more of ["wait=0&wait=1", "since=x&since=y", "limit=1&limit=2"])
      assertProblem(
        await get(`/poll?channel=mem:twice&${more.includes("wait") ? "" : "wait=0&"}${more}`),
        400,
        /^(bad_request|invalid_id)$/,
        more,
      );
    for (const more of ["format=raw&format=raw", "named=1&named=0", "lastEventId=x&lastEventId=y"]) {
      const sse = await new Sse(place, [], { path: `/sse?channel=mem:twice&${more}` });
      const { status } = await within("the head", sse.opened);
      // two ids are a mangled one, which is a gap; two of the others are a mistake
      assert.equal(status, more.startsWith("lastEventId") ? status : 400, more);
      assert.ok([200, 400].includes(status));
      sse.close();
    }
  });

  test("bad percent-encoding and UTF-8", async () => {
    for (const target of [
      "/poll?channel=%",
      "/poll?channel=%zz&wait=0",
      "/poll?channel=%ff%fe&wait=0",
      "/poll?channel=mem:a&wait=0&since=%c3",
      "/poll?channel=%00",
      "/poll?%00=1&channel=mem:%0d%0a",
      "/sse?channel=%ff",
      "/sse?channel=mem%3A%0d%0aevent:%20x",
      "/sse?channel=%ed%a0%80",
      "/api/v1/channels/%ff/history",
      "/api/v1/channels/%/history",
      "/api/v1/channels/%2e%2e%2f/history",
      "/api/v1/channels//history",
      "/api/v1/channels/mem%3Aa%00/history",
    ]) {
      const status = await rawGet(target);
      assert.ok(["400", "403", "404"].includes(status), `${target}: ${status}`);
    }
    for (const target of [
      "/poll?channel=mem%3Aa&wait=0&&&=&",
      "/poll?channel=mem:a&wait=0&unknown=1",
      "/poll?channel=mem:a+b&wait=0",
    ])
      assert.equal(await rawGet(target), "200", target);
  });

  test("header values of all kinds", async () => {
    for (const headers of [
      "if-none-match: \r\n",
      `if-none-match: ${'"x",'.repeat(500)}\r\n`,
      "if-none-match: \xff\r\n",
      'if-none-match: "\r\n',
    ])
      assert.equal(await rawGet("/poll?channel=mem:a&wait=0", headers), "200", headers.slice(0, 30));
    for (const headers of [
      "last-event-id: \xff\xfe\r\n",
      "last-event-id: \r\n",
      `last-event-id: ${"x".repeat(8000)}\r\n`,
      "last-event-id: a\r\nlast-event-id: b\r\n",
    ])
      assert.equal(await rawGet("/sse?channel=mem:a", headers), "200", headers.slice(0, 30));
    for (const headers of ["origin: \xff\r\n", "origin: \r\n", "origin: http://\r\n", "origin: a\r\norigin: b\r\n"]) {
      const status = await rawGet("/poll?channel=mem:a&wait=0", headers);
      assert.ok(["403", "400"].includes(status), `${headers} ${status}`);
    }
  });
});

describe("a body that isn't JSON, or not the right one", () => {
  const post = (body, headers) => call("POST", place, "/api/v1/publish", { token: API_KEY, body, headers });

  test("to the API", async () => {
    for (const body of [
      "",
      "{",
      "nonsense",
      "{'a':1}",
      '{"channel":"mem:a","event":"e","data":1}x',
      '{"channel":"mem:a",}',
      "\u0000",
      Buffer.from([0x22, 0xff, 0x22]),
      '"\\ud800',
    ])
      assertProblem(await post(body), 400, "invalid_json", String(body).slice(0, 40));
    // wrong in more than one way
    for (const body of ["[".repeat(200_000), '{"a":'.repeat(100_000)])
      assertProblem(await post(body), 400, /^(invalid_json|bad_request)$/, body.slice(0, 40));
    for (const body of [
      "null",
      "7",
      '"x"',
      "[]",
      "{}",
      '{"channel":"mem:a"}',
      '{"channel":"mem:a","event":7,"data":1}',
      '{"channel":null,"event":"e","data":1}',
    ])
      assertProblem(await post(body), 400, /^(bad_request|invalid_json|invalid_channel)$/, body);
    // two of one name
    const twice = await post('{"channel":"mem:a","channel":"mem:b","event":"e","data":1}');
    assertProblem(twice, 400, /^(bad_request|invalid_json)$/);
  });

  test("depth that a parser must not follow with its stack", async () => {
    for (const depth of [100, 127, 1000, 100_000]) {
      const { status } = await post(`{"channel":"mem:deep","event":"e","data":${"[".repeat(depth)}${"]".repeat(depth)}}`);
      assert.ok([200, 400].includes(status), `${depth}: ${status}`);
    }
    const ann = await Plain.enter(place, "ann");
    ann.say(`{"type":"publish","id":1,"channel":"mem:deep","event":"e","data":${"[".repeat(100_000)}${"]".repeat(100_000)}}`);
    const answer = await ann.next();
    assert.ok(["ok", "error"].includes(answer.type));
    ann.close();
    await until("the tail is there", async () => (await poll(place, "mem:deep", { wait: 0 })).status === 200);
  });

  test("`$bytes` that are none", async () => {
    for (const bytes of ["x", "====", "AQI", 7, null, {}, "\u0000"]) {
      const { status, json } = await post(JSON.stringify({ channel: "mem:bytes", event: "e", data: { $bytes: bytes } }));
      // what isn't bytes is either refused or an object like others
      if (status !== 200) assert.deepEqual([status, json.code], [400, "bad_request"], JSON.stringify(bytes));
    }
    const eleven = count(11).map(() => ({ $bytes: "AQID" }));
    const { status, json } = await post(JSON.stringify({ channel: "mem:bytes", event: "e", data: eleven }));
    assert.deepEqual([status, json.code], [400, "bad_request"], "10 attachments a packet");
    const sio = await enter(place.server, "ann");
    await sio.ask("subscribe", "mem:bytes");
    const id = (await post(JSON.stringify({ channel: "mem:bytes", event: "ten", data: eleven.slice(1) }))).json.id;
    assert.equal((await sio.sawEvent("ten")).args[2], id);
    sio.close();
  });

  test("message 1,000,000 bytes, at it and past it; huge bodies", async () => {
    const body = (bytes) => {
      const empty = '{"channel":"mem:huge","event":"e","data":""}';
      return `${empty.slice(0, -2)}${"x".repeat(bytes - empty.length)}"}`;
    };
    assert.equal((await post(body(1_000_000))).status, 200);
    assertProblem(await post(body(1_000_001)), 413, "too_large");
    // one that announces more than it ever sends is told so at once
    const text = await raw(
      place,
      `POST /api/v1/publish HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${API_KEY}\r\ncontent-type: application/json\r\ncontent-length: 100000000000\r\n\r\n{`,
      (text) => text.includes("\r\n\r\n"),
    );
    assert.match(text, /^HTTP\/1\.1 413/);
    // one that never ends
    const ended = new Promise((done) => {
      const socket = net.connect(place.port, "127.0.0.1", () => {
        socket.write(
          `POST /api/v1/publish HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${API_KEY}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n`,
        );
        const chunk = `10000\r\n${"x".repeat(65536)}\r\n`;
        let sent = 0;
        const more = () => {
          while (sent < 400 && socket.writable && socket.write(chunk)) sent++;
        };
        socket.on("drain", more);
        more();
      });
      let answer = "";
      socket.on("data", (data) => {
        answer += data;
        socket.destroy();
      });
      socket.on("error", () => {});
      socket.on("close", () => done(answer));
    });
    const answer = await within("an answer to a body without an end", ended);
    assert.match(answer, /^(HTTP\/1\.1 413|$)/);
    const ann = await Plain.enter(place, "ann");
    ann.say("x".repeat(5_000_000));
    assert.equal(await ann.end(), 1009);
  });

  test("a publish without a JSON content type is JSON or refused, never lost", async () => {
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", ""]) {
      const { status, json } = await post('{"channel":"mem:type","event":"e","data":1}', { "content-type": type });
      assert.ok(status === 200 || (status >= 400 && status < 500 && json.code), `${type}: ${status}`);
    }
  });
});

describe("what belongs to others", () => {
  test("history of a channel one may not read", async () => {
    await publish(place, "room:secret", "e", "secret");
    const ann = await Plain.enter(place, "ann");
    const sio = await enter(place.server, "ann");
    for (const options of [{}, { before: "aaaaaaaa-1" }, { limit: 1 }, { after: "aaaaaaaa-0" }]) {
      await ann.refused("history", { channel: "room:secret", ...options }, "forbidden");
      assert.equal((await sio.ask("history", "room:secret", options)).code, "forbidden");
      const answer = await call("GET", place, `/api/v1/channels/room%3Asecret/history?${query(Object.entries(options))}`, {
        token: token(),
      });
      assertProblem(answer, 403, "forbidden");
      assert.ok(!answer.body.includes('secret"'));
    }
    ann.close();
    sio.close();
  });

  test("keys of another user are keys of one's own", async () => {
    const [ann, bob] = [await Plain.enter(place, "ann"), await Plain.enter(place, "bob")];
    const hers = await ann.publish("kept:keys", "e", 1, { key: "hers" });
    const his = await bob.publish("kept:keys", "e", 2, { key: "hers" });
    assert.notEqual(his.id, hers.id);
    assert.equal(his.duplicate, false);
    // nor can one pose as another by the key's text
    for (const key of ["ann\u0000hers", "ann:hers", "ann/hers", '["ann","hers"]']) {
      const answer = await bob.ask("publish", { channel: "kept:keys", event: "e", data: 1, key });
      if (answer.type === "ok") assert.equal(answer.result.duplicate, false, key);
      else assertError(answer, "bad_request");
    }
    ann.close();
    bob.close();
  });

  test("channel names that look like others' parts", async () => {
    const ann = await Plain.enter(place, "ann");
    for (const channel of [
      "user:bob",
      "user:",
      "user:*",
      "room:*",
      "*",
      "{user}",
      "user:{user}",
      "user:ann:more",
      "user:ann ",
      " user:ann",
      "USER:ann",
    ])
      await ann.refused("subscribe", { channels: [channel] }, /^(forbidden|invalid_channel)$/);
    // a user whose name looks like a pattern owns its name alone
    for (const sub of ["*", "{user}", "a:b", "bob*"]) {
      const strange = await Plain.enter(place, sub);
      await strange.refused("subscribe", { channels: ["user:bob"] }, "forbidden");
      await strange.refused("subscribe", { channels: ["room:1"] }, "forbidden");
      strange.close();
    }
    ann.close();
  });
});

describe("HTTP that is none", () => {
  test("wrong methods, targets and versions", async () => {
    for (const text of [
      "GET /poll HTTP/9.9\r\n\r\n",
      "GET\r\n\r\n",
      "\u0000\u0000\u0000\r\n\r\n",
      "GET /sse?channel=a HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
      `GET /${"x".repeat(100_000)} HTTP/1.1\r\n\r\n`,
      "POST /api/v1/publish HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
      "POST /api/v1/publish HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
      "GET /ws HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 8\r\nsec-websocket-key: x\r\n\r\n",
      "GET /ws HTTP/1.0\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    ]) {
      const answer = await raw(place, text, (answer) => answer.includes("\r\n\r\n")).catch(() => "");
      assert.match(answer, /^(HTTP\/1\.[01] (4\d\d|505)|$)/, text.slice(0, 60));
    }
    for (const [method, path, status] of [
      ["DELETE", "/poll?channel=mem:a", 405],
      ["PATCH", "/sse?channel=mem:a", 405],
      ["GET", "/api/v1/publish", 405],
      ["POST", "/api/v1/channels/mem%3Aa/history", 405],
      ["GET", "/api/v1/nowhere", 404],
      ["GET", "/poll/x", 404],
    ]) {
      const answer = await call(method, place, path, { token: API_KEY });
      assertProblem(answer, status, status === 405 ? "method_not_allowed" : "not_found", `${method} ${path}`);
    }
  });

  test("WebSocket frames against RFC 6455 end that connection alone", async () => {
    const head = `GET /ws?access_token=${token()} HTTP/1.1\r\nhost: 127.0.0.1:${place.port}\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`;
    for (const frame of [
      [0x81, 0x05, 0x68, 0x65, 0x6c, 0x6c, 0x6f], // not masked
      [0xc1, 0x80, 0, 0, 0, 0], // a reserved bit
      [0x83, 0x80, 0, 0, 0, 0], // a reserved opcode
      [0x80, 0x80, 0, 0, 0, 0], // a continuation of nothing
      [0x09, 0x80, 0, 0, 0, 0], // a ping in pieces
      [0x88, 0x81, 0, 0, 0, 0, 0], // a close of one byte
      [0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], // longer than anything
      [0x81, 0x81, 0, 0, 0, 0, 0xff], // no UTF-8
    ]) {
      const ended = new Promise((done) => {
        const socket = net.connect(place.port, "127.0.0.1", () => socket.write(head));
        let answer = "";
        socket.on("data", (data) => {
          if (answer === "") socket.write(Buffer.from(frame));
          answer += data.toString("latin1");
        });
        socket.on("error", () => {});
        socket.on("close", () => done(answer));
        socket.on("end", () => socket.end());
      });
      const answer = await within(`the end after ${frame}`, ended);
      assert.match(answer, /^HTTP\/1\.1 101/);
    }
  });
});

describe("cut half-way", () => {
  test("requests and answers that are cut at every place", async () => {
    await publish(place, "mem:cut", "e", "x".repeat(100_000));
    const head = (target) =>
      `GET ${target} HTTP/1.1\r\nhost: 127.0.0.1:${place.port}\r\nauthorization: Bearer ${token()}\r\n\r\n`;
    for (const target of [
      "/poll?channel=mem:cut&wait=0",
      "/poll?channel=mem:cut&wait=60&since=aaaaaaaa-0",
      "/sse?channel=mem:cut&lastEventId=aaaaaaaa-0",
    ]) {
      const text = head(target);
      for (const part of [1, 20, text.length - 2, text.length]) {
        await new Promise((done) => {
          const socket = net.connect(place.port, "127.0.0.1", () => {
            socket.write(text.slice(0, part), () =>
              part === text.length ? socket.once("data", () => socket.resetAndDestroy()) : socket.resetAndDestroy(),
            );
          });
          socket.on("error", () => {});
          socket.on("close", done);
        });
      }
    }
  });

  test("a gap's replay cut half-way goes on where it was cut, on each transport", async () => {
    const ids = [];
    for (const n of count(40)) ids.push(await publish(place, "kept:gap cut", "e", `${n}`.padEnd(20_000, "x")));
    const since = foreign(ids[0]);
    const first = await polled(place, "kept:gap cut", { since, limit: 10, wait: 0 });
    const second = await polled(place, "kept:gap cut", { since: first.next, limit: 1000, wait: 0 });
    assert.deepEqual([first.gap, second.gap, [...first.events, ...second.events].map(({ id }) => id)], [true, false, ids]);

    const sse = new Sse(place, "kept:gap cut", { since });
    assert.equal((await sse.nextJson()).event, "gap");
    const got = (await sse.events(7)).map(({ id }) => id);
    sse.close();
    const rest = new Sse(place, "kept:gap cut", { since: got.at(-1) });
    assert.deepEqual([...got, ...(await rest.events(33)).map(({ id }) => id)], ids);
    rest.close();

    const ann = await Plain.enter(place, "ann");
    await ann.subscribe("kept:gap cut", since);
    await ann.nextOf("gap");
    const some = (await ann.events(7)).map(({ id }) => id);
    ann.cut();
    const again = await Plain.enter(place, "ann");
    await again.subscribe("kept:gap cut", some.at(-1));
    assert.deepEqual([...some, ...(await again.events(33)).map(({ id }) => id)], ids);
    assert.deepEqual(await again.settled(), []);
    again.close();
  });
});

test("tokens reach no log and no error", async () => {
  const secret = tokenOf("secret user");
  const answers = [
    await poll(place, "room:1", { token: secret }),
    await call("GET", place, `/poll?channel=room:1&access_token=${secret}`),
    await call("GET", place, `/sse?channel=room:1&access_token=${secret}x`),
    await call("GET", place, `/api/v1/nowhere?access_token=${secret}`),
    await call("POST", place, "/api/v1/publish", { token: secret, body: {} }),
  ];
  for (const { body } of answers) assert.ok(!body.includes(secret.split(".")[1]));
  assert.ok(!place.server.stderr.includes(secret.split(".")[1]));
  assert.ok(!place.server.stderr.includes(API_KEY));
});

test("a folder that is used by another server is a clear message, and nothing is lost", async () => {
  const { start } = await import("./lib/server.mjs");
  const id = await publish(place, "kept:two servers", "e", 1);
  await assert.rejects(start({ top: `data = ${JSON.stringify(place.folder)}\n` }), (error) => {
    assert.ok(error.message.includes(place.folder), error.message);
    return true;
  });
  assert.deepEqual(
    (await polled(place, "kept:two servers", { wait: 0 })).events.map((event) => event.id),
    [id],
  );
});

test("all of that again as anybody: without a token there is no way in", async () => {
  await inPlace({}, async (place) => {
    for (const path of [
      "/poll?channel=mem:a&wait=0",
      "/sse?channel=mem:a",
      "/api/v1/channels/mem%3Aa/history",
      "/poll",
      "/sse",
      "/poll?channel=%ff&since=x",
    ]) {
      const { status, json } = await call("GET", place, path);
      assert.ok([400, 401].includes(status) && json.code, `${path}: ${status}`);
    }
  });
});
