//! When the layout that is wanted takes over, what is said to be left in it, and what a range that goes leans on.

use super::*;
use crate::api::cloudflare::kv::shards::{Marker, UNITS};
use crate::api::cloudflare::kv::{Key, Metadata, Pair, RangeEntry, Ranges, Value};
use crate::decision::Remediation::{self, Ban, Captcha};
use crate::schedule::kv::Leans;
use crate::settings::protected::Protected;
use crate::state::{Known, ShardsHistory};

const NOW: u64 = 1_793_000_000;
const HOUR: u64 = 3_600;
const NAMESPACE: &str = "33333333333333333333333333333333";
const KEY: &str = "192.0.2.1";

/// A namespace, and what is set and remembered of it.
struct Case {
    layout: &'static str,
    writes_max: u64,
    never: &'static str,
    observed: ObservedKv,
    quota: Quota,
    ends: Ends,
    /// For how long the layout that is wanted is known to be complete.
    complete_secs: u64,
}

/// Keys of ours with these bans, since an hour ago, and these ranges that ban.
fn keys(addresses: &[&str], ranges: &[&str]) -> ObservedKeys {
    keys_since(NOW - HOUR, addresses, ranges)
}

fn keys_since(written: u64, addresses: &[&str], ranges: &[&str]) -> ObservedKeys {
    let mut keys = ObservedKeys::default();
    let expires = NOW + HOUR + 60;
    for address in addresses {
        let metadata = Some(Metadata { value: Ban, written });
        keys.add(Key { name: format!("ip:{address}"), expires: Some(expires), metadata }, "ip:");
    }
    let entry = |range: &&str| (range.parse().unwrap(), RangeEntry { value: Ban, expires });
    let entries = ranges.iter().map(entry).collect();
    keys.set_ranges(Ranges::Ours { written, entries, regions: Default::default() });
    keys
}

/// The same as shards, with the marker.
fn in_shards(
    keys: ObservedKeys,
    serves: Layout,
    since: u64,
    alone: bool,
) -> Option<ObservedShards> {
    let units = [const { Unit::Ours(NOW - HOUR) }; UNITS];
    Some(ObservedShards { keys, units, marker: Some(Marker { serves, since, alone }) })
}

impl Case {
    fn of(
        layout: &'static str,
        keys: Option<ObservedKeys>,
        shards: Option<ObservedShards>,
    ) -> Self {
        let mut quota = Quota::default().at(NOW);
        quota.shards = quota.shards.bound(NAMESPACE, "ip:");
        Self {
            layout,
            writes_max: 0,
            never: "",
            observed: ObservedKv { keys, shards },
            quota,
            ends: Ends::default(),
            complete_secs: 540,
        }
    }

    /// Something is remembered.
    fn history(&mut self, change: impl FnOnce(&mut ShardsHistory)) {
        change(&mut self.quota.shards);
    }

    fn of_keys(keys: ObservedKeys) -> Self {
        Self::of("keys", Some(keys), None)
    }

    fn of_shards(keys: ObservedKeys) -> Self {
        Self::of("shards", None, in_shards(keys, Layout::Shards, NOW - HOUR, true))
    }

    /// Keys are served and shards wanted.
    fn to_shards(keys: ObservedKeys, shards: ObservedKeys) -> Self {
        Self::of("shards", Some(keys), in_shards(shards, Layout::Keys, NOW - HOUR, false))
    }

    fn decide(&self, desired: &[(&str, Remediation, u32)]) -> Decision {
        let settings = Settings::of(&[
            ("cf_kv_namespace_id", NAMESPACE),
            ("kv_layout", self.layout),
            ("scopes", "ip,range"),
            ("removal_confirm_runs", "1"),
            ("never_block", self.never),
            ("kv_daily_writes_max", &self.writes_max.to_string()),
        ]);
        let kv = settings.targets.kv.as_ref().unwrap();
        let mut quota = self.quota;
        if self.complete_secs > 0 {
            quota.shards.found(true, NOW - self.complete_secs);
        }
        let remembered = Remembered { quota: &quota, held: None, ends: &self.ends };
        let states = (&Desired::of_keys(desired), &self.observed);
        decide(&settings, kv, states, remembered, When { began: NOW, now: NOW })
    }
}

/// Keys are served, and the shards, which are wanted, have been complete for nine minutes.
fn decide_on(desired: &[(&str, Remediation, u32)], writes_max: u64) -> Decision {
    let there = || keys(&[KEY], &[]);
    Case { writes_max, ..Case::to_shards(there(), there()) }.decide(desired)
}

/// The requests, as words; and what the last of them leans on, and what it is otherwise.
fn words(schedule: &Schedule) -> (Vec<String>, String) {
    let mut schedule = schedule.clone();
    let (bulks, leans) = schedule.take_bulks();
    let leans = leans.map(|Leans { on, instead }| {
        let on: Vec<String> = on.into_iter().collect();
        let on = if on.is_empty() { "all".to_owned() } else { on.join(" ") };
        format!("{on} else {}", instead.as_ref().map_or(String::new(), word))
    });
    (bulks.iter().map(word).collect(), leans.unwrap_or_default())
}

fn word(bulk: &Bulk) -> String {
    let pair = |pair: &Pair| match &pair.value {
        Value::One(_) => pair.key.clone(),
        Value::Ranges(content) => {
            let ranges: Vec<_> = content.ranges.keys().map(ToString::to_string).collect();
            format!("ranges={}", ranges.join(","))
        }
        Value::Lines(lines) => {
            let lines: Vec<_> =
                lines.body.lines().map(|line| line.split(' ').next().unwrap()).collect();
            format!("{}={}", pair.key, lines.join(","))
        }
    };
    match bulk {
        Bulk::Put(pairs) => {
            let pairs: Vec<_> = pairs.as_slice().iter().map(|(_, of)| pair(of)).collect();
            format!("put {}", pairs.join(" "))
        }
        Bulk::Delete(keys) => {
            let keys: Vec<_> = keys.as_slice().iter().map(|(_, key)| key.as_str()).collect();
            format!("delete {}", keys.join(" "))
        }
    }
}

/// The layout that Workers are to read from now on.
fn serves(decision: &Decision) -> Layout {
    decision.course.marker.unwrap().serves
}

/// What is sent to the other layout does not all have a place in the same run, so that for a moment somebody
/// would be in force in the one alone.
#[test]
fn layout_takes_over_only_if_all_that_changes_in_this_run_changes_in_both() {
    let lasting = (KEY, Ban, 3_600);
    let same = decide_on(&[lasting], 0);
    assert_eq!((serves(&same), same.is_complete), (Layout::Shards, true));
    let more = [lasting, ("192.0.2.2", Ban, 3_600)];
    assert_eq!(serves(&decide_on(&more, 0)), Layout::Shards, "it comes in both");
    let scarce = decide_on(&more, 2);
    assert_eq!((serves(&scarce), scarce.is_complete), (Layout::Keys, true));
    let (sent, left) = scarce.other.as_ref().unwrap();
    assert_eq!((sent.waiting(), sent.riding(), *left), (1, 0, 1), "no budget for the other");
}

#[test]
fn key_that_goes_after_a_range_is_not_yet_left_in_the_other_layout_which_waits_for_it() {
    let covered = decide_on(&[("192.0.2.0/24", Ban, 3_600)], 0);
    assert_eq!((serves(&covered), covered.is_complete), (Layout::Keys, true));
    let (sent, left) = covered.other.as_ref().unwrap();
    assert_eq!((sent.waiting(), sent.riding(), *left), (0, 1, 1), "the range alone");
}

const NET: &str = "203.0.113.0/24";
const OTHER: &str = "198.51.100.0/24";
const INSIDE: (&str, Remediation, u32) = ("203.0.113.7", Ban, 3_600);
const LASTS: (&str, Remediation, u32) = (OTHER, Ban, 3_600);

#[test]
fn range_that_goes_is_sent_after_who_is_inside_and_otherwise_stays_as_it_is() {
    let alone = Case::of_keys(keys(&[KEY], &[NET])).decide(&[(KEY, Ban, 3_600), INSIDE]);
    let put = "put ip:203.0.113.7".to_owned();
    let expected =
        (vec![put.clone(), "delete ranges".to_owned()], "ip:203.0.113.7 else ".to_owned());
    assert_eq!(words(&alone.schedule), expected);
    let fresh = ("192.0.2.64/26", Ban, 3_600);
    let beside = Case::of_keys(keys(&[], &[NET, OTHER])).decide(&[LASTS, fresh, INSIDE]);
    let ranges = vec![put, format!("put ranges=192.0.2.64/26,{OTHER}")];
    let leans = format!("ip:203.0.113.7 else put ranges=192.0.2.64/26,{OTHER},{NET}");
    assert_eq!(words(&beside.schedule), (ranges, leans));
    let shards = Case::of_shards(keys(&[], &[NET, OTHER])).decide(&[LASTS, INSIDE]);
    let unit = unit_key("ip:", shard(&"203.0.113.7".parse().unwrap()));
    let ranges = vec![format!("put {unit}=203.0.113.7"), format!("put ip:wide={OTHER}")];
    assert_eq!(words(&shards.schedule), (ranges, format!("{unit} else ")));
    assert_eq!((shards.schedule.waiting(), shards.schedule.riding()), (0, 0));
}

#[test]
fn range_around_nobody_who_comes_goes_with_the_others_and_leans_on_nobody() {
    for desired in [&[LASTS, (KEY, Ban, 3_600)][..], &[LASTS, ("192.0.2.2", Ban, 3_600)]] {
        let decision = Case::of_keys(keys(&[], &[NET, OTHER])).decide(desired);
        let (bulks, leans) = words(&decision.schedule);
        assert_eq!((bulks.len(), leans.as_str()), (1, ""), "{bulks:?}");
    }
}

#[test]
fn owners_range_goes_first_and_another_stays_for_who_is_inside() {
    let owners = Case { never: "198.51.100.9", ..Case::of_keys(keys(&[], &[NET, OTHER])) };
    let decision = owners.decide(&[INSIDE]);
    let ranges = vec![format!("put ranges={NET} ip:203.0.113.7")];
    assert_eq!(words(&decision.schedule), (ranges, String::new()));
    assert_eq!(decision.schedule.describe_waiting(), "lifted 1");
}

/// With the first the key of all ranges is deleted, which takes no write; with one of them kept it is written.
#[test]
fn range_that_is_kept_for_one_leaves_no_write_for_who_is_inside_of_the_other() {
    let case = Case { writes_max: 1, ..Case::of_keys(keys(&[], &[NET, OTHER])) };
    let captcha = ("198.51.100.7", Captcha, 3_600);
    for desired in [&[INSIDE, captcha][..], &[captcha, INSIDE]] {
        let decision = case.decide(desired);
        assert_eq!(words(&decision.schedule).0, ["put ip:203.0.113.7"]);
        assert_eq!(decision.schedule.describe_waiting(), "lifted 2, captcha 1");
    }
}

#[test]
fn ranges_that_were_sent_or_read_as_written_in_the_second_before_wait() {
    let desired = [(NET, Ban, 3_600), LASTS];
    let waits = |case: &Case| {
        let decision = case.decide(&desired);
        (decision.schedule.bulks().len(), decision.schedule.describe_waiting())
    };
    let case = Case::of_keys(keys(&[], &[NET]));
    assert_eq!(waits(&case), (1, String::new()));
    for (at, goes) in [(NOW, 0), (NOW - 1, 0), (NOW - 2, 1)] {
        let waiting = if goes == 0 { "new_ban 1" } else { "" };
        let mut sent = Case::of_keys(keys(&[], &[NET]));
        sent.history(|history| history.sent_ranges(at));
        assert_eq!(waits(&sent), (goes, waiting.to_owned()), "{}", NOW - at);
        let read = Case::of_keys(keys_since(at, &[], &[NET]));
        assert_eq!(waits(&read), (goes, waiting.to_owned()), "{}", NOW - at);
    }
}

/// KV shows a write everywhere after a minute only.
#[test]
fn ranges_that_read_older_than_they_were_written_wait_and_take_no_key_for_covered() {
    for (read, ago, is_late) in
        [(keys(&[KEY], &[NET]), 10, true), (keys(&[KEY], &[NET]), 300, false)]
    {
        let mut case = Case::of_keys(read);
        case.history(|history| history.wrote(RANGES, NOW - ago));
        let decision = case.decide(&[("192.0.2.0/24", Ban, 3_600), INSIDE]);
        let put = "put ip:203.0.113.7".to_owned();
        let (ranges, key) = ("put ranges=192.0.2.0/24".to_owned(), format!("delete ip:{KEY}"));
        let (expected, waits) = match is_late {
            true => (vec![put], "new_ban 1, lifted 1, covered 1"),
            false => (vec![put, ranges, key], ""),
        };
        assert_eq!(words(&decision.schedule).0, expected, "{ago}");
        assert_eq!(decision.schedule.describe_waiting(), waits);
        // In force as it reads, and it may be so no more.
        let mut case = Case::of_keys(keys(&["203.0.113.7"], &[NET]));
        case.history(|history| history.wrote(RANGES, NOW - ago));
        let decision = case.decide(&[(NET, Ban, 3_600)]);
        assert_eq!(decision.schedule.bulks().is_empty(), is_late);
    }
}

#[test]
fn shards_that_lack_somebody_are_not_complete_and_do_not_take_over() {
    let lacks = Case::to_shards(keys(&[KEY], &[]), keys(&[], &[])).decide(&[(KEY, Ban, 3_600)]);
    assert_eq!((serves(&lacks), lacks.is_complete), (Layout::Keys, false));
    assert_eq!(lacks.other.as_ref().unwrap().1, 1);
    assert_eq!(lacks.instead, None);
}

#[test]
fn shards_without_their_marker_as_it_was_read_are_not_complete() {
    let mut case = Case::to_shards(keys(&[KEY], &[]), keys(&[KEY], &[]));
    case.observed.shards.as_mut().unwrap().units[WIDE] = Unit::Absent;
    assert!(!case.decide(&[(KEY, Ban, 3_600)]).is_complete);
}

#[test]
fn shards_that_are_complete_take_over_when_they_have_been_so_for_long_and_are_settled() {
    let desired = [(KEY, Ban, 3_600)];
    let both = || Case::to_shards(keys(&[KEY], &[]), keys(&[KEY], &[]));
    let ready = both().decide(&desired);
    assert_eq!((serves(&ready), ready.youngest), (Layout::Shards, NOW - HOUR));
    assert_eq!(ready.instead, None);
    // Of a value that is so young nothing is known but what was found.
    for (complete_secs, written, is_ready) in
        [(540, 100, true), (540, 30, false), (60, 100, false), (0, 100, false)]
    {
        let mut case = Case { complete_secs, ..both() };
        case.observed.shards.as_mut().unwrap().units[3] = Unit::Ours(NOW - written);
        let decision = case.decide(&desired);
        let expected = if is_ready { Layout::Shards } else { Layout::Keys };
        assert_eq!((serves(&decision), decision.is_complete), (expected, true), "{complete_secs}");
        assert_eq!(decision.youngest, NOW - written);
    }
}

#[test]
fn marker_with_which_shards_take_over_is_sent_after_what_comes_with_it() {
    let case = Case::to_shards(keys(&[KEY], &[]), keys(&[KEY], &[]));
    let decision = case.decide(&[(KEY, Ban, 3_600), INSIDE]);
    assert_eq!(serves(&decision), Layout::Shards);
    let unit = unit_key("ip:", shard(&"203.0.113.7".parse().unwrap()));
    let (bulks, leans) = words(&decision.other.as_ref().unwrap().0);
    assert_eq!(bulks, [format!("put {unit}=192.0.2.1,203.0.113.7"), "put ip:wide=".to_owned()]);
    assert_eq!(leans, "all else ");
}

#[test]
fn keys_that_take_over_have_what_is_sent_to_the_shards_without_the_marker() {
    let shards = in_shards(keys(&[KEY], &[]), Layout::Shards, NOW - HOUR, false);
    let case = Case::of("keys", Some(keys(&[KEY], &[])), shards);
    let decision = case.decide(&[(KEY, Ban, 3_600)]);
    assert_eq!((serves(&decision), decision.youngest), (Layout::Keys, NOW - HOUR));
    let marker = words(&decision.schedule).0;
    assert_eq!(marker, ["put ip:wide="]);
    assert!(decision.instead.unwrap().bulks().is_empty());
}

#[test]
fn layout_that_was_served_before_is_taken_away_within_the_budget_and_said_to_be_left() {
    let addresses = [KEY, "192.0.2.2", "192.0.2.3"];
    let desired = addresses.map(|address| (address, Ban, 3_600));
    let there = || keys(&addresses, &[]);
    let shards = in_shards(there(), Layout::Shards, NOW - HOUR, false);
    let case = Case { writes_max: 1, ..Case::of("shards", Some(there()), shards) };
    let (sent, left) = case.decide(&desired).other.unwrap();
    assert_eq!(words(&sent).0, ["delete ip:192.0.2.1"]);
    // The key of the ranges as well.
    assert_eq!((sent.waiting(), left), (3, 4));
    let shards = in_shards(there(), Layout::Keys, NOW - HOUR, false);
    let case = Case { writes_max: 1, ..Case::of("keys", Some(there()), shards) };
    let (sent, left) = case.decide(&desired).other.unwrap();
    assert_eq!(
        (words(&sent).0, sent.waiting(), left),
        (vec!["delete ip:s16:0".to_owned()], 16, 17)
    );
}

#[test]
fn what_the_community_lifted_rides_where_shards_are_served_and_not_before() {
    let known = || {
        let lifted = ("192.0.2.2".parse().unwrap(), Known::new(false, NOW + HOUR));
        Ends::default().next([lifted].into_iter(), |_| true)
    };
    let both = [KEY, "192.0.2.2"];
    let served = Case { ends: known(), ..Case::of_shards(keys(&both, &[])) };
    let decision = served.decide(&[(KEY, Ban, 3_600)]);
    assert_eq!((decision.schedule.riding(), decision.schedule.bulks().len()), (1, 0));
    let before = Case { ends: known(), ..Case::to_shards(keys(&[KEY], &[]), keys(&both, &[])) };
    let (sent, _) = before.decide(&[(KEY, Ban, 3_600)]).other.unwrap();
    assert_eq!((sent.riding(), sent.bulks().len()), (0, 1));
}

/// The request may be taken in part, and a listing may lack the keys that the Worker still goes by.
#[test]
fn first_marker_is_sent_after_the_shards_that_come_with_it_and_others_do_not_wait() {
    let unit = unit_key("ip:", shard(&KEY.parse().unwrap()));
    let (line, marker) = (format!("{unit}={KEY}"), "ip:wide=");
    let with = |is_there: &dyn Fn(usize) -> bool| {
        let units = std::array::from_fn(|at| match is_there(at) {
            true => Unit::Ours(NOW - HOUR),
            false => Unit::Absent,
        });
        let shards = Some(ObservedShards { units, ..ObservedShards::default() });
        let case = Case::of("shards", Some(ObservedKeys::default()), shards);
        words(&case.decide(&[(KEY, Ban, 3_600)]).schedule)
    };
    let all: Vec<_> = (0..WIDE).map(|at| unit_key("ip:", at)).collect();
    let apart = vec![format!("put {line}"), format!("put {marker}")];
    assert_eq!(with(&|_| false), (apart.clone(), format!("{} else ", all.join(" "))));
    let at = shard(&KEY.parse().unwrap());
    assert_eq!(with(&|unit| unit != at && unit != WIDE), (apart, format!("{unit} else ")));
    // Others took the marker: what was there is to be met again as soon as can be.
    let together = (vec![format!("put {line} {marker}")], String::new());
    assert_eq!(with(&|unit| unit != WIDE), together);
    assert_eq!(with(&|unit| unit == at), together);
}

/// Our clock is ahead: the owner's entry is over by it, and would be met again when the Worker reads it.
#[test]
fn owner_whose_entry_has_run_out_leaves_the_shards_that_take_over() {
    let mut shards = in_shards(keys(&["192.0.2.2"], &[]), Layout::Keys, NOW - HOUR, false).unwrap();
    let mut protected = Protected::default();
    protected.add(KEY.parse().unwrap());
    let entry = RangeEntry { value: Ban, expires: NOW - 1 };
    shards.add(KEY.parse().unwrap(), entry, NOW - HOUR, (&protected, NOW));
    let keys = keys(&[KEY, "192.0.2.2"], &[]);
    let case = Case { never: KEY, ..Case::of("shards", Some(keys), Some(shards)) };
    let decision = case.decide(&[("192.0.2.2", Ban, 3_600)]);
    assert_eq!(serves(&decision), Layout::Shards);
    assert_eq!(words(&decision.schedule).0, [format!("delete ip:{KEY}")]);
    let unit = unit_key("ip:", shard(&KEY.parse().unwrap()));
    let beside = unit_key("ip:", shard(&"192.0.2.2".parse().unwrap()));
    let line = if unit == beside { "192.0.2.2" } else { "" };
    let (bulks, leans) = words(&decision.other.as_ref().unwrap().0);
    assert_eq!(bulks, [format!("put {unit}={line}"), "put ip:wide=".to_owned()]);
    assert_eq!(leans, "all else ");
}

/// It was written just now, by a clock that is ahead for instance; the guard judges it when it goes there.
#[test]
fn entry_that_waits_where_it_is_served_waits_beside_and_is_not_left_behind() {
    let fresh = || keys_since(NOW - 30, &["192.0.2.2"], &[NET]);
    let old = || keys(&["192.0.2.2", KEY], &[NET]);
    let desired = [(KEY, Ban, 3_600)];
    let both = Case::to_shards(fresh(), old()).decide(&desired);
    assert_eq!(both.schedule.describe_waiting(), "lifted 2");
    let (sent, left) = both.other.unwrap();
    assert_eq!((sent.bulks().len(), left, both.is_complete), (0, 2, false));
    // It is in the one that is served alone.
    let mut served = keys(&[KEY], &[]);
    let metadata = Some(Metadata { value: Ban, written: NOW - 30 });
    let add = |served: &mut ObservedKeys, name: &str| {
        served.add(Key { name: name.to_owned(), expires: Some(NOW + HOUR), metadata }, "ip:");
    };
    add(&mut served, "ip:192.0.2.2");
    let alone = Case::to_shards(served, keys(&[KEY], &[])).decide(&desired);
    assert_eq!((serves(&alone), alone.is_complete), (Layout::Keys, true));
}

/// A run ended before the first marker: nobody is met by what it left.
#[test]
fn who_is_not_desired_leaves_shards_that_were_never_served_before_their_marker_comes() {
    let left = |written| {
        let mut units = [const { Unit::Absent }; UNITS];
        let at = shard(&"192.0.2.2".parse().unwrap());
        units[at] = Unit::Ours(written);
        let keys = keys_since(written, &["192.0.2.2"], &[]);
        let shards = Some(ObservedShards { keys, units, marker: None });
        (Case::of("shards", Some(ObservedKeys::default()), shards), unit_key("ip:", at))
    };
    for written in [NOW - HOUR, NOW - 30] {
        for desired in [&[("192.0.2.0/24", Captcha, 3_600)][..], &[LASTS], &[]] {
            let (case, unit) = left(written);
            let decision = case.decide(desired);
            let (bulks, leans) = words(&decision.schedule);
            assert_eq!(bulks.len(), 2, "{bulks:?}");
            assert_eq!(bulks[0], format!("put {unit}="));
            assert!(leans.contains(&unit), "{leans}");
            assert_eq!((decision.schedule.waiting(), decision.schedule.riding()), (0, 0));
        }
    }
    // Others took the marker: the guard judges who comes back with it, and who is fresh stays.
    let (mut case, _) = left(NOW - 30);
    case.history(|history| history.wrote(WIDE, NOW - HOUR));
    assert_eq!(case.decide(&[LASTS]).schedule.describe_waiting(), "lifted 1");
}

/// A listing is up to a minute behind; values of shards are as they are read.
#[test]
fn range_that_goes_stays_for_who_is_listed_inside_only_while_replaced_keys_may_be_listed() {
    let there = || keys(&["203.0.113.7"], &[NET]);
    for (ago, waits) in [(60, "lifted 1"), (61, "")] {
        let mut listed = Case::of_keys(there());
        listed.quota.replaces(NOW - ago);
        assert_eq!(listed.decide(&[INSIDE]).schedule.describe_waiting(), waits, "{ago}");
        let mut read = Case::of_shards(there());
        read.quota.replaces(NOW - ago);
        assert_eq!(read.decide(&[INSIDE]).schedule.describe_waiting(), "", "{ago}");
    }
}
