// What whoever runs the `tidings` server works with: `/metrics`, the dashboard, the systemd unit (PRODUCT.md, "Endpoints").
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import { call, inPlace, Plain, poll, Sse, tailOf } from "./lib/channels.mjs";
import { request } from "./lib/http.mjs";
import { enter, user } from "./lib/server.mjs";
import { freePort } from "./lib/targets.mjs";
import { tokenOf } from "./lib/tokens.mjs";
import { until } from "./lib/wait.mjs";

const deployed = (file) => new URL(`../../deploy/${file}`, import.meta.url);

// The page of metrics as {name{labels}: value}, and the names with their types.
async function metricsOf(port) {
  const { status, headers, body } = await request("GET", `http://127.0.0.1:${port}/metrics`);
  assert.equal(status, 200);
  assert.match(headers["content-type"], /^text\/plain; version=0\.0\.4/);
  const values = {};
  const types = {};
  for (const line of body.trimEnd().split("\n")) {
    const [, kind, name, rest] = /^# (HELP|TYPE) (\w+) ?(.*)$/.exec(line) ?? [];
    if (kind === "TYPE") types[name] = rest;
    if (kind) continue;
    const [, series, value] = /^([a-z_]+(?:\{[^}]*\})?) (\S+)$/.exec(line) ?? assert.fail(line);
    assert.ok(!(series in values), `${series} stands twice`);
    values[series] = Number(value);
  }
  return { values, types, text: body };
}

async function withAdmin(options, play) {
  const port = await freePort();
  await inPlace({ ...options, env: { ...options.env, TIDINGS_ADMIN__LISTEN: `127.0.0.1:${port}` } }, (place) => play(place, port));
}

describe("/metrics", () => {
  test("counts who is there and what was done, on every transport; and names nobody", () =>
    withAdmin({ data: true }, async (place, port) => {
      const before = await metricsOf(port);
      assert.equal(before.values.tidings_published_total, 0);
      const secret = tokenOf("somebody-secret");
      const sio = await enter(place, "ann");
      const polling = await enter(place, "bob", { transports: ["polling"] });
      const ws = await Plain.enter(place, "cid");
      const sse = new Sse(place, ["kept:m"], { token: secret });
      await sse.opened;
      for (const client of [sio, polling]) assert.equal((await client.ask("subscribe", "kept:m")).ok, true);
      await ws.subscribe("kept:m");
      const waiting = poll(place, ["kept:m"], { token: tokenOf("dan"), since: await tailOf(place, "kept:m"), wait: 30 });
      await until("all five are there", async () => {
        const { values } = await metricsOf(port);
        const kinds = ["socketio-websocket", "socketio-polling", "websocket", "sse", "poll"];
        return kinds.every((kind) => values[`tidings_connections{kind="${kind}"}`] === 1);
      });
      assert.equal((await ws.result("publish", { channel: "kept:m", event: "e", data: "a secret text" })).duplicate, false);
      await sio.sawEvent("e");
      await polling.sawEvent("e");
      await waiting;
      await until("it is counted", async () => (await metricsOf(port)).values.tidings_delivered_total >= 5);
      const { values, types, text } = await metricsOf(port);
      assert.equal(values.tidings_published_total, 1);
      assert.ok(values.tidings_received_total >= 3 && values.tidings_writes_total > 0, text);
      assert.ok(values.tidings_log_commit_seconds_count > 0 && values.tidings_delivery_seconds_count > 0, text);
      assert.equal(values['tidings_delivery_seconds_bucket{le="+Inf"}'], values.tidings_delivery_seconds_count);
      assert.ok(values.process_resident_memory_bytes > 1e6 && values.process_open_fds > 5);
      assert.equal(types.tidings_published_total ?? types.tidings_published, "counter");
      for (const word of ["somebody-secret", "kept:m", "a secret text", secret]) assert.ok(!text.includes(word), word);
      for (const client of [sio, polling, ws, sse]) client.close();
      await until("all are gone", async () => {
        const now = (await metricsOf(port)).values;
        const there = Object.entries(now).filter(([series]) => series.startsWith("tidings_connections{"));
        return there.every(([, count]) => count === 0) && now.tidings_subscriptions === 0;
      });
    }));

  test("counts refusals by their code", () =>
    withAdmin({}, async (place, port) => {
      const { status } = await call("GET", place, "/poll?channel=mem:1", { token: tokenOf("ann", { exp: 1 }) });
      assert.equal(status, 401);
      const client = user(place, "ann", { token: "junk", reconnection: false });
      await client.sawError();
      client.close();
      await until("both are counted", async () => {
        const { values } = await metricsOf(port);
        return values['tidings_refused_total{code="token_expired"}'] === 1 && values['tidings_refused_total{code="unauthenticated"}'] >= 1;
      });
    }));

  test("is not on the address of clients", () =>
    withAdmin({}, async (place) => {
      assert.equal((await call("GET", place, "/metrics")).status, 404);
    }));

  test("has all that the dashboard shows", () =>
    withAdmin({ data: true, more: `[hooks]\nurl = "http://127.0.0.1:9/"\nsecret = { env = "HOOK_SECRET" }\nconnect = true\n`, env: { HOOK_SECRET: "s".repeat(40) } }, async (place, port) => {
      assert.equal((await call("GET", place, "/poll?channel=mem:1", { token: tokenOf("ann") })).status, 503);
      // what has not happened yet has no series, but its type
      const { types } = await metricsOf(port);
      const known = new Set(Object.keys(types).flatMap((name) => [name, `${name}_total`, `${name}_bucket`]));
      const { panels } = JSON.parse(readFileSync(deployed("grafana-dashboard.json"), "utf8"));
      const shown = panels.flatMap(({ targets = [] }) => targets).flatMap(({ expr }) => expr.match(/\b(tidings|process)_\w+/g));
      assert.ok(shown.length > 30);
      for (const name of shown) assert.ok(known.has(name), `${name} is not in /metrics`);
    }));
});

describe("the systemd unit", () => {
  test("is sound", async (t) => {
    const run = promisify(execFile);
    const there = await run("systemd-analyze", ["--version"]).catch(() => null);
    if (!there) return t.skip("there is no systemd-analyze");
    const place = mkdtempSync(join(tmpdir(), "tidings-e2e-"));
    const file = join(place, "tidings.service");
    const unit = readFileSync(deployed("tidings.service"), "utf8");
    writeFileSync(file, unit.replaceAll("/usr/local/bin/tidings", "/bin/true"));
    try {
      const { stderr } = await run("systemd-analyze", ["verify", file]);
      assert.equal(stderr.split("\n").filter((line) => line.includes("tidings.service")).join("\n"), "");
    } finally {
      rmSync(place, { recursive: true });
    }
  });
});
