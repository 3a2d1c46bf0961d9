// The `tidings` server: subscribe, publish, presence; what is refused and how (PRODUCT.md, "Socket.IO on the binary", "Limits").
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { enter, ID, serving, start, user } from "./lib/server.mjs";
import { tokenOf } from "./lib/tokens.mjs";
import { until } from "./lib/wait.mjs";
import { Socket } from "./lib/wire.mjs";

let server;
before(async () => (server = await start()));
after(() => server?.stop("SIGKILL"));

const refusedWith = (answer, code) => {
  assert.equal(answer.ok, false, JSON.stringify(answer));
  assert.equal(answer.code, code, JSON.stringify(answer));
  assert.ok(answer.message?.length > 0);
};
const eventsOf = (client, name) => client.records.filter((record) => record.event === name).map((record) => record.args);

describe("subscribe and publish", { concurrency: true }, () => {
  for (const transports of [["polling"], ["websocket"], ["polling", "websocket"]]) {
    test(`over ${transports.join(" then ")}`, async () => {
      const channel = `open:${transports.join("-")}`;
      const ann = await enter(server, "ann", { transports });
      const bob = await enter(server, "bob", { transports });
      const subscribed = await ann.ask("subscribe", channel);
      assert.equal(subscribed.ok, true);
      assert.match(subscribed.cursor, ID);

      const published = await bob.ask("publish", channel, "greeting", { text: "hello" });
      assert.equal(published.ok, true);
      assert.match(published.id, ID);
      assert.equal(published.duplicate, false);

      const { args } = await ann.sawEvent("greeting");
      const [data, meta, id] = args;
      assert.deepEqual(data, { text: "hello" });
      assert.equal(id, published.id);
      const { time, ...rest } = meta;
      assert.deepEqual(rest, { channel, user: "bob" });
      assert.ok(Number.isInteger(time) && Math.abs(time - Date.now()) < 60_000);
      await bob.ask("presence", channel);
      assert.deepEqual(eventsOf(bob, "greeting"), [], "who hasn't subscribed gets nothing");

      assert.equal((await ann.ask("unsubscribe", channel)).ok, true);
      await bob.ask("publish", channel, "greeting", "unheard");
      await ann.ask("subscribe", "open:barrier");
      assert.equal(eventsOf(ann, "greeting").length, 1);
      ann.close();
      bob.close();
    });
  }

  test("a list of channels, and the publisher hears itself", async () => {
    const ann = await enter(server, "ann");
    assert.equal((await ann.ask("subscribe", ["open:l1", "open:l2"])).ok, true);
    const ids = [];
    for (const channel of ["open:l1", "open:l2", "open:l1"]) ids.push((await ann.ask("publish", channel, "e", channel)).id);
    await until("all three", () => eventsOf(ann, "e").length === 3);
    assert.deepEqual(eventsOf(ann, "e").map(([data]) => data), ["open:l1", "open:l2", "open:l1"]);
    assert.deepEqual(eventsOf(ann, "e").map(([, , id]) => id), ids);
    const epochs = new Set(ids.map((id) => id.split("-")[0]));
    assert.equal(epochs.size, 1);
    const places = ids.map((id) => Number(id.split("-")[1]));
    assert.deepEqual(places, [...places].sort((a, b) => a - b));
    assert.equal((await ann.ask("unsubscribe", ["open:l1", "open:l2"])).ok, true);
    ann.close();
  });

  test("subscribing twice is one subscription", async () => {
    const ann = await enter(server, "ann");
    await ann.ask("subscribe", "open:twice");
    await ann.ask("subscribe", ["open:twice", "open:twice"]);
    await ann.ask("publish", "open:twice", "once", 1);
    await ann.ask("publish", "open:twice", "end", 1);
    await ann.sawEvent("end");
    assert.equal(eventsOf(ann, "once").length, 1);
    ann.close();
  });

  test("data of any kind", async () => {
    const ann = await enter(server, "ann");
    await ann.ask("subscribe", "open:kinds");
    const kinds = [null, 0, -1.5, "", "é漢🙂\u0000", [], [1, [2]], {}, { b: 1, a: 2 }, true];
    for (const data of kinds) await ann.ask("publish", "open:kinds", "kind", data);
    await until("all kinds", () => eventsOf(ann, "kind").length === kinds.length);
    assert.deepEqual(eventsOf(ann, "kind").map(([data]) => data), kinds);
    await ann.ask("publish", "open:kinds", "bytes", Buffer.from([1, 2, 3]));
    const { args } = await ann.sawEvent("bytes");
    assert.equal(args[0].$bytes, 3);
    assert.match(args[2], ID);
    ann.close();
  });

  test("data passes on as it was sent, to the byte", async () => {
    const connect = `40${JSON.stringify({ token: tokenOf("ann") })}`;
    const socket = await new Socket(server).join(connect);
    socket.send('420["subscribe","public:raw"]');
    assert.match(await socket.next(), /^430\[\{"ok":true,"cursor":/);
    for (const data of [
      String.raw`{"b":"\ud800","a":123456789012345678901234567890.10, "c" : 1e400}`,
      String.raw`"\u0061\/"`,
      `${"[".repeat(500)}${"]".repeat(500)}`,
    ]) {
      socket.send(`421["publish","public:raw","e",${data}]`);
      const event = await socket.next();
      assert.equal(event.slice(0, event.lastIndexOf(',{"channel"')), `42["e",${data}`);
      assert.match(await socket.next(), /^431\[\{"ok":true,"id":/);
    }
    socket.send('421["publish","public:raw","no data"]');
    assert.match(await socket.next(), /^42\["no data",null,\{"channel":"public:raw",/);
    assert.match(await socket.next(), /^431\[\{"ok":true,"id":/);
    socket.send('451-["publish","public:raw",{"_placeholder":true,"num":0},1]');
    socket.send(Buffer.from("e"));
    socket.send('422["unsubscribe","public:raw"]');
    assert.match(await socket.next(), /^42\["tidings:error",\{"code":"bad_request"/);
    assert.equal(await socket.next(), '432[{"ok":true}]');
    socket.cut();
  });

  test("volatile: answered without an id, delivered to who is there", async () => {
    const ann = await enter(server, "ann");
    const bob = await enter(server, "bob");
    await ann.ask("subscribe", "open:volatile");
    // it may be dropped, so it is said until it was heard
    await until("a volatile event", async () => {
      const answer = await bob.ask("publish", "open:volatile", "moved", { x: 1 }, { volatile: true });
      assert.equal(answer.ok, true);
      assert.equal("id" in answer, false);
      return eventsOf(ann, "moved").length > 0;
    });
    const [data, meta] = eventsOf(ann, "moved")[0];
    assert.deepEqual([data, meta.channel, meta.user], [{ x: 1 }, "open:volatile", "bob"]);
    ann.close();
    bob.close();
  });

  test("since replays what was missed, and a key publishes once", async () => {
    const ann = await enter(server, "ann");
    const { cursor } = await ann.ask("subscribe", "open:now");
    const first = await ann.ask("publish", "open:once", "e", 1, { key: "k" });
    const again = await ann.ask("publish", "open:once", "e", 1, { key: "k" });
    assert.deepEqual([first.duplicate, again.duplicate, again.id], [false, true, first.id]);
    refusedWith(await ann.ask("publish", "open:once", "e", 2, { key: "k" }), "key_conflict");
    refusedWith(await ann.ask("subscribe", "open:once", { since: "yesterday" }), "invalid_id");
    assert.equal((await ann.ask("subscribe", "open:once", { since: cursor })).cursor, cursor);
    await ann.ask("publish", "open:once", "end", 1);
    await ann.sawEvent("end");
    assert.deepEqual(eventsOf(ann, "e").map(([data]) => data), [1], "what was missed, once");
    const { events, more } = await ann.ask("history", "open:once", { limit: 1 });
    assert.deepEqual([events.map(({ event }) => event), more], [["end"], true]);
    ann.close();
  });

  test("everyone is in their own channel from the start, and nobody else", async () => {
    const ann = await enter(server, "ann-own");
    const bob = await enter(server, "bob-own");
    refusedWith(await bob.ask("subscribe", "user:ann-own"), "forbidden");
    assert.equal((await bob.ask("publish", "user:ann-own", "ping", "for you")).ok, true);
    const { args } = await ann.sawEvent("ping");
    assert.deepEqual([args[0], args[1].channel, args[1].user], ["for you", "user:ann-own", "bob-own"]);
    await bob.ask("presence", "open:barrier");
    assert.deepEqual(eventsOf(bob, "ping"), []);
    ann.close();
    bob.close();
  });

  test("one's own channel can be left and entered again", async () => {
    const ann = await enter(server, "ann-leaves");
    const own = "user:ann-leaves";
    assert.equal((await ann.ask("unsubscribe", own)).ok, true);
    await ann.ask("publish", own, "unheard", 1);
    assert.equal((await ann.ask("subscribe", own)).ok, true);
    await ann.ask("publish", own, "heard", 1);
    await ann.sawEvent("heard");
    assert.deepEqual(eventsOf(ann, "unheard"), []);
    ann.close();
  });

  test("a socket's own-id room is no channel for others", async () => {
    const ann = await enter(server, "ann");
    const spy = await enter(server, "spy");
    await spy.ask("subscribe", ann.socket.id);
    ann.emit("publish", "open:x"); // too few arguments: told to ann alone
    await ann.sawEvent("tidings:error");
    await spy.ask("subscribe", "open:barrier");
    assert.deepEqual(eventsOf(spy, "tidings:error"), []);
    ann.close();
    spy.close();
  });
});

describe("presence", { concurrency: true }, () => {
  const names = (answer) => answer.users.map((entry) => entry.user ?? entry).sort();

  test("who is here; join and leave, once for a user", async () => {
    const channel = "open:who";
    const ann = await enter(server, "ann");
    const bob = await enter(server, "bob", { claims: { info: { name: "Bob" } } });
    await ann.ask("subscribe", channel);
    await bob.ask("subscribe", channel);
    const join = await ann.saw("bob's join", (r) => r.event === "tidings:join" && r.args[0].user === "bob");
    assert.deepEqual(join.args[0], { channel, user: "bob", info: { name: "Bob" } });
    const here = await ann.ask("presence", channel);
    assert.equal(here.ok, true);
    assert.deepEqual(names(here), ["ann", "bob"]);
    assert.equal(here.count, 2);

    const phone = await enter(server, "bob", { claims: { info: { name: "Bob" } } });
    await phone.ask("subscribe", channel);
    assert.equal((await ann.ask("presence", channel)).count, 2, "two connections are one user");
    bob.close();
    await until("one connection of bob's", async () => (await phone.ask("presence", channel)).count === 2);
    phone.close();
    const leave = await ann.saw("bob's leave", (r) => r.event === "tidings:leave" && r.args[0].user === "bob");
    assert.equal(leave.args[0].channel, channel);
    assert.deepEqual(names(await ann.ask("presence", channel)), ["ann"]);
    const joins = eventsOf(ann, "tidings:join").filter(([{ user }]) => user === "bob");
    assert.equal(joins.length, 1);
    ann.close();
  });

  test("a page at a time, in order", async () => {
    const channel = "open:pages";
    const people = await Promise.all(["cid", "ann", "bob"].map((sub) => enter(server, sub)));
    for (const person of people) await person.ask("subscribe", channel);
    const [cid] = people;
    const page = async (options) => {
      const { ok, users, count } = await cid.ask("presence", channel, options);
      return [ok, users.map(({ user }) => user), count];
    };
    assert.deepEqual(await page(), [true, ["ann", "bob", "cid"], 3]);
    assert.deepEqual(await page({ limit: 2 }), [true, ["ann", "bob"], 3]);
    assert.deepEqual(await page({ after: "ann", limit: 1 }), [true, ["bob"], 3]);
    assert.deepEqual(await page({ after: "cid" }), [true, [], 3]);
    for (const options of [{ limit: 0 }, { limit: 1001 }, { limit: -1 }, { limit: "2" }, { after: 7 }, { before: "ann" }])
      refusedWith(await cid.ask("presence", channel, options), "bad_request");
    for (const person of people) person.close();
  });

  test("who comes and goes a hundred times leaves nobody behind", async () => {
    const channel = "open:coming and going";
    const ann = await enter(server, "ann");
    await ann.ask("subscribe", channel);
    const connect = (n) => `40${JSON.stringify({ token: tokenOf(`visitor ${n % 7}`) })}`;
    for (let n = 0; n < 100; n++) {
      const visitor = await new Socket(server).join(connect(n));
      visitor.send(`42["subscribe","${channel}"]`);
      if (n % 3 === 0) visitor.send(`42["unsubscribe","${channel}"]`);
      if (n % 2 === 0) visitor.ws.close();
      else visitor.cut();
    }
    await until("ann is alone", async () => (await ann.ask("presence", channel)).count === 1);
    ann.close();
  });

  test("unsubscribe is a leave", async () => {
    const channel = "open:leaving";
    const ann = await enter(server, "ann");
    const bob = await enter(server, "bob");
    await ann.ask("subscribe", channel);
    await bob.ask("subscribe", channel);
    await bob.ask("unsubscribe", channel);
    await ann.saw("bob's leave", (r) => r.event === "tidings:leave" && r.args[0].user === "bob");
    assert.deepEqual(names(await ann.ask("presence", channel)), ["ann"]);
    ann.close();
    bob.close();
  });

  test("of a channel that has none, or is forbidden, it is refused", async () => {
    const ann = await enter(server, "ann");
    refusedWith(await ann.ask("presence", "room:secret"), "forbidden");
    assert.equal((await ann.ask("presence", "public:none")).ok, false);
    ann.close();
  });
});

describe("what is refused", { concurrency: true }, () => {
  test("forbidden channels: by claim, by rule, by no rule; unknown and forbidden look alike", async () => {
    const ann = await enter(server, "ann", { claims: { channels: { subscribe: ["room:*"], publish: ["room:7"] } } });
    assert.equal((await ann.ask("subscribe", "room:1")).ok, true);
    assert.equal((await ann.ask("publish", "room:7", "e", 1)).ok, true);
    refusedWith(await ann.ask("publish", "room:8", "e", 1), "forbidden");
    refusedWith(await ann.ask("publish", "readonly:x", "e", 1), "forbidden");
    refusedWith(await ann.ask("subscribe", "nothing matches this"), "forbidden");
    const bob = await enter(server, "bob");
    const there = await bob.ask("subscribe", "room:1");
    const notThere = await bob.ask("subscribe", "none:1");
    refusedWith(there, "forbidden");
    assert.deepEqual(there.message.replace("room:1", ""), notThere.message.replace("none:1", ""));
    ann.close();
    bob.close();
  });

  test("one forbidden channel refuses the whole request", async () => {
    const ann = await enter(server, "ann");
    refusedWith(await ann.ask("subscribe", ["open:whole", "none:at all"]), "forbidden");
    await ann.ask("publish", "open:whole", "unheard", 1);
    await ann.ask("subscribe", "open:whole");
    await ann.ask("publish", "open:whole", "end", 1);
    await ann.sawEvent("end");
    assert.deepEqual(eventsOf(ann, "unheard"), []);
    ann.close();
  });

  test("names of channels: 1 to 255 bytes, no control characters, no slash in front", async () => {
    const ann = await enter(server, "ann");
    const open = (bytes) => "open:" + "x".repeat(bytes - 5);
    assert.equal((await ann.ask("subscribe", open(255))).ok, true);
    for (const channel of ["", open(256), "open:" + "é".repeat(126), "open:a\nb", "open:\u0000", "open:\u007f", "/", "/open:a", "/admin,r"])
      for (const answer of [
        await ann.ask("subscribe", channel),
        await ann.ask("subscribe", ["open:good", channel]),
        await ann.ask("publish", channel, "e", 1),
        await ann.ask("presence", channel),
      ])
        refusedWith(answer, "invalid_channel");
    ann.close();
  });

  test("names of events: 1 to 128 bytes, no control characters, none that is reserved", async () => {
    const ann = await enter(server, "ann");
    await ann.ask("subscribe", "open:names");
    assert.equal((await ann.ask("publish", "open:names", "x".repeat(128), 1)).ok, true);
    const reserved = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];
    const own = ["gap", "expiring", "open", "error", "tidings:join", "tidings:anything"];
    for (const event of [...reserved, ...own, "", "x".repeat(129), "é".repeat(65), "a\nb", 7, null])
      refusedWith(await ann.ask("publish", "open:names", event, 1), "bad_request");
    ann.close();
  });

  test("128 subscriptions that the client asked for, not one more", async () => {
    const ann = await enter(server, "ann");
    const many = (from, to) => Array.from({ length: to - from }, (_, n) => `open:many${from + n}`);
    assert.equal((await ann.ask("subscribe", many(0, 128))).ok, true);
    assert.equal((await ann.ask("subscribe", "open:many5")).ok, true, "one that is there already");
    refusedWith(await ann.ask("subscribe", "open:many128"), "too_many_channels");
    assert.equal((await ann.ask("unsubscribe", "open:many0")).ok, true);
    refusedWith(await ann.ask("subscribe", many(128, 130)), "too_many_channels");
    assert.equal((await ann.ask("subscribe", "open:many128")).ok, true);
    const bob = await enter(server, "bob");
    refusedWith(await bob.ask("subscribe", many(0, 129)), "too_many_channels");
    assert.equal((await bob.ask("presence", "open:many3")).users.some((entry) => (entry.user ?? entry) === "bob"), false);
    ann.close();
    bob.close();
  });

  test("wrong arguments", async () => {
    const ann = await enter(server, "ann");
    const wrong = [
      ["subscribe"],
      ["subscribe", null],
      ["subscribe", 7],
      ["subscribe", [7]],
      ["subscribe", { channel: "open:a" }],
      ["subscribe", "open:a", "options"],
      ["unsubscribe"],
      ["unsubscribe", 7],
      ["publish"],
      ["publish", "open:a"],
      ["publish", 1, "e", 1],
      ["publish", "open:a", "e", 1, "options"],
      ["publish", "open:a", "e", 1, { volatile: "yes" }],
      ["presence"],
      ["presence", {}],
    ];
    for (const [event, ...args] of wrong) {
      const answer = await ann.ask(event, ...args);
      assert.equal(answer.ok, false, JSON.stringify([event, args, answer]));
      assert.match(answer.code, /^(bad_request|invalid_channel)$/, JSON.stringify([event, args, answer]));
    }
    assert.equal((await ann.ask("subscribe", "open:after all that")).ok, true);
    ann.close();
  });

  test("an event that nobody knows", async () => {
    const ann = await enter(server, "ann");
    refusedWith(await ann.ask("chat:message", { roomId: "1" }), "unknown_event");
    refusedWith(await ann.ask("tidings:join", {}), "unknown_event");
    ann.close();
  });

  test("without an ack, tidings:error says it", async () => {
    const ann = await enter(server, "ann");
    ann.emit("subscribe", "none:at all");
    const forbidden = await ann.sawEvent("tidings:error");
    assert.equal(forbidden.args[0].code, "forbidden");
    assert.ok(forbidden.args[0].message.length > 0);
    ann.emit("nobody knows this");
    assert.equal((await ann.sawEvent("tidings:error")).args[0].code, "unknown_event");
    ann.emit("publish", "open:a", "connecting, not reserved", 1);
    ann.emit("publish", "open:a", "connect_error", 1);
    assert.equal((await ann.sawEvent("tidings:error")).args[0].code, "bad_request");
    assert.equal(eventsOf(ann, "tidings:error").length, 3);
    ann.close();
  });
});

describe("limits from the config", { concurrency: true }, () => {
  test("messages a second: the burst passes, then rate_limited, later again", async () => {
    await serving({ more: "[limits]\nmessages_per_second = 5\nmessages_burst = 10\n" }, async (server) => {
      const ann = await enter(server, "ann");
      const answers = await Promise.all(Array.from({ length: 40 }, (_, n) => ann.ask("publish", "open:a", "e", n)));
      assert.ok(answers.slice(0, 10).every((answer) => answer.ok), "the burst");
      const refused = answers.filter((answer) => !answer.ok);
      assert.ok(refused.length >= 20, `${refused.length} refused of 40`);
      for (const answer of refused) refusedWith(answer, "rate_limited");
      await until("the rate allows another", async () => (await ann.ask("publish", "open:a", "e", 1)).ok);
      ann.close();
    });
  });

  test("who stays over the rate is closed", async () => {
    await serving({ more: "[limits]\nmessages_per_second = 5\nmessages_burst = 10\n" }, async (server) => {
      const ann = await enter(server, "ann");
      const bob = await enter(server, "bob");
      const end = Date.now() + 30_000;
      await until(
        "the end of one who never stops",
        () => {
          if (ann.socket.connected) for (let n = 0; n < 5; n++) ann.emit("publish", "open:a", "e", n);
          return !ann.socket.connected || Date.now() > end;
        },
        40_000,
      );
      assert.equal((await ann.sawDisconnect()).disconnect, "transport close", "so that it may come back");
      assert.equal((await bob.ask("publish", "open:a", "e", 1)).ok, true, "nobody else is harmed");
      bob.close();
    });
  });

  test("subscriptions", async () => {
    await serving({ more: "[limits]\nsubscriptions = 2\n" }, async (server) => {
      const ann = await enter(server, "ann");
      assert.equal((await ann.ask("subscribe", ["open:1", "open:2"])).ok, true);
      refusedWith(await ann.ask("subscribe", "open:3"), "too_many_channels");
      ann.close();
    });
  });

  test("bytes of a message: maxPayload says it, more closes", async () => {
    await serving({ more: "[limits]\nmessage_bytes = 2000\n" }, async (server) => {
      const ann = await enter(server, "ann");
      assert.equal(ann.socket.io.engine.transport.name, "websocket");
      assert.equal((await ann.ask("publish", "open:a", "e", "x".repeat(1900))).ok, true);
      ann.emit("publish", "open:a", "e", "x".repeat(2001));
      await ann.sawDisconnect();
    });
  });

  for (const [limit, subs] of [
    ["connections", ["ann", "bob", "cid"]],
    ["connections_per_ip", ["ann", "bob", "cid"]],
    ["connections_per_user", ["ann", "ann", "ann"]],
  ]) {
    test(`${limit}: one too many waits outside and comes in when there is room`, async () => {
      await serving({ more: `[limits]\n${limit} = 2\n` }, async (server) => {
        const again = { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 50 };
        const inside = [await enter(server, subs[0]), await enter(server, subs[1])];
        const third = user(server, subs[2], again);
        // refused by the transport, at the handshake or right behind it: a CONNECT_ERROR would be final to a stock client
        const outside = await third.saw("a refusal", (r) => "connect_error" in r || "disconnect" in r);
        assert.equal(outside.data, undefined);
        assert.equal((await inside[0].ask("publish", "open:a", "e", 1)).ok, true);
        inside[0].close();
        await until("the third comes in", () => third.socket.connected);
        third.close();
        inside[1].close();
      });
    });
  }
});
