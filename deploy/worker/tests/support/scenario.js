// What the tests of lookups share: an edge with decisions in its namespace, and what addresses are answered there.

import assert from "node:assert/strict";
import { test } from "node:test";

import { CHALLENGE_BINDINGS, Edge } from "./edge.js";
import { spellings } from "./spellings.js";

/** Each in a world of its own: an isolate keeps what it has read. */
export function scenario(name, { decisions, ...world }, check) {
  test(name, async () => {
    const edge = await Edge.start({ bindings: CHALLENGE_BINDINGS, decisions, ...world });
    try {
      await check(edge);
    } finally {
      await edge.stop();
    }
  });
}

/** Each address, in canonical and other spellings, gets what stands beside it. */
export async function assertAnswers(edge, expected) {
  for (const [address, answer] of Object.entries(expected)) {
    const asked = [address, ...spellings(address)];
    assert.deepEqual(await edge.askAll(asked), asked.map(() => answer), address);
  }
}
