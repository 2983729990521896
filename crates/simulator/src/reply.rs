//! What goes in and out of the state machine besides plain HTTP values: which service is asked, and
//! what happens on the wire. How an outcome is acted out belongs to the fronts.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;

use crate::lapi::LazyRows;

/// One of the simulated services. Each has its own port in the HTTP front.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// CrowdSec's Local API.
    Lapi,
    /// Cloudflare's API, `/client/v4/…`.
    Cloudflare,
    /// A Prometheus Pushgateway.
    Pushgateway,
}

impl Service {
    /// Every service, in the order in which they are printed.
    pub const ALL: [Service; 3] = [Service::Lapi, Service::Cloudflare, Service::Pushgateway];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Service::Lapi => "lapi",
            Service::Cloudflare => "cloudflare",
            Service::Pushgateway => "pushgateway",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Service::ALL
            .into_iter()
            .find(|service| service.name() == text)
            .ok_or_else(|| format!("unknown service {text:?}: lapi, cloudflare or pushgateway"))
    }
}

/// The answer of the world to one request. State has changed already when it is returned.
#[derive(Debug)]
pub struct Reply {
    /// How long the caller waits before it sees the outcome.
    pub after: Duration,
    /// What it sees then.
    pub outcome: Outcome,
}

/// What the caller sees on the wire.
#[derive(Debug)]
pub enum Outcome {
    /// A whole answer. One with `transfer-encoding: chunked` is sent in chunks without a length.
    Response(Response<Bytes>),
    /// The beginning of an answer whose body goes on with rows that are made while they are read.
    Streamed {
        /// Head and beginning.
        response: Response<Bytes>,
        /// What comes after.
        rest: LazyRows,
        /// The connection dies at the end of `rest`, which was cut.
        is_cut: bool,
    },
    /// The connection dies after `keep` bytes of the body.
    CutBody {
        /// The answer that would have arrived.
        response: Response<Bytes>,
        /// How many bytes of its body do arrive.
        keep: usize,
    },
    /// No connection.
    Refused,
    /// The connection was accepted and closed again without an answer.
    Closed,
    /// The connection stays open and nothing ever arrives.
    Silent,
}

/// An answer with a content type and a body.
pub(crate) fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

/// An answer without body and content type, as Go's routers give for "no such route".
pub(crate) fn bare(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}
