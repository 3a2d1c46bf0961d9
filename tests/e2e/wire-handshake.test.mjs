// HTTP around the handshake: SOCKETIO.md 2.2 and 2.3, the served client, CORS and refused origins.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import zlib from "node:zlib";
import { request } from "./lib/http.mjs";
import { sharedApp, side, withApp } from "./lib/shared.mjs";
import { isReference } from "./lib/targets.mjs";
import { Polling, raw, Socket } from "./lib/wire.mjs";

const app = sharedApp();
const get = (path, headers = {}) => request("GET", app.url + path, { headers });

describe("2.2 handshake", () => {
  test("over polling: five keys, their defaults, and the headers", async () => {
    const { status, headers, body, bytes } = await get("/socket.io/?EIO=4&transport=polling");
    assert.equal(status, 200);
    assert.equal(body[0], "0");
    const { sid, ...rest } = JSON.parse(body.slice(1));
    assert.deepEqual(rest, { upgrades: ["websocket"], pingInterval: 25000, pingTimeout: 20000, maxPayload: 1000000 });
    assert.match(sid, /^[A-Za-z0-9_-]{20,}$/);
    assert.equal(headers["content-type"].toLowerCase(), "text/plain; charset=utf-8");
    assert.equal(Number(headers["content-length"]), bytes.length);
    assert.equal(headers["cache-control"], "no-store");
  });

  test("over WebSocket: the same text as first frame, no upgrades", async () => {
    const socket = await new Socket(app).open();
    const { sid, ...rest } = socket.handshake;
    assert.deepEqual(rest, { upgrades: [], pingInterval: 25000, pingTimeout: 20000, maxPayload: 1000000 });
    assert.match(sid, /^[A-Za-z0-9_-]{20,}$/);
    socket.cut();
  });

  test("the path is a prefix that ends in a slash", async () => {
    assert.equal((await get("/socket.io/foo/bar?EIO=4&transport=polling")).status, 200);
    assert.equal((await get("/socket.io?EIO=4&transport=polling")).status, 404);
    assert.equal((await get("/socket.iox/?EIO=4&transport=polling")).status, 404);
  });

  test("a cache-busting t and b64=1 are accepted", async () => {
    assert.equal((await get("/socket.io/?EIO=4&transport=polling&t=abc123&b64=1")).status, 200);
  });

  test("sessions have different ids, and a socket's public id is not its session's", async () => {
    const one = await new Polling(app).join();
    const two = await new Polling(app).join();
    assert.equal(new Set([one.sid, two.sid, one.id, two.id]).size, 4);
    assert.match(one.id, /^[A-Za-z0-9_-]{20,}$/);
  });

  test("a POST is answered with ok", async () => {
    const polling = await new Polling(app).open();
    const { status, headers, body } = await polling.post("40");
    assert.deepEqual([status, body, headers["content-type"].split(";")[0]], [200, "ok", "text/html"]);
  });

  test("options: no upgrades, own path, limits, cookie", async () => {
    const options = {
      ALLOW_UPGRADES: "0",
      SOCKET_PATH: "/live",
      COOKIE: "1",
      MAX_PAYLOAD: "5000",
      PING_INTERVAL_MS: "7000",
      PING_TIMEOUT_MS: "3000",
      SERVE_CLIENT: "0",
    };
    await withApp(options, async (app) => {
      const { headers, body } = await request("GET", `${app.url}/live/?EIO=4&transport=polling`);
      const { sid, ...rest } = JSON.parse(body.slice(1));
      assert.deepEqual(rest, { upgrades: [], pingInterval: 7000, pingTimeout: 3000, maxPayload: 5000 });
      const cookie = headers["set-cookie"][0].split("; ");
      assert.equal(cookie[0], `io=${sid}`);
      assert.deepEqual(new Set(cookie.slice(1)), new Set(["Path=/", "HttpOnly", "SameSite=Lax"]));
      assert.equal((await request("GET", `${app.url}/socket.io/?EIO=4&transport=polling`)).status, 404);
      // serve_client off: the path is Engine.IO's like any other
      const client = await request("GET", `${app.url}/live/socket.io.js`);
      assert.equal(client.status, 400);
      assert.equal(JSON.parse(client.body).code, 0);
    });
  });

  test("no cookie by default", async () => {
    assert.equal((await get("/socket.io/?EIO=4&transport=polling")).headers["set-cookie"], undefined);
  });

  for (const [encoding, decode] of [["gzip", zlib.gunzipSync], ["deflate", zlib.inflateSync]]) {
    test(`${encoding} from 1024 bytes on, where it is accepted`, async () => {
      const polling = await new Polling(app).join();
      const text = "x".repeat(2000);
      await polling.post(`421["echo","${text}"]`);
      const packed = await polling.get({ headers: { "accept-encoding": encoding } });
      assert.equal(packed.headers["content-encoding"], encoding);
      assert.equal(decode(packed.bytes).toString(), `431["${text}"]`);
      await polling.post(`422["echo","${text}"]`);
      const plain = await polling.get();
      assert.equal(plain.headers["content-encoding"], undefined);
      assert.equal(plain.body, `432["${text}"]`);
      await polling.post('423["echo","short"]');
      const short = await polling.get({ headers: { "accept-encoding": encoding } });
      assert.equal(short.headers["content-encoding"], undefined);
    });
  }
});

describe("2.3 errors", () => {
  const refused = async (method, path, status, code, message, headers = {}) => {
    const answer = await request(method, app.url + path, { headers });
    assert.equal(answer.status, status, answer.body);
    assert.equal(answer.headers["content-type"].split(";")[0], "application/json");
    assert.deepEqual(JSON.parse(answer.body), { code, message });
  };
  const table = [
    ["GET", "/socket.io/", 400, 0, "Transport unknown"],
    ["GET", "/socket.io/?EIO=4", 400, 0, "Transport unknown"],
    ["GET", "/socket.io/?EIO=4&transport=", 400, 0, "Transport unknown"],
    ["GET", "/socket.io/?EIO=4&transport=tarzan", 400, 0, "Transport unknown"],
    ["GET", "/socket.io/?EIO=4&transport=constructor", 400, 0, "Transport unknown"],
    ["GET", "/socket.io/?EIO=4&transport=webtransport", 400, 0, "Transport unknown"],
    ["GET", "/socket.io/?transport=tarzan&sid=none", 400, 0, "Transport unknown"],
    ["GET", "/socket.io/?EIO=4&transport=polling&sid=none", 400, 1, "Session ID unknown"],
    ["GET", "/socket.io/?EIO=4&transport=polling&sid=__proto__", 400, 1, "Session ID unknown"],
    ["GET", "/socket.io/?EIO=4&transport=polling&sid=constructor", 400, 1, "Session ID unknown"],
    ["POST", "/socket.io/?EIO=4&transport=polling&sid=none", 400, 1, "Session ID unknown"],
    ["POST", "/socket.io/?EIO=4&transport=polling", 400, 2, "Bad handshake method"],
    ["PUT", "/socket.io/?EIO=4&transport=polling", 400, 2, "Bad handshake method"],
    ["DELETE", "/socket.io/?EIO=4&transport=polling", 400, 2, "Bad handshake method"],
    ["OPTIONS", "/socket.io/?EIO=4&transport=polling", 400, 2, "Bad handshake method"],
    ["GET", "/socket.io/?EIO=4&transport=websocket", 400, 3, "Bad request"],
    ["GET", "/socket.io/?EIO=4&transport=polling&refuse=not%20today", 403, 4, "not today"],
    ["GET", "/socket.io/?EIO=3&transport=polling", 400, 5, "Unsupported protocol version"],
    ["GET", "/socket.io/?EIO=5&transport=polling", 400, 5, "Unsupported protocol version"],
    ["GET", "/socket.io/?EIO=04&transport=polling", 400, 5, "Unsupported protocol version"],
    ["GET", "/socket.io/?transport=polling", 400, 5, "Unsupported protocol version"],
  ];
  for (const row of table) test(`${row[0]} ${row[1]} is ${row[2]} code ${row[3]}`, () => refused(...row));

  test("HEAD without sid is 400 and empty", async () => {
    const { status, body } = await request("HEAD", `${app.url}/socket.io/?EIO=4&transport=polling`);
    assert.deepEqual([status, body], [400, ""]);
  });

  test("polling with the sid of a WebSocket session is code 3", async () => {
    const socket = await new Socket(app).join();
    await refused("GET", `/socket.io/?EIO=4&transport=polling&sid=${socket.sid}`, 400, 3, "Bad request");
    await refused("POST", `/socket.io/?EIO=4&transport=polling&sid=${socket.sid}`, 400, 3, "Bad request");
    assert.ok(await socket.alive());
    socket.cut();
  });

  test("another protocol version than the session's is refused, and harms it not", async () => {
    const polling = await new Polling(app).join();
    const { status, body } = await get(`/socket.io/?EIO=3&transport=polling&sid=${polling.sid}`);
    assert.equal(status, 400);
    assert.equal(JSON.parse(body).code, 3);
    assert.ok(await polling.alive());
  });

  test("a control character in Origin is refused", async () => {
    const answer = await raw(
      app,
      `GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: 127.0.0.1:${app.port}\r\nOrigin: http://a\x01b\r\nConnection: close\r\n\r\n`,
    );
    assert.match(answer, /^HTTP\/1\.1 400 /);
  });

  test("another method on a session is refused, and harms it not", async () => {
    const polling = await new Polling(app).join();
    const { status } = await request("PUT", polling.url, { body: "4" });
    assert.equal(status >= 400, true);
    assert.ok(await polling.alive());
  });

  test("a refusal on WebSocket is plain text before the 101", async () => {
    const rows = [
      ["EIO=4&transport=websocket&sid=none", 400, "Session ID unknown"],
      ["EIO=4&transport=tarzan", 400, "Transport unknown"],
      // 403 says more than npm's 400, and no stock client sees either
      ["EIO=4&transport=websocket&refuse=not%20today", side({ reference: 400, tidings: 403 }), "not today"],
    ];
    for (const [query, status, message] of rows) {
      const answer = await new Socket(app, { query }).answered;
      assert.equal(answer.status, status, query);
      assert.match(answer.body, new RegExp(message), query);
    }
  });

  test("a wrong protocol version on WebSocket", async () => {
    const socket = new Socket(app, { query: "EIO=3&transport=websocket" });
    const { status } = await socket.answered;
    // npm's server answers 101 and then writes an HTTP response into the WebSocket
    assert.equal(status, side({ reference: 101, tidings: 400 }));
    await socket.closed;
  });
});

describe("the served client", () => {
  const dist = join(dirname(createRequire(import.meta.url).resolve("socket.io/package.json")), "client-dist");
  const files = ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"];
  for (const name of [...files, ...files.map((file) => `${file}.map`)]) {
    test(name, async () => {
      const { status, headers, body } = await get(`/socket.io/${name}`);
      assert.equal(status, 200);
      assert.ok(body === readFileSync(join(dist, name), "utf8"), "the bytes of the npm package");
      assert.match(headers["content-type"], name.endsWith(".map") ? /^application\/json/ : /^(application|text)\/javascript/);
      assert.ok(headers.etag);

      const again = await get(`/socket.io/${name}`, { "if-none-match": headers.etag });
      assert.deepEqual([again.status, again.body], [304, ""]);
      // the comparison is a weak one, whichever form the server sent (RFC 9110, 13.1.2)
      const strong = headers.etag.replace(/^W\//, "");
      for (const tag of [strong, `W/${strong}`]) {
        assert.equal((await get(`/socket.io/${name}`, { "if-none-match": tag })).status, 304, tag);
      }
      const stale = await get(`/socket.io/${name}`, { "if-none-match": '"other"' });
      assert.equal(stale.status, 200);

      const packed = await get(`/socket.io/${name}`, { "accept-encoding": "gzip, deflate" });
      assert.equal(packed.headers["content-encoding"], "gzip");
      assert.ok(zlib.gunzipSync(packed.bytes).toString() === body);
    });
  }

  test("what is no such file is Engine.IO's", async () => {
    const { status, body } = await get("/socket.io/socket.io.exe.js");
    assert.equal(status, 400);
    assert.equal(JSON.parse(body).code, 0);
  });
});

describe("origins", () => {
  const own = "http://app.example";
  const foreign = "http://evil.example";
  const allowing = sharedApp({ ALLOWED_ORIGIN: own });
  const url = () => `${allowing.url}/socket.io/?EIO=4&transport=polling`;

  test("an allowed origin may read the answer", async () => {
    const { status, headers } = await request("GET", url(), { headers: { origin: own } });
    assert.equal(status, 200);
    assert.equal(headers["access-control-allow-origin"], own);
    assert.match(headers.vary, /origin/i);
  });

  test("its preflight is answered", async () => {
    const { status, headers } = await request("OPTIONS", url(), {
      headers: { origin: own, "access-control-request-method": "POST", "access-control-request-headers": "content-type,x-custom" },
    });
    assert.equal(status, 204);
    assert.equal(headers["access-control-allow-origin"], own);
    assert.match(headers["access-control-allow-methods"], /POST/);
    assert.match(headers["access-control-allow-headers"], /x-custom/i);
  });

  test("an allowed origin connects over WebSocket", async () => {
    const socket = await new Socket(allowing, { origin: own }).join();
    assert.ok(await socket.alive());
    socket.cut();
  });

  // npm's `cors` option only tells the browser who may read; WebSockets are open to every page.
  test("a foreign origin is refused on polling, named, with the setting", { skip: isReference && "open there" }, async () => {
    const { status, headers, body } = await request("GET", url(), { headers: { origin: foreign } });
    assert.equal(status, 403);
    assert.equal(headers["access-control-allow-origin"], undefined);
    const { code, message } = JSON.parse(body);
    assert.equal(code, 4);
    assert.ok(message.includes(foreign) && message.includes("allowed_origin"), message);
  });

  test("a foreign origin is refused on WebSocket, named, with the setting", { skip: isReference && "open there" }, async () => {
    const { status, body } = await new Socket(allowing, { origin: foreign }).answered;
    assert.equal(status, 403);
    assert.ok(body.includes(foreign) && body.includes("allowed_origin"), body);
  });

  test("a foreign origin is refused on a session that exists", { skip: isReference && "open there" }, async () => {
    const polling = await new Polling(allowing, { headers: { origin: own } }).join();
    assert.equal((await request("GET", polling.url, { headers: { origin: foreign } })).status, 403);
    assert.equal((await request("POST", polling.url, { headers: { origin: foreign }, body: "41" })).status, 403);
    assert.ok(await polling.alive());
  });

  test("a foreign preflight allows nothing", { skip: isReference && "answers for its own" }, async () => {
    const { headers } = await request("OPTIONS", url(), {
      headers: { origin: foreign, "access-control-request-method": "POST" },
    });
    assert.equal(headers["access-control-allow-origin"], undefined);
  });

  test("the own host passes", async () => {
    const headers = { origin: allowing.url };
    assert.equal((await request("GET", url(), { headers })).status, 200);
    const socket = await new Socket(allowing, { origin: allowing.url }).join();
    socket.cut();
  });
});
