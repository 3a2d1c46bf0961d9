// The demo page's panels in a real browser: each is cut, misses something, comes back and has it, once.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client, newest } from "./lib/clients.mjs";
import { by, countOf, demo, DESKTOP, isIn, isLive, items, lastId, lines, messages, PHONE, picture, say, shows, sidewaysOf, stateOf, toggle, tokenFor } from "./lib/demo-page.mjs";
import { now, SECRET, tokenOf } from "./lib/tokens.mjs";
import { until } from "./lib/wait.mjs";

const ALL = ["chat", "notify", "status", "longpoll", "board"];
const ROOM = { chat: messages, longpoll: (page) => items(page, "longpoll") };

const { complaints, enter, restart, stop, tab, tabAs, url, withContext } = demo();

let eve;
async function eveComes() {
  const token = await tokenFor(url(), "Eve");
  eve = await new Client(newest, url(), { transports: ["websocket"], auth: { token } }).connected();
}

const told = async (room, text) => {
  const { id } = await eve.ask("publish", `room:${room}`, "message", { text });
  assert.ok(id);
  return id;
};
const textsOf = async (list) => (await list).map(({ text }) => text);
const idsOf = async (list) => (await list).map(({ id }) => id);
const holds = (what, list, id) => until(what, async () => (await idsOf(list())).includes(id));

// The number on the badge; nothing where there is none.
const unreadOf = (page) => by(page, "notify-unread").evaluate((badge) => (badge.hidden ? "" : badge.querySelector("[data-part]").textContent));
const isUnread = (page, number) => until(`${number || "nothing"} unread`, async () => (await unreadOf(page)) === number);

// Notifications are the page's own, so their ids are told by the page's request.
async function notify(page) {
  const answered = page.waitForResponse((response) => /\/demo\/notify$/.test(response.url()) && response.status() !== 401);
  const [answer] = await Promise.all([answered, by(page, "notify-me").click()]);
  assert.equal(answer.status(), 200);
  return (await answer.json()).id;
}

describe("the demo's panels", () => {
  before(eveComes);
  after(() => eve?.close());

  test("the chat and the long poll show one room: the same messages, the same ids, what was missed once", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await tabAs(context, "Ann", "both");
      await isLive(ann, ...ALL);
      const ids = [await told("both", "one")];
      for (const [panel, list] of Object.entries(ROOM)) await holds(`one in ${panel}`, () => list(ann), ids[0]);
      for (const panel of Object.keys(ROOM)) {
        await toggle(ann, panel);
        await isIn(ann, panel, "cut");
      }
      const counts = await Promise.all(Object.keys(ROOM).map((panel) => countOf(ann, panel)));
      assert.deepEqual(counts, [1, 1]);
      ids.push(await told("both", "two"), await told("both", "three"));
      // a third party has them, and the cut ones not
      const bob = await tabAs(context, "Bob", "both");
      for (const [panel, list] of Object.entries(ROOM)) await holds(`three at Bob's ${panel}`, () => list(bob), ids[2]);
      for (const [panel, list] of Object.entries(ROOM)) {
        assert.deepEqual(await textsOf(list(ann)), ["one"], panel);
        assert.equal(await stateOf(ann, panel), "cut");
        assert.match(await lastId(ann, panel), /^[0-9a-z]{8}-\d+$/);
      }

      for (const panel of Object.keys(ROOM)) await toggle(ann, panel);
      await isLive(ann, ...ALL);
      ids.push(await told("both", "four"));
      for (const [panel, list] of Object.entries(ROOM)) {
        await holds(`four in ${panel}`, () => list(ann), ids[3]);
        assert.deepEqual(await idsOf(list(ann)), ids, panel);
        assert.deepEqual(await textsOf(list(ann)), ["one", "two", "three", "four"]);
        assert.deepEqual((await list(ann)).map(({ missed }) => missed), [false, true, true, false], panel);
        assert.match((await lines(ann, panel)).join(), /^missed while cut, \d+ s$/);
        assert.equal(await countOf(ann, panel), 4, panel);
      }
      await picture(ann, "panels-caught-up.png");
      assert.deepEqual(complaints(), []);
    }));

  test("notifications reach the user's own stream, and what was missed when it is back", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await tabAs(context, "Ann", "bell");
      const bob = await tabAs(context, "Bob", "bell");
      await isLive(ann, "notify");
      await isLive(bob, "notify");
      const list = () => items(ann, "notify");
      const seen = (await list()).length;
      // cut before the first: there is a cursor all the same
      await toggle(ann, "notify");
      await isIn(ann, "notify", "cut");
      const ids = [await notify(ann)];
      await toggle(ann, "notify");
      await holds("the first", list, ids[0]);
      await isLive(ann, "notify");
      ids.push(await notify(ann));
      await holds("the second", list, ids[1]);
      await toggle(ann, "notify");
      await isIn(ann, "notify", "cut");
      ids.push(await notify(ann), await notify(ann));
      assert.equal((await list()).length, seen + 2);
      await toggle(ann, "notify");
      await holds("the fourth", list, ids[3]);
      await isLive(ann, "notify");
      ids.push(await notify(ann));
      await holds("the fifth", list, ids[4]);
      const all = (await list()).slice(seen);
      assert.deepEqual(all.map(({ id }) => id), ids);
      assert.deepEqual(all.map(({ missed }) => missed), [true, false, true, true, false]);
      assert.equal(await lastId(ann, "notify"), ids[4]);
      assert.deepEqual(await items(bob, "notify"), [], "they are Ann's alone");
      assert.deepEqual(complaints(), []);
    }));

  test("what is unread is one number on all tabs, which goes when it is read on one", () =>
    withContext(DESKTOP, async (context) => {
      const [one, two] = [await tabAs(context, "Umi", "unread"), await tabAs(context, "Umi", "unread")];
      for (const page of [one, two]) await isLive(page, "notify");
      const onBoth = async (number) => {
        for (const page of [one, two]) await isUnread(page, number);
      };
      await onBoth("");
      await notify(one);
      await notify(two);
      await onBoth("2");
      await picture(one, "unread-desktop.png");
      const button = by(two, "notify-mark-read");
      await button.focus();
      await two.keyboard.press("Enter");
      await onBoth("");
      assert.ok(await button.evaluate((element) => element === document.activeElement), "the focus stays");
      assert.equal(await button.getAttribute("aria-disabled"), "true");

      // Who looks at the list has read it.
      await notify(two);
      await onBoth("1");
      await one.locator("#notify .feed").hover();
      await onBoth("");
      await by(one, "composer").hover();
      await notify(two);
      await onBoth("1");
      await two.locator("#notify .feed").focus();
      await onBoth("");
      await by(two, "composer").focus();

      // It is the server's number: who comes later has it too.
      await notify(one);
      await onBoth("1");
      await two.reload();
      await isLive(two, "notify");
      await onBoth("1");
      assert.deepEqual(complaints(), []);
    }));

  test("another user's notifications are live when their own stream is, and what was unread before shows", () =>
    withContext(PHONE, async (context) => {
      const page = await tab(context, "new here");
      await isLive(page, "notify");
      let go;
      const held = new Promise((resolve) => (go = resolve));
      await page.route(/\/sse\?/, (route) => held.then(() => route.continue()));
      await enter(page, "Nan", "new here");
      assert.equal(await stateOf(page, "notify"), "connecting");
      await page.evaluate(() => document.querySelector("#notify-me").click());
      const hasMark = () => page.locator("#views [value=notify]").getAttribute("data-new").then((mark) => mark !== null);
      go();
      await isLive(page, "notify");
      await until("the mark", hasMark);
      await isUnread(page, "1");
      await page.reload();
      await until("the mark again", hasMark);
      assert.deepEqual(complaints(), []);
    }));

  test("on a phone, who opens the notifications has read them, and the mark goes everywhere", () =>
    withContext({ ...PHONE, colorScheme: "dark" }, async (context) => {
      const [one, two] = [await tabAs(context, "Pia", "phones"), await tabAs(context, "Pia", "phones")];
      for (const page of [one, two]) await isLive(page, "notify");
      const view = (page) => page.locator("#views [value=notify]");
      const hasMark = (page) => view(page).getAttribute("data-new").then((mark) => mark !== null);
      // Pressed as a script does: on a phone the button is not in sight.
      await one.evaluate(() => document.querySelector("#notify-me").click());
      for (const page of [one, two]) await until("the mark", () => hasMark(page));
      for (const page of [one, two]) await isUnread(page, "1");
      await view(two).click();
      for (const page of [one, two]) await until("no mark", async () => !(await hasMark(page)));
      for (const page of [one, two]) await isUnread(page, "");
      await two.evaluate(() => document.querySelector("#notify-me").click());
      await until("a second one", async () => (await items(two, "notify")).length === 2);
      for (const page of [one, two]) await isUnread(page, "");
      assert.equal(await sidewaysOf(two), 0);
      await picture(two, "unread-phone.png");
      assert.deepEqual(complaints(), []);
    }));

  test("the status is polled, and unchanged it costs no body", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await tabAs(context, "Ann", "gauge");
      const bob = await tabAs(context, "Bob", "gauge");
      const answers = async (page, status) => Number(await by(page, `status-${status}`).textContent());
      await until("both kinds of answers", async () => (await answers(ann, 200)) > 1 && (await answers(ann, 304)) > 0);
      assert.ok(Number(await by(ann, "status-connections").textContent()) >= 2);
      await toggle(ann, "status");
      await isIn(ann, "status", "cut");
      const place = await lastId(ann, "status");
      const polls = [];
      ann.on("request", (request) => /channel=demo/.test(request.url()) && polls.push(request.url()));
      const seq = (id) => Number(id.split("-")[1]);
      // Bob may still be behind her.
      await until("an update at Bob's", async () => seq(await lastId(bob, "status")) > seq(place));
      assert.equal(await lastId(ann, "status"), place);
      assert.deepEqual(polls, [], "who is cut does not ask");
      await toggle(ann, "status");
      await isLive(ann, "status");
      assert.match(await by(ann, "status-note").textContent(), /^\d+ updates? missed while cut, \d+ s$/);
      await until("both are where the server is", async () => (await lastId(ann, "status")) === (await lastId(bob, "status")));
      assert.deepEqual(complaints(), []);
    }));

  test("all of them come back to a server that was killed", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await tabAs(context, "Ann", "killed");
      await isLive(ann, ...ALL);
      await stop("SIGKILL");
      for (const panel of ALL) await isIn(ann, panel, "reconnecting");
      await picture(ann, "panels-away.png");
      await restart();
      await isLive(ann, ...ALL);
      eve.close();
      await eveComes();
      const id = await told("killed", "still here?");
      for (const [panel, list] of Object.entries(ROOM)) await holds(panel, () => list(ann), id);
      const notification = await notify(ann);
      await holds("the notification", () => items(ann, "notify"), notification);
    }));

  test("a token that ends is followed by another, and nothing is lost", async () => {
    await stop("SIGKILL");
    await restart([], { TIDINGS_AUTH__HS256: SECRET });
    try {
      await eveComes();
      await withContext(DESKTOP, async (context) => {
        // the page's first token has seconds instead of hours
        const end = now() + 6;
        let asked = 0;
        await context.route("**/demo/token", (route) => {
          asked += 1;
          // Of the same user: the page has another name of its own.
          if (asked > 1) return route.continue({ postData: JSON.stringify({ name: "Ann" }) });
          const token = tokenOf("Ann", { exp: end, channels: { subscribe: ["room:*"], publish: ["room:*"] } });
          return route.fulfill({ json: { token, user: "Ann" } });
        });
        const ann = await tab(context, "token");
        await isLive(ann, ...ALL);
        const ids = [await told("token", "with the first")];
        const notifications = [await notify(ann)];
        for (const [panel, list] of Object.entries(ROOM)) await holds(panel, () => list(ann), ids[0]);
        await until("the end of the first token", () => Date.now() / 1000 > end + 1);
        ids.push(await told("token", "with the second"));
        notifications.push(await notify(ann));
        for (const [panel, list] of Object.entries(ROOM)) await holds(panel, () => list(ann), ids[1]);
        await holds("notifications", () => items(ann, "notify"), notifications[1]);
        await isLive(ann, ...ALL);
        assert.ok(asked > 1);
        for (const [panel, list] of Object.entries(ROOM)) assert.deepEqual(await idsOf(list(ann)), ids, panel);
        assert.deepEqual(await idsOf(items(ann, "notify")), notifications);
      });
    } finally {
      eve.close();
      await stop("SIGKILL");
      await restart();
      await eveComes();
    }
  });

  test("a hidden page holds no requests, and misses nothing", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await tabAs(context, "Ann", "hidden");
      await isLive(ann, ...ALL);
      const hide = (hidden) =>
        ann.evaluate((value) => {
          Object.defineProperty(document, "hidden", { value, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }, hidden);
      await hide(true);
      for (const panel of ["notify", "longpoll"]) await isIn(ann, panel, "resting");
      const id = await told("hidden", "psst");
      await hide(false);
      await isLive(ann, "notify", "longpoll");
      await holds("the message", () => items(ann, "longpoll"), id);
      assert.deepEqual((await items(ann, "longpoll")).map(({ missed }) => missed), [false], "who rested was not cut");
    }));

  test("windows beside each other leave a browser connections for what is short", () =>
    withContext(DESKTOP, async (context) => {
      const pages = [];
      for (const name of ["Ann", "Bob", "Cleo"]) pages.push(await tabAs(context, name, "windows"));
      const [ann, bob, cleo] = pages;
      await isLive(ann, ...ALL);
      await isLive(bob, ...ALL);
      for (const panel of ["notify", "longpoll"]) await isIn(cleo, panel, "resting");
      // with six requests under way, none of these would be answered
      await isLive(cleo, "chat", "status");
      await notify(cleo);
      await say(cleo, "room for one more");
      for (const page of pages) await shows(page, "room for one more");
      await ann.close();
      await isLive(cleo, ...ALL);
      assert.ok((await textsOf(items(cleo, "longpoll"))).includes("room for one more"));
      assert.ok((await items(cleo, "notify")).length > 0);
    }));

  test("a cut by keyboard keeps the focus and is read out", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await tabAs(context, "Ann", "focus");
      await isLive(ann, ...ALL);
      const button = by(ann, "notify-cut");
      await button.focus();
      await ann.keyboard.press("Enter");
      await isIn(ann, "notify", "cut");
      assert.equal(await ann.locator("#announcement").textContent(), "Notifications: cut.");
      assert.ok(await button.evaluate((element) => element === document.activeElement));
      assert.match(await button.textContent(), /^Reconnect the connection of the notifications$/);
      await ann.keyboard.press("Enter");
      await isLive(ann, "notify");
      assert.equal(await ann.locator("#announcement").textContent(), "Notifications: live again.");
      assert.match(await button.textContent(), /^Cut/);
    }));

  test("on a phone one panel shows at a time, and the others say when something came", () =>
    withContext(PHONE, async (context) => {
      const ann = await tabAs(context, "Ann", "pocket");
      await isLive(ann, ...ALL);
      const view = (name) => ann.locator(`#views [value=${name}]`);
      assert.equal(await by(ann, "longpoll").isVisible(), false);
      await say(ann, "hello");
      await shows(ann, "hello");
      await until("the mark", async () => (await view("longpoll").getAttribute("data-new")) !== null);
      for (const panel of ["longpoll", "board", "status", "notify"]) {
        await view(panel).click();
        assert.equal(await view(panel).getAttribute("aria-current"), "true");
        assert.equal(await by(ann, panel).isVisible(), true);
        assert.equal(await by(ann, "chat").isVisible(), false);
        assert.equal(await sidewaysOf(ann), 0);
        await picture(ann, `panel-phone-${panel}.png`);
      }
      assert.equal(await view("longpoll").getAttribute("data-new"), null);
      assert.deepEqual(await textsOf(items(ann, "longpoll")), ["hello"]);
      await view("chat").click();
      assert.equal(await by(ann, "composer").isVisible(), true);
    }));

  for (const colorScheme of ["light", "dark"]) {
    test(`all panels fit on a desktop, ${colorScheme}`, () =>
      withContext({ ...DESKTOP, colorScheme }, async (context) => {
        const room = `all-${colorScheme}`;
        const ann = await tabAs(context, "Ann Lark", room);
        await isLive(ann, ...ALL);
        await told(room, "Good morning! This is kept.");
        await notify(ann);
        for (const panel of ALL) await toggle(ann, panel);
        await told(room, "You missed this one, for a while.");
        await notify(ann);
        for (const panel of ALL) await toggle(ann, panel);
        await isLive(ann, ...ALL);
        await picture(ann, `panels-desktop-${colorScheme}.png`);
        assert.equal(await sidewaysOf(ann), 0);
        const sticksOut = await ann.locator(".panel").evaluateAll((all) => all.filter((panel) => panel.getBoundingClientRect().bottom > innerHeight).map(({ id }) => id));
        assert.deepEqual(sticksOut, []);
      }));
  }
});
