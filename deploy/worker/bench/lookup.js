/**
 * What a lookup costs in workerd, at 15,000 and 150,000 entries in both layouts: for a visitor of whom nothing
 * is decided, for one who is banned, and for one in a banned range. And how long the search of one shard takes,
 * many times in a row.
 *
 * Timed from outside, because workerd's own clock stands still while a request computes: by the wall clock, and
 * by the processor time of workerd's process, which other programs on the machine disturb less. The time of a
 * request to a Worker that looks nothing up is taken off, round by round. KV is played in memory: how long a
 * read of it takes is Cloudflare's. What arrives of it is bytes, so that decoding them counts.
 */

import { readFileSync, readdirSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { fileURLToPath } from "node:url";

import { Miniflare } from "miniflare";

import { shardName } from "../src/shards.js";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const LONG = 4102444800;
const REQUESTS = 200;
const ROUNDS = 9;

/** Sends requests in a row to one of the Workers, or searches one value again and again. */
const ASK = `
  import { decisionsIn } from "./shards.js";
  export default {
    async fetch(request, env) {
      const { to, from, times, search } = await request.json();
      const headers = { "CF-Connecting-IP": from };
      let status = null;
      for (let i = 0; to && i < times; i += 1) {
        const response = await env[to].fetch("https://site.example/", { headers });
        await response.text();
        status = response.status;
      }
      if (!search) return new Response(String(status));
      const text = await env.DECISIONS.get(search);
      let found = 0;
      for (let i = 0; i < times; i += 1) found += decisionsIn(text, from, 1).length;
      return new Response(String(found));
    },
  };`;

/** @param {[string, string][]} all */
const memory = (all) => `
  const all = new Map(${JSON.stringify(all)});
  for (const [key, value] of all) if (value.length > 100) all.set(key, new TextEncoder().encode(value));
  const text = (value) => (typeof value === "string" ? value : new TextDecoder().decode(value));
  export default () => ({ get: async (key) => (all.has(key) ? text(all.get(key)) : null) });`;

/** @param {[string, string][]} all */
function miniflare(all) {
  const compatibilityDate = readFileSync(`${ROOT}wrangler.toml`, "utf8").match(/^compatibility_date = "(.*)"$/m)[1];
  const common = { modules: true, compatibilityDate, stripCfConnectingIp: false, outboundService: "origin" };
  const source = (name) => ({ type: "ESModule", path: name, contents: readFileSync(`${ROOT}src/${name}`, "utf8") });
  const wrappedBindings = { DECISIONS: "memory" };
  return new Miniflare({
    workers: [
      {
        ...common,
        name: "ask",
        modules: [{ type: "ESModule", path: "ask.js", contents: ASK }, source("shards.js"), source("address.js")],
        wrappedBindings,
        serviceBindings: { WORKER: "worker", PASSES: "passes", REFUSES: "refuses" },
      },
      {
        ...common,
        name: "worker",
        rootPath: ROOT,
        scriptPath: "src/index.js",
        modulesRules: [{ type: "ESModule", include: ["src/*.js"] }],
        wrappedBindings,
      },
      { ...common, name: "passes", script: `export default { fetch: (request) => fetch(request) };` },
      { ...common, name: "refuses", script: `export default { fetch: () => new Response("no", { status: 403 }) };` },
      { name: "origin", modules: true, compatibilityDate, script: `export default { fetch: () => new Response("site") };` },
      { name: "memory", modules: true, script: memory(all) },
    ],
  });
}

/** @param {number} n */
const address = (n) => `${20 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}.7`;

/**
 * @param {number} count
 * @param {string} layout
 * @returns {[string, string][]}
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

/** The processor time of workerd, in ms; NaN where the system does not tell. */
function processorTime() {
  try {
    const read = (path) => readFileSync(path, "utf8");
    const isOurs = (pid) => read(`/proc/${pid}/stat`).replace(/^.*\) . /, "").startsWith(`${process.pid} `);
    const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
    const pid = pids.find((pid) => {
      try {
        return isOurs(pid) && read(`/proc/${pid}/comm`).startsWith("workerd");
      } catch {
        return false;
      }
    });
    const tasks = readdirSync(`/proc/${pid}/task`);
    const times = tasks.map((task) => Number(read(`/proc/${pid}/task/${task}/schedstat`).split(" ")[0]));
    return times.reduce((sum, time) => sum + time, 0) / 1e6;
  } catch {
    return NaN;
  }
}

/**
 * Of one order: milliseconds by the clock, and of the processor.
 *
 * @param {any} ask
 * @param {object} order
 * @param {number} times
 */
async function timed(ask, order, times) {
  const [began, used] = [performance.now(), processorTime()];
  const answer = await (await ask.fetch("http://ask/", { method: "POST", body: JSON.stringify({ ...order, times }) })).text();
  const cost = [(performance.now() - began) / times, (processorTime() - used) / times];
  if (answer !== (order.answer ?? "0")) throw new Error(`${JSON.stringify(order)} is answered by ${answer}`);
  return cost;
}

/** @param {number[]} all */
const median = (all) => all.toSorted((a, b) => a - b)[all.length >> 1];

/**
 * What a lookup takes more than none, the median of many rounds.
 *
 * @param {any} ask
 * @param {string} from
 * @param {string} without the Worker that does the same without a lookup
 */
async function lookup(ask, from, without) {
  const rounds = [];
  const answer = without === "PASSES" ? "200" : "403";
  for (let round = 0; round <= ROUNDS; round += 1) {
    const nothing = await timed(ask, { to: without, from, answer }, REQUESTS);
    const all = await timed(ask, { to: "WORKER", from, answer }, REQUESTS);
    // The first warms up.
    if (round > 0) rounds.push(all.map((time, at) => time - nothing[at]));
  }
  return [0, 1].map((at) => median(rounds.map((round) => round[at])));
}

/** Of the processor, of all lookups among 15,000. */
let slowest = 0;
const load = () => `load ${loadavg()[0].toFixed(1)} on ${cpus().length} processors`;
console.log(`what a lookup takes in workerd, median in ms: by the clock / of the processor (${load()})`);
console.log("entries  layout   miss             hit              in a range       search of a shard");
for (const count of [15_000, 150_000]) {
  for (const layout of ["keys", "shards"]) {
    const edge = miniflare(values(count, layout));
    const ask = await edge.getWorker("ask");
    const cells = [];
    for (const [from, without] of [["198.51.100.1", "PASSES"], [address(count >> 1), "REFUSES"], ["10.2.3.4", "REFUSES"]]) {
      const times = await lookup(ask, from, without);
      if (count === 15_000) slowest = Math.max(slowest, times[1]);
      cells.push(times.map((time) => time.toFixed(3)).join(" / ").padEnd(17));
    }
    let search = "-";
    if (layout === "shards") {
      const from = "198.51.100.1";
      const rounds = [];
      for (let round = 0; round < 5; round += 1) rounds.push(await timed(ask, { search: `ip:${shardName(from)}`, from }, 2000));
      search = median(rounds.map(([time]) => time)).toFixed(4);
    }
    console.log(`${String(count).padEnd(9)}${layout.padEnd(9)}${cells.join("")}${search}`);
    await edge.dispose();
  }
}
console.log(`at the end: ${load()}`);
if (slowest >= 1) {
  console.error(`a lookup among 15,000 takes ${slowest.toFixed(3)} ms of the processor, and is to take less than 1`);
  process.exitCode = 1;
}
