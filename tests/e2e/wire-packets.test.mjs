// Socket.IO packets: SOCKETIO.md 2.9, by hand over WebSocket.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { sharedApp, side } from "./lib/shared.mjs";
import { isReference } from "./lib/targets.mjs";
import { Polling, SEPARATOR, Socket } from "./lib/wire.mjs";

const app = sharedApp();
const reasonOf = async (id) => (await app.logged("disconnect", (e) => e.type === "disconnect" && e.id === id)).reason;

// Sends the frames on a connected socket, returns the next frame.
async function answerTo(...frames) {
  const socket = await new Socket(app).join();
  for (const frame of frames) socket.send(frame);
  const answer = await socket.next();
  socket.cut();
  return answer;
}

describe("2.9 CONNECT", () => {
  test("to the main namespace, with and without a payload", async () => {
    for (const packet of ["40", "40{}", '40{"token":1}', "40/,", "40/,{}"]) {
      const socket = await new Socket(app).open();
      socket.send(packet);
      assert.match(await socket.next(), /^40\{"sid":"[A-Za-z0-9_-]{20,}"\}$/, packet);
      socket.cut();
    }
  });

  test("to another namespace, with and without the comma", async () => {
    for (const packet of ["40/n7,", "40/n7", '40/n7,{"a":1}', "40/room-12,"]) {
      const socket = await new Socket(app).open();
      socket.send(packet);
      const name = packet.match(/\/[^,]*/)[0];
      let answer = await socket.next();
      if (answer.startsWith("42/room-12,")) answer = await socket.next(); // its greeting may come first
      assert.match(answer, new RegExp(`^40${name},\\{"sid":"[A-Za-z0-9_-]{20,}"\\}$`));
      socket.cut();
    }
  });

  test("an unknown namespace is a CONNECT_ERROR, and the connection goes on", async () => {
    const socket = await new Socket(app).open();
    // a query is a part of the name on EIO 4
    for (const name of ["/random", "/room-x", "/n200", "/admin?x=1", "/__proto__", "/constructor", "/" + "long".repeat(1000)]) {
      socket.send(`40${name},`);
      assert.equal(await socket.next(), `44${name},{"message":"Invalid namespace"}`);
    }
    socket.send("40");
    assert.match(await socket.next(), /^40\{/);
    assert.ok(await socket.alive());
    socket.cut();
  });

  test("middleware's errors: message and data", async () => {
    const socket = await new Socket(app).open();
    socket.send("40/auth,");
    // without data of its own a refusal carries its code
    const bare = { reference: '{"message":"token missing"}', tidings: '{"message":"token missing","data":{"code":"bad_request"}}' };
    assert.equal(await socket.next(), `44/auth,${side(bare)}`);
    socket.send('40/auth,{"token":"x"}');
    assert.equal(await socket.next(), '44/auth,{"message":"token refused","data":"plain text"}');
    socket.send('40/auth,{"token":"expired"}');
    const answer = await socket.next();
    assert.deepEqual(JSON.parse(answer.slice("44/auth,".length)), {
      message: "token expired",
      data: { code: "token_expired", at: 1700000000, nested: [1, { a: null }] },
    });
    socket.send('40/auth,{"token":"good-ann"}');
    assert.match(await socket.next(), /^40\/auth,\{"sid"/);
    socket.cut();
  });

  for (const packet of ["40[]", '40"token"', "40null", "40{", "40/n1,[]"]) {
    test(`${packet} closes: the payload is an object`, async () => {
      const socket = await new Socket(app).open();
      socket.send(packet);
      assert.deepEqual((await socket.end()).before, []);
    });
  }

  test("a second CONNECT to a namespace that is joined closes", async () => {
    const socket = await new Socket(app).join();
    socket.send("40");
    await socket.end();
    assert.equal(await reasonOf(socket.id), "forced close");
  });

  test("an event before CONNECT closes", async () => {
    const socket = await new Socket(app).open();
    socket.send('42["echo"]');
    await socket.end();
  });

  test("an event right behind CONNECT closes: it isn't complete yet", async () => {
    const polling = await new Polling(app).open();
    await polling.post(`40/slow,${SEPARATOR}42/slow,["echo"]`);
    await app.release();
    for (;;) {
      const { status, body } = await polling.get();
      if (status !== 200) break;
      assert.doesNotMatch(body, /echo/);
    }
    assert.ok(await polling.gone());
  });

  test("an event for a namespace that isn't joined closes", async () => {
    for (const packet of ['42/n1,["echo"]', '42/nowhere,["echo"]', '42/custom["echo"]']) {
      const socket = await new Socket(app).join();
      socket.send(packet);
      await socket.end();
    }
  });

  test("CONNECT_ERROR from a client closes", async () => {
    const socket = await new Socket(app).join();
    socket.send('44{"message":"no"}');
    await socket.end();
  });

  test("200 namespaces on one connection", async () => {
    const socket = await new Socket(app).open();
    for (let n = 0; n < 200; n++) socket.send(`40/n${n},`);
    const joined = new Set();
    while (joined.size < 200) joined.add((await socket.next()).match(/^40(\/n\d+),/)[1]);
    socket.send('42/n199,1["echo","last"]');
    assert.equal(await socket.next(), '43/n199,1["last"]');
    socket.cut();
  });
});

describe("2.9 EVENT and ACK", () => {
  test("names may be numbers", async () => {
    const socket = await new Socket(app).join();
    socket.send("42[1,2]");
    assert.ok(await socket.alive());
    socket.cut();
  });

  test("an EVENT without a payload is ignored", async () => {
    const socket = await new Socket(app).join();
    socket.send("42");
    assert.ok(await socket.alive());
    socket.cut();
  });

  test("names that mean something to JavaScript mean nothing here", async () => {
    const socket = await new Socket(app).join();
    for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty", ""]) socket.send(`42["${name}"]`);
    assert.ok(await socket.alive());
    socket.cut();
  });

  test("the ack has the event's id and its namespace", async () => {
    assert.equal(await answerTo('420["echo"]'), "430[]");
    assert.equal(await answerTo('42/,5["echo",1]'), "435[1]");
    assert.equal(await answerTo('429007199254740991["echo"]'), "439007199254740991[]");
  });

  test("an id beyond all integers harms nobody else", async () => {
    const other = await new Socket(app).join();
    const answer = await answerTo('429999999999999999999999["echo","x"]');
    // npm's server writes what JavaScript makes of the number, which no client could read; a client counts and never gets there.
    // To Tidings it is no packet: an id has at most 64 bits.
    if (isReference) assert.equal(answer, '431e+22["x"]');
    else {
      assert.ok(answer.closed, `closed, but there came ${answer}`);
      assert.equal(await answerTo('4218446744073709551615["echo","x"]'), '4318446744073709551615["x"]');
    }
    assert.ok(await other.alive());
    other.cut();
  });

  test("an ack that nobody waits for is ignored", async () => {
    const socket = await new Socket(app).join();
    for (const packet of ["430[]", "4399999[1,2]", "43[]", '431["x"]']) socket.send(packet);
    assert.ok(await socket.alive());
    socket.cut();
  });

  test("an event followed at once by DISCONNECT", async () => {
    const polling = await new Polling(app).join();
    await polling.post(`420["ack:late"]${SEPARATOR}41`);
    await reasonOf(polling.id);
    // npm's server marks the socket as gone before it dispatches; what was said before the good-bye was said
    const handled = (await app.log()).filter(({ type, id }) => type === "held" && id === polling.id);
    assert.equal(handled.length, side({ reference: 0, tidings: 1 }));
    await polling.post("40");
    await polling.poll();
    assert.ok(await polling.alive());
  });

  for (const packet of [
    "42[]",
    "42[null]",
    "42[true]",
    "42[{}]",
    "42{}",
    "42null",
    '42"echo"',
    '42["echo"]x',
    '42["echo"',
    "42[echo]",
    "47",
    "4x",
    '42["connect"]',
    '42["connect_error"]',
    '42["disconnect"]',
    '42["disconnecting"]',
    '42["newListener"]',
    '42["removeListener"]',
    "430{}",
    '430"x"',
    '41{"a":1}',
  ]) {
    test(`${packet} closes`, async () => {
      const socket = await new Socket(app).join();
      socket.send(packet);
      assert.deepEqual((await socket.end()).before, []);
      assert.match(await reasonOf(socket.id), /^(forced close|parse error)$/);
    });
  }

  const deep = isReference && "npm's server ends when it writes the answer";
  test("JSON nested 100,000 deep ends at most that connection", { skip: deep }, async () => {
    for (const [open, close] of [["[", "]"], ['{"a":', "}"]]) {
      const socket = await new Socket(app).join();
      socket.send(`421["echo",${open.repeat(100_000)}1${close.repeat(100_000)}]`);
      await socket.next("an answer or the end");
      socket.cut();
      assert.ok(await (await new Socket(app).join()).alive());
    }
  });
});

describe("2.9 binary", () => {
  const slot = (n) => `{"_placeholder":true,"num":${n}}`;

  test("an attachment and its ack", async () => {
    const socket = await new Socket(app).join();
    socket.send(`451-3["echo",${slot(0)}]`);
    socket.send(Buffer.from([1, 2]));
    assert.equal(await socket.next(), `461-3[${slot(0)}]`);
    assert.deepEqual(await socket.next(), Buffer.from([1, 2]));
    socket.cut();
  });

  test("in a namespace, without an ack", async () => {
    const socket = await new Socket(app).join("40/n3,");
    socket.send(`451-/n3,["echo",{"deep":[${slot(0)}]}]`);
    socket.send(Buffer.from("x"));
    assert.equal(await socket.next(), `451-/n3,["echo",{"deep":[${slot(0)}]}]`);
    assert.deepEqual(await socket.next(), Buffer.from("x"));
    socket.cut();
  });

  test("ten attachments are the most", async () => {
    const socket = await new Socket(app).join();
    const ten = Array.from({ length: 10 }, (_, n) => slot(n)).join();
    socket.send(`4510-1["echo",${ten}]`);
    for (let n = 0; n < 10; n++) socket.send(Buffer.from([n]));
    assert.equal(await socket.next(), `4610-1[${ten}]`);
    for (let n = 0; n < 10; n++) assert.deepEqual(await socket.next(), Buffer.from([n]));
    socket.send(`4511-1["echo",${ten}]`);
    await socket.end();
  });

  test("one attachment may be used twice", async () => {
    const socket = await new Socket(app).join();
    socket.send(`451-1["echo",${slot(0)},${slot(0)}]`);
    socket.send(Buffer.from([9]));
    const frames = [await socket.next(), await socket.next()];
    assert.match(frames[0], /^46[12]-1\[/);
    assert.deepEqual(frames[1], Buffer.from([9]));
    socket.cut();
  });

  test("heartbeats between the attachments are no harm", async () => {
    const socket = await new Socket(app).join();
    socket.send(`452-1["echo",${slot(0)},${slot(1)}]`);
    socket.send("3");
    socket.send(Buffer.from([1]));
    socket.send("3");
    socket.send(Buffer.from([2]));
    assert.equal(await socket.next(), `462-1[${slot(0)},${slot(1)}]`);
    socket.cut();
  });

  test("what looks like a placeholder in a plain event is an object", async () => {
    assert.equal(await answerTo(`421["echo",${slot(0)}]`), `431[${slot(0)}]`);
  });

  const broken = {
    "no attachments announced": ['450-["echo"]'],
    "no number": ['45-["echo"]'],
    "eleven attachments": [`4511-["echo",${slot(0)}]`],
    "a negative number": ['45-1-["echo"]'],
    "too many to count": ['4599999999999999999999-["echo"]'],
    "a text packet while an attachment is due": [`451-["echo",${slot(0)}]`, '42["echo"]'],
    "a binary frame that nobody announced": [Buffer.from([1])],
    "a placeholder out of range": [`451-["echo",${slot(5)}]`, Buffer.from([1])],
    "a placeholder that is no number": ['451-["echo",{"_placeholder":true,"num":"0"}]', Buffer.from([1])],
    "a negative placeholder": [`451-["echo",${slot(-1)}]`, Buffer.from([1])],
    "a reserved name": [`451-["connect",${slot(0)}]`, Buffer.from([1])],
  };
  for (const [what, frames] of Object.entries(broken)) {
    test(`${what} closes`, async () => {
      const socket = await new Socket(app).join();
      for (const frame of frames) socket.send(frame);
      assert.deepEqual((await socket.end()).before, []);
    });
  }
});
