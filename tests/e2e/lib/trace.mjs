// What a process wrote and synced, in the order the kernel was asked to: the output of `strace -f -y`, read.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

const WRITES = ["write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg"];
const SYNCS = ["fsync", "fdatasync"];

// What to put before a command. `-D` leaves the command our child, so that it is waited for and killed as without; `-s` is more
// than any write has here.
export const tracer = (output) => [
  "strace", "-D", "-f", "-y", "-s", "1000000", "-e", `trace=${[...WRITES, ...SYNCS].join(",")}`, "-o", output,
];

// Why nothing can be traced here, if so. That strace is missing is no excuse: ./check installs it.
export function untraceable() {
  const tried = spawnSync("strace", ["-f", "-o", "/dev/null", "true"], { encoding: "utf8" });
  if (tried.error) throw new Error(`strace can't be started (${tried.error.code}): ./check tools installs it`);
  if (tried.status === 0) return undefined;
  const said = tried.stderr.trim();
  if (/operation not permitted|permission denied|function not implemented/i.test(said)) return said;
  throw new Error(`strace fails here: ${said}`);
}

// A call as strace shows it. `began` and `ended` are places in its output: a call that ended before another began has the
// smaller `ended`.
class Call {
  constructor(name, shown, began) {
    Object.assign(this, { name, shown, began, ended: Infinity, result: undefined });
    // `3<socket:[77]>`, `4</path>`: what the number in front stands for
    this.target = shown.match(/^\w+\(\d+<(.*?)>[,)\s]/)?.[1] ?? shown.match(/^\w+\(\d+<(.*)>$/)?.[1];
  }

  get isWrite() {
    return WRITES.includes(this.name);
  }

  get isSync() {
    return SYNCS.includes(this.name);
  }

  // A call that the process did not live to see the end of may have done its work.
  get failed() {
    return this.result < 0;
  }

  // The bytes that were written, as strace escapes them.
  get text() {
    const strings = this.shown.match(/"(?:[^"\\]|\\.)*"/g) ?? [];
    return strings.map((string) => string.slice(1, -1)).join("");
  }
}

// Every call of every thread, by the place where it began.
export function parseTrace(text) {
  const calls = [];
  const unfinished = new Map();
  for (const [place, line] of text.split("\n").entries()) {
    const [, thread, rest] = line.match(/^(\d+)\s+(.*)$/s) ?? [];
    if (!rest || rest.startsWith("+++") || rest.startsWith("---")) continue;
    // A thread that was killed before strace knew what it called.
    if (rest.startsWith("???(")) continue;
    const resumed = rest.match(/^<\.\.\. (\w+) resumed>(.*)$/s);
    let call;
    if (resumed) {
      call = unfinished.get(thread);
      unfinished.delete(thread);
      if (call?.name !== resumed[1]) throw new Error(`a call ends that did not begin: ${line}`);
    } else {
      const [, name] = rest.match(/^(\w+)\(/) ?? [];
      if (!name) throw new Error(`no call: ${line.slice(0, 200)}`);
      call = new Call(name, rest.replace(/\s*<unfinished \.\.\.>$/, ""), place);
      calls.push(call);
      if (rest.endsWith("<unfinished ...>")) {
        unfinished.set(thread, call);
        continue;
      }
    }
    // The last call of a thread that is killed has no end.
    const result = rest.match(/\)\s+=\s+(-?\d+)(?:\s[^)]*(?:\(.*\))?)?$/);
    if (result) Object.assign(call, { result: Number(result[1]), ended: place });
  }
  return calls;
}

export const readTrace = (file) => parseTrace(readFileSync(file, "utf8"));

// Everything that was written to each target, in order, with the call that each part came from.
export class Streams {
  #streams = new Map();

  constructor(calls, accepts) {
    for (const call of calls.filter((call) => call.isWrite && !call.failed && accepts(call.target ?? ""))) {
      const stream = this.#streams.get(call.target) ?? { text: "", parts: [] };
      this.#streams.set(call.target, stream);
      stream.parts.push({ at: stream.text.length, call });
      stream.text += call.text;
    }
  }

  get targets() {
    return [...this.#streams.keys()];
  }

  // The calls that wrote the first and the last byte of each place where this text stands.
  find(wanted) {
    const found = [];
    for (const { text, parts } of this.#streams.values()) {
      for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + 1)) {
        const callAt = (place) => parts.findLast((part) => part.at <= place).call;
        found.push({ first: callAt(at), last: callAt(at + wanted.length - 1) });
      }
    }
    return found;
  }
}
