// The demo page in a real browser: how tests open it, read it and use it as a person does.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach } from "node:test";
import { chromium } from "playwright-core";
import { startDev } from "./server.mjs";
import { freePort } from "./targets.mjs";
import { DEADLINE_MS, until } from "./wait.mjs";

const artifacts = join(import.meta.dirname, "../artifacts");
mkdirSync(artifacts, { recursive: true });

export const DESKTOP = { viewport: { width: 1280, height: 800 } };
export const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });

// One browser and one server with --dev for a file's tests; a restart keeps its address. `complaints()` is what the pages of this
// test said on their consoles.
export function demo() {
  let browser;
  let server;
  let listen;
  let complaints = [];

  before(async () => {
    listen = `127.0.0.1:${await freePort()}`;
    server = await startDev({ listen });
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await server?.stop("SIGKILL");
  });
  beforeEach(() => (complaints = []));

  async function tab(context, room) {
    const page = await context.newPage();
    page.setDefaultTimeout(DEADLINE_MS);
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    page.on("dialog", (dialog) => {
      complaints.push(`a dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    await page.goto(`http://${listen}/demo/#${encodeURIComponent(room)}`);
    await online(page);
    return page;
  }

  // Joins as this name: the way a person does.
  async function enter(page, name, room) {
    await by(page, "name-input").fill(name);
    await by(page, "room-input").fill(room);
    await by(page, "join").click();
    await until(`${name} is here`, async () => (await people(page)).includes(name));
  }

  async function tabAs(context, name, room) {
    const page = await tab(context, room);
    await enter(page, name, room);
    return page;
  }

  async function withContext(options, play) {
    const context = await browser.newContext({ locale: "en-GB", ...options });
    try {
      await play(context);
    } finally {
      await context.close();
    }
  }

  return {
    complaints: () => complaints,
    enter,
    stop: (signal) => server.stop(signal),
    restart: async (args = [], env = {}) => (server = await startDev({ listen, args, env })),
    tab,
    tabAs,
    url: () => `http://${listen}`,
    withContext,
  };
}

export const by = (page, id) => page.getByTestId(id);

export const online = (page) => page.waitForFunction(() => document.body.dataset.connection === "online");

export const people = (page) => page.locator("[data-testid=person] .person-name").allTextContents();
export const texts = (page) => by(page, "message-text").allTextContents();

export async function say(page, text) {
  await by(page, "composer").fill(text);
  await by(page, "send").click();
}

export const shows = (page, text) => until(`"${text}" on the page`, async () => (await texts(page)).includes(text));

// A tab behind another one stands still in the middle of its animations.
export const picture = (page, name) => page.screenshot({ path: join(artifacts, name), animations: "disabled" });

export const sidewaysOf = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

// What the page gets its tokens from.
export async function tokenFor(url, name) {
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${url}/demo/token`, { method: "POST", headers, body: JSON.stringify({ name }) });
  return (await response.json()).token;
}

// ---- panels: `chat`, `notify`, `status`, `longpoll`, `board`

const part = (page, panel, name) => page.locator(`#${panel} [data-part="${name}"]`);

export const stateOf = (page, panel) => part(page, panel, "state").textContent();
export const lastId = (page, panel) => part(page, panel, "last-id").textContent();
export const countOf = async (page, panel) => parseInt(await part(page, panel, "count").textContent(), 10);

export const isIn = (page, panel, state) => until(`${panel} is ${state}`, async () => (await stateOf(page, panel)) === state);
export const isLive = (page, ...panels) => Promise.all(panels.map((panel) => isIn(page, panel, "live")));

// The one button cuts, and lets it come back.
export const toggle = (page, panel) => part(page, panel, "cut").click();

// What a list shows, in its order: `{id, text, missed}`.
export const messages = (page) =>
  by(page, "message").evaluateAll((all) =>
    all.map((item) => ({
      id: item.dataset.id,
      text: item.querySelector(".text").textContent,
      missed: item.hasAttribute("data-missed"),
    })),
  );
export const items = (page, panel) =>
  page.locator(`#${panel} [data-testid=item]`).evaluateAll((all) =>
    all.map((item) => ({
      id: item.dataset.id,
      text: [...item.querySelector(".item-text").childNodes].at(-1).textContent,
      missed: item.hasAttribute("data-missed"),
    })),
  );
export const lines = (page, panel) => page.locator(`#${panel} .line`).allTextContents();

// ---- the board

// The others' pointers, `{user, x, y}` by name; and one's own, `{x, y}`, where it is there.
export const cursors = (page) =>
  by(page, "cursor").evaluateAll((all) =>
    all
      .map(({ style, textContent }) => ({ user: textContent, x: Number(style.getPropertyValue("--x")), y: Number(style.getPropertyValue("--y")) }))
      .sort((a, b) => (a.user < b.user ? -1 : 1)),
  );
export const ownCursor = (page) =>
  by(page, "ring").evaluate(({ hidden, style }) =>
    hidden ? undefined : { x: Number(style.getPropertyValue("--x")), y: Number(style.getPropertyValue("--y")) },
  );

// Moves the mouse there, `x` and `y` as fractions of the board, in so many steps.
export async function pointAt(page, x, y, steps = 1) {
  const { left, top, width, height } = await planeOf(page);
  await page.mouse.move(left + x * width, top + y * height, { steps });
}
export const planeOf = (page) =>
  by(page, "plane").evaluate((plane) => {
    const { left, top, width, height } = plane.getBoundingClientRect();
    return { left, top, width, height };
  });

export const tally = async (page, name) => Number(await by(page, `board-${name}`).textContent());
