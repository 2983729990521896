/**
 * Settings from the Worker's bindings, variables and secrets. The README has the table.
 *
 * Invariant: no setting can break the check. A number that is unusable counts as its default, with
 * a warning; an incomplete challenge is "no challenge".
 */

/**
 * @typedef {object} Settings
 * @property {any} decisions the KV namespace, unless its binding is missing
 * @property {string} keyPrefix
 * @property {number} cacheTtlSeconds
 * @property {boolean} checksRanges
 * @property {boolean} checksLayout false: the layout is `keys`, whatever the namespace says
 * @property {boolean} debug answers say in a header what was checked
 * @property {ChallengeSettings | null} challenge null: not set up
 *
 * @typedef {object} ChallengeSettings
 * @property {string} siteKey
 * @property {string} turnstileSecret
 * @property {string} clearanceSecret
 * @property {number} clearanceSeconds
 */

/** Below 30 KV refuses the read, and every request would pass; above a day a ban would come a day late. */
const CACHE_TTL_SECONDS = { min: 30, max: 86_400, byDefault: 60 };

/** More counts as so much: a layout stays for eight minutes after another is served, and KV takes one of them. */
const CACHE_TTL_SECONDS_USED = 300;

/** Below a minute the clearance would be over before the page is read. */
const CLEARANCE_SECONDS = { min: 60, max: 86_400, byDefault: 3600 };

/**
 * @param {Record<string, any>} env
 * @returns {Settings}
 */
export function readSettings(env) {
  return {
    decisions: env.DECISIONS,
    // Empty means the default, as for crowdsec-edge-sync.
    keyPrefix: env.KEY_PREFIX || "ip:",
    cacheTtlSeconds: Math.min(wholeNumber(env, "CACHE_TTL_SECONDS", CACHE_TTL_SECONDS), CACHE_TTL_SECONDS_USED),
    checksRanges: oneOf(env, "RANGES", ["on", "off"]) === "on",
    checksLayout: oneOf(env, "LAYOUT", ["auto", "keys"]) === "auto",
    debug: oneOf(env, "DEBUG", ["off", "on"]) === "on",
    challenge: challengeSettings(env),
  };
}

/**
 * @param {Record<string, any>} env
 * @param {string} name
 * @param {string[]} words the first is the default
 */
function oneOf(env, name, words) {
  const word = env[name] || words[0];
  if (words.includes(word)) return word;
  console.warn(`crowdsec-edge-sync: ${name} must be ${words.join(" or ")}; using ${words[0]}`);
  return words[0];
}

/**
 * @param {Record<string, any>} env
 * @returns {ChallengeSettings | null}
 */
function challengeSettings(env) {
  const { TURNSTILE_SITE_KEY, TURNSTILE_SECRET_KEY, CHALLENGE_SECRET } = env;
  if (!TURNSTILE_SITE_KEY || !TURNSTILE_SECRET_KEY || !CHALLENGE_SECRET) return null;
  return {
    siteKey: TURNSTILE_SITE_KEY,
    turnstileSecret: TURNSTILE_SECRET_KEY,
    clearanceSecret: CHALLENGE_SECRET,
    clearanceSeconds: wholeNumber(env, "CLEARANCE_SECONDS", CLEARANCE_SECONDS),
  };
}

/**
 * @param {Record<string, any>} env
 * @param {string} name
 * @param {{ min: number, max: number, byDefault: number }} range
 */
function wholeNumber(env, name, { min, max, byDefault }) {
  const text = env[name] ?? "";
  if (text === "") return byDefault;
  const number = Number(text);
  if (Number.isInteger(number) && number >= min && number <= max) return number;
  console.warn(`crowdsec-edge-sync: ${name} must be a whole number from ${min} to ${max}; using ${byDefault}`);
  return byDefault;
}
