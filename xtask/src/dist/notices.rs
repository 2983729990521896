//! The licence texts of the crates in what is released. Nearly all of them ask that their notice goes with
//! every copy, and what is compiled is one; one asks that the way to its source is said.

use super::crates::{Crate, Crates};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How the names of such files begin, in any case.
const NAMES: [&str; 5] = ["copying", "copyright", "licence", "license", "notice"];

/// Each text once, below the crates that have it. `what` is the file that they are in.
pub(super) fn text(crates: &Crates, what: &str) -> Result<String> {
    let mut by_text: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut text = format!(
        "What others wrote and {what} contains, and the terms of each.\n\
         The Rust standard library is in it too: Copyright (c) The Rust Project Contributors,\n\
         MIT OR Apache-2.0, with parts of a C library and compiler-rt under MIT or Apache-2.0.\n\
         The source of each crate is unchanged and at the address below its name.\n\n",
    );
    for part in crates.parts().filter(|part| part.checksum.is_some()) {
        let _ = writeln!(text, "{} {}: {}", part.name, part.version, part.licence);
        let _ = writeln!(text, "    https://crates.io/crates/{}/{}", part.name, part.version);
        let files = texts_of(part)?;
        if files.is_empty() {
            let is_here = part.is_under_apache()?;
            ensure!(
                is_here,
                "{}: no licence text beside its source; find it and add it",
                part.id()
            );
            text.push_str("    (published without its text; that of Apache-2.0 is in LICENSE)\n");
        }
        for file in files {
            let users = by_text.entry(file).or_default();
            users.push(format!("{} {}", part.name, part.version));
        }
    }
    let mut by_users: Vec<_> = by_text.into_iter().map(|(text, users)| (users, text)).collect();
    by_users.sort();
    for (users, licence) in by_users {
        let _ = write!(text, "\n{}\n{}\n\n{licence}\n", "=".repeat(78), users.join(", "));
    }
    Ok(text)
}

/// The files in a crate's folder that speak of its licence, without the white space around them.
fn texts_of(part: &Crate) -> Result<Vec<String>> {
    let entries = part.folder.read_dir();
    let entries = entries.with_context(|| format!("failed to read {}'s source", part.name))?;
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if NAMES.iter().any(|begin| name.starts_with(begin)) && entry.file_type()?.is_file() {
            paths.push(entry.path());
        }
    }
    paths.sort();
    let read = |path| std::fs::read_to_string(path).map(|text| text.trim().replace("\r\n", "\n"));
    let texts: Result<Vec<_>, _> = paths.into_iter().map(read).collect();
    texts.with_context(|| format!("failed to read {}'s licence", part.name))
}
