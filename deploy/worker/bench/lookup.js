/**
 * How long the Worker takes for a request, in workerd, at 15,000 and 150,000 entries in both layouts; and how
 * long the search of one shard takes, many times in a row. Timed from outside: workerd's own clock stands still
 * while a request computes.
 *
 * A request through workerd to a Worker that does nothing is taken off. What is left is mostly the local KV's,
 * which reads a file: at Cloudflare that is a read from a cache.
 */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { Miniflare } from "miniflare";

import { shardName } from "../src/shards.js";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const LONG = 4102444800;
const REQUESTS = 100;

const ASK = `
  import { decisionsIn } from "./shards.js";
  export default {
    async fetch(request, { DECISIONS, WORKER, NOTHING }) {
      const { store = [], ask, times, search } = await request.json();
      await Promise.all(store.map(([key, value]) => DECISIONS.put(key, value)));
      const to = ask === null ? NOTHING : WORKER;
      const headers = { "CF-Connecting-IP": ask ?? "192.0.2.1" };
      for (let i = 0; ask !== undefined && i < times; i += 1) await (await to.fetch("https://site.example/", { headers })).text();
      if (search) {
        const text = await DECISIONS.get(search.key);
        let found = 0;
        for (let i = 0; i < times; i += 1) found += decisionsIn(text, search.address, 1).length;
        return new Response(String(found));
      }
      return new Response("done");
    },
  };`;

function miniflare() {
  const common = { modules: true, compatibilityDate: readFileSync(`${ROOT}wrangler.toml`, "utf8").match(/^compatibility_date = "(.*)"$/m)[1] };
  return new Miniflare({
    workers: [
      {
        ...common,
        name: "ask",
        modules: [
          { type: "ESModule", path: "ask.js", contents: ASK },
          { type: "ESModule", path: "shards.js", contents: readFileSync(`${ROOT}src/shards.js`, "utf8") },
          { type: "ESModule", path: "address.js", contents: readFileSync(`${ROOT}src/address.js`, "utf8") },
        ],
        kvNamespaces: ["DECISIONS"],
        serviceBindings: { WORKER: "worker", NOTHING: "nothing" },
      },
      {
        ...common,
        name: "worker",
        rootPath: ROOT,
        scriptPath: "src/index.js",
        modulesRules: [{ type: "ESModule", include: ["src/*.js"] }],
        kvNamespaces: ["DECISIONS"],
        outboundService: () => new Response("from the origin"),
      },
      { ...common, name: "nothing", script: `export default { fetch: () => fetch("https://site.example/") };`, outboundService: () => new Response("from the origin") },
    ],
  });
}

/** @param {number} n */
const address = (n) => `${20 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}.7`;

/**
 * @param {number} count
 * @param {string} layout
 */
function values(count, layout) {
  const all = Array.from({ length: count }, (_, n) => address(n));
  const ranges = Array.from({ length: 1000 }, (_, n) => `10.${n >> 8}.${n & 255}.0/24`);
  if (layout === "keys") {
    const json = { v: 1, at: 1, ranges: ranges.map((range) => ({ range, value: "ban", expires: LONG })) };
    return [...all.map((one) => [`ip:${one}`, "ban"]), ["ranges", JSON.stringify(json)]];
  }
  const lines = new Map();
  for (const one of all) {
    const key = `ip:${shardName(one)}`;
    if (!lines.has(key)) lines.set(key, ["edge-sync shard 1 1"]);
    lines.get(key).push(`${one} ban ${LONG}`);
  }
  const wide = ["edge-sync wide 1 1 shards 1 alone", ...ranges.map((range) => `${range} ban ${LONG}`)];
  return [...lines, ["ip:wide", wide]].map(([key, all]) => [key, `${all.join("\n")}\n`]);
}

/**
 * Milliseconds for each of many requests, the median of five rounds.
 *
 * @param {any} ask
 * @param {object} order
 * @param {number} times
 */
async function timed(ask, order, times) {
  const rounds = [];
  for (let round = 0; round < 6; round += 1) {
    const began = performance.now();
    await (await ask.fetch("http://ask/", { method: "POST", body: JSON.stringify({ ...order, times }) })).text();
    // The first warms up.
    if (round > 0) rounds.push((performance.now() - began) / times);
  }
  return rounds.sort((a, b) => a - b)[2];
}

console.log("median of a request in workerd, in ms, less that of one to a Worker that does nothing");
console.log("entries  layout   miss    hit     in a range   search of a shard");
for (const count of [15_000, 150_000]) {
  for (const layout of ["keys", "shards"]) {
    // One key is read, however many there are; to store them here would take minutes.
    if (layout === "keys" && count > 15_000) continue;
    const edge = miniflare();
    const ask = await edge.getWorker("ask");
    const all = values(count, layout);
    for (let i = 0; i < all.length; i += 500) {
      await ask.fetch("http://ask/", { method: "POST", body: JSON.stringify({ store: all.slice(i, i + 500) }) });
    }
    const nothing = await timed(ask, { ask: null }, REQUESTS);
    const cells = [];
    for (const one of ["198.51.100.1", address(count >> 1), "10.2.3.4"]) {
      cells.push(((await timed(ask, { ask: one }, REQUESTS)) - nothing).toFixed(3).padEnd(8));
    }
    let search = "-";
    if (layout === "shards") {
      const miss = "198.51.100.1";
      search = (await timed(ask, { search: { key: `ip:${shardName(miss)}`, address: miss } }, 2000)).toFixed(4);
    }
    console.log(`${String(count).padEnd(9)}${layout.padEnd(9)}${cells.join("")}     ${search}`);
    await edge.dispose();
  }
}
