//! One question to one service: a GET, once, with a time limit.

use crate::native::Native;
use edge_sync_core::log::clip;
use edge_sync_core::ports::{Body, Method, Request, Transport, TransportError};
use std::time::Duration;

/// A person is waiting. LAPI was seen to take 25 s, but for everything that it has, and we ask for
/// next to nothing.
const TIME_MAX: Duration = Duration::from_secs(15);

/// More than any answer that is asked for: an account's lists are at most 1,000.
const BYTES_MAX: usize = 1 << 20;

/// An answer. Its body is cut off where it is longer than all that we expect.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// `HTTP 403 ({"message":"access forbidden"})`.
    pub(super) fn describe(&self) -> String {
        match clip(&String::from_utf8_lossy(&self.body), 120) {
            body if body.is_empty() => format!("HTTP {}", self.status),
            body => format!("HTTP {} ({body})", self.status),
        }
    }
}

/// A GET without any key.
pub(super) fn get(url: String) -> Request {
    let user_agent = concat!("crowdsec-edge-sync-doctor/v", env!("CARGO_PKG_VERSION"));
    let headers =
        vec![("accept", "application/json".to_owned()), ("user-agent", user_agent.to_owned())];
    Request { method: Method::Get, url, headers, body: None, may_be_absent: false }
}

/// Sends the request once.
pub(super) async fn ask(native: &Native, request: Request) -> Result<Answer, TransportError> {
    let answer = async {
        let (head, mut body) = native.send(request).await?;
        let mut start = Vec::new();
        while start.len() < BYTES_MAX
            && let Some(chunk) = body.chunk().await?
        {
            start.extend(chunk);
        }
        Ok(Answer { status: head.status, body: start })
    };
    let answer = tokio::time::timeout(TIME_MAX, answer).await;
    answer.unwrap_or(Err(TransportError::Timeout(TIME_MAX)))
}

/// What to do about an answer that did not come, from the service that `variable` names.
pub(super) fn remedy(error: &TransportError, variable: &str) -> String {
    match error {
        TransportError::Dns(_) => format!(
            "check the host name in {variable}; a name of a cluster's service resolves only inside it \
             (from outside: kubectl port-forward)"
        ),
        TransportError::Timeout(_) => format!(
            "something between here and {variable} drops packets: a firewall, a NetworkPolicy"
        ),
        TransportError::Tls(_) => format!(
            "check whether {variable} should be http:// or https://, and the server's certificate"
        ),
        _ => format!("start it, or correct host and port in {variable}"),
    }
}
