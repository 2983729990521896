//! Programs that the npm registry has, put into a folder below the cache; none of their scripts runs.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use crate::workspace;

/// One package at one version, with what it depends on.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

impl Package {
    /// The folder with the package, downloaded if it is not there yet.
    pub fn folder(&self) -> Result<PathBuf> {
        static FINDING: Mutex<()> = Mutex::new(());
        let _finding = FINDING.lock().unwrap_or_else(PoisonError::into_inner);
        let parent = workspace::cache().join("node");
        let folder = parent.join(format!("{}-{}", self.name.replace('/', "+"), self.version));
        let package = folder.join("node_modules").join(self.name);
        if folder.exists() {
            return Ok(package);
        }
        std::fs::create_dir_all(&parent)?;
        let fresh = tempfile::tempdir_in(&parent)?;
        let content = fresh.path().join("content");
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]);
        npm.arg("--prefix").arg(&content).arg(format!("{}@{}", self.name, self.version));
        let output = npm.stdin(Stdio::null()).output().context("failed to start npm")?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "failed to get {} from npm: {}", self.name, stderr.trim());
        // In one step, so that a folder that exists is whole; another process may have been faster.
        match std::fs::rename(&content, &folder) {
            Err(error) if !folder.exists() => Err(error.into()),
            _ => Ok(package),
        }
    }

    /// A command that runs one of the package's files.
    pub fn program(&self, file: &str) -> Result<Command> {
        let mut command = Command::new("node");
        command.arg(self.folder()?.join(file)).stdin(Stdio::null());
        Ok(command)
    }
}
