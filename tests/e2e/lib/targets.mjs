// Starts what the tests talk to, on a free port, and stops it: the e2e app on npm's socket.io ("reference"), the same app on the
// tidings crate ("tidings"), and the `tidings` server binary.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { requestJson } from "./http.mjs";
import { endLater } from "./leftovers.mjs";
import { until, within } from "./wait.mjs";

const folder = resolve(import.meta.dirname, "..");
const fromEnv = (name, fallback) => resolve(folder, process.env[name] ?? fallback);

export const e2eApp = fromEnv("TIDINGS_E2E_APP", "../../target/debug/e2e-app");
export const binary = fromEnv("TIDINGS_BIN", "../../target/debug/tidings");

// The side under test; the other side of a comparison is always the reference.
export const target = process.env.TIDINGS_E2E_TARGET ?? "tidings";
export const isReference = target === "reference";

// A child that was told to start: its lines on stdout so far, its exit, its end.
class Process {
  constructor(command, args, env) {
    this.lines = [];
    this.stderr = "";
    // Only what a program needs to run: settings of whoever runs the tests must not reach the server.
    const base = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(TIDINGS_|PORT$)/.test(name)));
    this.child = spawn(command, args, { env: { ...base, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    this.exited = new Promise((done) => {
      this.child.once("close", (code, signal) => done({ code, signal }));
      this.child.once("error", (error) => done({ code: null, signal: null, error }));
    });
    this.ended = false;
    this.exited.then(() => (this.ended = true));
    this.exited.then(endLater(() => this.child.kill("SIGKILL")));
    createInterface({ input: this.child.stdout }).on("line", (line) => this.lines.push(line));
    this.child.stderr.on("data", (chunk) => (this.stderr += chunk));
    process.once("exit", () => this.child.kill("SIGKILL"));
  }

  // The first line on stdout that the pattern matches.
  async line(pattern) {
    let match;
    await until(`a line like ${pattern}`, () => {
      match = this.lines.map((line) => line.match(pattern)).find(Boolean);
      if (!match && this.ended) throw new Error(`it ended before a line like ${pattern}\n${this.stderr}`);
      return match;
    });
    return match;
  }

  async stop(signal = "SIGTERM") {
    if (!this.ended) this.child.kill(signal);
    return within("exit after " + signal, this.exited, 30_000);
  }
}

class App extends Process {
  log = async (after = 0) => (await requestJson("GET", `${this.url}/__log?after=${after}`)).entries;
  stats = () => requestJson("GET", `${this.url}/__stats`);
  emit = (op) => requestJson("POST", `${this.url}/__emit`, op);
  sockets = (op) => requestJson("POST", `${this.url}/__sockets`, op);
  release = () => requestJson("POST", `${this.url}/__release`, {});
  close = () => requestJson("POST", `${this.url}/__close`, {});

  // The first entry of the log that the test accepts, as soon as it is there.
  async logged(what, accepts) {
    let found;
    await until(what, async () => (found = (await this.log()).find(accepts)));
    return found;
  }

  // Everything of all connections has ended.
  async quiet() {
    let stats;
    await until(
      () => `no connection and no socket left, but there are ${JSON.stringify(stats)}`,
      async () => {
        stats = await this.stats();
        return stats.connections === 0 && stats.sockets === 0;
      },
    );
  }
}

export function missing(kind) {
  if (kind === "tidings" && !existsSync(e2eApp)) return `${e2eApp} is not built (cargo build -p e2e-app)`;
  if (kind === "binary" && !existsSync(binary)) return `${binary} is not built (cargo build -p tidings-server)`;
  return undefined;
}

// Starts the e2e app; options are its environment, see reference-app.mjs.
export async function startApp(kind = target, options = {}) {
  const lack = missing(kind);
  if (lack) throw new Error(lack);
  const [command, args] =
    kind === "reference" ? [process.execPath, [join(folder, "lib/reference-app.mjs")]] : [e2eApp, []];
  const app = new App(command, args, options);
  app.kind = kind;
  app.url = (await app.line(/^ready (http:\/\/\S+)$/))[1];
  app.port = Number(new URL(app.url).port);
  return app;
}

// Starts `tidings ARGS`; nothing is awaited but the spawn. `through` stands before the command, a tracer for example.
export function runBinary(args, env = {}, through = []) {
  const lack = missing("binary");
  if (lack) throw new Error(lack);
  const [command, ...rest] = [...through, binary, ...args];
  return new Process(command, rest, env);
}

// Starts `tidings serve`, with a config (TOML text, and files beside it by name) or --dev, until it is ready.
export async function startServer({ config, files = {}, args = [], env = {}, listen = "127.0.0.1:0", through } = {}) {
  const all = ["serve", "--listen", listen, ...args];
  let place;
  if (config === undefined) all.push("--dev");
  else {
    place = mkdtempSync(join(tmpdir(), "tidings-e2e-"));
    writeFileSync(join(place, "tidings.toml"), config);
    for (const [name, content] of Object.entries(files)) writeFileSync(join(place, name), content);
    all.push("--config", join(place, "tidings.toml"));
  }
  const server = runBinary(all, env, through);
  server.configFile = place && join(place, "tidings.toml");
  if (place) server.exited.then(() => rmSync(place, { recursive: true }));
  server.url = (await server.line(/^tidings ready (https?:\/\/\S+)$/))[1];
  server.port = Number(new URL(server.url).port);
  return server;
}

// A port that is free now, for what has to be named before it is bound.
export async function freePort() {
  const { createServer } = await import("node:net");
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}
