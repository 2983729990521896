//! What the lists have to do with the rules.

use super::*;
use crate::plan::Batch;
use crate::plan::lists::{Rules as ListRules, diff};
use crate::settings::protected::Protected;
use crate::small::SmallMap;
use Remediation::{Ban, Captcha};

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
        now: 1_793_000_000,
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
