// PRODUCT.md, guarantee 2: "A client that comes back with its last id gets every event of its channels that is still retained, once,
// before any new one; if something it should have had is gone, it is told which channels have a gap first. No gap is announced where
// nothing was missed." By each transport's own means, through cut connections and a killed server.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { apiPublish, inPlace, Place, Plain, publish, tailOf } from "./lib/channels.mjs";
import { followers } from "./lib/followers.mjs";
import { Proxy } from "./lib/proxy.mjs";
import { until } from "./lib/wait.mjs";

const count = (n) => Array.from({ length: n }, (_, i) => i);

// A server, a proxy before it, and one of each transport behind the proxy, with a cursor from the start.
async function withAll(channels, options, play) {
  await inPlace(options, async (place) => {
    const proxy = await Proxy.to(place);
    const since = await tailOf(place, channels[0]);
    const all = Object.values(followers).map((follow) => follow(proxy, channels, { since }));
    try {
      await Promise.all(all.map((follower) => follower.ready()));
      await play({ place, proxy, all, since });
    } finally {
      for (const follower of all) follower.close();
      proxy.close();
    }
  });
}

async function sawExactly(all, ids) {
  await Promise.all(all.map((follower) => follower.saw(ids.length, 60_000)));
  for (const follower of all) {
    assert.deepEqual(follower.ids, ids, `${follower.name}: ids`);
    assert.deepEqual(follower.gaps, [], `${follower.name}: gaps`);
  }
}

// Nothing more comes: an event published last comes last.
async function andNothingMore(place, channel, all, ids) {
  await Promise.all(all.map((follower) => follower.ready()));
  ids.push(await publish(place, channel, "last", "last"));
  await sawExactly(all, ids);
}

// Who is back has asked anew since `before`.
const back = (all, before) =>
  until(
    () =>
      `all are back: ${all.filter((f, n) => !(f.connects > before[n] && f.here)).map(({ name, error }) => `not ${name} (${error?.message ?? JSON.stringify(error)})`)}`,
    () => all.every((follower, n) => follower.connects > before[n] && follower.here),
    60_000,
  );
const connects = (all) => all.map((follower) => follower.connects);

for (const kind of ["kept", "mem"]) {
  const channels = [`${kind}:a`, `${kind}:b`];
  describe(`connections that end, ${kind === "kept" ? "with history on disk" : "in memory"}`, () => {
    test("the client's own end of it, again and again", async () => {
      await withAll(channels, { data: kind === "kept" }, async ({ place, all }) => {
        const ids = [];
        for (const round of count(8)) {
          for (const n of count(3)) ids.push(await publish(place, channels[n % 2], "e", `${round} ${n}`));
          if (round % 2 === 0) await sawExactly(all, ids);
          for (const follower of all) follower.cut();
        }
        await andNothingMore(place, channels[0], all, ids);
      });
    });

    test("a network that goes away and comes back", async () => {
      await withAll(channels, { data: kind === "kept" }, async ({ place, proxy, all }) => {
        const ids = [];
        for (const round of count(4)) {
          proxy.down();
          for (const n of count(20)) ids.push(await publish(place, channels[n % 2], "e", `${round} ${n}`));
          const before = connects(all);
          proxy.up();
          // in every second round it goes again before all are back
          if (round % 2 === 0) await back(all, before);
        }
        await andNothingMore(place, channels[0], all, ids);
      });
    });

    test("cut while events flow", async () => {
      await withAll(channels, { data: kind === "kept" }, async ({ place, proxy, all }) => {
        const ids = [];
        const ann = await Plain.enter(place, "publisher");
        for (const n of count(400)) {
          ids.push((await ann.publish(channels[n % 2], "e", { n, text: "x".repeat(200) })).id);
          if (n % 50 === 25) proxy.cut();
        }
        ann.close();
        await andNothingMore(place, channels[0], all, ids);
      });
    });

    test("cut before any event came: a quiet client has a cursor too", async () => {
      await withAll(channels, { data: kind === "kept" }, async ({ place, proxy, all }) => {
        proxy.down();
        const ids = [];
        for (const n of count(5)) ids.push(await publish(place, channels[n % 2], "e", n));
        proxy.up();
        await sawExactly(all, ids);
        await andNothingMore(place, channels[0], all, ids);
      });
    });

    test("a reader that stalls gets all of it when it reads on, in order", async () => {
      await withAll(channels, { data: kind === "kept" }, async ({ place, proxy, all }) => {
        proxy.stall();
        const ids = [];
        const ann = await Plain.enter(place, "publisher");
        // more than an outbox and the sockets' buffers take
        for (const n of count(300)) ids.push((await ann.publish(channels[n % 2], "e", { n, text: "x".repeat(30_000) })).id);
        ann.close();
        proxy.flow();
        await andNothingMore(place, channels[0], all, ids);
      });
    });
  });
}

describe("a server that is killed with SIGKILL and started again on its data and port", () => {
  const channels = ["kept:a", "kept:b"];

  test("nothing is missing and nothing twice, three times in a row", async () => {
    await withAll(channels, { data: true }, async ({ place, all }) => {
      const ids = [];
      for (const round of count(3)) {
        for (const n of count(10)) ids.push(await publish(place, channels[n % 2], "e", `${round} ${n}`));
        await sawExactly(all, ids);
        const before = connects(all);
        await place.restart();
        await back(all, before);
      }
      await andNothingMore(place, channels[0], all, ids);
    });
  });

  test("what was published while they were away comes after the restart, before any new one", async () => {
    await withAll(channels, { data: true }, async ({ place, proxy, all }) => {
      const ids = [];
      for (const n of count(4)) ids.push(await publish(place, channels[n % 2], "e", n));
      await sawExactly(all, ids);
      proxy.down();
      for (const n of count(30)) ids.push(await publish(place, channels[n % 2], "missed", n));
      await place.restart();
      for (const n of count(5)) ids.push(await publish(place, channels[n % 2], "after", n));
      proxy.up();
      await sawExactly(all, ids);
      await andNothingMore(place, channels[0], all, ids);
    });
  });

  test("killed at any moment: every answered publish comes once, in order, and a retried key once", async () => {
    await withAll(channels, { data: true }, async ({ place, all }) => {
      const answered = [];
      let stop = false;
      const flood = (async () => {
        for (let n = 0; !stop; n++) {
          for (;;) {
            try {
              const { status, json } = await apiPublish(place, { channel: channels[n % 2], event: "e", data: n, key: `n${n}` });
              if (status === 200) {
                answered.push(json.id);
                break;
              }
            } catch {
              // the server is down: the same again
            }
            await new Promise((again) => setTimeout(again, 20));
          }
        }
      })();
      for (const _ of count(4)) {
        const enough = answered.length + 150;
        await until("150 more", () => answered.length >= enough, 60_000);
        await place.restart();
      }
      const enough = answered.length + 20;
      await until("20 more", () => answered.length >= enough, 60_000);
      stop = true;
      await flood;
      await Promise.all(all.map((follower) => follower.saw(answered.length, 60_000)));
      for (const follower of all) {
        assert.deepEqual(
          follower.events.map(({ data }) => data),
          count(answered.length),
          follower.name,
        );
        assert.deepEqual(follower.ids, answered, follower.name);
        assert.deepEqual(follower.gaps, [], follower.name);
      }
    });
  });

  test("ids go on above those before: none is given twice, even those nobody was told", async () => {
    const place = await Place.open({ data: true });
    try {
      const seen = new Set();
      let last = "";
      for (const _ of count(3)) {
        for (const n of count(10)) {
          const id = await publish(place, n % 2 ? "kept:ids" : "mem:ids", "e", n);
          assert.ok(!seen.has(id));
          seen.add(id);
          if (last) assert.ok(Number(id.split("-")[1]) > Number(last.split("-")[1]), `${id} after ${last}`);
          if (last) assert.equal(id.split("-")[0], last.split("-")[0], "one sequence");
          last = id;
        }
        await place.restart();
      }
    } finally {
      await place.close();
    }
  });

  test("`time` is never decreasing, over restarts too", async () => {
    await inPlace({ data: true }, async (place) => {
      const ann = await Plain.enter(place, "ann");
      const { cursor } = await ann.subscribe("kept:time");
      ann.close();
      for (const n of count(3)) {
        await publish(place, "kept:time", "e", n);
        await place.restart();
      }
      const again = await Plain.enter(place, "ann");
      await again.subscribe("kept:time", cursor);
      const times = (await again.events(3)).map(({ time }) => time);
      assert.deepEqual(
        times,
        [...times].sort((a, b) => a - b),
      );
      again.close();
    });
  });
});

describe("what is lost is announced, and nothing else", () => {
  const channels = ["kept:a", "mem:lost", "mem:quiet", "kept:quiet", "mem:never"];

  test("a memory-only channel's loss is announced with `gap`, before anything new; the others are not alarmed", async () => {
    await withAll(channels, { data: true }, async ({ place, proxy, all }) => {
      const ids = [];
      for (const channel of ["mem:lost", "mem:quiet", "kept:quiet", "kept:a"])
        ids.push(await publish(place, channel, "e", channel));
      await sawExactly(all, ids);
      proxy.down();
      const kept = await publish(place, "kept:a", "missed", 1);
      await publish(place, "mem:lost", "lost", 1);
      await place.restart();
      const after = await publish(place, "mem:lost", "after", 1);
      proxy.up();
      for (const follower of all) {
        await until(
          () => `the gap at ${follower.name}: ${JSON.stringify(follower.seen)}`,
          () => follower.gaps.length > 0,
          60_000,
        );
        await follower.saw(ids.length + 2);
      }
      const last = await publish(place, "mem:quiet", "last", 1);
      for (const follower of all) {
        await follower.saw(ids.length + 3);
        assert.deepEqual(follower.ids, [...ids, kept, after, last], follower.name);
        assert.deepEqual(
          follower.gaps.map(({ gap }) => gap),
          [["mem:lost"]],
          follower.name,
        );
        const at = follower.seen.findIndex(({ gap }) => gap);
        assert.ok(at <= follower.seen.findIndex(({ id }) => id === after), `${follower.name}: the gap comes first`);
        assert.ok(at <= follower.seen.findIndex(({ id }) => id === kept), `${follower.name}: the gap comes first`);
      }
    });
  });

  test("a loss is announced once: the next time they come back there is no gap", async () => {
    await withAll(channels, { data: true }, async ({ place, proxy, all }) => {
      const ids = [await publish(place, "mem:lost", "e", 1)];
      await sawExactly(all, ids);
      proxy.down();
      await publish(place, "mem:lost", "lost", 1);
      await place.restart();
      proxy.up();
      for (const follower of all) await until(`the gap at ${follower.name}`, () => follower.gaps.length === 1, 60_000);
      // an event behind the gap moves the cursor past it
      const after = await publish(place, "kept:a", "after", 1);
      await Promise.all(all.map((follower) => follower.saw(2)));
      const before = connects(all);
      for (const follower of all) follower.cut();
      await back(all, before);
      const last = await publish(place, "mem:quiet", "last", 1);
      for (const follower of all) {
        await follower.saw(3);
        assert.deepEqual([follower.ids, follower.gaps.length], [[...ids, after, last], 1], follower.name);
      }
    });
  });

  test("a quiet client gets no gap", async () => {
    await withAll(channels, { data: true }, async ({ place, all }) => {
      // much happens, but elsewhere; and all that happened here they have got
      const ids = [];
      for (const n of count(20)) await publish(place, n % 2 ? "mem:elsewhere" : "kept:elsewhere", "e", n);
      const before = connects(all);
      await place.restart();
      await back(all, before);
      ids.push(await publish(place, "mem:quiet", "e", 1));
      await sawExactly(all, ids);
      for (const n of count(20)) await publish(place, n % 2 ? "mem:elsewhere" : "kept:elsewhere", "e", n);
      const again = connects(all);
      await place.restart();
      await back(all, again);
      await andNothingMore(place, "mem:never", all, ids);
    });
  });

  test("two kills while they are away", async () => {
    await withAll(channels, { data: true }, async ({ place, proxy, all }) => {
      const ids = [await publish(place, "kept:a", "e", 0)];
      await sawExactly(all, ids);
      proxy.down();
      await publish(place, "mem:lost", "lost", 1);
      await place.restart();
      ids.push(await publish(place, "kept:a", "e", 1));
      await publish(place, "mem:elsewhere", "e", 1);
      await place.restart();
      ids.push(await publish(place, "kept:a", "e", 2));
      proxy.up();
      for (const follower of all) {
        await follower.saw(3);
        await until(`the gap at ${follower.name}`, () => follower.gaps.length > 0);
        assert.deepEqual([follower.ids, follower.gaps.map(({ gap }) => gap)], [ids, [["mem:lost"]]], follower.name);
      }
    });
  });

  test("a server without data has a new epoch at each start: a gap where something could be missed, then live", async () => {
    await withAll(["mem:a"], {}, async ({ place, all }) => {
      const first = await publish(place, "mem:a", "e", 1);
      await sawExactly(all, [first]);
      await place.restart();
      for (const follower of all)
        await until(
          () =>
            `the gap at ${follower.name}: ${JSON.stringify(follower.seen)} ${JSON.stringify(follower.error?.message ?? follower.error)}`,
          () => follower.gaps.length > 0,
          60_000,
        );
      await Promise.all(all.map((follower) => follower.ready()));
      const live = await publish(place, "mem:a", "e", 2);
      for (const follower of all) {
        await follower.saw(2);
        assert.deepEqual([follower.ids, follower.gaps.map(({ gap }) => gap)], [[first, live], [["mem:a"]]], follower.name);
        assert.notEqual(first.split("-")[0], live.split("-")[0]);
      }
    });
  });

  test("several channels subscribed from one cursor and cut half-way: the rest of each comes", async () => {
    await inPlace({ data: true }, async (place) => {
      const proxy = await Proxy.to(place);
      const channels = count(20).map((n) => `${n % 2 ? "kept" : "mem"}:half${n}`);
      const since = await tailOf(place, "mem:a");
      const ids = [];
      const ann = await Plain.enter(place, "publisher");
      for (const n of count(400)) ids.push((await ann.publish(channels[n % 20], "e", "x".repeat(10_000))).id);
      ann.close();
      for (const [name, follow] of Object.entries(followers)) {
        const follower = follow(proxy, channels, { since, limit: 7 });
        for (const part of [50, 120, 300]) {
          await follower.saw(part, 60_000);
          proxy.cut();
        }
        await follower.saw(400, 60_000);
        assert.deepEqual(follower.ids, ids, name);
        assert.deepEqual(follower.gaps, [], name);
        follower.close();
      }
      proxy.close();
    });
  });
});
