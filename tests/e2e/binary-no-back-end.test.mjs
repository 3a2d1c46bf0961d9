// What the project was asked for in the first place: a chat and notifications, with the client's code as it was asked for, on the
// binary and a configuration of fewer than 25 lines (examples/no-back-end). The same with a back end is binary-hooks-examples.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { API_KEY, poll, publish, Sse } from "./lib/channels.mjs";
import { Client, newest } from "./lib/clients.mjs";
import { ID } from "./lib/server.mjs";
import { freePort, startServer } from "./lib/targets.mjs";
import { SECRET, tokenOf } from "./lib/tokens.mjs";
import { until } from "./lib/wait.mjs";

const config = readFileSync(resolve(import.meta.dirname, "../../examples/no-back-end/tidings.toml"), "utf8");

test("a chat and notifications on a configuration of fewer than 25 lines", async () => {
  assert.ok(config.trimEnd().split("\n").length < 25);
  const data = mkdtempSync(join(tmpdir(), "tidings-e2e-no-back-end-"));
  const listen = `127.0.0.1:${await freePort()}`;
  const env = { JWT_SECRET: SECRET, TIDINGS_API_KEY: API_KEY, TIDINGS_ADMIN__LISTEN: "off", TIDINGS_DATA: data };
  const start = () => startServer({ config, listen, env });
  let server = await start();
  const clients = [];
  try {
    // The client as it was asked for, and a line that names the room.
    const chat = (user) => {
      const client = new Client(newest, server.url, {
        auth: { token: tokenOf(user) },
        reconnection: true,
        reconnectionDelay: 1000,
        reconnectionAttempts: 5,
      });
      clients.push(client);
      client.socket.on("connect", () => client.socket.recovered || client.socket.emit("subscribe", "room:1"));
      return client.connected();
    };
    const messages = (client) => client.records.filter(({ event }) => event === "chat:message");
    const [ann, bob] = [await chat("ann"), await chat("bob")];
    await until("both are in the room", async () => {
      const answer = await fetch(`${server.url}/api/v1/channels`, { headers: { authorization: `Bearer ${API_KEY}` } });
      return (await answer.json()).channels.find(({ channel }) => channel === "room:1")?.subscribers === 2;
    });
    ann.socket.emit("chat:message", { roomId: "1", content: "Hello!", user: "bob" });
    for (const client of [ann, bob]) {
      const { args: [message, meta, id] } = await client.sawEvent("chat:message");
      assert.equal(message.content, "Hello!");
      assert.equal(meta.user, "ann", "the sender is who the token says");
      assert.match(id, ID);
    }
    // What `new EventSource(…)` asks.
    const notifications = (since) => new Sse(server, "user:ann", { token: "", access_token: tokenOf("ann"), since });
    const stream = notifications();
    await stream.open();
    const first = await publish(server, "user:ann", "notification", { title: "A parcel" });
    const heard = await stream.nextJson();
    assert.equal(heard.id, first);
    assert.equal(heard.data.data.title, "A parcel");

    // Cut, killed and back: nothing is missing, of either.
    stream.close();
    const missed = await publish(server, "user:ann", "notification", { title: "Another" });
    await bob.ask("chat:message", { roomId: "1", content: "one" });
    await ann.sawEvent("chat:message");
    await server.stop("SIGKILL");
    server = await start();
    const cid = new Client(newest, server.url, { auth: { token: tokenOf("cid") } });
    clients.push(cid);
    await cid.connected();
    assert.equal((await cid.ask("chat:message", { roomId: "1", content: "two" })).ok, true);
    for (const client of [ann, bob]) await until("all messages", () => messages(client).length === 3);
    for (const client of [ann, bob]) assert.deepEqual(messages(client).map(({ args: [{ content }] }) => content), ["Hello!", "one", "two"]);
    const again = notifications(first);
    await again.open();
    assert.equal((await again.nextJson()).id, missed);
    again.close();

    // What was said before is there for who comes later, and nobody hears of others' notifications.
    const { json } = await poll(server, "room:1", { token: tokenOf("eve"), wait: 0, limit: 10, since: first });
    assert.deepEqual(json.events.map(({ data: { content } }) => content), ["one", "two"]);
    assert.equal((await poll(server, "user:ann", { token: tokenOf("eve"), wait: 0 })).status, 403);
  } finally {
    for (const client of clients) client.close();
    await server.stop("SIGKILL");
    rmSync(data, { recursive: true, force: true });
  }
});
