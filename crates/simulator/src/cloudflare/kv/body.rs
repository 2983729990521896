//! Reads the bodies of KV requests as strictly as Cloudflare does (facts 2.3, 2.5, 2.7): shape first
//! (10012), then keys and metadata, then expirations (10034); the first fault refuses it all. Two
//! entries for one key in one request are refused too: which of them would win is unknown.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

use super::store::Entry;
use super::{base64, codes};
use crate::cloudflare::codes::{ApiError, KnownError};
use crate::journal::Judge;

/// Most pairs or names of a bulk request.
const BULK_MAX: usize = 10_000;
/// Most keys of a bulk read.
const BULK_GET_MAX: usize = 100;
const BULK_BYTES_MAX: usize = 100_000_000;
const VALUE_BYTES_MAX: usize = 25 * 1024 * 1024;
const KEY_BYTES_MAX: usize = 512;
const METADATA_BYTES_MAX: usize = 1_024;
const TITLE_CHARS_MAX: usize = 512;
/// Nothing may be stored for less time than this.
const LIFETIME_SECONDS_MIN: u64 = 60;

/// One pair to be stored.
#[derive(Debug)]
pub(super) struct NewPair {
    pub(super) key: String,
    pub(super) entry: Entry,
}

/// A pair as it is sent. Fields may be absent; `null` is not a value of any but metadata.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SentPair {
    key: String,
    value: String,
    #[serde(default, deserialize_with = "present")]
    expiration: Option<i64>,
    #[serde(default, deserialize_with = "present")]
    expiration_ttl: Option<i64>,
    metadata: Option<Value>,
    #[serde(default)]
    base64: bool,
}

fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<i64>, D::Error> {
    i64::deserialize(d).map(Some)
}

/// The body of PUT bulk: a bare array of pairs. `wall` is the time now, since 1970.
pub(super) fn new_pairs(
    body: &[u8],
    wall: Duration,
    judge: &mut Judge,
) -> Result<Vec<NewPair>, ApiError> {
    if body.len() > BULK_BYTES_MAX {
        return Err(invalid(judge, format!("a bulk request of {} bytes", body.len())));
    }
    let sent: Vec<SentPair> = parse(body, judge)?;
    check_names(sent.iter().map(|pair| pair.key.as_str()), BULK_MAX, judge)?;
    sent.into_iter()
        .map(|pair| {
            let value = match pair.base64 {
                false => pair.value.into_bytes(),
                true => base64::decode(&pair.value)
                    .ok_or_else(|| invalid(judge, format!("{}: not base64", pair.key)))?,
            };
            let expiration = expiration(pair.expiration, pair.expiration_ttl, wall, judge)?;
            let entry = new_entry(value.into(), expiration, pair.metadata, judge)?;
            Ok(NewPair { key: pair.key, entry })
        })
        .collect()
}

/// An entry within the limits.
pub(super) fn new_entry(
    value: Bytes,
    expiration: Option<u64>,
    metadata: Option<Value>,
    judge: &mut Judge,
) -> Result<Entry, ApiError> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(invalid(judge, format!("a value of {} bytes", value.len())));
    }
    let size = metadata.as_ref().map_or(0, |metadata| metadata.to_string().len());
    if size > METADATA_BYTES_MAX {
        return Err(invalid(judge, format!("metadata of {size} bytes")));
    }
    Ok(Entry { value, expiration, metadata })
}

/// When an entry expires, in Unix seconds. A lifetime counts from the whole second in which it is
/// received and wins over a time; either must leave a minute.
pub(super) fn expiration(
    expiration: Option<i64>,
    expiration_ttl: Option<i64>,
    wall: Duration,
    judge: &mut Judge,
) -> Result<Option<u64>, ApiError> {
    let now = wall.as_secs();
    let (expiration, least) = match (expiration_ttl, expiration) {
        (None, None) => return Ok(None),
        (Some(ttl), _) => {
            (u64::try_from(ttl).map(|ttl| now.saturating_add(ttl)), now + LIFETIME_SECONDS_MIN)
        }
        // At least a minute ahead, to the fraction of a second.
        (None, Some(time)) => {
            let is_late = u64::from(wall.subsec_nanos() > 0);
            (u64::try_from(time), now + LIFETIME_SECONDS_MIN + is_late)
        }
    };
    match expiration {
        Ok(expiration) if expiration >= least => Ok(Some(expiration)),
        _ => {
            judge.note(format_args!("a lifetime below {LIFETIME_SECONDS_MIN} seconds"));
            Err(codes::INVALID_EXPIRATION.into())
        }
    }
}

/// The body of a bulk deletion: a bare array of names.
pub(super) fn key_names(body: &[u8], judge: &mut Judge) -> Result<Vec<String>, ApiError> {
    if body.len() > BULK_BYTES_MAX {
        return Err(invalid(judge, format!("a bulk request of {} bytes", body.len())));
    }
    let names: Vec<String> = parse(body, judge)?;
    check_names(names.iter().map(String::as_str), BULK_MAX, judge)?;
    Ok(names)
}

/// The body of a bulk read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeysToGet {
    pub(super) keys: Vec<String>,
    #[serde(default, rename = "type")]
    pub(super) form: ValueForm,
    #[serde(default, rename = "withMetadata")]
    pub(super) with_metadata: bool,
}

/// How a bulk read gives values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ValueForm {
    #[default]
    Text,
    Json,
}

pub(super) fn keys_to_get(body: &[u8], judge: &mut Judge) -> Result<KeysToGet, ApiError> {
    let wanted: KeysToGet = parse(body, judge)?;
    check_names(wanted.keys.iter().map(String::as_str), BULK_GET_MAX, judge)?;
    Ok(wanted)
}

/// The body of a new namespace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewNamespace {
    #[serde(default)]
    pub(super) title: String,
    pub(super) jurisdiction: Option<Jurisdiction>,
    pub(super) mode: Option<Mode>,
}

/// Where a namespace is kept. It changes nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Jurisdiction {
    Eu,
    Fedramp,
    Us,
}

/// A kind of namespace. It changes nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    Instant,
}

pub(super) fn new_namespace(body: &[u8], judge: &mut Judge) -> Result<NewNamespace, ApiError> {
    let new: NewNamespace = parse(body, judge)?;
    check_title(&new.title, judge)?;
    Ok(new)
}

/// The body of a namespace's renaming: its new title.
pub(super) fn new_title(body: &[u8], judge: &mut Judge) -> Result<String, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Renaming {
        #[serde(default)]
        title: String,
    }
    let renaming: Renaming = parse(body, judge)?;
    check_title(&renaming.title, judge)?;
    Ok(renaming.title)
}

fn check_title(title: &str, judge: &mut Judge) -> Result<(), ApiError> {
    match title.chars().count() {
        0 => Err(noted(judge, codes::TITLE_REQUIRED, "a namespace without a title")),
        1..=TITLE_CHARS_MAX => Ok(()),
        length => Err(invalid(judge, format!("a title of {length} characters"))),
    }
}

fn check_names<'a>(
    names: impl ExactSizeIterator<Item = &'a str>,
    most: usize,
    judge: &mut Judge,
) -> Result<(), ApiError> {
    match names.len() {
        0 => return Err(noted(judge, codes::KEYS_REQUIRED, "a bulk request for nothing")),
        count if count > most => {
            return Err(invalid(
                judge,
                format!("a bulk request for {count} keys, more than {most}"),
            ));
        }
        _ => {}
    }
    let mut seen = HashSet::with_capacity(names.len());
    for name in names {
        check_name(name, judge)?;
        if !seen.insert(name) {
            return Err(invalid(judge, format!("the key {name:?} is in the request twice")));
        }
    }
    Ok(())
}

/// Refuses what cannot be a key's name.
pub(super) fn check_name(name: &str, judge: &mut Judge) -> Result<(), ApiError> {
    let mistake = match name {
        "" => "is empty",
        "." | ".." => "is a dot or two",
        _ if name.len() > KEY_BYTES_MAX => "is longer than 512 bytes",
        _ if name.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            "has a character that cannot be printed"
        }
        _ => return Ok(()),
    };
    Err(invalid(judge, format!("the key {name:?} {mistake}")))
}

fn parse<T: DeserializeOwned>(body: &[u8], judge: &mut Judge) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| invalid(judge, format!("the body is not of the allowed form: {error}")))
}

/// Cloudflare does not say what is wrong; the judge does.
fn invalid(judge: &mut Judge, why: String) -> ApiError {
    noted(judge, codes::INVALID_BODY, &why)
}

fn noted(judge: &mut Judge, error: KnownError, why: &str) -> ApiError {
    judge.note(why);
    error.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A moment in the middle of a second.
    const WALL: Duration = Duration::from_millis(1_000_500);

    fn code<T: std::fmt::Debug>(result: Result<T, ApiError>) -> u32 {
        result.map_or_else(|error| error.code, |_| 0)
    }

    fn pair(field: &str, value: Value) -> String {
        let mut pair = json!({ "key": "ip:192.0.2.1", "value": "ban", "expiration_ttl": 60 });
        pair[field] = value;
        json!([pair]).to_string()
    }

    #[test]
    fn pairs_of_each_shape_are_accepted_or_refused_by_code() {
        let numbered = |count: usize| {
            let pair = |n: usize| json!({ "key": n.to_string(), "value": "" });
            Value::from_iter((0..count).map(pair)).to_string()
        };
        for (body, expected) in [
            (r#"[{"key":"a","value":"b"}]"#.to_owned(), 0),
            (pair("metadata", json!({ "v": 1 })), 0),
            (pair("metadata", json!("x".repeat(1_022))), 0),
            (pair("metadata", json!("x".repeat(1_023))), 10012),
            (pair("metadata", Value::Null), 0),
            (pair("base64", json!(true)), 10012),
            (pair("value", json!("")), 0),
            (pair("value", json!(1)), 10012),
            (pair("value", json!("x".repeat(25 * 1024 * 1024 + 1))), 10012),
            (pair("key", json!("")), 10012),
            (pair("key", json!(".")), 10012),
            (pair("key", json!("..")), 10012),
            (pair("key", json!("...")), 0),
            (pair("key", json!("a b")), 10012),
            (pair("key", json!("é".repeat(256))), 0),
            (pair("key", json!("é".repeat(257))), 10012),
            (pair("ttl", json!(60)), 10012),
            (pair("expiration_ttl", json!(59)), 10034),
            (pair("expiration_ttl", json!(0)), 10034),
            (pair("expiration_ttl", json!(-1)), 10034),
            (pair("expiration_ttl", json!(60.5)), 10012),
            (pair("expiration_ttl", json!("60")), 10012),
            (pair("expiration_ttl", Value::Null), 10012),
            (pair("expiration", json!(1)), 0),
            (r#"[{"key":"a","value":"b","expiration":1061}]"#.to_owned(), 0),
            (r#"[{"key":"a","value":"b","expiration":1060}]"#.to_owned(), 10034),
            (r#"[{"key":"a","value":"b"},{"key":"a","value":"c"}]"#.to_owned(), 10012),
            (r#"{"key":"a","value":"b"}"#.to_owned(), 10012),
            (r#"[{"key":"a"}]"#.to_owned(), 10012),
            (numbered(10_000), 0),
            (numbered(10_001), 10012),
            ("[]".to_owned(), 10029),
            (String::new(), 10012),
            (" ".repeat(100_000_001), 10012),
        ] {
            let mut judge = Judge::default();
            let start: String = body.chars().take(100).collect();
            assert_eq!(code(new_pairs(body.as_bytes(), WALL, &mut judge)), expected, "{start}");
            assert_eq!(judge.violations().len(), usize::from(expected != 0), "{start}");
        }
    }

    #[test]
    fn pair_read_has_its_bytes_and_the_lifetime_counts_from_the_whole_second() {
        let body =
            r#"[{"key":"a","value":"AP8=","base64":true,"expiration":1,"expiration_ttl":60}]"#;
        let pairs = new_pairs(body.as_bytes(), WALL, &mut Judge::default()).unwrap();
        assert_eq!(pairs[0].entry.value, &[0x00, 0xff][..]);
        assert_eq!(pairs[0].entry.expiration, Some(1_060));
    }

    #[test]
    fn names_of_each_shape_are_accepted_or_refused_by_code() {
        for (body, expected) in [
            (r#"["a","b"]"#, 0),
            ("[]", 10029),
            (r#"["a","a"]"#, 10012),
            (r#"[{"key":"a"}]"#, 10012),
            (r#"{"keys":["a"]}"#, 10012),
            (r#"[""]"#, 10012),
        ] {
            assert_eq!(code(key_names(body.as_bytes(), &mut Judge::default())), expected, "{body}");
        }
    }

    #[test]
    fn bulk_read_of_each_shape_is_accepted_or_refused_by_code() {
        let many = json!({ "keys": (0..101).map(|n| n.to_string()).collect::<Vec<_>>() });
        for (body, expected) in [
            (r#"{"keys":["a"]}"#, 0),
            (r#"{"keys":["a"],"type":"json","withMetadata":true}"#, 0),
            (r#"{"keys":["a"],"type":"xml"}"#, 10012),
            (r#"["a"]"#, 10012),
            (&many.to_string(), 10012),
        ] {
            let wanted = keys_to_get(body.as_bytes(), &mut Judge::default());
            assert_eq!(code(wanted), expected, "{body}");
        }
    }
}
