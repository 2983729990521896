//! Laws that hold for any two states, as properties: with the guard as it is shipped, ranges, few places,
//! protected addresses, items of somebody else's, and addresses in two spellings.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::World;
use edge_sync_core::address::Address;
use proptest::prelude::*;
use simulator::{Decision, Fate, Service};

/// Never to be blocked, in all worlds of this file.
const PROTECTED: &str = "203.0.113.3";
/// What a list may hold that is no address.
const FOREIGN: &str = "somebody's.example.com";
/// Between two runs: what the guard holds goes in half an hour and five runs.
const INTERVAL: Duration = Duration::from_secs(400);

/// A small pool, so that sets overlap, addresses move between lists and ranges cover some of them; odd
/// spellings included.
fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0u8..14).prop_map(|n| format!("203.0.113.{n}")),
        2 => (0u8..6).prop_map(|n| format!("203.0.113.{n}/32")),
        2 => (0u8..6).prop_map(|n| format!("::ffff:203.0.113.{n}")),
        2 => (0u16..6).prop_map(|n| format!("2001:DB8:0:0::{n:x}")),
        3 => (0u8..3, 0u8..3).prop_map(|(net, n)| format!("198.51.{net}.{n}")),
        2 => (0u8..3).prop_map(|net| format!("198.51.{net}.7/24")),
        1 => Just("198.51.0.0/16".to_owned()),
        1 => Just("0.0.0.0/0".to_owned()),
        1 => Just("not an address".to_owned()),
    ]
}

/// What a list has at first: Cloudflare's spelling, now and then another or no address at all.
fn item() -> impl Strategy<Value = String> {
    let canonical = |text: String| text.parse::<Address>().ok().map(|a| a.to_string());
    prop_oneof![
        12 => address().prop_filter_map("an address", canonical),
        1 => (0u8..6).prop_map(|n| format!("::ffff:203.0.113.{n}")),
        1 => Just(FOREIGN.to_owned()),
    ]
    .prop_filter("no list takes it", |text| text != "0.0.0.0/0")
}

fn items() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(item(), 0..16)
}

#[derive(Debug, Clone)]
struct Wanted {
    value: String,
    is_ban: bool,
    is_own: bool,
}

fn wanted() -> impl Strategy<Value = Vec<Wanted>> {
    let one = (address(), any::<bool>(), any::<bool>());
    let one = one.prop_map(|(value, is_ban, is_own)| Wanted { value, is_ban, is_own });
    proptest::collection::vec(one, 0..28)
}

#[derive(Debug, Clone)]
struct States {
    before: (Vec<String>, Vec<String>),
    desired: Vec<Wanted>,
    queue: bool,
    skip_covered: bool,
    items_max: Option<u64>,
}

/// With room for all, and decisions that cover none.
fn plain_states() -> impl Strategy<Value = States> {
    states().prop_map(|states| States { items_max: None, skip_covered: false, ..states })
}

fn states() -> impl Strategy<Value = States> {
    let before = (items(), items());
    let items_max = proptest::option::of(3u64..24);
    (before, wanted(), any::<bool>(), any::<bool>(), items_max).prop_map(
        |(before, desired, queue, skip_covered, items_max)| States {
            before,
            desired,
            queue,
            skip_covered,
            items_max,
        },
    )
}

/// Each list's content, by canonical address.
type Lists = BTreeMap<Address, bool>;

impl States {
    /// What should be on the lists if there is room: address -> ban; by another reading of the rules than
    /// the core's.
    fn expected(&self) -> Lists {
        let protected: Address = PROTECTED.parse().unwrap();
        let mut all = Lists::new();
        for Wanted { value, is_ban, .. } in &self.desired {
            match value.parse::<Address>() {
                Ok(address) if address != protected && value != "0.0.0.0/0" => {
                    *all.entry(address).or_default() |= is_ban;
                }
                _ => {}
            }
        }
        let is_covered = |address: &Address, is_ban: bool| {
            let mut around =
                all.iter().filter(|(range, _)| *range != address && range.contains(address));
            self.skip_covered && around.any(|(_, range_bans)| *range_bans >= is_ban)
        };
        let kept = all.iter().filter(|(address, is_ban)| !is_covered(address, **is_ban));
        kept.map(|(address, is_ban)| (*address, *is_ban)).collect()
    }

    fn is_own(&self, address: &Address) -> bool {
        self.desired.iter().any(|wanted| wanted.is_own && wanted.value.parse() == Ok(*address))
    }

    /// Whether something is there that is never to be blocked.
    fn has_owner(&self) -> bool {
        let there = self.before.0.iter().chain(&self.before.1);
        there
            .filter_map(|item| item.parse::<Address>().ok())
            .any(|item| item.to_string() == PROTECTED)
    }

    fn foreign(&self) -> u64 {
        let lists = [&self.before.0, &self.before.1];
        lists.iter().filter(|list| list.iter().any(|item| item == FOREIGN)).count() as u64
    }
}

fn world(states: &States) -> World {
    let mut world = World::with(|options| {
        let mode = if states.queue { "queue" } else { "reject" };
        options.set(&format!("cloudflare.pending_mode={mode}")).unwrap();
        options.cloudflare.item_noise = true;
    });
    world.set("never_block", PROTECTED);
    world.set("scopes", "ip,range");
    world.set("skip_covered", if states.skip_covered { "true" } else { "false" });
    let as_refs = |list: &Vec<String>| -> BTreeSet<String> { list.iter().cloned().collect() };
    let (ban, captcha) = (as_refs(&states.before.0), as_refs(&states.before.1));
    let refs = |list: &BTreeSet<String>| list.iter().cloned().collect::<Vec<_>>();
    let (ban, captcha) = (refs(&ban), refs(&captcha));
    world.preload(
        &ban.iter().map(String::as_str).collect::<Vec<_>>(),
        &captcha.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    if let Some(items_max) = states.items_max {
        world.set("list_items_max", &items_max.to_string());
        let there = ban.len() + captcha.len();
        let most = there.max(items_max as usize);
        world.front.world().cloudflare().configure(|knobs| knobs.account_items_max = most);
    }
    for Wanted { value, is_ban, is_own } in &states.desired {
        let decision = if *is_ban { Decision::ban(value) } else { Decision::captcha(value) };
        let decision = decision.origin(if *is_own { "crowdsec" } else { "CAPI" });
        world.front.world().lapi().add(decision.until(Duration::from_secs(1 << 30)));
    }
    world
}

/// Runs often and long enough for the guard, and for places that only become free thereby.
async fn settle(world: &World, runs: u32) {
    for _ in 0..runs {
        let _ = world.run().await;
        tokio::time::sleep(INTERVAL).await;
    }
}

fn assert_converged(world: &World, states: &States) {
    let (ban, captcha) = world.edge();
    let (all, expected) = (ban.len() + captcha.len(), states.expected());
    let mut edge = Lists::new();
    for (list, is_ban) in [(&ban, true), (&captcha, false)] {
        for text in list.iter().filter(|text| *text != FOREIGN) {
            assert_eq!(edge.insert(text.parse().unwrap(), is_ban), None, "{text} is there twice");
        }
    }
    let Some(items_max) = states.items_max else {
        assert_eq!(edge, expected);
        return;
    };
    let stays_for_its_range = |address: &Address| {
        let mut around =
            expected.keys().filter(|range| *range != address && range.contains(address));
        around.any(|range| !edge.contains_key(range))
    };
    let mut staying = 0;
    for (address, is_ban) in &edge {
        match expected.get(address) {
            // Without a free place, and with nobody who is less important, it waits where it is.
            Some(expected) => assert!(is_ban == expected || all as u64 >= items_max, "{address}"),
            None => {
                assert!(stays_for_its_range(address), "{address} is not desired");
                staying += 1;
            }
        }
    }
    let stays = states.foreign() + staying;
    assert!(all as u64 <= items_max.max(stays), "{all} of {items_max}");
    let places = items_max.saturating_sub(stays);
    let placed = edge.len() as u64 - staying;
    assert_eq!(placed, places.min(expected.len() as u64), "places are given away");
    let has_all_own = expected.keys().all(|a| !states.is_own(a) || edge.contains_key(a));
    let only_own = edge.keys().all(|a| {
        states.is_own(a) || !expected.contains_key(a) || states.skip_covered && !a.is_single()
    });
    assert!(has_all_own || only_own, "an own decision goes without for one of the community");
}

/// The content of both lists after each change, the first as it was preloaded.
fn story(world: &World) -> Vec<Vec<Address>> {
    let mut world = world.front.world();
    let mut items: BTreeSet<(String, String)> = BTreeSet::new();
    let mut story = Vec::new();
    for change in world.cloudflare().edge_history() {
        let in_list = |value: &String| (change.list_id.clone(), value.clone());
        change.removed.iter().for_each(|value| {
            items.remove(&in_list(value));
        });
        items.extend(change.added.iter().map(in_list));
        let started = change.operation_id.is_some();
        let now: Vec<Address> = items.iter().filter_map(|(_, value)| value.parse().ok()).collect();
        if !started {
            story.clear();
        }
        story.push(now);
    }
    story
}

fn simulated<F: Future<Output = ()>>(future: F) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn applied_for_long_enough_and_planned_again_is_empty(states in states()) {
        simulated(async {
            let world = world(&states);
            settle(&world, 20).await;
            assert_converged(&world, &states);
            let writes = world.writes();
            world.run().await.unwrap();
            assert_eq!(world.writes(), writes, "another run found something to do");
            world.assert_no_violations();
        });
    }

    #[test]
    fn who_is_blocked_before_and_after_is_blocked_all_the_time(states in states()) {
        simulated(async {
            let world = world(&states);
            settle(&world, 12).await;
            let story = story(&world);
            let (Some(first), Some(last)) = (story.first(), story.last()) else { return };
            let is_in = |probe: &Address, items: &[Address]| {
                items.iter().any(|item| item.contains(probe))
            };
            let inside = ["198.51.0.99", "198.51.1.99", "198.51.2.99"].map(|a| a.parse().unwrap());
            let probes = first.iter().chain(last).chain(&inside);
            // Where places are few, one who is desired may lose his for a time to others; not one who goes
            // because a range covers him, unless more is there than may be: then somebody goes before anything comes.
            let has_place = |probe: &&Address| {
                let is_covered = first.contains(probe) && !states.expected().contains_key(probe);
                let there = first.len() as u64 + states.foreign();
                states.items_max.is_none_or(|items_max| is_covered && there <= items_max)
            };
            let probes = probes.filter(|probe| is_in(probe, first) && is_in(probe, last));
            for probe in probes.filter(has_place) {
                assert!(story.iter().all(|items| is_in(probe, items)), "{probe}: {story:?}");
            }
        });
    }

    #[test]
    fn lists_never_hold_more_than_they_may(states in states()) {
        simulated(async {
            let world = world(&states);
            settle(&world, 8).await;
            let story = story(&world);
            let (Some(items_max), Some(first)) = (states.items_max, story.first()) else { return };
            let most = items_max.max(first.len() as u64 + states.foreign());
            assert!(story.iter().all(|items| items.len() as u64 + states.foreign() <= most));
            let failed = world.texts(edge_sync_core::log::Level::Error);
            assert!(failed.is_empty(), "an operation did not fit: {failed:?}");
        });
    }

    #[test]
    fn run_uses_the_fewest_operations(states in plain_states()) {
        simulated(async {
            let mut world = world(&states);
            // What is held back, and goes later, is no matter of this law.
            world.set("removal_confirm_runs", "1");
            let before = world.edge();
            world.run().await.unwrap();
            let after = world.edge();
            let lists = usize::from(before.0 != after.0) + usize::from(before.1 != after.1);
            // One for each list that differs; one more if addresses move in both directions, or what is
            // urgent would have to wait for what moves; and a list with somebody else's item is never
            // rewritten. An owner's address waits for nothing of that.
            let most = lists + 1 + 2 * states.foreign() as usize + usize::from(states.has_owner());
            assert!(world.writes() <= most, "{} writes for {lists} lists", world.writes());
            assert!(world.writes() >= lists);
        });
    }

    #[test]
    fn lapi_unreadable_never_changes_anything(states in states(), part in 0.0..1.0f64) {
        simulated(async {
            // How long the body is, another world tells.
            let whole = world(&states);
            let _ = whole.run().await;
            let is_read = |e: &simulator::Entry| e.service == Service::Lapi && e.method == "GET";
            let length = whole.journal(is_read)[0].bytes_out;
            let keep = (length as f64 * part) as u64;
            let world = world(&states);
            let before = world.edge();
            world.fault(&format!("lapi: cut-body {keep}"));
            settle(&world, 7).await;
            assert!(world.journal(is_read).iter().all(|e| matches!(e.fate, Fate::Cut(_))));
            assert_eq!((world.edge(), world.writes()), (before, 0));
        });
    }

    #[test]
    fn any_two_faults_heal(states in states(), faults in (fault(), fault())) {
        simulated(async {
            let world = world(&states);
            world.fault(&faults.0);
            world.fault(&faults.1);
            let begun = world.front.elapsed();
            let _ = world.run().await;
            assert!(world.front.elapsed() - begun <= Duration::from_secs(110));
            tokio::time::sleep(Duration::from_secs(120)).await;
            let _ = world.run().await;
            world.front.world().clear_faults();
            // An operation that cannot be asked for is given up after an hour, and after two refusals the
            // second step of the ladder has to pass.
            settle(&world, 30).await;
            // What was refused as a value, and a learned capacity, are believed for a day.
            tokio::time::sleep(Duration::from_secs(24 * 3_600)).await;
            settle(&world, 8).await;
            assert_converged(&world, &states);
        });
    }
}

fn fault() -> impl Strategy<Value = String> {
    let action = prop::sample::select(vec![
        "refuse",
        "drop-before-effect",
        "drop-after-effect",
        "cut-body 10",
        "silent",
        "delay 30s",
        "stuck-operation",
        "vanish-operation",
        "slow-operation 10m",
        "operation-state dreaming",
        "null-result",
        "no-result",
        "repeat-page",
        "repeat-item",
        "repeat-cursor",
        "empty-page-with-cursor",
        "answer 500 <html>",
        "answer-after-effect 502 <html>",
        "answer 400 {\"success\":false,\"errors\":[{\"code\":10035,\"message\":\"invalid value\"}]}",
        "answer 403 {\"success\":false,\"errors\":[{\"code\":10000,\"message\":\"no\"}]}",
        "answer 429 [retry-after: 18446744073709551615] slow",
        "fail-operation no",
        "fail-operation This list is at the maximum number of items",
    ]);
    let service = prop::sample::select(vec!["lapi", "cloudflare", "cloudflare", "cloudflare"]);
    let on = (service, 0u32..14, 1u32..3, action);
    on.prop_map(|(service, skip, times, action)| {
        format!("{service} skip={skip} times={times}: {action}")
    })
}
