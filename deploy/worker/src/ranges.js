/**
 * What stands beside the addresses in one value: ranges, countries and autonomous systems, each with a
 * remediation and an end of its own; whom no country and no system meets; and, in the layout `shards`, which
 * layout is served.
 *
 * Parsed once, a value answers in a few look-ups, whatever the number of ranges: one for each prefix
 * length that there is.
 */

import { addressBits } from "./address.js";

const VERSION = 1;

/**
 * @typedef {"ban" | "captcha"} Remediation
 * @typedef {{ value: Remediation, expires: number }} Entry `expires` in Unix seconds
 * @typedef {{ address: string, country?: string, asn?: number }} Visitor `address` canonical
 */

export class Ranges {
  /**
   * By the number of bits of an address (32, 128), then by that of a prefix, then by the prefix.
   *
   * @type {Map<number, Map<number, Map<bigint, Entry>>>}
   */
  #byLength = new Map();

  /** @type {Map<string, Entry>} by `country:CN`, `as:64496` */
  #regions = new Map();

  /** @type {Ranges | null} whom no region meets */
  #never = null;

  /** @type {"keys" | "shards"} */
  layout = "keys";

  /**
   * The value of the layout `keys`: JSON.
   *
   * @param {string} text
   * @throws if it is in any part not what crowdsec-edge-sync writes: half of a rule could be worse
   *   than none
   */
  static parse(text) {
    const { v, ranges, more = "" } = JSON.parse(text);
    if (v !== VERSION || !Array.isArray(ranges)) throw new Error("not of this version");
    const parsed = new Ranges();
    ranges.forEach(({ range, value, expires }) => parsed.#addRange(range, value, expires));
    more.split("\n").slice(0, -1).forEach((line) => parsed.#addLine(line));
    return parsed;
  }

  /**
   * The value of the layout `shards`: lines.
   *
   * @param {string} text
   * @throws as above
   */
  static parseLines(text) {
    const [head, ...lines] = text.split("\n");
    const words = head.match(/^edge-sync wide 1 \d+ (keys|shards) \d+ (?:alone|beside)$/);
    if (words === null || lines.pop() !== "") throw new Error("not of this version");
    const parsed = new Ranges();
    parsed.layout = words[1] === "shards" ? "shards" : "keys";
    lines.forEach((line) => parsed.#addLine(line));
    return parsed;
  }

  /** @param {string} line what, what is done, until when */
  #addLine(line) {
    const [what, value, expires] = line.match(/^(\S+) (\S+) (\d+)$/).slice(1);
    if (value === "never") this.#addNever(what);
    else if (/^(?:country|as):/.test(what)) this.#addRegion(what, value, Number(expires));
    else this.#addRange(what, value, Number(expires));
  }

  /**
   * @param {string} range
   * @param {any} value
   * @param {number} expires
   */
  #addRange(range, value, expires) {
    const [, prefix, digits] = range.match(/^([0-9a-f.:]+)\/(\d{1,3})$/);
    const { bits, width } = addressBits(prefix);
    const length = Number(digits);
    if (length > width || !isEntry(value, expires)) throw new Error(`not a range: ${range}`);
    const lengths = getOrSet(this.#byLength, width, () => new Map());
    getOrSet(lengths, length, () => new Map()).set(leading(bits, width, length), { value, expires });
  }

  /**
   * @param {string} region
   * @param {any} value
   * @param {number} expires
   */
  #addRegion(region, value, expires) {
    if (!/^(?:country:[A-Z0-9]{2}|as:[1-9]\d{0,9})$/.test(region) || !isEntry(value, expires)) {
      throw new Error(`not a region: ${region}`);
    }
    this.#regions.set(region, { value, expires });
  }

  /** @param {string} address one, or a range */
  #addNever(address) {
    this.#never ??= new Ranges();
    const width = address.includes(":") ? 128 : 32;
    this.#never.#addRange(address.includes("/") ? address : `${address}/${width}`, "ban", Infinity);
  }

  /**
   * The remediation of each range and region that the visitor is in and that has not run out.
   *
   * @param {Visitor} visitor
   * @param {number} now Unix seconds
   * @returns {Remediation[]}
   */
  decisionsOn({ address, country, asn }, now) {
    const found = this.#around(address);
    const regions = [this.#regions.get(`country:${country}`), this.#regions.get(`as:${asn}`)];
    const meets = regions.filter((entry) => entry !== undefined);
    // The owner is in a country too.
    if (meets.length > 0 && !this.#never?.#around(address).length) found.push(...meets);
    return found.filter(({ expires }) => expires > now).map(({ value }) => value);
  }

  /**
   * @param {string} address
   * @returns {Entry[]}
   */
  #around(address) {
    const found = [];
    if (this.#byLength.size === 0) return found;
    const { bits, width } = addressBits(address);
    for (const [length, prefixes] of this.#byLength.get(width) ?? []) {
      const entry = prefixes.get(leading(bits, width, length));
      if (entry !== undefined) found.push(entry);
    }
    return found;
  }
}

/**
 * @param {any} value
 * @param {number} expires
 */
function isEntry(value, expires) {
  return (Number.isInteger(expires) || expires === Infinity) && (value === "ban" || value === "captcha");
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
