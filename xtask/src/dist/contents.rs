//! The files of the checkout that go into the archive: what git knows, so that nobody's leftovers are
//! published. The manifests, and what makes an image of them, are changed so that they name the packed component.

use super::COMPONENT;
use super::archive::File;
use crate::workspace;
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::process::Command;

/// What git is asked for. Folders are packed with everything in them.
const PACKED: [&str; 7] =
    ["CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md", "deploy", "docs", "spin.toml"];

/// Where the Helm chart is.
const CHART: &str = "deploy/helm/";

/// Reads them all. `version` is the component's, and every manifest's.
pub(super) fn read(version: &str) -> Result<Vec<File>> {
    let listed = git(&[&["ls-files", "--stage", "-z", "--"], &PACKED[..]].concat())?;
    let mut files = Vec::new();
    for line in listed.split_terminator('\0') {
        // "100644 <object> 0\t<path>"
        let (kind, path) = line.split_once('\t').context("git ls-files has another format")?;
        let executable = match kind.get(..6) {
            Some("100644") => false,
            Some("100755") => true,
            _ => bail!("{path}: only plain files can be packed, no links"),
        };
        let bytes = std::fs::read(workspace::root().join(path))
            .with_context(|| format!("failed to read {path}"))?;
        files.push(File { path: path.to_owned(), bytes, executable });
    }
    for name in PACKED {
        let inside = format!("{name}/");
        let is_there = files.iter().any(|f| f.path == name || f.path.starts_with(&inside));
        ensure!(is_there, "{name} is not in git, and cannot be packed");
    }
    for file in &mut files {
        let name = Path::new(&file.path).file_name().unwrap_or_default();
        let changed = match name.to_str() {
            Some("spin.toml") => manifest(&file.path, std::str::from_utf8(&file.bytes)?, version),
            Some("Dockerfile") => dockerfile(std::str::from_utf8(&file.bytes)?),
            _ => continue,
        };
        file.bytes = changed.with_context(|| file.path.clone())?.into_bytes();
    }
    Ok(files)
}

/// The Dockerfile, whose folder is the archive's, as it copies the packed component to where the packed manifest, beside
/// it in the image, looks for it.
pub(super) fn dockerfile(text: &str) -> Result<String> {
    let (folder, _) = workspace::COMPONENT.rsplit_once('/').context("a folder")?;
    let built = format!("COPY {} {folder}/", workspace::COMPONENT);
    ensure!(text.lines().any(|line| line == built), "it has no line `{built}`");
    Ok(text.replace(&built, &format!("COPY {COMPONENT} ./")))
}

/// The files of the Helm chart, by their paths in it. Its version is the component's, or it names an image that is not
/// there.
pub(super) fn chart(files: &[File], version: &str) -> Result<Vec<File>> {
    let below = |file: &File| {
        let path = file.path.strip_prefix(CHART)?;
        Some(File { path: path.to_owned(), ..file.clone() })
    };
    let chart: Vec<File> = files.iter().filter_map(below).collect();
    let about = chart.iter().find(|file| file.path == "Chart.yaml");
    let about = about.with_context(|| format!("{CHART} has no Chart.yaml"))?;
    let about = std::str::from_utf8(&about.bytes)?;
    for key in [format!("version: {version}"), format!("appVersion: \"{version}\"")] {
        ensure!(about.lines().any(|line| line == key), "{CHART}Chart.yaml does not say `{key}`");
    }
    Ok(chart)
}

/// The manifest as it stands at this path of the archive: it names the packed component, and no longer
/// says how to build it. Changed as text, so that its comments stay, and compared with what is meant.
pub(super) fn manifest(path: &str, text: &str, version: &str) -> Result<String> {
    let mut meant: toml::Table = text.parse()?;
    let application = meant.get("application").and_then(|table| table.get("version"));
    let named = application.and_then(toml::Value::as_str).unwrap_or_default();
    ensure!(named == version, "application.version is {named:?}, but {version} is packed");
    let up = "../".repeat(path.matches('/').count());
    let (built, packed) = (format!("{up}{}", workspace::COMPONENT), format!("{up}{COMPONENT}"));
    let components = meant.get_mut("component").and_then(toml::Value::as_table_mut);
    for (id, component) in components.context("there is no [component.…]")? {
        let component = component.as_table_mut().with_context(|| format!("component.{id}"))?;
        let source = component.insert("source".into(), packed.clone().into());
        ensure!(
            source.as_ref().and_then(toml::Value::as_str) == Some(&*built),
            "component.{id}.source is not {built:?}, and nothing else is packed"
        );
        component.remove("build");
    }
    let mut is_build = false;
    let lines = text.split_inclusive('\n').filter(|line| {
        if line.starts_with('[') {
            is_build = line.starts_with("[component.") && line.trim_end().ends_with(".build]");
        }
        !is_build
    });
    let changed: String = lines.collect();
    let changed = changed.replace(&format!("\"{built}\""), &format!("\"{packed}\""));
    ensure!(
        changed.parse::<toml::Table>()? == meant,
        "it is written in a way that is not understood"
    );
    Ok(changed)
}

/// The time that every packed file has, Unix time: that of the commit, unless the usual variable sets
/// another.
pub(super) fn time_seconds() -> Result<u64> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse().context("SOURCE_DATE_EPOCH is not a whole number of seconds"),
        Err(_) => Ok(git(&["log", "-1", "--format=%ct"])?.trim().parse()?),
    }
}

/// Whether something is in the checkout that is in no commit.
pub(super) fn differs_from_commit() -> Result<bool> {
    Ok(!git(&["status", "--porcelain"])?.is_empty())
}

/// Everything that git knows of the checkout, by path.
pub(super) fn all_paths() -> Result<Vec<String>> {
    let listed = git(&["ls-files", "-z"])?;
    Ok(listed.split_terminator('\0').map(str::to_owned).collect())
}

fn git(arguments: &[&str]) -> Result<String> {
    let mut git = Command::new("git");
    let output = git.args(arguments).current_dir(workspace::root()).output();
    let output = output.context("failed to start git; the archive is made from a git checkout")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git {}: {}", arguments.join(" "), error.trim());
    Ok(String::from_utf8(output.stdout)?)
}
