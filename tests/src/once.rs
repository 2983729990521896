//! One run of the component in a process of its own, as SpinKube's shim runs it: the command
//! trigger, variables from the environment and from nowhere else, the log on stdout, an exit code.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use crate::{World, workspace};

/// What a process did that is over.
#[derive(Debug)]
pub struct Once {
    /// Its exit code; none if it was killed.
    pub exit_code: Option<i32>,
    /// What the component printed.
    pub stdout: String,
    /// What the host said.
    pub stderr: String,
    /// The most memory that it ever had.
    pub resident_peak_bytes: u64,
}

/// The manifest that SpinKube gets.
pub fn manifest() -> std::path::PathBuf {
    workspace::root().join("deploy/spinkube/spin.toml")
}

/// Runs `program`, this package's `once`, with these variables. Compiled code is found or kept
/// where the other tests have it; all other state is new.
pub async fn run(
    program: &str,
    variables: impl IntoIterator<Item = (String, String)>,
    manifest: &Path,
) -> Once {
    let folder = state();
    let peak = folder.path().join("peak");
    let mut command = Command::new(program);
    command.args(["--once", "--manifest"]).arg(manifest);
    command.arg("--state-dir").arg(folder.path()).arg("--peak").arg(&peak);
    command.env_clear().envs(variables).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.expect("the program of this package starts");
    let peak = std::fs::read_to_string(&peak).expect("it wrote how much memory it had");
    Once {
        exit_code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        resident_peak_bytes: peak.parse().expect("a number of bytes"),
    }
}

/// The settings of a world as a pod has them.
pub fn environment(world: &World) -> Vec<(String, String)> {
    let declared = std::fs::read_to_string(manifest()).expect("the manifest");
    let declared: toml::Table = declared.parse().expect("it is TOML");
    let names = declared["variables"].as_table().expect("it declares variables").keys();
    let settings = names.filter_map(|name| Some((name, world.setting_if_any(name)?)));
    settings.map(|(name, value)| (variable(name), value.to_owned())).collect()
}

/// The environment variable of a Spin variable.
pub fn variable(name: &str) -> String {
    format!("SPIN_VARIABLE_{}", name.to_ascii_uppercase())
}

/// A file of `NAME=value` lines, as Kustomize, Compose and systemd read it.
pub fn variables_of(path: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path).expect("a readable file");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pairs = lines.map(|line| line.split_once('=').expect("NAME=value"));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The environment variables of the application's secret variables.
pub fn secret_variables() -> Vec<String> {
    declared("secret")
}

/// The environment variables of the application's required variables.
pub fn required_variables() -> Vec<String> {
    declared("required")
}

/// Panics unless these are good settings to begin with: all of them variables of the application, none of the
/// required ones missing, no secret in them, and a first run that only shows its plan.
#[track_caller]
pub fn assert_is_example(variables: &BTreeMap<String, String>) {
    let known = declared("");
    for name in variables.keys() {
        assert!(known.contains(name), "{name} is not a variable of the application");
    }
    for name in declared("required") {
        assert!(variables.contains_key(&name), "{name} is missing");
    }
    for name in declared("secret") {
        assert_eq!(variables[&name], "", "a value of {name} was committed");
    }
    assert_eq!(variables[&variable("dry_run")], "true");
}

/// The environment variables of those of the application's variables that have a key which is true, or of all.
fn declared(key: &str) -> Vec<String> {
    let text = std::fs::read_to_string(manifest()).expect("the manifest");
    let manifest: toml::Table = text.parse().expect("it is TOML");
    let variables = manifest["variables"].as_table().expect("it declares variables");
    let is =
        |variable: &toml::Value| variable.get(key).and_then(toml::Value::as_bool) == Some(true);
    let chosen = variables.iter().filter(|(_, variable)| key.is_empty() || is(variable));
    chosen.map(|(name, _)| variable(name)).collect()
}

fn state() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let compiled = workspace::cache().join("compiled");
    std::fs::create_dir_all(&compiled).expect("the cache is ours");
    std::os::unix::fs::symlink(compiled, folder.path().join("compiled")).expect("a new link");
    folder
}
