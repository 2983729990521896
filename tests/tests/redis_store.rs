//! What must outlast a run, where nothing of a run's machine does: a Job in Kubernetes. The store is
//! then a real Redis, named by Spin's runtime configuration.

use end_to_end::{RealRedis, World};

/// A world whose next list write is refused, and that has one to make.
async fn refusing() -> World {
    let world = World::new().await;
    world.ban(&["203.0.113.7"]);
    world.fault("cloudflare POST /items times=1: answer 429 slow down");
    world
}

fn use_redis(world: &mut World, url: &str) {
    world
        .runtime_config(&format!("[key_value_store.default]\ntype = \"redis\"\nurl = \"{url}\"\n"));
}

/// The list writes that were tried.
fn tried(world: &World) -> usize {
    let simulator = world.simulator();
    simulator.journal().iter().filter(|e| e.method == "POST" && e.target.contains("/items")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_refused_the_next_job_waits_because_redis_remembers() {
    let Some(redis) = RealRedis::start().await else { return };
    let mut world = refusing().await;
    use_redis(&mut world, &redis.url());
    world.run().await.assert_failed("HTTP 429");
    assert_eq!(tried(&world), 1);
    // As Spin lays it out: the key is the key.
    assert!(redis.value("lists").is_some_and(|value| value.contains("\"refused\":1")));

    world.on_another_machine();
    let ran = world.run().await;
    assert_eq!(ran.summary().get("outcome"), "rate_limited", "{}", ran.run.stdout);
    assert_eq!((ran.run.exit_code(), tried(&world)), (0, 1));
    assert_eq!(world.metric("crowdsec_cf_list_sync_rate_limited"), Some(1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_refused_the_next_job_without_redis_tries_again() {
    let mut world = refusing().await;
    world.run().await.assert_failed("HTTP 429");
    world.on_another_machine();
    let ran = world.run().await;
    assert_eq!(ran.summary().get("outcome"), "applied", "{}", ran.run.stdout);
    assert_eq!(tried(&world), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_of_another_job_is_seen_in_redis() {
    let Some(redis) = RealRedis::start().await else { return };
    let mut world = World::new().await;
    world.ban(&["203.0.113.7"]);
    use_redis(&mut world, &redis.url());
    let first = world.load().unwrap();
    world.on_another_machine();
    let second = world.load().unwrap();
    // The first is at work for as long as its operation takes; the second comes in the middle.
    world.fault("lapi times=1: delay 1s");
    let late = async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        end_to_end::world::run(&second, end_to_end::world::cron()).await
    };
    let (first, second) =
        tokio::join!(end_to_end::world::run(&first, end_to_end::world::cron()), late);
    assert_eq!(first.summary().get("outcome"), "applied", "{}", first.run.stdout);
    assert_eq!(second.summary().get("outcome"), "yielded", "{}", second.run.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_down_run_works_and_says_what_could_not_be_kept() {
    let mut world = refusing().await;
    let nobody = format!("redis://127.0.0.1:{}", end_to_end::net::free_port());
    use_redis(&mut world, &nobody);
    let ran = world.run().await;
    ran.assert_failed("HTTP 429");
    let said: Vec<_> = ran.events("store").map(|line| line.get("msg")).collect();
    assert_eq!(said.len(), 1, "{}", ran.run.stdout);
    assert!(said[0].contains("the wait after a refused write cannot be kept"), "{said:?}");
    assert!(said[0].contains("Redis at 127.0.0.1:"), "{said:?}");

    let ran = world.run_well().await;
    assert_eq!(ran.summary().get("outcome"), "applied");
    world.assert_edge(&["203.0.113.7"], &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_restarted_between_runs_is_connected_to_anew() {
    let Some(redis) = RealRedis::start().await else { return };
    let mut world = World::new().await;
    use_redis(&mut world, &redis.url());
    let app = world.load().unwrap();
    for _ in 0..2 {
        let ran = end_to_end::world::run(&app, end_to_end::world::cron()).await;
        assert_eq!(ran.summary().get("outcome"), "in_sync", "{}", ran.run.stdout);
        assert!(redis.value("lease").is_some());
        redis.drop_clients_and_values();
    }
}
