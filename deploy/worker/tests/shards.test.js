import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";

import { Ranges } from "../src/ranges.js";
import { decisionsIn, shardName } from "../src/shards.js";
import { CHALLENGE_BINDINGS } from "./support/edge.js";
import { assertAnswers, scenario } from "./support/scenario.js";

const LONG = 4102444800;
const OVER = 1600000000;

const wide = (serves, lines = "", alone = "alone") => `edge-sync wide 1 1767225600 ${serves} 1767225600 ${alone}\n${lines}`;

/** The shards of these lines, by key. */
function shards(lines, prefix = "ip:") {
  const values = {};
  for (const line of lines) {
    const key = prefix + shardName(line.split(" ")[0]);
    values[key] = `${values[key] ?? "edge-sync shard 1 1767225600\n"}${line}\n`;
  }
  return values;
}

test("golden addresses have the shards that the sync knows", () => {
  const golden = JSON.parse(readFileSync(new URL("../../../tests/fixtures/kv-shards.json", import.meta.url), "utf8"));
  assert.ok(Object.keys(golden).length >= 20);
  for (const [address, digit] of Object.entries(golden)) assert.equal(shardName(address), `s16:${digit}`, address);
});

test("line, looked for, is the whole address and holds until its last second", () => {
  const text = "edge-sync shard 1 9\n192.0.2.1 ban 1000\n92.0.2.1 captcha 1000\n2001:db8::1 ban 1000\n";
  assert.deepEqual(decisionsIn(text, "192.0.2.1", 999.9), ["ban"]);
  assert.deepEqual(decisionsIn(text, "192.0.2.1", 1000), []);
  assert.deepEqual(decisionsIn(text, "92.0.2.1", 1), ["captcha"]);
  for (const other of ["2.0.2.1", "192.0.2.10", "192.0.2", "2001:db8::", "db8::1"]) {
    assert.deepEqual(decisionsIn(text, other, 1), [], other);
  }
});

test("value of another form, looked through, is an error and no answer", () => {
  const head = "edge-sync shard 1 9\n";
  for (const text of ["", "ban", "edge-sync shard 2 9\n", `${head}192.0.2.1 throttle 5\n`, `${head}192.0.2.1 ban soon\n`, `${head}192.0.2.1 ban 5`]) {
    assert.throws(() => decisionsIn(text, "192.0.2.1", 1), text);
  }
  for (const text of ["", "edge-sync wide 1 5 both 5 alone\n", "edge-sync wide 1 5 keys 5 alone", wide("keys", "\n"), wide("keys", "192.0.2.1 ban 5\n"), wide("keys", "country:cn ban 5\n")]) {
    assert.throws(() => Ranges.parseLines(text), text);
  }
});

test("country and network, looked up, meet everybody but whom they never meet", () => {
  const lines = `as:64496 captcha ${LONG}\ncountry:CN ban ${LONG}\ncountry:T1 ban ${OVER}\n192.0.2.7 never 0\n2001:db8:1::/48 never 0\n198.51.100.0/24 ban ${LONG}\n`;
  const json = JSON.stringify({
    v: 1,
    at: 1,
    ranges: [{ range: "198.51.100.0/24", value: "ban", expires: LONG }],
    more: `192.0.2.7 never 0\n2001:db8:1::/48 never 0\nas:64496 captcha ${LONG}\ncountry:CN ban ${LONG}\ncountry:T1 ban ${OVER}\n`,
  });
  for (const ranges of [Ranges.parseLines(wide("shards", lines)), Ranges.parse(json)]) {
    const of = (address, country, asn) => ranges.decisionsOn({ address, country, asn }, 1767225600);
    assert.deepEqual(of("192.0.2.1", "CN", 1), ["ban"]);
    assert.deepEqual(of("192.0.2.1", "DE", 64496), ["captcha"]);
    assert.deepEqual(of("192.0.2.1", "T1", 2), []);
    assert.deepEqual(of("192.0.2.7", "CN", 64496), []);
    assert.deepEqual(of("2001:db8:1::7", "CN", 64496), []);
    assert.deepEqual(of("2001:db8:2::7", "CN", 1), ["ban"]);
    assert.deepEqual(of("198.51.100.7", undefined, undefined), ["ban"]);
    assert.deepEqual(of("192.0.2.1", undefined, undefined), []);
  }
});

describe("shards", { concurrency: 4 }, () => {
  const decisions = {
    "ip:wide": wide("shards", `203.0.113.0/25 captcha ${LONG}\n2001:db8:1::/48 ban ${LONG}\n`),
    ...shards([`192.0.2.1 ban ${LONG}`, `192.0.2.2 captcha ${LONG}`, `192.0.2.3 ban ${OVER}`, `2001:db8::1 ban ${LONG}`, `203.0.113.7 ban ${LONG}`]),
    // What the other layout says does not count.
    "ip:192.0.2.9": "ban",
    ranges: JSON.stringify({ v: 1, at: 1, ranges: [{ range: "192.0.2.0/24", value: "ban", expires: LONG }] }),
  };
  scenario("shards served, each address gets the strongest decision that holds", { decisions }, async (edge) => {
    await assertAnswers(edge, {
      "192.0.2.1": "ban",
      "192.0.2.2": "captcha",
      "192.0.2.3": "origin",
      "192.0.2.9": "origin",
      "2001:db8::1": "ban",
      "2001:db8::2": "origin",
      "203.0.113.7": "ban",
      "203.0.113.8": "captcha",
      "2001:db8:1:2::3": "ban",
    });
    assert.deepEqual(edge.warnings, []);
  });

  scenario(
    "keys served while the shards are written, only the keys count",
    { decisions: { ...decisions, "ip:wide": wide("keys", "", "beside") } },
    (edge) => assertAnswers(edge, { "192.0.2.1": "ban", "192.0.2.9": "ban", "2001:db8::1": "origin", "203.0.113.8": "origin" }),
  );

  scenario(
    "LAYOUT keys, the marker is not looked at",
    { decisions, bindings: { ...CHALLENGE_BINDINGS, LAYOUT: "keys" } },
    (edge) => assertAnswers(edge, { "192.0.2.9": "ban", "2001:db8::1": "origin" }),
  );

  scenario(
    "RANGES off, addresses count and ranges do not",
    { decisions, bindings: { ...CHALLENGE_BINDINGS, RANGES: "off" } },
    (edge) => assertAnswers(edge, { "192.0.2.1": "ban", "203.0.113.8": "origin" }),
  );

  scenario(
    "another prefix, its values count and no others",
    { decisions: { ...decisions, "x:wide": wide("shards"), ...shards([`192.0.2.50 ban ${LONG}`], "x:") }, bindings: { ...CHALLENGE_BINDINGS, KEY_PREFIX: "x:" } },
    (edge) => assertAnswers(edge, { "192.0.2.1": "origin", "192.0.2.50": "ban" }),
  );

  scenario(
    "shard of somebody else, requests pass with a warning, and a range around them holds",
    { decisions: { ...decisions, [`ip:${shardName("203.0.113.8")}`]: "mine", [`ip:${shardName("192.0.2.77")}`]: "mine" } },
    async (edge) => {
      assert.equal((await edge.ask("203.0.113.8")).status, 403);
      assert.match(await edge.onlyWarning(), /not everything could be checked: key ip:s16:. holds "mine"/);
      edge.forget();
      assert.equal((await edge.ask("192.0.2.77")).status, 200);
      assert.match(await edge.onlyWarning(), /passed unchecked: key ip:s16:. holds "mine"/);
    },
  );

  scenario(
    "marker unreadable, the keys are what counts, with a warning",
    { decisions: { ...decisions, "ip:wide": "what?" } },
    async (edge) => {
      assert.equal((await edge.ask("192.0.2.9")).status, 403);
      assert.match(await edge.onlyWarning(), /not everything could be checked: key ip:wide holds "what\?"/);
    },
  );

  scenario(
    "KV's reads of the day used up, requests pass and say so in debug mode",
    { kv: `{ get: () => Promise.reject(new Error("KV get() limit exceeded for the day.")) }`, bindings: { DEBUG: "on" } },
    async (edge) => {
      const response = await edge.ask("192.0.2.1");
      assert.equal(response.status, 200);
      assert.equal(response.headers.get("X-Edge-Sync"), "unchecked: KV get() limit exceeded for the day.");
      assert.equal(await response.text(), "from the origin");
      assert.match(await edge.onlyWarning(), /request passed unchecked: KV get\(\) limit exceeded/);
    },
  );

  scenario("DEBUG on, answers say what was checked", { decisions, bindings: { ...CHALLENGE_BINDINGS, DEBUG: "on" } }, async (edge) => {
    const said = async (address) => (await edge.ask(address)).headers.get("X-Edge-Sync");
    assert.equal(await said("192.0.2.1"), "checked: shards, ban");
    assert.equal(await said("192.0.2.9"), "checked: shards, nothing");
  });
  scenario("DEBUG off, answers say nothing", { decisions }, async (edge) => {
    assert.equal((await edge.ask("192.0.2.1")).headers.get("X-Edge-Sync"), null);
  });

  // Which keys were asked for comes back as the warning about an unknown value.
  const asked = (marker) => `(() => {
    const asked = [];
    return { get: async (key, { cacheTtl }) => {
      asked.push(key + " " + cacheTtl);
      if (key === "ip:wide") return ${JSON.stringify(marker)};
      return key.startsWith("ip:s16:") && asked.length > 3 ? asked.join() : null;
    } };
  })()`;
  scenario("requests of one isolate, each reads one shard and the marker is read once", { kv: asked(wide("shards")) }, async (edge) => {
    await edge.ask("192.0.2.1");
    await edge.ask("192.0.2.1");
    edge.forget();
    await edge.ask("192.0.2.1");
    const warning = await edge.onlyWarning();
    assert.match(warning, /holds "ip:wide 60,ip:s16:. 60,ip:s16:. /, warning);
  });
});
