/**
 * What was decided about an address. The only module that knows where decisions are stored: one key
 * for each address, `<prefix><canonical address>` -> `ban` or `captcha`, and one for all ranges.
 */

import { Ranges } from "./ranges.js";

/** A cold read takes some hundred milliseconds; nobody shall wait longer for a slow store. */
const READ_TIMEOUT_MS = 2000;

/** Outside of the prefix: it is not named after an address. */
const RANGES_KEY = "ranges";

/** The shortest that KV takes: an isolate already keeps what it read for CACHE_TTL_SECONDS. */
const RANGES_CACHE_TTL_SECONDS = 30;

/**
 * What this isolate last read, so that not every request costs a second read, nor parses it again.
 *
 * @type {{ ranges: Ranges | null, failure: Error | null, text: string | null, until: number } | null}
 */
let kept = null;

/**
 * The strongest decision on the address and on any range that holds it. If only a part of them can be
 * known, what is known counts, with a warning.
 *
 * @param {string} address canonical
 * @param {import("./settings.js").Settings} settings
 * @returns {Promise<"ban" | "captcha" | null>} null: nothing was decided
 * @throws when nothing is known, and not everything could be read
 */
export async function decisionFor(address, settings) {
  if (typeof settings.decisions?.get !== "function") throw new Error("the KV binding DECISIONS is missing");
  const reads = await Promise.allSettled([ofAddress(address, settings), ofRanges(address, settings)]);
  const known = reads.flatMap((read) => (read.status === "fulfilled" ? read.value : []));
  const failure = reads.find((read) => read.status === "rejected");
  if (known.length === 0) {
    if (failure) throw failure.reason;
    return null;
  }
  if (failure) {
    const reason = failure.reason instanceof Error ? failure.reason.message : failure.reason;
    console.warn(`crowdsec-edge-sync: not everything could be checked: ${reason}`);
  }
  return known.includes("ban") ? "ban" : "captcha";
}

/**
 * @param {string} address
 * @param {import("./settings.js").Settings} settings
 */
async function ofAddress(address, { decisions, keyPrefix, cacheTtlSeconds }) {
  const key = keyPrefix + address;
  const value = await inTime(decisions.get(key, { cacheTtl: cacheTtlSeconds }));
  if (value === null) return [];
  if (value === "ban" || value === "captcha") return [value];
  throw new Error(`key ${key} holds ${shown(value)}, neither ban nor captcha`);
}

/**
 * @param {string} address
 * @param {import("./settings.js").Settings} settings
 */
async function ofRanges(address, settings) {
  if (!settings.checksRanges) return [];
  const now = Date.now();
  if (kept === null || kept.until <= now) kept = await readRanges(settings, now);
  if (kept.failure) throw kept.failure;
  return kept.ranges?.decisionsOn(address, now / 1000) ?? [];
}

/**
 * @param {import("./settings.js").Settings} settings
 * @param {number} now
 */
async function readRanges({ decisions, cacheTtlSeconds }, now) {
  const text = await inTime(decisions.get(RANGES_KEY, { cacheTtl: RANGES_CACHE_TTL_SECONDS }));
  const until = now + cacheTtlSeconds * 1000;
  if (kept !== null && kept.text === text) return { ...kept, until };
  try {
    return { ranges: text === null ? null : Ranges.parse(text), failure: null, text, until };
  } catch {
    const failure = new Error(`key ${RANGES_KEY} holds ${shown(text)}, not the ranges of crowdsec-edge-sync`);
    return { ranges: null, failure, text, until };
  }
}

/** @param {string} value */
function shown(value) {
  return JSON.stringify(value.slice(0, 32));
}

/**
 * @template T
 * @param {Promise<T>} read
 * @returns {Promise<T>}
 */
async function inTime(read) {
  let timer = 0;
  const timeout = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`KV did not answer within ${READ_TIMEOUT_MS} ms`)), READ_TIMEOUT_MS);
  });
  try {
    return await Promise.race([read, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
