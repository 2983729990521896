//! What is remembered of the lists from one run to the next: when they may be written again, and
//! which bulk operation an earlier run left unfinished.
//!
//! Small, versioned, and never needed: what cannot be read counts as nothing remembered, and without
//! a store every run stands alone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ports::{Host, StoreError};
use crate::settings::Pace;

const KEY: &str = "lists";
const VERSION: u32 = 1;

/// See the module. Times are Unix seconds of our clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    v: u32,
    /// Refused writes since the last accepted one.
    #[serde(default)]
    refused: u32,
    /// When a write was last refused.
    #[serde(default)]
    refused_at: u64,
    /// When a write was last accepted.
    #[serde(default)]
    accepted_at: u64,
    /// Of an account that takes a write only long after another: how long it took the last time,
    /// in seconds. 0 = not such an account.
    #[serde(default)]
    spacing: u64,
    /// The accepted operation whose end has not been seen.
    #[serde(default)]
    operation: Option<String>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { v: VERSION, refused: 0, refused_at: 0, accepted_at: 0, spacing: 0, operation: None }
    }
}

impl Memory {
    /// What was stored, or nothing; and whether the store could be asked.
    pub(crate) fn load(host: &impl Host) -> (Self, Result<(), StoreError>) {
        match host.get(KEY) {
            Err(error) => (Self::default(), Err(error)),
            Ok(stored) => {
                let stored = stored.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
                (stored.filter(|memory| memory.v == VERSION).unwrap_or_default(), Ok(()))
            }
        }
    }

    /// Stores it. That this fails was said when it was loaded.
    pub(crate) fn save(&self, host: &impl Host) {
        let bytes = serde_json::to_vec(self).expect("numbers and texts always serialise");
        let _ = host.set(KEY, &bytes);
    }

    /// How long no write may be tried, because writes were refused; `None` = it may.
    ///
    /// The ladder, from its first step. But an account that the last time took a write only after the
    /// whole ladder is expected to do so again: some do at most one in 72 hours (facts cloudflare 1.8),
    /// and to climb from the bottom would cost five attempts each time. There the next attempt is half
    /// way to when it is expected to open, not sooner than the last step and not later than twice that.
    ///
    /// A stored time in the future is a clock that was put back; it counts as now, so that the wait
    /// is never longer than that.
    pub fn backoff_left(&self, pace: &Pace, now: u64) -> Option<Duration> {
        let step = usize::try_from(self.refused).unwrap_or(usize::MAX).checked_sub(1)?;
        let last = *pace.backoff.last()?;
        let opens_in = (self.accepted_at + self.spacing).saturating_sub(self.refused_at);
        let wait = match (self.spacing, Duration::from_secs(opens_in)) {
            (0, _) => *pace.backoff.get(step).unwrap_or(&last),
            (_, Duration::ZERO) => last,
            (_, opens_in) => (opens_in / 2).clamp(last, 2 * last).min(opens_in),
        };
        left(wait, self.refused_at, now)
    }

    /// How long a write that is not urgent has to wait; `None` = it need not.
    pub fn interval_left(&self, pace: &Pace, now: u64) -> Option<Duration> {
        left(pace.interval, self.accepted_at, now)
    }

    /// Refused writes since the last accepted one.
    pub fn refused(&self) -> u32 {
        self.refused
    }

    /// The operation that an earlier run left unfinished.
    pub fn operation(&self) -> Option<&str> {
        self.operation.as_deref()
    }

    pub(crate) fn write_refused(&mut self, now: u64) {
        self.refused = self.refused.saturating_add(1);
        self.refused_at = now;
    }

    pub(crate) fn write_accepted(&mut self, operation: &str, pace: &Pace, now: u64) {
        let climbed_all = self.refused as usize >= pace.backoff.len();
        let still_slow = self.spacing > 0 && self.refused > 0;
        self.spacing = match self.accepted_at {
            before @ 1.. if climbed_all || still_slow => now.saturating_sub(before),
            _ => 0,
        };
        self.refused = 0;
        self.accepted_at = now;
        self.operation = Some(operation.to_owned());
    }

    pub(crate) fn operation_ended(&mut self) {
        self.operation = None;
    }
}

fn left(wait: Duration, since: u64, now: u64) -> Option<Duration> {
    let passed = Duration::from_secs(now.saturating_sub(since.min(now)));
    wait.checked_sub(passed).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        let backoff = [1800, 3600, 7200].map(Duration::from_secs).to_vec();
        Pace { backoff, interval: Duration::from_secs(600) }
    }

    fn backoff(memory: &Memory, now: u64) -> Option<u64> {
        memory.backoff_left(&pace(), now).map(|left| left.as_secs())
    }

    #[test]
    fn refused_writes_climb_the_ladder_and_an_accepted_one_resets_it() {
        let mut memory = Memory::default();
        assert_eq!(backoff(&memory, 1_000), None);
        for (at, wait) in [(1_000, 1_800), (10_000, 3_600), (20_000, 7_200), (30_000, 7_200)] {
            memory.write_refused(at);
            assert_eq!(backoff(&memory, at), Some(wait));
            assert_eq!(backoff(&memory, at + wait - 1), Some(1));
            assert_eq!(backoff(&memory, at + wait), None);
        }
        memory.write_accepted("op", &pace(), 40_000);
        assert_eq!(backoff(&memory, 40_000), None);
        memory.write_refused(50_000);
        assert_eq!(backoff(&memory, 50_000), Some(1_800));
    }

    #[test]
    fn account_that_opened_after_the_whole_ladder_is_asked_again_less_and_less_far_from_then() {
        let mut memory = Memory::default();
        memory.write_accepted("op", &pace(), 1_000);
        for at in [2_000, 4_000, 8_000] {
            memory.write_refused(at);
        }
        memory.write_accepted("op", &pace(), 101_000);
        // It took 100,000 s, so it is expected to open at 201,000.
        for (at, wait) in [
            (102_000, 14_400), // half of 99,000 is more than twice the last step
            (179_000, 11_000), // half of what is left
            (190_000, 7_200),  // not sooner than the last step
            (198_000, 3_000),  // but not later than it opens
            (202_000, 7_200),  // it did not
        ] {
            memory.write_refused(at);
            assert_eq!(backoff(&memory, at), Some(wait), "refused at {at}");
        }
        // It takes one at once again: an account like any other.
        memory.write_accepted("op", &pace(), 210_000);
        memory.write_accepted("op", &pace(), 210_100);
        memory.write_refused(210_200);
        assert_eq!(backoff(&memory, 210_200), Some(1_800));
    }

    #[test]
    fn clock_that_was_put_back_never_makes_the_wait_longer_than_the_ladder() {
        let mut memory = Memory::default();
        memory.write_refused(1_000_000);
        assert_eq!(backoff(&memory, 5_000), Some(1_800));
    }

    #[test]
    fn interval_counts_from_the_last_accepted_write() {
        let mut memory = Memory::default();
        assert_eq!(memory.interval_left(&pace(), 1_000_000), None);
        memory.write_accepted("op", &pace(), 1_000);
        assert_eq!(memory.interval_left(&pace(), 1_100), Some(Duration::from_secs(500)));
        assert_eq!(memory.interval_left(&pace(), 1_600), None);
    }
}
