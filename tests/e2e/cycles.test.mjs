// PRODUCT.md, guarantee 7: "When a connection ends, its subscriptions, handlers, timers and presence end; counts return to zero."
// TIDINGS_E2E_CYCLES sets how often (1,000). What is seen from outside: presence, limits on connections, descriptors, memory.
import assert from "node:assert/strict";
import http from "node:http";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { FAST, Place, Plain, poll, publish, query, tailOf } from "./lib/channels.mjs";
import { tokenOf } from "./lib/tokens.mjs";
import { until, within } from "./lib/wait.mjs";
import { Polling, Socket } from "./lib/wire.mjs";

const CYCLES = Number(process.env.TIDINGS_E2E_CYCLES ?? 1000);
const AT_ONCE = 8;
const count = (n) => Array.from({ length: n }, (_, i) => i);

// Short sessions, so that theirs are past their window; few connections, so that one that is left is seen.
const LIMITS = `${FAST}session = "1s"\nconnections = 1000\n`;
const channels = (n) => [`mem:cycles ${n % 5}`, `kept:cycles ${n % 3}`];
const visitor = (n) => tokenOf(`visitor ${n % 20}`);

let place;
let watcher;
let since;
before(async () => {
  place = await Place.open({ data: true, limits: LIMITS });
  watcher = await Plain.enter(place, "watcher");
  await watcher.subscribe([0, 1, 2, 3, 4].map((n) => `mem:cycles ${n}`));
  since = await tailOf(place, "mem:cycles 0");
});
after(() => place?.close());

const proc = (file) => `/proc/${place.server.child.pid}/${file}`;
const descriptors = () => readdirSync(proc("fd")).length;
const rss_kb = () => Number(readFileSync(proc("status"), "utf8").match(/VmRSS:\s+(\d+) kB/)[1]);

// One cycle of each transport: in, subscribed, and gone in the rudest way.
const cycles = {
  "/ws": async (n) => {
    const plain = new Plain(place, { token: visitor(n) });
    await plain.welcomed();
    await plain.subscribe(channels(n), n % 2 ? since : undefined);
    if (n % 3 === 0) plain.close();
    else plain.cut();
    await plain.closed;
  },
  "/sse": (n) =>
    new Promise((done, fail) => {
      const pairs = channels(n).map((channel) => ["channel", channel]);
      if (n % 2) pairs.push(["lastEventId", since]);
      const request = http.get(
        `${place.url}/sse?${query(pairs)}`,
        { agent: false, headers: { authorization: `Bearer ${visitor(n)}` } },
        (response) => {
          if (response.statusCode !== 200) return fail(new Error(`${response.statusCode}`));
          response.once("data", () => request.destroy());
          response.on("error", () => {});
          response.on("close", done);
        },
      );
      request.on("error", () => done());
    }),
  "a long poll that is cut": async (n) => {
    const tail = await tailOf(place, "mem:cycles 0", { token: visitor(n) });
    await poll(place, `mem:cycles ${n % 5}`, {
      since: tail,
      wait: 60,
      token: visitor(n),
      started: (request) => request.on("finish", () => setImmediate(() => request.destroy())),
    }).catch(() => {});
  },
  "a poll that is answered": async (n) => {
    const { status } = await poll(place, channels(n), { since, wait: n % 2, limit: 1000, token: visitor(n) });
    assert.equal(status, 200);
  },
  "Socket.IO over WebSocket": async (n) => {
    const socket = await new Socket(place).join(`40${JSON.stringify({ token: visitor(n) })}`);
    socket.send(`421${JSON.stringify(["subscribe", channels(n)])}`);
    while (!(await socket.next()).startsWith("431"));
    if (n % 3 === 0) socket.ws.close();
    else socket.cut();
    await socket.closed;
  },
  "Socket.IO over polling": async (n) => {
    const polling = await new Polling(place).join(`40${JSON.stringify({ token: visitor(n) })}`);
    await polling.post(`421${JSON.stringify(["subscribe", channels(n)])}`);
    // a poll that is cut while it waits ends the session, and so does a goodbye; one that is just being answered does not
    if (n % 2 === 0) return polling.post("1").catch(() => {});
    const cut = { started: (request) => request.on("finish", () => setTimeout(() => request.destroy(), 20)) };
    while (await polling.get(cut).then(({ status }) => status === 200, () => false));
  },
};

async function many(cycle, from, to) {
  let next = from;
  await Promise.all(
    count(AT_ONCE).map(async () => {
      while (next < to) await within("a cycle", cycle(next++), 60_000);
    }),
  );
}

async function quiet(base) {
  for (const n of count(5)) {
    await until(
      `presence of mem:cycles ${n} is the watcher alone`,
      async () => {
        const { users, count } = await watcher.result("presence", { channel: `mem:cycles ${n}` });
        return count === 1 && users[0].user === "watcher";
      },
      60_000,
    );
  }
  await until(
    () => `descriptors are back at ${base}, are ${descriptors()}`,
    () => descriptors() <= base + 4,
    60_000,
  );
}

describe(`${CYCLES} connect, subscribe, cut cycles`, () => {
  for (const [name, cycle] of Object.entries(cycles)) {
    test(`over ${name}: presence, descriptors and connections return to where they were, memory is flat`, async () => {
      // events to replay and to lose
      for (const n of count(10)) await publish(place, n % 2 ? "mem:cycles 0" : "kept:cycles 0", "e", n);
      await quiet(descriptors());
      const base = descriptors();
      // what is made once is made
      await many(cycle, 0, Math.min(CYCLES, 400));
      await quiet(base);
      const before = rss_kb();
      await many(cycle, 0, CYCLES);
      await quiet(base);
      // The tables of the store grow to some 20 MB in memory before they are written out. The library's own test of this has no
      // store, and counts what is left.
      await until(
        () => `memory is flat: ${before} kB before, ${rss_kb()} kB after`,
        () => rss_kb() <= before + 24_576 + CYCLES,
        30_000,
      );
      watcher.messages.length = 0;
      await watcher.settled();
    });
  }

  test("as many as the limit allows come in at once, and are served", async () => {
    // 64 in all: the watcher and 63 more, so none of the thousands is still counted
    const all = [];
    await until(
      "63 are welcome",
      async () => {
        while (all.length < 63) {
          const plain = new Plain(place, { token: visitor(all.length) });
          const first = await plain.next().catch(() => ({}));
          if (first.type !== "welcome") return false;
          all.push(plain);
        }
        return true;
      },
      60_000,
    );
    await Promise.all(all.map((plain) => plain.subscribe("mem:all at once")));
    const id = await publish(place, "mem:all at once", "e", 1);
    for (const plain of all) assert.equal((await plain.nextOf("event")).id, id);
    for (const plain of all) plain.close();
  });
});
