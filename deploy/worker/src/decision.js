/**
 * What was decided about an address. The only module that knows how decisions are stored:
 * one key for each address, `<prefix><canonical address>` -> `ban` or `captcha`.
 */

/** A cold read takes some hundred milliseconds; nobody shall wait longer for a slow store. */
const READ_TIMEOUT_MS = 2000;

/**
 * @param {string} address canonical
 * @param {import("./settings.js").Settings} settings
 * @returns {Promise<"ban" | "captcha" | null>} null: nothing was decided
 * @throws when the decision cannot be known
 */
export async function decisionFor(address, { decisions, keyPrefix, cacheTtlSeconds }) {
  if (typeof decisions?.get !== "function") throw new Error("the KV binding DECISIONS is missing");
  const key = keyPrefix + address;
  const value = await inTime(decisions.get(key, { cacheTtl: cacheTtlSeconds }));
  if (value === null || value === "ban" || value === "captcha") return value;
  throw new Error(`key ${key} holds ${JSON.stringify(value.slice(0, 32))}, neither ban nor captcha`);
}

/**
 * @template T
 * @param {Promise<T>} read
 * @returns {Promise<T>}
 */
async function inTime(read) {
  let timer = 0;
  const timeout = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`KV did not answer within ${READ_TIMEOUT_MS} ms`)), READ_TIMEOUT_MS);
  });
  try {
    return await Promise.race([read, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
