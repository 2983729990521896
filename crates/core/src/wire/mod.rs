//! Values <-> HTTP: every URL, header, JSON shape and status code of the remote APIs lives here.
//!
//! Not here: what to send and when (plan, apply), how often to try (session).

pub mod cloudflare;
pub mod lapi;
pub mod pushgateway;

use std::fmt;
use std::time::Duration;

use crate::log::clip;

/// The HTTP methods that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Adds.
    Post,
    /// Replaces.
    Put,
    /// Removes.
    Delete,
}

impl Method {
    /// The method's name in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// A request, complete. `Debug` shows method and URL only: headers carry secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The whole URL.
    pub url: String,
    /// Header names in lower case, and values.
    pub headers: Vec<(&'static str, String)>,
    /// The body, if there is one.
    pub body: Option<Vec<u8>>,
    /// What is asked for need not exist: a 404 is an answer, not an error.
    pub may_be_absent: bool,
}

impl Request {
    fn new(method: Method, url: String) -> Self {
        let headers = vec![("accept", "application/json".to_owned()), ("user-agent", user_agent())];
        Self { method, url, headers, body: None, may_be_absent: false }
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn body(self, content_type: &str, body: Vec<u8>) -> Self {
        // Told beforehand, so that no server has to take a chunked request.
        let length = body.len().to_string();
        let mut request =
            self.header("content-type", content_type).header("content-length", length);
        request.body = Some(body);
        request
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.as_str(), self.url)
    }
}

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status code.
    pub status: u16,
    /// `retry-after` in seconds, if it is there and a number (the form that Cloudflare sends).
    pub retry_after: Option<Duration>,
}

impl ResponseHead {
    /// Takes what we use of a status and headers (names in any casing).
    pub fn new<'a>(status: u16, headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let retry_after = headers
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("retry-after"))
            .and_then(|(_, value)| std::str::from_utf8(value).ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        Self { status, retry_after }
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its head.
    pub head: ResponseHead,
    /// Its body.
    pub body: Vec<u8>,
}

/// The type under which CrowdSec knows us.
const AGENT: &str = "crowdsec-edge-sync-bouncer";

/// How we name ourselves. LAPI splits it at "/" and logs a complaint at every request unless there
/// are exactly two parts (facts crowdsec 1.3); the first is what its console shows as the type.
fn user_agent() -> String {
    format!("{AGENT}/v{}", env!("CARGO_PKG_VERSION"))
}

/// The start of a body that is not what it should be, for an error text.
fn excerpt(body: &[u8]) -> String {
    match clip(&String::from_utf8_lossy(&body[..body.len().min(1024)]), 120) {
        text if text.is_empty() => "empty body".to_owned(),
        text => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_agent_has_exactly_one_slash() {
        assert_eq!(user_agent().split('/').count(), 2);
    }

    #[test]
    fn request_shown_for_debugging_hides_its_headers() {
        let request = Request::new(Method::Get, "http://x/".into()).header("x-api-key", "secret");
        assert_eq!(format!("{request:?}"), "GET http://x/");
    }

    #[test]
    fn retry_after_read_takes_seconds_only() {
        let head = |value: &'static str| {
            ResponseHead::new(429, [("x", &b"1"[..]), ("Retry-After", value.as_bytes())])
        };
        assert_eq!(head("60").retry_after, Some(Duration::from_secs(60)));
        assert_eq!(head("Wed, 21 Oct 2026 07:28:00 GMT").retry_after, None);
        assert_eq!(ResponseHead::new(429, []).retry_after, None);
    }
}
