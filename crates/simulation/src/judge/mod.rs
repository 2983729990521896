//! The promises (DESIGN 2), said once more and by somebody else: checks over what CrowdSec decided, what
//! LAPI answered, what was requested and what the edge did. Nothing here knows how core decides.
//!
//! | file | promise |
//! |---|---|
//! | `mod` | nothing changes while LAPI is unreadable, or in a dry run; the run ends in time; no secret in a line |
//! | `lists` | nobody who is desired leaves the edge; what is protected never comes, and goes first; what is not understood stays; no write without drift |
//! | `guard` | removals that are too many never before their time |
//! | `waits` | one operation at a time; after a refusal, a wait |
//! | `kv` | the same of keys, and the day's budget |
//! | `rules` | the same of what the edge does, by its oracle |
//! | `full` | whoever is in force goes only for the more urgent |
//! | `success` | success is said only where the edge is as desired |
//!
//! A promise is held against what the run *could know*: what it read, and what its store kept. The first one
//! that is broken ends the simulation.

mod full;
mod guard;
mod kv;
mod lists;
pub(crate) mod reading;
mod rows;
mod rules;
mod success;
mod terms;
mod waits;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter};
use simulator::{Service, Simulator};

use crate::marks::Marks;
use reading::Reading;
pub(crate) use terms::Terms;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise, in a few words that are always the same.
    pub promise: &'static str,
    /// What happened.
    pub text: String,
    /// When, since the start.
    pub at: Duration,
    /// In which run.
    pub run: usize,
}

/// A request, as it was sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) run: usize,
    pub(crate) at: Duration,
    /// By the clock of the run's host.
    pub(crate) unix: u64,
    pub(crate) service: Service,
    pub(crate) method: &'static str,
    /// Path and query, without the first slash.
    pub(crate) path: String,
    pub(crate) body: Bytes,
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum About {
    Decisions,
    /// A page of a list's items; `true` = the first.
    Items(usize, bool),
    /// A write to a list.
    ListWrite(usize),
    /// A look at an operation.
    Operation(String),
    /// A page of keys; `true` = the first.
    Keys(bool),
    RangesValue,
    KvPut,
    KvDelete,
    Ruleset(String),
    RuleWrite(String),
    Other,
}

impl About {
    fn is_write(&self) -> bool {
        matches!(self, Self::ListWrite(_) | Self::KvPut | Self::KvDelete | Self::RuleWrite(_))
    }
}

/// A run, as the judge sees it.
struct View {
    began: Duration,
    terms: Rc<Terms>,
    /// Its store does not keep what it is given, or gives what it did not keep.
    is_blind: bool,
    reading: Option<Rc<Reading>>,
    /// Each list, as it was read.
    items: [Option<lists::Pages>; 2],
    writes: usize,
    /// Of those, to lists.
    list_writes: usize,
    /// More was on the lists before its first write than may be there.
    was_over: bool,
    /// Not all that has to move could do so at once when it wrote first.
    moves_in_parts: bool,
    /// What its writes so far have taken away, by the part of the edge.
    taken: BTreeSet<(usize, ipnet::IpNet)>,
    /// The same, of what was not excused.
    opened: BTreeSet<(usize, ipnet::IpNet)>,
    /// The most spellings beyond the first that were there when it wrote.
    twice: usize,
    /// How many had to go when it wrote first, because bans that were decided here needed their places.
    room: usize,
    kv_writes: usize,
    /// It may have read values in KV as they were before.
    kv_is_unseen: bool,
    /// The values of many in which an owner stood when it wrote them.
    kv_frees: BTreeSet<String>,
    freed_owner: bool,
    has_put: bool,
    has_put_and_deleted: bool,
    /// Its target's summaries: outcome and whether it calls itself a success.
    said: BTreeMap<String, (String, bool)>,
    /// Somebody else changed the edge while it was at work, or a read of it was not true.
    disturbed: bool,
    /// Somebody else changed the edge while it was at work.
    others_acted: bool,
    operations_seen: BTreeSet<String>,
}

struct Request {
    sent: Rc<Sent>,
    about: About,
}

/// See the module.
pub(crate) struct Judge {
    terms: Rc<Terms>,
    secrets: Vec<Finder<'static>>,
    runs: BTreeMap<usize, View>,
    requests: Vec<Request>,
    lists: lists::Lists,
    waits: waits::Waits,
    past: guard::Past,
    past_of_keys: guard::Past,
    kv: kv::Kv,
    rules: rules::Rules,
    marks: Marks,
    is_lenient: bool,
    last: Option<Last>,
    violation: Option<Violation>,
}

/// The run that ended last.
struct Last {
    run: usize,
    view: View,
}

impl Judge {
    pub(crate) fn new(ids: Ids, secrets: Vec<String>) -> Self {
        Self {
            terms: Rc::default(),
            secrets: secrets.iter().map(|secret| Finder::new(secret).into_owned()).collect(),
            runs: BTreeMap::new(),
            requests: Vec::new(),
            lists: lists::Lists::new(&ids),
            waits: waits::Waits::default(),
            past: guard::Past::default(),
            past_of_keys: guard::Past::of_keys(),
            kv: kv::Kv::new(&ids),
            rules: rules::Rules::default(),
            marks: Marks::default(),
            is_lenient: false,
            last: None,
            violation: None,
        }
    }

    /// What is read may be older than what is: what a run could know is not known here.
    pub(crate) fn be_lenient(&mut self, is_lenient: bool) {
        self.is_lenient = is_lenient;
    }

    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    pub(crate) fn marks(&mut self) -> &mut Marks {
        &mut self.marks
    }

    pub(crate) fn terms(&mut self, terms: Terms) {
        self.terms = Rc::new(terms);
    }

    /// Says that a promise was broken; the first one counts.
    fn fail(&mut self, promise: &'static str, run: usize, at: Duration, text: String) {
        self.violation.get_or_insert(Violation { promise, text, at, run });
    }

    pub(crate) fn broken(&mut self, promise: &'static str, run: usize, at: Duration, text: String) {
        self.fail(promise, run, at, text);
    }

    pub(crate) fn run_begins(&mut self, run: usize, at: Duration, is_blind: bool) {
        let overlaps = !self.runs.is_empty();
        if overlaps {
            self.marks.met("run overlaps");
        }
        self.runs.insert(
            run,
            View {
                began: at,
                terms: Rc::clone(&self.terms),
                is_blind,
                reading: None,
                items: [None, None],
                writes: 0,
                list_writes: 0,
                was_over: false,
                moves_in_parts: false,
                taken: BTreeSet::new(),
                opened: BTreeSet::new(),
                twice: 0,
                room: 0,
                kv_writes: 0,
                kv_is_unseen: false,
                kv_frees: BTreeSet::new(),
                freed_owner: false,
                has_put: false,
                has_put_and_deleted: false,
                said: BTreeMap::new(),
                disturbed: overlaps,
                others_acted: false,
                operations_seen: BTreeSet::new(),
            },
        );
        if overlaps {
            // Whatever they do, each disturbs the other.
            self.runs.values_mut().for_each(|view| view.disturbed = true);
        }
        if is_blind {
            self.waits.trouble(at);
            self.kv.trouble(at);
        }
    }

    /// What happens at the edge or in its store without a run.
    pub(crate) fn others_act(&mut self, at: Duration) {
        self.rules.others_did = true;
        self.kv.others_at = Some(at);
        self.runs.values_mut().for_each(|view| {
            view.disturbed = true;
            view.others_acted = true;
        });
    }

    /// What was there before is nobody's doing.
    pub(crate) fn begin(&mut self) {
        self.rules.others_did = false;
    }

    /// A run's store tells what was before.
    pub(crate) fn store_is_stale(&mut self) {
        self.past.was_stale = true;
        self.past_of_keys.was_stale = true;
    }

    pub(crate) fn store_trouble(&mut self, at: Duration) {
        self.kv.forgot_at = Some(at);
        self.waits.trouble(at);
        self.kv.trouble(at);
    }

    /// A clock of a host moved: what was remembered at which time is not certain.
    pub(crate) fn clock_trouble(&mut self, at: Duration) {
        self.waits.trouble(at);
        self.kv.trouble(at);
        self.past.clock_moved();
        self.past_of_keys.clock_moved();
    }

    /// Before a request is handled.
    pub(crate) fn sent(&mut self, sent: &Rc<Sent>, simulator: &mut Simulator) -> usize {
        let about = self.about(sent);
        if about.is_write() {
            self.write(sent, &about, simulator);
        }
        self.requests.push(Request { sent: Rc::clone(sent), about });
        self.requests.len() - 1
    }

    /// After it was handled, whatever its answer.
    pub(crate) fn handled(&mut self, index: usize, simulator: &mut Simulator) {
        let run = self.requests[index].sent.run;
        self.lists.new_operations(simulator, run, &self.runs);
        if let About::RuleWrite(zone) = &self.requests[index].about {
            let zone = zone.clone();
            self.rule_handled(index, &zone, simulator);
        }
        self.catch_up(simulator);
    }

    /// What the edge did since the last time.
    pub(crate) fn catch_up(&mut self, simulator: &mut Simulator) {
        self.edge_changes(simulator);
    }

    fn about(&self, sent: &Sent) -> About {
        let (path, query) = sent.path.split_once('?').unwrap_or((&sent.path, ""));
        let is_first = !query.contains("cursor=");
        let mut from = 0;
        let ends = memchr_iter(b'/', path.as_bytes()).chain([path.len()]);
        let segment = |end| &path[std::mem::replace(&mut from, end + 1)..end];
        let segments: Vec<&str> = ends.map(segment).collect();
        match (sent.service, sent.method, segments.as_slice()) {
            (Service::Lapi, "GET", ["v1", "decisions"]) => About::Decisions,
            (Service::Cloudflare, "GET", [.., "lists", id, "items"]) => {
                self.lists.index(id).map_or(About::Other, |list| About::Items(list, is_first))
            }
            (Service::Cloudflare, _, [.., "lists", id, "items"]) => {
                self.lists.index(id).map_or(About::Other, About::ListWrite)
            }
            (Service::Cloudflare, "GET", [.., "bulk_operations", id]) => {
                About::Operation((*id).to_owned())
            }
            (Service::Cloudflare, "GET", [.., "namespaces", _, "keys"]) => About::Keys(is_first),
            (Service::Cloudflare, "GET", [.., "values", _]) => About::RangesValue,
            (Service::Cloudflare, "PUT", [.., "namespaces", _, "bulk"]) => About::KvPut,
            (Service::Cloudflare, _, [.., "namespaces", _, "bulk", "delete"]) => About::KvDelete,
            (Service::Cloudflare, "DELETE", [.., "namespaces", _, "bulk"]) => About::KvDelete,
            (Service::Cloudflare, "PATCH", [_, _, "zones", zone, ..]) => {
                About::RuleWrite((*zone).to_owned())
            }
            (Service::Cloudflare, "GET", [_, _, "zones", zone, ..]) => {
                About::Ruleset((*zone).to_owned())
            }
            _ => About::Other,
        }
    }

    fn write(&mut self, sent: &Sent, about: &About, simulator: &mut Simulator) {
        let Some(view) = self.runs.get_mut(&sent.run) else { return };
        view.writes += 1;
        let (is_dry, has_read) = (view.terms.dry_run, view.reading.is_some());
        let request = format!("{} /{}", sent.method, sent.path);
        if is_dry {
            self.fail("a dry run changes nothing", sent.run, sent.at, request);
        } else if !has_read {
            let text = format!("{request}, though no answer of LAPI could be read whole");
            self.fail("nothing changes while LAPI is unreadable", sent.run, sent.at, text);
        } else {
            match about {
                About::ListWrite(list) => self.list_write(sent, *list, simulator),
                About::KvPut | About::KvDelete => self.kv_write(sent, about, simulator),
                About::RuleWrite(zone) => self.rule_write(sent, zone, simulator),
                _ => {}
            }
        }
    }

    /// An answer was read to its end.
    pub(crate) fn answered(
        &mut self,
        (run, index): (usize, usize),
        status: u16,
        body: &Bytes,
        now: Duration,
    ) {
        let Request { sent, about } = &self.requests[index];
        let (sent_at, unix, about) = (sent.at, sent.unix, about.clone());
        let Some(view) = self.runs.get_mut(&run) else { return };
        match about {
            About::Decisions if status == 200 => {
                if let Some(reading) = Reading::of(body, &view.terms, sent_at, unix) {
                    let reading = Rc::new(reading);
                    view.reading = Some(Rc::clone(&reading));
                    let on_lists = self.lists.networks();
                    // Whoever moves needs a place more, and somebody goes without for that long.
                    let moves = usize::from(self.lists.moving(&reading) > 0);
                    let needed = self.lists.needed(&reading) + self.lists.foreign() + moves;
                    let is_scarce = needed > view.terms.items_max || self.lists.has_been_full;
                    self.past.read(&reading, &on_lists, is_scarce);
                    self.past_of_keys.read(&reading, &BTreeSet::new(), false);
                    if !view.terms.zones.is_empty() {
                        self.rules_read(&reading);
                    }
                }
            }
            About::Items(list, is_first) if status == 200 => {
                let read = &mut view.items[list];
                if is_first {
                    *read = None;
                }
                read.get_or_insert_with(|| lists::Pages::new(sent_at)).add(body.clone());
            }
            About::ListWrite(_) => self.list_write_answered(index, status, body, now),
            About::KvPut | About::KvDelete => self.kv_answered(index, status, body),
            About::Operation(id) => self.operation_seen(run, &id, status, body, now),
            _ => {}
        }
    }

    /// A run has set a value, and the store has kept it.
    pub(crate) fn remembered(&mut self, run: usize, key: &str, value: &[u8]) {
        if let Some(secret) = self.secret_in(value) {
            let text = format!("{key} has {secret}");
            self.fail("no secret is kept or said", run, Duration::ZERO, text);
        }
        let Some(view) = self.runs.get(&run).filter(|_| key == "lists") else { return };
        self.waits.written_over(run, view.began);
        if !view.is_blind {
            self.waits.kept(run);
        }
    }

    pub(crate) fn line(&mut self, run: usize, line: &str) {
        if let Some(secret) = self.secret_in(line.as_bytes()) {
            let text = format!("{secret} in: {line}");
            return self.fail("no secret is kept or said", run, Duration::ZERO, text);
        }
        match field(line, " event=") {
            Some("change") => {
                if let Some(why) = field(line, " why=") {
                    let (change, target) = (field(line, " change="), field(line, " target="));
                    let where_to = change.or(target).unwrap_or_default();
                    self.marks.met(&format!("change {where_to} {why}"));
                }
            }
            Some("edge") => self.marks.met("marks that do not tell"),
            Some("guard") => {
                let goes = line.contains("seconds_left=");
                self.marks.met(if goes { "guard holds" } else { "guard yields" });
            }
            Some("summary") => {
                let outcome = field(line, " outcome=").unwrap_or_default();
                let target = field(line, " target=").unwrap_or_default();
                self.marks.met(&format!("outcome {target} {outcome}"));
                if field(line, " read_seconds_ago=").is_some() {
                    self.marks.met(&format!("remembered lists {outcome}"));
                }
                let success = field(line, " success=") == Some("1");
                let zone = field(line, " zone=").unwrap_or_default();
                if let Some(view) = self.runs.get_mut(&run) {
                    view.said.insert(format!("{target}{zone}"), (outcome.to_owned(), success));
                }
            }
            _ => {}
        }
    }

    /// The secret that it has, if it has one.
    fn secret_in(&self, text: &[u8]) -> Option<String> {
        let secret = self.secrets.iter().find(|secret| secret.find(text).is_some())?;
        Some(String::from_utf8_lossy(secret.needle()).into_owned())
    }

    pub(crate) fn run_killed(&mut self, run: usize, at: Duration) {
        self.marks.met("run killed");
        self.waits.killed(run, at);
        if self.runs.remove(&run).is_some_and(|view| view.is_blind) {
            self.store_trouble(at);
        }
        self.forget_requests(run);
    }

    pub(crate) fn run_ended(&mut self, run: usize, at: Duration, ok: bool, sim: &mut Simulator) {
        self.catch_up(sim);
        let Some(view) = self.runs.remove(&run) else { return };
        let took = at.saturating_sub(view.began).as_secs();
        if took > view.terms.budget + 1 {
            let text = format!("it took {took} s of {}", view.terms.budget);
            self.fail("a run ends within its budget", run, at, text);
        }
        if let Some(reading) = &view.reading
            && !(view.is_blind || view.disturbed || view.terms.dry_run)
        {
            // Who could not read the lists has decided nothing about them.
            let failed = view.said.get("lists").is_some_and(|(outcome, _)| outcome == "failed");
            if !failed || view.writes > 0 {
                self.past.kept(reading);
            }
            let failed = view.said.get("kv").is_some_and(|(outcome, _)| outcome == "failed");
            if !failed || view.writes > 0 {
                self.past_of_keys.kept(reading);
            }
        }
        if !view.is_blind {
            self.waits.kept(run);
        } else {
            self.waits.trouble(at);
            self.kv.trouble(at);
        }
        self.success(run, at, &view, ok, sim);
        self.last = Some(Last { run, view });
        self.forget_requests(run);
    }

    fn forget_requests(&mut self, _run: usize) {
        if self.runs.is_empty() {
            self.requests.clear();
        }
    }

    /// The rules of the simulated world that were broken, each by a request of this run.
    pub(crate) fn world_broken(&mut self, run: usize, at: Duration, rules: &[String]) {
        for rule in rules {
            // Judged by `waits`, which knows what could be known.
            if rule.contains("a write while operation") {
                continue;
            }
            // Nobody can know what a listing does not show yet, nor what another run does beside it, nor when it was by
            // a clock of its own.
            let disturbed = self.runs.get(&run).is_none_or(|view| view.is_blind || view.disturbed);
            let is_unsure = self.is_lenient || disturbed || !self.past.is_clock_true();
            if rule.contains("was written a moment ago") && is_unsure {
                continue;
            }
            self.fail("every request is one that the API takes", run, at, rule.clone());
        }
    }
}

/// The value of a field of a line, by what comes before it, such as ` event=`, with the one `=` at its end: a word.
fn field<'a>(line: &'a str, before: &str) -> Option<&'a str> {
    let mut ends = memchr_iter(b'=', line.as_bytes()).map(|at| at + 1);
    let end = ends.find(|end| line.as_bytes()[..*end].ends_with(before.as_bytes()))?;
    let rest = &line[end..];
    Some(memchr(b' ', rest.as_bytes()).map_or(rest, |end| &rest[..end]))
}

/// Where everything is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ids {
    pub(crate) lists: [String; 2],
    pub(crate) other_list: String,
    pub(crate) namespace: String,
    pub(crate) zones: Vec<String>,
}
