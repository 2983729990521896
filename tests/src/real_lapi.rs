//! A real CrowdSec Local API and nothing else of CrowdSec: no agent, no Central API, no hub, no root.
//! Owns its configuration and its processes; all its data lies in a temporary folder.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::debian::{Package, Programs};
use crate::{net, skip};

const PACKAGE: Package =
    Package { name: "crowdsec", programs: &["crowdsec", "cscli"], libraries: &["libsqlite3-0"] };

/// A running LAPI. Dropping it kills it.
#[derive(Debug)]
pub struct RealLapi {
    /// Where it listens.
    pub address: SocketAddr,
    programs: Programs,
    server: Killable,
    folder: TempDir,
}

/// The server's process, which a test may kill at a moment of its choice.
#[derive(Debug, Clone)]
pub struct Killable(Arc<Mutex<Child>>);

impl Killable {
    /// Kills it at once, without a chance to end in order.
    pub fn kill(&self) {
        let mut child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // That it has ended by itself is as good.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl RealLapi {
    /// The key of its one bouncer.
    pub const KEY: &str = "a-key-of-the-tests";

    /// Starts one with an empty database, or skips the test where Debian's package cannot be had.
    pub async fn start() -> Option<Self> {
        match PACKAGE.find() {
            Ok(programs) => Some(Self::launch(programs).await.expect("a LAPI that starts")),
            Err(error) => {
                skip::for_want_of(format_args!("a real CrowdSec: {error:#}"));
                None
            }
        }
    }

    async fn launch(programs: Programs) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, net::free_port()));
        configure(folder.path(), address)?;
        let credentials = folder.path().join("etc/credentials.yaml");
        let url = format!("http://{address}");
        // cscli posts decisions to LAPI, as a machine.
        let machine = ["machines", "add", "tests", "-p", "a-password", "--force", "-u", &url, "-f"];
        let machine = machine.map(Path::new).into_iter().chain([credentials.as_path()]);
        cscli(&programs, folder.path(), machine)?;
        cscli(&programs, folder.path(), ["bouncers", "add", "tests", "-k", Self::KEY])?;

        let log = fs::File::create(folder.path().join("log"))?;
        let mut crowdsec = programs.command("crowdsec");
        crowdsec.arg("-c").arg(config(folder.path())).arg("-no-cs");
        crowdsec.stderr(log.try_clone()?).stdout(log);
        let server = Killable(Arc::new(Mutex::new(crowdsec.spawn()?)));
        let lapi = Self { address, programs, server, folder };
        let up = net::wait_until_up(address, "/health").await;
        up.with_context(|| lapi.log())?;
        Ok(lapi)
    }

    /// Its origin.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs `cscli` and gives its stdout.
    #[track_caller]
    pub fn cscli(&self, arguments: &str) -> String {
        let arguments = arguments.split_whitespace();
        cscli(&self.programs, self.folder.path(), arguments).expect("cscli succeeds")
    }

    /// Imports bans of these addresses, as blocklist tools do.
    #[track_caller]
    pub fn import(&self, addresses: impl Iterator<Item = String>) {
        let file = self.folder.path().join("import.csv");
        let rows: String = addresses.map(|address| format!("4h,Ip,{address}\n")).collect();
        fs::write(&file, format!("duration,scope,value\n{rows}")).expect("a temporary file");
        let arguments = [Path::new("decisions"), Path::new("import"), Path::new("-i"), &file];
        cscli(&self.programs, self.folder.path(), arguments).expect("cscli imports");
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Its process.
    pub fn process(&self) -> Killable {
        self.server.clone()
    }
}

impl Drop for RealLapi {
    fn drop(&mut self) {
        self.server.kill();
    }
}

fn config(folder: &Path) -> PathBuf {
    folder.join("config.yaml")
}

fn cscli<A: AsRef<std::ffi::OsStr>>(
    programs: &Programs,
    folder: &Path,
    arguments: impl IntoIterator<Item = A>,
) -> Result<String> {
    let mut command = programs.command("cscli");
    command.arg("-c").arg(config(folder)).arg("--error").args(arguments).stderr(Stdio::piped());
    let output = command.output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {stderr}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Writes the files without which neither LAPI nor cscli starts. `prometheus` and the Central API
/// are off: one would want a port, the other the internet.
fn configure(folder: &Path, address: SocketAddr) -> Result<()> {
    for name in ["etc/hub", "data", "plugins", "notifications"] {
        fs::create_dir_all(folder.join(name))?;
    }
    let d = folder.display();
    let config_text = format!(
        "common: {{daemonize: false, log_media: stdout, log_level: info, log_dir: {d}}}
config_paths:
  config_dir: {d}/etc
  data_dir: {d}/data
  simulation_path: {d}/etc/simulation.yaml
  hub_dir: {d}/etc/hub
  index_path: {d}/etc/hub/.index.json
  notification_dir: {d}/notifications
  plugin_dir: {d}/plugins
cscli: {{output: human}}
db_config: {{type: sqlite, db_path: {d}/data/crowdsec.db, use_wal: true}}
api:
  client: {{credentials_path: {d}/etc/credentials.yaml}}
  server:
    listen_uri: {address}
    profiles_path: {d}/etc/profiles.yaml
prometheus: {{enabled: false}}
"
    );
    let profile = "name: default
filters: [\"Alert.Remediation == true\"]
decisions: [{type: ban, duration: 4h}]
on_success: break
";
    for (name, text) in [
        ("config.yaml", config_text.as_str()),
        ("etc/simulation.yaml", "simulation: false\n"),
        ("etc/hub/.index.json", "{}\n"),
        // May not be empty.
        ("etc/profiles.yaml", profile),
        // Must exist; `cscli machines add` fills it.
        ("etc/credentials.yaml", ""),
    ] {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}
