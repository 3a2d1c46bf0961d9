/*
THE E2E APP: one contract, written twice. This file is it on npm's `socket.io`; the Rust example `e2e-app` is it on the `tidings`
crate. The tests talk to either and compare. Whoever changes one changes the other.

START   prints one line on stdout, `ready http://127.0.0.1:PORT`, and ends with exit code 0 on SIGTERM. Environment, all optional:
          PORT 0 · PING_INTERVAL_MS 25000 · PING_TIMEOUT_MS 20000 · UPGRADE_TIMEOUT_MS 10000 · CONNECT_TIMEOUT_MS 45000
          MAX_PAYLOAD 1000000 (bytes) · SOCKET_PATH /socket.io · SERVE_CLIENT 1|0 · ALLOW_UPGRADES 1|0 · COOKIE 0|1
          ALLOWED_ORIGIN (one origin, or `*`; unset: the library's default)
        A request whose query has `refuse=TEXT` is refused by allow_request with the message TEXT (403, code 4).
        No rate limit, no recovery.

LOG     what the server saw, a list of objects; `id` is the socket's public id, `nsp` its namespace:
          {type:"connection", nsp, id, rooms}          first line of each connect handler (rooms = [own id])
          {type:"any", nsp, id, event, args}           on_any, namespace `/` only; args = their number without the ack;
                                                       not for seq and flood
          {type:"refused", nsp, id, event}             the event middleware refused it
          {type:"held", nsp, id}                       ack:late has stored its ack
          {type:"disconnecting", nsp, id, reason, rooms}   rooms still there
          {type:"disconnect", nsp, id, reason}
        `rooms` in any answer: array of names, in any order.

HTTP    on the same port, beside Socket.IO, JSON in and out (200):
          GET  /__log?after=N    {entries, next}: the log from position N (default 0) on; next = its length
          GET  /__stats          {connections, sockets}: Engine.IO sessions alive; sockets connected over all namespaces
          POST /__emit   OP      from outside a handler: emits as `op` below with from = "io"; OP also has nsp (default "/")
          POST /__sockets {nsp, in?, except?, op, rooms?, close?}   over the set io.of(nsp).in(..).except(..):
                 op "fetch" → {sockets:[{id, nsp, rooms, data}]} · "join" / "leave" (rooms) · "disconnect" (close: bool) → {}
          POST /__release        {released}: calls all acks that ack:late holds, with "late", and lets /slow go on
          POST /__close          answers {}, then io.close(), then prints `log ENTRIES` (the whole log as one JSON line) on
                                 stdout once every socket's disconnect was logged, and exits 0

OP      {from?: "socket"|"io", to?: [room], except?: [room], broadcast?: bool, volatile?: bool, local?: bool,
         timeout?: ms, event, args: [..]}
          target: io.of(nsp) or the socket; then .broadcast, .to(r) for each, .except(r) for each, .volatile, .local
          without timeout: emit(event, ...args) and the answer is {done:true}
          with timeout: emit with ack and the answer is {ok:true, responses:[..]} or {ok:false, message, responses:[..]}: the
          partial ones; one entry a client: the first argument of its ack; message = "operation has timed out".
          The socket alone (no to, except, broadcast): `responses` has its one answer, or none.

NAMESPACES, static but for the pattern. An ack is optional everywhere; "→ x" means that the ack, if any, is called with x.
  /          every event below.
  /admin     on connect emits welcome("admin") at once; `echo`, `op`, `join`, `bye`
  /auth      two connect middlewares, in this order; on connect joins `user:NAME`; `echo`, `data:get`, `handshake`, `room:join`,
             `chat:message`
               1 auth.token: absent → Error("token missing"), no data · "expired" → Error("token expired"), data
                 {code:"token_expired", at:1700000000, nested:[1,{a:null}]} · "good-NAME" → the socket's data = {user:NAME}
                 · anything else → Error("token refused"), data "plain text"
               2 user "banned" → Error("banned"), data {reason:"banned"}
  /slow      its connect middleware waits for /__release; `echo`
  /room-N    by pattern ^\/room-[0-9]+$: on connect emits room:hello(namespace); `echo`, `op`
  /n0 … /n199  `echo`
  others     "Invalid namespace"

EVENTS
  echo (..args)             with ack: ack(..args); without: emit echo(..args). Any number of arguments, binary anywhere
  seq (n)                   with ack: ack(n); without: emit seq(n)
  join (room) → rooms       leave (room) → rooms      rooms → rooms
  op (OP) → its answer      (from defaults to "socket")
  interleave ({room, count}) → "done"    joins room, then for i in 0..count: io.to(room).emit("a", i); socket.emit("b", i)
  flood (count) → "done"    emits flood(i) to the socket for i in 0..count
  big (n) → a string of n times "x"
  data:set (value) → value  data = {value};     data:get → data ({} at first)
  handshake → {auth, query, custom, address, issued, url, secure, xdomain}   query without EIO, transport, sid, t, b64; custom =
               header x-custom or null; address without "::ffff:"; issued = Unix ms of the handshake; url = its path, no query;
               secure = over TLS; xdomain = it had an Origin header
  bye (close) →             no answer: socket.disconnect(close)
  ack:late →                holds the ack until /__release
  room:join (roomId) → "room:"+roomId     joins that
  chat:message ({roomId, content}) → id   message = {id, user, roomId, content}, id counts from 1; emits chat:message(message) to
               room:{roomId} of the namespace, the sender too
  forbidden:… →             event middleware refuses each event whose name begins so, with Error("event refused"), data
                            {code:"forbidden"}; the handler, which would answer "handled", never runs
  any other event           nothing happens (on_any sees it)
*/
import { createServer } from "node:http";
import { Server } from "socket.io";

const env = process.env;
const number = (name, fallback) => (env[name] === undefined ? fallback : Number(env[name]));

const log = [];
const heldAcks = [];
const slowGates = [];
let savedMessages = 0;

const http = createServer(control);
const io = new Server(http, {
  path: env.SOCKET_PATH ?? "/socket.io",
  serveClient: env.SERVE_CLIENT !== "0",
  allowUpgrades: env.ALLOW_UPGRADES !== "0",
  cookie: env.COOKIE === "1",
  pingInterval: number("PING_INTERVAL_MS", 25000),
  pingTimeout: number("PING_TIMEOUT_MS", 20000),
  upgradeTimeout: number("UPGRADE_TIMEOUT_MS", 10000),
  connectTimeout: number("CONNECT_TIMEOUT_MS", 45000),
  maxHttpBufferSize: number("MAX_PAYLOAD", 1_000_000),
  cors: env.ALLOWED_ORIGIN ? { origin: env.ALLOWED_ORIGIN } : undefined,
  allowRequest(request, decide) {
    const refusal = new URL(request.url, "http://x").searchParams.get("refuse");
    decide(refusal, refusal === null);
  },
});

function refusal(message, data) {
  const error = new Error(message);
  if (data !== undefined) error.data = data;
  return error;
}

io.of("/").on("connection", (socket) => {
  observe(socket);
  socket.onAny((event, ...args) => {
    if (event === "seq" || event === "flood") return;
    const count = args.filter((arg) => typeof arg !== "function").length;
    log.push({ type: "any", nsp: "/", id: socket.id, event, args: count });
  });
  socket.use(([event], next) => {
    if (typeof event !== "string" || !event.startsWith("forbidden:")) return next();
    log.push({ type: "refused", nsp: "/", id: socket.id, event });
    next(refusal("event refused", { code: "forbidden" }));
  });
  for (const name of Object.keys(events)) socket.on(name, (...args) => events[name](socket, ...args));
});

const connectWith = (names, greet) => (socket) => {
  observe(socket);
  greet?.(socket);
  for (const name of names) socket.on(name, (...args) => events[name](socket, ...args));
};

io.of("/admin").on(
  "connection",
  connectWith(["echo", "op", "join", "bye"], (socket) => socket.emit("welcome", "admin")),
);

io.of("/auth")
  .use((socket, next) => {
    const { token } = socket.handshake.auth;
    if (token === undefined) return next(refusal("token missing"));
    if (token === "expired")
      return next(refusal("token expired", { code: "token_expired", at: 1700000000, nested: [1, { a: null }] }));
    if (typeof token !== "string" || !token.startsWith("good-")) return next(refusal("token refused", "plain text"));
    socket.data.user = token.slice("good-".length);
    next();
  })
  .use((socket, next) => next(socket.data.user === "banned" ? refusal("banned", { reason: "banned" }) : undefined))
  .on(
    "connection",
    connectWith(["echo", "data:get", "handshake", "room:join", "chat:message"], (socket) =>
      socket.join(`user:${socket.data.user}`),
    ),
  );

io.of("/slow")
  .use((_socket, next) => slowGates.push(next))
  .on("connection", connectWith(["echo"]));

io.of(/^\/room-[0-9]+$/).on(
  "connection",
  connectWith(["echo", "op"], (socket) => socket.emit("room:hello", socket.nsp.name)),
);

for (let n = 0; n < 200; n++) io.of(`/n${n}`).on("connection", connectWith(["echo"]));

function observe(socket) {
  const entry = (type, more) => log.push({ type, nsp: socket.nsp.name, id: socket.id, ...more });
  entry("connection", { rooms: [...socket.rooms] });
  socket.on("error", () => {}); // Node's own report of a refused event or packet; the log has it already
  socket.on("disconnecting", (reason) => entry("disconnecting", { reason, rooms: [...socket.rooms] }));
  socket.on("disconnect", (reason) => entry("disconnect", { reason }));
}

const events = {
  echo(socket, ...args) {
    const ack = takeAck(args);
    if (ack) ack(...args);
    else socket.emit("echo", ...args);
  },
  seq(socket, n, ack) {
    if (ack) ack(n);
    else socket.emit("seq", n);
  },
  join(socket, room, ack) {
    socket.join(room);
    ack?.([...socket.rooms]);
  },
  leave(socket, room, ack) {
    socket.leave(room);
    ack?.([...socket.rooms]);
  },
  rooms(socket, ack) {
    ack?.([...socket.rooms]);
  },
  async op(socket, op, ack) {
    const answer = await perform(op.from === "io" ? socket.nsp : socket, op, op.from !== "io");
    ack?.(answer);
  },
  interleave(socket, { room, count }, ack) {
    socket.join(room);
    for (let i = 0; i < count; i++) {
      io.to(room).emit("a", i);
      socket.emit("b", i);
    }
    ack?.("done");
  },
  flood(socket, count, ack) {
    for (let i = 0; i < count; i++) socket.emit("flood", i);
    ack?.("done");
  },
  big(_socket, n, ack) {
    ack?.("x".repeat(n));
  },
  "data:set"(socket, value, ack) {
    socket.data = { value };
    ack?.(value);
  },
  "data:get"(socket, ack) {
    ack?.(socket.data);
  },
  handshake(socket, ack) {
    const { auth, query, headers, address, issued, url, secure, xdomain } = socket.handshake;
    const transportKeys = ["EIO", "transport", "sid", "t", "b64"];
    ack?.({
      auth,
      query: Object.fromEntries(Object.entries(query).filter(([key]) => !transportKeys.includes(key))),
      custom: headers["x-custom"] ?? null,
      address: address.replace("::ffff:", ""),
      issued,
      url: url.split("?")[0],
      secure,
      xdomain,
    });
  },
  bye(socket, close) {
    socket.disconnect(close);
  },
  "ack:late"(socket, ack) {
    heldAcks.push(() => ack("late"));
    log.push({ type: "held", nsp: socket.nsp.name, id: socket.id });
  },
  "room:join"(socket, roomId, ack) {
    socket.join(`room:${roomId}`);
    ack?.(`room:${roomId}`);
  },
  "chat:message"(socket, { roomId, content }, ack) {
    const message = { id: ++savedMessages, user: socket.data.user, roomId, content };
    socket.nsp.to(`room:${roomId}`).emit("chat:message", message);
    ack?.(message.id);
  },
  "forbidden:event"(_socket, ack) {
    ack?.("handled");
  },
};

function takeAck(args) {
  return typeof args.at(-1) === "function" ? args.pop() : undefined;
}

async function perform(target, op, onSocket) {
  if (op.broadcast) target = target.broadcast;
  for (const room of op.to ?? []) target = target.to(room);
  for (const room of op.except ?? []) target = target.except(room);
  if (op.volatile) target = target.volatile;
  if (op.local) target = target.local;
  const args = op.args ?? [];
  if (op.timeout === undefined) {
    target.emit(op.event, ...args);
    return { done: true };
  }
  const alone = onSocket && !op.to?.length && !op.except?.length && !op.broadcast;
  try {
    const response = await target.timeout(op.timeout).emitWithAck(op.event, ...args);
    return { ok: true, responses: alone ? [response] : response };
  } catch (error) {
    return { ok: false, message: error.message, responses: error.responses ?? [] };
  }
}

async function control(request, response) {
  const url = new URL(request.url, "http://x");
  const answer = (value) => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(value));
  };
  let body = "";
  for await (const chunk of request) body += chunk;
  const input = body ? JSON.parse(body) : {};
  switch (`${request.method} ${url.pathname}`) {
    case "GET /__log":
      return answer({ entries: log.slice(Number(url.searchParams.get("after") ?? 0)), next: log.length });
    case "GET /__stats": {
      let sockets = 0;
      for (const namespace of io._nsps.values()) sockets += namespace.sockets.size;
      return answer({ connections: io.engine.clientsCount, sockets });
    }
    case "POST /__emit":
      return answer(await perform(io.of(input.nsp ?? "/"), input, false));
    case "POST /__sockets":
      return answer(await onSockets(input));
    case "POST /__release": {
      for (const gate of slowGates.splice(0)) gate();
      const released = heldAcks.splice(0);
      for (const ack of released) ack();
      return answer({ released: released.length });
    }
    case "POST /__close":
      response.setHeader("connection", "close");
      response.on("finish", close);
      return answer({});
    default:
      response.statusCode = 404;
      return response.end();
  }
}

async function onSockets({ nsp = "/", in: rooms = [], except = [], op, rooms: names, close: closeToo = false }) {
  let set = io.of(nsp);
  for (const room of rooms) set = set.in(room);
  for (const room of except) set = set.except(room);
  if (op === "fetch") {
    const sockets = await set.fetchSockets();
    return { sockets: sockets.map(({ id, rooms, data }) => ({ id, nsp, rooms: [...rooms], data })) };
  }
  if (op === "join") set.socketsJoin(names);
  if (op === "leave") set.socketsLeave(names);
  if (op === "disconnect") set.disconnectSockets(closeToo);
  return {};
}

async function close() {
  await io.close();
  process.stdout.write(`log ${JSON.stringify(log)}\n`, () => process.exit(0));
}

process.on("SIGTERM", () => process.exit(0));
http.listen(number("PORT", 0), "127.0.0.1", () => {
  console.log(`ready http://127.0.0.1:${http.address().port}`);
});
