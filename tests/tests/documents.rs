//! What the documents promise is there, what is there is in the documents, and their links lead somewhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use end_to_end::workspace;

fn read(path: impl AsRef<Path>) -> String {
    let path = workspace::root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The words between backticks in the first column of the tables of a section.
fn named(document: &str, heading: &str) -> BTreeSet<String> {
    let (_, section) = document.split_once(&format!("\n{heading}\n")).expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let words = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    words.map(str::to_owned).collect()
}

#[test]
fn variables_of_the_manifest_are_the_settings_of_the_document() {
    let manifest = std::fs::read_to_string(workspace::manifest()).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let declared = |table: &toml::Value| -> BTreeSet<String> {
        table.as_table().unwrap().keys().cloned().collect()
    };
    let application = declared(&manifest["variables"]);
    assert_eq!(named(&read("docs/settings.md"), "## All of them"), application);
    let component = &manifest["component"]["crowdsec-edge-sync"];
    assert_eq!(declared(&component["variables"]), application, "all of them are passed on");
}

#[test]
fn defaults_of_the_manifest_are_those_of_the_document() {
    let manifest: toml::Table = read("spin.toml").parse().unwrap();
    let settings = read("docs/settings.md");
    for (name, variable) in manifest["variables"].as_table().unwrap() {
        let Some(default) = variable.get("default").and_then(toml::Value::as_str) else { continue };
        if default.is_empty() {
            continue;
        }
        let quoted = format!("`{name}`");
        let mut rows = settings.lines().filter_map(|line| line.strip_prefix("| "));
        let row = rows.find(|row| row.split(" | ").next().unwrap_or_default().contains(&quoted));
        let cell = row.and_then(|row| row.split(" | ").nth(1)).unwrap_or_default();
        assert!(cell.contains(&format!("`{default}`")), "{name}: {default} is not in {cell:?}");
    }
}

#[test]
fn metrics_that_may_be_pushed_are_those_of_the_document() {
    let named = named(&read("docs/metrics.md"), "## All of them");
    // `…_written` stands for the name before it with another end.
    let is_named = |metric: &str| {
        named.contains(metric)
            || named
                .iter()
                .filter_map(|name| name.strip_prefix('…'))
                .any(|end| metric.ends_with(end))
    };
    for (metric, _) in edge_sync_core::report::metrics::FAMILIES {
        assert!(is_named(metric), "{metric} is not in docs/metrics.md");
    }
    let known = |name: &String| {
        let families = edge_sync_core::report::metrics::FAMILIES;
        !name.contains("_sync_") && !name.starts_with("crowdsec_")
            || families.iter().any(|(metric, _)| metric == name)
    };
    assert!(named.iter().all(known), "{named:?}");
}

/// The words are the summary's; core prints each of them in one function, and `yielded` where a run yields.
#[test]
fn outcomes_of_a_run_are_those_of_the_troubleshooting() {
    let source = read("crates/core/src/report/mod.rs");
    let (_, function) = source.split_once("fn word(&self)").expect("the words of outcomes");
    let (function, _) = function.split_once("\n    }\n").expect("the end of the function");
    let mut words: BTreeSet<String> =
        function.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(words.len() > 8, "{words:?}");
    assert!(read("crates/core/src/run/mod.rs").contains("with(\"outcome\", \"yielded\")"));
    words.insert("yielded".to_owned());
    assert_eq!(named(&read("docs/operations.md"), "## What a run says"), words);
}

/// Whoever comes new reads one page before he decides.
#[test]
fn first_page_read_whole_has_at_most_1500_words() {
    let words = read("README.md").split_whitespace().count();
    assert!(words <= 1_500, "README.md has {words} words");
}

/// What a person reads: at the root, in `docs/` and in `deploy/`.
fn documents() -> Vec<PathBuf> {
    fn find(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_owned();
            if path.is_dir() && name != "node_modules" && name != "mine" {
                find(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let root = workspace::root();
    let mut found: Vec<PathBuf> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    for folder in ["docs", "deploy"] {
        find(&root.join(folder), &mut found);
    }
    found.sort();
    found
}

/// The targets of the links in sentences, not in fences.
fn links(document: &str) -> Vec<&str> {
    let fences = document.split("\n```").step_by(2);
    let links = fences.flat_map(|prose| prose.split("](").skip(1));
    links.filter_map(|link| link.split(')').next()).collect()
}

/// A heading as GitHub makes an anchor of it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
    kept.collect::<String>().trim().to_lowercase().replace(' ', "-")
}

fn anchors(document: &str) -> BTreeSet<String> {
    let fences = document.split("\n```").step_by(2);
    let headings = fences.flat_map(|prose| prose.lines().filter(|line| line.starts_with('#')));
    headings.map(|heading| anchor(heading.trim_start_matches('#'))).collect()
}

#[test]
fn links_of_the_documents_lead_to_files_and_headings_that_exist() {
    let mut followed = 0;
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for link in links(&text) {
            if link.contains("://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                _ => document.parent().unwrap().join(path),
            };
            let at = document.display();
            assert!(target.exists(), "{at}: {link}: there is no such file");
            if !heading.is_empty() {
                let there = anchors(&std::fs::read_to_string(&target).unwrap());
                assert!(there.contains(heading), "{at}: {link}: only {there:?}");
            }
            followed += 1;
        }
    }
    assert!(followed > 50, "{followed} links");
}

/// Folders of the checkout whose files documents name, as `crates/core/src/lib.rs`.
const ROOMS: [&str; 7] = [".ci/", ".github/", "crates/", "deploy/", "docs/", "tests/", "xtask/"];

#[test]
fn files_that_the_documents_name_exist() {
    let mut met = 0;
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for span in
            text.split("\n```").step_by(2).flat_map(|text| text.split('`').skip(1).step_by(2))
        {
            // What a person makes: his installation, his settings.
            let is_made = span.ends_with("/mine") || span.ends_with("/.env");
            let is_path = ROOMS.iter().any(|room| span.starts_with(room));
            if !is_path || is_made || span.contains(char::is_whitespace) {
                continue;
            }
            let at = document.display();
            assert!(workspace::root().join(span).exists(), "{at}: there is no {span}");
            met += 1;
        }
    }
    assert!(met > 30, "{met}");
}

#[test]
fn heading_with_marks_made_an_anchor_is_as_on_github() {
    assert_eq!(anchor(" With `cf_rules_zones`"), "with-cf_rules_zones");
    assert_eq!(anchor(" Refused writes, and runs that meet"), "refused-writes-and-runs-that-meet");
    let text = "# A b\n[x](y#z)\n```\n# not one\n[n](no)\n```\n## C\n";
    assert_eq!(links(text), ["y#z"]);
    assert_eq!(anchors(text), ["a-b", "c"].map(str::to_owned).into());
}
