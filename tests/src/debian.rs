//! Programs of Debian packages, installed or not. What is not on `PATH` is downloaded and unpacked
//! below the cache, without installing anything: no root, no service started, no postinst that talks
//! to the network.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use crate::workspace;

/// A package, what we run from it, and the libraries that it may lack on a small machine.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// Its programs.
    pub programs: &'static [&'static str],
    /// Packages with the shared libraries that the programs need beside libc.
    pub libraries: &'static [&'static str],
}

/// Where the programs of a package were found.
#[derive(Debug, Clone)]
pub struct Programs {
    /// Roots of unpacked packages; empty if the package is installed.
    roots: Vec<PathBuf>,
}

impl Package {
    /// Finds the package's programs, or fetches them.
    pub fn find(&self) -> Result<Programs> {
        // The tests of one file run at the same time and want the same.
        static FINDING: Mutex<()> = Mutex::new(());
        let _finding = FINDING.lock().unwrap_or_else(PoisonError::into_inner);
        let installed = Programs { roots: Vec::new() };
        if self.programs.iter().all(|program| installed.starts(program)) {
            return Ok(installed);
        }
        let mut programs = Programs { roots: vec![unpacked(self.name)?] };
        for library in self.libraries {
            if self.programs.iter().all(|program| programs.starts(program)) {
                break;
            }
            programs.roots.push(unpacked(library)?);
        }
        for program in self.programs {
            ensure!(programs.starts(program), "{program} of {} does not start", self.name);
        }
        Ok(programs)
    }
}

impl Programs {
    /// A command that starts one of the programs.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.path(program));
        command.stdin(Stdio::null());
        if !self.roots.is_empty() {
            let libraries = self.roots.iter().flat_map(|root| library_folders(root));
            let inherited = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
            let folders = libraries.chain(std::env::split_paths(&inherited));
            command.env("LD_LIBRARY_PATH", joined(folders));
        }
        command
    }

    fn path(&self, program: &str) -> PathBuf {
        match self.roots.first() {
            Some(root) => root.join("usr/bin").join(program),
            None => PathBuf::from(program),
        }
    }

    /// Whether the program can be started at all; what it says to `--help` does not matter.
    fn starts(&self, program: &str) -> bool {
        let mut command = self.command(program);
        let status = command.arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status();
        // 127: the loader misses a library.
        status.is_ok_and(|status| status.code() != Some(127))
    }
}

/// The folder with the content of a package, downloaded if it is not there yet.
fn unpacked(package: &str) -> Result<PathBuf> {
    let root = workspace::cache().join("debian").join(package);
    if root.exists() {
        return Ok(root);
    }
    let parent = root.parent().expect("it was joined");
    std::fs::create_dir_all(parent)?;
    let folder = tempfile::tempdir_in(parent)?;
    if download(package, folder.path(), &[]).is_err() {
        // The package lists are missing or old. Ours go beside the packages: those of the system
        // belong to root.
        let lists = own_lists(parent)?;
        download(package, folder.path(), &lists)?;
    }
    let archive = std::fs::read_dir(folder.path())?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension() == Some(OsStr::new("deb")))
        .context("apt-get downloaded nothing")?;
    let content = folder.path().join("content");
    run(Command::new("dpkg").arg("-x").args([&archive, &content]))?;
    // In one step, so that a folder that exists is whole.
    std::fs::rename(&content, &root)?;
    Ok(root)
}

fn download(package: &str, into: &Path, options: &[OsString]) -> Result<()> {
    run(Command::new("apt-get").args(options).args(["download", package]).current_dir(into))
        .with_context(|| format!("failed to download Debian's package {package}"))
}

/// The options with which apt-get works on package lists of our own, freshly read.
fn own_lists(cache: &Path) -> Result<Vec<OsString>> {
    let folder = cache.join(".apt");
    let mut options = Vec::new();
    for (name, below) in [("Dir::State", "state"), ("Dir::Cache", "cache")] {
        let path = folder.join(below);
        std::fs::create_dir_all(path.join(if below == "state" { "lists" } else { "archives" }))?;
        let mut option = OsString::from(format!("{name}="));
        option.push(&path);
        options.extend([OsString::from("-o"), option]);
    }
    options.extend(["-o", "Dir::State::status=/var/lib/dpkg/status"].map(OsString::from));
    run(Command::new("apt-get").args(&options).arg("update"))
        .context("failed to read Debian's package lists")?;
    Ok(options)
}

/// `usr/lib`, `lib` and their folders for one architecture.
fn library_folders(root: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for folder in [root.join("usr/lib"), root.join("lib")] {
        let below = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        folders.extend(below.map(|entry| entry.path()).filter(|path| path.is_dir()));
        folders.push(folder);
    }
    folders
}

fn joined(folders: impl Iterator<Item = PathBuf>) -> OsString {
    // A folder with a colon in its name cannot be said at all.
    let folders = folders.filter(|folder| !folder.as_os_str().is_empty());
    std::env::join_paths(folders).unwrap_or_default()
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("failed to start {command:?}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", stderr.trim());
    Ok(())
}
