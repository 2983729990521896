//! What is decided about KV.

use std::collections::BTreeSet;

use crate::address::Address;
use crate::api::cloudflare::kv::shards::{Layout, Unit, WIDE, shard, unit_key};
use crate::desired::Desired;
use crate::observed::kv::{ObservedKeys, ObservedKv, ObservedShards};
use crate::order::Gather;
use crate::plan::Class;
use crate::plan::kv::layout::{Course, Other, is_complete, is_ready, youngest_key};
use crate::plan::kv::{KvPlan, RangeRemoval, Rules, diff};
use crate::review::{Approved, Review, follow, review};
use crate::schedule::kv::{
    Budget, Bulk, Schedule, Shards, clear_keys, clear_shards, schedule as schedule_keys, shards,
};
use crate::settings::{Kv, Settings};
use crate::state::guard::Held;
use crate::state::quota::Quota;
use crate::state::{Ends, RANGES, is_just_written};

/// What is remembered of earlier runs.
#[derive(Debug, Clone, Copy)]
pub struct Remembered<'a> {
    /// Of what was written and deleted today, and when.
    pub quota: &'a Quota,
    /// Of the removals that the guard held back.
    pub held: Option<&'a Held>,
    /// Of what was desired.
    pub ends: &'a Ends,
}

/// When, in Unix seconds.
#[derive(Debug, Clone, Copy)]
pub struct When {
    /// When the run began: before LAPI and the namespace were read.
    pub began: u64,
    /// Now.
    pub now: u64,
}

/// What is decided.
#[derive(Debug)]
pub struct Decision {
    /// What differs in the layout that is served, and what of it may be done.
    pub review: Review<KvPlan>,
    /// What is sent there now.
    pub schedule: Schedule,
    /// Which layout that is, and what becomes of the other.
    pub course: Course,
    /// Where shards hand over to keys: what is sent to them instead, without the marker, if the keys that come
    /// with this run are not all taken.
    pub instead: Option<Schedule>,
    /// What is sent to the other now, and how much differs there.
    pub other: Option<(Schedule, u64)>,
    /// Whether the layout that is to be served next is complete.
    pub is_complete: bool,
    /// When the youngest value of the layout that is wanted was written, Unix seconds.
    pub youngest: u64,
}

/// The name under which what the guard holds is remembered.
pub const TARGET: &str = "kv";

/// Decides.
pub fn decide(
    settings: &Settings,
    kv: &Kv,
    (desired, observed): (&Desired, &ObservedKv),
    remembered: Remembered<'_>,
    When { began, now }: When,
) -> Decision {
    let Remembered { quota, held, ends } = remembered;
    let quota = quota.at(now);
    let history = &quota.shards.bound(kv.namespace.as_str(), &kv.prefix);
    let rules = Rules {
        prefix: &kv.prefix,
        tolerance: kv.tolerance,
        protected: &settings.protected,
        ends,
        now,
        began,
        ahead_since: quota.ahead_since(),
    };
    let (no_keys, no_shards) = (ObservedKeys::default(), ObservedShards::default());
    let there = There {
        keys: observed.keys.as_ref().unwrap_or(&no_keys),
        shards: observed.shards.as_ref().unwrap_or(&no_shards),
    };
    let written = there.keys.ranges().written().unwrap_or_default();
    let are_ranges_early = history.is_stale(RANGES, written, now)
        || history.is_just_written(RANGES, now)
        || is_just_written(written, now);
    let may_trust = !history.is_stale(WIDE, there.shards.units[WIDE].at(), now);
    let mut course = Course::of(kv.layout, observed, may_trust, now);
    let plan = diff(desired, there.of(course.served), rules);
    let is_desired = |address: &_| desired.has_key(address);
    // Shards whose marker was never written meet nobody: a run may have ended before. Who is not desired leaves them
    // before it comes, whatever the guard says. Where others took the marker, the guard judges what comes back with it.
    let is_unserved = course.served == Layout::Shards
        && there.shards.marker.is_none()
        && !history.has_written(WIDE);
    let review = match is_unserved {
        true => Review::unserved(plan.unserved()),
        false => review(plan, held.cloned(), is_desired, &settings.guard, now),
    };
    let mut other = None;
    let mut complete = false;
    if course.other == Other::Kept {
        let plan = diff(desired, there.of(course.served.other()), rules);
        // Who stays in the layout that is served stays in the other: the guard judges him where he is.
        let stays: BTreeSet<Address> =
            review.held.iter().chain(review.approved.fresh()).copied().gather();
        let plan = follow(plan, &stays);
        complete = course.is_waiting()
            && is_complete(
                &review.approved,
                &plan,
                (there.of(course.served), there.of(course.served.other())),
                now,
            )
            && matches!(there.shards.units[WIDE], Unit::Ours(_));
        other = Some(plan);
    }
    let schedules = |course: &Course| {
        let mut budget = Budget::new(&quota, kv.daily_writes_max, now);
        let marker = course.marker.unwrap_or_default();
        let once = |layout, plan: &Approved<KvPlan>, budget: &mut Budget| match layout {
            Layout::Keys => schedule_keys(plan, &kv.prefix, are_ranges_early, budget),
            Layout::Shards => {
                let (observed, prefix) = (there.shards, &*kv.prefix);
                // Not with a marker that comes only now: what was lifted meanwhile would come back with it.
                let read = observed.marker.map(|marker| marker.serves);
                let is_served = read == Some(Layout::Shards);
                let input = Shards { desired, observed, history, marker, is_served, prefix, now };
                shards(plan, input, budget)
            }
        };
        // A range that is lifted goes when the keys of those inside go with this run, after them, and not before.
        let send = |layout, plan: &Approved<KvPlan>, budget: &mut Budget| {
            let before = budget.clone();
            let (mut fewer, mut stay) = (None, Vec::new());
            loop {
                let plan: &Approved<KvPlan> = fewer.as_ref().unwrap_or(plan);
                let mut schedule = once(layout, plan, budget);
                // What is an owner's goes before everything, and does not wait for those who come.
                let is_owners = plan.ranges().class() == Some(Class::Owner);
                let is_meant = |address: &_| is_owners || schedule.waits(address);
                let is_unsure = layout == Layout::Keys && quota.is_listed_late(began);
                let needed = plan.needed(&is_meant, is_unsure.then_some(desired));
                if needed.is_empty() {
                    stay.iter().for_each(|of: &RangeRemoval| schedule.wait(of.why, Some(of.range)));
                    let leans = plan.needed(&|_| true, None);
                    if !leans.is_empty() {
                        let on = plan.inside(&leans).map(|address| match layout {
                            Layout::Keys => format!("{}{address}", kv.prefix),
                            Layout::Shards => unit_key(&kv.prefix, shard(&address)),
                        });
                        let kept = once(layout, &plan.keeping(&leans), &mut before.clone());
                        schedule.lean(on.gather(), kept);
                    }
                    return schedule;
                }
                // With them the one write may be another, and somebody else may have to wait for it.
                *budget = before.clone();
                fewer = Some(plan.keeping(&needed));
                stay.extend(needed);
            }
        };
        let schedule = send(course.served, &review.approved, &mut budget);
        let other = match (course.other, &other, course.served) {
            (Other::Kept, Some(plan), served) => {
                Some(send(served.other(), plan, &mut budget.spare(kv.daily_writes_max)))
            }
            (Other::Cleared, _, Layout::Shards) => {
                Some(clear_keys(there.keys, &kv.prefix, &mut budget))
            }
            (Other::Cleared, _, Layout::Keys) => {
                Some(clear_shards(there.shards, &kv.prefix, &mut budget))
            }
            _ => None,
        };
        (schedule, other)
    };
    let (mut schedule, mut sent) = schedules(&course);
    if is_unserved {
        // One request may take the first marker and not a shard, and a listing may lack keys that were written a moment
        // ago: whoever is met by those would then be let through. And who is to leave would come with it.
        let absent = (0..WIDE).filter(|unit| there.shards.units[*unit] == Unit::Absent);
        let leave = review.approved.deletes().iter().filter_map(|gone| gone.address.as_ref());
        let first = absent.chain(leave.map(shard)).map(|unit| unit_key(&kv.prefix, unit));
        let first: BTreeSet<String> = first.gather();
        if schedule.bulks().iter().any(|bulk| bulk.has_any(&first)) {
            schedule.lean(first, Schedule::default());
        }
    }
    let mut instead = None;
    let secs = history.complete_secs(now);
    let youngest = there.youngest(course.wanted);
    // What changes in one layout with this run has to change in the other too.
    let goes_along = |sent: &Schedule| sent.waiting() == 0 && sent.riding() == 0;
    let beside = there.of(course.served.other());
    // Nor is anybody left behind who is to go, and is too fresh for the guard to have judged him.
    let has_all = || review.approved.fresh().iter().all(|address| beside.has(address, now));
    if complete
        && may_trust
        && has_all()
        && sent.as_ref().is_some_and(goes_along)
        && is_ready(secs, youngest, now)
    {
        let switched = course.switched(now);
        let with_marker = schedules(&switched);
        // The marker takes a write of its own, for which another may have to wait: then it is too early.
        if with_marker.1.as_ref().is_some_and(goes_along) {
            course = switched;
            let without = std::mem::replace(&mut sent, with_marker.1);
            if let (Layout::Shards, Some(sent), Some(without)) = (course.wanted, &mut sent, without)
            {
                sent.lean(BTreeSet::new(), without);
            }
            let before = std::mem::replace(&mut schedule, with_marker.0);
            instead = (course.served == Layout::Shards).then_some(before);
        }
    }
    let other = sent.map(|sent| {
        let drift = match &other {
            Some(plan) => plan.drift() - sent.riding(),
            None => sent.bulks().iter().map(Bulk::len).sum::<u64>() + sent.waiting(),
        };
        (sent, drift)
    });
    Decision { review, schedule, course, instead, other, is_complete: complete, youngest }
}

/// Both layouts; what was not read is empty.
struct There<'a> {
    keys: &'a ObservedKeys,
    shards: &'a ObservedShards,
}

impl<'a> There<'a> {
    fn of(&self, layout: Layout) -> &'a ObservedKeys {
        match layout {
            Layout::Keys => self.keys,
            Layout::Shards => &self.shards.keys,
        }
    }

    /// When the youngest value of it was written.
    fn youngest(&self, layout: Layout) -> u64 {
        match layout {
            Layout::Keys => youngest_key(self.keys),
            Layout::Shards => self.shards.units.iter().map(Unit::at).max().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests;
