// npm `socket.io` with its defaults, on `ws`, or on uWebSockets.js when it is called with `uws`.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { endWithStdin, ready } from "./process.js";

const io = new Server();

// Whoever connects joins the room it names; `event` goes to that room, `ask` is answered with what it brings.
io.on("connection", (socket) => {
  const room = socket.handshake.auth.room;
  socket.join(room);
  socket.on("event", (data) => {
    io.to(room).emit("event", data);
  });
  socket.on("ask", (data, answer) => {
    answer(data);
  });
});

if (process.argv[2] === "uws") {
  const { default: uws } = await import("uwebsockets");
  const app = uws.App();
  io.attachApp(app);
  app.listen("127.0.0.1", 0, (socket) => ready(uws.us_socket_local_port(socket)));
} else {
  const http = createServer();
  io.attach(http);
  http.listen(0, "127.0.0.1", 4096, () => ready(http.address().port));
}
endWithStdin();
