// One who follows channels over one transport and comes back by that transport's own means: stock socket.io-client with its
// connection state recovery, a WebSocket that subscribes `since`, npm's EventSource, a long poll, a short poll. What it saw is in
// `seen`: {id, channel, event, data} and {gap: [channels], next}, in the order it came.
import { EventSource } from "eventsource";
import { newest } from "./clients.mjs";
import { poll, query, Plain } from "./channels.mjs";
import { endLater } from "./leftovers.mjs";
import { tokenOf } from "./tokens.mjs";
import { until } from "./wait.mjs";

const pause = (ms) => new Promise((again) => setTimeout(again, ms));

class Follower {
  seen = [];
  connects = 0;
  closed = false;

  constructor(server, channels, { sub = "ann", token = tokenOf(sub), since, ...options } = {}) {
    Object.assign(this, { server, channels, sub, token, options, cursor: since, since });
    this.ended = endLater(() => this.close());
  }

  event(event) {
    this.cursor = event.id;
    this.seen.push(event);
  }

  gap(channels, next) {
    this.cursor = next;
    this.seen.push({ gap: [...channels].sort(), next });
  }

  get events() {
    return this.seen.filter(({ gap }) => gap === undefined);
  }

  get ids() {
    return this.events.map(({ id }) => id);
  }

  get gaps() {
    return this.seen.filter(({ gap }) => gap !== undefined);
  }

  // Connected, subscribed, and with a cursor.
  async ready() {
    await until(`${this.name} is there`, () => this.here);
    return this;
  }

  async saw(count, deadline_ms = 30_000) {
    await until(
      () => `${count} events at ${this.name}, so far ${this.ids.length}`,
      () => this.ids.length >= count,
      deadline_ms,
    );
    return this;
  }

  close() {
    this.closed = true;
    this.ended();
    this.end();
  }
}

class SocketIo extends Follower {
  recoveries = [];

  constructor(server, channels, options = {}) {
    super(server, channels, options);
    const { transports } = this.options;
    this.name = `Socket.IO over ${transports}`;
    this.socket = newest(server.url, {
      forceNew: true,
      transports,
      auth: (done) => done({ token: this.token }),
      reconnectionDelay: 20,
      reconnectionDelayMax: 200,
    });
    this.socket.onAny((event, ...args) => {
      if (event === "gap") return this.gap(args[0].channels, args[0].next);
      if (event.startsWith("tidings:") || event === "expiring") return;
      const [data, meta, id] = args;
      this.event({ id, channel: meta.channel, event, data });
    });
    this.socket.on("connect", () => {
      this.connects += 1;
      this.recoveries.push(this.socket.recovered);
      if (this.socket.recovered) this.here = true;
      else this.#subscribe();
    });
    this.socket.on("connect_error", (error) => (this.error = error));
    this.socket.on("disconnect", () => (this.here = false));
  }

  #subscribe() {
    const since = this.cursor ? { since: this.cursor } : {};
    this.socket.emit("subscribe", this.channels, since, (answer) => {
      this.answer = answer;
      if (!answer.ok) return;
      this.cursor ??= answer.cursor;
      this.here = true;
    });
  }

  // The connection goes, the client comes back by itself. One that is only just opening is left alone: closed then, the client's
  // Manager hears nothing of it and tries again after its `timeout` of 20 s.
  cut() {
    const { engine } = this.socket.io;
    if (engine.readyState === "open") engine.close();
  }

  end() {
    this.socket.disconnect();
  }
}

class WebSockets extends Follower {
  name = "/ws";

  constructor(...args) {
    super(...args);
    this.#connect();
  }

  #connect() {
    if (this.closed) return;
    const plain = (this.plain = new Plain(this.server, { token: this.token }));
    plain.ws.on("message", (text) => {
      const message = JSON.parse(text);
      if (message.type === "event") this.event(message);
      if (message.type === "gap") this.gap(message.channels, message.next);
      if (message.type === "welcome") this.#subscribe(plain);
      if (message.type === "error") this.error = message;
    });
    plain.closed.then(async () => {
      this.here = false;
      await pause(20);
      this.#connect();
    });
  }

  async #subscribe(plain) {
    try {
      const { cursor } = await plain.subscribe(this.channels, this.cursor);
      this.cursor ??= cursor;
      this.connects += 1;
      this.here = true;
    } catch (error) {
      this.error = error;
    }
  }

  cut() {
    this.plain.cut();
  }

  end() {
    this.plain.cut();
  }
}

class Events extends Follower {
  name = "EventSource";

  constructor(...args) {
    super(...args);
    this.#open();
  }

  #open() {
    if (this.closed) return;
    const pairs = [...this.channels.map((channel) => ["channel", channel]), ["access_token", this.token]];
    if (this.cursor) pairs.push(["lastEventId", this.cursor]);
    this.source = new EventSource(`${this.server.url}/sse?${query(pairs)}`);
    this.source.onopen = () => {
      this.connects += 1;
      this.here = true;
    };
    this.source.onmessage = ({ data, lastEventId }) => {
      const { channel, event, data: inner } = JSON.parse(data);
      this.event({ id: lastEventId, channel, event, data: inner });
    };
    this.source.addEventListener("gap", ({ data, lastEventId }) => {
      const { channels, next } = JSON.parse(data);
      if (lastEventId !== next) this.error = new Error(`a gap with the id ${lastEventId} and the next ${next}`);
      this.gap(channels, next);
    });
    this.source.onerror = async (error) => {
      this.here = false;
      this.error = error;
    };
  }

  // What an app does that doesn't want to wait for `retry`.
  cut() {
    this.here = false;
    this.source.close();
    this.#open();
  }

  end() {
    this.source.close();
  }
}

class Polls extends Follower {
  constructor(server, channels, { wait = 25, limit, between_ms = 0, ...options } = {}) {
    super(server, channels, options);
    this.name = wait > 0 ? "long poll" : "short poll";
    this.parameters = { wait, token: this.token, ...(limit ? { limit } : {}) };
    this.between_ms = between_ms;
    this.#follow();
  }

  async #follow() {
    while (!this.closed) {
      try {
        const since = this.cursor ? { since: this.cursor } : { wait: 1 };
        const started = (request) => {
          this.request = request;
          // one that has a cursor is there as soon as it has asked
          request.on("finish", () => {
            this.here = this.cursor !== undefined;
            this.connects += 1;
          });
        };
        const answer = await poll(this.server, this.channels, { ...this.parameters, ...since, started });
        if (answer.status !== 200) throw new Error(`${answer.status} ${answer.body}`);
        const { events, next, gap, gaps } = answer.json;
        if (gap) this.gap(gaps, next);
        for (const event of events) this.event(event);
        this.cursor = next;
        this.here = true;
        if (this.between_ms > 0) await pause(this.between_ms);
      } catch (error) {
        this.here = this.cursor !== undefined;
        this.error = error;
        await pause(20);
      }
    }
  }

  cut() {
    this.request?.destroy();
  }

  end() {
    this.request?.destroy();
  }
}

export const followers = {
  "Socket.IO over WebSocket": (server, channels, options) =>
    new SocketIo(server, channels, { ...options, transports: ["websocket"] }),
  "Socket.IO over polling": (server, channels, options) =>
    new SocketIo(server, channels, { ...options, transports: ["polling"] }),
  "/ws": (server, channels, options) => new WebSockets(server, channels, options),
  EventSource: (server, channels, options) => new Events(server, channels, options),
  "long poll": (server, channels, options) => new Polls(server, channels, options),
  "short poll": (server, channels, options) => new Polls(server, channels, { ...options, wait: 0, between_ms: 30 }),
};
