//! Workers KV as a target: the built component, what it leaves in the namespace, and what it keeps
//! from one run to the next.

use end_to_end::world::cron;
use end_to_end::{RealLapi, World};
use host::Trigger;

fn seconds_left(world: &World, key: &str) -> u64 {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    world.keys()[key].expiration_unix.expect("every key expires").saturating_sub(now)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_targets_run_by_either_trigger_are_brought_in_step() {
    for trigger in [cron(), Trigger::Command] {
        let mut world = World::new().await;
        world.target(&["lists", "kv"]);
        world.ban(&["203.0.113.7", "2001:DB8:0::1"]);
        world.captcha(&["203.0.113.8", "203.0.113.7"]);
        let ran = world.run_by(trigger).await;
        assert_eq!(ran.run.exit_code(), 0, "{}", ran.run.stdout);
        world.assert_edge(&["203.0.113.7", "2001:db8::1"], &["203.0.113.8"]);
        world.assert_values(&[
            ("ip:2001:db8::1", "ban"),
            ("ip:203.0.113.7", "ban"),
            ("ip:203.0.113.8", "captcha"),
        ]);
        let of = |target| ran.events("summary").find(|line| line.get("target") == target).unwrap();
        assert_eq!((of("lists").number("added"), of("kv").number("written")), (3, 3));
        assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(1.0));
        assert_eq!(world.metric("crowdsec_cf_list_sync_success"), Some(1.0));

        let ran = world.run_by(trigger).await;
        assert!(ran.events("summary").all(|line| line.get("outcome") == "in_sync"));
        assert_eq!(world.kv_counters().bulk_writes, 1);
        world.assert_no_violations();
    }
}

/// The budget's use is in the host's key-value store, and so outlasts the instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daily_budget_is_kept_from_one_run_to_the_next() {
    let mut world = World::kv(|_| {}).await;
    world.set("kv_daily_writes_max", "2");
    world.captcha(&["203.0.113.1", "203.0.113.2", "203.0.113.3"]);
    world.ban(&["203.0.113.9"]);
    for _ in 0..2 {
        let ran = world.run().await;
        assert_eq!(ran.summary().get("outcome"), "partial", "{}", ran.run.stdout);
        assert_eq!((ran.summary().number("waiting"), ran.summary().number("quota_used")), (2, 2));
        world.assert_values(&[("ip:203.0.113.1", "captcha"), ("ip:203.0.113.9", "ban")]);
    }
    assert_eq!(world.kv_counters().pairs_written, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_by_cscli_are_keys_for_as_long_as_they_hold_and_deleted_ones_go() {
    let Some(lapi) = RealLapi::start().await else { return };
    let mut world = World::kv(|_| {}).await;
    world.set("lapi_url", lapi.url());
    world.set("lapi_key", RealLapi::KEY);
    // An empty database answers `null`.
    assert_eq!(world.run_well().await.summary().get("outcome"), "in_sync");

    for decision in [
        "--ip 203.0.113.7 --duration 1h",
        "--ip 203.0.113.7 --duration 36h --type captcha",
        "--ip 203.0.113.8 --duration 20m --type captcha",
        "--ip 2001:DB8:0:0:0:0:0:A --duration 8760h",
        "--ip 203.0.113.9 --duration 45s",
        "--range 198.51.100.0/24",
    ] {
        lapi.cscli(&format!("decisions add {decision}"));
    }
    let ran = world.run_well().await;
    world.assert_values(&[
        ("ip:2001:db8::a", "ban"),
        ("ip:203.0.113.7", "ban"),
        ("ip:203.0.113.8", "captcha"),
        ("ip:203.0.113.9", "ban"),
    ]);
    for (key, decided) in [
        // The ban is the stronger, the captcha the longer.
        ("ip:203.0.113.7", 36 * 3_600),
        ("ip:203.0.113.8", 20 * 60),
        ("ip:2001:db8::a", 8_760 * 3_600),
        ("ip:203.0.113.9", 45),
    ] {
        let left = seconds_left(&world, key);
        // A minute on top, less what the test took so far.
        assert!((decided + 40..=decided + 60).contains(&left), "{key}: {left} s left");
    }
    assert_eq!(ran.summary().number("written"), 4);

    lapi.cscli("decisions delete --ip 203.0.113.8");
    // Its key expires by itself in the two minutes, which LAPI's clock does not see.
    lapi.cscli("decisions delete --ip 203.0.113.9");
    world.two_minutes_later();
    let ran = world.run_well().await;
    assert_eq!((ran.summary().number("written"), ran.summary().number("deleted")), (0, 1));
    assert!(!world.keys().contains_key("ip:203.0.113.8"));
    world.assert_no_violations();
}
