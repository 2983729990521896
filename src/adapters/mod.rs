//! What the core's ports are on Spin. No knowledge of CrowdSec or Cloudflare, no decision.

mod clock;
mod log;
mod store;
mod transport;

use std::future::poll_fn;
use std::task::Poll;

use edge_sync_core::log::Style;
use spin_executor::CancelOnDropToken;
use wasi::io::poll::Pollable;

/// The host that the core runs on.
pub(crate) struct Spin {
    style: Style,
}

impl Spin {
    pub(crate) fn new() -> Self {
        Self { style: log::style() }
    }
}

/// Resolves when `ask` has an answer; as long as it has a pollable instead, the executor waits for that.
async fn ready<T>(mut ask: impl FnMut() -> Result<T, Pollable>) -> T {
    // Dropped with the future, so that one that lost its race is no longer polled.
    let mut registered: Option<CancelOnDropToken> = None;
    poll_fn(|context| match ask() {
        Ok(answer) => Poll::Ready(answer),
        Err(pollable) => {
            let waker = context.waker().clone();
            registered = Some(spin_executor::push_waker_and_get_token(pollable, waker).into());
            Poll::Pending
        }
    })
    .await
}
