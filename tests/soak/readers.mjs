// Readers of each transport. They tell what they hear, come back by themselves where they were, and can be cut, stalled and sent home.
import http from "node:http";
import { createRequire } from "node:module";

const require = createRequire(new URL("../e2e/package.json", import.meta.url));
const WebSocket = require("ws");
const { io } = require("sioc4");

const back_ms = () => 200 + Math.random() * 3_000;

// What all have in common; a transport has `connect()`, `cut()`, `socket()` and `end()`.
class Reader {
  since;
  isHome = false;

  constructor(seat) {
    Object.assign(this, seat);
  }

  start() {
    if (!this.isHome) this.connect();
  }

  again() {
    if (!this.isHome) setTimeout(() => this.start(), back_ms());
  }

  take({ channel, data, id }) {
    this.since = id;
    this.heard(channel, data.n);
  }

  // Its socket is not read for a while.
  stall(ms) {
    const socket = this.socket();
    if (!socket) return;
    socket.pause();
    setTimeout(() => socket.destroyed || socket.resume(), ms);
  }

  leave() {
    this.isHome = true;
    this.end();
  }
}

class PlainWebSocket extends Reader {
  connect() {
    const ws = new WebSocket(`${this.url.replace("http", "ws")}/ws?access_token=${this.token()}`, { perMessageDeflate: false });
    this.ws = ws;
    ws.on("message", (text) => {
      const message = JSON.parse(text);
      if (message.type === "welcome") {
        if (this.since) this.resumed();
        ws.send(JSON.stringify({ type: "subscribe", id: 1, channels: this.channels, since: this.since }));
      } else if (message.type === "event") this.take(message);
      else if (message.type === "ok") this.since ??= message.result.cursor;
      else if (message.type === "gap") this.gap(message);
      else if (message.type === "error") this.refused(message);
    });
    ws.on("error", () => {});
    ws.on("close", () => this.ws === ws && this.again());
  }

  cut() {
    this.ws?.terminate();
  }

  socket() {
    return this.ws?._socket;
  }

  end() {
    this.ws?.close();
  }
}

class EventStream extends Reader {
  connect() {
    const query = [...this.channels.map((channel) => `channel=${channel}`), `access_token=${this.token()}`].join("&");
    const headers = this.since ? { "last-event-id": this.since } : {};
    if (this.since) this.resumed();
    const request = http.get(`${this.url}/sse?${query}`, { agent: false, headers }, (response) => {
      if (response.statusCode !== 200) this.refused(response.statusCode);
      let rest = "";
      response.setEncoding("utf8").on("data", (chunk) => {
        const blocks = (rest + chunk).split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) this.#block(block);
      });
      response.on("error", () => {});
      response.on("close", () => this.request === request && this.again());
    });
    this.request = request;
    request.on("error", () => {});
    request.on("close", () => request.res || (this.request === request && this.again()));
  }

  #block(block) {
    const fields = Object.fromEntries(block.split("\n").map((line) => line.match(/^([^:]*): ?(.*)$/)?.slice(1) ?? ["", ""]));
    if (fields.event === "gap") this.gap(fields.data);
    if (fields.data && !fields.event) this.take({ ...JSON.parse(fields.data), id: fields.id });
    else if (fields.id) this.since = fields.id;
  }

  cut() {
    this.request?.destroy();
  }

  socket() {
    return this.request?.socket;
  }

  end() {
    this.request?.destroy();
  }
}

class LongPoll extends Reader {
  connect() {
    const since = this.since ? [`since=${this.since}`] : [];
    const query = [...this.channels.map((channel) => `channel=${channel}`), ...since, "wait=20", `access_token=${this.token()}`].join("&");
    const request = http.get(`${this.url}/poll?${query}`, { agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk) => (text += chunk));
      response.on("error", () => {});
      response.on("close", () => {
        if (this.request !== request || this.isHome) return;
        if (!response.complete) return this.again();
        const answer = JSON.parse(text);
        if (response.statusCode !== 200) {
          // told to come back later, as when the server ends
          if (answer.code !== "draining") this.refused(answer);
          return this.again();
        }
        if (answer.gap) this.gap(answer.gaps);
        for (const event of answer.events) this.take(event);
        this.since = answer.next;
        this.start();
      });
    });
    this.request = request;
    request.on("error", () => {});
    request.on("close", () => request.res || (this.request === request && this.again()));
  }

  cut() {
    this.resumed();
    this.request?.destroy();
  }

  socket() {
    return this.request?.socket;
  }

  end() {
    this.request?.destroy();
  }
}

class SocketIo extends Reader {
  transports = ["websocket"];

  connect() {
    this.client = io(this.url, {
      forceNew: true,
      transports: this.transports,
      auth: (give) => give({ token: this.token() }),
      reconnectionDelay: 200,
      reconnectionDelayMax: 3_000,
    });
    this.client.on("connect", () => {
      if (this.since) this.resumed();
      if (this.client.recovered) return;
      this.client.emit("subscribe", this.channels, this.since ? { since: this.since } : {}, (answer) => {
        if (answer.ok) this.since ??= answer.cursor;
        else this.refused(answer);
      });
    });
    this.client.on("e", (data, { channel }, id) => this.take({ channel, data, id }));
    this.client.on("gap", (gap) => this.gap(gap));
    this.client.on("connect_error", (error) => error.data && this.refused(error.data));
    this.client.on("disconnect", (reason) => {
      // It does not come back by itself after this one.
      if (reason === "io server disconnect" && !this.isHome) this.client.connect();
    });
  }

  cut() {
    const engine = this.client?.io.engine;
    if (engine?.transport?.name === "websocket") engine.transport.ws?.terminate?.();
    else engine?.close();
  }

  socket() {
    return this.client?.io.engine?.transport?.ws?._socket;
  }

  end() {
    this.client?.disconnect();
  }
}

class SocketIoPolling extends SocketIo {
  transports = ["polling"];
}

// Mixed as they may come: many of the cheap ones.
export const KINDS = [
  PlainWebSocket, EventStream, SocketIo, PlainWebSocket, LongPoll, SocketIo, EventStream, PlainWebSocket, SocketIo, SocketIoPolling,
];
