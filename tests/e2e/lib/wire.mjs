// Engine.IO by hand: long-polling as plain requests, WebSocket as plain frames.
import net from "node:net";
import { setTimeout } from "node:timers/promises";
import WebSocket from "ws";
import { request } from "./http.mjs";
import { endLater } from "./leftovers.mjs";
import { Inbox, within } from "./wait.mjs";

export const SEPARATOR = "\x1e";

export class Polling {
  constructor(app, { path = "/socket.io/", query = "EIO=4&transport=polling", headers = {} } = {}) {
    this.app = app;
    this.headers = headers;
    this.base = `${app.url}${path}?${query}`;
  }

  async open() {
    const answer = await request("GET", this.base, { headers: this.headers });
    if (answer.status !== 200) throw new Error(`handshake: ${answer.status} ${answer.body}`);
    this.handshake = JSON.parse(answer.body.slice(1));
    this.sid = this.handshake.sid;
    return this;
  }

  // Open, and in the namespace; `id` is the public id of the socket.
  async join(connect = "40") {
    await this.open();
    await this.post(connect);
    const [packet] = await this.poll();
    this.id = JSON.parse(packet.slice(packet.indexOf("{"))).sid;
    return this;
  }

  get url() {
    return `${this.base}&sid=${this.sid}`;
  }

  get(options = {}) {
    return request("GET", this.url, { headers: this.headers, ...options });
  }

  post(body, options = {}) {
    return request("POST", this.url, { headers: { "content-type": "text/plain;charset=UTF-8", ...this.headers }, body, ...options });
  }

  async poll() {
    const answer = await this.get();
    if (answer.status !== 200) throw new Error(`poll: ${answer.status} ${answer.body}`);
    return answer.body.split(SEPARATOR);
  }

  // A poll that is waiting at the server: its answer is to come. (A pong is no event and needs no answer, but its POST does.)
  async wait() {
    let handedOver;
    const sent = new Promise((done) => (handedOver = done));
    const answer = this.get({ started: (outgoing) => outgoing.on("finish", handedOver) });
    answer.catch(() => {});
    await sent;
    await this.post("3");
    // Another thread may have had the POST, and be the faster.
    await setTimeout(20);
    return { answer };
  }

  // Packets of one poll after the other, until there are as many as asked.
  async packets(count) {
    const all = [];
    while (all.length < count) all.push(...(await this.poll()).filter((packet) => packet !== "6"));
    return all;
  }

  // Proof of life: an echo there and back.
  async alive() {
    await this.post('42987["echo","alive"]');
    for (;;) if ((await this.poll()).includes('43987["alive"]')) return true;
  }

  // The answer to a request of a session that has ended.
  async gone() {
    const { status, body } = await this.get();
    return status === 400 && JSON.parse(body).code === 1;
  }
}

export class Socket {
  #inbox = new Inbox();

  constructor(app, { path = "/socket.io/", query = "EIO=4&transport=websocket", sid, headers = {}, origin } = {}) {
    const address = `${app.url.replace("http", "ws")}${path}?${query}${sid ? `&sid=${sid}` : ""}`;
    this.ws = new WebSocket(address, { headers, origin, perMessageDeflate: false });
    this.ws.on("message", (data, isBinary) => this.#inbox.push(isBinary ? data : data.toString()));
    this.ws.on("error", () => {});
    this.closed = new Promise((done) => this.ws.on("close", (code, reason) => done({ code, reason: reason.toString() })));
    this.closed.then((close) => this.#inbox.push({ closed: close }));
    this.closed.then(endLater(() => this.cut()));
    // {101} or the refusal {status, headers, body}
    this.answered = new Promise((done) => {
      this.ws.on("open", () => done({ status: 101 }));
      this.ws.on("unexpected-response", (_request, response) => {
        let body = "";
        const refused = () => {
          done({ status: response.statusCode, headers: response.headers, body });
          this.cut(); // `ws` leaves that to whoever listens for the refusal
        };
        response.on("data", (chunk) => (body += chunk));
        response.on("end", refused);
        response.on("error", refused);
      });
      this.ws.on("close", () => done({ status: undefined }));
    });
  }

  // 101 and the handshake frame.
  async open() {
    const answer = await within("the WebSocket's answer", this.answered);
    if (answer.status !== 101) throw new Error(`WebSocket refused: ${JSON.stringify(answer)}`);
    const first = await this.next();
    this.handshake = JSON.parse(first.slice(1));
    this.sid = this.handshake.sid;
    return this;
  }

  async join(connect = "40") {
    await this.open();
    this.send(connect);
    const packet = await this.next();
    this.id = JSON.parse(packet.slice(packet.indexOf("{"))).sid;
    return this;
  }

  send(data) {
    this.ws.send(data);
  }

  // The next frame: text as string, binary as Buffer, the end as {closed}.
  next(what = "the next frame") {
    return this.#inbox.next(what);
  }

  async alive() {
    this.send('42987["echo","alive"]');
    for (;;) {
      const frame = await this.next("an echo as proof of life");
      if (frame === '43987["alive"]') return true;
      if (frame.closed) return false;
    }
  }

  // Reads on to the end; what came before it.
  async end() {
    const before = [];
    for (;;) {
      const frame = await this.next("the end of the WebSocket");
      if (frame.closed) return { before, ...frame.closed };
      before.push(frame);
    }
  }

  cut() {
    this.ws.terminate();
  }
}

// Bytes there, bytes back until the server closes or has sent `enough`.
export function raw(app, bytes, enough = () => false) {
  const answer = new Promise((done, fail) => {
    const socket = net.connect(app.port, "127.0.0.1", () => socket.write(bytes));
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      if (enough(text)) socket.destroy();
    });
    socket.on("close", () => done(text));
    socket.on("error", fail);
  });
  return within("the end of a raw connection", answer);
}
