//! Every knob of the world and its default. The defaults are the kind world: no faults, no limits in
//! the way, answers in the form that is seen most often. [`Options`] prints as `name=value` lines that
//! [`Options::set`] and the binary's `--set` read back.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lapi::LapiVersion;

/// The whole world's knobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Decides every identifier. The same seed and the same requests give the same bytes.
    pub seed: u64,
    /// Wall-clock time at the simulator's start.
    #[serde(with = "wall_time_text")]
    pub start: SystemTime,
    /// Size of the pieces in which the in-process front delivers bodies. Small and odd by default, so
    /// that a streaming parser meets every boundary.
    pub chunk_bytes: usize,
    /// CrowdSec's Local API.
    pub lapi: LapiOptions,
    /// Cloudflare.
    pub cloudflare: CloudflareOptions,
}

/// Knobs of the Local API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LapiOptions {
    /// The only valid bouncer key.
    pub key: String,
    /// Which release it behaves like (facts 1.5): duration precision, filters, usage metrics.
    pub version: LapiVersion,
    /// Time that every answer takes.
    #[serde(with = "duration_text")]
    pub latency: Duration,
    /// How long a large rendered body may be given again while no row changed or expired. The real
    /// one needs seconds for 150,000 rows; a benchmark must not measure our rendering.
    #[serde(with = "duration_text")]
    pub body_cache: Duration,
    /// Give rows in a shuffled order: LAPI promises none (facts 1.2).
    pub shuffle_rows: bool,
}

/// Knobs of Cloudflare.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CloudflareOptions {
    /// The only account.
    pub account_id: String,
    /// The only valid token.
    pub api_token: String,
    /// Whose token it is.
    pub token_class: TokenClass,
    /// Whether the token still works.
    pub token_status: TokenStatus,
    /// When it expires, from the simulator's start; zero = never. It is told, and not acted on: that is
    /// what `token_status` is for.
    #[serde(with = "duration_text")]
    pub token_lifetime: Duration,
    /// What the token may do.
    pub permission: Permission,
    /// Time that every answer takes.
    #[serde(with = "duration_text")]
    pub latency: Duration,
    /// Time from the start of a bulk operation to its end; the first third of it reads `pending`.
    #[serde(with = "duration_text")]
    pub operation_delay: Duration,
    /// How long a finished operation can still be read; zero = for ever (facts 1.6: unknown).
    #[serde(with = "duration_text")]
    pub operation_lifetime: Duration,
    /// What a write meets while another one is unfinished (facts 1.6: three contradicting sources).
    pub pending_mode: PendingMode,
    /// How the last page says that it is the last.
    pub page_end: PageEnd,
    /// Give items the empty `hostname` and `redirect` objects that the API was seen to return.
    pub item_noise: bool,
    /// Status of an accepted write: the spec says 200, one page says 201.
    pub accepted_status: u16,
    /// Most custom lists in the account (Free 1, Pro and Business 10).
    pub lists_max: usize,
    /// Most items in one list.
    pub list_items_max: usize,
    /// Most items over all lists of the account (10,000 below Enterprise).
    pub account_items_max: usize,
    /// The hidden limiter: least time between two accepted item writes; zero = off. 72 h was seen.
    #[serde(with = "duration_text")]
    pub write_floor: Duration,
    /// What a write refused by the limiter is told.
    pub limiter_body: LimiterBody,
    /// How long a cursor is good; zero = for ever (facts 1.3: unknown).
    #[serde(with = "duration_text")]
    pub cursor_lifetime: Duration,
    /// Accept `per_page` above 500, but still give pages of 500: for running an old program that asks
    /// for 1,000 beside the new one. Pages of more than 500 do not exist, so both pay the same
    /// number of requests.
    pub tolerate_large_pages: bool,
    /// What the token may do with Workers KV.
    pub kv_permission: Permission,
    /// Most KV namespaces in the account.
    pub kv_namespaces_max: usize,
    /// How the last page of keys says that it is the last.
    pub kv_page_end: PageEnd,
    /// What the answer to a KV bulk request tells (facts 2.3: treat all of it as optional).
    pub kv_bulk_reply: BulkReply,
    /// How far list-keys is behind the writes; reads of values are current. Up to a minute is
    /// documented.
    #[serde(with = "duration_text")]
    pub kv_list_lag: Duration,
    /// Least time between two writes of one key; zero = off. One second is documented.
    #[serde(with = "duration_text")]
    pub kv_key_write_interval: Duration,
    /// Keys that may be read in a day (UTC); 0 = no quota, like all quotas here. Free has 100,000.
    pub kv_daily_reads: u64,
    /// Pairs that may be written in a day. Free has 1,000.
    pub kv_daily_writes: u64,
    /// Names that may be deleted in a day. Free has 1,000.
    pub kv_daily_deletes: u64,
    /// Pages of keys that may be listed in a day. Free has 1,000.
    pub kv_daily_lists: u64,
    /// The client may touch only keys that begin with this; touching another is noted, not refused.
    pub kv_own_prefix: String,
    /// One more key that the client may touch, by its whole name.
    pub kv_own_key: String,
    /// What the token may do with zones: finding them by name.
    pub zone_permission: Permission,
    /// What the token may do with the zones' WAF.
    pub waf_permission: Permission,
    /// Most custom rules in a zone (Free 5, Pro 20, Business 100).
    pub waf_rules_max: usize,
    /// Take a rule for a list that does not exist (facts 4: unknown); it is refused otherwise.
    pub waf_accepts_unknown_lists: bool,
    /// The client may touch only rules whose `ref` begins with this; touching another is noted, not
    /// refused.
    pub waf_own_ref_prefix: String,
}

/// Whose a token is; it shows only where tokens are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenClass {
    /// A user's, as the dashboard makes them by default.
    User,
    /// The account's own.
    Account,
}

/// Whether a token works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenStatus {
    /// It does.
    Active,
    /// Switched off.
    Disabled,
    /// Its time is over.
    Expired,
}

/// What the API token may do with a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// Account Filter Lists, Workers KV Storage, Zone or Zone WAF: Edit.
    Edit,
    /// The same: Read. Writes get 403.
    Read,
    /// A valid token for something else. Everything gets 403.
    None,
}

impl Permission {
    pub(crate) fn permits(self, is_read: bool) -> bool {
        match self {
            Self::Edit => true,
            Self::Read => is_read,
            Self::None => false,
        }
    }
}

/// What a second write meets while one is unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PendingMode {
    /// HTTP 429, code 10040.
    Reject,
    /// It is accepted and runs after the ones before it.
    Queue,
}

/// The forms of the last page's cursor: `result_info.cursors.after` of items, `result_info.cursor` of
/// keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PageEnd {
    /// The key is not there.
    Absent,
    /// An empty string.
    Empty,
    /// `null`.
    Null,
    /// The last page has no `result_info` at all.
    NoResultInfo,
}

/// The forms of `result` in the answer to a KV bulk request that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BulkReply {
    /// `{successful_key_count, unsuccessful_keys}`.
    Full,
    /// `null`.
    Null,
    /// `{}`.
    Empty,
}

/// The forms of a refusal by the write limiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimiterBody {
    /// The usual envelope with code 10040.
    Envelope,
    /// Plain text.
    PlainText,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            start: SystemTime::UNIX_EPOCH + Duration::from_secs(1_793_000_000),
            chunk_bytes: 1_021,
            lapi: LapiOptions::default(),
            cloudflare: CloudflareOptions::default(),
        }
    }
}

impl Default for LapiOptions {
    fn default() -> Self {
        Self {
            key: "simulated-bouncer-key".to_owned(),
            version: LapiVersion::DEBIAN,
            latency: Duration::ZERO,
            body_cache: Duration::from_secs(1),
            shuffle_rows: false,
        }
    }
}

impl Default for CloudflareOptions {
    fn default() -> Self {
        Self {
            account_id: "5afe0000000000000000000000acc017".to_owned(),
            api_token: "simulated_token_with_forty_characters_00".to_owned(),
            token_class: TokenClass::User,
            token_status: TokenStatus::Active,
            token_lifetime: Duration::ZERO,
            permission: Permission::Edit,
            latency: Duration::ZERO,
            operation_delay: Duration::from_millis(700),
            operation_lifetime: Duration::ZERO,
            pending_mode: PendingMode::Reject,
            page_end: PageEnd::Absent,
            item_noise: false,
            accepted_status: 200,
            lists_max: 10,
            list_items_max: 10_000,
            account_items_max: 10_000,
            write_floor: Duration::ZERO,
            limiter_body: LimiterBody::Envelope,
            cursor_lifetime: Duration::ZERO,
            tolerate_large_pages: false,
            kv_permission: Permission::Edit,
            kv_namespaces_max: 1_000,
            kv_page_end: PageEnd::Empty,
            kv_bulk_reply: BulkReply::Full,
            kv_list_lag: Duration::ZERO,
            kv_key_write_interval: Duration::ZERO,
            kv_daily_reads: 0,
            kv_daily_writes: 0,
            kv_daily_deletes: 0,
            kv_daily_lists: 0,
            kv_own_prefix: String::new(),
            kv_own_key: String::new(),
            zone_permission: Permission::Edit,
            waf_permission: Permission::Edit,
            waf_rules_max: 100,
            waf_accepts_unknown_lists: false,
            waf_own_ref_prefix: String::new(),
        }
    }
}

impl Options {
    /// Every knob as `(dotted name, value)`.
    pub fn knobs(&self) -> Vec<(String, String)> {
        let mut knobs = Vec::new();
        flatten("", &self.as_json(), &mut knobs);
        knobs
    }

    /// Sets one knob from a line such as `cloudflare.page_end=null`, in the form that they print in.
    pub fn set(&mut self, assignment: &str) -> Result<(), String> {
        let (name, text) = assignment
            .split_once('=')
            .ok_or_else(|| format!("{assignment:?} is not of the form name=value"))?;
        let mut json = self.as_json();
        let slot = name
            .split('.')
            .try_fold(&mut json, |value, key| value.get_mut(key))
            .filter(|slot| !slot.is_object())
            .ok_or_else(|| format!("there is no knob {name:?}"))?;
        // A knob keeps its JSON type, so that a key made of digits stays text.
        *slot = match slot {
            Value::String(_) => Value::String(text.to_owned()),
            _ => serde_json::from_str(text).map_err(|error| format!("{name}: {error}"))?,
        };
        *self = serde_json::from_value(json).map_err(|error| format!("{name}: {error}"))?;
        Ok(())
    }

    fn as_json(&self) -> Value {
        serde_json::to_value(self).expect("options hold only text, numbers and booleans")
    }
}

/// `name=value` lines. Secrets are shown: they are the simulator's own, and needed to talk to it.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.knobs().into_iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{name}={value}")?;
        }
        Ok(())
    }
}

fn flatten(prefix: &str, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if prefix.is_empty() { "" } else { "." };
                flatten(&format!("{prefix}{dot}{name}"), value, into);
            }
        }
        Value::String(text) => into.push((prefix.to_owned(), text.clone())),
        other => into.push((prefix.to_owned(), other.to_string())),
    }
}

/// Durations as people write them: `700ms`, `72h`.
pub(crate) mod duration_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(value: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&humantime::format_duration(*value))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        humantime::parse_duration(&String::deserialize(d)?).map_err(D::Error::custom)
    }
}

/// Wall-clock times as RFC 3339 text.
mod wall_time_text {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &SystemTime, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&humantime::format_rfc3339_seconds(*value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<SystemTime, D::Error> {
        humantime::parse_rfc3339(&String::deserialize(d)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_printed_and_set_line_by_line_are_the_same_options() {
        let mut original = Options::default();
        original.cloudflare.write_floor = Duration::from_secs(72 * 3600);
        original.cloudflare.page_end = PageEnd::Null;
        original.lapi.key = "123".to_owned();
        let mut copy = Options::default();
        for line in original.to_string().lines() {
            copy.set(line).unwrap();
        }
        assert_eq!(copy, original);
    }

    #[test]
    fn knob_unknown_or_of_wrong_type_set_is_refused_by_name() {
        let mut options = Options::default();
        for line in ["cloudflare.nope=1", "cloudflare=1", "seed", "seed=x", "lapi.version=new"] {
            let error = options.set(line).unwrap_err();
            assert!(error.contains(line.split('=').next().unwrap()), "{line}: {error}");
        }
        assert_eq!(options, Options::default());
    }
}
