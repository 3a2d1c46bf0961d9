// The console beside a crowd: its pages stay small and right however many are connected (TIDINGS_E2E_CROWD, 1,500).
import assert from "node:assert/strict";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import { ask, browsing, signIn, signInOn, startWithConsole, visit } from "./lib/console-page.mjs";
import { by, DESKTOP, picture } from "./lib/demo-page.mjs";
import { tokenOf } from "./lib/tokens.mjs";
import { until } from "./lib/wait.mjs";

const CROWD = Number(process.env.TIDINGS_E2E_CROWD ?? 1500);
const ALL = "open:all";
const channelOf = (n) => `open:crowd:${String(n % (CROWD / 2)).padStart(5, "0")}`;
// Every third is one user's.
const userOf = (n) => (n % 3 === 0 ? "ann" : `u${String(n).padStart(5, "0")}`);
const OF_ANN = Math.ceil(CROWD / 3);
const USERS = CROWD - OF_ANN + 1;

// An event stream as a socket, so that thousands of them fit into this process.
class Stream {
  text = "";

  constructor(port, n) {
    this.socket = net.connect(port, "127.0.0.1");
    this.socket.on("error", () => {});
    this.socket.on("data", (bytes) => (this.text += bytes.toString("latin1")));
    this.socket.write(
      `GET /sse?channel=${ALL}&channel=${channelOf(n)} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${tokenOf(userOf(n))}\r\n\r\n`,
    );
  }

  heard = () => this.text.split('"event":"crowd"').length - 1;
}

describe(`the console beside ${CROWD} connections`, () => {
  const { open, complaints } = browsing();
  const crowd = [];
  let server, cookie;

  before(async () => {
    server = await startWithConsole({});
    cookie = await signIn(server);
    for (let n = 0; n < CROWD; n++) {
      crowd.push(new Stream(server.port, n));
      if (n % 100 === 99) await until("they are in", async () => (await connections()) > n - 500);
    }
    await until("all are in", async () => (await connections()) === CROWD);
  });
  after(async () => {
    for (const { socket } of crowd) socket.destroy();
    await server?.stop("SIGKILL");
  });

  const get = async (path) => {
    const answer = await ask(server, "GET", `api/${path}`, { cookie });
    assert.equal(answer.status, 200, answer.body);
    return answer;
  };
  const connections = async () => (await get("overview")).json.connections.sse ?? 0;

  test("no answer grows with the crowd", async () => {
    const answers = {
      overview: 2_000,
      "channels?limit=50": 8_000,
      "channels?limit=50&prefix=open:crowd:0": 8_000,
      [`channels/${ALL}`]: 500,
      [`channels/${ALL}/presence?limit=50`]: 4_000,
      "users/ann/connections?limit=25": 8_000,
    };
    for (const [path, most] of Object.entries(answers)) {
      const { body } = await get(path);
      assert.ok(body.length < most, `${path}: ${body.length} bytes`);
    }
  });

  test("counts each channel once, and no delivery where nothing was sent", async () => {
    // All of a user's streams make one join, which streams are not told.
    const { channels, subscriptions, totals } = (await get("overview")).json;
    assert.deepEqual([channels, subscriptions, totals.delivered], [CROWD / 2 + 1, 2 * CROWD, 0]);
  });

  test("shows all of it in pages, and publishes to everybody", () =>
    open(
      DESKTOP,
      server,
      async (page) => {
        const shown = (n) => n.toLocaleString("en-GB");
        await signInOn(page);
        await until("everybody is counted", async () => (await by(page, "figure-connections").textContent()) === shown(CROWD));
        await picture(page, "console-crowd-overview.png");

        await visit(page, "#/channels");
        const rows = (list) => page.locator(`[data-testid=${list}] tbody tr`);
        await until("a page of channels", async () => (await rows("channels").count()) === 50);

        await visit(page, `#/channels/${encodeURIComponent(ALL)}`);
        // The console listens too.
        await until("its subscribers", async () => (await by(page, "subscribers").textContent()) === shown(CROWD + 1));
        await until("its users", async () => (await by(page, "present").textContent()) === shown(USERS));
        assert.ok((await page.locator("[data-testid=presence] > *").count()) <= 100, "a page of them");
        await by(page, "publish-event").fill("crowd");
        await by(page, "publish-data").fill("1");
        await by(page, "publish").click();
        await until("it is in sight", async () => (await by(page, "tail").locator("li").count()) === 1);
        await until("everybody has it", () => crowd.every((stream) => stream.heard() === 1));
        await picture(page, "console-crowd-channel.png");

        await visit(page, "#/users/ann");
        await until("a page of Ann's", async () => (await rows("connections").count()) === 25);
        assert.match(await page.locator("#view").textContent(), new RegExp(`\\b${shown(OF_ANN)}\\b`));
        await picture(page, "console-crowd-user.png");
        assert.ok((await page.evaluate(() => document.querySelectorAll("*").length)) < 1_500, "the page stays small");
        assert.deepEqual(complaints(), []);
      },
    ));

  test("sends away all of one user's and nobody else's", async () => {
    const { status, json } = await ask(server, "POST", "api/users/ann/disconnect", { cookie, value: {} });
    assert.deepEqual([status, json.connections], [200, OF_ANN]);
    await until("they are gone", async () => (await connections()) === CROWD - OF_ANN);
    await until("and nobody else", async () => (await get(`channels/${ALL}`)).json.subscribers === CROWD - OF_ANN);
  });
});
