//! From the chart as it is published to an edge in step.

use super::*;

#[test]
fn versions_are_those_of_the_application_and_the_tag_is_the_version() {
    let Some(helm) = helm() else { return };
    let manifest: Table = std::fs::read_to_string(once::manifest()).unwrap().parse().unwrap();
    let version = manifest["application"]["version"].as_str().unwrap();
    let chart = yaml("Chart.yaml");
    assert_eq!((text(&chart["version"]), text(&chart["appVersion"])), (version, version));
    let resources = installed(&helm, filled_in());
    let container = &the(&resources, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        ["containers"][0];
    assert_eq!(container["image"], format!("registry.example.com/crowdsec-edge-sync:{version}"));
}

#[test]
fn values_of_the_readme_are_an_installation() {
    let Some(helm) = helm() else { return };
    let readme = read("README.md");
    let (_, block) = readme.split_once("\n```yaml\n").unwrap();
    let (block, _) = block.split_once("\n```").unwrap();
    let values: Value = serde_yaml_ng::from_str(block).unwrap();
    let resources = installed_as(&helm, NAME, &values);
    assert_names_exist(&resources, &["edge-sync-secrets"]);
    assert_eq!(settings(&resources)[&once::variable("dry_run")], "true");
    // Every value that its table names is one.
    let known = yaml("values.yaml");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    for name in rows.flat_map(|cell| cell.trim_end_matches('`').split("`, `")) {
        let path = name.replace("<name>", "dry_run");
        let found = path.split('.').try_fold(&known, |at, key| at.get(key));
        assert!(found.is_some(), "there is no value {name}");
    }
}

/// From the values to the edge: what the chart gives a pod is what the component understands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pod_with_the_environment_of_the_chart_syncs() {
    let Some(helm) = helm() else { return };
    let world = World::new().await;
    world.ban(&["203.0.113.7"]);
    let of = |names: &[&str]| -> Value {
        names.iter().map(|name| ((*name).to_owned(), Value::from(world.setting(name)))).collect()
    };
    let resources = installed(
        &helm,
        with(json!({
            "settings": of(&[
                "lapi_url", "cf_api_url", "pushgateway_url",
                "cf_account_id", "cf_ban_list_id", "cf_captcha_list_id",
            ]),
            "secrets": of(&["lapi_key", "cf_api_token"]),
        })),
    );
    let secret = find(&resources, "Secret", "crowdsec-edge-sync-secret").unwrap();
    let secret: BTreeMap<String, String> =
        serde_json::from_value(secret["stringData"].clone()).unwrap();
    let environment = settings(&resources).into_iter().chain(secret);
    let run = once::run(env!("CARGO_BIN_EXE_once"), environment, &once::manifest()).await;
    assert_eq!(run.exit_code, Some(0), "{run:?}");
    assert!(run.stdout.contains("outcome=applied "), "{}", run.stdout);
    world.assert_edge(&["203.0.113.7"], &[]);
    world.assert_no_violations();
}
