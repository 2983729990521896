import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";

import {
  CHALLENGE_BINDINGS,
  CHALLENGE_SECRET,
  Edge,
  HOST,
  isBanPage,
  isChallengePage,
  isFromOrigin,
} from "./support/edge.js";

const ADDRESS = "192.0.2.2";
const OTHER_ADDRESS = "2001:db8::c";
const BANNED = "192.0.2.1";
const COOKIE = "__Host-edge-clearance";

const reply =
  (body, status = 200) =>
  () =>
    Response.json(body, { status });
const SOLVED = reply({ success: true, hostname: HOST, "error-codes": [] });

let edge;
let siteverify;
before(async () => {
  edge = await Edge.start({
    bindings: CHALLENGE_BINDINGS,
    decisions: { [`ip:${ADDRESS}`]: "captcha", [`ip:${OTHER_ADDRESS}`]: "captcha", [`ip:${BANNED}`]: "ban" },
    siteverify: () => siteverify(),
  });
});
beforeEach(() => {
  siteverify = SOLVED;
  edge.forget();
});
after(() => edge?.stop());

/** What the page's form sends. */
function answer(address, { token = "a token", ...init } = {}) {
  return edge.ask(address, { method: "POST", body: new URLSearchParams({ "edge-challenge-token": token }), ...init });
}

/** A second reading of the cookie's format, with Node's crypto. */
function clearance({ secret = CHALLENGE_SECRET, host = HOST, address = ADDRESS, lifetime = 600 } = {}) {
  const expires = Math.floor(Date.now() / 1000) + lifetime;
  const statement = JSON.stringify(["edge-clearance", host, address, expires]);
  return `${COOKIE}=${expires}.${createHmac("sha256", secret).update(statement).digest("hex")}`;
}

const askWith = (cookie, address = ADDRESS, init = {}) => edge.ask(address, { ...init, headers: { Cookie: cookie } });

test("challenged address, answering, is sent back with a clearance that opens the site", async () => {
  const response = await answer(ADDRESS, { path: "/shop?item=1&x=%2F" });
  assert.equal(response.status, 303);
  assert.equal(response.headers.get("Location"), "https://site.example/shop?item=1&x=%2F");
  assert.equal(response.headers.get("Cache-Control"), "no-store");
  assert.deepEqual(edge.verified, [{ secret: "turnstile-secret", response: "a token", remoteip: ADDRESS }]);
  assert.equal(edge.passed.length, 0, "the answer is not the origin's business");

  const cookie = response.headers.get("Set-Cookie");
  const [, pair, expires] = cookie.match(
    /^(__Host-edge-clearance=(\d{10})\.[0-9a-f]{64}); Max-Age=3600; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
  );
  assert.ok(Math.abs(Number(expires) - Date.now() / 1000 - 3600) < 30);
  assert.ok(await isFromOrigin(await askWith(pair)));
  assert.ok(await isFromOrigin(await askWith(`a=b; ${pair}; c=d`, `::ffff:${ADDRESS}`)));
  assert.ok(await isFromOrigin(await askWith(pair, ADDRESS, { method: "POST", body: "order=1" })));
  assert.equal(edge.passed.at(-1).body.toString(), "order=1");
  assert.deepEqual(edge.warnings, []);
});

test("clearance made by the format's description, shown, opens the site", async () => {
  assert.ok(await isFromOrigin(await askWith(clearance())));
  assert.ok(await isFromOrigin(await askWith(clearance({ address: OTHER_ADDRESS }), OTHER_ADDRESS.toUpperCase())));
});

const good = () => clearance();
for (const [state, cookie] of [
  ["expired clearance", () => clearance({ lifetime: -1 })],
  ["other address's clearance", () => clearance({ address: OTHER_ADDRESS })],
  ["other host's clearance", () => clearance({ host: "other.example" })],
  ["clearance signed with another secret", () => clearance({ secret: "guessed" })],
  ["clearance with a prolonged expiry", () => good().replace(/=(\d)/, (_, digit) => `=${Number(digit) + 1}`)],
  [
    "clearance with one digit of its signature changed",
    () => good().replace(/.$/, (digit) => (digit === "0" ? "1" : "0")),
  ],
  ["clearance with a shortened signature", () => good().slice(0, -2)],
  ["clearance with something appended", () => `${good()}00`],
  ["clearance without a signature", () => good().replace(/\..*/, ".")],
  [
    "clearance in upper case",
    () => good().replace(/[0-9a-f]{64}$/, (signature) => signature.toUpperCase().padEnd(64, "A")),
  ],
  ["clearance under another name", () => `x${good()}`],
  ["empty clearance", () => `${COOKIE}=`],
  ["clearance of letters", () => `${COOKIE}=${"x".repeat(75)}`],
  ["very long cookie header", () => `${COOKIE}=${"1".repeat(8000)}`],
]) {
  test(`${state}, shown, gets the challenge`, async () => {
    assert.ok(await isChallengePage(await askWith(cookie())));
    assert.equal(edge.passed.length, 0);
  });
}

test("banned address, showing a valid clearance or a token, gets the ban page", async () => {
  assert.ok(await isBanPage(await askWith(clearance({ address: BANNED }), BANNED)));
  assert.ok(await isBanPage(await answer(BANNED)));
  assert.equal(edge.verified.length, 0);
});

for (const path of [
  "//evil.example/",
  "//evil.example/%2e%2e",
  "/\\evil.example/",
  "/%5Cevil.example",
  "/?next=//evil.example",
  "/https://evil.example/",
  "/@evil.example",
  "/%0d%0aLocation:%20https://evil.example/",
]) {
  test(`challenged address, answering at ${path}, stays on the site`, async () => {
    const { status, headers } = await answer(ADDRESS, { path });
    assert.equal(status, 303);
    const location = headers.get("Location");
    assert.equal(new URL(location, "https://elsewhere.example").host, HOST);
    assert.equal(location, new URL(`https://${HOST}${path}`).href);
  });
}

test("challenged address, asking by any method without an answer, gets 403 and no redirect", async () => {
  for (const method of ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
    const response = await edge.ask(ADDRESS, { method, path: "/form" });
    assert.equal(response.status, 403, method);
    assert.equal(response.headers.get("Location"), null, method);
    assert.equal(response.headers.get("Set-Cookie"), null, method);
    assert.equal((await response.text()) === "", method === "HEAD", method);
  }
  assert.equal(edge.passed.length, 0);
});

for (const [state, init] of [
  [
    "a form of the site",
    { body: new URLSearchParams({ user: "me", "cf-turnstile-response": "the site's own token" }) },
  ],
  ["a form with an empty token", { body: new URLSearchParams({ "edge-challenge-token": "" }) }],
  ["a token of 2,049 characters", { body: new URLSearchParams({ "edge-challenge-token": "x".repeat(2049) }) }],
  ["a token behind 8 KB", { body: new URLSearchParams({ padding: "x".repeat(8 << 10), "edge-challenge-token": "t" }) }],
  [
    "a token as JSON",
    { body: JSON.stringify({ "edge-challenge-token": "t" }), headers: { "Content-Type": "application/json" } },
  ],
  [
    "bytes that are no text",
    { body: Buffer.from([0xff, 0xfe, 0]), headers: { "Content-Type": "application/x-www-form-urlencoded" } },
  ],
]) {
  test(`challenged address, posting ${state}, gets the challenge and Turnstile is not asked`, async () => {
    assert.ok(await isChallengePage(await edge.ask(ADDRESS, { method: "POST", ...init })));
    assert.equal(edge.verified.length, 0);
    assert.equal(edge.passed.length, 0);
  });
}

test("token of 2,048 characters, posted, is verified", async () => {
  assert.equal((await answer(ADDRESS, { token: "%".repeat(2048) })).status, 303);
  assert.equal(edge.verified[0].response.length, 2048);
});

for (const [state, refusal] of [
  ["wrong token", reply({ success: false, "error-codes": ["invalid-input-response"] })],
  ["used token", reply({ success: false, "error-codes": ["timeout-or-duplicate"] })],
  ["token refused with HTTP 400", reply({ success: false, "error-codes": ["bad-request"] }, 400)],
  ["token refused without a reason", reply({ success: false })],
]) {
  test(`${state}, posted, gets the challenge again with a word about it`, async () => {
    siteverify = refusal;
    const response = await answer(ADDRESS);
    assert.equal(response.headers.get("Set-Cookie"), null);
    assert.match(await response.clone().text(), /role="alert">That did not work/);
    assert.ok(await isChallengePage(response));
    assert.deepEqual(edge.warnings, []);
  });
}

for (const [state, failure] of [
  ["Turnstile down", () => new Response("<h1>503</h1>", { status: 503 })],
  ["Turnstile answering no JSON", () => new Response("success")],
  ["Turnstile answering another JSON", reply([])],
  ["Turnstile answering null", reply(null)],
  ["success that is not true", reply({ success: "true" })],
  ["Turnstile failing inside", reply({ success: false, "error-codes": ["internal-error"] })],
  ["wrong Turnstile secret", reply({ success: false, "error-codes": ["invalid-input-secret"] })],
  [
    "Turnstile unreachable",
    () => {
      throw new Error("unreachable");
    },
  ],
]) {
  test(`${state}, token posted, lets the visitor in for five minutes with one warning`, async () => {
    siteverify = failure;
    const response = await answer(ADDRESS, { path: "/shop" });
    assert.equal(response.status, 303);
    assert.equal(response.headers.get("Location"), "https://site.example/shop");
    assert.match(response.headers.get("Set-Cookie"), /; Max-Age=300;/);
    assert.ok(await isFromOrigin(await askWith(response.headers.get("Set-Cookie").split(";")[0])));
    assert.match(
      await edge.onlyWarning(),
      /^crowdsec-edge-sync: 192\.0\.2\.2 was let in, Turnstile could not verify its answer: /,
    );
    assert.doesNotMatch(edge.warnings[0], /turnstile-secret/);
  });
}

test("challenged address, asking over plain HTTP, is sent to HTTPS, where the cookie can be set", async () => {
  const response = await edge.ask(ADDRESS, { scheme: "http", path: "/shop?a=1" });
  assert.equal(response.status, 303);
  assert.equal(response.headers.get("Location"), "https://site.example/shop?a=1");
  assert.equal((await edge.ask(ADDRESS, { scheme: "http", method: "HEAD" })).status, 403);
});

test("challenge page, looked at, runs only its own scripts and works without them as far as it can", async () => {
  const [first, second] = [await edge.ask(ADDRESS), await edge.ask(ADDRESS)];
  assert.equal(first.headers.get("Content-Type"), "text/html; charset=utf-8");
  assert.equal(first.headers.get("Cache-Control"), "no-store");
  const policy = first.headers.get("Content-Security-Policy");
  const nonce = policy.match(/script-src 'nonce-([0-9a-f-]{36})' 'strict-dynamic'/)[1];
  assert.ok(!second.headers.get("Content-Security-Policy").includes(nonce));
  const html = await first.text();
  assert.equal(html.match(/<script/g).length, html.split(`<script nonce="${nonce}"`).length - 1);
  assert.match(html, /<form method="post">/);
  assert.match(html, /<noscript>/);
  assert.match(html, /src="https:\/\/challenges\.cloudflare\.com\/turnstile\/v0\/api\.js"/);
  assert.doesNotMatch(html, /captcha|crowdsec|192\.0\.2\.2/i);
});

test("URL with markup, asked for by a challenged address, is not repeated in the page", async () => {
  const response = await edge.ask(ADDRESS, { path: "/evilmark?q=<script>evilmark</script>" });
  assert.doesNotMatch(await response.text(), /evilmark/);
});

test("token that was solved at another host, shown, is a challenge again; one that names no host opens", async () => {
  siteverify = reply({ success: true, hostname: "other.example" });
  assert.ok(await isChallengePage(await answer(ADDRESS)));
  siteverify = reply({ success: true });
  assert.equal((await answer(ADDRESS)).status, 303);
});
