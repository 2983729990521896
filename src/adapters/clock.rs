//! WASI's clocks, and a timer on the executor of the Spin SDK.

use std::time::{Duration, SystemTime};

use edge_sync_core::ports::Clock;
use wasi::clocks::monotonic_clock::{now, subscribe_instant};

use super::{Spin, ready};

impl Clock for Spin {
    fn monotonic(&self) -> Duration {
        Duration::from_nanos(now())
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    async fn sleep(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let due = now().saturating_add(nanos);
        ready(|| if now() >= due { Ok(()) } else { Err(subscribe_instant(due)) }).await;
    }
}
