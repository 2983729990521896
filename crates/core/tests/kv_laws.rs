//! Laws of the KV target that hold for any states, as properties.
//!
//! What the namespace should hold is read from the simulator's rows by this file's own reading of the
//! rules, not by the core's.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use common::World;
use futures_util::future::join;
use proptest::prelude::*;
use simulator::KvEntryView;
use simulator::cloudflare::kv::KvCause;

/// The default of `kv_expiry_tolerance_seconds`.
const TOLERANCE: u64 = 600;
/// What a key may outlive its decision, beside the tolerance.
const SLACK: u64 = 60;
/// Between two runs.
const INTERVAL: Duration = Duration::from_secs(120);

/// A decision: type, value as LAPI spells it, how long it holds.
type Decided = (&'static str, String, u64);

/// A key that is there before the first run.
#[derive(Debug, Clone)]
struct Before {
    name: String,
    value: &'static str,
    expires: Option<u64>,
    /// Seconds ago; `None` = not by us.
    written: Option<u64>,
}

/// A range, its value, and how long it holds.
type RangeBefore = (&'static str, &'static str, u64);

#[derive(Debug, Clone)]
struct States {
    before: Vec<Before>,
    /// What the key of all ranges holds before, and how long ago it was written.
    ranges: Option<(Vec<RangeBefore>, u64)>,
    decided: Vec<Decided>,
    scopes: &'static str,
    /// `never_block`.
    protected: &'static str,
    /// `kv_daily_writes_max`.
    budget: u64,
    lag: u64,
}

/// A small pool, so that keys and decisions meet; odd spellings included.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0u8..12).prop_map(|n| format!("203.0.113.{n}")),
        1 => (0u8..6).prop_map(|n| format!("203.0.113.{n}/32")),
        1 => (0u8..6).prop_map(|n| format!("::ffff:203.0.113.{n}")),
        2 => (0u16..6).prop_map(|n| format!("2001:DB8:0:0::{n:x}")),
        1 => range().prop_map(str::to_owned),
        1 => Just("not an address".to_owned()),
    ]
}

/// Canonical, once it is in lower case.
fn range() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["198.51.100.0/24", "203.0.113.0/28", "2001:DB8::/64"])
}

fn kind() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["ban", "captcha"])
}

/// Short ones run out while we look; long ones are never near their end.
fn lasts() -> impl Strategy<Value = u64> {
    prop_oneof![1u64..400, 3_600u64..100_000]
}

fn before() -> impl Strategy<Value = Before> {
    let name = prop_oneof![
        6 => value().prop_map(|value| format!("ip:{}", value.to_lowercase())),
        1 => value().prop_map(|value| format!("ip:{value}")),
        1 => Just("ip:hello".to_owned()),
        1 => Just("another-tool".to_owned()),
    ];
    let expires = prop::option::weighted(0.9, 60u64..100_000);
    let written = prop::option::weighted(0.8, 0u64..400);
    (name, kind(), expires, written).prop_map(|(name, value, expires, written)| Before {
        name: name.replace(' ', "-"),
        value,
        expires,
        written,
    })
}

fn states() -> impl Strategy<Value = States> {
    let decided = proptest::collection::vec((kind(), value(), lasts()), 0..14);
    let range = (range(), kind(), 60u64..100_000);
    let ranges = prop::option::of((proptest::collection::vec(range, 0..3), 0u64..400));
    let scopes = prop::sample::select(vec!["ip", "ip,range"]);
    let protected = prop::sample::select(vec!["", "", "203.0.113.3", "203.0.113.0/30,2001:db8::1"]);
    let budget = prop::sample::select(vec![0, 0, 1_000, 5, 2]);
    let before = proptest::collection::vec(before(), 0..14);
    (before, ranges, decided, scopes, protected, budget, 0u64..=60).prop_map(
        |(before, ranges, decided, scopes, protected, budget, lag)| States {
            before,
            ranges,
            decided,
            scopes,
            protected,
            budget,
            lag,
        },
    )
}

/// The world some minutes after its start, so that keys can have been written before.
async fn world(states: &States) -> World {
    let mut world = World::kv(|options| {
        options.cloudflare.kv_list_lag = Duration::from_secs(states.lag);
        options.lapi.shuffle_rows = true;
    });
    world.set("scopes", states.scopes);
    world.set("never_block", states.protected);
    world.set("kv_daily_writes_max", &states.budget.to_string());
    tokio::time::sleep(Duration::from_secs(400)).await;
    let now = world.front.elapsed();
    for key in &states.before {
        let expires = key.expires.map(|left| now + Duration::from_secs(left));
        let written = key.written.map(|ago| now - Duration::from_secs(ago));
        world.preload_key(&key.name, key.value, expires, written);
    }
    if let Some((ranges, ago)) = &states.ranges {
        let unix = world.unix_now();
        // No range twice: the key is of our own making.
        let mut names = BTreeSet::new();
        let ranges = ranges.iter().filter(|(range, ..)| names.insert(*range));
        let ranges = ranges.map(|(range, value, left)| {
            serde_json::json!({ "range": range.to_lowercase(), "value": value, "expires": unix + left })
        });
        let ranges: Vec<_> = ranges.collect();
        let value = serde_json::json!({ "v": 1, "at": unix - ago, "ranges": ranges }).to_string();
        world.preload_key("ranges", &value, Some(now + Duration::from_secs(100_000)), None);
    }
    for (kind, value, lasts) in &states.decided {
        world.decide(kind, value, Duration::from_secs(*lasts));
    }
    world
}

/// The canonical single address that a text names, if it does.
fn address(text: &str) -> Option<String> {
    let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
    let address: IpAddr = address.parse().ok()?;
    let full = if address.is_ipv4() { "32" } else { "128" };
    (prefix.is_empty() || prefix == full).then(|| address.to_canonical().to_string())
}

/// The range that a text names, if ranges are wanted.
fn wanted_range(world: &World, text: &str) -> Option<String> {
    let is_one = text.contains('/') && address(text).is_none();
    (is_one && world.settings["scopes"] == "ip,range").then(|| text.to_lowercase())
}

/// First and last address of what a text names, in the numbers of its family.
fn span(text: &str) -> Option<(bool, u128, u128)> {
    let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
    let address = address.parse::<IpAddr>().ok()?;
    let (is_v4, bits, width) = match (address, address.to_canonical()) {
        (IpAddr::V6(_), IpAddr::V4(mapped)) if prefix.is_empty() => {
            (true, mapped.to_bits().into(), 32)
        }
        (IpAddr::V4(v4), _) => (true, u128::from(v4.to_bits()), 32),
        (IpAddr::V6(v6), _) => (false, v6.to_bits(), 128),
    };
    let len: u32 = if prefix.is_empty() { width } else { prefix.parse().ok()? };
    let hosts = if width == len { 0 } else { u128::MAX >> (128 - (width - len)) };
    Some((is_v4, bits & !hosts, bits | hosts))
}

/// Whether an owner's address is in it.
fn is_protected(world: &World, text: &str) -> bool {
    let Some((family, first, last)) = span(text) else { return false };
    let owners = world.settings["never_block"].split(',').filter_map(span);
    owners.into_iter().any(|(of, from, to)| of == family && from <= last && first <= to)
}

/// What should be there now: key or range -> value, and seconds for which it must hold.
fn desired(world: &World) -> BTreeMap<String, (&'static str, u64)> {
    let mut simulator = world.front.world();
    let now = simulator.now();
    let mut desired = BTreeMap::new();
    for decision in simulator.lapi().decisions().iter().filter(|decision| decision.until > now) {
        let key = address(&decision.value).map(|address| format!("ip:{address}"));
        let Some(key) = key.or_else(|| wanted_range(world, &decision.value)) else { continue };
        if is_protected(world, &decision.value) {
            continue;
        }
        let left = (decision.until - now).as_secs();
        let (value, longest) = desired.entry(key).or_insert(("captcha", 0));
        *value = if decision.kind == "ban" { "ban" } else { value };
        *longest = left.max(*longest);
    }
    desired
}

/// Asserts that every desired key is there as it should be.
fn assert_desired_is_there(world: &World, context: &dyn std::fmt::Debug) {
    let (now, desired) = (world.unix_now(), desired(world));
    let mut keys = world.keys();
    let ranges = ranges(&keys, now);
    keys.extend(ranges);
    for (key, (value, left)) in &desired {
        let Some(entry) = keys.get(key) else { panic!("{key} is absent: {context:?}") };
        assert_eq!(entry.value, *value, "{key}: {context:?}");
        let expires = entry.expiration_unix.unwrap_or_else(|| panic!("{key} never expires"));
        let lasts = now + left..=now + left.max(&60) + SLACK + TOLERANCE;
        // By less than the tolerance, or with half of its time left; at the last run, that is.
        let is_early_by_little = expires < now + left
            && (now + left - expires <= TOLERANCE || 2 * (expires - now) + 300 >= *left);
        assert!(
            lasts.contains(&expires) || (is_early_by_little && expires > now + 120),
            "{key} expires {expires}, not in {lasts:?}: {context:?}"
        );
    }
}

/// The same, and that no other key of ours is there for long, nor an owner's at all.
fn assert_converged(world: &World, context: &dyn std::fmt::Debug) {
    assert_desired_is_there(world, context);
    let (now, desired) = (world.unix_now(), desired(world));
    let keys = world.keys();
    let ranges = ranges(&keys, now);
    for range in ranges.keys().filter(|range| !desired.contains_key(*range)) {
        let runs_out = ranges[range].expiration_unix.is_some_and(|at| at <= now + 2 * SLACK);
        let runs_out = runs_out && !is_protected(world, range);
        assert!(runs_out, "{range} should have gone: {:?}: {context:?}", ranges[range]);
    }
    for (key, entry) in keys.iter().filter(|(key, _)| !desired.contains_key(*key)) {
        let Some(name) = key.strip_prefix("ip:") else { continue };
        let is_address = name.split_once('/').map_or(name, |(a, _)| a).parse::<IpAddr>().is_ok();
        let runs_out = entry.expiration_unix.is_some_and(|at| at <= now + 2 * SLACK);
        let runs_out = runs_out && !is_protected(world, name);
        assert!(!is_address || runs_out, "{key} should have gone: {entry:?}: {context:?}");
    }
}

/// The ranges that are in force, each as if it were a key.
fn ranges(keys: &BTreeMap<String, KvEntryView>, now: u64) -> BTreeMap<String, KvEntryView> {
    let Some(key) = keys.get("ranges") else { return BTreeMap::new() };
    let value: serde_json::Value = serde_json::from_str(&key.value).unwrap();
    let ranges = value["ranges"].as_array().unwrap().iter().map(|range| {
        let text = |name: &str| range[name].as_str().unwrap().to_owned();
        let expiration_unix = range["expires"].as_u64();
        assert!(key.expiration_unix >= expiration_unix, "it outlives its key: {value}");
        (text("range"), KvEntryView { value: text("value"), expiration_unix, metadata: None })
    });
    ranges.filter(|(_, range)| range.expiration_unix > Some(now)).collect()
}

/// What is none of ours: keys without our prefix, and those that name no address.
fn foreign(keys: BTreeMap<String, KvEntryView>) -> BTreeMap<String, KvEntryView> {
    let ours = |key: &str| {
        key == "ranges" || key.starts_with("ip:") && key != "ip:hello" && key != "ip:not-an-address"
    };
    keys.into_iter().filter(|(key, _)| !ours(key)).collect()
}

/// Runs for longer than the guard, as it is shipped, holds anything back.
async fn run_until_confirmed(world: &World) {
    for _ in 0..18 {
        tokio::time::sleep(INTERVAL).await;
        world.run().await.unwrap();
    }
}

fn simulated<F: Future<Output = ()>>(future: F) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(future);
}

/// The same where a budget may be used up, so that runs are not all in sync.
async fn run_until_confirmed_or_partly(world: &World) {
    for _ in 0..18 {
        tokio::time::sleep(INTERVAL).await;
        let _ = world.run().await;
    }
}

/// Which requests, and what happens to one of them.
fn fault() -> impl Strategy<Value = (&'static str, &'static str)> {
    let target = prop::sample::select(vec![
        "lapi",
        "cloudflare",
        "cloudflare GET",
        "cloudflare PUT /bulk",
        "cloudflare POST /bulk",
    ]);
    let action = prop::sample::select(vec![
        "refuse",
        "drop-before-effect",
        "drop-after-effect",
        "cut-body 10",
        "silent",
        "delay 30s",
        "answer 500 <html>",
        "answer-after-effect 503 <html>",
        "answer 429 [retry-after: 60] slow",
        "answer 429 [retry-after: 18446744073709551615] slow",
        "unsuccessful-keys 3",
        "repeat-cursor",
        "repeat-page",
        "repeat-item",
        "null-result",
        "no-result",
        r#"answer 200 {"success":true,"errors":[],"result":{"unsuccessful_keys":["ip:9.9.9.9"]}}"#,
    ]);
    (target, action)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn applied_and_planned_again_is_empty(states in states()) {
        simulated(async {
            let states = States { lag: 0, ..states };
            let world = world(&states).await;
            let others = foreign(world.keys());
            let _ = world.run().await;
            let before = (world.keys(), world.writes());
            let _ = world.run().await;
            assert_eq!((world.keys(), world.writes()), before, "a second run found something to do");
            let others: BTreeSet<_> = others.into_keys().collect();
            // And once more when the guard has let everything go.
            run_until_confirmed_or_partly(&world).await;
            let before = (world.keys(), world.writes());
            let _ = world.run().await;
            assert_eq!((world.keys(), world.writes()), before, "a second run found something to do");
            let simulator = &mut world.front.world();
            let history = simulator.cloudflare().kv_history(&world.namespace);
            let by_us = |cause| matches!(cause, KvCause::Write | KvCause::Delete);
            let touched = history.iter().find(|c| others.contains(&c.key) && by_us(c.cause));
            assert_eq!(touched, None, "not ours");
            assert!(simulator.violations().is_empty(), "{:?}", simulator.violations());
        });
    }

    /// Whatever fails, no more is sent in a day than the budget allows; but an owner's address leaves.
    #[test]
    fn budget_of_a_day_is_never_exceeded(
        states in states(),
        budget in 1u64..8,
        comes in proptest::collection::vec((kind(), 20u8..60, 0usize..6), 0..12),
        faults in proptest::collection::vec(prop::sample::select(vec![
            "", "", "drop-after-effect", "drop-before-effect", "unsuccessful-keys 2",
            "answer-after-effect 503 x", "answer 400 x", "cut-body 9",
        ]), 6..7),
    ) {
        simulated(async {
            let states = States { protected: "", budget, ..states };
            let world = world(&states).await;
            for (run, fault) in faults.iter().enumerate() {
                for (kind, n, _) in comes.iter().filter(|(.., at)| *at == run) {
                    world.decide(kind, &format!("203.0.113.{n}"), Duration::from_secs(9_000));
                }
                if !fault.is_empty() {
                    world.fault(&format!("cloudflare /bulk: {fault}"));
                }
                let _ = world.run().await;
                world.front.world().clear_faults();
                tokio::time::sleep(INTERVAL).await;
            }
            let counters = world.kv_counters();
            assert!(counters.pairs_written <= budget, "{counters:?}");
            assert!(counters.keys_deleted <= budget, "{counters:?}");
            world.assert_no_violations();
        });
    }

    /// Each later run may find that time has passed: a key that was fresh is not, and one that expires
    /// a little early is due. Nothing is written without such a reason.
    #[test]
    fn with_listings_that_lag_it_converges_and_then_only_time_changes_anything(states in states()) {
        simulated(async {
            let states = States { budget: 0, ..states };
            let world = world(&states).await;
            world.run().await.unwrap();
            tokio::time::sleep(INTERVAL).await;
            world.run().await.unwrap();
            assert_desired_is_there(&world, &states);
            run_until_confirmed(&world).await;
            assert_converged(&world, &states);
            let values = |desired: BTreeMap<String, (&'static str, u64)>| -> Vec<_> {
                desired.into_iter().map(|(key, (value, _))| (key, value)).collect()
            };
            let (settled, before) = (values(desired(&world)), world.kv_counters());
            tokio::time::sleep(INTERVAL).await;
            world.run().await.unwrap();
            assert_converged(&world, &states);
            assert_eq!(world.kv_counters().identical_rewrites, before.identical_rewrites);
            if values(desired(&world)) == settled {
                assert_eq!(world.kv_metric("crowdsec_kv_sync_written"), Some(0.0));
            }
            world.assert_no_violations();
        });
    }

    #[test]
    fn lapi_unreadable_never_changes_anything(states in states(), keep in 0usize..100) {
        simulated(async {
            let world = world(&states).await;
            // So that the answer is always longer than what comes of it.
            world.decide("ban", "192.0.2.77", Duration::from_secs(3_600));
            let before = world.keys();
            world.fault(&format!("lapi: cut-body {keep}"));
            let _ = world.run().await;
            let was_cut = |e: &simulator::Entry| matches!(e.fate, simulator::Fate::Cut(_));
            let reads =
                world.journal(|e| e.service == simulator::Service::Lapi && e.method == "GET");
            assert!(!reads.is_empty() && reads.iter().all(was_cut), "{reads:?}");
            assert_eq!(world.writes(), 0);
            let is_same = |(key, entry)| before.get(key) == Some(entry);
            assert!(world.keys().iter().all(is_same), "some may have expired, none has changed");
        });
    }

    /// In one run or in two that follow each other.
    #[test]
    fn any_two_faults_heal(
        states in states(),
        faults in proptest::collection::vec((fault(), 0u32..4, any::<bool>()), 2..3),
    ) {
        simulated(async {
            let states = States { budget: 0, ..states };
            let world = world(&states).await;
            for ((target, action), skip, ends_run) in &faults {
                world.fault(&format!("{target} skip={skip} times=1: {action}"));
                if *ends_run {
                    let began = world.front.elapsed();
                    let _ = world.run().await;
                    assert!(world.front.elapsed() - began <= Duration::from_secs(110));
                    tokio::time::sleep(INTERVAL).await;
                }
            }
            let _ = world.run().await;
            world.front.world().clear_faults();
            for _ in 0..2 {
                tokio::time::sleep(INTERVAL).await;
                world.run().await.unwrap();
            }
            assert_desired_is_there(&world, &states);
            run_until_confirmed(&world).await;
            assert_converged(&world, &states);
            world.assert_no_violations();
        });
    }

    /// Two runs that overlap, each with its own view of LAPI and of a listing that lags, and a ban that
    /// comes between: no order of their reads and writes may delete its key.
    #[test]
    fn ban_that_comes_while_two_runs_overlap_is_never_deleted(
        states in states(),
        lapi_delay in 0u64..55,
        list_delay in 0u64..18,
        ban_at in 0u64..60,
        second_run_at in 0u64..100,
    ) {
        simulated(async {
            let states = States { budget: 0, ..states };
            let world = world(&states).await;
            let secs = Duration::from_secs;
            world.fault(&format!("lapi times=1: delay {lapi_delay}s"));
            world.fault(&format!("cloudflare GET /keys times=1: delay {list_delay}s"));
            let others = async {
                tokio::time::sleep(secs(ban_at)).await;
                world.decide("ban", "192.0.2.99", secs(3_600));
                tokio::time::sleep(secs(second_run_at.saturating_sub(ban_at))).await;
                let _ = world.run().await;
            };
            let _ = join(world.run(), others).await;
            tokio::time::sleep(INTERVAL).await;
            let _ = world.run().await;
            let simulator = &mut world.front.world();
            let history = simulator.cloudflare().kv_history(&world.namespace);
            let of_the_ban: Vec<_> = history.iter().filter(|c| c.key == "ip:192.0.2.99").collect();
            assert!(of_the_ban.iter().all(|c| c.cause != KvCause::Delete), "{of_the_ban:?}");
            assert_eq!(of_the_ban.last().and_then(|c| c.value.as_deref()), Some("ban"));
        });
    }
}

/// An address over some hours: a decision, and others that come some time before it ends and hold
/// somewhat longer. Many of them by less than the tolerance, so that the key is not written at once.
#[derive(Debug, Clone)]
struct Life {
    begins: u64,
    lasts: u64,
    /// How long before the end, and for how much longer.
    extended: Vec<(u64, u64)>,
}

impl Life {
    /// From when until when each of its decisions holds.
    fn rows(&self) -> impl Iterator<Item = (Duration, Duration)> {
        let mut end = self.begins + self.lasts;
        let first = (self.begins, end);
        let others = self.extended.iter().map(move |(before, more)| {
            let begins = end.saturating_sub(*before);
            end += more;
            (begins, end)
        });
        let secs = Duration::from_secs;
        std::iter::once(first).chain(others).map(move |(from, until)| (secs(from), secs(until)))
    }
}

fn lives() -> impl Strategy<Value = Vec<Life>> {
    let extended = proptest::collection::vec((60u64..2_000, 40u64..900), 0..4);
    let life = (0u64..7_200, 100u64..5_000, extended).prop_map(|(begins, lasts, extended)| Life {
        begins,
        lasts,
        extended,
    });
    proptest::collection::vec(life, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Four hours with a run every two minutes, of which up to two in a row fail in some way; LAPI's
    /// remaining times jitter by seconds. From a run that saw a decision until that decision ends, the
    /// key is never absent, and never without a time to live.
    #[test]
    fn key_never_expires_while_its_decision_lives(
        lives in lives(),
        lag in 0u64..=60,
        jitter in proptest::collection::vec(0u64..4_000, 7..8),
        failing in proptest::collection::vec(prop::sample::select(vec![
            "", "", "", "lapi: refuse", "cloudflare: refuse", "cloudflare PUT: answer 500 no",
            "cloudflare PUT: drop-before-effect", "cloudflare GET: answer 403 no",
        ]), 13..14),
    ) {
        simulated(async {
            let world = World::kv(|o| o.cloudflare.kv_list_lag = Duration::from_secs(lag));
            // Address, when a run had seen its decision, and until when that holds.
            let mut seen = Vec::new();
            let mut failed = 0;
            for run in 0..120usize {
                let began = world.front.elapsed();
                let rows = lives.iter().enumerate().flat_map(|(n, life)| {
                    life.rows().map(move |(from, until)| (format!("203.0.113.{n}"), from, until))
                });
                let rows: Vec<_> = rows.filter(|(_, begins, _)| *begins <= began).collect();
                let off = Duration::from_millis(jitter[run % jitter.len()]);
                world.front.world().lapi().replace(rows.iter().map(|(value, _, until)| {
                    simulator::Decision::ban(value).until(*until + off)
                }));
                let fault = failing[run % failing.len()];
                failed = if fault.is_empty() || failed == 2 { 0 } else { failed + 1 };
                if failed > 0 {
                    world.fault(fault);
                }
                let ok = world.run().await.is_ok();
                world.front.world().clear_faults();
                if ok && failed == 0 {
                    let live = rows.into_iter().filter(|(_, _, until)| *until > began);
                    seen.extend(live.map(|(value, _, until)| (value, world.front.elapsed(), until)));
                }
                tokio::time::sleep((began + INTERVAL).saturating_sub(world.front.elapsed())).await;
            }
            let simulator = &mut world.front.world();
            let now = simulator.now();
            for (value, from, until) in seen {
                let (key, span) = (format!("ip:{value}"), from..until.min(now));
                let was_absent = simulator.cloudflare().kv_was_absent(&world.namespace, &key, span);
                let history = simulator.cloudflare().kv_history(&world.namespace);
                let history: Vec<_> = history.iter().filter(|change| change.key == key).collect();
                assert!(!was_absent, "{key} from {from:?} until {until:?}: {history:?}");
            }
            assert!(simulator.violations().is_empty(), "{:?}", simulator.violations());
        });
    }
}
