// The plain ways into a channel: the server API, /ws with npm's `ws`, /sse as bytes, /poll as requests. And a server that can be killed
// and started again on the same port and data.
import http from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import assert from "node:assert/strict";
import WebSocket from "ws";
import { request } from "./http.mjs";
import { endLater } from "./leftovers.mjs";
import { AUTH, start } from "./server.mjs";
import { freePort } from "./targets.mjs";
import { tokenOf } from "./tokens.mjs";
import { Inbox, until, within } from "./wait.mjs";

export const API_KEY = "an-api-key-of-the-tests:0123456789abcdefghijklmnopqrstuvwxyz";
export const OWN = "https://app.example";
export const FOREIGN = "https://evil.example";

export const RULES = `
[[channels]]
match = "kept:*"
history = { keep = 100000 }
subscribe = "user"
publish = "user"
presence = true

[[channels]]
match = "mem:*"
subscribe = "user"
publish = "user"
presence = true

[[channels]]
match = "room:*"
history = { keep = 100000 }
subscribe = "claims"
publish = "claims"
presence = true

[[channels]]
match = "user:{user}"
subscribe = "owner"
publish = "user"

[[channels]]
match = "public:*"
subscribe = "anyone"
publish = "user"

[[channels]]
match = "readonly:*"
subscribe = "user"

[[channels]]
match = "writeonly:*"
publish = "user"
`;

// Tests say much in little time; the rate has tests of its own.
export const FAST = "messages_per_second = 0\n";

// A server with the API's key and the rules above. `data: true` gives it a folder, which stays through `kill` and `restart`.
export class Place {
  #options;

  static async open({ data = false, limits = FAST, channels = RULES, auth = AUTH, more = "", top = "", env = {} } = {}) {
    const place = new Place();
    if (data) {
      place.folder = mkdtempSync(join(tmpdir(), "tidings-e2e-data-"));
      process.once("exit", () => place.#remove());
    }
    const api = '[api]\nkey = { env = "E2E_API_KEY" }\n';
    place.#options = {
      top: `allowed_origins = ["${OWN}"]\n${place.folder ? `data = ${JSON.stringify(place.folder)}\n` : ""}${top}`,
      auth,
      // a rule for history needs a folder to keep it in
      channels: data ? channels : channels.replace(/^history = .*\n/gm, ""),
      more: `${api}${limits ? `[limits]\n${limits}` : ""}\n${more}`,
      env: { E2E_API_KEY: API_KEY, ...env },
      listen: `127.0.0.1:${await freePort()}`,
    };
    await place.start();
    return place;
  }

  async start(changes = {}) {
    this.server = await start({ ...this.#options, ...changes });
    this.url = this.server.url;
    this.port = this.server.port;
  }

  kill = () => this.server.stop("SIGKILL");

  async restart(changes) {
    await this.kill();
    await this.start(changes);
  }

  async close() {
    await this.server.stop("SIGKILL");
    this.#remove();
  }

  #remove() {
    if (this.folder) rmSync(this.folder, { recursive: true, force: true });
  }
}

export async function inPlace(options, play) {
  const place = await Place.open(options);
  try {
    await play(place);
  } finally {
    await place.close();
  }
}

// Requests with a bearer, answers with JSON where it is JSON.
export async function call(method, server, path, { token, body, headers = {}, ...rest } = {}) {
  const all = { ...headers };
  if (token) all.authorization = `Bearer ${token}`;
  if (body !== undefined && !("content-type" in all)) all["content-type"] = "application/json";
  const text = body === undefined || typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
  const answer = await request(method, server.url + path, { headers: all, body: text, ...rest });
  if (/json/.test(answer.headers["content-type"] ?? "")) answer.json = JSON.parse(answer.body);
  return answer;
}

// A refusal over HTTP: a problem document with this status and code.
export function assertProblem(answer, status, code, what = "") {
  const said = `${what} ${answer.status} ${answer.body}`;
  assert.equal(answer.status, status, said);
  assert.match(answer.headers["content-type"] ?? "", /^application\/problem\+json/, said);
  assert.equal(answer.json.status, status, said);
  if (code instanceof RegExp) assert.match(answer.json.code, code, said);
  else assert.equal(answer.json.code, code, said);
  assert.ok(answer.json.detail?.length > 0, said);
  return answer;
}

export const apiPublish = (server, body, { key = API_KEY, ...rest } = {}) =>
  call("POST", server, "/api/v1/publish", { token: key, body, ...rest });

// Published by the API; its id.
export async function publish(server, channel, event, data, more = {}) {
  const { status, json, body } = await apiPublish(server, { channel, event, data, ...more });
  assert.equal(status, 200, body);
  return json.id;
}

export const query = (pairs) =>
  pairs.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join("&");

// /poll of these channels as this user; options not named here go into the query.
export function poll(server, channels, { token = tokenOf("ann"), headers, started, method = "GET", ...options } = {}) {
  const pairs = [...[channels].flat().map((channel) => ["channel", channel]), ...Object.entries(options)];
  return call(method, server, `/poll?${query(pairs)}`, { token, headers, started });
}

// The body of a poll that has to be answered well.
export async function polled(server, channels, options) {
  const answer = await poll(server, channels, options);
  assert.equal(answer.status, 200, answer.body);
  assert.deepEqual(Object.keys(answer.json).sort(), ["events", "gap", "gaps", "next"], answer.body);
  return answer.json;
}

// The tail of the log, as a cursor.
export const tailOf = async (server, channel, options) => (await polled(server, channel, { wait: 1, ...options })).next;

export const before = (id, by = 1) => id.replace(/\d+$/, (seq) => String(Number(seq) - by));
export const seqOf = (id) => Number(id.split("-")[1]);
export const epochOf = (id) => id.split("-")[0];
export const foreign = (id) => `${epochOf(id) === "aaaaaaaa" ? "bbbbbbbb" : "aaaaaaaa"}-${seqOf(id)}`;
export const future = (id) => `${epochOf(id)}-999999999999999`;

// A plain WebSocket. `messages` is all that came, `next` takes them one by one.
export class Plain {
  #inbox = new Inbox();
  #asked = 0;
  #answers = new Map();
  messages = [];
  pings = 0;

  constructor(server, { token, headers = {}, path = "/ws", ...options } = {}) {
    const all = token ? { authorization: `Bearer ${token}`, ...headers } : headers;
    this.ws = new WebSocket(server.url.replace("http", "ws") + path, { headers: all, perMessageDeflate: false, ...options });
    this.ws.on("ping", () => (this.pings += 1));
    this.ws.on("message", (data, isBinary) => this.#take(isBinary ? data : JSON.parse(data)));
    this.ws.on("error", (error) => (this.error = error));
    this.closed = new Promise((done) => this.ws.on("close", (code, reason) => done({ code, reason: reason.toString() })));
    this.closed.then((close) => {
      this.close_code = close.code;
      this.#inbox.push({ closed: close.code });
      for (const { fail } of this.#answers.values()) fail(new Error(`closed with ${close.code} before the answer`));
    });
    this.closed.then(endLater(() => this.cut()));
    // {status: 101} or the refusal as it is over HTTP
    this.answered = new Promise((done) => {
      this.ws.on("open", () => done({ status: 101 }));
      this.ws.on("unexpected-response", (_request, response) => {
        let body = "";
        response.on("data", (chunk) => (body += chunk));
        response.on("close", () => {
          const answer = { status: response.statusCode, headers: response.headers, body };
          if (/json/.test(response.headers["content-type"] ?? "")) answer.json = JSON.parse(body);
          done(answer);
          this.cut();
        });
      });
      this.ws.on("close", () => done({ status: undefined }));
    });
  }

  static as = (server, sub, { claims, ...options } = {}) => new Plain(server, { token: tokenOf(sub, claims), ...options });

  // Welcome, as this user.
  static async enter(server, sub, options) {
    const plain = Plain.as(server, sub, options);
    await plain.welcomed();
    return plain;
  }

  async welcomed() {
    const first = await this.next("the welcome");
    assert.equal(first.type, "welcome", JSON.stringify(first));
    this.welcome = first;
    return first;
  }

  #take(message) {
    this.messages.push(message);
    const answer = ["ok", "error"].includes(message?.type) ? this.#answers.get(message.id) : undefined;
    if (answer) {
      this.#answers.delete(message.id);
      answer.done(message);
    } else this.#inbox.push(message);
  }

  say(message) {
    this.ws.send(typeof message === "string" || Buffer.isBuffer(message) ? message : JSON.stringify(message));
  }

  // A request; its answer, `ok` or `error`.
  ask(type, fields = {}) {
    const id = (this.#asked += 1);
    const answer = new Promise((done, fail) => this.#answers.set(id, { done, fail }));
    this.say({ type, id, ...fields });
    return within(`the answer to ${type}`, answer, 45_000);
  }

  // The result of a request that has to go well.
  async result(type, fields) {
    const answer = await this.ask(type, fields);
    assert.equal(answer.type, "ok", JSON.stringify(answer));
    return answer.result;
  }

  async refused(type, fields, code) {
    const answer = await this.ask(type, fields);
    assertError(answer, code, `${type} ${JSON.stringify(fields).slice(0, 300)}`);
    return answer;
  }

  subscribe = (channels, since) => this.result("subscribe", { channels: [channels].flat(), ...(since ? { since } : {}) });
  publish = (channel, event, data, more = {}) => this.result("publish", { channel, event, data, ...more });

  next(what = "the next message") {
    return this.#inbox.next(what);
  }

  // The next that is of this type; others in between are an error, but for presence.
  async nextOf(type) {
    for (;;) {
      const message = await this.next(`a message of type ${type}`);
      if (message.type === type) return message;
      if (!["join", "leave"].includes(message.type)) assert.fail(`expected ${type}, got ${JSON.stringify(message)}`);
    }
  }

  // So many events, in order.
  async events(count) {
    const all = [];
    while (all.length < count) all.push(await this.nextOf("event"));
    return all;
  }

  // Everything that the server sent before this has arrived; what of it nobody took, but for presence.
  async settled() {
    await this.result("ping");
    const left = [];
    while (this.#inbox.waiting > 0) left.push(await this.next());
    return left.filter(({ type }) => !["join", "leave"].includes(type));
  }

  // The close code; what came before it.
  async end(deadline_ms) {
    const { code } = await within("the close", this.closed, deadline_ms);
    return code;
  }

  close() {
    this.ws.close();
  }

  cut() {
    this.ws.terminate();
  }
}

export function assertError(answer, code, what = "") {
  const said = `${what} ${JSON.stringify(answer)}`;
  assert.equal(answer.type, "error", said);
  if (code instanceof RegExp) assert.match(answer.code, code, said);
  else assert.equal(answer.code, code, said);
  assert.ok(typeof answer.message === "string" && answer.message.length > 0, said);
}

// An EventSource by hand (HTML Standard, 9.2.6): every block with its raw lines, every dispatched event, the last event id.
export class Sse {
  #inbox = new Inbox();
  #text = "";
  #lines = [];
  #id = "";
  blocks = [];
  bytes = "";
  lastEventId = "";

  constructor(server, channels, { token = tokenOf("ann"), headers = {}, since, path, ...options } = {}) {
    const pairs = [...[channels].flat().map((channel) => ["channel", channel]), ...Object.entries(options)];
    const all = { accept: "text/event-stream", ...headers };
    if (token) all.authorization = `Bearer ${token}`;
    if (since !== undefined) all["last-event-id"] = since;
    this.request = http.request(server.url + (path ?? `/sse?${query(pairs)}`), { headers: all, agent: false });
    this.opened = new Promise((done, fail) => {
      this.request.on("response", (response) => {
        response.setEncoding("utf8");
        response.on("data", (chunk) => this.#take(chunk));
        response.on("error", () => {});
        response.on("close", () => {
          this.over = true;
          this.complete = response.complete;
          this.#inbox.push({ ended: true });
          this.#ended();
        });
        done({ status: response.statusCode, headers: response.headers });
      });
      this.request.on("error", (error) => {
        fail(error);
        this.#ended();
      });
    });
    this.opened.catch(() => {});
    this.ended = new Promise((done) => (this.#ended = done));
    this.ended.then(endLater(() => this.close()));
    this.request.end();
  }

  #ended;

  #take(chunk) {
    this.bytes += chunk;
    this.#text += chunk;
    for (;;) {
      // a CR at the end may be the first half of a CRLF
      const end = this.#text.match(/\r\n|\n|\r(?!$)/);
      if (!end) return;
      this.#line(this.#text.slice(0, end.index));
      this.#text = this.#text.slice(end.index + end[0].length);
    }
  }

  #line(line) {
    if (line !== "") return void this.#lines.push(line);
    const block = { lines: this.#lines };
    this.#lines = [];
    const data = [];
    for (const line of block.lines) {
      const [, name, value] = line.match(/^([^:]*)(?:: ?([^]*))?$/);
      if (name === "data") data.push(value ?? "");
      else if (name === "event") block.event = value;
      else if (name === "id" && !value?.includes("\0")) this.#id = block.id = value ?? "";
      else if (name === "retry" && /^\d+$/.test(value ?? "")) block.retry = Number(value);
      else if (name !== "") block.unknown = line;
    }
    this.lastEventId = this.#id;
    if (data.length > 0) block.data = data.join("\n");
    this.blocks.push(block);
    if (data.length > 0) this.#inbox.push({ event: block.event || "message", data: block.data, id: this.lastEventId });
  }

  // 200, and the head.
  async open() {
    const head = await within("the head of /sse", this.opened);
    assert.equal(head.status, 200);
    await until("the first cursor", () => this.lastEventId !== "" || this.over);
    return head;
  }

  // The next event that an EventSource would dispatch.
  next(what = "the next event of /sse") {
    return this.#inbox.next(what);
  }

  async nextJson() {
    const { event, data, id, ended } = await this.next();
    assert.ok(!ended, "the stream ended");
    return { event, id, data: JSON.parse(data) };
  }

  async events(count) {
    const all = [];
    while (all.length < count) all.push(await this.nextJson());
    return all;
  }

  // The whole of it, for one that the server ends.
  async whole() {
    const head = await within("the head of /sse", this.opened);
    await within("the end of /sse", this.ended);
    const answer = { ...head, body: this.bytes };
    if (/json/.test(head.headers["content-type"] ?? "")) answer.json = JSON.parse(this.bytes);
    return answer;
  }

  get waiting() {
    return this.#inbox.waiting;
  }

  close() {
    this.request.destroy();
  }
}
