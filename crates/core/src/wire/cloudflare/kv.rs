//! Cloudflare Workers KV: listing keys, and the two bulk writes.
//!
//! Source: facts cloudflare 2.1-2.3 and the official schemas `workers-kv_*`.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::decision::Remediation;
use crate::settings::{Kv, Settings};

use super::{Answer, CallError, Method, Page, Request, account_request, decode, decode_page};

/// Keys on one page: the most that the API gives, and the default.
const PAGE_KEYS_MAX: usize = 1_000;
/// "Namespace not found", with status 404 (facts 2.7).
pub(super) const NAMESPACE_NOT_FOUND: i64 = 10013;
/// "Your account has reached the free usage limit for this operation for today", with status 429
/// (facts 2.7). It will not pass before 00:00 UTC.
pub(super) const DAY_IS_USED_UP: i64 = 10048;
/// The version of what we write as metadata.
const METADATA_VERSION: u32 = 1;

/// One page of the keys that begin with our prefix. The prefix goes with every page (facts 2.2).
pub fn keys(settings: &Settings, kv: &Kv, cursor: Option<&str>) -> Request {
    let mut query = format!("limit={PAGE_KEYS_MAX}&prefix=");
    query.extend(utf8_percent_encode(&kv.prefix, NON_ALPHANUMERIC));
    if let Some(cursor) = cursor {
        query.push_str("&cursor=");
        query.extend(utf8_percent_encode(cursor, NON_ALPHANUMERIC));
    }
    account_request(settings, Method::Get, &format!("{}/keys?{query}", path(kv)))
}

fn path(kv: &Kv) -> String {
    format!("/storage/kv/namespaces/{}", kv.namespace)
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

/// A pair to write. It always has a time to live: a write without one would make the key eternal,
/// whatever it had before (facts 2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The key, prefix included.
    pub key: String,
    /// Its value.
    pub value: Remediation,
    /// Seconds until it expires, counted from when Cloudflare writes it; at least 60.
    pub ttl_secs: u64,
}

/// PUT: writes pairs, at most 10,000.
pub fn put(settings: &Settings, kv: &Kv, pairs: &[Pair], now: u64) -> Request {
    #[derive(Serialize)]
    struct Body<'a> {
        key: &'a str,
        value: &'static str,
        expiration_ttl: u64,
        metadata: WireMetadata<'static>,
    }
    let body: Vec<_> = pairs
        .iter()
        .map(|pair| Body {
            key: &pair.key,
            value: pair.value.as_str(),
            expiration_ttl: pair.ttl_secs,
            metadata: WireMetadata { v: METADATA_VERSION, value: pair.value.as_str(), at: now },
        })
        .collect();
    write(settings, Method::Put, format!("{}/bulk", path(kv)), &body)
}

/// POST: deletes keys, at most 10,000. Deleting one that is absent is a success (facts 2.3). The
/// DELETE of the same body is deprecated.
pub fn delete(settings: &Settings, kv: &Kv, keys: &[String]) -> Request {
    write(settings, Method::Post, format!("{}/bulk/delete", path(kv)), &keys)
}

fn write(settings: &Settings, method: Method, path: String, body: &impl Serialize) -> Request {
    let body = serde_json::to_vec(body).expect("strings and numbers always serialise");
    account_request(settings, method, &path).body("application/json", body)
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
    use crate::wire::ResponseHead;

    fn answer(body: &str) -> Answer {
        let head = ResponseHead { status: 200, retry_after: None };
        Answer { head, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn keys_with_foreign_metadata_decoded_are_not_taken_for_ours() {
        let page = decode_keys(&answer(
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

    #[test]
    fn last_page_decoded_has_no_cursor_in_any_of_its_forms() {
        for info in [
            r#","result_info":{"cursor":""}"#,
            r#","result_info":{"cursor":null}"#,
            r#","result_info":{}"#,
            "",
        ] {
            let body = format!(r#"{{"success":true,"result":[]{info}}}"#);
            assert_eq!(decode_keys(&answer(&body)).unwrap().next, None, "{info}");
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
            assert_eq!(decode_bulk(&answer(&body)).unwrap(), failed, "{result}");
        }
    }
}
