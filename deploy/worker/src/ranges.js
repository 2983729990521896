/**
 * The ranges: one key holds all of them as JSON, each with a remediation and an end of its own.
 *
 * Parsed once, a value answers in a few look-ups, whatever the number of ranges: one for each prefix
 * length that there is.
 */

import { addressBits } from "./address.js";

const VERSION = 1;

/**
 * @typedef {"ban" | "captcha"} Remediation
 * @typedef {{ value: Remediation, expires: number }} Entry `expires` in Unix seconds
 */

export class Ranges {
  /**
   * By the number of bits of an address (32, 128), then by that of a prefix, then by the prefix.
   *
   * @type {Map<number, Map<number, Map<bigint, Entry>>>}
   */
  #byLength = new Map();

  /**
   * @param {string} text
   * @throws if it is in any part not what crowdsec-edge-sync writes: half of a rule could be worse
   *   than none
   */
  static parse(text) {
    const { v, ranges } = JSON.parse(text);
    if (v !== VERSION || !Array.isArray(ranges)) throw new Error("not of this version");
    const parsed = new Ranges();
    ranges.forEach((range) => parsed.#add(range));
    return parsed;
  }

  /** @param {{ range: string, value: Remediation, expires: number }} range */
  #add({ range, value, expires }) {
    const [, prefix, digits] = range.match(/^([0-9a-f.:]+)\/(\d{1,3})$/);
    const { bits, width } = addressBits(prefix);
    const length = Number(digits);
    if (length > width || !Number.isInteger(expires) || (value !== "ban" && value !== "captcha")) {
      throw new Error(`not a range: ${range}`);
    }
    const lengths = getOrSet(this.#byLength, width, () => new Map());
    getOrSet(lengths, length, () => new Map()).set(leading(bits, width, length), { value, expires });
  }

  /**
   * The remediation of each range that holds the address and has not run out.
   *
   * @param {string} address canonical
   * @param {number} now Unix seconds
   * @returns {Remediation[]}
   */
  decisionsOn(address, now) {
    const { bits, width } = addressBits(address);
    const found = [];
    for (const [length, prefixes] of this.#byLength.get(width) ?? []) {
      const entry = prefixes.get(leading(bits, width, length));
      if (entry !== undefined && entry.expires > now) found.push(entry.value);
    }
    return found;
  }
}

/**
 * @param {bigint} bits
 * @param {number} width
 * @param {number} length
 */
function leading(bits, width, length) {
  return bits >> BigInt(width - length);
}

/**
 * @template K, V
 * @param {Map<K, V>} map
 * @param {K} key
 * @param {() => V} make
 * @returns {V}
 */
function getOrSet(map, key, make) {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}
