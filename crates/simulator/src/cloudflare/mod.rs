//! Cloudflare's API as one account sees it: authentication, routing to a product, the envelope and
//! the headers that every answer has (facts: cloudflare.md 3). What a product does is the product's
//! module; each one owns the paths under its prefix.

pub mod codes;
mod cursor;
mod edge_feed;
pub(crate) mod envelope;
mod interference;
pub mod kv;
pub mod lists;
pub mod rulesets;
mod throttle;
mod tokens;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};

use crate::edge::Edge;
use crate::fault::FaultAction;
use crate::journal::{Counters, Judge};
use crate::options::{CloudflareOptions, Denial, Permission, TokenStatus};
use crate::query::{Query, segments};
use crate::random::{Random, hex_id, parse_hex_id};
use codes::ApiError;
use edge_feed::EdgeFeed;
use envelope::{failure, without_result};
pub(crate) use interference::{Interference, PageTwist, ResultTwist};
use kv::Kv;
use lists::{EdgeChange, ItemView, Lists, Operation};
use rulesets::Rulesets;
use throttle::RequestLimit;

/// One account of Cloudflare.
#[derive(Debug)]
pub struct Cloudflare {
    options: CloudflareOptions,
    start: SystemTime,
    lists: Lists,
    kv: Kv,
    rulesets: Rulesets,
    edge: EdgeFeed,
    rays: Random,
    /// Requests so far.
    requests: u64,
    limit: RequestLimit,
}

/// One request on its way through a product.
#[derive(Debug)]
struct Call<'a> {
    now: Duration,
    /// The how-manieth request it is, from 1.
    number: u64,
    method: &'a Method,
    full_path: &'a str,
    /// The segments after the product's prefix.
    path: &'a [&'a str],
    query: Query,
    content_type: &'a str,
    body: &'a Bytes,
    interference: &'a Interference,
}

impl Cloudflare {
    pub(crate) fn new(options: CloudflareOptions, start: SystemTime, seed: u64) -> Self {
        Self {
            lists: Lists::new(options.clone(), start, seed),
            kv: Kv::new(options.clone(), start, seed),
            rulesets: Rulesets::new(options.clone(), start, seed),
            edge: EdgeFeed::new(seed),
            rays: Random::new(seed, "cloudflare rays"),
            requests: 0,
            limit: RequestLimit::default(),
            options,
            start,
        }
    }

    /// Makes an empty ip list, as the dashboard would, whatever the account's limit; returns its id.
    pub fn create_list(&mut self, name: &str) -> String {
        self.create_list_of_kind(name, "ip")
    }

    /// The same of another kind: `redirect`, `hostname`, `asn`.
    pub fn create_list_of_kind(&mut self, name: &str, kind: &str) -> String {
        self.lists.create(name, kind, None)
    }

    /// Puts items into a list at once, canonical or not: what other tools left there. Values are kept
    /// verbatim, even those that the API would refuse or rewrite. Panics if there is no such list.
    pub fn preload<I>(&mut self, list_id: &str, values: I)
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let items = values.into_iter().map(|value| (value.into(), None));
        self.lists.preload(list_id, items.collect());
    }

    /// [`Cloudflare::preload`] of one item with a comment.
    pub fn preload_commented(&mut self, list_id: &str, value: &str, comment: &str) {
        self.lists.preload(list_id, vec![(value.to_owned(), Some(comment.to_owned()))]);
    }

    /// Puts one value on a list, or takes it off, at once, as another tool would.
    pub fn set_item(&mut self, list_id: &str, value: &str, is_there: bool) {
        self.lists.set_by_others(list_id, value, is_there);
    }

    /// Empties a list at once, as another tool would.
    pub fn empty(&mut self, list_id: &str) {
        self.lists.empty(list_id);
    }

    /// The lists as `(id, name)`, in the order of their creation.
    pub fn lists(&self) -> Vec<(String, String)> {
        self.lists.names()
    }

    /// The items of a list in the API's order; none if there is no such list.
    pub fn items(&self, list_id: &str) -> Vec<ItemView> {
        self.lists.items(list_id)
    }

    /// The values of a list's items.
    pub fn values(&self, list_id: &str) -> BTreeSet<String> {
        self.lists.items(list_id).into_iter().map(|item| item.ip).collect()
    }

    /// Pretends that rules use this list, so that it cannot be deleted (code 10031).
    pub fn set_referencing_filters(&mut self, list_id: &str, count: u32) {
        self.lists.set_referencing_filters(list_id, count);
    }

    /// Every bulk operation that was accepted, oldest first.
    pub fn operations(&self) -> &[Operation] {
        self.lists.operations()
    }

    /// Every change of the lists' content, oldest first, preloading included.
    pub fn edge_history(&self) -> &[EdgeChange] {
        self.lists.history()
    }

    /// The lists that held this value, after each change that touched it: the story of one address.
    pub fn whereabouts(&self, value: &str) -> Vec<(Duration, BTreeSet<String>)> {
        lists::whereabouts(self.lists.history(), value)
    }

    /// Changes a knob while the world runs. The account and its token come from the same options.
    pub fn configure(&mut self, change: impl FnOnce(&mut CloudflareOptions)) {
        // What happened before has the lag of before.
        self.tell_the_edge(false);
        change(&mut self.options);
        self.lists.configure(self.options.clone());
        self.kv.configure(self.options.clone());
        self.rulesets.configure(self.options.clone());
    }

    /// What visitors meet, and met.
    pub fn edge(&mut self) -> &Edge {
        self.tell_the_edge(false);
        self.edge.edge()
    }

    /// Somebody else does something to what the path of a request names, just before it arrives.
    pub(crate) fn meanwhile(&mut self, event: &FaultAction, path: &str) {
        let segments: Vec<&str> = path.split('/').collect();
        let mut set = |value, is_there| match segments.as_slice() {
            ["", "client", "v4", "accounts", _, "rules", "lists", id, ..] => {
                self.lists.set_by_others(id, value, is_there);
            }
            ["", "client", "v4", "accounts", _, "storage", "kv", "namespaces", id, ..] => {
                self.kv.set_by_others(id, value, is_there);
            }
            _ => {}
        };
        match event {
            FaultAction::InsertItem(value) => set(value, true),
            FaultAction::RemoveItem(value) => set(value, false),
            FaultAction::EditRules(edit) => {
                if let ["", "client", "v4", "zones", zone, ..] = segments.as_slice() {
                    self.edit_rules(zone, edit);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn settle(&mut self, now: Duration) {
        self.lists.settle(now);
        self.kv.settle(now);
        self.rulesets.settle(now);
        self.tell_the_edge(false);
    }

    fn tell_the_edge(&mut self, by_request: bool) {
        self.edge.tell(&self.lists, &self.rulesets, &self.options, by_request);
    }

    /// The rules are others than a moment ago.
    fn rules_changed(&mut self, by_request: bool) {
        self.count_references();
        self.tell_the_edge(by_request);
    }

    pub(crate) fn release_stuck_operations(&mut self) {
        self.lists.release_stuck();
    }

    pub(crate) fn with_write_counts(&self, counters: Counters) -> Counters {
        self.lists.with_write_counts(counters)
    }

    pub(crate) fn reset_write_counts(&mut self) {
        self.lists.reset_write_counts();
        self.kv.reset_counters();
    }

    pub(crate) fn handle(
        &mut self,
        now: Duration,
        request: &Request<Bytes>,
        interference: &Interference,
        judge: &mut Judge,
    ) -> Response<Bytes> {
        self.settle(now);
        self.requests += 1;
        judge_content_type(request, judge);
        let answer = match self.limit.admit(now, &self.options) {
            Ok(()) => self.route(now, request, interference, judge),
            Err(refusal) => Err(refusal.into()),
        };
        let mut response = answer.unwrap_or_else(|errors| failure(&errors));
        if let Some(twist) = interference.result {
            response = without_result(response, twist == ResultTwist::Null);
        }
        if response.status() == StatusCode::TOO_MANY_REQUESTS
            && let Ok(value) = HeaderValue::from_str(&self.options.retry_after)
            && !value.is_empty()
        {
            // What the limiter says, and does not honour itself (facts 1.8).
            response.headers_mut().insert(RETRY_AFTER, value);
        }
        let mut ray = hex_id(self.rays.next_u128());
        ray.truncate(16);
        let headers = response.headers_mut();
        // Also beside a 429 for lists: the headers do not reveal that limiter (facts 1.8).
        let left = format!("\"default\";r={};t=300", self.limit.left(now, &self.options));
        let date = httpdate::fmt_http_date(self.start + now);
        for (name, value) in [
            (DATE, date),
            (HeaderName::from_static("ratelimit"), left),
            (HeaderName::from_static("cf-ray"), ray),
        ] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        let policy = HeaderValue::from_static("\"default\";q=1200;w=300");
        headers.insert(HeaderName::from_static("ratelimit-policy"), policy);
        response
    }

    fn route(
        &mut self,
        now: Duration,
        request: &Request<Bytes>,
        interference: &Interference,
        judge: &mut Judge,
    ) -> Result<Response<Bytes>, Vec<ApiError>> {
        let path = request.uri().path();
        if let Some(answer) = tokens::verify(&self.options, self.start, request) {
            return answer;
        }
        let is_fresh = self.check_token(request, judge)?;
        let segments = segments(path);
        let number = self.requests;
        let call = |path| Call {
            now,
            number,
            method: request.method(),
            full_path: request.uri().path(),
            path,
            query: Query::parse(request.uri().query()),
            content_type: content_type(request),
            body: request.body(),
            interference,
        };
        let is_get = request.method() == Method::GET;
        let (account_id, product) = match segments.as_slice() {
            ["", "client", "v4", "accounts", account_id, product @ ..] => (account_id, product),
            ["", "client", "v4", "zones", path @ ..] => {
                let permission = match path {
                    [] => self.options.zone_permission,
                    _ => self.options.waf_permission,
                };
                self.check_permission(permission, is_get, is_fresh)?;
                let lists = self.lists.names_of_ip_lists();
                let answer = self.rulesets.handle(&call(path), &lists, judge);
                self.rules_changed(true);
                return answer;
            }
            _ => return Err(codes::no_route(path)),
        };
        if parse_hex_id(account_id).is_none() {
            return Err(codes::no_route(path));
        }
        let (permission, is_read) = match product {
            ["storage", "kv", ..] => {
                (self.options.kv_permission, is_get || product.ends_with(&["bulk", "get"]))
            }
            _ => (self.options.permission, is_get),
        };
        // A foreign account and a missing permission look the same (facts 3).
        if *account_id != self.options.account_id {
            return Err(vec![codes::FORBIDDEN.into()]);
        }
        self.check_permission(permission, is_read, is_fresh)?;
        // The next products go here.
        match product {
            ["rules", "lists", path @ ..] => self.lists.handle(&call(path), judge),
            ["storage", "kv", "namespaces", path @ ..] => self.kv.handle(&call(path), judge),
            _ => Err(codes::no_route(path)),
        }
    }

    /// A list knows how many rules use it, from the rules themselves.
    fn count_references(&mut self) {
        self.lists.set_references(self.rulesets.references());
    }

    fn check_permission(
        &self,
        permission: Permission,
        is_read: bool,
        is_fresh: bool,
    ) -> Result<(), ApiError> {
        match self.options.denied {
            _ if is_fresh || permission.permits(is_read) => Ok(()),
            Denial::Forbidden => Err(codes::FORBIDDEN.into()),
            Denial::Unauthorized => Err(codes::AUTHENTICATION.into()),
            Denial::Uncoded => Err(codes::NOT_AUTHORIZED.into()),
        }
    }

    /// The table of facts 3, observed for `rules/lists` and for `/zones`. Says whether it is the token
    /// that may do everything.
    fn check_token(&self, request: &Request<Bytes>, judge: &mut Judge) -> Result<bool, ApiError> {
        let Some(header) = request.headers().get(AUTHORIZATION) else {
            judge.note("Authorization is missing");
            return Err(codes::MALFORMED_TOKEN.into());
        };
        let token = header.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
        let of_zones = request.uri().path().starts_with("/client/v4/zones");
        match token {
            Some(token) if token == self.options.fresh_token && !token.is_empty() => Ok(true),
            Some(token) if token == self.options.api_token && !token.is_empty() => {
                match self.options.token_status {
                    TokenStatus::Active => Ok(false),
                    TokenStatus::Disabled | TokenStatus::Expired => {
                        Err(codes::AUTHENTICATION.into())
                    }
                }
            }
            Some(token) if looks_like_a_token(token) => Err(match of_zones {
                true => rulesets::codes::INVALID_TOKEN.into(),
                false => codes::AUTHENTICATION.into(),
            }),
            _ if of_zones => Err(rulesets::codes::INVALID_HEADERS.into()),
            _ => Err(codes::MALFORMED_TOKEN.into()),
        }
    }
}

/// API tokens have 40 characters; newer ones have a prefix and are longer.
fn looks_like_a_token(token: &str) -> bool {
    (40..=80).contains(&token.len())
        && token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn content_type(request: &Request<Bytes>) -> &str {
    let header = request.headers().get(CONTENT_TYPE);
    header.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn judge_content_type(request: &Request<Bytes>, judge: &mut Judge) {
    let is_json = content_type(request).starts_with("application/json");
    // The value of a single KV key is bytes of any type.
    let is_value = request.uri().path().contains("/values/");
    if !request.body().is_empty() && !is_json && !is_value {
        judge.note("a body without Content-Type: application/json");
    }
    if request.method() == Method::GET && !request.body().is_empty() {
        judge.note("a GET with a body");
    }
}

/// The method is not one of the path's (facts 3: 10000 with 405).
fn method_not_allowed(method: &Method) -> ApiError {
    ApiError {
        status: StatusCode::METHOD_NOT_ALLOWED,
        code: codes::AUTHENTICATION.code,
        message: format!("{method} method not allowed for the api_token authentication scheme"),
    }
}
