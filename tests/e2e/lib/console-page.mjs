// The console of a `tidings` server: its API as a browser asks it, and its page in a real one.
import { after, before } from "node:test";
import { launch } from "./demo-page.mjs";
import { request } from "./http.mjs";
import { start, startDev } from "./server.mjs";
import { freePort } from "./targets.mjs";
import { DEADLINE_MS } from "./wait.mjs";

export const PASSWORD = "correct horse battery";

// A server with a console: `console` is the console's address, beside what servers have.
export async function startWithConsole({ dev = false, password = PASSWORD, port, env = {}, ...options } = {}) {
  port ??= await freePort();
  const all = { TIDINGS_ADMIN__LISTEN: `127.0.0.1:${port}`, ...env };
  if (password && !dev) all.TIDINGS_ADMIN__PASSWORD = password;
  const server = await (dev ? startDev : start)({ ...options, env: all });
  server.admin = `http://127.0.0.1:${port}`;
  server.adminPort = port;
  return server;
}

// Asks the console's API as its page does, with a cookie if there is one: `{status, headers, body, json}`.
export async function ask(server, method, path, { cookie, origin = server.admin, value, host } = {}) {
  const headers = {};
  if (cookie) headers.cookie = cookie;
  if (origin) headers.origin = origin;
  if (host) headers.host = host;
  const answer = await request(method, `${server.admin}/console/${path}`, { headers, body: value === undefined ? undefined : JSON.stringify(value) });
  const isJson = /json/.test(answer.headers["content-type"] ?? "");
  return { ...answer, json: isJson ? JSON.parse(answer.body) : undefined };
}

// Signs in, and answers the cookie.
export async function signIn(server, password = PASSWORD) {
  const { headers } = await ask(server, "POST", "api/login", { value: { password } });
  return headers["set-cookie"]?.[0].split(";")[0];
}

// One browser for a file's tests. What pages complain of is in `complaints`, but for answers that are refusals.
export function browsing() {
  let browser;
  let complaints = [];
  before(async () => (browser = await launch()));
  after(() => browser?.close());

  async function open(options, server, play, hash = "") {
    complaints = [];
    const context = await browser.newContext({ locale: "en-GB", ...options });
    try {
      const page = await context.newPage();
      page.setDefaultTimeout(DEADLINE_MS);
      page.on("pageerror", (error) => complaints.push(String(error)));
      page.on("console", (message) => message.type() === "error" && !/Failed to load resource/.test(message.text()) && complaints.push(message.text()));
      page.on("request", (asked) => new URL(asked.url()).origin === server.admin || complaints.push(`it asks ${asked.url()}`));
      await page.addInitScript(() =>
        document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => console.error(`CSP ${violatedDirective} ${blockedURI}`)),
      );
      await page.goto(`${server.admin}/console/${hash}`);
      await page.waitForFunction(() => "ready" in document.body.dataset);
      await play(page, context);
    } finally {
      await context.close();
    }
  }

  return { open, complaints: () => complaints };
}

export async function enterPassword(page, password = PASSWORD) {
  await page.getByTestId("password").fill(password);
  await page.getByTestId("sign-in").click();
}

export async function signInOn(page) {
  await enterPassword(page);
  await page.locator("#top").waitFor({ state: "visible" });
}

export const visit = (page, hash) => page.evaluate((hash) => (location.hash = hash), hash);
