//! What the lists have to do with the rules.

use super::*;
use crate::api::cloudflare::rules::decode_ruleset;
use crate::plan::Batch;
use crate::plan::lists::{Rules as ListRules, diff};
use crate::ports::Answer;
use crate::settings::protected::Protected;
use crate::small::SmallMap;
use Remediation::{Ban, Captcha};

const NOW: u64 = 1_793_000_000;

fn settings() -> Settings {
    Settings::of(&[
        ("cf_ban_list_id", "11111111111111111111111111111111"),
        ("cf_captcha_list_id", "22222222222222222222222222222222"),
    ])
}

/// LAPI's remaining time jitters, and another order would be another text: a PATCH for nothing.
#[test]
fn regions_that_end_within_the_same_hour_keep_their_order_whatever_the_seconds_are() {
    let settings = settings();
    let lists = settings.targets.lists.as_ref().unwrap();
    let order = |ends: [(&str, u64); 3]| -> Vec<String> {
        let mut desired = Desired::default();
        ends.iter().for_each(|(letters, secs)| desired.put_country(letters, *secs));
        assert!(regions(&desired, lists, Captcha).is_empty());
        let name = |region: Region| match region {
            Region::Country(country) => country.to_string(),
            Region::As(asn) => asn.to_string(),
        };
        regions(&desired, lists, Ban).into_iter().map(name).collect()
    };
    for [cn, de] in [[7_100, 7_000], [7_000, 7_100], [3_600, 7_199]] {
        assert_eq!(order([("DE", de), ("CN", cn), ("US", 7_200)]), ["US", "CN", "DE"], "{cn} {de}");
    }
    assert_eq!(order([("DE", 7_200), ("CN", 7_199), ("US", 60)]), ["DE", "CN", "US"]);
}

/// What was on the ban list, as `done` sees it after `operation`: what was added, and what removed.
fn after(operation: Operation) -> (Vec<String>, Vec<String>) {
    let desired = Desired::of(&["9.9.9.9", "3.3.3.3"], &[]);
    // One is there in two spellings.
    let there = ["1.1.1.1", "2.2.2.2", "9.9.9.9", "::ffff:9.9.9.9"];
    let observed = Observed::of(ObservedList::of(&there), ObservedList::default());
    let (ends, set_aside) = (Ends::default(), SmallMap::default());
    let rules = ListRules {
        now: NOW,
        items_max: 10_000,
        protected: &Protected::default(),
        ends: &ends,
        set_aside: &set_aside,
    };
    let plan = diff(&desired, &observed, rules);
    let (_, content) = observed.lists().next().unwrap();
    let (added, removed) = done(&plan.lists()[0], content, &[operation]);
    let texts = |all: BTreeSet<Address>| all.iter().map(Address::to_string).collect();
    (texts(added), texts(removed))
}

#[test]
fn removals_done_are_those_whose_ids_were_sent_and_no_second_spelling_of_what_stays() {
    let sent = |list, ids: &[&str]| {
        let ids = Batch::split(ids.iter().map(|id| ItemId::from(*id))).pop().unwrap();
        after(Operation::Delete { list, ids })
    };
    let removed = |texts: &[&str]| (vec![], texts.iter().map(|text| (*text).to_owned()).collect());
    assert_eq!(sent(Ban, &["id-1.1.1.1"]), removed(&["1.1.1.1"]));
    assert_eq!(sent(Ban, &["id-1.1.1.1", "id-2.2.2.2"]), removed(&["1.1.1.1", "2.2.2.2"]));
    assert_eq!(sent(Ban, &["id-9.9.9.9", "id-::ffff:9.9.9.9"]), removed(&[]));
    assert_eq!(sent(Captcha, &["id-1.1.1.1"]), removed(&[]), "another list");
}

/// What both rules say beyond their lists, and what is done about it in a zone with room for so many characters.
fn decided(
    desired: &Desired,
    (observed, items_max): (&Observed, u64),
    (ban, captcha): (&str, &str),
    done: &[Operation],
    characters_max: usize,
) -> Decision {
    let settings = settings();
    let lists = settings.targets.lists.as_ref().unwrap();
    let rules = Rules { zones: Vec::new(), characters_max };
    let (ends, set_aside) = (Ends::default(), SmallMap::default());
    let of_lists = ListRules {
        now: NOW,
        items_max,
        protected: &Protected::default(),
        ends: &ends,
        set_aside: &set_aside,
    };
    let plan = diff(desired, observed, of_lists);
    let known =
        Known { plan: &plan, observed, done, ends: &ends, may_drain: true, may_lose: false };
    let base = Base::new(&settings, lists, desired, known);
    let rule = |list: Remediation, says: &str| {
        let reference = crate::api::cloudflare::rules::reference(list);
        let name = if list == Ban { "b" } else { "c" };
        format!(
            r#"{{"id":"{name}","ref":"{reference}","action":"block","expression":"(ip.src in ${name}{says}"}}"#
        )
    };
    let ruleset = format!(
        r#"{{"success":true,"errors":[],"messages":[],"result":{{"id":"r","rules":[{},{}]}}}}"#,
        rule(Ban, ban),
        rule(Captcha, captcha),
    );
    let names = [(Ban, "b"), (Captcha, "c")].map(|(list, name)| (list, name.parse().unwrap()));
    let ruleset = decode_ruleset(&Answer::of(200, ruleset)).unwrap();
    let there = ZoneRules::new(ruleset, &names.into_iter().collect());
    decide(&base, &rules, "z", &there, &RulesHistory::default(), NOW)
}

fn says(decision: &Decision) -> Vec<(Remediation, String)> {
    let steps = decision.patches.steps.iter();
    let says = |text: String| text["(ip.src in $b".len()..].to_owned();
    steps.map(|patch| (patch.rule, says(patch.to.to_string()))).collect()
}

/// One leaves the ban for a challenge that has no room for him, and the other comes: the ban keeps who leaves it; he is
/// on its list, and there only has to be let match.
#[test]
fn who_stays_for_a_moment_takes_no_room_from_one_in_force() {
    let long = "2001:db8:1111:2222:3333:4444:5555:6666";
    let desired = Desired::of(&["192.0.2.2", "198.51.100.1"], &["192.0.2.1", long]);
    let observed = Observed::of(ObservedList::of(&["192.0.2.1"]), ObservedList::of(&["192.0.2.2"]));
    let challenges = format!(") or ip.src in {{{long}}}");
    let now = (") or ip.src in {198.51.100.1}", challenges.as_str());
    // Room for one, once the other is lifted, and only for the shorter.
    let max = "(ip.src in $b and not ip.src in {192.0.2.1}) or ip.src in {192.0.2.2}".len();
    let decision = decided(&desired, (&observed, 9), now, &[], max);
    let both = (Ban, ") or ip.src in {192.0.2.2 198.51.100.1}".to_owned());
    assert_eq!(says(&decision), [both]);
    assert_eq!(decision.rules.get(Captcha).unwrap().waiting.len(), 1);
    // Where the challenge has room, he goes.
    let now = (now.0, ")");
    let desired = Desired::of(&["192.0.2.2", "198.51.100.1"], &["192.0.2.1"]);
    let comes = (Captcha, ") or ip.src in {192.0.2.1}".to_owned());
    let decision = decided(&desired, (&observed, 9), now, &[], max);
    assert_eq!(says(&decision)[0], comes);
}

/// He is banned by the rule that comes first; and should that lose him, he is challenged.
#[test]
fn challenge_that_becomes_a_ban_is_not_lifted_by_its_rule() {
    let on_lists =
        |ban: &[&str]| Observed::of(ObservedList::of(ban), ObservedList::of(&["192.0.2.1"]));
    let moves = Desired::of(&["192.0.2.1"], &[]);
    let covered = Desired::of(&["192.0.2.0/24"], &[]);
    let change = |desired, ban: &[&str]| {
        let observed = on_lists(ban);
        says(&decided(desired, (&observed, 9), (")", ")"), &[], 4_000))
    };
    let fresh = |what: &str| vec![(Ban, format!(") or ip.src in {{{what}}}"))];
    assert_eq!(change(&moves, &[]), fresh("192.0.2.1"));
    assert_eq!(change(&moves, &["192.0.2.1"]), []);
    assert_eq!(change(&covered, &[]), fresh("192.0.2.0/24"));
    assert_eq!(change(&covered, &["192.0.2.0/24"]), []);
    // A ban that becomes a challenge is, and so is what nobody asks for.
    let observed = on_lists(&["192.0.2.1"]);
    let [ban, captcha] =
        [Ban, Captcha].map(|list| (list, " and not ip.src in {192.0.2.1})".to_owned()));
    let change = |ban: &[&str], captcha: &[&str]| {
        says(&decided(&Desired::of(ban, captcha), (&observed, 9), (")", ")"), &[], 4_000))
    };
    assert_eq!(change(&[], &["192.0.2.1"]), [ban]);
    assert!(change(&["203.0.113.1"], &[]).contains(&captcha));
}

/// Of three places two are taken, and the third is what he who moves needs.
#[test]
fn who_has_a_place_only_after_others_have_moved_is_matched_until_then() {
    let desired = Desired::of(&["192.0.2.1"], &["192.0.2.3", "192.0.2.9"]);
    let on_captcha = ObservedList::of(&["192.0.2.1", "192.0.2.3"]);
    let observed = Observed::of(ObservedList::default(), on_captcha);
    let challenge = |items_max| {
        let decision = decided(&desired, (&observed, items_max), (")", ")"), &[], 4_000);
        says(&decision).pop()
    };
    let says = ") or ip.src in {192.0.2.9}";
    assert_eq!(challenge(3), Some((Captcha, says.to_owned())));
    // Where there is none in the end he goes without.
    assert_eq!(challenge(2), Some((Ban, ") or ip.src in {192.0.2.1}".to_owned())));
}

/// The run has taken one off, so that another can move.
#[test]
fn who_was_put_out_for_those_who_move_is_matched_until_he_has_his_place_back() {
    let desired = Desired::of(&["192.0.2.1"], &["192.0.2.3", "192.0.2.9"]);
    let on_captcha = ObservedList::of(&["192.0.2.1", "192.0.2.3", "192.0.2.9"]);
    let observed = Observed::of(ObservedList::default(), on_captcha);
    let ids = Batch::split([ItemId::from("id-192.0.2.9")]).pop().unwrap();
    let done = [Operation::Delete { list: Captcha, ids }];
    let decision = decided(&desired, (&observed, 3), (")", ")"), &done, 4_000);
    let last = ") or ip.src in {192.0.2.9}";
    assert_eq!(says(&decision).pop(), Some((Captcha, last.to_owned())));
}
