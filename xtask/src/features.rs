//! Cargo chooses the features of a crate by everything that is built beside it. If they differed from one command
//! to the next, Wasmtime would be compiled again by a command that a person expects to take seconds.

use crate::tools::cargo;
use std::collections::BTreeSet;

/// Built by the README's commands, each beside other packages.
const SELECTIONS: [&[&str]; 3] = [
    // `cargo run -p host -- doctor`
    &["--package", "host", "--edges", "normal,build"],
    // `cargo xtask demo`
    &["--package", "host", "--package", "simulator", "--edges", "normal,build"],
    // The end-to-end tests of `cargo xtask test`.
    &["--package", "host", "--package", "end-to-end"],
];

fn tree(arguments: &[&str], format: &str) -> BTreeSet<String> {
    let mut cargo = cargo("tree");
    cargo.args(["--locked", "--prefix", "none", "--format", format]).args(arguments);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter_map(|line| line.split(" (*)").next());
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn wasmtime_built_by_any_command_has_the_same_features() {
    let wasmtime = ["wasmtime", "wasmtime-wasi", "wasmtime-wasi-http"];
    let wasmtime = wasmtime.iter().flat_map(|name| ["--package", name]);
    let wasmtime: Vec<_> = wasmtime.chain(["--edges", "normal,build"]).collect();
    let parts = tree(&wasmtime, "{p}");
    assert!(parts.len() > 100, "{parts:?}");
    let [first, others @ ..] = SELECTIONS.map(|selection| {
        let all = tree(selection, "{p} [{f}]");
        let is_part =
            |line: &&String| line.split_once(" [").is_some_and(|(p, _)| parts.contains(p));
        all.iter().filter(is_part).cloned().collect::<BTreeSet<_>>()
    });
    assert!(first.len() > 100, "{first:?}");
    for (other, selection) in others.iter().zip(&SELECTIONS[1..]) {
        let differ: Vec<_> = first.symmetric_difference(other).collect();
        assert!(
            differ.is_empty(),
            "beside {selection:?} some crates have other features than in {:?}: {differ:#?}",
            SELECTIONS[0]
        );
    }
}
