/**
 * The Worker in real workerd, between a visitor (the test) and an origin and a Turnstile (both
 * played here). What the origin got and what the Worker warned about are kept for the test.
 */

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { Miniflare } from "miniflare";

/**
 * A crowd of visitors inside workerd: a namespace of 15,000 keys is filled and asked for in seconds,
 * where requests from here would take minutes.
 */
const CROWD = `
  const kindOf = async (response) => {
    const text = await response.text();
    if (response.status === 200 && text === "from the origin") return "origin";
    if (response.status === 403 && text.includes("<h1>Access denied</h1>")) return "ban";
    if (response.status === 403 && text.includes('data-sitekey="')) return "captcha";
    return response.status + " " + text;
  };
  export default {
    async fetch(request, { DECISIONS, WORKER }) {
      const { store = [], ask = [] } = await request.json();
      await Promise.all(store.map(([key, value]) => DECISIONS.put(key, value)));
      return Response.json(await Promise.all(ask.map(async (address) =>
        kindOf(await WORKER.fetch("https://site.example/", { headers: { "CF-Connecting-IP": address } })))));
    },
  };`;

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const WRANGLER_TOML = readFileSync(`${ROOT}wrangler.toml`, "utf8");

export const HOST = "site.example";
export const SITE_KEY = "0x4-site-key";
export const CHALLENGE_SECRET = "a secret for tests";

export const CHALLENGE_BINDINGS = {
  TURNSTILE_SITE_KEY: SITE_KEY,
  TURNSTILE_SECRET_KEY: "turnstile-secret",
  CHALLENGE_SECRET,
};

export class Edge {
  /** The requests that reached the origin. */
  passed = [];
  /** The forms that reached Turnstile's siteverify. */
  verified = [];
  warnings = [];

  /**
   * @param {object} world
   * @param {Record<string, string>} [world.decisions] the namespace's content
   * @param {Record<string, unknown>} [world.bindings] settings and secrets
   * @param {() => Response | Promise<Response>} [world.siteverify]
   * @param {(request: Request) => Response} [world.origin]
   * @param {string | null} [world.kv] source of a stand-in for the namespace; null: no binding
   */
  static async start({ decisions = {}, bindings = {}, siteverify, origin, kv } = {}) {
    const edge = new Edge();
    const worker = {
      name: "worker",
      rootPath: ROOT,
      scriptPath: "src/index.js",
      modules: true,
      modulesRules: [{ type: "ESModule", include: ["src/*.js"] }],
      compatibilityDate: WRANGLER_TOML.match(/^compatibility_date = "(.*)"$/m)[1],
      bindings,
      stripCfConnectingIp: false,
      outboundService: (request) => edge.#outside(request, { siteverify, origin }),
    };
    const workers = [worker];
    if (kv === undefined) {
      worker.kvNamespaces = ["DECISIONS"];
      workers.push({
        name: "crowd",
        modules: true,
        script: CROWD,
        kvNamespaces: ["DECISIONS"],
        serviceBindings: { WORKER: "worker" },
      });
    } else if (kv !== null) {
      worker.wrappedBindings = { DECISIONS: "stand-in" };
      workers.push({ name: "stand-in", modules: true, script: `export default () => (${kv});` });
    }
    edge.miniflare = new Miniflare({
      workers,
      handleStructuredLogs: ({ level, message }) => {
        if (level === "warn") edge.warnings.push(message);
      },
    });
    try {
      await edge.miniflare.ready;
      if (kv === undefined) await edge.store(decisions);
    } catch (error) {
      // Left alone, workerd would keep the test run from ending.
      await edge.stop();
      throw error;
    }
    return edge;
  }

  /** @param {Record<string, string>} decisions */
  async store(decisions) {
    for (const store of chunks(Object.entries(decisions))) await this.#crowd({ store });
  }

  /**
   * One request from each address.
   *
   * @param {string[]} addresses
   * @returns {Promise<string[]>} for each, "ban", "captcha", "origin", or what else it got
   */
  async askAll(addresses) {
    const answers = [];
    for (const ask of chunks(addresses)) answers.push(...(await this.#crowd({ ask })));
    return answers;
  }

  async #crowd(order) {
    const crowd = await this.miniflare.getWorker("crowd");
    const response = await crowd.fetch("http://crowd/", { method: "POST", body: JSON.stringify(order) });
    return response.json();
  }

  /** A request as Cloudflare hands it over, from this address. Redirects are not followed. */
  ask(address, { path = "/", scheme = "https", headers = {}, ...init } = {}) {
    return this.miniflare.dispatchFetch(`${scheme}://${HOST}${path}`, {
      redirect: "manual",
      headers: { "CF-Connecting-IP": address, ...headers },
      ...init,
    });
  }

  /** Waits, because log lines take their own way out of workerd. */
  async onlyWarning() {
    for (let i = 0; i < 200 && this.warnings.length === 0; i += 1) await sleep(10);
    await sleep(30);
    if (this.warnings.length !== 1) throw new Error(`not one warning: ${JSON.stringify(this.warnings)}`);
    return this.warnings[0];
  }

  /** What was kept so far. */
  forget() {
    this.passed.length = this.verified.length = this.warnings.length = 0;
  }

  stop() {
    return this.miniflare.dispose();
  }

  async #outside(request, { siteverify, origin }) {
    if (request.url === "https://challenges.cloudflare.com/turnstile/v0/siteverify") {
      this.verified.push(Object.fromEntries(new URLSearchParams(await request.text())));
      return siteverify();
    }
    const body = Buffer.from(await request.arrayBuffer());
    this.passed.push({ method: request.method, url: request.url, headers: request.headers, body });
    return origin?.(request) ?? new Response("from the origin");
  }
}

function* chunks(items) {
  for (let i = 0; i < items.length; i += 500) yield items.slice(i, i + 500);
}

/** @param {Response} response */
export async function isBanPage(response) {
  return response.status === 403 && (await response.text()).includes("<h1>Access denied</h1>");
}

/** @param {Response} response */
export async function isChallengePage(response) {
  return response.status === 403 && (await response.text()).includes(`data-sitekey="${SITE_KEY}"`);
}

/** @param {Response} response */
export async function isFromOrigin(response) {
  return response.status === 200 && (await response.text()) === "from the origin";
}
