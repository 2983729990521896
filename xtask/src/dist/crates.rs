//! The crates that are in what is released, as cargo resolves them: normal dependencies for its target.
//! Not those that only run while it is built (build scripts, macros), and not the standard library,
//! which comes with the compiler.

use crate::tools::cargo;
use crate::workspace;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Licences, each enough on its own to allow a copy in the component if its text and the way to the
/// source go along, which is what `notices` is for. One that asks for more is a decision for people.
const LICENCES: [&str; 10] = [
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    // The tool's: of the public roots, which are data.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    // Asks for the source of that crate alone, which is unchanged and published.
    "MPL-2.0",
    "Unicode-3.0",
    "Zlib",
];

/// A crate in the component.
#[derive(Debug)]
pub(super) struct Crate {
    pub(super) name: String,
    pub(super) version: String,
    /// An SPDX expression.
    pub(super) licence: String,
    pub(super) description: Option<String>,
    pub(super) repository: Option<String>,
    /// SHA-256 of the registry's file; `None` = a crate of this workspace.
    pub(super) checksum: Option<String>,
    /// Where its source is on this machine.
    pub(super) folder: PathBuf,
    /// `name@version` of what it uses.
    pub(super) dependencies: BTreeSet<String>,
}

impl Crate {
    /// `name@version`, unlike the name alone good for one crate only.
    pub(super) fn id(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// Whether it may be taken under the licence that the component has too.
    pub(super) fn is_under_apache(&self) -> Result<bool> {
        satisfied_by(&self.licence, &["Apache-2.0"])
    }
}

/// All of them, by `name@version`.
#[derive(Debug)]
pub(super) struct Crates {
    all: BTreeMap<String, Crate>,
    component: String,
}

impl Crates {
    /// A package's crates, for this target, at the versions of the lock file.
    pub(super) fn of(package: &str, target: &str) -> Result<Self> {
        let mut cargo = cargo("metadata");
        cargo.args(["--format-version", "1", "--locked", "--filter-platform", target]);
        let output = cargo.output().context("failed to start cargo")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cargo metadata: {}", error.trim());
        let linked = linked(package, target)?;
        Self::new(package, &serde_json::from_slice(&output.stdout)?, &linked, &lock()?)
    }

    fn new(
        name: &str,
        metadata: &Metadata,
        linked: &BTreeSet<String>,
        lock: &Lock,
    ) -> Result<Self> {
        let packages: BTreeMap<&str, &Package> =
            metadata.packages.iter().map(|package| (&*package.id, package)).collect();
        let nodes: BTreeMap<&str, &Node> =
            metadata.resolve.nodes.iter().map(|node| (&*node.id, node)).collect();
        let package =
            |id: &str| packages.get(id).copied().with_context(|| format!("no package {id}"));
        let root = metadata.packages.iter().find(|package| package.name == name);
        let root = root.with_context(|| format!("cargo metadata has no package {name}"))?;
        let mut all = BTreeMap::new();
        let mut ahead = vec![root];
        while let Some(at) = ahead.pop() {
            let node = nodes.get(&*at.id).with_context(|| format!("{}: not resolved", at.id))?;
            let mut dependencies = BTreeSet::new();
            for dependency in node.deps.iter().filter(|dependency| dependency.is_normal()) {
                let used = package(&dependency.pkg)?;
                if !used.is_macro() && linked.contains(&used.name_and_version()) {
                    dependencies.insert(used.name_and_version());
                    if !all.contains_key(&used.name_and_version()) {
                        ahead.push(used);
                    }
                }
            }
            let found = at.to_crate(lock, dependencies)?;
            all.insert(found.id(), found);
        }
        Ok(Self { all, component: root.name_and_version() })
    }

    /// The component itself.
    pub(super) fn component(&self) -> &Crate {
        &self.all[&self.component]
    }

    /// What it is made of, itself not included, sorted by name.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Crate> {
        self.all.values().filter(|one| one.id() != self.component)
    }
}

/// What is linked into a package, as `name@version`. `cargo metadata` resolves the features of all members together, and
/// so has crates that this package alone does not use; `cargo tree` resolves them as a build of it does.
fn linked(package: &str, target: &str) -> Result<BTreeSet<String>> {
    let mut cargo = cargo("tree");
    cargo.args(["--package", package, "--target", target, "--locked", "--prefix", "none"]);
    cargo.args(["--edges", "normal,no-proc-macro", "--format", "{p}"]);
    let output = cargo.output().context("failed to start cargo")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo tree: {}", error.trim());
    let named = String::from_utf8(output.stdout)?;
    let named = named.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        Some(format!("{name}@{version}"))
    });
    Ok(named.collect())
}

/// The parts of `cargo metadata` that matter here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    description: Option<String>,
    repository: Option<String>,
    source: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// None = normal, else `dev` or `build`.
    kind: Option<String>,
}

impl Dependency {
    fn is_normal(&self) -> bool {
        self.dep_kinds.iter().any(|kind| kind.kind.is_none())
    }
}

impl Package {
    fn name_and_version(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// Runs in the compiler, so that nothing of it is in what is compiled.
    fn is_macro(&self) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro"))
    }

    fn to_crate(&self, lock: &Lock, dependencies: BTreeSet<String>) -> Result<Crate> {
        let id = self.name_and_version();
        let checksum = match &self.source {
            None => None,
            Some(source) if source.starts_with("registry+") => Some(
                lock.checksum(&self.name, &self.version)
                    .with_context(|| format!("{id}: no checksum in Cargo.lock"))?,
            ),
            Some(source) => bail!("{id}: comes from {source}, not from a registry"),
        };
        let licence = licence(self.license.as_deref().unwrap_or_default())
            .with_context(|| format!("{id}: its licence"))?;
        Ok(Crate {
            name: self.name.clone(),
            version: self.version.clone(),
            licence,
            description: self.description.clone(),
            repository: self.repository.clone(),
            checksum,
            folder: self.manifest_path.parent().map(PathBuf::from).unwrap_or_default(),
            dependencies,
        })
    }
}

/// A licence as an SPDX expression, if it allows what is done here.
fn licence(text: &str) -> Result<String> {
    // Old crates write "MIT/Apache-2.0".
    let text = spdx::Expression::canonicalize(text)?.unwrap_or_else(|| text.to_owned());
    let names = LICENCES.join(", ");
    ensure!(satisfied_by(&text, &LICENCES)?, "{text:?} is satisfied by none of {names}");
    Ok(text)
}

/// An exception only allows more, so it is not looked at.
fn satisfied_by(licence: &str, names: &[&str]) -> Result<bool> {
    let expression = spdx::Expression::parse(licence)?;
    Ok(expression.evaluate(|one| one.license.id().is_some_and(|id| names.contains(&id.name))))
}

/// `Cargo.lock`.
#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

impl Lock {
    fn checksum(&self, name: &str, version: &str) -> Option<String> {
        let mut packages = self.package.iter();
        packages.find(|p| p.name == name && p.version == version)?.checksum.clone()
    }
}

fn lock() -> Result<Lock> {
    let text = std::fs::read_to_string(workspace::root().join("Cargo.lock"))?;
    toml::from_str(&text).context("Cargo.lock has another format")
}

#[cfg(test)]
mod tests {
    use super::licence;

    #[test]
    fn licence_is_an_expression_that_one_of_ours_satisfies() {
        assert_eq!(licence("MIT/Apache-2.0").unwrap(), "MIT OR Apache-2.0");
        assert_eq!(licence("MIT OR GPL-3.0-only").unwrap(), "MIT OR GPL-3.0-only");
        for refused in ["GPL-3.0-only", "MIT AND GPL-2.0-only", "", "Beerware-ish"] {
            assert!(licence(refused).is_err(), "{refused:?}");
        }
    }
}
