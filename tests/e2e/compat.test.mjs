// The same scenario by the same stock client against npm's server and against the target; the transcripts must be equal but for
// what known-differences.mjs lists. With the reference as target it is compared with itself: the scenarios are deterministic.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { knownDifferences } from "./known-differences.mjs";
import { transports, versions } from "./lib/clients.mjs";
import { gracefulClose, scenarios } from "./lib/scenarios.mjs";
import { isReference, startApp, target } from "./lib/targets.mjs";
import { differences, Run } from "./lib/transcript.mjs";

let apps;
before(async () => (apps = await Promise.all([startApp("reference"), startApp(target)])));
after(() => Promise.all((apps ?? []).map((app) => app.stop())));

async function play(app, version, transport, scenario) {
  const run = new Run(app, version, transport);
  await run.begin();
  try {
    await scenario(run);
    return await run.end();
  } finally {
    run.abort();
  }
}

function compare(name, transport, [reference, other]) {
  const known = isReference
    ? []
    : knownDifferences.filter((entry) => entry.scenario === name && (entry.transports ?? [transport]).includes(transport));
  const unexplained = differences(reference, other).filter(
    (found) =>
      !known.some(
        (entry) =>
          entry.stream === found.stream &&
          isDeepStrictEqual(entry.reference, found.reference) &&
          isDeepStrictEqual(entry.tidings, found.other),
      ),
  );
  for (const { stream, reference, other } of unexplained) assert.deepEqual(other, reference, `${stream} differs`);
  const gone = known.filter((entry) => !differences(reference, other).some((found) => found.stream === entry.stream));
  assert.deepEqual(gone, [], "listed as a known difference, and there is none");
}

for (const version of Object.keys(versions)) {
  for (const transport of Object.keys(transports)) {
    describe(`socket.io-client ${version}, ${transport}`, () => {
      for (const [name, scenario] of Object.entries(scenarios)) {
        test(name, async () => {
          // One after the other would hide nothing, side by side is faster.
          const transcripts = await Promise.all(apps.map((app) => play(app, version, transport, scenario)));
          compare(name, transport, transcripts);
        });
      }

      test("the server closes in order", async () => {
        const own = await Promise.all([startApp("reference"), startApp(target)]);
        try {
          const transcripts = await Promise.all(own.map((app) => gracefulClose(new Run(app, version, transport))));
          compare("the server closes in order", transport, transcripts);
        } finally {
          await Promise.all(own.map((app) => app.stop("SIGKILL")));
        }
      });
    });
  }
}

describe("known differences", () => {
  const page = join(import.meta.dirname, "../../docs/compat.md");

  test("each is explained under its heading in docs/compat.md", { skip: !existsSync(page) && "no such page yet" }, () => {
    const headings = readFileSync(page, "utf8").match(/^#+ .*$/gm).map((line) => line.replace(/^#+ /, "").trim());
    for (const { section } of knownDifferences) assert.ok(headings.includes(section), `no heading "${section}"`);
  });

  test("each names a scenario that is played", () => {
    const played = [...Object.keys(scenarios), "the server closes in order"];
    for (const { scenario } of knownDifferences) assert.ok(played.includes(scenario), scenario);
  });
});
