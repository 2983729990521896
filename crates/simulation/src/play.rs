//! Plays a script: time leaps from one thing that happens to the next, runs are polled by hand, and the judge
//! looks on. Then the faults end, and the edge has to come to what is desired without help.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use edge_sync_core::ports::Clock;
use edge_sync_core::settings::Settings;
use simulator::{Decision, Options, Simulator};

use crate::defects::{self, Defect};
use crate::host::{CLOUDFLARE, LAPI, PUSHGATEWAY, RunHost, World};
use crate::judge::{Ids, Judge, Terms, Violation};
use crate::marks::Marks;
use crate::script::{Event, Item, Place, Run, Script, StoreMood, What};
use crate::story::Story;

/// How a simulation ended.
#[derive(Debug, Clone)]
pub struct Played {
    /// The promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// What was met.
    pub marks: Marks,
    /// Runs.
    pub runs: u64,
    /// Requests of theirs.
    pub requests: u64,
    /// Of everything that was requested and said: the same script gives the same.
    pub digest: u64,
    /// The history, if it was asked for.
    pub story: Vec<String>,
}

/// Plays the script to its end, or to the first promise that is broken.
pub fn play(script: &Script, with_story: bool) -> Played {
    let mut player = Player::new(script, with_story);
    player.script(script);
    if player.is_well() {
        player.converge();
    }
    player.end()
}

const APPROVED_UNTIL: &str = "removals_approved_until";

type Running = Pin<Box<dyn Future<Output = bool>>>;

struct Player {
    world: Rc<World>,
    settings: Rc<BTreeMap<String, String>>,
    /// The same, read, where they say the same at any time: most runs have the settings of the run before.
    read: Option<Rc<Settings>>,
    ids: Ids,
    running: Vec<(usize, Rc<RunHost>, Running)>,
    runs: usize,
    lost: Option<Vec<Decision>>,
    violations_seen: usize,
    knobs: Options,
}

impl Player {
    fn new(script: &Script, with_story: bool) -> Self {
        let mut options = Options { seed: script.seed, chunk_bytes: 1 << 16, ..Options::default() };
        options.cloudflare.kv_own_prefix = "ip:".to_owned();
        options.cloudflare.kv_own_key = "ranges".to_owned();
        options.cloudflare.waf_own_ref_prefix = "crowdsec_edge_sync".to_owned();
        let knobs = script.knobs.iter().map(String::as_str);
        options.set_all(knobs).unwrap_or_else(|error| panic!("{error}"));
        let mut simulator = Simulator::new(options.clone());
        let cloudflare = simulator.cloudflare();
        let mut ids = Ids {
            lists: ["crowdsec_ban", "crowdsec_captcha"].map(|name| cloudflare.create_list(name)),
            other_list: cloudflare.create_list("others"),
            namespace: cloudflare.create_namespace("crowdsec"),
            zones: Vec::new(),
        };
        for zone in 0..script.targets.zones {
            let zone = cloudflare.create_zone(&format!("zone-{zone}.example"));
            for (action, list, name) in [
                ("block", "crowdsec_ban", "crowdsec_edge_sync_ban"),
                ("managed_challenge", "crowdsec_captcha", "crowdsec_edge_sync_captcha"),
            ] {
                let id = cloudflare.add_rule(&zone, action, &format!("(ip.src in ${list})"));
                cloudflare.edit_rule(&zone, &id, |rule| rule.reference = name.to_owned());
            }
            ids.zones.push(zone);
        }
        let settings = settings(script, &ids, &options);
        let account = format!("client/v4/accounts/{}", options.cloudflare.account_id);
        let mut names = vec![(account, "…".to_owned())];
        let lists = ids.lists.iter().zip(["BAN", "CAPTCHA"]);
        names.extend(lists.map(|(id, name)| (id.clone(), name.to_owned())));
        names.push((ids.namespace.clone(), "NAMESPACE".to_owned()));
        let zones = ids.zones.iter().enumerate();
        names.extend(zones.map(|(at, id)| (id.clone(), format!("ZONE{at}"))));
        let noise = r#","success":true,"errors":[],"messages":[]"#;
        names.push((noise.to_owned(), String::new()));
        let secrets = vec![options.lapi.key.clone(), options.cloudflare.api_token.clone()];
        // A list that is not set is nobody's business.
        let mut judged = ids.clone();
        let used = [script.targets.ban_list, script.targets.captcha_list];
        for (id, _) in judged.lists.iter_mut().zip(used).filter(|(_, is_used)| !is_used) {
            id.clear();
        }
        let mut judge = Judge::new(judged, secrets);
        judge.terms(Terms::of(&settings));
        let of = &options.cloudflare;
        let lags = [of.list_read_lag, of.kv_list_lag, of.kv_value_lag];
        judge.be_lenient(lags.iter().any(|lag| !lag.is_zero()));
        let world = Rc::new(World {
            clock: Rc::default(),
            simulator: RefCell::new(simulator),
            judge: RefCell::new(judge),
            story: RefCell::new(Story { is_told: with_story, names, ..Story::default() }),
            store: RefCell::default(),
            step: Cell::new(0),
            requests: Cell::new(0),
        });
        let mut player = Self {
            world,
            settings: Rc::new(settings),
            read: None,
            ids,
            running: Vec::new(),
            runs: 0,
            lost: None,
            violations_seen: 0,
            knobs: options,
        };
        for item in &script.before {
            player.put(item);
        }
        player.look();
        player.world.judge.borrow_mut().begin();
        player
    }

    fn is_well(&self) -> bool {
        self.world.judge.borrow().violation().is_none()
    }

    fn script(&mut self, script: &Script) {
        for event in &script.events {
            self.pass_to(Duration::from_millis(event.at));
            if !self.is_well() {
                return;
            }
            self.world.story.borrow_mut().event(self.world.clock.now(), self.runs + 1, event);
            self.happen(event);
        }
        self.pass_to(self.world.clock.now() + Duration::from_secs(3_700));
        let mut simulator = self.world.simulator.borrow_mut();
        simulator.tick(self.world.clock.now());
        self.world.judge.borrow_mut().flickers(&mut simulator);
    }

    /// Time passes until then, in leaps.
    fn pass_to(&mut self, until: Duration) {
        self.poll();
        while self.is_well() {
            let next = self.world.clock.next_deadline().filter(|at| *at <= until);
            let Some(at) = next else { break };
            self.world.clock.advance_to(at);
            self.poll();
        }
        self.world.clock.advance_to(until);
    }

    /// Every run goes as far as it can at this moment.
    fn poll(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        let mut at = 0;
        while at < self.running.len() {
            let (number, host, running) = &mut self.running[at];
            let (number, host) = (*number, Rc::clone(host));
            let polled = catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(&mut context)));
            let now = self.world.clock.now();
            match polled {
                _ if host.dead.get() => {
                    self.world.story.borrow_mut().say(now, &format!("  run {number} is killed"));
                    drop(self.running.remove(at));
                    self.world.judge.borrow_mut().run_killed(number, now);
                }
                Ok(Poll::Pending) => at += 1,
                Ok(Poll::Ready(ok)) => {
                    let text =
                        format!("  run {number} ends {}", if ok { "well" } else { "in failure" });
                    self.world.story.borrow_mut().say(now, &text);
                    drop(self.running.remove(at));
                    let mut simulator = self.world.simulator.borrow_mut();
                    simulator.tick(now);
                    self.world.judge.borrow_mut().run_ended(number, now, ok, &mut simulator);
                }
                Err(panic) => {
                    let text = panic
                        .downcast_ref::<String>()
                        .cloned()
                        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                    drop(self.running.remove(at));
                    let text = text.unwrap_or_default();
                    self.world.judge.borrow_mut().broken("it never panics", number, now, text);
                }
            }
            self.broken_rules(number);
        }
    }

    fn broken_rules(&mut self, run: usize) {
        let simulator = self.world.simulator.borrow();
        let violations = simulator.violations();
        if violations.len() > self.violations_seen {
            let new = &violations[self.violations_seen..];
            self.world.judge.borrow_mut().world_broken(run, self.world.clock.now(), new);
            self.violations_seen = violations.len();
        }
    }

    /// The judge sees what others did.
    fn look(&mut self) {
        let mut simulator = self.world.simulator.borrow_mut();
        simulator.tick(self.world.clock.now());
        self.world.judge.borrow_mut().catch_up(&mut simulator);
    }

    fn begin(&mut self, run: &Run) {
        self.runs += 1;
        let number = self.runs;
        let host = Rc::new(RunHost::new(Rc::clone(&self.world), number, run.clone()));
        let now = self.world.clock.now();
        {
            let mut judge = self.world.judge.borrow_mut();
            if run.skew != 0 {
                judge.clock_trouble(now);
                judge.marks().met("run with a skewed clock");
            }
            if run.store != StoreMood::Works {
                let mood = format!("{:?}", run.store);
                let mood = mood.split('(').next().unwrap_or_default();
                judge.marks().met(&format!("store {mood}"));
            }
            if matches!(run.store, StoreMood::Stale(_)) {
                judge.store_is_stale();
            }
            judge.run_begins(number, now, run.store != StoreMood::Works);
            if run.skew != 0 {
                judge.clock_trouble(now);
            }
        }
        let (settings, of) = (Rc::clone(&self.settings), Rc::clone(&host));
        let variable = move |name: &str| match defects::setting(name) {
            Some(other) => Some(other.to_owned()),
            None => settings.get(name).cloned(),
        };
        // An approval depends on the time.
        let is_timeless = self.settings.get(APPROVED_UNTIL).is_none_or(String::is_empty);
        if self.read.is_none() && is_timeless {
            self.read = Settings::parse(&variable, host.wall()).ok().map(Rc::new);
        }
        let read = self.read.clone();
        let running: Running = Box::pin(async move {
            let ended = match read {
                Some(settings) => edge_sync_core::run_with(&settings, &*of).await,
                None => edge_sync_core::run(variable, &*of).await,
            };
            ended.is_ok() || defects::is_planted(Defect::SwallowsFailure)
        });
        self.running.push((number, host, running));
        self.poll();
    }

    fn happen(&mut self, event: &Event) {
        let now = self.world.clock.now();
        let mut simulator = self.world.simulator.borrow_mut();
        simulator.tick(now);
        match &event.what {
            What::Decide(decide) => {
                let until = now + Duration::from_secs(decide.lasts);
                let decision = Decision::ban(&decide.value).kind(&decide.kind).scope(&decide.scope);
                let decision = decision.origin(&decide.origin).scenario(&decide.scenario);
                simulator.lapi().add(decision.until(until));
            }
            What::Lift(value) => {
                simulator.lapi().remove_value(value);
            }
            What::RawRow(row) => simulator.lapi().add_raw_row(row.clone()),
            What::LoseDatabase => {
                self.lost = Some(simulator.lapi().decisions().to_vec());
                simulator.lapi().clear();
            }
            What::RestoreDatabase => {
                if let Some(lost) = self.lost.take() {
                    simulator.lapi().add_all(lost.into_iter().map(|row| Decision { id: 0, ..row }));
                }
            }
            What::Reinsert(origin, lasts) => {
                let until = now + Duration::from_secs(*lasts);
                let is_live = |row: &&Decision| row.origin == *origin && row.until > now;
                let rows: Vec<Decision> =
                    simulator.lapi().decisions().iter().filter(is_live).cloned().collect();
                simulator.lapi().remove_where(|row| row.origin == *origin);
                let anew = rows.into_iter().map(|row| Decision { id: 0, until, ..row });
                simulator.lapi().add_all(anew);
            }
            What::Fault(text) => {
                let fault = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
                simulator.inject(fault);
                if text.contains("-item ") {
                    self.world.judge.borrow_mut().others_act(now);
                }
                if text.contains("edit-rules") {
                    self.world.judge.borrow_mut().others_write_rules();
                }
            }
            What::FaultsEnd => {
                self.faults_met(&simulator);
                simulator.clear_faults();
            }
            What::Knob(knob) => {
                self.knobs.set(knob).unwrap_or_else(|error| panic!("{knob}: {error}"));
                let knobs = self.knobs.cloudflare.clone();
                simulator.cloudflare().configure(|options| *options = knobs);
            }
            What::Setting(name, value) => {
                let mut settings = BTreeMap::clone(&self.settings);
                settings.insert(name.clone(), value.clone());
                self.world.judge.borrow_mut().terms(Terms::of(&settings));
                self.settings = Rc::new(settings);
                self.read = None;
            }
            What::OthersPut(item) => {
                drop(simulator);
                self.put(item);
                self.world.judge.borrow_mut().marks().met("event others-put");
                return self.look();
            }
            What::OthersTake(place, name) => {
                let (list, namespace) = (self.list(*place), self.ids.namespace.clone());
                match list {
                    Some(list) => {
                        let mut values = simulator.cloudflare().values(&list);
                        values.remove(name);
                        simulator.cloudflare().empty(&list);
                        simulator.cloudflare().preload(&list, values);
                    }
                    None => {
                        let mut all = simulator.cloudflare().kv_entries(&namespace);
                        all.remove(name);
                        simulator.cloudflare().kv_clear(&namespace);
                        simulator.cloudflare().kv_preload(&namespace, all);
                    }
                }
                self.world.judge.borrow_mut().others_act(now);
            }
            What::OthersEmpty(place) => {
                match self.list(*place) {
                    Some(list) => simulator.cloudflare().empty(&list),
                    None => simulator.cloudflare().kv_clear(&self.ids.namespace),
                }
                self.world.judge.borrow_mut().others_act(now);
            }
            What::OthersEdit(zone, edit) => {
                if let Some(zone) = self.ids.zones.get(usize::from(*zone)) {
                    let edit = edit.parse().unwrap_or_else(|error| panic!("{edit}: {error}"));
                    simulator.cloudflare().edit_rules(zone, &edit);
                }
                let mut judge = self.world.judge.borrow_mut();
                judge.others_act(now);
                judge.others_write_rules();
            }
            What::ClockStep(seconds) => {
                self.world.step.set(self.world.step.get() + seconds);
                self.world.judge.borrow_mut().clock_trouble(now);
            }
            What::StoreForgets => {
                self.world.store.borrow_mut().now.clear();
                self.world.judge.borrow_mut().store_trouble(now);
            }
            What::StoreGarbles(key, value) => {
                let value = value.clone().into_bytes();
                self.world.store.borrow_mut().now.insert(key.clone(), value);
                self.world.judge.borrow_mut().store_trouble(now);
            }
            What::Run(run) => {
                drop(simulator);
                return self.begin(run);
            }
        }
        drop(simulator);
        self.look();
        let name = match &event.what {
            What::Fault(_) => return,
            What::Knob(knob) => format!("knob {}", knob.split('=').next().unwrap_or_default()),
            What::Setting(name, _) => format!("setting {name}"),
            other => {
                let text = serde_json::to_string(other).unwrap_or_default();
                let word = text.trim_matches(['{', '"']).split('"').next().unwrap_or_default();
                format!("event {word}")
            }
        };
        self.world.judge.borrow_mut().marks().met(&name);
    }

    /// Which faults have acted on a request at all.
    fn faults_met(&self, simulator: &Simulator) {
        let mut judge = self.world.judge.borrow_mut();
        for (fault, _) in simulator.faults_met().filter(|(_, met)| *met > 0) {
            let action = fault.action.to_string();
            let name = action.split(' ').next().unwrap_or_default();
            judge.marks().met(&format!("fault {name}"));
        }
    }

    fn list(&self, place: Place) -> Option<String> {
        match place {
            Place::Ban => Some(self.ids.lists[0].clone()),
            Place::Captcha => Some(self.ids.lists[1].clone()),
            Place::OtherList => Some(self.ids.other_list.clone()),
            Place::Kv => None,
        }
    }

    fn put(&mut self, item: &Item) {
        let list = self.list(item.place);
        let mut simulator = self.world.simulator.borrow_mut();
        let now = simulator.now();
        let cloudflare = simulator.cloudflare();
        match list {
            Some(list) if cloudflare.values(&list).contains(&item.name) => {}
            Some(list) => cloudflare.preload(&list, [item.name.clone()]),
            None => {
                let expires = item.lasts.map(Duration::from_secs);
                let namespace = &self.ids.namespace;
                cloudflare.kv_put(namespace, &item.name, &item.value, expires, None);
            }
        }
        self.world.judge.borrow_mut().others_act(now);
    }

    /// The faults end. After the longest wait that is permitted the edge is as desired, and stays so.
    fn converge(&mut self) {
        {
            let now = self.world.clock.now();
            self.world.story.borrow_mut().say(now, "-- the faults end --");
            let mut simulator = self.world.simulator.borrow_mut();
            simulator.tick(now);
            self.faults_met(&simulator);
            simulator.clear_faults();
            let rows = simulator.lapi().decisions().to_vec();
            simulator.lapi().replace(rows);
            let defaults = Options::default().cloudflare;
            let knobs = &mut self.knobs.cloudflare;
            knobs.permission = defaults.permission;
            knobs.kv_permission = defaults.kv_permission;
            knobs.waf_permission = defaults.waf_permission;
            knobs.token_status = defaults.token_status;
            knobs.write_floor = defaults.write_floor;
            knobs.waf_write_floor = defaults.waf_write_floor;
            knobs.refused_values.clear();
            knobs.duplicate_values.clear();
            knobs.kv_daily_writes = 0;
            knobs.kv_daily_deletes = 0;
            knobs.kv_daily_reads = 0;
            knobs.kv_daily_lists = 0;
            knobs.operation_lifetime = Duration::ZERO;
            knobs.operation_delay = defaults.operation_delay;
            let knobs = knobs.clone();
            simulator.cloudflare().configure(|options| *options = knobs);
            simulator.tick(now);
            let mut settings = BTreeMap::clone(&self.settings);
            settings.insert("dry_run".to_owned(), String::new());
            // So many days as a small budget needs are not waited for.
            settings.insert("kv_daily_writes_max".to_owned(), String::new());
            let mut judge = self.world.judge.borrow_mut();
            judge.terms(Terms::of(&settings));
            self.settings = Rc::new(settings);
            self.read = None;
            self.world.step.set(0);
            // What was done until now was before that. (The trouble of a run whose operation nobody remembered was
            // forgotten for this one, which is later.)
            judge.catch_up(&mut simulator);
            judge.clock_trouble(now);
        }
        // The guard first, which counts runs; then a day of waiting for company; what ran out meanwhile waits
        // another.
        const DAY: Duration = Duration::from_secs(25 * 3_600);
        for (wait, runs) in [(Duration::ZERO, 7), (DAY, 7), (DAY, 7)] {
            self.pass_to(self.world.clock.now() + wait);
            for _ in 0..runs {
                self.pass_to(self.world.clock.now() + Duration::from_secs(400));
                if !self.is_well() {
                    return;
                }
                self.begin(&Run::default());
            }
            self.pass_to(self.world.clock.now() + Duration::from_secs(120));
        }
        // A decision may run out at any time, and with it comes a run that writes once more.
        let mut last = None;
        for attempt in 0..6 {
            self.begin(&Run::default());
            self.pass_to(self.world.clock.now() + Duration::from_secs(150));
            let number = self.runs;
            let mut simulator = self.world.simulator.borrow_mut();
            let mut judge = self.world.judge.borrow_mut();
            match judge.converged(number, &mut simulator) {
                Ok(()) => return,
                Err(text) if attempt == 5 => last = Some(text),
                Err(_) => {}
            }
        }
        if let Some(text) = last {
            let mut judge = self.world.judge.borrow_mut();
            let now = self.world.clock.now();
            judge.broken("it converges when the faults end", self.runs, now, text);
        }
    }

    fn end(self) -> Played {
        let (world, runs) = (&self.world, self.runs as u64);
        let mut judge = world.judge.borrow_mut();
        let mut story = world.story.borrow_mut();
        if let Some(violation) = judge.violation() {
            let (promise, text) = (violation.promise, &violation.text);
            let line = format!("!! run {}: {promise}: {text}", violation.run);
            story.say(world.clock.now(), &line);
        }
        Played {
            violation: judge.violation().cloned(),
            marks: std::mem::take(judge.marks()),
            runs,
            requests: world.requests.get(),
            digest: story.digest(),
            story: std::mem::take(&mut story.lines),
        }
    }
}

/// The script's settings with what every installation has.
fn settings(script: &Script, ids: &Ids, options: &Options) -> BTreeMap<String, String> {
    let targets = script.targets;
    let used = |is_used: bool, id: &String| if is_used { id.clone() } else { String::new() };
    let mut settings: BTreeMap<String, String> = [
        ("lapi_url", LAPI.to_owned()),
        ("lapi_key", options.lapi.key.clone()),
        ("cf_api_url", CLOUDFLARE.to_owned()),
        ("cf_account_id", options.cloudflare.account_id.clone()),
        ("cf_api_token", options.cloudflare.api_token.clone()),
        ("cf_ban_list_id", used(targets.ban_list, &ids.lists[0])),
        ("cf_captcha_list_id", used(targets.captcha_list, &ids.lists[1])),
        ("cf_kv_namespace_id", used(targets.kv, &ids.namespace)),
        ("cf_rules_zones", ids.zones.join(",")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    settings.extend(script.settings.clone());
    if settings.get("pushgateway_url").is_some_and(|url| url == "on") {
        settings.insert("pushgateway_url".to_owned(), PUSHGATEWAY.to_owned());
    }
    settings
}
