//! The tool beside the component: what a run of the built file leaves, every command of `edge-sync` knows.

use edge_sync::commands::look::look;
use edge_sync::commands::{doctor, plan, status, why};
use edge_sync::doctor::examine;
use edge_sync::native::Native;
use edge_sync_core::ports::Clock;
use edge_sync_core::settings::Settings;
use end_to_end::World;
use std::time::UNIX_EPOCH;

fn plain(text: &str) -> String {
    // As one line: where it is wrapped is the tool's own test.
    let text = anstream::adapter::strip_str(text).to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What each command says.
async fn told(world: &World, address: &str) -> [(&'static str, String); 4] {
    let options = world.for_the_tool();
    let all = look(&options, None).await.expect("the settings are right");
    let address = address.parse().expect("an address");
    let one = look(&options, Some(address)).await.expect("the settings are right");
    let native = Native::load(&options).expect("the manifest is right");
    let settings = Settings::parse(|name| native.variable(name), native.wall()).expect("likewise");
    let now = native.wall().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let remembered =
        edge_sync_core::run::status(&settings, &native, now).expect("there is a store");
    [
        ("plan", plain(&plan::render(&all, 20))),
        ("why", plain(&why::render(&one))),
        ("status", plain(&status::render(&remembered, &native.store_place()))),
        ("doctor", plain(&doctor::render(&examine(&options).await.expect("a manifest")))),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_throttled_in_a_run_every_command_knows_that_the_next_waits() {
    let world = World::new().await;
    world.ban(&["203.0.113.7"]);
    world.fault(
        "cloudflare POST: answer 429 {\"success\":false,\"errors\":[{\"code\":10040,\"message\":\"wait\"}]}",
    );
    world.run().await.assert_failed("10040");
    for (command, told) in told(&world, "203.0.113.7").await {
        let says = "Cloudflare throttled the last write; the next is tried in 30 min";
        assert!(told.contains(says), "{command}: {told}");
    }
    assert_eq!(world.operations(), 0, "and none of them has tried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removals_held_in_a_run_every_command_knows_when_they_go() {
    let world = World::new().await;
    world.preload(&["192.0.2.1", "192.0.2.2", "192.0.2.3"], &[]);
    world.run().await;
    for (command, told) in told(&world, "192.0.2.1").await {
        let says = "with the 4th run from now, in 30 min at the earliest";
        assert!(command == "doctor" || told.contains(says), "{command}: {told}");
        assert!(told.contains("4th run from now"), "{command}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edge_in_step_after_a_run_every_command_says_so() {
    let world = World::new().await;
    world.ban(&["203.0.113.7"]);
    world.run_well().await;
    let [(_, plan), (_, why), (_, status), (_, doctor)] = told(&world, "203.0.113.7").await;
    assert!(plan.contains("lists: nothing to do"), "{plan}");
    assert!(why.contains("on ban: as it should be"), "{why}");
    assert!(status.contains("lists applied"), "{status}");
    assert!(doctor.contains("lists applied") && doctor.contains(" 0 failed"), "{doctor}");
}
