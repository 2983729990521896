//! Workers KV, side by side with the program that the component replaces, on the same data.

use std::collections::BTreeMap;
use std::time::Duration;

use end_to_end::World;
use end_to_end::seed::Seed;
use simulator::Decision;
use simulator::decisions::generate;

/// The default of `kv_expiry_tolerance_seconds`, and what a key outlives its decision by design.
const TOLERANCE: u64 = 600 + 60;

async fn pair(decisions: &[Decision]) -> (World, World) {
    let worlds = (World::kv(|_| {}).await, World::kv(|_| {}).await);
    for world in [&worlds.0, &worlds.1] {
        world.simulator().lapi().add_all(decisions.iter().cloned());
    }
    worlds
}

/// Asserts that both namespaces hold the same keys and values, for about as long.
#[track_caller]
fn assert_same(for_seed: &World, for_us: &World) {
    let (theirs, ours) = (for_seed.keys(), for_us.keys());
    let differ: Vec<_> = (theirs.iter())
        .filter(|(key, entry)| ours.get(*key).map(|ours| &ours.value) != Some(&entry.value))
        .map(|(key, _)| key)
        .chain(ours.keys().filter(|key| !theirs.contains_key(*key)))
        .collect();
    assert!(differ.is_empty(), "{} keys differ, such as {:?}", differ.len(), differ.first());
    for (key, theirs) in theirs {
        let [theirs, ours] = [theirs.expiration_unix, ours[&key].expiration_unix]
            .map(|expiration| expiration.expect("every key expires"));
        assert!(theirs.abs_diff(ours) <= TOLERANCE, "{key}: the seed {theirs}, we {ours}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_tidy_synced_by_both_are_the_same_keys_with_far_fewer_writes() {
    let Some(seed) = Seed::find_for_kv() else { return };
    let mut decisions = generate(2_500, 3);
    // Each way in which two decisions for one address meet.
    let twice = decisions[..20].to_vec();
    let longer = Duration::from_secs(500_000);
    decisions.extend(twice.iter().cloned().map(|decision| decision.kind("captcha").until(longer)));
    decisions.extend(twice.into_iter().map(|decision| decision.kind("BAN").scope("ip")));
    decisions.push(Decision::ban("198.51.100.0/24").scope("Range"));
    decisions.push(Decision::ban("203.0.113.1").kind("throttle"));
    decisions.push(Decision::ban("203.0.113.2").until(Duration::from_secs(30)));
    let (for_seed, for_us) = pair(&decisions).await;

    // And on from there: some go, some come, two change.
    let mut later = decisions[100..2_500].to_vec();
    later[0].kind = "captcha".to_owned();
    later[1].kind = "ban".to_owned();
    later.extend([Decision::ban("203.0.113.77"), Decision::captcha("2001:db8::77")]);
    for rows in [decisions.clone(), later.clone(), later] {
        for world in [&for_seed, &for_us] {
            world.simulator().lapi().replace(rows.iter().cloned());
        }
        let run = seed.run(&for_seed).await;
        assert_eq!(run.exit_code, Some(0), "{}", run.output);
        for_us.run_well().await;
        assert_same(&for_seed, &for_us);
        for world in [&for_seed, &for_us] {
            world.two_minutes_later();
        }
    }
    assert!(for_us.keys().len() > 2_300, "and are not empty");
    for_us.assert_no_violations();
    for name in ["crowdsec_kv_sync_decisions", "crowdsec_kv_sync_success"] {
        assert_eq!(for_seed.kv_metric(name), for_us.kv_metric(name), "{name}");
    }
    let (theirs, ours) = (for_seed.kv_counters(), for_us.kv_counters());
    assert_eq!(ours.identical_rewrites, 0);
    // Each once, and the few that changed; the seed three times all.
    assert!(ours.pairs_written <= 2_501 + 4, "{ours:?}");
    assert!(theirs.pairs_written > 7_200, "{theirs:?}");
}

/// The first run after the seed's last: every key is rewritten once, with what it was rewritten for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespace_of_the_seed_is_taken_over_in_one_run_and_then_kept() {
    let Some(seed) = Seed::find_for_kv() else { return };
    let world = World::kv(|_| {}).await;
    world.simulator().lapi().add_all(generate(1_200, 5));
    world.ban(&["2001:DB8::1"]);
    let run = seed.run(&world).await;
    assert_eq!(run.exit_code, Some(0), "{}", run.output);
    let seeds = world.values();
    assert!(seeds.contains_key("ip:2001:DB8::1"), "as LAPI spells it, where no Worker looks");

    world.two_minutes_later();
    let ran = world.run_well().await;
    assert_eq!((ran.summary().number("written"), ran.summary().number("deleted")), (1_201, 1));
    let renamed = |(key, value): (String, String)| (key.to_lowercase(), value);
    assert_eq!(world.values(), seeds.into_iter().map(renamed).collect::<BTreeMap<_, _>>());
    assert!(world.keys().values().all(|entry| entry.metadata.is_some()));
    world.two_minutes_later();
    let ran = world.run_well().await;
    assert_eq!((ran.summary().get("outcome"), ran.summary().number("writes")), ("in_sync", 0));
}
