// Messages on their way to the server. While there is no connection they wait here. One whose answer was lost may have
// arrived: it is published again under the same key, and the server, which knows the key for five minutes, keeps and
// delivers it once. When that time is over, the person decides.

const KEY_MS = 4 * 60_000;

/** A message of ours, `status` one of `waiting`, `flying`, `sent`, `failed` (with `refusal`). */
export function draft(channel, user, text) {
  const random = crypto.getRandomValues(new Uint32Array(3));
  const nonce = [...random].map((part) => part.toString(36)).join("");
  return { nonce, channel, user, text, time: Date.now(), mine: true, status: "waiting" };
}

export class Outbox {
  #connection;
  #changed;
  #messages = [];
  #open = false;

  /** `changed(message)` is called whenever a message's status changed. */
  constructor(connection, changed) {
    this.#connection = connection;
    this.#changed = changed;
  }

  /** Sends what waits, in order, and from now on everything at once; until `close()`. */
  open() {
    this.#open = true;
    const waiting = this.#messages.filter((message) => message.status === "waiting");
    for (const message of waiting) this.#send(message);
  }

  close() {
    this.#open = false;
  }

  /** Takes a new message, or one that failed once more. */
  add(message) {
    if (!this.#messages.includes(message)) this.#messages.push(message);
    this.#become(message, "waiting");
    if (this.#open) this.#send(message);
  }

  /** Forgets a message that shall not be sent any more. */
  discard(message) {
    this.#messages = this.#messages.filter((other) => other !== message);
  }

  /** It came back as an event, so it arrived, whatever became of the answer. */
  delivered(message) {
    this.discard(message);
    message.status = "sent";
  }

  async #send(message) {
    this.#become(message, "flying");
    const begun = Date.now();
    try {
      const data = { text: message.text, nonce: message.nonce };
      const { id } = await this.#connection.ask("publish", message.channel, "message", data, { key: message.nonce });
      message.id ??= id;
    } catch (refusal) {
      if (message.status !== "flying") return;
      if (refusal.code === "unanswered") message.begun ??= begun;
      const again = refusal.code === "unanswered" && Date.now() - message.begun < KEY_MS;
      if (again || refusal.code === "offline") {
        this.#become(message, "waiting");
        // Otherwise it was the end of the connection, and the next one sends what waits.
        if (again && this.#open) this.#send(message);
        return;
      }
      message.refusal = refusal;
      return this.#become(message, "failed");
    }
    this.discard(message);
    if (message.status === "flying") this.#become(message, "sent");
  }

  #become(message, status) {
    message.status = status;
    this.#changed(message);
  }
}
