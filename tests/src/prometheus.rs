//! Prometheus' own tool for rules, and the names in its expressions.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::debian::{Package, Programs};
use crate::kubernetes::link;

const PACKAGE: Package = Package { name: "prometheus", programs: &["promtool"], libraries: &[] };

/// `promtool` of Debian's package.
#[derive(Debug)]
pub struct Promtool(Programs);

impl Promtool {
    /// Finds or fetches it.
    pub fn find() -> Result<Self> {
        PACKAGE.find().map(Self)
    }

    /// Makes it be found as `promtool` in this folder, if it is not the machine's own.
    pub fn link(&self, folder: &Path) -> std::io::Result<()> {
        link(self.0.command("promtool").get_program(), &folder.join("promtool"))
    }

    /// `promtool <verb> rules <file>`; an error is what it says.
    pub fn rules(&self, verb: &str, file: &Path) -> Result<()> {
        let mut command = self.0.command("promtool");
        let output = command.args([verb, "rules"]).arg(file).output();
        let output = output.context("failed to start promtool")?;
        let said = [output.stdout, output.stderr].concat();
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&said).trim());
        Ok(())
    }
}

/// The metrics of this project that an expression names, wherever in it they stand.
pub fn metrics(expression: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = expression.split(|c| !is_part(c));
    words.filter(|word| word.starts_with("crowdsec_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expression_metrics_finds_names_and_not_labels_or_jobs() {
        let found = metrics(
            "sum by (job) (crowdsec_a{job=\"crowdsec-cf-list-sync\"}[5m]) \
             / {__name__=~\"crowdsec_b|crowdsec_c\"}",
        );
        assert_eq!(found, BTreeSet::from(["crowdsec_a", "crowdsec_b", "crowdsec_c"]));
    }
}
