//! Desired and observed state -> [`Plan`].
//!
//! What moves or is covered names what has to be at the edge before it goes; nothing here decides whether
//! or when.

use crate::address::Address;
use crate::api::cloudflare::lists::ItemId;
use crate::decision::Remediation;
use crate::desired::{Candidate, Desired};
use crate::observed::lists::{Observed, ObservedList};
use crate::order::Order;
use crate::plan::{Class, Why};
use crate::settings::protected::Protected;
use crate::skipped::Left;
use crate::small::{SmallMap, Sorted};
use crate::state::Ends;

use super::places::{Places, Rank};
use super::room::{Around, assign};
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
    pub set_aside: &'a SmallMap<Address, u64>,
}

impl Rules<'_> {
    pub(super) fn is_set_aside(&self, address: &Address) -> bool {
        self.set_aside.get(address).is_some_and(|until| *until > self.now)
    }
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
    let compared = Compared { desired, rules, places: assign(desired, observed, rules) };
    let mut set_aside = Left::default();
    let lists =
        observed.lists().map(|(list, content)| compared.list(list, content, &mut set_aside));
    let mut lists: Vec<ListPlan> = lists.collect();
    keep_shared_ids(&mut lists, observed);
    let items = observed.lists().map(|(_, content)| content.len()).sum();
    let room = Room { items_max: rules.items_max, items };
    let (origins, keeps_places) = (compared.places.by_origin(), compared.places.are_kept);
    Plan { lists, origins, room, set_aside, keeps_places }
}

struct Compared<'a> {
    desired: &'a Desired,
    rules: Rules<'a>,
    places: Places<'a>,
}

/// Why something leaves its list, and after what; `None` = it stays.
type Leaving = Option<(Why, Class, Option<(Remediation, Address)>)>;

impl Compared<'_> {
    fn list(&self, list: Remediation, content: &ObservedList, left_out: &mut Left) -> ListPlan {
        let missing =
            self.places.candidates(list).filter(|c| !content.items().contains_key(&c.address));
        let (set_aside, missing): (Vec<_>, Vec<_>) =
            missing.partition(|candidate| self.rules.is_set_aside(&candidate.address));
        set_aside.iter().for_each(|candidate| left_out.add(&candidate.address.to_string()));
        let set_aside = set_aside.iter().map(|candidate| self.addition(candidate)).collect();
        let additions = missing.iter().map(|candidate| self.addition(candidate)).collect();
        let goes = |address: &Address| match self.places.on_list(address) {
            Some(on) if on == list => None,
            _ => self.leaving(list, address),
        };
        let removal = |address: Address, id: &ItemId, (why, class, after)| Removal {
            address,
            id: id.clone(),
            why,
            class,
            after,
            holds_others: self.places.has_none_inside(&address),
        };
        let items = content
            .items()
            .iter()
            .filter_map(|(address, id)| Some(removal(address, id, goes(&address)?)));
        // A second spelling goes with the first, as urgently; where that has to wait, it goes alone.
        let surplus = content.surplus().map(|(address, id)| {
            let leaving = goes(&address).filter(|(.., after)| after.is_none());
            removal(address, id, leaving.unwrap_or((Why::Surplus, Class::Rest, None)))
        });
        let removals: Vec<Removal> = items.chain(surplus).collect();
        let keep = (content.items().len() + content.surplus().len() - removals.len()) as u64;
        ListPlan {
            list,
            desired: self.places.count(list),
            keep,
            additions,
            set_aside,
            removals,
            held: Vec::new(),
            foreign: content.foreign().count,
        }
    }

    fn addition(&self, candidate: &Candidate) -> Addition {
        let Candidate { address, list, is_own_ban, .. } = *candidate;
        let challenged = self.places.is_at_edge(Remediation::Captcha, &address);
        let (why, class) = match list {
            Remediation::Captcha => (Why::Captcha, Class::Captcha),
            Remediation::Ban => {
                let why = if challenged { Why::BanOverCaptcha } else { Why::NewBan };
                (why, if is_own_ban { Class::OwnBan } else { Class::CommunityBan })
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
        match self.places.around(list, address, self.rules) {
            Around::Nothing => {}
            Around::Covered(after) => return Some((Why::Covered, Class::Rest, after)),
            Around::Weaker(after) => return Some((Why::Moved, Class::Rest, after)),
            // What stays until its range comes does so on one list.
            Around::Waits if self.places.is_twice(list, address) => {
                return Some((Why::Moved, Class::Rest, None));
            }
            Around::Waits => return None,
            Around::LetGo => return Some((Why::Displaced, Class::Rest, None)),
        }
        Some(match self.rules.ends.get(address).filter(|known| known.on_list) {
            Some(known) if known.is_over(self.rules.now) => (Why::RanOut, Class::Rest, None),
            Some(known) if !known.own => (Why::Lifted, Class::Rest, None),
            _ => (Why::Lifted, Class::Lift, None),
        })
    }

    /// What has to come before another goes; `None` = it is there.
    fn yet_to_come(&self, list: Remediation, address: &Address) -> Option<(Remediation, Address)> {
        (!self.places.is_at_edge(list, address)).then_some((list, *address))
    }
}

/// An item that stays is never removed because another has its id: a listing that changes while its
/// pages are read may show the same item at two addresses.
fn keep_shared_ids(lists: &mut [ListPlan], observed: &Observed) {
    if lists.iter().all(|list| list.removals.is_empty()) {
        return;
    }
    for (plan, (_, content)) in lists.iter_mut().zip(observed.lists()) {
        let going: Sorted<(Address, &ItemId)> =
            plan.removals.iter().map(|removal| (removal.address, &removal.id)).collect();
        let ids: Sorted<&ItemId> = going.iter().map(|(_, id)| *id).collect();
        let staying = content
            .items()
            .iter()
            .filter(|(address, id)| ids.contains(id) && !going.contains(&(*address, *id)));
        let shared: Sorted<&ItemId> = staying.map(|(_, id)| id).collect();
        // Of those with the same id the first stays in the plan.
        let mut by_id: Vec<usize> = (0..plan.removals.len()).collect();
        by_id.order_by_key(|at| &plan.removals[*at].id);
        let pairs = by_id.windows(2);
        let again = pairs.filter(|pair| plan.removals[pair[0]].id == plan.removals[pair[1]].id);
        let again: Sorted<usize> = again.map(|pair| pair[1]).collect();
        let before = plan.removals.len();
        let mut at = 0..;
        plan.removals.retain(|removal| {
            let is_again = at.next().is_some_and(|at| again.contains(&at));
            !shared.contains(&&removal.id) && !is_again
        });
        plan.keep += (before - plan.removals.len()) as u64;
    }
}
