// The `tidings` server as a program: how it starts, what it prints, health, `token`, signals, exit codes (PRODUCT.md, "Command line").
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { Client, newest } from "./lib/clients.mjs";
import { request } from "./lib/http.mjs";
import { AUTH, CHANNELS, enter, QUIET, serving, start, startDev, user } from "./lib/server.mjs";
import { freePort, runBinary } from "./lib/targets.mjs";
import { claimsOf, SECRET, tokenOf } from "./lib/tokens.mjs";
import { until, within } from "./lib/wait.mjs";
import { Polling } from "./lib/wire.mjs";

// Runs to its end: {code, stdout (lines), stderr}.
async function run(args, env = {}) {
  const child = runBinary(args, { ...QUIET, ...env });
  const timer = setTimeout(() => child.child.kill("SIGKILL"), 15_000);
  const { code } = await child.exited;
  clearTimeout(timer);
  return { code, stdout: child.lines, stderr: child.stderr };
}

// A config file for as long as the play takes.
async function withConfig(text, play) {
  const place = mkdtempSync(join(tmpdir(), "tidings-e2e-"));
  const file = join(place, "tidings.toml");
  writeFileSync(file, text);
  try {
    return await play(file);
  } finally {
    rmSync(place, { recursive: true });
  }
}

const serveConfig = (text, env) => withConfig(text, (file) => run(["serve", "--listen", "127.0.0.1:0", "--config", file], env));

describe("serve --dev", { concurrency: true }, () => {
  test("prints token, api-key, demo, and then the ready line, and nothing else on stdout", async () => {
    const server = await startDev();
    assert.equal(server.lines.length, 4, server.lines.join("\n"));
    const [token, key, demo, ready] = server.lines;
    assert.match(token, /^token [\w-]+\.[\w-]+\.[\w-]+$/);
    assert.match(key, /^api-key \S{20,}$/);
    assert.equal(demo, `demo ${server.url}/demo/`);
    assert.equal(ready, `tidings ready ${server.url}`);
    assert.match(server.url, /^http:\/\/127\.0\.0\.1:\d+$/);

    const client = await user(server, "", { token: token.slice("token ".length) }).connected();
    assert.equal((await client.ask("subscribe", "anything at all")).ok, true);
    assert.match((await client.ask("publish", "anything at all", "e", 1)).id, /-/);
    await client.sawEvent("e");
    assert.equal((await client.ask("presence", "anything at all")).count, 1);
    client.close();
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
  });

  test("has a key of its own each time", async () => {
    const [one, two] = await Promise.all([startDev(), startDev()]);
    assert.notEqual(one.lines[0], two.lines[0]);
    const stranger = user(two, "", { token: one.lines[0].slice("token ".length) });
    assert.equal((await stranger.sawError()).data.code, "token_signature");
    await Promise.all([one.stop(), two.stop()]);
  });

  test("serves the demo", async () => {
    const server = await startDev();
    const { status, headers, body } = await request("GET", `${server.url}/demo/`);
    assert.equal(status, 200);
    assert.match(headers["content-type"], /^text\/html/);
    assert.match(body, /<title>/);
    await server.stop();
  });

  test("gives a token to pages of this machine that ask by name, and to no others", async () => {
    const server = await startDev();
    const ask = (body, headers = {}) =>
      request("POST", `${server.url}/demo/token`, { headers: { "content-type": "application/json", ...headers }, body });
    const { status, body } = await ask('{"name":" Ann "}', { origin: server.url });
    assert.equal(status, 200, body);
    const { token, user: name } = JSON.parse(body);
    assert.equal(name, "Ann");
    const ann = await user(server, "", { token }).connected();
    assert.equal((await ann.ask("subscribe", "room:tea")).ok, true);
    ann.close();
    for (const [status, code, body, headers] of [
      [403, "origin_not_allowed", '{"name":"Ann"}', { origin: "https://evil.example" }],
      [403, "origin_not_allowed", '{"name":"Ann"}', { host: "evil.example" }],
      [400, "invalid_json", "name=Ann", {}],
      [400, "bad_request", '{"name":""}', {}],
      [413, "too_large", JSON.stringify({ name: "x".repeat(10_000) }), {}],
    ]) {
      const answer = await ask(body, headers);
      assert.equal(answer.status, status, answer.body);
      assert.match(answer.headers["content-type"], /^application\/problem\+json/);
      const problem = JSON.parse(answer.body);
      assert.deepEqual([problem.status, problem.code], [status, code]);
      assert.ok(problem.title.length > 0 && problem.detail.length > 0);
    }
    const got = await request("GET", `${server.url}/demo/token`);
    assert.deepEqual([got.status, JSON.parse(got.body).code], [405, "method_not_allowed"]);
    const nowhere = await request("GET", `${server.url}/demo/..%2fCargo.toml`);
    assert.deepEqual([nowhere.status, JSON.parse(nowhere.body).code], [404, "not_found"]);
    await server.stop();
  });

  test("a second one starts beside the first, though the admin address is one for all", async () => {
    const env = { TIDINGS_ADMIN__LISTEN: undefined };
    const [one, two] = [await startDev({ env }), await startDev({ env })];
    assert.match(two.stderr, /127\.0\.0\.1:9080 is taken/);
    assert.equal((await request("GET", `${two.url}/readyz`)).status, 200);
    await Promise.all([one.stop(), two.stop()]);
  });

  test("without --dev there is no demo", async () => {
    await serving({}, async (server) => assert.equal((await request("GET", `${server.url}/demo/`)).status, 404));
  });

  test("binds loopback only", async () => {
    const { code, stdout, stderr } = await run(["serve", "--dev", "--listen", "0.0.0.0:0"]);
    assert.notEqual(code, 0);
    assert.deepEqual(stdout, []);
    assert.match(stderr, /loopback|127\.0\.0\.1/i);
  });
});

describe("what stops it from starting", { concurrency: true }, () => {
  test("no key and no anonymous: it says what to set", async () => {
    for (const config of ["", CHANNELS, "[auth]\nanonymous = false\n"]) {
      const { code, stdout, stderr } = await serveConfig(config);
      assert.equal(code, 1);
      assert.deepEqual(stdout, []);
      assert.match(stderr, /hs256/);
      assert.match(stderr, /anonymous/);
    }
  });

  test("neither --dev nor a config", async () => {
    const { code, stderr } = await run(["serve", "--listen", "127.0.0.1:0"]);
    assert.notEqual(code, 0);
    assert.match(stderr, /hs256/);
  });

  test("an unknown key in the config is named", async () => {
    for (const config of ["lisen = 1\n", "[auth]\nhs265 = 'x'\n", "[limits]\nsubscription = 2\n", "[[channels]]\nmatch = '*'\nsubscrib = 'user'\n"]) {
      const { code, stdout, stderr } = await serveConfig(config);
      assert.ok(code === 1 || code === 2, `exit ${code}`);
      assert.deepEqual(stdout, []);
      assert.match(stderr, /lisen|hs265|subscription|subscrib/);
    }
  });

  test("a value that means nothing is named", async () => {
    for (const [config, name] of [
      [`${AUTH}[[channels]]\nmatch = "*"\nsubscribe = "everyone"\n`, /everyone|subscribe/],
      [`${AUTH}[limits]\nsubscriptions = "many"\n`, /subscriptions/],
      [`allowed_origins = ["app.example/path"]\n${AUTH}`, /app\.example|allowed_origins/],
      [`listen = [\n`, /toml|config|line 1/i],
    ]) {
      const { code, stderr } = await serveConfig(config);
      assert.ok(code === 1 || code === 2, `exit ${code}`);
      assert.match(stderr, name);
    }
  });

  test("a variable that the config names and nobody set", async () => {
    const { code, stderr } = await serveConfig('[auth]\nhs256 = { env = "NOT_SET_ANYWHERE" }\n');
    assert.notEqual(code, 0);
    assert.match(stderr, /NOT_SET_ANYWHERE/);
  });

  test("a config that isn't there is named", async () => {
    const { code, stderr } = await run(["serve", "--config", "/nowhere/tidings.toml"]);
    assert.ok(code === 1 || code === 2, `exit ${code}`);
    assert.match(stderr, /\/nowhere\/tidings\.toml/);
  });

  test("a port that is taken is named", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address();
    const { code, stdout, stderr } = await run(["serve", "--dev", "--listen", `127.0.0.1:${port}`]);
    assert.equal(code, 1);
    assert.deepEqual(stdout, []);
    assert.match(stderr, new RegExp(String(port)));
    taken.close();
  });

  test("wrong usage is exit code 2", async () => {
    for (const args of [[], ["nonsense"], ["serve", "--nonsense"], ["serve", "--listen"], ["token"], ["token", "--user"]]) {
      const { code, stdout, stderr } = await run(args, { TIDINGS_AUTH__HS256: SECRET });
      assert.equal(code, 2, `tidings ${args.join(" ")}`);
      assert.deepEqual(stdout, []);
      assert.ok(stderr.length > 0);
    }
  });

  test("--help and --version are exit code 0", async () => {
    for (const flag of ["--help", "--version"]) {
      const { code, stdout } = await run([flag]);
      assert.equal(code, 0);
      assert.match(stdout.join("\n"), /tidings/i);
    }
  });
});

describe("serve with a config", { concurrency: true }, () => {
  test("prints the ready line alone", async () => {
    await serving({}, async (server) => assert.deepEqual(server.lines, [`tidings ready ${server.url}`]));
  });

  test("scalars come from the environment too", async () => {
    const env = { TIDINGS_AUTH__HS256: SECRET, TIDINGS_LIMITS__SUBSCRIPTIONS: "1" };
    await serving({ auth: "", env }, async (server) => {
      const ann = await enter(server, "ann");
      assert.equal((await ann.ask("subscribe", "open:1")).ok, true);
      assert.equal((await ann.ask("subscribe", "open:2")).code, "too_many_channels");
      ann.close();
    });
  });

  test("a plain string as the key", async () => {
    await serving({ auth: `[auth]\nhs256 = "${SECRET}"\n` }, async (server) => (await enter(server, "ann")).close());
  });

  test("listen in the config, a flag wins over it", async () => {
    const port = await freePort();
    await serving({ top: 'listen = "127.0.0.1:1"', listen: `127.0.0.1:${port}` }, async (server) =>
      assert.equal(server.port, port),
    );
  });

  test("--json logs one JSON object a line", async () => {
    const server = await start({ args: ["--json"] });
    (await enter(server, "ann")).close();
    await server.stop();
    const lines = server.stderr.split("\n").filter(Boolean);
    assert.ok(lines.length > 0);
    for (const line of lines) assert.equal(typeof JSON.parse(line), "object");
  });
});

describe("health", { concurrency: true }, () => {
  const health = async (url) =>
    Promise.all(["/healthz", "/readyz"].map(async (path) => (await request("GET", url + path)).status));

  test("on the main listener and on the admin listener", async () => {
    const port = await freePort();
    await serving({ more: `[admin]\nlisten = "127.0.0.1:${port}"\n`, env: { TIDINGS_ADMIN__LISTEN: `127.0.0.1:${port}` } }, async (server) => {
      assert.deepEqual(await health(server.url), [200, 200]);
      assert.deepEqual(await health(`http://127.0.0.1:${port}`), [200, 200]);
      assert.equal((await request("GET", `http://127.0.0.1:${port}/socket.io/?EIO=4&transport=polling`)).status, 404);
    });
  });

  test("not ready while clients are drained, and then an end within the time for it", async () => {
    const admin = `127.0.0.7:${await freePort()}`;
    const options = { top: 'drain = "2s"', env: { TIDINGS_ADMIN__LISTEN: admin } };
    await serving(options, async (server) => {
      const ready = async () => (await request("GET", `http://${admin}/readyz`)).status;
      assert.equal(await ready(), 200);
      // a request that doesn't come to its end holds the server up
      const polling = await new Polling(server).join(`40${JSON.stringify({ token: tokenOf("ann") })}`);
      let sent;
      const begun = new Promise((done) => (sent = done));
      const url = new URL(polling.url);
      const held = connect(server.port, "127.0.0.1", () => {
        held.write(`POST ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Length: 10\r\n\r\n4`, sent);
      });
      held.on("error", () => {});
      await begun;
      server.child.kill("SIGTERM");
      await until("not ready", async () => (await ready()) === 503);
      assert.equal((await request("GET", `http://${admin}/healthz`)).status, 200);
      assert.deepEqual(await server.exited, { code: 0, signal: null });
      held.destroy();
    });
  });

  test("an admin address that is taken is an error, unless it is only for trying out", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address();
    const { code, stderr } = await run(["serve", "--dev", "--listen", "127.0.0.1:0"], { TIDINGS_ADMIN__LISTEN: `127.0.0.1:${port}` });
    assert.equal(code, 1);
    assert.match(stderr, new RegExp(`${port}.*\\[admin\\]`));
    taken.close();
  });

  test("the admin listener can be off", async () => {
    await serving({}, async (server) => assert.deepEqual(await health(server.url), [200, 200]));
  });

  test("other paths are 404", async () => {
    await serving({}, async (server) => {
      for (const path of ["/", "/nowhere", "/socket.io", "/console/"])
        assert.equal((await request("GET", server.url + path)).status, 404, path);
    });
  });
});

describe("token", { concurrency: true }, () => {
  const env = { TIDINGS_AUTH__HS256: SECRET };

  test("prints one that says what the flags say", async () => {
    const args = ["token", "--user", "ann", "--subscribe", "room:*", "--publish", "room:7", "--expires", "1h"];
    const { code, stdout, stderr } = await run(args, env);
    assert.equal(code, 0, stderr);
    assert.equal(stdout.length, 1);
    const claims = claimsOf(stdout[0]);
    assert.equal(claims.sub, "ann");
    assert.deepEqual(claims.channels, { subscribe: ["room:*"], publish: ["room:7"] });
    const seconds = claims.exp - Date.now() / 1000;
    assert.ok(seconds > 3500 && seconds <= 3601, `${seconds} s`);

    await serving({}, async (server) => {
      const ann = await user(server, "ann", { token: stdout[0] }).connected();
      assert.equal((await ann.ask("subscribe", "room:1")).ok, true);
      assert.equal((await ann.ask("publish", "room:7", "e", 1)).ok, true);
      assert.equal((await ann.ask("publish", "room:8", "e", 1)).code, "forbidden");
      ann.close();
    });
  });

  test("takes several patterns", async () => {
    const args = ["token", "--user", "ann", "--subscribe", "a", "--subscribe", "b", "--expires", "90s"];
    const { code, stdout, stderr } = await run(args, env);
    assert.equal(code, 0, stderr);
    assert.deepEqual(claimsOf(stdout[0]).channels.subscribe, ["a", "b"]);
  });

  test("with the key of a config", async () => {
    await withConfig(AUTH, async (file) => {
      const { code, stdout, stderr } = await run(["token", "--user", "ann", "--config", file]);
      assert.equal(code, 0, stderr);
      assert.equal(claimsOf(stdout[0]).sub, "ann");
    });
  });

  test("without a key it says what to set", async () => {
    const { code, stdout, stderr } = await run(["token", "--user", "ann"]);
    assert.equal(code, 1);
    assert.deepEqual(stdout, []);
    assert.match(stderr, /hs256/i);
  });

  test("a duration that is none is wrong usage", async () => {
    const { code, stderr } = await run(["token", "--user", "ann", "--expires", "soon"], env);
    assert.equal(code, 2);
    assert.match(stderr, /soon|expires/);
  });
});

describe("signals", { concurrency: true }, () => {
  for (const signal of ["SIGTERM", "SIGINT"]) {
    test(`${signal}: clients see a transport close, exit code 0`, async () => {
      const server = await start();
      const clients = [];
      for (const transports of [["polling"], ["websocket"]]) clients.push(await enter(server, "ann", { transports }));
      assert.deepEqual(await server.stop(signal), { code: 0, signal: null });
      for (const client of clients)
        assert.match((await client.sawDisconnect()).disconnect, /^transport (close|error)$/);
    });
  }

  test("clients come back to a server that starts again in its place", async () => {
    const listen = `127.0.0.1:${await freePort()}`;
    const first = await start({ listen });
    const again = { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 100 };
    const clients = [];
    for (const transports of [["polling"], ["websocket"], ["polling", "websocket"]])
      clients.push(await enter(first, "ann", { transports, ...again }));
    const { cursor } = await clients[0].ask("subscribe", "open:a");
    await first.stop();
    for (const client of clients) await client.sawDisconnect();
    const second = await start({ listen });
    await until("all are back", () => clients.every((client) => client.ids.length === 2 && client.socket.connected));
    const answer = await clients[0].ask("subscribe", "open:a");
    assert.notEqual(answer.cursor.split("-")[0], cursor.split("-")[0], "a new epoch, since nothing was kept");
    for (const client of clients) client.close();
    await second.stop();
  });

  test("a second signal while a client doesn't let go ends it all the same", async () => {
    const server = await start();
    const client = new Client(newest, server.url, { transports: ["polling"], auth: { token: tokenOf("ann") } });
    await client.connected();
    server.child.kill("SIGTERM");
    server.child.kill("SIGTERM");
    const { code, signal } = await server.stop("SIGTERM");
    assert.ok(code !== null || signal === "SIGTERM");
    client.close();
  });
});

const KEY = "a-key-of-the-back-end-that-is-long-enough";

// Log lines enough to fill a pipe, and the queue before it, several times.
async function muchToLog(server) {
  const headers = { authorization: "Bearer junk" };
  for (let n = 0; n < 6000; n += 100)
    await Promise.all(Array.from({ length: 100 }, () => request("GET", `${server.url}/poll?channel=open:1`, { headers })));
}

describe("whoever reads the log", () => {
  for (const [what, stop] of Object.entries({ "is stuck": (stderr) => stderr.pause(), "is gone": (stderr) => stderr.destroy() })) {
    test(`${what}: nothing else waits for that`, async () => {
      const admin = await freePort();
      const server = await start({ env: { RUST_LOG: "tidings=debug", TIDINGS_ADMIN__LISTEN: `127.0.0.1:${admin}`, TIDINGS_API__KEY: KEY } });
      try {
        const ann = await enter(server, "ann");
        stop(server.child.stderr);
        await muchToLog(server);
        assert.equal((await ann.ask("publish", "open:1", "connect", 1)).code, "bad_request", "what is refused is answered");
        assert.equal((await ann.ask("publish", "open:1", "e", 1)).ok, true);
        const revoked = await request("POST", `${server.url}/api/v1/tokens/some/revoke`, { headers: { authorization: `Bearer ${KEY}` } });
        assert.equal(revoked.status, 200, revoked.body);
        server.child.kill("SIGHUP");
        const { body } = await request("GET", `http://127.0.0.1:${admin}/metrics`);
        const dropped = Number(body.match(/^tidings_log_lines_dropped_total (\d+)/m)[1]);
        if (what === "is stuck") assert.ok(dropped > 0, "what is not taken is dropped, and counted");
        const exited = once(server.child, "exit");
        server.child.kill("SIGTERM");
        await ann.sawDisconnect();
        assert.deepEqual(await within("its exit", exited), [0, null]);
      } finally {
        server.child.stderr.resume();
        await server.stop("SIGKILL");
      }
    });
  }

  test("finds why a client was refused, and which call of the API it was", async () => {
    await serving({ env: { RUST_LOG: "tidings=debug", TIDINGS_API__KEY: KEY } }, async (server) => {
      const poll = await request("GET", `${server.url}/poll?channel=open:1`, { headers: { authorization: "Bearer junk" } });
      assert.equal(poll.status, 401);
      const call = (headers, body) => request("POST", `${server.url}/api/v1/publish`, { headers: { authorization: `Bearer ${KEY}`, ...headers }, body });
      const named = await call({ "x-request-id": "mine-7" }, "{");
      assert.equal(named.headers["x-request-id"], "mine-7");
      const other = await call({ "x-request-id": "no name" }, JSON.stringify({ channel: "open:1", event: "e" }));
      assert.match(other.headers["x-request-id"], /^[0-9a-f]{8}-\d+$/);
      const ann = await enter(server, "ann");
      await ann.ask("subscribe", "secret");
      const { id } = JSON.parse((await request("GET", `${server.url}/api/v1/users/ann/connections`, { headers: { authorization: `Bearer ${KEY}` } })).body).connections[0];
      ann.close();
      for (const line of [
        /a client is not let in.*unauthenticated.*127\.0\.0\.1/,
        /api\{request="mine-7"\}.*a request is refused.*invalid_json/,
        /api\{request="mine-7"\}.*a call of the API.*publish.*status=400/,
        new RegExp(`a connection is open connection=${id}`),
        new RegExp(`a handler refused an event connection=${id}.*forbidden`),
        new RegExp(`a connection ends connection=${id}`),
      ])
        await until(`${line}`, () => server.stderr.split("\n").some((one) => line.test(one)));
      assert.doesNotMatch(server.stderr, /Bearer|junk/);
    });
  });
});
