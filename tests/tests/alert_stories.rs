//! The stories of `deploy/monitoring/alerts.test.yaml` are made here: every state in them is what the built
//! component pushed to the simulator's Pushgateway in that state, so that no alert is shown to fire on values
//! that the program never has. `BLESS=1` writes the file anew; what it says is judged by promtool in
//! `monitoring.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use end_to_end::prometheus::metrics;
use end_to_end::world::{JOB, KV_JOB};
use end_to_end::{World, workspace};
use serde_json::Value;
use simulator::{CloudflareOptions, Service};

/// Minutes between two runs.
const INTERVAL: usize = 2;

/// What Prometheus would scrape after a run: the value of each series that an alert looks at.
type Series = BTreeMap<String, f64>;

/// A run's effect on the Pushgateway.
#[derive(Debug, Clone, Default, PartialEq)]
struct State {
    series: Series,
    /// The jobs whose whole group the run pushed; of others the earlier values stand.
    whole: BTreeSet<&'static str>,
    /// The jobs that the run pushed at all.
    pushed: BTreeSet<&'static str>,
}

/// A world whose runs are recorded.
struct Recorder {
    world: World,
    named: BTreeSet<String>,
}

const LAST_RUN: &str = "_sync_last_run_seconds";
const DURATION: &str = "_sync_duration_seconds";

impl Recorder {
    /// With the guard and the capacity that are shipped, ten bans and a decision of no scope of ours.
    async fn new(targets: &[&str]) -> Self {
        let mut world = World::new().await;
        world.target(targets);
        world.ban(&addresses(10));
        world.ban(&["198.51.100.0/24"]);
        let alerts = std::fs::read_to_string(monitoring("alerts.yaml")).unwrap();
        let alerts: Value = serde_yaml_ng::from_str(&alerts).unwrap();
        let rules = alerts["groups"][0]["rules"].as_array().unwrap();
        let expressions = rules.iter().map(|rule| rule["expr"].as_str().unwrap());
        let named = expressions.flat_map(metrics).map(str::to_owned).collect();
        Self { world, named }
    }

    fn series(&self) -> Series {
        let mut simulator = self.world.simulator();
        let pushgateway = simulator.pushgateway();
        let mut series = Series::new();
        for job in [JOB, KV_JOB] {
            for name in pushgateway.metrics(job) {
                if !self.named.contains(name) {
                    continue;
                }
                for sample in &pushgateway.family(job, name).expect("it was listed").samples {
                    let mut key = format!("{name}{{job=\"{job}\"");
                    for (label, value) in &sample.labels {
                        let _ = write!(key, ",{label}=\"{value}\"");
                    }
                    series.insert(key + "}", sample.value);
                }
            }
        }
        series
    }

    /// Runs the component, and says what it left.
    async fn run(&self) -> State {
        self.world.two_minutes_later();
        let before = self.world.simulator().journal().len();
        self.world.run().await;
        let series = self.series();
        // By the request: two runs may take the same time, to the millisecond.
        let whole: Vec<&'static str> = {
            let simulator = self.world.simulator();
            let is_whole = |job: &&str| {
                simulator.journal()[before..].iter().any(|entry| {
                    let is_push = entry.service == Service::Pushgateway && entry.method == "PUT";
                    is_push && entry.target.ends_with(*job)
                })
            };
            [JOB, KV_JOB].into_iter().filter(is_whole).collect()
        };
        let pushed = [JOB, KV_JOB]
            .into_iter()
            .filter(|job| series.keys().any(|key| is_of(key, LAST_RUN, job)));
        State {
            whole: whole.into_iter().collect(),
            pushed: pushed.collect(),
            series: series.clone(),
        }
    }
}

fn is_of(key: &str, name: &str, job: &str) -> bool {
    key.split('{').next().is_some_and(|metric| metric.ends_with(name))
        && key.contains(&format!("job=\"{job}\""))
}

fn monitoring(file: &str) -> PathBuf {
    workspace::root().join("deploy/monitoring").join(file)
}

/// As many addresses for documentation.
fn addresses(count: usize) -> Vec<&'static str> {
    (0..count).map(|at| &*format!("2001:db8::{at:x}:1").leak()).collect()
}

/// Alerts with the severity and the other labels with which they fire.
#[derive(Debug, Clone)]
struct Firing(&'static str, &'static str, String);

/// An alert of one or more jobs.
fn firing(alert: &'static str, severity: &'static str, jobs: &[&str]) -> Vec<Firing> {
    jobs.iter().map(|job| Firing(alert, severity, format!(",job=\"{job}\""))).collect()
}

#[derive(Debug)]
enum Phase {
    /// The program runs, and each run leaves this.
    Runs(State),
    /// Nothing runs any more; the Pushgateway keeps this.
    Stands(State),
    /// There is nothing to be scraped.
    Nothing,
}

struct Story {
    name: &'static str,
    phases: Vec<(Phase, usize)>,
    checks: Vec<(usize, Vec<Firing>)>,
}

impl Story {
    fn new(name: &'static str) -> Self {
        Self { name, phases: Vec::new(), checks: Vec::new() }
    }

    /// Goes on for so many minutes like this.
    fn phase(mut self, phase: Phase, minutes: usize) -> Self {
        self.phases.push((phase, minutes / INTERVAL));
        self
    }

    fn runs(self, state: &State, minutes: usize) -> Self {
        self.phase(Phase::Runs(state.clone()), minutes)
    }

    /// At this minute exactly these alerts fire.
    fn at(mut self, minute: usize, firing: Vec<Firing>) -> Self {
        self.checks.push((minute, firing));
        self
    }

    fn quiet(self, minute: usize) -> Self {
        self.at(minute, Vec::new())
    }

    /// As promtool reads it.
    fn write(&self, text: &mut String) {
        let _ = write!(
            text,
            "\n  - name: \"{}\"\n    interval: {INTERVAL}m\n    input_series:",
            self.name
        );
        let states = || self.phases.iter().filter_map(|(phase, _)| phase.state());
        let mut keys: BTreeSet<&String> = states().flat_map(|state| state.series.keys()).collect();
        // Of the many reasons for which a decision is left out, those that are met, and the one of an alert.
        keys.retain(|key| {
            let is_met = states().any(|state| state.series.get(*key).is_some_and(|n| *n != 0.0));
            is_met || !key.contains(",reason=") || key.contains("\"protected\"")
        });
        if keys.is_empty() {
            text.push_str(" []");
        }
        for key in keys {
            let values = self.values(key);
            let _ = write!(text, "\n      - {{ series: '{key}', values: '{values}' }}");
        }
        text.push_str("\n    promql_expr_test:");
        for (minute, firing) in &self.checks {
            let _ = write!(
                text,
                "\n      - expr: ALERTS{{alertstate=\"firing\"}}\n        eval_time: {minute}m\n        exp_samples:"
            );
            if firing.is_empty() {
                text.push_str(" []");
            }
            for Firing(alert, severity, labels) in firing {
                let _ = write!(
                    text,
                    "\n          - {{ labels: 'ALERTS{{alertname=\"{alert}\",alertstate=\"firing\",\
                     severity=\"{severity}\"{labels}}}', value: 1 }}"
                );
            }
        }
        text.push('\n');
    }

    /// One series over all phases, in promtool's short form.
    fn values(&self, key: &str) -> String {
        let metric = key.split('{').next().unwrap_or_default();
        let job = if key.contains(KV_JOB) { KV_JOB } else { JOB };
        let (mut parts, mut at) = (Vec::new(), 0);
        let (mut last_run, mut duration, mut is_there) = (0, 1.0, false);
        for (phase, samples) in &self.phases {
            let more = samples - 1;
            let state = phase.state().filter(|state| state.series.contains_key(key));
            let Some(state) = state else {
                // A target that cannot be scraped, or no longer has it: Prometheus marks the end.
                parts.push(if is_there {
                    format!("stale _x{more}")
                } else {
                    format!("_x{samples}")
                });
                (is_there, at) = (false, at + samples);
                continue;
            };
            is_there = true;
            let runs = matches!(phase, Phase::Runs(_));
            if metric.ends_with(LAST_RUN) {
                let step = if runs && state.pushed.contains(job) { 60 * INTERVAL } else { 0 };
                if step > 0 {
                    last_run = at * 60 * INTERVAL;
                }
                parts.push(format!("{last_run}+{step}x{more}"));
                last_run += step * more;
            } else if metric.ends_with(DURATION) {
                // How long the run took here is of no interest; that it took another time is.
                let step = if runs && state.whole.contains(job) { 0.125 } else { 0.0 };
                duration += step;
                parts.push(format!("{duration}+{step}x{more}"));
                duration += step * more as f64;
            } else {
                parts.push(format!("{}x{more}", state.series[key]));
            }
            at += samples;
        }
        parts.join(" ")
    }
}

impl Phase {
    fn state(&self) -> Option<&State> {
        match self {
            Self::Runs(state) | Self::Stands(state) => Some(state),
            Self::Nothing => None,
        }
    }
}

/// The value of a metric of a job in a state; fails the test if it was not pushed.
#[track_caller]
fn value(state: &State, metric: &str, job: &str) -> f64 {
    let key = format!("{metric}{{job=\"{job}\"}}");
    *state.series.get(&key).unwrap_or_else(|| panic!("{key} was not pushed: {state:#?}"))
}

const REFUSED: &str = r#"answer 403 {"success":false,"errors":[{"code":10000,"message":"Authentication error"}],"messages":[],"result":null}"#;
const LIMITED: &str = r#"answer 429 {"success":false,"errors":[{"code":10040,"message":"rate limited"}],"messages":[],"result":null}"#;

/// Refuses writes to the lists.
fn refuse_list_writes(world: &World, answer: &str) {
    for method in ["POST", "PUT", "DELETE"] {
        world.fault(&format!("cloudflare {method} /items: {answer}"));
    }
}

/// Fewer than the guard lets go, and then so many that it does not.
const MANY: usize = 120;

async fn stories() -> Vec<Story> {
    let both = [JOB, KV_JOB];
    let recorder = Recorder::new(&["lists", "kv"]).await;
    recorder.run().await;
    let well = recorder.run().await;
    assert_eq!(well.whole, BTreeSet::from(both));
    for (job, success) in
        [(JOB, "crowdsec_cf_list_sync_success"), (KV_JOB, "crowdsec_kv_sync_success")]
    {
        assert_eq!(value(&well, success, job), 1.0);
    }

    let lists_only = {
        let recorder = Recorder::new(&["lists"]).await;
        recorder.run().await
    };
    assert!(lists_only.series.keys().all(|key| key.contains(JOB)), "{lists_only:?}");

    // Each of the following begins with a run that ends well, so that what a broken one does not push stands.
    let token_revoked = {
        let mut recorder = Recorder::new(&["lists", "kv"]).await;
        recorder.run().await;
        recorder.world.set("cf_api_token", "revoked");
        recorder.run().await
    };
    assert_eq!(token_revoked.whole, BTreeSet::new());
    let never_right = {
        let mut recorder = Recorder::new(&["lists", "kv"]).await;
        recorder.world.set("cf_api_token", "mistyped");
        recorder.run().await
    };
    let lists_refused = {
        let recorder = Recorder::new(&["lists", "kv"]).await;
        recorder.run().await;
        recorder.world.fault(&format!("cloudflare /rules/lists: {REFUSED}"));
        recorder.run().await
    };
    let kv_refused = {
        let recorder = Recorder::new(&["lists", "kv"]).await;
        recorder.run().await;
        recorder.world.fault(&format!("cloudflare /storage/kv: {REFUSED}"));
        recorder.run().await
    };
    let kv_writes_refused = {
        let recorder = Recorder::new(&["lists", "kv"]).await;
        recorder.run().await;
        recorder.world.ban(&["203.0.113.1"]);
        recorder.world.fault(&format!("cloudflare PUT /storage/kv: {REFUSED}"));
        recorder.run().await
    };
    let lapi_down = {
        let recorder = Recorder::new(&["lists", "kv"]).await;
        recorder.run().await;
        recorder.world.fault("lapi: refuse");
        recorder.run().await
    };
    let dry_run = {
        let mut recorder = Recorder::new(&["lists", "kv"]).await;
        recorder.run().await;
        recorder.world.set("dry_run", "true");
        recorder.world.ban(&["203.0.113.1"]);
        recorder.run().await
    };
    let (limited, limited_then_revoked) = {
        let mut recorder = Recorder::new(&["lists", "kv"]).await;
        recorder.run().await;
        recorder.world.ban(&["203.0.113.1"]);
        refuse_list_writes(&recorder.world, LIMITED);
        recorder.run().await;
        let limited = recorder.run().await;
        recorder.world.set("cf_api_token", "revoked");
        (limited, recorder.run().await)
    };
    assert_eq!(value(&limited, "crowdsec_cf_list_sync_rate_limited", JOB), 1.0);
    let (rules_well, by_rules, rules_full) = {
        let mut recorder = Recorder::new(&["lists"]).await;
        let zone = recorder.world.with_zone();
        recorder.world.set("cf_rules_zones", &zone);
        recorder.run().await;
        let well = recorder.run().await;
        recorder.world.ban(&["203.0.113.1"]);
        refuse_list_writes(&recorder.world, LIMITED);
        recorder.run().await;
        let by_rules = recorder.run().await;
        recorder.world.set("rules_characters_max", "200");
        recorder.world.ban(&addresses(60));
        recorder.run().await;
        (well, by_rules, recorder.run().await)
    };
    assert_eq!(value(&by_rules, "crowdsec_cf_list_sync_rate_limited", JOB), 1.0);
    assert_eq!(value(&by_rules, "crowdsec_cf_list_sync_success", JOB), 1.0);
    assert_eq!(value(&rules_full, "crowdsec_cf_list_sync_success", JOB), 0.0);
    let (quota, quota_then_revoked) = {
        let mut recorder = Recorder::new(&["lists", "kv"]).await;
        recorder.world.set("kv_daily_writes_max", "12");
        recorder.run().await;
        recorder.world.ban(&addresses(40));
        recorder.run().await;
        let quota = recorder.run().await;
        recorder.world.set("cf_api_token", "revoked");
        (quota, recorder.run().await)
    };
    assert!(value(&quota, "crowdsec_kv_sync_waiting", KV_JOB) > 0.0);
    let (reads_used_up, reads_used_up_then_revoked) = {
        let mut recorder = Recorder::new(&["lists", "kv"]).await;
        recorder.world.set("kv_layout", "shards");
        recorder.run().await;
        let no_more = |options: &mut CloudflareOptions| options.kv_daily_reads = 1;
        recorder.world.simulator().cloudflare().configure(no_more);
        let used_up = recorder.run().await;
        recorder.world.set("cf_api_token", "revoked");
        (used_up, recorder.run().await)
    };
    assert_eq!(value(&reads_used_up, "crowdsec_kv_sync_reads_used_up", KV_JOB), 1.0);
    assert_eq!(value(&reads_used_up, "crowdsec_kv_sync_success", KV_JOB), 0.0);
    let full = {
        let mut recorder = Recorder::new(&["lists", "kv"]).await;
        recorder.world.set("list_items_max", "4");
        recorder.run().await;
        recorder.run().await
    };
    let owner_banned = {
        let mut recorder = Recorder::new(&["lists", "kv"]).await;
        recorder.world.set("never_block", addresses(1)[0]);
        recorder.run().await;
        recorder.run().await
    };
    let (held, held_and_refused, held_then_revoked) = {
        let mut recorder = Recorder::new(&["lists", "kv"]).await;
        recorder.world.ban(&addresses(MANY));
        recorder.run().await;
        recorder.world.simulator().lapi().clear();
        let held = recorder.run().await;
        recorder.world.ban(&["203.0.113.1"]);
        refuse_list_writes(&recorder.world, REFUSED);
        recorder.world.fault(&format!("cloudflare PUT /storage/kv: {REFUSED}"));
        let refused = recorder.run().await;
        recorder.world.set("cf_api_token", "revoked");
        (held, refused, recorder.run().await)
    };
    assert!(value(&held, "crowdsec_cf_list_sync_removals_held", JOB) > 100.0);

    let failing = |jobs: &[&str]| firing("EdgeSyncFailing", "critical", jobs);
    let held_alert = || firing("EdgeSyncRemovalsHeld", "warning", &both);
    let no_metrics = || vec![Firing("EdgeSyncNoMetrics", "critical", String::new())];
    let and = |mut one: Vec<Firing>, other: Vec<Firing>| {
        one.extend(other);
        one
    };
    let protected = || {
        let mut firing = firing("EdgeSyncProtectedAddressBanned", "warning", &both);
        firing.iter_mut().for_each(|one| one.2.push_str(",reason=\"protected\""));
        firing
    };
    vec![
        Story::new("a day on which all is well").runs(&well, 120).quiet(30).quiet(110),
        Story::new("only lists are used").runs(&lists_only, 120).quiet(110),
        Story::new("nothing was ever pushed")
            .phase(Phase::Nothing, 60)
            .quiet(9)
            .at(11, no_metrics())
            .at(50, no_metrics()),
        Story::new("the Pushgateway dies, and comes back")
            .runs(&well, 20)
            .phase(Phase::Nothing, 40)
            .runs(&well, 40)
            .quiet(28)
            .at(40, no_metrics())
            .quiet(70),
        Story::new("the program ends, its last push stays")
            .runs(&well, 12)
            .phase(Phase::Stands(well.clone()), 60)
            .quiet(20)
            .at(30, firing("EdgeSyncNotRunning", "critical", &both)),
        Story::new("Cloudflare refuses the token, then takes it again")
            .runs(&well, 10)
            .runs(&token_revoked, 30)
            .runs(&well, 40)
            .quiet(18)
            .at(26, failing(&both))
            .quiet(60),
        Story::new("the token was never right").runs(&never_right, 60).at(30, failing(&both)),
        Story::new("one run fails and the next does not")
            .runs(&well, 4)
            .runs(&token_revoked, 2)
            .runs(&well, 2)
            .runs(&token_revoked, 2)
            .runs(&well, 30)
            .quiet(6)
            .quiet(20),
        Story::new("only the lists cannot be read")
            .runs(&well, 10)
            .runs(&lists_refused, 40)
            .at(30, failing(&[JOB])),
        Story::new("only the namespace cannot be read")
            .runs(&well, 10)
            .runs(&kv_refused, 40)
            .at(30, failing(&[KV_JOB])),
        Story::new("keys cannot be written")
            .runs(&well, 10)
            .runs(&kv_writes_refused, 60)
            .at(30, failing(&[KV_JOB]))
            .at(60, failing(&[KV_JOB])),
        Story::new("LAPI is down, and comes back")
            .runs(&well, 10)
            .runs(&lapi_down, 60)
            .runs(&well, 40)
            .quiet(19)
            .at(40, firing("EdgeSyncLapiUnreadable", "critical", &both))
            .quiet(90),
        Story::new("LAPI restarts for four minutes")
            .runs(&well, 10)
            .runs(&lapi_down, 4)
            .runs(&well, 30)
            .quiet(14)
            .quiet(30),
        Story::new("drift stays though runs end well: a dry run that was forgotten")
            .runs(&well, 4)
            .runs(&dry_run, 80)
            .quiet(20)
            .at(60, firing("EdgeSyncDriftStays", "warning", &both)),
        Story::new(
            "Cloudflare refuses list writes for an hour; drift and failure follow from that",
        )
        .runs(&well, 10)
        .runs(&limited, 60)
        .runs(&well, 40)
        .quiet(15)
        .at(60, firing("EdgeSyncRateLimited", "warning", &[JOB]))
        .quiet(100),
        Story::new(
            "list writes are refused, and then the token too: what was pushed before hides nothing",
        )
        .runs(&well, 10)
        .runs(&limited, 40)
        .runs(&limited_then_revoked, 60)
        .at(40, firing("EdgeSyncRateLimited", "warning", &[JOB]))
        .at(90, and(failing(&both), firing("EdgeSyncRateLimited", "warning", &[JOB]))),
        Story::new("list writes are refused for two hours, and the rules say what the lists lack")
            .runs(&by_rules, 120)
            .quiet(30)
            .quiet(110),
        Story::new("the rules have no room for what the lists lack")
            .runs(&rules_well, 10)
            .runs(&rules_full, 40)
            .runs(&by_rules, 20)
            .quiet(20)
            .at(
                40,
                and(
                    firing("EdgeSyncRateLimited", "warning", &[JOB]),
                    firing("EdgeSyncRulesFull", "warning", &[JOB]),
                ),
            )
            .quiet(60),
        Story::new("the day's budget of KV is used up; the drift is what waits")
            .runs(&well, 4)
            .runs(&quota, 116)
            .quiet(40)
            .at(110, firing("EdgeSyncKvWritesWait", "info", &[KV_JOB])),
        Story::new("the day's budget of KV is used up, and then the token is refused")
            .runs(&well, 4)
            .runs(&quota, 36)
            .runs(&quota_then_revoked, 20)
            .at(58, failing(&both)),
        Story::new("KV's reads of the day are used up, until midnight")
            .runs(&well, 10)
            .runs(&reads_used_up, 40)
            .runs(&well, 40)
            .quiet(9)
            .at(11, firing("EdgeSyncKvReadsUsedUp", "critical", &[KV_JOB]))
            .at(45, firing("EdgeSyncKvReadsUsedUp", "critical", &[KV_JOB]))
            .quiet(51)
            .quiet(70),
        Story::new("KV's reads of the day are used up, and then the token is refused")
            .runs(&well, 4)
            .runs(&reads_used_up, 20)
            .runs(&reads_used_up_then_revoked, 40)
            .at(60, failing(&both)),
        Story::new("more addresses than places")
            .runs(&well, 10)
            .runs(&full, 60)
            .quiet(20)
            .at(40, firing("EdgeSyncOverCapacity", "warning", &[JOB])),
        Story::new("the owner is banned, seen by both jobs")
            .runs(&well, 10)
            .runs(&owner_banned, 20)
            .runs(&well, 40)
            .quiet(9)
            .at(13, protected())
            .quiet(60),
        Story::new(
            "LAPI lost its database; the guard holds removals back, and says so before it yields",
        )
        .runs(&well, 10)
        .runs(&held, 50)
        .runs(&well, 40)
        .quiet(12)
        .at(18, held_alert())
        .at(50, held_alert())
        .quiet(90),
        Story::new("the guard holds removals back in one run only")
            .runs(&well, 10)
            .runs(&held, 2)
            .runs(&well, 20)
            .quiet(14)
            .quiet(20),
        Story::new("removals are held, and nothing else can be written either")
            .runs(&well, 10)
            .runs(&held_and_refused, 40)
            .at(40, and(failing(&both), held_alert())),
        Story::new("removals are held, and then the token is refused")
            .runs(&well, 10)
            .runs(&held, 20)
            .runs(&held_then_revoked, 40)
            .at(26, held_alert())
            .at(60, and(failing(&both), held_alert())),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stories_of_the_alerts_are_made_of_what_the_program_pushes() {
    let mut text = String::from(
        "# `promtool test rules alerts.test.yaml`: every alert fires on its trouble, and on nothing else, because\n\
         # each story says which alerts fire of all there are. Made by tests/tests/alert_stories.rs (BLESS=1): the\n\
         # values are those that the program pushed in that state. A sample stands for a run.\n\
         rule_files: [alerts.yaml]\nevaluation_interval: 1m\ntests:",
    );
    for story in stories().await {
        story.write(&mut text);
    }
    let path = monitoring("alerts.test.yaml");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    let differs = written.lines().zip(text.lines()).find(|(written, made)| written != made);
    assert_eq!(
        differs, None,
        "alerts.test.yaml is not what the program pushes; BLESS=1 writes it anew"
    );
    assert_eq!(written.len(), text.len());
}
