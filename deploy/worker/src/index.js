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
    try {
      answer = await answerFor(request, env);
    } catch (error) {
      const reason = error instanceof Error ? error.message : error;
      console.warn(`crowdsec-edge-sync: request passed unchecked: ${reason}`);
    }
    // Outside the `try`: a failure of the origin is the origin's to report. Caught here, it would
    // be sent a second time, and so would an order or a payment. passThroughOnException() would
    // do the same.
    return answer ?? fetch(request);
  },
};

/**
 * @param {Request} request
 * @param {Record<string, any>} env
 * @returns {Promise<Response | null>} null: the request may pass
 */
async function answerFor(request, env) {
  const settings = readSettings(env);
  const clientIp = request.headers.get("CF-Connecting-IP");
  const address = canonicalAddress(clientIp);
  if (address === null) {
    throw new Error(`CF-Connecting-IP is not an address: ${JSON.stringify(clientIp?.slice(0, 64))}`);
  }
  switch (await decisionFor(address, settings)) {
    case "ban":
      return banPage(request);
    case "captcha":
      return challenge(request, address, settings.challenge);
    default:
      return null;
  }
}
