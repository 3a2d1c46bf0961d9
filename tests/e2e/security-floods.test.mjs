// Attacks by sheer number, and by slowness: connections, bodies, sessions, lists, events. docs/security.md lists them all.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import http from "node:http";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Arena, closeCode, count, frame, inArena, Raw, upgrade, WEBSOCKETS } from "./lib/arena.mjs";
import { API_KEY, apiPublish, assertProblem, call, Plain, poll, publish, Sse } from "./lib/channels.mjs";
import { enter } from "./lib/server.mjs";
import { tokenOf } from "./lib/tokens.mjs";
import { until, within } from "./lib/wait.mjs";
import { Polling, Socket } from "./lib/wire.mjs";

// Each takes a descriptor on both sides. Where a process may have fewer than that, fewer come.
const HALF_OPEN = Math.min(5000, descriptors() - 300);

function descriptors() {
  try {
    return Number(readFileSync("/proc/self/limits", "utf8").match(/^Max open files +(\d+)/m)?.[1] ?? Infinity);
  } catch {
    return 1024;
  }
}

let arena;
let place;
before(async () => {
  arena = await Arena.open();
  ({ place } = arena);
});
after(() => arena?.close());

const request = (method, target, headers = "") => `${method} ${target} HTTP/1.1\r\nhost: 127.0.0.1:${place.port}\r\n${headers}`;
const bearer = () => `authorization: Bearer ${tokenOf("ann")}\r\n`;

describe("slow ones", () => {
  test(`${HALF_OPEN} half-open connections are closed at the limit \`handshake\`, and others are served meanwhile`, () =>
    inArena({ limits: 'messages_per_second = 0\nhandshake = "4s"\n' }, async (arena) => {
      const { place } = arena;
      const kinds = [
        undefined,
        "G",
        "GET /poll?channel=mem:a HTTP/1.1\r\nhost: a\r\n",
        `GET /sse?channel=mem:a HTTP/1.1\r\nhost: a\r\nx: ${"x".repeat(2000)}`,
        "PRI * HTTP/2.0\r\n\r\nSM\r\n",
        upgrade(place, "/ws"),
        upgrade(place, "/ws").slice(0, -2),
        "POST /api/v1/publish HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n",
      ];
      await arena.attacked(
        async () => {
          const all = [];
          for (const n of count(HALF_OPEN)) {
            all.push(new Raw(place, kinds[n % kinds.length], { from: `127.0.0.${2 + (n % 4)}` }));
            if (n % 100 === 0) await all.at(-1).open;
          }
          await Promise.all(all.map(({ open }) => open));
          // some of them keep sending, a byte at a time: the limit is for the whole head
          const drip = setInterval(
            () => all.forEach((raw, n) => n % 40 === 2 && raw.socket.writable && raw.socket.write("x")),
            200,
          );
          await arena.newcomers();
          await Promise.all(all.map((raw) => raw.end(30_000)));
          clearInterval(drip);
          // who had come through as far as the 101 is told why
          for (const raw of all.filter((_, n) => n % kinds.length === 5)) {
            assert.match(raw.text, /^HTTP\/1\.1 101/);
            assert.equal(closeCode(raw), 4408);
          }
          assert.ok(!all.some(({ text }) => /^HTTP\/1\.1 200/.test(text)));
          await until("their descriptors are free", async () => (await arena.metric("process_open_fds")) < 200);
        },
        { grows_mb: 192 },
      );
    }));

  test("an address that takes more than its share of connections without asking anything is turned away, and no other", () =>
    inArena({ limits: 'connections_per_ip = 20\nhandshake = "20s"\n' }, async (arena) => {
      const { place } = arena;
      const SHARE = 20 + 256;
      await arena.attacked(async () => {
        const from = "127.0.0.2";
        // clients are none of them
        const clients = count(20).map(() => new Raw(place, upgrade(place, WEBSOCKETS["/ws"]("flood")), { from }));
        for (const raw of clients) assert.match(await raw.head(), /^HTTP\/1\.1 101/);
        const all = [];
        for (const n of count(600)) {
          all.push(new Raw(place, ["", "G", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"][n % 3], { from }));
          if (n % 50 === 0) await all.at(-1).open;
        }
        const isGone = ({ socket }) => socket.destroyed || socket.readableEnded;
        await until("what is too much is closed", () => all.filter(isGone).length === all.length - SHARE);
        await arena.newcomers();
        const other = new Raw(place, "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", { from: "127.0.0.3" });
        assert.match((await other.end()).text, /^HTTP\/1\.1 200/);
        for (const raw of all) raw.cut();
        await until("there is room again", async () => {
          const raw = new Raw(place, "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", { from });
          return /^HTTP\/1\.1 200/.test((await raw.end()).text);
        });
        for (const raw of clients) raw.cut();
      });
    }));

  test("a connection that is kept alive and says no more is closed at the limit too", () =>
    inArena({ limits: 'handshake = "1s"\n' }, async ({ place }) => {
      const all = count(20).map(() => new Raw(place, "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"));
      for (const raw of all) assert.match((await raw.end()).text, /^HTTP\/1\.1 200/);
    }));
});

describe("bodies", () => {
  test("one without an end, to each that takes one, ends at the limit with 413", async () => {
    const polling = await new Polling(place).join(`40${JSON.stringify({ token: tokenOf("ann") })}`);
    const targets = {
      "a POST of Socket.IO": [new URL(polling.url).pathname + new URL(polling.url).search, ""],
      publish: ["/api/v1/publish", `authorization: Bearer ${API_KEY}\r\n`],
      "a read mark": ["/api/v1/users/ann/read", bearer()],
    };
    for (const [what, [target, headers]] of Object.entries(targets)) {
      await arena.attacked(async () => {
        const all = count(10).map(
          () =>
            new Raw(place, request("POST", target, `${headers}content-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n`)),
        );
        const chunk = `10000\r\n${"x".repeat(65_536)}\r\n`;
        const sent = await within("the end of all", Promise.all(all.map((raw) => raw.pour(chunk, 200e6))));
        for (const raw of all) {
          await raw.end();
          assert.match(raw.text, /^(HTTP\/1\.1 4(13|00)|$)/, `${what} ${raw.text.slice(0, 200)}`);
        }
        assert.ok(Math.max(...sent) < 50e6, `${what}: ${sent}`);
      });
    }
  });

  test("one that is said to be huge is refused before it comes", async () => {
    for (const length of ["100000000", "9223372036854775807", "18446744073709551616"])
      for (const target of ["/api/v1/publish", "/api/v1/batch", "/api/v1/users/ann/read"]) {
        const raw = new Raw(
          place,
          request("POST", target, `authorization: Bearer ${API_KEY}\r\ncontent-length: ${length}\r\n\r\n`),
        );
        await raw.head();
        assert.ok([413, 400].includes(raw.status), `${target} ${length}: ${raw.text.slice(0, 100)}`);
        raw.cut();
      }
  });

  test("without a key not one byte of a body is waited for", async () => {
    const raw = new Raw(
      place,
      request("POST", "/api/v1/batch", "authorization: Bearer wrong\r\ncontent-length: 900000\r\n\r\n"),
    );
    await raw.head();
    assert.equal(raw.status, 401);
    raw.cut();
  });
});

describe("lists and floods", () => {
  test("3,000 sessions of long-polling that never say who they are", () =>
    arena.attacked(async () => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 20 });
      const open = () => call("GET", place, "/socket.io/?EIO=4&transport=polling", { agent });
      for (const _ of count(150)) for (const { status } of await Promise.all(count(20).map(open))) assert.equal(status, 200);
      agent.destroy();
    }));

  test("huge lists of channels are `too_many_channels`, everywhere", () =>
    arena.attacked(async () => {
      const many = count(60_000).map((n) => `mem:${n}`);
      const plain = await Plain.enter(place, "ann");
      const sio = await enter(place.server, "ann");
      for (const ask of ["subscribe", "unsubscribe"]) {
        const answer = await plain.ask(ask, { channels: many });
        assert.ok(
          answer.code === "too_many_channels" || (ask === "unsubscribe" && answer.type === "ok"),
          JSON.stringify(answer).slice(0, 200),
        );
        const said = await sio.ask(ask, many);
        assert.ok(said.code === "too_many_channels" || (ask === "unsubscribe" && said.ok), JSON.stringify(said).slice(0, 200));
      }
      assertProblem(await apiPublish(place, { channels: many, event: "e", data: 1 }), 400, "too_many_channels");
      assertProblem(
        await apiPublish(place, { channels: count(129).map((n) => `mem:${n}`), event: "e", data: 1 }),
        400,
        "too_many_channels",
      );
      const events = count(1001).map(() => ({ channel: "mem:a", event: "e", data: 1 }));
      assertProblem(await call("POST", place, "/api/v1/batch", { token: API_KEY, body: { events } }), 413, "too_large");
      assertProblem(await poll(place, many.slice(0, 700), { wait: 0 }), 400, "too_many_channels");
      assertProblem(await new Sse(place, many.slice(0, 700)).whole(), 400, "too_many_channels");
      // claims that grant as much as a token can hold
      const claims = { channels: { subscribe: count(600).map((n) => `*:${n}*a*b*c*`), publish: [] } };
      const granted = await Plain.enter(place, "ann", { claims });
      for (const n of count(50))
        await granted.refused("subscribe", { channels: [`room:${"aabbcc".repeat(40)}${n}`] }, "forbidden");
      plain.close();
      sio.close();
      granted.close();
    }));

  test("events past the rate are refused, and who goes on is closed with 4429, on both WebSockets", () =>
    inArena({ limits: "messages_per_second = 5\nmessages_burst = 10\n" }, async (arena) => {
      const { place } = arena;
      const said = {
        "/ws": JSON.stringify({ type: "publish", channel: "mem:flood", event: "e", data: 1 }),
        "Socket.IO": '42["publish","mem:flood","e",1]',
      };
      await arena.attacked(async () => {
        const floods = Object.entries(WEBSOCKETS).flatMap(([name, target]) =>
          count(3).map(async () => {
            const raw = new Raw(place, upgrade(place, target("flood")));
            await raw.head();
            assert.equal(raw.status, 101);
            if (name === "Socket.IO") raw.socket.write(frame(1, "40"));
            const many = Buffer.concat(count(50).map(() => frame(1, said[name])));
            while (!raw.over && raw.socket.writable) {
              raw.socket.write(many);
              await sleep(50);
            }
            await raw.end();
            assert.ok(raw.text.includes("rate_limited"), name);
            return closeCode(raw);
          }),
        );
        const codes = await within("the end of the floods", Promise.all(floods), 40_000);
        for (const code of codes) assert.ok(code === 4429 || code === undefined, `${code}`);
        assert.ok(codes.includes(4429));
      });
      assert.ok((await arena.metric("tidings_rate_limited_total")) > 100);
    }));

  test("connections past the limit of an address are refused on every transport, and other addresses are not", () =>
    inArena({ limits: 'connections_per_ip = 20\nmessages_per_second = 0\nhandshake = "3s"\n' }, async (arena) => {
      const { place } = arena;
      const from = "127.0.0.2";
      await arena.attacked(async () => {
        const held = count(20).map(() => new Raw(place, upgrade(place, WEBSOCKETS["/ws"]("flood")), { from }));
        for (const raw of held) assert.match(await raw.head(), /^HTTP\/1\.1 101/);
        const refused = {};
        const targets = {
          "/ws": upgrade(place, WEBSOCKETS["/ws"]("flood")),
          "Socket.IO": upgrade(place, WEBSOCKETS["Socket.IO"]("flood")),
          polling: `GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: 127.0.0.1:${place.port}\r\nconnection: close\r\n\r\n`,
          "/sse": `GET /sse?channel=mem:a HTTP/1.1\r\nhost: 127.0.0.1:${place.port}\r\n${bearer()}connection: close\r\n\r\n`,
          "/poll": `GET /poll?channel=mem:a&wait=60&since=${(await poll(place, "mem:a", { wait: 1 })).json.next} HTTP/1.1\r\nhost: 127.0.0.1:${place.port}\r\n${bearer()}connection: close\r\n\r\n`,
        };
        for (const [name, text] of Object.entries(targets)) {
          const all = count(100).map(() => new Raw(place, text, { from }));
          for (const raw of all) {
            await raw.end();
            // a page's EventSource gives up on anything but a stream, so it gets one that says when to come back
            assert.match(
              raw.text,
              name === "/sse" ? /^HTTP\/1\.1 200[^]*retry:/ : /too_many_connections/,
              `${name} ${raw.text.slice(0, 300)}`,
            );
          }
          refused[name] = all.length;
        }
        // X-Forwarded-For of who is no proxy of ours buys nothing
        const forged = new Raw(
          place,
          targets.polling.replace(
            "\r\n\r\n",
            "\r\nx-forwarded-for: 10.1.2.3\r\nforwarded: for=10.1.2.3\r\nx-real-ip: 10.1.2.3\r\n\r\n",
          ),
          { from },
        );
        assert.match((await forged.end()).text, /too_many_connections/);
        for (const raw of held) raw.cut();
        await until("there is room again", async () => {
          const raw = new Raw(place, targets["/ws"], { from });
          await raw.head();
          await sleep(20);
          const isIn = raw.text.includes("welcome");
          raw.cut();
          return isIn;
        });
      });
    }));
});

describe("who asks and never reads", () => {
  // A page of history of 900 kB each, asked for in one write as often as the rate allows.
  const ASKED = 190;
  const asking = {
    "/ws": async (place) => {
      const plain = await Plain.enter(place, "ann");
      plain.ws._socket.pause();
      plain.ws._socket.write(Buffer.concat(count(ASKED).map(() => frame(1, '{"type":"history","id":1,"channel":"mem:big"}'))));
      return () => plain.cut();
    },
    "Socket.IO": async (place) => {
      const socket = await new Socket(place).join(`40${JSON.stringify({ token: tokenOf("ann") })}`);
      socket.ws._socket.pause();
      socket.ws._socket.write(Buffer.concat(count(ASKED).map(() => frame(1, '420["history","mem:big"]'))));
      return () => socket.cut();
    },
    "Socket.IO, polling": async (place) => {
      const polling = await new Polling(place).join(`40${JSON.stringify({ token: tokenOf("ann") })}`);
      await polling.post(count(ASKED).map(() => '420["history","mem:big"]').join("\x1e"));
      return () => {};
    },
  };
  for (const [name, ask] of Object.entries(asking))
    test(`${name}: is answered no more than fits its outbox`, () =>
      arena.attacked(
        async () => {
          await publish(place, "mem:big", "e", "x".repeat(900_000));
          const ends = [];
          for (let n = 0; n < 5; n++) ends.push(await ask(place));
          await until("answers wait", async () => (await arena.metric("tidings_outbox_bytes")) > 5_000_000);
          await sleep(1000);
          const waiting = await arena.metric("tidings_outbox_bytes");
          assert.ok(waiting < 5 * 3_000_000, `${waiting} bytes wait`);
          for (const end of ends) end();
        },
        { grows_mb: 64 },
      ));

  test("gets all of it once it reads", () =>
    arena.attacked(async () => {
      await publish(place, "mem:big", "e", "x".repeat(900_000));
      const plain = await Plain.enter(place, "ann");
      plain.ws._socket.pause();
      plain.ws._socket.write(Buffer.concat(count(40).map(() => frame(1, '{"type":"history","id":1,"channel":"mem:big","limit":1}'))));
      await sleep(500);
      plain.ws._socket.resume();
      for (let n = 0; n < 40; n++) assert.equal((await plain.next()).type, "ok");
      assert.deepEqual(await plain.result("ping"), {});
      plain.close();
    }));
});
