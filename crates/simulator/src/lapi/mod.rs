//! CrowdSec's Local API as a bouncer sees it: `GET /v1/decisions`, the routes around it, and the
//! quirks that a client must live with (facts: crowdsec.md 1.1 to 1.3). It owns the rows and the
//! answers; rows are kept and returned verbatim, whatever nonsense they hold, because LAPI does so.

mod decision;
mod filter;
mod lazy;
mod usage_metrics;
mod version;

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderValue, LOCATION, TRANSFER_ENCODING, USER_AGENT, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use serde_json::Value;

pub use decision::Decision;
pub use lazy::LazyRows;
pub use version::LapiVersion;

use crate::journal::Judge;
use crate::options::LapiOptions;
use crate::query::Query;
use crate::random::Random;
use crate::reply::{answer, bare};
use filter::Filter;

const JSON: &str = "application/json; charset=utf-8";

/// Go's HTTP server sends a longer body in chunks, without a length (facts 1.3).
const CHUNKED_FROM_BYTES: usize = 2_048;

/// Below this many rows a body is rendered anew each time, so that tests see exact durations.
const CACHED_FROM_ROWS: usize = 1_000;

/// The Local API.
#[derive(Debug)]
pub struct Lapi {
    options: LapiOptions,
    now: Duration,
    rows: Vec<Decision>,
    raw_rows: Vec<String>,
    next_id: u64,
    body_override: Option<Bytes>,
    usage_metrics: Vec<Value>,
    cache: Option<CachedBody>,
    random: Random,
}

/// The rendered answer to the unfiltered request, good while no row changed or expired.
#[derive(Debug)]
struct CachedBody {
    good_until: Duration,
    body: Bytes,
}

impl Lapi {
    pub(crate) fn new(options: LapiOptions, seed: u64) -> Self {
        Self {
            options,
            now: Duration::ZERO,
            rows: Vec::new(),
            raw_rows: Vec::new(),
            next_id: 1,
            body_override: None,
            usage_metrics: Vec::new(),
            cache: None,
            random: Random::new(seed, "lapi"),
        }
    }

    /// Adds one decision, with the next id unless it has one. Nothing is merged with what is there.
    pub fn add(&mut self, decision: Decision) {
        self.add_all([decision]);
    }

    /// Adds decisions in this order.
    pub fn add_all(&mut self, decisions: impl IntoIterator<Item = Decision>) {
        self.cache = None;
        for mut decision in decisions {
            if decision.id == 0 {
                decision.id = self.next_id;
            }
            self.next_id = self.next_id.max(decision.id) + 1;
            self.rows.push(decision);
        }
    }

    /// Adds a row that is given out as this JSON text, whatever it is: for rows without a value, with
    /// numbers for text, and so on.
    pub fn add_raw_row(&mut self, json: impl Into<String>) {
        self.cache = None;
        self.raw_rows.push(json.into());
    }

    /// Removes every decision with exactly this value; says how many there were.
    pub fn remove_value(&mut self, value: &str) -> usize {
        self.remove_where(|decision| decision.value == value)
    }

    /// Removes the decisions that the condition holds for; says how many there were.
    pub fn remove_where(&mut self, mut condition: impl FnMut(&Decision) -> bool) -> usize {
        self.cache = None;
        let before = self.rows.len();
        self.rows.retain(|decision| !condition(decision));
        before - self.rows.len()
    }

    /// Removes everything, as a database without a volume does at a restart (facts 1.6).
    pub fn clear(&mut self) {
        self.cache = None;
        self.rows.clear();
        self.raw_rows.clear();
    }

    /// Has these decisions instead of all others.
    pub fn replace(&mut self, decisions: impl IntoIterator<Item = Decision>) {
        self.clear();
        self.add_all(decisions);
    }

    /// Every decision that was added and not removed, expired ones included.
    pub fn decisions(&self) -> &[Decision] {
        &self.rows
    }

    /// Answers `GET /v1/decisions` with 200 and this body, whatever the rows say; `None` ends it.
    pub fn override_body(&mut self, body: Option<Bytes>) {
        self.body_override = body;
    }

    /// Has this key from now on, as after a `cscli bouncers delete` and `add`.
    pub fn set_key(&mut self, key: impl Into<String>) {
        self.options.key = key.into();
    }

    /// Behaves as this release from now on.
    pub fn set_version(&mut self, version: LapiVersion) {
        self.cache = None;
        self.options.version = version;
    }

    /// Has so many made-up bans more from now on: [`LapiOptions::lazy_rows`].
    pub fn set_lazy_rows(&mut self, count: u64) {
        self.cache = None;
        self.options.lazy_rows = count;
    }

    /// The accepted bodies of `POST /v1/usage-metrics`.
    pub fn usage_metrics(&self) -> &[Value] {
        &self.usage_metrics
    }

    pub(crate) fn tick(&mut self, now: Duration) {
        self.now = now;
    }

    pub(crate) fn handle(
        &mut self,
        now: Duration,
        request: &Request<Bytes>,
        judge: &mut Judge,
    ) -> Response<Bytes> {
        self.now = now;
        judge_user_agent(request, judge);
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/health") => answer(StatusCode::OK, JSON, r#"{"status":"up"}"#),
            (&Method::GET, "/v1/decisions") => self.if_allowed(request, |lapi| {
                lapi.get_decisions(&Query::parse(request.uri().query()), judge)
            }),
            (&Method::HEAD, "/v1/decisions") => self
                .if_allowed(request, |_| answer(StatusCode::OK, "text/plain; charset=utf-8", "")),
            // The route exists, but only for machines with a JWT.
            (&Method::DELETE, "/v1/decisions") => {
                let body = r#"{"code":401,"message":"cookie token is empty"}"#;
                let mut response = answer(StatusCode::UNAUTHORIZED, JSON, body);
                response.headers_mut().insert(
                    WWW_AUTHENTICATE,
                    HeaderValue::from_static("JWT realm=Crowdsec API local"),
                );
                response
            }
            (_, "/v1/decisions") => bare(StatusCode::METHOD_NOT_ALLOWED),
            (&Method::GET, "/v1/decisions/") => {
                let body = "<a href=\"/v1/decisions\">Moved Permanently</a>.\n\n";
                let mut response =
                    answer(StatusCode::MOVED_PERMANENTLY, "text/html; charset=utf-8", body);
                response.headers_mut().insert(LOCATION, HeaderValue::from_static("/v1/decisions"));
                response
            }
            (&Method::POST, "/v1/usage-metrics")
                if self.options.version >= LapiVersion::USAGE_METRICS =>
            {
                self.if_allowed(request, |lapi| lapi.post_usage_metrics(request.body()))
            }
            // The router's answer, before any key is looked at, as for /v1/decisions.
            (_, "/v1/usage-metrics") if self.options.version >= LapiVersion::USAGE_METRICS => {
                bare(StatusCode::METHOD_NOT_ALLOWED)
            }
            _ => bare(StatusCode::NOT_FOUND),
        }
    }

    fn if_allowed(
        &mut self,
        request: &Request<Bytes>,
        route: impl FnOnce(&mut Self) -> Response<Bytes>,
    ) -> Response<Bytes> {
        let key = request.headers().get("x-api-key");
        let allowed =
            key.is_some_and(|key| !key.is_empty() && key.as_bytes() == self.options.key.as_bytes());
        match allowed {
            true => route(self),
            false => answer(StatusCode::FORBIDDEN, JSON, r#"{"message":"access forbidden"}"#),
        }
    }

    fn get_decisions(&mut self, query: &Query, judge: &mut Judge) -> Response<Bytes> {
        let filter = match Filter::parse(query, self.options.version) {
            Ok(filter) => filter,
            Err(message) => {
                let body = serde_json::json!({ "message": message }).to_string();
                return answer(StatusCode::INTERNAL_SERVER_ERROR, JSON, body);
            }
        };
        for name in &filter.ignored {
            judge.note(format_args!("LAPI ignores the parameter {name:?} and returns everything"));
        }
        let body = match &self.body_override {
            Some(body) => body.clone(),
            None if filter.is_empty() => self.whole_body(),
            None => self.render(&filter).0,
        };
        if self.options.lazy_rows > 0 && filter.is_empty() && self.body_override.is_none() {
            return with_lazy_rows(body, self.options.lazy_rows);
        }
        let chunked = body.len() > CHUNKED_FROM_BYTES;
        let mut response = answer(StatusCode::OK, JSON, body);
        if chunked {
            response.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        response
    }

    fn whole_body(&mut self) -> Bytes {
        if let Some(cached) = self.cache.as_ref().filter(|cached| self.now < cached.good_until) {
            return cached.body.clone();
        }
        let (body, next_expiry) = self.render(&Filter::default());
        if self.rows.len() >= CACHED_FROM_ROWS {
            let good_until = next_expiry.min(self.now + self.options.body_cache);
            self.cache = Some(CachedBody { good_until, body: body.clone() });
        }
        body
    }

    /// The body, and when the first of its rows expires.
    fn render(&mut self, filter: &Filter) -> (Bytes, Duration) {
        let mut next_expiry = Duration::MAX;
        let now = self.now;
        let mut rows: Vec<&Decision> = self
            .rows
            .iter()
            .filter(|row| row.until > now && filter.lets_pass(row))
            .inspect(|row| next_expiry = next_expiry.min(row.until))
            .collect();
        if self.options.shuffle_rows {
            for last in (1..rows.len()).rev() {
                rows.swap(last, self.random.below(last as u64 + 1) as usize);
            }
        }
        let page = filter.page(rows.len());
        let whole_seconds = self.options.version >= LapiVersion::WHOLE_SECONDS;
        let mut body = Vec::with_capacity(2 + page.len() * 160);
        let mut separator = b'[';
        for row in &rows[page] {
            body.push(separator);
            separator = b',';
            row.render(now, whole_seconds, &mut body);
        }
        for raw in self.raw_rows.iter().filter(|_| filter.is_empty()) {
            body.push(separator);
            separator = b',';
            body.extend_from_slice(raw.as_bytes());
        }
        // Go renders its empty (nil) slice as null, in every release (facts 1.2).
        match separator {
            b'[' => body.extend_from_slice(b"null"),
            _ => body.push(b']'),
        }
        (body.into(), next_expiry)
    }

    fn post_usage_metrics(&mut self, body: &Bytes) -> Response<Bytes> {
        match usage_metrics::check(body) {
            Ok(metrics) => {
                self.usage_metrics.push(metrics);
                bare(StatusCode::CREATED)
            }
            Err((status, message)) => {
                let body = serde_json::json!({ "message": message }).to_string();
                answer(status, JSON, body)
            }
        }
    }
}

/// The body without its end, and the rest of it in the answer's extensions: the world takes it there.
fn with_lazy_rows(body: Bytes, count: u64) -> Response<Bytes> {
    // The end is a bracket; a body without rows is `null`.
    let is_beginning = body == "null";
    let body = if is_beginning { Bytes::new() } else { body.slice(..body.len() - 1) };
    let mut response = answer(StatusCode::OK, JSON, body);
    response.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    response.extensions_mut().insert(LazyRows::new(count, is_beginning));
    response
}

/// Anything but `type/version` makes LAPI log a line at every request (facts 1.3).
fn judge_user_agent(request: &Request<Bytes>, judge: &mut Judge) {
    let agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
    let parts: Vec<&str> = agent.unwrap_or_default().split('/').collect();
    if parts.len() != 2 || parts.iter().any(|part| part.is_empty()) {
        judge.note(format_args!(
            "User-Agent {:?} is not type/version with exactly one slash",
            agent.unwrap_or_default()
        ));
    }
}

#[cfg(test)]
mod tests;
