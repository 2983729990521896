//! WASI's clocks, and a timer on the executor of the Spin SDK.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use edge_sync_core::ports::Clock;
use spin_executor::CancelOnDropToken;
use wasi::clocks::monotonic_clock;

use super::Spin;

impl Clock for Spin {
    fn monotonic(&self) -> Duration {
        Duration::from_nanos(monotonic_clock::now())
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Timer { due: monotonic_clock::now().saturating_add(nanos), registered: None }
    }
}

/// Ready when the monotonic clock has reached `due`.
struct Timer {
    due: u64,
    /// Dropped with the timer, so that one that lost its race is no longer polled.
    registered: Option<CancelOnDropToken>,
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if monotonic_clock::now() >= self.due {
            return Poll::Ready(());
        }
        let pollable = monotonic_clock::subscribe_instant(self.due);
        let waker = context.waker().clone();
        self.registered = Some(spin_executor::push_waker_and_get_token(pollable, waker).into());
        Poll::Pending
    }
}
