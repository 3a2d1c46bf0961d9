// What the compat tests play, once for each client and transport, against both servers. A scenario asserts what must hold on
// either side; all else is left to the comparison of the transcripts.
import assert from "node:assert/strict";
import { until } from "./wait.mjs";

const isEvent = (name) => (record) => record.event === name;
const eventsOf = (client, name) => client.records.filter(isEvent(name)).map((record) => record.args);

export const scenarios = {
  async "echo with an ack, any arity"(run) {
    const c1 = await run.connect("c1");
    await c1.ask("echo");
    await c1.ask("echo", 1);
    await c1.ask("echo", 1, "two", null, true, [3], { four: 4 });
    await c1.ask("echo", ...Array.from({ length: 30 }, (_, n) => n));
    await c1.ask("echo", { deep: { deeper: [{ deepest: [] }] } }, "");
    assert.deepEqual(c1.records.at(-1).args, [{ deep: { deeper: [{ deepest: [] }] } }, ""]);
  },

  async "echo without an ack"(run) {
    const c1 = await run.connect("c1");
    c1.emit("echo");
    c1.emit("echo", "one");
    c1.emit("echo", "one", 2, { three: 3 });
    await c1.barrier();
    assert.deepEqual(eventsOf(c1, "echo"), [[], ["one"], ["one", 2, { three: 3 }]]);
  },

  async "text and numbers arrive as sent"(run) {
    const c1 = await run.connect("c1");
    const odd = ["", "é漢🙂", "\ud800", "a\u0000b", "\u001e", '"\\/', "\u2028", 1e21, 1.5e-7, -0, 9007199254740993, { b: 1, a: 2, 10: 3 }];
    for (const value of odd) run.note("as JSON", JSON.stringify(await c1.ask("echo", value)));
    assert.equal(c1.records.at(-2).args[0], 9007199254740992);
  },

  async "binary anywhere"(run) {
    const c1 = await run.connect("c1");
    const bytes = (n) => Buffer.from(Array.from({ length: n }, (_, i) => i % 251));
    await c1.ask("echo", bytes(0));
    await c1.ask("echo", bytes(1), "between", { deep: [{ b: bytes(300) }], again: bytes(2) });
    c1.emit("echo", { b: bytes(5) });
    await c1.sawEvent("echo");
    await c1.ask("echo", bytes(300_000));
    await c1.ask("echo", ...Array.from({ length: 10 }, (_, n) => bytes(n)));
    await c1.ask("op", { from: "io", event: "bin", args: [{ nested: [bytes(7)] }, bytes(9)] });
    await c1.barrier();
    assert.equal(eventsOf(c1, "bin")[0][1].$bytes, 9);
    // what looks like a placeholder and is none
    await c1.ask("echo", { _placeholder: true, num: 0 });
  },

  async "large text both ways"(run) {
    const c1 = await run.connect("c1");
    const long = "é".repeat(200_000);
    assert.equal((await c1.ask("echo", long)).length, 200_000);
    assert.equal((await c1.ask("big", 3_000_000)).length, 3_000_000);
  },

  async "rooms: join, leave, own id"(run) {
    const c1 = await run.connect("c1");
    await c1.ask("rooms");
    await c1.ask("join", "r1");
    await c1.ask("join", "r2");
    await c1.ask("join", "r1");
    await c1.ask("leave", "r1");
    await c1.ask("leave", "never joined");
    await c1.ask("join", "with space, comma and 🙂");
    c1.emit("op", { from: "io", to: [c1.socket.id], event: "own", args: ["to my id"] });
    await c1.sawEvent("own");
  },

  async "to, except, broadcast, from the socket and from io"(run) {
    const c1 = await run.connect("c1");
    const c2 = await run.connect("c2");
    const c3 = await run.connect("c3");
    for (const [client, room] of [[c1, "a"], [c2, "a"], [c2, "b"], [c3, "b"]]) await client.ask("join", room);
    const ops = [
      { event: "e1" },
      { event: "e2", to: ["a"] },
      { event: "e3", to: ["a", "b"] },
      { event: "e4", broadcast: true },
      { event: "e5", except: ["b"] },
      { event: "e6", to: ["a"], except: ["b"] },
      { event: "e7", from: "io" },
      { event: "e8", from: "io", to: ["a"] },
      { event: "e9", from: "io", to: ["a", "b"] },
      { event: "e10", from: "io", except: ["a"] },
      { event: "e11", from: "io", to: ["b"], except: [c3.socket.id] },
      { event: "e12", from: "io", to: ["nobody is here"] },
      { event: "e13", from: "io", to: ["a"], local: true },
      { event: "e14", broadcast: true, local: true, except: ["b"] },
      { event: "e15", to: [c2.socket.id, c3.socket.id] },
    ];
    for (const op of ops) await c1.ask("op", { args: [op.event], ...op });
    for (const client of [c1, c2, c3]) await client.barrier();
    assert.deepEqual(
      c2.records.filter((record) => record.event).map((record) => record.event),
      ["e2", "e3", "e4", "e7", "e8", "e9", "e11", "e13", "e15"],
    );
  },

  async "volatile reaches who is listening"(run) {
    const c1 = await run.connect("c1");
    const c2 = await run.connect("c2");
    for (const client of [c1, c2]) await client.ask("join", "v");
    // Dropping is allowed to a volatile event, so it is sent until it arrived; each that arrives, arrives once.
    let sent = 0;
    await until("a volatile event at both", async () => {
      await run.app.emit({ to: ["v"], volatile: true, event: "v", args: [sent++] });
      return [c1, c2].every((client) => client.records.some(isEvent("v")));
    });
    for (const client of [c1, c2]) {
      await client.barrier();
      const got = eventsOf(client, "v").map(([n]) => n);
      assert.deepEqual(got, [...new Set(got)].sort((a, b) => a - b));
      // how many arrived is chance; leave it out of the transcript
      client.records = client.records.filter((record) => record.event !== "v");
    }
  },

  async "the server asks one client"(run) {
    const c1 = await run.connect("c1");
    c1.socket.on("question", (n, ack) => ack(n * 2, "second"));
    c1.socket.on("silence", () => {});
    c1.socket.on("bytes?", (ack) => ack(Buffer.from([1, 2, 3]).length, Buffer.from([1, 2, 3])));
    await c1.ask("op", { event: "question", args: [21], timeout: 10_000 });
    await c1.ask("op", { event: "silence", args: [], timeout: 50 });
    await c1.ask("op", { event: "bytes?", args: [], timeout: 10_000 });
  },

  async "broadcast acks, all and some"(run) {
    const clients = [];
    for (const name of ["c1", "c2", "c3"]) {
      const client = await run.connect(name);
      client.socket.on("all", (ack) => ack(name));
      client.socket.on("some", (ack) => name !== "c2" && ack({ from: name }));
      client.socket.on("nothing", (ack) => ack());
      await client.ask("join", "q");
      clients.push(client);
    }
    const [c1] = clients;
    await c1.ask("op", { from: "io", to: ["q"], event: "all", timeout: 10_000 });
    await c1.ask("op", { to: ["q"], event: "all", timeout: 10_000 });
    await c1.ask("op", { from: "io", to: ["nobody"], event: "all", timeout: 10_000 });
    await c1.ask("op", { from: "io", to: ["q"], event: "nothing", timeout: 10_000 });
    // The first ones have answered when the barrier is through; only then may the deadline strike.
    const answer = await run.app.emit({ to: ["q"], event: "some", timeout: 1500 });
    answer.responses.sort((a, b) => a.from.localeCompare(b.from));
    run.note("partial", answer);
    assert.deepEqual(answer.responses, [{ from: "c1" }, { from: "c3" }]);
    assert.equal(answer.ok, false);
  },

  async "an answer that arrives when the asking is over"(run) {
    const c1 = await run.connect("c1");
    let late;
    c1.socket.on("silence", (ack) => (late = ack));
    await c1.ask("op", { event: "silence", args: [], timeout: 20 });
    late("too late");
    late("again");
    await c1.barrier();
  },

  async "event middleware refuses an event"(run) {
    const c1 = await run.connect("c1");
    c1.emit("forbidden:event");
    await c1.barrier();
    const log = (await run.app.log()).filter((entry) => entry.type === "refused");
    assert.equal(log.at(-1).event, "forbidden:event");
  },

  async "event middleware refuses an event with an ack"(run) {
    const c1 = await run.connect("c1");
    c1.socket.emit("forbidden:event", (...args) => c1.records.push({ ack: "forbidden:event", args }));
    await c1.barrier();
  },

  async "on_any sees what has no handler"(run) {
    const c1 = await run.connect("c1");
    c1.emit("nobody handles this", 1, 2, 3);
    c1.emit("nor this");
    await c1.barrier();
  },

  async "the client says good-bye"(run) {
    const c1 = await run.connect("c1");
    await c1.ask("join", "lobby");
    const id = c1.socket.id;
    c1.close();
    const entry = await run.app.logged("its disconnecting", (e) => e.type === "disconnecting" && e.id === id);
    assert.deepEqual(new Set(entry.rooms), new Set([id, "lobby"]));
    await run.app.logged("its disconnect", (e) => e.type === "disconnect" && e.id === id);
  },

  async "the client's transport is cut"(run) {
    const c1 = await run.connect("c1");
    await c1.ask("join", "lobby");
    const id = c1.socket.id;
    c1.socket.io.engine.close();
    const entry = await run.app.logged("its disconnect", (e) => e.type === "disconnect" && e.id === id);
    assert.equal(entry.reason, "transport close");
  },

  async "the server disconnects a socket"(run) {
    const c1 = await run.connect("c1");
    const admin = await run.beside("admin", c1, "/admin").connected();
    await admin.sawEvent("welcome");
    c1.emit("bye", false);
    assert.equal((await c1.sawDisconnect()).disconnect, "io server disconnect");
    await admin.ask("echo", "still here");
  },

  async "the server disconnects a socket and its connection"(run) {
    const c1 = await run.connect("c1");
    const admin = await run.beside("admin", c1, "/admin").connected();
    await admin.sawEvent("welcome");
    admin.emit("bye", true);
    await admin.sawDisconnect();
    await c1.sawDisconnect();
  },

  async "a client that comes back is a new socket"(run) {
    const c1 = await run.connect("c1");
    await c1.ask("join", "lobby");
    const { engine } = c1.socket.io;
    c1.emit("bye", false);
    await c1.sawDisconnect();
    // Its last socket gone, a client closes the transport; 3.0 that connects again before that is done may never come back.
    await until("the transport's end", () => engine.readyState === "closed");
    c1.socket.connect();
    await until("connect", () => c1.ids.length === 2);
    await c1.ask("rooms");
    assert.notEqual(c1.ids[0], c1.ids[1]);
  },

  async "a client reconnects by itself"(run) {
    const c1 = await run.connect("c1", { reconnection: true, reconnectionDelay: 200, reconnectionDelayMax: 300 });
    await run.app.sockets({ op: "disconnect", close: true });
    // `io server disconnect` is final to a stock client; a lost transport is not
    await c1.sawDisconnect();
    c1.socket.connect();
    await until("connect again", () => c1.ids.length === 2);
    await c1.connected();
    c1.socket.io.engine.close();
    await c1.sawDisconnect();
    await until("connect a third time", () => c1.ids.length === 3);
    await c1.connected();
    await c1.ask("echo", "back");
  },

  async "connect middleware: who may enter"(run) {
    const tries = {
      missing: {},
      expired: { token: "expired" },
      refused: { token: "nonsense" },
      number: { token: 7 },
      banned: { token: "good-banned" },
    };
    for (const [name, auth] of Object.entries(tries)) {
      const client = run.open(name, { nsp: "/auth", auth });
      await client.sawError();
      assert.equal(client.socket.connected, false);
    }
    const ann = await run.connect("ann", { nsp: "/auth", auth: { token: "good-ann", more: [1, 2] } });
    await ann.ask("data:get");
    assert.equal((await ann.ask("handshake")).auth.token, "good-ann");
    delete ann.records.at(-1).args[0].issued;
  },

  async "auth as a function, and another try after a refusal"(run) {
    let token = "expired";
    const c1 = run.open("c1", { nsp: "/auth", auth: (done) => done({ token }) });
    const error = await c1.sawError();
    assert.deepEqual(error, {
      connect_error: "token expired",
      data: { code: "token_expired", at: 1700000000, nested: [1, { a: null }] },
    });
    token = "good-ann";
    c1.socket.connect();
    await c1.connected();
    await c1.ask("data:get");
  },

  async "namespaces on one connection"(run) {
    const c1 = await run.connect("c1");
    const admin = await run.beside("admin", c1, "/admin").connected();
    const room = await run.beside("room", c1, "/room-7").connected();
    const none = run.beside("none", c1, "/nowhere");
    const nearly = run.beside("nearly", c1, "/room-7x");
    await none.sawError();
    await nearly.sawError();
    await admin.ask("join", "shared name");
    await c1.ask("join", "shared name");
    await c1.ask("op", { from: "io", to: ["shared name"], event: "only in /", args: [] });
    await run.app.emit({ nsp: "/admin", event: "only in /admin", args: [] });
    await run.app.emit({ nsp: "/room-7", event: "only in /room-7", args: [] });
    for (const client of [c1, admin, room]) await client.barrier();
    room.close();
    await c1.ask("echo", "one left, two stay");
    await admin.ask("echo", "here too");
    room.socket.connect();
    await until("the room again", () => room.ids.length === 2);
    await room.ask("echo", "back");
    assert.deepEqual(eventsOf(room, "room:hello"), [["/room-7"], ["/room-7"]]);
  },

  async "a namespace with a query in its name"(run) {
    const c1 = await run.connect("c1", { nsp: "/admin?token=x" });
    await c1.ask("echo", "the query is no part of the name");
  },

  async "sockets from outside: fetch, join, leave, disconnect"(run) {
    const c1 = await run.connect("c1");
    const c2 = await run.connect("c2");
    await c1.ask("join", "g");
    await c1.ask("data:set", { name: "one" });
    run.note("all", await run.app.sockets({ op: "fetch" }));
    run.note("in g", await run.app.sockets({ op: "fetch", in: ["g"] }));
    run.note("not in g", await run.app.sockets({ op: "fetch", except: ["g"] }));
    run.note("in none", await run.app.sockets({ op: "fetch", in: ["none"] }));
    await run.app.sockets({ op: "join", in: [c2.socket.id], rooms: ["g", "h"] });
    await c2.ask("rooms");
    await run.app.sockets({ op: "leave", in: ["h"], rooms: ["g", "h"] });
    await c2.ask("rooms");
    await run.app.sockets({ op: "join", rooms: ["everyone"] });
    await run.app.emit({ to: ["everyone"], event: "hello everyone", args: [1] });
    for (const client of [c1, c2]) await client.sawEvent("hello everyone");
    await run.app.sockets({ op: "disconnect", in: ["g"], close: false });
    await c1.sawDisconnect();
    await c2.ask("echo", "not me");
    await run.app.sockets({ op: "disconnect", close: true });
    await c2.sawDisconnect();
  },

  async "data of a socket and of its handshake"(run) {
    const c1 = await run.connect("c1", {
      query: { a: "1", "b c": "ü&=" },
      auth: { who: "me" },
      // no header can be set from a WebSocket in a browser, in Node it can
      extraHeaders: { "x-custom": "yes" },
    });
    await c1.ask("data:get");
    await c1.ask("data:set", { deep: [1] });
    await c1.ask("data:get");
    const handshake = await c1.ask("handshake");
    assert.ok(Math.abs(Date.now() - handshake.issued) < 60_000);
    delete c1.records.at(-1).args[0].issued;
  },

  async "emits from outside a handler"(run) {
    const c1 = await run.connect("c1");
    const c2 = await run.connect("c2");
    for (const client of [c1, c2]) client.socket.on("ask", (ack) => ack("answer"));
    await c1.ask("join", "x");
    run.note("all", await run.app.emit({ event: "news", args: [{ n: 1 }] }));
    run.note("x", await run.app.emit({ to: ["x"], event: "news", args: [2] }));
    run.note("but x", await run.app.emit({ except: ["x"], event: "news", args: [3] }));
    run.note("no arguments", await run.app.emit({ event: "bare", args: [] }));
    run.note("asked", await run.app.emit({ event: "ask", args: [], timeout: 10_000 }));
    for (const client of [c1, c2]) await client.barrier();
  },

  async "a middleware that takes its time"(run) {
    const c1 = await run.connect("c1");
    const slow = run.beside("slow", c1, "/slow");
    await c1.ask("echo", "the connection goes on meanwhile");
    assert.equal(slow.socket.connected, false);
    await until("let in", async () => {
      await run.app.release();
      return slow.socket.connected;
    });
    await slow.ask("echo", "in");
  },

  async "an ack whose socket is gone"(run) {
    const c1 = await run.connect("c1");
    const admin = await run.beside("admin", c1, "/admin").connected();
    await admin.sawEvent("welcome");
    c1.socket.emit("ack:late", (...args) => c1.records.push({ ack: "ack:late", args }));
    await run.app.logged("held", (entry) => entry.type === "held" && entry.id === c1.ids[0]);
    c1.close();
    await run.app.logged("gone", (entry) => entry.type === "disconnect" && entry.id === c1.ids[0]);
    const raw = [];
    admin.socket.io.engine.on("data", (data) => raw.push(data));
    run.note("released", await run.app.release());
    await admin.barrier();
    run.note("acks of / on the wire", raw.filter((data) => /^3[0-9]+\[/.test(data) && !data.includes("barrier")).length);
  },

  async "the handshake is refused"(run) {
    const c1 = run.open("c1", { query: { refuse: "not today" } });
    await c1.sawError();
  },

  async "events in a burst stay in order"(run) {
    const c1 = await run.connect("c1");
    const got = [];
    c1.socket.on("seq", (n) => got.push(n));
    for (let n = 0; n < 500; n++) c1.emit("seq", n);
    await c1.barrier();
    assert.deepEqual(got, Array.from({ length: 500 }, (_, n) => n));
    c1.records = c1.records.filter((record) => record.event !== "seq");
    run.note("count", got.length);
  },

  async "packets that wait while there is no connection"(run) {
    const c1 = run.open("c1", { autoConnect: false });
    c1.emit("echo", "sent before connect");
    c1.socket.connect();
    await c1.connected();
    await c1.sawEvent("echo");
  },

  async "a room whose name begins with a slash"(run) {
    const c1 = await run.connect("c1");
    await c1.ask("join", "/admin");
    await run.app.emit({ to: ["/admin"], event: "to a room", args: [] });
    await c1.barrier();
  },

  async "retries: each event until it is acknowledged"(run) {
    if (run.version !== "4.8") return; // the option is of 4.6
    const c1 = await run.connect("c1", { retries: 2, ackTimeout: 10_000 });
    for (let n = 0; n < 5; n++) c1.socket.emit("seq", n, (error, answer) => c1.records.push({ retried: answer, error }));
    await until("all", () => c1.records.filter((record) => "retried" in record).length === 5);
  },
};

// Ends the server, so each gets one of its own.
export async function gracefulClose(run) {
  const c1 = await run.connect("c1");
  const admin = await run.beside("admin", c1, "/admin").connected();
  await admin.sawEvent("welcome");
  await c1.ask("join", "lobby");
  await run.app.close();
  await c1.sawDisconnect();
  await admin.sawDisconnect();
  const [, entries] = await run.app.line(/^log (.*)$/);
  run.note("exit", await run.app.exited);
  return run.transcript(JSON.parse(entries));
}
