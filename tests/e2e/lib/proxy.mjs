// A TCP proxy between a client and the server: what networks do to connections, on demand.
import net from "node:net";
import { once } from "node:events";
import { endLater } from "./leftovers.mjs";

export class Proxy {
  #pairs = new Set();
  #server;
  #down = false;
  #stalled = false;
  accepted = 0;
  passed = ""; // the last kilobytes that the server said

  constructor(port) {
    this.target = port;
  }

  static async to(server) {
    const proxy = new Proxy(server.port);
    proxy.#server = net.createServer((client) => proxy.#accept(client));
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    proxy.port = proxy.#server.address().port;
    proxy.url = `http://127.0.0.1:${proxy.port}`;
    proxy.ended = endLater(() => proxy.close());
    return proxy;
  }

  #accept(client) {
    this.accepted += 1;
    if (this.#down) return void client.resetAndDestroy();
    const server = net.connect(this.target, "127.0.0.1");
    const pair = { client, server };
    this.#pairs.add(pair);
    server.on("data", (chunk) => (this.passed = (this.passed + chunk.toString("latin1")).slice(-8192)));
    client.setNoDelay(true);
    server.setNoDelay(true);
    if (this.#stalled) this.#pause(pair);
    else {
      client.pipe(server);
      server.pipe(client);
    }
    const end = () => this.#pairs.delete(pair);
    for (const [side, other] of [
      [client, server],
      [server, client],
    ]) {
      side.on("error", () => {});
      side.on("close", () => {
        if (pair.halfOpen && side === client) return;
        end();
        other.destroy();
      });
    }
  }

  #pause({ client, server }) {
    client.unpipe(server);
    server.unpipe(client);
    client.pause();
    server.pause();
  }

  get open() {
    return this.#pairs.size;
  }

  // Both sides see their connections end; new ones are accepted unless it is `down`.
  cut() {
    for (const { client, server } of this.#pairs) {
      client.resetAndDestroy();
      server.resetAndDestroy();
    }
  }

  // The client sees the end, the server doesn't: a half-open connection. Returns what ends the server's side too.
  cutClientSide() {
    const left = [...this.#pairs];
    for (const pair of left) {
      pair.halfOpen = true;
      pair.client.resetAndDestroy();
      pair.server.unpipe();
      pair.server.resume(); // a lost client's network takes what is sent for a while
    }
    return () => left.forEach(({ server }) => server.resetAndDestroy());
  }

  // Nobody comes through until `up`.
  down() {
    this.#down = true;
    this.cut();
  }

  // The same, but the client gets what was on its way to it: an end instead of a reset.
  finish() {
    this.#down = true;
    for (const { client, server } of this.#pairs) {
      client.end();
      server.resetAndDestroy();
    }
  }

  up() {
    this.#down = false;
  }

  // Connections stay, bytes don't move.
  stall() {
    this.#stalled = true;
    for (const pair of this.#pairs) this.#pause(pair);
  }

  flow() {
    this.#stalled = false;
    for (const { client, server } of this.#pairs) {
      client.pipe(server);
      server.pipe(client);
    }
  }

  close() {
    this.ended?.();
    this.#server.close();
    this.cut();
  }
}
