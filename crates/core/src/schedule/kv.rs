//! KV's schedule: bulk requests in the order in which they are sent, within the day's budget.
//!
//! Cloudflare counts writes and deletes of a day apart, and so does the budget. It is spent by class: of
//! the writes a quarter is kept for bans that are decided here, however long a community list is; an
//! owner's key is deleted whatever the budget says; a later expiry comes last.

mod shards;

use std::collections::BTreeSet;
use std::num::NonZeroU64;

use crate::address::Address;
use crate::api::cloudflare::kv::{Pair, Value, ranges_key};
use crate::log::thousands;
use crate::order::Order;
use crate::plan::kv::{Delete, KvPlan, Put, RangesWrite};
use crate::plan::{BATCH_ITEMS_MAX, Batch, Class, Why};
use crate::review::Approved;
use crate::skipped::Left;
use crate::small::SmallMap;
use crate::state::quota::{Quota, Spending};

pub use shards::{Shards, clear_keys, clear_shards, shards};

/// What is sent to the namespace.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schedule {
    bulks: Vec<Bulk>,
    /// Changes that have no budget.
    over_budget: SmallMap<Why, u64>,
    /// The addresses and ranges whose planned change is not sent now.
    stays: BTreeSet<Address>,
    /// Changes whose key cannot be written or deleted yet.
    waiting: SmallMap<Why, u64>,
    /// Removals that go with the next write of their shard.
    riding: u64,
    /// Entries for which there is no room in their value.
    left_out: Left,
    leans: Option<Leans>,
}

/// On what the value of all ranges leans when somebody in it goes, or becomes weaker: those inside are met by keys,
/// or values, of their own by then.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Leans {
    /// The names of those, which are sent before it; none = all that is.
    pub(crate) on: BTreeSet<String>,
    /// What is sent in its place if they were not all taken.
    pub(crate) instead: Option<Bulk>,
}

impl Leans {
    /// Whether it leans on something of this.
    pub(crate) fn is_on(&self, bulk: &Bulk) -> bool {
        self.on.is_empty() || bulk.has_any(&self.on)
    }
}

/// One bulk request.
#[derive(Debug, Clone, PartialEq)]
pub enum Bulk {
    /// Keys to write, and what each puts right.
    Put(Batch<(Effect, Pair)>),
    /// Keys to delete.
    Delete(Batch<(Effect, String)>),
}

/// What differs no more when a key was written or deleted: the key, or each range that changes in it. Kept
/// small: there may be 150,000.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effect {
    /// Keys and ranges written because their value or existence was wrong.
    pub written: u32,
    /// Keys and ranges written because their expiry was off.
    pub refreshed: u32,
    /// Keys deleted, and ranges taken out.
    pub deleted: u32,
    /// Of the written keys, those of bans that were decided here: a write of all ranges is one.
    pub own: u32,
    /// It goes only after the ranges that are written before it.
    pub after_ranges: bool,
    /// A key is deleted whose place a range takes.
    pub replaced: bool,
    /// It is the key of all ranges.
    pub ranges: bool,
}

impl Effect {
    fn of_put(put: &Put) -> Self {
        let own = u32::from(put.own);
        match put.why {
            Why::Refresh => Self { refreshed: 1, own, ..Self::default() },
            _ => Self { written: 1, own, ..Self::default() },
        }
    }

    /// Of the one write, or delete, of the key of all ranges.
    fn of_ranges(plan: &KvPlan) -> Self {
        let ranges = plan.ranges();
        let regions = ranges.regions().iter().map(|change| match (change.value, change.why) {
            (None, _) => Self { deleted: 1, ..Self::default() },
            (Some(_), Why::Refresh) => Self { refreshed: 1, ..Self::default() },
            (Some(_), _) => Self { written: 1, ..Self::default() },
        });
        let puts = ranges.puts().iter().map(Self::of_put);
        let all = puts.chain(regions).fold(Self::default(), Self::and);
        Self {
            written: all.written + u32::from(ranges.exceptions_differ()),
            deleted: all.deleted + ranges.removals().len() as u32,
            own: u32::from(ranges.is_own()),
            ranges: true,
            ..all
        }
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            written: self.written + other.written,
            refreshed: self.refreshed + other.refreshed,
            deleted: self.deleted + other.deleted,
            own: self.own + other.own,
            after_ranges: self.after_ranges || other.after_ranges,
            replaced: self.replaced || other.replaced,
            ranges: self.ranges || other.ranges,
        }
    }
}

impl Bulk {
    /// Keys in it.
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> u64 {
        match self {
            Self::Put(pairs) => pairs.len() as u64,
            Self::Delete(keys) => keys.len() as u64,
        }
    }

    /// What it puts right if it is taken whole.
    pub fn effect(&self) -> Effect {
        let effects: Box<dyn Iterator<Item = Effect>> = match self {
            Self::Put(pairs) => Box::new(pairs.as_slice().iter().map(|(effect, _)| *effect)),
            Self::Delete(keys) => Box::new(keys.as_slice().iter().map(|(effect, _)| *effect)),
        };
        effects.fold(Effect::default(), Effect::and)
    }

    /// Whose budget it spends.
    pub fn spending(&self) -> Spending {
        match self {
            Self::Put(_) => Spending::Writes,
            Self::Delete(_) => Spending::Deletes,
        }
    }

    /// Whether it writes, or deletes, the key of all ranges.
    pub fn has_ranges(&self) -> bool {
        self.effect().ranges
    }

    /// Whether a key of these names is in it.
    pub(crate) fn has_any(&self, names: &BTreeSet<String>) -> bool {
        match self {
            Self::Put(pairs) => pairs.as_slice().iter().any(|(_, pair)| names.contains(&pair.key)),
            Self::Delete(keys) => keys.as_slice().iter().any(|(_, key)| names.contains(key)),
        }
    }

    /// Without the key of all ranges, and that alone. Values are some megabytes, and are moved.
    fn apart(self) -> [Option<Self>; 2] {
        fn apart<T>(
            items: Batch<(Effect, T)>,
            bulk: fn(Batch<(Effect, T)>) -> Bulk,
        ) -> [Option<Bulk>; 2] {
            let (ranges, others): (Vec<_>, Vec<_>) =
                items.into_vec().into_iter().partition(|(of, _)| of.ranges);
            [others, ranges].map(|items| Batch::split(items).pop().map(bulk))
        }
        match self {
            Self::Put(pairs) => apart(pairs, Self::Put),
            Self::Delete(keys) => apart(keys, Self::Delete),
        }
    }

    /// What of it is meant, if anything is.
    pub(crate) fn only(&self, is_meant: &dyn Fn(&Effect, &str) -> bool) -> Option<Self> {
        match self {
            Self::Put(pairs) => {
                let meant = pairs.as_slice().iter().filter(|(of, pair)| is_meant(of, &pair.key));
                Batch::split(meant.cloned()).pop().map(Self::Put)
            }
            Self::Delete(keys) => {
                let meant = keys.as_slice().iter().filter(|(of, key)| is_meant(of, key));
                Batch::split(meant.cloned()).pop().map(Self::Delete)
            }
        }
    }
}

/// What of the plan is sent now, in the layout `keys`. The key of all ranges waits if it `is_early`: it was written
/// within the last second, or reads late.
pub fn schedule(
    plan: &Approved<KvPlan>,
    prefix: &str,
    is_early: bool,
    budget: &mut Budget,
) -> Schedule {
    let mut schedule = Schedule { waiting: plan.waiting().clone(), ..Schedule::default() };
    // All ranges are one write, as early as the most urgent of them.
    let ranges_class = plan.ranges().class();
    let own_ranges = plan.ranges().is_own();
    let mut ranges_go = false;
    let mut puts: Vec<&Put> = Vec::with_capacity(plan.puts().len());
    let mut wanted = plan.puts().iter().peekable();
    for class in Class::ALL {
        if ranges_class == Some(class) {
            ranges_go = !is_early
                && match plan.ranges().write() {
                    Some(RangesWrite::Put { .. }) => budget.write(class, own_ranges),
                    Some(RangesWrite::Delete) => budget.delete(class),
                    None => false,
                };
            if !ranges_go {
                let mut stays = |why, range| match is_early {
                    true => schedule.wait(why, range),
                    false => schedule.over(why, range),
                };
                let ranges = plan.ranges();
                ranges.puts().iter().for_each(|put| stays(put.why, Some(put.address)));
                ranges.removals().iter().for_each(|gone| stays(gone.why, Some(gone.range)));
                ranges.regions().iter().for_each(|of| stays(of.why, None));
                if ranges.exceptions_differ() {
                    stays(Why::Protected, None);
                }
            }
        }
        while let Some(put) = wanted.next_if(|put| put.class == class) {
            if put.is_early {
                schedule.wait(put.why, Some(put.address))
            } else if budget.write(class, put.own) {
                puts.push(put)
            } else {
                schedule.over(put.why, Some(put.address))
            }
        }
    }
    let comes: BTreeSet<Address> = if ranges_go {
        plan.ranges().puts().iter().map(|put| put.address).collect()
    } else {
        BTreeSet::new()
    };
    let mut deletes: Vec<&Delete> = Vec::new();
    for delete in plan.deletes() {
        let waits_for_range = delete.after.is_some_and(|range| !comes.contains(&range));
        if waits_for_range || is_early && delete.is_replaced() {
            *schedule.waiting.or_default(delete.why) += 1;
            schedule.stays.extend(delete.address);
        } else if budget.delete(delete.class) {
            deletes.push(delete);
        } else {
            schedule.over(delete.why, delete.address);
        }
    }
    let ranges = ranges_go.then_some(ranges_class).flatten();
    schedule.bulks = in_order(plan, prefix, ranges, &puts, &deletes);
    schedule
}

/// What may still be spent.
#[derive(Debug, Clone)]
pub struct Budget {
    writes: Option<u64>,
    deletes: Option<u64>,
    writes_exhausted: bool,
    deletes_exhausted: bool,
    /// Of the writes, for bans that are decided here.
    kept: u64,
}

impl Budget {
    /// Of this day. `max` is `kv_daily_writes_max`; `now` is in Unix seconds.
    pub fn new(quota: &Quota, max: Option<NonZeroU64>, now: u64) -> Self {
        Self {
            writes: quota.left(Spending::Writes, max, now),
            deletes: quota.left(Spending::Deletes, max, now),
            writes_exhausted: quota.is_exhausted(Spending::Writes, now),
            deletes_exhausted: quota.is_exhausted(Spending::Deletes, now),
            kept: quota.kept_for_own(max, now),
        }
    }

    /// What a layout that nobody is served from yet may take of it: half of the day's stays with the one
    /// that is served.
    #[must_use]
    pub fn spare(self, max: Option<NonZeroU64>) -> Self {
        let half = max.map_or(0, |max| max.get() / 2);
        Self { writes: self.writes.map(|left| left.saturating_sub(half)), kept: 0, ..self }
    }

    /// An owner's address leaves whatever our own budget says: from the ranges by a write, as a key by a
    /// delete.
    fn write(&mut self, class: Class, own: bool) -> bool {
        let ignores = class == Class::Owner && !self.writes_exhausted;
        let Some(left) = &mut self.writes else { return true };
        let usable = if own { *left } else { left.saturating_sub(self.kept) };
        if usable == 0 && !ignores {
            return false;
        }
        *left = left.saturating_sub(1);
        if own {
            self.kept = self.kept.saturating_sub(1);
        }
        true
    }

    fn delete(&mut self, class: Class) -> bool {
        let ignores = class == Class::Owner && !self.deletes_exhausted;
        let Some(left) = &mut self.deletes else { return true };
        if *left == 0 && !ignores {
            return false;
        }
        *left = left.saturating_sub(1);
        true
    }
}

/// The requests, by the most urgent change in each. Of equals an owner's keys go first, then what is written,
/// then what is deleted; last what goes after a range. `ranges` is the class of the ranges' write, if that
/// goes.
fn in_order(
    plan: &KvPlan,
    prefix: &str,
    ranges: Option<Class>,
    puts: &[&Put],
    deletes: &[&Delete],
) -> Vec<Bulk> {
    let mut pairs = None;
    let mut keys = Vec::new();
    let ranges_effect = Effect::of_ranges(plan);
    match ranges.zip(plan.ranges().write()) {
        Some((class, RangesWrite::Put { content, ttl_secs })) => {
            let value = Value::Ranges(Box::new(content.clone()));
            let pair = Pair { key: ranges_key(prefix), value, ttl_secs };
            pairs = Some((class, (ranges_effect, pair)));
        }
        Some((class, RangesWrite::Delete)) => {
            keys.push((class, (ranges_effect, ranges_key(prefix))));
        }
        None => {}
    }
    let pairs = pairs.into_iter().chain(puts.iter().map(|put| {
        let key = format!("{prefix}{}", put.address);
        let pair = Pair { key, value: Value::One(put.value), ttl_secs: put.ttl_secs };
        (put.class, (Effect::of_put(put), pair))
    }));
    keys.extend(deletes.iter().map(|delete| {
        let after_ranges = delete.after.is_some();
        let replaced = delete.is_replaced();
        let effect = Effect { deleted: 1, after_ranges, replaced, ..Effect::default() };
        (delete.class, (effect, delete.key.clone()))
    }));
    let (after, keys): (Vec<_>, Vec<_>) =
        keys.into_iter().partition(|(_, (effect, _))| effect.after_ranges);
    let (owners, keys): (Vec<_>, Vec<_>) =
        keys.into_iter().partition(|(class, _)| *class == Class::Owner);

    let mut bulks = in_batches(owners.into_iter(), Bulk::Delete);
    bulks.extend(in_batches(pairs, Bulk::Put));
    bulks.extend(in_batches(keys.into_iter(), Bulk::Delete));
    bulks.order_by_key(|(class, _)| *class);
    bulks.extend(in_batches(after.into_iter(), Bulk::Delete));
    bulks.into_iter().map(|(_, bulk)| bulk).collect()
}

/// As many bulks as the items need, each with the most urgent class in it.
fn in_batches<T>(
    items: impl Iterator<Item = (Class, T)>,
    bulk: impl Fn(Batch<T>) -> Bulk,
) -> Vec<(Class, Bulk)> {
    let mut classes = Vec::new();
    let batches = Batch::split(items.map(|(class, item)| {
        classes.push(class);
        item
    }));
    let most_urgent = classes.chunks(BATCH_ITEMS_MAX).filter_map(|of| of.iter().min().copied());
    most_urgent.zip(batches.into_iter().map(bulk)).collect()
}

impl Schedule {
    /// Its key cannot be written now, for another reason than the budget.
    pub(crate) fn wait(&mut self, why: Why, address: Option<Address>) {
        *self.waiting.or_default(why) += 1;
        self.stays.extend(address);
    }

    fn over(&mut self, why: Why, address: Option<Address>) {
        *self.over_budget.or_default(why) += 1;
        self.stays.extend(address);
    }

    /// Whether a change of this address, or range, waits although the plan has it.
    pub fn waits(&self, address: &Address) -> bool {
        self.stays.contains(address)
    }

    /// The bulk requests, in the order in which they are sent.
    pub fn bulks(&self) -> &[Bulk] {
        &self.bulks
    }

    /// Takes the bulk requests out, to send them, and what the value of all ranges leans on.
    pub(crate) fn take_bulks(&mut self) -> (Vec<Bulk>, Option<Leans>) {
        (std::mem::take(&mut self.bulks), self.leans.take())
    }

    /// The value of all ranges goes in a request of its own, after those of the keys and values that are named
    /// `on`, and as `kept` has it if these are not all taken: one request may take some keys and not others.
    pub(crate) fn lean(&mut self, on: BTreeSet<String>, mut kept: Self) {
        let Some(at) = self.bulks.iter().position(Bulk::has_ranges) else { return };
        let [others, ranges] = self.bulks.remove(at).apart();
        if let Some(others) = others {
            self.bulks.insert(at, others);
        }
        let after = self.bulks.iter().position(|bulk| bulk.effect().after_ranges);
        let end = after.unwrap_or(self.bulks.len());
        if let Some(ranges) = ranges {
            self.bulks.insert(end, ranges);
        }
        let instead = match kept.leans.take() {
            Some(leans) => leans.instead,
            None => kept.bulks.iter().find_map(|bulk| bulk.only(&|of, _| of.ranges)),
        };
        self.leans = Some(Leans { on, instead });
    }

    /// Removals that go with the next write of their shard, and that nothing waits for.
    pub fn riding(&self) -> u64 {
        self.riding
    }

    /// Entries for which there is no room in their value.
    pub fn left_out(&self) -> &Left {
        &self.left_out
    }

    /// Changes that wait, for budget or for something else.
    pub fn waiting(&self) -> u64 {
        self.over_budget.values().chain(self.waiting.values()).sum()
    }

    /// Whether some wait for budget.
    pub fn is_over_budget(&self) -> bool {
        !self.over_budget.is_empty()
    }

    /// What waits, by reason.
    pub fn waiting_by_reason(&self) -> SmallMap<Why, u64> {
        let mut all = self.waiting.clone();
        for (why, count) in &self.over_budget {
            *all.or_default(*why) += count;
        }
        all
    }

    /// What waits, as words: `lifted 3, refresh 10`.
    pub fn describe_waiting(&self) -> String {
        let parts = self.waiting_by_reason();
        let parts = parts.iter().map(|(why, n)| format!("{} {}", why.as_str(), thousands(*n)));
        parts.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests;
