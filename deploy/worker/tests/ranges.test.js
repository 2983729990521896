import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Ranges } from "../src/ranges.js";
import { CHALLENGE_BINDINGS } from "./support/edge.js";
import { assertAnswers, scenario } from "./support/scenario.js";

const LONG = 4102444800;
const OVER = 1600000000;

const text = (ranges, v = 1) => JSON.stringify({ v, at: 1, ranges });
const range = (range, value = "ban", expires = LONG) => ({ range, value, expires });

describe("ranges", { concurrency: 4 }, () => {
  const decisions = {
    "ip:192.0.2.9": "captcha",
    "ip:192.0.2.200": "ban",
    "ip:198.51.100.7": "ban",
    ranges: text([
      range("192.0.2.0/25"),
      range("192.0.2.128/25", "captcha"),
      range("198.51.100.0/24", "ban", OVER),
      range("203.0.113.64/26", "captcha"),
      range("203.0.113.96/27"),
      range("10.0.0.0/7"),
      range("2001:db8:1::/48"),
      range("2001:db8:2::/49", "captcha"),
    ]),
  };
  scenario("addresses at the bounds of ranges get the strongest decision that holds", { decisions }, async (edge) => {
    await assertAnswers(edge, {
      "192.0.2.0": "ban",
      "192.0.2.9": "ban",
      "192.0.2.127": "ban",
      "192.0.2.128": "captcha",
      "192.0.2.200": "ban",
      "192.0.3.0": "origin",
      "192.0.1.255": "origin",
      "198.51.100.1": "origin",
      "198.51.100.7": "ban",
      "203.0.113.63": "origin",
      "203.0.113.64": "captcha",
      "203.0.113.100": "ban",
      "203.0.113.128": "origin",
      "9.255.255.255": "origin",
      "10.0.0.1": "ban",
      "11.255.255.255": "ban",
      "12.0.0.0": "origin",
      "2001:db8:1::1": "ban",
      "2001:db8:1:ffff:ffff:ffff:ffff:ffff": "ban",
      "2001:db8:2:7fff::1": "captcha",
      "2001:db8:2:8000::1": "origin",
      "2001:db8:3::1": "origin",
    });
    assert.deepEqual(edge.warnings, []);
  });

  scenario(
    "everything of one family banned, the other family is let in",
    { decisions: { ranges: text([range("0.0.0.0/0")]) } },
    (edge) => assertAnswers(edge, { "0.0.0.1": "ban", "255.255.255.255": "ban", "2001:db8::1": "origin" }),
  );

  for (const [RANGES, status, warning] of [
    ["off", 200],
    ["on", 403],
    ["perhaps", 403, "crowdsec-edge-sync: RANGES must be on or off; using on"],
  ]) {
    const bindings = { ...CHALLENGE_BINDINGS, RANGES };
    scenario(`RANGES ${RANGES}, address in a banned range gets ${status}`, { decisions, bindings }, async (edge) => {
      assert.equal((await edge.ask("192.0.2.1")).status, status);
      if (warning) assert.equal(await edge.onlyWarning(), warning);
      else assert.deepEqual(edge.warnings, []);
    });
  }

  // What was asked of the namespace comes back as the warning about an unknown value.
  const counting = (ranges) => `(() => {
    const asked = {};
    return { get: async (key, options) => {
      asked[key] = (asked[key] ?? 0) + 1;
      if (key === "ip:wide" || key.startsWith("ip:s16:")) return null;
      return key === "ranges" ? ${JSON.stringify(ranges)} : asked.ranges + " " + JSON.stringify(options);
    } };
  })()`;
  scenario(
    "many requests of one isolate, the ranges are read once",
    { kv: counting(text([])) },
    async (edge) => {
      for (const n of [1, 2, 3]) {
        edge.forget();
        await edge.ask(`192.0.2.${n}`);
        assert.match(await edge.onlyWarning(), /holds "(undefined|1) /);
      }
    },
  );

  const unreadable = ["ban", "", "{}", "null", text([], 2), text([range("192.0.2.0/33")]), text([range("192.0.2.0")])];
  for (const ranges of [...unreadable, text([range("192.0.2.0/24", "throttle")]), text([{}])]) {
    scenario(
      `ranges ${ranges}, unreadable, requests pass with one short warning, and the decision on an address holds`,
      { decisions: { "ip:192.0.2.9": "ban", ranges } },
      async (edge) => {
        for (const [address, answer, warning] of [
          ["192.0.2.1", 200, /request passed unchecked: key ranges holds ".*", not the ranges of crowdsec-edge-sync$/],
          ["192.0.2.9", 403, /not everything could be checked: key ranges holds ".*", not the ranges/],
        ]) {
          edge.forget();
          assert.equal((await edge.ask(address)).status, answer);
          const said = await edge.onlyWarning();
          assert.match(said, warning);
          assert.ok(said.length < 200);
        }
      },
    );
  }

  scenario(
    "key of the address unreadable, the range still bans, with one warning",
    { decisions: { "ip:192.0.2.1": "what?", ranges: text([range("192.0.2.0/24")]) } },
    async (edge) => {
      assert.equal((await edge.ask("192.0.2.1")).status, 403);
      assert.match(await edge.onlyWarning(), /not everything could be checked: key ip:192\.0\.2\.1 holds "what\?"/);
    },
  );

  scenario(
    "ranges never answering, the ban of an address holds",
    { kv: `{ get: (key) => key === "ranges" ? new Promise(() => {}) : Promise.resolve(key === "ip:wide" ? null : "ban") }` },
    async (edge) => {
      assert.equal((await edge.ask("192.0.2.1")).status, 403);
      assert.match(await edge.onlyWarning(), /not everything could be checked: KV did not answer within 2000 ms$/);
    },
  );
});

test("range that runs out, asked for later, holds until its last second", () => {
  const ranges = Ranges.parse(text([range("192.0.2.0/24", "ban", 1000)]));
  assert.deepEqual(ranges.decisionsOn({ address: "192.0.2.1" }, 999.9), ["ban"]);
  assert.deepEqual(ranges.decisionsOn({ address: "192.0.2.1" }, 1000), []);
});
