/**
 * The layout `shards`: 16 values share the addresses, one line for each. docs/kv.md of crowdsec-edge-sync
 * has the form of the values and the hash.
 *
 * A value is searched and not parsed: with 150,000 addresses it has a quarter of a megabyte, and each request
 * reads one.
 */

import { addressBytes } from "./address.js";

const HEAD = "edge-sync shard 1 ";

/**
 * The name of the shard of an address, behind the prefix.
 *
 * @param {string} address canonical
 */
export function shardName(address) {
  let hash = 0x811c9dc5;
  for (const byte of addressBytes(address)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return `s16:${(hash >>> 28).toString(16)}`;
}

/**
 * @param {string} text a shard's value
 * @param {string} address canonical
 * @param {number} now Unix seconds
 * @returns {("ban" | "captcha")[]} what is decided on the address and has not run out
 * @throws if it is not what crowdsec-edge-sync writes, as far as one looks
 */
export function decisionsIn(text, address, now) {
  if (!text.startsWith(HEAD)) throw new Error("not of this version");
  const before = text.indexOf(`\n${address} `);
  if (before < 0) return [];
  const end = text.indexOf("\n", before + 1);
  const [, value, expires] = text.slice(before + 1, end < 0 ? before : end).split(" ");
  if ((value !== "ban" && value !== "captcha") || !/^\d+$/.test(expires)) throw new Error("not a line");
  return Number(expires) > now ? [value] : [];
}
