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
use crate::tls::{Authority, Files};
use crate::{net, skip};

const PACKAGE: Package =
    Package { name: "crowdsec", programs: &["crowdsec", "cscli"], libraries: &["libsqlite3-0"] };

/// A running LAPI. Dropping it kills it.
#[derive(Debug)]
pub struct RealLapi {
    /// Where it listens.
    pub address: SocketAddr,
    scheme: &'static str,
    programs: Programs,
    server: Killable,
    folder: TempDir,
}

/// What it needs for TLS.
struct Tls {
    root: PathBuf,
    server: Files,
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
    /// Whose certificates count as a bouncer's.
    pub const BOUNCERS: &str = "bouncer-ou";

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

    /// The same, over TLS with a certificate of `authority`. Bouncers may come with one of its certificates
    /// instead of a key, if its organisational unit is [`RealLapi::BOUNCERS`].
    pub async fn start_with_tls(authority: &Authority) -> Option<Self> {
        match PACKAGE.find() {
            Ok(programs) => {
                let tls = Tls { root: authority.root(), server: authority.server() };
                Some(Self::launch_with(programs, Some(tls)).await.expect("a LAPI that starts"))
            }
            Err(error) => {
                skip::for_want_of(format_args!("a real CrowdSec: {error:#}"));
                None
            }
        }
    }

    async fn launch(programs: Programs) -> Result<Self> {
        Self::launch_with(programs, None).await
    }

    async fn launch_with(programs: Programs, tls: Option<Tls>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, net::free_port()));
        configure(folder.path(), address, tls.as_ref())?;
        let credentials = folder.path().join("etc/credentials.yaml");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        // cscli posts decisions to LAPI, as a machine.
        let machine = ["machines", "add", "tests", "-p", "a-password", "--force", "-u", &url, "-f"];
        let machine = machine.map(Path::new).into_iter().chain([credentials.as_path()]);
        cscli(&programs, folder.path(), machine)?;
        if let Some(tls) = &tls {
            let mut text = fs::read_to_string(&credentials)?;
            text.push_str(&format!("ca_cert_path: {}\n", tls.root.display()));
            fs::write(&credentials, text)?;
        }
        cscli(&programs, folder.path(), ["bouncers", "add", "tests", "-k", Self::KEY])?;

        let log = fs::File::create(folder.path().join("log"))?;
        let mut crowdsec = programs.command("crowdsec");
        crowdsec.arg("-c").arg(config(folder.path())).arg("-no-cs");
        crowdsec.stderr(log.try_clone()?).stdout(log);
        let server = Killable(Arc::new(Mutex::new(crowdsec.spawn()?)));
        let lapi = Self { address, scheme, programs, server, folder };
        let up = match tls {
            None => net::wait_until_up(address, "/health").await,
            Some(_) => net::wait_until_listens(address).await,
        };
        up.with_context(|| lapi.log())?;
        Ok(lapi)
    }

    /// Its origin.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
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
fn configure(folder: &Path, address: SocketAddr, tls: Option<&Tls>) -> Result<()> {
    for name in ["etc/hub", "data", "plugins", "notifications"] {
        fs::create_dir_all(folder.join(name))?;
    }
    let d = folder.display();
    let tls = tls.map_or_else(String::new, |Tls { root, server }| {
        format!(
            "    tls: {{cert_file: {}, key_file: {}, ca_cert_path: {}, bouncers_allowed_ou: [{}]}}\n",
            server.certificate.display(),
            server.key.display(),
            root.display(),
            RealLapi::BOUNCERS,
        )
    });
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
{tls}prometheus: {{enabled: false}}
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
