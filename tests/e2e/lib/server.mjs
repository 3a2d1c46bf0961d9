// The `tidings` binary with a config, and users who talk to it through the newest stock client.
import { Client, newest } from "./clients.mjs";
import { startServer } from "./targets.mjs";
import { SECRET, tokenOf } from "./tokens.mjs";

export const ID = /^[0-9a-z]{8}-(0|[1-9][0-9]{0,15})$/;

// Rooms by claim, open channels, a public one, and everyone's own.
export const CHANNELS = `
[[channels]]
match = "room:*"
subscribe = "claims"
publish = "claims"
presence = true

[[channels]]
match = "user:{user}"
subscribe = "owner"
publish = "user"

[[channels]]
match = "open:*"
subscribe = "user"
publish = "user"
presence = true

[[channels]]
match = "public:*"
subscribe = "anyone"
publish = "user"

[[channels]]
match = "readonly:*"
subscribe = "user"
`;

export const AUTH = `
[auth]
hs256 = { env = "E2E_SECRET" }
`;

// The admin listener is off unless a test is about it: its default port is one for the whole machine.
export const QUIET = { TIDINGS_ADMIN__LISTEN: "off", E2E_SECRET: SECRET };

// `top` stands before the first table.
export const start = ({ top = "", more = "", auth = AUTH, channels = CHANNELS, env = {}, ...rest } = {}) =>
  startServer({ config: `${top}\n${auth}\n${channels}\n${more}`, env: { ...QUIET, ...env }, ...rest });

export const startDev = ({ env = {}, ...rest } = {}) => startServer({ env: { ...QUIET, ...env }, ...rest });

export async function serving(options, play) {
  const server = await start(options);
  try {
    await play(server);
  } finally {
    await server.stop("SIGKILL");
  }
}

// A user's client, not yet connected.
export function user(server, sub, { claims, token = tokenOf(sub, claims), transports = ["websocket"], ...options } = {}) {
  return new Client(newest, server.url, { transports, auth: { token }, ...options });
}

export const enter = (server, sub, options) => user(server, sub, options).connected();
