// Folders for a test's own files, gone when its process ends.
import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folders = [];
process.on("exit", () => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

export async function scratch() {
  const folder = await mkdtemp(join(tmpdir(), "tidings-e2e-"));
  folders.push(folder);
  return folder;
}
