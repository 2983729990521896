//! Loading and running, with components small enough to be written out: no toolchain for wasm, no
//! network. What needs a real component is tested end to end, in the workspace's `tests/`.

use host::{App, Options, Outcome, Output, Run, Trigger};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const MANIFEST: &str = r#"
    spin_manifest_version = 2
    [application]
    name = "small"
    [variables]
    key = { required = true }
    gateway = { default = "http://gateway.invalid" }
    [[trigger.command]]
    component = "small"
    [component.small]
    source = "small.wasm"
    allowed_outbound_hosts = ["{{ gateway }}"]
"#;

/// A component whose `wasi:cli/run` is `body`, with two pages of memory; `(call $exit (i32.const 1))`
/// ends it with an error.
fn component(body: &str) -> String {
    format!(
        r#"(component
            (import "wasi:cli/exit@0.2.6" (instance $wasi
                (export "exit" (func (param "status" (result))))))
            (core func $exit (canon lower (func $wasi "exit")))
            (core module $module
                (import "wasi" "exit" (func $exit (param i32)))
                (memory 2)
                (func (export "run") (result i32) {body}))
            (core instance $core
                (instantiate $module (with "wasi" (instance (export "exit" (func $exit))))))
            (func $run (result (result)) (canon lift (core func $core "run")))
            (instance $cli (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $cli)))"#
    )
}

fn folder(component: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("spin.toml"), MANIFEST).unwrap();
    fs::write(folder.path().join("small.wasm"), wat::parse_str(component).unwrap()).unwrap();
    folder
}

fn options(folder: &Path) -> Options {
    Options {
        manifest: folder.join("spin.toml"),
        variables: [("key", "k")].into(),
        ..Options::default()
    }
}

async fn run(body: &str) -> Run {
    let folder = folder(&component(body));
    let app = App::load(options(folder.path())).unwrap();
    app.run(Trigger::Command, Output::Captured).await.unwrap()
}

fn load_error(options: Options) -> String {
    format!("{:#}", App::load(options).unwrap_err())
}

#[tokio::test]
async fn command_returns_ok_exit_0() {
    let run = run("i32.const 0").await;
    assert_eq!(run.outcome, Outcome::Ok);
    assert_eq!(run.exit_code(), 0);
    assert_eq!(run.requests, 0);
}

#[tokio::test]
async fn command_returns_error_exit_1() {
    let run = run("i32.const 1").await;
    assert!(matches!(run.outcome, Outcome::Failed(_)), "{:?}", run.outcome);
    assert_eq!(run.exit_code(), 1);
}

#[tokio::test]
async fn command_exits_with_its_code() {
    let failed = run("(call $exit (i32.const 1)) unreachable").await;
    assert_eq!((failed.outcome.clone(), failed.exit_code()), (Outcome::Exited(1), 1));
    let ended = run("(call $exit (i32.const 0)) unreachable").await;
    assert_eq!((ended.outcome.clone(), ended.exit_code()), (Outcome::Exited(0), 0));
}

#[tokio::test]
async fn command_traps_exit_1_with_the_cause_first() {
    let run = run("unreachable").await;
    let Outcome::Trapped(message) = &run.outcome else { panic!("{:?}", run.outcome) };
    assert!(message.lines().next().unwrap().contains("unreachable"), "{message}");
    assert_eq!(run.exit_code(), 1);
}

#[tokio::test]
async fn memory_grows_peak_counts_all_pages() {
    const PAGE: u64 = 64 * 1024;
    assert_eq!(run("i32.const 0").await.memory_peak_bytes, 2 * PAGE);
    let grown = run("(drop (memory.grow (i32.const 3))) i32.const 0").await;
    assert_eq!(grown.memory_peak_bytes, 5 * PAGE);
}

#[tokio::test]
async fn cron_without_handler_run_says_what_is_missing() {
    let folder = folder(&component("i32.const 0"));
    let app = App::load(options(folder.path())).unwrap();
    let error = app.run(Trigger::Cron { timestamp: 0 }, Output::Captured).await.unwrap_err();
    assert!(format!("{error:#}").contains("does not export handle-cron-event"), "{error:#}");
}

#[tokio::test]
async fn runs_overlap_each_in_a_fresh_instance() {
    let folder = folder(&component("(memory.grow (i32.const 1)) (i32.ne (i32.const 2))"));
    let app = App::load(options(folder.path())).unwrap();
    let run = || app.run(Trigger::Command, Output::Captured);
    let (first, second, third) = tokio::join!(run(), run(), run());
    for run in [first, second, third] {
        assert_eq!(run.unwrap().outcome, Outcome::Ok);
    }
}

#[test]
fn component_loaded_interfaces_are_listed() {
    let folder = folder(&component("i32.const 0"));
    let app = App::load(options(folder.path())).unwrap();
    assert_eq!(app.imports(), ["wasi:cli/exit@0.2.6"]);
    assert_eq!(app.exports(), ["wasi:cli/run@0.2.0"]);
    assert!(!app.has_cron_trigger());
}

#[test]
fn component_loaded_compiled_code_is_kept() {
    let folder = folder(&component("i32.const 0"));
    App::load(options(folder.path())).unwrap();
    assert!(folder.path().join(".spin/compiled").is_dir());
    let elsewhere = tempfile::tempdir().unwrap();
    let cache_dir = elsewhere.path().join("cache");
    let options = options(folder.path());
    App::load(Options { cache_dir: Some(cache_dir.clone()), ..options }).unwrap();
    assert!(cache_dir.is_dir());
}

#[test]
fn foreign_interface_of_spin_imported_loads() {
    let folder = folder(
        r#"(component (import "fermyon:spin/redis@2.0.0" (instance
            (export "connection" (type (sub resource)))
            (export "ping" (func)))))"#,
    );
    App::load(options(folder.path())).unwrap();
}

#[test]
fn wasi_0_3_imported_load_refuses() {
    let folder = folder(
        r#"(component (import "wasi:clocks/system-clock@0.3.0" (instance
            (export "now" (func (result u64))))))"#,
    );
    let error = load_error(options(folder.path()));
    assert!(error.contains("wasi:clocks/system-clock@0.3.0"), "{error}");
}

#[test]
fn required_variable_missing_load_names_it() {
    let folder = folder(&component("i32.const 0"));
    let error = load_error(Options { variables: [("", ""); 0].into(), ..options(folder.path()) });
    assert!(error.contains("SPIN_VARIABLE_KEY"), "{error}");
}

#[test]
fn allowed_host_empty_load_names_the_setting() {
    let folder = folder(&component("i32.const 0"));
    let variables = [("key", "k"), ("gateway", "")].into();
    let error = load_error(Options { variables, ..options(folder.path()) });
    assert!(error.contains("component.small.allowed_outbound_hosts"), "{error}");
    assert!(error.contains("gateway"), "{error}");
}

#[test]
fn runtime_configuration_of_another_store_load_names_file_and_types() {
    let folder = folder(&component("i32.const 0"));
    let path = folder.path().join("runtime-config.toml");
    fs::write(&path, "[key_value_store.default]\ntype = \"azure_cosmos\"\n").unwrap();
    let error = load_error(Options { runtime_config: Some(path), ..options(folder.path()) });
    for says in ["runtime-config.toml", "azure_cosmos", "only \"spin\" and \"redis\""] {
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn component_file_missing_load_names_it() {
    let folder = folder(&component("i32.const 0"));
    fs::remove_file(folder.path().join("small.wasm")).unwrap();
    let error = load_error(options(folder.path()));
    assert!(error.contains("small.wasm") && error.contains("cargo xtask build"), "{error}");
}

#[test]
fn module_instead_of_component_load_says_so() {
    let folder = folder("(module)");
    let error = load_error(options(folder.path()));
    assert!(error.contains("is not a component"), "{error}");
}
