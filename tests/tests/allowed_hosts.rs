//! The component reaches LAPI, Cloudflare and the Pushgateway, and nothing else.

use end_to_end::World;

async fn world() -> World {
    let world = World::new().await;
    world.ban(&["203.0.113.7"]);
    world
}

/// The deployed manifest without one of its allowed hosts.
fn without(name: &'static str) -> impl FnOnce(String) -> String {
    move |manifest| {
        let hosts = manifest.lines().find(|line| line.starts_with("allowed_outbound_hosts"));
        let hosts = hosts.expect("the hosts are on one line").to_owned();
        let fewer = hosts.replace(&format!("\"{{{{ {name} }}}}\""), "\"http://other.invalid\"");
        assert_ne!(hosts, fewer, "{name} is allowed");
        manifest.replace(&hosts, &fewer)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lapi_url_with_a_slash_at_its_end_is_the_same_origin() {
    let mut world = world().await;
    world.set("lapi_url", format!("{}/", world.setting("lapi_url")));
    world.run_well().await;
    world.assert_edge(&["203.0.113.7"], &[]);
    world.assert_no_violations();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lapi_url_with_a_path_is_a_bad_setting_and_not_a_mystery() {
    let mut world = world().await;
    world.set("lapi_url", format!("{}/lapi", world.setting("lapi_url")));
    let ran = world.run().await;
    ran.assert_failed("the settings cannot be used");
    assert_eq!(ran.events("setting").next().unwrap().get("variable"), "lapi_url");
    assert_eq!(ran.run.requests, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lapi_not_allowed_leaves_the_edge_and_says_what_to_add() {
    let mut world = world().await;
    world.preload(&["198.51.100.1"], &[]);
    world.change_manifest(without("lapi_url"));
    let ran = world.run().await;
    ran.assert_skipped("add it to allowed_outbound_hosts");
    assert!(ran.run.stderr.contains(world.setting("lapi_url")), "{}", ran.run.stderr);
    world.assert_edge(&["198.51.100.1"], &[]);
    let asked = world.simulator().counters(simulator::Service::Lapi).requests;
    assert_eq!(asked, 0, "the request was not sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cloudflare_not_allowed_fails_and_says_what_to_add() {
    let mut world = world().await;
    world.change_manifest(without("cf_api_url"));
    world.run().await.assert_failed("add it to allowed_outbound_hosts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushgateway_not_allowed_syncs_all_the_same_with_a_warning() {
    let mut world = world().await;
    world.change_manifest(without("pushgateway_url"));
    let ran = world.run_well().await;
    let warning = ran.events("pushgateway").next().expect("a warning");
    assert!(warning.get("msg").contains("add it to allowed_outbound_hosts"), "{warning:?}");
    world.assert_edge(&["203.0.113.7"], &[]);
}
