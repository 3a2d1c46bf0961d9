// A small back end that Tidings calls (`[hooks]`): it checks each call's signature, writes it down, and answers as it is told.
import assert from "node:assert/strict";
import { createHmac, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import https from "node:https";
import { until } from "./wait.mjs";

export const HOOK_SECRET = "a secret of the tests' hooks: 0123456789abcdefghijklmnopqrstuvwxyz";

// The answers of one that allows everything.
const KIND = { connect: {}, subscribe: { allow: true }, event: {}, disconnect: {} };

export class BackEnd {
  // All that came: {headers, body, text}, in the order it came.
  calls = [];
  // By hook: the answer as JSON, or a function of the call and the response that gives one, or answers itself.
  answers = { ...KIND };
  // What is wrong with a call, once it is.
  problems = [];

  // `tls` is what `node:https` takes.
  static async open(answers = {}, port = 0, tls = undefined) {
    const backEnd = new BackEnd();
    backEnd.tls = tls;
    Object.assign(backEnd.answers, answers);
    await backEnd.listen(port);
    return backEnd;
  }

  async listen(port = this.port) {
    const take = (request, response) => this.#take(request, response);
    this.http = this.tls ? https.createServer(this.tls, take) : createServer(take);
    this.http.keepAliveTimeout = 60_000;
    this.http.listen(port, "127.0.0.1");
    await once(this.http, "listening");
    this.port = this.http.address().port;
  }

  // Down, at once.
  async close() {
    this.http.closeAllConnections();
    this.http.close();
    await once(this.http, "close");
  }

  get url() {
    return `http${this.tls ? "s" : ""}://127.0.0.1:${this.port}/tidings`;
  }

  // The table that names it, and the environment that goes with that.
  table = (keys) => `[hooks]\nurl = "${this.url}"\nsecret = { env = "E2E_HOOK_SECRET" }\n${keys}\n`;
  env = { E2E_HOOK_SECRET: HOOK_SECRET };

  // Those of a hook, as what they say.
  of = (hook) => this.calls.filter(({ body }) => body.hook === hook).map(({ body }) => body);

  // The first of a hook that the test accepts, as soon as it is there.
  async saw(hook, accepts = () => true) {
    let found;
    await until(
      () => `a call of ${hook}; so far ${JSON.stringify(this.calls.map(({ body }) => body))}`,
      () => (found = this.of(hook).find(accepts)),
    );
    return found;
  }

  async #take(request, response) {
    try {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const text = Buffer.concat(chunks).toString();
      const call = { method: request.method, path: request.url, headers: request.headers, text, body: JSON.parse(text) };
      check(call);
      this.calls.push(call);
      const told = this.answers[call.body.hook];
      const answer = typeof told === "function" ? await told(call.body, response, request) : told;
      if (answer === undefined || response.headersSent || response.destroyed) return;
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
    } catch (error) {
      this.problems.push(error);
      response.destroy();
    }
  }
}

// What holds for every call.
function check({ method, path, headers, text, body }) {
  assert.deepEqual([method, path], ["POST", "/tidings"]);
  assert.equal(headers["content-type"], "application/json");
  assert.match(headers["user-agent"], /^tidings\/\d+\.\d+\.\d+$/);
  assert.equal(headers["tidings-hook"], body.hook);
  assert.equal(headers["tidings-id"], body.id);
  assert.match(body.id, /^[0-9a-f]{32}$/);
  assert.ok(Math.abs(body.time - Date.now()) < 600_000);
  const [, time, signature] = headers["tidings-signature"].match(/^t=(\d+),v1=([0-9a-f]{64})$/);
  assert.ok(Math.abs(Date.now() / 1000 - time) < 10);
  const expected = createHmac("sha256", HOOK_SECRET).update(`${time}.${text}`).digest();
  assert.ok(timingSafeEqual(Buffer.from(signature, "hex"), expected), "the signature");
  // no token and no key goes out, in whatever place
  assert.doesNotMatch(JSON.stringify([headers, text]), /eyJ[A-Za-z0-9_-]{10,}/);
}

// Answers with this status, and whatever else.
export const status =
  (code, body = "{}", headers = {}) =>
  (_, response) =>
    void response.writeHead(code, { "content-type": "application/json", ...headers }).end(typeof body === "string" ? body : JSON.stringify(body));

// Ways not to answer. Each is one that a client is told `unavailable` after.
export const SILENT = {
  "answers 500": status(500),
  "answers 404": status(404),
  "sends away to elsewhere": status(307, "{}", { location: "/elsewhere" }),
  "answers no JSON": status(200, "<html>it works</html>"),
  "answers something else": status(200, { alow: true }),
  "answers without end": status(200, JSON.stringify({ info: "x".repeat(1_100_000) })),
  "is too slow": () => undefined,
  "breaks off in the middle": (_, response) => {
    response.writeHead(200, { "content-length": "100" });
    response.write('{"allow":');
    setTimeout(() => response.destroy(), 20);
  },
  "breaks the connection each time": (_, response) => void response.destroy(),
};
