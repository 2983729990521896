//! Cloudflare Workers KV: listing keys, reading the one key that holds all ranges, and the two bulk
//! writes.
//!
//! Source: facts cloudflare 2.1-2.4 and the official schemas `workers-kv_*`.

pub mod shards;

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::address::Address;
use crate::decision::Remediation;
use crate::ports::{Answer, Method, Request};
use crate::settings::{Id, KV_PREFIX};

use super::{Account, CallError, Page, decode, decode_page, not_the_api};

/// Keys on one page: the most that the API gives, and the default.
const PAGE_KEYS_MAX: usize = 1_000;
/// "Namespace not found", with status 404 (facts 2.7).
pub(super) const NAMESPACE_NOT_FOUND: i64 = 10013;
/// "Your account has reached the free usage limit for this operation for today", with status 429
/// (facts 2.7). It will not pass before 00:00 UTC.
pub(super) const DAY_IS_USED_UP: i64 = 10048;
/// "Key not found", with status 404 (facts 2.7).
const KEY_NOT_FOUND: i64 = 10009;
/// The version of what we write as metadata.
const METADATA_VERSION: u32 = 1;

/// The word for all ranges: the name of their key under the usual prefix.
pub const RANGES: &str = "ranges";
/// The version of its value.
const RANGES_VERSION: u32 = 1;
/// The largest value that KV stores (facts 2.5): some 350,000 ranges.
pub const VALUE_BYTES_MAX: usize = 25 << 20;

/// The key of all ranges. With the usual prefix it stands outside of that, as the first Workers know it; with
/// another it begins with it, so that two deployments in one namespace do not take each other's.
pub fn ranges_key(prefix: &str) -> String {
    if prefix == KV_PREFIX { RANGES.to_owned() } else { format!("{prefix}{RANGES}") }
}

/// One page of the keys that begin with `prefix`, ours. The prefix goes with every page (facts 2.2).
pub fn keys(account: &Account, namespace: &Id, prefix: &str, cursor: Option<&str>) -> Request {
    let mut query = format!("limit={PAGE_KEYS_MAX}&prefix=");
    query.extend(utf8_percent_encode(prefix, NON_ALPHANUMERIC));
    if let Some(cursor) = cursor {
        query.push_str("&cursor=");
        query.extend(utf8_percent_encode(cursor, NON_ALPHANUMERIC));
    }
    account.request(Method::Get, &format!("{}/keys?{query}", path(namespace)))
}

fn path(namespace: &Id) -> String {
    format!("/storage/kv/namespaces/{namespace}")
}

/// A key as it came. The listing has no values (facts 2.2), which is why ours stand in the metadata.
#[derive(Debug, PartialEq)]
pub struct Key {
    /// Its name, prefix included.
    pub name: String,
    /// When it expires, Unix seconds; `None` = never.
    pub expires: Option<u64>,
    /// What we wrote beside the value; `None` if somebody else wrote the key.
    pub metadata: Option<Metadata>,
}

/// What stands beside each value of ours, so that one listing tells all. At most 1,024 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// The value, once more.
    pub value: Remediation,
    /// When we wrote it, Unix seconds of our clock.
    pub written: u64,
}

#[derive(Serialize, Deserialize)]
struct WireMetadata<'a> {
    v: u32,
    value: &'a str,
    at: u64,
}

impl Metadata {
    fn read(raw: &RawValue) -> Option<Self> {
        let wire: WireMetadata<'_> = serde_json::from_slice(raw.get().as_bytes()).ok()?;
        let value = Remediation::from_type(wire.value)?;
        (wire.v == METADATA_VERSION).then_some(Self { value, written: wire.at })
    }
}

/// Reads a page. The last one has a cursor that is absent, empty or null; a page may be empty and
/// have one (facts 2.2).
pub fn decode_keys(answer: &Answer) -> Result<Page<Key>, CallError> {
    #[derive(Deserialize)]
    struct Raw {
        name: String,
        expiration: Option<f64>,
        metadata: Option<Box<RawValue>>,
    }
    let (keys, info) = decode_page::<Raw>(answer)?;
    let next = info.and_then(|info| info.cursor).filter(|cursor| !cursor.is_empty());
    let keys = keys.into_iter().map(|raw| Key {
        name: raw.name,
        expires: raw.expiration.map(|seconds| seconds as u64),
        metadata: raw.metadata.as_deref().and_then(Metadata::read),
    });
    Ok(Page { items: keys.collect(), next })
}

/// What the key of all ranges holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Ranges {
    /// There is no such key.
    #[default]
    Absent,
    /// What we wrote.
    Ours {
        /// When, Unix seconds of our clock.
        written: u64,
        /// Each range, those that have run out included.
        entries: BTreeMap<Address, RangeEntry>,
        /// Countries and autonomous systems, and whom they never meet.
        regions: Regions,
    },
    /// Something else: another tool's, or that of a later version of this program.
    Foreign,
}

impl Ranges {
    /// When we wrote it.
    pub fn written(&self) -> Option<u64> {
        match self {
            Self::Ours { written, .. } => Some(*written),
            Self::Absent | Self::Foreign => None,
        }
    }

    /// What we wrote and has not run out `now`.
    pub fn in_force(&self, now: u64) -> impl Iterator<Item = (Address, RangeEntry)> {
        let entries = match self {
            Self::Ours { entries, .. } => Some(entries),
            Self::Absent | Self::Foreign => None,
        };
        let entries = entries.into_iter().flatten().map(|(range, entry)| (*range, *entry));
        entries.filter(move |(_, entry)| entry.expires > now)
    }
}

/// What stands beside the ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Regions {
    /// Countries and autonomous systems, as `country:CN` and `as:64496`.
    pub entries: Vec<(String, RangeEntry)>,
    /// Whom no region meets; nobody where there is none. In order.
    pub never: Vec<Address>,
}

impl Regions {
    /// What is decided about a region. The search begins at `from`, where the last one ended: two of these are
    /// mostly in the same order, and there may be tens of thousands.
    pub fn get(&self, region: &str, from: &mut usize) -> Option<&RangeEntry> {
        let (before, after) = self.entries.split_at((*from).min(self.entries.len()));
        let at = after.iter().chain(before).position(|(name, _)| name == region)?;
        let at = (*from + at) % self.entries.len();
        *from = at + 1;
        Some(&self.entries[at].1)
    }
}

/// What is decided about a range. It expires by itself, because the key is shared by all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeEntry {
    /// The remediation.
    pub value: Remediation,
    /// When it expires, Unix seconds.
    pub expires: u64,
}

#[derive(Serialize, Deserialize)]
struct WireRanges<'a> {
    v: u32,
    at: u64,
    #[serde(borrow)]
    ranges: Vec<WireRange<'a>>,
    /// The regions, as lines of the layout `shards`. Workers of before do not know it, and do not look.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    more: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct WireRange<'a> {
    range: Cow<'a, str>,
    value: Cow<'a, str>,
    expires: u64,
}

/// GET: the value of a key, at most [`VALUE_BYTES_MAX`] long.
pub fn value(account: &Account, namespace: &Id, key: &str) -> Request {
    let mut path = format!("{}/values/", path(namespace));
    path.extend(utf8_percent_encode(key, NON_ALPHANUMERIC));
    Request { may_be_absent: true, ..account.request(Method::Get, &path) }
}

/// GET: the value of the key of all ranges.
pub fn ranges(account: &Account, namespace: &Id, prefix: &str) -> Request {
    value(account, namespace, &ranges_key(prefix))
}

/// Whether a [`value`] was not there.
pub fn is_absent(error: &CallError) -> bool {
    error.status() == Some(404) && error.has_code(KEY_NOT_FOUND)
}

/// Reads the answer to [`ranges`]: the value as it is, without an envelope, or an error's envelope
/// (facts 2.4). That the key is absent is no error.
pub fn decode_ranges(answer: &Answer) -> Result<Ranges, CallError> {
    if answer.head.status == 200 {
        return Ok(read_ranges(&answer.body).unwrap_or(Ranges::Foreign));
    }
    match decode::<IgnoredAny>(answer) {
        Err(error) if is_absent(&error) => Ok(Ranges::Absent),
        Err(error) => Err(error),
        Ok(_) => Err(not_the_api(answer)),
    }
}

/// Reads what we wrote. What is in any part not of our making is not ours at all: we would overwrite
/// what we do not understand.
fn read_ranges(value: &[u8]) -> Option<Ranges> {
    let wire: WireRanges<'_> = serde_json::from_slice(value).ok()?;
    let entry = |wire: WireRange<'_>| {
        let range: Address = wire.range.parse().ok()?;
        let is_ours = !range.is_single() && range.to_string() == wire.range;
        let value = Remediation::from_type(&wire.value)?;
        is_ours.then_some((range, RangeEntry { value, expires: wire.expires }))
    };
    let mut entries = BTreeMap::new();
    for wire in wire.ranges {
        let (range, entry) = entry(wire)?;
        entries.insert(range, entry);
    }
    let mut regions = Regions::default();
    for line in wire.more.lines() {
        shards::read_one(line, &mut entries, &mut regions)?;
    }
    (wire.v == RANGES_VERSION).then_some(Ranges::Ours { written: wire.at, entries, regions })
}

fn write_ranges(content: &Content, now: u64) -> String {
    let ranges = content.ranges.iter().map(|(range, entry)| WireRange {
        range: range.to_string().into(),
        value: entry.value.as_str().into(),
        expires: entry.expires,
    });
    let mut more = String::new();
    shards::push_regions(&mut more, &content.regions);
    let wire =
        WireRanges { v: RANGES_VERSION, at: now, ranges: ranges.collect(), more: more.into() };
    serde_json::to_string(&wire).expect("strings and numbers always serialise")
}

/// A pair to write. It always has a time to live: a write without one would make the key eternal,
/// whatever it had before (facts 2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The key, prefix included.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// Seconds until it expires, counted from when Cloudflare writes it; at least 60.
    pub ttl_secs: u64,
}

/// The value of a key of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Of a key that is named after an address.
    One(Remediation),
    /// Of [`ranges_key`]; in a box, because there is one of it and of the others there are many.
    Ranges(Box<Content>),
    /// Of the layout `shards`.
    Lines(Box<shards::Lines>),
}

/// What stands beside the addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// Each range.
    pub ranges: BTreeMap<Address, RangeEntry>,
    /// Countries and autonomous systems.
    pub regions: Regions,
}

impl Content {
    /// When the last of it runs out, Unix seconds; `None` = nothing is in it.
    pub fn last(&self) -> Option<u64> {
        let regions = self.regions.entries.iter().map(|(_, entry)| entry);
        self.ranges.values().chain(regions).map(|entry| entry.expires).max()
    }
}

/// PUT: writes pairs, at most 10,000.
pub fn put<'a>(
    account: &Account,
    namespace: &Id,
    pairs: impl Iterator<Item = &'a Pair>,
    now: u64,
) -> Request {
    #[derive(Serialize)]
    struct Body<'a> {
        key: &'a str,
        value: Cow<'static, str>,
        expiration_ttl: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<WireMetadata<'static>>,
    }
    let body: Vec<_> = pairs
        .map(|pair| {
            // The whole value of the ranges would not fit into the metadata; it is read instead.
            let (value, short) = match &pair.value {
                Value::One(value) => (value.as_str().into(), Some(value.as_str())),
                Value::Ranges(content) => (write_ranges(content, now).into(), Some(RANGES)),
                Value::Lines(lines) => (lines.text(now).into(), None),
            };
            let metadata = short.map(|value| WireMetadata { v: METADATA_VERSION, value, at: now });
            Body { key: &pair.key, value, expiration_ttl: pair.ttl_secs, metadata }
        })
        .collect();
    write(account, Method::Put, format!("{}/bulk", path(namespace)), &body)
}

/// POST: deletes keys, at most 10,000. Deleting one that is absent is a success (facts 2.3). The
/// DELETE of the same body is deprecated.
pub fn delete<'a>(
    account: &Account,
    namespace: &Id,
    keys: impl Iterator<Item = &'a str>,
) -> Request {
    let keys: Vec<_> = keys.collect();
    write(account, Method::Post, format!("{}/bulk/delete", path(namespace)), &keys)
}

fn write(account: &Account, method: Method, path: String, body: &impl Serialize) -> Request {
    let body = serde_json::to_vec(body).expect("strings and numbers always serialise");
    account.request(method, &path).body("application/json", body)
}

/// Reads the answer to a bulk write: the keys that were not taken. A 200 with `success: true` can
/// have some; older answers have no result at all (facts 2.3).
pub fn decode_bulk(answer: &Answer) -> Result<Vec<String>, CallError> {
    #[derive(Deserialize)]
    struct Result {
        unsuccessful_keys: Option<Vec<String>>,
    }
    let result = decode::<Result>(answer)?;
    Ok(result.and_then(|result| result.unsuccessful_keys).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::ResponseHead;

    #[test]
    fn keys_with_foreign_metadata_decoded_are_not_taken_for_ours() {
        let page = decode_keys(&Answer::of(200,
            r#"{"success":true,"errors":[],"messages":[],"result":[
                {"name":"ip:1.1.1.1","expiration":1793000600,"metadata":{"v":1,"value":"ban","at":1793000000}},
                {"name":"ip:1.1.1.2","metadata":{"v":2,"value":"ban","at":1}},
                {"name":"ip:1.1.1.3","metadata":"text"},
                {"name":"ip:1.1.1.4","metadata":{"v":1,"value":"throttle","at":1}},
                {"name":"ip:1.1.1.5"}],
                "result_info":{"count":5,"cursor":"next/+"}}"#,
        ))
        .unwrap();
        assert_eq!(page.next.as_deref(), Some("next/+"));
        let ours = Metadata { value: Remediation::Ban, written: 1_793_000_000 };
        assert_eq!(
            (page.items[0].expires, page.items[0].metadata),
            (Some(1_793_000_600), Some(ours))
        );
        assert!(page.items[1..].iter().all(|key| key.metadata.is_none() && key.expires.is_none()));
    }

    fn entries(texts: &[(&str, Remediation, u64)]) -> BTreeMap<Address, RangeEntry> {
        let entry = |&(range, value, expires): &(&str, _, _)| {
            (range.parse().unwrap(), RangeEntry { value, expires })
        };
        texts.iter().map(entry).collect()
    }

    #[test]
    fn ranges_written_and_read_again_are_the_same_in_the_order_of_addresses() {
        let ranges = entries(&[
            ("2001:db8::/32", Remediation::Captcha, 1_793_000_500),
            ("203.0.113.0/24", Remediation::Ban, 1_793_000_600),
            ("9.0.0.0/8", Remediation::Ban, 1_793_000_700),
        ]);
        let mut content = Content { ranges, ..Content::default() };
        let text = write_ranges(&content, 1_793_000_000);
        assert_eq!(
            text,
            r#"{"v":1,"at":1793000000,"ranges":[{"range":"9.0.0.0/8","value":"ban","expires":1793000700},{"range":"203.0.113.0/24","value":"ban","expires":1793000600},{"range":"2001:db8::/32","value":"captcha","expires":1793000500}]}"#
        );
        let ours = |content: &Content| Ranges::Ours {
            written: 1_793_000_000,
            entries: content.ranges.clone(),
            regions: content.regions.clone(),
        };
        assert_eq!(decode_ranges(&Answer::of(200, &text)), Ok(ours(&content)));
        let entry = RangeEntry { value: Remediation::Ban, expires: 1_793_000_600 };
        content.regions.entries.push(("country:CN".to_owned(), entry));
        content.regions.never.push("203.0.113.7".parse().unwrap());
        let more = write_ranges(&content, 1_793_000_000);
        assert!(more.starts_with(text.strip_suffix('}').unwrap()));
        assert!(more.ends_with(r#","more":"203.0.113.7 never 0\ncountry:CN ban 1793000600\n"}"#));
        assert_eq!(decode_ranges(&Answer::of(200, &more)), Ok(ours(&content)));
    }

    #[test]
    fn key_of_all_ranges_is_each_prefixs_own_but_for_the_usual_one() {
        assert_eq!(ranges_key("ip:"), "ranges");
        assert_eq!(ranges_key("site2:"), "site2:ranges");
    }

    #[test]
    fn value_that_is_in_any_part_not_of_our_making_is_foreign() {
        let of = |entry: &str| format!(r#"{{"v":1,"at":1,"ranges":[{entry}]}}"#);
        for body in [
            "".to_owned(),
            "ban".to_owned(),
            r#"["203.0.113.0/24"]"#.to_owned(),
            r#"{"success":false,"errors":[{"code":10009,"message":"m"}]}"#.to_owned(),
            r#"{"v":2,"at":1,"ranges":[]}"#.to_owned(),
            of(r#"{"range":"203.0.113.7/24","value":"ban","expires":1}"#),
            of(r#"{"range":"203.0.113.7","value":"ban","expires":1}"#),
            of(r#"{"range":"203.0.113.0/24","value":"throttle","expires":1}"#),
            of(r#"{"range":"203.0.113.0/24","value":"ban"}"#),
        ] {
            assert_eq!(decode_ranges(&Answer::of(200, &body)), Ok(Ranges::Foreign), "{body}");
        }
        let escaped = of(r#"{"range":"203.0.113.0\/24","value":"ban","expires":1}"#);
        assert!(
            matches!(decode_ranges(&Answer::of(200, &escaped)), Ok(Ranges::Ours { .. })),
            "{escaped}"
        );
    }

    #[test]
    fn absent_key_is_told_from_an_absent_namespace_and_from_an_answer_of_no_api() {
        let not_found = |code| {
            let body = format!(r#"{{"success":false,"errors":[{{"code":{code},"message":"m"}}]}}"#);
            let head = ResponseHead { status: 404, ..ResponseHead::default() };
            decode_ranges(&Answer { head, body: body.into_bytes() })
        };
        assert_eq!(not_found(KEY_NOT_FOUND), Ok(Ranges::Absent));
        assert!(not_found(NAMESPACE_NOT_FOUND).is_err());
        for (status, body) in [(404, "not found"), (502, "<html>"), (204, r#"{"success":true}"#)] {
            let head = ResponseHead { status, ..ResponseHead::default() };
            let answer = Answer { head, body: body.as_bytes().to_vec() };
            assert!(decode_ranges(&answer).is_err(), "{status} {body}");
        }
    }

    #[test]
    fn last_page_decoded_has_no_cursor_in_any_of_its_forms() {
        for info in [
            r#","result_info":{"cursor":""}"#,
            r#","result_info":{"cursor":null}"#,
            r#","result_info":{}"#,
            "",
        ] {
            let body = format!(r#"{{"success":true,"result":[]{info}}}"#);
            assert_eq!(decode_keys(&Answer::of(200, &body)).unwrap().next, None, "{info}");
        }
    }

    #[test]
    fn page_without_a_result_decoded_is_a_failure_and_no_empty_page() {
        for result in ["", r#","result":null"#] {
            let body = format!(r#"{{"success":true,"errors":[],"messages":[]{result}}}"#);
            assert!(decode_keys(&Answer::of(200, &body)).is_err(), "{result}");
        }
    }

    #[test]
    fn bulk_answer_of_every_age_decoded_names_what_was_not_taken() {
        for (result, failed) in [
            (r#"{"successful_key_count":1,"unsuccessful_keys":["a"]}"#, vec!["a".to_owned()]),
            (r#"{"successful_key_count":1,"unsuccessful_keys":null}"#, vec![]),
            ("{}", vec![]),
            ("null", vec![]),
        ] {
            let body = format!(r#"{{"success":true,"result":{result}}}"#);
            assert_eq!(decode_bulk(&Answer::of(200, &body)).unwrap(), failed, "{result}");
        }
    }
}
