//! What happened: one entry for each request that reached the world, totals for each service, and the
//! rules that the client broke. It records; it never decides an answer.

use std::fmt::{self, Display};
use std::time::Duration;

use serde::Serialize;

use crate::reply::Service;

/// One request and its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// When it arrived, since the simulator's start.
    #[serde(with = "crate::options::duration_text")]
    pub at: Duration,
    /// Whom it was sent to.
    pub service: Service,
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub target: String,
    /// How it ended.
    pub fate: Fate,
    /// Bytes of its body.
    pub bytes_in: u64,
    /// Bytes of the answer's body that were sent.
    pub bytes_out: u64,
}

/// How a request ended, as the client could see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// A whole answer with this status.
    Status(u16),
    /// The beginning of an answer with this status.
    Cut(u16),
    /// No connection.
    Refused,
    /// Closed without an answer.
    Closed,
    /// Left waiting.
    Silent,
}

impl Entry {
    /// When and what, without its end.
    fn arrival(&self) -> String {
        let Self { service, method, target, .. } = self;
        format!("+{:.3}s {service} {method} {target}", self.at.as_secs_f64())
    }
}

impl Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> ", self.arrival())?;
        match self.fate {
            Fate::Status(status) => write!(f, "{status}")?,
            Fate::Cut(status) => write!(f, "{status}, cut")?,
            Fate::Refused => f.write_str("refused")?,
            Fate::Closed => f.write_str("closed without answer")?,
            Fate::Silent => f.write_str("silent")?,
        }
        write!(f, " ({} B in, {} B out)", self.bytes_in, self.bytes_out)
    }
}

/// Totals of one service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Requests that arrived, refused connections included.
    pub requests: u64,
    /// Requests that got a whole 2xx answer.
    pub answered_ok: u64,
    /// Requests that got any other whole answer.
    pub answered_error: u64,
    /// Requests that got none, or a cut one.
    pub unanswered: u64,
    /// Body bytes received.
    pub bytes_in: u64,
    /// Body bytes sent.
    pub bytes_out: u64,
    /// Bulk writes accepted (Cloudflare only).
    pub writes_accepted: u64,
    /// Bulk writes refused (Cloudflare only).
    pub writes_refused: u64,
    /// Items created, edited or deleted by completed operations, as Cloudflare's documented limit
    /// counts them (facts 1.8): a PUT costs the items it sends plus those it drops.
    pub item_modifications: u64,
}

impl Counters {
    pub(crate) fn add(&mut self, entry: &Entry) {
        self.requests += 1;
        self.bytes_in += entry.bytes_in;
        self.bytes_out += entry.bytes_out;
        match entry.fate {
            Fate::Status(200..=299) => self.answered_ok += 1,
            Fate::Status(_) => self.answered_error += 1,
            _ => self.unanswered += 1,
        }
    }
}

/// Collects broken rules while one request is handled.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    context: Option<Entry>,
    violations: Vec<String>,
}

impl Judge {
    /// Later notes belong to this request.
    pub(crate) fn attend(&mut self, request: Entry) {
        self.context = Some(request);
    }

    /// The request that was attended to, which notes no longer belong to.
    pub(crate) fn leave(&mut self) -> Option<Entry> {
        self.context.take()
    }

    pub(crate) fn note(&mut self, rule: impl Display) {
        let context = self.context.as_ref().map(Entry::arrival).unwrap_or_default();
        self.violations.push(format!("{context}: {rule}"));
    }

    pub(crate) fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(crate) fn clear(&mut self) {
        self.violations.clear();
    }
}
