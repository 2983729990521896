use super::*;
use crate::api::cloudflare::kv::{Key, Metadata};
use Remediation::{Ban, Captcha};

use std::sync::LazyLock;

const NOW: u64 = 1_793_000_000;

fn rules() -> Rules<'static> {
    static NOBODY: LazyLock<Protected> = LazyLock::new(Protected::default);
    let tolerance = Duration::from_secs(600);
    Rules { prefix: "ip:", tolerance, protected: &NOBODY, now: NOW, began: NOW }
}

/// A key of ours: address, value, seconds until it expires.
fn ours(address: &str, value: Remediation, left: u64) -> Key {
    let metadata = Some(Metadata { value, written: NOW - 3_600 });
    Key { name: format!("ip:{address}"), expires: Some(NOW + left), metadata }
}

fn observed(keys: Vec<Key>) -> ObservedKeys {
    let mut observed = ObservedKeys::default();
    keys.into_iter().for_each(|key| observed.add(key, "ip:"));
    observed
}

fn plan(desired: &[(&str, Remediation, u32)], keys: Vec<Key>) -> KvPlan {
    diff(&Desired::of_keys(desired), &observed(keys), rules())
}

fn reasons(plan: &KvPlan) -> Vec<Why> {
    let puts = plan.puts().iter().map(|put| put.why);
    puts.chain(plan.deletes().iter().map(|delete| delete.why)).collect()
}

#[test]
fn key_that_says_what_it_should_is_kept_within_the_tolerance() {
    for left in [3_600, 3_660, 3_600 + 60 + 600, 3_600 - 600] {
        let plan = plan(&[("1.1.1.1", Ban, 3_600)], vec![ours("1.1.1.1", Ban, left)]);
        assert!(plan.is_empty(), "{left}: {plan}");
    }
}

#[test]
fn key_outside_the_tolerance_is_refreshed() {
    for left in [3_600 + 60 + 601, 3_600 - 601] {
        let plan = plan(&[("1.1.1.1", Ban, 3_600)], vec![ours("1.1.1.1", Ban, left)]);
        assert_eq!(reasons(&plan), [Why::Refresh], "{left}");
        assert_eq!(plan.puts()[0].ttl_secs, 3_660);
    }
}

#[test]
fn key_that_would_expire_before_its_decision_is_refreshed_in_time() {
    // Early by less than the tolerance: nothing to do yet ...
    assert!(plan(&[("1.1.1.1", Ban, 800)], vec![ours("1.1.1.1", Ban, 481)]).is_empty());
    // ... and then not later than two failed runs would allow.
    let late = plan(&[("1.1.1.1", Ban, 799)], vec![ours("1.1.1.1", Ban, 480)]);
    assert_eq!(reasons(&late), [Why::Refresh]);
}

#[test]
fn decision_in_its_last_seconds_jitters_without_a_write() {
    for (remaining, left) in [(0, 5), (0, 60), (1, 58), (59, 119), (30, 90)] {
        let plan = plan(&[("1.1.1.1", Ban, remaining)], vec![ours("1.1.1.1", Ban, left)]);
        assert!(plan.is_empty(), "{remaining} {left}: {plan}");
    }
}

#[test]
fn short_decision_without_a_key_is_raised_to_the_shortest_life() {
    let plan = plan(&[("1.1.1.1", Ban, 0)], vec![]);
    assert_eq!(plan.puts()[0].ttl_secs, 60);
}

#[test]
fn decision_that_ran_out_needs_no_delete_and_a_lifted_one_does() {
    let plan = plan(&[], vec![ours("1.1.1.1", Ban, 119), ours("2.2.2.2", Ban, 3_600)]);
    assert_eq!(plan.deletes(), [Delete { why: Why::Lifted, key: "ip:2.2.2.2".into() }]);
    assert_eq!(plan.running_out, 1);
}

#[test]
fn key_of_a_protected_address_is_deleted_first_and_at_once() {
    let mut protected = Protected::default();
    protected.add("2.2.2.2".parse().unwrap());
    let mut fresh = ours("2.2.2.2", Ban, 100);
    fresh.metadata = Some(Metadata { value: Ban, written: NOW - 1 });
    let keys = observed(vec![ours("1.1.1.1", Ban, 3_600), fresh]);
    let rules = Rules { protected: &protected, ..rules() };
    let plan = diff(&Desired::of_keys(&[("3.3.3.3", Ban, 60)]), &keys, rules).within(Some(1));
    assert_eq!(plan.deletes(), [Delete { why: Why::Protected, key: "ip:2.2.2.2".into() }]);
    assert_eq!((plan.puts().len(), plan.waiting()), (0, 2));
}

#[test]
fn key_written_a_moment_ago_is_never_deleted() {
    let mut key = ours("1.1.1.1", Ban, 3_600);
    key.metadata = Some(Metadata { value: Ban, written: NOW - 30 });
    let plan = plan(&[], vec![key]);
    assert!(plan.is_empty());
    assert_eq!((plan.waiting(), plan.drift()), (1, 1));
}

#[test]
fn key_written_while_a_slow_run_was_reading_is_never_deleted() {
    let mut key = ours("1.1.1.1", Ban, 3_600);
    key.metadata = Some(Metadata { value: Ban, written: NOW - 300 });
    let slow = Rules { began: NOW - 301, ..rules() };
    let plan = diff(&Desired::default(), &observed(vec![key]), slow);
    assert_eq!((plan.deletes().len(), plan.waiting()), (0, 1));
}

#[test]
fn changed_unknown_eternal_and_misspelt_keys_are_put_right() {
    let eternal = Key { expires: None, ..ours("3.3.3.3", Ban, 0) };
    let unknown = Key { metadata: None, ..ours("4.4.4.4", Ban, 3_660) };
    let plan = plan(
        &[
            ("1.1.1.1", Ban, 3_600),
            ("2.2.2.2", Captcha, 3_600),
            ("3.3.3.3", Ban, 3_600),
            ("4.4.4.4", Ban, 3_600),
        ],
        vec![
            ours("1.1.1.1", Captcha, 3_660),
            ours("2.2.2.2", Ban, 3_660),
            eternal,
            unknown,
            ours("2001:DB8::1", Ban, 3_660),
        ],
    );
    assert_eq!(
        reasons(&plan),
        [Why::BanOverCaptcha, Why::Adopted, Why::Refresh, Why::Captcha, Why::Misspelt]
    );
}

#[test]
fn short_budget_is_spent_on_the_most_important_changes() {
    let desired = [
        ("1.1.1.1", Ban, 3_600),
        ("1.1.1.2", Ban, 3_600),
        ("2.2.2.2", Captcha, 3_600),
        ("3.3.3.3", Ban, 3_600),
        ("4.4.4.4", Ban, 3_600),
    ];
    let keys = || {
        vec![
            ours("3.3.3.3", Captcha, 3_660),
            ours("4.4.4.4", Ban, 9_999),
            ours("5.5.5.5", Ban, 3_600),
        ]
    };
    let spent = |budget| {
        let plan =
            diff(&Desired::of_keys(&desired), &observed(keys()), rules()).within(Some(budget));
        (reasons(&plan), plan.waiting())
    };
    assert_eq!(spent(0), (vec![], 6));
    assert_eq!(spent(1), (vec![Why::NewBan], 5));
    assert_eq!(spent(3), (vec![Why::NewBan, Why::NewBan, Why::BanOverCaptcha], 3));
    assert_eq!(
        spent(5).0,
        [Why::NewBan, Why::NewBan, Why::BanOverCaptcha, Why::Captcha, Why::Lifted]
    );
    assert_eq!(spent(6).1, 0);
}

#[test]
fn plan_shown_says_what_is_done_and_what_waits() {
    let desired = Desired::of_keys(&[("1.1.1.1", Ban, 3_600), ("2.2.2.2", Captcha, 3_600)]);
    let plan = diff(&desired, &observed(vec![ours("9.9.9.9", Ban, 5)]), rules()).within(Some(1));
    assert_eq!(plan.to_string(), "new_ban 1 =0; 1 left to expire; waiting: captcha 1");
}
