// npm `ws` with its defaults: a message on `/room/NAME` goes to all that are connected there, one on `/echo` comes back.
import { createServer } from "node:http";
import { WebSocket, WebSocketServer } from "ws";
import { endWithStdin, ready } from "./process.js";

const server = createServer();
const sockets = new WebSocketServer({ server });
const rooms = new Map();

sockets.on("connection", (socket, request) => {
  if (request.url === "/echo") {
    socket.on("message", (data, binary) => socket.send(data, { binary }));
    return;
  }
  const room = rooms.get(request.url) ?? new Set();
  rooms.set(request.url, room.add(socket));
  socket.on("message", (data, binary) => {
    for (const member of room) {
      if (member.readyState === WebSocket.OPEN) {
        member.send(data, { binary });
      }
    }
  });
  socket.on("close", () => room.delete(socket));
});

server.listen(0, "127.0.0.1", 4096, () => ready(server.address().port));
endWithStdin();
