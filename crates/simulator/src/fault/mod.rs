//! The faults that the world can be asked to show, and why the product must survive each.
//!
//! | fault | it happens when | the product must |
//! |---|---|---|
//! | `refuse` | a service restarts, DNS or a firewall fails | leave the edge alone if it is LAPI, fail loudly if it is Cloudflare |
//! | `delay` | a service is overloaded | time out, stay inside its budget; a write's effect is then unknown |
//! | `drop-before-effect` | a proxy dies on the way in | treat a write as unknown, not as failed |
//! | `drop-after-effect` | a proxy dies on the way out | not repeat the write blindly; read again next time |
//! | `cut-body` | the sender dies in mid-answer | never take half a list of decisions, or of items, for the whole |
//! | `answer` | 4xx, 5xx, HTML error pages, plain-text 429, `success:false` in a 200, a `retry-after` beyond any sense | judge by status, envelope and body, not by one of them; bound every wait by its own time |
//! | `answer-after-effect` | the front gives up while what is behind it goes on | take a 5xx for "unknown", read before it writes again |
//! | `silent` | a connection goes black | end by its own timeout |
//! | `null-result`, `no-result` | a store behind the API fails and the API does not notice | take it for a failed read, never for an empty list |
//! | `stuck-operation` | Cloudflare's queue hangs | stop writing, report "partial", go on next time |
//! | `slow-operation` | the queue is long: hours, days | wait, but not for ever; know the effect although it comes late |
//! | `fail-operation` | the list is full, found out only after HTTP 200 | poll to the end and fail loudly |
//! | `vanish-operation` | an operation cannot be read any more | not wait for ever, not take it for success |
//! | `operation-state` | a release of the API knows one state more | take it for "not known", not for the end |
//! | `repeat-cursor` | a paging bug on the far side | bound its reading, with an error |
//! | `repeat-page` | the same, with cursors that look new | notice that a page holds nothing new |
//! | `repeat-item` | two shards answer for one page | know an item by its id, remove no live one |
//! | `empty-page-with-cursor` | a page of tombstones | loop on the cursor, not on the page size |
//! | `insert-item`, `remove-item` | another tool writes while pages are read (see `cloudflare.page_cursors`) | survive a page that begins an item early or late; never touch what is not its own |
//! | `edit-rules` | a person, Terraform or another program changes rules between our GET and our PATCH: adds, switches off, moves, deletes, doubles, makes all anew | find the rule again by its `ref`; notice that others wrote; never repair what is theirs |
//! | `unsuccessful-keys` | KV stores a part of a bulk request and says success | read the names in the answer, try those again |
//!
//! A fault has a text form, which its `Display` prints and `FromStr` reads:
//! `cloudflare PUT /items skip=1 times=2: drop-after-effect`. This file owns the faults and which
//! request they hit; what a stuck operation or a repeated cursor means is Cloudflare's module. What
//! lasts, rather than happens, is a switch: [`CloudflareOptions`](crate::CloudflareOptions).

mod action;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};

pub use action::FaultAction;

use crate::reply::Service;

/// One fault and the requests that it hits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Requests to this service …
    pub matching: Service,
    /// … with this method, if any …
    pub method: Option<Method>,
    /// … whose path and query contain this text, if any.
    pub path: Option<String>,
    /// The first matching requests that pass unharmed.
    pub skip: u32,
    /// How many of the following are hit; `None` = all of them.
    pub times: Option<u32>,
    /// What happens to them.
    pub action: FaultAction,
}

impl Fault {
    /// Hits every request to the service, for ever.
    pub fn every(service: Service, action: FaultAction) -> Self {
        Self { matching: service, method: None, path: None, skip: 0, times: None, action }
    }

    /// Hits only the next request to the service.
    pub fn once(service: Service, action: FaultAction) -> Self {
        Self { times: Some(1), ..Self::every(service, action) }
    }

    /// Hits only requests with this method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Hits only requests whose path and query contain this text.
    #[must_use]
    pub fn path(mut self, part: impl Into<String>) -> Self {
        self.path = Some(part.into());
        self
    }

    /// Lets the first matching requests pass.
    #[must_use]
    pub fn skip(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Hits this many requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// The whole service is down: the HTTP front closes its listener instead of each connection.
    pub(crate) fn closes(&self, service: Service) -> bool {
        *self == Self::every(service, FaultAction::Refuse)
    }

    fn matches(&self, service: Service, request: &Request<Bytes>) -> bool {
        self.matching == service
            && self.method.as_ref().is_none_or(|method| method == request.method())
            && self.path.as_ref().is_none_or(|part| {
                request.uri().path_and_query().is_some_and(|target| target.as_str().contains(part))
            })
    }
}

/// The injected faults with the number of requests that each has met.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<(Fault, u32)>);

/// What the faults do to one request.
#[derive(Debug, Default)]
pub(crate) struct Hit {
    pub(crate) delay: Duration,
    /// What somebody else does before the request is handled.
    pub(crate) beside: Vec<FaultAction>,
    pub(crate) action: Option<FaultAction>,
}

impl Faults {
    pub(crate) fn inject(&mut self, fault: Fault) {
        self.0.push((fault, 0));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter().map(|(fault, _)| fault)
    }

    /// Each with the number of requests that it has acted on.
    pub(crate) fn met(&self) -> impl Iterator<Item = (&Fault, u32)> {
        self.0.iter().map(|(fault, met)| {
            let acted = met.saturating_sub(fault.skip);
            (fault, fault.times.map_or(acted, |times| acted.min(times)))
        })
    }

    /// Every matching fault counts the request. Delays add up, what others do all happens; of the other
    /// actions the fault that was injected first wins.
    pub(crate) fn hit(&mut self, service: Service, request: &Request<Bytes>) -> Hit {
        let mut hit = Hit::default();
        for (fault, met) in &mut self.0 {
            if !fault.matches(service, request) {
                continue;
            }
            *met = met.saturating_add(1);
            let acts =
                *met > fault.skip && fault.times.is_none_or(|times| *met - fault.skip <= times);
            match &fault.action {
                _ if !acts => {}
                FaultAction::Delay(delay) => hit.delay += *delay,
                action if action.is_beside_the_request() => hit.beside.push(action.clone()),
                action => {
                    hit.action.get_or_insert_with(|| action.clone());
                }
            }
        }
        hit
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.matching)?;
        if let Some(method) = &self.method {
            write!(f, " {method}")?;
        }
        if let Some(path) = &self.path {
            write!(f, " {path}")?;
        }
        if self.skip > 0 {
            write!(f, " skip={}", self.skip)?;
        }
        if let Some(times) = self.times {
            write!(f, " times={times}")?;
        }
        write!(f, ": {}", self.action)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (target, action) = text
            .split_once(": ")
            .ok_or_else(|| format!("fault {text:?} has no \": \" before its action"))?;
        let mut words = target.split_whitespace();
        let service = words.next().unwrap_or_default().parse()?;
        let mut fault = Self::every(service, action.parse()?);
        for word in words {
            let number = |digits: &str| {
                digits.parse().map_err(|_| format!("fault {text:?}: {word:?} needs a number"))
            };
            if let Some(digits) = word.strip_prefix("skip=") {
                fault.skip = number(digits)?;
            } else if let Some(digits) = word.strip_prefix("times=") {
                fault.times = Some(number(digits)?);
            } else if word.starts_with(['/', '?']) {
                fault.path = Some(word.to_owned());
            } else if word.bytes().all(|b| b.is_ascii_uppercase()) {
                let method = Method::from_bytes(word.as_bytes());
                fault.method = Some(method.map_err(|error| format!("fault {text:?}: {error}"))?);
            } else {
                return Err(format!(
                    "fault {text:?}: {word:?} is no METHOD, /path part, skip=N or times=N"
                ));
            }
        }
        Ok(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, target: &str) -> Request<Bytes> {
        Request::builder().method(method).uri(target).body(Bytes::new()).unwrap()
    }

    #[test]
    fn fault_printed_and_read_back_is_the_same_fault() {
        use FaultAction as A;
        let actions = [
            A::Refuse,
            A::Delay(Duration::from_millis(65_500)),
            A::DropAfterEffect,
            A::DropBeforeEffect,
            A::CutBody { keep: 12 },
            A::html(502),
            A::rate_limited(),
            A::Answer { status: 200, headers: vec![], body: "[1,[2]]".to_owned() },
            A::Answer {
                status: 429,
                headers: vec![("retry-after".to_owned(), u64::MAX.to_string())],
                body: "slow down".to_owned(),
            },
            A::Answer { status: 204, headers: vec![], body: String::new() },
            A::Silent,
            A::html(503).after_effect(),
            A::NullResult,
            A::NoResult,
            A::StuckOperation,
            A::SlowOperation(Duration::from_secs(26 * 3_600 + 1)),
            A::OperationState("paused".to_owned()),
            A::FailOperation("This list is at the maximum number of items".to_owned()),
            A::VanishOperation,
            A::RepeatCursor,
            A::RepeatPage,
            A::RepeatItem,
            A::InsertItem("192.0.2.1".to_owned()),
            A::RemoveItem("192.0.2.1".to_owned()),
            A::EditRules("disable our_ban".parse().unwrap()),
            A::EmptyPageWithCursor,
            A::UnsuccessfulKeys(3),
            A::day_quota_used_up(),
        ];
        for action in actions {
            let name = action.to_string();
            let name = name.split(' ').next().unwrap_or_default();
            assert!(include_str!("../main.rs").contains(name), "--help does not tell of {name}");
            let plain = Fault::every(Service::Lapi, action);
            let full = plain.clone().method(Method::PUT).path("/items?a=b").skip(1).times(2);
            for fault in [plain, full] {
                assert_eq!(fault.to_string().parse(), Ok(fault.clone()), "{fault}");
            }
        }
    }

    #[test]
    fn fault_text_with_a_mistake_is_refused_with_the_reason() {
        for (text, reason) in [
            ("lapi refuse", "\": \""),
            ("lapy: refuse", "unknown service"),
            ("lapi get: refuse", "\"get\""),
            ("lapi times=x: refuse", "number"),
            ("lapi: refuse now", "too much"),
            ("lapi: delay", "too little"),
            ("cloudflare: unsuccessful-keys", "too little"),
            ("cloudflare: slow-operation", "too little"),
            ("cloudflare: edit-rules mend", "no edit of rules"),
            ("cloudflare: answer-after-effect 99 x", "200 to 599"),
            ("cloudflare: unsuccessful-keys all", "number of keys"),
            ("lapi: delay soon", "delay soon"),
            ("lapi: answer 99 x", "200 to 599"),
            ("lapi: explode", "known"),
        ] {
            let error = text.parse::<Fault>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn faults_with_skip_and_times_hit_only_the_requests_between() {
        let mut faults = Faults::default();
        faults.inject("cloudflare PUT /items skip=1 times=2: silent".parse().unwrap());
        let mut hits = Vec::new();
        for _ in 0..5 {
            hits.push(faults.hit(Service::Cloudflare, &request(Method::PUT, "/a/items")).action);
            assert!(
                faults.hit(Service::Cloudflare, &request(Method::GET, "/a/items")).action.is_none()
            );
            assert!(faults.hit(Service::Lapi, &request(Method::PUT, "/a/items")).action.is_none());
        }
        let silent = Some(FaultAction::Silent);
        assert_eq!(hits, [None, silent.clone(), silent, None, None]);
        assert_eq!(faults.met().map(|(_, met)| met).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn faults_that_overlap_add_up_beside_the_request_and_the_first_action_on_it_wins() {
        let mut faults = Faults::default();
        for text in [
            "lapi: delay 2s",
            "lapi: insert-item a",
            "lapi: silent",
            "lapi: delay 3s",
            "lapi: refuse",
            "lapi: remove-item b",
        ] {
            faults.inject(text.parse().unwrap());
        }
        let hit = faults.hit(Service::Lapi, &request(Method::GET, "/"));
        assert_eq!((hit.delay, hit.action), (Duration::from_secs(5), Some(FaultAction::Silent)));
        let beside = ["insert-item a", "remove-item b"].map(|text| text.parse().unwrap());
        assert_eq!(hit.beside, beside);
    }
}
