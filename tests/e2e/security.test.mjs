// Attacks on who comes in: foreign pages, keys tried one after another, what belongs to others, and secrets in the log.
// docs/security.md lists all attacks and where each is tested.
import assert from "node:assert/strict";
import http from "node:http";
import { after, before, describe, test } from "node:test";
import { Arena, count, Raw, upgrade } from "./lib/arena.mjs";
import { API_KEY, apiPublish, assertProblem, call, epochOf, OWN, Plain, poll, publish, Sse } from "./lib/channels.mjs";
import { Client, newest } from "./lib/clients.mjs";
import { request } from "./lib/http.mjs";
import { AUTH, enter } from "./lib/server.mjs";
import { now, SECRET, sign, tokenOf } from "./lib/tokens.mjs";
import { within } from "./lib/wait.mjs";
import { Polling, Socket } from "./lib/wire.mjs";

let arena;
let place;
before(async () => {
  arena = await Arena.open({ auth: `${AUTH}cookie = "session"\n`, env: { RUST_LOG: "trace" } });
  ({ place } = arena);
});
after(() => arena?.close());

const get = (path, headers) => call("GET", place, path, { headers });
const cookie = (token) => ({ cookie: `session=${token}` });
const joining = (token) => `40${JSON.stringify({ token })}`;

describe("Origin", () => {
  const foreign = () => [
    "https://evil.example",
    "null",
    `${OWN}.evil.example`,
    OWN.replace("https://", "https://evil-"),
    OWN.replace("https", "http"),
    `${OWN}:8443`,
    `http://127.0.0.1:${place.port + 1}`,
    `http://127.0.0.1:${place.port}.evil.example`,
    `http://evil.example/http://127.0.0.1:${place.port}`,
    `http://evil.example@127.0.0.1:${place.port}`,
    `http://127.0.0.1:${place.port}@evil.example`,
  ];
  const websocket = async (path, headers) => {
    const raw = new Raw(
      place,
      upgrade(
        place,
        path,
        Object.entries(headers)
          .map(([name, value]) => `${name}: ${value}\r\n`)
          .join(""),
      ),
    );
    await raw.head();
    const { status, text } = raw;
    raw.cut();
    return { status, body: text, headers: {} };
  };
  // With the cookie of somebody who is signed in, as a browser would send it.
  const ways = {
    "Socket.IO polling": (headers) => get("/socket.io/?EIO=4&transport=polling", headers),
    "Socket.IO WebSocket": (headers) => websocket("/socket.io/?EIO=4&transport=websocket", headers),
    "/ws": (headers) => websocket("/ws", headers),
    "/sse": async (headers) => {
      const sse = new Sse(place, "mem:origin", { token: null, headers });
      const head = await within("the head", sse.opened);
      if (head.status !== 200) return sse.whole();
      sse.close();
      return { ...head, body: "" };
    },
    "/poll": (headers) => get("/poll?channel=mem:origin&wait=0", headers),
    history: (headers) => get("/api/v1/channels/mem%3Aorigin/history", headers),
    unread: (headers) => get("/api/v1/users/ann/unread", headers),
  };
  const passes = (name, status) => assert.equal(status, /WebSocket|ws/.test(name) ? 101 : 200, name);

  for (const [name, ask] of Object.entries(ways)) {
    test(`${name}: a foreign one is refused, named with the setting, whatever cookie comes with it`, async () => {
      for (const origin of foreign()) {
        const { status, body, headers } = await ask({ origin, ...cookie(tokenOf("ann")) });
        assert.equal(status, 403, `${origin} ${body}`);
        assert.ok(body.includes(origin) && body.includes("allowed_origins"), body);
        assert.equal(headers["access-control-allow-origin"], undefined);
      }
    });

    test(`${name}: with none the token alone decides; the own host and what is allowed pass`, async () => {
      for (const headers of [{}, { origin: OWN }, { origin: place.url }])
        passes(name, (await ask({ ...headers, ...cookie(tokenOf("ann")) })).status);
      // Socket.IO and /ws are told after they are in
      if (/^(Socket|.ws)/.test(name)) return;
      for (const headers of [{}, { origin: OWN }]) {
        assert.equal((await ask(headers)).status, 401);
        assert.equal((await ask({ ...headers, ...cookie(tokenOf("ann", { exp: now() - 60 })) })).status, 401);
      }
    });
  }

  test("none and no token: Socket.IO and /ws let nobody in", async () => {
    for (const transports of [["polling"], ["websocket"]]) {
      const client = new Client(newest, place.url, { transports });
      assert.equal((await client.sawError()).data.code, "unauthenticated");
      client.close();
    }
    const plain = new Plain(place);
    await within("the 101", plain.answered);
    plain.say({ type: "subscribe", channels: ["mem:a"] });
    assert.equal(await plain.end(), 4401);
  });

  test("a foreign page can't go on with somebody's session, nor take it over to a WebSocket", async () => {
    const polling = await new Polling(place).join(joining(tokenOf("ann")));
    const headers = { origin: "https://evil.example" };
    for (const answer of [
      await request("GET", polling.url, { headers }),
      await request("POST", polling.url, { headers, body: '42["publish","mem:a","e",1]' }),
      await new Socket(place, { sid: polling.sid, origin: headers.origin }).answered,
    ])
      assert.equal(answer.status, 403);
    await polling.post('421["subscribe","mem:a"]');
    assert.match((await polling.packets(1))[0], /^431\[\{"ok":true/);
  });

  test("two of them, one of them good, are refused", async () => {
    for (const target of ["/poll?channel=mem:a&wait=0", "/sse?channel=mem:a", "/socket.io/?EIO=4&transport=polling"]) {
      const head = `GET ${target} HTTP/1.1\r\nhost: 127.0.0.1:${place.port}\r\nauthorization: Bearer ${tokenOf("ann")}\r\n`;
      for (const origins of [
        [OWN, "https://evil.example"],
        ["https://evil.example", OWN],
      ]) {
        const raw = new Raw(
          place,
          `${head}${origins.map((origin) => `origin: ${origin}\r\n`).join("")}connection: close\r\n\r\n`,
        );
        await raw.end();
        assert.equal(raw.status, 403, target);
      }
    }
  });
});

describe("what belongs to others", () => {
  test("an id of somebody's private channel gives nothing of it, on any transport", async () => {
    const ids = [];
    for (const n of count(3)) ids.push(await publish(place, "user:bob", "secret", `for bob alone ${n}`));
    const own = await publish(place, "mem:cursor", "e", "for all");
    ids.push(await publish(place, "user:bob", "secret", "for bob alone, the last"));
    const bare = /for bob alone/;

    for (const since of [ids[0], ids[1], `${epochOf(own)}-0`]) {
      const answer = await poll(place, "mem:cursor", { since, wait: 0 });
      assert.deepEqual(
        answer.json.events.map(({ id }) => id),
        [own],
      );
      assertProblem(await poll(place, "user:bob", { since, wait: 0 }), 403, "forbidden");
      assertProblem(await poll(place, ["mem:cursor", "user:bob"], { since, wait: 0 }), 403, "forbidden");

      const sse = new Sse(place, "mem:cursor", { since });
      assert.equal((await sse.nextJson()).id, own);
      assert.doesNotMatch(sse.bytes, bare);
      sse.close();

      const plain = await Plain.enter(place, "ann");
      await plain.subscribe("mem:cursor", since);
      assert.equal((await plain.nextOf("event")).id, own);
      await plain.refused("subscribe", { channels: ["user:bob"], since }, "forbidden");
      await plain.refused("history", { channel: "user:bob", after: since }, "forbidden");
      await plain.refused("read", { channel: "user:bob", until: since }, "forbidden");
      await plain.refused("unread", { channel: "user:bob" }, "forbidden");
      assert.deepEqual(await plain.settled(), []);
      plain.close();

      const sio = await enter(place.server, "ann");
      assert.equal((await sio.ask("subscribe", "mem:cursor", { since })).ok, true);
      assert.equal((await sio.sawEvent("e")).args[2], own);
      for (const [event, ...args] of [
        ["subscribe", "user:bob", { since }],
        ["history", "user:bob", { after: since }],
        ["read", "user:bob", since],
        ["unread", "user:bob"],
      ])
        assert.equal((await sio.ask(event, ...args)).code, "forbidden", event);
      assert.doesNotMatch(JSON.stringify(sio.records), bare);
      sio.close();

      // in a history of one's own it is a place between others, and no more
      const history = await call("GET", place, `/api/v1/channels/mem%3Acursor/history?after=${since}`, {
        token: tokenOf("ann"),
      });
      assert.deepEqual(
        history.json.events.map(({ id }) => id),
        [own],
      );
    }
    // nor does a session that comes back with such an id as its offset
    const polling = new Polling(place);
    await polling.open();
    await polling.post(`40${JSON.stringify({ token: tokenOf("ann"), pid: "stolen", offset: ids[0] })}`);
    assert.doesNotMatch((await polling.poll()).join(), bare);
  });

  test("the session of another is not taken over with one's own token", async () => {
    const bob = await new Socket(place).open();
    bob.send(joining(tokenOf("bob")));
    const { pid } = JSON.parse((await bob.next()).slice(2));
    assert.ok(pid?.length > 10);
    bob.send('421["subscribe","user:bob"]');
    await bob.next();
    bob.cut();
    const id = await publish(place, "user:bob", "secret", "while bob is away");
    const thief = await new Socket(place).open();
    thief.send(`40${JSON.stringify({ token: tokenOf("ann"), pid, offset: `${epochOf(id)}-0` })}`);
    const welcome = await thief.next();
    assert.notEqual(JSON.parse(welcome.slice(2)).pid, pid);
    thief.send('422["subscribe","mem:a"]');
    const next = await thief.next();
    assert.match(next, /^432\[\{"ok":true/, "and nothing before it");
    thief.cut();
  });
});

describe("keys of the API", () => {
  test("3,000 that are tried are 401, none reaches the log, and the right one works meanwhile", () =>
    arena.attacked(async () => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 20 });
      const guesses = [
        "",
        API_KEY.slice(0, -1),
        `${API_KEY}x`,
        API_KEY.toUpperCase(),
        SECRET,
        tokenOf("ann"),
        "*",
        "undefined",
        "x".repeat(8000),
      ];
      for (const n of count(3000)) guesses.push(`${API_KEY.slice(0, -6)}guess${n}`.padEnd(API_KEY.length, "x"));
      const body = { channel: "mem:guess", event: "e", data: 1 };
      let next = 0;
      const guess = async () => {
        while (next < guesses.length) {
          const key = guesses[next++];
          assertProblem(await apiPublish(place, body, { key, agent }), 401, "unauthenticated", key.slice(0, 50));
          if (next % 500 === 0) assert.equal((await apiPublish(place, body)).status, 200);
        }
      };
      await Promise.all(count(20).map(guess));
      agent.destroy();
      assert.ok(!place.server.stderr.includes("guess17"));
      for (const path of ["users/ann/connections", "channels"])
        assertProblem(await call("GET", place, `/api/v1/${path}`, { token: "x".repeat(40) }), 401, "unauthenticated");
    }));
});

test("tokens and keys are in no line of the log at its most talkative, in no error and no metric", async () => {
  const marks = [];
  const marked = (claims, options) => {
    const token = sign({ sub: "marked", exp: now() + 60, mark: marks.length, ...claims }, options);
    marks.push(token.split(".")[1], ...(token.split(".")[2].length > 10 ? [token.split(".")[2]] : []));
    return token;
  };
  const answers = [];
  for (const make of [
    () => marked({}),
    () => marked({ exp: now() - 60 }),
    () => marked({}, { secret: "not the right one" }),
    () => marked({}, { alg: "none" }),
    () => `${marked({})}x`,
  ]) {
    for (const path of [
      "/poll?channel=mem:a&wait=0",
      "/sse?channel=nothing",
      "/api/v1/channels/mem%3Aa/history",
      "/api/v1/nowhere",
      "/nowhere",
      "/poll?channel=%ff",
    ]) {
      answers.push((await call("GET", place, path, { token: make() })).body);
      answers.push((await call("GET", place, `${path}${path.includes("?") ? "&" : "?"}access_token=${make()}`)).body);
      answers.push((await get(path, cookie(make()))).body);
    }
    for (const transports of [["polling"], ["websocket"]])
      for (const options of [
        { auth: { token: make() } },
        { query: { access_token: make() } },
        { extraHeaders: { authorization: `Bearer ${make()}` } },
      ]) {
        const client = new Client(newest, place.url, { transports, ...options });
        answers.push(JSON.stringify(await client.saw("an answer", (record) => !("event" in record))));
        if (client.socket.connected)
          answers.push(
            JSON.stringify([await client.ask("auth", make()), await client.ask("auth", [make()]), await client.ask(make())]),
          );
        client.close();
      }
    const plain = new Plain(place);
    await within("the 101", plain.answered);
    plain.say({ type: "auth", id: 1, token: make() });
    answers.push(JSON.stringify(await plain.next()));
    plain.say({ type: make(), id: 2 });
    plain.close();
    const mangled = new Raw(
      place,
      `GET /ws?access_token=${make()} HTTP/1.1\r\nhost: a\r\nhost: b\r\nauthorization: Bearer ${make()}\r\n\x01: x\r\n\r\n`,
    );
    answers.push((await mangled.end()).text);
  }
  answers.push(
    (await call("POST", place, "/api/v1/publish", { token: API_KEY, body: "{" })).body,
    (await request("GET", arena.metricsUrl)).body,
  );
  assert.ok(place.server.stderr.length > 100_000, "the log is talkative");
  const log = place.server.stderr;
  for (const mark of marks) {
    assert.ok(!log.includes(mark), `in the log: ${log.slice(Math.max(0, log.indexOf(mark) - 300), log.indexOf(mark) + 40)}`);
    for (const answer of answers) assert.ok(!answer.includes(mark), answer.slice(0, 300));
  }
  for (const secret of [API_KEY, SECRET]) assert.ok(!log.includes(secret));
});
