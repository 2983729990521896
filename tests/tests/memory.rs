//! The memory limit of the CronJob, on the whole process: Wasmtime with the component compiled
//! ahead of time, as the shim has it, and everything that a run of 50,000 decisions needs.

use std::collections::BTreeMap;
use std::time::Duration;

use end_to_end::{World, kubernetes, once, skip, workspace};
use simulator::decisions::generate;

const DECISIONS: usize = 50_000;

/// The limit in the manifest, in bytes.
fn limit() -> u64 {
    let path = workspace::root().join("deploy/spinkube/base/cronjob.yaml");
    let cronjob = &kubernetes::resources(&std::fs::read_to_string(path).unwrap()).unwrap()[0];
    let pod = &cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let limit = pod["containers"][0]["resources"]["limits"]["memory"].as_str().unwrap();
    let mebibytes: u64 = limit.strip_suffix("Mi").expect("a limit in Mi").parse().unwrap();
    mebibytes << 20
}

/// What is measured here may take half of it: the other half is for the shim's own share, which is not.
#[test]
fn limit_of_the_cronjob_is_the_promised_one() {
    assert_eq!(limit(), 128 << 20);
}

/// 50,000 decisions, places for all of them, and compiled code in the cache.
async fn world() -> World {
    let world = World::enterprise(|options| {
        options.lapi.body_cache = Duration::from_secs(600);
    })
    .await;
    world.simulator().lapi().add_all(generate(DECISIONS, 1));
    world.load().expect("the component compiles");
    world
}

/// Runs twice, from an empty edge and in sync, and holds both against the limit.
async fn runs_within_the_limit(world: &World, target: &str) {
    let environment: BTreeMap<_, _> = once::environment(world).into_iter().collect();
    for state in ["applied", "in_sync"] {
        let program = env!("CARGO_BIN_EXE_once");
        let run = once::run(program, environment.clone(), &once::manifest()).await;
        assert_eq!(run.exit_code, Some(0), "{}{}", run.stdout, run.stderr);
        assert!(run.stdout.contains(&format!("outcome={state} ")), "{state}: {}", run.stdout);
        let mebibytes = run.resident_peak_bytes as f64 / f64::from(1 << 20);
        skip::say(format_args!("{DECISIONS} decisions, {target}, {state}: {mebibytes:.1} MiB"));
        assert!(run.resident_peak_bytes <= limit() / 2, "{target}, {state}: {mebibytes:.1} MiB");
        world.two_minutes_later();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_that_syncs_50_000_decisions_to_lists_stays_within_the_limit_of_the_cronjob() {
    let mut world = world().await;
    world.target(&["lists"]);
    runs_within_the_limit(&world, "lists").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_that_syncs_50_000_decisions_to_kv_stays_within_the_limit_of_the_cronjob() {
    let mut world = world().await;
    world.target(&["kv"]);
    runs_within_the_limit(&world, "KV").await;
}
