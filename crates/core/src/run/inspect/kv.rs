//! KV, as a look shows it.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::address::Address;
use crate::api::cloudflare::kv::ranges_key;
use crate::api::cloudflare::kv::shards::Layout;
use crate::decide::kv::{Decision, Remembered, TARGET, When, decide};
use crate::decision::Remediation;
use crate::desired::Desired;
use crate::observed::kv::ObservedKv;
use crate::plan::Why;
use crate::plan::kv::layout::{Other, ready_in};
use crate::plan::kv::{Delete, Put};
use crate::ports::Host;
use crate::report::kv::LayoutReport;
use crate::run::status::KvStatus;
use crate::schedule::kv::{Bulk, Schedule};
use crate::settings::Kv;

use super::{Guard, Look, Until, Wanted, held_until, yielded};

/// What a run would do in KV.
#[derive(Debug, Serialize)]
pub struct KvView {
    /// Keys and ranges there now.
    pub now: u64,
    /// Of those, as desired.
    pub keep: u64,
    /// Of those, wanted no more, and about to expire by themselves.
    pub running_out: u64,
    /// What comes or is written again.
    pub put: Vec<KvAddition>,
    /// Countries and autonomous systems that come, change or go.
    pub regions: Vec<KvRegion>,
    /// What goes.
    pub delete: Vec<KvRemoval>,
    /// What would go, and the guard holds back.
    pub held: Vec<KvRemoval>,
    /// What waits, for budget or because it cannot be written yet, by reason.
    pub waiting: Vec<(&'static str, u64)>,
    /// Whether some of it waits for budget.
    pub is_over_budget: bool,
    /// The day's budget.
    pub budget: KvStatus,
    /// How far one layout has come in taking over from the other; `None` = there is one only.
    pub layout: Option<LayoutView>,
    /// Ranges that cannot be written, because the key `ranges` is somebody else's.
    pub blocked_ranges: u64,
    /// What the guard holds back.
    pub guard: Option<Guard>,
    /// Why removals go that the guard held so far.
    pub yielded: Option<String>,
    /// Keys there that no decision asks for, and none ever did as far as is remembered; `None` = not known.
    pub not_crowdsecs: Option<u64>,
}

/// Two layouts, and what becomes of the one that Workers do not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayoutView {
    /// The layout that Workers read: `keys` or `shards`.
    pub served: &'static str,
    /// The other one.
    pub other: &'static str,
    /// What becomes of that: `written` (it is served next), `kept` (up to date), `removed`.
    pub becomes: &'static str,
    /// Entries that differ there, or keys that are left to be deleted.
    pub left: u64,
    /// What comes next by itself: `served` or `removed`; `None` = nothing before what is left is done, or before
    /// `kv_layout` changes.
    pub next: Option<&'static str>,
    /// In how many seconds at the earliest.
    pub next_secs: Option<u64>,
}

/// An address in the layout that Workers do not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InOther {
    /// That layout.
    pub layout: &'static str,
    /// Its value there; `None` = it is not there, or not of this program's making.
    pub value: Option<Remediation>,
}

/// A key, or a range, that comes or is written again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KvAddition {
    /// Which address.
    pub address: Address,
    /// Its value.
    pub value: Remediation,
    /// Seconds until it expires.
    pub seconds: u64,
    /// Why.
    pub why: &'static str,
    /// Who decided it.
    pub origin: String,
    /// What the address did, or the name of the list.
    pub scenario: String,
    /// It is not sent by the next run.
    pub waits: bool,
}

/// A country or an autonomous system that comes, changes or goes, as `country:CN` or `as:64496`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KvRegion {
    /// Which.
    pub region: String,
    /// Its value; `None` = it goes.
    pub value: Option<Remediation>,
    /// Why.
    pub why: &'static str,
    /// It is not sent by the next run.
    pub waits: bool,
}

/// A key, or a range, that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KvRemoval {
    /// The key, or the range.
    pub key: String,
    /// Why.
    pub why: &'static str,
    /// Whether CrowdSec ever wanted it; `None` = that is not known.
    pub was_wanted: Option<bool>,
    /// It is not sent by the next run.
    pub waits: bool,
}

/// Where an address stands in KV.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InKv {
    /// The value that it should have; `None` = LAPI could not be read.
    pub desired: Option<Wanted>,
    /// Whether it has a key now, or is one of the ranges; `None` = KV could not be read.
    pub at_edge: Option<bool>,
    /// Its value, where this program wrote it.
    pub value: Option<Remediation>,
    /// When it expires, Unix seconds; `None` = never, or not at the edge.
    pub expires: Option<u64>,
    /// Other ranges in KV that it is inside of.
    pub inside: Vec<(Address, Remediation)>,
    /// The same in the layout that is not served, while there are two.
    pub other: Option<InOther>,
    /// What follows; `None` = a side could not be read.
    pub verdict: Option<KvVerdict>,
}

/// What a run would do with an address in KV.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KvVerdict {
    /// Why it is written or deleted; `None` = it is left.
    pub change: Option<&'static str>,
    /// Whether CrowdSec ever wanted it, if it goes; `None` = that is not known.
    pub was_wanted: Option<bool>,
    /// When the guard lets its removal go; `None` = it is not held.
    pub held: Option<Until>,
    /// The guard held it so far, and it goes with the next run.
    pub is_let_go: bool,
    /// The change is not sent by the next run, for want of budget.
    pub waits_for_budget: bool,
}

impl<H: Host> Look<'_, H> {
    pub(super) fn decide_keys(&self, kv: &Kv, states: (&Desired, &ObservedKv)) -> Decision {
        let held = self.memory.guard.held(self.host, TARGET);
        let remembered =
            Remembered { quota: &self.memory.quota, held: held.as_ref(), ends: &self.memory.ends };
        let when = When { began: self.began, now: self.now };
        decide(self.settings, kv, states, remembered, when)
    }

    fn put(&self, put: &Put, sent: bool) -> KvAddition {
        let (origin, scenario) = self.reasons.of(&put.address).unwrap_or_default();
        KvAddition {
            address: put.address,
            value: put.value,
            seconds: put.ttl_secs,
            why: put.why.as_str(),
            origin: origin.to_owned(),
            scenario: scenario.to_owned(),
            waits: !sent,
        }
    }

    fn gone(&self, key: String, address: Option<&Address>, why: Why, sent: bool) -> KvRemoval {
        let was_wanted = match (why, address) {
            (Why::Lifted, Some(address)) => self.memory.was_wanted(address),
            _ => None,
        };
        KvRemoval { key, why: why.as_str(), was_wanted, waits: !sent }
    }

    fn delete(&self, delete: &Delete, sent: bool) -> KvRemoval {
        self.gone(delete.key.clone(), delete.address.as_ref(), delete.why, sent)
    }
}

/// The keys that are sent.
fn sent(schedule: &Schedule) -> BTreeSet<&str> {
    let keys = schedule.bulks().iter().flat_map(|bulk| -> Vec<&str> {
        match bulk {
            Bulk::Put(pairs) => pairs.as_slice().iter().map(|(_, pair)| &*pair.key).collect(),
            Bulk::Delete(keys) => keys.as_slice().iter().map(|(_, key)| &**key).collect(),
        }
    });
    keys.collect()
}

impl KvView {
    pub(super) fn of<H: Host>(decision: &Decision, kv: &Kv, look: &Look<'_, H>) -> Self {
        let Decision { review, schedule, course, .. } = decision;
        let plan = &review.approved;
        let sent = sent(schedule);
        let is_sent = |address: &Address, key: &str| match course.served {
            Layout::Keys => sent.contains(key),
            Layout::Shards => !schedule.waits(address),
        };
        let key_sent = |address: &Address| is_sent(address, &format!("{}{address}", kv.prefix));
        let ranges_key = ranges_key(&kv.prefix);
        let range_sent = |range: &Address| is_sent(range, &ranges_key);
        let ranges = plan.ranges();
        let put = ranges.puts().iter().map(|put| look.put(put, range_sent(&put.address)));
        let put = put.chain(plan.puts().iter().map(|put| look.put(put, key_sent(&put.address))));
        let range = |gone: &crate::plan::kv::RangeRemoval, sent| {
            look.gone(gone.range.to_string(), Some(&gone.range), gone.why, sent)
        };
        let delete = ranges.removals().iter().map(|gone| range(gone, range_sent(&gone.range)));
        let waits = !schedule.bulks().iter().any(Bulk::has_ranges);
        let regions = ranges.regions().iter().map(|change| KvRegion {
            region: change.region.clone(),
            value: change.value,
            why: change.why.as_str(),
            waits,
        });
        let keys = plan.deletes().iter();
        let delete_sent = |gone: &Delete| match &gone.address {
            Some(address) => is_sent(address, &gone.key),
            None => sent.contains(gone.key.as_str()),
        };
        let delete = delete.chain(keys.map(|gone| look.delete(gone, delete_sent(gone))));
        let held = ranges.held().iter().map(|gone| range(gone, false));
        let held = held.chain(plan.held_keys().iter().map(|gone| look.delete(gone, false)));
        let (delete, held): (Vec<_>, Vec<_>) = (delete.collect(), held.collect());
        let strangers = delete.iter().chain(&held).filter(|gone| gone.was_wanted == Some(false));
        let waiting = schedule.waiting_by_reason();
        Self {
            now: plan.observed(),
            keep: plan.keep(),
            running_out: plan.running_out(),
            put: put.collect(),
            regions: regions.collect(),
            waiting: waiting.into_iter().map(|(why, count)| (why.as_str(), count)).collect(),
            is_over_budget: schedule.is_over_budget(),
            budget: KvStatus::of(&look.memory.quota, kv, look.now),
            layout: LayoutView::of(decision, kv, look),
            blocked_ranges: ranges.blocked().count,
            guard: Guard::of(review),
            yielded: yielded(review),
            not_crowdsecs: look.memory.knows_ends.then_some(strangers.count() as u64),
            delete,
            held,
        }
    }
}

impl LayoutView {
    fn of<H: Host>(decision: &Decision, kv: &Kv, look: &Look<'_, H>) -> Option<Self> {
        let Decision { course, other, is_complete, youngest, .. } = decision;
        let report = LayoutReport::of(course, other.as_ref().map(|(_, left)| *left))?;
        let (served, other) = (report.served.as_str(), report.served.other().as_str());
        let history = look.memory.quota.shards.bound(kv.namespace.as_str(), &kv.prefix);
        let ready_in = ready_in(history.complete_secs(look.now), *youngest, look.now);
        let switch = (course.is_waiting() && *is_complete).then_some(("served", ready_in));
        let next = switch.or(course.clears_in(kv.layout, look.now).map(|secs| ("removed", secs)));
        Some(Self {
            served,
            other,
            becomes: report.other,
            left: report.left,
            next: next.map(|(what, _)| what),
            next_secs: next.map(|(_, secs)| secs),
        })
    }
}

impl InKv {
    pub(super) fn of<H: Host>(
        address: &Address,
        kv: &Kv,
        (desired, observed): (Option<&Desired>, Option<&ObservedKv>),
        decision: Option<&Decision>,
        look: &Look<'_, H>,
    ) -> Self {
        let wanted = desired.map(|desired| {
            let mut all = desired.keys().chain(desired.ranges());
            let wanted = all.find(|wanted| wanted.address == *address);
            Wanted::from(wanted.map(|wanted| wanted.value))
        });
        let mut here = Self {
            desired: wanted,
            at_edge: observed.map(|_| false),
            value: None,
            expires: None,
            inside: Vec::new(),
            other: None,
            verdict: decision.map(|decision| KvVerdict::of(address, kv, decision, look)),
        };
        let Some(observed) = observed else { return here };
        let served = decision.map_or(Layout::Keys, |decision| decision.course.served);
        if decision.is_some_and(|decision| decision.course.other != Other::Left) {
            let there = observed.of(served.other());
            let entry = there.and_then(|there| there.entries().get(address)?.metadata);
            let mut ranges = there.into_iter().flat_map(|there| there.ranges().in_force(look.now));
            let range = ranges.find(|(range, _)| range == address).map(|(_, entry)| entry.value);
            let value = entry.map(|metadata| metadata.value).or(range);
            here.other = Some(InOther { layout: served.other().as_str(), value });
        }
        let Some(observed) = observed.of(served) else { return here };
        if let Some(entry) = observed.entries().get(address) {
            here.at_edge = Some(true);
            here.value = entry.metadata.map(|metadata| metadata.value);
            here.expires = entry.expires;
        }
        for (range, entry) in observed.ranges().in_force(look.now) {
            if range == *address {
                here.at_edge = Some(true);
                here.value = Some(entry.value);
                here.expires = Some(entry.expires);
            } else if range.contains(address) {
                here.inside.push((range, entry.value));
            }
        }
        here
    }
}

impl KvVerdict {
    fn of<H: Host>(address: &Address, kv: &Kv, decision: &Decision, look: &Look<'_, H>) -> Self {
        let Decision { review, schedule, course, .. } = decision;
        let plan = &review.approved;
        let ranges = plan.ranges();
        let puts = plan.puts().iter().chain(ranges.puts());
        let put = puts.filter(|put| put.address == *address).map(|put| put.why);
        let keys = plan.deletes().iter().chain(plan.held_keys());
        let keys = keys.filter(|gone| gone.address == Some(*address)).map(|gone| gone.why);
        let gone = ranges.removals().iter().chain(ranges.held());
        let gone = gone.filter(|gone| gone.range == *address).map(|gone| gone.why);
        let removal = keys.chain(gone).next();
        let held = held_until(review, address, &look.settings.guard, look.now);
        let held_before = look.memory.guard.held(look.host, TARGET);
        let why = put.into_iter().next().or(removal);
        let key = if address.is_single() {
            format!("{}{address}", kv.prefix)
        } else {
            ranges_key(&kv.prefix)
        };
        let is_sent = match course.served {
            Layout::Keys => sent(schedule).contains(&*key),
            Layout::Shards => !schedule.waits(address),
        };
        Self {
            change: why.map(Why::as_str),
            was_wanted: match removal {
                Some(Why::Lifted) => look.memory.was_wanted(address),
                _ => None,
            },
            is_let_go: held.is_none()
                && removal.is_some()
                && held_before.is_some_and(|held| held.groups.get(address).is_some()),
            waits_for_budget: why.is_some()
                && held.is_none()
                && schedule.is_over_budget()
                && !is_sent,
            held,
        }
    }
}
