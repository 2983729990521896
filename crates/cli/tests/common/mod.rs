//! A simulated world with two lists and a KV namespace, and the deployed manifest's settings for it.
#![allow(dead_code, unreachable_pub, reason = "no file of tests uses all of it")]

use edge_sync_core::log::Line;
use edge_sync_core::ports::{
    Clock, Log, Request, ResponseHead, Store, StoreError, Transport, TransportError,
};
use simulator::front::{Ports, Running, serve};
use simulator::{Service, Simulator};
use spin_app::Options;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// See the module.
pub struct World {
    running: Running,
    pub ban_list: String,
    pub captcha_list: String,
    pub namespace: String,
    pub settings: BTreeMap<String, String>,
    pub folder: TempDir,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut simulator::Options)) -> Self {
        let mut options = simulator::Options { start: SystemTime::now(), ..Default::default() };
        change(&mut options);
        let (lapi, cloudflare) = (options.lapi.clone(), options.cloudflare.clone());
        let mut simulator = Simulator::new(options);
        let ban_list = simulator.cloudflare().create_list("crowdsec_ban");
        let captcha_list = simulator.cloudflare().create_list("crowdsec_captcha");
        let namespace = simulator.cloudflare().create_namespace("crowdsec");
        let running = serve(simulator.shared(), Ports::default()).await.expect("loopback ports");
        let settings = [
            ("lapi_url", running.url(Service::Lapi)),
            ("lapi_key", lapi.key),
            ("cf_account_id", cloudflare.account_id),
            ("cf_api_token", cloudflare.api_token),
            ("cf_ban_list_id", ban_list.clone()),
            ("cf_captcha_list_id", captcha_list.clone()),
            ("cf_kv_namespace_id", namespace.clone()),
            ("cf_api_url", running.url(Service::Cloudflare)),
            ("pushgateway_url", running.url(Service::Pushgateway)),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value)).into();
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { running, ban_list, captcha_list, namespace, settings, folder }
    }

    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.settings.insert(name.to_owned(), value.into());
    }

    /// Injects a fault in its text form, see `simulator::fault`.
    pub fn fault(&self, fault: &str) {
        self.simulator().inject(fault.parse().expect("a fault"));
    }

    pub fn simulator(&self) -> MutexGuard<'_, Simulator> {
        self.running.world().lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn url(&self, service: Service) -> String {
        self.running.url(service)
    }

    /// The file in which Spin keeps the key-value store.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("sqlite_key_value.db")
    }

    /// Puts a value into the key-value store, in a file as Spin makes it.
    pub fn remember(&self, key: &str, value: &str) {
        let spin = rusqlite::Connection::open(self.store()).expect("a file in a temporary folder");
        spin.execute_batch(
            "CREATE TABLE IF NOT EXISTS spin_key_value (
                           store TEXT NOT NULL,
                           key   TEXT NOT NULL,
                           value BLOB NOT NULL,

                           PRIMARY KEY (store, key)
                        )",
        )
        .expect("a table");
        let set = "INSERT INTO spin_key_value (store, key, value) VALUES ($1, $2, $3)
                     ON CONFLICT(store, key) DO UPDATE SET value=$3";
        spin.execute(set, rusqlite::params!["default", key, value.as_bytes()]).expect("a row");
    }

    /// The deployed manifest, with the settings as they stand.
    pub fn options(&self) -> Options {
        Options {
            manifest: manifest(),
            variables: self.settings.clone().into_iter().collect(),
            state_dir: Some(self.folder.path().to_owned()),
            ..Options::default()
        }
    }

    /// One run of the sync, in this world's state directory, as Spin would run it.
    pub async fn run(&self) {
        let host = Spin {
            http: edge_sync::native::Http::new(None, spin_app::ClientTls::default()),
            store: spin_app::Store::in_state_dir(self.folder.path()),
            began: std::time::Instant::now(),
        };
        // How it ended is what the tool is asked for.
        let _ = edge_sync_core::run(|name| self.setting(name), &host).await;
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.settings.get(name).cloned()
    }

    /// The program itself with `arguments`, settings from the environment and this world's state directory.
    /// Gives its exit code, and what a person sees with the names of services for their addresses.
    pub async fn tool(&self, arguments: &[&str]) -> (i32, String) {
        let variables = self.settings.iter();
        let variables = variables
            .map(|(name, value)| (format!("SPIN_VARIABLE_{}", name.to_uppercase()), value));
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_edge-sync"));
        command.args(arguments).env_clear().envs(variables).current_dir(self.folder.path());
        if arguments[0] != "setup" {
            command.arg("--manifest").arg(manifest());
        }
        command.args(["--state-dir", "."]);
        let output = command.output().await.expect("the program");
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
        let code = output.status.code().expect("an exit code");
        (code, self.named(&said.concat()))
    }

    /// The names of services for their addresses, and no secret.
    pub fn named(&self, said: &str) -> String {
        for secret in ["lapi_key", "cf_api_token"] {
            let value = &self.settings[secret];
            assert!(value.is_empty() || !said.contains(value), "{secret} is shown: {said}");
        }
        let mut said = said.to_owned();
        for (service, name) in [
            (Service::Lapi, "http://lapi"),
            (Service::Cloudflare, "http://cloudflare"),
            (Service::Pushgateway, "http://pushgateway"),
        ] {
            said = said.replace(&self.url(service), name);
        }
        for (path, name) in [(manifest(), "spin.toml"), (self.folder.path().to_owned(), "STATE")] {
            said = said.replace(path.to_str().expect("a path in UTF-8"), name);
        }
        said
    }
}

/// The deployed manifest.
pub fn manifest() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the workspace").join("spin.toml")
}

/// What Spin gives a run, with a store that keeps what is set.
struct Spin {
    http: edge_sync::native::Http,
    store: spin_app::Store,
    began: std::time::Instant,
}

impl Transport for Spin {
    type Body = edge_sync::native::Incoming;

    async fn send(&self, request: Request) -> Result<(ResponseHead, Self::Body), TransportError> {
        self.http.send(request).await
    }
}

impl Clock for Spin {
    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(duration)
    }
}

impl Log for Spin {
    fn log(&self, _: &Line) {}
}

impl Store for Spin {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(key).map_err(|error| StoreError(error.to_string()))
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.store.set(key, value).map_err(|error| StoreError(error.to_string()))
    }
}
