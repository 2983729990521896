/**
 * What a visitor sees instead of the site. Always 403 and never stored by a cache; says that the
 * address is blocked or challenged, and nothing about why, by whom or for how long.
 */

/** Our own name, so that a form of the site that uses Turnstile itself is not taken for an answer. */
export const CHALLENGE_TOKEN_FIELD = "edge-challenge-token";

/** @param {Request} request */
export function banPage(request) {
  return refusal(request, {
    error: "access_denied",
    csp: "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'",
    html: page(
      "Access denied",
      `<p>This site does not accept requests from your network address.</p>
<p>If you think that this is a mistake, please contact the owner of the site.</p>`,
    ),
  });
}

/**
 * @param {Request} request
 * @param {{ siteKey: string, retry: boolean }} options
 */
export function challengePage(request, { siteKey, retry }) {
  const nonce = crypto.randomUUID();
  return refusal(request, {
    error: "challenge_required",
    // No form-action: Chrome applies it to the redirects after the form as well, and would stop a
    // visitor whom the site sends on to a login page elsewhere.
    csp:
      `default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; connect-src 'self'; ` +
      `script-src 'nonce-${nonce}' 'strict-dynamic'; frame-src https://challenges.cloudflare.com`,
    // The form has no action, so it goes to the page's own URL, which need not be repeated here.
    html: page(
      "One more step",
      `${retry ? '<p role="alert">That did not work. Please try once more.</p>\n' : ""}<p>Please confirm that you are a person. You will then be taken to the page that you asked for.</p>
<form method="post">
<input type="hidden" name="${CHALLENGE_TOKEN_FIELD}">
<div class="cf-turnstile" data-sitekey="${escapeAttribute(siteKey)}" data-callback="onSolved" data-response-field="false"></div>
</form>
<noscript><p role="alert">This check needs JavaScript. Please turn it on and load the page again.</p></noscript>
<p><small>If nothing appears above, something keeps your browser from loading challenges.cloudflare.com.</small></p>
<script nonce="${nonce}">
function onSolved(token) {
  const form = document.forms[0];
  form.elements["${CHALLENGE_TOKEN_FIELD}"].value = token;
  form.submit();
}
</script>
<script nonce="${nonce}" src="https://challenges.cloudflare.com/turnstile/v0/api.js" async defer></script>`,
    ),
  });
}

/**
 * @param {Request} request
 * @param {{ error: string, html: string, csp: string }} content
 */
function refusal(request, { error, html, csp }) {
  const asJson = wantsJson(request);
  const headers = {
    "Content-Type": asJson ? "application/json" : "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": csp,
    "X-Content-Type-Options": "nosniff",
  };
  const body = asJson ? JSON.stringify({ error }) : html;
  return new Response(request.method === "HEAD" ? null : body, { status: 403, headers });
}

/** @param {Request} request */
function wantsJson(request) {
  const accept = (request.headers.get("Accept") ?? "").toLowerCase();
  return accept.includes("application/json") && !accept.includes("text/html");
}

/**
 * @param {string} title
 * @param {string} content
 */
function page(title, content) {
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>
:root { color-scheme: light dark; }
body { font: 1.125rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; padding: 0 1rem; }
</style>
</head>
<body>
<main>
<h1>${title}</h1>
${content}
</main>
</body>
</html>
`;
}

/** @param {string} text */
function escapeAttribute(text) {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
