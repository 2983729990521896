/**
 * The clearance: a signed cookie that says "this address solved the challenge of this host,
 * until then". Nothing is stored; the signature is the proof.
 *
 * A ban is looked up on every request, so a clearance never outlives it.
 */

/** With `__Host-`, browsers take it only over HTTPS and only from this very host, not from a subdomain. */
const COOKIE = "__Host-edge-clearance";

const COOKIE_IN_HEADER = new RegExp(`(?:^|; ?)${COOKIE}=(\\d{10})\\.([0-9a-f]{64})(?:;|$)`);

const HMAC = { name: "HMAC", hash: "SHA-256" };

/** @typedef {{ hostname: string, address: string }} Holder */

/**
 * @param {Holder} holder
 * @param {number} seconds
 * @param {string} secret
 * @returns {Promise<string>} the value of a Set-Cookie header
 */
export async function clearanceCookie(holder, seconds, secret) {
  const expires = nowSeconds() + seconds;
  const signature = await crypto.subtle.sign(HMAC, await key(secret, "sign"), statement(holder, expires));
  const attributes = `Max-Age=${seconds}; Path=/; HttpOnly; Secure; SameSite=Lax`;
  return `${COOKIE}=${expires}.${toHex(signature)}; ${attributes}`;
}

/**
 * @param {Request} request
 * @param {Holder} holder
 * @param {string} secret
 */
export async function isCleared(request, holder, secret) {
  const cookie = request.headers.get("Cookie")?.match(COOKIE_IN_HEADER);
  if (!cookie) return false;
  const expires = Number(cookie[1]);
  if (expires <= nowSeconds()) return false;
  // `verify` compares in constant time.
  return crypto.subtle.verify(HMAC, await key(secret, "verify"), fromHex(cookie[2]), statement(holder, expires));
}

/**
 * JSON keeps the parts apart: no two holders make the same text.
 *
 * @param {Holder} holder
 * @param {number} expires
 */
function statement({ hostname, address }, expires) {
  return new TextEncoder().encode(JSON.stringify(["edge-clearance", hostname, address, expires]));
}

/**
 * @param {string} secret
 * @param {"sign" | "verify"} usage
 */
function key(secret, usage) {
  return crypto.subtle.importKey("raw", new TextEncoder().encode(secret), HMAC, false, [usage]);
}

function nowSeconds() {
  return Math.floor(Date.now() / 1000);
}

/** @param {ArrayBuffer} buffer */
function toHex(buffer) {
  return Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} hex */
function fromHex(hex) {
  return Uint8Array.from({ length: hex.length / 2 }, (_, i) => parseInt(hex.slice(2 * i, 2 * i + 2), 16));
}
