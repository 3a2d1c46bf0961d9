// Numbers, times and sizes, as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

export const NOTHING = "–";

export const number = (value) => (isKnown(value) ? whole.format(value) : NOTHING);

export const rate = (value) => (isKnown(value) ? (value >= 10_000 ? compact : short).format(value < 0.05 ? 0 : value) : NOTHING);

export function bytes(value) {
  if (!isKnown(value)) return NOTHING;
  let rest = value;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (rest < 1024 || unit === "GiB") return `${short.format(rest)} ${unit}`;
    rest /= 1024;
  }
}

export function ms(value) {
  if (!isKnown(value)) return NOTHING;
  return value >= 1000 ? `${short.format(value / 1000)} s` : `${short.format(value)} ms`;
}

export const percent = (value) => (isKnown(value) ? `${short.format(value)} %` : NOTHING);

// The two largest units.
export function span(value) {
  if (!isKnown(value)) return NOTHING;
  let seconds = Math.floor(value / 1000);
  const parts = [];
  for (const [unit, length] of [["d", 86_400], ["h", 3600], ["min", 60], ["s", 1]]) {
    const count = Math.floor(seconds / length);
    seconds -= count * length;
    if (count > 0 || (unit === "s" && parts.length === 0)) parts.push(`${count} ${unit}`);
  }
  return parts.slice(0, 2).join(" ");
}

const twoDigits = (value, digits = 2) => String(value).padStart(digits, "0");

// Of today without the day.
export function time(unixMs) {
  const date = new Date(unixMs);
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => twoDigits(part)).join(":");
  if (date.toDateString() === new Date().toDateString()) return clock;
  return `${date.getFullYear()}-${twoDigits(date.getMonth() + 1)}-${twoDigits(date.getDate())} ${clock}`;
}

export const exactTime = (unixMs) => new Date(unixMs).toISOString();

// The start of a text that may be long.
export const start = (text, characters) => (text.length > characters ? `${text.slice(0, characters)}…` : text);

const isKnown = (value) => value !== undefined && value !== null && Number.isFinite(value);
