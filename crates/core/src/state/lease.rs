//! One run at a time: a short lease in the store.
//!
//! Spin's cron trigger lets runs overlap when one outlasts its interval, and at start a due second
//! can fire twice, one second apart; two runs must not write at once. The store has no
//! compare-and-set on every host, so a run writes its name, reads both sides, and looks again before
//! it writes anything: of two that wrote their names, the earlier finds the later's and yields.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ports::Store;

use super::{Record, Remembered};

/// What a lease outlives the run's budget by: a little more than a clock's step, and never more than
/// a minute, so that a killed run blocks no more than the next one.
const GRACE_SECS: u64 = 10;

/// Who holds the lease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// A number that the run drew.
    holder: u64,
    /// When it ends, Unix seconds.
    until: u64,
}

/// Its end is in the future as long as it is held, and how far it may be depends on the budget: one that is
/// farther is brought back when the next run looks.
impl Record for LeaseRecord {
    const KEY: &'static str = "lease";
    const VERSION: u32 = 1;
}

impl LeaseRecord {
    /// How long some run may still hold it.
    pub fn left(&self, now: u64) -> Option<Duration> {
        self.until.checked_sub(now).filter(|left| *left > 0).map(Duration::from_secs)
    }
}

/// The lease of this run.
#[derive(Debug)]
pub struct Lease {
    /// `None` without a store: every run stands alone.
    mine: Option<LeaseRecord>,
    is_new: bool,
}

/// Another run holds the lease, for at most this long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leased(pub Duration);

impl Lease {
    /// Takes the lease, unless another run holds it.
    pub fn take(
        store: &impl Store,
        holder: u64,
        now: u64,
        budget: Duration,
    ) -> Result<Self, Leased> {
        let mut remembered = Remembered::<LeaseRecord>::load(store, now);
        if remembered.store_error().is_some() {
            return Ok(Self { mine: None, is_new: false });
        }
        let until = now.saturating_add(budget.as_secs()).saturating_add(GRACE_SECS);
        if remembered.left(now).is_some() {
            // One that ends later than one taken now is from a clock that is ahead, or that was put back:
            // whoever holds it may be at work, and it lasts no longer than a lease from here on.
            if remembered.until > until {
                let _ = remembered.change(store, |lease| lease.until = until);
            }
            return Err(Leased(remembered.left(now).unwrap_or_default()));
        }
        let (mine, is_new) = (LeaseRecord { holder, until }, remembered.is_new());
        match remembered.change(store, |lease| *lease = mine.clone()) {
            Ok(()) => Ok(Self { mine: Some(mine), is_new }),
            Err(_) => Ok(Self { mine: None, is_new: false }),
        }
    }

    /// Whether a store works and no run ever left a lease in it: the first run, or a store that forgets.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Whether it is still this run's. To be asked before anything is written.
    pub fn is_mine(&self, store: &impl Store, now: u64) -> bool {
        match &self.mine {
            None => true,
            // Its end may have been brought back by a run whose clock is behind.
            Some(mine) => Remembered::<LeaseRecord>::load(store, now).holder == mine.holder,
        }
    }

    /// Gives it back, so that a run by hand need not wait.
    pub fn release(self, store: &impl Store, now: u64) {
        let Some(mine) = self.mine else { return };
        let mut remembered = Remembered::<LeaseRecord>::load(store, now);
        if remembered.holder == mine.holder {
            // Not given back, it runs out by itself.
            let _ = remembered.change(store, |lease| lease.until = 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Memory;
    use super::*;

    const BUDGET: Duration = Duration::from_secs(110);

    #[test]
    fn lease_taken_holds_others_off_until_it_is_given_back_or_runs_out() {
        let store = Memory::default();
        let lease = Lease::take(&store, 1, 1_000, BUDGET).unwrap();
        assert!(lease.is_new() && lease.is_mine(&store, 1_000));
        assert_eq!(store.text("lease"), r#"{"v":1,"holder":1,"until":1120}"#);
        let held = |now| Lease::take(&store, 2, now, BUDGET).err();
        assert_eq!(held(1_000), Some(Leased(Duration::from_secs(120))));
        assert_eq!(held(1_119), Some(Leased(Duration::from_secs(1))));
        lease.release(&store, 1_050);
        assert_eq!(held(1_051), None);
        assert!(!Lease::take(&store, 3, 1_171, BUDGET).unwrap().is_new(), "2's ran out");
    }

    #[test]
    fn lease_that_another_run_took_meanwhile_is_not_mine_and_is_not_given_back() {
        let store = Memory::default();
        let first = Lease::take(&store, 1, 1_000, BUDGET).unwrap();
        store.values.borrow_mut().clear();
        let second = Lease::take(&store, 2, 1_001, BUDGET).unwrap();
        assert!(!first.is_mine(&store, 1_002));
        first.release(&store, 1_002);
        assert!(second.is_mine(&store, 1_002));
    }

    #[test]
    fn lease_of_a_clock_that_was_put_back_holds_others_off_no_longer_than_a_lease() {
        let store = Memory::with("lease", r#"{"v":1,"holder":9,"until":18446744073709551615}"#);
        let held = |now| Lease::take(&store, 1, now, BUDGET).err();
        assert_eq!(held(1_000), Some(Leased(Duration::from_secs(120))));
        assert_eq!(held(1_100), Some(Leased(Duration::from_secs(20))));
        assert_eq!(held(1_120), None);
    }

    #[test]
    fn lease_of_a_clock_that_is_ahead_is_respected_and_stays_its_holders() {
        let store = Memory::default();
        let ahead = Lease::take(&store, 1, 1_010, BUDGET).unwrap();
        assert!(Lease::take(&store, 2, 1_000, BUDGET).is_err());
        assert!(ahead.is_mine(&store, 1_011));
        ahead.release(&store, 1_012);
        assert!(Lease::take(&store, 2, 1_003, BUDGET).is_ok());
    }

    #[test]
    fn store_that_is_broken_lets_every_run_stand_alone() {
        let store = Memory::default();
        store.is_broken.set(true);
        let lease = Lease::take(&store, 1, 1_000, BUDGET).unwrap();
        assert!(lease.is_mine(&store, 1_000) && !lease.is_new());
    }
}
