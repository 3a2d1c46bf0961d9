// The `tidings` server's `[[on]]`: a client's event is published without a back end (PRODUCT.md, "Config").
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Plain, Place } from "./lib/channels.mjs";
import { Client, newest } from "./lib/clients.mjs";
import { enter, ID } from "./lib/server.mjs";

const ON = `
[[on]]
event = "chat:message"
to = "room:{data.roomId}"

[[on]]
event = "note"
to = "kept:{user}:{data.where.id}"
key = "{data.id}"

[[on]]
event = "typing"
to = "mem:{data.roomId}"
volatile = true

[[on]]
event = "ping"
to = "public:all"
`;

let place;
before(async () => (place = await Place.open({ data: true, more: ON })));
after(() => place?.close());

const member = (sub, ...rooms) =>
  enter(place, sub, { claims: { channels: { subscribe: rooms, publish: rooms } } });

const refused = (answer, code) => {
  assert.equal(answer.ok, false, JSON.stringify(answer));
  assert.equal(answer.code, code, JSON.stringify(answer));
  assert.ok(answer.message.length > 0);
};

describe("a client's event", { concurrency: true }, () => {
  test("is published, saved and answered with its id; the sender gets it too", async () => {
    const [ann, bob] = [await member("ann", "room:chat"), await member("bob", "room:chat")];
    const plain = await Plain.enter(place, "eve", { claims: { channels: { subscribe: ["room:chat"] } } });
    for (const client of [ann, bob]) await client.ask("subscribe", "room:chat");
    await plain.subscribe("room:chat");
    const sent = { roomId: "chat", text: "Hi", from: "bob", n: 1.5 };
    const answer = await ann.ask("chat:message", sent);
    assert.equal(answer.ok, true, JSON.stringify(answer));
    assert.match(answer.id, ID);
    assert.equal(answer.duplicate, false);
    for (const client of [ann, bob]) {
      const { args } = await client.sawEvent("chat:message");
      assert.deepEqual(args[0], sent);
      assert.deepEqual([args[1].channel, args[1].user, args[2]], ["room:chat", "ann", answer.id]);
    }
    const event = await plain.nextOf("event");
    assert.deepEqual([event.event, event.data, event.user, event.id], ["chat:message", sent, "ann", answer.id]);
    await place.restart();
    const again = await member("ann", "room:chat");
    const { events } = await again.ask("history", "room:chat");
    assert.deepEqual(events.map(({ id, event, user }) => [id, event, user]), [[answer.id, "chat:message", "ann"]]);
    for (const client of [ann, bob, plain, again]) client.close();
  });
});

describe("an event of [[on]]", { concurrency: true }, () => {
  test("numbers become text, bytes stay bytes, no data is null", async () => {
    const ann = await member("ann", "room:7");
    await ann.ask("subscribe", ["room:7", "public:all"]);
    assert.equal((await ann.ask("chat:message", { roomId: 7, bytes: Buffer.from("x") })).ok, true);
    const [data, { channel }] = (await ann.sawEvent("chat:message")).args;
    assert.equal(channel, "room:7");
    assert.equal(data.bytes.$bytes, 1);
    assert.equal((await ann.ask("ping")).ok, true);
    assert.equal((await ann.sawEvent("ping")).args[0], null);
    ann.close();
  });

  test("is refused where the client may not publish, and reaches nobody", async () => {
    const [ann, bob] = [await member("ann", "room:own"), await member("bob", "room:other")];
    await bob.ask("subscribe", "room:other");
    refused(await ann.ask("chat:message", { roomId: "other", text: "let me in" }), "forbidden");
    refused(await ann.ask("chat:message", { roomId: "own:x" }), "forbidden");
    assert.equal((await bob.ask("chat:message", { roomId: "other", text: "mine" })).ok, true);
    assert.equal((await bob.sawEvent("chat:message")).args[0].text, "mine");
    for (const client of [ann, bob]) client.close();
  });

  test("is refused with what is wrong with its data", async () => {
    const ann = await member("ann", "room:*");
    for (const data of [[], [{}], ["room:1"], [null], [{ roomId: null }], [{ roomId: 1.5 }], [{ roomId: "" }], [{ roomId: {} }]]) {
      const answer = await ann.ask("chat:message", ...data);
      refused(answer, "bad_request");
      assert.ok(answer.message.includes("data.roomId"), answer.message);
    }
    refused(await ann.ask("chat:message", { roomId: 1 }, "more"), "bad_request");
    refused(await ann.ask("chat:message", { roomId: "a\u0000" }), "invalid_channel");
    refused(await ann.ask("chat:message", { roomId: "x".repeat(260) }), "invalid_channel");
    refused(await ann.ask("else", { roomId: 1 }), "unknown_event");
    ann.close();
  });

  test("with a key is kept once, and other content under it is refused", async () => {
    const ann = await enter(place, "ann");
    const note = { id: "n1", where: { id: 3 }, text: "a" };
    const first = await ann.ask("note", note);
    assert.deepEqual(await ann.ask("note", note), { ok: true, id: first.id, duplicate: true });
    refused(await ann.ask("note", { ...note, text: "b" }), "key_conflict");
    const { events } = await ann.ask("history", "kept:ann:3");
    assert.equal(events.length, 1);
    ann.close();
  });

  test("that is volatile has no id, and is not kept", async () => {
    const [ann, bob] = [await enter(place, "ann"), await enter(place, "bob")];
    await bob.ask("subscribe", "mem:typing");
    assert.deepEqual(await ann.ask("typing", { roomId: "typing" }), { ok: true, duplicate: false });
    assert.equal((await bob.sawEvent("typing")).args[1].user, "ann");
    assert.deepEqual((await bob.ask("history", "mem:typing")).events, []);
    for (const client of [ann, bob]) client.close();
  });

  test("without an ack is published all the same, and refused with tidings:error", async () => {
    const ann = await member("ann", "room:quiet");
    await ann.ask("subscribe", "room:quiet");
    ann.emit("chat:message", { roomId: "quiet" });
    await ann.sawEvent("chat:message");
    ann.emit("chat:message", { roomId: "nowhere" });
    assert.equal((await ann.sawEvent("tidings:error")).args[0].code, "forbidden");
    ann.close();
  });
});

test("the chat of README's kind needs fewer than 25 lines and no back end", async () => {
  const small = await Place.open({
    channels: '[[channels]]\nmatch = "room:*"\nsubscribe = "user"\npublish = "user"\n',
    more: '[[on]]\nevent = "chat:message"\nto = "room:{data.roomId}"\n',
  });
  try {
    const [ann, bob] = [await enter(small, "ann"), new Client(newest, small.url, { auth: { token: "nobody" } })];
    assert.equal((await bob.sawError()).data.code, "unauthenticated");
    bob.close();
    await ann.ask("subscribe", "room:1");
    assert.equal((await ann.ask("chat:message", { roomId: 1, text: "Hi" })).ok, true);
    await ann.sawEvent("chat:message");
    ann.close();
  } finally {
    await small.close();
  }
});
