/**
 * Other ways to write a canonical address. Written without the Worker's own code, so that the two
 * can disagree.
 */

/** @param {string} address */
export function spellings(address) {
  return address.includes(":") ? ipv6Spellings(address) : ipv4Spellings(address);
}

function ipv4Spellings(address) {
  const [a, b, c, d] = address.split(".").map((byte) => Number(byte).toString(16).padStart(2, "0"));
  return [
    `::ffff:${address}`,
    `::FFFF:${address}`,
    `::ffff:${a}${b}:${c}${d}`,
    `0000:0000:0000:0000:0000:FFFF:${a}${b}:${c}${d}`,
  ];
}

function ipv6Spellings(address) {
  const [head, tail] = address.split("::").map((part) => (part === "" ? [] : part.split(":")));
  const groups = tail === undefined ? head : [...head, ...Array(8 - head.length - tail.length).fill("0"), ...tail];
  const long = groups.map((group) => group.padStart(4, "0")).join(":");
  return [address.toUpperCase(), groups.join(":"), long, long.toUpperCase()];
}
