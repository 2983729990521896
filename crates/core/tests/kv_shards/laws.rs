//! Laws of the layout and of its migrations, as properties.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use simulator::Decision;

use crate::common::World;
use crate::kill::Mortal;
use crate::worker::{Late, NOT, Past, before, ours};
use crate::{HOUR, INTERVAL, lines, marker, world};

fn simulated<F: Future<Output = ()>>(future: F) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(future);
}

const POOL: [&str; 8] = [
    "203.0.113.1",
    "203.0.113.2",
    "203.0.113.3",
    "203.0.113.4",
    "2001:db8::1",
    "2001:db8::2",
    "198.51.100.7",
    "198.51.100.200",
];

/// A decision: who, what, from which run until how many runs later.
type Life = (usize, bool, u32, u32);

/// A run: how it goes wrong.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    Nothing,
    /// It dies at this request, with or without its effect.
    Dies(u32, bool),
    /// Requests meet these, two at once.
    Meets(&'static str, &'static str),
}

fn wrong() -> impl Strategy<Value = Wrong> {
    let fault = prop::sample::select(vec![
        "lapi times=1: refuse",
        "cloudflare PUT /bulk times=1: unsuccessful-keys 1",
        "cloudflare PUT /bulk times=2: unsuccessful-keys 3",
        "cloudflare PUT /bulk times=1: drop-after-effect",
        "cloudflare PUT /bulk times=1: drop-before-effect",
        "cloudflare PUT /bulk times=1: answer 500 no",
        r#"cloudflare PUT /bulk times=1: answer 200 {"success":true,"result":{}}"#,
        "cloudflare /bulk/delete times=1: unsuccessful-keys 2",
        "cloudflare /bulk/delete times=1: drop-after-effect",
        "cloudflare /bulk/get times=9: answer 502 no",
        "cloudflare /bulk/get times=1: no-result",
        "cloudflare GET /keys times=9: answer 502 no",
        "cloudflare GET /values times=1: cut-body 7",
        r#"cloudflare /bulk times=1: answer 429 {"success":false,"errors":[{"code":10048,"message":"day"}]}"#,
        r#"cloudflare PUT /bulk skip=1 times=1: answer 429 {"success":false,"errors":[{"code":10048,"message":"day"}]}"#,
    ]);
    prop_oneof![
        4 => Just(Wrong::Nothing),
        3 => (0u32..6, any::<bool>()).prop_map(|(at, effect)| Wrong::Dies(at, effect)),
        3 => (fault.clone(), fault).prop_map(|(one, other)| Wrong::Meets(one, other)),
    ]
}

fn life() -> impl Strategy<Value = Life> {
    (0..POOL.len(), any::<bool>(), 0u32..30, 8u32..60)
}

fn layout() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["keys", "shards", "both"])
}

fn set_decisions(world: &World, lives: &[Life], run: u32) {
    let now = world.front.elapsed();
    let live = lives.iter().filter(|(_, _, from, lasts)| (*from..from + lasts).contains(&run));
    let rows = live.map(|(who, is_ban, from, lasts)| {
        let kind = if *is_ban { "ban" } else { "captcha" };
        let left = INTERVAL * (from + lasts - run);
        Decision::ban(POOL[*who]).kind(kind).until(now + left)
    });
    world.front.world().lapi().replace(rows.collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// From when on a Worker without delay blocks an address, it does so for as long as that is desired: at
    /// every moment of whatever migrations, with runs that die at any request. And once that is seven minutes
    /// ago, so does a Worker whose every value is late by what KV and its caches allow.
    #[test]
    fn nobody_who_was_and_stays_desired_is_passed_at_any_moment_of_any_migration(
        lives in proptest::collection::vec(life(), 1..7),
        layouts in proptest::collection::vec((layout(), 6u32..18), 2..5),
        wrongs in proptest::collection::vec(wrong(), 5..24),
        lag in prop::sample::select(vec![0u64, 0, 30, 60]),
    ) {
        // An address each: that a decision is prolonged a moment before it ends is as late as a new one.
        let lives: Vec<Life> = lives.iter().enumerate().map(|(n, life)| (n, life.1, life.2, life.3)).collect();
        simulated(async {
            let mut world = World::kv(|options| {
                options.cloudflare.kv_list_lag = Duration::from_secs(lag);
                options.cloudflare.kv_value_lag = Duration::from_secs(lag);
            });
            world.set("kv_layout", "keys");
            world.set("removal_confirm_runs", "1");
            let mut run = 0;
            let mut is_desired: Vec<BTreeMap<usize, (Duration, Duration)>> = Vec::new();
            for (layout, count) in &layouts {
                world.set("kv_layout", layout);
                for _ in 0..*count {
                    let began = world.front.elapsed();
                    set_decisions(&world, &lives, run);
                    match wrongs[run as usize % wrongs.len()] {
                        Wrong::Nothing => drop(world.run().await),
                        Wrong::Dies(at, effect) => {
                            Mortal::new(&world, at, effect).run().await;
                        }
                        Wrong::Meets(one, other) => {
                            world.fault(one);
                            world.fault(other);
                            let _ = world.run().await;
                            world.front.world().clear_faults();
                        }
                    }
                    let ends = |(_, _, from, lasts): &Life| INTERVAL * (from + lasts - run);
                    let live = lives.iter().filter(|(_, _, from, lasts)| (*from..from + lasts).contains(&run));
                    let mut now = BTreeMap::new();
                    for life in live {
                        let until = began + ends(life);
                        let span = now.entry(life.0).or_insert((began, until));
                        span.1 = until.max(span.1);
                    }
                    is_desired.push(now);
                    run += 1;
                    tokio::time::sleep((began + INTERVAL).saturating_sub(world.front.elapsed())).await;
                }
            }
            let past = Past::of(&world);
            let moments = past.moments();
            for (who, address) in POOL.iter().enumerate() {
                // Spans of runs in a row in which it is desired.
                let mut blocked_since: Option<Duration> = None;
                for (run, desired) in is_desired.iter().enumerate() {
                    let from = INTERVAL * run as u32;
                    let Some((_, until)) = desired.get(&who) else {
                        blocked_since = None;
                        continue;
                    };
                    let to = (from + INTERVAL).min(*until);
                    let changes = moments.iter().filter(|at| (from..to).contains(at)).copied();
                    for at in changes.chain([from + Duration::from_secs(1), from + Duration::from_secs(61)]) {
                        if at >= to { continue; }
                        let now = ours(&past, address, at, NOT);
                        match (now, blocked_since) {
                            (Some(_), None) => blocked_since = Some(at),
                            (None, Some(since)) => panic!(
                                "{address} passes at {at:?}, run {run}, blocked since {since:?}: {layouts:?} {wrongs:?} {lives:?}"
                            ),
                            _ => {}
                        }
                        let Some(since) = blocked_since else { continue };
                        if at < since + Duration::from_secs(420) { continue; }
                        for late in [(0, 60), (60, 0), (360, 0), (0, 360), (360, 360), (200, 60), (60, 200), (300, 120)] {
                            let late = Late { wide: late.0, others: late.1 };
                            assert!(
                                ours(&past, address, at, late).is_some(),
                                "{address} passes at {at:?}, run {run}, {late:?}: {layouts:?} {wrongs:?} {lives:?}"
                            );
                        }
                    }
                }
            }
        });
    }

    /// When the faults are over, the namespace is as desired in the layout that is wanted, and the next run
    /// finds nothing to do.
    #[test]
    fn after_any_faults_it_converges_and_the_next_plan_is_empty(
        lives in proptest::collection::vec(life(), 0..7),
        layouts in proptest::collection::vec((layout(), 1u32..9), 1..4),
        wrongs in proptest::collection::vec(wrong(), 5..24),
    ) {
        simulated(async {
            let mut world = world("keys");
            world.set("removal_confirm_runs", "1");
            let mut run = 0;
            for (layout, count) in &layouts {
                world.set("kv_layout", layout);
                for _ in 0..*count {
                    let lives: Vec<_> = lives.iter().map(|(who, ban, from, _)| (*who, *ban, *from, 2_000)).collect();
                    set_decisions(&world, &lives, run);
                    match wrongs[run as usize % wrongs.len()] {
                        Wrong::Nothing => drop(world.run().await),
                        Wrong::Dies(at, effect) => drop(Mortal::new(&world, at, effect).run().await),
                        Wrong::Meets(one, other) => {
                            world.fault(one);
                            world.fault(other);
                            let _ = world.run().await;
                            world.front.world().clear_faults();
                        }
                    }
                    run += 1;
                    tokio::time::sleep(INTERVAL).await;
                }
            }
            // A day's quota that is used up begins anew.
            tokio::time::sleep(24 * HOUR).await;
            for _ in 0..16 {
                tokio::time::sleep(INTERVAL).await;
                let _ = world.run().await;
            }
            let (before_it, counters) = (world.keys(), world.kv_counters());
            tokio::time::sleep(INTERVAL).await;
            world.run().await.unwrap();
            assert_eq!(world.keys(), before_it, "{layouts:?} {wrongs:?} {lives:?}");
            assert_eq!(world.kv_counters().pairs_written, counters.pairs_written);
            assert_eq!(world.kv_metric("crowdsec_kv_sync_drift"), Some(0.0));
            let wanted = layouts.last().unwrap().0;
            let expected = match wanted {
                "keys" => "none",
                "shards" => "shards alone",
                _ => "shards beside",
            };
            assert_eq!(marker(&world), expected);
            let decided: BTreeMap<&str, &str> = lives.iter().filter(|life| life.2 < run).fold(
                BTreeMap::new(),
                |mut all, (who, is_ban, ..)| {
                    let value = all.entry(POOL[*who]).or_insert("captcha");
                    *value = if *is_ban { "ban" } else { value };
                    all
                },
            );
            let (past, now) = (Past::of(&world), world.front.elapsed());
            for address in POOL {
                let wants = decided.get(address).copied();
                // What the last decisions of this test say, which are those of the last of the runs.
                let last = lives.iter().filter(|life| POOL[life.0] == address && life.2 <= run.saturating_sub(1));
                let wants = wants.filter(|_| last.count() > 0);
                assert_eq!(ours(&past, address, now, NOT), wants, "{address}: {wanted} {lives:?}");
                if wanted != "shards" {
                    assert_eq!(before(&past, address, now, NOT), wants, "{address}: {wanted}");
                }
            }
            if wanted == "shards" {
                assert_eq!(lines(&world).len(), decided.len());
            }
            world.assert_no_violations();
        });
    }
}
