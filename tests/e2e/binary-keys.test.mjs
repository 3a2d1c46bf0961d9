// The `tidings` server: tokens signed with the private half of a pair, and keys that change while it runs (PRODUCT.md, "Auth").
import assert from "node:assert/strict";
import { generateKeyPairSync, sign as signBytes } from "node:crypto";
import { rename, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { describe, test } from "node:test";
import { Client, newest } from "./lib/clients.mjs";
import { scratch } from "./lib/scratch.mjs";
import { enter, serving } from "./lib/server.mjs";
import { now, tokenOf } from "./lib/tokens.mjs";
import { until } from "./lib/wait.mjs";

const KINDS = {
  RS256: ["rsa", { modulusLength: 2048 }],
  ES256: ["ec", { namedCurve: "P-256" }],
  EdDSA: ["ed25519", {}],
};

// A pair of keys, and tokens of it.
class Pair {
  constructor(alg, kid) {
    const [type, options] = KINDS[alg];
    Object.assign(this, { alg, kid, ...generateKeyPairSync(type, options) });
  }

  get pem() {
    return this.publicKey.export({ type: "spki", format: "pem" });
  }

  get jwk() {
    return { ...this.publicKey.export({ format: "jwk" }), use: "sig", alg: this.alg, kid: this.kid };
  }

  token(sub, { alg = this.alg, kid = this.kid } = {}) {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const text = `${part({ alg, kid })}.${part({ sub, exp: now() + 3600 })}`;
    const hash = this.alg === "EdDSA" ? null : "sha256";
    const signature = signBytes(hash, Buffer.from(text), { key: this.privateKey, dsaEncoding: "ieee-p1363" });
    return `${text}.${signature.toString("base64url")}`;
  }
}

// What becomes of a client that comes with this token: in, refused with a code, or to come back later.
async function outcome(server, token) {
  const client = new Client(newest, server.url, { transports: ["websocket"], auth: { token } });
  const record = await client.saw("an answer", (record) => !("event" in record));
  client.close();
  return record.data?.code ?? (record.connect ? "in" : "later");
}

describe("public keys in the configuration", { concurrency: true }, () => {
  for (const [key, alg] of Object.entries({ rs256: "RS256", es256: "ES256", eddsa: "EdDSA" })) {
    test(`${key}: from a file, from a variable, and several`, async () => {
      const folder = await scratch();
      const pairs = [new Pair(alg), new Pair(alg), new Pair(alg)];
      await writeFile(`${folder}/a.pem`, pairs[0].pem);
      const auth = `[auth]\n${key} = [{ file = "${folder}/a.pem" }, { env = "SECOND_KEY" }]\n`;
      await serving({ auth, env: { SECOND_KEY: pairs[1].pem } }, async (server) => {
        const client = await enter(server, "ann", { token: pairs[0].token("ann") });
        assert.equal((await client.ask("subscribe", "open:a")).ok, true);
        client.close();
        assert.equal(await outcome(server, pairs[1].token("ann")), "in");
        assert.equal(await outcome(server, pairs[2].token("ann")), "token_signature");
        assert.equal(await outcome(server, pairs[0].token("ann", { alg: "HS256" })), "token_algorithm");
        assert.equal(await outcome(server, tokenOf("ann")), "token_algorithm");
      });
    });
  }
});

// Whoever signs the tokens, at a URL.
class Issuer {
  keys = [];
  asked = 0;
  status = 200;

  async open(port = 0) {
    this.http = createServer((_, answer) => {
      this.asked += 1;
      answer.writeHead(this.status, { "content-type": "application/json" });
      answer.end(JSON.stringify({ keys: this.keys.map((pair) => pair.jwk) }));
    });
    await new Promise((done) => this.http.listen(port, "127.0.0.1", done));
    this.port = this.http.address().port;
    return this;
  }

  get url() {
    return `http://127.0.0.1:${this.port}/jwks.json`;
  }

  async close() {
    this.http.closeAllConnections();
    await new Promise((done) => this.http.close(done));
  }
}

describe("a set of keys", { concurrency: true }, () => {
  test("in a file: a key that was added passes, one that was removed does not", async () => {
    const file = `${await scratch()}/jwks.json`;
    const put = async (...pairs) => {
      await writeFile(`${file}.new`, JSON.stringify({ keys: pairs.map((pair) => pair.jwk) }));
      await rename(`${file}.new`, file);
    };
    const [old, fresh] = [new Pair("ES256", "old"), new Pair("RS256", "fresh")];
    await put(old);
    await serving({ auth: `[auth]\njwks = { file = "${file}" }\n` }, async (server) => {
      assert.equal(await outcome(server, old.token("ann")), "in");
      await put(old, fresh);
      // A key that is not there is looked for at once, though not more than once a second.
      await until("the new key", async () => (await outcome(server, fresh.token("ann"))) === "in");
      assert.equal(await outcome(server, old.token("ann")), "in");
      await put(fresh);
      await until("the old key's end", async () => (await outcome(server, old.token("ann"))) === "token_signature");
      assert.equal(await outcome(server, fresh.token("ann")), "in");
      await writeFile(file, "{");
      assert.equal(await outcome(server, old.token("ann")), "token_signature");
      assert.equal(await outcome(server, fresh.token("ann")), "in", "what was read last holds");
    });
  });

  test("at a URL: a new key is fetched when a token names it, junk does not make it ask again and again", async () => {
    const issuer = await new Issuer().open();
    const [old, fresh] = [new Pair("EdDSA", "old"), new Pair("EdDSA", "fresh")];
    issuer.keys = [old];
    try {
      await serving({ auth: `[auth]\njwks = { url = "${issuer.url}" }\n` }, async (server) => {
        assert.equal(await outcome(server, old.token("ann")), "in");
        const junk = new Pair("EdDSA", "junk");
        const asked = issuer.asked;
        for (let n = 0; n < 20; n += 1) assert.equal(await outcome(server, junk.token("ann")), "token_signature");
        assert.ok(issuer.asked <= asked + 1, `asked ${issuer.asked - asked} times`);
        issuer.keys = [old, fresh];
        await until("the new key", async () => (await outcome(server, fresh.token("ann"))) === "in");
      });
    } finally {
      await issuer.close();
    }
  });

  test("at a URL that is down: who is known stays known, also after a new start; without a copy it is `unavailable`", async () => {
    const issuer = await new Issuer().open();
    const pair = new Pair("RS256", "1");
    issuer.keys = [pair];
    const data = await scratch();
    const options = { top: `data = "${data}"`, auth: `[auth]\njwks = { url = "${issuer.url}" }\n` };
    await serving(options, async (server) => {
      assert.equal(await outcome(server, pair.token("ann")), "in");
      await issuer.close();
      assert.equal(await outcome(server, pair.token("bob")), "in");
    });
    await serving(options, async (server) => assert.equal(await outcome(server, pair.token("ann")), "in"));
    await serving({ auth: options.auth }, async (server) => {
      const client = new Client(newest, server.url, {
        transports: ["websocket"],
        auth: { token: pair.token("ann") },
        reconnection: true,
        reconnectionDelay: 50,
      });
      assert.ok("disconnect" in (await client.saw("an answer", () => true)), "nothing final");
      issuer.asked = 0;
      await issuer.open(issuer.port);
      await client.connected();
      client.close();
      await issuer.close();
    });
  });
});

describe("a set beside keys that have no names", () => {
  test("is looked at again too, and a copy of another issuer's is of no use", async () => {
    const issuer = await new Issuer().open();
    const [fixed, old, fresh] = [new Pair("ES256"), new Pair("ES256", "old"), new Pair("ES256", "fresh")];
    issuer.keys = [old];
    const data = await scratch();
    const auth = `[auth]\nes256 = { env = "FIXED_KEY" }\njwks = { url = "${issuer.url}" }\n`;
    const options = { top: `data = "${data}"`, auth, env: { FIXED_KEY: fixed.pem } };
    await serving(options, async (server) => {
      for (const pair of [fixed, old]) assert.equal(await outcome(server, pair.token("ann")), "in");
      issuer.keys = [old, fresh];
      await until("the new key", async () => (await outcome(server, fresh.token("ann"))) === "in");
    });
    await issuer.close();
    const elsewhere = { ...options, auth: auth.replace("jwks.json", "other.json") };
    await serving(elsewhere, async (server) => {
      assert.equal(await outcome(server, fixed.token("ann")), "in");
      assert.equal(await outcome(server, old.token("ann")), "later");
    });
  });
});

describe("keys that can't be", () => {
  test("are told with their line and what to do", async () => {
    const folder = await scratch();
    const pair = new Pair("ES256", "1");
    await writeFile(`${folder}/private.pem`, pair.privateKey.export({ type: "pkcs8", format: "pem" }));
    await writeFile(`${folder}/es.pem`, pair.pem);
    await writeFile(`${folder}/empty.json`, '{"keys":[]}');
    for (const [line, parts] of [
      [`es256 = { file = "${folder}/private.pem" }`, ["private key", "openssl pkey"]],
      [`rs256 = { file = "${folder}/es.pem" }`, ["not an RSA key", "openssl genpkey"]],
      [`jwks = { file = "${folder}/empty.json" }`, ["no keys"]],
      [`jwks = { file = "${folder}/nowhere.json" }`, ["nowhere.json"]],
      [`jwks = { url = "accounts.example" }`, ["https://"]],
      [`jwks = { uri = "https://accounts.example" }`, ["did you mean `url`"]],
      [`jwks = "https://accounts.example"`, ["url = "]],
    ]) {
      const error = await serving({ auth: `[auth]\n${line}\n` }, () => {}).catch((error) => String(error));
      for (const part of [...parts, line.split(" ")[0]]) assert.ok(error?.includes(part), `${line}: ${error}`);
    }
  });
});
