//! Values <-> HTTP: every URL, header, JSON shape and status code of the remote APIs lives here, one
//! client value for each API, made once from its origin and credential.
//!
//! Not here: what to send and when (plan, apply), how often to try (session), the settings.

pub mod cloudflare;
pub mod lapi;
pub mod pushgateway;

use crate::log::clip;
use crate::ports::{Method, Request};

/// The type under which CrowdSec knows us.
const AGENT: &str = "crowdsec-edge-sync-bouncer";

/// A request with the headers that every API gets.
fn request(method: Method, url: String) -> Request {
    Request::new(method, url).header("accept", "application/json").header("user-agent", USER_AGENT)
}

/// How we name ourselves. LAPI splits it at "/" and logs a complaint at every request unless there
/// are exactly two parts (facts crowdsec 1.3); the first is what its console shows as the type.
const USER_AGENT: &str = concat!("crowdsec-edge-sync-bouncer/v", env!("CARGO_PKG_VERSION"));

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
        assert_eq!(USER_AGENT.split('/').count(), 2);
        assert!(USER_AGENT.starts_with(AGENT));
    }
}
