// PRODUCT.md, guarantee 1: "Events of a channel reach every subscriber in one order, the same on every transport."
import assert from "node:assert/strict";
import http from "node:http";
import { describe, test } from "node:test";
import { API_KEY, call, inPlace, Plain, seqOf } from "./lib/channels.mjs";
import { followers } from "./lib/followers.mjs";
import { enter } from "./lib/server.mjs";

const EVENTS = Number(process.env.TIDINGS_E2E_EVENTS ?? 2000);
const count = (n) => Array.from({ length: n }, (_, i) => i);

// Publishes its share of all, `window` at a time, and says which ids it was answered.
async function publisher(name, share, say, window = 16) {
  const ids = [];
  let next = 0;
  const one = async () => {
    while (next < share) {
      const n = next++;
      ids.push(await say(n, { by: name, n }));
    }
  };
  await Promise.all(count(window).map(one));
  return ids;
}

for (const data of [false, true]) {
  for (const kind of ["kept", "mem"]) {
    if (kind === "kept" && !data) continue;
    describe(`${EVENTS} events by the API, /ws and Socket.IO at once, ${kind === "kept" ? "kept on disk" : data ? "in memory beside a disk" : "in memory"}`, () => {
      test("every subscriber on every transport sees the same ids in the same order, once", async () => {
        await inPlace({ data }, async (place) => {
          const channels = count(3).map((n) => `${kind}:order${n}`);
          const all = Object.entries(followers).map(([name, follow]) => Object.assign(follow(place, channels), { kind: name }));
          await Promise.all(all.map((follower) => follower.ready()));
          const plain = await Plain.enter(place, "ws");
          const sio = await enter(place.server, "sio");
          const agent = new http.Agent({ keepAlive: true });
          const share = Math.ceil(EVENTS / 3);
          const answers = await Promise.all([
            publisher("api", share, async (n, data) => {
              const answer = await call("POST", place, "/api/v1/publish", {
                token: API_KEY,
                body: { channel: channels[n % 3], event: "e", data },
                agent,
              });
              assert.equal(answer.status, 200, answer.body);
              return answer.json.id;
            }),
            publisher("ws", share, async (n, data) => (await plain.publish(channels[n % 3], "e", data)).id),
            publisher("sio", share, async (n, data) => {
              const answer = await sio.ask("publish", channels[n % 3], "e", data);
              assert.ok(answer.ok, JSON.stringify(answer));
              return answer.id;
            }),
          ]);
          agent.destroy();
          const expected = answers.flat().sort((a, b) => seqOf(a) - seqOf(b));
          assert.equal(new Set(expected).size, 3 * share);
          for (const follower of all) {
            await follower.saw(expected.length, 60_000);
            const ids = follower.ids;
            const wrong = ids.findIndex((id, n) => id !== expected[n]);
            assert.equal(wrong, -1, `${follower.kind}: at ${wrong} came ${ids[wrong]} instead of ${expected[wrong]}`);
            assert.equal(ids.length, expected.length, follower.kind);
            assert.deepEqual(follower.gaps, [], follower.kind);
          }
          // one story in all: who, what and where are the same too
          const [first, ...rest] = all.map(({ events }) =>
            events.map(({ channel, event, data }) => `${channel} ${event} ${data.by} ${data.n}`),
          );
          rest.forEach((story, n) => assert.equal(story.join("\n") === first.join("\n"), true, all[n + 1].kind));
          for (const follower of all) follower.close();
          plain.close();
          sio.close();
        });
      });

      test("one publisher's events keep its order", async () => {
        await inPlace({ data }, async (place) => {
          const channels = count(3).map((n) => `${kind}:own order${n}`);
          const all = Object.values(followers).map((follow) => follow(place, channels));
          await Promise.all(all.map((follower) => follower.ready()));
          const plain = await Plain.enter(place, "ws");
          const results = await Promise.all(count(300).map((n) => plain.publish(channels[n % 3], "e", n)));
          const ids = results.map(({ id }) => id);
          assert.deepEqual(
            ids,
            [...ids].sort((a, b) => seqOf(a) - seqOf(b)),
          );
          for (const follower of all) {
            await follower.saw(300);
            assert.deepEqual(
              follower.events.map(({ data }) => data),
              count(300),
              follower.name,
            );
            assert.deepEqual(follower.ids, ids, follower.name);
            follower.close();
          }
          plain.close();
        });
      });
    });
  }
}

test("who comes in the middle sees the rest of the same order, and the start with a cursor", async () => {
  await inPlace({ data: true }, async (place) => {
    const channels = ["kept:middle", "mem:middle"];
    const plain = await Plain.enter(place, "ws");
    const { cursor: since } = await plain.subscribe(channels);
    let ids = [];
    let stop = false;
    const flood = (async () => {
      for (let n = 0; !stop; n++) ids.push((await plain.publish(channels[n % 2], "e", n)).id);
    })();
    const late = [];
    for (const [name, follow] of Object.entries(followers)) {
      const [fresh, whole] = [follow(place, channels), follow(place, channels, { since })];
      await Promise.all([fresh.ready(), whole.ready()]);
      late.push({ name, fresh, whole });
    }
    const enough = ids.length + 100;
    while (ids.length < enough) await plain.result("ping");
    stop = true;
    await flood;
    for (const { name, fresh, whole } of late) {
      await whole.saw(ids.length);
      assert.deepEqual(whole.ids, ids, name);
      const from = ids.indexOf(fresh.ids[0]);
      assert.ok(from >= 0, `${name}: ${fresh.ids[0]}`);
      await fresh.saw(ids.length - from);
      assert.deepEqual(fresh.ids, ids.slice(from), name);
      assert.deepEqual([...fresh.gaps, ...whole.gaps], [], name);
      fresh.close();
      whole.close();
    }
    plain.close();
  });
});
