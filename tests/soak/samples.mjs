// What the server says of itself, every few seconds.
import http from "node:http";

const NAMES = {
  memory_mib: /^process_resident_memory_bytes (\S+)/m,
  descriptors: /^process_open_fds (\S+)/m,
};
const MIB = 1 << 20;

export class Samples {
  all = [];
  #began = Date.now();

  constructor(url) {
    this.url = url;
  }

  async take() {
    const text = await new Promise((done, fail) => {
      http.get(this.url, { agent: false }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk) => (text += chunk));
        response.on("end", () => done(text));
      }).on("error", fail);
    });
    const of = (pattern) => Number(text.match(pattern)?.[1]);
    const connections = [...text.matchAll(/^tidings_connections(?:\{[^}]*\})? (\S+)/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
    this.all.push({
      seconds: Math.round((Date.now() - this.#began) / 1000),
      memory_mib: Math.round((of(NAMES.memory_mib) / MIB) * 10) / 10,
      descriptors: of(NAMES.descriptors),
      connections,
    });
  }

  last() {
    const { memory_mib, descriptors, connections } = this.all.at(-1);
    return `${memory_mib} MiB, ${descriptors} descriptors, ${connections} connections`;
  }

  // The means of thirds of the first `count`, and the most.
  growth(count) {
    const memory = this.all.slice(0, count).map((sample) => sample.memory_mib);
    const third = Math.max(1, Math.floor(memory.length / 3));
    const mean = (part) => Math.round((part.reduce((sum, one) => sum + one, 0) / Math.max(1, part.length)) * 10) / 10;
    return {
      first_third: mean(memory.slice(0, third)),
      second_third: mean(memory.slice(third, 2 * third)),
      last_third: mean(memory.slice(2 * third)),
      most: Math.max(...memory),
    };
  }

  csv() {
    const lines = this.all.map(({ seconds, memory_mib, descriptors, connections }) => `${seconds},${memory_mib},${descriptors},${connections}`);
    return `seconds,memory_mib,descriptors,connections\n${lines.join("\n")}\n`;
  }
}
