//! The routes under `/accounts/{account_id}/rules/lists` (facts 1.1) and the pages of items (1.3). The
//! order of the checks is ours: list, limiter, body, pending operation; the real one is unknown.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::address::Address;
use super::body::NewItem;
use super::operation::Change;
use super::store::{ItemView, List, ListView, Position};
use super::{Lists, body, find_mut};
use crate::cloudflare::codes::{self, ApiError};
use crate::cloudflare::cursor::Cursor;
use crate::cloudflare::envelope::{html, page, success};
use crate::cloudflare::{Call, PageTwist, method_not_allowed};
use crate::journal::Judge;
use crate::options::{LimiterBody, PageCursors, PageEnd, RefusalForm};
use crate::random::parse_hex_id;
use crate::reply::answer;

/// Items of a page that is not asked for a number (seen by cf-terraforming#926).
const PER_PAGE_DEFAULT: usize = 25;
const PER_PAGE_MAX: usize = 500;

type Answer = Result<Response<Bytes>, Vec<ApiError>>;

/// An item with the empty objects that the API was seen to add on ip lists (facts 1.2).
///
/// Every field by name, for serde's `flatten` takes the long way round, and there is nothing of which more is said.
#[derive(Clone, Serialize)]
struct NoisyItem {
    id: String,
    ip: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    created_on: String,
    modified_on: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<Empty>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect: Option<Empty>,
}

#[derive(Clone, Copy, Serialize)]
struct Empty {}

impl Lists {
    pub(in crate::cloudflare) fn handle(&mut self, call: &Call<'_>, judge: &mut Judge) -> Answer {
        match (call.method, call.path) {
            (&Method::GET, []) => {
                let lists: Vec<_> = self.lists.iter().map(|list| self.describe(list)).collect();
                Ok(success(StatusCode::OK, lists))
            }
            (&Method::POST, []) => self.post_list(call, judge),
            (_, []) => Err(method_not_allowed(call.method).into()),
            (&Method::GET, ["bulk_operations", id]) => self.get_operation(id, call, judge),
            (_, ["bulk_operations", _]) => Err(method_not_allowed(call.method).into()),
            (_, [list_id, path @ ..]) if parse_hex_id(list_id).is_some() => {
                self.handle_one(list_id, path, call, judge)
            }
            _ => Err(codes::no_route(call.full_path)),
        }
    }

    fn handle_one(
        &mut self,
        list_id: &str,
        path: &[&str],
        call: &Call<'_>,
        judge: &mut Judge,
    ) -> Answer {
        if self.find(list_id).is_none() {
            if call.method != Method::GET {
                judge.note("a write to a list that does not exist");
            }
            return Err(codes::LIST_NOT_FOUND.into());
        }
        match (call.method, path) {
            (&Method::GET, []) => self.get_list(list_id),
            (&Method::PUT, []) => self.put_list(list_id, call, judge),
            (&Method::DELETE, []) => self.delete_list(list_id),
            (&Method::GET, ["items"]) => self.get_items(list_id, call, judge),
            (&Method::POST | &Method::PUT | &Method::DELETE, ["items"]) => {
                let answer = self.write_items(list_id, call, judge);
                match answer.as_ref().is_ok_and(|answer| answer.status().is_success()) {
                    true => self.writes_accepted += 1,
                    false => self.writes_refused += 1,
                }
                answer
            }
            (&Method::GET, ["items", item_id]) => self.get_item(list_id, item_id, call),
            (_, [] | ["items"] | ["items", _]) => Err(method_not_allowed(call.method).into()),
            _ => Err(codes::no_route(call.full_path)),
        }
    }

    fn get_list(&self, list_id: &str) -> Answer {
        let list = self.find(list_id).ok_or(codes::LIST_NOT_FOUND)?;
        Ok(success(StatusCode::OK, self.describe(list)))
    }

    fn describe<'a>(&self, list: &'a List) -> ListView<'a> {
        list.describe(self.now, self.start, self.references_to(list))
    }

    fn post_list(&mut self, call: &Call<'_>, judge: &mut Judge) -> Answer {
        let new = body::new_list(call.body, judge)?;
        if self.lists.iter().any(|list| list.name == new.name) {
            return Err(codes::NAME_TAKEN.into());
        }
        if self.lists.len() >= self.options.lists_max {
            return Err(codes::TOO_MANY_LISTS.into());
        }
        let id = self.create(&new.name, &new.kind, new.description);
        self.get_list(&id)
    }

    fn put_list(&mut self, list_id: &str, call: &Call<'_>, judge: &mut Judge) -> Answer {
        let description = body::new_description(call.body, judge)?;
        if let Some(list) = find_mut(&mut self.lists, list_id) {
            list.description = description;
            list.touch(call.now);
        }
        self.get_list(list_id)
    }

    fn delete_list(&mut self, list_id: &str) -> Answer {
        if self.find(list_id).is_some_and(|list| self.references_to(list) > 0) {
            return Err(codes::LIST_IN_USE.into());
        }
        self.empty(list_id);
        self.lists.retain(|list| list.id != list_id);
        Ok(success(StatusCode::OK, json!({ "id": list_id })))
    }

    fn get_item(&self, list_id: &str, item_id: &str, call: &Call<'_>) -> Answer {
        let id = parse_hex_id(item_id).ok_or_else(|| codes::no_route(call.full_path))?;
        let item = self.find(list_id).and_then(|list| list.shown(self.now).view_of(id, self.start));
        let item = item.ok_or(codes::ITEM_NOT_FOUND)?;
        Ok(success(StatusCode::OK, self.with_noise(item)))
    }

    fn get_items(&self, list_id: &str, call: &Call<'_>, judge: &mut Judge) -> Answer {
        for name in call.query.names() {
            if !matches!(name, "per_page" | "cursor" | "search") {
                judge.note(format_args!("the parameter {name:?} does not exist"));
            }
        }
        let per_page = self.per_page(call, judge)?.min(self.options.page_items_max.max(1));
        let search = call.query.first("search").unwrap_or_default();
        // An empty cursor is none: it is what the last page may have said.
        let cursor = match call.query.first("cursor").filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => {
                let cursor = Cursor::decode(text, list_id).ok_or_else(|| {
                    judge.note("a cursor that was not given out like this");
                    codes::INVALID_CURSOR
                })?;
                let lifetime = self.options.cursor_lifetime;
                if !lifetime.is_zero() && call.now >= cursor.issued + lifetime {
                    return Err(codes::INVALID_CURSOR.into());
                }
                Some(cursor)
            }
        };
        let content = self.find(list_id).ok_or(codes::LIST_NOT_FOUND)?.shown(self.now);
        let by_offset = self.options.page_cursors == PageCursors::Offset;
        // What a cursor says: the value of the item before the page, or how many items come before it.
        let came_before = cursor.and_then(|cursor| cursor.after);
        let offset = |text: &str| text.parse().unwrap_or_default();
        let from = match &came_before {
            Some(text) if by_offset => content.last_of_first(offset(text), search).cloned(),
            other => other.clone().map(Position::of),
        };
        let (items, has_more) = content.page_after(from.as_ref(), per_page, search, self.start);

        let cursor_to =
            |after: Option<String>, salt| Cursor { after, issued: call.now, salt }.encode(list_id);
        let mut cursors = Map::new();
        if let Some(from) = &from {
            // This page begins after `from`; the one before it ends there.
            let start = match by_offset {
                true => offset(came_before.as_deref().unwrap_or_default())
                    .checked_sub(per_page)
                    .filter(|offset| *offset > 0)
                    .map(|offset| offset.to_string()),
                false => content
                    .start_of_page_ending_with(from, per_page, search)
                    .map(|position| position.text().to_owned()),
            };
            cursors.insert("before".to_owned(), cursor_to(start, 0).into());
        }
        let after_this_page = || {
            items.last().map(|last| match by_offset {
                true => {
                    let before = offset(came_before.as_deref().unwrap_or_default());
                    (before + items.len()).to_string()
                }
                false => last.ip.clone(),
            })
        };
        let next = match call.interference.page {
            // The text must stay the same over the requests: that is the bug.
            Some(PageTwist::RepeatCursor) => {
                let same = call.query.first("cursor").filter(|text| !text.is_empty());
                Some(same.map_or_else(|| cursor_to(came_before.clone(), 0), str::to_owned))
            }
            Some(PageTwist::RepeatPage) => Some(cursor_to(came_before.clone(), call.number)),
            Some(PageTwist::EmptyWithCursor) => Some(cursor_to(came_before.clone(), 0)),
            Some(PageTwist::RepeatItem) | None => has_more.then(|| cursor_to(after_this_page(), 0)),
        };
        let result_info = match (next, self.options.page_end) {
            (Some(next), _) => {
                cursors.insert("after".to_owned(), next.into());
                Some(json!({ "cursors": cursors }))
            }
            (None, PageEnd::Absent) => Some(json!({ "cursors": cursors })),
            (None, PageEnd::Empty) => {
                cursors.insert("after".to_owned(), "".into());
                Some(json!({ "cursors": cursors }))
            }
            (None, PageEnd::Null) => {
                cursors.insert("after".to_owned(), Value::Null);
                Some(json!({ "cursors": cursors }))
            }
            (None, PageEnd::NoResultInfo) => None,
        };
        let mut items: Vec<NoisyItem> =
            items.into_iter().map(|item| self.with_noise(item)).collect();
        match call.interference.page {
            Some(PageTwist::EmptyWithCursor) => items.clear(),
            Some(PageTwist::RepeatItem) => items.extend(items.first().cloned()),
            _ => {}
        }
        Ok(page(StatusCode::OK, items, result_info))
    }

    fn per_page(&self, call: &Call<'_>, judge: &mut Judge) -> Result<usize, ApiError> {
        let Some(text) = call.query.first("per_page") else { return Ok(PER_PAGE_DEFAULT) };
        match text.parse::<usize>() {
            Ok(per_page @ 1..=PER_PAGE_MAX) => Ok(per_page),
            Ok(1..) if self.options.tolerate_large_pages => Ok(PER_PAGE_MAX),
            _ => {
                judge.note(format_args!("per_page={text} is not between 1 and {PER_PAGE_MAX}"));
                Err(codes::INVALID_CURSOR.into())
            }
        }
    }

    fn with_noise(&self, item: ItemView) -> NoisyItem {
        let noise = self.options.item_noise.then_some(Empty {});
        let ItemView { id, ip, comment, created_on, modified_on } = item;
        NoisyItem { id, ip, comment, created_on, modified_on, hostname: noise, redirect: noise }
    }

    fn write_items(&mut self, list_id: &str, call: &Call<'_>, judge: &mut Judge) -> Answer {
        if let Err(refusal) = self.check_write_floor() {
            return refusal_by_limiter(refusal, self.options.limiter_body);
        }
        let change = match *call.method {
            Method::DELETE => Change::Delete(body::item_ids(call.body, judge)?),
            ref method => {
                let items = body::new_items(call.body, judge)?;
                self.check_values(&items)?;
                let holds_ips = self.find(list_id).is_some_and(|list| list.kind == "ip");
                if !holds_ips && !items.is_empty() {
                    return Err(codes::KIND_MISMATCH.into());
                }
                match (method, items.is_empty()) {
                    (&Method::PUT, empty) => {
                        if empty {
                            judge.note("a PUT without items, which empties the list");
                        }
                        Change::Replace(items)
                    }
                    // Whether Cloudflare takes this is unknown; nobody has a reason to send it.
                    (_, true) => {
                        judge.note("a POST without items");
                        return Err(codes::INVALID_JSON.into());
                    }
                    (_, false) => Change::Append(items),
                }
            }
        };
        let fate = call.interference.operation.clone();
        let id = self.accept(list_id, change, fate, judge)?;
        let status = StatusCode::from_u16(self.options.accepted_status).unwrap_or(StatusCode::OK);
        Ok(success(status, json!({ "operation_id": id })))
    }

    /// Values that are good by all that is known, and that Cloudflare refuses all the same.
    fn check_values(&self, items: &[NewItem]) -> Result<(), ApiError> {
        let options = &self.options;
        for (refused, error, about, why) in [
            (
                &options.refused_values,
                codes::INVALID_VALUE,
                "invalid value",
                "filters.api.not an address that can be used",
            ),
            // Only the text behind the colon is known.
            (
                &options.duplicate_values,
                codes::DUPLICATE,
                "duplicate value",
                codes::DUPLICATE.message,
            ),
        ] {
            let refused: Vec<Address> =
                refused.iter().filter_map(|value| Address::parse(value).ok()).collect();
            let Some(position) = items.iter().position(|item| refused.contains(&item.address))
            else {
                continue;
            };
            let value = items[position].address.canonical();
            return Err(match options.refusal_form {
                RefusalForm::Position => {
                    error.with(format!("{about} for ip at position {position}: {why}"))
                }
                RefusalForm::Value => error.with(format!("{about} {value}: {why}")),
                RefusalForm::Bare => error.into(),
            });
        }
        Ok(())
    }

    fn get_operation(&self, id: &str, call: &Call<'_>, judge: &mut Judge) -> Answer {
        let Some((operation, status)) = self.operation_status(id) else {
            if !self.operations.iter().any(|operation| operation.id == id) {
                judge.note("an operation id that was never given out");
            }
            return Err(codes::OPERATION_NOT_FOUND.into());
        };
        let mut result = json!({ "id": operation.id, "status": status });
        if let Some(state) = &call.interference.operation_state {
            return Ok(success(StatusCode::OK, json!({ "id": operation.id, "status": state })));
        }
        if let Some(finished) = operation.finished {
            let completed = humantime::format_rfc3339_seconds(self.start + finished);
            result["completed"] = completed.to_string().into();
        }
        if let Some(error) = &operation.error {
            result["error"] = error.as_str().into();
        }
        Ok(success(StatusCode::OK, result))
    }
}

/// Seen as an envelope and as bare text (facts 1.8); an error page is what any 429 can come with.
pub(in crate::cloudflare) fn refusal_by_limiter(refusal: ApiError, form: LimiterBody) -> Answer {
    match form {
        LimiterBody::Envelope => Err(refusal.into()),
        LimiterBody::PlainText => {
            Ok(answer(refusal.status, "text/plain; charset=utf-8", "Too Many Requests\n"))
        }
        LimiterBody::Html => Ok(html(refusal.status)),
    }
}
