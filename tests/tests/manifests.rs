//! The two manifests: one application, two triggers. They must not drift apart, and each must be
//! what its host can run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use end_to_end::log::LogLine;
use end_to_end::{World, once, workspace};
use toml::{Table, Value};

const COMPONENT: &str = "crowdsec-edge-sync";

/// The exports that Spin's triggers call, by the trigger's type in a manifest.
const EXPORTS: [(&str, &str); 2] =
    [("cron", "handle-cron-event"), ("command", "wasi:cli/run@0.2.")];

/// What of a component's manifest needs which import.
const IMPORTS: [(&str, &str); 3] = [
    ("variables", "fermyon:spin/variables@"),
    ("key_value_stores", "fermyon:spin/key-value@"),
    ("allowed_outbound_hosts", "wasi:http/outgoing-handler@"),
];

fn read(path: &Path) -> Table {
    let text = std::fs::read_to_string(path).unwrap();
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn both() -> [(PathBuf, Table); 2] {
    [workspace::manifest(), once::manifest()].map(|path| (path.clone(), read(&path)))
}

fn component(manifest: &Table) -> &Table {
    manifest["component"][COMPONENT].as_table().expect("the component's table")
}

/// The imports and exports of the built component.
async fn interfaces() -> (Vec<String>, Vec<String>) {
    let app = World::new().await.load().unwrap();
    (app.imports(), app.exports())
}

/// Everything of a manifest that does not belong to its host: neither trigger, nor how the
/// component is built, nor the path to it.
fn application(manifest: &Table) -> Table {
    let mut manifest = manifest.clone();
    manifest.remove("trigger");
    let components = manifest["component"].as_table_mut().unwrap();
    for (_, component) in components.iter_mut() {
        let component = component.as_table_mut().unwrap();
        component.remove("source");
        component.remove("build");
    }
    manifest
}

#[test]
fn manifests_of_spin_and_of_spinkube_describe_the_same_application() {
    let [(_, spin), (_, spinkube)] = both();
    let (spin, spinkube) = (application(&spin), application(&spinkube));
    assert_eq!(
        toml::to_string_pretty(&spin).unwrap(),
        toml::to_string_pretty(&spinkube).unwrap(),
        "spin.toml (left) and deploy/spinkube/spin.toml (right) have drifted apart"
    );
    assert!(spin["variables"].as_table().unwrap().len() > 10, "and are not both empty");
}

#[test]
fn manifests_name_the_file_that_is_built() {
    for (path, manifest) in both() {
        let source = component(&manifest)["source"].as_str().unwrap();
        let source = path.parent().unwrap().join(source);
        let source = source.canonicalize().unwrap_or_else(|error| panic!("{source:?}: {error}"));
        assert_eq!(source, workspace::component().canonicalize().unwrap(), "{path:?}");
    }
}

#[tokio::test]
async fn manifests_have_one_trigger_each_and_the_component_exports_what_it_calls() {
    let (_, exports) = interfaces().await;
    for ((path, manifest), expected) in both().into_iter().zip(["cron", "command"]) {
        let triggers = manifest["trigger"].as_table().unwrap();
        let types: Vec<_> = triggers.keys().map(String::as_str).collect();
        assert_eq!(types, [expected], "{path:?}");
        let triggers = triggers[expected].as_array().unwrap();
        assert_eq!(triggers.len(), 1, "{path:?}");
        assert_eq!(triggers[0]["component"].as_str(), Some(COMPONENT), "{path:?}");
        let (_, called) = EXPORTS.iter().find(|(trigger, _)| *trigger == expected).unwrap();
        assert!(
            exports.iter().any(|export| export.starts_with(called)),
            "{path:?}: no {called} among {exports:?}"
        );
    }
}

/// A store or a host that is declared and never used, or used and not declared, is a mistake either
/// way.
#[tokio::test]
async fn manifests_grant_what_the_component_imports_and_no_more() {
    let (imports, _) = interfaces().await;
    for (path, manifest) in both() {
        for (key, import) in IMPORTS {
            let declared = component(&manifest).get(key).is_some_and(|value| match value {
                Value::Array(entries) => !entries.is_empty(),
                Value::Table(entries) => !entries.is_empty(),
                _ => false,
            });
            let imported = imports.iter().any(|name| name.starts_with(import));
            assert_eq!(declared, imported, "{path:?}: {key} and {import}");
        }
        assert!(!component(&manifest).contains_key("files"), "{path:?}: it needs no files");
    }
}

#[test]
fn variables_that_are_secret_have_no_default_in_a_manifest() {
    for (path, manifest) in both() {
        let secrets: BTreeSet<_> = manifest["variables"]
            .as_table()
            .unwrap()
            .iter()
            .filter(|(_, variable)| variable.get("secret").and_then(Value::as_bool) == Some(true))
            .inspect(|(name, secret)| {
                assert!(secret.get("default").is_none(), "{path:?}: {name}");
            })
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(secrets, BTreeSet::from(["cf_api_token", "lapi_key"]), "{path:?}");
    }
}

/// The last line of a log.
fn summary(stdout: &str) -> LogLine {
    let line = stdout.lines().last().unwrap_or_default();
    let line = LogLine::parse(line).unwrap_or_else(|| panic!("no line of fields: {stdout:?}"));
    assert_eq!(line.get("event"), "summary", "{stdout}");
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pod_run_as_the_shim_does_syncs_and_ends_with_0() {
    let world = World::new().await;
    world.ban(&["203.0.113.7"]);
    world.captcha(&["203.0.113.9"]);
    let program = env!("CARGO_BIN_EXE_once");
    let run = once::run(program, once::environment(&world), &once::manifest()).await;
    assert_eq!(run.exit_code, Some(0), "{run:?}");
    assert_eq!(summary(&run.stdout).get("outcome"), "applied", "{run:?}");
    assert_eq!(run.stderr, "", "the log is on stdout");
    world.assert_edge(&["203.0.113.7"], &["203.0.113.9"]);
    world.assert_no_violations();
}

/// The shim throws away what `run` returns; only an exit code fails a Kubernetes Job.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pod_whose_token_is_refused_says_so_on_stdout_and_ends_with_1() {
    let mut world = World::new().await;
    world.ban(&["203.0.113.7"]);
    world.set("cf_api_token", "a-token-that-was-revoked");
    let program = env!("CARGO_BIN_EXE_once");
    let run = once::run(program, once::environment(&world), &once::manifest()).await;
    assert_eq!(run.exit_code, Some(1), "{run:?}");
    let summary = summary(&run.stdout);
    assert_eq!((summary.get("level"), summary.get("outcome")), ("error", "failed"), "{run:?}");
    let said = [run.stdout, run.stderr].concat();
    assert!(!said.contains("a-token-that-was-revoked"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pod_without_a_required_variable_does_not_start_and_names_all_of_them() {
    let run = once::run(env!("CARGO_BIN_EXE_once"), [], &once::manifest()).await;
    assert_eq!(run.exit_code, Some(1), "{run:?}");
    assert_eq!(run.stdout, "", "the component never ran");
    for name in ["lapi_key", "cf_account_id", "cf_api_token"] {
        assert!(run.stderr.contains(&once::variable(name)), "{name}: {run:?}");
    }
}
