//! One run, from either trigger: what it does to the edge, what it says, how it ends.

use end_to_end::World;
use end_to_end::world::{Ran, cron};
use host::{Outcome, Trigger};

/// A world in which every list changes in both directions, and one address moves.
async fn world() -> World {
    let world = World::new().await;
    world.ban(&["203.0.113.7", "2001:DB8:0::1", "198.51.100.20/32"]);
    world.captcha(&["203.0.113.8", "203.0.113.7"]);
    world.preload(&["192.0.2.1"], &["2001:db8::1", "192.0.2.2"]);
    world
}

fn both() -> [Trigger; 2] {
    [cron(), Trigger::Command]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edge_out_of_step_run_by_either_trigger_brings_it_in_step() {
    for trigger in both() {
        let world = world().await;
        let ran = world.run_by(trigger).await;
        assert_eq!(ran.run.outcome, Outcome::Ok, "{trigger:?}: {}", ran.run.stdout);
        world.assert_edge(&["203.0.113.7", "2001:db8::1", "198.51.100.20"], &["203.0.113.8"]);
        let summary = ran.summary();
        assert_eq!((summary.get("outcome"), summary.get("success")), ("applied", "1"));
        assert_eq!((summary.number("ban"), summary.number("captcha")), (3, 1));
        assert_eq!((summary.number("added"), summary.number("removed")), (4, 3));
        assert_eq!(summary.number("operations") as usize, world.operations());
        let with_metrics = summary.number("requests") + 2;
        assert_eq!(with_metrics, ran.run.requests, "and one each for the Pushgateway and for LAPI");
        assert_eq!(world.metric("crowdsec_cf_list_sync_success"), Some(1.0));

        let operations = world.operations();
        let ran = world.run_by(trigger).await;
        assert_eq!(ran.summary().get("outcome"), "in_sync");
        assert_eq!(world.operations(), operations, "nothing to do, nothing written");
        world.assert_no_violations();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dry_run_by_either_trigger_shows_the_plan_and_writes_nothing() {
    for trigger in both() {
        let mut world = world().await;
        world.set("dry_run", "true");
        let before = world.edge();
        let ran = world.run_by(trigger).await;
        assert_eq!(ran.summary().get("outcome"), "planned");
        assert_eq!(ran.events("plan").next().unwrap().number("drift"), 7);
        assert_eq!(ran.events("change").count(), 7);
        assert_eq!((world.edge(), world.operations()), (before, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_bad_run_by_either_trigger_fails_before_any_request_and_names_all() {
    for trigger in both() {
        let mut world = world().await;
        world.set("cf_ban_list_id", "0123");
        world.set("lapi_key", "");
        world.set("run_budget_seconds", "soon");
        let ran = world.run_by(trigger).await;
        assert_failed_by(trigger, &ran, "the settings cannot be used");
        let named: Vec<_> = ran.events("setting").map(|line| line.get("variable")).collect();
        for variable in ["cf_ban_list_id", "lapi_key", "run_budget_seconds"] {
            assert!(named.contains(&variable), "{variable}: {}", ran.run.stdout);
        }
        assert_eq!(ran.run.requests, 0);
        assert!(world.simulator().journal().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_refused_run_by_either_trigger_fails_and_names_the_permission() {
    for trigger in both() {
        let mut world = world().await;
        world.set("cf_api_token", "another_token_that_has_forty_characters0");
        let before = world.edge();
        let ran = world.run_by(trigger).await;
        assert_failed_by(trigger, &ran, "Account Filter Lists > Edit");
        assert_eq!(world.edge(), before);
        assert_eq!(world.metric("crowdsec_cf_list_sync_success"), Some(0.0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lapi_down_run_by_either_trigger_ends_well_and_leaves_the_edge() {
    for trigger in both() {
        let world = world().await;
        world.fault("lapi: answer 404 ");
        let before = world.edge();
        let ran = world.run_by(trigger).await;
        ran.assert_skipped("does not point at a CrowdSec Local API");
        assert_eq!(world.edge(), before);
        assert_eq!(world.metric("crowdsec_cf_list_sync_success"), Some(0.0));
    }
}

/// A command exits by itself, since some hosts ignore what it returns; a cron handler returns the
/// words for the trigger's log.
#[track_caller]
fn assert_failed_by(trigger: Trigger, ran: &Ran, says: &str) {
    ran.assert_failed(says);
    match (trigger, &ran.run.outcome) {
        (Trigger::Command, outcome) => assert_eq!(*outcome, Outcome::Exited(1)),
        (Trigger::Cron { .. }, Outcome::Failed(words)) => {
            assert!(words.contains(says), "{words}");
        }
        (Trigger::Cron { .. }, outcome) => panic!("{outcome:?}"),
    }
}
