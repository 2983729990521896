/**
 * The Worker: enforces, for each request, the decision that crowdsec-edge-sync left in Workers KV.
 *
 * Invariant: it fails open. Whatever goes wrong while a request is checked (KV, settings, our own
 * bug), the request goes to the origin as if the Worker were not there, and one warning is logged.
 */

import { canonicalAddress } from "./address.js";
import { challenge } from "./challenge.js";
import { decisionFor } from "./decision.js";
import { banPage } from "./pages.js";
import { readSettings } from "./settings.js";

export default {
  /**
   * @param {Request} request
   * @param {Record<string, any>} env
   * @returns {Promise<Response>}
   */
  async fetch(request, env) {
    let answer = null;
    /** @type {{ said: string | null }} what a header says, in debug mode */
    const debug = { said: null };
    try {
      answer = await answerFor(request, env, debug);
    } catch (error) {
      const reason = error instanceof Error ? error.message : error;
      console.warn(`crowdsec-edge-sync: request passed unchecked: ${reason}`);
      if (env.DEBUG === "on") debug.said = `unchecked: ${reason}`;
    }
    // Outside the `try`: a failure of the origin is the origin's to report. Caught here, it would
    // be sent a second time, and so would an order or a payment. passThroughOnException() would
    // do the same.
    const response = answer ?? (await fetch(request));
    return debug.said === null ? response : withHeader(response, debug.said);
  },
};

/** Not a copy of ours: a WebSocket would not survive that. */
function withHeader(response, said) {
  if (response.webSocket) return response;
  const marked = new Response(response.body, response);
  marked.headers.set("X-Edge-Sync", said.replace(/[^ -~]/g, "?").slice(0, 200));
  return marked;
}

/**
 * @param {Request} request
 * @param {Record<string, any>} env
 * @param {{ said: string | null }} debug
 * @returns {Promise<Response | null>} null: the request may pass
 */
async function answerFor(request, env, debug) {
  const settings = readSettings(env);
  const clientIp = request.headers.get("CF-Connecting-IP");
  const address = canonicalAddress(clientIp);
  if (address === null) {
    throw new Error(`CF-Connecting-IP is not an address: ${JSON.stringify(clientIp?.slice(0, 64))}`);
  }
  const { country, asn } = request.cf ?? {};
  const { decision, layout } = await decisionFor({ address, country, asn }, settings);
  if (settings.debug) debug.said = `checked: ${layout}, ${decision ?? "nothing"}`;
  switch (decision) {
    case "ban":
      return banPage(request);
    case "captcha":
      return challenge(request, address, settings.challenge);
    default:
      return null;
  }
}
