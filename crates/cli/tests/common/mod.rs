//! A simulated world with two lists and a KV namespace, and the deployed manifest's settings for it.
#![allow(dead_code, unreachable_pub, reason = "no file of tests uses all of it")]

use host::Options;
use simulator::front::{Ports, Running, serve};
use simulator::{Service, Simulator};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};
use std::time::SystemTime;
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

    /// The folder of the key-value store's files.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("key-value/default")
    }

    /// Puts a value into the key-value store, as an earlier run would have left it.
    pub fn remember(&self, key: &str, value: &str) {
        std::fs::create_dir_all(self.store()).expect("a folder in a temporary folder");
        std::fs::write(self.store().join(format!("{key}.value")), value).expect("a file");
    }

    /// The deployed manifest, with the settings as they stand.
    pub fn options(&self) -> Options {
        Options {
            manifest: Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spin.toml"),
            variables: self.settings.clone().into_iter().collect(),
            state_dir: Some(self.folder.path().to_owned()),
            ..Options::default()
        }
    }
}
