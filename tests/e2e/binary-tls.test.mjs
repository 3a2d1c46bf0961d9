// TLS and HTTP/2 of the `tidings` server: stock clients over https:// and wss://, many streams on one connection, and h2c.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Client, transports, versions } from "./lib/clients.mjs";
import { start, user } from "./lib/server.mjs";
import { runBinary } from "./lib/targets.mjs";
import { tokenOf } from "./lib/tokens.mjs";
import { until, within } from "./lib/wait.mjs";

// A certificate for 127.0.0.1, and its key.
function certificate() {
  const place = mkdtempSync(join(tmpdir(), "tidings-e2e-tls-"));
  try {
    const [cert, key] = [join(place, "cert.pem"), join(place, "key.pem")];
    const args = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"];
    const names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
    execFileSync("openssl", [...args, ...names, "-keyout", key, "-out", cert], { stdio: "pipe" });
    return { cert: readFileSync(cert), key: readFileSync(key) };
  } finally {
    rmSync(place, { recursive: true });
  }
}

// The answer's status, headers and body of a request on a session of HTTP/2; `stream` is for what does not end.
async function ask(session, path, headers = {}) {
  const stream = session.request({ ":path": path, ...headers });
  const answer = { stream, text: "" };
  stream.setEncoding("utf8").on("data", (chunk) => (answer.text += chunk));
  [answer.headers] = await within(`the head of ${path}`, once(stream, "response"));
  answer.status = answer.headers[":status"];
  return answer;
}

const ended = (answer) => within("the end of the answer", answer.stream.closed ? undefined : once(answer.stream, "close"));

async function onSession(url, options, play) {
  const session = http2.connect(url, options);
  try {
    await play(session);
  } finally {
    session.destroy();
  }
}

// Two event streams and a long poll wait on one connection while a request is answered; one event reaches them all.
async function manyStreams(server, session, publisher) {
  const query = `channel=open:tea&access_token=${tokenOf("bob")}`;
  const streams = [await ask(session, `/sse?${query}`), await ask(session, `/sse?${query}`)];
  for (const stream of streams) assert.deepEqual([stream.status, stream.headers["content-type"]], [200, "text/event-stream"]);
  const at = await ask(session, `/poll?${query}`);
  await ended(at);
  const { next } = JSON.parse(at.text);
  const poll = session.request({ ":path": `/poll?${query}&since=${next}&wait=60` });
  let polled = "";
  poll.setEncoding("utf8").on("data", (chunk) => (polled += chunk));
  const answered = once(poll, "end");
  const health = await ask(session, "/healthz", { origin: server.url });
  assert.equal(health.status, 200);
  const { id } = await publisher.ask("publish", "open:tea", "hot", { cup: 1 });
  await within("the poll's answer", answered);
  assert.deepEqual(JSON.parse(polled).events.map((event) => [event.id, event.data]), [[id, { cup: 1 }]]);
  for (const stream of streams) await until("the event on the stream", () => stream.text.includes(`id:${id}`));
}

describe("TLS", () => {
  let server;
  let made;

  before(async () => {
    made = certificate();
    const files = { "server.pem": made.cert, "server.key": made.key };
    server = await start({ more: '[tls]\ncert = "server.pem"\nkey = "server.key"', files });
  });
  after(() => server?.stop("SIGKILL"));

  test("the ready line says https", () => assert.match(server.url, /^https:\/\/127\.0\.0\.1:\d+$/));

  for (const [version, io] of Object.entries(versions))
    for (const [name, of] of Object.entries(transports))
      test(`socket.io-client ${version} over ${name}`, async () => {
        const options = { transports: of, auth: { token: tokenOf("ann") }, ca: made.cert };
        const client = await new Client(io, server.url, options).connected();
        assert.equal((await client.ask("subscribe", "open:tea")).ok, true);
        const text = "x".repeat(200_000);
        assert.equal((await client.ask("publish", "open:tea", "long", text)).ok, true);
        await client.sawEvent("long");
        client.close();
      });

  test("a certificate that the command line refuses: it says what to do", async () => {
    const place = mkdtempSync(join(tmpdir(), "tidings-e2e-ca-"));
    try {
      const ca = join(place, "ca.pem");
      writeFileSync(ca, made.cert);
      // as `openssl req -x509` makes it, it is a CA's own
      const run = runBinary(["publish", "--url", server.url, "--api-key", "a-key", "--ca", ca, "open:tea", "e", "1"]);
      const { code } = await within("the command's end", run.exited);
      assert.equal(code, 4, run.stderr);
      assert.match(run.stderr, /basicConstraints=CA:FALSE/);
    } finally {
      rmSync(place, { recursive: true });
    }
  });

  test("event streams, a long poll and a request share a connection of HTTP/2", async () => {
    const publisher = await user(server, "ann", { ca: made.cert }).connected();
    await onSession(server.url, { ca: made.cert }, async (session) => {
      await once(session, "connect");
      assert.equal(session.alpnProtocol, "h2");
      await manyStreams(server, session, publisher);
    });
    publisher.close();
  });

  test("pages of the own host come in over HTTP/2, and others don't", () =>
    onSession(server.url, { ca: made.cert }, async (session) => {
      const path = "/socket.io/?EIO=4&transport=polling";
      assert.equal((await ask(session, path, { origin: server.url })).status, 200);
      assert.equal((await ask(session, path, { origin: "https://evil.example" })).status, 403);
    }));

  test("HTTP/1.1 is there too", async () => {
    const [answer] = await once(https.get(`${server.url}/healthz`, { ca: made.cert, agent: false }), "response");
    assert.deepEqual([answer.statusCode, answer.httpVersion], [200, "1.1"]);
    answer.resume();
  });

  test("who asks with http:// is told", async () => {
    const url = server.url.replace("https", "http");
    const [answer] = await once(http.get(`${url}/healthz`, { agent: false }), "response");
    let text = "";
    for await (const chunk of answer) text += chunk;
    assert.equal(answer.statusCode, 400);
    assert.match(text, /https:\/\//);
  });

  test("streams of HTTP/2 do not hold the shutdown", async () => {
    const files = { "server.pem": made.cert, "server.key": made.key };
    const other = await start({ top: 'drain = "15s"', more: '[tls]\ncert = "server.pem"\nkey = "server.key"', files });
    await onSession(other.url, { ca: made.cert }, async (session) => {
      session.on("error", () => {});
      const stream = await ask(session, `/sse?channel=open:tea&access_token=${tokenOf("bob")}`);
      stream.stream.on("error", () => {});
      assert.equal(stream.status, 200);
      assert.deepEqual(await other.stop(), { code: 0, signal: null });
      assert.doesNotMatch(other.stderr, /cut off/);
    });
  });
});

test("HTTP/2 without TLS, as a proxy speaks it", async () => {
  const server = await start();
  try {
    const publisher = await user(server, "ann").connected();
    await onSession(server.url, {}, (session) => manyStreams(server, session, publisher));
    publisher.close();
  } finally {
    await server.stop("SIGKILL");
  }
});
