// The publisher's side: batches over one connection.
import http from "node:http";

export class Api {
  #agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

  constructor(url, key) {
    this.url = url;
    this.key = key;
  }

  batch(events) {
    const body = JSON.stringify({ events });
    const headers = { authorization: `Bearer ${this.key}`, "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    return new Promise((done, fail) => {
      const request = http.request(`${this.url}/api/v1/batch`, { method: "POST", agent: this.#agent, headers }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk) => (text += chunk));
        response.on("end", () => (response.statusCode === 200 ? done(JSON.parse(text).results) : fail(new Error(text))));
        response.on("error", fail);
      });
      request.on("error", fail);
      request.end(body);
    });
  }
}
