/**
 * The canonical address: the one spelling under which a decision is stored.
 *
 * The same form as crowdsec-edge-sync writes: IPv6 as RFC 5952 has it, and an IPv4-mapped IPv6
 * address as the IPv4 address that it is.
 */

/** The longest spelling: eight groups, the last two of them as dotted IPv4. */
const LENGTH_MAX = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".length;

/** No leading zeros: `010.1.2.3` is 8.1.2.3 to some programs and 10.1.2.3 to others. */
const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;

/** Only its letters are checked here, so that nothing else can reach the URL parser. */
const IPV6_LETTERS = /^[0-9a-f:.]+$/i;

/** `::ffff:0:0/96` (RFC 4291, 2.5.5.2), as the URL parser prints it. */
const IPV4_MAPPED = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/;

/**
 * @param {string | null} text
 * @returns {string | null} null: not an address
 */
export function canonicalAddress(text) {
  if (text === null || text.length > LENGTH_MAX) return null;
  if (IPV4.test(text)) return text;
  if (!text.includes(":") || !IPV6_LETTERS.test(text)) return null;
  const v6 = canonicalIpv6(text);
  const mapped = v6?.match(IPV4_MAPPED);
  return mapped ? ipv4FromGroups(mapped[1], mapped[2]) : v6;
}

/**
 * The URL standard parses an IPv6 host strictly and prints it as RFC 5952 has it, so the
 * platform's own parser does the work.
 *
 * @param {string} text
 * @returns {string | null}
 */
function canonicalIpv6(text) {
  try {
    return new URL(`http://[${text}]/`).hostname.slice(1, -1);
  } catch {
    return null;
  }
}

/**
 * @param {string} high
 * @param {string} low
 */
function ipv4FromGroups(high, low) {
  const bits = [high, low].map((group) => parseInt(group, 16));
  return bits.flatMap((group) => [group >> 8, group & 0xff]).join(".");
}

/**
 * The address as a number.
 *
 * @param {string} address canonical
 * @returns {{ bits: bigint, width: number }} `width`: of how many bits
 * @throws if it is no address
 */
export function addressBits(address) {
  if (canonicalAddress(address) !== address) throw new Error(`not a canonical address: ${address}`);
  if (!address.includes(":")) return { bits: joined(address.split("."), 8, ""), width: 32 };
  const [head, tail] = address.split("::").map((half) => (half === "" ? [] : half.split(":")));
  const zeros = tail === undefined ? [] : Array(8 - head.length - tail.length).fill("0");
  return { bits: joined([...head, ...zeros, ...(tail ?? [])], 16, "0x"), width: 128 };
}

/**
 * The 16 bytes of the address, an IPv4 one as `::ffff:a.b.c.d`.
 *
 * @param {string} address canonical
 * @returns {number[]}
 */
export function addressBytes(address) {
  if (!address.includes(":")) return [...MAPPED_BYTES, ...address.split(".").map(Number)];
  const [head, tail] = address.split("::").map((half) => (half === "" ? [] : half.split(":")));
  const zeros = tail === undefined ? [] : Array(8 - head.length - tail.length).fill("0");
  const groups = [...head, ...zeros, ...(tail ?? [])].map((group) => parseInt(group, 16));
  return groups.flatMap((group) => [group >> 8, group & 0xff]);
}

/** What an IPv4 address begins with as an IPv6 one. */
const MAPPED_BYTES = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/**
 * @param {string[]} parts
 * @param {number} bitsOfEach
 * @param {"" | "0x"} radix
 */
function joined(parts, bitsOfEach, radix) {
  return parts.reduce((bits, part) => (bits << BigInt(bitsOfEach)) | BigInt(radix + part), 0n);
}
