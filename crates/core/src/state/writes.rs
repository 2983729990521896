//! What is remembered of the lists from one run to the next: when they may be written again, and
//! which bulk operation an earlier run left unfinished.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::settings::Pace;

use super::Record;

/// See the module. Times are Unix seconds of our clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteHistory {
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

impl Record for WriteHistory {
    const KEY: &'static str = "lists";
    const VERSION: u32 = 1;

    fn settle(&mut self, now: u64) {
        self.refused_at = self.refused_at.min(now);
        self.accepted_at = self.accepted_at.min(now);
    }
}

impl WriteHistory {
    /// How long no write may be tried, because writes were refused; `None` = it may.
    ///
    /// The ladder, from its first step. But an account that the last time took a write only after the
    /// whole ladder is expected to do so again: some do at most one in 72 hours (facts cloudflare 1.8),
    /// and to climb from the bottom would cost five attempts each time. There the next attempt is half
    /// way to when it is expected to open, not sooner than the last step and not later than twice that.
    pub fn backoff_left(&self, pace: &Pace, now: u64) -> Option<Duration> {
        let step = usize::try_from(self.refused).unwrap_or(usize::MAX).checked_sub(1)?;
        let last = *pace.backoff.last()?;
        let opens_in =
            self.accepted_at.saturating_add(self.spacing).saturating_sub(self.refused_at);
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
    use super::super::Remembered;
    use super::super::tests::Memory;
    use super::*;

    fn pace() -> Pace {
        let backoff = [1800, 3600, 7200].map(Duration::from_secs).to_vec();
        Pace { backoff, interval: Duration::from_secs(600) }
    }

    fn backoff(history: &WriteHistory, now: u64) -> Option<u64> {
        history.backoff_left(&pace(), now).map(|left| left.as_secs())
    }

    #[test]
    fn refused_writes_climb_the_ladder_and_an_accepted_one_resets_it() {
        let mut history = WriteHistory::default();
        assert_eq!(backoff(&history, 1_000), None);
        for (at, wait) in [(1_000, 1_800), (10_000, 3_600), (20_000, 7_200), (30_000, 7_200)] {
            history.write_refused(at);
            assert_eq!(backoff(&history, at), Some(wait));
            assert_eq!(backoff(&history, at + wait - 1), Some(1));
            assert_eq!(backoff(&history, at + wait), None);
        }
        history.write_accepted("op", &pace(), 40_000);
        assert_eq!(backoff(&history, 40_000), None);
        history.write_refused(50_000);
        assert_eq!(backoff(&history, 50_000), Some(1_800));
    }

    #[test]
    fn account_that_opened_after_the_whole_ladder_is_asked_again_less_and_less_far_from_then() {
        let mut history = WriteHistory::default();
        history.write_accepted("op", &pace(), 1_000);
        for at in [2_000, 4_000, 8_000] {
            history.write_refused(at);
        }
        history.write_accepted("op", &pace(), 101_000);
        // It took 100,000 s, so it is expected to open at 201,000.
        for (at, wait) in [
            (102_000, 14_400), // half of 99,000 is more than twice the last step
            (179_000, 11_000), // half of what is left
            (190_000, 7_200),  // not sooner than the last step
            (198_000, 3_000),  // but not later than it opens
            (202_000, 7_200),  // it did not
        ] {
            history.write_refused(at);
            assert_eq!(backoff(&history, at), Some(wait), "refused at {at}");
        }
        // It takes one at once again: an account like any other.
        history.write_accepted("op", &pace(), 210_000);
        history.write_accepted("op", &pace(), 210_100);
        history.write_refused(210_200);
        assert_eq!(backoff(&history, 210_200), Some(1_800));
    }

    #[test]
    fn clock_that_was_put_back_makes_no_wait_longer_than_counted_from_the_first_run_that_sees_it() {
        let mut history = WriteHistory::default();
        history.write_accepted("op", &pace(), 1_000_000);
        history.write_refused(1_000_000);
        history.settle(5_000);
        for (now, left) in [(5_000, Some(1_800)), (5_100, Some(1_700)), (6_800, None)] {
            history.settle(now);
            assert_eq!(backoff(&history, now), left, "at {now}");
        }
        assert_eq!(history.interval_left(&pace(), 5_500), Some(Duration::from_secs(100)));
    }

    #[test]
    fn history_as_it_was_stored_before_is_understood() {
        let store = Memory::with(
            "lists",
            r#"{"v":1,"refused":2,"refused_at":1000,"accepted_at":900,"spacing":0,"operation":"op"}"#,
        );
        let history = Remembered::<WriteHistory>::load(&store, 2_000);
        assert_eq!((history.refused(), history.operation()), (2, Some("op")));
    }

    #[test]
    fn interval_counts_from_the_last_accepted_write() {
        let mut history = WriteHistory::default();
        assert_eq!(history.interval_left(&pace(), 1_000_000), None);
        history.write_accepted("op", &pace(), 1_000);
        assert_eq!(history.interval_left(&pace(), 1_100), Some(Duration::from_secs(500)));
        assert_eq!(history.interval_left(&pace(), 1_600), None);
    }
}
