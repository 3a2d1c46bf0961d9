// Nothing lost, nothing twice, nothing out of order: bursts, many namespaces, rooms against sockets, traffic during the upgrade.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Client, newest, transports, versions } from "./lib/clients.mjs";
import { sharedApp } from "./lib/shared.mjs";
import { until, within } from "./lib/wait.mjs";

const app = sharedApp();
const open = (transport, io = newest) => new Client(io, app.url, { transports: transports[transport] });
const counting = (n) => Array.from({ length: n }, (_, i) => i);

// deepEqual on long lists prints them whole
function assertInOrder(got, count, what) {
  const wrong = got.findIndex((value, n) => value !== n);
  assert.equal(wrong, -1, `${what}: at ${wrong} came ${got[wrong]}`);
  assert.equal(got.length, count, `${what}: ${got.length} of ${count}`);
}

describe("20,000 events in a row", () => {
  for (const [version, io] of Object.entries(versions)) {
    for (const transport of Object.keys(transports)) {
      test(`come back in order, ${version} over ${transport}`, async () => {
        const client = await open(transport, io).connected();
        client.socket.offAny();
        const got = [];
        client.socket.on("seq", (n) => got.push(n));
        for (let n = 0; n < 20_000; n++) client.emit("seq", n);
        await until(() => `20,000 echoes, so far ${got.length}`, () => got.length >= 20_000, 60_000);
        await client.barrier();
        assertInOrder(got, 20_000, "echoes");
        client.close();
      });
    }
  }

  test("are acknowledged in order", async () => {
    const client = await open("websocket").connected();
    const got = [];
    for (let n = 0; n < 20_000; n++) client.socket.emit("seq", n, (answer) => got.push(answer));
    await until(() => `20,000 acks, so far ${got.length}`, () => got.length >= 20_000, 60_000);
    assertInOrder(got, 20_000, "acks");
    client.close();
  });

  test("from the server come in order, over each transport", async () => {
    for (const transport of Object.keys(transports)) {
      const client = await open(transport).connected();
      client.socket.offAny();
      const got = [];
      client.socket.on("flood", (n) => got.push(n));
      await within("the flood's ack", new Promise((done) => client.socket.emit("flood", 20_000, done)), 60_000);
      assertInOrder(got, 20_000, transport);
      client.close();
    }
  });
});

describe("many namespaces", () => {
  for (const transport of ["websocket", "polling"]) {
    test(`200 on one connection, over ${transport}`, async () => {
      await app.quiet();
      const main = await open(transport).connected();
      const manager = main.socket.io;
      const sockets = counting(200).map((n) => manager.socket(`/n${n}`));
      await until("200 connects", () => sockets.every((socket) => socket.connected));
      const answers = await within(
        "200 answers",
        Promise.all(sockets.map((socket, n) => new Promise((done) => socket.emit("echo", n, done)))),
      );
      assert.deepEqual(answers, counting(200));
      assert.equal(new Set(sockets.map((socket) => socket.id)).size, 200);
      assert.equal((await app.stats()).connections, 1);
      main.close();
      for (const socket of sockets) socket.disconnect();
      await app.quiet();
    });
  }
});

describe("order across rooms and sockets", () => {
  for (const transport of Object.keys(transports)) {
    test(`io.to(room).emit(a); socket.emit(b) arrives a, b, over ${transport}`, async () => {
      const room = `interleave ${transport}`;
      const [client, other] = await Promise.all([open(transport).connected(), open(transport).connected()]);
      await other.ask("join", room);
      const got = [];
      client.socket.on("a", (n) => got.push(2 * n));
      client.socket.on("b", (n) => got.push(2 * n + 1));
      const others = [];
      other.socket.on("a", (n) => others.push(n));
      await client.ask("interleave", { room, count: 2000 });
      await other.barrier();
      assertInOrder(got, 4000, "a and b");
      assertInOrder(others, 2000, "a at the other member");
      client.close();
      other.close();
    });
  }

  test("two senders into one room: both members see the same order", async () => {
    const clients = await Promise.all(["websocket", "polling", "upgrade"].map((transport) => open(transport).connected()));
    for (const client of clients) {
      await client.ask("join", "same order");
      client.got = [];
      client.socket.on("said", (who, n) => client.got.push(`${who}${n}`));
    }
    const say = async (who) => {
      const op = (n) => ({ from: "io", to: ["same order"], event: "said", args: [who, n] });
      for (let n = 0; n < 300; n++) clients[who].emit("op", op(n));
      await clients[who].barrier();
    };
    await Promise.all([say(0), say(1)]);
    for (const client of clients) await client.barrier();
    await until("all of it at each", () => clients.every((client) => client.got.length === 600));
    assert.deepEqual(clients[0].got, clients[1].got);
    assert.deepEqual(clients[0].got, clients[2].got);
    for (const client of clients) client.close();
  });
});

describe("traffic during the upgrade", () => {
  // Talks from the first moment until well after the switch, both ways, text and binary.
  async function talkThroughUpgrade() {
    const client = open("upgrade");
    client.socket.offAny();
    const echoes = [];
    const pushed = [];
    const binary = [];
    client.socket.on("seq", (n) => echoes.push(n));
    client.socket.on("pushed", (n) => pushed.push(n));
    client.socket.on("echo", (bytes) => binary.push(Buffer.from(bytes).readUInt32BE()));
    await until("connect", () => client.socket.connected);
    let sent = 0;
    let sentBinary = 0;
    let sentPushed = 0;
    let after = 0;
    const push = (async () => {
      while (after < 20) await app.emit({ to: [client.socket.id], event: "pushed", args: [sentPushed++] });
    })();
    await until("the upgrade, with traffic", () => {
      for (let n = 0; n < 5; n++) client.emit("seq", sent++);
      const bytes = Buffer.alloc(100);
      bytes.writeUInt32BE(sentBinary++);
      client.emit("echo", bytes);
      if (client.transport === "websocket") after++;
      return after >= 20;
    });
    await push;
    await client.barrier();
    await until("all that was pushed", () => pushed.length >= sentPushed);
    assertInOrder(echoes, sent, "echoes");
    assertInOrder(pushed, sentPushed, "pushed");
    assertInOrder(binary, sentBinary, "binary");
    client.close();
    return sent;
  }

  for (let round = 1; round <= 10; round++) {
    test(`loses and reorders nothing, round ${round} of 10 with 8 clients each`, async () => {
      await Promise.all(counting(8).map(talkThroughUpgrade));
    });
  }

  test("a large payload on its way does not stop the switch", async () => {
    const client = open("upgrade");
    await until("connect", () => client.socket.connected);
    const large = "x".repeat(900_000);
    const answers = counting(5).map(() => client.ask("echo", large));
    await client.connected();
    for (const answer of answers) assert.equal((await answer).length, large.length);
    client.close();
  });

  test("everything of all that has ended", () => app.quiet());
});
