// The console's API. What it refuses is thrown, in words for people.

const BASE = "api/";

export class Refused extends Error {
  constructor(message, { status = 0, code = "", retryAfter } = {}) {
    super(message);
    Object.assign(this, { status, code, retryAfter });
  }
}

export const get = (path, parameters, read = JSON.parse) => ask("GET", path + query(parameters), undefined, read);
export const post = (path, value) => ask("POST", path, value);

// A part of a path, whatever stands in it.
export const part = encodeURIComponent;

export function query(parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== "");
  return given.length > 0 ? `?${new URLSearchParams(given)}` : "";
}

// The address of something, for an EventSource.
export const address = (path, parameters) => BASE + path + query(parameters);

async function ask(method, path, value, read = JSON.parse) {
  const options = { method, signal: AbortSignal.timeout(20_000) };
  if (value !== undefined) {
    options.body = typeof value === "string" ? value : JSON.stringify(value);
    options.headers = { "content-type": "application/json" };
  }
  let response;
  try {
    response = await fetch(BASE + path, options);
  } catch {
    throw new Refused("the server can't be reached");
  }
  const text = await response.text();
  if (response.ok) return text ? read(text) : undefined;
  const problem = parsed(text);
  const refused = new Refused(problem.detail ?? `the server answered ${response.status}`, {
    status: response.status,
    code: problem.code,
    retryAfter: Number(response.headers.get("retry-after")) || undefined,
  });
  // Signing in says itself what was wrong; everywhere else the session is over.
  if (response.status === 401 && path !== "login") dispatchEvent(new Event("signed-out"));
  throw refused;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
