//! Reads the bodies of list requests as strictly as Cloudflare does (facts 1.2, 1.4, 1.9): shape first
//! (10026), then kinds, then values (10035), then duplicates (10028); the first fault refuses it all.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::address::Address;
use crate::cloudflare::codes::{self, ApiError};
use crate::journal::Judge;
use crate::random::parse_hex_id;

/// Longest comment of an item.
const COMMENT_CHARS_MAX: usize = 500;

/// What the API writes itself; sent back, it refuses the request.
const READ_ONLY: [&str; 7] = [
    "id",
    "created_on",
    "modified_on",
    "operation_id",
    "num_items",
    "num_referencing_filters",
    "kind",
];

/// The kinds of item that a list request may hold, by their field.
const KINDS: [&str; 4] = ["ip", "hostname", "redirect", "asn"];

/// One item to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewItem {
    pub(super) address: Address,
    pub(super) comment: Option<String>,
}

/// The body of POST and PUT items: a bare array.
pub(super) fn new_items(body: &[u8], judge: &mut Judge) -> Result<Vec<NewItem>, ApiError> {
    let Value::Array(entries) = parse(body, judge)? else {
        return Err(invalid_json(judge, "items must be a bare array"));
    };
    for entry in &entries {
        check_entry_shape(entry, judge)?;
    }
    let kind = |entry: &Value| KINDS.into_iter().find(|kind| entry.get(kind).is_some());
    let kinds: HashSet<_> = entries.iter().map(kind).collect();
    if kinds.len() > 1 {
        return Err(codes::MIXED_KINDS.into());
    }
    if kinds.iter().any(|kind| *kind != Some("ip")) {
        return Err(codes::KIND_MISMATCH.into());
    }
    let mut items = Vec::with_capacity(entries.len());
    for (position, entry) in entries.iter().enumerate() {
        let invalid = |field: &str, why: &str, judge: &mut Judge| {
            judge.note(format_args!("item {position} is not a value that the list takes: {why}"));
            codes::INVALID_VALUE
                .with(format!("invalid value for {field} at position {position}: {why}"))
        };
        let text = entry.get("ip").and_then(Value::as_str).unwrap_or_default();
        let address = Address::parse(text).map_err(|error| invalid("ip", error.text(), judge))?;
        let comment = entry.get("comment").and_then(Value::as_str).map(str::to_owned);
        // The code for this is unknown; the limit is documented.
        if comment.as_ref().is_some_and(|comment| comment.chars().count() > COMMENT_CHARS_MAX) {
            return Err(invalid("comment", "filters.api.longer than 500 characters", judge));
        }
        items.push(NewItem { address, comment });
    }
    let mut seen = HashSet::with_capacity(items.len());
    if let Some(twice) = items.iter().find(|item| !seen.insert(item.address)) {
        judge.note(format_args!("{} is in the request twice", twice.address.canonical()));
        return Err(codes::DUPLICATE.into());
    }
    Ok(items)
}

fn check_entry_shape(entry: &Value, judge: &mut Judge) -> Result<(), ApiError> {
    let Some(entry) = entry.as_object() else {
        return Err(invalid_json(judge, "an item is not an object"));
    };
    let allowed = |name: &str| name == "comment" || KINDS.contains(&name);
    check_fields(entry, allowed, judge)?;
    let kinds = KINDS.into_iter().filter(|kind| entry.contains_key(*kind)).count();
    if kinds != 1 {
        return Err(invalid_json(
            judge,
            "an item must have exactly one of ip, hostname, redirect, asn",
        ));
    }
    if ["ip", "comment"].iter().any(|name| entry.get(*name).is_some_and(|value| !value.is_string()))
    {
        return Err(invalid_json(judge, "ip and comment of an item must be text"));
    }
    Ok(())
}

/// The body of DELETE items: `{"items":[{"id"}]}`, at least one.
pub(super) fn item_ids(body: &[u8], judge: &mut Judge) -> Result<HashSet<u128>, ApiError> {
    let Value::Object(object) = parse(body, judge)? else {
        return Err(invalid_json(judge, "a deletion must be an object with items"));
    };
    check_fields(&object, |name| name == "items", judge)?;
    let entries = match object.get("items") {
        Some(Value::Array(entries)) if !entries.is_empty() => entries,
        _ => return Err(invalid_json(judge, "a deletion must name at least one item")),
    };
    let mut ids = HashSet::with_capacity(entries.len());
    for entry in entries {
        let id = entry.as_object().filter(|entry| entry.len() == 1);
        let id = id.and_then(|entry| entry.get("id")).and_then(Value::as_str);
        match id.and_then(parse_hex_id) {
            Some(id) => ids.insert(id),
            None => {
                return Err(invalid_json(
                    judge,
                    "a deletion's entry must be {\"id\": 32 hex digits}",
                ));
            }
        };
    }
    Ok(ids)
}

/// The body of `POST /rules/lists`.
#[derive(Debug)]
pub(super) struct NewList {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) description: Option<String>,
}

pub(super) fn new_list(body: &[u8], judge: &mut Judge) -> Result<NewList, ApiError> {
    let Value::Object(object) = parse(body, judge)? else {
        return Err(invalid_json(judge, "a list must be an object"));
    };
    check_fields(&object, |name| matches!(name, "name" | "kind" | "description"), judge)?;
    let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
    let named = (1..=50).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    if !named || !KINDS.contains(&kind) {
        return Err(invalid_json(judge, "name or kind of a list is not of the allowed form"));
    }
    let description = description(&object, judge)?;
    Ok(NewList { name: name.to_owned(), kind: kind.to_owned(), description })
}

/// The body of `PUT /rules/lists/{id}`: name and kind cannot be changed.
pub(super) fn new_description(body: &[u8], judge: &mut Judge) -> Result<Option<String>, ApiError> {
    let Value::Object(object) = parse(body, judge)? else {
        return Err(invalid_json(judge, "a list's change must be an object"));
    };
    check_fields(&object, |name| name == "description", judge)?;
    description(&object, judge)
}

fn description(object: &Map<String, Value>, judge: &mut Judge) -> Result<Option<String>, ApiError> {
    match object.get("description") {
        None => Ok(None),
        Some(Value::String(text)) if text.chars().count() <= 500 => Ok(Some(text.clone())),
        Some(_) => Err(invalid_json(judge, "a description must be text of at most 500 characters")),
    }
}

fn check_fields(
    object: &Map<String, Value>,
    allowed: impl Fn(&str) -> bool,
    judge: &mut Judge,
) -> Result<(), ApiError> {
    match object.keys().find(|name| !allowed(name)) {
        None => Ok(()),
        Some(name) if READ_ONLY.contains(&name.as_str()) => {
            Err(invalid_json(judge, &format!("the read-only field {name:?} was sent")))
        }
        Some(name) => Err(invalid_json(judge, &format!("the unknown field {name:?} was sent"))),
    }
}

fn parse(body: &[u8], judge: &mut Judge) -> Result<Value, ApiError> {
    serde_json::from_slice(body).map_err(|_| invalid_json(judge, "the body is not JSON"))
}

/// Cloudflare does not say what is wrong; the judge does.
fn invalid_json(judge: &mut Judge, why: &str) -> ApiError {
    judge.note(why);
    codes::INVALID_JSON.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T: std::fmt::Debug>(result: Result<T, ApiError>) -> u32 {
        result.map_or_else(|error| error.code, |_| 0)
    }

    #[test]
    fn items_body_of_each_shape_is_accepted_or_refused_by_code() {
        let long = format!(r#"[{{"ip":"1.2.3.4","comment":"{}"}}]"#, "é".repeat(501));
        let fits = long.replacen('é', "", 1);
        for (body, expected) in [
            (r#"[{"ip":"1.2.3.4"}]"#, 0),
            (r#"[{"ip":"1.2.3.4","comment":"x"},{"ip":"2001:db8::/32"}]"#, 0),
            (r#"[{"ip":"10.0.0.0/8"},{"ip":"10.1.2.3"}]"#, 0),
            ("[]", 0),
            (fits.as_str(), 0),
            ("", 10026),
            ("nonsense", 10026),
            (r#"{"items":[{"ip":"1.2.3.4"}]}"#, 10026),
            (r#"["1.2.3.4"]"#, 10026),
            (r#"[{"ip":1}]"#, 10026),
            (r#"[{"ip":"1.2.3.4","comment":null}]"#, 10026),
            (r#"[{"comment":"x"}]"#, 10026),
            (r#"[{"ip":"1.2.3.4","id":"2c0fc9fa937b11eaa1b71c4d701ab86e"}]"#, 10026),
            (r#"[{"ip":"1.2.3.4","hostname":{}}]"#, 10026),
            (r#"[{"ip":"1.2.3.4"},{"asn":64512}]"#, 10056),
            (r#"[{"asn":64512}]"#, 10058),
            (r#"[{"ip":"1.2.3.4"},{"ip":"1.2.3.4/32"}]"#, 10028),
            (r#"[{"ip":"1.2.3.4"},{"ip":"10.0.0.0/7"}]"#, 10035),
            (long.as_str(), 10035),
        ] {
            let mut judge = Judge::default();
            assert_eq!(code(new_items(body.as_bytes(), &mut judge)), expected, "{body}");
        }
        let error = new_items(br#"[{"ip":"::1"},{"ip":"::/4"}]"#, &mut Judge::default());
        let expected = "invalid value for ip at position 1: filters.api.IPv6 CIDRs should have";
        assert!(error.unwrap_err().message.starts_with(expected));
    }

    #[test]
    fn deletion_body_of_each_shape_is_accepted_or_refused() {
        let id = r#"{"id":"2c0fc9fa937b11eaa1b71c4d701ab86e"}"#;
        for (body, expected) in [
            (format!(r#"{{"items":[{id},{id}]}}"#), 0),
            (format!("[{id}]"), 10026),
            (r#"{"items":[]}"#.to_owned(), 10026),
            (r#"{"items":[{"id":"short"}]}"#.to_owned(), 10026),
            (r#"{"items":[{"ip":"1.2.3.4"}]}"#.to_owned(), 10026),
            (id.replace('}', r#","ip":"1.2.3.4"}"#), 10026),
            (String::new(), 10026),
        ] {
            let mut judge = Judge::default();
            assert_eq!(code(item_ids(body.as_bytes(), &mut judge)), expected, "{body}");
        }
    }

    #[test]
    fn list_body_of_each_shape_is_accepted_or_refused() {
        for (body, expected) in [
            (r#"{"name":"ban_1","kind":"ip"}"#, 0),
            (r#"{"name":"ban-1","kind":"ip"}"#, 10026),
            (r#"{"name":"","kind":"ip"}"#, 10026),
            (r#"{"name":"ban","kind":"country"}"#, 10026),
            (r#"{"name":"ban","kind":"ip","num_items":0}"#, 10026),
        ] {
            assert_eq!(code(new_list(body.as_bytes(), &mut Judge::default())), expected, "{body}");
        }
        let renaming = new_description(br#"{"name":"other"}"#, &mut Judge::default());
        assert_eq!(code(renaming), 10026);
    }
}
