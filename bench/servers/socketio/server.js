// npm `socket.io` with its defaults: everyone joins one room, `event` goes to the room.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http);

io.on("connection", (socket) => {
  socket.join("room");
  socket.on("event", (data) => {
    io.to("room").emit("event", data);
  });
});

http.listen(0, "127.0.0.1", 4096, () => {
  console.log(`ready 127.0.0.1:${http.address().port}`);
});

// The load generator holds our stdin open; when it is gone, so are we.
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
