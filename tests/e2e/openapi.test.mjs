// The server API against its own description: the document is valid OpenAPI 3.1, and schemathesis, which asks all that it describes in good
// and bad ways, finds no answer that it does not describe.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { API_KEY, FOREIGN, OWN, Plain, call, inPlace, publish } from "./lib/channels.mjs";
import { scratch } from "./lib/scratch.mjs";

const folder = import.meta.dirname;
const bin = (name) => join(folder, ".venv/bin", name);
const PATH = "/api/openapi.json";

// All that a program of the environment says; it must end well, and in time.
async function run(name, args, options = {}) {
  assert.ok(existsSync(bin(name)), "run.sh makes .venv");
  const child = spawn(bin(name), args, { timeout: 240_000, ...options });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  const code = await new Promise((done) => child.on("close", done));
  assert.equal(code, 0, output);
  return output;
}

async function served(place) {
  const { status, json, body } = await call("GET", place, PATH);
  assert.equal(status, 200, body);
  return json;
}

// The same, with no room for a member that is not described: clients are told to expect more, tests are not.
function strict(document) {
  const close = (schema) => {
    if (schema === null || typeof schema !== "object") return;
    // What is only said beside another schema describes no whole object.
    if (schema.type === "object" && schema.properties) schema.additionalProperties ??= false;
    Object.values(schema).forEach(close);
  };
  close(document.components.schemas);
  return document;
}

const written = async (document) => {
  const file = join(await scratch(), "openapi.json");
  writeFileSync(file, JSON.stringify(document));
  return file;
};

test("the document is valid, whatever the configuration", async () => {
  const cookie = { auth: '[auth]\nhs256 = { env = "E2E_SECRET" }\nanonymous = true\ncookie = "sid"\n', limits: "message_bytes = 0\nattachments = 0\n" };
  for (const options of [{}, cookie]) {
    await inPlace(options, async (place) => {
      const output = await run("python", ["-m", "openapi_spec_validator", "--schema", "3.1", await written(await served(place))]);
      assert.match(output, /OK/);
    });
  }
});

test("pages of allowed origins get the document, and need no key", () =>
  inPlace({}, async (place) => {
    const own = await call("GET", place, PATH, { headers: { origin: OWN } });
    assert.equal(own.status, 200);
    assert.equal(own.headers["access-control-allow-origin"], OWN);
    assert.match(own.headers.vary, /origin/i);
    assert.equal((await call("GET", place, PATH, { headers: { origin: FOREIGN } })).status, 403);
    const again = await call("GET", place, PATH, { headers: { "if-none-match": own.headers.etag } });
    assert.equal(again.status, 304);
    assert.equal(again.body, "");
  }));

test("schemathesis finds nothing", () =>
  inPlace({ data: true }, async (place) => {
    const ids = [];
    for (let n = 0; n < 20; n += 1) ids.push(await publish(place, "kept:api", "said", { n }));
    const ann = await Plain.enter(place, "ann", { claims: { info: { name: "Ann" } } });
    await ann.subscribe("kept:api");
    await ann.publish("kept:api", "said", "by a user");
    const known = { channel: "kept:api", user: "ann" };
    const file = await written(strict(await served(place)));
    const env = { ...process.env, PYTHONPATH: join(folder, "python"), EVENT_IDS: JSON.stringify(ids), KNOWN: JSON.stringify(known) };
    const output = await run(
      "st",
      ["--no-color", "--config-file", join(folder, "python/schemathesis.toml"), "run", file, "--url", place.url, "-H", `Authorization: Bearer ${API_KEY}`],
      // What it leaves behind goes with the folder.
      { env, cwd: await scratch() },
    );
    assert.match(output, /Tested: 14/, output);
    ann.cut();
  }));
