//! More decisions than places, over days: who stays, and what it costs.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::common::World;
use edge_sync_core::log::Level;
use simulator::Decision;

const INTERVAL: Duration = Duration::from_secs(120);
const DAY: u64 = 24 * 3_600;

async fn run_after(world: &World, wait: Duration) {
    tokio::time::sleep(wait).await;
    let _ = world.take_lines();
    world.run().await.unwrap();
}

fn address(from: u32, n: u32) -> String {
    Ipv4Addr::from_bits(from + n).to_string()
}

const COMMUNITY: u32 = 0x0b00_0000;
const OWN: u32 = 0x0c00_0000;

/// 13,000 of the community, whose lives differ and shrink with every run, and 400 of the operator's
/// own, some of them captchas, some also in the community's list.
fn world_with_too_much() -> World {
    let world = World::with(|options| options.cloudflare.operation_delay = Duration::from_secs(2));
    let community = (0..13_000).map(|n| {
        let lasts = Duration::from_secs(DAY + u64::from(n) * 7_919 % (7 * DAY));
        Decision::ban(address(COMMUNITY, n)).origin("CAPI").scenario("http:scan").until(lasts)
    });
    let own = (0..400).map(|n| {
        let value = if n < 50 { address(COMMUNITY, 12_900 + n) } else { address(OWN, n) };
        let kind = if n % 10 == 0 { "captcha" } else { "ban" };
        Decision::ban(value).kind(kind).origin("crowdsec").until(Duration::from_secs(400 * DAY))
    });
    let rows: Vec<_> = community.chain(own).collect();
    world.front.world().lapi().add_all(rows);
    world
}

/// Addresses by origin, as the metrics say.
fn by_origin(world: &World, which: &str) -> Vec<(String, f64)> {
    let metric = format!("crowdsec_cf_list_sync_{which}_addresses");
    let mut front = world.front.world();
    let family = front.pushgateway().family("crowdsec-cf-list-sync", &metric).unwrap();
    let mut counts: Vec<_> =
        family.samples.iter().map(|s| (s.labels["origin"].clone(), s.value)).collect();
    counts.sort_by(|one, other| one.0.cmp(&other.0));
    counts
}

#[tokio::test(start_paused = true)]
async fn too_many_decisions_keep_every_own_ban_fill_every_place_and_do_not_churn() {
    let world = world_with_too_much();
    world.run().await.unwrap();
    let (ban, captcha) = world.edge();
    assert_eq!(ban.len() + captcha.len(), 10_000);
    let edge: BTreeSet<_> = ban.iter().chain(&captcha).cloned().collect();
    for n in 0..400 {
        let own = if n < 50 { address(COMMUNITY, 12_900 + n) } else { address(OWN, n) };
        assert!(edge.contains(&own), "{own} has no place");
    }
    let community_and_own =
        |community, own| [("CAPI".to_owned(), community), ("crowdsec".to_owned(), own)];
    assert_eq!(by_origin(&world, "dropped"), community_and_own(3_350.0, 0.0));
    assert_eq!(by_origin(&world, "kept"), community_and_own(9_600.0, 400.0));
    let warnings = world.texts(Level::Warn);
    assert_eq!(
        warnings,
        ["no place on the lists for 3,350: CAPI 3,350 of 12,950 (list_items_max)"]
    );

    let writes = world.writes();
    for _ in 0..20 {
        run_after(&world, INTERVAL).await;
    }
    assert_eq!(world.writes(), writes, "20 runs without news wrote nothing");
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn new_own_ban_on_full_lists_takes_the_place_of_the_least_important() {
    let world = world_with_too_much();
    world.run().await.unwrap();
    world.ban("198.51.100.1");
    let writes = world.writes();
    run_after(&world, INTERVAL).await;
    let (ban, captcha) = world.edge();
    assert!(ban.contains(&"198.51.100.1".to_owned()));
    assert_eq!(ban.len() + captcha.len(), 10_000);
    assert!(world.writes() - writes <= 2, "one goes, one comes");
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn address_that_moves_between_full_lists_is_on_at_least_one_all_the_time() {
    let world = world_with_too_much();
    world.run().await.unwrap();
    let moved = address(OWN, 60);
    assert!(world.edge().1.contains(&moved));
    world.ban(&moved);
    run_after(&world, INTERVAL).await;
    let (ban, captcha) = world.edge();
    assert!(ban.contains(&moved) && !captcha.contains(&moved));
    world.assert_no_violations();
    // Its second place is free again, and is given away once.
    run_after(&world, INTERVAL).await;
    let writes = world.writes();
    run_after(&world, INTERVAL).await;
    let (ban, captcha) = world.edge();
    assert_eq!((ban.len() + captcha.len(), world.writes()), (10_000, writes));
}

#[tokio::test(start_paused = true)]
async fn places_that_become_free_are_given_to_who_waits() {
    let world = world_with_too_much();
    world.run().await.unwrap();
    // The first decisions of the community run out after a day.
    run_after(&world, Duration::from_secs(2 * DAY)).await;
    // What was also in the community's list has moved to the captchas; its second place is given next.
    run_after(&world, INTERVAL).await;
    let (ban, captcha) = world.edge();
    assert_eq!(ban.len() + captcha.len(), 10_000);
    world.assert_no_violations();
}
