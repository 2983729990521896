//! Which of the two layouts is served, which are kept up to date, and when one takes over from the other.
//!
//! Every step is one write and rests on what was read, so that a run may end after any request: the next
//! reads where things are. `docs/kv.md` draws the states.

use std::collections::BTreeSet;

use crate::address::Address;
use crate::api::cloudflare::kv::shards::{Layout, Marker};
use crate::observed::kv::{ObservedKeys, ObservedKv};
use crate::order::Gather;
use crate::settings::KvLayout;

use super::{KvPlan, Why};

/// How long after the marker has changed the layout stays that was served before: a Worker keeps what it read
/// for five minutes at the most, that there is nothing included, and a location may be a minute behind.
const BESIDE_SECS: u64 = 480;
/// For how long the other layout must have been found complete before it is served, for the same reason, …
const COMPLETE_SECS: u64 = 480;
/// … and how old the youngest value in it must be: a minute is what KV takes, and some.
const SETTLED_SECS: u64 = 90;

/// Where the namespace is, and what is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    /// The layout that is served.
    pub served: Layout,
    /// The layout that is wanted.
    pub wanted: Layout,
    /// What becomes of the other layout.
    pub other: Other,
    /// What the marker says as it was read; without one, what it is to say at first.
    pub marker: Option<Marker>,
    /// The layouts have changed places.
    is_settled: bool,
}

/// What becomes of the layout that is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// It is not there, or nobody's business.
    Left,
    /// It is kept up to date.
    Kept,
    /// It is taken away.
    Cleared,
}

impl Course {
    /// Reads it off what is there. `may_trust` tells whether the value that has the marker is as new as what
    /// is remembered of it.
    pub fn of(setting: KvLayout, observed: &ObservedKv, may_trust: bool, now: u64) -> Self {
        let wanted = match setting {
            KvLayout::Keys => Layout::Keys,
            KvLayout::Shards | KvLayout::Both => Layout::Shards,
        };
        let shards = observed.shards.as_ref();
        let read = shards.and_then(|shards| shards.marker);
        let keeps_both = setting == KvLayout::Both;
        let served = read.map_or(Layout::Keys, |marker| marker.serves);
        let course =
            |served, other, marker, is_settled| Self { served, wanted, other, marker, is_settled };
        let Some(marker) = read else {
            let has_keys = observed.keys.as_ref().is_none_or(|keys| !keys.is_empty());
            return match (wanted, shards) {
                (Layout::Keys, None) => course(Layout::Keys, Other::Left, None, true),
                // Values without a marker serve nobody.
                (Layout::Keys, Some(shards)) if may_trust && !shards.is_foreign() => {
                    course(Layout::Keys, Other::Cleared, None, true)
                }
                // It stands there, and reads late; or somebody else's value stands in its place.
                (Layout::Keys, Some(_)) => course(Layout::Keys, Other::Left, None, true),
                (Layout::Shards, Some(shards)) if shards.is_foreign() => {
                    course(Layout::Keys, Other::Left, None, true)
                }
                // Nothing is served yet: there is nobody to lose.
                (Layout::Shards, _) if !has_keys => {
                    let marker = Marker { serves: Layout::Shards, since: now, alone: !keeps_both };
                    let other = if keeps_both { Other::Kept } else { Other::Left };
                    course(Layout::Shards, other, Some(marker), true)
                }
                _ => {
                    let marker = Marker { serves: Layout::Keys, since: now, alone: false };
                    course(Layout::Keys, Other::Kept, Some(marker), false)
                }
            };
        };
        // A clock that was put back must not keep both for ever.
        let marker = Marker { since: marker.since.min(now), ..marker };
        if served != wanted {
            let marker = Marker { alone: false, ..marker };
            return course(served, Other::Kept, Some(marker), false);
        }
        if keeps_both {
            let marker = Marker { alone: false, ..marker };
            return course(served, Other::Kept, Some(marker), true);
        }
        let is_over = now >= marker.since.saturating_add(BESIDE_SECS);
        if served == Layout::Keys {
            let other = if is_over && may_trust { Other::Cleared } else { Other::Kept };
            return course(served, other, Some(marker), true);
        }
        let is_gone = observed.keys.as_ref().is_none_or(ObservedKeys::is_empty);
        if marker.alone || !is_over || !may_trust {
            let other = if marker.alone { Other::Left } else { Other::Kept };
            return course(served, other, Some(marker), true);
        }
        let other = if is_gone { Other::Left } else { Other::Cleared };
        course(served, other, Some(Marker { alone: is_gone, ..marker }), true)
    }

    /// Whether the layout that is wanted waits for its turn.
    pub fn is_waiting(&self) -> bool {
        !self.is_settled && self.other == Other::Kept
    }

    /// In how many seconds the layout that was served before is taken away; `None` = not by itself.
    pub fn clears_in(&self, setting: KvLayout, now: u64) -> Option<u64> {
        let is_kept = self.is_settled && self.other == Other::Kept && setting != KvLayout::Both;
        let since = self.marker.filter(|_| is_kept)?.since;
        Some(since.saturating_add(BESIDE_SECS).saturating_sub(now))
    }

    /// The layout that is wanted takes over.
    #[must_use]
    pub fn switched(self, now: u64) -> Self {
        let marker = Some(Marker { serves: self.wanted, since: now, alone: false });
        Self { marker, ..self }
    }
}

/// Whether the wanted layout may take over: it was complete for long enough, and is settled. `complete_secs` is
/// for how long; `youngest` is when the youngest value in it was written.
pub fn is_ready(complete_secs: Option<u64>, youngest: u64, now: u64) -> bool {
    let settled = now.saturating_sub(youngest);
    // Without a store nothing is known of earlier runs: then all of it has to be that old.
    let is_known = complete_secs.is_some_and(|secs| secs >= COMPLETE_SECS);
    settled >= COMPLETE_SECS || is_known && settled >= SETTLED_SECS
}

/// In how many seconds [`is_ready`] becomes true, if nothing else changes.
pub fn ready_in(complete_secs: Option<u64>, youngest: u64, now: u64) -> u64 {
    let settled = now.saturating_sub(youngest);
    let alone = COMPLETE_SECS.saturating_sub(settled);
    let known = complete_secs.map_or(alone, |secs| {
        COMPLETE_SECS.saturating_sub(secs).max(SETTLED_SECS.saturating_sub(settled))
    });
    alone.min(known)
}

/// Whether whoever is in force in the layout that is served is so in the other too, and nobody else is: what
/// was lifted must not come back with it. What comes in both with this run may be absent from the other while
/// the layouts change places, unless it is in force in the one that is served: `there` is what stands in both.
pub fn is_complete(
    served: &KvPlan,
    other: &KvPlan,
    there: (&ObservedKeys, &ObservedKeys),
    now: u64,
) -> bool {
    let is_in = |keys: &ObservedKeys, address: &Address| {
        keys.entries().contains_key(address)
            || keys.ranges().in_force(now).any(|(range, _)| range == *address)
    };
    let would_be_let_through =
        |address: &Address| is_in(there.0, address) && !is_in(there.1, address);
    let mut comes = other.puts().iter().chain(other.ranges().puts());
    let differs = |plan: &KvPlan| -> BTreeSet<Address> {
        let puts = plan.puts().iter().chain(plan.ranges().puts());
        let puts = puts.filter(|put| put.why != Why::Refresh).map(|put| put.address);
        let deletes = plan.deletes().iter().filter_map(|delete| delete.address);
        puts.chain(deletes).chain(plan.ranges().removals().iter().map(|gone| gone.range)).gather()
    };
    let differs_in = |plan: &KvPlan, region: &str| {
        let mut comes = plan.ranges().regions().iter();
        comes.any(|change| change.region == region && change.why != Why::Refresh)
    };
    let mut regions = other.ranges().regions().iter();
    let allowed = differs(served);
    served.held() == 0
        && other.held() == 0
        && other.ranges().blocked().count == 0
        && !comes.any(|put| would_be_let_through(&put.address))
        && differs(other).iter().all(|address| allowed.contains(address))
        && regions.all(|change| change.why == Why::Refresh || differs_in(served, &change.region))
        && (!other.ranges().exceptions_differ() || served.ranges().exceptions_differ())
}

/// When the youngest key was written, as far as it is one of ours.
pub fn youngest_key(observed: &ObservedKeys) -> u64 {
    let keys = observed.entries().values().filter_map(|entry| entry.metadata);
    keys.map(|metadata| metadata.written).chain(observed.ranges().written()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests;
