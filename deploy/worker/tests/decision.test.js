import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";

import { CHALLENGE_BINDINGS, Edge, isBanPage, isChallengePage, isFromOrigin } from "./support/edge.js";
import { spellings } from "./support/spellings.js";

const BANNED = ["192.0.2.1", "2001:db8::bad:0:1"];
const CHALLENGED = ["192.0.2.2", "2001:db8::c"];
const CLEAN = ["192.0.2.3", "192.0.2.11", "2001:db8::1", "2001:db8::bad:0:2"];

let edge;
before(async () => {
  edge = await Edge.start({
    bindings: CHALLENGE_BINDINGS,
    decisions: {
      ...Object.fromEntries(BANNED.map((address) => [`ip:${address}`, "ban"])),
      ...Object.fromEntries(CHALLENGED.map((address) => [`ip:${address}`, "captcha"])),
      // Keys outside the prefix do not exist for the Worker.
      "192.0.2.3": "ban",
      "other:192.0.2.3": "ban",
    },
    origin: (request) =>
      request.url.endsWith("/moved")
        ? new Response(null, { status: 302, headers: { Location: "/else", "X-Origin": "yes" } })
        : undefined,
  });
});
after(() => edge?.stop());

for (const address of BANNED) {
  for (const spelling of [address, ...spellings(address)]) {
    test(`banned ${address}, asking as ${spelling}, gets the ban page`, async () => {
      assert.ok(await isBanPage(await edge.ask(spelling)));
    });
  }
}

for (const address of CHALLENGED) {
  for (const spelling of [address, ...spellings(address)]) {
    test(`challenged ${address}, asking as ${spelling}, gets the challenge`, async () => {
      assert.ok(await isChallengePage(await edge.ask(spelling)));
    });
  }
}

for (const address of CLEAN) {
  for (const spelling of [address, ...spellings(address)]) {
    test(`clean ${address}, asking as ${spelling}, reaches the origin`, async () => {
      assert.ok(await isFromOrigin(await edge.ask(spelling)));
    });
  }
}

test("banned address, asking by any method, gets 403 and the origin nothing", async () => {
  const before = edge.passed.length;
  for (const method of ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"]) {
    const response = await edge.ask(BANNED[0], { method });
    assert.equal(response.status, 403, method);
    assert.equal((await response.text()) === "", method === "HEAD", method);
  }
  assert.equal(edge.passed.length, before);
});

test("ban page, looked at, is uncached HTML that loads nothing and tells nothing", async () => {
  const response = await edge.ask(BANNED[0], { headers: { Accept: "text/html,application/json;q=0.9" } });
  assert.equal(response.headers.get("Content-Type"), "text/html; charset=utf-8");
  assert.equal(response.headers.get("Cache-Control"), "no-store");
  assert.equal(response.headers.get("X-Content-Type-Options"), "nosniff");
  assert.match(response.headers.get("Content-Security-Policy"), /^default-src 'none';/);
  assert.equal(response.headers.get("Set-Cookie"), null);
  const html = await response.text();
  assert.match(html, /^<!DOCTYPE html>\n<html lang="en">/);
  assert.match(html, /<title>Access denied<\/title>/);
  assert.doesNotMatch(html, /<script|crowdsec|192\.0\.2\.1|src=/i);
  assert.ok(html.length < 1024);
});

for (const [address, error] of [
  [BANNED[0], "access_denied"],
  [CHALLENGED[0], "challenge_required"],
]) {
  test(`${error} client, asking for JSON, gets JSON`, async () => {
    const response = await edge.ask(address, { headers: { Accept: "application/json" } });
    assert.equal(response.status, 403);
    assert.equal(response.headers.get("Content-Type"), "application/json");
    assert.equal(response.headers.get("Cache-Control"), "no-store");
    assert.deepEqual(await response.json(), { error });
  });
}

test("clean address, uploading, has method, URL, headers and body passed on intact", async () => {
  const body = randomBytes(3 << 20);
  const response = await edge.ask(CLEAN[0], {
    method: "PUT",
    path: "/a%2Fb/../c?q=%E2%82%AC&q=2",
    headers: {
      Cookie: "session=1",
      Authorization: "Bearer x",
      "Content-Type": "application/x-www-form-urlencoded",
      "X-Own": "yes",
    },
    body,
  });
  assert.ok(await isFromOrigin(response));
  const { method, url, headers, body: received } = edge.passed.at(-1);
  assert.equal(method, "PUT");
  assert.equal(url, "https://site.example/c?q=%E2%82%AC&q=2");
  assert.equal(headers.get("Cookie"), "session=1");
  assert.equal(headers.get("Authorization"), "Bearer x");
  assert.equal(headers.get("X-Own"), "yes");
  assert.equal(headers.get("CF-Connecting-IP"), CLEAN[0]);
  assert.ok(received.equals(body));
});

test("clean address, redirected by the origin, gets the redirect itself", async () => {
  const response = await edge.ask(CLEAN[0], { path: "/moved" });
  assert.equal(response.status, 302);
  assert.equal(response.headers.get("Location"), "/else");
  assert.equal(response.headers.get("X-Origin"), "yes");
});

test("everything above, looked back on, left no warning", () => assert.deepEqual(edge.warnings, []));
