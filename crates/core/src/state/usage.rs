//! When LAPI was last told what is enforced.

use serde::{Deserialize, Serialize};

use super::Record;

/// See the module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageSent {
    /// When it was last tried, Unix seconds; 0 = never.
    pub at: u64,
}

impl Record for UsageSent {
    const KEY: &'static str = "usage";
    const VERSION: u32 = 1;

    fn settle(&mut self, now: u64) {
        self.at = self.at.min(now);
    }
}
