// What the load generator expects of a server's process.

/** Says where the server listens, once it does. */
export function ready(port) {
  console.log(`ready 127.0.0.1:${port}`);
}

/** The load generator holds our stdin open; when it is gone, so are we. */
export function endWithStdin() {
  process.stdin.resume();
  process.stdin.on("end", () => process.exit(0));
}
