//! What stands between a plan and its removals.
//!
//! A LAPI that lost its database answers like one whose bans were all lifted (facts crowdsec 1.6), and a
//! typing error in a setting empties a list as surely. So removals that are too many at once are held back,
//! while additions go; and because an accident and a wish look the same, what is held goes when enough runs
//! over enough time have wanted the same addresses gone.
//!
//! One pure function of (plan, history, limits, now), and the only maker of an [`Approved`].
//!
//! | held back are | |
//! |---|---|
//! | everything | nothing is desired any more, and something is there |
//! | everything of a list | nothing of what was there is desired any more, from three items on |
//! | too many | more than `removal_guard_percent` of what was there, and more than `removal_guard_count` |
//!
//! Counted are removals that open the edge for somebody ([`Why::opens`]): not what runs out, and not what
//! moves or is covered, which goes only after what replaces it. "What was there" is what was there when the
//! first of the runs looked: additions would dilute it.

mod kv;
mod lists;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;

use crate::address::Address;
use crate::log::{plural, thousands};
use crate::order::{Gather, Order};
use crate::plan::{Class, Why};
use crate::settings::GuardLimits;
use crate::small::SmallMap;
use crate::state::Table;
use crate::state::guard::{Group, GroupId, Held, Rule, Streak};

/// A plan of which everything may be applied. Only [`review`] and [`follow`] make one.
#[derive(Debug, Clone, PartialEq)]
pub struct Approved<P>(P);

impl<P> Deref for Approved<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.0
    }
}

/// A plan whose removals can be judged.
pub trait Reviewable: Sized {
    /// Its removals that name an address, each with the part of the target that it is in.
    fn removals(&self) -> Vec<Removal>;
    /// What is there now, by part.
    fn there(&self) -> SmallMap<&'static str, u64>;
    /// Whether nothing at all is desired in the target.
    fn is_nothing_desired(&self) -> bool;
    /// Whether nothing of what is in this part is desired there.
    fn keeps_nothing(&self, part: &'static str) -> bool;
    /// How many of `held` removals have to make room for bans that were decided here.
    fn room_for_own(&self, held: u64) -> u64;
    /// The same plan without the removals of these addresses that [`removals`](Self::removals) told.
    fn without(self, held: &BTreeSet<Address>) -> Self;
}

/// A removal, as the guard sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// A list, or `kv`.
    pub part: &'static str,
    /// Which address.
    pub address: Address,
    /// Why it goes.
    pub why: Why,
    /// How urgent that is.
    pub class: Class,
}

/// What the guard says of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Review<P> {
    /// What may be applied: the plan without the removals that are held back.
    pub approved: Approved<P>,
    /// Whose removal is held back.
    pub held: BTreeSet<Address>,
    /// Why, if any is.
    pub refusal: Option<Refusal>,
    /// Too many removals that go all the same: why.
    pub yielded: Option<Yielded>,
    /// What is to be remembered; `None` = nothing is held.
    pub remember: Option<Held>,
}

/// Why removals are held back, and what lets them go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    rule: Rule,
    part: &'static str,
    removals: u64,
    there: u64,
    percent: u64,
    count: u64,
    /// Of those that have waited longest: this run's number, …
    run: u64,
    runs: u64,
    /// … and the seconds that have to pass.
    left_secs: u64,
}

/// Why removals that are too many go all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Yielded {
    /// Enough runs over enough time have wanted so many of them gone.
    Confirmed {
        /// How many go.
        removals: u64,
        /// In how many runs.
        runs: u64,
    },
    /// `removals_approved_until` names a time that has not come yet.
    ByPerson,
}

/// From so many on, everything that was there is too much to go at once.
const REPLACED_MIN: u64 = 3;

/// Judges the removals of `plan`. `history` is what the last counted run remembered; `is_desired` tells
/// whether an address that was to go is desired again.
pub fn review<P: Reviewable>(
    plan: P,
    history: Option<Held>,
    is_desired: impl Fn(&Address) -> bool,
    limits: &GuardLimits,
    now: u64,
) -> Review<P> {
    let removals: Vec<Removal> =
        plan.removals().into_iter().filter(|removal| removal.why.opens()).collect();
    let wanted: BTreeSet<Address> = removals.iter().map(|removal| removal.address).collect();
    // One run confirms itself: the guard is off.
    if limits.runs <= 1 || wanted.is_empty() {
        return Review::clear(plan);
    }
    let owners = removals.iter().filter(|removal| removal.why == Why::Protected);
    let owners: BTreeSet<Address> = owners.map(|removal| removal.address).collect();
    let history = history.and_then(|held| go_on(held, &wanted, &owners, is_desired));
    let Some(mut held) = hold(&plan, &removals, &wanted, history, limits, now) else {
        return Review::clear(plan);
    };
    if limits.approved_until.is_some_and(|until| now < until) {
        return Review { yielded: Some(Yielded::ByPerson), ..Review::clear(plan) };
    }
    let group_of = |address: &Address| {
        let id = held.groups.get(address)?;
        held.streak.groups.get(usize::from(id.0))
    };
    let is_confirmed = |group: &Group| {
        group.runs >= limits.runs && now.saturating_sub(group.since) >= limits.seconds
    };
    let waits = |address: &&Address| group_of(address).is_some_and(|group| !is_confirmed(group));
    let mut stays: BTreeSet<Address> = wanted.iter().filter(waits).copied().collect();
    let confirmed: Vec<&Group> =
        wanted.iter().filter_map(group_of).filter(|group| is_confirmed(group)).collect();
    let yielded = confirmed.iter().map(|group| group.runs).max();
    let yielded = yielded.map(|runs| Yielded::Confirmed { removals: confirmed.len() as u64, runs });
    let_owners_go(&owners, &mut stays, &mut held, limits);
    make_room(&plan, &removals, &mut stays);
    // What was wrong last: a run that finds nothing wrong any more still waits for what was.
    held.streak.rule = objection(&plan, &removals, limits).unwrap_or(held.streak.rule);
    let refusal = Refusal::of(held.streak.rule, &stays, &removals, &held, limits, now);
    Review {
        approved: Approved(plan.without(&stays)),
        held: stays,
        refusal,
        yielded,
        remember: Some(held),
    }
}

/// The plan of a place where nobody is served, beside one that was judged: who is held there is held here.
pub fn follow<P: Reviewable>(plan: P, held: &BTreeSet<Address>) -> Approved<P> {
    Approved(plan.without(held))
}

impl<P> Review<P> {
    /// Of a plan for a place where nobody is met by anything yet: nothing in it can open the edge.
    pub fn unserved(plan: P) -> Self {
        Self::clear(plan)
    }

    fn clear(plan: P) -> Self {
        Self {
            approved: Approved(plan),
            held: BTreeSet::new(),
            refusal: None,
            yielded: None,
            remember: None,
        }
    }
}

/// What is still held after a run that knew what is desired and could not see what is there: who is desired again
/// waits from the beginning when he is not; `None` = the streak is over.
pub fn forget(held: Held, is_desired: impl Fn(&Address) -> bool) -> Option<Held> {
    let Held { mut streak, groups } = held;
    let first = groups.iter().filter(|(_, group)| *group == GroupId::FIRST);
    streak.again += first.filter(|(address, _)| is_desired(address)).count() as u64;
    if streak.again.saturating_mul(10) > streak.first {
        return None;
    }
    let stays =
        |(address, group): &(Address, GroupId)| *group == GroupId::OWNER || !is_desired(address);
    let groups = Table::from_sorted(groups.iter().filter(stays));
    Some(Held { streak, groups })
}

/// The streak that goes on with this run; `None` if it is over: more than a tenth of what its first run
/// wanted gone is desired again. Whoever is not wanted gone any more is forgotten, and waits from the
/// beginning when he is again; but not an owner, who does not wait a second time. Who was one waits like all others.
fn go_on(
    held: Held,
    wanted: &BTreeSet<Address>,
    owners: &BTreeSet<Address>,
    is_desired: impl Fn(&Address) -> bool,
) -> Option<Held> {
    // Who has lost his place goes although he is desired.
    let is_again = |address: &Address| !wanted.contains(address) && is_desired(address);
    let Held { mut streak, groups } = forget(held, is_again)?;
    streak.groups.iter_mut().for_each(|group| group.runs = group.runs.saturating_add(1));
    let is_kept = |(address, group): &_| match *group {
        GroupId::OWNER => !wanted.contains(address) || owners.contains(address),
        _ => wanted.contains(address),
    };
    let groups = Table::from_sorted(groups.iter().filter(is_kept));
    Some(Held { streak, groups })
}

/// What is held with this run: the streak with its newcomers, or a new one if the removals are too many;
/// `None` if they may go.
///
/// While something of the first run's removals is pending, whatever comes up joins and begins its own
/// count. After that, newcomers are judged like the first were: on a busy site somebody is always lifted,
/// and must not wait for ever because of what once was too many.
fn hold(
    plan: &impl Reviewable,
    removals: &[Removal],
    wanted: &BTreeSet<Address>,
    history: Option<Held>,
    limits: &GuardLimits,
    now: u64,
) -> Option<Held> {
    let Some(Held { mut streak, groups }) = history else {
        let rule = objection(plan, removals, limits)?;
        let there = plan.there().into_iter().map(|(part, count)| (part.to_owned(), count));
        let streak = Streak {
            since: now,
            there: there.gather(),
            first: wanted.len() as u64,
            rule,
            groups: vec![Group { since: now, runs: 1 }],
            ..Streak::default()
        };
        let groups = wanted.iter().map(|address| (*address, GroupId::FIRST));
        return Some(Held { streak, groups: Table::from_sorted(groups) });
    };
    let is_pending = groups.iter().any(|(_, group)| group == GroupId::FIRST);
    let has_newcomers = wanted.iter().any(|address| groups.get(address).is_none());
    if has_newcomers && (is_pending || objection(plan, removals, limits).is_some()) {
        let group = Group { since: now, runs: 1 };
        if streak.groups.len() < GroupId::MAX {
            streak.groups.push(group);
        } else if let Some(last) = streak.groups.last_mut() {
            // Told apart no longer: all of the last wait as long as the newest.
            *last = group;
        }
        let newest = GroupId(u8::try_from(streak.groups.len() - 1).unwrap_or(u8::MAX - 1));
        let known = groups.iter().map(|(address, _)| address);
        let all: BTreeSet<Address> = wanted.iter().copied().chain(known).gather();
        let all = all.into_iter().map(|address| (address, groups.get(&address).unwrap_or(newest)));
        return Some(Held { groups: Table::from_sorted(all), streak });
    }
    let is_over = wanted.iter().all(|address| groups.get(address).is_none());
    (!is_over).then_some(Held { streak, groups })
}

/// What is wrong with the removals, in the part where most would go.
fn objection(plan: &impl Reviewable, removals: &[Removal], limits: &GuardLimits) -> Option<Rule> {
    if plan.is_nothing_desired() {
        return Some(Rule::Empty);
    }
    plan.there().into_iter().find_map(|(part, there)| {
        let count = removals.iter().filter(|removal| removal.part == part).count() as u64;
        if count >= REPLACED_MIN && plan.keeps_nothing(part) {
            return Some(Rule::Replaced);
        }
        let is_share = count > limits.count
            && count.saturating_mul(100) > there.saturating_mul(limits.percent);
        is_share.then_some(Rule::Share)
    })
}

/// Takes the owner's addresses that go at once out of what stays, and marks them: as many as `removal_guard_count` in
/// a streak. More than that is no owner, but a prefix that is too wide. Who goes anyway does not count: the write that
/// takes him away may be refused, and be planned in run after run.
fn let_owners_go(
    owners: &BTreeSet<Address>,
    stays: &mut BTreeSet<Address>,
    held: &mut Held,
    limits: &GuardLimits,
) {
    let left = limits.count.saturating_sub(held.streak.owners);
    let left = usize::try_from(left).unwrap_or(usize::MAX);
    let goes: BTreeSet<Address> = owners.intersection(stays).take(left).copied().collect();
    held.streak.owners += goes.len() as u64;
    held.groups = Table::from_sorted(held.groups.iter().map(|(address, group)| {
        (address, if goes.contains(&address) { GroupId::OWNER } else { group })
    }));
    stays.retain(|address| !goes.contains(address));
}

/// As many of what is held as bans that were decided here need room, the least important first: what the
/// community wanted, then what was decided here.
fn make_room(plan: &impl Reviewable, removals: &[Removal], stays: &mut BTreeSet<Address>) {
    let held = removals.iter().filter(|removal| stays.contains(&removal.address)).count() as u64;
    let room = usize::try_from(plan.room_for_own(held)).unwrap_or(usize::MAX);
    if room == 0 {
        return;
    }
    let mut held: Vec<&Removal> =
        removals.iter().filter(|removal| stays.contains(&removal.address)).collect();
    held.order_by_key(|removal| (Reverse(removal.class), removal.address));
    for removal in held.iter().take(room) {
        stays.remove(&removal.address);
    }
}

impl Refusal {
    fn of(
        rule: Rule,
        stays: &BTreeSet<Address>,
        removals: &[Removal],
        held: &Held,
        limits: &GuardLimits,
        now: u64,
    ) -> Option<Self> {
        let mut counts: SmallMap<&'static str, u64> = SmallMap::new();
        for removal in removals.iter().filter(|removal| stays.contains(&removal.address)) {
            *counts.or_default(removal.part) += 1;
        }
        let (part, removals) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        let waiting = stays.iter().filter_map(|address| held.groups.get(address)).min()?;
        let group = held.streak.groups.get(usize::from(waiting.0))?;
        let there = held.streak.there.get(part).copied().unwrap_or(removals).max(removals);
        Some(Self {
            rule,
            part,
            removals,
            there,
            percent: limits.percent,
            count: limits.count,
            run: group.runs,
            runs: limits.runs,
            left_secs: group.since.saturating_add(limits.seconds).saturating_sub(now),
        })
    }

    /// The rule that was broken.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// How many runs more have to want the same, this one not among them.
    pub fn runs_left(&self) -> u64 {
        self.runs.saturating_sub(self.run)
    }

    /// How many seconds have to pass before the first of them goes, at least.
    pub fn seconds_left(&self) -> u64 {
        self.left_secs
    }
}

/// Rule, numbers, and the way out.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, percent, run, runs, .. } = self;
        let [removals, there, count] = [self.removals, self.there, self.count].map(thousands);
        match self.rule {
            Rule::Empty => write!(
                f,
                "LAPI has no decision left for the edge, and {part} has {there}; perhaps it lost its database"
            )?,
            Rule::Replaced => write!(
                f,
                "{part}: {removals} of {there} would be removed, and nothing that was there is desired any more"
            )?,
            Rule::Share => write!(
                f,
                "{part}: {removals} of {there} would be removed, more than {percent} % and more than {count}"
            )?,
        }
        write!(
            f,
            "; held back, while additions go. They go by themselves when {runs} runs have found the same (this is run {run})"
        )?;
        match self.left_secs.div_ceil(60) {
            0 => {}
            minutes => write!(f, " and {minutes} min have passed")?,
        }
        f.write_str(", or at once with removals_approved_until set to a time up to a day ahead")
    }
}

impl serde::Serialize for Refusal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Yielded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confirmed { removals, runs } => write!(
                f,
                "{}, and they go: the same was found in {runs} runs",
                plural(*removals, "removal")
            ),
            Self::ByPerson => {
                write!(f, "many removals, and they go: removals_approved_until has not passed")
            }
        }
    }
}

#[cfg(test)]
mod tests;
