use super::*;
use crate::address::Address;
use crate::api::cloudflare::kv::{Key, Metadata, RangeEntry, Ranges};
use crate::state::Known;
use Remediation::{Ban, Captcha};

use std::sync::LazyLock;

const NOW: u64 = 1_793_000_000;

fn rules() -> Rules<'static> {
    static NOBODY: LazyLock<Protected> = LazyLock::new(Protected::default);
    static UNKNOWN: LazyLock<Ends> = LazyLock::new(Ends::default);
    Rules {
        prefix: "ip:",
        tolerance: Duration::from_secs(600),
        protected: &NOBODY,
        ends: &UNKNOWN,
        now: NOW,
        began: NOW,
        ahead_since: None,
    }
}

/// What was desired last: address, whether it was decided here, seconds until it ends.
fn ends(all: &[(&str, bool, u64)]) -> Ends {
    let known = |&(text, own, left): &(&str, _, _)| (address(text), Known::new(own, NOW + left));
    Ends::default().next(all.iter().map(known), |_| false)
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// A delete that waits for nothing.
fn delete(text: &str, why: Why, class: Class) -> Delete {
    Delete { why, class, key: format!("ip:{text}"), address: Some(address(text)), after: None }
}

/// A key of ours: address, value, seconds until it expires.
fn ours(address: &str, value: Remediation, left: u64) -> Key {
    let metadata = Some(Metadata { value, written: NOW - 3_600 });
    Key { name: format!("ip:{address}"), expires: Some(NOW + left), metadata }
}

fn observed(keys: Vec<Key>) -> ObservedKeys {
    let mut observed = ObservedKeys::default();
    keys.into_iter().for_each(|key| {
        observed.add(key, "ip:");
    });
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
fn key_far_outside_the_tolerance_is_refreshed() {
    for left in [3_600 + 60 + 601, 1_829] {
        let plan = plan(&[("1.1.1.1", Ban, 3_600)], vec![ours("1.1.1.1", Ban, left)]);
        assert_eq!(reasons(&plan), [Why::Refresh], "{left}");
        assert_eq!(plan.puts()[0].ttl_secs, 3_660);
    }
}

/// Lists that are inserted anew at every pull hold a little longer with each of them.
#[test]
fn key_that_would_expire_early_and_has_half_of_its_time_left_is_kept() {
    for left in [2_999, 1_830] {
        let plan = plan(&[("1.1.1.1", Ban, 3_600)], vec![ours("1.1.1.1", Ban, left)]);
        assert!(plan.is_empty(), "{left}: {plan}");
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
fn key_that_expires_early_is_refreshed_beyond_the_tolerance_and_soon_up_to_the_rounding() {
    for (remaining, left, is_due) in [
        (1_200, 600, false),
        (1_201, 600, true),
        // Both times are whole seconds, and clocks differ: it may end up to five seconds later.
        (300, 304, true),
        (300, 305, false),
    ] {
        let plan = plan(&[("1.1.1.1", Ban, remaining)], vec![ours("1.1.1.1", Ban, left)]);
        assert_eq!(!plan.is_empty(), is_due, "{remaining} {left}: {plan}");
    }
}

#[test]
fn plan_is_empty_only_without_keys_to_write_or_delete_and_without_ranges() {
    let there = || vec![ours("1.1.1.1", Ban, 3_660)];
    let ban = ("1.1.1.1", Ban, 3_600);
    assert!(plan(&[ban], there()).is_empty());
    assert!(!plan(&[ban], vec![]).is_empty(), "a key to write");
    assert!(!plan(&[], there()).is_empty(), "a key to delete");
    assert!(!plan(&[ban, ("203.0.113.0/24", Ban, 3_600)], there()).is_empty(), "a range");
}

/// What was written in this second is not of the future, whatever else was seen that is.
#[test]
fn key_written_in_this_second_is_fresh_and_none_of_the_future() {
    let mut key = ours("1.1.1.1", Ban, 3_600);
    key.metadata = Some(Metadata { value: Ban, written: NOW });
    let keys = observed(vec![key]);
    let rules = Rules { ahead_since: Some(NOW - 3_600), ..rules() };
    let plan = diff(&Desired::default(), &keys, rules);
    assert_eq!((plan.deletes().len(), plan.sees_ahead()), (0, false));
}

/// A key lives a minute at least, so that to write it anew would bring its end forward by less than that.
#[test]
fn key_of_a_decision_in_its_last_minute_is_too_late_only_by_a_whole_minute_more() {
    let exact = Rules { tolerance: Duration::ZERO, ..rules() };
    for (remaining, left, reasons) in [
        (0, 120, vec![]),
        (0, 121, vec![Why::Refresh]),
        (61, 121, vec![]),
        (61, 122, vec![Why::Refresh]),
    ] {
        let keys = observed(vec![ours("1.1.1.1", Ban, left)]);
        let plan = diff(&Desired::of_keys(&[("1.1.1.1", Ban, remaining)]), &keys, exact);
        assert_eq!(self::reasons(&plan), reasons, "{remaining} {left}");
    }
}

/// The guard looks more closely at a plan that keeps nothing.
#[test]
fn plan_keeps_something_while_one_key_that_is_there_is_desired() {
    let there = || {
        vec![ours("1.1.1.1", Ban, 300), ours("2.2.2.2", Ban, 3_660), ours("3.3.3.3", Ban, 3_660)]
    };
    let some = plan(&[("1.1.1.1", Ban, 3_600), ("2.2.2.2", Ban, 3_600)], there());
    assert_eq!((some.keep(), some.keeps_nothing()), (1, false), "one of them is written anew");
    let others = plan(&[("4.4.4.4", Ban, 3_600)], there());
    assert_eq!((others.keep(), others.keeps_nothing()), (0, true));
}

#[test]
fn short_decision_without_a_key_is_raised_to_the_shortest_life() {
    let plan = plan(&[("1.1.1.1", Ban, 0)], vec![]);
    assert_eq!(plan.puts()[0].ttl_secs, 60);
}

#[test]
fn decision_that_ran_out_needs_no_delete_and_a_lifted_one_does() {
    let plan = plan(&[], vec![ours("1.1.1.1", Ban, 119), ours("2.2.2.2", Ban, 3_600)]);
    assert_eq!(plan.deletes(), [delete("2.2.2.2", Why::Lifted, Class::Lift)]);
    assert_eq!((plan.running_out, plan.observed(), plan.lasting()), (1, 2, 1));
}

/// A key outlives its decision by up to the tolerance and somewhat more.
#[test]
fn decision_whose_end_has_passed_is_no_lift_and_a_community_one_is_not_urgent() {
    let known = ends(&[("1.1.1.1", true, 0), ("2.2.2.2", true, 900), ("3.3.3.3", false, 900)]);
    let keys = ["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"].map(|key| ours(key, Ban, 600));
    let plan = diff(&Desired::default(), &observed(keys.into()), Rules { ends: &known, ..rules() });
    let expected = [
        delete("2.2.2.2", Why::Lifted, Class::Lift),
        delete("4.4.4.4", Why::Lifted, Class::Lift),
        delete("1.1.1.1", Why::RanOut, Class::Rest),
        delete("3.3.3.3", Why::Lifted, Class::Rest),
    ];
    assert_eq!(plan.deletes(), expected);
    assert_eq!((plan.observed(), plan.lasting()), (4, 3));
}

#[test]
fn key_inside_a_desired_range_goes_after_the_range_unless_that_is_in_force_and_stays_so() {
    let net = address("203.0.113.0/24");
    let known = ends(&[("203.0.113.8", true, 0)]);
    for (key, wanted, there, why, waits) in [
        (ours("203.0.113.7", Ban, 3_600), Ban, None, Why::Covered, true),
        (ours("203.0.113.7", Captcha, 3_600), Ban, None, Why::Covered, true),
        (ours("203.0.113.7", Ban, 3_600), Captcha, None, Why::Moved, true),
        (ours("203.0.113.7", Ban, 3_600), Ban, Some((Ban, 3_600)), Why::Covered, false),
        (ours("203.0.113.7", Ban, 3_600), Ban, Some((Captcha, 3_600)), Why::Covered, true),
        (ours("203.0.113.7", Ban, 3_600), Ban, Some((Ban, 0)), Why::Covered, true),
        (ours("203.0.113.7", Ban, 3_600), Ban, Some((Ban, 300)), Why::Covered, true),
        (ours("203.0.113.7", Ban, 3_600), Captcha, Some((Captcha, 3_600)), Why::Moved, false),
        (ours("203.0.113.8", Ban, 600), Ban, None, Why::Covered, true),
    ] {
        let name = key.name.strip_prefix("ip:").unwrap().to_owned();
        let mut keys = observed(vec![key]);
        if let Some((value, left)) = there {
            let entries = [(net, RangeEntry { value, expires: NOW + left })].into();
            keys.set_ranges(Ranges::Ours {
                written: NOW - 3_600,
                entries,
                regions: Default::default(),
            });
        }
        let desired = Desired::of_keys(&[("203.0.113.0/24", wanted, 3_600)]);
        let plan = diff(&desired, &keys, Rules { ends: &known, ..rules() });
        let expected = Delete { after: waits.then_some(net), ..delete(&name, why, Class::Rest) };
        assert_eq!(plan.deletes(), [expected], "{wanted:?} {there:?}");
    }
}

/// It may ban, and the range that is there challenges.
#[test]
fn key_of_unknown_value_goes_after_the_strongest_range_that_comes_around_it() {
    let net = address("203.0.113.0/24");
    let unknown = Key { metadata: None, ..ours("203.0.113.7", Ban, 3_600) };
    let mut keys = observed(vec![unknown]);
    let entries = [(net, RangeEntry { value: Captcha, expires: NOW + 3_660 })].into();
    keys.set_ranges(Ranges::Ours { written: NOW - 3_600, entries, regions: Default::default() });
    let there = ("203.0.113.0/24", Captcha, 3_600);
    for (desired, after) in [
        (vec![there, ("203.0.113.0/29", Ban, 3_600)], Some(address("203.0.113.0/29"))),
        (vec![there, ("203.0.113.0/29", Captcha, 3_600)], None),
        (vec![there], None),
    ] {
        let plan = diff(&Desired::of_keys(&desired), &keys, rules());
        let expected = Delete { after, ..delete("203.0.113.7", Why::Covered, Class::Rest) };
        assert_eq!(plan.deletes(), [expected], "{desired:?}");
    }
}

#[test]
fn key_of_an_owner_inside_a_desired_range_waits_for_nothing() {
    let mut protected = Protected::default();
    protected.add("203.0.113.7".parse().unwrap());
    let keys = observed(vec![ours("203.0.113.7", Ban, 3_600)]);
    let desired = Desired::of_keys(&[("203.0.113.0/24", Ban, 3_600)]);
    let plan = diff(&desired, &keys, Rules { protected: &protected, ..rules() });
    assert_eq!(plan.deletes(), [delete("203.0.113.7", Why::Protected, Class::Owner)]);
}

#[test]
fn key_of_a_protected_address_is_deleted_first_and_at_once() {
    let mut protected = Protected::default();
    protected.add("2.2.2.2".parse().unwrap());
    let mut fresh = ours("2.2.2.2", Ban, 100);
    fresh.metadata = Some(Metadata { value: Ban, written: NOW - 1 });
    let keys = observed(vec![ours("1.1.1.1", Ban, 3_600), fresh]);
    let rules = Rules { protected: &protected, ..rules() };
    let plan = diff(&Desired::of_keys(&[("3.3.3.3", Ban, 60)]), &keys, rules);
    let expected = [
        delete("2.2.2.2", Why::Protected, Class::Owner),
        delete("1.1.1.1", Why::Lifted, Class::Lift),
    ];
    assert_eq!(plan.deletes(), expected);
}

#[test]
fn key_written_a_moment_ago_is_never_deleted() {
    let mut key = ours("1.1.1.1", Ban, 3_600);
    key.metadata = Some(Metadata { value: Ban, written: NOW - 30 });
    let plan = plan(&[], vec![key]);
    assert!(plan.is_empty());
    assert_eq!((plan.waiting(), plan.drift()), (&[(Why::Lifted, 1)].into(), 1));
}

#[test]
fn key_written_in_the_future_counts_as_written_when_it_was_first_seen() {
    let mut key = ours("1.1.1.1", Ban, 3_600);
    key.metadata = Some(Metadata { value: Ban, written: NOW + 7_200 });
    let keys = observed(vec![key]);
    for (ahead_since, deletes) in [(None, 0), (Some(NOW - 89), 0), (Some(NOW - 90), 1)] {
        let plan = diff(&Desired::default(), &keys, Rules { ahead_since, ..rules() });
        assert_eq!((plan.deletes().len(), plan.sees_ahead()), (deletes, true), "{ahead_since:?}");
    }
}

#[test]
fn key_written_while_a_slow_run_was_reading_is_never_deleted() {
    let mut key = ours("1.1.1.1", Ban, 3_600);
    key.metadata = Some(Metadata { value: Ban, written: NOW - 300 });
    let slow = Rules { began: NOW - 301, ..rules() };
    let plan = diff(&Desired::default(), &observed(vec![key]), slow);
    assert_eq!((plan.deletes().len(), plan.drift()), (0, 1));
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
        [Why::BanOverCaptcha, Why::Adopted, Why::Captcha, Why::Refresh, Why::Misspelt]
    );
}

/// Community bans are a list of their own; what is decided here comes first, what holds longest next.
#[test]
fn puts_are_in_order_of_urgency_then_of_remaining_time_and_refreshes_come_last() {
    let mut desired = Desired::of_keys(&[("1.1.1.1", Ban, 60), ("9.9.9.9", Ban, 9_000)]);
    for (address, key, origin, secs) in [
        ("2.2.2.1", Ban, "CAPI", 600),
        ("2.2.2.2", Ban, "lists", 7_200),
        ("3.3.3.3", Captcha, "cscli", 7_200),
        ("4.4.4.4", Captcha, "CAPI", 7_200),
    ] {
        desired.put(address, None, Some(key), origin, secs);
    }
    let unknown = Key { metadata: None, ..ours("4.4.4.4", Captcha, 60) };
    let plan = diff(&desired, &observed(vec![ours("9.9.9.9", Ban, 300), unknown]), rules());
    let order: Vec<_> =
        plan.puts().iter().map(|put| (put.address.to_string(), put.class, put.own)).collect();
    let expected = [
        ("1.1.1.1", Class::OwnBan, true),
        ("2.2.2.2", Class::CommunityBan, false),
        ("2.2.2.1", Class::CommunityBan, false),
        ("3.3.3.3", Class::Captcha, false),
        ("4.4.4.4", Class::Rest, false),
        ("9.9.9.9", Class::Rest, true),
    ];
    assert_eq!(order, expected.map(|(text, class, own)| (text.to_owned(), class, own)));
}

#[test]
fn refresh_of_an_own_ban_finds_room_only_when_it_would_lapse() {
    for (value, left, own) in [(Ban, 480, true), (Ban, 1_000, false), (Captcha, 480, false)] {
        let plan = plan(&[("1.1.1.1", value, 3_600)], vec![ours("1.1.1.1", value, left)]);
        assert_eq!(reasons(&plan), [Why::Refresh]);
        assert_eq!(plan.puts()[0].own, own, "{value} {left}");
    }
}

#[test]
fn plan_shown_says_what_differs_and_what_runs_out() {
    let desired = Desired::of_keys(&[("1.1.1.1", Ban, 3_600), ("2.2.2.2", Captcha, 3_600)]);
    let plan = diff(&desired, &observed(vec![ours("9.9.9.9", Ban, 5)]), rules());
    assert_eq!(plan.to_string(), "new_ban 1, captcha 1 =0; 1 left to expire");
}
