//! The world of one test: the simulator on loopback ports, two lists and a KV namespace at its
//! Cloudflare, and the settings with which the component meets it: where all that is, and else what is
//! shipped, guard and places included. Any setting can be changed, so any of its services can be replaced
//! by a real one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use host::{App, OnRequest, Outcome, Output, Run, Trigger};
use simulator::front::{Ports, Running, serve};
use simulator::{Decision, KvCounters, KvEntryView, Options, Service, Simulator};
use tempfile::TempDir;

use crate::log::LogLine;
use crate::workspace;

/// The job under which the component, and the seed, push their metrics.
pub const JOB: &str = "crowdsec-cf-list-sync";
/// The same for KV.
pub const KV_JOB: &str = "crowdsec-kv-sync";

/// See the module.
pub struct World {
    running: Running,
    /// The id of the ban list.
    pub ban_list: String,
    /// The id of the captcha list.
    pub captcha_list: String,
    /// The id of the KV namespace. Not a setting until [`World::kv`] or [`World::target`] makes it one.
    pub namespace: String,
    settings: BTreeMap<String, String>,
    manifest: Option<PathBuf>,
    runtime_config: Option<PathBuf>,
    state_dir: PathBuf,
    on_request: Option<OnRequest>,
    folder: TempDir,
}

impl World {
    /// An empty world.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// An empty world with other options. Its clock is the real one, and operations take a tenth of
    /// the simulator's default, unless they are changed.
    pub async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options { start: SystemTime::now(), ..Options::default() };
        options.cloudflare.operation_delay = Duration::from_millis(70);
        options.cloudflare.kv_own_prefix = "ip:".to_owned();
        options.cloudflare.kv_own_key = "ranges".to_owned();
        change(&mut options);
        Self::build(options).await
    }

    /// An empty world of an Enterprise account, whose lists hold 500,000, with the setting that says so.
    pub async fn enterprise(change: impl FnOnce(&mut Options)) -> Self {
        let mut world = Self::with(|options| {
            options.cloudflare.list_items_max = 500_000;
            options.cloudflare.account_items_max = 500_000;
            change(options);
        })
        .await;
        world.set("list_items_max", "500000");
        world
    }

    /// An empty world whose only target is KV.
    pub async fn kv(change: impl FnOnce(&mut Options)) -> Self {
        let mut world = Self::with(change).await;
        world.target(&["kv"]);
        world
    }

    /// Has these targets and no other: `lists`, `kv`.
    pub fn target(&mut self, targets: &[&str]) {
        for (target, name, id) in [
            ("lists", "cf_ban_list_id", self.ban_list.clone()),
            ("lists", "cf_captcha_list_id", self.captcha_list.clone()),
            ("kv", "cf_kv_namespace_id", self.namespace.clone()),
        ] {
            self.set(name, if targets.contains(&target) { id } else { String::new() });
        }
    }

    /// Makes a zone with our two rules, as setup makes them; returns its id. No setting names it.
    pub fn with_zone(&self) -> String {
        let mut simulator = self.simulator();
        let cloudflare = simulator.cloudflare();
        let zone = cloudflare.create_zone("example.com");
        for (action, list, name) in [
            ("block", "crowdsec_ban", "crowdsec_edge_sync_ban"),
            ("managed_challenge", "crowdsec_captcha", "crowdsec_edge_sync_captcha"),
        ] {
            let id = cloudflare.add_rule(&zone, action, &format!("(ip.src in ${list})"));
            cloudflare.edit_rule(&zone, &id, |rule| rule.reference = name.to_owned());
        }
        zone
    }

    fn build(options: Options) -> Pin<Box<dyn Future<Output = Self>>> {
        Box::pin(async move {
            let (lapi, cloudflare) = (options.lapi.clone(), options.cloudflare.clone());
            let mut simulator = Simulator::new(options);
            let ban_list = simulator.cloudflare().create_list("crowdsec_ban");
            let captcha_list = simulator.cloudflare().create_list("crowdsec_captcha");
            let namespace = simulator.cloudflare().create_namespace("crowdsec");
            let running =
                serve(simulator.shared(), Ports::default()).await.expect("loopback ports");
            let settings = [
                ("lapi_url", running.url(Service::Lapi)),
                ("lapi_key", lapi.key),
                ("cf_account_id", cloudflare.account_id),
                ("cf_api_token", cloudflare.api_token),
                ("cf_ban_list_id", ban_list.clone()),
                ("cf_captcha_list_id", captcha_list.clone()),
                ("cf_api_url", running.url(Service::Cloudflare)),
                ("pushgateway_url", running.url(Service::Pushgateway)),
            ];
            let folder = tempfile::tempdir().expect("a temporary folder");
            Self {
                running,
                ban_list,
                captcha_list,
                namespace,
                settings: settings.map(|(name, value)| (name.to_owned(), value)).into(),
                manifest: None,
                runtime_config: None,
                state_dir: folder.path().join("state"),
                on_request: None,
                folder,
            }
        })
    }

    /// The simulator itself.
    pub fn simulator(&self) -> MutexGuard<'_, Simulator> {
        self.running.world().lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A setting as it stands.
    pub fn setting(&self, name: &str) -> &str {
        &self.settings[name]
    }

    /// A setting, unless it was never set.
    pub fn setting_if_any(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// Changes a setting.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.settings.insert(name.to_owned(), value.into());
    }

    /// Runs the component from a manifest that was made from the deployed one.
    pub fn change_manifest(&mut self, change: impl FnOnce(String) -> String) {
        let deployed = std::fs::read_to_string(workspace::manifest()).expect("spin.toml");
        let path = self.folder.path().join("spin.toml");
        std::fs::write(&path, change(deployed)).expect("a manifest in the temporary folder");
        self.manifest = Some(path);
    }

    /// Loads with this runtime configuration from now on.
    pub fn runtime_config(&mut self, toml: &str) {
        let path = self.folder.path().join("runtime-config.toml");
        std::fs::write(&path, toml).expect("a file in the temporary folder");
        self.runtime_config = Some(path);
    }

    /// Loads with an empty state directory from now on, as in a new pod.
    pub fn on_another_machine(&mut self) {
        self.state_dir = self.state_dir.join("another");
    }

    /// Asks `hook` about every outgoing request of every run.
    pub fn on_request(&mut self, hook: OnRequest) {
        self.on_request = Some(hook);
    }

    /// Adds bans.
    pub fn ban(&self, values: &[&str]) {
        self.simulator().lapi().add_all(values.iter().map(|value| Decision::ban(*value)));
    }

    /// Adds captchas.
    pub fn captcha(&self, values: &[&str]) {
        self.simulator().lapi().add_all(values.iter().map(|value| Decision::captcha(*value)));
    }

    /// Puts items on the ban and on the captcha list, as an earlier run would have left them.
    pub fn preload(&self, ban: &[&str], captcha: &[&str]) {
        let mut simulator = self.simulator();
        simulator.cloudflare().preload(&self.ban_list, ban.iter().copied());
        simulator.cloudflare().preload(&self.captcha_list, captcha.iter().copied());
    }

    /// Injects a fault in its text form, see `simulator::fault`.
    pub fn fault(&self, fault: &str) {
        self.simulator().inject(fault.parse().expect("a fault"));
    }

    /// Lets the usual time between two runs pass.
    pub fn two_minutes_later(&self) {
        self.later(120);
    }

    /// Lets time pass, so that what is under way at Cloudflare ends. The component's clock is the real one and
    /// stays behind, so what it wrote is made as much older.
    pub fn later(&self, seconds: u64) {
        let mut simulator = self.simulator();
        simulator.advance(Duration::from_secs(seconds));
        let mut keys = simulator.cloudflare().kv_entries(&self.namespace);
        for metadata in keys.values_mut().filter_map(|entry| entry.metadata.as_mut()) {
            if let Some(at) = metadata["at"].as_u64() {
                metadata["at"] = (at - seconds).into();
            }
        }
        simulator.cloudflare().kv_preload(&self.namespace, keys);
        let store = spin_app::Store::in_state_dir(&self.state_dir);
        for key in store.keys().unwrap_or_default() {
            // The lease of a run that was killed would have ended by then. What is not JSON has no times that
            // anything waits for.
            let Ok(Some(value)) = store.get(&key) else { continue };
            let Ok(mut value) = serde_json::from_slice(&value) else { continue };
            make_older(&mut value, seconds);
            store.set(&key, value.to_string().as_bytes()).expect("a file in a temporary folder");
        }
    }

    /// What is on the ban and on the captcha list.
    pub fn edge(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let mut simulator = self.simulator();
        let cloudflare = simulator.cloudflare();
        (cloudflare.values(&self.ban_list), cloudflare.values(&self.captcha_list))
    }

    /// Asserts what is on both lists.
    #[track_caller]
    pub fn assert_edge(&self, ban: &[&str], captcha: &[&str]) {
        let set = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        assert_eq!(self.edge(), (set(ban), set(captcha)));
    }

    /// The bulk operations that Cloudflare accepted so far.
    pub fn operations(&self) -> usize {
        self.simulator().cloudflare().operations().len()
    }

    /// Everything in the KV namespace.
    pub fn keys(&self) -> BTreeMap<String, KvEntryView> {
        self.simulator().cloudflare().kv_entries(&self.namespace)
    }

    /// Everything in the KV namespace: key and value.
    pub fn values(&self) -> BTreeMap<String, String> {
        self.keys().into_iter().map(|(key, entry)| (key, entry.value)).collect()
    }

    /// Asserts what is in the KV namespace, key and value.
    #[track_caller]
    pub fn assert_values(&self, expected: &[(&str, &str)]) {
        let expected = expected.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        assert_eq!(self.values(), expected.collect::<BTreeMap<String, String>>());
    }

    /// What the use of KV has cost so far.
    pub fn kv_counters(&self) -> KvCounters {
        self.simulator().cloudflare().kv_counters()
    }

    /// A pushed metric of the KV job.
    pub fn kv_metric(&self, name: &str) -> Option<f64> {
        self.simulator().pushgateway().value(KV_JOB, name)
    }

    /// A pushed metric without labels.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.simulator().pushgateway().value(JOB, name)
    }

    /// Asserts that the component broke no rule of the remote APIs.
    #[track_caller]
    pub fn assert_no_violations(&self) {
        let violations = self.simulator().violations().to_vec();
        assert!(violations.is_empty(), "{violations:#?}");
    }

    /// Loads the application with the settings as they stand.
    pub fn load(&self) -> anyhow::Result<App> {
        // One at a time: the first compiles, and the others find it compiled.
        static LOADING: Mutex<()> = Mutex::new(());
        let _loading = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        App::load(host::Options {
            manifest: self.manifest.clone().unwrap_or_else(workspace::manifest),
            component_override: Some(workspace::component()),
            variables: self.settings.clone().into_iter().collect(),
            state_dir: Some(self.state_dir.clone()),
            runtime_config: self.runtime_config.clone(),
            cache_dir: Some(workspace::cache().join("compiled")),
            on_request: self.on_request.clone(),
            ..host::Options::default()
        })
    }

    /// What the tool `edge-sync` looks at: the same manifest, settings and state as the runs of this world.
    pub fn for_the_tool(&self) -> spin_app::Options {
        spin_app::Options {
            manifest: self.manifest.clone().unwrap_or_else(workspace::manifest),
            component: None,
            variables: self.settings.clone().into_iter().collect(),
            state_dir: Some(self.state_dir.clone()),
            runtime_config: self.runtime_config.clone(),
        }
    }

    /// Runs the component once, as the cron trigger does.
    pub async fn run(&self) -> Ran {
        self.run_by(cron()).await
    }

    /// Runs the component once.
    pub async fn run_by(&self, trigger: Trigger) -> Ran {
        run(&self.load().expect("the application loads"), trigger).await
    }

    /// Runs once and expects the edge to be as desired afterwards.
    #[track_caller]
    pub fn run_well(&self) -> impl Future<Output = Ran> {
        let caller = std::panic::Location::caller();
        async move {
            let ran = self.run().await;
            assert_eq!(ran.run.outcome, Outcome::Ok, "{caller}: {}", ran.run.stdout);
            assert_eq!(ran.summary().get("success"), "1", "{caller}: {}", ran.run.stdout);
            ran
        }
    }
}

/// Takes seconds from all that is a time: Unix seconds of about today. Checksums are as large at times.
fn make_older(value: &mut serde_json::Value, seconds: u64) {
    use serde_json::Value;
    const MONTH: u64 = 30 * 86_400;
    let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match value {
        Value::Number(number) => {
            let is_time = |number: &u64| number.abs_diff(today) < MONTH;
            if let Some(time) = number.as_u64().filter(is_time) {
                *value = (time - seconds).into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| make_older(value, seconds)),
        Value::Object(fields) => fields.values_mut().for_each(|value| make_older(value, seconds)),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// The cron trigger, due now.
pub fn cron() -> Trigger {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Trigger::Cron { timestamp: now.as_secs() }
}

/// Runs a loaded application once.
///
/// Boxed, here and in [`World::with`], so that the host and the simulator's server are compiled into
/// this crate and not anew into each file of tests.
pub fn run(app: &App, trigger: Trigger) -> Pin<Box<dyn Future<Output = Ran> + '_>> {
    Box::pin(async move {
        let run = app.run(trigger, Output::Captured).await;
        let run = run.expect("the component exports the trigger");
        let line = |line| {
            let parsed = LogLine::parse(line);
            parsed.unwrap_or_else(|| panic!("stdout has a line that is not key=value: {line}"))
        };
        Ran { lines: run.stdout.lines().map(line).collect(), run }
    })
}

/// A run that is over, and what it said.
#[derive(Debug)]
pub struct Ran {
    /// The run.
    pub run: Run,
    /// Its stdout.
    pub lines: Vec<LogLine>,
}

impl Ran {
    /// The line that every run ends with.
    #[track_caller]
    pub fn summary(&self) -> &LogLine {
        let summaries: Vec<_> = self.events("summary").collect();
        assert_eq!(summaries.len(), 1, "one summary: {} {:?}", self.run.stdout, self.run.outcome);
        summaries[0]
    }

    /// Asserts that the run ended well for every target that it has.
    #[track_caller]
    pub fn assert_each_target_well(&self) {
        let stdout = &self.run.stdout;
        assert_eq!(self.run.outcome, Outcome::Ok, "{stdout}");
        let mut summaries = self.events("summary").peekable();
        assert!(summaries.peek().is_some(), "{stdout}");
        assert!(summaries.all(|summary| summary.get("success") == "1"), "{stdout}");
    }

    /// The lines about one event.
    pub fn events(&self, event: &str) -> impl Iterator<Item = &LogLine> {
        self.lines.iter().filter(move |line| line.get("event") == event)
    }

    /// Asserts that LAPI was called unreadable, for this reason, and that the run ended well.
    #[track_caller]
    pub fn assert_skipped(&self, says: &str) {
        let stdout = &self.run.stdout;
        assert_eq!((self.run.exit_code(), &self.run.outcome), (0, &Outcome::Ok), "{stdout}");
        let summary = self.summary();
        assert_eq!((summary.get("outcome"), summary.get("success")), ("skipped", "0"), "{stdout}");
        assert_eq!(summary.get("level"), "warn", "{stdout}");
        assert!(summary.get("msg").contains(says), "should say {says:?}: {stdout}");
    }

    /// Asserts that the run failed loudly, saying this.
    #[track_caller]
    pub fn assert_failed(&self, says: &str) {
        let stdout = &self.run.stdout;
        assert_eq!(self.run.exit_code(), 1, "{stdout}");
        let summary = self.summary();
        assert_eq!((summary.get("outcome"), summary.get("success")), ("failed", "0"), "{stdout}");
        assert_eq!(summary.get("level"), "error", "{stdout}");
        assert!(stdout.contains(says), "should say {says:?}: {stdout}");
    }
}
