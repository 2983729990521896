import assert from "node:assert/strict";
import { test } from "node:test";

import { addressBits, canonicalAddress } from "../src/address.js";
import { spellings } from "./support/spellings.js";

const CANONICAL = [
  // IPv4
  ["1.2.3.4", "1.2.3.4"],
  ["0.0.0.0", "0.0.0.0"],
  ["255.255.255.255", "255.255.255.255"],
  ["100.20.249.99", "100.20.249.99"],
  // IPv4-mapped IPv6
  ["::ffff:1.2.3.4", "1.2.3.4"],
  ["::FFFF:102:304", "1.2.3.4"],
  ["::ffff:0:0", "0.0.0.0"],
  ["::ffff:ffff:ffff", "255.255.255.255"],
  ["0:0:0:0:0:ffff:1.2.3.4", "1.2.3.4"],
  ["0000:0000:0000:0000:0000:ffff:255.255.255.255", "255.255.255.255"],
  // not mapped, though it looks so
  ["::1.2.3.4", "::102:304"],
  ["::ffff:0:1.2.3.4", "::ffff:0:102:304"],
  ["64:ff9b::1.2.3.4", "64:ff9b::102:304"],
  ["1::ffff:1.2.3.4", "1::ffff:102:304"],
  // RFC 5952, section 4: lower case, no leading zeros, the longest run of zeros shortened
  ["2001:DB8::A", "2001:db8::a"],
  ["2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"],
  ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
  ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
  ["2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
  ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
  ["::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"],
  ["0:0:0:0:0:0:0:0", "::"],
  ["::1", "::1"],
  ["1:0:0:0:0:0:0:0", "1::"],
];

const NO_ADDRESS = [
  "",
  " ",
  ".",
  ":",
  "::::",
  "unknown",
  "localhost",
  "example.com",
  "a",
  "b.c.d.e",
  // IPv4, as the URL parser or inet_aton would take it
  "1.2.3",
  "1.2.3.4.",
  "1.2.3.4.5",
  ".1.2.3.4",
  "1..3.4",
  "256.1.1.1",
  "1.2.3.256",
  "1.2.3.1000",
  "01.2.3.4",
  "1.2.3.04",
  "0x1.2.3.4",
  "16909060",
  "0x01020304",
  "1.2.3.-4",
  "+1.2.3.4",
  "1.2.3.4e0",
  "１.2.3.4",
  "1.2.3.4\n",
  // IPv6
  ":::",
  "1::2::3",
  "1:2:3:4:5:6:7",
  "1:2:3:4:5:6:7:8:9",
  "1:2:3:4:5:6:7:8::",
  "12345::",
  "g::",
  "1:2:3:4:5:6:7:",
  ":1:2:3:4:5:6:7",
  "::ffff:1.2.3",
  "::ffff:01.2.3.4",
  "::ffff:1.2.3.256",
  "::1.2.3.4:5",
  "1.2.3.4::",
  "::1\n",
  // decorations
  " 1.2.3.4",
  "1.2.3.4 ",
  "1.2.3.4:80",
  "1.2.3.4/32",
  "::1/128",
  "[::1]",
  "[::1]:80",
  "::1]",
  "fe80::1%eth0",
  "fe80::1%25",
  "1.2.3.4, 5.6.7.8",
  "1.2.3.4,",
  "::1,::2",
  "::1\0",
  "1.2.3.4\0",
  // out of the URL's host
  "::1]/x[",
  "::1]@[::2",
  "::1]:80/",
  "::1#",
  "::1?",
  "::1/",
  "::1\\",
  "a:b@[::1",
  // too long
  "0".repeat(46),
  "1".repeat(1_000_000),
  ":".repeat(1_000_000),
  "00000000000000000000000000000000000000000000001:",
  `${"0:".repeat(30)}1`,
];

for (const [text, expected] of CANONICAL) {
  test(`address ${text}, made canonical, is ${expected}`, () => assert.equal(canonicalAddress(text), expected));
}

test("anything but an address, made canonical, is null", () => {
  assert.equal(canonicalAddress(null), null);
  for (const text of NO_ADDRESS) assert.equal(canonicalAddress(text), null, JSON.stringify(text.slice(0, 60)));
});

test("a canonical address, made canonical again, is itself", () => {
  for (const [, canonical] of CANONICAL) assert.equal(canonicalAddress(canonical), canonical);
});

test("a random address, in any spelling, has one canonical form", () => {
  const group = () => (Math.random() < 0.5 ? 0 : Math.floor(Math.random() * 0x10000)).toString(16);
  for (let i = 0; i < 5000; i += 1) {
    const plain = Array.from({ length: 8 }, group).join(":");
    const canonical = canonicalAddress(plain);
    for (const spelling of spellings(canonical)) assert.equal(canonicalAddress(spelling), canonical, spelling);
    assert.ok(canonical.length <= plain.length, canonical);
  }
});

for (const [address, width, bits] of [
  ["0.0.0.0", 32, "0"],
  ["203.0.113.7", 32, "cb007107"],
  ["255.255.255.255", 32, "ffffffff"],
  ["::", 128, "0"],
  ["::1", 128, "1"],
  ["1::", 128, "10000000000000000000000000000"],
  ["2001:db8::1:0:0:1", 128, "20010db8000000000001000000000001"],
  ["1:2:3:4:5:6:7:8", 128, "10002000300040005000600070008"],
]) {
  test(`${address}, as a number, is ${bits} of ${width} bits`, () => {
    assert.deepEqual(addressBits(address), { bits: BigInt(`0x${bits}`), width });
  });
}

test("what is no canonical address has no number", () => {
  for (const text of ["", "1.2.3", "::ffff:1.2.3.4", "2001:DB8::1", "1::2::3"]) {
    assert.throws(() => addressBits(text), text);
  }
});
