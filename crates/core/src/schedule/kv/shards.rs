//! The schedule of the layout `shards`: which of its values are written, and what then stands in them.
//!
//! A value is one write, whatever changes in it, so it is as urgent as the most urgent change in it. What is
//! not urgent and opens the edge for somebody whom the community lifted rides on the next write, and makes
//! one itself when the value is old.

use std::collections::BTreeSet;

use crate::address::Address;
use crate::api::cloudflare::kv::shards::{
    Lines, Marker, SHARD_BYTES_MAX, UNITS, Unit, WIDE, push_line, push_regions, shard, unit_key,
};
use crate::api::cloudflare::kv::{Pair, Ranges, Value, ranges_key};
use crate::decision::Remediation;
use crate::desired::Desired;
use crate::observed::kv::{ObservedKeys, ObservedShards};
use crate::plan::kv::{KvPlan, runs_out, ttl_secs};
use crate::plan::{Class, Why};
use crate::review::Approved;
use crate::state::{STALE_SECS, ShardsHistory, is_just_written};

use super::{Budget, Bulk, Effect, Schedule, in_batches};

/// How long the community's lifts ride.
const RIDE_SECS_MAX: u64 = 6 * 3_600;
/// The value beside the shards says which layout is served. It must outlive every entry, also if no run comes
/// any more; it is written again when it is as old as this.
const WIDE_AGE_SECS: u64 = 30 * 24 * 3_600;
const WIDE_TTL_SECS: u64 = 400 * 24 * 3_600;
/// An empty value may go: a value that is absent is empty.
const EMPTY_TTL_SECS: u64 = 3_600;

/// What the schedule depends on beside the plan.
#[derive(Debug, Clone, Copy)]
pub struct Shards<'a> {
    /// What should be there.
    pub desired: &'a Desired,
    /// What is there.
    pub observed: &'a ObservedShards,
    /// What is remembered of it.
    pub history: &'a ShardsHistory,
    /// What Workers shall read.
    pub marker: Marker,
    /// Whether they read this layout now. Before, nothing rides: what was lifted must not come back when they do.
    pub is_served: bool,
    /// What our keys begin with.
    pub prefix: &'a str,
    /// Now, in Unix seconds.
    pub now: u64,
}

/// What changes in a value, taken together.
#[derive(Debug, Clone, Copy, Default)]
struct Change {
    /// The most urgent change that makes a write; `None` = there is none.
    class: Option<Class>,
    own: bool,
    effect: Effect,
}

impl Change {
    fn add(&mut self, class: Class, own: bool, effect: Effect) {
        self.class = Some(self.class.map_or(class, |most| most.min(class)));
        self.own |= own;
        self.effect = self.effect.and(effect);
    }
}

/// What is sent now.
pub fn shards(plan: &Approved<KvPlan>, input: Shards<'_>, budget: &mut Budget) -> Schedule {
    let mut schedule = Schedule { waiting: plan.waiting().clone(), ..Schedule::default() };
    let all = changes(plan, input, &LeftOut::default());
    let mut values = Values::new(input, plan, |unit| all[unit].class.is_some());
    let changes = changes(plan, input, &values.left_out);
    let is_kept = |unit: usize| {
        let seen = &input.observed.units[unit];
        let Shards { history, now, .. } = input;
        let is_early = history.is_stale(unit, seen.at(), now)
            || history.is_just_written(unit, now)
            || is_just_written(seen.at(), now);
        *seen == Unit::Foreign || is_early
    };
    // The last is no value: what finds no room.
    let mut goes = [false; UNITS + 1];
    let mut is_over = [false; UNITS + 1];
    for class in Class::ALL {
        // Of equals the one with the marker first: without that, none of the others is read.
        for unit in (0..UNITS).rev().filter(|unit| changes[*unit].class == Some(class)) {
            if is_kept(unit) {
                continue;
            }
            let fits = budget.write(class, changes[unit].own);
            (goes[unit], is_over[unit]) = (fits, !fits);
        }
    }
    let mut stays = |unit: usize, why: Why, address: Option<Address>| {
        let left_out = &values.left_out.addresses;
        if goes[unit] && address.is_none_or(|address| !left_out.contains(&address)) {
            return;
        }
        match is_over[unit] {
            true => schedule.over(why, address),
            false => schedule.wait(why, address),
        }
    };
    for put in plan.puts() {
        stays(shard(&put.address), put.why, Some(put.address));
    }
    if input.observed.marker != Some(input.marker) {
        // Without the marker nothing of the layout is served: it is said to wait, for the budget too.
        stays(WIDE, Why::Refresh, None);
    }
    let ranges = plan.ranges();
    ranges.puts().iter().for_each(|put| stays(WIDE, put.why, Some(put.address)));
    ranges.removals().iter().for_each(|gone| stays(WIDE, gone.why, Some(gone.range)));
    for change in ranges.regions() {
        match values.left_out.regions.contains(&change.region) {
            true => stays(UNITS, change.why, None),
            false => stays(WIDE, change.why, None),
        }
    }
    if ranges.exceptions_differ() {
        stays(WIDE, Why::Protected, None);
    }
    let mut riding = 0;
    for delete in plan.deletes() {
        let Some(address) = delete.address else { continue };
        let unit = shard(&address);
        if delete.after.is_some() || !goes[unit] && rides(delete.why, delete.class, unit, input) {
            riding += 1;
        } else {
            stays(unit, delete.why, Some(address));
        }
    }
    schedule.riding = riding;
    let LeftOut { addresses, regions } = &values.left_out;
    addresses.iter().for_each(|address| schedule.left_out.add(&address.to_string()));
    regions.iter().for_each(|region| schedule.left_out.add(region));
    let mut pairs = Vec::new();
    for unit in (0..UNITS).filter(|unit| goes[*unit]) {
        let (body, last) = std::mem::take(&mut values.bodies[unit]);
        let left = last.saturating_sub(input.now).max(STALE_SECS);
        let (marker, ttl_secs) = match (unit, body.is_empty()) {
            (WIDE, _) => (Some(input.marker), left.max(WIDE_TTL_SECS)),
            (_, true) => (None, EMPTY_TTL_SECS),
            (_, false) => (None, left),
        };
        let value = Value::Lines(Box::new(Lines { unit, marker, body }));
        let pair = Pair { key: unit_key(input.prefix, unit), value, ttl_secs };
        let Change { own, effect, .. } = changes[unit];
        let effect = Effect { own: u32::from(own), ranges: unit == WIDE, ..effect };
        pairs.push((Class::Rest, (effect, pair)));
    }
    let bulks = in_batches(pairs.into_iter(), Bulk::Put);
    schedule.bulks = bulks.into_iter().map(|(_, bulk)| bulk).collect();
    schedule
}

/// Whether a removal waits for another change of its shard.
fn rides(why: Why, class: Class, unit: usize, input: Shards<'_>) -> bool {
    let is_old = input.now >= input.observed.units[unit].at().saturating_add(RIDE_SECS_MAX);
    input.is_served && class == Class::Rest && (why == Why::RanOut || !is_old)
}

/// What changes, value by value, but for what finds no room.
fn changes(plan: &KvPlan, input: Shards<'_>, left_out: &LeftOut) -> [Change; UNITS] {
    let mut changes = [Change::default(); UNITS];
    let LeftOut { addresses, regions } = left_out;
    for put in plan.puts().iter().filter(|put| !addresses.contains(&put.address)) {
        changes[shard(&put.address)].add(put.class, put.own, Effect::of_put(put));
    }
    for delete in plan.deletes().iter().filter(|delete| delete.after.is_none()) {
        let Some(address) = delete.address else { continue };
        let unit = shard(&address);
        let effect = Effect { deleted: 1, ..Effect::default() };
        if rides(delete.why, delete.class, unit, input) {
            changes[unit].effect = changes[unit].effect.and(effect);
        } else {
            changes[unit].add(delete.class, false, effect);
        }
    }
    let wide = &mut changes[WIDE];
    let ranges = plan.ranges();
    let puts = ranges.puts().iter().filter(|put| addresses.contains(&put.address)).count();
    let changed = ranges.regions().iter().filter(|change| regions.contains(&change.region)).count();
    if let Some(class) = ranges.class().filter(|_| puts + changed < ranges.len()) {
        wide.add(class, ranges.is_own(), Effect::of_ranges(plan));
    }
    let seen = &input.observed.units[WIDE];
    if input.observed.marker != Some(input.marker) {
        // Without it nothing of the layout is served: it must not wait for the budget.
        wide.add(Class::OwnBan, true, Effect::default());
    } else if input.now >= seen.at().saturating_add(WIDE_AGE_SECS) {
        wide.add(Class::Rest, false, Effect::default());
    }
    changes
}

/// The lines of the values that may be written.
struct Values {
    /// Each with the end of its last entry.
    bodies: [(String, u64); UNITS],
    left_out: LeftOut,
}

/// Who finds no room.
#[derive(Debug, Default)]
struct LeftOut {
    addresses: BTreeSet<Address>,
    regions: BTreeSet<String>,
}

/// What may stand in a value.
const BODY_BYTES_MAX: usize = SHARD_BYTES_MAX - HEAD_BYTES_MAX;

impl Values {
    /// Everything that is desired, and what stays although it is not. What is decided here comes first, so
    /// that it is the community that finds no room.
    fn new(input: Shards<'_>, plan: &KvPlan, is_written: impl Fn(usize) -> bool) -> Self {
        let mut values = Self { bodies: Default::default(), left_out: LeftOut::default() };
        let written: Vec<bool> = (0..UNITS).map(is_written).collect();
        let goes = plan.deletes().iter().filter(|delete| delete.after.is_none());
        let goes: BTreeSet<Address> = goes.filter_map(|delete| delete.address).collect();
        for own in [true, false] {
            for wanted in input.desired.keys().filter(|wanted| wanted.own == own) {
                let expires = input.now + ttl_secs(wanted.remaining);
                values.push(&written, wanted.address, wanted.value, expires);
            }
            if !own {
                break;
            }
            for (address, entry) in input.observed.keys.entries() {
                let (Some(metadata), Some(expires)) = (entry.metadata, entry.expires) else {
                    continue;
                };
                let stays = !input.desired.has_key(address)
                    && !goes.contains(address)
                    && !runs_out(entry, input.now);
                if stays {
                    values.push(&written, *address, metadata.value, expires);
                }
            }
        }
        if written[WIDE] {
            values.push_wide(plan);
        }
        values
    }

    fn push(&mut self, written: &[bool], address: Address, value: Remediation, expires: u64) {
        let unit = if address.is_single() { shard(&address) } else { WIDE };
        if !written[unit] {
            return;
        }
        let (body, last) = &mut self.bodies[unit];
        let before = body.len();
        push_line(body, &address.to_string(), value, expires);
        if body.len() > BODY_BYTES_MAX {
            body.truncate(before);
            self.left_out.addresses.insert(address);
        } else {
            *last = expires.max(*last);
        }
    }

    fn push_wide(&mut self, plan: &KvPlan) {
        let content = plan.ranges().content();
        let (body, last) = &mut self.bodies[WIDE];
        let mut regions = content.regions.clone();
        push_regions(body, &regions);
        while body.len() > BODY_BYTES_MAX
            && let Some((region, _)) = regions.entries.pop()
        {
            let end = body.len() - 1;
            body.truncate(body[..end].rfind('\n').map_or(0, |at| at + 1));
            self.left_out.regions.insert(region);
        }
        *last = content.last().unwrap_or(0);
        for (range, entry) in &content.ranges {
            self.push(&[true; UNITS], *range, entry.value, entry.expires);
        }
    }
}

/// More than the first line of any value.
const HEAD_BYTES_MAX: usize = 128;

/// What takes the keys away, when nobody is served from them any more.
pub fn clear_keys(observed: &ObservedKeys, prefix: &str, budget: &mut Budget) -> Schedule {
    let keys = observed.entries().keys().map(|address| format!("{prefix}{address}"));
    let ranges = matches!(observed.ranges(), Ranges::Ours { .. }).then(|| ranges_key(prefix));
    clear(keys.chain(observed.misspelt().iter().cloned()).chain(ranges), budget)
}

/// What takes the shards away, and the marker.
pub fn clear_shards(observed: &ObservedShards, prefix: &str, budget: &mut Budget) -> Schedule {
    let ours = |unit: &usize| matches!(observed.units[*unit], Unit::Ours(_));
    clear((0..UNITS).filter(ours).map(|unit| unit_key(prefix, unit)), budget)
}

fn clear(keys: impl Iterator<Item = String>, budget: &mut Budget) -> Schedule {
    let effect = Effect { deleted: 1, ..Effect::default() };
    let (goes, stays): (Vec<_>, Vec<_>) = keys.partition(|_| budget.delete(Class::Rest));
    let mut schedule = Schedule::default();
    stays.iter().for_each(|_| schedule.over(Why::Moved, None));
    let goes = goes.into_iter().map(|key| (Class::Rest, (effect, key)));
    let bulks = in_batches(goes, Bulk::Delete);
    schedule.bulks = bulks.into_iter().map(|(_, bulk)| bulk).collect();
    schedule
}

#[cfg(test)]
mod tests;
