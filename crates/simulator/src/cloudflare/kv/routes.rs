//! The routes under `/accounts/{account_id}/storage/kv/namespaces` (facts 2.1) and the pages of keys
//! (2.2). The order of the checks is ours: namespace, body, write interval, quota; the real one is
//! unknown.

use bytes::Bytes;
use http::header::HeaderName;
use http::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::body::{NewPair, ValueForm};
use super::quota::Usage;
use super::store::Entry;
use super::{Kv, Namespace, body, codes};
use crate::cloudflare::codes::{ApiError, no_route};
use crate::cloudflare::cursor::Cursor;
use crate::cloudflare::envelope::{page, success};
use crate::cloudflare::{Call, PageTwist, method_not_allowed};
use crate::journal::Judge;
use crate::options::{BulkReply, PageCursors, PageEnd};
use crate::query::decode_segment;
use crate::random::parse_hex_id;
use crate::reply::answer;

const KEYS_PER_PAGE_MIN: usize = 10;
/// Also what a page has that is not asked for a number.
const KEYS_PER_PAGE_MAX: usize = 1_000;
const NAMESPACES_PER_PAGE_DEFAULT: usize = 20;
const NAMESPACES_PER_PAGE_MAX: usize = 1_000;

const EXPIRATION: HeaderName = HeaderName::from_static("expiration");

type Answer = Result<Response<Bytes>, Vec<ApiError>>;

impl Kv {
    pub(in crate::cloudflare) fn handle(&mut self, call: &Call<'_>, judge: &mut Judge) -> Answer {
        match (call.method, call.path) {
            (&Method::GET, []) => self.get_namespaces(call, judge),
            (&Method::POST, []) => self.post_namespace(call, judge),
            (_, []) => Err(method_not_allowed(call.method).into()),
            (_, [id, path @ ..]) => {
                if parse_hex_id(id).is_none() {
                    judge.note("a namespace id that is not one");
                    return Err(codes::MALFORMED_NAMESPACE_ID.into());
                }
                let Some(index) = self.namespaces.iter().position(|known| known.id == *id) else {
                    if call.method != Method::GET {
                        judge.note("a write to a namespace that does not exist");
                    }
                    return Err(codes::NAMESPACE_NOT_FOUND.into());
                };
                self.handle_one(index, path, call, judge)
            }
        }
    }

    fn handle_one(
        &mut self,
        index: usize,
        path: &[&str],
        call: &Call<'_>,
        judge: &mut Judge,
    ) -> Answer {
        match (call.method, path) {
            (&Method::GET, []) => Ok(success(StatusCode::OK, describe(&self.namespaces[index]))),
            (&Method::PUT, []) => self.put_namespace(index, call, judge),
            (&Method::DELETE, []) => {
                self.namespaces.remove(index);
                Ok(success(StatusCode::OK, Value::Null))
            }
            (&Method::GET, ["keys"]) => self.get_keys(index, call, judge),
            (&Method::PUT, ["bulk"]) => {
                let answer = self.put_bulk(index, call, judge);
                self.counted(answer, |counters| &mut counters.bulk_writes)
            }
            (&Method::POST, ["bulk", "delete"]) => {
                let answer = self.delete_bulk(index, call, judge);
                self.counted(answer, |counters| &mut counters.bulk_deletes)
            }
            (&Method::DELETE, ["bulk"]) => {
                judge.note("DELETE bulk is deprecated: POST bulk/delete");
                let answer = self.delete_bulk(index, call, judge);
                self.counted(answer, |counters| &mut counters.bulk_deletes)
            }
            (&Method::POST, ["bulk", "get"]) => self.get_bulk(index, call, judge),
            (&Method::GET, ["metadata", name]) => {
                let metadata = self.read(index, name, judge)?.metadata.clone();
                Ok(success(StatusCode::OK, metadata))
            }
            (&Method::GET, ["values", name]) => self.get_value(index, name, judge),
            (&Method::PUT, ["values", name]) => {
                let answer = self.put_value(index, name, call, judge);
                self.refusal_counted(answer)
            }
            (&Method::DELETE, ["values", name]) => {
                let answer = self.delete_value(index, name, judge);
                self.refusal_counted(answer)
            }
            (
                _,
                [] | ["keys" | "bulk"] | ["bulk", "delete" | "get"] | ["metadata" | "values", _],
            ) => Err(method_not_allowed(call.method).into()),
            _ => Err(no_route(call.full_path)),
        }
    }

    fn get_namespaces(&self, call: &Call<'_>, judge: &mut Judge) -> Answer {
        judge_parameters(call, &["page", "per_page", "order", "direction"], judge);
        let number = |name, default| match call.query.first(name) {
            None => Some(default),
            Some(text) => text.parse::<usize>().ok().filter(|number| *number > 0),
        };
        let per_page = number("per_page", NAMESPACES_PER_PAGE_DEFAULT)
            .filter(|per_page| *per_page <= NAMESPACES_PER_PAGE_MAX);
        let (Some(per_page), Some(number)) = (per_page, number("page", 1)) else {
            judge.note("page or per_page is out of bounds");
            return Err(codes::INVALID_LIMIT.into());
        };
        // The default order is unknown; a client that needs one must ask.
        let mut namespaces: Vec<&Namespace> = self.namespaces.iter().collect();
        match call.query.first("order") {
            Some("id") => namespaces.sort_by(|a, b| a.id.cmp(&b.id)),
            Some("title") => namespaces.sort_by(|a, b| a.title.cmp(&b.title)),
            _ => {}
        }
        if call.query.first("direction") == Some("desc") {
            namespaces.reverse();
        }
        let skipped = (number - 1).saturating_mul(per_page);
        let shown: Vec<Value> =
            namespaces.iter().skip(skipped).take(per_page).map(|one| describe(one)).collect();
        let result_info = json!({
            "count": shown.len(),
            "page": number,
            "per_page": per_page,
            "total_count": namespaces.len(),
        });
        Ok(page(StatusCode::OK, shown, Some(result_info)))
    }

    fn post_namespace(&mut self, call: &Call<'_>, judge: &mut Judge) -> Answer {
        let new = body::new_namespace(call.body, judge)?;
        if self.namespaces.iter().any(|known| known.title == new.title) {
            return Err(codes::TITLE_TAKEN.into());
        }
        if self.namespaces.len() >= self.options.kv_namespaces_max {
            return Err(codes::TOO_MANY_NAMESPACES.into());
        }
        let id = self.create(&new.title, new.jurisdiction, new.mode);
        Ok(success(StatusCode::OK, self.find(&id).map(describe)))
    }

    fn put_namespace(&mut self, index: usize, call: &Call<'_>, judge: &mut Judge) -> Answer {
        let title = body::new_title(call.body, judge)?;
        let others = || self.namespaces.iter().enumerate().filter(|(other, _)| *other != index);
        if others().any(|(_, other)| other.title == title) {
            return Err(codes::TITLE_TAKEN.into());
        }
        self.namespaces[index].title = title;
        Ok(success(StatusCode::OK, describe(&self.namespaces[index])))
    }

    fn get_keys(&mut self, index: usize, call: &Call<'_>, judge: &mut Judge) -> Answer {
        judge_parameters(call, &["limit", "prefix", "cursor"], judge);
        let limit = keys_per_page(call, judge)?;
        let prefix = call.query.first("prefix").unwrap_or_default();
        // A cursor is good for the listing that it came from, prefix included (facts 2.2).
        let scope = format!("{}/{prefix}", self.namespaces[index].id);
        // An empty cursor is none: it is what the last page may have said.
        let sent = call.query.first("cursor").filter(|text| !text.is_empty());
        let from = match sent {
            None => None,
            Some(text) => {
                let cursor = Cursor::decode(text, &scope).ok_or_else(|| {
                    judge.note("a cursor that was not given out like this");
                    codes::INVALID_CURSOR
                })?;
                let lifetime = self.options.cursor_lifetime;
                if !lifetime.is_zero() && call.now >= cursor.issued + lifetime {
                    return Err(codes::INVALID_CURSOR.into());
                }
                cursor.after
            }
        };
        self.spend(Usage::List, 1)?;
        self.counters.list_calls += 1;

        let store = &self.namespaces[index].store;
        let by_offset = self.options.page_cursors == PageCursors::Offset;
        // What the cursor says: the key before the page, or how many keys come before it.
        let offset: usize =
            from.as_ref().filter(|_| by_offset).and_then(|text| text.parse().ok()).unwrap_or(0);
        let last_key = match by_offset {
            true => store.last_of_first(offset, prefix),
            false => from.as_deref(),
        };
        let (mut keys, has_more) = store.page_after(last_key, limit, prefix);
        let cursor_to = |after, salt| Cursor { after, issued: call.now, salt }.encode(&scope);
        let after_this_page = || {
            keys.last().map(|last| match by_offset {
                true => (offset + keys.len()).to_string(),
                false => last.name.to_owned(),
            })
        };
        let next = match call.interference.page {
            // The text must stay the same over the requests: that is the bug.
            Some(PageTwist::RepeatCursor) => {
                Some(sent.map_or_else(|| cursor_to(from.clone(), 0), str::to_owned))
            }
            Some(PageTwist::RepeatPage) => Some(cursor_to(from.clone(), call.number)),
            Some(PageTwist::EmptyWithCursor) => Some(cursor_to(from.clone(), 0)),
            Some(PageTwist::RepeatItem) | None => has_more.then(|| cursor_to(after_this_page(), 0)),
        };
        match call.interference.page {
            Some(PageTwist::EmptyWithCursor) => keys.clear(),
            Some(PageTwist::RepeatItem) => keys.extend(keys.first().cloned()),
            _ => {}
        }
        let count = keys.len();
        let result_info = match (next, self.options.kv_page_end) {
            (Some(next), _) => Some(json!({ "count": count, "cursor": next })),
            (None, PageEnd::Absent) => Some(json!({ "count": count })),
            (None, PageEnd::Empty) => Some(json!({ "count": count, "cursor": "" })),
            (None, PageEnd::Null) => Some(json!({ "count": count, "cursor": null })),
            (None, PageEnd::NoResultInfo) => None,
        };
        Ok(page(StatusCode::OK, keys, result_info))
    }

    fn put_bulk(&mut self, index: usize, call: &Call<'_>, judge: &mut Judge) -> Answer {
        let pairs = body::new_pairs(call.body, self.wall(), judge)?;
        let count = pairs.len();
        let failed = self.write(index, pairs, call.interference.unsuccessful_keys, judge)?;
        Ok(self.bulk_reply(count, failed))
    }

    fn delete_bulk(&mut self, index: usize, call: &Call<'_>, judge: &mut Judge) -> Answer {
        let names = body::key_names(call.body, judge)?;
        let count = names.len();
        let failed = self.delete(index, names, call.interference.unsuccessful_keys, judge)?;
        Ok(self.bulk_reply(count, failed))
    }

    fn bulk_reply(&self, count: usize, failed: Vec<String>) -> Response<Bytes> {
        let result = match self.options.kv_bulk_reply {
            BulkReply::Full => json!({
                "successful_key_count": count - failed.len(),
                "unsuccessful_keys": failed,
            }),
            BulkReply::Null => Value::Null,
            BulkReply::Empty => json!({}),
        };
        success(StatusCode::OK, result)
    }

    fn get_bulk(&mut self, index: usize, call: &Call<'_>, judge: &mut Judge) -> Answer {
        let wanted = body::keys_to_get(call.body, judge)?;
        self.spend(Usage::Read, wanted.keys.len())?;
        self.counters.keys_read += wanted.keys.len() as u64;
        let mut values = Map::new();
        for key in wanted.keys {
            let Some(entry) = self.value(index, &key) else {
                values.insert(key, Value::Null);
                continue;
            };
            let value = match wanted.form {
                ValueForm::Text => String::from_utf8_lossy(&entry.value).into(),
                // What Cloudflare says about a value that is not JSON is unknown.
                ValueForm::Json => serde_json::from_slice(&entry.value).map_err(|_| {
                    judge.note(format_args!("the value of {key} was asked for as JSON"));
                    ApiError::from(codes::INVALID_BODY)
                })?,
            };
            let value = match wanted.with_metadata {
                false => value,
                true => {
                    let mut full = json!({ "value": value, "metadata": entry.metadata });
                    if let Some(expiration) = entry.expiration {
                        full["expiration"] = expiration.into();
                    }
                    full
                }
            };
            values.insert(key, value);
        }
        Ok(success(StatusCode::OK, json!({ "values": values })))
    }

    /// The value's bytes, not an envelope (facts 2.4).
    fn get_value(&mut self, index: usize, name: &str, judge: &mut Judge) -> Answer {
        let entry = self.read(index, name, judge)?;
        let mut response = answer(StatusCode::OK, "application/octet-stream", entry.value.clone());
        if let Some(expiration) = entry.expiration {
            response.headers_mut().insert(EXPIRATION, expiration.into());
        }
        Ok(response)
    }

    fn put_value(
        &mut self,
        index: usize,
        name: &str,
        call: &Call<'_>,
        judge: &mut Judge,
    ) -> Answer {
        if call.content_type.starts_with("multipart/") {
            return Err(codes::NOT_SIMULATED.with("simulator: a multipart value").into());
        }
        judge_parameters(call, &["expiration", "expiration_ttl"], judge);
        let key = decode_segment(name);
        body::check_name(&key, judge)?;
        let seconds = |name, judge: &mut Judge| match call.query.first(name).map(str::parse) {
            None => Ok(None),
            Some(Ok(seconds)) => Ok(Some(seconds)),
            Some(Err(_)) => {
                judge.note(format_args!("{name} is not a number"));
                Err(codes::INVALID_EXPIRATION)
            }
        };
        let (time, ttl) = (seconds("expiration", judge)?, seconds("expiration_ttl", judge)?);
        let expiration = body::expiration(time, ttl, self.wall(), judge)?;
        let entry = body::new_entry(call.body.clone(), expiration, None, judge)?;
        self.write(index, vec![NewPair { key, entry }], 0, judge)?;
        Ok(success(StatusCode::OK, Value::Null))
    }

    fn delete_value(&mut self, index: usize, name: &str, judge: &mut Judge) -> Answer {
        let key = decode_segment(name);
        body::check_name(&key, judge)?;
        self.delete(index, vec![key], 0, judge)?;
        Ok(success(StatusCode::OK, Value::Null))
    }

    /// Reads of absent keys are billed too (facts 2.6).
    fn read(&mut self, index: usize, name: &str, judge: &mut Judge) -> Result<&Entry, ApiError> {
        let key = decode_segment(name);
        body::check_name(&key, judge)?;
        self.spend(Usage::Read, 1)?;
        self.counters.keys_read += 1;
        self.value(index, &key).ok_or_else(|| codes::KEY_NOT_FOUND.into())
    }

    /// What a read of a value finds.
    fn value(&self, index: usize, key: &str) -> Option<&Entry> {
        let store = &self.namespaces[index].store;
        if self.options.kv_stale_values { store.get_listed(key) } else { store.get(key) }
    }

    fn counted(
        &mut self,
        answer: Answer,
        accepted: impl Fn(&mut super::KvCounters) -> &mut u64,
    ) -> Answer {
        if answer.is_ok() {
            *accepted(&mut self.counters) += 1;
        }
        self.refusal_counted(answer)
    }

    fn refusal_counted(&mut self, answer: Answer) -> Answer {
        self.counters.writes_refused += u64::from(answer.is_err());
        answer
    }
}

/// The namespace itself. Keys in URLs are always decoded: only very old namespaces do otherwise.
fn describe(namespace: &Namespace) -> Value {
    let mut described = json!({
        "id": namespace.id,
        "title": namespace.title,
        "supports_url_encoding": true,
    });
    if let Some(jurisdiction) = namespace.jurisdiction {
        described["jurisdiction"] = json!(jurisdiction);
    }
    if let Some(mode) = namespace.mode {
        described["mode"] = json!(mode);
    }
    described
}

/// What a limit out of bounds meets is unknown: it may be clamped, here it is refused.
fn keys_per_page(call: &Call<'_>, judge: &mut Judge) -> Result<usize, ApiError> {
    let Some(text) = call.query.first("limit") else { return Ok(KEYS_PER_PAGE_MAX) };
    match text.parse() {
        Ok(limit @ KEYS_PER_PAGE_MIN..=KEYS_PER_PAGE_MAX) => Ok(limit),
        _ => {
            judge.note(format_args!(
                "limit={text} is not between {KEYS_PER_PAGE_MIN} and {KEYS_PER_PAGE_MAX}"
            ));
            Err(codes::INVALID_LIMIT.into())
        }
    }
}

fn judge_parameters(call: &Call<'_>, known: &[&str], judge: &mut Judge) {
    for name in call.query.names().filter(|name| !known.contains(name)) {
        judge.note(format_args!("the parameter {name:?} does not exist"));
    }
}
