/**
 * What was decided about a visitor. The only module that knows where decisions are stored; docs/kv.md of
 * crowdsec-edge-sync has both layouts.
 *
 * `keys`: one key for each address, `<prefix><canonical address>` -> `ban` or `captcha`, and one for what
 * stands beside them. `shards`: one value for each sixteenth of the addresses, and one beside them, which also
 * says which of the layouts is served.
 */

import { Ranges } from "./ranges.js";
import { decisionsIn, shardName } from "./shards.js";

/** A cold read takes some hundred milliseconds; nobody shall wait longer for a slow store. */
const READ_TIMEOUT_MS = 2000;

/** With the usual prefix outside of it, as the first Workers knew it. */
const RANGES_KEY = "ranges";
const USUAL_PREFIX = "ip:";
const WIDE_KEY = "wide";

/** The shortest that KV takes, and how long an isolate keeps what it read. */
const SHORT_SECONDS = 30;

/**
 * What an isolate last read under one key, so that not every request costs a second read, nor parses it again.
 *
 * @typedef {{ ranges: Ranges | null, failure: Error | null, text: string | null, until: number }} Kept
 * @typedef {import("./ranges.js").Visitor} Visitor
 * @typedef {import("./settings.js").Settings} Settings
 */

/** @type {Map<string, Kept>} by key */
const kept = new Map();

/**
 * The strongest decision on the address, on any range that holds it, and on its country and network. If only a
 * part of them can be known, what is known counts, with a warning.
 *
 * @param {Visitor} visitor
 * @param {Settings} settings
 * @returns {Promise<{ decision: "ban" | "captcha" | null, layout: "keys" | "shards" }>} null: nothing was decided
 * @throws when nothing is known, and not everything could be read
 */
export async function decisionFor(visitor, settings) {
  if (typeof settings.decisions?.get !== "function") throw new Error("the KV binding DECISIONS is missing");
  // The reads of the layout that was served last go beside the one that tells whether it still is.
  const guess = servedLast(settings);
  const [marker, ...guessed] = await Promise.allSettled([wide(settings), ...readsOf[guess](visitor, settings)]);
  const layout = servedBy(marker, settings);
  const others = layout === guess ? guessed : await Promise.allSettled(readsOf[layout](visitor, settings));
  const beside = layout === "shards" && settings.checksRanges ? [besideShards(marker, visitor)] : [];
  const all = [...others, ...beside];
  const known = all.flatMap((read) => (read.status === "fulfilled" ? read.value : []));
  const failure = [marker, ...all].find((read) => read.status === "rejected");
  if (known.length === 0) {
    if (failure) throw failure.reason;
    return { decision: null, layout };
  }
  if (failure) {
    const reason = failure.reason instanceof Error ? failure.reason.message : failure.reason;
    console.warn(`crowdsec-edge-sync: not everything could be checked: ${reason}`);
  }
  return { decision: known.includes("ban") ? "ban" : "captcha", layout };
}

/** Who reads a layout. */
const readsOf = {
  keys: (visitor, settings) => [ofKey(visitor, settings), ofRanges(visitor, settings)],
  shards: (visitor, settings) => [ofShard(visitor, settings)],
};

/**
 * @param {Visitor} visitor
 * @param {Settings} settings
 */
async function ofKey({ address }, { decisions, keyPrefix, cacheTtlSeconds }) {
  const key = keyPrefix + address;
  const value = await inTime(decisions.get(key, { cacheTtl: cacheTtlSeconds }));
  if (value === null) return [];
  if (value === "ban" || value === "captcha") return [value];
  throw new Error(`key ${key} holds ${shown(value)}, neither ban nor captcha`);
}

/**
 * @param {Visitor} visitor
 * @param {Settings} settings
 */
async function ofRanges(visitor, settings) {
  const { keyPrefix, checksRanges, cacheTtlSeconds } = settings;
  if (!checksRanges) return [];
  const key = keyPrefix === USUAL_PREFIX ? RANGES_KEY : keyPrefix + RANGES_KEY;
  const ranges = await keptOf(key, settings, Ranges.parse, SHORT_SECONDS, cacheTtlSeconds);
  return ranges?.decisionsOn(visitor, Date.now() / 1000) ?? [];
}

/**
 * @param {Visitor} visitor
 * @param {Settings} settings
 */
async function ofShard({ address }, { decisions, keyPrefix, cacheTtlSeconds }) {
  const key = keyPrefix + shardName(address);
  const value = await inTime(decisions.get(key, { cacheTtl: cacheTtlSeconds }));
  try {
    return value === null ? [] : decisionsIn(value, address, Date.now() / 1000);
  } catch {
    throw new Error(`key ${key} holds ${shown(value)}, not a shard of crowdsec-edge-sync`);
  }
}

/**
 * The value beside the shards; null: there is none, and the layout is `keys`. At a location it stays for
 * CACHE_TTL_SECONDS, so that no visitor waits for it; an isolate keeps it for half a minute. Together that is
 * less than the eight minutes for which the layout stays that was served before.
 *
 * @param {Settings} settings
 * @returns {Promise<Ranges | null>}
 */
async function wide(settings) {
  if (!settings.checksLayout) return null;
  return keptOf(settings.keyPrefix + WIDE_KEY, settings, Ranges.parseLines, settings.cacheTtlSeconds, SHORT_SECONDS);
}

/** @param {Settings} settings */
function servedLast({ keyPrefix, checksLayout }) {
  const last = kept.get(keyPrefix + WIDE_KEY);
  if (!checksLayout) return "keys";
  return last === undefined ? "shards" : (last.ranges?.layout ?? "keys");
}

/**
 * @param {PromiseSettledResult<Ranges | null>} marker
 * @param {Settings} settings
 * @returns {"keys" | "shards"}
 */
function servedBy(marker, settings) {
  // Unreadable now, it is what it was; unless nobody ever read it.
  return marker.status === "fulfilled" ? (marker.value?.layout ?? "keys") : servedLast(settings);
}

/**
 * @param {PromiseSettledResult<Ranges | null>} marker
 * @param {Visitor} visitor
 * @returns {PromiseSettledResult<("ban" | "captcha")[]>}
 */
function besideShards(marker, visitor) {
  if (marker.status === "rejected") return marker;
  return { status: "fulfilled", value: marker.value?.decisionsOn(visitor, Date.now() / 1000) ?? [] };
}

/**
 * @param {string} key
 * @param {Settings} settings
 * @param {(text: string) => Ranges} parse
 * @param {number} cacheTtl of KV's, in seconds
 * @param {number} seconds how long the isolate keeps it
 * @returns {Promise<Ranges | null>} null: there is no such key
 */
async function keptOf(key, { decisions }, parse, cacheTtl, seconds) {
  const now = Date.now();
  const last = kept.get(key);
  if (last !== undefined && last.until > now) return answerOf(last);
  const text = await inTime(decisions.get(key, { cacheTtl }));
  const read = { ...parsed(key, text, parse, last), until: now + seconds * 1000 };
  kept.set(key, read);
  return answerOf(read);
}

/**
 * @param {string} key
 * @param {string | null} text
 * @param {(text: string) => Ranges} parse
 * @param {Kept | undefined} last
 */
function parsed(key, text, parse, last) {
  if (last !== undefined && last.text === text) return last;
  try {
    return { ranges: text === null ? null : parse(text), failure: null, text };
  } catch {
    const failure = new Error(`key ${key} holds ${shown(text)}, not the ranges of crowdsec-edge-sync`);
    return { ranges: null, failure, text };
  }
}

/** @param {Pick<Kept, "ranges" | "failure">} read */
function answerOf({ ranges, failure }) {
  if (failure) throw failure;
  return ranges;
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
