//! Alert rules and dashboard: they parse, they speak of metrics that the program has, and every
//! alert is shown to fire and not to fire.

use std::collections::BTreeSet;
use std::path::PathBuf;

use edge_sync_core::report::metrics::FAMILIES;
use end_to_end::prometheus::{Promtool, metrics};
use end_to_end::{skip, workspace};
use serde_json::{Value, json};

fn file(name: &str) -> PathBuf {
    workspace::root().join("deploy/monitoring").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

fn yaml(name: &str) -> Value {
    serde_yaml_ng::from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn promtool() -> Option<Promtool> {
    let promtool = Promtool::find();
    promtool.inspect_err(|error| skip::for_want_of(format_args!("promtool: {error:#}"))).ok()
}

/// The alert rules.
fn alerts() -> Vec<Value> {
    let rules = yaml("alerts.yaml");
    let groups = rules["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

/// Panel and expression of every query of the dashboard.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries = panels.iter().filter(|panel| panel["type"] != "row").flat_map(|panel| {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        let title = text(panel, "title").to_owned();
        targets.iter().map(move |target| (title.clone(), text(target, "expr").to_owned()))
    });
    queries.collect()
}

fn families() -> BTreeSet<&'static str> {
    FAMILIES.iter().map(|(name, _)| *name).collect()
}

/// Those of the metrics that the program never pushes.
fn unknown(expression: &str) -> Vec<&str> {
    metrics(expression).into_iter().filter(|name| !families().contains(name)).collect()
}

#[test]
fn alerts_are_rules_that_prometheus_takes() {
    let Some(promtool) = promtool() else { return };
    promtool.rules("check", &file("alerts.yaml")).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn alerts_fire_in_their_stories_and_in_no_others() {
    let Some(promtool) = promtool() else { return };
    promtool.rules("test", &file("alerts.test.yaml")).unwrap_or_else(|error| panic!("{error}"));
}

/// promtool is content with an alert that no story tells of.
#[test]
fn alerts_have_a_story_each_in_which_they_fire() {
    let stories = read("alerts.test.yaml");
    for alert in alerts() {
        let firing =
            format!("ALERTS{{alertname=\"{}\",alertstate=\"firing\"", text(&alert, "alert"));
        assert!(stories.contains(&firing), "no story in which {} fires", alert["alert"]);
    }
}

#[test]
fn alerts_say_what_to_do_and_stand_in_the_readme() {
    let readme = read("README.md");
    let alerts = alerts();
    for alert in &alerts {
        let name = text(alert, "alert");
        let severity = text(&alert["labels"], "severity");
        assert!(readme.contains(&format!("| `{name}` | {severity} | ")), "{name}: {severity}");
        let annotations = &alert["annotations"];
        assert!(text(annotations, "summary").len() < 120, "{name}: a summary is one line");
        assert!(text(annotations, "description").len() > 100, "{name}: and then?");
    }
    let rows = readme.lines().filter(|line| line.starts_with("| `EdgeSync"));
    assert_eq!(rows.count(), alerts.len(), "the README has an alert that does not exist");
}

#[test]
fn alerts_name_only_metrics_that_the_program_has() {
    for alert in alerts() {
        let expression = text(&alert, "expr");
        assert!(!metrics(expression).is_empty(), "{expression}");
        assert_eq!(unknown(expression), [""; 0], "{}", alert["alert"]);
    }
}

/// A story about a metric that does not exist would keep an alert green for ever.
#[test]
fn stories_push_only_metrics_that_the_program_has() {
    for story in yaml("alerts.test.yaml")["tests"].as_array().unwrap() {
        for series in story["input_series"].as_array().unwrap() {
            assert_eq!(unknown(text(series, "series")), [""; 0], "{}", story["name"]);
        }
    }
}

#[test]
fn dashboard_names_only_metrics_that_the_program_has() {
    for (panel, expression) in queries() {
        assert!(!metrics(&expression).is_empty(), "{panel}: {expression}");
        assert_eq!(unknown(&expression), [""; 0], "{panel}");
    }
}

#[test]
fn dashboard_shows_every_metric_that_the_program_has() {
    let queries = queries();
    let shown: BTreeSet<_> =
        queries.iter().flat_map(|(_, expression)| metrics(expression)).collect();
    let missing: Vec<_> = families().into_iter().filter(|name| !shown.contains(name)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn dashboard_queries_are_expressions_that_prometheus_takes() {
    let Some(promtool) = promtool() else { return };
    let check = |expression: &str| {
        let rules = json!({"groups": [{"name": "dashboard", "rules": [
            {"record": "query", "expr": expression},
        ]}]});
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rules.json");
        // JSON is YAML.
        std::fs::write(&path, rules.to_string()).unwrap();
        promtool.rules("check", &path)
    };
    assert!(check("sum by (job").is_err(), "promtool would take anything");
    for (panel, expression) in queries() {
        check(&expression).unwrap_or_else(|error| panic!("{panel}: {error}"));
    }
}

#[test]
fn dashboard_panels_do_not_overlap_and_have_ids_of_their_own() {
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["title"]);
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + w <= 24, "{}", panel["title"]);
        for cell in (y..y + h).flat_map(|row| (x..x + w).map(move |column| (row, column))) {
            assert!(cells.insert(cell), "{} lies over another panel", panel["title"]);
        }
    }
}
