//! The few things that the core asks of the world around it, and nothing else.
//!
//! An adapter moves bytes, tells the time and writes lines; it knows nothing of CrowdSec or
//! Cloudflare. In the component they are Spin's; in tests, the simulator and a simulated clock.

use std::future::Future;
use std::time::{Duration, SystemTime};

use crate::log::Line;
use crate::wire::{Request, ResponseHead};

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
    #[error("connection refused or closed: {0}")]
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
