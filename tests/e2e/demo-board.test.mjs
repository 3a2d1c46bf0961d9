// The demo page's board in a real browser: everybody's pointers, of which the server passes on the latest places.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Client, newest } from "./lib/clients.mjs";
import { by, countOf, cursors, demo, DESKTOP, isIn, isLive, lastId, ownCursor, PHONE, picture, planeOf, pointAt, sidewaysOf, tally, toggle, tokenFor } from "./lib/demo-page.mjs";
import { until } from "./lib/wait.mjs";

const { complaints, enter, restart, stop, tabAs, url, withContext } = demo();

async function boardAs(context, name, room) {
  const page = await tabAs(context, name, room);
  await isLive(page, "board");
  return page;
}

// A client without a page, whose answers say whether the server took what it published.
async function client(name, room) {
  const token = await tokenFor(url(), name);
  const socket = await new Client(newest, url(), { transports: ["websocket"], auth: { token } }).connected();
  const channel = `cursor:${room}`;
  assert.equal((await socket.ask("subscribe", channel)).ok, true);
  const put = async (data) => assert.equal((await socket.ask("publish", channel, "cursor", data)).ok, true);
  return { channel, socket, put };
}

const here = async (page, name) => (await cursors(page)).find(({ user }) => user === name);
const sees = (page, name, place) =>
  until(
    () => `${name} at ${JSON.stringify(place)}`,
    async () => {
      const { x, y } = (await here(page, name)) ?? {};
      return x === place.x && y === place.y;
    },
  );
const seesNo = (page, name) => until(`${name} is off the board`, async () => (await here(page, name)) === undefined);
// Where the mouse is, to the pixel that it is on.
const isAbout = (place, x, y) => assert.ok(Math.abs(place.x - x) < 0.02 && Math.abs(place.y - y) < 0.02, JSON.stringify(place));

async function point(page, x, y, steps) {
  await page.bringToFront();
  await pointAt(page, x, y, steps);
  const place = await ownCursor(page);
  isAbout(place, x, y);
  return place;
}

describe("the demo's board", () => {
  test("everybody sees where the others point, by name, also who comes later", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await boardAs(context, "Ann", "board");
      const bob = await boardAs(context, "Bob", "board");
      const anns = await point(ann, 0.25, 0.5);
      await sees(bob, "Ann", anns);
      const bobs = await point(bob, 0.75, 0.2);
      await sees(ann, "Bob", bobs);
      assert.deepEqual((await cursors(ann)).map(({ user }) => user), ["Bob"], "one's own is no cursor");
      assert.match(await by(ann, "board-who").textContent(), /: Bob\.$/);

      // nobody moves
      const sent = [await tally(ann, "sent"), await tally(bob, "sent")];
      const eve = await boardAs(context, "Eve", "board");
      await sees(eve, "Ann", anns);
      await sees(eve, "Bob", bobs);
      assert.deepEqual([await tally(ann, "sent"), await tally(bob, "sent")], sent);
      assert.equal(await tally(eve, "sent"), 0);
      assert.equal(await lastId(eve, "board"), "none", "they have no ids");
      assert.match(await by(eve, "board-who").textContent(), /: Ann, Bob\.$/);

      // one leaves the board, the other the page
      await ann.bringToFront();
      await ann.mouse.move(5, 5);
      for (const page of [bob, eve]) await seesNo(page, "Ann");
      await bob.close();
      for (const page of [ann, eve]) await seesNo(page, "Bob");
      assert.equal(await by(eve, "board-who").textContent(), "Nobody else points at the board.");
      assert.deepEqual(complaints(), []);
    }));

  test("of many moves the server passes on fewer, the last one among them, and keeps none as history", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await boardAs(context, "Ann", "many");
      const bob = await boardAs(context, "Bob", "many");
      await point(ann, 0.1, 0.1);
      const begun = Date.now();
      const last = await point(ann, 0.9, 0.8, 200);
      const took = Date.now() - begun;
      await sees(bob, "Ann", last);
      // and nothing comes after it
      await until("all that was sent is passed on", async () => (await tally(ann, "received")) === (await tally(bob, "received")));
      const [sent, received] = [await tally(ann, "sent"), await tally(bob, "received")];
      assert.ok(sent > 20, `${sent} sent`);
      assert.ok(received > 1 && received < sent, `${received} of ${sent}`);
      assert.ok(received <= took / 50 + 10, `${received} in ${took} ms`);
      assert.equal(await tally(bob, "sent"), 0);
      assert.equal(await countOf(bob, "board"), received);
      await sees(bob, "Ann", last);

      const { channel, socket } = await client("Eve", "many");
      const { ok, events } = await socket.ask("history", channel);
      assert.deepEqual([ok, events], [true, []]);
      socket.close();
      assert.deepEqual(complaints(), []);
    }));

  test("cut and back: what is, is there at once", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await boardAs(context, "Ann", "cut");
      const bob = await boardAs(context, "Bob", "cut");
      const first = await point(bob, 0.2, 0.2);
      await sees(ann, "Bob", first);
      await toggle(ann, "board");
      await isIn(ann, "board", "cut");
      const received = await tally(ann, "received");
      const next = await point(bob, 0.6, 0.6, 20);
      await until("Bob has his last one back", async () => (await tally(bob, "received")) > 1);
      assert.equal(await tally(ann, "received"), received);
      assert.deepEqual(await here(ann, "Bob"), { user: "Bob", ...first });
      await ann.bringToFront();
      await toggle(ann, "board");
      await isLive(ann, "board");
      await sees(ann, "Bob", next);
      assert.deepEqual(complaints(), []);
    }));

  test("a pointer that stays while its connection is cut is off the others' boards, and then back", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await boardAs(context, "Ann", "stays");
      const bob = await boardAs(context, "Bob", "stays");
      const place = await point(ann, 0.3, 0.4);
      await sees(bob, "Ann", place);
      // the mouse stays where it is
      const press = () => by(ann, "board-cut").evaluate((button) => button.click());
      await press();
      await isIn(ann, "board", "cut");
      await seesNo(bob, "Ann");
      assert.deepEqual(await ownCursor(ann), place);
      await press();
      await isLive(ann, "board");
      await sees(bob, "Ann", place);
    }));

  test("a server that was killed", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await boardAs(context, "Ann", "killed");
      const bob = await boardAs(context, "Bob", "killed");
      const place = await point(ann, 0.3, 0.4);
      await sees(bob, "Ann", place);
      await stop("SIGKILL");
      for (const page of [ann, bob]) await isIn(page, "board", "reconnecting");
      await restart();
      await isLive(ann, "board");
      await isLive(bob, "board");
      // it had forgotten them both, and her tab says it anew
      await sees(bob, "Ann", place);
    }));

  test("who turns to another tab points no more", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await boardAs(context, "Ann", "turned");
      const bob = await boardAs(context, "Bob", "turned");
      await sees(bob, "Ann", await point(ann, 0.3, 0.4));
      await ann.evaluate(() => {
        Object.defineProperty(document, "hidden", { value: true, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
      });
      await seesNo(bob, "Ann");
      assert.equal(await by(ann, "ring").isVisible(), false);
      await isIn(ann, "board", "live");
    }));

  test("a page that is loaded again leaves no pointer behind", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await boardAs(context, "Ann", "again");
      const bob = await boardAs(context, "Bob", "again");
      await sees(ann, "Bob", await point(bob, 0.3, 0.4));
      // a browser need not send what a page says when it goes
      await bob.evaluate(() => void (WebSocket.prototype.send = () => {}));
      await bob.reload();
      await seesNo(ann, "Bob");
      await isLive(bob, "board");
      await sees(ann, "Bob", await point(bob, 0.6, 0.2));
    }));

  test("rooms have boards of their own", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await boardAs(context, "Ann", "here");
      const bob = await boardAs(context, "Bob", "here");
      const eve = await boardAs(context, "Eve", "there");
      await sees(bob, "Ann", await point(ann, 0.5, 0.5));
      assert.deepEqual(await cursors(eve), []);
      await enter(ann, "Ann", "there");
      await seesNo(bob, "Ann");
      await isLive(ann, "board");
      await sees(eve, "Ann", await point(ann, 0.4, 0.6));
      assert.deepEqual(await cursors(bob), []);
      // another name is another cursor
      await enter(ann, "Anna", "there");
      await sees(eve, "Anna", await point(ann, 0.2, 0.2));
      assert.deepEqual((await cursors(eve)).map(({ user }) => user), ["Anna"]);
      assert.deepEqual(complaints(), []);
    }));

  test("by the keys", () =>
    withContext({ ...DESKTOP, reducedMotion: "reduce" }, async (context) => {
      const ann = await boardAs(context, "Ann", "keys");
      const bob = await boardAs(context, "Bob", "keys");
      await ann.bringToFront();
      const plane = by(ann, "plane");
      assert.equal(await plane.getAttribute("role"), "application");
      for (let n = 0; n < 40 && !(await plane.evaluate((element) => element === document.activeElement)); n++) await ann.keyboard.press("Tab");
      assert.ok(await plane.evaluate((element) => element.matches(":focus-visible") && getComputedStyle(element).outlineStyle !== "none"));
      assert.equal(await ownCursor(ann), undefined, "who only passes does not point");
      assert.equal(await tally(ann, "sent"), 0);

      await ann.keyboard.press("ArrowRight");
      assert.deepEqual(await ownCursor(ann), { x: 0.52, y: 0.5 });
      await sees(bob, "Ann", { x: 0.52, y: 0.5 });
      for (const key of ["Shift+ArrowDown", "ArrowUp", "ArrowLeft", "ArrowLeft"]) await ann.keyboard.press(key);
      await sees(bob, "Ann", { x: 0.48, y: 0.58 });
      await until("it is read out", async () => (await ann.locator("#announcement").textContent()) === "48% across, 58% down.");
      assert.equal(await by(bob, "cursor").evaluate((element) => getComputedStyle(element).transitionDuration), "0s", "nothing glides where it shall not");
      // as far as it goes
      for (let n = 0; n < 8; n++) await ann.keyboard.press("Shift+ArrowLeft");
      await sees(bob, "Ann", { x: 0, y: 0.58 });
      await ann.keyboard.press("Escape");
      await seesNo(bob, "Ann");
      await ann.keyboard.press("ArrowRight");
      await sees(bob, "Ann", { x: 0.02, y: 0.58 });
      await ann.keyboard.press("Tab");
      await seesNo(bob, "Ann");
      assert.equal(await ownCursor(ann), undefined);
      assert.deepEqual(complaints(), []);
    }));

  test("who falls silent or loses the connection is taken off", () =>
    withContext(DESKTOP, async (context) => {
      await context.clock.install();
      const ann = await boardAs(context, "Ann", "silent");
      const eve = await client("Eve", "silent");
      const max = await client("Max", "silent");
      const place = { x: 0.5, y: 0.25 };
      await max.put({ id: "max", ...place });
      await eve.put({ id: "eve", ...place });
      await sees(ann, "Eve", place);
      await sees(ann, "Max", place);
      max.socket.close();
      await seesNo(ann, "Max");
      assert.ok(await here(ann, "Eve"));
      // the server has both places still, and tells the older one first
      const bob = await boardAs(context, "Bob", "silent");
      await sees(bob, "Eve", place);
      assert.equal(await here(bob, "Max"), undefined);
      assert.ok((await tally(bob, "received")) > 1);
      await ann.clock.fastForward(20_000);
      assert.ok(await here(ann, "Eve"));
      await ann.clock.fastForward(11_000);
      await seesNo(ann, "Eve");
      eve.socket.close();
    }));

  test("whatever is published, the board shows pointers", () =>
    withContext(DESKTOP, async (context) => {
      const ann = await boardAs(context, "Ann", "nasty");
      const eve = await client("<b>Eve</b>", "nasty");
      const bad = { id: "bad", x: 0.5, y: 0.5 };
      for (const data of [{ ...bad, x: "0.5" }, { ...bad, y: -1 }, { ...bad, x: 2 }, { ...bad, x: null }, { id: "bad" }, { ...bad, id: 7 }, { ...bad, id: "x".repeat(65) }, { id: "bad", gone: true }])
        await eve.put(data);
      // without an id, or with one that is none, the server takes nothing or the page does not
      for (const data of [null, [1], 7, { x: 0.5, y: 0.5 }, { ...bad, id: { a: 1 } }]) await eve.socket.ask("publish", eve.channel, "cursor", data);
      await eve.put({ id: "good", x: 0, y: 1 });
      await sees(ann, "<b>Eve</b>", { x: 0, y: 1 });
      assert.equal((await cursors(ann)).length, 1);
      assert.equal(await by(ann, "plane").locator("b").count(), 0);
      for (let n = 0; n < 60; n++) await eve.put({ id: `more ${n}`, x: n / 60, y: 0.5 });
      await until("the last", async () => (await cursors(ann)).some(({ x }) => x === 59 / 60));
      assert.equal((await cursors(ann)).length, 50);
      assert.deepEqual(complaints(), []);
      eve.socket.close();
    }));

  test("a finger points, and the page stays where it is", () =>
    withContext(PHONE, async (context) => {
      const ann = await boardAs(context, "Ann", "finger");
      const bob = await boardAs(context, "Bob", "finger");
      await ann.bringToFront();
      await ann.locator("#views [value=board]").tap();
      const { left, top, width, height } = await planeOf(ann);
      const session = await context.newCDPSession(ann);
      const touch = (type, ...places) =>
        session.send("Input.dispatchTouchEvent", { type, touchPoints: places.map(([x, y]) => ({ x: left + x * width, y: top + y * height })) });
      await touch("touchStart", [0.5, 0.25]);
      await until("Ann is there", async () => (await here(bob, "Ann")) !== undefined);
      isAbout(await here(bob, "Ann"), 0.5, 0.25);
      for (let n = 1; n <= 10; n++) await touch("touchMove", [0.5, 0.25 + n * 0.05]);
      await until("Ann has moved", async () => Math.abs((await here(bob, "Ann"))?.y - 0.75) < 0.02);
      assert.equal(await ann.evaluate(() => document.scrollingElement.scrollTop), 0);
      await touch("touchEnd");
      await seesNo(bob, "Ann");
      // what changes all the time is not marked as new
      assert.equal(await bob.locator("#views [value=board]").getAttribute("data-new"), null);
      assert.deepEqual(complaints(), []);
    }));

  const people = [
    ["Bob Heron", 0.12, 0.16],
    ["Cleo Kestrel", 0.42, 0.62],
    ["Dora with a very long name", 0.86, 0.3],
    ["Emil", 0.97, 0.94],
    ["Finn Wren", 0.66, 0.12],
  ];
  for (const [name, options] of Object.entries({ phone: PHONE, desktop: DESKTOP, "wide screen": { viewport: { width: 1680, height: 1050 } } })) {
    for (const colorScheme of ["light", "dark"]) {
      test(`fits on a ${name}, ${colorScheme}`, () =>
        withContext({ ...options, colorScheme }, async (context) => {
          const room = `${name.split(" ")[0]}-${colorScheme}`;
          const ann = await boardAs(context, "Ann Lark", room);
          const view = ann.locator("#views [value=board]");
          if (await view.isVisible()) await view.click();
          await picture(ann, `board-${room}-empty.png`);
          const others = [];
          for (const [who, x, y] of people) {
            const one = await client(who, room);
            await one.put({ id: who, x, y });
            others.push(one);
          }
          await until("all of them", async () => (await cursors(ann)).length === people.length);
          await by(ann, "plane").focus();
          for (const key of ["Shift+ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowLeft"]) await ann.keyboard.press(key);
          await picture(ann, `board-${room}.png`);
          assert.equal(await sidewaysOf(ann), 0);
          const sticksOut = await ann.evaluate(() => {
            const plane = document.querySelector("#plane").getBoundingClientRect();
            const names = [...document.querySelectorAll(".cursor-name")].filter((name) => {
              const { left, right, top, bottom } = name.getBoundingClientRect();
              return left < plane.left || right > plane.right || top < plane.top || bottom > plane.bottom;
            });
            const board = document.querySelector("#board").getBoundingClientRect();
            return [...names.map(({ textContent }) => textContent), ...(board.bottom > innerHeight ? ["the board"] : [])];
          });
          assert.deepEqual(sticksOut, []);
          assert.ok((await planeOf(ann)).height > 100);
          for (const { socket } of others) socket.close();
        }));
    }
  }

  test("fits on a screen 320 pixels wide", () =>
    withContext({ ...PHONE, viewport: { width: 320, height: 568 } }, async (context) => {
      const ann = await boardAs(context, "Ann", "narrow");
      await ann.locator("#views [value=board]").click();
      assert.equal(await sidewaysOf(ann), 0);
      await picture(ann, "board-narrow.png");
    }));
});
