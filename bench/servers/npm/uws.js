// uWebSockets.js with its defaults: a message on `/room/NAME` goes to all that are connected there, one on `/echo` comes
// back.
import uws from "uwebsockets";
import { endWithStdin, ready } from "./process.js";

// The default, 16 KiB, is less than the largest message of the benchmark.
const maxPayloadLength = 1024 * 1024;

const app = uws.App();

app.ws("/room/:name", {
  maxPayloadLength,
  upgrade: (response, request, context) => {
    response.upgrade(
      { room: request.getParameter(0) },
      request.getHeader("sec-websocket-key"),
      request.getHeader("sec-websocket-protocol"),
      request.getHeader("sec-websocket-extensions"),
      context,
    );
  },
  open: (socket) => {
    socket.subscribe(socket.getUserData().room);
  },
  message: (socket, message, isBinary) => {
    app.publish(socket.getUserData().room, message, isBinary);
  },
});

app.ws("/echo", {
  maxPayloadLength,
  message: (socket, message, isBinary) => {
    socket.send(message, isBinary);
  },
});

app.listen("127.0.0.1", 0, (socket) => ready(uws.us_socket_local_port(socket)));
endWithStdin();
