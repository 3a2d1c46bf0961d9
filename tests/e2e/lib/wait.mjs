// Waiting for what must happen, with a deadline that says what did not.

export const DEADLINE_MS = 15_000;

export function within(what, promise, deadline_ms = DEADLINE_MS) {
  let timer;
  const deadline = new Promise((_, refuse) => {
    const error = new Error(`not within ${deadline_ms} ms: ${what}`);
    timer = setTimeout(() => refuse(error), deadline_ms);
  });
  return Promise.race([promise, deadline]).finally(() => clearTimeout(timer));
}

// Asks again and again until the answer is true.
export async function until(what, condition, deadline_ms = DEADLINE_MS) {
  const end = Date.now() + deadline_ms;
  for (;;) {
    if (await condition()) return;
    if (Date.now() > end) throw new Error(`not within ${deadline_ms} ms: ${typeof what === "function" ? what() : what}`);
    await new Promise((again) => setTimeout(again, 10));
  }
}

// A list that grows elsewhere and is taken from here, in order.
export class Inbox {
  #items = [];
  #takers = [];

  push(item) {
    const taker = this.#takers.shift();
    if (taker) taker(item);
    else this.#items.push(item);
  }

  next(what = "the next item", deadline_ms = DEADLINE_MS) {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift());
    let taker;
    const item = new Promise((done) => this.#takers.push((taker = done)));
    return within(what, item, deadline_ms).catch((error) => {
      this.#takers = this.#takers.filter((other) => other !== taker);
      throw error;
    });
  }

  get waiting() {
    return this.#items.length;
  }
}
