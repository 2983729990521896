/**
 * The challenge of an address with a `captcha` decision: page -> Turnstile token -> clearance.
 *
 * The page posts the token to the URL that it was served under. So the Worker needs no path of its
 * own (which its route might not cover), and no parameter names the place to return to: it is the
 * request's own URL, so nobody can make it another site.
 */

import { clearanceCookie, isCleared } from "./clearance.js";
import { CHALLENGE_TOKEN_FIELD, challengePage } from "./pages.js";
import { verifyToken } from "./turnstile.js";

/** Turnstile's own limit for a token. */
const TOKEN_LENGTH_MAX = 2048;

/** A token with every character percent-encoded, and its field's name. Never read more of a stranger. */
const ANSWER_LENGTH_MAX = 3 * TOKEN_LENGTH_MAX + 100;

/** When Turnstile cannot tell, the visitor is let in, but asked again soon. */
const UNVERIFIED_CLEARANCE_SECONDS = 300;

/**
 * @param {Request} request
 * @param {string} address canonical
 * @param {import("./settings.js").ChallengeSettings | null} settings
 * @returns {Promise<Response | null>} null: the request may pass
 */
export async function challenge(request, address, settings) {
  // `captcha` says that a person may come in. A page that nobody can solve would make it a ban.
  if (settings === null) {
    throw new Error(
      `${address} is to be challenged, but TURNSTILE_SITE_KEY, TURNSTILE_SECRET_KEY or CHALLENGE_SECRET is not set`,
    );
  }
  const { siteKey, turnstileSecret, clearanceSecret, clearanceSeconds } = settings;
  const url = new URL(request.url);
  const holder = { hostname: url.hostname, address };
  if (await isCleared(request, holder, clearanceSecret)) return null;

  if (url.protocol === "http:" && request.method === "GET") {
    // Browsers refuse a Secure cookie over plain HTTP: solved there, the challenge would come again.
    url.protocol = "https:";
    return redirect(url);
  }

  const token = await tokenIn(request);
  if (token === null) return challengePage(request, { siteKey, retry: false });

  const verdict = await verifyToken(token, holder, turnstileSecret);
  if (verdict === "refused") return challengePage(request, { siteKey, retry: true });

  const seconds = verdict === "solved" ? clearanceSeconds : UNVERIFIED_CLEARANCE_SECONDS;
  return redirect(url, await clearanceCookie(holder, seconds, clearanceSecret));
}

/**
 * Reads a copy: if anything fails later, the request can still pass with its body.
 *
 * @param {Request} request
 * @returns {Promise<string | null>} null: the request does not answer a challenge
 */
async function tokenIn(request) {
  const isForm = request.headers.get("Content-Type")?.startsWith("application/x-www-form-urlencoded");
  if (request.method !== "POST" || !isForm) return null;

  const decoder = new TextDecoder();
  let form = "";
  for await (const chunk of request.clone().body ?? []) {
    form += decoder.decode(chunk, { stream: true });
    if (form.length > ANSWER_LENGTH_MAX) return null;
  }
  const token = new URLSearchParams(form).get(CHALLENGE_TOKEN_FIELD);
  return token && token.length <= TOKEN_LENGTH_MAX ? token : null;
}

/**
 * To an absolute URL: a path such as `//example.org/` alone would lead to another site.
 *
 * @param {URL} url
 * @param {string} [cookie]
 */
function redirect(url, cookie) {
  const headers = new Headers({ Location: url.href, "Cache-Control": "no-store" });
  if (cookie !== undefined) headers.set("Set-Cookie", cookie);
  return new Response(null, { status: 303, headers });
}
