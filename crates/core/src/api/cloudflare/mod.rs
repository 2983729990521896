//! Cloudflare's API v4: authentication, the envelope around every answer, and its errors.
//!
//! Source: facts cloudflare 3 and 1.9. Error codes are per product, so they are only looked at
//! together with the request that they answer.

pub mod expression;
pub mod kv;
pub mod lists;
pub mod rules;

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;

use crate::decision::Remediation;
use crate::log::clip;
use crate::ports::{Answer, Method, Request, ResponseHead, TransportError};
use crate::secret::Secret;
use crate::settings::{Id, Lists, Origin};

use super::{excerpt, request};

/// The largest answer that we read: a page of 500 items with comments of 500 characters is 0.5 MB.
pub const ANSWER_BYTES_MAX: usize = 8 << 20;

/// A page of a listing.
#[derive(Debug, PartialEq)]
pub struct Page<T> {
    /// What is on it, in the API's order.
    pub items: Vec<T>,
    /// Where the next page starts; `None` on the last. A page may be empty and have a next one.
    pub next: Option<String>,
}

/// An account, and a token that it knows.
#[derive(Debug, Clone)]
pub struct Account {
    origin: Origin,
    id: Id,
    token: Secret,
}

impl Account {
    /// The account `id` behind the API at `origin`, asked with `token`.
    pub fn new(origin: Origin, id: Id, token: Secret) -> Self {
        Self { origin, id, token }
    }

    /// The account's id.
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// A request beside the account: to a zone, or about the token; `path` starts with a slash. A run sends
    /// none; who sets up and looks after an account does.
    pub fn beside(&self, method: Method, path: &str) -> Request {
        self.asked(method, ["", "", path])
    }

    /// A request to the account's part of the API; `path` starts with a slash.
    pub fn request(&self, method: Method, path: &str) -> Request {
        self.asked(method, ["/accounts/", self.id.as_str(), path])
    }

    /// A request to a zone's part of the API; `path` starts with a slash.
    fn zone_request(&self, method: Method, zone: &Id, path: &str) -> Request {
        self.asked(method, ["/zones/", zone.as_str(), path])
    }

    fn asked(&self, method: Method, [kind, id, path]: [&str; 3]) -> Request {
        let url = [self.origin.as_str(), "/client/v4", kind, id, path].concat();
        request(method, url).header("authorization", ["Bearer ", self.token.expose()].concat())
    }
}

/// A part of the account that we use: what is read and written as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// One of the lists.
    List(Remediation),
    /// The KV namespace.
    Namespace,
    /// Values in it: what the Worker reads.
    Values,
    /// The account's zones by name; no run reads them.
    Zones,
    /// The custom rules of a zone.
    Rules,
}

impl Resource {
    /// The variable that names it.
    pub fn variable(self) -> &'static str {
        match self {
            Self::List(list) => Lists::variable(list),
            Self::Namespace | Self::Values => "cf_kv_namespace_id",
            Self::Zones => "cf_account_id",
            Self::Rules => "cf_rules_zones",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(list) => write!(f, "the {list} list ({})", self.variable()),
            Self::Namespace => write!(f, "the KV namespace ({})", self.variable()),
            Self::Values => write!(f, "values of the KV namespace ({})", self.variable()),
            Self::Zones => f.write_str("the account's zones"),
            Self::Rules => write!(f, "the rules of a zone ({})", self.variable()),
        }
    }
}

/// What stands around every result.
#[derive(Deserialize)]
struct Envelope<R> {
    success: bool,
    #[serde(default, deserialize_with = "null_as_empty")]
    errors: Vec<Message>,
    result: Option<R>,
    result_info: Option<ResultInfo>,
}

#[derive(Deserialize)]
struct ResultInfo {
    /// Of lists.
    cursors: Option<Cursors>,
    /// Of KV.
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct Cursors {
    after: Option<String>,
}

/// One of Cloudflare's own error messages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Message {
    /// The code; its meaning depends on the endpoint.
    #[serde(default)]
    pub code: i64,
    /// Cloudflare's words.
    #[serde(default)]
    pub message: String,
    #[serde(default, deserialize_with = "null_as_empty")]
    error_chain: Vec<Message>,
}

fn null_as_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Some refusals have no code (facts cloudflare-rules 1.5), and 0 is none.
        match (self.code, clip(&self.message, 200)) {
            (0, said) if said.is_empty() => f.write_str("without a reason")?,
            (0, said) => f.write_str(&said)?,
            (code, said) => write!(f, "{code} {said}")?,
        }
        for cause in &self.error_chain {
            write!(f, " ({cause})")?;
        }
        Ok(())
    }
}

/// A call that did not give its result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No whole answer came.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Cloudflare says no, in its envelope: by a status, or by `success: false` in a 200.
    #[error("HTTP {}{}", .head.status, said(.messages))]
    Refused {
        /// The answer's head.
        head: ResponseHead,
        /// Cloudflare's words.
        messages: Vec<Message>,
    },
    /// An answer that is not the API's: an error page of some proxy, a plain text.
    #[error("HTTP {}, and the body is not the API's JSON: {start}", .head.status)]
    NotTheApi {
        /// The answer's head.
        head: ResponseHead,
        /// How the body starts.
        start: String,
    },
}

fn said(messages: &[Message]) -> String {
    if messages.is_empty() {
        return ", without a reason".into();
    }
    let messages: Vec<_> = messages.iter().take(3).map(Message::to_string).collect();
    format!(": {}", messages.join("; "))
}

impl CallError {
    /// The answer's head, if one came.
    pub fn head(&self) -> Option<&ResponseHead> {
        match self {
            Self::Transport(_) => None,
            Self::Refused { head, .. } | Self::NotTheApi { head, .. } => Some(head),
        }
    }

    /// The answer's status, if one came.
    pub fn status(&self) -> Option<u16> {
        self.head().map(|head| head.status)
    }

    /// Whether Cloudflare gave this code, here or as the cause of another.
    pub fn has_code(&self, code: i64) -> bool {
        fn any(messages: &[Message], code: i64) -> bool {
            messages.iter().any(|m| m.code == code || any(&m.error_chain, code))
        }
        matches!(self, Self::Refused { messages, .. } if any(messages, code))
    }

    /// Whether we are told to come back later: 429, with or without JSON, or a list's own limiter.
    pub fn is_throttled(&self) -> bool {
        self.status() == Some(429) || self.has_code(lists::RATE_LIMITED)
    }

    /// Whether the same read may well succeed in a moment.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Transport(error) => *error != TransportError::Denied,
            _ if self.is_day_used_up() => false,
            _ => self.is_throttled() || self.status().is_some_and(|status| status >= 500),
        }
    }

    /// Whether a write that was answered so certainly changed nothing: the API itself said no. An
    /// error of a server or a proxy in between leaves that open.
    pub fn is_definite(&self) -> bool {
        match self {
            Self::Transport(error) => *error == TransportError::Denied,
            Self::Refused { head, .. } => head.status < 500,
            Self::NotTheApi { head, .. } => (400..500).contains(&head.status),
        }
    }

    /// Whether Cloudflare refuses one of the values that were sent, and with it the whole request: a bad
    /// one (10035) or one that is there twice (10028; facts 1.4).
    pub fn is_value_refused(&self) -> bool {
        self.status() == Some(400)
            && (self.has_code(lists::VALUE_REFUSED) || self.has_code(lists::VALUE_REPEATED))
    }

    /// The position of the refused value among those that were sent, if the answer names it:
    /// `invalid value for ip at position 3: …` (facts 1.4).
    pub fn value_position(&self) -> Option<usize> {
        self.texts().find_map(|text| {
            let (_, after) = text.split_once("position ")?;
            let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        })
    }

    /// Whether the answer names `value` as a word of its own.
    pub fn names_value(&self, value: &str) -> bool {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '/');
        self.texts().any(|text| {
            text.split(|c| !is_part(c)).any(|word| word.trim_end_matches(['.', ':']) == value)
        })
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        let messages = match self {
            Self::Refused { messages, .. } => messages.as_slice(),
            _ => &[],
        };
        messages.iter().flat_map(|message| {
            let chain = message.error_chain.iter().map(|cause| cause.message.as_str());
            std::iter::once(message.message.as_str()).chain(chain)
        })
    }

    /// Whether KV's free quota of the day is used up. The code means something else where the status is
    /// another (facts 0.10).
    pub fn is_day_used_up(&self) -> bool {
        self.status() == Some(429) && self.has_code(kv::DAY_IS_USED_UP)
    }

    /// What the operator can do about it, where the answer tells. `resource` is what was asked for.
    pub fn remedy(&self, resource: Resource) -> Option<String> {
        if let Self::Transport(error) = self {
            return Some(error.remedy("cf_api_url"));
        }
        let status = self.status()?;
        if self.is_day_used_up() {
            let what = match resource {
                Resource::Values => {
                    "the day's KV reads are used up, the Worker's too: until 00:00 UTC it lets everybody through"
                }
                _ => "the free plan has a quota a day, which begins anew at 00:00 UTC",
            };
            return Some(what.into());
        }
        // 9106 and 6003: "authentication failed" and "invalid request headers" with status 400.
        if self.has_code(9106) || self.has_code(6003) {
            return Some("cf_api_token is not in the form of an API token; copy it again".into());
        }
        if status == 401 || status == 403 {
            return Some(format!(
                "cf_api_token needs the permission {}; cf_account_id must be the account that the token is for",
                permission(resource)
            ));
        }
        if self.has_code(7003) || self.has_code(7000) {
            return Some(format!(
                "cf_account_id or {} is not an id of Cloudflare's",
                resource.variable()
            ));
        }
        let (what, not_found) = match resource {
            Resource::List(_) => ("list", lists::LIST_NOT_FOUND),
            Resource::Namespace | Resource::Values => ("KV namespace", kv::NAMESPACE_NOT_FOUND),
            // A zone without rules answers 404 too, and that is no error.
            Resource::Zones | Resource::Rules => return None,
        };
        (status == 404 || self.has_code(not_found)).then(|| {
            format!(
                "there is no {what} with this id in the account; check {} and cf_account_id",
                resource.variable()
            )
        })
    }
}

/// The permission as the dashboard and as the API call it (facts cloudflare 3).
pub(crate) fn permission(resource: Resource) -> &'static str {
    match resource {
        Resource::List(_) => {
            "Account > Account Filter Lists > Edit (in the API: Account Rule Lists Write)"
        }
        Resource::Namespace | Resource::Values => {
            "Account > Workers KV Storage > Edit (in the API: Workers KV Storage Write)"
        }
        Resource::Zones => "Zone > Zone > Read (in the API: Zone Read), or name the zone by its id",
        Resource::Rules => "Zone > Zone WAF > Edit (in the API: Zone WAF Write) for this zone",
    }
}

/// Unwraps an answer to its result and the cursor of the next page, if there is one; an answer without a body
/// (204) has no result. For calls that no run makes.
pub fn decode_any(answer: &Answer) -> Result<(serde_json::Value, Option<String>), CallError> {
    if answer.head.status == 204 {
        return Ok((serde_json::Value::Null, None));
    }
    let envelope: Envelope<serde_json::Value> =
        serde_json::from_slice(&answer.body).map_err(|_| not_the_api(answer))?;
    let (result, info) = envelope.success(answer)?;
    let cursor = info.and_then(|info| info.cursor).filter(|cursor| !cursor.is_empty());
    Ok((result.unwrap_or_default(), cursor))
}

/// Unwraps an answer to the result that it carries. `result: null` in a success is `None`.
///
/// The result is read by itself: an error's may be of any form, and the component has one reader of
/// envelopes instead of one for each kind of result.
fn decode<T: DeserializeOwned>(answer: &Answer) -> Result<Option<T>, CallError> {
    let result = raw(answer)?;
    let result = result.map(|json| serde_json::from_slice(json.get().as_bytes())).transpose();
    result.map_err(|_| not_the_api(answer))
}

/// The same as text, for whoever reads it piece by piece.
fn raw(answer: &Answer) -> Result<Option<&RawValue>, CallError> {
    let envelope: Envelope<&RawValue> =
        serde_json::from_slice(&answer.body).map_err(|_| not_the_api(answer))?;
    Ok(envelope.success(answer)?.0)
}

/// Unwraps a page of a listing, in one pass: there may be hundreds of them. A success without a result
/// is no empty page: what is at the edge would not be seen, and what is desired be written again.
fn decode_page<T: DeserializeOwned>(
    answer: &Answer,
) -> Result<(Vec<T>, Option<ResultInfo>), CallError> {
    match serde_json::from_slice::<Envelope<Vec<T>>>(&answer.body) {
        Ok(envelope) => {
            let (items, info) = envelope.success(answer)?;
            Ok((items.ok_or_else(|| not_the_api(answer))?, info))
        }
        // An error's envelope may hold a result that is no page.
        Err(_) => Err(decode::<IgnoredAny>(answer).err().unwrap_or_else(|| not_the_api(answer))),
    }
}

impl<R> Envelope<R> {
    /// What is in it, if it is that of a success.
    fn success(self, answer: &Answer) -> Result<(Option<R>, Option<ResultInfo>), CallError> {
        if self.success && (200..300).contains(&answer.head.status) {
            return Ok((self.result, self.result_info));
        }
        Err(CallError::Refused { head: answer.head.clone(), messages: self.errors })
    }
}

fn not_the_api(answer: &Answer) -> CallError {
    CallError::NotTheApi { head: answer.head.clone(), start: excerpt(&answer.body) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_text(status: u16, body: &str) -> Result<Option<u32>, CallError> {
        let head = ResponseHead { status, ..ResponseHead::default() };
        decode::<u32>(&Answer { head, body: body.as_bytes().to_vec() })
    }

    #[test]
    fn success_decoded_gives_its_result() {
        assert_eq!(
            decode_text(201, r#"{"success":true,"errors":null,"messages":[],"result":7}"#),
            Ok(Some(7))
        );
        assert_eq!(decode_text(200, r#"{"success":true,"errors":[],"result":null}"#), Ok(None));
    }

    #[test]
    fn failure_decoded_says_cloudflares_own_words() {
        for (status, body, says) in [
            (
                200,
                r#"{"success":false,"errors":[{"code":1,"message":"no"}],"result":null}"#,
                "HTTP 200: 1 no",
            ),
            (
                404,
                r#"{"success":false,"errors":[],"result":{"a":1}}"#,
                "HTTP 404, without a reason",
            ),
            (
                502,
                "<html>\nBad gateway</html>",
                r"HTTP 502, and the body is not the API's JSON: <html>\nBad gateway</html>",
            ),
            (200, "", "HTTP 200, and the body is not the API's JSON: empty body"),
            (
                400,
                r#"{"success":false,"errors":[{"code":6003,"message":"Invalid request headers","error_chain":[{"code":6111,"message":"Invalid format"}]}]}"#,
                "HTTP 400: 6003 Invalid request headers (6111 Invalid format)",
            ),
        ] {
            assert_eq!(decode_text(status, body).unwrap_err().to_string(), says);
        }
    }

    #[test]
    fn refusals_of_known_kinds_come_with_a_remedy() {
        for (status, code, says) in [
            (401, 10000, "Account Filter Lists > Edit"),
            (403, 9109, "Account Rule Lists Write"),
            (400, 9106, "copy it again"),
            (404, 10001, "check cf_ban_list_id"),
            (404, 7003, "cf_account_id"),
        ] {
            let body = format!(r#"{{"success":false,"errors":[{{"code":{code},"message":"m"}}]}}"#);
            let remedy =
                decode_text(status, &body).unwrap_err().remedy(Resource::List(Remediation::Ban));
            assert!(remedy.as_deref().unwrap_or_default().contains(says), "{code}: {remedy:?}");
        }
        assert_eq!(decode_text(500, "x").unwrap_err().remedy(Resource::Namespace), None);
    }

    #[test]
    fn throttling_is_recognised_in_json_and_in_plain_text() {
        let json = r#"{"success":false,"errors":[{"code":10040,"message":"please wait"}]}"#;
        for (status, body) in [(429, "slow down"), (429, json), (400, json)] {
            assert!(decode_text(status, body).unwrap_err().is_throttled(), "{status} {body}");
        }
        assert!(!decode_text(403, "x").unwrap_err().is_throttled());
    }
}
