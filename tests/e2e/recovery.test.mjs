// Connection state recovery on the binary: stock socket.io-client comes back to its rooms and to what it missed, `socket.recovered`.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client, newest } from "./lib/clients.mjs";
import { FAST, inPlace, Place, Plain, publish } from "./lib/channels.mjs";
import { Proxy } from "./lib/proxy.mjs";
import { ID } from "./lib/server.mjs";
import { now, tokenOf } from "./lib/tokens.mjs";
import { until } from "./lib/wait.mjs";
import { Polling, Socket } from "./lib/wire.mjs";

let place;
before(async () => (place = await Place.open({ data: true })));
after(() => place?.close());

const count = (n) => Array.from({ length: n }, (_, i) => i);
const AGAIN = { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 100 };

// A stock client that comes back by itself; `story` is what its handlers saw, in order: "connect", "recovered" and ids.
async function stock(server, { sub = "ann", claims, token = tokenOf(sub, claims), transports = ["websocket"], ...options } = {}) {
  const client = new Client(newest, server.url, {
    transports,
    auth: (done) => done({ token: client.token }),
    ...AGAIN,
    ...options,
  });
  client.token = token;
  client.story = [];
  client.socket.on("connect", () => client.story.push(client.socket.recovered ? "recovered" : "connect"));
  client.socket.onAny((event, ...args) => {
    if (args.length === 3 && typeof args[2] === "string") client.story.push(args[2]);
    else if (event === "gap") client.story.push("gap");
  });
  return client.connected();
}
const told = async (client, expected) => {
  await until(
    () => `${JSON.stringify(expected)}, so far ${JSON.stringify(client.story)}`,
    () => client.story.length >= expected.length,
    30_000,
  );
  assert.deepEqual(client.story, expected);
};
async function cut(client) {
  client.socket.io.engine.close();
  await until("it is gone", () => !client.socket.connected);
}

for (const transport of ["websocket", "polling"]) {
  const transports = [transport];
  const channel = (name) => `mem:${transport} ${name}`;

  describe(`over ${transport}`, { concurrency: true }, () => {
    test("`socket.recovered`, the same socket.id, rooms restored, missed events first", async () => {
      const proxy = await Proxy.to(place);
      const client = await stock(proxy, { transports });
      const { id } = client.socket;
      assert.equal(client.socket.recovered, false);
      await client.ask("subscribe", [channel("rooms a"), channel("rooms b")]);
      const seen = [await publish(place, channel("rooms a"), "e", 1)];
      await told(client, ["connect", ...seen]);
      proxy.down();
      await client.sawDisconnect();
      const missed = [];
      for (const n of count(5)) missed.push(await publish(place, channel(n % 2 ? "rooms a" : "rooms b"), "e", n));
      proxy.up();
      await told(client, ["connect", ...seen, ...missed, "recovered"]);
      assert.equal(client.socket.id, id);
      // no subscribe again, and live goes on
      const live = [await publish(place, channel("rooms b"), "e", 1), await publish(place, channel("rooms a"), "e", 1)];
      await told(client, ["connect", ...seen, ...missed, "recovered", ...live]);
      client.close();
      proxy.close();
    });

    test("before any event was received", async () => {
      const proxy = await Proxy.to(place);
      const client = await stock(proxy, { transports });
      await client.ask("subscribe", channel("quiet"));
      proxy.down();
      await client.sawDisconnect();
      const missed = [await publish(place, channel("quiet"), "e", 1), await publish(place, channel("quiet"), "e", 2)];
      proxy.up();
      await told(client, ["connect", ...missed, "recovered"]);
      client.close();
      proxy.close();
    });

    test("before it subscribed to anything, and with nothing missed", async () => {
      const client = await stock(place, { transports, sub: `own ${transport}` });
      const { id } = client.socket;
      await cut(client);
      await told(client, ["connect", "recovered"]);
      assert.equal(client.socket.id, id);
      // its own channel is there
      const own = await publish(place, `user:own ${transport}`, "note", transport);
      await until("its own channel's event", () => client.story.includes(own));
      client.close();
    });

    test("more than once", async () => {
      const client = await stock(place, { transports });
      await client.ask("subscribe", channel("often"));
      const expected = ["connect"];
      for (const round of count(6)) {
        if (round % 2) expected.push(await publish(place, channel("often"), "e", round));
        await told(client, expected);
        await cut(client);
        if (round % 3) await publish(place, channel("nobody's"), "e", round);
        expected.push("recovered");
        await told(client, expected);
      }
      expected.push(await publish(place, channel("often"), "end", 1));
      await told(client, expected);
      client.close();
    });

    test("on another transport", async () => {
      const client = await stock(place, { transports });
      const { id } = client.socket;
      await client.ask("subscribe", channel("other"));
      const expected = ["connect", await publish(place, channel("other"), "e", 1)];
      await told(client, expected);
      for (const other of ["polling", "websocket", "polling"]) {
        client.socket.io.opts.transports = [other];
        await cut(client);
        expected.push("recovered");
        await told(client, expected);
        expected.push(await publish(place, channel("other"), "e", other));
        await told(client, expected);
        assert.equal(client.transport, other);
        assert.equal(client.socket.id, id);
      }
      client.close();
    });

    test("half-open: the client is back before the server knows; presence doesn't flap", async () => {
      const proxy = await Proxy.to(place);
      const watcher = await Plain.enter(place, "watcher");
      await watcher.subscribe(channel("half"));
      const client = await stock(proxy, { transports, sub: `half ${transport}` });
      await client.ask("subscribe", channel("half"));
      const expected = ["connect", await publish(place, channel("half"), "e", 1)];
      await told(client, expected);
      const before = watcher.messages.length;
      // over polling there are moments without a connection
      const ends = [];
      await until("the client knows", () => {
        if (client.socket.connected) ends.push(proxy.cutClientSide());
        return !client.socket.connected;
      });
      expected.push("recovered");
      await told(client, expected);
      expected.push(await publish(place, channel("half"), "e", 2));
      await told(client, expected);
      for (const end of ends) end();
      expected.push(await publish(place, channel("half"), "e", 3));
      await told(client, expected);
      await watcher.settled();
      const seen = watcher.messages.slice(before).flatMap(({ type }) => (["join", "leave"].includes(type) ? [type] : []));
      // Over polling the client ends its old session itself, with a POST over a new connection: then the server does know.
      if (transport === "polling") assert.ok(["", "leave,join"].includes(seen.join()), seen.join());
      else assert.deepEqual(seen, []);
      client.close();
      watcher.close();
      proxy.close();
    });

    test("what was unsubscribed is not restored", async () => {
      const client = await stock(place, { transports });
      await client.ask("subscribe", [channel("left"), channel("stays")]);
      await client.ask("unsubscribe", channel("left"));
      await cut(client);
      await publish(place, channel("left"), "e", 1);
      await told(client, ["connect", "recovered"]);
      await publish(place, channel("left"), "e", 2);
      const id = await publish(place, channel("stays"), "e", 1);
      await told(client, ["connect", "recovered", id]);
      client.close();
    });

    test("one's own channel that was left stays left", async () => {
      const sub = `left ${transport}`;
      const client = await stock(place, { transports, sub });
      await client.ask("subscribe", channel("own left"));
      await client.ask("unsubscribe", `user:${sub}`);
      await cut(client);
      await publish(place, `user:${sub}`, "e", 1);
      await told(client, ["connect", "recovered"]);
      await publish(place, `user:${sub}`, "e", 2);
      const id = await publish(place, channel("own left"), "e", 1);
      await told(client, ["connect", "recovered", id]);
      client.close();
    });

    test("Subscriptions and permissions are checked again: what is no longer permitted is not restored", async () => {
      const claims = (...subscribe) => ({ channels: { subscribe, publish: [] } });
      const [no, yes] = [`room:${transport} no`, `room:${transport} yes`];
      const proxy = await Proxy.to(place);
      const client = await stock(proxy, { transports, claims: claims(no, yes) });
      await client.ask("subscribe", [no, yes]);
      const first = await publish(place, yes, "e", 1);
      await told(client, ["connect", first]);
      client.token = tokenOf("ann", claims(yes));
      proxy.down();
      await client.sawDisconnect();
      const secret = [await publish(place, no, "secret", 1)];
      const missed = await publish(place, yes, "e", 2);
      proxy.up();
      await until("it is back", () => client.socket.connected);
      secret.push(await publish(place, no, "secret", 2));
      // declined as a whole, or restored in part: then what it missed there comes
      if (!client.socket.recovered) assert.equal((await client.ask("subscribe", yes, { since: first })).ok, true);
      const live = await publish(place, yes, "e", 3);
      await until("the live one", () => client.story.includes(live));
      assert.deepEqual(
        client.story.filter((entry) => ID.test(entry)),
        [first, missed, live],
      );
      for (const id of secret) assert.ok(!client.story.includes(id));
      assert.equal((await client.ask("subscribe", no)).code, "forbidden");
      client.close();
      proxy.close();
    });

    test("after a kill and a restart: kept channels, nothing missing, nothing twice", async () => {
      await inPlace({ data: true }, async (place) => {
        const proxy = await Proxy.to(place);
        const client = await stock(proxy, { transports });
        const { id } = client.socket;
        await client.ask("subscribe", ["kept:a", "kept:b"]);
        const expected = ["connect", await publish(place, "kept:a", "e", 1)];
        await told(client, expected);
        for (const round of count(2)) {
          proxy.down();
          await client.sawDisconnect();
          for (const n of count(3)) expected.push(await publish(place, n % 2 ? "kept:a" : "kept:b", "missed", `${round} ${n}`));
          await place.restart();
          expected.push(await publish(place, "kept:b", "after the restart", round));
          proxy.up();
          expected.push("recovered");
          await told(client, expected);
          assert.equal(client.socket.id, id);
          expected.push(await publish(place, "kept:a", "live", round));
          await told(client, expected);
        }
        client.close();
        proxy.close();
      });
    });

    test("after a kill before any event was received", async () => {
      await inPlace({ data: true }, async (place) => {
        const client = await stock(place, { transports });
        await client.ask("subscribe", "kept:a");
        await place.restart();
        const id = await publish(place, "kept:a", "e", 1);
        await until("it is back, and has it", () => client.story.includes(id), 30_000);
        assert.equal(client.socket.recovered, true);
        assert.deepEqual(
          client.story.filter((entry) => entry !== "recovered"),
          ["connect", id],
        );
        client.close();
      });
    });
  });
}

describe("on the wire", { concurrency: true }, () => {
  const connect = (sub, more = {}, claims) => `40${JSON.stringify({ token: tokenOf(sub, claims), ...more })}`;
  // A socket that has said CONNECT: what came before the answer, and the answer.
  async function connected(text, server = place) {
    const socket = await new Socket(server).open();
    socket.send(text);
    const before = [];
    for (;;) {
      const packet = await socket.next();
      if (packet.closed) assert.fail(`closed with ${JSON.stringify(packet.closed)} after ${before}`);
      if (packet.startsWith("40")) return { socket, before, ...JSON.parse(packet.slice(2)) };
      if (packet.startsWith("44")) return { socket, before, refused: JSON.parse(packet.slice(2)) };
      before.push(packet);
    }
  }
  async function ask(socket, ...args) {
    socket.send(`427${JSON.stringify(args)}`);
    for (;;) {
      const packet = await socket.next(`the ack of ${args[0]}`);
      if (packet.startsWith?.("437")) return JSON.parse(packet.slice(3))[0];
    }
  }

  test("the answer to CONNECT carries a private `pid`, the events their id", async () => {
    const { socket, sid, pid } = await connected(connect("ann"));
    assert.ok(typeof pid === "string" && pid.length >= 16);
    assert.notEqual(pid, sid);
    assert.notEqual(pid, socket.sid);
    await ask(socket, "subscribe", "mem:wire");
    const id = await publish(place, "mem:wire", "e", 1);
    const packet = await socket.next();
    const [event, data, meta, offset] = JSON.parse(packet.slice(2));
    assert.deepEqual([event, data, meta.channel, offset], ["e", 1, "mem:wire", id]);
    assert.ok(!packet.includes(pid));
    socket.cut();
  });

  test("missed packets first, then `40` with the same sid and pid", async () => {
    const first = await connected(connect("ann"));
    await ask(first.socket, "subscribe", "mem:first");
    const offset = await publish(place, "mem:first", "e", 0);
    await first.socket.next();
    first.socket.cut();
    const missed = [];
    for (const n of count(3)) missed.push(await publish(place, "mem:first", "e", n));
    const again = await connected(connect("ann", { pid: first.pid, offset }));
    assert.deepEqual([again.sid, again.pid], [first.sid, first.pid]);
    assert.deepEqual(
      again.before.map((packet) => JSON.parse(packet.slice(2)).at(-1)),
      missed,
    );
    again.socket.cut();
  });

  test("with another user's `pid` it is a new session, and nothing of the other's comes", async () => {
    const ann = await connected(connect("ann"));
    await ask(ann.socket, "subscribe", "mem:hers");
    const offset = await publish(place, "mem:hers", "e", 0);
    await ann.socket.next();
    ann.socket.cut();
    const missed = await publish(place, "mem:hers", "e", 1);
    for (const more of [{ pid: ann.pid, offset }, { pid: ann.pid }]) {
      const bob = await connected(connect("bob", more));
      assert.notEqual(bob.sid, ann.sid);
      assert.notEqual(bob.pid, ann.pid);
      assert.deepEqual(bob.before, []);
      await publish(place, "mem:hers", "not for bob", 1);
      assert.deepEqual((await ask(bob.socket, "unsubscribe", "mem:none")).ok, true);
      bob.socket.cut();
    }
    // hers is not lost by that
    const again = await connected(connect("ann", { pid: ann.pid, offset }));
    assert.equal(again.sid, ann.sid);
    assert.equal(JSON.parse(again.before[0].slice(2)).at(-1), missed);
    again.socket.cut();
  });

  test("while ann is still there, bob's try with her `pid` does her no harm", async () => {
    const ann = await connected(connect("ann"));
    await ask(ann.socket, "subscribe", "mem:unharmed");
    const bob = await connected(connect("bob", { pid: ann.pid }));
    assert.notEqual(bob.sid, ann.sid);
    const id = await publish(place, "mem:unharmed", "e", 1);
    assert.equal(JSON.parse((await ann.socket.next()).slice(2)).at(-1), id);
    ann.socket.cut();
    bob.socket.cut();
  });

  test("The same `pid` and user take over a connection not yet known dead; the old one closes with 4409", async () => {
    const first = await connected(connect("ann"));
    await ask(first.socket, "subscribe", "mem:taken");
    const offset = await publish(place, "mem:taken", "e", 0);
    await first.socket.next();
    const second = await connected(connect("ann", { pid: first.pid, offset }));
    assert.deepEqual([second.sid, second.pid], [first.sid, first.pid]);
    const { code, before } = await first.socket.end();
    assert.equal(code, 4409);
    assert.deepEqual(before, []);
    const id = await publish(place, "mem:taken", "e", 1);
    assert.equal(JSON.parse((await second.socket.next()).slice(2)).at(-1), id);
    second.socket.cut();
  });

  test("two that come with one `pid` at once: one of them has it in the end", async () => {
    const first = await connected(connect("ann"));
    await ask(first.socket, "subscribe", "mem:race");
    first.socket.cut();
    const both = await Promise.all(count(4).map(() => connected(connect("ann", { pid: first.pid })).catch(() => undefined)));
    const id = await publish(place, "mem:race", "e", 1);
    await until("one has the session", async () => {
      const probe = await connected(connect("ann", { pid: first.pid }));
      const won = probe.sid === first.sid && probe.before.some((packet) => packet.includes(id));
      probe.socket.cut();
      return won || probe.sid === first.sid;
    });
    for (const one of both) one?.socket.cut();
  });

  test("unknown, mangled, foreign and future offsets and pids: declined or announced, never silent, never a close", async () => {
    const other = await connected(connect("ann"));
    for (const more of [
      { pid: "unknown", offset: "unknown" },
      { pid: "", offset: "" },
      { pid: 7, offset: 7 },
      { pid: null, offset: null },
      { pid: {}, offset: [] },
      { pid: "x".repeat(10_000), offset: "x".repeat(10_000) },
    ]) {
      const one = await connected(connect("ann", more));
      assert.ok(one.sid && one.pid, JSON.stringify(one));
      assert.notEqual(one.pid, more.pid);
      one.socket.cut();
    }
    for (const mangle of [
      () => "mangled",
      (id) => id.replace(/^[^-]+/, "zzzzzzz0"),
      (id) => id.replace(/\d+$/, "999999999999999"),
    ]) {
      const first = await connected(connect("ann"));
      await ask(first.socket, "subscribe", "mem:offsets");
      const id = await publish(place, "mem:offsets", "e", 0);
      first.socket.cut();
      const again = await connected(connect("ann", { pid: first.pid, offset: mangle(id) }));
      const recovered = again.pid === first.pid;
      const events = again.before.map((packet) => JSON.parse(packet.slice(2)));
      const announced = events.some(([name]) => name === "gap");
      const delivered = events.some((args) => args.at(-1) === id);
      assert.ok(!recovered || announced || delivered, `${recovered} ${JSON.stringify(again.before)}`);
      again.socket.cut();
    }
    assert.equal((await ask(other.socket, "subscribe", "mem:other")).ok, true);
    other.socket.cut();
  });

  test("who said goodbye (`41`) has no session to come back to", async () => {
    const first = await connected(connect("ann"));
    await ask(first.socket, "subscribe", "mem:goodbye");
    first.socket.send("41");
    first.socket.send("2"); // nothing comes of it, but the 41 is on its way before the end
    first.socket.ws.close();
    await first.socket.closed;
    const again = await connected(connect("ann", { pid: first.pid, offset: undefined }));
    assert.notEqual(again.sid, first.sid);
    assert.notEqual(again.pid, first.pid);
    again.socket.cut();
  });

  test("a session from WebSocket over polling, packets before the CONNECT's answer", async () => {
    const first = await connected(connect("ann"));
    await ask(first.socket, "subscribe", "mem:to polling");
    first.socket.cut();
    const missed = await publish(place, "mem:to polling", "e", 1);
    const polling = await new Polling(place).open();
    await polling.post(connect("ann", { pid: first.pid }));
    const [event, answer] = await polling.packets(2);
    assert.equal(JSON.parse(event.slice(2)).at(-1), missed);
    assert.equal(JSON.parse(answer.slice(2)).sid, first.sid);
  });

  test("a token that is refused is refused, with a good `pid` too", async () => {
    const first = await connected(connect("ann"));
    first.socket.cut();
    const socket = await new Socket(place).open();
    socket.send(`40${JSON.stringify({ token: tokenOf("ann", { exp: now() - 120 }), pid: first.pid })}`);
    const packet = await socket.next();
    assert.ok(packet.startsWith("44"), packet);
    assert.equal(JSON.parse(packet.slice(2)).data.code, "token_expired");
    socket.cut();
  });
});

describe("its limits", { concurrency: true }, () => {
  test("`session`: how long a Socket.IO session can be recovered", async () => {
    await inPlace({ limits: `${FAST}session = "1s"\n` }, async (place) => {
      const proxy = await Proxy.to(place);
      const client = await stock(proxy);
      const { id } = client.socket;
      await client.ask("subscribe", "mem:a");
      proxy.down();
      await client.sawDisconnect();
      // the window is a time: there is nothing else to wait for
      await new Promise((done) => setTimeout(done, 3000));
      const missed = await publish(place, "mem:a", "e", 1);
      proxy.up();
      await told(client, ["connect", "connect"]);
      assert.notEqual(client.socket.id, id);
      assert.equal((await client.ask("presence", "mem:a")).count, 0, "and it is in no room");
      assert.ok(!client.story.includes(missed));
      client.close();
      proxy.close();
    });
  });

  test("replay 10,000 events for Socket.IO's recovery, above which it declines before the first", async () => {
    const proxy = await Proxy.to(place);
    const client = await stock(proxy);
    await client.ask("subscribe", "kept:many");
    const first = await publish(place, "kept:many", "e", 0);
    await told(client, ["connect", first]);
    client.socket.offAny();
    client.story = [];
    client.socket.on("e", (_data, _meta, id) => client.story.push(id));
    const flood = async (events) => {
      const plain = await Plain.enter(place, "publisher");
      const ids = [];
      while (ids.length < events) {
        const part = await Promise.all(count(Math.min(500, events - ids.length)).map((n) => plain.publish("kept:many", "e", n)));
        ids.push(...part.map(({ id }) => id));
      }
      plain.close();
      return ids;
    };
    proxy.down();
    await until("it is gone", () => !client.socket.connected);
    const missed = await flood(10_000);
    proxy.up();
    await until(
      () => `10,000 missed, so far ${client.story.length}`,
      () => client.story.length > 10_000 || client.story.at(-1) === "recovered",
      60_000,
    );
    assert.equal(
      client.story.join(" ") === [...missed, "recovered"].join(" "),
      true,
      `${client.story.length} ${client.story.slice(-2)}`,
    );
    client.story = [];
    proxy.down();
    await until("it is gone", () => !client.socket.connected);
    await flood(10_001);
    proxy.up();
    await until("it is back", () => client.story.length > 0, 60_000);
    assert.deepEqual(client.story, ["connect"]);
    // and by its cursor it gets all of it
    const answer = await client.ask("subscribe", "kept:many", { since: missed.at(-1) });
    assert.equal(answer.ok, true);
    await until(
      () => `the rest, so far ${client.story.length}`,
      () => client.story.length === 10_002,
      60_000,
    );
    client.close();
    proxy.close();
  });

  test("replay 16 MiB, above which it declines before the first", async () => {
    const proxy = await Proxy.to(place);
    const client = await stock(proxy);
    await client.ask("subscribe", "kept:heavy");
    const first = await publish(place, "kept:heavy", "e", 0);
    await told(client, ["connect", first]);
    proxy.down();
    await client.sawDisconnect();
    const few = [];
    for (const n of count(15)) few.push(await publish(place, "kept:heavy", "e", `${n}`.padEnd(900_000, "x")));
    proxy.up();
    await told(client, ["connect", first, ...few, "recovered"]);
    proxy.down();
    await client.sawDisconnect();
    for (const n of count(20)) await publish(place, "kept:heavy", "e", `${n}`.padEnd(900_000, "x"));
    proxy.up();
    await told(client, ["connect", first, ...few, "recovered", "connect"]);
    client.close();
    proxy.close();
  });

  test("a volatile event takes no offset with it", async () => {
    const proxy = await Proxy.to(place);
    const client = await stock(proxy);
    const bob = await Plain.enter(place, "bob");
    await client.ask("subscribe", "mem:volatile");
    const first = await publish(place, "mem:volatile", "e", 1);
    await told(client, ["connect", first]);
    let moved = 0;
    client.socket.on("moved", () => moved++);
    await until("a volatile event", async () => {
      await bob.publish("mem:volatile", "moved", "a string", { volatile: true });
      return moved > 0;
    });
    proxy.down();
    await until("it is gone", () => !client.socket.connected);
    const missed = await publish(place, "mem:volatile", "e", 2);
    proxy.up();
    await until("it is back", () => client.socket.connected);
    assert.equal(client.socket.recovered, true);
    assert.equal(client.story.filter((entry) => entry === missed).length, 1);
    assert.equal(client.story.filter((entry) => entry === first).length, 1);
    client.close();
    bob.close();
    proxy.close();
  });
});
