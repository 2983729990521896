import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { CHALLENGE_BINDINGS, Edge, isBanPage, isChallengePage, isFromOrigin } from "./support/edge.js";

const ADDRESS = "192.0.2.1";

/** Each in a world of its own. */
function scenario(name, world, check) {
  test(name, async () => {
    const edge = await Edge.start(world);
    try {
      await check(edge);
    } finally {
      await edge.stop();
    }
  });
}

async function passesWithWarning(edge, warning, address = ADDRESS) {
  edge.forget();
  const response = await edge.ask(address, { method: "POST", body: "order=1" });
  assert.ok(await isFromOrigin(response));
  assert.equal(edge.passed.length, 1);
  assert.equal(edge.passed[0].body.toString(), "order=1");
  assert.match(await edge.onlyWarning(), warning);
}

describe("fail open", { concurrency: 4 }, () => {
  scenario(
    "KV rejecting, request passes with one warning",
    { kv: `{ get: async () => { throw new Error("KV GET failed: 429"); } }` },
    (edge) => passesWithWarning(edge, /^crowdsec-edge-sync: request passed unchecked: KV GET failed: 429$/),
  );

  scenario(
    "KV throwing at once, request passes with one warning",
    { kv: `{ get() { throw "no Error object"; } }` },
    (edge) => passesWithWarning(edge, /unchecked: no Error object$/),
  );

  scenario(
    "KV never answering, request passes after two seconds",
    { kv: `{ get: () => new Promise(() => {}) }` },
    async (edge) => {
      const start = Date.now();
      await passesWithWarning(edge, /unchecked: KV did not answer within 2000 ms$/);
      assert.ok(Date.now() - start < 4000);
    },
  );

  scenario("no KV binding, request passes with one warning", { kv: null }, (edge) =>
    passesWithWarning(edge, /unchecked: the KV binding DECISIONS is missing$/),
  );

  scenario(
    "DECISIONS bound to something else, request passes with one warning",
    { kv: null, bindings: { DECISIONS: "text" } },
    (edge) => passesWithWarning(edge, /unchecked: the KV binding DECISIONS is missing$/),
  );

  const UNKNOWN = ["", "BAN", "ban\n", "log_only", "x".repeat(100_000)];
  const unknown = Object.fromEntries(UNKNOWN.map((value, i) => [`ip:192.0.2.${i}`, value]));
  scenario("unknown value, request passes with one short warning", { decisions: unknown }, async (edge) => {
    for (const key of Object.keys(unknown)) {
      await passesWithWarning(
        edge,
        new RegExp(`unchecked: key ${key} holds ".*", neither ban nor captcha$`),
        key.slice(3),
      );
      assert.ok(edge.warnings[0].length < 200);
    }
  });

  scenario(
    "CF-Connecting-IP that is no address, request passes with one short warning",
    { decisions: { "ip:192.0.2.1": "ban" } },
    async (edge) => {
      for (const address of ["not an address", "192.0.2.1, 192.0.2.9", "fe80::1%eth0", "9".repeat(5000)]) {
        await passesWithWarning(edge, /unchecked: CF-Connecting-IP is not an address: ".*"$/, address);
        assert.ok(edge.warnings[0].length < 200);
      }
    },
  );

  for (const missing of Object.keys(CHALLENGE_BINDINGS)) {
    const bindings = { ...CHALLENGE_BINDINGS, [missing]: "" };
    scenario(
      `captcha without ${missing}, request passes with one warning, and a ban still holds`,
      { bindings, decisions: { [`ip:${ADDRESS}`]: "captcha", "ip:192.0.2.9": "ban" } },
      async (edge) => {
        await passesWithWarning(
          edge,
          new RegExp(`unchecked: 192\\.0\\.2\\.1 is to be challenged, but .*${missing}.* is not set$`),
        );
        assert.ok(await isBanPage(await edge.ask("192.0.2.9")));
      },
    );
  }

  const unusable = { ...CHALLENGE_BINDINGS, TURNSTILE_SITE_KEY: 5 };
  scenario(
    "check failing after it read the body, request passes with the body intact",
    { bindings: unusable, decisions: { [`ip:${ADDRESS}`]: "captcha" } },
    async (edge) => {
      const response = await edge.ask(ADDRESS, { method: "POST", body: new URLSearchParams({ order: "1" }) });
      assert.ok(await isFromOrigin(response));
      assert.equal(edge.passed[0].body.toString(), "order=1");
      assert.match(await edge.onlyWarning(), /request passed unchecked/);
    },
  );

  scenario(
    "origin failing, request is sent once and its failure is not the Worker's to hide",
    {
      origin: () => {
        throw new Error("connection lost");
      },
    },
    async (edge) => {
      const response = await edge.ask(ADDRESS, { method: "POST", body: "order=1" });
      assert.equal(response.status, 500);
      assert.equal(edge.passed.length, 1);
      assert.deepEqual(edge.warnings, []);
    },
  );

  // A value that is its own question: the warning about it shows what was asked for.
  const ECHO = `{ get: async (key, options) => JSON.stringify(options) }`;

  scenario("no settings but the layout, KV is asked for the default prefix and cacheTtl", { kv: ECHO, bindings: { LAYOUT: "keys" } }, (edge) =>
    passesWithWarning(edge, /key ip:192\.0\.2\.1 holds "\{\\"cacheTtl\\":60\}"/),
  );

  scenario(
    "KEY_PREFIX and CACHE_TTL_SECONDS set, KV is asked with them",
    { kv: ECHO, bindings: { LAYOUT: "keys", KEY_PREFIX: "x:", CACHE_TTL_SECONDS: "30" } },
    (edge) => passesWithWarning(edge, /key x:192\.0\.2\.1 holds "\{\\"cacheTtl\\":30\}"/),
  );

  scenario(
    "CACHE_TTL_SECONDS an hour, KV is asked for five minutes, as long as a layout stays",
    { kv: ECHO, bindings: { LAYOUT: "keys", KEY_PREFIX: "", CACHE_TTL_SECONDS: "3600" } },
    (edge) => passesWithWarning(edge, /key ip:192\.0\.2\.1 holds "\{\\"cacheTtl\\":300\}"/),
  );

  for (const unusable of ["29", "60.5", "soon", "86401"]) {
    scenario(
      `CACHE_TTL_SECONDS ${unusable}, a ban still holds, with one warning`,
      { bindings: { CACHE_TTL_SECONDS: unusable }, decisions: { [`ip:${ADDRESS}`]: "ban" } },
      async (edge) => {
        assert.ok(await isBanPage(await edge.ask(ADDRESS)));
        assert.equal(
          await edge.onlyWarning(),
          "crowdsec-edge-sync: CACHE_TTL_SECONDS must be a whole number from 30 to 86400; using 60",
        );
      },
    );
  }

  scenario(
    "site key with markup, challenge is shown with it escaped",
    { bindings: { ...CHALLENGE_BINDINGS, TURNSTILE_SITE_KEY: `"><b>` }, decisions: { [`ip:${ADDRESS}`]: "captcha" } },
    async (edge) => {
      const response = await edge.ask(ADDRESS);
      assert.ok(!(await isChallengePage(response.clone())));
      assert.match(await response.text(), /data-sitekey="&#34;&#62;&#60;b&#62;"/);
    },
  );
});
