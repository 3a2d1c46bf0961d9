// What a failed test leaves behind (clients that would reconnect for ever, servers) ends with its file, so that the run ends too.
import { after } from "node:test";

const ends = new Set();

// Returns what to call when it has ended by itself.
export function endLater(end) {
  ends.add(end);
  return () => ends.delete(end);
}

after(() => {
  for (const end of ends) end();
});
