// `listen = "unix:…"`: a Unix socket for a proxy on the same machine (PRODUCT.md, "Config").
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { WebSocket } from "ws";
import { API_KEY } from "./lib/channels.mjs";
import { Client, newest, transports } from "./lib/clients.mjs";
import { AUTH, QUIET } from "./lib/server.mjs";
import { runBinary } from "./lib/targets.mjs";
import { tokenOf } from "./lib/tokens.mjs";
import { until, within } from "./lib/wait.mjs";

const CONFIG = `
listen = "unix:t.sock"
${AUTH}
[api]
key = { env = "E2E_API_KEY" }
[limits]
connections_per_ip = 1
[[channels]]
match = "mem:*"
subscribe = "user"
publish = "user"
`;

// A folder with a configuration, and the socket that it names.
async function inFolder(play) {
  const folder = mkdtempSync(join(tmpdir(), "tidings-e2e-unix-"));
  const config = join(folder, "tidings.toml");
  writeFileSync(config, CONFIG);
  const path = join(folder, "t.sock");
  const start = async () => {
    const server = runBinary(["serve", "--config", config], { ...QUIET, E2E_API_KEY: API_KEY });
    const [, said] = await server.line(/^tidings ready unix:(.*)$/);
    assert.equal(said, path);
    return server;
  };
  try {
    await play({ path, config, start });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const get = (socketPath, path, headers = {}) =>
  within(
    path,
    new Promise((done, fail) => {
      const request = http.get({ socketPath, path, headers, agent: false }, (response) => {
        let body = "";
        response.on("data", (chunk) => (body += chunk));
        response.on("end", () => done({ status: response.statusCode, body }));
      });
      request.on("error", fail);
    }),
  );

test("clients of all transports come through a proxy, which says who they are", () =>
  inFolder(async ({ path, start }) => {
    const server = await start();
    // As nginx does it, but for the headers.
    const proxy = net.createServer((client) => {
      const upstream = net.connect(path);
      client.pipe(upstream).pipe(client);
      for (const side of [client, upstream]) side.on("error", () => [client, upstream].forEach((one) => one.destroy()));
    });
    await once(proxy.listen(0, "127.0.0.1"), "listening");
    const url = `http://127.0.0.1:${proxy.address().port}`;
    const open = [];
    try {
      assert.equal(statSync(path).mode & 0o777, 0o660);
      assert.equal((await get(path, "/healthz")).status, 200);
      // Without a word of the proxy nobody has an address, so no limit by address holds.
      for (const use of Object.values(transports)) {
        const client = new Client(newest, url, { transports: use, auth: { token: tokenOf("ann") } });
        open.push(() => client.close());
        await client.connected();
        assert.equal((await client.ask("subscribe", "mem:a")).ok, true);
        assert.equal((await client.ask("publish", "mem:a", "e", 1)).ok, true);
        await client.sawEvent("e");
      }
      const from = async (address) => {
        const headers = { authorization: `Bearer ${tokenOf("bob")}`, "x-forwarded-for": `192.0.2.1, ${address}` };
        const ws = new WebSocket(`ws+unix:${path}:/ws`, { headers });
        open.push(() => ws.terminate());
        const answer = Promise.race([
          once(ws, "message").then(([text]) => JSON.parse(text).type),
          once(ws, "unexpected-response").then(([, response]) => response.statusCode),
        ]);
        ws.on("error", () => {});
        return within("an answer", answer);
      };
      assert.equal(await from("10.0.0.1"), "welcome");
      assert.equal(await from("10.0.0.2"), "welcome");
      assert.equal(await from("10.0.0.1"), 429);
      const poll = await get(path, "/poll?channel=mem:a&wait=0", { authorization: `Bearer ${tokenOf("bob")}`, "x-forwarded-for": "10.0.0.3" });
      assert.equal(poll.status, 200, poll.body);
      // A stream goes on until the server ends, and then the socket is gone.
      const stream = http.get({ socketPath: path, path: `/sse?channel=mem:a&access_token=${tokenOf("eve")}`, agent: false });
      stream.on("error", () => {});
      const [response] = await once(stream, "response");
      let text = "";
      response.on("data", (chunk) => (text += chunk));
      response.on("error", () => {});
      await until("the first cursor", () => text.includes("id:"));
      open.shift()();
      const { code } = await server.stop("SIGTERM");
      assert.equal(code, 0, server.stderr);
      assert.ok(!existsSync(path), "the socket is removed");
    } finally {
      for (const close of open) close();
      proxy.close();
      await server.stop("SIGKILL");
    }
  }));

test("what a killed server left is replaced; where somebody listens it says so", () =>
  inFolder(async ({ path, config, start }) => {
    const first = await start();
    await first.stop("SIGKILL");
    assert.ok(existsSync(path));
    const second = await start();
    try {
      assert.equal((await get(path, "/readyz")).status, 200);
      const third = runBinary(["serve", "--config", config], { ...QUIET, E2E_API_KEY: API_KEY });
      assert.equal((await within("its end", third.exited)).code, 1);
      assert.match(third.stderr, /t\.sock can't be listened on; choose another path/);
      assert.equal((await get(path, "/readyz")).status, 200, "the second goes on");
    } finally {
      await second.stop("SIGKILL");
    }
  }));
