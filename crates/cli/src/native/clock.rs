//! Tokio's clock, so that a test may simulate it, and the system's date.

use super::Native;
use edge_sync_core::ports::Clock;
use std::time::{Duration, SystemTime};

impl Clock for Native {
    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(duration)
    }
}
