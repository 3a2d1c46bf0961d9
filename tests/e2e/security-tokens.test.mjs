// Attacks with tokens: those that are not what they say, and several at once. docs/security.md lists all attacks.
import assert from "node:assert/strict";
import { createHmac, generateKeyPairSync, sign as signBytes } from "node:crypto";
import http from "node:http";
import { after, before, describe, test } from "node:test";
import { Arena, Raw } from "./lib/arena.mjs";
import { call, Plain } from "./lib/channels.mjs";
import { Client, newest } from "./lib/clients.mjs";
import { AUTH, serving } from "./lib/server.mjs";
import { now, SECRET, sign, tokenOf } from "./lib/tokens.mjs";
import { within } from "./lib/wait.mjs";

// What becomes of a token at each way in: everywhere the same code, or "in".
async function outcomes(server, token) {
  const sio = new Client(newest, server.url, { transports: ["websocket"], auth: { token } });
  const plain = new Plain(server);
  await within("the 101", plain.answered);
  plain.say({ type: "auth", token });
  const [record, said, polled] = await Promise.all([
    sio.saw("an answer", (record) => !("event" in record)),
    plain.next(),
    call("GET", server, `/poll?channel=mem:a&wait=0&access_token=${encodeURIComponent(token)}`),
  ]);
  sio.close();
  plain.cut();
  const inside = { welcome: "in", error: said.code }[said.type];
  return [
    record.connect ? "in" : (record.data?.code ?? "later"),
    inside,
    [200, 403].includes(polled.status) ? "in" : polled.json?.code,
  ];
}

describe("tokens that are not what they say", () => {
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const ed = generateKeyPairSync("ed25519");
  const other = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const pem = ({ publicKey }) => publicKey.export({ type: "spki", format: "pem" });
  const part = (value) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
  const claims = { sub: "ann", exp: now() + 3600 };
  const signers = {
    rsa: (text) => signBytes("sha256", text, rsa.privateKey),
    ec: (text) => signBytes("sha256", text, { key: ec.privateKey, dsaEncoding: "ieee-p1363" }),
    der: (text) => signBytes("sha256", text, { key: ec.privateKey, dsaEncoding: "der" }),
    ed: (text) => signBytes(null, text, ed.privateKey),
    other: (text) => signBytes("sha256", text, other.privateKey),
    nobody: () => Buffer.alloc(0),
    zeros: () => Buffer.alloc(64),
    ones: () => Buffer.alloc(64, 1),
  };
  const token = (header, signer, body = claims) => {
    const text = `${part(header)}.${part(body)}`;
    const by = signers[signer] ?? ((text) => createHmac("sha256", signer).update(text).digest());
    return `${text}.${by(Buffer.from(text)).toString("base64url")}`;
  };

  let confused;
  let server;
  let asked = 0;
  const listener = http.createServer((_request, answer) => {
    asked += 1;
    answer.end(
      JSON.stringify({ keys: [{ ...other.publicKey.export({ format: "jwk" }), kid: "evil", use: "sig", alg: "RS256" }] }),
    );
  });
  before(async () => {
    await new Promise((done) => listener.listen(0, "127.0.0.1", done));
    const auth = '[auth]\nrs256 = { env = "RSA" }\nes256 = { env = "EC" }\neddsa = { env = "ED" }\n';
    confused = await Arena.open({
      auth: `${auth}hs256 = { env = "E2E_SECRET" }\n`,
      env: { RSA: pem(rsa), EC: pem(ec), ED: pem(ed) },
    });
    server = confused.place;
  });
  after(async () => {
    listener.close();
    await confused?.close();
  });

  const refused = async (tokens, code = /^(unauthenticated|token_\w+)$/) => {
    for (const [what, token] of Object.entries(tokens))
      for (const outcome of await outcomes(server, token)) assert.match(outcome ?? "nothing", code, `${what}: ${outcome}`);
  };

  test("the good ones of each key are in", async () => {
    for (const [alg, signer] of [
      ["RS256", "rsa"],
      ["ES256", "ec"],
      ["EdDSA", "ed"],
      ["HS256", SECRET],
    ])
      assert.deepEqual(await outcomes(server, token({ alg }, signer)), ["in", "in", "in"], alg);
  });

  test("a public key as the secret of HS256, in all its spellings", async () => {
    const tokens = {};
    for (const [name, pair] of Object.entries({ rsa, ec, ed })) {
      const text = pem(pair);
      const spellings = [text, text.trim(), text.replaceAll("\n", "\r\n"), text.split("\n").slice(1, -2).join(""), ""];
      spellings.push(
        pair.publicKey.export({ type: "spki", format: "der" }),
        JSON.stringify(pair.publicKey.export({ format: "jwk" })),
      );
      spellings.forEach((secret, n) => (tokens[`${name} ${n}`] = token({ alg: "HS256" }, secret)));
    }
    await refused(tokens, /^token_signature$/);
    // where there is no secret at all, the algorithm is none of the keys'
    await serving({ auth: '[auth]\nrs256 = { env = "RSA" }\n', env: { RSA: pem(rsa) } }, async (alone) => {
      for (const outcome of await outcomes(alone, token({ alg: "HS256" }, pem(rsa)))) assert.equal(outcome, "token_algorithm");
    });
  });

  test("no algorithm, in all its spellings", async () => {
    const algs = [
      "none",
      "None",
      "NONE",
      "nOnE",
      "none ",
      "",
      "\0none",
      "null",
      "HS256\0",
      "hs256",
      "HS1",
      "RS1",
      "dir",
      null,
      0,
      [],
      {},
      ["HS256"],
    ];
    const tokens = { "none at all": token({ typ: "JWT" }, "nobody"), "signed, but unnamed": token({ typ: "JWT" }, SECRET) };
    for (const alg of algs) {
      tokens[`${JSON.stringify(alg)} without a signature`] = token({ alg }, "nobody");
      tokens[`${JSON.stringify(alg)} with a secret's`] = token({ alg }, SECRET);
    }
    await refused(tokens);
  });

  test("an algorithm that is not the key's", async () => {
    await refused({
      "RS384 of the key for RS256": token({ alg: "RS384" }, "rsa"),
      "PS256 of the key for RS256": token({ alg: "PS256" }, "rsa"),
      "ES256 signed with RSA": token({ alg: "ES256" }, "rsa"),
      "RS256 signed with P-256": token({ alg: "RS256" }, "ec"),
      "EdDSA signed with P-256": token({ alg: "EdDSA" }, "ec"),
      "ES256 signed with Ed25519": token({ alg: "ES256" }, "ed"),
      "ES384 of the key for ES256": token({ alg: "ES384" }, "ec"),
      "ES256K of the key for ES256": token({ alg: "ES256K" }, "ec"),
      "RS256 of another key": token({ alg: "RS256" }, "other"),
      "HS256 with the wrong secret": token({ alg: "HS256" }, "x".repeat(64)),
    });
  });

  test("signatures of nothing", async () => {
    const tokens = {};
    for (const alg of ["HS256", "RS256", "ES256", "EdDSA"])
      for (const signer of ["nobody", "zeros", "ones"]) tokens[`${alg} ${signer}`] = token({ alg }, signer);
    tokens["ES256 in DER"] = token({ alg: "ES256" }, "der");
    await refused(tokens);
  });

  test("keys that the token brings along, or tells where to get; nothing is fetched", async () => {
    const jwk = { ...other.publicKey.export({ format: "jwk" }), kid: "evil", alg: "RS256", use: "sig" };
    const url = `http://127.0.0.1:${listener.address().port}/jwks.json`;
    await refused({
      jwk: token({ alg: "RS256", jwk }, "other"),
      jku: token({ alg: "RS256", jku: url, kid: "evil" }, "other"),
      x5u: token({ alg: "RS256", x5u: url }, "other"),
      x5c: token({ alg: "RS256", x5c: [part(pem(other))] }, "other"),
      "kid as a URL": token({ alg: "RS256", kid: url }, "other"),
      "an oct key": token({ alg: "HS256", jwk: { kty: "oct", k: part("mine") } }, "mine"),
    });
    assert.equal(asked, 0);
  });

  test("names of keys that mean something elsewhere", async () => {
    const kids = [
      "../../../../dev/null",
      "/dev/null",
      "' OR 1=1 --",
      "' UNION SELECT ''",
      "|/bin/true",
      "%00",
      "\0",
      "x".repeat(10_000),
      "",
      7,
      null,
      [],
      {},
      "__proto__",
    ];
    // an empty secret is what a file such as /dev/null would hold
    const tokens = Object.fromEntries(
      kids.map((kid) => [`kid ${JSON.stringify(kid)?.slice(0, 40)}`, token({ alg: "HS256", kid }, "")]),
    );
    await refused(tokens);
  });

  test("headers and claims that are not what they seem", async () => {
    const good = token({ alg: "HS256" }, SECRET);
    const [head, body, signature] = good.split(".");
    const twice = `{"alg":"none","alg":"HS256"}`;
    await refused({
      "an extension that must be understood": token({ alg: "HS256", crit: ["b64"], b64: false }, SECRET),
      "another's claims under a good signature": `${head}.${part({ ...claims, sub: "root" })}.${signature}`,
      "the header of another": `${part({ alg: "HS256", typ: "x" })}.${body}.${signature}`,
      "five parts, as JWE has": `${good}.${part("x")}.${part("x")}`,
      "four parts": `${good}.`,
      padding: `${good}=`,
      "a line's end behind it": `${good}\n`,
      "an alphabet of another base64": `${head}.${body}.${Buffer.from(signature, "base64url").toString("base64")}`.replace(
        /=*$/,
        "=",
      ),
      "`alg` twice, none first": token(twice, "nobody"),
      "a header of 10,000 levels": `${part("[".repeat(10_000))}.${body}.${signature}`,
      "claims of 5,000 levels": token(
        { alg: "HS256" },
        SECRET,
        `{"sub":"ann","exp":${now() + 60},"info":${"[".repeat(5000)}${"]".repeat(5000)}}`,
      ),
      "claims in a list": token({ alg: "HS256" }, SECRET, [claims]),
      "no end": token({ alg: "HS256" }, SECRET, { sub: "ann" }),
      "an end that is text": token({ alg: "HS256" }, SECRET, { sub: "ann", exp: "9999999999" }),
      "an end below zero": token({ alg: "HS256" }, SECRET, { sub: "ann", exp: -1 }),
      "a user with a line's end": token({ alg: "HS256" }, SECRET, { ...claims, sub: "ann\nroot" }),
      "for somebody else": token({ alg: "HS256" }, SECRET, { ...claims, aud: "another service" }),
      "a signature that goes on": `${good}${"A".repeat(10_000)}`,
    });
  });
});

describe("more than one token", () => {
  let arena;
  let place;
  before(async () => {
    arena = await Arena.open({ auth: `${AUTH}cookie = "session"\n` });
    ({ place } = arena);
  });
  after(() => arena?.close());

  const ann = () => tokenOf("ann");
  const bad = () => sign({ sub: "root", exp: now() + 60 }, { secret: "not this server's secret" });
  const ask = async (target, headers) => {
    const raw = new Raw(
      place,
      `GET ${target} HTTP/1.1\r\nhost: 127.0.0.1:${place.port}\r\n${headers}connection: close\r\n\r\n`,
    );
    await raw.end();
    return raw.status;
  };
  const target = "/api/v1/users/ann/unread";

  test("of one kind: refused, or the first counts, and a wrong one never gets another's place", async () => {
    const bearer = (token) => `authorization: Bearer ${token}\r\n`;
    const query = (...tokens) => `${target}?${tokens.map((token) => `access_token=${token}`).join("&")}`;
    const cookies = (...tokens) => `cookie: ${tokens.map((token) => `session=${token}`).join("; ")}\r\n`;
    for (const status of [
      await ask(target, bearer(bad()) + bearer(ann())),
      await ask(query(bad(), ann()), ""),
      await ask(target, cookies(bad(), ann())),
      await ask(target, cookies(bad()) + cookies(ann())),
    ])
      assert.ok([400, 401].includes(status), `${status}`);
    // the first is right: it counts, or two are one too many
    for (const status of [
      await ask(target, bearer(ann()) + bearer(bad())),
      await ask(query(ann(), bad()), ""),
      await ask(target, cookies(ann(), bad())),
    ])
      assert.ok([200, 400, 401].includes(status), `${status}`);
  });

  test("of different kinds: the first found is the only one that is looked at", async () => {
    const wrongFirst = [
      [`${target}?access_token=${ann()}`, `authorization: Bearer ${bad()}\r\n`],
      [target, `authorization: Bearer ${bad()}\r\ncookie: session=${ann()}\r\n`],
      [`${target}?access_token=${bad()}`, `cookie: session=${ann()}\r\n`],
      [`${target}?access_token=`, `cookie: session=${ann()}\r\n`],
      [target, `authorization: Basic YTpi\r\ncookie: session=${ann()}\r\n`],
    ];
    for (const [target, headers] of wrongFirst)
      assert.equal(await ask(target, headers), 401, `${target.slice(0, 40)} ${headers.slice(0, 30)}`);
    assert.equal(
      await ask(`${target}?access_token=${bad()}`, `authorization: Bearer ${ann()}\r\ncookie: session=${bad()}\r\n`),
      200,
    );
  });

  test("the message `auth` of /ws counts before those of the request, and takes nobody else's place later", async () => {
    const plain = await Plain.enter(place, "ann");
    await plain.refused("auth", { token: tokenOf("bob") }, "unauthenticated");
    await plain.refused("auth", { token: bad() }, "token_signature");
    assert.equal((await plain.refused("subscribe", { channels: ["user:bob"] }, "forbidden")).type, "error");
    await plain.subscribe("user:ann");
    plain.close();
  });
});
