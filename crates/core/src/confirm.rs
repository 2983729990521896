//! For how many runs in a row the guard has found the same, kept from one run to the next.
//!
//! "The same" is give or take a tenth of the removals: on a busy site decisions come and go every
//! minute, and a lifted list would else never be confirmed, while a LAPI that fills up again after a
//! loss changes by more than that.

use serde::{Deserialize, Serialize};

use crate::ports::Host;
use crate::state::{Record, Remembered};

/// So many runs in a row found this many removals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streak {
    /// Runs, the present one among them.
    pub runs: u64,
    /// Removals of the first of them.
    pub removals: u64,
}

/// The streaks of both targets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confirmations {
    #[serde(default)]
    lists: Option<Streak>,
    #[serde(default)]
    kv: Option<Streak>,
}

impl Record for Confirmations {
    const KEY: &'static str = "guard";
    const VERSION: u32 = 1;
}

/// Which target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Lists,
    Kv,
}

impl Streak {
    fn next(previous: Option<Self>, removals: u64) -> Self {
        match previous {
            Some(streak) if streak.removals.abs_diff(removals) * 10 <= streak.removals => {
                Self { runs: streak.runs.saturating_add(1), ..streak }
            }
            _ => Self { runs: 1, removals },
        }
    }
}

impl Confirmations {
    /// The streak that this run ends, which found this many removals too many, or none; remembered only
    /// if `counted`: a dry run confirms nothing. What the store does not keep starts again at every
    /// run, so that without one nothing is ever confirmed.
    pub(crate) fn count(
        host: &impl Host,
        target: Target,
        removals: Option<u64>,
        counted: bool,
    ) -> Streak {
        let mut remembered = Remembered::<Self>::load(host, 0);
        let before = match target {
            Target::Lists => remembered.lists,
            Target::Kv => remembered.kv,
        };
        let streak = removals.map(|removals| Streak::next(before, removals));
        if counted && streak != before {
            // Without a store, a refusal says itself that nothing is confirmed.
            let _ = remembered.change(host, |all| match target {
                Target::Lists => all.lists = streak,
                Target::Kv => all.kv = streak,
            });
        }
        streak.unwrap_or(Streak { runs: 0, removals: 0 })
    }

    /// A run that could not read LAPI confirms nothing: the next ones start again.
    pub(crate) fn interrupt(host: &impl Host) {
        let mut remembered = Remembered::<Self>::load(host, 0);
        if *remembered != Self::default() {
            let _ = remembered.change(host, |all| *all = Self::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(removals: &[u64]) -> u64 {
        let next = |streak, removals: &u64| Some(Streak::next(streak, *removals));
        removals.iter().fold(None, next).unwrap().runs
    }

    #[test]
    fn streak_counts_runs_that_find_about_the_same_and_starts_again_with_another() {
        assert_eq!(runs(&[4_000, 4_000, 4_000]), 3);
        assert_eq!(runs(&[4_000, 4_100, 3_900, 4_000]), 4, "a little churn");
        assert_eq!(runs(&[4_000, 4_000, 3_000]), 1, "LAPI fills up again");
        assert_eq!(runs(&[4_000, 3_700, 3_400]), 1, "slowly, too");
        assert_eq!(runs(&[3, 3, 2]), 1, "of few, each one counts");
    }
}
