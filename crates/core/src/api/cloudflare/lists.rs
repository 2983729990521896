//! Cloudflare account IP lists: reading items, the three bulk writes, and the operations they start.
//!
//! Source: facts cloudflare 1.1-1.6 and the official schemas `lists_*`.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Deserializer, Serialize};

use crate::address::Address;
use crate::ports::{Answer, Method, Request};
use crate::settings::Id;

use super::{Account, CallError, decode, decode_page, not_the_api};

mod items;

pub use crate::item::{ItemId, RawItem};
pub use items::decode_items;

/// Items on one page: the most that the API gives. More is refused with 10027, less is the default
/// (25), which would be twenty times the requests (facts 1.3).
pub const PAGE_ITEMS_MAX: usize = 500;

/// "List not found", with status 404 (facts 1.9).
pub(super) const LIST_NOT_FOUND: i64 = 10001;
/// "You have been ratelimited", with status 429 (facts 1.8). Not 10035, which is a bad value.
pub(super) const RATE_LIMITED: i64 = 10040;

impl Account {
    /// All lists of the account, whoever made them; in one answer (facts 1.1).
    pub fn lists(&self) -> Request {
        self.request(Method::Get, "/rules/lists")
    }
}

/// A list of the account. More than we use is told of it, and ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AccountList {
    /// Its id.
    pub id: String,
    /// Its name, as rules write it after a `$`.
    pub name: String,
    /// How many items it has.
    #[serde(deserialize_with = "count")]
    pub num_items: u64,
    /// How many rules use it.
    #[serde(deserialize_with = "count")]
    pub num_referencing_filters: u64,
    /// When it last changed, RFC 3339.
    pub modified_on: String,
}

/// A count, which the specification calls a number: `3` and `3.0` are the same.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    f64::deserialize(deserializer).map(|count| count as u64)
}

/// Reads the answer to [`Account::lists`].
pub fn decode_lists(answer: &Answer) -> Result<Vec<AccountList>, CallError> {
    decode_page(answer).map(|(lists, _)| lists)
}

/// "Invalid value for ip", with status 400: one item refuses the whole request (facts 1.4).
pub(super) const VALUE_REFUSED: i64 = 10035;
/// "Duplicate item value", with status 400 (facts 1.4).
pub(super) const VALUE_REPEATED: i64 = 10028;

/// One page of a list's items.
pub fn items(account: &Account, list: &Id, cursor: Option<&str>) -> Request {
    let mut path = format!("/rules/lists/{list}/items?per_page={PAGE_ITEMS_MAX}");
    if let Some(cursor) = cursor {
        path.push_str("&cursor=");
        path.extend(utf8_percent_encode(cursor, NON_ALPHANUMERIC));
    }
    account.request(Method::Get, &path)
}

/// An item as we send it: nothing more, or the whole request is refused with 10026 (facts 1.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewItem {
    /// The address.
    pub ip: Address,
    /// A remark to keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<Box<str>>,
}

/// POST: adds items, or overwrites those that are there (facts 1.5).
pub fn append(account: &Account, list: &Id, items: &[NewItem]) -> Request {
    write(account, Method::Post, list, &items)
}

/// PUT: the list then holds these items and no others. `[]` would empty it without a question
/// (facts 1.5), which is why a plan cannot express that.
pub fn replace(account: &Account, list: &Id, items: &[NewItem]) -> Request {
    write(account, Method::Put, list, &items)
}

/// DELETE: removes items by id. The body is an object here, and a bare array above (facts 1.2).
pub fn delete(account: &Account, list: &Id, items: &[ItemId]) -> Request {
    #[derive(Serialize)]
    struct Body<'a> {
        items: Vec<Item<'a>>,
    }
    #[derive(Serialize)]
    struct Item<'a> {
        id: &'a ItemId,
    }
    let items = items.iter().map(|id| Item { id }).collect();
    write(account, Method::Delete, list, &Body { items })
}

fn write(account: &Account, method: Method, list: &Id, body: &impl Serialize) -> Request {
    let body = serde_json::to_vec(body).expect("strings and arrays of them always serialise");
    account.request(method, &format!("/rules/lists/{list}/items")).body("application/json", body)
}

/// Names a bulk operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationId(String);

impl OperationId {
    /// An id that an earlier run stored.
    pub(crate) fn stored(id: &str) -> Self {
        Self(id.to_owned())
    }
}

impl std::fmt::Display for OperationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads the answer to a write. A 2xx means accepted, not done (facts 1.6), and any 2xx counts: the
/// specification says 200, the documentation 201.
pub fn decode_accepted(answer: &Answer) -> Result<OperationId, CallError> {
    #[derive(Deserialize)]
    struct Accepted {
        operation_id: String,
    }
    match decode::<Accepted>(answer)? {
        Some(Accepted { operation_id }) if is_plain(&operation_id) => Ok(OperationId(operation_id)),
        _ => Err(not_the_api(answer)),
    }
}

/// Ids go into a path unescaped.
fn is_plain(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= 128
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The state of a bulk operation. The path has no list in it: operations belong to the account.
pub fn operation(account: &Account, id: &OperationId) -> Request {
    account.request(Method::Get, &format!("/rules/lists/bulk_operations/{id}"))
}

/// How far a bulk operation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationState {
    /// `pending` or `running`: reads still see the old content.
    Unfinished,
    /// `completed`: the list holds the new content.
    Completed,
    /// `failed`, with Cloudflare's words.
    Failed(String),
}

/// Reads the state of a bulk operation.
pub fn decode_operation(answer: &Answer) -> Result<OperationState, CallError> {
    #[derive(Deserialize)]
    struct Operation {
        status: String,
        error: Option<String>,
    }
    let operation = decode::<Operation>(answer)?;
    let operation = operation.ok_or_else(|| not_the_api(answer))?;
    match operation.status.as_str() {
        "pending" | "running" => Ok(OperationState::Unfinished),
        "completed" => Ok(OperationState::Completed),
        "failed" => Ok(OperationState::Failed(
            operation.error.unwrap_or_else(|| "no reason given".to_owned()),
        )),
        _ => Err(not_the_api(answer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_account_decoded_have_whole_counts_and_none_is_no_list() {
        let lists = decode_lists(&Answer::of(200,
            r#"{"success":true,"errors":[],"messages":[],"result":[
                {"id":"a","name":"crowdsec_ban","kind":"ip","num_items":12.0,"num_referencing_filters":1,"created_on":"x","modified_on":"2026-01-02T03:04:05Z"}]}"#,
        ))
        .unwrap();
        assert_eq!(
            lists,
            [AccountList {
                id: "a".to_owned(),
                name: "crowdsec_ban".to_owned(),
                num_items: 12,
                num_referencing_filters: 1,
                modified_on: "2026-01-02T03:04:05Z".to_owned(),
            }]
        );
        assert_eq!(decode_lists(&Answer::of(200, r#"{"success":true,"result":[]}"#)), Ok(vec![]));
        assert!(decode_lists(&Answer::of(200, r#"{"success":true,"result":null}"#)).is_err());
    }

    #[test]
    fn write_accepted_without_an_operation_is_not_taken_for_done() {
        for result in ["null", "{}", r#"{"operation_id":""}"#, r#"{"operation_id":"../x"}"#] {
            let body = format!(r#"{{"success":true,"result":{result}}}"#);
            assert!(decode_accepted(&Answer::of(200, &body)).is_err(), "{result}");
        }
    }

    #[test]
    fn operation_decoded_is_one_of_three_states() {
        for (result, state) in [
            (r#"{"id":"x","status":"pending"}"#, Some(OperationState::Unfinished)),
            (r#"{"id":"x","status":"running"}"#, Some(OperationState::Unfinished)),
            (r#"{"id":"x","status":"completed","completed":"t"}"#, Some(OperationState::Completed)),
            (
                r#"{"id":"x","status":"failed","error":"full"}"#,
                Some(OperationState::Failed("full".into())),
            ),
            (r#"{"id":"x","status":"lost"}"#, None),
            ("null", None),
        ] {
            let body = format!(r#"{{"success":true,"result":{result}}}"#);
            assert_eq!(decode_operation(&Answer::of(200, &body)).ok(), state, "{result}");
        }
    }
}
