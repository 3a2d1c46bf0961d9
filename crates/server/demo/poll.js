// `GET /poll`, as the panels ask it.

import { Refusal } from "./refusal.js";
import { fetchWith } from "./tokens.js";

/**
 * One request. Answers `{status, events, next, gap, etag}`, with no events for a 304; throws a Refusal, with `unreachable`
 * for what may be different in a moment.
 */
export async function poll(tokens, parameters, { signal, etag } = {}) {
  const headers = etag ? { "If-None-Match": etag } : {};
  const response = await fetchWith(tokens, `/poll?${new URLSearchParams(parameters)}`, { signal, headers });
  const answer = { status: response.status, etag: response.headers.get("ETag") ?? "", events: [], next: "", gap: false };
  if (response.status === 304) return answer;
  if (!response.ok) throw await Refusal.of(response);
  try {
    return Object.assign(answer, await response.json());
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("unreachable", "The answer broke off.");
  }
}
