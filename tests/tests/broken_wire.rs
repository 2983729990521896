//! Connections that fail, for real: what the host makes of them must reach the core as what it is.
//! Which failure leads to which outcome is shown natively, in `crates/core`; here the shell is tried.

use end_to_end::World;
use futures_util::future::join_all;
use simulator::decisions::generate;

async fn world() -> World {
    let world = World::new().await;
    world.ban(&["203.0.113.7"]);
    world.preload(&["198.51.100.1"], &["198.51.100.2"]);
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lapi_broken_in_any_way_leaves_the_edge_and_ends_well() {
    let cases = [
        ("lapi: refuse", "connection refused"),
        ("lapi: drop-before-effect", "connection closed before the answer"),
        ("lapi: cut-body 40", "broke off"),
        (
            "lapi: answer 301 [location: /v1/decisions] <a>Moved</a>",
            "HTTP 301: lapi_url is redirected",
        ),
        ("lapi: answer 200 [content-type: text/html] <html>hello</html>", "not a JSON array"),
        ("lapi: answer 503 [content-type: text/html] <html>no</html>", "HTTP 503"),
        ("lapi: answer 200 {}", "not a JSON array"),
        ("lapi: answer 200 ", "ends in the middle"),
    ];
    join_all(cases.map(async |(fault, says)| {
        let world = world().await;
        world.fault(fault);
        // A port that is to be closed needs a moment.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        world.run().await.assert_skipped(says);
        world.assert_edge(&["198.51.100.1"], &["198.51.100.2"]);
        assert_eq!(world.metric("crowdsec_cf_list_sync_success"), Some(0.0), "{fault}");
        world.assert_no_violations();
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lapi_body_of_24_megabytes_cut_in_the_middle_leaves_the_edge() {
    let world = world().await;
    world.simulator().lapi().add_all(generate(150_000, 1));
    world.fault("lapi: cut-body 12000000");
    let ran = world.run().await;
    ran.assert_skipped("broke off");
    world.assert_edge(&["198.51.100.1"], &["198.51.100.2"]);
    assert_eq!(world.operations(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lapi_broken_for_a_moment_is_asked_again() {
    let cases =
        ["lapi times=1: drop-before-effect", "lapi times=1: cut-body 40", "lapi times=1: refuse"];
    join_all(cases.map(async |fault| {
        let world = world().await;
        world.fault(fault);
        world.run_well().await;
        world.assert_edge(&["203.0.113.7"], &[]);
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cloudflare_broken_in_any_way_fails_before_any_write() {
    let cases = [
        ("cloudflare: refuse", "connection refused"),
        ("cloudflare GET /items: drop-before-effect", "connection closed before the answer"),
        ("cloudflare GET /items: cut-body 40", "broke off"),
        (
            "cloudflare GET /items: answer 520 [content-type: text/html] <html>oops</html>",
            "not the API's JSON",
        ),
        ("cloudflare GET /items: answer 302 [location: /elsewhere] moved", "HTTP 302"),
    ];
    join_all(cases.map(async |(fault, says)| {
        let world = world().await;
        world.fault(fault);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        world.run().await.assert_failed(says);
        world.assert_edge(&["198.51.100.1"], &["198.51.100.2"]);
        assert_eq!(world.metric("crowdsec_cf_list_sync_success"), Some(0.0), "{fault}");
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_whose_answer_is_lost_is_called_unconfirmed_and_read_again_by_the_next_run() {
    let cases = ["drop-after-effect", "drop-before-effect", "cut-body 5"];
    join_all(cases.map(async |action| {
        let world = world().await;
        world.fault(&format!("cloudflare PUT times=1: {action}"));
        world.run().await.assert_failed("could not confirm PUT ban");
        world.two_minutes_later();
        world.run_well().await;
        world.assert_edge(&["203.0.113.7"], &[]);
        world.assert_no_violations();
    }))
    .await;
}
