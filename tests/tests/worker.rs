//! The edge Worker on what the component really leaves in the namespace: its own tests, in workerd,
//! with the simulator's keys after a sync.

use std::path::Path;
use std::process::Stdio;

use end_to_end::{World, skip, workspace};
use simulator::decisions::{Mix, generate_mix};
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_answers_every_address_as_the_synced_namespace_says() {
    let worker = workspace::root().join("deploy/worker");
    if let Err(why) = install(&worker).await {
        return skip::for_want_of(format_args!("the Worker's packages: {why}"));
    }
    for layout in ["keys", "shards"] {
        answers_as_synced(&worker, layout).await;
    }
}

async fn answers_as_synced(worker: &Path, layout: &str) {
    let mut world = World::kv(|_| {}).await;
    world.set("scopes", "ip,range");
    world.set("kv_layout", layout);
    world.simulator().lapi().add_all(generate_mix(120, 1, &Mix::untidy()));
    world.ban(&["203.0.113.7", "2001:DB8:0:0:0:0:0:1", "::ffff:203.0.113.9", "2001:db8::/128"]);
    world.captcha(&["203.0.113.8", "2001:db8:0:0:1:0:0:1", "203.0.113.7"]);
    world.ban(&["198.51.100.129/25", "2001:DB8:0:AB00::/56"]);
    world.captcha(&["198.51.100.0/24", "198.51.100.200"]);
    world.run_well().await;
    assert!(world.keys().contains_key(if layout == "keys" { "ranges" } else { "ip:wide" }));

    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("kv.json");
    std::fs::write(&dump, serde_json::to_vec(&world.keys()).unwrap()).unwrap();
    let tests = npm(worker, &["test"]).env("EDGE_SYNC_KV_DUMP", &dump).output().await.unwrap();
    let said = String::from_utf8_lossy(&tests.stdout);
    assert!(tests.status.success(), "{said}{}", String::from_utf8_lossy(&tests.stderr));
}

/// Installs the packages that the lock file names, if they are not there.
async fn install(worker: &Path) -> Result<(), String> {
    let node = Command::new("node").arg("--version").output().await;
    let node = node.map_err(|error| format!("node: {error}"))?;
    let version = String::from_utf8_lossy(&node.stdout).into_owned();
    let major = version.trim_start_matches('v').split('.').next().unwrap_or_default();
    if !major.parse().is_ok_and(|major: u32| major >= 20) {
        return Err(format!("node {} is older than 20", version.trim()));
    }
    if worker.join("node_modules/miniflare").exists() {
        return Ok(());
    }
    let output = npm(worker, &["ci", "--no-audit", "--no-fund"]).output().await;
    let output = output.map_err(|error| format!("npm: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

fn npm(worker: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("npm");
    command.args(arguments).current_dir(worker).stdin(Stdio::null()).kill_on_drop(true);
    command
}
