//! `deploy/systemd`: that systemd takes unit and timer, how little the unit may do, and that both fit the
//! application.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use end_to_end::{once, skip, workspace};
use tempfile::TempDir;
use toml::Table;

const SERVICE: &str = "crowdsec-edge-sync.service";
const TIMER: &str = "crowdsec-edge-sync.timer";
const SPIN: &str = "/usr/local/bin/spin";
/// Where the README unpacks a release.
const RELEASE: &str = "/usr/local/lib/crowdsec-edge-sync/";

fn folder() -> PathBuf {
    workspace::root().join("deploy/systemd")
}

fn read(file: &str) -> String {
    std::fs::read_to_string(folder().join(file)).unwrap()
}

/// The values of a key, in all sections.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let lines = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.collect()
}

fn value<'a>(unit: &'a str, key: &str) -> &'a str {
    let values = values(unit, key);
    assert_eq!(values.len(), 1, "{key}");
    values[0]
}

/// Unit and timer, changed, in a folder of their own. The unit starts a program that this machine has.
fn units(change: impl Fn(String) -> String) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in [SERVICE, TIMER] {
        let unit = change(read(file)).replace(SPIN, "/bin/true");
        std::fs::write(folder.path().join(file), unit).unwrap();
    }
    folder
}

/// What `systemd-analyze` says, on both its streams; none where there is no systemd.
fn analyze(folder: &Path, arguments: &[&str]) -> Option<(bool, String)> {
    let mut command = Command::new("systemd-analyze");
    let output = command.args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    let output = output
        .inspect_err(|error| skip::for_want_of(format_args!("systemd-analyze: {error}")))
        .ok()?;
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).trim().to_owned()))
}

#[test]
fn unit_and_timer_are_what_systemd_takes_and_a_misspelling_is_seen() {
    let verify = ["verify", "./crowdsec-edge-sync.service", "./crowdsec-edge-sync.timer"];
    let Some(said) = analyze(units(|unit| unit).path(), &verify) else { return };
    assert_eq!(said, (true, String::new()));
    let misspelled = units(|unit| unit.replace("\nProtectHome=", "\nProtectHouse="));
    let (_, said) = analyze(misspelled.path(), &verify).unwrap();
    assert!(said.contains("ProtectHouse"), "{said}");
}

/// 0 is a unit that may do nothing, 10 one that may do everything. What is left is the internet, and memory that
/// is written and then executed.
#[test]
fn unit_may_do_little() {
    let folder = units(|unit| unit);
    let security = ["security", "--offline=true", "--threshold=15", "./crowdsec-edge-sync.service"];
    let Some((is_below, said)) = analyze(folder.path(), &security) else { return };
    assert!(is_below, "more than 1.5 of 10: {said}");
}

#[test]
fn timer_has_the_schedule_of_spins_trigger_and_a_run_the_time_of_its_budget() {
    let manifest: Table = std::fs::read_to_string(workspace::manifest()).unwrap().parse().unwrap();
    let expression = manifest["trigger"]["cron"][0]["cron_expression"].as_str().unwrap();
    let minutes = expression.strip_prefix("0 */").and_then(|rest| rest.strip_suffix(" * * * *"));
    assert_eq!(value(&read(TIMER), "OnCalendar"), format!("*:0/{}", minutes.unwrap()));
    let budget = manifest["variables"]["run_budget_seconds"]["default"].as_str().unwrap();
    let budget: u64 = budget.parse().unwrap();
    assert_eq!(value(&read(SERVICE), "TimeoutStartSec"), (budget + 40).to_string());
}

#[test]
fn unit_runs_the_application_for_the_command_trigger_from_where_the_readme_unpacks_it() {
    let unit = read(SERVICE);
    let start = value(&unit, "ExecStart");
    let words: Vec<_> = start.split(' ').collect();
    assert_eq!(words[..3], [SPIN, "up", "--from"]);
    let manifest = words[3].strip_prefix(RELEASE).expect("in the release");
    assert_eq!(workspace::root().join(manifest), once::manifest());
    assert!(words.contains(&"--truncate-logs"), "Spin's log files would grow for ever");
    let readme = read("README.md");
    assert!(readme.contains(&format!("-C {} ", RELEASE.trim_end_matches('/'))));
    assert!(readme.contains("spin plugins install trigger-command"));
    let plugins = values(&unit, "Environment")[0].split(' ').next().unwrap();
    assert!(readme.contains(&format!("env {plugins} spin plugins install")), "{plugins}");
    let settings = value(&unit, "EnvironmentFile");
    assert!(readme.contains(&format!("install -m 600 deploy/systemd/example.env {settings} ")));
}

#[test]
fn example_has_the_settings_to_begin_with() {
    once::assert_is_example(&once::variables_of(&folder().join("example.env")));
}

#[test]
fn readme_names_the_version_that_is_released() {
    let manifest: Table = std::fs::read_to_string(workspace::manifest()).unwrap().parse().unwrap();
    let version = manifest["application"]["version"].as_str().unwrap();
    assert!(read("README.md").contains(&format!("crowdsec-edge-sync-{version}.tar.gz")));
}
