// Attacks with what is said once one is in: frames, JSON, names, attachments, fields of event streams. docs/security.md lists them all.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Arena, closeCode, count, frame, Raw, upgrade, WEBSOCKETS } from "./lib/arena.mjs";
import { API_KEY, apiPublish, assertError, assertProblem, call, Plain, publish, Sse } from "./lib/channels.mjs";
import { enter } from "./lib/server.mjs";
import { tokenOf } from "./lib/tokens.mjs";
import { until, within } from "./lib/wait.mjs";
import { Polling, SEPARATOR, Socket } from "./lib/wire.mjs";

let arena;
let place;
before(async () => {
  arena = await Arena.open();
  ({ place } = arena);
});
after(() => arena?.close());

const CONNECT = () => `40${JSON.stringify({ token: tokenOf("ann") })}`;

// An open WebSocket of each kind, as bytes.
async function opened(name) {
  const raw = new Raw(place, upgrade(place, WEBSOCKETS[name]("ann")));
  assert.match(await raw.head(), /^HTTP\/1\.1 101/);
  return raw;
}

for (const name of Object.keys(WEBSOCKETS))
  describe(`frames on ${name}`, () => {
    test("fragments of one byte without end: closed with 1009, at what a message may have", () =>
      arena.attacked(async () => {
        const all = await Promise.all(count(3).map(() => opened(name)));
        const pieces = Buffer.concat(count(5000).map(() => frame(0, "x", { fin: false })));
        await within(
          "the end of all",
          Promise.all(
            all.map(async (raw) => {
              raw.socket.write(frame(1, "x", { fin: false }));
              const sent = await raw.pour(pieces, 100e6);
              await raw.end();
              assert.ok(sent < 50e6, `${sent}`);
              assert.ok([1009, undefined].includes(closeCode(raw)), `${closeCode(raw)}`);
            }),
          ),
          30_000,
        );
      }));

    test("empty fragments without end: they cost nothing, or are closed", () =>
      arena.attacked(async () => {
        const raw = await opened(name);
        const pieces = Buffer.concat(count(10_000).map(() => frame(0, "", { fin: false })));
        raw.socket.write(frame(1, "", { fin: false }));
        await within("so much is taken, or refused", raw.pour(pieces, 10e6), 30_000);
        raw.cut();
      }));

    test("frames that claim up to 2^64 bytes: closed at their head, before anything of them is waited for", () =>
      arena.attacked(
        async () => {
          for (const opcode of [1, 2, 0])
            for (const length of [2n ** 63n, 2n ** 63n - 1n, 2n ** 64n - 1n, 2n ** 32n, 1_000_001n]) {
              const raw = await opened(name);
              const head = Buffer.alloc(14);
              head[0] = 0x80 | opcode;
              head[1] = 0xff;
              head.writeBigUInt64BE(length, 2);
              if (opcode === 0) raw.socket.write(frame(1, "x", { fin: false }));
              raw.socket.write(head);
              await raw.end();
              assert.ok([1002, 1003, 1009].includes(closeCode(raw)), `${opcode} ${length}: ${closeCode(raw)}`);
            }
        },
        { grows_mb: 16 },
      ));

    test("a flood of pings and pongs delays nobody", () =>
      arena.attacked(async () => {
        const raw = await opened(name);
        for (const opcode of [9, 10]) {
          const many = Buffer.concat(count(1000).map(() => frame(opcode, "x".repeat(125))));
          await within("so much is taken, or refused", raw.pour(many, 8e6), 30_000);
        }
        raw.cut();
        // nor one that does not read the answers
        const deaf = await opened(name);
        deaf.socket.pause();
        const pings = Buffer.concat(count(1000).map(() => frame(9, "x".repeat(125))));
        const pouring = deaf.pour(pings, 64e6);
        await Promise.race([pouring, sleep(3000)]);
        deaf.cut();
        await pouring;
      }));
  });

describe("deep JSON", () => {
  const deep = (depth, open = "[", close = "]") => `${open.repeat(depth)}1${close.repeat(depth)}`;
  const shapes = {
    lists: deep(100_000),
    objects: deep(100_000, '{"a":', "}"),
    "both, without an end": '[{"a":'.repeat(50_000),
  };

  for (const [what, json] of Object.entries(shapes)) {
    test(`100,000 levels of ${what}: to Socket.IO`, () =>
      arena.attacked(async () => {
        for (const packet of [
          `421["publish","mem:deep","e",${json}]`,
          `421["subscribe",${json}]`,
          `421["auth",${json}]`,
          `421["nothing",${json}]`,
          `42${json}`,
          `42["nothing",${json}]`,
          `431${json}`,
          `431[${json}]`,
        ]) {
          const socket = await new Socket(place).join(CONNECT());
          socket.send(packet);
          // an acknowledgement that nobody waits for has no answer, this has
          socket.send('427["unread"]');
          assert.ok(await socket.next("an answer or the end"), packet.slice(0, 40));
          socket.cut();
        }
        for (const packet of [
          `40{"token":${json}}`,
          `40${json}`,
          `40{"a":${json},"token":${JSON.stringify(tokenOf("ann"))}}`,
          `40{"token":"x","pid":${json},"offset":${json}}`,
        ]) {
          const socket = await new Socket(place).open();
          socket.send(packet);
          assert.ok(await socket.next("an answer or the end"));
          socket.cut();
          const polling = await new Polling(place).open();
          const { status } = await polling.post(packet);
          assert.ok([200, 400, 413].includes(status), `${status}`);
        }
      }));

    test(`100,000 levels of ${what}: to /ws`, () =>
      arena.attacked(async () => {
        const plain = await Plain.enter(place, "ann");
        for (const message of [
          json,
          `{"type":"publish","id":1,"channel":"mem:deep","event":"e","data":${json}}`,
          `{"type":"subscribe","id":1,"channels":${json}}`,
          `{"type":"auth","id":1,"token":${json}}`,
          `{"type":"ping","id":${json}}`,
          `{"type":${json},"id":1}`,
          `{"type":"history","id":1,"channel":"mem:deep","limit":${json}}`,
        ]) {
          plain.say(message);
          const answer = await plain.next();
          assert.ok(["ok", "error"].includes(answer.type), JSON.stringify(answer).slice(0, 200));
        }
        plain.close();
        const first = new Plain(place);
        await within("the 101", first.answered);
        first.say(`{"type":"auth","token":${json}}`);
        assert.equal(await first.end(), 4401);
      }));

    test(`100,000 levels of ${what}: to the API`, () =>
      arena.attacked(async () => {
        for (const [path, body] of [
          ["publish", json],
          ["publish", `{"channel":"mem:deep","event":"e","data":${json}}`],
          ["publish", `{"channel":${json},"event":"e","data":1}`],
          ["publish", `{"channel":"mem:deep","event":"e","data":1,"key":${json}}`],
          ["publish", `{"channel":"mem:deep","event":"e","data":1,"more":${json}}`],
          ["batch", `{"events":${json}}`],
          ["batch", `{"events":[{"channel":"mem:deep","event":"e","data":${json}}]}`],
          ["users/ann/disconnect", `{"revoke":${json}}`],
          ["users/ann/read", `{"id":${json}}`],
        ]) {
          const answer = await call("POST", place, `/api/v1/${path}`, { token: API_KEY, body });
          assert.ok([200, 400, 413].includes(answer.status), `${path} ${answer.status} ${answer.body.slice(0, 200)}`);
        }
      }));
  }

  test("what was let through comes back on every transport as it was sent", () =>
    arena.attacked(async () => {
      const plain = await Plain.enter(place, "ann");
      const sse = new Sse(place, "mem:deep back");
      await sse.open();
      const socket = await new Socket(place).join(CONNECT());
      socket.send('421["subscribe","mem:deep back"]');
      await socket.next();
      for (const depth of [100, 127, 128, 512]) {
        const { status, json } = await apiPublish(place, `{"channel":"mem:deep back","event":"e","data":${deep(depth)}}`);
        assert.equal(status, 200);
        const got = await sse.nextJson();
        assert.equal(got.id, json.id);
        assert.equal(JSON.stringify(got.data.data), deep(depth));
        assert.ok((await socket.next()).includes(deep(depth)));
        const page = await plain.result("history", { channel: "mem:deep back", limit: 1 });
        assert.equal(JSON.stringify(page.events[0].data), deep(depth));
      }
      // What is deeper would end the parsers of those who listen.
      for (const data of [deep(513), deep(513, '{"a":', "}"), deep(10_000).replace("1", '{"$bytes":"aGk="}')]) {
        assertProblem(await apiPublish(place, `{"channel":"mem:deep back","event":"e","data":${data}}`), 400, "invalid_json");
        plain.say(`{"type":"publish","id":1,"channel":"mem:deep back","event":"e","data":${data}}`);
        assertError(await plain.next(), "invalid_json");
        const one = await new Socket(place).join(CONNECT());
        one.send(`421["publish","mem:deep back","e",${data}]`);
        assert.ok((await one.next("the end")).closed);
        one.cut();
      }
      assert.equal((await apiPublish(place, { channel: "mem:deep back", event: "last", data: 1 })).status, 200);
      assert.equal((await sse.nextJson()).data.event, "last", "nobody was sent any of it");
      plain.close();
      sse.close();
      socket.cut();
    }));
});

describe("names", () => {
  const RESERVED = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
    "gap",
    "expiring",
    "open",
    "error",
    "tidings:join",
    "tidings:",
    "tidings:error",
  ];
  const ODD = ["", "x".repeat(129), "a\nb", "a\0b", "a\u007f", "a\r"];

  test("reserved ones are refused at every way in, and reach nobody", () =>
    arena.attacked(async () => {
      const listener = await Plain.enter(place, "listener");
      await listener.subscribe("mem:names");
      const sse = new Sse(place, "mem:names", { named: 1 });
      await sse.open();
      const plain = await Plain.enter(place, "ann");
      const sio = await enter(place.server, "ann");
      for (const event of [...RESERVED, ...ODD]) {
        await plain.refused("publish", { channel: "mem:names", event, data: 1 }, "bad_request");
        assert.equal((await sio.ask("publish", "mem:names", event, 1)).code, "bad_request", event);
        assertProblem(await apiPublish(place, { channel: "mem:names", event, data: 1 }), 400, "bad_request", event);
        const { json } = await call("POST", place, "/api/v1/batch", {
          token: API_KEY,
          body: { events: [{ channel: "mem:names", event, data: 1 }] },
        });
        assert.equal((json.results?.[0] ?? json).code, "bad_request", event);
      }
      // emitted as they are they end the connection, as with npm's server
      for (const event of RESERVED.slice(0, 6)) {
        const socket = await new Socket(place).join(CONNECT());
        socket.send(`421[${JSON.stringify(event)},1]`);
        assert.ok((await socket.end()).code !== undefined);
      }
      for (const event of ["__proto__", "constructor", "toString", "hasOwnProperty", "message"]) {
        const id = await publish(place, "mem:names", event, 1);
        assert.equal((await listener.nextOf("event")).id, id);
        assert.equal((await sse.nextJson()).event, event);
      }
      assert.deepEqual(await listener.settled(), []);
      for (const client of [listener, sse, plain, sio]) client.close();
    }));
});

describe("placeholders and attachments", () => {
  const slot = (num, more = "") => `{"_placeholder":true,"num":${num}${more}}`;
  const tricks = {
    "out of range": slot(1),
    "far out of range": slot(4294967296),
    "beyond all integers": slot("9".repeat(400)),
    negative: slot(-1),
    "below all integers": slot(-9223372036854775808n),
    "a fraction": slot(0.5),
    "an exponent": slot("1e400"),
    "minus nothing": slot("-0"),
    text: slot('"0"'),
    "the name of an object's own": slot('"__proto__"'),
    "a list": slot("[0]"),
    nothing: slot("null"),
    "no number": '{"_placeholder":true}',
    "a number twice": slot(0, ',"num":7'),
    "in another's place": slot(slot(0)),
  };
  const said = (json) => `451-1["publish","mem:slots","e",${json}]`;

  test("tricks with their numbers: refused, or the connection ends; nobody gets what nobody sent", () =>
    arena.attacked(async () => {
      const listener = await Plain.enter(place, "listener");
      await listener.subscribe("mem:slots");
      for (const [what, json] of Object.entries(tricks)) {
        const socket = await new Socket(place).join(CONNECT());
        socket.send(said(json));
        socket.send(Buffer.from("mine"));
        const answer = await socket.next(`an answer to ${what}`);
        assert.ok(answer.closed || typeof answer === "string", what);
        const isTaken = !answer.closed && answer.startsWith('431[{"ok":true');
        if (isTaken) {
          // what is no placeholder is an object like others, or bytes that were sent
          const { data } = await listener.nextOf("event");
          assert.ok(data.$bytes === "bWluZQ==" || data._placeholder, `${what}: ${JSON.stringify(data)}`);
        }
        socket.cut();
      }
      assert.deepEqual(await listener.settled(), []);
      // on the way out what looks like one is no slot for others' bytes
      const sio = await enter(place.server, "ann");
      await sio.ask("subscribe", "mem:slots");
      for (const data of [
        JSON.parse(slot(0)),
        [JSON.parse(slot(3)), { $bytes: "AQI=" }],
        { a: JSON.parse(slot(-1)), b: { $bytes: "AQI=" } },
      ]) {
        const { status, json } = await apiPublish(place, { channel: "mem:slots", event: "out", data });
        if (status === 200) assert.equal((await sio.sawEvent("out")).args[2], json.id);
        else assert.equal(json.code, "bad_request");
      }
      for (const client of [listener, sio]) client.close();
    }));

  test("one attachment in 20,000 places is not written out so often for those to whom bytes are text", () =>
    arena.attacked(async () => {
      const listener = await Plain.enter(place, "listener");
      await listener.subscribe("mem:copies");
      const socket = await new Socket(place).join(CONNECT());
      socket.send(
        `451-1["publish","mem:copies","e",[${count(20_000)
          .map(() => slot(0))
          .join()}]]`,
      );
      socket.send(Buffer.alloc(100_000, 1));
      assert.match(await socket.next(), /^431\[\{"ok":true/);
      const event = JSON.stringify(await listener.nextOf("event"));
      assert.ok(event.length < 5e6, `${event.length} bytes`);
      const page = await call("GET", place, "/poll?channel=mem:copies&wait=0", { token: tokenOf("ann") });
      assert.ok(page.status === 200 && page.body.length < 5e6, `${page.body.length} bytes`);
      listener.close();
      socket.cut();
    }));

  test("floods of them: too many, announced and never sent, huge ones, in pieces over polling", () =>
    arena.attacked(
      async () => {
        for (const number of ["11", "1000", "4294967295", "18446744073709551616", "9".repeat(1000)]) {
          const socket = await new Socket(place).join(CONNECT());
          socket.send(`45${number}-["publish","mem:a","e",${slot(0)}]`);
          assert.deepEqual((await socket.end()).before, [], number.slice(0, 20));
        }
        // ten of nearly a message's length each, on ten connections, of which the last never comes
        const sockets = await Promise.all(count(10).map(() => new Socket(place).join(CONNECT())));
        for (const socket of sockets) {
          socket.send(`4510-1["publish","mem:a","e",${count(10).map(slot).join()}]`);
          for (let n = 0; n < 9; n++) socket.send(Buffer.alloc(990_000));
        }
        await arena.newcomers();
        for (const socket of sockets) socket.cut();
        const polling = await new Polling(place).join(CONNECT());
        const bytes = `b${Buffer.alloc(600_000).toString("base64")}`;
        await polling.post(`4510-1["publish","mem:a","e",${slot(0)}]`);
        for (let n = 0; n < 12; n++) {
          const { status } = await polling.post(bytes);
          assert.ok([200, 400].includes(status), `${status}`);
          if (status === 400) break;
        }
        // 100,000 packets in one POST
        const many = await new Polling(place).join(CONNECT());
        const { status } = await many.post(Array(200_000).fill("42[]").join(SEPARATOR).slice(0, 999_990));
        assert.ok([200, 400, 413].includes(status), `${status}`);
      },
      { grows_mb: 256 },
    ));
});

describe("event streams", () => {
  test("nothing smuggles a line into a field: by a header, a parameter, a name, data, or a user", () =>
    arena.attacked(async () => {
      const evil = "x\r\nid: evil\r\nevent: evil\r\ndata: evil\r\n\r\n\0\u2028";
      const streams = [];
      for (const options of [
        {},
        { named: 1 },
        { format: "raw" },
        { lastEventId: evil },
        { lastEventId: "\0" },
        { named: 1, format: "raw" },
      ]) {
        const sse = new Sse(place, "mem:fields", options);
        await sse.open();
        streams.push(sse);
      }
      const expected = [];
      for (const data of [evil, { [evil]: [evil] }, "\r", "\n", "\0"])
        expected.push(await publish(place, "mem:fields", "e", data));
      const sub = "evil id: evil data: evil";
      const ann = await Plain.enter(place, sub);
      expected.push((await ann.publish("mem:fields", "e: \u2028data: evil", evil)).id);
      for (const part of ["\r", "\n", "\0"]) {
        await ann.refused("publish", { channel: "mem:fields", event: `a${part}data: evil`, data: 1 }, "bad_request");
        await ann.refused("publish", { channel: `mem:fields${part}data: evil`, event: "e", data: 1 }, "invalid_channel");
        assertProblem(await new Sse(place, `mem:fields${part}data: evil`).whole(), 400, "invalid_channel");
        assertProblem(await apiPublish(place, { channel: "mem:fields", event: `a${part}b`, data: 1 }), 400, "bad_request");
      }
      for (const sse of streams) {
        const got = [];
        while (got.length < expected.length) {
          const { event, id } = await sse.next();
          if (event !== "gap") got.push(id);
        }
        assert.deepEqual(got, expected);
        for (const { lines } of sse.blocks)
          for (const line of lines) assert.match(line, /^(data|id|event|retry):|^:/, JSON.stringify(line));
        assert.doesNotMatch(sse.bytes, /\0|\nid: ?evil|\ndata: ?evil|\revil/);
        sse.close();
      }
      ann.close();
      const token = `authorization: Bearer ${tokenOf("ann")}\r\n`;
      for (const id of ["a\0b", "a\rdata: evil", "a\ndata: evil", "\x0b"]) {
        const raw = new Raw(place, `GET /sse?channel=mem:a HTTP/1.1\r\nhost: a\r\n${token}last-event-id: ${id}\r\n\r\n`);
        await raw.head();
        assert.ok([200, 400, 403].includes(raw.status) || raw.over, raw.text.slice(0, 100));
        assert.ok(!/\n(id|data): ?evil/.test(raw.text));
        raw.cut();
      }
    }));
});

test("nothing of all that is left", () =>
  until("no WebSocket but the bystanders'", async () => {
    const kinds = { websocket: 1, "socketio-websocket": 1, sse: 0 };
    const there = await Promise.all(Object.keys(kinds).map((kind) => arena.metric(`tidings_connections{kind="${kind}"}`)));
    return there.every((n, at) => n === Object.values(kinds)[at]);
  }));
