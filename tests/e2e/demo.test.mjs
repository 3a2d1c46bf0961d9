// The demo page's chat in a real browser: two tabs chat; the screenshots are in artifacts/ to look at.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { Client, newest } from "./lib/clients.mjs";
import { by, demo, DESKTOP, isLive, lines, messages, online, people, PHONE, picture, say, shows, sidewaysOf, texts, tokenFor } from "./lib/demo-page.mjs";
import { until } from "./lib/wait.mjs";

const { complaints, enter, restart, stop, tab, tabAs, url, withContext } = demo();

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
      assert.deepEqual(complaints(), []);
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
      await stop();
      await by(ann, "banner").waitFor({ state: "visible" });
      assert.match(await by(ann, "banner").textContent(), /Connection lost/);
      assert.equal(await ann.locator("#announcement").textContent(), "Connection lost.");
      await picture(ann, "away-desktop.png");
      // what is written meanwhile waits, in sight
      await say(ann, "meanwhile");
      await restart();
      // It may be back by itself before the button is reached.
      await by(ann, "banner-action").click({ timeout: 2000 }).catch(() => {});
      await Promise.all([online(ann), online(bob)]);
      await by(ann, "banner").waitFor({ state: "hidden" });
      await until("both see both", async () => (await people(ann)).length === 2 && (await people(bob)).length === 2);
      await shows(ann, "meanwhile");
      await say(bob, "after");
      await shows(ann, "after");
    }));

  test("who writes while the line breaks is heard once", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await tabAs(context, "Ann", "break");
      const bob = await tabAs(context, "Bob", "break");
      // the server may have taken it, and its answer is lost
      await by(ann, "composer").fill("is it there?");
      await ann.evaluate(() => {
        document.querySelector("[data-testid=send]").click();
        document.querySelector("[data-testid=cut]").click();
      });
      assert.equal(await by(ann, "state").textContent(), "cut");
      await by(ann, "banner-action").click();
      await isLive(ann, "chat");
      await say(ann, "yes");
      for (const page of [ann, bob]) {
        await shows(page, "yes");
        assert.deepEqual(await texts(page), ["is it there?", "yes"]);
      }
      assert.equal(await ann.locator("[data-status=failed]").count(), 0);
    }));

  test("what was said is there when a room opens, page by page", () =>
    withContext(DESKTOP, async (context) => {
      const token = await tokenFor(url(), "Eve");
      const eve = await new Client(newest, url(), { transports: ["websocket"], auth: { token } }).connected();
      const said = Array.from({ length: 120 }, (_, n) => `message ${n + 1}`);
      for (const text of said) assert.equal((await eve.ask("publish", "room:saved", "message", { text })).ok, true);
      eve.close();

      const ann = await tab(context, "saved");
      await shows(ann, "message 120");
      const first = await texts(ann);
      assert.ok(first.length < 120, "not all at once");
      assert.deepEqual(first, said.slice(-first.length));
      assert.ok(await ann.evaluate(() => document.querySelector("#log").scrollTop > 0), "the newest is in sight");

      // what is in sight stays where it is
      await by(ann, "messages").evaluate((log) => (log.scrollTop = 120));
      const place = () => by(ann, "message").nth(0).evaluate((item) => ({ text: item.querySelector(".text").textContent, top: item.getBoundingClientRect().top }));
      const before = await by(ann, "message").evaluateAll((all) => {
        const item = all.find((each) => each.getBoundingClientRect().top > 250);
        item.id = "seen";
        return item.getBoundingClientRect().top;
      });
      await until("an older page", async () => (await texts(ann)).length > first.length);
      const now = await ann.locator("#seen").evaluate((item) => item.getBoundingClientRect().top);
      assert.ok(Math.abs(now - before) < 2, `it moved from ${before} to ${now}`);

      // by the button, as with a keyboard or a screen reader, to the first
      await until("the first message", async () => {
        if ((await texts(ann)).length === 120) return true;
        if (await by(ann, "older").isVisible()) await by(ann, "older").press("Enter");
      });
      assert.deepEqual(await texts(ann), said);
      await by(ann, "older").waitFor({ state: "hidden" });
      assert.equal(await ann.locator("[data-missed]").count(), 0, "nothing of it was missed");
      assert.equal(new Set((await messages(ann)).map(({ id }) => id)).size, 120);
      assert.equal((await place()).text, "message 1");

      // what is said now comes below, and does not pull down who reads further up
      await by(ann, "messages").evaluate((log) => (log.scrollTop = 0));
      const bob = await tabAs(context, "Bob", "saved");
      await say(bob, "news");
      await shows(ann, "news");
      assert.equal((await texts(ann)).at(-1), "news");
      assert.equal(await by(ann, "messages").evaluate((log) => log.scrollTop), 0);
      await ann.locator("#jump").click();
      assert.ok(await by(ann, "messages").evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight < 2));
      assert.deepEqual(complaints(), []);
    }));

  test("a room that one comes back to has what was said meanwhile", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await tabAs(context, "Ann", "here");
      const bob = await tabAs(context, "Bob", "here");
      await say(bob, "one");
      await shows(ann, "one");
      await enter(ann, "Ann", "there");
      await isLive(ann, "chat");
      await say(bob, "two");
      await shows(bob, "two");
      await enter(ann, "Ann", "here");
      await shows(ann, "two");
      assert.deepEqual(await texts(ann), ["one", "two"]);
      assert.match((await lines(ann, "chat")).join(), /^missed while away, \d+ s$/);
    }));

  test("the chat outlives the server, where that has data", async () => {
    const data = mkdtempSync(join(tmpdir(), "tidings-demo-"));
    const args = ["--data", data];
    try {
      await stop();
      await restart(args);
      await withContext(DESKTOP, async (context) => {
        const ann = await tabAs(context, "Ann", "kept");
        const bob = await tabAs(context, "Bob", "kept");
        await say(ann, "one");
        await shows(bob, "one");
        // Bob misses what is said before the server's end, and what is said after it
        await by(bob, "cut").click();
        await say(ann, "two");
        await until("an answer", async () => (await messages(ann)).at(-1)?.id !== undefined);
        await stop("SIGKILL");
        await by(ann, "banner").waitFor({ state: "visible" });
        await say(ann, "three");
        await restart(args);
        await isLive(ann, "chat");
        await until("three is kept", async () => (await messages(ann)).at(-1)?.id !== undefined);
        await by(bob, "cut").click();
        await shows(bob, "three");
        await say(bob, "four");
        await shows(ann, "four");
        const all = ["one", "two", "three", "four"];
        for (const page of [ann, bob]) {
          assert.deepEqual(await texts(page), all);
          assert.equal((await lines(page, "chat")).filter((line) => /kept/.test(line)).length, 0, "nothing is lost");
        }
        assert.deepEqual((await messages(bob)).map(({ missed }) => missed), [false, true, true, false]);
        assert.deepEqual(await messages(ann).then((list) => list.map(({ id }) => id)), await messages(bob).then((list) => list.map(({ id }) => id)));

        // and for who comes only now
        const eve = await tab(context, "kept");
        await shows(eve, "four");
        assert.deepEqual(await texts(eve), all);
      });
    } finally {
      await stop("SIGKILL");
      await restart();
      rmSync(data, { recursive: true });
    }
  });

  test("what is lost with a server that has no data is said", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await tabAs(context, "Ann", "lost");
      await say(ann, "before");
      await shows(ann, "before");
      await stop("SIGKILL");
      await restart();
      await isLive(ann, "chat");
      assert.deepEqual(await lines(ann, "chat"), ["some messages are no longer kept"]);
      await say(ann, "after");
      await until("an answer", async () => (await messages(ann)).at(-1)?.id !== undefined);
      assert.deepEqual(await texts(ann), ["before", "after"]);
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
      const token = await tokenFor(url(), "<i>Eve</i>");
      const eve = await new Client(newest, url(), { transports: ["websocket"], auth: { token } }).connected();
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
      assert.deepEqual(complaints(), []);
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
          await picture(ann, `chat-${name}-${colorScheme}.png`);
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
      await picture(ann, "chat-narrow.png");
    }));
});
