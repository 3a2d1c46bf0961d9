// A chart of the last ten minutes, or of as many as were seen: lines, or areas on top of each other.

import { el, svg } from "./dom.js";
import { NOTHING } from "./format.js";

// How much is in sight, in seconds: the first of these that has room for all.
const SPANS = [60, 120, 300, 600];

const WIDTH = 600;
const HEIGHT = 100;

// A line is broken where nothing was seen for so long. What was before the page was opened comes every five seconds.
const BREAK_MS = 12_000;

export class Chart {
  #lines;
  #format;
  #stacked;
  #isBinary;
  #seconds = SPANS[0];
  #samples = [];
  #now = 0;
  #pointed;

  // `lines`: `{key, label, format?, own?}`, the first on the bottom of a stack; one with a scale of its `own` is dashed.
  // Sizes have round numbers of their own.
  constructor({ title, testid, lines, format, stacked = false, isBinary = false }) {
    this.#isBinary = isBinary;
    this.#format = format;
    this.#stacked = stacked;
    this.plot = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    for (const y of [0.5, HEIGHT / 2, HEIGHT - 0.5]) this.plot.append(svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y, y2: y }));
    this.#lines = lines.map((line, tone) => {
      const path = svg("path", { class: stacked ? "area" : "curve", "data-tone": tone });
      if (line.own) path.dataset.own = "";
      this.plot.append(path);
      const value = el("b");
      const item = el("li", { "data-tone": tone, "data-own": line.own }, el("span.swatch"), `${line.label} `, value);
      return { ...line, path, value, item };
    });
    this.mark = svg("line", { class: "mark", y1: 0, y2: HEIGHT, x1: -1, x2: -1 });
    this.plot.append(this.mark);
    this.top = el("span.chart-top");
    this.when = el("span.chart-when");
    this.from = el("span");
    this.title = title;
    this.element = el(
      "figure.chart",
      { "data-testid": testid },
      el("figcaption", {}, el("h3", {}, title), el("ul.legend", {}, this.#lines.map(({ item }) => item))),
      el("div.chart-plot", {}, this.plot, this.top),
      el("p.chart-axis", { "aria-hidden": "true" }, this.from, this.when, el("span", {}, "now")),
    );
    this.plot.addEventListener("pointermove", (event) => this.#point(event));
    this.plot.addEventListener("pointerleave", () => this.#point(undefined));
  }

  draw(samples, now = Date.now()) {
    this.#samples = samples;
    this.#now = now;
    const age = samples.length > 0 ? (now - samples[0].at) / 1000 : 0;
    this.#seconds = SPANS.find((seconds) => seconds >= age - 5) ?? SPANS.at(-1);
    this.from.textContent = `${this.#seconds / 60} min ago`;
    const stacks = this.#stacked ? samples.map((sample) => this.#stack(sample)) : undefined;
    const shared = this.#lines.filter(({ own }) => !own);
    const most = this.#stacked
      ? Math.max(0, ...stacks.map((stack) => stack.at(-1)))
      : Math.max(0, ...shared.flatMap(({ key }) => samples.map((sample) => sample[key] ?? 0)));
    const roundUp = this.#isBinary ? roundUpBinary : roundUpDecimal;
    const top = roundUp(most);
    this.top.textContent = most > 0 ? this.#format(top) : "";
    this.#lines.forEach((line, at) => {
      const scale = line.own ? roundUpDecimal(Math.max(0, ...samples.map((sample) => sample[line.key] ?? 0))) : top;
      line.path.setAttribute("d", this.#stacked ? this.#area(stacks, at, top) : this.#curve(line.key, scale));
    });
    this.plot.setAttribute("aria-label", `${this.title}: ${this.#lines.map((line) => `${line.label} ${this.#shown(line, samples.at(-1))}`).join(", ")}`);
    this.#legend();
  }

  // Each line's upper edge.
  #stack(sample) {
    let sum = 0;
    return this.#lines.map(({ key }) => (sum += sample[key] ?? 0));
  }

  #x = (sample) => WIDTH - ((this.#now - sample.at) / 1000) * (WIDTH / this.#seconds);

  #curve(key, top) {
    let path = "";
    let before;
    for (const sample of this.#samples) {
      const value = sample[key];
      if (value === undefined) {
        before = undefined;
        continue;
      }
      const isBroken = !before || sample.at - before.at > BREAK_MS;
      const [x, y] = [this.#x(sample).toFixed(1), height(value, top)];
      // A point alone is seen too.
      path += isBroken ? `M${x} ${y}h0.01` : `L${x} ${y}`;
      before = sample;
    }
    return path;
  }

  #area(stacks, at, top) {
    let path = "";
    // An edge alone would hide the one below.
    if (!this.#samples.some((sample) => sample[this.#lines[at].key] > 0)) return path;
    for (const [from, to] of this.#runs()) {
      const edge = (index, of) => `${this.#x(this.#samples[index]).toFixed(1)} ${height(of < 0 ? 0 : stacks[index][of], top)}`;
      const indices = Array.from({ length: to - from }, (_, offset) => from + offset);
      const there = indices.map((index) => edge(index, at));
      const back = indices.reverse().map((index) => edge(index, at - 1));
      path += `M${[...there, ...back].join("L")}Z`;
    }
    return path;
  }

  // Where samples follow each other: `[from, to)`.
  #runs() {
    const runs = [];
    this.#samples.forEach((sample, index) => {
      if (index > 0 && sample.at - this.#samples[index - 1].at <= BREAK_MS) runs.at(-1)[1] = index + 1;
      else runs.push([index, index + 1]);
    });
    return runs;
  }

  #point(event) {
    if (event) {
      const { left, width } = this.plot.getBoundingClientRect();
      this.#pointed = this.#seconds * (1 - (event.clientX - left) / width);
    } else this.#pointed = undefined;
    this.#legend();
  }

  // What is pointed at, or else now.
  #legend() {
    let sample = this.#samples.at(-1);
    let x = -1;
    this.when.textContent = "";
    if (this.#pointed !== undefined && sample) {
      const at = this.#now - this.#pointed * 1000;
      const nearest = this.#samples.reduce((best, each) => (Math.abs(each.at - at) < Math.abs(best.at - at) ? each : best), sample);
      if (Math.abs(nearest.at - at) < BREAK_MS) {
        sample = nearest;
        x = this.#x(sample);
        this.when.textContent = `${Math.round((this.#now - sample.at) / 1000)} s ago`;
      }
    }
    this.mark.setAttribute("x1", x);
    this.mark.setAttribute("x2", x);
    for (const line of this.#lines) line.value.textContent = this.#shown(line, sample);
  }

  #shown({ key, format = this.#format }, sample) {
    return sample ? format(sample[key] ?? (this.#stacked ? 0 : undefined)) : NOTHING;
  }
}

const height = (value, top) => (HEIGHT - 1 - (value / top) * (HEIGHT - 4)).toFixed(1);

// The next of 1, 2, 2.5, 5, 10, …
function roundUpDecimal(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 2.5, 5, 10].find((step) => step * power >= value * 0.999);
}

// The next of 1, 1.5, 2, 3, 4, 6, 8, …
function roundUpBinary(value) {
  if (value <= 1) return 1;
  const power = 2 ** Math.floor(Math.log2(value));
  return power * [1, 1.5, 2].find((step) => step * power >= value * 0.999);
}
