//! What the README promises is there, and what is there is in the README.

use std::collections::BTreeSet;

use end_to_end::workspace;

fn readme() -> String {
    std::fs::read_to_string(workspace::root().join("README.md")).unwrap()
}

/// The words between backticks in the first column of the tables of a section.
fn named(readme: &str, heading: &str) -> BTreeSet<String> {
    let (_, section) = readme.split_once(&format!("\n{heading}\n")).expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let words = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    words.map(str::to_owned).collect()
}

#[test]
fn variables_of_the_manifest_are_the_settings_of_the_readme() {
    let manifest = std::fs::read_to_string(workspace::manifest()).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let declared = |table: &toml::Value| -> BTreeSet<String> {
        table.as_table().unwrap().keys().cloned().collect()
    };
    let application = declared(&manifest["variables"]);
    assert_eq!(named(&readme(), "## Settings"), application);
    let component = &manifest["component"]["crowdsec-edge-sync"];
    assert_eq!(declared(&component["variables"]), application, "all of them are passed on");
}

#[test]
fn metrics_that_may_be_pushed_are_those_of_the_readme() {
    let named = named(&readme(), "## What a run says");
    // `…_written` stands for the name before it with another end.
    let is_named = |metric: &str| {
        named.contains(metric)
            || named
                .iter()
                .filter_map(|name| name.strip_prefix('…'))
                .any(|end| metric.ends_with(end))
    };
    for (metric, _) in edge_sync_core::report::metrics::FAMILIES {
        assert!(is_named(metric), "{metric} is not in the README");
    }
    let known = |name: &String| {
        let families = edge_sync_core::report::metrics::FAMILIES;
        !name.contains("_sync_") && !name.starts_with("crowdsec_")
            || families.iter().any(|(metric, _)| metric == name)
    };
    assert!(named.iter().all(known), "{named:?}");
}
