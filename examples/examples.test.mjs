// The examples, each started on a free port and used by the newest stock client as its comment says. `./check examples` runs it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";

const here = import.meta.dirname;
const { io } = createRequire(resolve(here, "../tests/e2e/package.json"))("sioc4");
const binaries = process.env.TIDINGS_EXAMPLES ?? resolve(here, "../target/debug");
const DEADLINE_MS = 15_000;

// A promise of something that must happen; the test fails with its name when it does not.
function within(what, promise) {
  let timer;
  const late = new Promise((_, refuse) => {
    timer = setTimeout(() => refuse(new Error(`not within ${DEADLINE_MS} ms: ${what}`)), DEADLINE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function running(name, use) {
  const example = spawn(resolve(binaries, `example-${name}`), ["127.0.0.1:0"], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(example, "exit");
  const sockets = [];
  try {
    const lines = createInterface({ input: example.stdout });
    const ready = new Promise((done) => lines.on("line", (line) => line.startsWith("ready ") && done(line.slice(6))));
    const url = await within("the line `ready`", ready);
    const client = (options) => {
      const socket = io(url, { forceNew: true, reconnection: false, ...options });
      sockets.push(socket);
      return socket;
    };
    await use({ url, client, example, exited });
  } finally {
    for (const socket of sockets) socket.disconnect();
    example.kill("SIGKILL");
    await exited;
  }
}

const connected = async (socket) => {
  await within("connect", once(socket, "connect"));
  return socket;
};
const next = async (socket, event) => within(event, once(socket, event));
const ask = (socket, ...args) => socket.timeout(DEADLINE_MS).emitWithAck(...args);

test("echo", () =>
  running("echo", async ({ client }) => {
    const socket = await connected(client());
    const [back, answer] = await Promise.all([next(socket, "echo"), ask(socket, "echo", { a: [1, "ü"] })]);
    assert.deepEqual([back[0], answer], [{ a: [1, "ü"] }, { a: [1, "ü"] }]);
  }));

test("chat: a plain client is told what is said in its rooms, and nobody without a token comes in", () =>
  running("chat", async ({ client }) => {
    const [refused] = await next(client({ auth: { token: "forged" } }), "connect_error");
    assert.deepEqual([refused.message, refused.data], ["Authentication failed", { code: "unauthenticated" }]);

    // The options a front end would give, reconnection and all.
    const bob = await connected(client({ auth: { token: "bob-secret" } }));
    const ann = await connected(
      client({ auth: { token: "ann-secret" }, reconnection: true, reconnectionDelay: 1000, reconnectionAttempts: 5 }),
    );
    const heard = Promise.all([next(ann, "chat:message"), next(bob, "chat:message")]);
    ann.emit("chat:message", { roomId: "1", content: "Hello!" });
    const message = { id: 1, roomId: "1", from: "ann", content: "Hello!" };
    assert.deepEqual(await heard, [[message], [message]]);

    assert.deepEqual(await ask(bob, "chat:history", "1"), [message]);
    const forbidden = { ok: false, code: "forbidden", message: "you are not in this room" };
    assert.deepEqual(await ask(bob, "chat:message", { roomId: "2", content: "Let me in" }), forbidden);
    assert.equal((await ask(bob, "chat:message", { roomId: "1" })).code, "invalid_json");
    assert.equal(await ask(bob, "chat:message", { roomId: "1", content: "Hello, Ann" }), 2);
  }));

test("notifications: a POST reaches all devices of one user, a timer everyone", () =>
  running("notifications", async ({ url, client }) => {
    const page = await (await fetch(url)).text();
    const script = page.match(/<script src="([^"]+)"/)[1];
    assert.equal((await fetch(new URL(script, url))).status, 200);

    const [phone, laptop] = [client({ auth: { token: "ann-secret" } }), client({ auth: { token: "ann-secret" } })];
    const bob = client({ auth: { token: "bob-secret" } });
    await Promise.all([phone, laptop, bob].map(connected));
    const stray = [];
    bob.on("notification", (notification) => stray.push(notification));

    const notify = (user, authorization) =>
      fetch(`${url}/users/${user}/notifications`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization },
        body: JSON.stringify({ title: "Your parcel has arrived" }),
      });
    assert.equal((await notify("ann", "Bearer guess")).status, 401);
    const heard = Promise.all([next(phone, "notification"), next(laptop, "notification")]);
    assert.deepEqual(await (await notify("ann", "Bearer back-end-secret")).json(), { devices: 2 });
    assert.deepEqual(await heard, [[{ title: "Your parcel has arrived" }], [{ title: "Your parcel has arrived" }]]);
    assert.deepEqual(await (await notify("nobody", "Bearer back-end-secret")).json(), { devices: 0 });

    // Whoever hears the timer has heard, or not, what was published before.
    await within("the count of three", new Promise((done) => bob.on("online", (count) => count === 3 && done())));
    assert.deepEqual(stray, []);
  }));

test("embed: the app's routes, state and middleware go together with events", () =>
  running("embed", async ({ url, client, example, exited }) => {
    const [first, second] = [client({ transports: ["websocket"] }), client({ transports: ["polling"] })];
    await Promise.all([first, second].map(connected));
    const byRequest = Promise.all([next(first, "todo:added"), next(second, "todo:added")]);
    const posted = await fetch(`${url}/todos`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ text: "water the plants" }),
    });
    assert.equal(posted.status, 200);
    assert.ok(Number(posted.headers.get("x-request-number")) > 2, "the middleware counts handshakes too");
    assert.deepEqual(await byRequest, [[{ text: "water the plants" }], [{ text: "water the plants" }]]);

    const byEvent = next(second, "todo:added");
    assert.equal(await ask(first, "todo:add", { text: "feed the cat" }), 2);
    assert.deepEqual(await byEvent, [{ text: "feed the cat" }]);
    assert.deepEqual(await (await fetch(`${url}/todos`)).json(), [{ text: "water the plants" }, { text: "feed the cat" }]);

    const gone = Promise.all([next(first, "disconnect"), next(second, "disconnect")]);
    example.kill("SIGINT");
    // Reasons after which a stock client comes back by itself; an error is what a poll meets that comes too late.
    const [[websocket], [polling]] = await gone;
    assert.equal(websocket, "transport close");
    assert.match(polling, /^transport (close|error)$/);
    assert.deepEqual(await within("the exit", exited), [0, null]);
  }));
