/** What went wrong, with the server's code, or one of ours: `offline` (never sent), `unanswered` (may have arrived), `unreachable`. */
export class Refusal extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }

  /** From an answer over HTTP that is no success, and its body's problem document, if it has one. */
  static async of(response) {
    const problem = await response.json().catch(() => ({}));
    // What may be different in a moment.
    if (response.status >= 500 || response.status === 429) return new Refusal("unreachable", problem.detail);
    return new Refusal(problem.code ?? "not_found", problem.detail ?? `The server answered with ${response.status}.`);
  }
}
