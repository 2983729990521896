//! KV's schedule: bulk requests in the order in which they are sent, within the day's budget.
//!
//! Cloudflare counts writes and deletes of a day apart, and so does the budget. It is spent by class: of
//! the writes a quarter is kept for bans that are decided here, however long a community list is; an
//! owner's key is deleted whatever the budget says; a later expiry comes last.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

use crate::address::Address;
use crate::api::cloudflare::kv::{Pair, RANGES_KEY, Value};
use crate::log::thousands;
use crate::plan::kv::{Delete, KvPlan, Put, RangesWrite};
use crate::plan::{Batch, Class, Why};
use crate::review::Approved;
use crate::state::quota::{Quota, Spending};

/// What is sent to the namespace.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schedule {
    bulks: Vec<Bulk>,
    /// Changes that have no budget.
    over_budget: BTreeMap<Why, u64>,
    /// Changes whose key cannot be written or deleted yet.
    waiting: BTreeMap<Why, u64>,
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
    /// Bans that were decided here, among the written.
    pub own: u32,
    /// It goes only after the ranges that are written before it.
    pub after_ranges: bool,
}

impl Effect {
    fn of_put(put: &Put) -> Self {
        let own = u32::from(put.class <= Class::OwnBan);
        match put.why {
            Why::Refresh => Self { refreshed: 1, own, ..Self::default() },
            _ => Self { written: 1, own, ..Self::default() },
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
        match self {
            Self::Put(pairs) => pairs.as_slice().iter().any(|(_, pair)| pair.key == RANGES_KEY),
            Self::Delete(keys) => keys.as_slice().iter().any(|(_, key)| key == RANGES_KEY),
        }
    }
}

/// What of the plan is sent now. `max` is `kv_daily_writes_max`; `now` is in Unix seconds.
pub fn schedule(
    plan: &Approved<KvPlan>,
    prefix: &str,
    quota: &Quota,
    max: Option<NonZeroU64>,
    now: u64,
) -> Schedule {
    let mut schedule = Schedule { waiting: plan.waiting().clone(), ..Schedule::default() };
    let mut budget = Budget {
        writes: quota.left(Spending::Writes, max),
        deletes: quota.left(Spending::Deletes, max),
        writes_exhausted: quota.is_exhausted(Spending::Writes),
        deletes_exhausted: quota.is_exhausted(Spending::Deletes),
        kept: quota.kept_for_own(max, now),
    };
    // All ranges are one write, as early as the most urgent of them.
    let ranges_class = plan.ranges().class();
    let own_ranges = plan.ranges().puts().iter().any(|put| put.class <= Class::OwnBan);
    let mut ranges_go = false;
    let mut puts: Vec<&Put> = Vec::with_capacity(plan.puts().len());
    let mut wanted = plan.puts().iter().peekable();
    for class in Class::ALL {
        if ranges_class == Some(class) {
            ranges_go = match plan.ranges().write() {
                Some(RangesWrite::Put { .. }) => {
                    budget.write(if own_ranges { class.min(Class::OwnBan) } else { class })
                }
                Some(RangesWrite::Delete) => budget.delete(class),
                None => false,
            };
            if !ranges_go {
                plan.ranges().reasons().for_each(|why| schedule.over(why));
            }
        }
        while let Some(put) = wanted.next_if(|put| put.class == class) {
            if budget.write(class) { puts.push(put) } else { schedule.over(put.why) }
        }
    }
    let comes: BTreeSet<Address> = if ranges_go {
        plan.ranges().puts().iter().map(|put| put.address).collect()
    } else {
        BTreeSet::new()
    };
    let mut deletes: Vec<&Delete> = Vec::new();
    for delete in plan.deletes() {
        if delete.after.is_some_and(|range| !comes.contains(&range)) {
            *schedule.waiting.entry(delete.why).or_default() += 1;
        } else if budget.delete(delete.class) {
            deletes.push(delete);
        } else {
            schedule.over(delete.why);
        }
    }
    schedule.bulks =
        in_order(plan, prefix, ranges_go.then_some(ranges_class).flatten(), &puts, &deletes);
    schedule
}

/// What may still be spent.
struct Budget {
    writes: Option<u64>,
    deletes: Option<u64>,
    writes_exhausted: bool,
    deletes_exhausted: bool,
    /// Of the writes, for bans that are decided here.
    kept: u64,
}

impl Budget {
    /// An owner's address leaves whatever our own budget says: from the ranges by a write, as a key by a
    /// delete.
    fn write(&mut self, class: Class) -> bool {
        let is_own = class <= Class::OwnBan;
        if class == Class::Owner && !self.writes_exhausted {
            return true;
        }
        let Some(left) = &mut self.writes else { return true };
        let usable = if is_own { *left } else { left.saturating_sub(self.kept) };
        if usable == 0 {
            return false;
        }
        *left -= 1;
        if is_own {
            self.kept = self.kept.saturating_sub(1);
        }
        true
    }

    fn delete(&mut self, class: Class) -> bool {
        match &mut self.deletes {
            _ if class == Class::Owner && !self.deletes_exhausted => true,
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// The requests: the owner's keys first, then by the most urgent change in each; what goes after a range
/// comes after it.
fn in_order(
    plan: &KvPlan,
    prefix: &str,
    ranges: Option<Class>,
    puts: &[&Put],
    deletes: &[&Delete],
) -> Vec<Bulk> {
    let ranges_effect = || {
        let deleted = plan.ranges().removals().len() as u32;
        let puts = plan.ranges().puts().iter().map(Effect::of_put);
        puts.fold(Effect { deleted, ..Effect::default() }, Effect::and)
    };
    let write = plan.ranges().write().filter(|_| ranges.is_some());
    let ranges_pair = match &write {
        Some(RangesWrite::Put { entries, ttl_secs }) => {
            let value = Value::Ranges(Box::new((*entries).clone()));
            let pair = Pair { key: RANGES_KEY.to_owned(), value, ttl_secs: *ttl_secs };
            Some((ranges_effect(), pair))
        }
        _ => None,
    };
    let ranges_key = match &write {
        Some(RangesWrite::Delete) => Some((ranges_effect(), RANGES_KEY.to_owned())),
        _ => None,
    };
    let delete = |delete: &&&Delete| {
        let after_ranges = delete.after.is_some();
        (Effect { deleted: 1, after_ranges, ..Effect::default() }, delete.key.clone())
    };
    let first_class = |deletes: &[&&Delete]| deletes.iter().map(|delete| delete.class).min();
    let (after, free): (Vec<&&Delete>, Vec<&&Delete>) =
        deletes.iter().partition(|delete| delete.after.is_some());
    let (owners, free): (Vec<&&Delete>, Vec<&&Delete>) =
        free.into_iter().partition(|delete| delete.class == Class::Owner);

    let mut bulks: Vec<(Class, Bulk)> = Vec::new();
    let push_deletes = |bulks: &mut Vec<(Class, Bulk)>, class, keys: Vec<(Effect, String)>| {
        bulks.extend(Batch::split(keys).into_iter().map(|keys| (class, Bulk::Delete(keys))));
    };
    let pairs = puts.iter().map(|put| {
        let pair = Pair {
            key: format!("{prefix}{}", put.address),
            value: Value::One(put.value),
            ttl_secs: put.ttl_secs,
        };
        (Effect::of_put(put), pair)
    });
    let put_class = puts.first().map(|put| put.class).into_iter().chain(ranges).min();
    let mut put_class = put_class.unwrap_or(Class::Rest);
    let ranges_owner = ranges == Some(Class::Owner);
    push_deletes(&mut bulks, Class::Owner, owners.iter().map(delete).collect());
    for batch in Batch::split(ranges_pair.into_iter().chain(pairs)) {
        bulks.push((put_class, Bulk::Put(batch)));
        // The further ones hold what is less urgent.
        put_class = put_class.max(Class::CommunityBan);
    }
    let class = first_class(&free).unwrap_or(Class::Rest);
    let class = if ranges_owner && ranges_key.is_some() { Class::Owner } else { class };
    push_deletes(
        &mut bulks,
        class,
        ranges_key.into_iter().chain(free.iter().map(delete)).collect(),
    );
    bulks.sort_by_key(|(class, bulk)| {
        (*class, matches!(bulk, Bulk::Delete(_)) && *class != Class::Owner)
    });
    push_deletes(&mut bulks, Class::Rest, after.iter().map(delete).collect());
    bulks.into_iter().map(|(_, bulk)| bulk).collect()
}

impl Schedule {
    fn over(&mut self, why: Why) {
        *self.over_budget.entry(why).or_default() += 1;
    }

    /// The bulk requests, in the order in which they are sent.
    pub fn bulks(&self) -> &[Bulk] {
        &self.bulks
    }

    /// Takes the bulk requests out, to send them.
    pub(crate) fn take_bulks(&mut self) -> Vec<Bulk> {
        std::mem::take(&mut self.bulks)
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
    pub fn waiting_by_reason(&self) -> BTreeMap<Why, u64> {
        let mut all = self.waiting.clone();
        for (why, count) in &self.over_budget {
            *all.entry(*why).or_default() += count;
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
