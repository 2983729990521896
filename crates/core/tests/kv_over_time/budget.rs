//! What the day's writes and deletes are spent on.

use std::net::Ipv4Addr;
use std::time::Duration;

use edge_sync_core::log::Level;
use simulator::Decision;

use crate::common::World;
use crate::host::{Odd, OddStore};
use crate::{HOUR, INTERVAL, MIDNIGHT, has, run_after, sleep_until};

const DAY: Duration = Duration::from_secs(86_400);

fn community(n: u32, until: Duration) -> Decision {
    let address = Ipv4Addr::from_bits(0x0b00_0000 + n).to_string();
    Decision::ban(address).origin("CAPI").until(until)
}

fn add(world: &World, decisions: impl IntoIterator<Item = Decision>) {
    world.front.world().lapi().add_all(decisions);
}

/// Runs by the hour, so that the test ends; own bans come at every run.
#[tokio::test(start_paused = true)]
async fn community_list_of_15000_fills_by_remaining_time_and_pushes_no_own_ban_to_another_day() {
    let mut world = World::kv(|options| {
        options.cloudflare.kv_daily_writes = 1_000;
        options.cloudflare.kv_daily_deletes = 1_000;
    });
    world.set("kv_daily_writes_max", "1000");
    // The later its number, the longer it holds.
    add(&world, (0..15_000).map(|n| community(n, 10 * DAY + Duration::from_secs(n.into()))));
    let mut own = 0;
    let mut midnight = MIDNIGHT;
    let mut before = 0;
    for _ in 0..3 {
        while world.front.elapsed() + HOUR < midnight {
            // 240 of them on a whole day: fewer than a quarter of the day's writes.
            for _ in 0..10 {
                own += 1;
                world.decide("ban", &Ipv4Addr::from_bits(0xc633_6400 + own).to_string(), 9 * DAY);
            }
            run_after(&world, HOUR).await;
            let newest = Ipv4Addr::from_bits(0xc633_6400 + own).to_string();
            assert!(has(&world, &newest), "{newest} at {:?}", world.front.elapsed());
        }
        let written = world.kv_counters().pairs_written;
        assert_eq!(written - before, 1_000, "the day's writes are all used");
        before = written;
        midnight += DAY;
    }
    let keys = world.keys();
    let there = (0..15_000u32).filter(|n| has_key(&keys, *n)).collect::<Vec<_>>();
    assert_eq!(there.len() as u32, 3_000 - own);
    assert!(there.iter().copied().eq(15_000 - there.len() as u32..15_000), "the longest first");
    assert_eq!(world.kv_counters().quota_refusals, 0);
    world.assert_no_violations();
}

fn has_key<V>(keys: &std::collections::BTreeMap<String, V>, n: u32) -> bool {
    keys.contains_key(&format!("ip:{}", Ipv4Addr::from_bits(0x0b00_0000 + n)))
}

/// Every two hours the list is there again with its whole time.
#[tokio::test(start_paused = true)]
async fn lists_inserted_anew_at_every_pull_cost_two_writes_a_key_and_day_and_never_lapse() {
    const LIST: u32 = 1_500;
    let world = World::kv(|_| {});
    let pull = |world: &World| {
        let until = world.front.elapsed() + DAY;
        world.front.world().lapi().replace((0..LIST).map(|n| community(n, until)));
    };
    for half_hour in 0..=48 {
        if half_hour % 4 == 0 {
            pull(&world);
        }
        run_after(&world, HOUR / 2).await;
        assert_eq!(world.keys().len() as u32, LIST);
    }
    let written = world.kv_counters().pairs_written;
    assert!(written <= 3 * u64::from(LIST), "{written} writes for {LIST} keys");
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn writes_used_up_as_cloudflare_says_do_not_stop_deletes_today() {
    let world = World::kv(|options| options.cloudflare.kv_daily_writes = 2);
    for address in ["192.0.2.1", "192.0.2.2"] {
        world.decide("ban", address, 10 * DAY);
    }
    world.run().await.unwrap();
    world.decide("ban", "203.0.113.7", 10 * DAY);
    world.front.world().lapi().remove_value("192.0.2.1");
    run_after(&world, INTERVAL).await;
    assert!(!has(&world, "203.0.113.7") && !has(&world, "192.0.2.1"));
    let said = world.texts(Level::Warn).join("\n");
    assert!(said.contains("nothing more is written until 00:00 UTC"), "{said}");
    let refused = world.kv_counters().quota_refusals;
    run_after(&world, INTERVAL).await;
    assert_eq!(world.kv_counters().quota_refusals, refused, "it is not asked again today");
    sleep_until(&world, MIDNIGHT).await;
    run_after(&world, INTERVAL).await;
    assert!(has(&world, "203.0.113.7"));
}

#[tokio::test(start_paused = true)]
async fn held_deletes_use_up_no_budget() {
    let mut world = World::kv(|_| {});
    world.set("kv_daily_writes_max", "2");
    for n in 1..=20 {
        let key = format!("ip:198.51.100.{n}");
        world.preload_key(&key, "ban", Some(10 * DAY), Some(Duration::ZERO));
    }
    // In a spelling that nobody looks up: no address's removal.
    for name in ["ip:2001:DB8::1", "ip:2001:DB8::2"] {
        world.preload_key(name, "ban", Some(10 * DAY), None);
    }
    world.decide("ban", "203.0.113.7", DAY);
    run_after(&world, INTERVAL).await;
    assert_eq!(world.keys().len(), 21, "the two are gone, the twenty are held, one has come");
    assert_eq!(world.kv_metric("crowdsec_kv_sync_removals_held"), Some(20.0));
    assert_eq!(world.kv_metric("crowdsec_kv_sync_waiting"), Some(0.0));
    assert_eq!(world.kv_metric("crowdsec_kv_sync_quota_used"), Some(3.0));
}

#[tokio::test(start_paused = true)]
async fn run_across_midnight_spends_the_new_days_budget() {
    let mut world = World::kv(|options| options.cloudflare.kv_daily_writes = 4);
    world.set("kv_daily_writes_max", "4");
    sleep_until(&world, MIDNIGHT - Duration::from_secs(30)).await;
    (1..=8).for_each(|n| world.decide("ban", &format!("203.0.113.{n}"), 10 * DAY));
    world.fault("lapi times=1: delay 50s");
    world.run().await.unwrap();
    assert!(world.front.elapsed() > MIDNIGHT);
    assert_eq!(world.keys().len(), 4);
    for _ in 0..5 {
        run_after(&world, INTERVAL).await;
    }
    assert_eq!((world.keys().len(), world.kv_counters().quota_refusals), (4, 0));
    tokio::time::sleep(DAY).await;
    run_after(&world, INTERVAL).await;
    assert_eq!(world.keys().len(), 8);
}

/// Ours says that the day has begun, and Cloudflare's quota is still yesterday's.
#[tokio::test(start_paused = true)]
async fn clock_ahead_of_cloudflares_costs_ten_minutes_after_midnight_and_not_the_day() {
    let world = World::kv(|options| options.cloudflare.kv_daily_writes = 1);
    let host = Odd::new(&world, OddStore::Works);
    host.off.set(60);
    world.decide("ban", "203.0.113.1", 10 * DAY);
    host.run().await.unwrap();
    sleep_until(&world, MIDNIGHT - Duration::from_secs(30)).await;
    world.decide("ban", "203.0.113.2", 10 * DAY);
    let _ = host.run().await;
    assert!(!has(&world, "203.0.113.2"));
    for _ in 0..6 {
        tokio::time::sleep(INTERVAL).await;
        let _ = host.run().await;
    }
    assert!(has(&world, "203.0.113.2"));
    assert_eq!(world.kv_counters().quota_refusals, 1);
}

#[tokio::test(start_paused = true)]
async fn run_that_passes_midnight_sends_what_the_day_before_had_used_up() {
    let world = World::kv(|options| options.cloudflare.latency = Duration::from_secs(6));
    world.fault(
        r#"cloudflare PUT /bulk times=1: answer 429 {"success":false,"errors":[{"code":10048,"message":"day"}]}"#,
    );
    world.decide("ban", "203.0.113.7", Duration::from_secs(90 * 86_400));
    world.run().await.unwrap();
    assert!(world.keys().is_empty());
    sleep_until(&world, MIDNIGHT - Duration::from_secs(3)).await;
    world.run().await.unwrap();
    assert_eq!(world.keys().len(), 1);
    assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(1.0));
    assert_eq!(world.kv_metric("crowdsec_kv_sync_drift"), Some(0.0));
    assert_eq!(world.kv_metric("crowdsec_kv_sync_quota_used"), Some(1.0));
}
