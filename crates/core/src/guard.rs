//! What stands between a plan and its removals.
//!
//! A LAPI that lost its database answers like one whose bans were all lifted (facts crowdsec 1.6). So
//! removals that are too many at once are held back, while additions go; and because both cases look
//! the same, the guard yields by itself when the same is wanted for some runs in a row.
//!
//! Pure: what was seen at earlier runs comes from `confirm`, and what is done with a refusal is
//! `run`'s business. Only what went through here can be applied.

use std::fmt;
use std::ops::Deref;

use crate::confirm::Streak;
use crate::desired::Desired;
use crate::log::thousands;
use crate::observed::lists::Observed;
use crate::plan::kv::KvPlan;
use crate::plan::lists::{Lifted, Plan, Rules, diff_with};
use crate::settings::GuardLimits;

/// A plan that may be applied. Only this module makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Approved<P>(P);

impl<P> Deref for Approved<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.0
    }
}

/// What the guard says of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict<P> {
    /// What may be applied: the plan, or what is left of it without the removals that are refused.
    pub approved: Approved<P>,
    /// Why removals are held back.
    pub refusal: Option<Refusal>,
    /// There is an objection and the removals go all the same: why.
    pub yielded: Option<Yielded>,
}

/// What is wrong with a plan's removals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    rule: Rule,
    /// What would be removed from: a list, or KV.
    place: &'static str,
    /// How many removals, of how many items, or keys and ranges.
    removals: u64,
    of: u64,
}

/// The rules of the guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Nothing is desired, and the edge is not empty.
    Empty,
    /// Too many removals, by part and by number.
    Share,
}

/// Removals are held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    objection: Objection,
    percent: u64,
    count: u64,
    run: u64,
    runs: u64,
}

/// Why removals go in spite of an objection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Yielded {
    /// The same was wanted in so many runs in a row.
    Confirmed(u64),
}

/// What would be removed from one place because no decision asks for it any more.
struct Removals {
    place: &'static str,
    lifted: u64,
    of: u64,
}

impl GuardLimits {
    /// What speaks against the removals of `plan`.
    pub fn objection_to_lists(&self, desired: &Desired, plan: &Plan) -> Option<Objection> {
        let lists = plan.lists().iter().map(|list| Removals {
            place: list.list.as_str(),
            lifted: list.lifted().count() as u64,
            of: list.observed(),
        });
        self.objection(desired.candidates().next().is_none(), lists)
    }

    /// The same for KV.
    pub fn objection_to_keys(&self, desired: &Desired, plan: &KvPlan) -> Option<Objection> {
        let keys =
            Removals { place: "KV", lifted: plan.lifted().count() as u64, of: plan.observed() };
        self.objection(desired.is_without_keys(), std::iter::once(keys))
    }

    fn objection(
        &self,
        nothing_desired: bool,
        places: impl Iterator<Item = Removals>,
    ) -> Option<Objection> {
        // A run of one confirms itself: the guard is off.
        if self.runs <= 1 {
            return None;
        }
        let mut worst: Option<Objection> = None;
        for Removals { place, lifted: removals, of } in places {
            let rule = if nothing_desired && removals > 0 {
                Rule::Empty
            } else if removals > self.count && removals * 100 > of * self.percent {
                Rule::Share
            } else {
                continue;
            };
            match &mut worst {
                Some(worst) if worst.removals >= removals => {}
                _ => worst = Some(Objection { rule, place, removals, of }),
            }
        }
        worst
    }

    /// What may be applied of the plan for the lists. `streak` counts this run too.
    pub fn judge_lists(
        &self,
        plan: Plan,
        objection: Option<Objection>,
        streak: Streak,
        (desired, observed, rules): (&Desired, &Observed, Rules<'_>),
    ) -> Verdict<Plan> {
        self.judge(plan, objection, streak, |_| diff_with(desired, observed, rules, Lifted::Held))
    }

    /// The same for KV.
    pub fn judge_keys(
        &self,
        plan: KvPlan,
        objection: Option<Objection>,
        streak: Streak,
    ) -> Verdict<KvPlan> {
        self.judge(plan, objection, streak, KvPlan::holding_lifted)
    }

    fn judge<P>(
        &self,
        plan: P,
        objection: Option<Objection>,
        streak: Streak,
        without_removals: impl FnOnce(P) -> P,
    ) -> Verdict<P> {
        let Some(objection) = objection else {
            return Verdict { approved: Approved(plan), refusal: None, yielded: None };
        };
        let yielded = (streak.runs >= self.runs).then_some(Yielded::Confirmed(streak.runs));
        if yielded.is_some() {
            return Verdict { approved: Approved(plan), refusal: None, yielded };
        }
        let refusal = Refusal {
            objection,
            percent: self.percent,
            count: self.count,
            run: streak.runs,
            runs: self.runs,
        };
        Verdict {
            approved: Approved(without_removals(plan)),
            refusal: Some(refusal),
            yielded: None,
        }
    }
}

impl Objection {
    /// How many removals it is about, in the place that is worst.
    pub fn removals(&self) -> u64 {
        self.removals
    }
}

impl Refusal {
    /// The rule that was broken.
    pub fn rule(&self) -> Rule {
        self.objection.rule
    }
}

/// Rule, numbers, and the way out.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Objection { rule, place, removals, of } = &self.objection;
        let [removals, of, count] = [*removals, *of, self.count].map(thousands);
        match rule {
            Rule::Empty => write!(
                f,
                "LAPI has no decision left for the edge, and {place} has {of}; perhaps it lost its database"
            )?,
            Rule::Share => write!(
                f,
                "{place}: {removals} of {of} would be removed, more than {} % and more than {count}",
                self.percent
            )?,
        }
        write!(
            f,
            "; held back, while additions go. They go by themselves when {} runs in a row find the same (this is run {})",
            self.runs, self.run
        )
    }
}

impl serde::Serialize for Refusal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Yielded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confirmed(runs) => {
                write!(f, "many removals, and they go: the same was found in {runs} runs in a row")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::lists::ObservedList;
    use std::time::SystemTime;

    fn guard() -> GuardLimits {
        GuardLimits { percent: 50, count: 3, runs: 5, seconds: 0, approved_until: None }
    }

    fn many(n: u8) -> Vec<String> {
        (0..n).map(|i| format!("203.0.113.{i}")).collect()
    }

    /// The verdict where `desired` of `observed` bans are still wanted, and one more comes.
    fn verdict(guard: &GuardLimits, observed: u8, desired: u8, runs: u64) -> Verdict<Plan> {
        let (observed, mut desired) = (many(observed), many(desired));
        if !desired.is_empty() {
            desired.push("198.51.100.1".to_owned());
        }
        let [observed, desired] =
            [&observed, &desired].map(|texts| texts.iter().map(String::as_str).collect::<Vec<_>>());
        let observed = Observed::of(ObservedList::of(&observed), ObservedList::default());
        let desired = Desired::of(&desired, &[]);
        let rules = Rules::at(SystemTime::UNIX_EPOCH);
        let plan = crate::plan::lists::diff(&desired, &observed, rules);
        let objection = guard.objection_to_lists(&desired, &plan);
        let streak = Streak { runs, removals: 0 };
        guard.judge_lists(plan, objection, streak, (&desired, &observed, rules))
    }

    fn removals(verdict: &Verdict<Plan>) -> u64 {
        verdict.approved.lists().iter().map(|list| list.removed()).sum()
    }

    #[test]
    fn removals_are_refused_only_beyond_the_part_and_the_number_at_once() {
        for (observed, desired, refused) in [
            (10, 6, false), // 4: the number only
            (6, 3, false),  // 3 of 6: neither
            (5, 2, false),  // 3 of 5: the part only
            (7, 3, true),   // 4 of 7
            (10, 5, false), // 5 of 10 is not more than half
            (10, 4, true),
        ] {
            let verdict = verdict(&guard(), observed, desired, 1);
            let case = format!("{desired} of {observed} wanted");
            assert_eq!(verdict.refusal.is_some(), refused, "{case}");
            let gone = if refused { 0 } else { u64::from(observed - desired) };
            assert_eq!(removals(&verdict), gone, "{case}");
            assert_eq!(verdict.approved.lists()[0].added(), 1, "{case}: additions go");
        }
    }

    #[test]
    fn nothing_desired_and_something_there_is_refused_whatever_the_number() {
        let verdict = verdict(&guard(), 1, 0, 1);
        assert_eq!(verdict.refusal.as_ref().map(Refusal::rule), Some(Rule::Empty));
        assert!(verdict.approved.is_empty());
    }

    #[test]
    fn refusal_says_rule_numbers_and_the_way_out() {
        let refusal = verdict(&guard(), 9, 2, 2).refusal.unwrap();
        insta::assert_snapshot!(refusal, @"ban: 7 of 9 would be removed, more than 50 % and more than 3; held back, while additions go. They go by themselves when 5 runs in a row find the same (this is run 2)");
    }

    #[test]
    fn refusal_yields_to_the_last_of_the_runs_in_a_row() {
        assert!(verdict(&guard(), 9, 2, 4).refusal.is_some());
        let yielded = verdict(&guard(), 9, 2, 5);
        assert_eq!((yielded.refusal.as_ref(), removals(&yielded)), (None, 7));
        assert_eq!(yielded.yielded, Some(Yielded::Confirmed(5)));
    }

    #[test]
    fn one_run_to_confirm_switches_the_guard_off() {
        let off = GuardLimits { runs: 1, ..guard() };
        assert_eq!(removals(&verdict(&off, 9, 0, 1)), 9);
    }

    #[test]
    fn moved_and_protected_addresses_are_not_held_back() {
        let observed = Observed::of(ObservedList::of(&["1.0.0.1"]), ObservedList::of(&["1.0.0.2"]));
        let desired = Desired::of(&["1.0.0.2"], &[]);
        let mut protected = crate::settings::protected::Protected::default();
        protected.add("1.0.0.1".parse().unwrap());
        let rules = Rules { protected: &protected, ..Rules::at(SystemTime::UNIX_EPOCH) };
        let plan = crate::plan::lists::diff(&desired, &observed, rules);
        let strict = GuardLimits { percent: 0, count: 0, ..guard() };
        assert_eq!(strict.objection_to_lists(&desired, &plan), None);
        assert_eq!(plan.drift(), 3);
    }
}
