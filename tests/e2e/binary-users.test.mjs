// The `tidings` server's API for users and connections: who is there, on whatever transport, and sending them away (PRODUCT.md,
// "Server API").
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { API_KEY, assertError, assertProblem, call, inPlace, Plain, poll, Sse, tailOf } from "./lib/channels.mjs";
import { Client, newest } from "./lib/clients.mjs";
import { enter } from "./lib/server.mjs";
import { now, tokenOf } from "./lib/tokens.mjs";
import { until, within } from "./lib/wait.mjs";

const ask = (place, method, path, body) => call(method, place, `/api/v1/${path}`, { token: API_KEY, body });

async function answered(place, method, path, body) {
  const { status, json, body: text } = await ask(place, method, path, body);
  assert.equal(status, 200, text);
  return json;
}

const connectionsOf = async (place, user) => (await answered(place, "GET", `users/${encodeURIComponent(user)}/connections`)).connections;

// A user on every transport.
async function everywhere(place, token) {
  const on = (transports) => enter(place, "", { token, transports });
  const all = { websocket: await on(["websocket"]), polling: await on(["polling"]), plain: new Plain(place, { token }) };
  await all.plain.welcomed();
  all.sse = new Sse(place, "mem:a", { token });
  await all.sse.open();
  all.poll = poll(place, "mem:a", { token, since: await tailOf(place, "mem:a", { token }), wait: 30 });
  all.poll.catch(() => {}); // the server may end first
  await until("the poll", async () => (await call("GET", place, "/api/v1/channels", { token: API_KEY })).json.channels[0]?.subscribers === 2);
  return all;
}

describe("a user's connections", { concurrency: true }, () => {
  test("are listed, with what each speaks and since when", async () => {
    await inPlace({}, async (place) => {
      const begin = Date.now();
      const ann = await everywhere(place, tokenOf("ann"));
      const bob = await enter(place, "bob");
      const list = await connectionsOf(place, "ann");
      const kinds = ["socketio-websocket", "socketio-polling", "websocket", "sse", "poll"];
      assert.deepEqual(list.map(({ kind }) => kind).sort(), kinds.sort());
      assert.deepEqual(list.map(({ since }) => since).sort((a, b) => a - b), list.map(({ since }) => since), "the oldest first");
      for (const { id, user, since, channels, waiting_bytes } of list) {
        assert.match(id, /^\d+\.\d+\.\d+$/);
        assert.equal(user, "ann");
        assert.ok(since > begin - 2000 && since < Date.now() + 2000, `${since}`);
        assert.ok(channels >= 1);
        assert.ok(waiting_bytes >= 0);
      }
      assert.equal((await connectionsOf(place, "bob")).length, 1);
      assert.deepEqual(await connectionsOf(place, "nobody/else ä"), []);
      for (const client of [ann.websocket, ann.polling, ann.plain, ann.sse, bob]) client.close();
      await until("nobody", async () => (await connectionsOf(place, "bob")).length === 0);
    });
  });

  test("one of them is sent away, and the others stay", async () => {
    await inPlace({}, async (place) => {
      const [one, other] = [await enter(place, "ann"), await Plain.enter(place, "ann")];
      const [{ id }] = (await connectionsOf(place, "ann")).filter(({ kind }) => kind === "websocket");
      assert.deepEqual(await answered(place, "POST", `connections/${id}/disconnect`), { connections: 1 });
      assert.equal(await other.end(), 4403);
      for (const gone of [id, "0.0.0", "9999.1.1", "x", "%ff"])
        assertProblem(await ask(place, "POST", `connections/${gone}/disconnect`), 404, "not_found", gone);
      assert.equal((await one.ask("subscribe", "mem:a")).ok, true);
      one.close();
    });
  });

  test("all are sent away, on every transport by its own means; without `revoke` they may come back", async () => {
    await inPlace({}, async (place) => {
      const token = tokenOf("ann");
      const ann = await everywhere(place, token);
      const bob = await enter(place, "bob");
      assert.deepEqual(await answered(place, "POST", "users/ann/disconnect"), { connections: 5 });
      for (const client of [ann.websocket, ann.polling]) assert.equal((await client.sawDisconnect()).disconnect, "io server disconnect");
      assert.equal(await ann.plain.end(), 4403);
      await within("the end of the stream", ann.sse.ended);
      assert.deepEqual((await ann.poll).json.events, []);
      assert.equal((await bob.ask("subscribe", "mem:a")).ok, true);
      ann.websocket.socket.connect();
      await ann.websocket.connected();
      for (const client of [ann.websocket, bob]) client.close();
    });
  });

  test("with `revoke` their tokens hold no more, also after a restart; newer ones do", async () => {
    await inPlace({ data: true }, async (place) => {
      const old = tokenOf("ann", { iat: now() - 5 });
      const ann = await everywhere(place, old);
      assert.deepEqual(await answered(place, "POST", "users/ann/disconnect", { revoke: true }), { connections: 5 });
      for (const client of [ann.websocket, ann.polling]) await client.sawDisconnect();
      const refused = async () => {
        for (const token of [old, tokenOf("ann", { iat: undefined })]) {
          const client = new Client(newest, place.url, { transports: ["websocket"], auth: { token } });
          assert.equal((await client.sawError()).data.code, "unauthenticated");
          client.close();
          const plain = new Plain(place, { token });
          assertError(await plain.next(), "unauthenticated");
          assert.equal(await plain.end(), 4401);
          assertProblem(await poll(place, "mem:a", { token }), 401, "unauthenticated");
          assertProblem(await new Sse(place, "mem:a", { token }).whole(), 401, "unauthenticated");
        }
        (await enter(place, "bob")).close();
        (await enter(place, "ann", { token: tokenOf("ann", { iat: now() + 2 }) })).close();
      };
      await refused();
      await place.restart();
      await refused();
    });
  });

  test("a token is revoked by its id", async () => {
    await inPlace({ data: true }, async (place) => {
      const [one, other] = ["one", "other"].map((jti) => tokenOf("ann", { jti }));
      const first = await enter(place, "ann", { token: one });
      const second = await enter(place, "ann", { token: other });
      assert.deepEqual(await answered(place, "POST", "tokens/one/revoke"), { connections: 1 });
      assert.equal((await first.sawDisconnect()).disconnect, "io server disconnect");
      assert.equal((await second.ask("subscribe", "mem:a")).ok, true);
      assert.equal((await second.ask("auth", one)).code, "unauthenticated");
      second.close();
      await place.restart();
      assertProblem(await poll(place, "mem:a", { token: one }), 401, "unauthenticated");
      assert.equal((await poll(place, "mem:a", { token: other, wait: 0 })).status, 200);
    });
  });
});

describe("who may not", () => {
  test("needs the scope `admin`, and is told what is wrong", async () => {
    await inPlace({}, async (place) => {
      for (const [method, path] of [
        ["GET", "users/ann/connections"],
        ["POST", "users/ann/disconnect"],
        ["POST", "tokens/x/revoke"],
        ["POST", "connections/0.0.0/disconnect"],
      ]) {
        assertProblem(await call(method, place, `/api/v1/${path}`, {}), 401, "unauthenticated", path);
        assertProblem(await call(method, place, `/api/v1/${path}`, { token: tokenOf("ann") }), 401, "unauthenticated", path);
        assertProblem(await call("PUT", place, `/api/v1/${path}`, { token: API_KEY }), 405, "method_not_allowed", path);
      }
      for (const [body, code] of [
        ["{", "invalid_json"],
        ['{"revok":true}', "bad_request"],
        ['{"revoke":1}', "bad_request"],
        [`{"revoke":${" ".repeat(5000)}true}`, "too_large"],
      ])
        assertProblem(await ask(place, "POST", "users/ann/disconnect", body), code === "too_large" ? 413 : 400, code, body.slice(0, 20));
      for (const path of [`users/${"x".repeat(251)}/disconnect`, "users/%ff/disconnect", `tokens/${"x".repeat(251)}/revoke`])
        assertProblem(await ask(place, "POST", path), 400, "bad_request", path.slice(0, 30));
    });
  });
});
