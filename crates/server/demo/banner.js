// The line above the messages that says that the connection is gone, and when it is tried again.

const GRACE_MS = 600;

export class Banner {
  #frame = document.querySelector("#banner");
  #text = document.querySelector("#banner-text");
  #detail = document.querySelector("#banner-detail");
  #action = document.querySelector("#banner-action");
  #announcement = document.querySelector("#announcement");
  #connection;
  #timer = 0;
  #wasOnline = false;

  constructor(connection) {
    this.#connection = connection;
    this.#action.addEventListener("click", () => connection.retry());
    connection.addEventListener("state", () => this.#draw());
  }

  #draw() {
    clearTimeout(this.#timer);
    const { name, attempt, next, detail } = this.#connection.state;
    switch (name) {
      case "online":
        if (!this.#frame.hidden) this.#announce("Connected.");
        this.#frame.hidden = true;
        this.#wasOnline = true;
        break;
      case "connecting":
        // Mostly too short to be worth a word.
        this.#timer = setTimeout(() => this.#show("Connecting…", "", ""), GRACE_MS);
        break;
      case "trying":
        this.#show(this.#lost(), `Attempt ${attempt}, trying now…`, "Try now");
        break;
      case "waiting":
        this.#count(attempt, next, detail);
        break;
      case "cut":
        this.#show("Connection cut.", "What you write waits until it is back.", "Reconnect");
        break;
      case "stopped":
        this.#show("Not connected.", detail, "Connect again");
        break;
    }
  }

  #count(attempt, next, reason) {
    const seconds = Math.max(1, Math.ceil((next - Date.now()) / 1000));
    const when = `Attempt ${attempt} in ${seconds} s.`;
    this.#show(this.#lost(), reason ? `${reason} ${when}` : when, "Try now");
    this.#timer = setTimeout(() => this.#count(attempt, next, reason), 250);
  }

  #lost() {
    return this.#wasOnline ? "Connection lost." : "The server can't be reached.";
  }

  // Only the first part is read out: nobody wants to hear a countdown.
  #show(text, detail, action) {
    this.#frame.hidden = false;
    this.#announce(text);
    for (const [element, value] of [[this.#text, text], [this.#detail, detail], [this.#action, action]]) {
      if (element.textContent !== value) element.textContent = value;
    }
    this.#action.hidden = action === "";
  }

  #announce(text) {
    if (this.#announcement.textContent !== text) this.#announcement.textContent = text;
  }
}
