// python-socketio against the e2e app and the tidings server; what it plays is in python/chat.py.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { start } from "./lib/server.mjs";
import { isReference, startApp } from "./lib/targets.mjs";
import { tokenOf } from "./lib/tokens.mjs";
import { within } from "./lib/wait.mjs";

const python = join(import.meta.dirname, ".venv/bin/python");

async function play(suite, env) {
  assert.ok(existsSync(python), "run.sh makes .venv");
  const child = spawn(python, [join(import.meta.dirname, "python/chat.py"), suite], { env: { ...process.env, ...env } });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  const code = await within("python's end", new Promise((done) => child.on("close", done)), 120_000);
  assert.equal(code, 0, output);
  assert.doesNotMatch(output, /skipped/);
}

describe("python-socketio", () => {
  test("chats in an app", async () => {
    const app = await startApp();
    try {
      await play("ChatInAnApp", { E2E_APP_URL: app.url });
      await app.quiet();
    } finally {
      await app.stop();
    }
  });

  test("chats on the server", { skip: isReference && "the server is Tidings" }, async () => {
    const server = await start();
    try {
      const tokens = { ann: tokenOf("ann"), bob: tokenOf("bob") };
      await play("ChatOnTheServer", { TIDINGS_URL: server.url, TIDINGS_TOKENS: JSON.stringify(tokens) });
    } finally {
      await server.stop("SIGKILL");
    }
  });
});
