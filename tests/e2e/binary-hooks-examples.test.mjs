// The two examples of back ends behind Tidings, each run as its comment says, and used by the newest stock client. `run.sh` installs
// what they need.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, test } from "node:test";
import { API_KEY, call } from "./lib/channels.mjs";
import { HOOK_SECRET } from "./lib/back-end.mjs";
import { enter } from "./lib/server.mjs";
import { freePort, startServer } from "./lib/targets.mjs";
import { SECRET } from "./lib/tokens.mjs";
import { until } from "./lib/wait.mjs";

const examples = resolve(import.meta.dirname, "../../examples");

const EXAMPLES = {
  "hooks-node": { needs: "node_modules", command: (port) => [process.execPath, ["server.mjs"], { PORT: String(port) }] },
  "hooks-python": { needs: ".venv/bin/uvicorn", command: (port) => [".venv/bin/uvicorn", ["main:app", "--port", String(port)], {}] },
};

async function running(name, play) {
  const folder = resolve(examples, name);
  const { needs, command } = EXAMPLES[name];
  assert.ok(existsSync(resolve(folder, needs)), `${needs} is missing in ${folder}: run.sh installs it`);
  const [port, own] = [await freePort(), await freePort()];
  const [program, args, env] = command(port);
  const secrets = { JWT_SECRET: SECRET, TIDINGS_HOOK_SECRET: HOOK_SECRET, TIDINGS_API_KEY: API_KEY };
  const backEnd = spawn(program, args, {
    cwd: folder,
    env: { ...process.env, ...env, ...secrets, TIDINGS_URL: `http://127.0.0.1:${own}` },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [backEnd.stdout, backEnd.stderr]) stream.on("data", (chunk) => (said += chunk));
  const exited = once(backEnd, "exit");
  const url = `http://127.0.0.1:${port}`;
  let server;
  try {
    await until(() => `it listens: ${said}`, () => fetch(url).then(() => true, () => false));
    server = await startServer({
      config: readFileSync(resolve(folder, "tidings.toml"), "utf8"),
      listen: `127.0.0.1:${own}`,
      env: { ...secrets, TIDINGS_ADMIN__LISTEN: "off", TIDINGS_HOOKS__URL: `${url}/tidings` },
    });
    await play({ server, url, said: () => said });
    assert.equal((await server.stop("SIGTERM")).code, 0);
    await until(() => `it was told who has gone: ${said}`, () => /eve was here for \d+ ms: server shutting down/.test(said));
  } finally {
    await server?.stop("SIGKILL");
    backEnd.kill("SIGKILL");
    await exited;
  }
}

describe("the example", () => {
  for (const name of Object.keys(EXAMPLES))
    test(`${name}: saves before it sends, decides who is in a room, and notifies`, () =>
      running(name, async ({ server, url, said }) => {
        const [ann, bob, eve] = await Promise.all(["ann", "bob", "eve"].map((sub) => enter(server, sub)));
        // They are in their rooms from the start; eve is in none, and can't get into one.
        assert.equal((await eve.ask("subscribe", "room:1")).code, "forbidden");
        assert.equal((await ann.ask("subscribe", "room:2")).code, "forbidden");
        assert.equal((await bob.ask("subscribe", "room:2")).ok, true);

        assert.deepEqual(await ann.ask("chat:message", { room: "room:1", text: "Hi" }), { ok: true, data: { id: 1 } });
        for (const client of [ann, bob]) {
          const { args } = await client.sawEvent("chat:message");
          assert.deepEqual(args[0], { id: 1, room: "room:1", from: "ann", text: "Hi" });
          assert.deepEqual([args[1].channel, args[1].user], ["room:1", "ann"]);
        }
        assert.deepEqual((await bob.sawEvent("notification")).args[0], { title: "ann wrote in room:1" });

        const forbidden = { ok: false, code: "forbidden", message: "you are not in this room" };
        assert.deepEqual(await eve.ask("chat:message", { room: "room:1", text: "Let me in" }), forbidden);
        assert.equal((await ann.ask("chat:message", { room: "room:1" })).code, "bad_request");
        for (const odd of [[], [null], ["x"], [[1]], [{ room: "__proto__" }], [{ room: ["room:1"] }], [{ room: {}, text: 1 }]])
          assert.equal((await ann.ask("chat:message", ...odd)).code, "forbidden", JSON.stringify(odd));
        assert.equal((await ann.ask("chat:typing", {})).code, "unknown_event");
        assert.deepEqual((await bob.ask("chat:message", { room: "room:2", text: "alone" })).data, { id: 2 });

        // What the back end says by itself.
        const notified = await fetch(`${url}/users/eve/notifications`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ title: "Your parcel has arrived" }),
        });
        assert.match((await notified.json()).id, /-/);
        assert.deepEqual((await eve.sawEvent("notification")).args[0], { title: "Your parcel has arrived" });

        // Nobody else can call it.
        const forged = { hook: "event", id: "1", user: "ann", event: "chat:message", data: { room: "room:1", text: "forged" } };
        const signature = `t=${Math.floor(Date.now() / 1000)},v1=${"0".repeat(64)}`;
        for (const headers of [{}, { "tidings-signature": signature }]) {
          const answer = await call("POST", { url }, "/tidings", { body: forged, headers });
          assert.equal(answer.status, 400, answer.body);
        }
        bob.close();
        await until(() => `it was told that bob has gone: ${said()}`, () => /bob was here for \d+ ms/.test(said()));
        assert.ok(ann.records.every(({ args }) => args?.[0]?.text !== "forged"));
      }));
});
