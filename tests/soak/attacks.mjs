// Those that mean no good, beside the others.
import net from "node:net";
import { createRequire } from "node:module";

const WebSocket = createRequire(new URL("../e2e/package.json", import.meta.url))("ws");

const HELD_MS = 4_000;

// Far more messages than a client may send; how many were refused.
export function flood(url, token) {
  return new Promise((done) => {
    const ws = new WebSocket(`${url.replace("http", "ws")}/ws?access_token=${token}`, { perMessageDeflate: false });
    let refused = 0;
    ws.on("open", () => {
      for (let n = 0; n < 2_000; n += 1) ws.send(`{"type":"ping","id":${n}}`);
      setTimeout(() => ws.terminate(), HELD_MS);
    });
    ws.on("message", (data) => (refused += String(data).includes("rate_limited") ? 1 : 0));
    ws.on("error", () => {});
    ws.on("close", () => done(refused));
  });
}

const JUNK = [
  "",
  "GET /ws HTTP/1.1\r\nhost: a\r\n",
  "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
  "GET /sse?channel=room:1 HTTP/1.1\r\nhost: a\r\norigin: https://evil.example\r\n\r\n",
  "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: a\r\n\r\n",
  "POST /api/v1/publish HTTP/1.1\r\nhost: a\r\nauthorization: Bearer x\r\ncontent-length: 1000000\r\n\r\n{",
  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "\x16\x03\x01\x02\x00\x01\x00",
  "\r\n\r\n\0\0\0\0 nonsense",
];

// A connection that says something that is none of a client's, or nothing, and hangs on for a while.
export function junk(port, number) {
  const socket = net.connect(port, "127.0.0.1", () => socket.write(JUNK[number % JUNK.length], "latin1"));
  socket.on("error", () => {});
  socket.resume();
  setTimeout(() => socket.destroy(), HELD_MS * 2);
}
