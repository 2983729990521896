//! One question to one service: a GET, once, with a time limit.

use crate::native::Native;
use edge_sync_core::log::clip;
use edge_sync_core::ports::{Answer, Method, Request, TransportError};
use std::time::Duration;

/// A person is waiting. LAPI was seen to take 25 s, but for everything that it has, and we ask for
/// next to nothing.
const TIME_MAX: Duration = Duration::from_secs(15);

/// `HTTP 403 ({"message":"access forbidden"})`.
pub(super) fn describe(answer: &Answer) -> String {
    let status = answer.head.status;
    match clip(&String::from_utf8_lossy(&answer.body), 120) {
        body if body.is_empty() => format!("HTTP {status}"),
        body => format!("HTTP {status} ({body})"),
    }
}

/// A GET without any key.
pub(super) fn get(url: String) -> Request {
    let user_agent = concat!("crowdsec-edge-sync-doctor/v", env!("CARGO_PKG_VERSION"));
    let request = Request::new(Method::Get, url).header("accept", "application/json");
    request.header("user-agent", user_agent)
}

/// Sends the request once.
pub(super) async fn ask(native: &Native, request: Request) -> Result<Answer, TransportError> {
    native.http().ask(request, TIME_MAX).await
}
