// Attacks with what HTTP itself has: heads, queries, requests upon requests, and the frames of HTTP/2. docs/security.md lists them all.
import assert from "node:assert/strict";
import { once } from "node:events";
import http2 from "node:http2";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Arena, count, Raw, upgrade, WEBSOCKETS } from "./lib/arena.mjs";
import { API_KEY, call } from "./lib/channels.mjs";
import { tokenOf } from "./lib/tokens.mjs";
import { until, within } from "./lib/wait.mjs";

let arena;
let place;
before(async () => {
  arena = await Arena.open();
  ({ place } = arena);
});
after(() => arena?.close());

const request = (method, target, headers = "") => `${method} ${target} HTTP/1.1\r\nhost: 127.0.0.1:${place.port}\r\n${headers}`;
const bearer = () => `authorization: Bearer ${tokenOf("ann")}\r\n`;

describe("heads", () => {
  const many = {
    "2,000 headers": count(2000)
      .map((n) => `x-${n}: 1\r\n`)
      .join(""),
    "90 of 100 bytes, and then 20,000 bytes in one": `${count(90)
      .map((n) => `x-${n}: ${"x".repeat(90)}\r\n`)
      .join("")}x: ${"x".repeat(20_000)}\r\n`,
    "2,000 of the same name": "x: 1\r\n".repeat(2000),
    "1,000 cookies": "cookie: a=b\r\n".repeat(1000),
    "a million bytes": `x: ${"x".repeat(1_000_000)}\r\n`,
  };
  const targets = {
    "/poll": () => request("GET", "/poll?channel=mem:a&wait=0", bearer()),
    "/sse": () => request("GET", "/sse?channel=mem:a", bearer()),
    "the API": () => request("POST", "/api/v1/publish", `authorization: Bearer ${API_KEY}\r\n`),
    "/ws": () => upgrade(place, WEBSOCKETS["/ws"]("ann")).slice(0, -2),
    "Socket.IO": () => upgrade(place, WEBSOCKETS["Socket.IO"]("ann")).slice(0, -2),
  };
  for (const [what, headers] of Object.entries(many))
    test(`${what}: 431`, () =>
      arena.attacked(async () => {
        for (const [name, head] of Object.entries(targets)) {
          const all = count(10).map(() => new Raw(place, `${head()}${headers}\r\n`));
          for (const raw of all) assert.match((await raw.end()).text, /^(HTTP\/1\.1 431|$)/, name);
        }
      }));

  const floods = {
    "100 extensions": "sec-websocket-extensions: permessage-deflate\r\n".repeat(80),
    "a list of 900 extensions": `sec-websocket-extensions: ${count(900)
      .map((n) => `x${n}; a=1`)
      .join(", ")}\r\n`,
    "one extension of 900 parameters": `sec-websocket-extensions: permessage-deflate${"; server_no_context_takeover".repeat(300)}\r\n`,
    "500 protocols": `sec-websocket-protocol: ${count(500)
      .map((n) => `proto-${n}`)
      .join(", ")}\r\n`,
    "80 headers of protocols": count(80)
      .map((n) => `sec-websocket-protocol: proto-${n}\r\n`)
      .join(""),
    "80 more keys": "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n".repeat(80),
    "80 more versions": count(80)
      .map((n) => `sec-websocket-version: ${n}\r\n`)
      .join(""),
    "2,000 Sec-WebSocket headers": count(2000)
      .map((n) => `sec-websocket-x${n}: 1\r\n`)
      .join(""),
    "an unclosed quote": `sec-websocket-extensions: a="${"\\\\".repeat(5000)}\r\n`,
  };
  test("floods of Sec-WebSocket-*: a plain WebSocket, or a refusal", () =>
    arena.attacked(async () => {
      for (const [name, target] of Object.entries(WEBSOCKETS))
        for (const [what, headers] of Object.entries(floods)) {
          const raw = new Raw(place, upgrade(place, target("ann"), headers));
          const text = await raw.head();
          assert.match(text, /^(HTTP\/1\.1 (101|400|426|431)|$)/, `${name} ${what}: ${text.slice(0, 100)}`);
          // nothing that was asked for is promised
          if (raw.status === 101) assert.doesNotMatch(text, /sec-websocket-(extensions|protocol)/i, what);
          raw.cut();
        }
    }));
});

describe("requests", () => {
  test("thousands in one go, whose answers nobody reads", () =>
    arena.attacked(async () => {
      for (const target of ["/healthz", "/poll?channel=kept:well&wait=0&limit=1000", "/nowhere"]) {
        const raw = new Raw(place, undefined);
        raw.socket.pause();
        const pouring = raw.pour(`${request("GET", target, bearer())}\r\n`.repeat(200), 50e6);
        await Promise.race([pouring, sleep(2000)]);
        raw.cut();
        assert.ok((await pouring) < 50e6, "it is not read from without end");
      }
    }));
});

describe("duplicate query parameters", () => {
  test("two values of one that must have one: 400, or the first counts, and no harm at 1,000", () =>
    arena.attacked(async () => {
      const token = tokenOf("ann");
      const many = (text) => Array(900).fill(text).join("&");
      for (const [path, statuses] of [
        ["/poll?channel=mem:a&wait=0&wait=60", [400]],
        ["/poll?channel=mem:a&wait=0&limit=1&limit=2", [400]],
        [`/poll?wait=0&${many("channel=mem:a")}`, [200, 400]],
        [`/poll?channel=mem:a&wait=0&${many("x=1")}`, [200]],
        ["/sse?channel=mem:a&format=raw&format=raw", [400]],
        ["/socket.io/?EIO=4&EIO=3&transport=polling", [200, 400]],
        ["/socket.io/?EIO=4&transport=polling&transport=websocket", [200, 400]],
        [`/socket.io/?EIO=4&transport=polling&${many("t=1")}`, [200, 431]],
        ["/socket.io/?EIO=4&transport=polling&sid=a&sid=b", [400]],
        ["/api/v1/channels/mem%3Aa/history?limit=1&limit=2", [400]],
        ["/api/v1/channels/mem%3Aa/history?before=aaaaaaaa-1&before=aaaaaaaa-2", [400]],
        ["/api/v1/users/ann/unread?channel=mem:a&channel=user:bob", [400]],
      ]) {
        const answer = await call("GET", place, path, { token });
        assert.ok(statuses.includes(answer.status), `${path.slice(0, 80)}: ${answer.status} ${answer.body.slice(0, 200)}`);
      }
    }));
});

describe("HTTP/2", () => {
  // Opens streams and takes them back at once, until the server has enough.
  async function resets(place, target, streams) {
    const session = http2.connect(place.url, { settings: { enablePush: false } });
    let goaway;
    session.on("goaway", (code) => (goaway = code));
    session.on("error", () => {});
    const closed = new Promise((done) => session.on("close", done));
    await once(session, "connect");
    let opened = 0;
    while (opened < streams && !session.closed && !session.destroyed) {
      for (let n = 0; n < 50 && opened < streams && !session.destroyed && !session.closed; n++) {
        try {
          const stream = session.request({ ":path": target, authorization: `Bearer ${tokenOf("ann")}` });
          stream.on("error", () => {});
          stream.close(http2.constants.NGHTTP2_CANCEL);
          opened += 1;
        } catch {
          break;
        }
      }
      await new Promise(setImmediate);
    }
    return { session, opened, goaway: () => goaway, closed };
  }

  test("streams opened and reset by the thousand: that connection is sent away, or bears it; others don't notice", () =>
    arena.attacked(async () => {
      for (const target of ["/poll?channel=mem:a&wait=60&since=aaaaaaaa-0", "/sse?channel=mem:a", "/healthz"]) {
        const { session, opened, goaway, closed } = await resets(place, target, 20_000);
        // where the server keeps up with each of them it need not: then it answers
        const answered = new Promise((done) => {
          try {
            session.ping(done);
          } catch {
            done();
          }
        });
        await within(`an end or an answer after ${opened} streams of ${target}`, Promise.race([closed, answered]), 20_000);
        assert.ok(goaway() === undefined || goaway() === http2.constants.NGHTTP2_ENHANCE_YOUR_CALM, `${goaway()}`);
        session.destroy();
      }
      await until("nothing of it is left", async () => (await arena.metric('tidings_connections{kind="sse"}')) === 0);
    }));

  test("more streams at once than it allows: they wait or are refused, and the rest of the connection works", () =>
    arena.attacked(async () => {
      const session = http2.connect(place.url);
      session.on("error", () => {});
      await once(session, "connect");
      const streams = count(1000).map(() => {
        const stream = session.request({ ":path": `/sse?channel=mem:a&access_token=${tokenOf("ann")}` });
        stream.on("error", () => {});
        return stream;
      });
      await until("as many as may", async () => (await arena.metric('tidings_connections{kind="sse"}')) >= 100);
      await sleep(200);
      assert.ok((await arena.metric('tidings_connections{kind="sse"}')) <= 128);
      for (const stream of streams) stream.destroy();
      session.destroy();
      await until("nothing of it is left", async () => (await arena.metric('tidings_connections{kind="sse"}')) === 0);
    }));

  test("heads that never end, and huge ones", () =>
    arena.attacked(async () => {
      for (const headers of [{ x: "x".repeat(60_000) }, Object.fromEntries(count(2000).map((n) => [`x-${n}`, "1"]))]) {
        const session = http2.connect(place.url);
        session.on("error", () => {});
        await once(session, "connect");
        const stream = session.request({ ":path": "/healthz", ...headers });
        stream.on("error", () => {});
        const status = await within(
          "an answer or an end",
          new Promise((done) => stream.on("response", (head) => done(head[":status"])).on("close", () => done("closed"))),
        );
        assert.ok([431, "closed"].includes(status), `${status}`);
        session.destroy();
      }
    }));

  const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
  const h2 = (kind, flags, stream, payload) =>
    Buffer.concat([
      Buffer.from([payload.length >> 16, (payload.length >> 8) & 255, payload.length & 255, kind, flags, 0, 0, 0, stream]),
      payload,
    ]);
  const GET = Buffer.from([0x82, 0x86, 0x84]); // :method GET, :scheme http, :path /
  // a header `x` of 3,967 bytes, to be kept in the table of headers or not
  const header = (kept) => Buffer.concat([Buffer.from([kept ? 0x40 : 0, 1, 0x78, 0x7f, 0x80, 0x1e]), Buffer.alloc(3967, 0x78)]);

  test("a head in CONTINUATION upon CONTINUATION, none of which is the last", () =>
    arena.attacked(async () => {
      const raw = new Raw(place, PREFACE);
      raw.socket.write(h2(1, 0, 1, GET));
      const sent = await raw.pour(h2(9, 0, 1, header(false)), 100e6);
      await raw.end();
      assert.ok(sent < 100e6);
    }));

  test("a small head that unfolds to 40 MB", () =>
    arena.attacked(async () => {
      const all = count(10).map(() => new Raw(place, PREFACE));
      // 62 is the first header in the table: the one that was just kept
      const bomb = Buffer.concat([GET, header(true), Buffer.alloc(10_000, 0xbe)]);
      for (const raw of all) raw.socket.write(h2(1, 5, 1, bomb));
      await until("each has an answer or its end", () => all.every(({ text, over }) => over || text.length > 60));
      for (const raw of all) raw.cut();
    }));

  test("pings and settings by the million, whose answers nobody reads", () =>
    arena.attacked(async () => {
      for (const one of [
        h2(6, 0, 0, Buffer.alloc(8)),
        h2(4, 0, 0, Buffer.alloc(0)),
        h2(2, 0, 1, Buffer.from([0, 0, 0, 3, 1])),
      ]) {
        const raw = new Raw(place, PREFACE);
        raw.socket.pause();
        const pouring = raw.pour(Buffer.concat(Array(1000).fill(one)), 50e6);
        await Promise.race([pouring, sleep(2000)]);
        raw.cut();
        await pouring;
      }
    }));
});
