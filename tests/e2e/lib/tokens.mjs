// Tokens as an app's back end makes them: JWT by hand (RFC 7519, RFC 7515), so that wrong ones can be made too.
import { createHmac } from "node:crypto";

export const SECRET = "a secret of the tests, long enough for HS512: 0123456789abcdef0123456789";
export const now = () => Math.floor(Date.now() / 1000);

const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

export function sign(claims, { secret = SECRET, alg = "HS256" } = {}) {
  const text = `${part({ alg, typ: "JWT" })}.${part(claims)}`;
  if (alg === "none") return `${text}.`;
  const signature = createHmac(alg.replace("HS", "sha"), secret).update(text).digest("base64url");
  return `${text}.${signature}`;
}

// A good one for this user.
export const tokenOf = (sub, more = {}) => sign({ sub, iat: now(), exp: now() + 3600, ...more });

export function claimsOf(token, secret = SECRET) {
  const [header, claims, signature] = token.split(".");
  const decoded = (text) => JSON.parse(Buffer.from(text, "base64url").toString());
  const hash = decoded(header).alg.replace("HS", "sha");
  const expected = createHmac(hash, secret).update(`${header}.${claims}`).digest("base64url");
  if (signature !== expected) throw new Error("the signature is wrong");
  return decoded(claims);
}
