//! How many places there are to give.
//!
//! What leaves only after something has come stands there for a moment longer, and that needs a place. On full
//! lists somebody, the least important, has to make it; nobody may be off the edge because he moves.

use crate::address::Address;
use crate::decision::Remediation;
use crate::desired::Desired;
use crate::observed::lists::{Observed, ObservedList};
use crate::plan::REPLACE_ITEMS_MAX;

use super::Rules;
use super::places::Places;

/// Of so many that move, one place is kept free to move them one after the other: fewer places would take more
/// writes, more places would put more out for the moment.
const MOVING_PER_PLACE: u64 = 8;

/// What is to become of an address that is on a list and is not desired, for the ranges around it that are.
pub(super) enum Around {
    /// There is none.
    Nothing,
    /// One that is at least as strong has a place: it goes, if need be after that has come.
    Covered(Option<(Remediation, Address)>),
    /// The same of one that is weaker.
    Weaker(Option<(Remediation, Address)>),
    /// None has a place: it keeps its own until one has.
    Waits,
}

/// Gives places: as many as Cloudflare allows, less what is at the edge and stays there whatever is desired, less
/// what waits for a range, less what is kept for what moves.
pub(super) fn assign<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
    rules: Rules<'_>,
) -> Places<'a> {
    let mut places = Places::assign(desired, observed, rules.items_max);
    if observed.count() + desired.candidates().count() as u64 <= rules.items_max {
        return places;
    }
    let mut taken = 0;
    loop {
        // With fewer places fewer ranges have one, and more has to stay because of that.
        match places.taken(rules) {
            more if more > taken => taken = more,
            _ => return places,
        }
        places = Places::assign(desired, observed, rules.items_max.saturating_sub(taken));
    }
}

impl Places<'_> {
    /// What of the places is not to be given.
    fn taken(&self, rules: Rules<'_>) -> u64 {
        let (mut taken, mut moving) = (0, 0_u64);
        for (list, content) in self.observed.lists() {
            taken += content.foreign().count;
            for address in content.items().keys() {
                if rules.protected.rule(address).is_some() {
                    continue;
                }
                let waits = || self.waits_for_what_is_inside(list, content, address, rules);
                match self.desired.on_list(address) {
                    Some(wanted) if wanted == list => {}
                    Some(wanted) if self.has_to_come(wanted, address, rules) => moving += 1,
                    // A ban that becomes a challenge.
                    Some(_) => taken += u64::from(list == Remediation::Ban && waits()),
                    None => taken += u64::from(self.waits_for_range(list, address) || waits()),
                }
            }
        }
        taken + moving.div_ceil(MOVING_PER_PLACE)
    }

    /// Whether this list has `address`.
    pub(super) fn is_at_edge(&self, list: Remediation, address: &Address) -> bool {
        let mut lists = self.observed.lists();
        lists.any(|(of, content)| of == list && content.items().contains_key(address))
    }

    fn has_to_come(&self, list: Remediation, address: &Address, rules: Rules<'_>) -> bool {
        !self.is_at_edge(list, address) && !rules.is_set_aside(address)
    }

    /// Whether it keeps its place because a range around it has yet to come.
    fn waits_for_range(&self, list: Remediation, address: &Address) -> bool {
        match self.around(list, address) {
            Around::Covered(after) | Around::Weaker(after) => after.is_some(),
            Around::Waits => !self.is_twice(list, address),
            Around::Nothing => false,
        }
    }

    /// Whether it keeps its place because something inside it has yet to come, unless one request can do both.
    fn waits_for_what_is_inside(
        &self,
        list: Remediation,
        content: &ObservedList,
        address: &Address,
        rules: Rules<'_>,
    ) -> bool {
        if address.is_single() || matches!(self.around(list, address), Around::Covered(_)) {
            return false;
        }
        let may_rewrite = content.foreign().count == 0 && content.len() <= REPLACE_ITEMS_MAX as u64;
        let mut inside = self.desired.inside(address);
        inside
            .any(|(inner, on)| self.has_to_come(on, &inner, rules) && !(may_rewrite && on == list))
    }

    /// Whether the ban list has it as well, so that it need not stay here.
    pub(super) fn is_twice(&self, list: Remediation, address: &Address) -> bool {
        list == Remediation::Captcha && self.is_at_edge(Remediation::Ban, address)
    }

    /// See [`Around`]. A range that is at the edge already before one that has yet to come; the widest first.
    pub(super) fn around(&self, list: Remediation, address: &Address) -> Around {
        let around: Vec<_> = self.desired.ranges_around(address).collect();
        let best = |is_strong: bool| {
            let ranges = around.iter().filter(|(_, on)| (*on >= list) == is_strong);
            let placed = ranges.filter(|(range, on)| self.on_list(range) == Some(*on));
            let after =
                placed.map(|(range, on)| (!self.is_at_edge(*on, range)).then_some((*on, *range)));
            after.min_by_key(Option::is_some)
        };
        if let Some(after) = best(true) {
            Around::Covered(after)
        } else if around.iter().any(|(_, on)| *on >= list) {
            Around::Waits
        } else if let Some(after) = best(false) {
            Around::Weaker(after)
        } else if !around.is_empty() {
            Around::Waits
        } else {
            Around::Nothing
        }
    }
}
