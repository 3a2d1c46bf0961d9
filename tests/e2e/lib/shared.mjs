// What the wire tests share: one app for a file, an app with other options for one test, and what each side is expected to do.
import { after, before } from "node:test";
import { isReference, startApp, target } from "./targets.mjs";

// Where Tidings does better than npm's server on purpose (SOCKETIO.md says so), a check names both.
export const side = ({ reference, tidings }) => (isReference ? reference : tidings);

// One app for all tests of a file.
export function sharedApp(options) {
  const holder = {};
  before(async () => (holder.app = await startApp(target, options)));
  after(() => holder.app?.stop());
  return new Proxy(
    {},
    {
      get: (_, name) => {
        const value = holder.app[name];
        return typeof value === "function" ? value.bind(holder.app) : value;
      },
    },
  );
}

// An app with options of its own, for one test.
export async function withApp(options, play) {
  const app = await startApp(target, options);
  try {
    await play(app);
  } finally {
    await app.stop();
  }
}
