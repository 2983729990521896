//! Every command in the documents is one that works: it is executed here, in the order in which a
//! reader meets it, or a test elsewhere does what it does, or it says at its end what it needs that
//! a test has not, and then a shell at least can parse it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::kubernetes::Kubectl;
use end_to_end::prometheus::Promtool;
use end_to_end::{skip, workspace};

/// How a command without a need is known to work.
#[derive(Debug, Clone, Copy)]
enum Shown {
    /// By executing it here, in a copy of `deploy/`.
    Here,
    /// By this function of this file, which does the same.
    By(&'static str, &'static str),
    /// It only gives values to settings; they have to exist.
    Settings,
}

/// Every command of a document that does not say `# needs …` at its end.
const COMMANDS: [(&str, Shown); 14] = [
    ("cargo xtask demo", Shown::By("xtask/src/test.rs", "demo::play(")),
    ("cargo xtask test", Shown::By(".ci/run", "cargo xtask test")),
    ("cargo xtask build", Shown::By("xtask/src/test.rs", "build::execute(")),
    (
        "export SPIN_VARIABLE_LAPI_URL=http://127.0.0.1:8080 SPIN_VARIABLE_LAPI_KEY=…",
        Shown::Settings,
    ),
    ("export SPIN_VARIABLE_CF_ACCOUNT_ID=… SPIN_VARIABLE_CF_API_TOKEN=…", Shown::Settings),
    ("export SPIN_VARIABLE_CF_BAN_LIST_ID=… SPIN_VARIABLE_CF_CAPTCHA_LIST_ID=…", Shown::Settings),
    (
        "SPIN_VARIABLE_DRY_RUN=true spin up",
        Shown::By(
            "tests/tests/one_sync.rs",
            "fn dry_run_by_either_trigger_shows_the_plan_and_writes_nothing(",
        ),
    ),
    ("cp -r deploy/spinkube/example deploy/spinkube/mine", Shown::Here),
    ("kubectl kustomize deploy/spinkube/mine", Shown::Here),
    ("cp deploy/compose/example.env deploy/compose/.env", Shown::Here),
    (
        "sed -i '/^SPIN_VARIABLE_CF_.*=$/d' deploy/spinkube/mine/settings.env deploy/spinkube/mine/secret.env",
        Shown::Here,
    ),
    ("promtool check rules deploy/monitoring/alerts.yaml", Shown::Here),
    ("promtool test rules deploy/monitoring/alerts.test.yaml", Shown::Here),
    ("npm ci && npm test", Shown::By("tests/tests/worker.rs", "npm(worker, &[\"test\"])")),
];

/// Commands in the sentences of documents, by what they begin with.
const IN_SENTENCES: [(&str, Shown); 19] = [
    (
        "cargo run -p edge-sync -- setup",
        Shown::By("crates/cli/tests/setup.rs", "fn program_shows_first_"),
    ),
    ("cargo run -p edge-sync -- doctor", Shown::By("crates/cli/tests/stories.rs", "\"doctor\"")),
    (
        "cargo run -p edge-sync -- plan",
        Shown::By("crates/cli/tests/stories.rs", "\"plan --exit-code\""),
    ),
    (
        "cargo run -p edge-sync -- why",
        Shown::By("crates/cli/tests/stories.rs", "\"why 203.0.113.7\""),
    ),
    ("cargo run -p edge-sync -- status", Shown::By("crates/cli/tests/stories.rs", "\"status\"")),
    ("cargo run -p host -- run --once", Shown::By("tests/src/bin/once.rs", "run::execute(")),
    ("cargo run -p host -- up", Shown::By("xtask/src/demo.rs", "host")),
    ("cargo xtask build", Shown::By("xtask/src/test.rs", "build::execute(")),
    ("cargo xtask bench", Shown::By("xtask/src/bench/mod.rs", "pub(crate) fn execute(")),
    ("cargo xtask dist", Shown::By("tests/tests/dist.rs", "fn ")),
    ("cargo xtask setup", Shown::By("xtask/src/setup.rs", "pub(crate) fn execute(")),
    ("cargo xtask demo", Shown::By("xtask/src/test.rs", "demo::play(")),
    ("cargo xtask test", Shown::By(".ci/run", "cargo xtask test")),
    ("cargo xtask simulate", Shown::By("xtask/src/simulate.rs", "pub(crate) fn execute(")),
    ("cargo xtask", Shown::By("xtask/src/lib.rs", "enum")),
    ("cargo run -p simulator -- serve", Shown::By("crates/simulator/src/main.rs", "Serve(Serve)")),
    ("cargo test", Shown::By("xtask/src/test.rs", "fn suite(")),
    ("cargo deny", Shown::By(".github/workflows/release.yml", "cargo deny check")),
    ("cargo mutants", Shown::By(".cargo/mutants.toml", "exclude_re")),
];

/// What is between backticks in sentences and begins like one of our own commands.
fn in_sentences(document: &str) -> Vec<String> {
    let fences = document.split("\n```").step_by(2);
    let spans = fences.flat_map(|prose| prose.split('`').skip(1).step_by(2));
    spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Whether a text between backticks begins like one of our own commands.
fn is_ours(span: &str) -> bool {
    span.starts_with("cargo ") || span.starts_with("edge-sync ")
}

/// What other programs' commands in sentences begin with. They need what no test has; a shell parses them.
const OF_OTHERS: [&str; 11] = [
    "cscli ",
    "docker ",
    "helm ",
    "kubectl ",
    "npm ",
    "npx ",
    "openssl ",
    "skopeo ",
    "spin ",
    "systemctl ",
    "terraform ",
];

/// Lets a shell parse a command without doing anything. `<your address>` stands for a value.
fn assert_parses(document: &Path, command: &str) {
    let mut text = String::new();
    let mut rest = command;
    while let Some((before, after)) = rest.split_once('<') {
        let Some((_, after)) = after.split_once('>') else { break };
        text.push_str(before);
        text.push_str("value");
        rest = after;
    }
    text.push_str(rest);
    let output = Command::new("sh").args(["-n", "-c", &text]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: `{command}`: {stderr}", document.display());
}

#[test]
fn commands_of_others_in_sentences_are_parsed_by_a_shell() {
    let mut met = 0;
    for document in documents() {
        for span in in_sentences(&std::fs::read_to_string(&document).unwrap()) {
            if OF_OTHERS.iter().any(|begins| span.starts_with(begins)) {
                assert_parses(&document, &span);
                met += 1;
            }
        }
    }
    assert!(met > 10, "{met}");
}

#[test]
#[should_panic(expected = "nterminated")]
fn command_with_an_open_quote_parsed_is_refused() {
    assert_parses(Path::new("x.md"), "helm install 'open");
}

#[test]
fn commands_in_sentences_of_the_documents_are_all_shown_to_work() {
    let mut met = BTreeSet::new();
    for document in documents() {
        let spans = in_sentences(&std::fs::read_to_string(&document).unwrap());
        for command in spans.into_iter().filter(|span| is_ours(span)) {
            // The tool once it is built, as the documents speak of it.
            let command = match command.strip_prefix("edge-sync ") {
                Some(arguments) => format!("cargo run -p edge-sync -- {arguments}"),
                None => command,
            };
            let known = IN_SENTENCES.iter().find(|(begins, _)| command.starts_with(begins));
            let Some((begins, _)) = known else {
                panic!("{}: `{command}` is not in this test's table", document.display());
            };
            met.insert(*begins);
        }
    }
    assert!(met.len() > 8, "the documents have commands in sentences: {met:?}");
    for (command, shown) in IN_SENTENCES {
        let Shown::By(file, what) = shown else { panic!("`{command}`: by a test elsewhere") };
        let text = std::fs::read_to_string(workspace::root().join(file)).unwrap();
        assert!(text.contains(what), "`{command}`: {file} has no {what}");
    }
}

/// The documents at the root and in `docs`, and the READMEs below `deploy`.
fn documents() -> Vec<PathBuf> {
    fn find(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_owned();
            if path.is_dir() && name != "node_modules" && name != "mine" {
                find(&path, found);
            } else if name == "README.md" {
                found.push(path);
            }
        }
    }
    let root = workspace::root();
    let mut found =
        vec![root.join("README.md"), root.join("CONTRIBUTING.md"), root.join("SECURITY.md")];
    for page in std::fs::read_dir(root.join("docs")).unwrap() {
        found.push(page.unwrap().path());
    }
    find(&root.join("deploy"), &mut found);
    found.sort();
    found
}

/// The lines in fences marked `sh`, also in those of a list's item, continued lines joined.
fn commands(document: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let (mut is_inside, mut continued) = (false, String::new());
    for line in document.lines().map(str::trim) {
        match (is_inside, line) {
            (false, "```sh") => is_inside = true,
            (true, "```") => is_inside = false,
            (true, line) => match line.strip_suffix('\\') {
                Some(begun) => continued.push_str(begun),
                None => commands.push(std::mem::take(&mut continued) + line),
            },
            (false, _) => {}
        }
    }
    assert!(!is_inside, "a fence that is closed");
    commands.retain(|command| !command.is_empty() && !command.starts_with('#'));
    commands
}

/// A command without the remark at its end, and the remark.
fn parts(line: &str) -> (&str, &str) {
    let (command, remark) = line.split_once(" # ").unwrap_or((line, ""));
    (command.trim(), remark.trim())
}

fn shown(command: &str) -> Option<Shown> {
    COMMANDS.iter().find(|(known, _)| *known == command).map(|(_, shown)| *shown)
}

#[test]
fn commands_of_the_documents_are_all_shown_to_work_or_say_what_they_need() {
    let mut met = BTreeSet::new();
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for line in commands(&text) {
            let (command, remark) = parts(&line);
            let needs = remark.strip_prefix("needs ").is_some_and(|what| !what.is_empty());
            assert!(
                needs || shown(command).is_some(),
                "{}: `{command}` is neither marked with `# needs …` nor in this test's table",
                document.display()
            );
            assert_parses(&document, command);
            met.insert(command.to_owned());
        }
    }
    assert!(met.len() > 10, "the documents have commands: {met:?}");
    for (command, shown) in COMMANDS {
        // In a sentence of a document is good enough.
        let is_met = met.contains(command)
            || documents().iter().any(|document| {
                std::fs::read_to_string(document).unwrap().contains(&format!("`{command}`"))
            });
        assert!(is_met, "`{command}` is in this test's table and in no document");
        match shown {
            Shown::By(file, what) => {
                let text = std::fs::read_to_string(workspace::root().join(file)).unwrap();
                assert!(text.contains(what), "`{command}`: {file} has no {what}");
            }
            Shown::Settings => assert_settings(command),
            Shown::Here => {}
        }
    }
}

/// Every `SPIN_VARIABLE_…` in a command is a variable of the manifest.
fn assert_settings(command: &str) {
    let manifest = std::fs::read_to_string(workspace::manifest()).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    for assignment in command.split(' ').filter_map(|word| word.strip_prefix("SPIN_VARIABLE_")) {
        let (name, _) = assignment.split_once('=').expect("NAME=value");
        let name = name.to_ascii_lowercase();
        assert!(manifest["variables"].get(&name).is_some(), "{command}: no variable {name}");
    }
}

#[test]
fn commands_that_need_nothing_followed_in_order_work() {
    let (kubectl, promtool) = match (Kubectl::find(), Promtool::find()) {
        (Ok(kubectl), Ok(promtool)) => (kubectl, promtool),
        (Err(error), _) | (_, Err(error)) => {
            return skip::for_want_of(format_args!("kubectl and promtool: {error:#}"));
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let deploy = workspace::root().join("deploy");
    for part in ["spinkube", "monitoring", "compose"] {
        let to = folder.path().join("deploy").join(part);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        let copied = Command::new("cp").arg("-r").arg(deploy.join(part)).arg(&to).status();
        assert!(copied.unwrap().success());
        // An installation of the person who runs the tests is none of their business.
        let _ = std::fs::remove_dir_all(to.join("mine"));
        let _ = std::fs::remove_file(to.join(".env"));
    }
    // Under the names by which the documents call them.
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    kubectl.link(&bin).unwrap();
    promtool.link(&bin).unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = [bin].into_iter().chain(std::env::split_paths(&path));
    let path = std::env::join_paths(path).unwrap();

    let mut executed = BTreeSet::new();
    for document in documents() {
        for line in commands(&std::fs::read_to_string(&document).unwrap()) {
            let (command, _) = parts(&line);
            if !matches!(shown(command), Some(Shown::Here)) {
                continue;
            }
            let output = Command::new("sh")
                .args(["-euc", command])
                .current_dir(folder.path())
                .env("PATH", &path)
                .output()
                .unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: `{command}`: {stderr}", document.display());
            executed.insert(command.to_owned());
        }
    }
    let here = COMMANDS.iter().filter(|(_, shown)| matches!(shown, Shown::Here)).count();
    assert_eq!(executed.len(), here, "all of them");
}

#[test]
fn commands_of_a_document_are_found_with_their_remarks() {
    let document = "text\n```sh\n# only a remark\na b    # needs x\n\nc \\\n  d\n```\n```toml\ne\n```\n1. f\n\n   ```sh\n   g\n   ```\n";
    let found = commands(document);
    let found: Vec<_> = found.iter().map(|line| parts(line)).collect();
    assert_eq!(found, [("a b", "needs x"), ("c d", ""), ("g", "")]);
}
