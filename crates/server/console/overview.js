// The overview: what there is and what happens, live.

import { Chart } from "./chart.js";
import { el } from "./dom.js";
import { bytes, ms, number, percent, rate, span } from "./format.js";
import { quantile } from "./series.js";

const KINDS = [
  ["socketio-websocket", "Socket.IO"],
  ["socketio-polling", "Socket.IO, polling"],
  ["websocket", "WebSocket"],
  ["sse", "event streams"],
  ["poll", "polls"],
];

const charts = () => [
  new Chart({ title: "Connections", testid: "chart-connections", format: number, stacked: true, lines: KINDS.map(([key, label]) => ({ key, label })) }),
  new Chart({ title: "Events a second", testid: "chart-events", format: rate, lines: [{ key: "published", label: "in" }, { key: "delivered", label: "delivered" }] }),
  new Chart({ title: "Delivery time", testid: "chart-delivery", format: ms, lines: [{ key: "p50", label: "half within" }, { key: "p99", label: "99 % within" }] }),
  new Chart({ title: "Waiting to be written", testid: "chart-outbox", format: bytes, isBinary: true, lines: [{ key: "outbox", label: "outboxes" }, { key: "lagging", label: "lagging", format: number, own: true }] }),
  new Chart({ title: "Memory", testid: "chart-memory", format: bytes, isBinary: true, lines: [{ key: "memory", label: "resident" }] }),
  new Chart({ title: "CPU", testid: "chart-cpu", format: percent, lines: [{ key: "cpu", label: "of one core" }] }),
];

// `[testid, name, of (glance, latest sample)]`
const FIGURES = [
  ["connections", "Connections", (_, now) => number(now?.connections)],
  ["channels", "Channels", ({ channels }) => number(channels)],
  ["subscriptions", "Subscriptions", ({ subscriptions }) => number(subscriptions)],
  ["published", "Events in / s", (_, now) => rate(now?.published)],
  ["delivered", "Delivered / s", (_, now) => rate(now?.delivered)],
  ["p99", "99 % within", (_, now) => ms(now?.p99)],
  ["lagging", "Lagging", ({ lagging }) => number(lagging)],
  ["memory", "Memory", ({ process }) => bytes(process?.resident_bytes)],
];

const DETAILS = [
  ["Server", [
    ["Version", ({ version }) => version],
    ["Up for", ({ uptime_ms }) => span(uptime_ms)],
    ["State", ({ state, failure }) => (failure ? `${state}: ${failure}` : state)],
    ["Open files", ({ process }) => number(process?.open_files)],
  ]],
  ["Log", [
    ["Newest event", ({ log }) => log.cursor],
    ["Kept", ({ log }) => (log.on_disk ? "in memory and on disk" : "in memory alone")],
    ["In memory", ({ log }) => `${number(log.retained_events)} events, ${bytes(log.retained_bytes)}`],
    ["A write to disk, 99 % within", ({ log }) => ms(log.commits ? quantile(log.commits.buckets, 0.99) : undefined)],
  ]],
  ["Clients", [
    ["Come in all", ({ totals }) => number(totals.opened)],
    ["Sessions away", ({ sessions_away }) => number(sessions_away)],
    ["Sessions resumed, lost", ({ totals }) => `${number(totals.sessions_recovered)}, ${number(totals.sessions_lost)}`],
    ["Given what they missed", ({ totals }) => number(totals.replays)],
    ["Told of a gap", ({ totals }) => number(totals.gaps)],
  ]],
  ["Trouble", [
    ["Fell behind", ({ totals }) => number(totals.lagged)],
    ["Closed, took nothing", ({ totals }) => number(totals.stalled)],
    ["Messages over the rate", ({ totals }) => number(totals.rate_limited)],
    ["Volatile events dropped", ({ totals }) => number(totals.volatile_dropped)],
    ["Not let in", ({ refused }) => number(refused.reduce((sum, [, count]) => sum + count, 0))],
  ]],
];

export const title = () => "Overview";

export function open(root, { pulse }) {
  const figures = FIGURES.map(([testid, name, of]) => ({ value: el("dd", { "data-testid": `figure-${testid}` }), name, of }));
  const details = DETAILS.map(([heading, rows]) => ({ heading, rows: rows.map(([name, of]) => ({ value: el("dd"), name, of })) }));
  const all = charts();
  const failure = el("p.failure", { role: "alert", hidden: true });
  root.append(
    el("h1.sr-only", {}, "Overview"),
    failure,
    el("dl.figures", {}, figures.map(({ name, value }) => el("div", {}, el("dt", {}, name), value))),
    el("div.charts", {}, all.map(({ element }) => element)),
    el("div.details", {}, details.map(({ heading, rows }) =>
      el("section.panel", {}, el("h2", {}, heading), el("dl", {}, rows.map(({ name, value }) => el("div", {}, el("dt", {}, name), value)))))),
  );
  return pulse.follow((glance, samples) => {
    if (document.hidden) return;
    failure.hidden = !glance.failure;
    failure.textContent = glance.failure ? `Nothing can be published: ${glance.failure}` : "";
    const now = samples.at(-1);
    for (const { value, of } of figures) value.textContent = of(glance, now);
    for (const { rows } of details) for (const { value, of } of rows) value.textContent = of(glance, now);
    for (const chart of all) chart.draw(samples);
  });
}
