// The console at /console/ on the admin address: who may see it, what it shows, and what it does (PRODUCT.md, "Endpoints").
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ask, browsing, enterPassword, PASSWORD, signIn, signInOn, startWithConsole, visit } from "./lib/console-page.mjs";
import { by, DESKTOP, PHONE, picture, sidewaysOf } from "./lib/demo-page.mjs";
import { request } from "./lib/http.mjs";
import { Proxy } from "./lib/proxy.mjs";
import { enter, user } from "./lib/server.mjs";
import { SECRET, tokenOf } from "./lib/tokens.mjs";
import { until } from "./lib/wait.mjs";

const READS = [
  "api/overview",
  "api/recent",
  "api/channels",
  "api/channels/open:1",
  "api/channels/open:1/presence",
  "api/channels/open:1/history",
  "api/channels/open:1/tail",
  "api/users/ann/connections",
  "api/refusals",
  "api/config",
];
const CHANGES = ["api/logout", "api/publish", "api/users/ann/disconnect", "api/connections/0.0.0/disconnect"];

const withConsole = async (options, play) => {
  const server = await startWithConsole(options);
  try {
    await play(server);
  } finally {
    await server.stop("SIGKILL");
  }
};

describe("the console's door", () => {
  test("without a password it is closed, and says what to set", () =>
    withConsole({ password: null }, async (server) => {
      const page = await ask(server, "GET", "");
      assert.equal(page.status, 503);
      assert.match(page.headers["content-type"], /^text\/plain/);
      assert.match(page.body, /\[admin\]\npassword = /);
      for (const path of ["api/session", ...READS]) assert.equal((await ask(server, "GET", path)).status, 503, path);
      for (const path of ["api/login", ...CHANGES]) {
        const { status, json } = await ask(server, "POST", path, { value: { password: "" } });
        assert.equal(status, 503, path);
        assert.match(json.detail, /TIDINGS_ADMIN__PASSWORD/);
      }
    }));

  test("who has no session gets nothing, and a session ends when it is told to", () =>
    withConsole({}, async (server) => {
      for (const path of READS) assert.equal((await ask(server, "GET", path)).status, 401, path);
      for (const path of CHANGES) assert.equal((await ask(server, "POST", path, { value: {} })).status, 401, path);
      assert.deepEqual((await ask(server, "GET", "api/session")).json, { signed_in: false, needs_password: true, version: "0.1.0" });

      const refused = await ask(server, "POST", "api/login", { value: { password: "wrong horse battery" } });
      assert.deepEqual([refused.status, refused.json.code, refused.headers["set-cookie"]], [401, "unauthenticated", undefined]);
      const welcome = await ask(server, "POST", "api/login", { value: { password: PASSWORD } });
      assert.equal(welcome.status, 204);
      const name = `tidings-console-${server.adminPort}`;
      assert.match(welcome.headers["set-cookie"][0], new RegExp(`^${name}=[0-9a-f]{64}; Path=/console; Max-Age=43200; HttpOnly; SameSite=Strict$`));
      const cookie = await signIn(server);
      for (const path of READS.filter((path) => !/tail$/.test(path))) assert.equal((await ask(server, "GET", path, { cookie })).status, 200, path);
      assert.equal((await ask(server, "GET", "api/session", { cookie })).json.signed_in, true);
      assert.equal((await ask(server, "GET", "api/overview", { cookie: `${name}=${"0".repeat(64)}` })).status, 401);

      // what listens ends with the session
      const tail = ask(server, "GET", "api/channels/open:1/tail", { cookie });
      await until("the tail is there", async () => (await ask(server, "GET", "api/channels/open:1", { cookie })).json.subscribers === 1);
      const bye = await ask(server, "POST", "api/logout", { cookie });
      assert.equal(bye.status, 204);
      assert.match(bye.headers["set-cookie"][0], /=; .*Max-Age=0/);
      assert.equal((await tail).status, 200);
      assert.equal((await ask(server, "GET", "api/overview", { cookie })).status, 401);
      // behind a proxy that takes TLS off
      const secure = await ask(server, "POST", "api/login", { origin: server.admin.replace("http", "https"), value: { password: PASSWORD } });
      assert.match(secure.headers["set-cookie"][0], /; Secure$/);
    }));

  test("other sites' pages are refused, also with the cookie", () =>
    withConsole({}, async (server) => {
      const cookie = await signIn(server);
      for (const origin of ["http://evil.example", "null", server.url, `http://localhost:${server.adminPort}`]) {
        for (const path of READS) assert.equal((await ask(server, "GET", path, { cookie, origin })).status, 403, `${origin} ${path}`);
        for (const path of ["api/login", ...CHANGES]) {
          const { status, json } = await ask(server, "POST", path, { cookie, origin, value: {} });
          assert.deepEqual([status, json.code], [403, "origin_not_allowed"], `${origin} ${path}`);
        }
      }
      for (const path of ["api/login", ...CHANGES]) assert.equal((await ask(server, "POST", path, { cookie, origin: null, value: {} })).status, 403, path);
      assert.equal((await ask(server, "GET", "api/session", { cookie })).json.signed_in, true);
    }));

  test("who guesses has five attempts a minute", () =>
    withConsole({}, async (server) => {
      const guess = (password) => ask(server, "POST", "api/login", { value: { password } });
      for (let n = 0; n < 4; n++) assert.equal((await guess(`guess number ${n}`)).status, 401);
      // who knows it begins anew
      assert.equal((await guess(PASSWORD)).status, 204);
      for (let n = 0; n < 5; n++) assert.equal((await guess(`guess number ${n}`)).status, 401);
      const { status, json, headers } = await guess(PASSWORD);
      assert.deepEqual([status, json.code], [429, "rate_limited"]);
      const wait = Number(headers["retry-after"]);
      assert.ok(wait >= 1 && wait <= 61, headers["retry-after"]);
    }));

  test("with --dev it needs no password, and is for this machine's browsers alone", () =>
    withConsole({ dev: true }, async (server) => {
      assert.deepEqual((await ask(server, "GET", "api/session")).json, { signed_in: true, needs_password: false, version: "0.1.0" });
      assert.equal((await ask(server, "GET", "api/overview")).status, 200);
      assert.equal((await ask(server, "POST", "api/publish", { value: { channel: "a", event: "e" } })).status, 200);
      for (const origin of ["http://evil.example", server.url]) assert.equal((await ask(server, "POST", "api/publish", { origin, value: {} })).status, 403, origin);
      const rebound = `rebound.example:${server.adminPort}`;
      assert.equal((await ask(server, "GET", "api/overview", { host: rebound, origin: `http://${rebound}` })).status, 403);
      assert.equal(server.lines.length, 4);
    }));

  test("it is not on the address of clients", () =>
    withConsole({}, async (server) => assert.equal((await request("GET", `${server.url}/console/`)).status, 404)));

  test("its files may load nothing from elsewhere", () =>
    withConsole({}, async (server) => {
      const { status, headers } = await ask(server, "GET", "");
      assert.equal(status, 200);
      assert.match(headers["content-security-policy"], /^default-src 'none'; script-src 'self'; style-src 'self'/);
      assert.ok(!/unsafe/.test(headers["content-security-policy"]));
      assert.equal(headers["x-content-type-options"], "nosniff");
      assert.equal((await ask(server, "GET", "nothing.js")).status, 404);
    }));
});

describe("the console's API", () => {
  test("several who look within a second see the same", () =>
    withConsole({}, async (server) => {
      const cookie = await signIn(server);
      const looks = await Promise.all(Array.from({ length: 20 }, () => ask(server, "GET", "api/overview", { cookie })));
      const times = new Set(looks.map(({ json }) => json.time));
      assert.ok(times.size <= 2, `${times.size} of 20`);
    }));

  test("keeps what was lately, for who opens it then", () =>
    withConsole({}, async (server) => {
      const cookie = await signIn(server);
      const recent = async () => (await ask(server, "GET", "api/recent", { cookie })).json;
      await until("two looks are kept", async () => (await recent()).length >= 2);
      const [one, other] = await recent();
      assert.ok(other.time - one.time >= 4000 && other.uptime_ms > one.uptime_ms, `${one.time} ${other.time}`);
    }));

  test("shows the configuration and no secret", () =>
    withConsole({ more: '[api]\nkey = "an-API-key-of-thirty-two-bytes-at-least"' }, async (server) => {
      const cookie = await signIn(server);
      const { body, json } = await ask(server, "GET", "api/config", { cookie });
      for (const secret of [SECRET, PASSWORD, "thirty-two"]) assert.ok(!body.includes(secret), secret);
      const setting = (name) => json.settings.find(({ key }) => key === name);
      for (const key of ["auth.hs256", "api.key", "admin.password"]) assert.equal(setting(key).value, "set");
      assert.equal(setting("admin.password").source, "TIDINGS_ADMIN__PASSWORD");
      assert.equal(setting("limits.subscriptions").source, null);
    }));

  test("pages what there is much of", () =>
    withConsole({}, async (server) => {
      const cookie = await signIn(server);
      const clients = await Promise.all(Array.from({ length: 7 }, () => enter(server, "ann")));
      const page = async (query) => (await ask(server, "GET", `api/users/ann/connections${query}`, { cookie })).json;
      const all = await page("");
      assert.deepEqual([all.count, all.connections.length], [7, 7]);
      const [first, last] = [await page("?limit=5"), await page("?skip=5&limit=5")];
      assert.deepEqual([first.count, first.connections.length, last.count, last.connections.length], [7, 5, 7, 2]);
      const ids = ({ connections }) => connections.map(({ id }) => id);
      assert.deepEqual([...ids(first), ...ids(last)].sort(), ids(all).sort());
      for (const { connections } of [all, first]) assert.deepEqual(connections, [...connections].sort((a, b) => a.since - b.since));
      assert.equal((await ask(server, "GET", "api/users/ann/connections?limit=1001", { cookie })).status, 400);
      assert.equal((await ask(server, "GET", "api/users/ann/connections?skip=-1", { cookie })).status, 400);
      for (const client of clients) client.close();
    }));
});

describe("the console's page", () => {
  const { open, complaints } = browsing();
  let server;
  before(async () => (server = await startWithConsole({ more: "[limits]\nsubscriptions = 0" })));
  after(() => server?.stop("SIGKILL"));

  const inside = (play, hash, options = DESKTOP) =>
    open(
      options,
      server,
      async (page, context) => {
        await signInOn(page);
        await play(page, context);
        assert.deepEqual(complaints(), []);
      },
      hash,
    );

  test("signs in and out", () =>
    open(DESKTOP, server, async (page) => {
      assert.equal(await page.locator("#top").isVisible(), false);
      assert.equal(await page.evaluate(() => document.activeElement.id), "password");
      await picture(page, "console-login.png");
      await enterPassword(page, "wrong horse battery");
      await until("it is told", async () => /not the password/.test(await by(page, "login-problem").textContent()));
      await enterPassword(page);
      await by(page, "figure-connections").waitFor();
      assert.equal(await page.title(), "Overview · Tidings");
      await page.reload();
      await by(page, "figure-connections").waitFor();
      await by(page, "sign-out").click();
      await by(page, "password").waitFor();
      await page.reload();
      await by(page, "password").waitFor();
      assert.deepEqual(complaints(), []);
    }));

  test("the overview moves", () =>
    inside(async (page) => {
      const clients = [await enter(server, "ann"), await enter(server, "bob", { transports: ["polling"] })];
      for (const client of clients) assert.equal((await client.ask("subscribe", "open:chart")).ok, true);
      await until("both are counted", async () => (await by(page, "figure-connections").textContent()) === "2");
      await until("the server is ready", async () => (await by(page, "state").textContent()).endsWith("ready"));
      const curve = () => page.locator("[data-testid=chart-events] path").last().getAttribute("d");
      const before = await curve();
      for (let n = 0; n < 20; n++) assert.equal((await clients[0].ask("publish", "open:chart", "tick", n)).ok, true);
      await until("they are counted", async () => Number(await by(page, "figure-published").textContent()) > 1);
      await until("the chart has moved", async () => (await curve()) !== before && (await curve()).length > 30);
      await until("a delivery time", async () => /ms|s$/.test(await by(page, "figure-p99").textContent()));
      assert.match(await page.locator("[data-testid=chart-connections] svg").getAttribute("aria-label"), /Socket\.IO 1, Socket\.IO, polling 1/);
      await picture(page, "console-overview.png");
      for (const client of clients) client.close();
    }));

  test("lists channels in pages, however many there are", () =>
    inside(async (page) => {
      const ann = await enter(server, "ann");
      const names = Array.from({ length: 500 }, (_, n) => `open:many:${String(n).padStart(3, "0")}`);
      for (let n = 0; n < 500; n += 100) assert.equal((await ann.ask("subscribe", names.slice(n, n + 100))).ok, true);
      const listed = () => page.locator("[data-testid=channels] tbody a").allTextContents();
      await by(page, "prefix").fill("open:many:");
      await until("the first page", async () => (await listed())[0] === names[0]);
      const seen = [];
      for (let turn = 1; ; turn++) {
        await until(`page ${turn}`, async () => (await by(page, "channels-page-text").textContent()) === `page ${turn}`);
        const rows = await listed();
        assert.ok(rows.length <= 50, "a page stays small");
        seen.push(...rows);
        if (turn === 3) await picture(page, "console-channels.png");
        if (seen.length >= 500) break;
        await by(page, "channels-page-on").click();
      }
      assert.deepEqual(seen, names);
      await by(page, "channels-page-back").click();
      await until("the page before", async () => (await listed())[0] === names[400]);
      await by(page, "prefix").fill("open:many:49");
      await until("ten of them", async () => (await listed()).length === 10);
      await page.getByRole("link", { name: "open:many:490" }).click();
      await until("one subscriber and the tail", async () => (await by(page, "subscribers").textContent()) === "2");
      ann.close();
    }, "#/channels"));

  test("a channel: what was published, what is, who is there, and publishing by hand", () =>
    inside(async (page) => {
      const ann = await enter(server, "ann", { claims: { info: { name: "Ann" } } });
      const channel = "open:one/ü #1?";
      assert.equal((await ann.ask("subscribe", channel)).ok, true);
      for (let n = 1; n <= 45; n++) assert.equal((await ann.ask("publish", channel, "old", { n })).ok, true);
      await visit(page, `#/channels/${encodeURIComponent(channel)}`);
      const texts = (list) => page.locator(`[data-testid=${list}] summary`).allTextContents();

      // pages, from the newest
      await until("the newest page", async () => (await texts("history"))[0] === '{"n":45}');
      assert.equal((await texts("history")).length, 20);
      await by(page, "history-page-on").click();
      await until("an older one", async () => (await texts("history"))[0] === '{"n":25}');
      await by(page, "history-page-on").click();
      await until("the oldest", async () => (await texts("history")).at(-1) === '{"n":1}');
      assert.equal(await by(page, "history-page-on").isDisabled() || (await by(page, "history-page-on").getAttribute("aria-disabled")) === "true", true);
      await by(page, "history-page-back").click();
      await until("a newer one", async () => (await texts("history"))[0] === '{"n":25}');

      // as it is
      await until("the tail is live", async () => (await by(page, "tail-state").textContent()) === "live");
      assert.equal((await ann.ask("publish", channel, "new", { html: "<img src=x onerror=alert(1)>" })).ok, true);
      await until("it is in sight", async () => (await texts("tail"))[0] === '{"html":"<img src=x onerror=alert(1)>"}');
      assert.equal(await page.locator("[data-testid=tail] img").count(), 0);

      // by hand
      await by(page, "publish-event").fill("by hand");
      await by(page, "publish-data").fill('{"long": 12345678901234567890}');
      await by(page, "publish").click();
      await until("an answer", async () => /^Published as [0-9a-z]{8}-\d+, kept in memory$/.test(await by(page, "publish-answer").textContent()));
      const { args } = await ann.sawEvent("by hand");
      assert.equal(args.length, 3);
      await until("it is in sight too, to the last digit", async () => (await texts("tail"))[0] === '{"long":12345678901234567890}');
      await by(page, "publish-data").fill("{");
      await by(page, "publish").click();
      await until("it is told", async () => /no JSON/.test(await by(page, "publish-answer").textContent()));
      await by(page, "publish-data").fill("{}");
      await by(page, "publish-event").fill("gap");
      await by(page, "publish").click();
      await until("a refusal", async () => /^Not published: /.test(await by(page, "publish-answer").textContent()));

      // who is there
      await until("Ann", async () => /Ann/.test(await by(page, "presence").textContent()));
      assert.equal(await by(page, "present").textContent(), "1");
      await picture(page, "console-channel.png");

      // paused, nothing moves; then all of it comes
      await by(page, "tail-pause").click();
      for (let n = 1; n <= 3; n++) assert.equal((await ann.ask("publish", channel, "held", n)).ok, true);
      await until("three are held", async () => /3 held/.test(await by(page, "tail-pause").textContent()));
      assert.notEqual((await texts("tail"))[0], "3");
      await by(page, "tail-pause").click();
      await until("they show", async () => (await texts("tail")).slice(0, 3).join() === "3,2,1");

      // however many come, the page stays small
      for (let n = 1; n <= 300; n++) ann.emit("publish", channel, "many", n);
      await until("the list is full", async () => (await by(page, "tail").locator("li").count()) === 200);
      ann.close();
    }));

  test("the tail survives a broken line, by the last id", async () => {
    const dev = await startWithConsole({ dev: true });
    const proxy = await Proxy.to({ port: dev.adminPort });
    try {
      await open(
        DESKTOP,
        { admin: proxy.url },
        async (page) => {
          const publish = (n) => ask(dev, "POST", "api/publish", { value: { channel: "room:tail", event: "e", data: n } });
          const texts = () => page.locator("[data-testid=tail] summary").allTextContents();
          const state = (word) => until(`the tail is ${word}`, async () => (await by(page, "tail-state").textContent()) === word);
          await state("live");
          await publish(1);
          await until("the first", async () => (await texts()).join() === "1");
          proxy.down();
          await state("coming back");
          await publish(2);
          await publish(3);
          proxy.up();
          await until("both are there, once", async () => (await texts()).join() === "3,2,1");
          await state("live");
          assert.deepEqual(complaints(), []);
        },
        "#/channels/room%3Atail",
      );
    } finally {
      proxy.close();
      await dev.stop("SIGKILL");
    }
  });

  test("a user's connections are looked up and sent away", () =>
    inside(async (page) => {
      const one = await enter(server, "cid");
      const other = await enter(server, "cid", { transports: ["polling"] });
      await by(page, "user").fill("cid");
      await by(page, "look-up").click();
      const rows = () => page.locator("[data-testid=connections] tbody tr");
      await until("both are listed", async () => (await rows().count()) === 2);
      assert.match(await rows().nth(0).textContent(), /^Socket\.IO\d\d:/);
      await picture(page, "console-user.png");
      await by(page, "disconnect").nth(0).click();
      await one.sawDisconnect();
      await until("one is left", async () => (await rows().count()) === 1);
      assert.match(await by(page, "user-note").textContent(), /was sent away/);
      await by(page, "revoke").click();
      await picture(page, "console-ask.png");
      await by(page, "ask-no").click();
      assert.equal(await rows().count(), 1);
      await by(page, "revoke").click();
      await by(page, "ask-yes").click();
      await other.sawDisconnect();
      await until("it is told", async () => /1 connection was sent away, and the tokens are revoked/.test(await by(page, "user-note").textContent()));
      const late = user(server, "cid", { token: tokenOf("cid", { iat: Math.floor(Date.now() / 1000) - 10 }) });
      await late.sawError();
      late.close();
      const ann = await enter(server, "dan");
      await visit(page, "#/users/dan");
      await until("Dan is listed", async () => (await rows().count()) === 1);
      await by(page, "disconnect-all").click();
      await by(page, "ask-yes").click();
      await ann.sawDisconnect();
    }, "#/users"));

  test("who was refused is shown, with the reason", () =>
    inside(async (page) => {
      const eve = user(server, "eve", { token: "junk" });
      await eve.sawError();
      eve.close();
      await until("it is listed", async () => /unauthenticated/.test(await by(page, "refusals").textContent()));
      await until("it is counted", async () => /unauthenticated/.test(await by(page, "refusal-counts").textContent()));
      assert.ok(!(await page.content()).includes("junk"));
      await picture(page, "console-refusals.png");
    }, "#/refusals"));

  test("the configuration is shown without a secret", () =>
    inside(async (page) => {
      await by(page, "config-limits.subscriptions").waitFor();
      assert.equal(await by(page, "config-auth.hs256").textContent(), "set");
      assert.equal(await by(page, "config-tls.key").textContent(), "not set");
      assert.match(await by(page, "config-channels.1").textContent(), /^room:\* · subscribe claims/);
      const content = await page.content();
      for (const secret of [SECRET, PASSWORD]) assert.ok(!content.includes(secret));
      await picture(page, "console-config.png");
    }, "#/config"));

  test("with the keyboard alone", () =>
    inside(async (page) => {
      const focused = () => page.evaluate(() => document.activeElement.textContent.trim());
      const tabTo = async (text) => {
        for (let n = 0; n < 30 && (await focused()) !== text; n++) await page.keyboard.press("Tab");
        assert.equal(await focused(), text);
        assert.ok(await page.evaluate(() => document.activeElement.matches(":focus-visible") && getComputedStyle(document.activeElement).outlineStyle !== "none"));
      };
      await tabTo("Users");
      await page.keyboard.press("Enter");
      await by(page, "user").waitFor();
      await page.keyboard.type("nobody");
      await page.keyboard.press("Enter");
      await until("it is looked up", async () => /no connection/.test(await page.locator("#view").textContent()));
      await tabTo("Disconnect and revoke tokens");
      await page.keyboard.press("Enter");
      assert.ok(await page.locator("#ask").isVisible());
      await page.keyboard.press("Escape");
      assert.equal(await focused(), "Disconnect and revoke tokens");
    }));

  test("says when the server is gone", async () => {
    const dev = await startWithConsole({ dev: true });
    try {
      await open(DESKTOP, dev, async (page) => {
        await until("ready", async () => (await page.locator("#state-word").textContent()) === "ready");
        await dev.stop("SIGKILL");
        await until("unreachable", async () => (await page.locator("#state-word").textContent()) === "unreachable");
      });
    } finally {
      await dev.stop("SIGKILL");
    }
  });

  test("a new start signs everybody out, and the page says so", async () => {
    let server = await startWithConsole({});
    try {
      await open(DESKTOP, server, async (page) => {
        await signInOn(page);
        await visit(page, "#/channels/open%3A1");
        await until("the tail is live", async () => (await by(page, "tail-state").textContent()) === "live");
        await server.stop("SIGKILL");
        server = await startWithConsole({ port: server.adminPort });
        await until("it is told", async () => (await by(page, "login-problem").count()) === 1 && /session is over/.test(await by(page, "login-problem").textContent()));
        // and back to where one was
        await signInOn(page);
        await until("the tail is live again", async () => (await by(page, "tail-state").textContent()) === "live");
        assert.deepEqual(complaints(), []);
      });
    } finally {
      await server.stop("SIGKILL");
    }
  });

  for (const [name, options] of Object.entries({ phone: PHONE, desktop: DESKTOP })) {
    for (const colorScheme of ["light", "dark"]) {
      test(`fits on a ${name}, ${colorScheme}`, async () => {
        const clients = await Promise.all([enter(server, "ann"), enter(server, "bob"), enter(server, "bob", { transports: ["polling"] })]);
        for (const client of clients) assert.equal((await client.ask("subscribe", ["open:fit", "open:fit:with-a-long-name-" + "x".repeat(150)])).ok, true);
        await inside(
          async (page) => {
            for (const view of ["overview", "channels", "channels/open%3Afit", "users/bob", "refusals", "config"]) {
              await visit(page, `#/${view}`);
              if (view === "channels/open%3Afit") {
                await until("the tail is live", async () => (await by(page, "tail-state").textContent()) === "live");
                for (let n = 0; n < 5; n++) await clients[0].ask("publish", "open:fit", "message", { n, text: "a line that is quite long ".repeat(10) });
                await until("they show", async () => (await by(page, "tail").locator("li").count()) === 5);
              } else if (view === "overview") {
                for (let n = 0; n < 30; n++) await clients[0].ask("publish", "open:fit", "message", n);
                await until("a rate", async () => Number(await by(page, "figure-published").textContent()) > 0);
              } else await page.locator("#view :is(td, .empty)").first().waitFor();
              assert.equal(await sidewaysOf(page), 0, `nothing sticks out at the side of ${view}`);
              await page.screenshot({ path: new URL(`artifacts/console-${view.replaceAll(/\W/g, "-")}-${name}-${colorScheme}.png`, import.meta.url).pathname, animations: "disabled", fullPage: true });
            }
          },
          "",
          { ...options, colorScheme },
        );
        for (const client of clients) client.close();
      });
    }
  }
});
