// HTTP long-polling: SOCKETIO.md 2.4 (payloads) and 2.5 (life of a poll).
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { request } from "./lib/http.mjs";
import { sharedApp } from "./lib/shared.mjs";
import { until } from "./lib/wait.mjs";
import { Polling, SEPARATOR } from "./lib/wire.mjs";

const app = sharedApp();
const reasonOf = async (id) => (await app.logged("disconnect", (e) => e.type === "disconnect" && e.id === id)).reason;

// An echo of exactly this many bytes on the wire.
const echoOf = (bytes) => {
  const empty = '421["echo",""]';
  return `421["echo","${"x".repeat(bytes - empty.length)}"]`;
};

describe("2.4 payloads", () => {
  test("several packets in one POST, several in one answer", async () => {
    const polling = await new Polling(app).join();
    await polling.post(['421["echo","a"]', '422["echo","b"]', '423["echo","c"]'].join(SEPARATOR));
    assert.deepEqual(await polling.packets(3), ['431["a"]', '432["b"]', '433["c"]']);
  });

  test("what is emitted between two polls comes in one payload", async () => {
    const polling = await new Polling(app).join();
    await polling.post('421["echo","a"]');
    await polling.post('422["flood",2]');
    await app.logged("flood ran", (e) => e.type === "connection" && e.id === polling.id);
    assert.deepEqual(await polling.packets(4), ['431["a"]', '42["flood",0]', '42["flood",1]', '432["done"]']);
  });

  test("a waiting poll is answered as soon as there is something", async () => {
    const polling = await new Polling(app).join();
    const waiting = await polling.wait();
    await polling.post('421["echo","now"]');
    assert.equal((await waiting.answer).body, '431["now"]');
  });

  test("binary both ways is b and base64", async () => {
    const polling = await new Polling(app).join();
    await polling.post(`451-7["echo",{"_placeholder":true,"num":0}]${SEPARATOR}bAQID/w==`);
    assert.deepEqual(await polling.packets(2), ['461-7[{"_placeholder":true,"num":0}]', "bAQID/w=="]);
  });

  test("a binary event may span POSTs, with a pong in between", async () => {
    const polling = await new Polling(app).join();
    const two = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}';
    await polling.post(`452-8["echo",${two}]${SEPARATOR}bAQ==`);
    await polling.post("3");
    await polling.post("bAg==");
    assert.deepEqual(await polling.packets(3), [`462-8[${two}]`, "bAQ==", "bAg=="]);
  });

  test("a POST of exactly the limit is taken, one byte more is 413 and the session lives", async () => {
    const polling = await new Polling(app).join();
    assert.equal((await polling.post(echoOf(1_000_000))).status, 200);
    assert.equal((await polling.packets(1))[0].length, 1_000_000 - '"echo",'.length);
    const { status, body } = await polling.post(echoOf(1_000_001));
    assert.deepEqual([status, body], [413, ""]);
    assert.ok(await polling.alive());
  });

  test("the limit counts bytes, not characters", async () => {
    const polling = await new Polling(app).join();
    const { status } = await polling.post(`421["echo","${"é".repeat(500_000)}"]`);
    assert.equal(status, 413);
    assert.ok(await polling.alive());
  });

  test("a chunked POST past the limit is refused too", async () => {
    const polling = await new Polling(app).join();
    let status;
    try {
      ({ status } = await polling.post(echoOf(1_500_000), {
        headers: { "content-type": "text/plain", "transfer-encoding": "chunked" },
      }));
    } catch (error) {
      // the server may close before it has read all of what it will not take
      assert.match(error.code, /ECONNRESET|EPIPE/);
      status = 413;
    }
    assert.equal(status, 413);
    assert.ok(await polling.alive());
  });

  test("answers are not limited by maxPayload", async () => {
    const polling = await new Polling(app).join();
    await polling.post('421["big",2500000]');
    assert.equal((await polling.packets(1))[0].length, 2_500_000 + '431[""]'.length);
  });

  test("invalid UTF-8 becomes U+FFFD", async () => {
    const polling = await new Polling(app).join();
    const body = Buffer.concat([Buffer.from('421["echo","a'), Buffer.from([0xff]), Buffer.from('b"]')]);
    assert.equal((await polling.post(body)).status, 200);
    assert.deepEqual(await polling.packets(1), ['431["a\ufffdb"]']);
  });

  for (const [what, body] of [
    ["an unknown type", "9"],
    ["an empty packet between two", `3${SEPARATOR}${SEPARATOR}3`],
    ["no packet at all", ""],
  ]) {
    test(`malformed, ${what}: POST is ok, the waiting poll gets 1, the session is gone`, async () => {
      const polling = await new Polling(app).join();
      const waiting = await polling.wait();
      const { status, body: answer } = await polling.post(body);
      assert.deepEqual([status, answer], [200, "ok"]);
      assert.equal((await waiting.answer).body, "1");
      assert.equal(await reasonOf(polling.id), "parse error");
      assert.ok(await polling.gone());
    });
  }

  test("octet-stream is for EIO 3: 400", async () => {
    const polling = await new Polling(app).join();
    const { status } = await polling.post("3", { headers: { "content-type": "application/octet-stream" } });
    assert.equal(status, 400);
  });
});

describe("2.5 the life of a poll", () => {
  test("a second poll beside the first: the first gets 1, the second 400, the session ends", async () => {
    const polling = await new Polling(app).join();
    const first = polling.get();
    const second = polling.get();
    const answers = await Promise.all([first, second]);
    answers.sort((a, b) => a.status - b.status);
    assert.deepEqual([answers[0].status, answers[0].body], [200, "1"]);
    assert.equal(answers[1].status, 400);
    assert.equal(await reasonOf(polling.id), "transport error");
    assert.ok(await polling.gone());
  });

  test("a second POST beside the first: it is 400, the session ends", async () => {
    const polling = await new Polling(app).join();
    let first;
    const slow = request("POST", polling.url, {
      headers: { "content-type": "text/plain", "content-length": "100" },
      body: undefined,
      started: (outgoing) => {
        first = outgoing;
        outgoing.flushHeaders();
        outgoing.end = () => {}; // the body never comes
        outgoing.write('42["nobody"');
      },
    }).then(
      () => "answered",
      () => "cut",
    );
    const waiting = polling.get().catch(() => {});
    let status;
    // the first has arrived once the second is refused
    await until("the second is refused", async () => {
      if (await polling.gone().catch(() => false)) return true;
      ({ status } = await polling.post('42["nobody"]'));
      return status === 400;
    });
    assert.equal(status, 400);
    assert.equal(await reasonOf(polling.id), "transport error");
    first.destroy();
    await slow;
    await waiting;
  });

  for (const method of ["GET", "POST"]) {
    test(`a ${method} that the client gives up ends the session`, async () => {
      const polling = await new Polling(app).join();
      let outgoing;
      let handedOver; // to the operating system, which keeps the order of what was sent and the end
      const sent = new Promise((done) => (handedOver = done));
      const given = request(method, polling.url, {
        headers: method === "POST" ? { "content-type": "text/plain", "content-length": "100" } : {},
        started: (started) => {
          outgoing = started;
          if (method === "GET") return outgoing.on("finish", handedOver);
          outgoing.end = () => {}; // the rest of the body never comes
          outgoing.write("4", handedOver);
        },
      }).catch(() => {});
      await sent;
      // A request that arrives together with its end may be dropped unread: the session then ends by its heartbeat, later.
      await sleep(300);
      outgoing.destroy();
      await given;
      assert.equal(await reasonOf(polling.id), "transport error");
      assert.ok(await polling.gone());
    });
  }

  test("a client that polls and posts in turn is served for long", async () => {
    const polling = await new Polling(app).join();
    for (let n = 0; n < 100; n++) {
      await polling.post(`42${n}["echo",${n}]`);
      assert.deepEqual(await polling.packets(1), [`43${n}[${n}]`]);
    }
  });

  test("volatile events are dropped while no poll waits", async () => {
    const polling = await new Polling(app).join();
    await app.emit({ to: [polling.id], volatile: true, event: "lost", args: [] });
    await app.emit({ to: [polling.id], event: "kept", args: [] });
    assert.deepEqual(await polling.packets(1), ['42["kept"]']);
  });
});
