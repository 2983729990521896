//! KV: nobody who is desired loses his key by our hand, what is protected goes first and never comes, nothing
//! is written where nothing differs, and the day's budget is never exceeded.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;
use simulator::{KvEntryView, Simulator};

mod budget;
mod regions;
mod shards;

use super::guard::Removals;
use super::lists::word;
use super::reading::{BLOCK, CHALLENGE, PASS, Reading, Strength, is_single, network, written};
use super::{About, Ids, Judge, Sent, Terms, View};

const RANGES: &str = "ranges";
const LEAVES: &str = "nobody who is desired leaves the edge";
const DAY_SECS: u64 = 24 * 3_600;
/// A key that ends so soon is left to end by itself.
const SOON_SECS: u64 = 600;
/// Whoever has so little left is left to run out, also by a run that makes the layouts change places.
const RUNS_OUT_SECS: u64 = 120;
/// What a key outlives its decision by.
const SLACK_SECS: u64 = 60;

/// The namespace, and what was spent of its day.
#[derive(Default)]
pub(crate) struct Kv {
    namespace: String,
    /// The day, and what was written and deleted in it, as far as the store of whoever did it has it.
    day: u64,
    spent: [u64; 2],
    trouble: Option<u64>,
    /// The day on which Cloudflare said that no more may be deleted.
    exhausted: Option<u64>,
    /// When others last changed the edge.
    pub(super) others_at: Option<Duration>,
    /// When a store last lost what it had.
    pub(super) forgot_at: Option<Duration>,
    /// The last write: of which run, when, and whether the next one knows of it: it was answered, and there is a store.
    last: Option<(usize, Duration, bool)>,
}

/// For so long a value, or the listing, may be read as it was before.
const LAG: Duration = Duration::from_secs(60);

/// Ranges, each with what it is met by and until when.
type RangesBy = BTreeMap<IpNet, (Strength, u64)>;

/// What a visitor meets by KV alone.
#[derive(Default)]
struct Enforced {
    /// The layout `shards` is served.
    by_shards: bool,
    keys: BTreeMap<IpNet, (Strength, KvEntryView)>,
    ranges: BTreeMap<IpNet, (Strength, u64)>,
    /// Countries, by their letters, and autonomous systems, as `AS64496`.
    regions: BTreeMap<String, (Strength, u64)>,
    /// Whom no region meets.
    never: BTreeSet<IpNet>,
    /// The key of the ranges is somebody else's.
    is_foreign: bool,
}

impl Kv {
    pub(super) fn new(ids: &Ids) -> Self {
        Self { namespace: ids.namespace.clone(), ..Self::default() }
    }

    /// What was spent today is not certain any more.
    pub(super) fn trouble(&mut self, at: Duration) {
        let start = simulator::Options::default().start + at;
        let unix = start.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        // By the true clock, or by one that was put ahead.
        self.trouble = self.trouble.max(Some((unix / DAY_SECS).max(self.day)));
    }

    fn enforced(&self, simulator: &mut Simulator, prefix: &str) -> Enforced {
        let unix = simulator_unix(simulator, simulator.now());
        Self::enforced_by(simulator.cloudflare().kv_entries(&self.namespace), prefix, unix)
    }

    /// What the Worker finds: by the marker in one layout, or in the other.
    fn enforced_by(all: BTreeMap<String, KvEntryView>, prefix: &str, unix: u64) -> Enforced {
        if let Some(enforced) = shards::enforced(&all, prefix, unix) {
            return enforced;
        }
        let mut enforced = Enforced::default();
        for (key, entry) in all {
            if key == RANGES {
                match ranges_in(&entry.value) {
                    Some(ranges) => enforced.ranges = ranges,
                    None => enforced.is_foreign = true,
                }
                regions::in_ranges(&entry.value, &mut enforced);
                continue;
            }
            let Some(text) = key.strip_prefix(prefix) else { continue };
            // Only the one spelling is what the Worker looks for.
            let net = network(text).filter(|net| written(net) == text && is_single(net));
            if let Some(net) = net {
                enforced.keys.insert(net, (strength(&entry.value), entry));
            }
        }
        enforced
    }
}

impl Enforced {
    /// Whether shards that were not served come into force, and the guard holds what nobody asks for in them.
    fn brings_held(&self, before: &Self, reading: &Reading, terms: &Terms) -> bool {
        let there = self.keys.len() + self.ranges.len();
        let all = self.keys.keys().chain(self.ranges.keys());
        let gone = all.filter(|net| !reading.keys.contains_key(*net)).count();
        let share = (gone * 100) as u64 > there as u64 * terms.guard_percent;
        let is_many = share && gone as u64 > terms.guard_count || gone == there;
        self.by_shards && !before.by_shards && is_many
    }

    /// When the entry of it ends, by the clock that it has.
    fn ends(&self, net: &IpNet) -> u64 {
        match self.keys.get(net) {
            Some((_, entry)) => entry.expiration_unix.unwrap_or(u64::MAX),
            None => self.ranges.get(net).map_or(0, |(_, ends)| *ends),
        }
    }

    fn strength(&self, net: &IpNet, unix: u64) -> Strength {
        self.strength_with(net, &self.ranges, unix)
    }

    /// What he meets by the keys, and by other ranges.
    fn strength_with(&self, net: &IpNet, ranges: &RangesBy, unix: u64) -> Strength {
        let key = self.keys.get(net).map_or(PASS, |(strength, _)| *strength);
        let around = ranges.iter().filter(|(range, (_, ends))| range.contains(net) && *ends > unix);
        around.map(|(_, (strength, _))| *strength).chain([key]).max().unwrap_or(PASS)
    }

    /// Without the ranges that run out and that nobody asks for: they are left out of the next value, and by then
    /// nobody is met by them any more. And without those of an owner, which wait for nobody.
    fn lasting_ranges(&self, reading: &Reading, terms: &Terms, unix: u64) -> RangesBy {
        let lasts = |range: &IpNet, ends: u64| {
            let runs_out = ends <= unix + RUNS_OUT_SECS && !reading.keys.contains_key(range);
            !runs_out && !terms.protects(range)
        };
        let ranges = self.ranges.iter().filter(|(range, (_, ends))| lasts(range, *ends));
        ranges.map(|(range, there)| (*range, *there)).collect()
    }
}

/// Who is asked for, and then meets less than he did and less than he is to.
fn let_through(
    reading: &Reading,
    unix: u64,
    (before, ranges): (&Enforced, &RangesBy),
    (after, then): (&Enforced, &RangesBy),
) -> Option<String> {
    reading.keys.iter().find_map(|(net, want)| {
        let old = before.strength_with(net, ranges, unix);
        let new = after.strength_with(net, then, unix);
        let text = || format!("{} is to be {} and becomes {}", net, word(want.strength), word(new));
        (new < old.min(want.strength)).then(text)
    })
}

fn strength(value: &str) -> Strength {
    match value {
        "ban" => BLOCK,
        "captcha" => CHALLENGE,
        _ => PASS,
    }
}

fn ranges_in(value: &str) -> Option<BTreeMap<IpNet, (Strength, u64)>> {
    let json: Value = serde_json::from_str(value).ok()?;
    if json["v"] != 1 {
        return None;
    }
    let entry = |entry: &Value| {
        let net = network(entry["range"].as_str()?)?;
        Some((net, (strength(entry["value"].as_str()?), entry["expires"].as_u64()?)))
    };
    json["ranges"].as_array()?.iter().map(entry).collect()
}

impl Judge {
    pub(super) fn kv_write(&mut self, sent: &Sent, about: &About, simulator: &mut Simulator) {
        let Some(view) = self.runs.get_mut(&sent.run) else { return };
        view.kv_writes += 1;
        // What others did, or what a run wrote whose answer was lost or whom this one does not remember, may not have
        // been shown to it.
        let is_near = |at: Duration| at + LAG >= view.began;
        let is_unseen = |(of, at, is_known): (usize, Duration, bool)| {
            let forgot = self.kv.forgot_at.is_some_and(|forgot| forgot >= at);
            of != sent.run && is_near(at) && (view.is_blind || forgot || !is_known)
        };
        view.kv_is_unseen |=
            self.kv.others_at.is_some_and(is_near) || self.kv.last.is_some_and(is_unseen);
        self.kv.last = Some((sent.run, sent.at, false));
        let is_unseen = view.kv_is_unseen;
        let (terms, is_first) = (Rc::clone(&view.terms), view.kv_writes == 1);
        let (is_alone, disturbed) = (!view.disturbed, view.disturbed || self.is_lenient);
        let Some(reading) = view.reading.clone() else { return };
        let body: Value = serde_json::from_slice(&sent.body).unwrap_or_default();
        let before = self.kv.enforced(simulator, &terms.kv_prefix);
        let unix = simulator_unix(simulator, sent.at);
        let there = simulator.cloudflare().kv_entries(&self.kv.namespace);
        view.kv_frees.extend(budget::owners_leave(&there, &body, &terms));
        if is_unseen {
            return;
        }
        if before.by_shards || shards::touches(&body, &terms.kv_prefix) {
            let mut all = simulator.cloudflare().kv_entries(&self.kv.namespace);
            shards::apply(&mut all, &body, unix);
            let after = Kv::enforced_by(all.clone(), &terms.kv_prefix, unix);
            // The end of an entry is in the value, and the run has read it by its own clock.
            let seen = simulator.cloudflare().kv_entries(&self.kv.namespace);
            let seen = [seen, all].map(|all| Kv::enforced_by(all, &terms.kv_prefix, sent.unix));
            // It may be taken in part: the value of the ranges without the others, or the others without it.
            for body in shards::parts(&body, &terms.kv_prefix) {
                let mut all = simulator.cloudflare().kv_entries(&self.kv.namespace);
                shards::apply(&mut all, &body, unix);
                let part = Kv::enforced_by(all, &terms.kv_prefix, unix);
                let lasting = before.lasting_ranges(&reading, &terms, unix);
                let (old, new) = ((&before, &lasting), (&part, &part.ranges));
                let text = let_through(&reading, unix, old, new);
                if let Some(text) = text.filter(|_| is_alone && self.past.is_clock_true()) {
                    let text = format!("{text}, if it is taken in part");
                    return self.fail(LEAVES, sent.run, sent.at, text);
                }
            }
            return self.kv_whole(sent, (before, after), seen, &reading, &terms, unix);
        }
        if is_first && !disturbed {
            let owners: Vec<String> =
                before.keys.keys().filter(|net| terms.protects(net)).map(written).collect();
            let names = body.as_array().into_iter().flatten().filter_map(Value::as_str);
            let frees = names.filter_map(|key| network(key.strip_prefix(&terms.kv_prefix)?));
            let frees = frees.into_iter().any(|net| terms.protects(&net));
            let few = !self.past_of_keys.had_many_owners(&terms)
                && (owners.len() as u64) <= terms.guard_count.min(10);
            let may_delete = self.kv.exhausted != Some(sent.unix / DAY_SECS);
            if !owners.is_empty() && few && !frees && may_delete {
                let text =
                    format!("{} is in KV, and the first write is another", owners.join(", "));
                return self.fail("what is protected goes first", sent.run, sent.at, text);
            }
        }
        match about {
            About::KvPut => self.kv_put(sent, &body, &before, &reading, &terms, unix),
            _ => self.kv_delete(sent, &body, &before, &reading, &terms, unix),
        }
    }

    /// A write that is judged by what a visitor meets before and after it.
    fn kv_whole(
        &mut self,
        sent: &Sent,
        (before, after): (Enforced, Enforced),
        [seen, then]: [Enforced; 2],
        reading: &Reading,
        terms: &Terms,
        unix: u64,
    ) {
        let disturbed = self.runs.get(&sent.run).is_none_or(|view| view.disturbed);
        let is_clock_true = self.past.is_clock_true();
        let lasting = before.lasting_ranges(reading, terms, unix);
        let text = let_through(reading, unix, (&before, &lasting), (&after, &after.ranges));
        if let Some(text) = text.filter(|_| is_clock_true) {
            return self.fail(LEAVES, sent.run, sent.at, text);
        }
        self.kv_regions(sent, (&before, &after), reading, terms, unix);
        let new = after.keys.keys().chain(after.ranges.keys());
        let mut new =
            new.filter(|net| !before.keys.contains_key(net) && !before.ranges.contains_key(net));
        if let Some(net) = new.clone().find(|net| terms.protects(net)) {
            let text = format!("{net} is written");
            return self.fail("what is protected never comes", sent.run, sent.at, text);
        }
        // Where the layouts change places, the entry of a decision that has ended may end some seconds later in the one
        // than in the other: it was written when it was desired, and runs out.
        let changes = before.by_shards != after.by_shards;
        let runs_out = |net: &IpNet| changes && after.ends(net) <= unix + RUNS_OUT_SECS;
        let is_asked_for = |net: &IpNet| reading.keys.contains_key(net) || runs_out(net);
        // What an entry of a shard says of its end is by the clock of who wrote it.
        // Where others took the marker, what the guard holds is served again with it.
        let is_held = self.kv.others_at.is_some() && after.by_shards && !before.by_shards;
        let is_held = is_held || after.brings_held(&before, reading, terms);
        // Where the day's budget has room for the first marker and not for the shard of who is to leave, the bans that
        // are decided come first.
        let is_first = changes && after.by_shards && before.keys.is_empty();
        let is_held = is_held || is_first && terms.kv_daily > 0;
        let is_known = !disturbed && is_clock_true && !is_held;
        if let Some(net) = new.find(|net| !is_asked_for(net)).filter(|_| is_known) {
            let text = format!("{net} is written, and nobody asks for it");
            return self.fail("only what is desired is written", sent.run, sent.at, text);
        }
        let there = seen.keys.keys().chain(seen.ranges.keys());
        let stays = |net: &IpNet| then.keys.contains_key(net) || then.ranges.contains_key(net);
        let gone = there.filter(|net| !stays(net)).copied().collect();
        self.kv_guard(sent, gone, &seen, reading, terms, sent.unix);
    }

    fn kv_put(
        &mut self,
        sent: &Sent,
        body: &Value,
        before: &Enforced,
        reading: &Reading,
        terms: &Terms,
        unix: u64,
    ) {
        let disturbed = self.runs.get(&sent.run).is_none_or(|view| view.disturbed);
        for pair in body.as_array().into_iter().flatten() {
            let key = pair["key"].as_str().unwrap_or_default();
            let value = pair["value"].as_str().unwrap_or_default();
            if key == RANGES {
                self.kv_ranges(sent, value, before, reading, terms, unix);
                continue;
            }
            let net = key.strip_prefix(&terms.kv_prefix).and_then(network);
            let Some(net) = net else { continue };
            let fail =
                |judge: &mut Self, promise, text| judge.fail(promise, sent.run, sent.at, text);
            if terms.protects(&net) {
                return fail(self, "what is protected never comes", format!("{key} is written"));
            }
            let Some(want) = reading.keys.get(&net) else {
                let text = format!("{key} is written, and nobody asks for it");
                return fail(self, "only what is desired is written", text);
            };
            if strength(value) != want.strength {
                let text =
                    format!("{key} is written as {value}, and is to be {}", word(want.strength));
                return fail(self, "only what is desired is written", text);
            }
            let Some((now, entry)) = before.keys.get(&net) else { continue };
            let is_ours = entry.metadata.as_ref().is_some_and(|metadata| metadata["v"] == 1);
            let ends = entry.expiration_unix.unwrap_or(u64::MAX);
            // By the host's clock, as the run has it.
            let wanted = want.ends + SLACK_SECS;
            let apart = ends.abs_diff(wanted.saturating_add(unix).saturating_sub(sent.unix));
            let is_same = *now == want.strength && apart + 10 <= terms.kv_tolerance;
            let is_known = !self.is_lenient && !disturbed && self.past.is_clock_true();
            if is_ours && is_same && ends > unix + SOON_SECS && is_known {
                let text =
                    format!("{key} is written again; it ends within {apart} s of what is wanted");
                return fail(self, "no write where nothing differs", text);
            }
        }
    }

    /// No range that is still asked for leaves the one key of all ranges.
    fn kv_ranges(
        &mut self,
        sent: &Sent,
        value: &str,
        before: &Enforced,
        reading: &Reading,
        terms: &Terms,
        unix: u64,
    ) {
        let mut regions = Enforced::default();
        regions::in_ranges(value, &mut regions);
        self.kv_regions(sent, (before, &regions), reading, terms, unix);
        let Some(after) = ranges_in(value) else {
            let text = format!("the key of all ranges is written as {value}");
            return self.fail("every request is one that the API takes", sent.run, sent.at, text);
        };
        // Who puts it there while the run is at work is not seen by it.
        let others_acted = self.runs.get(&sent.run).is_none_or(|view| view.others_acted);
        if before.is_foreign && !others_acted {
            let text = "the key of all ranges is somebody else's, and is written".to_owned();
            return self.fail("what is not understood is left alone", sent.run, sent.at, text);
        }
        for (net, (old, ends)) in &before.ranges {
            let Some(want) = reading.keys.get(net).filter(|_| *ends > unix) else { continue };
            let new = after.get(net).map_or(PASS, |(strength, _)| *strength);
            if new < want.strength.min(*old) {
                let text =
                    format!("{} is to be {} and becomes {}", net, word(want.strength), word(new));
                return self.fail(LEAVES, sent.run, sent.at, text);
            }
        }
        // The same request may have the key of somebody inside, and not all of it may be taken.
        let lasting = before.lasting_ranges(reading, terms, unix);
        let text = let_through(reading, unix, (before, &lasting), (before, &after));
        let disturbed = self.runs.get(&sent.run).is_none_or(|view| view.disturbed);
        if let Some(text) = text.filter(|_| !disturbed && self.past.is_clock_true()) {
            return self.fail(LEAVES, sent.run, sent.at, text);
        }
        if let Some((net, _)) =
            after.iter().find(|(net, _)| terms.protects(net) && !before.ranges.contains_key(*net))
        {
            let text = format!("{net} is written among the ranges");
            return self.fail("what is protected never comes", sent.run, sent.at, text);
        }
        let gone = before.ranges.keys().filter(|net| !after.contains_key(*net)).copied().collect();
        self.kv_guard(sent, gone, before, reading, terms, unix);
    }

    fn kv_delete(
        &mut self,
        sent: &Sent,
        body: &Value,
        before: &Enforced,
        reading: &Reading,
        terms: &Terms,
        unix: u64,
    ) {
        let names = body.as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut gone = BTreeSet::new();
        for key in names {
            if key == RANGES {
                if before.is_foreign {
                    let text =
                        "the key of all ranges is somebody else's, and is deleted".to_owned();
                    return self.fail(
                        "what is not understood is left alone",
                        sent.run,
                        sent.at,
                        text,
                    );
                }
                gone.extend(before.ranges.keys().copied());
                self.kv_regions(sent, (before, &Enforced::default()), reading, terms, unix);
                continue;
            }
            let text = key.strip_prefix(&terms.kv_prefix).unwrap_or_default();
            let net = network(text);
            let is_key = net.is_some_and(|net| written(&net) == text && is_single(&net));
            let Some(net) = net else {
                let text = format!("{key} is no address, and is deleted");
                return self.fail("what is not understood is left alone", sent.run, sent.at, text);
            };
            if is_key && before.keys.contains_key(&net) {
                gone.insert(net);
            }
        }
        let names = || body.as_array().into_iter().flatten().filter_map(Value::as_str);
        if names().any(|key| key == RANGES) {
            let mut after = Enforced { keys: before.keys.clone(), ..Enforced::default() };
            after.keys.retain(|net, _| !gone.contains(net));
            let lasting = before.lasting_ranges(reading, terms, unix);
            let text = let_through(reading, unix, (before, &lasting), (&after, &after.ranges));
            let disturbed = self.runs.get(&sent.run).is_none_or(|view| view.disturbed);
            if let Some(text) = text.filter(|_| !disturbed && self.past.is_clock_true()) {
                return self.fail(LEAVES, sent.run, sent.at, text);
            }
        }
        for net in &gone {
            let own = reading.keys.get(net).map(|want| want.strength);
            let around =
                reading.keys.iter().filter(|(range, _)| *range != net && range.contains(net));
            let want = around.map(|(_, want)| want.strength).chain(own).max().unwrap_or(PASS);
            let now = before.strength(net, unix);
            // What is left when the key is gone; ranges that go with it are not.
            let is_clock_true = self.past.is_clock_true();
            let in_force = before.ranges.iter().filter(|(range, (_, ends))| {
                (*ends > unix || !is_clock_true) && !gone.contains(*range) && range.contains(net)
            });
            let after = in_force.map(|(_, (strength, _))| *strength).max().unwrap_or(PASS);
            if after < now.min(want) && !terms.protects(net) {
                let text = format!(
                    "{} is deleted: it was {} and is {}, and is to be {}",
                    written(net),
                    word(now),
                    word(after),
                    word(want)
                );
                return self.fail(LEAVES, sent.run, sent.at, text);
            }
        }
        self.kv_guard(sent, gone, before, reading, terms, unix);
    }

    fn kv_guard(
        &mut self,
        sent: &Sent,
        gone: BTreeSet<IpNet>,
        before: &Enforced,
        reading: &Reading,
        terms: &Terms,
        unix: u64,
    ) {
        // What ends in a moment is no news.
        let lasts = |net: &IpNet| match before.keys.get(net) {
            Some((_, entry)) => entry.expiration_unix.is_none_or(|at| at > unix + SOON_SECS),
            None => before.ranges.get(net).is_some_and(|(_, ends)| *ends > unix + SOON_SECS),
        };
        let there = before.keys.keys().chain(before.ranges.keys()).copied().collect();
        let gone = gone.into_iter().filter(lasts).collect();
        let removals = Removals {
            part: super::guard::KV,
            gone,
            there,
            twice: 0,
            wanted: &reading.keys,
            room: 0,
        };
        self.guard(sent, removals, terms);
    }

    pub(super) fn kv_success(
        &mut self,
        run: usize,
        at: Duration,
        view: &View,
        reading: &Reading,
        simulator: &mut Simulator,
    ) {
        if let Some((outcome, true)) = view.said.get("kv")
            && let Some(text) = self.kv_lacks(reading, &view.terms, simulator)
        {
            let text = format!("kv: {outcome}, but {text}");
            self.fail("success is said only where the edge is as desired", run, at, text);
        }
    }

    /// Who should be in KV and is not, or not as he should.
    fn kv_lacks(
        &self,
        reading: &Reading,
        terms: &Terms,
        simulator: &mut Simulator,
    ) -> Option<String> {
        let unix = simulator_unix(simulator, simulator.now());
        let now = self.kv.enforced(simulator, &terms.kv_prefix);
        let lacks = reading.keys.iter().find(|(net, want)| {
            // A decision that ended in the meantime is nobody's.
            let is_over = want.ends <= reading.unix + unix.saturating_sub(simulated(reading)) + 120;
            // A range has its end in it, by the clock of the host; and that of a key is told against that clock.
            let is_over = is_over || !self.past.is_clock_true();
            let (there, is_key) = match is_single(net) {
                true => (now.keys.get(*net).map(|(strength, _)| *strength), true),
                false => {
                    (now.ranges.get(*net).filter(|(_, ends)| *ends > unix).map(|(s, _)| *s), false)
                }
            };
            there != Some(want.strength) && !is_over && (is_key || !now.is_foreign)
        });
        let lacks = lacks.map(|(net, want)| {
            format!("{} is not {} as it should be", written(net), word(want.strength))
        });
        lacks.or_else(|| {
            // What stands in it has its end in it, by the clock of the host.
            let is_judged = !now.is_foreign && self.past.is_clock_true();
            is_judged.then(|| now.regions_lacking(reading, terms, unix))?
        })
    }

    pub(super) fn kv_converged(
        &self,
        reading: &Reading,
        terms: &Terms,
        simulator: &mut Simulator,
    ) -> Result<bool, String> {
        if !terms.kv {
            return Ok(false);
        }
        if let Some(text) = self.kv_lacks(reading, terms, simulator) {
            return Err(format!("kv: {text}"));
        }
        let unix = simulator_unix(simulator, simulator.now());
        let now = self.kv.enforced(simulator, &terms.kv_prefix);
        let stays = now.keys.iter().find(|(net, (_, entry))| {
            let ends_soon = entry.expiration_unix.is_some_and(|at| at <= unix + SOON_SECS);
            // What a range is to cover waits for it.
            let waits = now.is_foreign && reading.keys.keys().any(|range| range.contains(*net));
            // What the community lifted waits for the next write of its shard.
            !reading.keys.contains_key(*net) && !ends_soon && !waits && !now.by_shards
        });
        if let Some((net, _)) = stays {
            return Err(format!("kv: {} should not be there", written(net)));
        }
        let mut ranges = now.ranges.iter();
        let stays = ranges
            .find(|(net, (_, ends))| !reading.keys.contains_key(*net) && *ends > unix + SOON_SECS);
        if let Some(region) = now.region_too_much(reading, unix + SOON_SECS) {
            return Err(format!("kv: {region} should not be there"));
        }
        match stays {
            Some((net, _)) => Err(format!("kv: the range {net} should not be there")),
            None => Ok(now.is_foreign),
        }
    }
}

/// The date as Cloudflare has it.
fn simulator_unix(simulator: &Simulator, at: Duration) -> u64 {
    let start = simulator.options().start + at;
    start.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The date as Cloudflare had it when this was read, by the same count.
fn simulated(reading: &Reading) -> u64 {
    let start = simulator::Options::default().start + reading.at;
    start.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
