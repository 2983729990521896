//! Side by side with the program that the component replaces, on the same data.

use end_to_end::World;
use end_to_end::seed::Seed;
use simulator::Decision;
use simulator::decisions::generate;

/// A world that tolerates the seed's pages of 1,000 items, which Cloudflare refuses. Operations end
/// at once, or the seed's polls would be all that is waited for.
async fn world() -> World {
    World::with(|options| {
        options.cloudflare.tolerate_large_pages = true;
        options.cloudflare.operation_delay = std::time::Duration::ZERO;
    })
    .await
}

/// The same decisions and items for both.
async fn pair(decisions: &[Decision], ban: &[&str], captcha: &[&str]) -> (World, World) {
    let worlds = (world().await, world().await);
    for world in [&worlds.0, &worlds.1] {
        world.simulator().lapi().add_all(decisions.iter().cloned());
        world.preload(ban, captcha);
    }
    worlds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_tidy_synced_by_both_are_the_same_lists_with_no_more_operations() {
    let Some(seed) = Seed::find() else { return };
    let mut decisions = generate(1_800, 3);
    // Each way in which two decisions for one address meet.
    let twice = decisions[..20].to_vec();
    decisions.extend(twice.iter().cloned().map(|decision| decision.kind("captcha")));
    decisions.extend(twice.into_iter().map(|decision| decision.kind("BAN").scope("ip")));
    decisions.push(Decision::ban("198.51.100.0/24").scope("Range"));
    decisions.push(Decision::ban("203.0.113.1").kind("throttle"));
    let held = [decisions[30].value.as_str(), "192.0.2.1", "192.0.2.2"];
    let (for_seed, for_us) = pair(&decisions, &held, &["192.0.2.3"]).await;

    let run = seed.run(&for_seed).await;
    assert_eq!(run.exit_code, Some(0), "{}", run.output);
    for_us.run_well().await;
    assert!(for_seed.edge() == for_us.edge(), "the lists differ");
    assert!(for_us.edge().0.len() > 1_500, "and are not empty");
    let (theirs, ours) = (for_seed.operations(), for_us.operations());
    assert!(ours * 2 <= theirs, "{ours} operations, the seed {theirs}");

    // And on from there: some go, some come, one moves.
    for world in [&for_seed, &for_us] {
        world.two_minutes_later();
        world.simulator().lapi().replace(decisions[100..1_800].iter().cloned());
        world.ban(&["203.0.113.77"]);
        world.captcha(&[&decisions[99].value]);
    }
    let run = seed.run(&for_seed).await;
    assert_eq!(run.exit_code, Some(0), "{}", run.output);
    for_us.run_well().await;
    assert!(for_seed.edge() == for_us.edge(), "the lists differ after the second run");
    for_us.assert_no_violations();
    for name in [
        "crowdsec_cf_list_ban_count",
        "crowdsec_cf_list_captcha_count",
        "crowdsec_cf_list_sync_success",
    ] {
        assert_eq!(for_seed.metric(name), for_us.metric(name), "{name}");
    }
}

/// LAPI stores what it is given, and Cloudflare refuses a whole batch for one bad item: the seed
/// then blocks nobody, at every run, until somebody finds the one value.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decision_that_cloudflare_refuses_stops_the_seed_and_harms_nobody_else_here() {
    let Some(seed) = Seed::find() else { return };
    for odd in ["0.0.0.0/0", "::ffff:203.0.113.7", "203.0.113.8/32"] {
        let decisions = ["203.0.113.7", "203.0.113.8", odd].map(Decision::ban);
        let (for_seed, for_us) = pair(&decisions, &[], &[]).await;
        let run = seed.run(&for_seed).await;
        assert_eq!(run.exit_code, Some(1), "{odd}: {}", run.output);
        for_seed.assert_edge(&[], &[]);
        for_us.run_well().await;
        for_us.assert_edge(&["203.0.113.7", "203.0.113.8"], &[]);
    }
}

/// Cloudflare stores the canonical spelling, which the seed takes for another address: it adds the
/// one and removes the other at every run, and in the end the address is not blocked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decision_in_another_spelling_is_churned_by_the_seed_and_kept_here() {
    let Some(seed) = Seed::find() else { return };
    let (for_seed, for_us) = pair(&[Decision::ban("2001:DB8::1")], &[], &[]).await;
    for _ in 0..2 {
        for world in [&for_seed, &for_us] {
            world.two_minutes_later();
        }
        seed.run(&for_seed).await;
        for_us.run_well().await;
        for_us.assert_edge(&["2001:db8::1"], &[]);
    }
    assert_eq!(for_us.operations(), 1, "the second run found nothing to do");
    assert!(for_seed.operations() >= 3, "the seed wrote at every run");
    for_seed.assert_edge(&[], &[]);
}
