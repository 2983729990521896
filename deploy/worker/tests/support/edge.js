/**
 * The Worker in real workerd, between a visitor (the test) and an origin and a Turnstile (both
 * played here). What the origin got and what the Worker warned about are kept for the test.
 */

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { Miniflare } from "miniflare";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const WRANGLER_TOML = readFileSync(`${ROOT}wrangler.toml`, "utf8");

export const HOST = "site.example";
export const SITE_KEY = "0x4-site-key";
export const CHALLENGE_SECRET = "a secret for tests";

export const CHALLENGE_BINDINGS = { TURNSTILE_SITE_KEY: SITE_KEY, TURNSTILE_SECRET_KEY: "turnstile-secret", CHALLENGE_SECRET };

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
    const namespace = await this.miniflare.getKVNamespace("DECISIONS");
    await inParallel(Object.entries(decisions), ([key, value]) => namespace.put(key, value));
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

/** Many requests, but not all at once. */
export async function inParallel(items, work) {
  const waiting = items.values();
  await Promise.all(Array.from({ length: 32 }, async () => { for (const item of waiting) await work(item); }));
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
