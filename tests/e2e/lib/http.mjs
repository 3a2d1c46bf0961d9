// HTTP as bytes: no client library's opinion between the test and the server.
import http from "node:http";
import { within } from "./wait.mjs";

// Answers {status, headers, body (text), bytes}; `started` is called with the request, for tests that cut it.
export function request(method, url, { headers = {}, body, agent = false, started } = {}) {
  const answer = new Promise((done, fail) => {
    const outgoing = http.request(url, { method, headers, agent }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => {
        const bytes = Buffer.concat(chunks);
        done({ status: response.statusCode, headers: response.headers, bytes, body: bytes.toString() });
      });
      response.on("error", fail);
    });
    outgoing.on("error", fail);
    started?.(outgoing);
    outgoing.end(body);
  });
  return within(`${method} ${url} answered`, answer, 45_000);
}

export async function requestJson(method, url, value) {
  const { status, body } = await request(method, url, {
    headers: value === undefined ? {} : { "content-type": "application/json" },
    body: value === undefined ? undefined : JSON.stringify(value),
  });
  if (status !== 200) throw new Error(`${method} ${url}: ${status} ${body}`);
  return JSON.parse(body);
}
