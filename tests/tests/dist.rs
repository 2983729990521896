//! What is released is what was tested: the archive that `cargo xtask dist` packs, unpacked as a user
//! does it, checked as a user does it, and run from the manifests in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use end_to_end::world::{self, cron};
use end_to_end::{World, workspace};
use host::{App, Outcome, Trigger};
use tempfile::TempDir;

/// Packs the built component and unpacks the archive; gives the folder that was in it.
fn unpacked(below: &TempDir) -> PathBuf {
    let packed = xtask::dist::pack(&workspace::component(), below.path()).unwrap();
    // In the folder of the archive: the file with its digest names it without one.
    run(below.path(), "sha256sum", &["--check", "--quiet"], &packed.digest);
    run(below.path(), "tar", &["-xzf"], &packed.archive);
    below.path().join(packed.folder)
}

fn run(folder: &Path, program: &str, arguments: &[&str], file: &Path) {
    let mut command = Command::new(program);
    command.args(arguments).arg(file).current_dir(folder).stdin(Stdio::null());
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

fn manifests(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(manifests(&path));
        } else if path.ends_with("spin.toml") {
            found.push(path);
        }
    }
    found
}

/// As the manifest says.
fn trigger(manifest: &Path) -> Trigger {
    let manifest: toml::Table = std::fs::read_to_string(manifest).unwrap().parse().unwrap();
    if manifest["trigger"].get("cron").is_some() { cron() } else { Trigger::Command }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archive_unpacked_run_from_each_of_its_manifests_brings_the_edge_in_step() {
    let below = tempfile::tempdir().unwrap();
    let folder = unpacked(&below);
    run(&folder, "sha256sum", &["--check", "--quiet"], Path::new("SHA256SUMS"));
    let manifests = manifests(&folder);
    assert!(manifests.contains(&folder.join("spin.toml")), "{manifests:?}");
    for manifest in manifests {
        let world = World::new().await;
        world.ban(&["203.0.113.7", "2001:DB8::1"]);
        world.preload(&["192.0.2.1"], &[]);
        let settings = [
            "lapi_url",
            "lapi_key",
            "cf_api_url",
            "cf_account_id",
            "cf_api_token",
            "cf_ban_list_id",
            "cf_captcha_list_id",
            "pushgateway_url",
        ];
        let settings = settings.map(|name| (name.to_owned(), world.setting(name).to_owned()));
        let state = tempfile::tempdir().unwrap();
        // No `component_override`: the manifest's own source is what this is about.
        let app = App::load(host::Options {
            manifest: manifest.clone(),
            variables: settings.into_iter().collect(),
            state_dir: Some(state.path().to_owned()),
            cache_dir: Some(workspace::cache().join("compiled")),
            ..host::Options::default()
        });
        let app = app.unwrap_or_else(|error| panic!("{}: {error:#}", manifest.display()));
        let ran = world::run(&app, trigger(&manifest)).await;
        assert_eq!(ran.run.outcome, Outcome::Ok, "{}: {}", manifest.display(), ran.run.stdout);
        assert_eq!(ran.summary().get("outcome"), "applied", "{}", manifest.display());
        world.assert_edge(&["203.0.113.7", "2001:db8::1"], &[]);
        world.assert_no_violations();
    }
}
