// A chat's back end in Node behind Tidings: it decides who is in which room, saves each message, and only then has it sent.
//
//   npm install
//   export JWT_SECRET=… TIDINGS_HOOK_SECRET=… TIDINGS_API_KEY=…      # `openssl rand -hex 32` makes each
//   node server.mjs
//   tidings serve --config tidings.toml
//
// `tidings token --config tidings.toml --user ann --expires 1h` makes a token for `io(url, { auth: { token } })`.
import { createHmac, timingSafeEqual } from "node:crypto";
import express from "express";

const { TIDINGS_HOOK_SECRET, TIDINGS_API_KEY, TIDINGS_URL = "http://127.0.0.1:8080", PORT = 3000 } = process.env;

// What a database would hold.
const members = new Map([["room:1", ["ann", "bob"]], ["room:2", ["bob"]]]);
const messages = new Map(); // by the id of the call that brought them

const isMember = (user, room) => members.get(room)?.includes(user) ?? false;
const no = (code, message) => ({ error: { code, message } });

// What Tidings asks and tells, and the answers.
const hooks = {
  // Who has a good token may come in, and is in all of the own rooms at once.
  connect: ({ user }) => ({ subscribe: [...members.keys()].filter((room) => isMember(user, room)) }),
  subscribe: ({ user, channels }) => ({ allow: channels.every((room) => isMember(user, room)) }),
  event: ({ id, user, event, data }) => (event === "chat:message" ? say(id, user, data ?? {}) : no("unknown_event", `no ${event} here`)),
  disconnect: ({ user, reason, lasted_ms }) => console.log(`${user} was here for ${lasted_ms} ms: ${reason}`) ?? {},
};

function say(call, user, { room, text }) {
  if (!isMember(user, room)) return no("forbidden", "you are not in this room");
  if (typeof text !== "string" || text === "") return no("bad_request", "a message has a text");
  // A call that is made again has the same id: then the message is there already.
  if (!messages.has(call)) messages.set(call, { id: messages.size + 1, room, from: user, text });
  const message = messages.get(call);
  const others = members.get(room).filter((member) => member !== user);
  return {
    reply: { id: message.id },
    publish: [
      { channel: room, event: "chat:message", data: message, key: `message:${message.id}` },
      ...others.map((member) => ({ channel: `user:${member}`, event: "notification", data: { title: `${user} wrote in ${room}` } })),
    ],
  };
}

// Whether Tidings has sent this, and just now.
function isSigned(header, body) {
  const [, time, signature] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(header) ?? [];
  if (!signature || Math.abs(Date.now() / 1000 - time) > 300) return false;
  const expected = createHmac("sha256", TIDINGS_HOOK_SECRET).update(`${time}.`).update(body).digest();
  return timingSafeEqual(Buffer.from(signature, "hex"), expected);
}

const app = express();

// The signature is over the bytes as they came, so that they are not parsed before it is checked.
app.post("/tidings", express.raw({ type: "application/json", limit: "2mb" }), (request, response) => {
  if (!isSigned(request.get("tidings-signature"), request.body)) return response.status(400).json({ error: "not signed" });
  const call = JSON.parse(request.body);
  response.json(hooks[call.hook](call));
});

// What the back end has to say by itself goes through the server API. Who may call this is the app's to check.
app.post("/users/:user/notifications", express.json(), async (request, response) => {
  const published = await fetch(`${TIDINGS_URL}/api/v1/publish`, {
    method: "POST",
    headers: { authorization: `Bearer ${TIDINGS_API_KEY}`, "content-type": "application/json" },
    body: JSON.stringify({ channel: `user:${request.params.user}`, event: "notification", data: request.body }),
  });
  response.status(published.status).json(await published.json());
});

const server = app.listen(PORT, "127.0.0.1", () => console.log(`ready http://127.0.0.1:${server.address().port}`));
