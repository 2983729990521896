//! The faults that the world can be asked to show, and why the product must survive each.
//!
//! | fault | it happens when | the product must |
//! |---|---|---|
//! | `refuse` | a service restarts, DNS or a firewall fails | leave the edge alone if it is LAPI, fail loudly if it is Cloudflare |
//! | `delay` | a service is overloaded | time out, stay inside its budget; a write's effect is then unknown |
//! | `drop-before-effect` | a proxy dies on the way in | treat a write as unknown, not as failed |
//! | `drop-after-effect` | a proxy dies on the way out | not repeat the write blindly; read again next time |
//! | `cut-body` | the sender dies in mid-answer | never take half a list of decisions, or of items, for the whole |
//! | `answer` | 4xx, 5xx, HTML error pages, plain-text 429, `success:false` in a 200 | judge by status, envelope and body, not by one of them |
//! | `silent` | a connection goes black | end by its own timeout |
//! | `stuck-operation` | Cloudflare's queue hangs | stop writing, report "partial", go on next time |
//! | `fail-operation` | the list is full, found out only after HTTP 200 | poll to the end and fail loudly |
//! | `vanish-operation` | an operation cannot be read any more | not wait for ever, not take it for success |
//! | `repeat-cursor` | a paging bug on the far side | bound its reading, with an error |
//! | `empty-page-with-cursor` | a page of tombstones | loop on the cursor, not on the page size |
//! | `unsuccessful-keys` | KV stores a part of a bulk request and says success | read the names in the answer, try those again |
//!
//! A fault has a text form, which its `Display` prints and `FromStr` reads:
//! `cloudflare PUT /items skip=1 times=2: drop-after-effect`. This file owns the faults and which
//! request they hit; what a stuck operation or a repeated cursor means is Cloudflare's module.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};

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

/// What happens to a request that is hit. The table at the top of the module says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultAction {
    /// No connection; the service does not see the request.
    Refuse,
    /// The request takes effect at once, its answer comes later by this much. Adds up over several
    /// faults, and goes together with any other action.
    Delay(Duration),
    /// The request takes effect; the connection closes without an answer.
    DropAfterEffect,
    /// The connection closes without an answer and without any effect.
    DropBeforeEffect,
    /// The request takes effect; the connection dies after `keep` bytes of the answer's body.
    CutBody {
        /// Bytes that still arrive.
        keep: usize,
    },
    /// This answer instead of the service's, without any effect.
    Answer {
        /// Its status.
        status: u16,
        /// Its headers.
        headers: Vec<(String, String)>,
        /// Its body.
        body: String,
    },
    /// No effect, and nothing ever comes back.
    Silent,
    /// The write is accepted, and its operation stays unfinished until the faults are cleared.
    StuckOperation,
    /// The write is accepted, and its operation ends `failed` with this text and without effect.
    FailOperation(String),
    /// The write is accepted and takes effect, but its operation cannot be read.
    VanishOperation,
    /// The page's cursor leads to the same page again.
    RepeatCursor,
    /// The page is empty, and its cursor leads to the content.
    EmptyPageWithCursor,
    /// The first so many pairs or names of a KV bulk request have no effect and are named in the
    /// answer, which says success.
    UnsuccessfulKeys(usize),
}

impl FaultAction {
    /// An HTML error page, as Cloudflare's front gives when what is behind it fails.
    pub fn html(status: u16) -> Self {
        Self::Answer {
            status,
            headers: vec![("content-type".to_owned(), "text/html; charset=UTF-8".to_owned())],
            body: format!(
                "<html>\r\n<head><title>{status} error</title></head>\r\n<body>\r\n\
                 <center><h1>{status} error</h1></center>\r\n<hr><center>cloudflare</center>\r\n\
                 </body>\r\n</html>\r\n"
            ),
        }
    }

    /// Cloudflare's failure envelope with one error. With status 200 it is the `success:false` that
    /// must not be taken for success (facts 0.10).
    pub fn envelope(status: u16, code: u32, message: &str) -> Self {
        let body = serde_json::json!({
            "success": false,
            "errors": [{ "code": code, "message": message }],
            "messages": [],
            "result": null,
        });
        Self::Answer {
            status,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_string(),
        }
    }

    /// The Lists limiter: 429, code 10040, `retry-after: 60` (facts 1.8).
    pub fn rate_limited() -> Self {
        let message = crate::cloudflare::codes::RATE_LIMITED.message;
        let mut action = Self::envelope(429, 10040, message);
        if let Self::Answer { headers, .. } = &mut action {
            headers.push(("retry-after".to_owned(), "60".to_owned()));
        }
        action
    }

    /// The free plan's day quota of KV: 429, code 10048, good until 00:00 UTC (facts 2.7).
    pub fn day_quota_used_up() -> Self {
        let error = crate::cloudflare::kv::codes::DAY_QUOTA_USED_UP;
        Self::envelope(error.status.as_u16(), error.code, error.message)
    }
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

    /// Every matching fault counts the request. Delays add up; of the other actions the fault that
    /// was injected first wins.
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

impl fmt::Display for FaultAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse => f.write_str("refuse"),
            Self::Delay(delay) => {
                let text = humantime::format_duration(*delay).to_string();
                write!(f, "delay {}", text.replace(' ', ""))
            }
            Self::DropAfterEffect => f.write_str("drop-after-effect"),
            Self::DropBeforeEffect => f.write_str("drop-before-effect"),
            Self::CutBody { keep } => write!(f, "cut-body {keep}"),
            Self::Answer { status, headers, body } => {
                write!(f, "answer {status}")?;
                for (name, value) in headers {
                    write!(f, " [{name}: {value}]")?;
                }
                if !body.is_empty() {
                    write!(f, " {body}")?;
                }
                Ok(())
            }
            Self::Silent => f.write_str("silent"),
            Self::StuckOperation => f.write_str("stuck-operation"),
            Self::FailOperation(text) => write!(f, "fail-operation {text}"),
            Self::VanishOperation => f.write_str("vanish-operation"),
            Self::RepeatCursor => f.write_str("repeat-cursor"),
            Self::EmptyPageWithCursor => f.write_str("empty-page-with-cursor"),
            Self::UnsuccessfulKeys(count) => write!(f, "unsuccessful-keys {count}"),
        }
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

impl FromStr for FaultAction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        let wrong = |what: &str| format!("fault action {text:?}: {what}");
        let has_argument = matches!(
            name,
            "delay" | "cut-body" | "answer" | "fail-operation" | "unsuccessful-keys"
        );
        if rest.is_empty() == has_argument {
            return Err(wrong("has too much or too little after its name"));
        }
        Ok(match name {
            "refuse" => Self::Refuse,
            "delay" => Self::Delay(
                humantime::parse_duration(rest).map_err(|error| wrong(&error.to_string()))?,
            ),
            "drop-after-effect" => Self::DropAfterEffect,
            "drop-before-effect" => Self::DropBeforeEffect,
            "cut-body" => {
                Self::CutBody { keep: rest.parse().map_err(|_| wrong("needs a number of bytes"))? }
            }
            "answer" => parse_answer(rest).ok_or_else(|| {
                wrong("must be: answer STATUS [header: value] … BODY, status 200 to 599")
            })?,
            "silent" => Self::Silent,
            "stuck-operation" => Self::StuckOperation,
            "fail-operation" => Self::FailOperation(rest.to_owned()),
            "vanish-operation" => Self::VanishOperation,
            "repeat-cursor" => Self::RepeatCursor,
            "empty-page-with-cursor" => Self::EmptyPageWithCursor,
            "unsuccessful-keys" => {
                Self::UnsuccessfulKeys(rest.parse().map_err(|_| wrong("needs a number of keys"))?)
            }
            _ => return Err(wrong("is not one that is known")),
        })
    }
}

fn parse_answer(text: &str) -> Option<FaultAction> {
    let (status, mut rest) = text.split_once(' ').unwrap_or((text, ""));
    let status = status.parse().ok().filter(|status| (200..600).contains(status))?;
    let mut headers = Vec::new();
    // A JSON array as body also begins with a bracket; only `[name: value]` is a header.
    while let Some((header, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let Some((name, value)) = header.split_once(": ") else { break };
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            break;
        }
        headers.push((name.to_owned(), value.to_owned()));
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    Some(FaultAction::Answer { status, headers, body: rest.to_owned() })
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
            A::Answer { status: 204, headers: vec![], body: String::new() },
            A::Silent,
            A::StuckOperation,
            A::FailOperation("This list is at the maximum number of items".to_owned()),
            A::VanishOperation,
            A::RepeatCursor,
            A::EmptyPageWithCursor,
            A::UnsuccessfulKeys(3),
            A::day_quota_used_up(),
        ];
        for action in actions {
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
    }

    #[test]
    fn faults_that_overlap_add_their_delays_and_the_first_action_wins() {
        let mut faults = Faults::default();
        for text in ["lapi: delay 2s", "lapi: silent", "lapi: delay 3s", "lapi: refuse"] {
            faults.inject(text.parse().unwrap());
        }
        let hit = faults.hit(Service::Lapi, &request(Method::GET, "/"));
        assert_eq!((hit.delay, hit.action), (Duration::from_secs(5), Some(FaultAction::Silent)));
    }
}
