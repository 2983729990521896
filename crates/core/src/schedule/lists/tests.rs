//! Which operations, in which order, and what waits.

mod inside;
mod room;
mod says;
mod stale;
mod standstill;
mod worlds;

use crate::small::SmallMap;

use super::*;
use crate::address::Address;
use crate::desired::Desired;
use crate::observed::lists::ObservedList;
use crate::plan::lists::{Rules, diff};
use crate::review::review;
use crate::settings::GuardLimits;
use crate::settings::protected::Protected;
use crate::state::{Ends, Known};

const T: u64 = 1_793_000_000;
const HOUR: u64 = 3_600;

/// A situation; everything but the two states as nothing were remembered.
struct Case {
    desired: Desired,
    ban: ObservedList,
    captcha: ObservedList,
    history: WriteHistory,
    ends: Ends,
    protected: Protected,
    items_max: u64,
    interval: u64,
    rules: ByRules,
    now: u64,
}

fn case(ban: (&[&str], &[&str]), captcha: (&[&str], &[&str])) -> Case {
    Case {
        desired: Desired::of(ban.0, captcha.0),
        ban: ObservedList::of(ban.1),
        captcha: ObservedList::of(captcha.1),
        history: WriteHistory::default(),
        ends: Ends::default(),
        protected: Protected::default(),
        items_max: 500_000,
        interval: 0,
        rules: ByRules::default(),
        now: T,
    }
}

fn pace(interval: u64) -> Pace {
    let backoff = [1_800, 3_600].map(Duration::from_secs).to_vec();
    Pace { backoff, interval: Duration::from_secs(interval) }
}

impl Case {
    /// With the guard off.
    fn schedule(&self) -> Schedule {
        let off = GuardLimits { percent: 0, count: 0, runs: 1, seconds: 0, approved_until: None };
        self.schedule_with(off)
    }

    fn schedule_with(&self, guard: GuardLimits) -> Schedule {
        let observed = Observed::of(self.ban.clone(), self.captcha.clone());
        let rules = Rules {
            now: self.now,
            items_max: self.items_max,
            protected: &self.protected,
            ends: &self.ends,
            set_aside: &SmallMap::default(),
        };
        let plan = diff(&self.desired, &observed, rules);
        let approved = review(plan, None, |_| false, &guard, self.now).approved;
        let (history, pace) = (&self.history, &pace(self.interval));
        let inputs = Inputs {
            observed: &observed,
            history,
            pace,
            token: 0,
            rules: &self.rules,
            now: self.now,
        };
        schedule(&approved, inputs)
    }

    /// `PUT ban +1 -1`, or what is waited for.
    fn says(&self) -> Vec<String> {
        let schedule = self.schedule();
        if let Some(wait) = schedule.wait() {
            return vec![format!("waits: {}", wait.as_str())];
        }
        let operations = schedule.operations().iter().map(|operation| {
            let Effect { list, added, removed } = operation.effect();
            format!("{} {list} +{added} -{removed}", operation.verb())
        });
        operations.collect()
    }

    /// Writes are scarce: one was throttled yesterday.
    /// The first operation of the schedule was refused for a value that was not named.
    fn refused(mut self) -> Self {
        let schedule = self.schedule();
        let suspects = schedule.suspects_in(&schedule.operations()[0], 0);
        self.history.some_value_refused((None, suspects), false, 0, T);
        self
    }

    fn scarce(mut self) -> Self {
        self.history.throttled(false, &pace(0), self.now - 24 * HOUR);
        self
    }

    /// Too large to be rewritten.
    fn costly(mut self) -> Self {
        self.history.kept_value_refused(0, self.now);
        self
    }

    /// Of the community, with a day left.
    fn community(mut self, list: Remediation, addresses: &[&str]) -> Self {
        let put = |address: &&str| self.desired.put(address, Some(list), None, "CAPI", 86_400);
        addresses.iter().for_each(put);
        self
    }

    /// What is known of what is at the edge.
    fn known(mut self, address: &str, own: bool, ends: u64) -> Self {
        let known = [(address.parse().unwrap(), Known::new(own, ends))];
        self.ends = self.ends.next(known.into_iter(), |_| true);
        self
    }

    fn protecting(mut self, prefix: &str) -> Self {
        self.protected.add(prefix.parse().unwrap());
        self
    }
}

const NONE: (&[&str], &[&str]) = (&[], &[]);
use Remediation::{Ban, Captcha};

#[test]
fn one_direction_of_drift_takes_one_operation() {
    assert_eq!(case((&["1.1.1.1"], &[]), NONE).says(), ["POST ban +1 -0"]);
    let gone = case((&["1.1.1.1"], &["1.1.1.1", "1.1.1.2"]), NONE);
    assert_eq!(gone.says(), ["DELETE ban +0 -1"]);
    assert_eq!(case((&["1.1.1.1"], &["1.1.1.1"]), NONE).says(), [""; 0]);
}

#[test]
fn both_directions_on_a_small_list_take_one_put() {
    assert_eq!(case((&["1.1.1.1"], &["1.1.1.2"]), NONE).says(), ["PUT ban +1 -1"]);
}

#[test]
fn emptying_a_list_is_a_delete_and_never_an_empty_put() {
    let empty = case((&[], &["1.1.1.1", "1.1.1.2"]), (&[], &["2.2.2.2"]));
    assert_eq!(empty.says(), ["DELETE ban +0 -2", "DELETE captcha +0 -1"]);
}

/// `n` different addresses, from 10.0.0.`first` on.
fn many(first: u32, n: u32) -> Vec<String> {
    (first..first + n).map(|i| std::net::Ipv4Addr::from_bits(0x0a00_0000 + i).to_string()).collect()
}

fn verbs(desired: (u32, u32), observed: (u32, u32), age: Option<u64>) -> Vec<&'static str> {
    let (desired, observed) = (many(desired.0, desired.1), many(observed.0, observed.1));
    let desired: Vec<_> = desired.iter().map(String::as_str).collect();
    let created = age.map(|age| {
        let at = std::time::UNIX_EPOCH + Duration::from_secs(T - age);
        format!(r#","created_on":"{}""#, humantime::format_rfc3339_seconds(at))
    });
    let created = created.unwrap_or_default();
    let mut list = ObservedList::default();
    for ip in &observed {
        let item = format!(r#"{{"id":"{ip}","ip":"{ip}"{created}}}"#);
        list.put(&item);
    }
    let case = Case { ban: list, ..case((&desired, &[]), NONE) };
    case.schedule().operations().iter().map(Operation::verb).collect()
}

#[test]
fn both_directions_on_a_large_list_take_a_put_only_when_its_items_have_been_earned() {
    // 10,000 desired + 10,000 observed cost 864 s of the documented limit.
    let at = |age| verbs((5, 10_000), (0, 10_000), age);
    assert_eq!(at(Some(860)), ["POST", "DELETE"]);
    assert_eq!(at(Some(870)), ["PUT"]);
    assert_eq!(at(None).len(), 2, "age not known");
}

#[test]
fn list_larger_than_one_put_takes_post_and_delete_in_batches() {
    let most = REPLACE_ITEMS_MAX as u32;
    let old = Some(1_000_000_000);
    assert_eq!(verbs((1, most), (0, most), old), ["PUT"]);
    assert_eq!(verbs((1, most + 1), (0, most), old), ["POST", "DELETE"]);
    assert_eq!(verbs((0, 25_000), (0, 0), old), ["POST"; 3]);
    assert_eq!(verbs((0, 0), (0, 10_001), old), ["DELETE"; 2]);
}

fn with_foreign_item(mut list: ObservedList) -> ObservedList {
    list.put(r#"{"id":"x","hostname":{"url_hostname":"a"}}"#);
    list
}

#[test]
fn list_with_an_item_not_understood_is_never_rewritten_also_where_writes_are_scarce() {
    let mut case = case((&["1.1.1.1"], &["1.1.1.2"]), NONE);
    case.ban = with_foreign_item(case.ban);
    assert_eq!(case.says(), ["POST ban +1 -0", "DELETE ban +0 -1"]);
    assert_eq!(case.scarce().says(), ["POST ban +1 -0", "DELETE ban +0 -1"], "both are urgent");
}

#[test]
fn list_that_keeps_an_item_too_wide_to_be_sent_is_not_rewritten() {
    let held = case((&["1.1.1.1", "0.0.0.0/0"], &["0.0.0.0/0", "1.1.1.2"]), NONE);
    assert_eq!(held.says(), ["POST ban +1 -0", "DELETE ban +0 -1"]);
    let goes = case((&["2001:db8::1"], &["0.0.0.0/0", "1.1.1.2"]), NONE);
    assert_eq!(goes.says(), ["PUT ban +1 -2"]);
    let waits = case((&["1.1.1.1"], &["0.0.0.0/0", "1.1.1.2"]), NONE);
    assert_eq!(waits.says(), ["POST ban +1 -0", "DELETE ban +0 -2"], "for what comes inside it");
}

#[test]
fn rewritten_list_keeps_the_remarks_of_what_stays() {
    let mut case = case((&["1.1.1.1", "1.1.1.3"], &["1.1.1.2"]), NONE);
    let remark = r#"{"id":"x","ip":"1.1.1.1","comment":"why"}"#;
    case.ban.put(remark);
    let schedule = case.schedule();
    let [Operation::Replace { items, new, removed: 1, .. }] = schedule.operations() else {
        panic!("{schedule:?}")
    };
    let comments: Vec<_> = items.as_slice().iter().map(|i| i.comment.as_deref()).collect();
    assert_eq!((comments, new.len()), (vec![Some("why"), None], 1));
}

#[test]
fn address_that_moves_is_added_before_it_is_removed() {
    // captcha -> ban
    let case_1 = case((&["1.1.1.1"], &[]), (&[], &["1.1.1.1"]));
    assert_eq!(case_1.says(), ["POST ban +1 -0", "DELETE captcha +0 -1"]);
    // ban -> captcha, both lists changing in both directions: what is urgent does not wait.
    let both = || case((&["3.3.3.3"], &["1.1.1.1"]), (&["1.1.1.1"], &["4.4.4.4"]));
    assert_eq!(both().says(), ["POST ban +1 -0", "PUT captcha +1 -1", "DELETE ban +0 -1"]);
    // The same of the community and run out: the fewest operations.
    let calm = case((&[], &["1.1.1.1"]), (&["1.1.1.1"], &["4.4.4.4"]));
    let calm = calm.community(Ban, &["3.3.3.3"]).known("4.4.4.4", false, T - HOUR);
    assert_eq!(calm.says(), ["PUT captcha +1 -1", "PUT ban +1 -1"]);
    // Both ways at once: one list must be added to first and removed from last.
    let swap = case((&["2.2.2.2"], &["1.1.1.1"]), (&["1.1.1.1"], &["2.2.2.2"]));
    assert_eq!(swap.says(), ["POST ban +1 -0", "PUT captcha +1 -1", "DELETE ban +0 -1"]);
    // Nothing moves: bans first.
    let plain = case((&["3.3.3.3"], &["1.1.1.1"]), (&["5.5.5.5"], &["4.4.4.4"]));
    assert_eq!(plain.says(), ["PUT ban +1 -1", "PUT captcha +1 -1"]);
}

#[test]
fn most_urgent_change_goes_first_whichever_list_and_method() {
    let owner = case((&["1.1.1.1"], &[]), (&[], &["2.2.2.2"])).protecting("2.2.2.2/32");
    assert_eq!(owner.says(), ["DELETE captcha +0 -1", "POST ban +1 -0"], "owner, own ban");
    let lifted = case((&[], &[]), (&[], &["2.2.2.2"])).community(Ban, &["1.1.1.1"]);
    assert_eq!(lifted.says(), ["DELETE captcha +0 -1", "POST ban +1 -0"], "lift, community ban");
    let own = case((&["1.1.1.1"], &[]), (&[], &["2.2.2.2"]));
    assert_eq!(own.says(), ["POST ban +1 -0", "DELETE captcha +0 -1"], "own ban, lift");
    let challenge = case((&[], &[]), (&["2.2.2.2"], &[])).community(Ban, &["1.1.1.1"]);
    assert_eq!(challenge.says(), ["POST ban +1 -0", "POST captcha +1 -0"]);
    let ran_out = case((&[], &["1.1.1.1"]), (&["2.2.2.2"], &[])).known("1.1.1.1", true, T - HOUR);
    assert_eq!(ran_out.says(), ["POST captcha +1 -0", "DELETE ban +0 -1"], "captcha, run out");
}

#[test]
fn within_a_list_the_more_urgent_of_two_requests_goes_first() {
    let lift = case((&[], &["2.2.2.2"]), NONE).community(Ban, &["1.1.1.1"]).costly();
    assert_eq!(lift.says(), ["DELETE ban +0 -1", "POST ban +1 -0"]);
    let own = case((&["1.1.1.1"], &["2.2.2.2"]), NONE).costly();
    assert_eq!(own.says(), ["POST ban +1 -0", "DELETE ban +0 -1"]);
}

#[test]
fn accepted_write_where_they_are_scarce_carries_all_that_its_list_needs() {
    let large: Vec<String> = many(0, 10_000);
    let large: Vec<&str> = large.iter().map(String::as_str).collect();
    let case = case((&["1.1.1.1"], &large), NONE);
    assert_eq!(case.says(), ["POST ban +1 -0", "DELETE ban +0 -10000"], "not paid for");
    assert_eq!(case.scarce().says(), ["PUT ban +1 -10000"]);
}

#[test]
fn accepted_write_where_they_are_scarce_does_not_wait_for_what_it_cannot_carry() {
    // 1.1.1.1 moves to the captcha list and has to stay for that; 5.5.5.5 may go with the own ban.
    let case = case((&["3.3.3.3"], &["1.1.1.1", "5.5.5.5"]), (&["1.1.1.1"], &[]));
    let says = case.scarce().says();
    assert_eq!(says, ["PUT ban +1 -1", "POST captcha +1 -0"], "and the rest waits for company");
}

#[test]
fn removals_that_are_not_urgent_wait_for_company_a_day_where_writes_are_scarce() {
    let gone = || case((&[], &["1.1.1.1"]), NONE).known("1.1.1.1", true, T - HOUR);
    assert_eq!(gone().says(), ["DELETE ban +0 -1"], "writes are plenty");
    assert_eq!(gone().scarce().says(), ["waits: company"]);
    let mut later = gone().scarce();
    later.history.note_company(true, T - 24 * HOUR);
    assert_eq!(later.says(), ["DELETE ban +0 -1"], "a day");
    let mut long_ago = gone();
    long_ago.history.throttled(false, &pace(0), T - 8 * 24 * HOUR);
    assert_eq!(long_ago.says(), ["DELETE ban +0 -1"], "refused more than a week ago");
    let lifted = case((&[], &["1.1.1.1"]), NONE).scarce();
    assert_eq!(lifted.says(), ["DELETE ban +0 -1"], "urgent");
    // Company on another list is none: it would be a write of its own.
    let other = case((&[], &["1.1.1.1"]), (&["2.2.2.2"], &[])).known("1.1.1.1", true, T - HOUR);
    let other = other.scarce();
    assert_eq!(other.says(), ["POST captcha +1 -0"]);
    assert!(other.schedule().company().is_some() && other.schedule().has_lone_removals());
}

#[test]
fn owner_is_tried_beside_the_ladder_and_everything_else_waits() {
    let owner = || case((&["1.1.1.1"], &[]), (&[], &["2.2.2.2"])).protecting("2.2.2.2/32");
    let mut waiting = owner();
    (0..2).for_each(|_| waiting.history.throttled(false, &pace(0), T - 1_801));
    assert_eq!(waiting.says(), ["DELETE captcha +0 -1"]);
    assert!(waiting.schedule().is_beside_the_ladder());
    waiting.history.throttled(true, &pace(0), T - 1_799);
    assert_eq!(waiting.says(), ["waits: throttled"], "tried a moment ago");
    let mut other = case((&["1.1.1.1"], &[]), NONE);
    (0..2).for_each(|_| other.history.throttled(false, &pace(0), T - 1_801));
    assert_eq!(other.says(), ["waits: throttled"], "nobody's address");
}

#[test]
fn owner_on_a_list_that_changes_otherwise_takes_it_all_along_in_one_put() {
    let mut owner = case((&["1.1.1.1"], &["2.2.2.2", "3.3.3.3"]), NONE).protecting("2.2.2.2/32");
    (0..2).for_each(|_| owner.history.throttled(false, &pace(0), T - 1_801));
    assert_eq!(owner.says(), ["PUT ban +1 -2"]);
}

#[test]
fn operation_that_is_not_finished_keeps_even_the_owner_waiting() {
    let mut owner = case((&[], &["2.2.2.2"]), NONE).protecting("2.2.2.2/32");
    owner.history.accepted("op", &pace(0), T - 60);
    assert_eq!(owner.says(), ["waits: operation"]);
}

#[test]
fn community_address_alone_waits_for_the_interval_and_own_ban_or_lift_do_not() {
    let with_interval = |mut case: Case| {
        case.interval = 600;
        case.history.accepted("op", &pace(600), T - 60);
        case.history.completed(T - 60);
        case.says()
    };
    let community = case(NONE, NONE).community(Ban, &["1.1.1.1"]);
    assert_eq!(with_interval(community), ["waits: interval"]);
    let challenge = case(NONE, (&["1.1.1.1"], &[]));
    assert_eq!(with_interval(challenge), ["waits: interval"]);
    let ran_out = case((&[], &["1.1.1.1"]), NONE).known("1.1.1.1", true, T - HOUR);
    assert_eq!(with_interval(ran_out), ["waits: interval"]);
    let own = case((&["1.1.1.1"], &[]), NONE);
    assert_eq!(with_interval(own), ["POST ban +1 -0"]);
    let lifted = case((&[], &["1.1.1.1"]), NONE);
    assert_eq!(with_interval(lifted), ["DELETE ban +0 -1"]);
}

#[test]
fn search_for_a_refused_value_sends_the_more_urgent_half() {
    let mut case = case((&["1.1.1.9"], &["7.7.7.7"]), NONE);
    case = case.community(Ban, &["1.1.1.1", "1.1.1.2", "1.1.1.3"]);
    case = case.refused();
    let schedule = case.schedule();
    assert_eq!(case.says(), ["PUT ban +2 -1"]);
    assert!(schedule.operations()[0].adds(&"1.1.1.9".parse::<Address>().unwrap()));
}

#[test]
fn full_lists_make_room_before_they_take_and_an_own_ban_goes_in_its_place() {
    let mut case = case((&["1.1.1.1"], &[]), (&[], &["2.2.2.2"]));
    case.desired.put("2.2.2.2", Some(Captcha), None, "CAPI", 60);
    case.items_max = 1;
    assert_eq!(case.says(), ["DELETE captcha +0 -1", "POST ban +1 -0"]);
    assert_eq!(case.scarce().says(), ["DELETE captcha +0 -1", "POST ban +1 -0"], "it is company");
}

/// 1.1.1.1 moves to the captcha list and goes later; 5.5.5.5 goes with the own ban.
fn rewritten_and_waiting() -> Case {
    case((&["3.3.3.3"], &["1.1.1.1", "5.5.5.5"]), (&["1.1.1.1"], &[]))
}

#[test]
fn what_has_to_wait_on_a_list_that_is_rewritten_goes_by_a_second_put_and_never_by_its_old_ids() {
    let schedule = rewritten_and_waiting().schedule();
    let says = rewritten_and_waiting().says();
    assert_eq!(says, ["PUT ban +1 -1", "POST captcha +1 -0", "PUT ban +0 -1"]);
    let Operation::Replace { items, .. } = &schedule.operations()[2] else { panic!("{says:?}") };
    let left: Vec<String> = items.as_slice().iter().map(|item| item.ip.to_string()).collect();
    assert_eq!(left, ["3.3.3.3"]);
    assert_eq!(schedule.rest(), None);
}

#[test]
fn what_has_to_wait_on_a_list_too_large_for_a_second_put_is_left_to_the_next_run() {
    let large: Vec<String> = many(0, 500);
    let mut large: Vec<&str> = large.iter().map(String::as_str).collect();
    let mut desired = large.clone();
    desired.push("3.3.3.3");
    large.extend(["1.1.1.1", "5.5.5.5"]);
    let large = case((&desired, &large), (&["1.1.1.1"], &[]));
    assert_eq!(large.says().len(), 3);
    let larger: Vec<String> = many(0, 1_000);
    let mut larger: Vec<&str> = larger.iter().map(String::as_str).collect();
    let mut desired = larger.clone();
    desired.push("3.3.3.3");
    larger.extend(["1.1.1.1", "5.5.5.5"]);
    let larger = case((&desired, &larger), (&["1.1.1.1"], &[]));
    assert_eq!(larger.says(), ["PUT ban +1 -1", "POST captcha +1 -0"]);
    assert_eq!(larger.schedule().rest(), Some(Rest::Later));
}

#[test]
fn what_has_to_wait_where_writes_are_scarce_is_never_named_by_ids_of_before_a_put() {
    let mut case = rewritten_and_waiting().scarce();
    assert!(case.schedule().company().is_some());
    // A day later it needs no company any more.
    case.history.note_company(true, T - 24 * HOUR);
    assert_eq!(case.says(), ["PUT ban +1 -1", "POST captcha +1 -0", "PUT ban +0 -1"]);
    let schedule = case.schedule();
    assert_eq!((schedule.rest(), schedule.has_lone_removals()), (None, true));
}

#[test]
fn owner_tried_beside_the_ladder_leaves_the_rest_to_the_next_run_if_there_is_any() {
    let mut owner = case((&["1.1.1.1"], &[]), (&[], &["2.2.2.2"])).protecting("2.2.2.2/32");
    owner.history.throttled(false, &pace(0), T - 1_801);
    owner.history.throttled(false, &pace(0), T - 1_801);
    assert_eq!(owner.schedule().rest(), Some(Rest::Ladder));
    owner.desired = Desired::of(&[], &[]);
    assert!(owner.schedule().is_beside_the_ladder() && owner.schedule().rest().is_none());
}

/// The rule of this list lifts these.
fn lifting(list: Remediation, addresses: &[&str]) -> ByRules {
    let set = addresses.iter().map(|address| address.parse().unwrap()).collect();
    ByRules { urgency: Urgency::ByClass, lifted: [(list, set)].into_iter().collect() }
}

#[test]
fn address_that_moves_to_where_a_rule_still_lifts_it_stays_until_the_rule_is_changed() {
    let moves = |captcha: &[&str]| case((&[], &["1.1.1.1"]), (&["1.1.1.1"], captcha));
    let mut there = moves(&["1.1.1.1"]);
    assert_eq!(there.says(), ["DELETE ban +0 -1"]);
    there.rules = lifting(Captcha, &["1.1.1.1"]);
    assert_eq!((there.says(), there.schedule().rest()), (vec![], Some(Rest::Rule)));
    let mut comes = moves(&[]);
    comes.rules = lifting(Captcha, &["1.1.1.0/24"]);
    assert_eq!(comes.says(), ["POST captcha +1 -0"]);
    // What its own rule lifts, another address, or an owner's.
    there.rules = lifting(Ban, &["1.1.1.1"]);
    assert_eq!((there.says().len(), there.schedule().rest()), (1, None));
    there.rules = lifting(Captcha, &["1.1.1.2"]);
    assert_eq!((there.says().len(), there.schedule().rest()), (1, None));
    let mut owner = there.protecting("1.1.1.1/32");
    owner.rules = lifting(Captcha, &["1.1.1.1"]);
    assert_eq!(owner.says(), ["DELETE ban +0 -1"]);
}

#[test]
fn what_a_range_takes_over_stays_while_a_rule_lifts_it_there() {
    let weaker = |lifted: &[&str]| {
        let mut case = case((&[], &["1.1.1.1"]), (&["1.1.1.0/24"], &["1.1.1.0/24"]));
        case.rules = lifting(Captcha, lifted);
        case.says()
    };
    assert_eq!(weaker(&[]), ["DELETE ban +0 -1"]);
    assert_eq!(weaker(&["1.1.1.2"]), ["DELETE ban +0 -1"]);
    assert_eq!(weaker(&["1.1.1.1"]), [""; 0]);
    assert_eq!(weaker(&["1.1.1.0/24"]), [""; 0]);
    // And a range that goes, while the rule lifts who is on the other list inside of it.
    let inside = |lifted: &[&str]| {
        let mut case = case((&[], &["1.1.1.0/24"]), (&["1.1.1.1"], &["1.1.1.1"]));
        case.rules = lifting(Captcha, lifted);
        case.says()
    };
    assert_eq!(inside(&["1.1.1.2"]), ["DELETE ban +0 -1"]);
    assert_eq!(inside(&["1.1.1.1"]), [""; 0]);
}

#[test]
fn range_that_is_lifted_goes_after_what_comes_inside_it_also_where_writes_are_scarce() {
    let across = || case((&[], &["2001:db8::/64"]), (&["2001:db8::1"], &[]));
    let says = ["POST captcha +1 -0", "DELETE ban +0 -1"];
    assert_eq!(across().says(), says);
    assert_eq!(across().scarce().says(), says);
    let mut same = case((&["2001:db8::3"], &["2001:db8::/48"]), NONE);
    assert_eq!(same.says(), ["PUT ban +1 -1"], "at the same moment");
    same.ban = with_foreign_item(same.ban);
    assert_eq!(same.says(), ["POST ban +1 -0", "DELETE ban +0 -1"]);
    assert_eq!(same.scarce().says(), ["POST ban +1 -0", "DELETE ban +0 -1"]);
    // What becomes a ban covers what is inside from there.
    let up = case((&["1.1.1.0/24"], &[]), (&["1.1.1.1"], &["1.1.1.0/24"]));
    assert_eq!(up.says()[0], "POST ban +1 -0");
}

#[test]
fn range_that_is_lifted_stays_while_the_half_that_is_sent_lacks_what_comes_inside_it() {
    let mut case = case((&[], &["1.1.1.0/24"]), (&[], &[]));
    case = case.community(Captcha, &["1.1.1.1", "1.1.1.2"]);
    case = case.refused();
    assert_eq!(case.says(), ["POST captcha +1 -0"]);
    assert_eq!(case.schedule().rest(), Some(Rest::Later));
}

#[test]
fn range_that_is_lifted_on_full_lists_goes_after_what_comes_inside_it_and_the_least_important_makes_room()
 {
    let mut full = case((&[], &["1.1.1.0/24"]), (&["1.1.1.1"], &["2.2.2.2"]));
    full = full.community(Captcha, &["2.2.2.2"]);
    full.items_max = 2;
    assert_eq!(full.says(), ["PUT captcha +1 -1", "DELETE ban +0 -1"]);
    // One request can do both: nobody has to make room.
    let mut same = case((&["1.1.1.1", "2.2.2.2"], &["1.1.1.0/24", "2.2.2.2"]), NONE);
    same.items_max = 2;
    assert_eq!(same.says(), ["PUT ban +1 -1"]);
}

#[test]
fn owner_goes_first_on_full_lists_also_where_another_removal_would_make_room_for_more() {
    let full = case((&["1.1.1.1", "1.1.1.2"], &["7.7.7.7"]), (&[], &["4.4.4.4"]));
    let mut full = full.protecting("7.7.7.7/32");
    full.items_max = 2;
    assert_eq!(full.says(), ["PUT ban +1 -1", "DELETE captcha +0 -1", "POST ban +1 -0"]);
}

#[test]
fn owners_range_that_is_there_in_two_spellings_goes_whole_and_first() {
    let twice = ["2001:db8::/64", "2001:db8::1/64"];
    let owner = case((&["2001:db8::d"], &[]), (&[], &twice)).protecting("2001:db8::5/128");
    assert_eq!(owner.says(), ["DELETE captcha +0 -2", "POST ban +1 -0"]);
}

#[test]
fn who_moves_on_full_lists_does_so_one_after_the_other_and_the_least_important_makes_room() {
    let mut two = case((&["1.1.1.1"], &[]), (&[], &["1.1.1.1", "2.2.2.2"]));
    two = two.community(Ban, &["2.2.2.2"]);
    two.items_max = 2;
    let says = ["DELETE captcha +0 -1", "POST ban +1 -0", "DELETE captcha +0 -1"];
    assert_eq!(two.says(), says, "one goes without for the moment");
    two.items_max = 3;
    let says = ["POST ban +1 -0", "DELETE captcha +0 -1", "POST ban +1 -0", "DELETE captcha +0 -1"];
    assert_eq!(two.says(), says, "nobody goes without");
}

#[test]
fn many_that_move_on_full_lists_go_in_parts_and_the_next_run_goes_on() {
    let many: Vec<String> = many(0, 40);
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut full = case((&many, &[]), (&[], &many));
    full.items_max = 40;
    let schedule = full.schedule();
    let says = [
        "DELETE captcha +0 -5",
        "POST ban +5 -0",
        "DELETE captcha +0 -5",
        "POST ban +5 -0",
        "DELETE captcha +0 -5",
    ];
    assert_eq!(full.says(), says);
    assert_eq!(schedule.rest(), Some(Rest::Later));
}

#[test]
fn only_one_that_moves_on_full_lists_waits_where_it_is_and_that_is_said() {
    let mut full = case((&["1.1.1.1"], &[]), (&[], &["1.1.1.1"]));
    full.items_max = 1;
    assert_eq!(full.says(), [""; 0]);
    assert_eq!(full.schedule().rest(), Some(Rest::Later));
    full.desired = Desired::of(&["1.1.1.1"], &[]);
    full = full.community(Captcha, &["2.2.2.2"]);
    assert_eq!(full.says(), [""; 0], "nor for one who has no place yet");
}

#[test]
fn range_that_frees_places_comes_before_others_take_the_last_one() {
    let mut full = case((&["3.3.3.3", "4.4.4.4"], &["1.1.1.1", "1.1.1.2"]), NONE);
    full = full.community(Captcha, &["1.1.1.0/24", "5.5.5.5"]);
    full.items_max = 5;
    let says = ["POST ban +2 -0", "POST captcha +1 -0", "DELETE ban +0 -2", "POST captcha +1 -0"];
    assert_eq!(full.says(), says);
    assert!(full.schedule().operations()[1].adds(&"1.1.1.0/24".parse::<Address>().unwrap()));
}

#[test]
fn range_that_goes_from_full_lists_which_nobody_leaves_goes_before_what_comes_inside_it() {
    let mut full =
        case((&[], &["1.1.0.0/24", "1.1.1.0/24"]), (&["1.1.0.0", "1.1.1.0/24"], &["1.1.0.0/16"]));
    full.captcha = with_foreign_item(full.captcha);
    full.items_max = 4;
    let schedule = full.schedule();
    assert!(!schedule.operations().is_empty(), "all would wait for one another for ever");
    let first = schedule.operations()[0].effect();
    assert_eq!((first.added, first.removed > 0), (0, true), "it makes the place");
    // With a place for what comes, that comes first, or at the same moment.
    full.items_max = 9;
    assert_eq!(full.schedule().operations()[0].effect().added, 2);
}
