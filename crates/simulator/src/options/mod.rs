//! Every knob of the world and its default. The defaults are the kind world: no faults, no limits in
//! the way, answers in the form that is seen most often. [`Options`] prints as `name=value` lines that
//! [`Options::set`] and the binary's `--set` read back. Why the product must survive the unkind values
//! is told by [`CloudflareOptions`] and [`LapiOptions`].

mod cloudflare;
mod forms;
mod like;

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use cloudflare::CloudflareOptions;
pub use forms::{
    BulkReply, Denial, DryRun, ExpressionEcho, LimiterBody, ModifiedOn, OmittedFields, PageCursors,
    PageEnd, PendingMode, Permission, RefusalForm, TokenClass, TokenStatus,
};

pub use like::Like;

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
///
/// | knob | it happens when | the product must |
/// |---|---|---|
/// | `shuffle_rows` | the database answers in another order | want the same, whatever the order |
/// | `lazy_rows` | somebody imports every list there is: a body of gigabytes | end with an outcome that says so, in bounded memory |
/// | `version` | a host is old, another is new | read both forms of durations; send usage metrics only where they are taken |
/// | `latency` | the machine is busy | stay inside its budget |
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
    /// So many distinct bans of the community after the rows, in an unfiltered answer. They are made
    /// while the body is read, so that millions of them need no memory.
    pub lazy_rows: u64,
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
            lazy_rows: 0,
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
        self.set_all([assignment])
    }

    /// Sets several, all of them or none.
    pub fn set_all<'a>(
        &mut self,
        assignments: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), String> {
        let mut json = self.as_json();
        let mut names = Vec::new();
        for assignment in assignments {
            let (name, text) = assignment
                .split_once('=')
                .ok_or_else(|| format!("{assignment:?} is not of the form name=value"))?;
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
            names.push(name);
        }
        *self = serde_json::from_value(json)
            .map_err(|error| format!("{}: {error}", names.join(", ")))?;
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

/// Several texts with commas between them; none = an empty text.
mod comma_text {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(values: &[String], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&values.join(","))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
        let text = String::deserialize(d)?;
        let values = text.split(',').map(str::trim).filter(|value| !value.is_empty());
        Ok(values.map(str::to_owned).collect())
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
        original.cloudflare.refused_values = vec!["192.0.2.1".to_owned(), "::1".to_owned()];
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
