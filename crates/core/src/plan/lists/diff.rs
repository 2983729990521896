//! Desired and observed state -> [`Plan`].
//!
//! What moves or is covered names what has to be at the edge before it goes; nothing here decides whether
//! or when.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::Address;
use crate::api::cloudflare::lists::ItemId;
use crate::decision::{Remediation, Source};
use crate::desired::{Candidate, Desired};
use crate::observed::lists::{Observed, ObservedList};
use crate::order::Gather;
use crate::plan::{Class, Why};
use crate::settings::protected::Protected;
use crate::skipped::Left;
use crate::state::Ends;

use super::places::{Places, Rank};
use super::{Addition, ListPlan, Plan, Removal, Room};

/// What a plan depends on besides the two states.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Now, in Unix seconds.
    pub now: u64,
    /// The most items over all lists together.
    pub items_max: u64,
    /// What is never to be blocked.
    pub protected: &'a Protected,
    /// What was desired last: whether it was decided here, and when it ends.
    pub ends: &'a Ends,
    /// Addresses that Cloudflare refused as values, and until when they are not sent.
    pub set_aside: &'a BTreeMap<Address, u64>,
}

/// Compares what should be with what is.
///
/// | on the list | desired there | |
/// |---|---|---|
/// | no | yes, and has a place | comes, unless it is set aside |
/// | yes | no, or has no place | goes |
/// | yes | no, but a desired range around it has no place either | stays, as if it were desired; on one list |
/// | yes | yes | stays |
/// | twice, in two spellings | | the second goes |
/// | an item that cannot be understood | | stays |
pub fn diff(desired: &Desired, observed: &Observed, rules: Rules<'_>) -> Plan {
    let compared = Compared {
        desired,
        observed,
        rules,
        places: Places::assign(desired, observed, places(desired, observed, rules)),
    };
    let mut set_aside = Left::default();
    let lists =
        observed.lists().map(|(list, content)| compared.list(list, content, &mut set_aside));
    let mut lists: Vec<ListPlan> = lists.collect();
    keep_shared_ids(&mut lists, observed);
    let items = observed.lists().map(|(_, content)| content.len()).sum();
    let room = Room { items_max: rules.items_max, items };
    Plan { lists, origins: compared.places.by_origin(), room, set_aside }
}

/// How many places there are to give: what Cloudflare allows, less what is at the edge and stays there
/// whatever is desired, less what stands there twice for the moment in which it moves, less what a range
/// covers: it keeps its place until the range has one.
fn places(desired: &Desired, observed: &Observed, rules: Rules<'_>) -> u64 {
    let items: u64 = observed.lists().map(|(_, content)| content.len()).sum();
    if items + desired.count_on_lists() as u64 <= rules.items_max {
        return rules.items_max;
    }
    let taken = observed.lists().map(|(list, content)| {
        let stays = |address: &Address| {
            let is_there = |on, what: &Address| {
                observed.lists().any(|(of, content)| of == on && content.items().contains_key(what))
            };
            let waits = match desired.on_list(address) {
                Some(wanted) => wanted != list && !is_there(wanted, address),
                None if list == Remediation::Captcha && is_there(Remediation::Ban, address) => {
                    false
                }
                None => {
                    let mut around = desired.ranges_around(address).peekable();
                    around.peek().is_some() && !around.any(|(range, on)| is_there(on, &range))
                }
            };
            waits && rules.protected.rule(address).is_none()
        };
        content.foreign().count + content.items().keys().filter(stays).count() as u64
    });
    rules.items_max.saturating_sub(taken.sum())
}

struct Compared<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    rules: Rules<'a>,
    places: Places<'a>,
}

/// Why something leaves its list, and after what; `None` = it stays.
type Leaving = Option<(Why, Class, Option<(Remediation, Address)>)>;

impl Compared<'_> {
    fn list(&self, list: Remediation, content: &ObservedList, left_out: &mut Left) -> ListPlan {
        let missing =
            self.places.candidates(list).filter(|c| !content.items().contains_key(&c.address));
        let (set_aside, missing): (Vec<_>, Vec<_>) = missing.partition(|candidate| {
            self.rules
                .set_aside
                .get(&candidate.address)
                .is_some_and(|until| *until > self.rules.now)
        });
        set_aside.iter().for_each(|candidate| left_out.add(&candidate.address.to_string()));
        let additions = missing.iter().map(|candidate| self.addition(candidate)).collect();
        let mut removals = Vec::new();
        for (address, id) in content.items().iter() {
            if self.places.on_list(&address) == Some(list) {
                continue;
            }
            if let Some((why, class, after)) = self.leaving(list, &address) {
                removals.push(Removal { address, id: id.clone(), why, class, after });
            }
        }
        let surplus = content.surplus().iter().map(|(address, id)| Removal {
            address: *address,
            id: id.clone(),
            why: Why::Surplus,
            class: Class::Rest,
            after: None,
        });
        removals.extend(surplus);
        let keep = (content.items().len() + content.surplus().len() - removals.len()) as u64;
        ListPlan {
            list,
            desired: self.places.count(list),
            keep,
            additions,
            removals,
            held: Vec::new(),
            foreign: content.foreign().count,
        }
    }

    fn addition(&self, candidate: &Candidate) -> Addition {
        let Candidate { address, list, source, .. } = *candidate;
        let challenged = self.is_at_edge(Remediation::Captcha, &address);
        let (why, class) = match (list, source) {
            (Remediation::Captcha, _) => (Why::Captcha, Class::Captcha),
            (Remediation::Ban, source) => {
                let why = if challenged { Why::BanOverCaptcha } else { Why::NewBan };
                (why, if source == Source::Own { Class::OwnBan } else { Class::CommunityBan })
            }
        };
        Addition { address, why, class, rank: Rank::new(candidate, false) }
    }

    /// Why `address`, which is on `list` and has no place there, leaves it.
    fn leaving(&self, list: Remediation, address: &Address) -> Leaving {
        if self.rules.protected.rule(address).is_some() {
            return Some((Why::Protected, Class::Owner, None));
        }
        if let Some(other) = self.places.on_list(address) {
            return Some((Why::Moved, Class::Rest, self.yet_to_come(other, address)));
        }
        if self.desired.on_list(address).is_some() {
            return Some((Why::Displaced, Class::Rest, None));
        }
        let around: Vec<_> = self.desired.ranges_around(address).collect();
        let strong = around.iter().filter(|(_, on)| *on >= list);
        let weak = around.iter().filter(|(_, on)| *on < list);
        // What is at the edge already before what has yet to come; the widest first.
        let best = |ranges: &[&(Address, Remediation)]| {
            let placed =
                ranges.iter().filter(|(range, on)| self.places.on_list(range) == Some(*on));
            placed.map(|(range, on)| self.yet_to_come(*on, range)).min_by_key(Option::is_some)
        };
        let (strong, weak): (Vec<_>, Vec<_>) = (strong.collect(), weak.collect());
        if let Some(after) = best(&strong) {
            return Some((Why::Covered, Class::Rest, after));
        }
        if !strong.is_empty() {
            return self.stays_once(list, address);
        }
        if let Some(after) = best(&weak) {
            return Some((Why::Moved, Class::Rest, after));
        }
        if !weak.is_empty() {
            return self.stays_once(list, address);
        }
        Some(match self.rules.ends.get(address) {
            Some(known) if known.is_over(self.rules.now) => (Why::RanOut, Class::Rest, None),
            Some(known) if !known.own => (Why::Lifted, Class::Rest, None),
            _ => (Why::Lifted, Class::Lift, None),
        })
    }

    /// What stays until its range comes does so on one list.
    fn stays_once(&self, list: Remediation, address: &Address) -> Leaving {
        let is_twice = list == Remediation::Captcha && self.is_at_edge(Remediation::Ban, address);
        is_twice.then_some((Why::Moved, Class::Rest, None))
    }

    fn is_at_edge(&self, list: Remediation, address: &Address) -> bool {
        self.observed
            .lists()
            .any(|(of, content)| of == list && content.items().contains_key(address))
    }

    /// What has to come before another goes; `None` = it is there.
    fn yet_to_come(&self, list: Remediation, address: &Address) -> Option<(Remediation, Address)> {
        (!self.is_at_edge(list, address)).then_some((list, *address))
    }
}

/// An item that stays is never removed because another has its id: a listing that changes while its
/// pages are read may show the same item at two addresses.
fn keep_shared_ids(lists: &mut [ListPlan], observed: &Observed) {
    if lists.iter().all(|list| list.removals.is_empty()) {
        return;
    }
    for (plan, (_, content)) in lists.iter_mut().zip(observed.lists()) {
        let going: BTreeSet<(Address, &ItemId)> =
            plan.removals.iter().map(|removal| (removal.address, &removal.id)).gather();
        let ids: BTreeSet<&ItemId> = going.iter().map(|(_, id)| *id).gather();
        let staying = content
            .items()
            .iter()
            .filter(|(address, id)| ids.contains(id) && !going.contains(&(*address, *id)));
        let shared: BTreeSet<ItemId> = staying.map(|(_, id)| id.clone()).gather();
        let mut seen = BTreeSet::new();
        let before = plan.removals.len();
        plan.removals
            .retain(|removal| !shared.contains(&removal.id) && seen.insert(removal.id.clone()));
        plan.keep += (before - plan.removals.len()) as u64;
    }
}
