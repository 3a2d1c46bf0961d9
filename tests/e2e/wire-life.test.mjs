// Heartbeat (SOCKETIO.md 2.7), limits of a WebSocket message (2.4), and ends (2.8, connect timeout).
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { sharedApp, side, withApp } from "./lib/shared.mjs";
import { until } from "./lib/wait.mjs";
import { Polling, Socket } from "./lib/wire.mjs";

const app = sharedApp();
const reasonIn = async (app, id) =>
  (await app.logged("disconnect", (e) => e.type === "disconnect" && e.id === id)).reason;
const reasonOf = (id) => reasonIn(app, id);

describe("2.7 heartbeat", () => {
  test("no ping before pingInterval, then one, and one after each pong", async () => {
    // With the default of 25 s, none comes while an echo goes there and back
    const quiet = await new Socket(app).join();
    quiet.send('421["echo"]');
    assert.equal(await quiet.next(), "431[]");
    quiet.cut();
    await withApp({ PING_INTERVAL_MS: "150", PING_TIMEOUT_MS: "10000" }, async (app) => {
      const socket = await new Socket(app).join();
      for (let n = 0; n < 3; n++) {
        assert.equal(await socket.next("a ping"), "2");
        socket.send("3");
      }
      assert.ok(await socket.alive());
      socket.cut();
      const polling = await new Polling(app).join();
      for (let n = 0; n < 3; n++) {
        assert.deepEqual(await polling.poll(), ["2"]);
        await polling.post("3");
      }
    });
  });

  test("no pong: ping timeout, the transport is closed", async () => {
    await withApp({ PING_INTERVAL_MS: "150", PING_TIMEOUT_MS: "150" }, async (app) => {
      const socket = await new Socket(app).join();
      const { before } = await socket.end();
      assert.equal(before[0], "2");
      assert.equal(await reasonIn(app, socket.id), "ping timeout");
      const polling = await new Polling(app).join();
      assert.equal(await reasonIn(app, polling.id), "ping timeout");
      assert.ok(await polling.gone());
      await app.quiet();
    });
  });

  test("any packet counts as life", async () => {
    await withApp({ PING_INTERVAL_MS: "200", PING_TIMEOUT_MS: "1000" }, async (app) => {
      const socket = await new Socket(app).join();
      const end = Date.now() + 4000;
      let closed = false;
      socket.closed.then(() => (closed = true));
      // speaks all the time and never says pong
      await until("4 s of talk, or the end", () => {
        if (!closed) socket.send('42["nobody"]');
        return closed || Date.now() > end;
      });
      // npm's server extends the deadline once, then closes
      assert.equal(closed, side({ reference: true, tidings: false }));
      socket.cut();
    });
  });

  test("a ping from the client is an error on EIO 4", async () => {
    const socket = await new Socket(app).join();
    socket.send("2");
    await socket.end();
    assert.equal(await reasonOf(socket.id), "transport error");
    const polling = await new Polling(app).join();
    await polling.post("2");
    assert.equal(await reasonOf(polling.id), "transport error");
    assert.ok(await polling.gone());
  });

  test("a pong that nobody asked for is no harm", async () => {
    const socket = await new Socket(app).join();
    socket.send("3");
    socket.send("3");
    assert.ok(await socket.alive());
    socket.cut();
  });

  test("open, upgrade and noop from a client are ignored", async () => {
    const socket = await new Socket(app).join();
    for (const packet of ["0", '0{"sid":"x"}', "5", "6"]) socket.send(packet);
    assert.ok(await socket.alive());
    socket.cut();
    const polling = await new Polling(app).join();
    for (const packet of ["0", "5", "6"]) await polling.post(packet);
    assert.ok(await polling.alive());
  });
});

describe("WebSocket messages", () => {
  const echoOf = (bytes) => `421["echo","${"x".repeat(bytes - '421["echo",""]'.length)}"]`;

  test("of exactly maxPayload are taken", async () => {
    const socket = await new Socket(app).join();
    socket.send(echoOf(1_000_000));
    assert.equal((await socket.next()).length, 1_000_000 - '"echo",'.length);
    socket.cut();
  });

  test("one byte more closes with 1009", async () => {
    const socket = await new Socket(app).join();
    socket.send(echoOf(1_000_001));
    assert.equal((await socket.end()).code, 1009);
    assert.equal(await reasonOf(socket.id), "transport error");
  });

  test("binary of more than maxPayload closes with 1009", async () => {
    const socket = await new Socket(app).join();
    socket.send('451-["echo",{"_placeholder":true,"num":0}]');
    socket.send(Buffer.alloc(1_000_001));
    assert.equal((await socket.end()).code, 1009);
  });

  test("fragments count together", async () => {
    const socket = await new Socket(app).join();
    socket.ws.send('421["echo","', { fin: false });
    for (let n = 0; n < 11; n++) socket.ws.send("x".repeat(100_000), { fin: false });
    assert.equal((await socket.end()).code, 1009);
  });

  test("a fragmented message is one message", async () => {
    const socket = await new Socket(app).join();
    socket.ws.send('421["ec', { fin: false });
    socket.ws.send("ho", { fin: false });
    socket.ws.send('","é"]', { fin: true });
    assert.equal(await socket.next(), '431["é"]');
    socket.cut();
  });

  test("an empty text frame is an error", async () => {
    const socket = await new Socket(app).join();
    socket.send("");
    await socket.end();
    assert.equal(await reasonOf(socket.id), "parse error");
  });

  test("WebSocket pings are answered", async () => {
    const socket = await new Socket(app).join();
    const pong = new Promise((done) => socket.ws.once("pong", done));
    socket.ws.ping("hello");
    assert.equal((await pong).toString(), "hello");
    socket.cut();
  });
});

describe("2.8 ends", () => {
  test("close over polling: the waiting poll gets a noop, the session is gone", async () => {
    const polling = await new Polling(app).join();
    const waiting = await polling.wait();
    assert.equal((await polling.post("1")).body, "ok");
    assert.equal((await waiting.answer).body, "6");
    assert.ok(await polling.gone());
    assert.equal(await reasonOf(polling.id), "transport close");
  });

  test("close over WebSocket ends the session", async () => {
    const socket = await new Socket(app).join();
    socket.send("1");
    // npm's server ignores it until the ping timeout
    if (side({ reference: true, tidings: false })) assert.ok(await socket.alive());
    else {
      await socket.end();
      assert.equal(await reasonOf(socket.id), "transport close");
    }
    socket.cut();
  });

  test("a WebSocket close frame ends the session", async () => {
    const socket = await new Socket(app).join();
    socket.ws.close();
    assert.equal(await reasonOf(socket.id), "transport close");
    await socket.closed;
  });

  test("a cut connection ends the session", async () => {
    const socket = await new Socket(app).join();
    socket.cut();
    assert.match(await reasonOf(socket.id), /^transport (close|error)$/);
  });

  test("the server closes a WebSocket without a code, after DISCONNECT", async () => {
    const socket = await new Socket(app).join();
    socket.send('42["bye",true]');
    const { before, code } = await socket.end();
    assert.deepEqual([before, code], [["41"], 1005]);
    assert.equal(await reasonOf(socket.id), "server namespace disconnect");
  });

  test("the server closes polling: DISCONNECT, then 1, then the session is unknown", async () => {
    const polling = await new Polling(app).join();
    await polling.post('42["bye",true]');
    const packets = [];
    for (;;) {
      const { status, body } = await polling.get();
      if (status !== 200) break;
      packets.push(...body.split("\x1e").filter((packet) => packet !== "6"));
    }
    assert.deepEqual(packets, ["41", "1"]);
    assert.ok(await polling.gone());
  });

  test("a polling client that answers DISCONNECT with a close is gone at once", async () => {
    await withApp({}, async (app) => {
      const polling = await new Polling(app).join();
      await polling.post('42["bye",true]');
      assert.deepEqual(await polling.packets(1), ["41"]);
      assert.equal((await polling.post("1")).status, 200);
      assert.ok(await polling.gone());
      await app.quiet();
    });
  });

  test("DISCONNECT alone leaves the transport open", async () => {
    const socket = await new Socket(app).join();
    socket.send("41");
    assert.equal(await reasonOf(socket.id), "client namespace disconnect");
    socket.send("40");
    assert.match(await socket.next(), /^40\{"sid":"/);
    assert.ok(await socket.alive());
    socket.cut();
  });

  test("who joins no namespace in time is closed; a refused CONNECT doesn't count", async () => {
    await withApp({ CONNECT_TIMEOUT_MS: "300" }, async (app) => {
      const silent = await new Socket(app).open();
      await silent.end();
      const refused = await new Socket(app).open();
      refused.send("40/nowhere,");
      const { before } = await refused.end();
      assert.deepEqual(before, ['44/nowhere,{"message":"Invalid namespace"}']);
      const polling = await new Polling(app).open();
      await until("the session is gone", () => polling.gone());
      await app.quiet();
    });
  });

  test("who has joined in time stays", async () => {
    await withApp({ CONNECT_TIMEOUT_MS: "300" }, async (app) => {
      const socket = await new Socket(app).join();
      const silent = await new Socket(app).open();
      await silent.end(); // so its time is up, and the other's as well
      assert.ok(await socket.alive());
      socket.cut();
    });
  });
});
