// The `tidings` server: tokens, origins, namespaces (PRODUCT.md, "Auth").
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { assertProblem, poll } from "./lib/channels.mjs";
import { Client, newest } from "./lib/clients.mjs";
import { request } from "./lib/http.mjs";
import { enter, serving, start, startDev, user } from "./lib/server.mjs";
import { now, SECRET, sign, tokenOf } from "./lib/tokens.mjs";
import { Polling, Socket } from "./lib/wire.mjs";

const OWN = "https://app.example";
const FOREIGN = "https://evil.example";

let server;
before(async () => (server = await start({ top: `allowed_origins = ["${OWN}"]` })));
after(() => server?.stop("SIGKILL"));

const open = (options) => new Client(newest, server.url, { transports: ["websocket"], ...options });

// Refused for good: a CONNECT_ERROR with a message and a code.
async function refused(client, code) {
  const error = await client.sawError();
  assert.equal(error.data?.code, code, JSON.stringify(error));
  assert.ok(error.connect_error.length > 0);
  assert.equal(client.socket.connected, false);
  client.close();
  return error;
}

describe("tokens", { concurrency: true }, () => {
  const wrong = {
    "none at all": [undefined, "unauthenticated"],
    "an empty one": ["", "unauthenticated"],
    "one that is no JWT": ["nonsense", "unauthenticated"],
    "one with two parts": ["a.b", "unauthenticated"],
    "one whose claims are no JSON": ["eyJhbGciOiJIUzI1NiJ9.bm90anNvbg.AAAA", /^(unauthenticated|token_signature)$/],
    "a number": [7, "unauthenticated"],
    "an expired one": [sign({ sub: "ann", exp: now() - 120 }), "token_expired"],
    "one from tomorrow": [sign({ sub: "ann", exp: now() + 7200, nbf: now() + 3600 }), "token_not_yet_valid"],
    "one of another key": [sign({ sub: "ann", exp: now() + 60 }, { secret: "another secret" }), "token_signature"],
    "a signature cut short": [tokenOf("ann").slice(0, -4), /^(token_signature|unauthenticated)$/],
    "alg none": [sign({ sub: "ann", exp: now() + 60 }, { alg: "none" }), "token_algorithm"],
    "one without a sub": [sign({ exp: now() + 60 }), "unauthenticated"],
    "an empty sub": [tokenOf(""), "unauthenticated"],
    "a sub of 251 bytes": [tokenOf("x".repeat(251)), "unauthenticated"],
    "a sub that is a number": [tokenOf(7), "unauthenticated"],
  };
  for (const [what, [token, code]] of Object.entries(wrong)) {
    for (const transports of [["polling"], ["websocket"]]) {
      test(`${what} is refused over ${transports}`, async () => {
        const client = open({ transports, auth: token === undefined ? {} : { token } });
        const error = await client.sawError();
        assert.match(error.data?.code ?? JSON.stringify(error), code instanceof RegExp ? code : new RegExp(`^${code}$`));
        assert.ok(error.connect_error.length > 0);
        assert.equal(client.socket.connected, false);
        client.close();
      });
    }
  }

  const polls = {
    "a jti that is a number": [{ jti: 7 }, 401],
    "an empty jti": [{ jti: "" }, 401],
    "a jti of 251 bytes": [{ jti: "x".repeat(251) }, 401],
    "a jti of 250 bytes": [{ jti: "x".repeat(250) }, 200],
    "an iat that is 120 s ahead": [{ iat: now() + 120 }, 401],
    "an iat that is 30 s ahead": [{ iat: now() + 30 }, 200],
  };
  for (const [what, [claims, status]] of Object.entries(polls)) {
    test(`${what} is ${status === 200 ? "fine" : "refused"} on /poll`, async () => {
      const answer = await poll(server, "open:a", { token: tokenOf("ann", claims), wait: 0 });
      if (status === 200) assert.equal(answer.status, 200, answer.body);
      else assertProblem(answer, 401, "unauthenticated");
    });
  }

  for (const alg of ["HS256", "HS384", "HS512"]) {
    test(`a good one with ${alg}`, async () => {
      const client = await enter(server, "ann", { token: sign({ sub: "ann", exp: now() + 60 }, { alg }) });
      assert.equal((await client.ask("subscribe", "open:a")).ok, true);
      client.close();
    });
  }

  test("a sub of 250 bytes", async () => {
    const client = await enter(server, "x".repeat(250));
    client.close();
  });

  test("in the Authorization header or in the query, where auth.token is not", async () => {
    const places = {
      authorization: { extraHeaders: { authorization: `Bearer ${tokenOf("ann")}` } },
      query: { query: { access_token: tokenOf("ann") } },
    };
    for (const [place, options] of Object.entries(places)) {
      for (const transports of [["polling"], ["websocket"]]) {
        const client = await open({ transports, ...options }).connected();
        await client.ask("subscribe", `open:${place}`);
        await client.ask("publish", `open:${place}`, "who", 1);
        assert.equal((await client.sawEvent("who")).args[1].user, "ann");
        client.close();
      }
    }
  });

  test("only the first found is checked: auth.token, Authorization, access_token", async () => {
    const good = tokenOf("ann");
    const bad = sign({ sub: "ann", exp: now() - 120 });
    const bearer = (token) => ({ authorization: `Bearer ${token}` });
    await refused(open({ auth: { token: bad }, extraHeaders: bearer(good), query: { access_token: good } }), "token_expired");
    await refused(open({ extraHeaders: bearer(bad), query: { access_token: good } }), "token_expired");
    (await open({ auth: { token: good }, extraHeaders: bearer(bad), query: { access_token: bad } }).connected()).close();
  });

  test("a cookie, where the config names one", async () => {
    await serving({ auth: '[auth]\nhs256 = { env = "E2E_SECRET" }\ncookie = "session"\n' }, async (server) => {
      const headers = { cookie: `a=b; session=${tokenOf("ann")}; c=d` };
      const client = new Client(newest, server.url, { transports: ["websocket"], extraHeaders: headers });
      await client.connected();
      client.close();
    });
  });

  test("a refused client may come back with a good one on the same connection", async () => {
    let token = "nonsense";
    const client = open({ auth: (done) => done({ token }) });
    await client.sawError();
    token = tokenOf("ann");
    client.socket.connect();
    await client.connected();
    client.close();
  });

  test("anonymous, where the config allows it: reads what is anyone's, and no more", async () => {
    await serving({ auth: "[auth]\nanonymous = true\n" }, async (server) => {
      const client = await new Client(newest, server.url, { transports: ["websocket"] }).connected();
      assert.equal((await client.ask("subscribe", "public:news")).ok, true);
      for (const answer of [await client.ask("subscribe", "open:a"), await client.ask("publish", "public:news", "e", 1)]) {
        assert.equal(answer.ok, false);
        assert.equal(answer.code, "forbidden");
      }
      client.close();
    });
  });

  test("a socket is closed when its token ends, and may come back with a new one", async () => {
    const exp = now() + 2;
    let token = tokenOf("ann", { exp });
    const client = user(server, "ann", { auth: (done) => done({ token }), reconnection: true, reconnectionDelay: 10 });
    await client.connected();
    await client.ask("subscribe", "open:exp");
    token = tokenOf("ann");
    assert.equal((await client.sawDisconnect()).disconnect, "transport close");
    assert.ok(Date.now() >= exp * 1000 - 100, "not before its time");
    await client.connected();
    client.close();
  });

  test("at its token's end a WebSocket is closed with 4401, a poll with 1, without a packet of Socket.IO", async () => {
    const connect = () => `40${JSON.stringify({ token: tokenOf("ann", { exp: now() + 3 }) })}`;
    const socket = await new Socket(server).join(connect());
    const polling = await new Polling(server).join(connect());
    assert.deepEqual(await socket.end(), { before: ['42["expiring",{}]'], code: 4401, reason: "" });
    const packets = [];
    while (packets.at(-1) !== "1") packets.push(...(await polling.poll()));
    assert.deepEqual(packets.filter((packet) => packet !== "6"), ['42["expiring",{}]', "1"]);
    assert.ok(await polling.gone());
  });

  test("a fresh token in band: the client is warned, shows it, and stays", async () => {
    const exp = now() + 3;
    const ann = await enter(server, "ann", { token: tokenOf("ann", { exp }) });
    assert.equal((await ann.ask("subscribe", "open:fresh")).ok, true);
    assert.deepEqual((await ann.sawEvent("expiring")).args, [{}]);
    assert.deepEqual(await ann.ask("auth", tokenOf("ann")), { ok: true });
    await sleep(exp * 1000 + 1500 - Date.now());
    assert.equal(ann.socket.connected, true);
    await ann.ask("publish", "open:fresh", "still", 1);
    assert.equal((await ann.sawEvent("still")).args[1].user, "ann");
    ann.close();
  });

  test("a fresh token drops what it does not grant, and keeps the rest", async () => {
    const grants = (...subscribe) => ({ channels: { subscribe, publish: ["room:*"] } });
    const ann = await enter(server, "ann", { claims: grants("room:fresh1", "room:fresh2") });
    await ann.ask("subscribe", ["room:fresh1", "room:fresh2", "open:fresh"]);
    const fresh = tokenOf("ann", { ...grants("room:fresh2"), info: { name: "Ann" } });
    assert.deepEqual(await ann.ask("auth", fresh), { ok: true, ended: ["room:fresh1"] });
    for (const room of ["room:fresh1", "room:fresh2"]) await ann.ask("publish", room, "to", room);
    assert.deepEqual((await ann.sawEvent("to")).args[0], "room:fresh2");
    assert.equal((await ann.ask("subscribe", "room:fresh1")).code, "forbidden");
    assert.ok(!ann.records.some((record) => record.event === "to" && record.args[0] === "room:fresh1"));
    ann.close();
  });

  test("a fresh token that is refused changes nothing", async () => {
    const ann = await enter(server, "ann");
    for (const [token, code] of [
      [tokenOf("bob"), "unauthenticated"],
      ["nonsense", "unauthenticated"],
      [7, "bad_request"],
      [undefined, "bad_request"],
      [sign({ sub: "ann", exp: now() - 120 }), "token_expired"],
      [sign({ sub: "ann", exp: now() + 60 }, { secret: "another secret" }), "token_signature"],
    ]) {
      const answer = await ann.ask("auth", ...(token === undefined ? [] : [token]));
      assert.equal(answer.ok, false);
      assert.equal(answer.code, code, JSON.stringify(answer));
    }
    assert.equal((await ann.ask("subscribe", "open:unchanged")).ok, true);
    ann.close();
  });

  test("one that ends in the year 9999, or later", async () => {
    for (const exp of [253402300799, 1e15, 1e300]) {
      const client = await enter(server, "ann", { token: tokenOf("ann", { exp }) });
      assert.equal((await client.ask("subscribe", "open:a")).ok, true);
      client.close();
    }
  });

  test("anonymous means without a token, not with one that can't be read", async () => {
    await serving({ auth: `[auth]\nhs256 = "${SECRET}"\nanonymous = true\n` }, async (server) => {
      const open = (options) => new Client(newest, server.url, { transports: ["websocket"], ...options });
      for (const options of [
        { auth: { token: "nonsense" } },
        { auth: { token: 7 } },
        { auth: { token: "" } },
        { extraHeaders: { authorization: "Basic YTpi" } },
        { query: { access_token: "nonsense" } },
      ])
        await refused(open(options), "unauthenticated");
      for (const options of [{}, { auth: {} }, { auth: { token: null } }]) (await open(options).connected()).close();
      const ann = await user(server, "ann").connected();
      assert.equal((await ann.ask("subscribe", "open:a")).ok, true);
      ann.close();
    });
  });

  test("no token ever reaches the log", async () => {
    const secrets = [tokenOf("log-a"), sign({ sub: "log-b", exp: now() - 120 }), `${tokenOf("log-c")}x`];
    for (const token of secrets) {
      const client = open({ transports: ["polling"], query: { access_token: token } });
      await client.saw("an answer", (r) => "connect" in r || "connect_error" in r);
      await request("GET", `${server.url}/nowhere?access_token=${token}`);
      client.close();
    }
    for (const token of secrets) assert.ok(!server.stderr.includes(token.split(".")[1]), "a token in the log");
  });
});

describe("origins", { concurrency: true }, () => {
  const path = "/socket.io/?EIO=4&transport=polling";

  test("a foreign one is 403 on polling, naming itself and the setting", async () => {
    for (const origin of [FOREIGN, "null", `${OWN}.evil.example`, OWN.replace("https", "http"), `${OWN}:8443`]) {
      const { status, body } = await request("GET", server.url + path, { headers: { origin } });
      assert.equal(status, 403, origin);
      const { code, message } = JSON.parse(body);
      assert.equal(code, 4);
      assert.ok(message.includes(origin) && message.includes("allowed_origins"), message);
    }
  });

  test("and on WebSocket", async () => {
    const { status, body } = await new Socket(server, { origin: FOREIGN }).answered;
    assert.equal(status, 403);
    assert.ok(body.includes(FOREIGN) && body.includes("allowed_origins"), body);
  });

  test("an allowed one, the own host, and none at all pass", async () => {
    for (const origin of [OWN, server.url]) {
      const { status, headers } = await request("GET", server.url + path, { headers: { origin } });
      assert.equal(status, 200);
      assert.equal(headers["access-control-allow-origin"] ?? server.url, origin);
      (await new Socket(server, { origin }).open()).cut();
    }
    assert.equal((await request("GET", server.url + path)).status, 200);
  });

  test("preflight: answered for an allowed one, without a token", async () => {
    const { status, headers } = await request("OPTIONS", server.url + path, {
      headers: { origin: OWN, "access-control-request-method": "POST", "access-control-request-headers": "authorization" },
    });
    assert.equal(status, 204);
    assert.equal(headers["access-control-allow-origin"], OWN);
    assert.match(headers["access-control-allow-headers"], /authorization/i);
  });

  test("in dev, Origin and Host must be loopback", async () => {
    const dev = await startDev();
    try {
      for (const origin of ["http://localhost:3000", "http://127.0.0.1:5173", "http://[::1]:3000"])
        assert.equal((await request("GET", dev.url + path, { headers: { origin } })).status, 200, origin);
      for (const headers of [
        { origin: FOREIGN },
        { origin: "http://localhost.evil.example" },
        { host: "evil.example" },
        { host: "evil.example", origin: "http://evil.example" },
      ])
        assert.equal((await request("GET", dev.url + path, { headers })).status, 403, JSON.stringify(headers));
      assert.equal((await new Socket(dev, { headers: { host: "evil.example" } }).answered).status, 403);
    } finally {
      await dev.stop("SIGKILL");
    }
  });
});

describe("namespaces", () => {
  test("other than / are invalid, and harm nothing", async () => {
    const ann = await enter(server, "ann");
    for (const name of ["/admin", "/x"]) {
      const other = ann.socket.io.socket(name, { auth: { token: tokenOf("ann") } });
      const error = await new Promise((done) => other.on("connect_error", done));
      assert.equal(error.message, "Invalid namespace");
      other.disconnect();
    }
    assert.equal((await ann.ask("subscribe", "open:a")).ok, true);
    ann.close();
  });

  test("on the wire", async () => {
    const socket = await new Socket(server).open();
    socket.send("40/x,");
    assert.equal(await socket.next(), '44/x,{"message":"Invalid namespace"}');
    socket.cut();
  });
});

describe("the session id of the transport", () => {
  test("is a secret: it is neither the socket's id nor in any event", async () => {
    const polling = await new Polling(server).join(`40${JSON.stringify({ token: tokenOf("ann") })}`);
    assert.notEqual(polling.id, polling.sid);
  });
});
