// What lies between two glances at a server: rates, and how long deliveries took.

// Samples are kept for so long, which is one a second.
const KEPT_MS = 600_000;

// What is closer together than this says nothing of a rate.
const APART_MS = 500;

// Deliveries of so long are taken together, or few of them would make the line jump.
const WINDOW_MS = 10_000;

export class Series {
  samples = [];
  #glances = [];

  // Takes a glance; one that was taken already, or as good as, is nothing new.
  add(glance, at = Date.now()) {
    const last = this.#glances.at(-1);
    if (last && Math.abs(glance.time - last.time) < APART_MS) return;
    // The server has begun anew: nothing lies between that and before.
    if (last && glance.uptime_ms < last.uptime_ms) this.#glances = [];
    this.#glances.push(glance);
    while (this.#glances.length > 2 && glance.time - this.#glances[1].time >= WINDOW_MS) this.#glances.shift();
    this.samples.push({ at, ...this.#sample(glance) });
    while (at - this.samples[0].at > KEPT_MS) this.samples.shift();
  }

  #sample(glance) {
    const before = this.#glances.at(-2);
    const seconds = before && (glance.time - before.time) / 1000;
    const rate = (of) => (seconds > 0 ? (of(glance) - of(before)) / seconds : undefined);
    const first = this.#glances[0];
    const delays = between(first.delay.buckets, glance.delay.buckets);
    const cpu = glance.process && rate(({ process }) => process?.cpu_seconds);
    return {
      ...glance.connections,
      connections: Object.values(glance.connections).reduce((sum, count) => sum + count, 0),
      published: rate(({ totals }) => totals.published),
      delivered: rate(({ totals }) => totals.delivered),
      writes: rate(({ totals }) => totals.writes),
      p50: quantile(delays, 0.5),
      p99: quantile(delays, 0.99),
      outbox: glance.outbox_bytes,
      lagging: glance.lagging,
      memory: glance.process?.resident_bytes,
      cpu: cpu === undefined ? undefined : cpu * 100,
    };
  }
}

// The buckets of what was counted in between: `[upper bound in µs, count]`.
const between = (before, after) => after.map(([bound, count], at) => [bound, count - before[at][1]]);

// In milliseconds, as if what is in a bucket were spread evenly in it; none where nothing was counted.
export function quantile(buckets, part) {
  const all = buckets.reduce((sum, [, count]) => sum + count, 0);
  if (all === 0) return undefined;
  let rest = all * part;
  let lower = 0;
  for (const [at, [bound, count]] of buckets.entries()) {
    const isLast = at === buckets.length - 1;
    if (count > 0 && rest <= count) return (isLast ? lower : lower + ((bound - lower) * rest) / count) / 1000;
    rest -= count;
    if (!isLast) lower = bound;
  }
  return lower / 1000;
}
