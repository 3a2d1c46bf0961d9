// From long-polling to WebSocket: SOCKETIO.md 2.6.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { sharedApp, withApp } from "./lib/shared.mjs";
import { Polling, SEPARATOR, Socket } from "./lib/wire.mjs";

const app = sharedApp();
const reasonOf = async (id) => (await app.logged("disconnect", (e) => e.type === "disconnect" && e.id === id)).reason;

async function probe(polling, app = polling.app) {
  const socket = new Socket(app, { sid: polling.sid });
  assert.equal((await socket.answered).status, 101);
  socket.send("2probe");
  assert.equal(await socket.next("the answer to the probe"), "3probe");
  return socket;
}

describe("2.6 upgrade", () => {
  test("probe, noop to the waiting poll, switch; polling is over", async () => {
    const polling = await new Polling(app).join();
    const waiting = await polling.wait();
    const socket = await probe(polling);
    assert.equal((await waiting.answer).body, "6");
    socket.send("5");
    socket.send('421["echo","on websocket"]');
    assert.equal(await socket.next(), '431["on websocket"]');
    for (const { status, body } of [await polling.get(), await polling.post("3")]) {
      assert.equal(status, 400);
      assert.equal(JSON.parse(body).code, 3);
    }
    assert.ok(await socket.alive());
    socket.cut();
    assert.match(await reasonOf(polling.id), /^transport (close|error)$/);
  });

  test("a poll that begins during the probe is answered with a noop", async () => {
    const polling = await new Polling(app).join();
    const socket = await probe(polling);
    assert.equal((await polling.get()).body, "6");
    socket.send("5");
    assert.ok(await socket.alive());
    socket.cut();
  });

  test("what waits for a poll goes out on the WebSocket", async () => {
    const polling = await new Polling(app).join();
    const socket = await probe(polling);
    await polling.post('42["flood",3]');
    await app.emit({ to: [polling.id], event: "last", args: [] });
    socket.send("5");
    const got = [];
    while (got.length < 4) got.push(await socket.next());
    assert.deepEqual(got, ['42["flood",0]', '42["flood",1]', '42["flood",2]', '42["last"]']);
    socket.cut();
  });

  test("a POST during the probe is served", async () => {
    const polling = await new Polling(app).join();
    const socket = await probe(polling);
    assert.equal((await polling.post('421["echo","posted"]')).body, "ok");
    socket.send("5");
    assert.equal(await socket.next(), '431["posted"]');
    socket.cut();
  });

  for (const wrong of ["2", "2other", "3probe", "6", '42["echo","sent too early"]', "x"]) {
    test(`${wrong} on the probing WebSocket closes that one only`, async () => {
      const polling = await new Polling(app).join();
      const socket = new Socket(app, { sid: polling.sid });
      await socket.answered;
      socket.send(wrong);
      await socket.end();
      assert.ok(await polling.alive());
      // and the next try works
      const second = await probe(polling);
      second.send("5");
      assert.ok(await second.alive());
      second.cut();
    });
  }

  test("a probe that is cut leaves polling as it was", async () => {
    const polling = await new Polling(app).join();
    const socket = await probe(polling);
    socket.cut();
    await socket.closed;
    assert.ok(await polling.alive());
    const waiting = await polling.wait();
    await polling.post('421["echo","still polling"]');
    const first = (await waiting.answer).body;
    // the server may have said noop for the upgrade that was under way
    assert.equal(first === "6" ? (await polling.get()).body : first, '431["still polling"]');
  });

  test("a probe that never upgrades is closed, and polling goes on", async () => {
    await withApp({ UPGRADE_TIMEOUT_MS: "200" }, async (app) => {
      const polling = await new Polling(app).join();
      const silent = new Socket(app, { sid: polling.sid });
      await silent.end();
      assert.ok(await polling.alive());
      const socket = await probe(polling, app);
      await socket.end();
      assert.ok(await polling.alive());
    });
  });

  test("a second WebSocket during the upgrade is closed, the first one goes on", async () => {
    const polling = await new Polling(app).join();
    const first = await probe(polling);
    const second = new Socket(app, { sid: polling.sid });
    // refused before the 101 or closed after it: the stock client sees a failed probe either way
    await second.closed;
    first.send("5");
    assert.ok(await first.alive());
    first.cut();
  });

  test("a WebSocket for a session that has upgraded is closed, the session goes on", async () => {
    const polling = await new Polling(app).join();
    const first = await probe(polling);
    first.send("5");
    assert.ok(await first.alive());
    await new Socket(app, { sid: polling.sid }).closed;
    assert.ok(await first.alive());
    first.cut();
  });

  test("the client closes by POST during the upgrade", async () => {
    const polling = await new Polling(app).join();
    const socket = await probe(polling);
    const waiting = polling.get().catch(() => ({ body: "6" }));
    assert.equal((await polling.post("1")).body, "ok");
    // the poll may have been answered for the probe, or found the session gone
    assert.match((await waiting).body, /^6$|"code":1/);
    await socket.end();
    assert.equal(await reasonOf(polling.id), "transport close");
    assert.ok(await polling.gone());
  });

  test("the server closes during the upgrade: told on the new transport, or on the old one", async () => {
    const polling = await new Polling(app).join();
    const socket = await probe(polling);
    await polling.post('42["bye",true]');
    socket.send("5");
    const { before } = await socket.end();
    assert.deepEqual(before, ["41"]);
    assert.ok(await polling.gone());
  });

  test("no upgrades where they are switched off", async () => {
    await withApp({ ALLOW_UPGRADES: "0" }, async (app) => {
      const polling = await new Polling(app).join();
      const socket = new Socket(app, { sid: polling.sid });
      await socket.closed;
      assert.ok(await polling.alive());
    });
  });

  test("binary that waits is sent as binary frames after the switch", async () => {
    const polling = await new Polling(app).join();
    const socket = await probe(polling);
    await polling.post(`451-["echo",{"_placeholder":true,"num":0}]${SEPARATOR}bAQID`);
    socket.send("5");
    assert.equal(await socket.next(), '451-["echo",{"_placeholder":true,"num":0}]');
    assert.deepEqual(await socket.next(), Buffer.from([1, 2, 3]));
    socket.cut();
  });
});
