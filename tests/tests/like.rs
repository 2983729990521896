//! Cloudflare as people meet it, by plan: slow answers, late replicas, documented limits.

use std::time::Duration;

use end_to_end::World;
use simulator::{Decision, Like, Service};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_plan_met_as_it_is_a_first_sync_and_a_change_reach_lists_and_kv() {
    for like in Like::ALL {
        let mut world = World::with(|options| like.apply(&mut options.cloudflare)).await;
        world.target(&["lists", "kv"]);
        world.set("scopes", "ip,range");
        if like == Like::CloudflareFree {
            world.set("cf_captcha_list_id", "");
        }
        world.ban(&["203.0.113.7", "203.0.113.8"]);
        let range = Decision::ban("198.51.100.0/24").scope("Range");
        world.simulator().lapi().add_all([range]);
        world.run().await.assert_each_target_well();
        world.two_minutes_later();
        world.simulator().lapi().remove_value("203.0.113.7");
        world.ban(&["203.0.113.9"]);
        world.run().await.assert_each_target_well();
        let desired = ["198.51.100.0/24", "203.0.113.8", "203.0.113.9"];
        assert_eq!(world.edge().0, desired.map(str::to_owned).into());
        let keys: Vec<String> = world.keys().into_keys().collect();
        assert_eq!(keys, ["ip:203.0.113.8", "ip:203.0.113.9", "ranges"]);
        // Nothing is done again that a late replica does not show yet.
        world.two_minutes_later();
        let (operations, kv) = (world.operations(), world.kv_counters());
        world.run().await.assert_each_target_well();
        assert_eq!(world.operations(), operations, "{like}");
        assert_eq!(world.kv_counters().pairs_written, kv.pairs_written, "{like}");
        world.assert_no_violations();
    }
}

/// Whoever else uses the token counts too, and then everything is refused for five minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_used_up_by_others_run_writes_nothing_and_converges_when_the_block_is_over() {
    for code in [971, 10_100] {
        let world = World::with(|options| {
            options.cloudflare.requests_max = 1;
            options.cloudflare.requests_code = code;
        })
        .await;
        world.ban(&["203.0.113.7"]);
        let ran = world.run().await;
        ran.assert_failed(&code.to_string());
        assert_eq!(world.operations(), 0);
        let requests = world.simulator().counters(Service::Cloudflare).requests;
        assert!(requests < 40, "{requests} requests against a block");
        world.simulator().cloudflare().configure(|options| options.requests_max = 1_200);
        world.later(300);
        world.run_well().await;
        world.assert_edge(&["203.0.113.7"], &[]);
        world.assert_no_violations();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_days_writes_used_up_the_run_waits_and_the_window_lets_it_go_on() {
    let world = World::with(|options| {
        options.cloudflare.list_writes_max = 1;
        options.cloudflare.list_window = Duration::from_secs(3_600);
    })
    .await;
    world.ban(&["203.0.113.7"]);
    world.run_well().await;
    world.two_minutes_later();
    world.ban(&["203.0.113.8"]);
    world.run().await.assert_failed("10040");
    world.two_minutes_later();
    let ran = world.run().await;
    assert_eq!(ran.summary().get("outcome"), "rate_limited", "{}", ran.run.stdout);
    world.later(3_600);
    world.run_well().await;
    world.assert_edge(&["203.0.113.7", "203.0.113.8"], &[]);
}
