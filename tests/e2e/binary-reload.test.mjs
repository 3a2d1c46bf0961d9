// SIGHUP: the `tidings` server reads its configuration again without dropping anyone.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { describe, test } from "node:test";
import { apiPublish, Plain } from "./lib/channels.mjs";
import { enter, QUIET, user } from "./lib/server.mjs";
import { startServer } from "./lib/targets.mjs";
import { now, SECRET, sign } from "./lib/tokens.mjs";
import { until } from "./lib/wait.mjs";

const KEYS = { one: "the-first-api-key-0123456789abcdefghijklm", two: "the-second-api-key-0123456789abcdefghij" };
const OTHER = "another-secret-of-thirty-two-bytes-and-more";

const config = ({ secret = SECRET, key = KEYS.one, rules = "", on = "", more = "" } = {}) => `
${more}
[auth]
hs256 = "${secret}"
[api]
key = "${key}"
${rules}
${on}
`;
const rule = (match, who, more = "") => `[[channels]]\nmatch = "${match}"\nsubscribe = "${who}"\npublish = "${who}"\n${more}\n`;

// A server with a configuration in a file that can be written anew.
async function withFile(first, play) {
  const server = await startServer({ config: config(first), env: QUIET });
  const reload = async (text, word) => {
    const before = server.stderr.split("SIGHUP").length;
    writeFileSync(server.configFile, text);
    server.child.kill("SIGHUP");
    await until(`the server says ${word}`, () => {
      const said = server.stderr.split("SIGHUP");
      return said.length > before && said.at(-1).includes(word);
    });
    return server.stderr.split("SIGHUP").at(-1);
  };
  try {
    await play(server, reload);
  } finally {
    await server.stop();
  }
}

describe("SIGHUP", { concurrency: true }, () => {
  test("changes rules, events, keys and secrets, and drops nobody", () =>
    withFile({ rules: rule("old:*", "user") }, async (server, reload) => {
      const ann = await enter(server, "ann");
      const plain = await Plain.enter(server, "bob");
      assert.equal((await ann.ask("subscribe", "old:1")).ok, true);
      await plain.subscribe("old:1");
      assert.equal((await ann.ask("subscribe", "new:1")).code, "forbidden");
      assert.equal((await ann.ask("say", { to: 1 })).code, "unknown_event");

      const on = '[[on]]\nevent = "say"\nto = "new:{data.to}"\n';
      const rules = rule("new:*", "user", 'debounce = "1h"') + rule("quick:*", "user");
      await reload(config({ secret: OTHER, key: KEYS.two, rules, on }), "was read again");

      // Who was there still is, and hears what it was subscribed to.
      assert.equal((await apiPublish(server, { channel: "old:1", event: "e", data: 1 }, { key: KEYS.two })).status, 200);
      await ann.sawEvent("e");
      assert.equal((await plain.nextOf("event")).event, "e");
      assert.equal((await apiPublish(server, { channel: "old:1", event: "e" }, { key: KEYS.one })).status, 401);
      assert.equal((await ann.ask("subscribe", "old:2")).code, "forbidden");
      assert.equal((await ann.ask("subscribe", ["new:1", "quick:1"])).ok, true);
      const said = await ann.ask("say", { to: 1 });
      assert.deepEqual([said.ok, said.id], [true, undefined], "held by the new rule's pace");
      assert.match((await ann.ask("publish", "quick:1", "e", 2)).id, /-/);

      // Tokens of the old secret let nobody in any more, those of the new one do.
      const late = user(server, "cid", { reconnection: false });
      assert.equal((await late.sawError()).data.code, "token_signature");
      const cid = await user(server, "cid", { token: sign({ sub: "cid", exp: now() + 3600 }, { secret: OTHER }) }).connected();
      for (const client of [ann, plain, late, cid]) client.close();
    }));

  test("gives channels that have subscribers their new pace", () =>
    withFile({ rules: rule("game:*", "user") }, async (server, reload) => {
      const ann = await Plain.enter(server, "ann");
      await ann.subscribe("game:1");
      await ann.publish("game:1", "move", { id: "a", at: 0 });
      assert.ok((await ann.nextOf("event")).id);
      await reload(config({ rules: rule("game:*", "user", 'conflate = { by = "data.id", every = "20ms" }') }), "was read again");
      for (let at = 1; at <= 50; at += 1) await ann.publish("game:1", "move", { id: "a", at });
      let last;
      do last = await ann.nextOf("event");
      while (last.data.at < 50);
      assert.equal(last.id, undefined);
      // Who comes while others are there gets the latest.
      const late = [];
      for (let n = 0; n < 8; n += 1) {
        late.push(await Plain.enter(server, "bob"));
        await late.at(-1).subscribe("game:1");
        assert.equal((await late.at(-1).nextOf("event")).data.at, 50);
      }
      for (const client of [ann, ...late]) client.close();
    }));

  test("of a wrong configuration changes nothing, and says what is wrong", () =>
    withFile({ rules: rule("a", "user") }, async (server, reload) => {
      const ann = await enter(server, "ann");
      const said = await reload(config({ rules: rule("a", "usr") }), "is wrong");
      assert.match(said, /`channels.subscribe`.*"usr" given/);
      assert.equal((await ann.ask("subscribe", "a")).ok, true);
      const bob = await enter(server, "bob");
      for (const client of [ann, bob]) client.close();
    }));

  test("names what takes a new start", () =>
    withFile({ rules: rule("a", "user") }, async (_, reload) => {
      const said = await reload(config({ rules: rule("a", "user"), more: 'drain = "3s"\n[limits]\nattachments = 3' }), "new start");
      assert.match(said, /"drain", "limits"/);
    }));
});
