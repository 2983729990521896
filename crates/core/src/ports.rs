//! The few things that the core asks of the world around it, and nothing else.
//!
//! An adapter moves bytes, tells the time and writes lines; it knows nothing of CrowdSec or
//! Cloudflare. In the component they are Spin's; in tests, the simulator and a simulated clock.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::time::{Duration, SystemTime};

use crate::log::Line;

/// Sends requests.
pub trait Transport {
    /// The rest of an answer whose head has arrived.
    type Body: Body;

    /// Sends the request; resolves when the answer's head is there. No redirect is followed, no
    /// request sent twice, and there is no time limit: the core sets its own.
    fn send(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<(ResponseHead, Self::Body), TransportError>>;
}

/// An answer's body, as it arrives.
pub trait Body {
    /// The next bytes; `None` at the end that the server meant. A body that breaks off is an error.
    fn chunk(&mut self) -> impl Future<Output = Result<Option<Vec<u8>>, TransportError>>;
}

/// Tells the time and waits.
pub trait Clock {
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
    /// The date, for metrics and for comparing with Cloudflare's time stamps.
    fn wall(&self) -> SystemTime;
    /// Resolves after `duration`.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;
}

/// Writes log lines.
pub trait Log {
    /// Writes one line, at once.
    fn log(&self, line: &Line);
}

/// Keeps a few small values from one run to the next. No compare-and-set: not every host has it.
pub trait Store {
    /// The value of `key`, if it has one.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Sets the value of `key`.
    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError>;
}

/// The store cannot be used, in the host's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key-value store \"default\" cannot be used: {0}")]
pub struct StoreError(pub String);

/// Everything at once: what a run is given.
pub trait Host: Transport + Clock + Log + Store {}
impl<H: Transport + Clock + Log + Store> Host for H {}

/// Why no (whole) answer came. Whether the request had an effect is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Nothing listens there, or it hung up before it answered.
    #[error("connection {0}")]
    Connection(String),
    /// The name does not resolve.
    #[error("the host name does not resolve: {0}")]
    Dns(String),
    /// The host that runs us forbids the destination.
    #[error(
        "the runtime does not allow this destination; add it to allowed_outbound_hosts in spin.toml"
    )]
    Denied,
    /// TLS failed.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The body broke off.
    #[error("the answer broke off: {0}")]
    Body(String),
    /// The body is larger than any answer that this API gives.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// Anything else, in the runtime's words.
    #[error("{0}")]
    Other(String),
}

impl TransportError {
    /// What the operator can do about it. `variable` names the setting that was asked at.
    pub fn remedy(&self, variable: &str) -> String {
        match self {
            Self::Dns(_) => format!(
                "check the host name in {variable}; a name of a cluster's service resolves only inside it (from outside: kubectl port-forward)"
            ),
            Self::Timeout(_) => format!(
                "something between here and {variable} drops packets: a firewall, a NetworkPolicy"
            ),
            Self::Tls(_) => format!(
                "check whether {variable} should be http:// or https://, and the server's certificate (of a CA of your own: [[client_tls]] in Spin's runtime configuration)"
            ),
            Self::TooLarge(_) => format!("what answers at {variable} is not that API: look there"),
            Self::Denied => format!("set {variable} to an origin that spin.toml allows"),
            _ => format!("start it, or correct host and port in {variable}"),
        }
    }
}

/// The HTTP methods that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Adds.
    Post,
    /// Replaces.
    Put,
    /// Changes a part.
    Patch,
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
            Self::Patch => "PATCH",
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
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body, if there is one.
    pub body: Option<Vec<u8>>,
    /// What is asked for need not exist: a 404 is an answer, not an error.
    pub may_be_absent: bool,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        let (headers, body) = (Vec::new(), None);
        Self { method, url: url.into(), headers, body, may_be_absent: false }
    }

    /// The same with one more header.
    pub fn header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same with a body.
    pub fn body(self, content_type: &'static str, body: Vec<u8>) -> Self {
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status code.
    pub status: u16,
    /// `retry-after` in seconds, if it is there and a number (the form that Cloudflare sends), of any
    /// size: whoever waits has to bound it.
    pub retry_after: Option<Duration>,
    /// When the server made the answer, by its own clock: its `date`.
    pub date: Option<SystemTime>,
}

impl ResponseHead {
    /// Takes what we use of a status and headers (names in any casing).
    pub fn new<'a>(status: u16, headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut head = Self { status, ..Self::default() };
        for (name, value) in headers {
            let value = std::str::from_utf8(value).unwrap_or_default().trim();
            if name.eq_ignore_ascii_case("retry-after") {
                head.retry_after = seconds(value);
            } else if name.eq_ignore_ascii_case("date") {
                head.date = date(value);
            }
        }
        head
    }
}

/// A number of seconds; more than a `u64` holds are as many as it holds.
fn seconds(text: &str) -> Option<Duration> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

/// A date in the one form in which servers may write it (RFC 9110, 5.6.7): `Wed, 21 Oct 2026 07:28:00 GMT`.
fn date(text: &str) -> Option<SystemTime> {
    // Each of its parts has its place.
    let [_, _, _, b',', b' ', rest @ ..] = text.as_bytes() else { return None };
    let [d, dd, b' ', m, mm, mmm, b' ', y, yy, yyy, yyyy, b' ', time @ ..] = rest else {
        return None;
    };
    let time: [u8; 8] = time.strip_suffix(b" GMT")?.try_into().ok()?;
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = MONTHS.chunks(3).position(|month| month == [*m, *mm, *mmm])? as u8 + 1;
    let mut written = *b"yyyy-mm-ddThh:mm:ssZ";
    written[..4].copy_from_slice(&[*y, *yy, *yyy, *yyyy]);
    written[5..7].copy_from_slice(&[b'0' + month / 10, b'0' + month % 10]);
    written[8..10].copy_from_slice(&[*d, *dd]);
    written[11..19].copy_from_slice(&time);
    humantime::parse_rfc3339(std::str::from_utf8(&written).ok()?).ok()
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its head.
    pub head: ResponseHead,
    /// Its body.
    pub body: Vec<u8>,
}

#[cfg(test)]
impl Answer {
    /// An answer with this status and body, for the tests of those who read one.
    pub(crate) fn of(status: u16, body: impl AsRef<[u8]>) -> Self {
        Self {
            head: ResponseHead { status, ..ResponseHead::default() },
            body: body.as_ref().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_shown_for_debugging_hides_its_headers() {
        let request = Request::new(Method::Get, "http://x/").header("x-api-key", "secret");
        assert_eq!(format!("{request:?}"), "GET http://x/");
    }

    #[test]
    fn retry_after_read_takes_seconds_of_any_size_and_nothing_else() {
        let head = |value: &'static str| {
            ResponseHead::new(429, [("x", &b"1"[..]), ("Retry-After", value.as_bytes())])
        };
        let seconds = |n| Some(Duration::from_secs(n));
        for (value, read) in [
            (" 60", seconds(60)),
            ("18446744073709551615", seconds(u64::MAX)),
            ("99999999999999999999999", seconds(u64::MAX)),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
            ("+60", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(head(value).retry_after, read, "{value:?}");
        }
        assert_eq!(ResponseHead::new(429, []).retry_after, None);
    }

    #[test]
    fn date_read_is_that_of_the_server_and_no_other_form_is_a_date() {
        for (value, date) in [
            ("Wed, 21 Oct 2026 07:28:00 GMT", Some("2026-10-21T07:28:00Z")),
            ("Sun, 31 Jan 2027 00:00:00 GMT", Some("2027-01-31T00:00:00Z")),
            ("Wed, 21 anF 2026 07:28:00 GMT", None),
            ("Wed, 21 OctNov 2026 07:28:00 GMT", None),
            ("Wed, 21  2026 07:28:00 GMT", None),
            ("Wed, 21 Oct 2026 07:28:00 CET", None),
            ("Wed, 99 Oct 2026 07:28:00 GMT", None),
            ("2026-10-21T07:28:00Z", None),
            ("", None),
        ] {
            let date = date.map(|date| humantime::parse_rfc3339(date).unwrap());
            assert_eq!(ResponseHead::new(200, [("Date", value.as_bytes())]).date, date, "{value}");
        }
    }
}
