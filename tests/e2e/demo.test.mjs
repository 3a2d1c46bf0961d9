// The demo page in a real browser: two tabs chat; the screenshots are in artifacts/ to look at.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { chromium } from "playwright-core";
import { Client, newest } from "./lib/clients.mjs";
import { startDev } from "./lib/server.mjs";
import { freePort } from "./lib/targets.mjs";
import { DEADLINE_MS, until } from "./lib/wait.mjs";

const artifacts = join(import.meta.dirname, "artifacts");
mkdirSync(artifacts, { recursive: true });

const DESKTOP = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

let browser;
let server;
let listen;
let complaints = [];

before(async () => {
  listen = `127.0.0.1:${await freePort()}`;
  server = await startDev({ listen });
  browser = await chromium.launch({
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
});
after(async () => {
  await browser?.close();
  await server?.stop("SIGKILL");
});
beforeEach(() => (complaints = []));

const by = (page, id) => page.getByTestId(id);

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

const online = (page) => page.waitForFunction(() => document.body.dataset.connection === "online");

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

const people = (page) => page.locator("[data-testid=person] .person-name").allTextContents();
const texts = (page) => by(page, "message-text").allTextContents();

async function say(page, text) {
  await by(page, "composer").fill(text);
  await by(page, "send").click();
}

const shows = (page, text) => until(`"${text}" on the page`, async () => (await texts(page)).includes(text));

async function withContext(options, play) {
  const context = await browser.newContext({ locale: "en-GB", ...options });
  try {
    await play(context);
  } finally {
    await context.close();
  }
}

// A tab behind another one stands still in the middle of its animations.
const picture = (page, path) => page.screenshot({ path, animations: "disabled" });

const sidewaysOf = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

describe("the demo", () => {
  test("two tabs chat: text, sender, time, who is here", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await tabAs(context, "Ann", "tea");
      const bob = await tabAs(context, "Bob", "tea");
      await until("both see both", async () =>
        (await Promise.all([ann, bob].map(people))).every((names) => names.length === 2 && names.includes("Ann") && names.includes("Bob")),
      );
      assert.match(await by(ann, "count").textContent(), /2/);

      await say(ann, "Shall we have tea?");
      await shows(bob, "Shall we have tea?");
      await say(bob, "Gladly.");
      await shows(ann, "Gladly.");
      assert.deepEqual(await texts(ann), await texts(bob));
      assert.deepEqual(await by(bob, "message-sender").allTextContents(), ["Ann", "Bob"]);
      const times = await by(bob, "message-time").evaluateAll((all) => all.map((time) => Date.parse(time.dateTime)));
      for (const time of times) assert.ok(Math.abs(time - Date.now()) < 60_000);
      assert.deepEqual(times, await by(ann, "message-time").evaluateAll((all) => all.map((time) => Date.parse(time.dateTime))), "the server's time is the same in both");
      assert.equal(await ann.locator("[data-testid=message][data-mine]").count(), 1);
      assert.match(await by(ann, "last-id").textContent(), /^[0-9a-z]{8}-\d+$/);
      assert.match(await by(ann, "transport").textContent(), /websocket/);

      await bob.close();
      await until("Bob has left", async () => (await people(ann)).join() === "Ann");
      assert.deepEqual(complaints, []);
    }));

  test("rooms are apart", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await tabAs(context, "Ann", "left");
      const bob = await tabAs(context, "Bob", "right");
      await say(ann, "only on the left");
      await shows(ann, "only on the left");
      await enter(ann, "Ann", "right");
      await say(ann, "now on the right");
      await shows(bob, "now on the right");
      assert.deepEqual(await texts(bob), ["now on the right"]);
    }));

  test("somebody is typing", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await tabAs(context, "Ann", "typing");
      const bob = await tabAs(context, "Bob", "typing");
      // such a hint may be dropped, and comes again while one types
      await until("the note", async () => {
        await by(ann, "composer").pressSequentially("I am ");
        return /Ann is typing/.test(await by(bob, "typing").textContent());
      });
      await by(ann, "send").click();
      await until("the note is gone", async () => (await by(bob, "typing").textContent()) === "");
      assert.equal(await by(ann, "typing").textContent(), "", "one's own is no news");
    }));

  test("the server goes away and comes back", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await tabAs(context, "Ann", "away");
      const bob = await tabAs(context, "Bob", "away");
      await say(ann, "before");
      await shows(bob, "before");
      await server.stop();
      await by(ann, "banner").waitFor({ state: "visible" });
      assert.match(await by(ann, "banner").textContent(), /Connection lost/);
      assert.equal(await ann.locator("#announcement").textContent(), "Connection lost.");
      await picture(ann, join(artifacts, "away-desktop.png"));
      // what is written meanwhile waits, in sight
      await say(ann, "meanwhile");
      server = await startDev({ listen });
      // It may be back by itself before the button is reached.
      await by(ann, "banner-action").click({ timeout: 2000 }).catch(() => {});
      await Promise.all([online(ann), online(bob)]);
      await by(ann, "banner").waitFor({ state: "hidden" });
      await until("both see both", async () => (await people(ann)).length === 2 && (await people(bob)).length === 2);
      await shows(ann, "meanwhile");
      await say(bob, "after");
      await shows(ann, "after");
    }));

  test("a cut connection heals by itself", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await tabAs(context, "Ann", "cut");
      await by(ann, "cut").click();
      await by(ann, "banner").waitFor({ state: "visible" });
      await by(ann, "banner").waitFor({ state: "hidden" });
      await say(ann, "healed");
      await shows(ann, "healed");
    }));

  test("with the keyboard alone", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await tab(context, "keys");
      const focus = () => ann.evaluate(() => document.activeElement.id);
      const tabTo = async (id, key = "Tab") => {
        for (let n = 0; n < 30 && (await focus()) !== id; n++) await ann.keyboard.press(key);
        assert.equal(await focus(), id);
        const seen = await ann.evaluate(() => {
          const style = getComputedStyle(document.activeElement);
          return document.activeElement.matches(":focus-visible") && (style.outlineStyle !== "none" || style.boxShadow !== "none");
        });
        assert.ok(seen, `the focus on ${id} can be seen`);
      };
      await tabTo("name", "Shift+Tab");
      await ann.keyboard.press("Control+A");
      await ann.keyboard.type("Ann");
      await tabTo("room");
      await ann.keyboard.press("Control+A");
      await ann.keyboard.type("keys too");
      await ann.keyboard.press("Enter");
      await until("Ann is here", async () => (await people(ann)).includes("Ann"));
      assert.match(await by(ann, "room-title").textContent(), /keys too/);
      await tabTo("composer");
      await ann.keyboard.type("one");
      await ann.keyboard.press("Shift+Enter");
      await ann.keyboard.type("two");
      await ann.keyboard.press("Enter");
      await shows(ann, "one\ntwo");
      assert.equal(await focus(), "composer");
      await ann.keyboard.press("Enter");
      assert.equal((await texts(ann)).length, 1, "nothing is not sent");
    }));

  test("what people write is text, whatever it looks like", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await tabAs(context, "<b>Ann</b>", "markup");
      const bob = await tabAs(context, "Bob", "markup");
      const nasty = [
        '<img src=x onerror="window.hacked=1">',
        "<script>window.hacked=1</script>",
        "[x](javascript:window.hacked=1)",
        '"\'><svg onload=window.hacked=1>',
        "\u202eright to left",
      ];
      for (const text of nasty) {
        await say(ann, text);
        await shows(bob, text);
      }
      // and from a client that isn't the page, with data that isn't the page's
      const { token } = await (
        await fetch(`http://${listen}/demo/token`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ name: "<i>Eve</i>" }),
        })
      ).json();
      const eve = await new Client(newest, `http://${listen}`, { transports: ["websocket"], auth: { token } }).connected();
      const html = "<img src=x onerror=window.hacked=1>";
      for (const data of [{ text: html }, { text: { toString: html } }, null, [html], 7, { text: html, nonce: html }])
        assert.equal((await eve.ask("publish", "room:markup", "message", data)).ok, true);
      assert.equal((await eve.ask("publish", "room:markup", "typing", { on: true }, { volatile: true })).ok, true);
      await say(bob, "end");
      for (const page of [ann, bob]) {
        await shows(page, "end");
        assert.equal(await page.evaluate(() => window.hacked), undefined);
        assert.equal(await page.locator("#messages :is(img, script, svg, b, i, a)").count(), 0);
        assert.equal(await page.locator("#people :is(b, i), #typing :is(b, i)").count(), 0);
      }
      assert.ok((await by(bob, "message-sender").allTextContents()).includes("<i>Eve</i>"));
      eve.close();
      assert.deepEqual(complaints, []);
    }));

  for (const [name, options] of Object.entries({ phone: PHONE, desktop: DESKTOP })) {
    for (const colorScheme of ["light", "dark"]) {
      test(`fits on a ${name}, ${colorScheme}`, () =>
        withContext({ ...options, colorScheme }, async (context) => {
          const room = `${name}-${colorScheme}`;
          const ann = await tabAs(context, "Ann Lark", room);
          const bob = await tabAs(context, "Bob Heron", room);
          await say(ann, "Good morning! Has anybody seen the release notes?");
          await shows(bob, "Good morning! Has anybody seen the release notes?");
          await say(bob, "Yes: one binary, and the tab next door gets every word. A long line follows to see how it wraps on a narrow screen.");
          await say(bob, "https://example.org/a/very/long/address/that/has/no/place/to/break/but/must/not/push/the/page/aside/" + "x".repeat(80));
          await say(ann, "Then I am next door.");
          await shows(bob, "Then I am next door.");
          await by(bob, "composer").pressSequentially("so");
          await until("the note", async () => {
            if (/typing/.test(await by(ann, "typing").textContent())) return true;
            await by(bob, "composer").pressSequentially(" so");
          });
          await until("nothing is on its way", async () => (await ann.locator("[data-status=waiting], [data-status=flying]").count()) === 0);
          await picture(ann, join(artifacts, `chat-${name}-${colorScheme}.png`));
          assert.equal(await sidewaysOf(ann), 0, "nothing sticks out at the side");
          const { bottom, height } = await ann.evaluate(() => {
            const { bottom } = document.querySelector("[data-testid=send]").getBoundingClientRect();
            return { bottom, height: innerHeight };
          });
          assert.ok(bottom <= height, "the button to send is in sight");
        }));
    }
  }

  test("fits on a screen 320 pixels wide", () =>
    withContext({ ...PHONE, viewport: { width: 320, height: 568 } }, async (context) => {
      const ann = await tabAs(context, "Ann with a very long name indeed", "narrow");
      await say(ann, "x".repeat(300));
      await shows(ann, "x".repeat(300));
      assert.equal(await sidewaysOf(ann), 0);
      await picture(ann, join(artifacts, "chat-narrow.png"));
    }));
});
