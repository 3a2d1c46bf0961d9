// The soak; run.sh says what it is. Readers check what they get as it comes, so that an hour costs no more memory than a minute.
import { mkdirSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { API_KEY } from "../e2e/lib/channels.mjs";
import { freePort, startServer } from "../e2e/lib/targets.mjs";
import { now, SECRET, tokenOf } from "../e2e/lib/tokens.mjs";
import { Api } from "./api.mjs";
import { flood, junk } from "./attacks.mjs";
import { KINDS } from "./readers.mjs";
import { Samples } from "./samples.mjs";

const { values: options } = parseArgs({
  options: {
    minutes: { type: "string", default: "60" },
    connections: { type: "string", default: "5000" },
    rate: { type: "string", default: "200" },
  },
});
const [minutes, connections, rate] = [options.minutes, options.connections, options.rate].map(Number);

const CHANNELS = 500;
const CATCH_UP_MS = 120_000;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const pick = (list) => list[Math.floor(Math.random() * list.length)];
const name = (number) => `room:${number}`;

const admin = `127.0.0.1:${await freePort()}`;
const server = await startServer({
  config: `
[auth]
hs256 = { env = "E2E_SECRET" }
[api]
key = { env = "E2E_API_KEY" }
[admin]
listen = "${admin}"
[limits]
handshake = "5s"
outbox_bytes = 65536
[[channels]]
match = "room:*"
subscribe = "user"
publish = "user"
presence = true
`,
  listen: `127.0.0.1:${await freePort()}`,
  env: { E2E_SECRET: SECRET, E2E_API_KEY: API_KEY, RUST_LOG: "warn" },
});
const samples = new Samples(`http://${admin}/metrics`);

// ---- what is published, and up to where it was answered

const api = new Api(server.url, API_KEY);
const answered = new Array(CHANNELS).fill(0);
const published = new Array(CHANNELS).fill(0);
let isPublishing = true;
async function publish() {
  const each_ms = 100;
  for (let due = Date.now(); isPublishing; due += each_ms) {
    await pause(Math.max(0, due - Date.now()));
    const events = Array.from({ length: Math.round((rate * each_ms) / 1000) }, () => {
      const channel = Math.floor(Math.random() * CHANNELS);
      published[channel] += 1;
      // now and then a large one, so that who stalls is felt
      const padding = "x".repeat(Math.random() < 0.02 ? 20_000 : 100);
      return { channel: name(channel), event: "e", data: { n: published[channel], padding } };
    });
    const results = await api.batch(events);
    results.forEach(({ id, code }, index) => {
      if (!id) throw new Error(`a publish was refused: ${code}`);
      const channel = Number(events[index].channel.slice(5));
      answered[channel] = Math.max(answered[channel], events[index].data.n);
    });
  }
}

// ---- who reads

const faults = { lost: 0, repeated: 0, gaps: 0, refused: 0, first: undefined };
const counts = { delivered: 0, came: 0, went: 0, cut: 0, stalled: 0, resumed: 0, floods: 0, rate_limited: 0, junk: 0, reloads: 0 };
const readers = [];

function come() {
  const number = (counts.came += 1);
  const Kind = KINDS[number % KINDS.length];
  const channels = [...new Set([number, number * 7 + 3].map((channel) => name(channel % CHANNELS)))];
  const expected = new Map();
  const reader = new Kind({
    url: server.url,
    token: () => tokenOf(`u${number % 2000}`, { exp: now() + 7200 }),
    channels,
    heard(channel, n) {
      counts.delivered += 1;
      const next = expected.get(channel);
      if (next !== undefined && n !== next) {
        faults[n > next ? "lost" : "repeated"] += 1;
        faults.first ??= `${Kind.name} ${number} in ${channel}: ${n} where ${next} was to come`;
      }
      if (next === undefined || n >= next) expected.set(channel, n + 1);
    },
    gap: (what) => {
      faults.gaps += 1;
      faults.first ??= `${Kind.name} ${number}: a gap ${JSON.stringify(what)}`;
    },
    refused: (what) => {
      faults.refused += 1;
      faults.first ??= `${Kind.name} ${number}: refused ${JSON.stringify(what)}`;
    },
    resumed: () => (counts.resumed += 1),
  });
  reader.expected = expected;
  reader.before = channels.map((channel) => published[Number(channel.slice(5))]);
  readers.push(reader);
  reader.start();
}

function every(ms, deed) {
  const timer = setInterval(() => isPublishing && deed(), ms);
  return () => clearInterval(timer);
}

console.log(`${connections} connections for ${minutes} minutes, ${rate} events a second`);
while (readers.length < connections) {
  come();
  if (readers.length % 50 === 0) await pause(100);
}
await pause(3_000);
const publishing = publish();

// Of 5,000 each is cut every four minutes, stalls every sixteen, and leaves every sixteen.
const part_ms = (seconds) => Math.max(5, (seconds * 1000) / connections);
const troubles = [
  every(part_ms(240), () => {
    counts.cut += 1;
    pick(readers).cut();
  }),
  every(part_ms(960), () => {
    counts.stalled += 1;
    pick(readers).stall(5_000 + Math.random() * 40_000);
  }),
  every(part_ms(960), () => {
    counts.went += 1;
    const [gone] = readers.splice(Math.floor(Math.random() * readers.length), 1);
    gone.leave();
    come();
  }),
  every(2_000, async () => {
    counts.floods += 1;
    counts.rate_limited += await flood(server.url, tokenOf("flood"));
  }),
  every(1_000, () => {
    counts.junk += 20;
    for (let n = 0; n < 20; n += 1) junk(server.port, counts.junk + n);
  }),
  every(60_000, () => {
    counts.reloads += 1;
    server.child.kill("SIGHUP");
  }),
];

const end = Date.now() + minutes * 60_000;
let told = Date.now();
while (Date.now() < end && !server.ended) {
  await Promise.race([pause(5_000), publishing]);
  await samples.take();
  if (Date.now() - told > 60_000) {
    told = Date.now();
    console.log(`${Math.round((end - told) / 60_000)} min left: ${samples.last()}, ${counts.delivered} delivered, faults ${JSON.stringify(faults)}`);
  }
}
isPublishing = false;
for (const stop of troubles) stop();
await publishing;
const busy = samples.all.length;

// Everybody gets the rest.
const isBehind = (reader) => [...reader.expected].some(([channel, next]) => next <= answered[Number(channel.slice(5))]);
// Who has heard nothing at all of a channel, in which more was said than could pass while it came in.
const isDeaf = (reader) => reader.channels.some((channel, at) => !reader.expected.has(channel) && answered[Number(channel.slice(5))] > reader.before[at] + 5);
const deadline = Date.now() + CATCH_UP_MS;
while (readers.some(isBehind) && Date.now() < deadline) await pause(200);
const behind = readers.filter((reader) => isBehind(reader) || isDeaf(reader));
for (const reader of readers) reader.leave();
// Sessions of long-polling that never said who they are take a minute or so to end.
const gone = Date.now() + CATCH_UP_MS;
do {
  await pause(5_000);
  await samples.take();
} while (samples.all.at(-1).connections > 0 && Date.now() < gone);
const left = samples.all.at(-1);

// ---- what came of it

const { code } = await server.stop("SIGTERM");
const panics = (server.stderr.match(/panicked/g) ?? []).length;
const memory = samples.growth(busy);
const result = {
  minutes,
  connections,
  published: published.reduce((sum, one) => sum + one, 0),
  ...counts,
  faults: { ...faults, behind: behind.length },
  panics,
  exit: code,
  memory_mib: memory,
  left: { connections: left.connections, descriptors: left.descriptors, memory_mib: left.memory_mib },
};
const folder = resolve(import.meta.dirname, "../../target/soak");
mkdirSync(folder, { recursive: true });
writeFileSync(resolve(folder, "samples.csv"), samples.csv());
writeFileSync(resolve(folder, "result.json"), `${JSON.stringify(result, null, 2)}\n`);
console.log(JSON.stringify(result, null, 2));
if (behind.length > 0) console.log(`behind: ${behind.slice(0, 5).map((reader) => reader.constructor.name).join(", ")}`);
const isSound = faults.lost + faults.repeated + faults.gaps + faults.refused + behind.length + panics === 0 && code === 0 && counts.rate_limited > 0;
// Memory that grows with time, not with what is there, is a leak: the last third against the second.
const isFlat = minutes < 5 || memory.last_third < memory.second_third * 1.1 + 8;
if (!isFlat) console.log("memory is not flat");
process.exit(isSound && isFlat && left.connections === 0 ? 0 : 1);
