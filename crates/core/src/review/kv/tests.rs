use super::*;
use crate::api::cloudflare::kv::{Key, Metadata, RangeEntry, Ranges};
use crate::decision::Remediation::{self, Ban};
use crate::desired::Desired;
use crate::observed::kv::ObservedKeys;
use crate::plan::kv::{Rules, diff};
use crate::review::{Review, review};
use crate::settings::GuardLimits;
use crate::settings::protected::Protected;
use crate::state::guard::{Held, Rule};
use crate::state::{Ends, Known};

use std::time::Duration;

const NOW: u64 = 1_793_000_000;

fn limits() -> GuardLimits {
    GuardLimits { percent: 50, count: 10, runs: 5, seconds: 1_800, approved_until: None }
}

/// A plan for these decisions and keys of ours, the latter with the seconds that they have left.
fn plan(
    desired: &[(&str, Remediation, u32)],
    keys: &[(&str, u64)],
    ranges: &[&str],
    protected: &Protected,
    ends: &Ends,
) -> KvPlan {
    let mut observed = ObservedKeys::default();
    for (address, left) in keys {
        let metadata = Some(Metadata { value: Ban, written: NOW - 3_600 });
        let name = format!("ip:{address}");
        observed.add(Key { name, expires: Some(NOW + left), metadata }, "ip:");
    }
    let entry =
        |range: &&str| (range.parse().unwrap(), RangeEntry { value: Ban, expires: NOW + 3_600 });
    let entries = ranges.iter().map(entry).collect();
    observed.set_ranges(Ranges::Ours {
        written: NOW - 3_600,
        entries,
        regions: Default::default(),
    });
    let tolerance = Duration::from_secs(600);
    let rules = Rules {
        prefix: "ip:",
        tolerance,
        protected,
        ends,
        now: NOW,
        began: NOW,
        ahead_since: None,
    };
    diff(&Desired::of_keys(desired), &observed, rules)
}

fn judge(plan: KvPlan, history: Option<Held>, now: u64) -> Review<KvPlan> {
    review(plan, history, |_| false, &limits(), now)
}

const NEW: &[(&str, Remediation, u32)] = &[("198.51.100.1", Ban, 3_600)];

#[test]
fn three_keys_that_were_all_replaced_are_held_and_two_are_not() {
    let nobody = (Protected::default(), Ends::default());
    let keys = [("192.0.2.1", 3_600), ("192.0.2.2", 3_600), ("192.0.2.3", 3_600)];
    let review = judge(plan(NEW, &keys, &[], &nobody.0, &nobody.1), None, NOW);
    assert_eq!(review.refusal.map(|refusal| refusal.rule()), Some(Rule::Replaced));
    assert_eq!((review.approved.deletes().len(), review.approved.held()), (0, 3));
    assert_eq!(review.approved.puts().len(), 1, "additions go");
    let review = judge(plan(NEW, &keys[..2], &[], &nobody.0, &nobody.1), None, NOW);
    assert_eq!((review.approved.deletes().len(), review.refusal), (2, None));
}

#[test]
fn keys_and_ranges_are_one_part() {
    let nobody = (Protected::default(), Ends::default());
    let keys = [("192.0.2.1", 3_600), ("192.0.2.2", 3_600)];
    let review = judge(plan(NEW, &keys, &["203.0.113.0/24"], &nobody.0, &nobody.1), None, NOW);
    assert_eq!((review.approved.held(), review.approved.ranges().held().len()), (3, 1));
}

/// Two have run out, by their keys or by what is remembered of their decisions: one lift is no accident.
#[test]
fn keys_whose_time_is_over_are_not_counted_among_what_was_there() {
    let over = [("192.0.2.2".parse().unwrap(), Known::new(true, NOW))];
    let ends = Ends::default().next(over.into_iter(), |_| false);
    let keys = [("192.0.2.1", 3_600), ("192.0.2.2", 600), ("192.0.2.3", 60)];
    let review = judge(plan(NEW, &keys, &[], &Protected::default(), &ends), None, NOW);
    assert_eq!((review.approved.deletes().len(), review.refusal), (2, None));
}

#[test]
fn nothing_desired_holds_even_one_and_what_moves_or_is_covered_is_never_counted() {
    let nobody = (Protected::default(), Ends::default());
    let one = [("203.0.113.1", 3_600)];
    let review = judge(plan(&[], &one, &[], &nobody.0, &nobody.1), None, NOW);
    assert_eq!(review.refusal.map(|refusal| refusal.rule()), Some(Rule::Empty));
    let keys: Vec<_> = (1..=60).map(|n| (format!("203.0.113.{n}"), 3_600)).collect();
    let keys: Vec<_> = keys.iter().map(|(key, left)| (key.as_str(), *left)).collect();
    for value in [Ban, Remediation::Captcha] {
        let range = [("203.0.113.0/24", value, 3_600)];
        let review = judge(plan(&range, &keys, &[], &nobody.0, &nobody.1), None, NOW);
        assert_eq!((review.approved.deletes().len(), review.refusal), (60, None));
    }
}

#[test]
fn owners_keys_go_at_once_up_to_ten_of_a_streak() {
    let mut protected = Protected::default();
    protected.add("203.0.113.0/24".parse().unwrap());
    let keys: Vec<_> = (1..=60).map(|n| (format!("203.0.113.{n}"), 3_600)).collect();
    let keys: Vec<_> = keys.iter().map(|(key, left)| (key.as_str(), *left)).collect();
    let first = judge(plan(NEW, &keys, &[], &protected, &Ends::default()), None, NOW);
    assert_eq!((first.approved.deletes().len(), first.approved.held()), (10, 50));
    let later = NOW + 120;
    let left = plan(NEW, &keys[10..], &[], &protected, &Ends::default());
    let second = judge(left, first.remember, later);
    assert_eq!((second.approved.deletes().len(), second.approved.held()), (0, 50));
}

#[test]
fn held_keys_go_after_five_runs_and_half_an_hour_and_not_after_one_of_the_two() {
    let nobody = (Protected::default(), Ends::default());
    let keys = [("192.0.2.1", 9_000), ("192.0.2.2", 9_000), ("192.0.2.3", 9_000)];
    let plan = || plan(NEW, &keys, &[], &nobody.0, &nobody.1);
    for (step, runs) in [(1, 1_801), (120, 16), (900, 5)] {
        let mut history = None;
        for run in 1.. {
            let review = judge(plan(), history, NOW + (run - 1) * step);
            if review.approved.held() == 0 {
                assert_eq!(run, runs, "every {step} s");
                break;
            }
            history = review.remember;
        }
    }
    let approved = GuardLimits { approved_until: Some(NOW + 60), ..limits() };
    let review = review(plan(), None, |_| false, &approved, NOW);
    assert_eq!((review.approved.deletes().len(), review.approved.held()), (3, 0));
}

#[test]
fn three_keys_lifted_beside_one_that_stays_go_at_once() {
    let nobody = (Protected::default(), Ends::default());
    let keys = [1, 2, 3, 4].map(|n| (format!("192.0.2.{n}"), 3_600));
    let keys: Vec<_> = keys.iter().map(|(key, left)| (key.as_str(), *left)).collect();
    let stays = [("192.0.2.4", Ban, 3_600)];
    let review = judge(plan(&stays, &keys, &[], &nobody.0, &nobody.1), None, NOW);
    assert_eq!((review.approved.deletes().len(), review.refusal), (3, None));
}
