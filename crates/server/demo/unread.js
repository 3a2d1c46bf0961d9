// How many notifications the user has not read. The server keeps that, so all tabs and devices show the same: the number goes
// where somebody looks at the list or says so, and the others hear of it.

import { Refusal } from "./refusal.js";
import { fetchWith } from "./tokens.js";
import { sentence, toast } from "./toasts.js";

const SHOWN_MAX = 99;
const NARROW = matchMedia("(max-width: 63.99rem)");

export class Unread {
  #tokens;
  #badge;
  #number;
  #button;
  #feed;
  #panels = document.querySelector("#panels");
  #count = 0;
  /** The newest notification in the list. */
  #last = "";
  #turn = 0;
  #asked = 0;

  constructor(panel, tokens) {
    this.#tokens = tokens;
    this.#badge = panel.part("unread");
    this.#number = panel.part("unread-number");
    this.#button = panel.part("mark-read");
    this.#feed = panel.part("feed");
    this.#button.addEventListener("click", () => this.#mark({ says: true }));
    // Who points at the list or moves into it looks at it; on a narrow screen, who chooses the panel.
    for (const look of ["pointerenter", "focus"]) this.#feed.addEventListener(look, () => this.#mark());
    this.#panels.addEventListener("shown", () => this.#look());
    document.addEventListener("visibilitychange", () => this.#look());
  }

  /** Another user. */
  clear() {
    this.#last = "";
    this.#turn += 1;
    this.#show({ unread: 0 });
  }

  /** The list has this one now. */
  saw(id) {
    this.#last = id;
    return this.ask();
  }

  /** Asks the server, which alone knows what was read elsewhere. */
  async ask() {
    await this.#request("unread").catch(() => {}); // it is asked again with the next one
    this.#look();
  }

  /** The server said so, because another device has read. */
  told(answer) {
    this.#turn += 1;
    this.#show(answer);
    // Which of the two is newer can't be told.
    if (this.#asked > 0) this.ask();
  }

  #show({ unread, more }) {
    this.#count = unread;
    this.#badge.hidden = unread === 0;
    this.#number.textContent = unread > SHOWN_MAX ? `${SHOWN_MAX}+` : String(unread);
    this.#badge.title = more ? `more than ${unread}` : "";
    // It stays where it is, and the focus on it.
    this.#button.setAttribute("aria-disabled", String(unread === 0));
    this.#badge.dispatchEvent(new CustomEvent(unread === 0 ? "seen" : "arrived", { bubbles: true }));
  }

  #look() {
    if (document.hidden) return;
    const isChosen = NARROW.matches && this.#panels.dataset.view === "notify";
    const hasFocus = document.hasFocus() && document.activeElement === this.#feed;
    if (isChosen || hasFocus || this.#feed.matches(":hover")) this.#mark();
  }

  /** All that is in the list is read. `says`: the person has asked for it, and hears why not. */
  async #mark({ says = false } = {}) {
    if (this.#count === 0 || !this.#last) return;
    const headers = { "Content-Type": "application/json" };
    try {
      await this.#request("read", { method: "POST", headers, body: JSON.stringify({ id: this.#last }) });
    } catch (refusal) {
      if (says) toast(sentence(refusal));
    }
  }

  async #request(what, options) {
    const mine = ++this.#turn;
    const path = `/api/v1/users/${encodeURIComponent(this.#tokens.user)}/${what}`;
    this.#asked += 1;
    try {
      const response = await fetchWith(this.#tokens, path, options);
      if (!response.ok) throw await Refusal.of(response);
      const answer = await response.json();
      // Something newer may have been said meanwhile.
      if (mine === this.#turn) this.#show(answer);
    } finally {
      this.#asked -= 1;
    }
  }
}
