// The token that all panels use: asked for by name, and anew when it has ended or the server has another key.

import { Refusal } from "./refusal.js";

/** Dispatches `user` when `user` has changed. */
export class Tokens extends EventTarget {
  /** The token; empty before the first. */
  token = "";
  /** The user of the token, as the server has it. */
  user = "";
  #name = "";
  #turn = 0;
  #renewing;

  /** Becomes `name`: throws a Refusal, and stays who it was, when the server has no token for it. */
  async become(name) {
    const mine = ++this.#turn;
    const answer = await ask(name);
    // Meanwhile the person may have chosen again.
    if (mine !== this.#turn) return;
    this.#name = name;
    this.#take(answer);
  }

  /** Another token for the same name; who asks at the same time gets the same one. Throws a Refusal without one. */
  renew() {
    this.#renewing ??= this.#renew().finally(() => (this.#renewing = undefined));
    return this.#renewing;
  }

  async #renew() {
    const mine = this.#turn;
    const answer = await ask(this.#name);
    if (mine === this.#turn) this.#take(answer);
  }

  #take({ token, user }) {
    const changed = user !== this.user;
    this.token = token;
    this.user = user;
    if (changed) this.dispatchEvent(new Event("user"));
  }
}

async function ask(name) {
  let response;
  try {
    response = await fetch("token", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ name }),
    });
  } catch {
    throw new Refusal("unreachable", "The server can't be reached.");
  }
  if (!response.ok) {
    const refusal = await Refusal.of(response);
    if (refusal.code === "not_found") refusal.message = "This page gets its tokens from a server that runs with --dev.";
    throw refusal;
  }
  return response.json();
}

/** `fetch` with the token in `Authorization`; once more with a fresh one when it is refused. */
export async function fetchWith(tokens, path, { headers, ...options } = {}) {
  const attempt = () =>
    fetch(path, { ...options, cache: "no-store", headers: { ...headers, Authorization: `Bearer ${tokens.token}` } });
  try {
    const response = await attempt();
    if (response.status !== 401) return response;
    await response.text();
    await tokens.renew();
    return await attempt();
  } catch (error) {
    if (error instanceof Refusal || error.name === "AbortError") throw error;
    throw new Refusal("unreachable", "The server can't be reached.");
  }
}
