//! In which state the namespace is, and when the layout that is wanted may take over.

use std::sync::LazyLock;
use std::time::Duration;

use super::*;
use crate::api::cloudflare::kv::shards::{Unit, WIDE};
use crate::api::cloudflare::kv::{Key, Metadata, RangeEntry, Ranges, Regions};
use crate::decision::Remediation::{self, Ban, Captcha};
use crate::desired::Desired;
use crate::observed::kv::ObservedShards;
use crate::plan::kv::{Rules, diff};
use crate::settings::protected::Protected;
use crate::state::Ends;

const NOW: u64 = 1_793_000_000;
const HOUR: u64 = 3_600;
const NET: &str = "203.0.113.0/24";

/// What one layout has. Everything in it was written an hour ago.
#[derive(Debug, Clone, Default)]
struct Layer {
    keys: Vec<(&'static str, Remediation, u64)>,
    ranges: Vec<(&'static str, Remediation, u64)>,
    regions: Vec<(&'static str, u64)>,
    never: Vec<&'static str>,
    /// The value beside its keys is somebody else's.
    is_foreign: bool,
}

impl Layer {
    fn observed(&self) -> ObservedKeys {
        let written = NOW - HOUR;
        let mut observed = ObservedKeys::default();
        for &(address, value, left) in &self.keys {
            let metadata = Some(Metadata { value, written });
            let (name, expires) = (format!("ip:{address}"), Some(NOW + left));
            observed.add(Key { name, expires, metadata }, "ip:");
        }
        let range = |&(range, value, left): &(&str, _, u64)| {
            (range.parse().unwrap(), RangeEntry { value, expires: NOW + left })
        };
        let region = |&(name, left): &(&str, u64)| {
            (name.to_owned(), RangeEntry { value: Ban, expires: NOW + left })
        };
        let entries = self.regions.iter().map(region).collect();
        let never = self.never.iter().map(|one| one.parse().unwrap()).collect();
        let regions = Regions { entries, never };
        observed.set_ranges(match self.is_foreign {
            true => Ranges::Foreign,
            false => {
                Ranges::Ours { written, entries: self.ranges.iter().map(range).collect(), regions }
            }
        });
        observed
    }
}

/// The two layouts beside what is desired.
#[derive(Debug, Clone, Default)]
struct Move {
    keys: Vec<(&'static str, Remediation, u32)>,
    countries: Vec<&'static str>,
    owner: Option<&'static str>,
    served: Layer,
    other: Layer,
    /// The guard holds back whatever is lifted from the one layout, or the other.
    holds: (bool, bool),
}

impl Move {
    fn is_complete(&self) -> bool {
        static UNKNOWN: LazyLock<Ends> = LazyLock::new(Ends::default);
        let mut desired = Desired::of_keys(&self.keys);
        self.countries.iter().for_each(|letters| desired.put_country(letters, HOUR));
        let mut protected = Protected::default();
        self.owner.iter().for_each(|owner| protected.add(owner.parse().unwrap()));
        let rules = Rules {
            prefix: "ip:",
            tolerance: Duration::from_secs(600),
            protected: &protected,
            ends: &UNKNOWN,
            now: NOW,
            began: NOW,
            ahead_since: None,
        };
        let (served, other) = (self.served.observed(), self.other.observed());
        let plan = |there: &ObservedKeys, holds: bool| {
            diff(&desired, there, rules).holding(|_, why| holds && why == Why::Lifted)
        };
        let plans = (plan(&served, self.holds.0), plan(&other, self.holds.1));
        is_complete(&plans.0, &plans.1, (&served, &other), NOW)
    }
}

/// A ban of an hour in both layouts as it should be, which is all that is desired.
fn moving() -> Move {
    let layer = Layer { keys: vec![("192.0.2.1", Ban, 3_660)], ..Layer::default() };
    Move {
        keys: vec![("192.0.2.1", Ban, 3_600)],
        served: layer.clone(),
        other: layer,
        ..Move::default()
    }
}

#[test]
fn layout_that_says_the_same_or_changes_likewise_in_this_run_is_complete() {
    assert!(moving().is_complete());
    let mut new_in_both = moving();
    new_in_both.keys.push(("192.0.2.2", Ban, 3_600));
    new_in_both.keys.push((NET, Ban, 3_600));
    assert!(new_in_both.is_complete());
    let mut lifted_in_both = moving();
    lifted_in_both.served.keys.push(("192.0.2.2", Ban, HOUR));
    lifted_in_both.other.keys.push(("192.0.2.2", Ban, HOUR));
    assert!(lifted_in_both.is_complete());
    let mut later = moving();
    later.other.keys[0].2 = 300;
    assert!(later.is_complete(), "it is in force, and only its time is set");
}

#[test]
fn layout_that_lacks_whoever_is_in_force_is_not_complete() {
    let mut absent = moving();
    absent.other.keys.clear();
    assert!(!absent.is_complete());
    // With a change of his in the served one too: he is in force there, and would not be here.
    absent.served.keys[0].1 = Captcha;
    assert!(!absent.is_complete());
    let mut range = moving();
    range.keys.push((NET, Ban, 3_600));
    range.served.ranges.push((NET, Captcha, HOUR));
    assert!(!range.is_complete());
    range.other.ranges.push((NET, Captcha, HOUR));
    assert!(range.is_complete());
}

#[test]
fn layout_that_still_has_whoever_was_lifted_is_not_complete() {
    let mut lifted = moving();
    lifted.other.keys.push(("192.0.2.2", Ban, HOUR));
    assert!(!lifted.is_complete());
    let mut range = moving();
    range.other.ranges.push((NET, Ban, HOUR));
    assert!(!range.is_complete());
}

#[test]
fn layout_from_which_the_guard_holds_anything_back_is_not_complete() {
    let mut held = moving();
    held.served.keys.push(("192.0.2.2", Ban, HOUR));
    held.holds.0 = true;
    assert!(!held.is_complete(), "in the layout that is served");
    (held.served, held.other) = (held.other, held.served);
    held.holds = (false, true);
    assert!(!held.is_complete(), "in the other");
}

#[test]
fn layout_whose_ranges_cannot_be_written_is_not_complete() {
    let mut foreign = moving();
    foreign.keys.push((NET, Ban, 3_600));
    foreign.served.ranges.push((NET, Ban, 3_660));
    foreign.other.is_foreign = true;
    assert!(!foreign.is_complete());
}

#[test]
fn country_has_to_change_in_both_layouts_alike() {
    let there = ("country:CN", 3_660);
    let late = ("country:CN", 300);
    let mut country = moving();
    country.countries = vec!["CN"];
    let mut with = |served: &[(&'static str, u64)], other: &[(&'static str, u64)]| {
        country.served.regions = served.to_vec();
        country.other.regions = other.to_vec();
        country.is_complete()
    };
    assert!(with(&[], &[]), "it comes in both");
    assert!(with(&[there], &[there]) && with(&[there], &[late]), "it is in both");
    assert!(!with(&[there], &[]) && !with(&[late], &[]), "it comes in one");
    assert!(!with(&[there], &[there, ("country:DE", HOUR)]), "one was lifted in one");
    assert!(with(&[there, ("country:DE", HOUR)], &[there, ("country:DE", HOUR)]));
    country.countries = vec!["CN", "DE"];
    let mut one_each = country.clone();
    one_each.served.regions = vec![("country:DE", 3_660)];
    one_each.other.regions = vec![there];
    assert!(!one_each.is_complete(), "another one comes in each");
}

#[test]
fn owner_whom_only_one_layout_excepts_from_countries_makes_it_incomplete() {
    let mut country = moving();
    country.countries = vec!["CN"];
    country.owner = Some("198.51.100.7");
    for layer in [&mut country.served, &mut country.other] {
        layer.regions = vec![("country:CN", 3_660)];
    }
    assert!(country.is_complete(), "he is new in both");
    country.served.never = vec!["198.51.100.7"];
    assert!(!country.is_complete());
    country.other.never = vec!["198.51.100.7"];
    assert!(country.is_complete());
}

#[test]
fn wanted_layout_is_ready_when_it_was_complete_for_eight_minutes_and_is_settled() {
    for (complete_secs, age, ready) in [
        (Some(480), 90, true),
        (Some(479), 90, false),
        (Some(480), 89, false),
        (Some(0), 479, false),
        (Some(0), 480, true),
        (None, 479, false),
        (None, 480, true),
    ] {
        let case = (complete_secs, NOW - age, NOW);
        assert_eq!(is_ready(case.0, case.1, case.2), ready, "{complete_secs:?} {age}");
        assert_eq!(ready_in(case.0, case.1, case.2) == 0, ready, "{complete_secs:?} {age}");
    }
}

#[test]
fn youngest_value_is_the_last_that_we_wrote_be_it_a_key_or_the_ranges() {
    assert_eq!(youngest_key(&ObservedKeys::default()), 0);
    let key = |name: &str, written: Option<u64>| Key {
        name: name.to_owned(),
        expires: Some(NOW + HOUR),
        metadata: written.map(|written| Metadata { value: Ban, written }),
    };
    let mut observed = ObservedKeys::default();
    observed.add(key("ip:192.0.2.1", Some(NOW - 20)), "ip:");
    observed.add(key("ip:192.0.2.2", Some(NOW - 30)), "ip:");
    observed.add(key("ip:192.0.2.3", None), "ip:");
    assert_eq!(youngest_key(&observed), NOW - 20);
    observed.set_ranges(Ranges::Ours {
        written: NOW - 10,
        entries: Default::default(),
        regions: Default::default(),
    });
    assert_eq!(youngest_key(&observed), NOW - 10);
}

/// Keys, or none; the value beside the shards, and what it says of itself.
fn namespace(has_keys: bool, shards: Option<(Unit, Option<Marker>)>) -> ObservedKv {
    let keys = if has_keys { moving().served.observed() } else { ObservedKeys::default() };
    let shards = shards.map(|(wide, marker)| {
        let mut shards = ObservedShards { marker, ..ObservedShards::default() };
        shards.units[WIDE] = wide;
        shards
    });
    ObservedKv { keys: Some(keys), shards }
}

#[test]
fn without_a_marker_keys_are_served_and_shards_wait_until_they_may_take_over() {
    use {KvLayout::*, Layout as L};
    let ours = || Some((Unit::Ours(NOW - HOUR), None));
    let foreign = || Some((Unit::Foreign, None));
    let absent = || Some((Unit::Absent, None));
    for (setting, there, may_trust, served, other, waits, marks) in [
        (Keys, namespace(true, None), true, L::Keys, Other::Left, false, false),
        (Keys, namespace(true, ours()), true, L::Keys, Other::Cleared, false, false),
        // What reads late may have a marker by now; and what is somebody else's stays.
        (Keys, namespace(true, ours()), false, L::Keys, Other::Left, false, false),
        (Keys, namespace(true, foreign()), true, L::Keys, Other::Left, false, false),
        (Shards, namespace(true, absent()), true, L::Keys, Other::Kept, true, true),
        (Both, namespace(true, absent()), true, L::Keys, Other::Kept, true, true),
        (Shards, namespace(false, absent()), true, L::Shards, Other::Left, false, true),
        (Both, namespace(false, absent()), true, L::Shards, Other::Kept, false, true),
        (Shards, namespace(true, foreign()), true, L::Keys, Other::Left, false, false),
        (Shards, namespace(false, foreign()), true, L::Keys, Other::Left, false, false),
    ] {
        let course = Course::of(setting, &there, may_trust, NOW);
        let case =
            format!("{setting:?} {:?} {may_trust}", there.shards.map(|of| of.units[WIDE].clone()));
        assert_eq!((course.served, course.other), (served, other), "{case}");
        assert_eq!((course.is_waiting(), course.marker.is_some()), (waits, marks), "{case}");
    }
}

#[test]
fn served_layout_keeps_the_one_before_beside_it_for_eight_minutes_and_waits_for_nothing() {
    use {KvLayout::*, Layout as L};
    for (setting, serves, secs, other, waits) in [
        (Shards, L::Shards, 479, Other::Kept, false),
        (Shards, L::Shards, 480, Other::Cleared, false),
        (Keys, L::Keys, 479, Other::Kept, false),
        (Keys, L::Keys, 480, Other::Cleared, false),
        (Both, L::Shards, 9_999, Other::Kept, false),
        (Shards, L::Keys, 9_999, Other::Kept, true),
        (Keys, L::Shards, 9_999, Other::Kept, true),
    ] {
        let marker = Marker { serves, since: NOW - secs, alone: false };
        let there = namespace(true, Some((Unit::Ours(NOW - HOUR), Some(marker))));
        let course = Course::of(setting, &there, true, NOW);
        assert_eq!((course.served, course.other), (serves, other), "{setting:?} {serves:?} {secs}");
        assert_eq!(course.is_waiting(), waits, "{setting:?} {serves:?} {secs}");
    }
}

/// Workers then do not look for keys any more, which are reads of the day that belong to the visitors.
#[test]
fn shards_are_alone_once_the_keys_are_gone_or_where_there_never_were_any() {
    let course = |setting, has_keys, secs, serves| {
        let marker = Marker { serves, since: NOW - secs, alone: false };
        let there = namespace(has_keys, Some((Unit::Ours(NOW - HOUR), Some(marker))));
        let course = Course::of(setting, &there, true, NOW);
        (course.other, course.marker.unwrap().alone)
    };
    let (shards, keys) = (Layout::Shards, Layout::Keys);
    assert_eq!(course(KvLayout::Shards, true, 480, shards), (Other::Cleared, false));
    assert_eq!(course(KvLayout::Shards, false, 480, shards), (Other::Left, true));
    assert_eq!(course(KvLayout::Shards, false, 479, shards), (Other::Kept, false), "too early");
    assert_eq!(course(KvLayout::Both, false, 480, shards), (Other::Kept, false));
    assert_eq!(course(KvLayout::Keys, false, 480, keys), (Other::Cleared, false), "the shards go");
    let first = |setting| Course::of(setting, &namespace(false, None), true, NOW).marker.unwrap();
    assert!(first(KvLayout::Shards).alone && !first(KvLayout::Both).alone);
}

#[test]
fn layout_before_is_said_to_go_eight_minutes_after_the_change_unless_both_are_kept() {
    let clears_in = |setting, serves, secs| {
        let marker = Marker { serves, since: NOW - secs, alone: false };
        let there = namespace(true, Some((Unit::Ours(NOW - HOUR), Some(marker))));
        Course::of(setting, &there, true, NOW).clears_in(setting, NOW)
    };
    assert_eq!(clears_in(KvLayout::Shards, Layout::Shards, 470), Some(10));
    assert_eq!(clears_in(KvLayout::Keys, Layout::Keys, 0), Some(480));
    assert_eq!(clears_in(KvLayout::Shards, Layout::Shards, 480), None, "it goes now");
    assert_eq!(clears_in(KvLayout::Both, Layout::Shards, 470), None);
    assert_eq!(clears_in(KvLayout::Shards, Layout::Keys, 470), None, "it is served yet");
}
