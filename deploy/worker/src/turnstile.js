/**
 * Asks Cloudflare Turnstile whether a token is genuine.
 * https://developers.cloudflare.com/turnstile/get-started/server-side-validation/
 */

const SITEVERIFY_URL = "https://challenges.cloudflare.com/turnstile/v0/siteverify";

const SITEVERIFY_TIMEOUT_MS = 5000;

/** Not the visitor's fault: a wrong secret of ours, or Turnstile's own failure. */
const UNAVAILABLE_CODES = ["missing-input-secret", "invalid-input-secret", "internal-error"];

/**
 * @param {string} token
 * @param {{ address: string, hostname: string }} holder a token that was solved at another host does not count
 * @param {string} secret
 * @returns {Promise<"solved" | "refused" | "unavailable">} `unavailable`, with a warning: it cannot be known
 */
export async function verifyToken(token, { address, hostname }, secret) {
  try {
    const reply = await fetch(SITEVERIFY_URL, {
      method: "POST",
      body: new URLSearchParams({ secret, response: token, remoteip: address }),
      signal: AbortSignal.timeout(SITEVERIFY_TIMEOUT_MS),
    });
    // A refusal may come with any status: the body decides.
    const { success, hostname: solvedAt, "error-codes": codes = [] } = await reply.json();
    if (success === true) return solvedAt === undefined || solvedAt === hostname ? "solved" : "refused";
    if (success === false && !UNAVAILABLE_CODES.some((code) => codes.includes(code))) return "refused";
    throw new Error(`HTTP ${reply.status}, error codes ${JSON.stringify(codes)}`);
  } catch (error) {
    const reason = error instanceof Error ? error.message : error;
    console.warn(`crowdsec-edge-sync: ${address} was let in, Turnstile could not verify its answer: ${reason}`);
    return "unavailable";
  }
}
