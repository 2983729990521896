/**
 * The namespace as crowdsec-edge-sync leaves it: what it wrote must be what the Worker finds.
 *
 * EDGE_SYNC_KV_DUMP names a JSON file {"<key>": {"value", "expiration", "metadata"}, …};
 * without it, a small built-in one is used.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { BlockList } from "node:net";
import { after, before, test } from "node:test";

import { CHALLENGE_BINDINGS, Edge } from "./support/edge.js";
import { spellings } from "./support/spellings.js";

const PREFIX = "ip:";

/** What is no key of one address, in the layout `shards`. */
const SHARD = /^ip:s16:[0-9a-f]$/;
const WIDE = "ip:wide";
const LINE = /^(\S+) (ban|captcha|never) (\d+)$/;
const LASTING = 4102444800;

const BUILT_IN = {
  "ip:192.0.2.1": { value: "ban", expiration: 4102444800 },
  "ip:203.0.113.255": { value: "ban", expiration: 4102444800 },
  "ip:2001:db8::1": { value: "ban", expiration: 4102444800 },
  "ip:2001:db8:0:1:1:1:1:1": { value: "ban", expiration: 4102444800 },
  "ip:198.51.100.0": { value: "captcha", expiration: 4102444800 },
  "ip:2001:db8:a::b:0:0": { value: "captcha", expiration: 4102444800 },
  "ip:192.0.2.130": { value: "captcha", expiration: 4102444800 },
  ranges: {
    value: JSON.stringify({
      v: 1,
      at: 1767225600,
      ranges: [
        { range: "192.0.2.128/25", value: "ban", expires: 4102444800 },
        { range: "2001:db8:b::/48", value: "captcha", expires: 4102444800 },
      ],
    }),
    expiration: 4102444800,
  },
};

const file = process.env.EDGE_SYNC_KV_DUMP;
const stored = file ? JSON.parse(readFileSync(file, "utf8")) : BUILT_IN;
const dump = asKeys(stored);
const keys = Object.entries(dump).filter(([key]) => key.startsWith(PREFIX));
const content = "ranges" in dump ? JSON.parse(dump.ranges.value) : { ranges: [] };
const inRange = Object.fromEntries(["ban", "captcha"].map((value) => [value, blockListOf(value)]));

/** Each address that has a key, and the first one of each range. */
const addresses = [
  ...keys.map(([key]) => key.slice(PREFIX.length)),
  ...content.ranges.map(({ range }) => range.split("/")[0]),
];
const addressesWith = (wanted) => addresses.filter((address) => strongest(address) === wanted);

/** The layout `shards`, as if each of its lines were a key; the layout `keys` as it is. */
function asKeys(stored) {
  if (!(WIDE in stored)) return stored;
  const linesOf = (key) => stored[key].value.split("\n").slice(1, -1).map((line) => line.match(LINE).slice(1));
  const read = {};
  for (const key of Object.keys(stored).filter((key) => SHARD.test(key))) {
    for (const [address, value, expires] of linesOf(key)) {
      assert.ok(Number(expires) <= stored[key].expiration, `${address} outlives its shard`);
      read[PREFIX + address] = { value, expiration: Number(expires) };
    }
  }
  const beside = linesOf(WIDE).filter(([what, value]) => what.includes("/") && value !== "never");
  const ranges = beside.map(([range, value, expires]) => ({ range, value, expires: Number(expires) }));
  return { ...read, ranges: { value: JSON.stringify({ v: 1, at: 1, ranges }), expiration: stored[WIDE].expiration } };
}

/** A value of the layout `shards` whose entries all last. */
function lastingLines(key, value) {
  if (!SHARD.test(key) && key !== WIDE) return value;
  return value.replace(/ (ban|captcha) \d+$/gm, ` $1 ${LASTING}`);
}

/** The ranges with this value, in Node's own reading of them. */
function blockListOf(wanted) {
  const list = new BlockList();
  for (const { range, value } of content.ranges) {
    const [net, length] = range.split("/");
    if (value === wanted) list.addSubnet(net, Number(length), familyOf(net));
  }
  return (address) => list.check(address, familyOf(address));
}

function familyOf(address) {
  return address.includes(":") ? "ipv6" : "ipv4";
}

function strongest(address) {
  const of = (value) => dump[PREFIX + address]?.value === value || inRange[value](address);
  return ["ban", "captcha"].find(of) ?? "origin";
}

let edge;
before(async () => {
  edge = await Edge.start({ bindings: CHALLENGE_BINDINGS });
  // Without their expirations: the dump's clock is not ours.
  const lasting = content.ranges.map((range) => ({ ...range, expires: LASTING }));
  const values = Object.entries(stored).map(([key, { value }]) => [key, lastingLines(key, value)]);
  const ranges = "ranges" in stored ? { ranges: JSON.stringify({ ...content, ranges: lasting }) } : {};
  await edge.store({ ...Object.fromEntries(values), ...ranges });
});
after(() => edge?.stop());

/**
 * Each address, in canonical and other spellings, gets what is expected. Of a large dump, each
 * address is asked for in one other spelling, another one from address to address.
 */
async function assertAnswered(addresses, expected) {
  const asked = addresses.flatMap((address, i) => {
    const others = spellings(address);
    return [address, ...(addresses.length > 500 ? [others[i % others.length]] : others)];
  });
  const answers = await edge.askAll(asked);
  const wrong = asked.map((address, i) => `${address}: ${answers[i]}`).filter((_, i) => answers[i] !== expected);
  assert.deepEqual(wrong, []);
}

test("dump, read, holds only bans and captchas, and each of them expires", () => {
  assert.ok(keys.length > 0, "no key under the prefix");
  for (const [key, { value, expiration }] of keys) {
    assert.ok(value === "ban" || value === "captcha", `${key} holds ${value}`);
    assert.ok(Number.isInteger(expiration), `${key} never expires`);
  }
  for (const { range, value, expires } of content.ranges) {
    assert.ok(value === "ban" || value === "captcha", `${range} holds ${value}`);
    assert.ok(expires <= dump.ranges.expiration, `${range} outlives the key of ranges`);
  }
});

test("every banned address, in canonical and other spellings, gets the ban page", async () => {
  await assertAnswered(addressesWith("ban"), "ban");
});

test("every challenged address, in canonical and other spellings, gets the challenge", async () => {
  await assertAnswered(addressesWith("captcha"), "captcha");
});

test("addresses that are not in the dump, in canonical and other spellings, reach the origin", async () => {
  const neighbours = keys
    .slice(0, 100)
    .map(([key]) => key.slice(PREFIX.length))
    .flatMap(neighboursOf);
  const clean = [...neighbours, "192.0.2.77", "2001:db8:77::77"].filter((address) => strongest(address) === "origin");
  assert.ok(clean.length > 0);
  await assertAnswered(clean, "origin");
});

test("the whole dump, looked up, left no warning", () => assert.deepEqual(edge.warnings, []));

/** Addresses that differ in one place only; the ones whose spelling stays canonical without more thought. */
function neighboursOf(address) {
  if (!address.includes(":")) {
    const bytes = address.split(".").map(Number);
    return [0, 3].map((i) => bytes.with(i, bytes[i] === 1 ? 2 : 1).join("."));
  }
  return [address.replace(/^[0-9a-f]+/, "2002"), address.replace(/:[1-9a-f][0-9a-f]*$/, ":fedc")];
}
