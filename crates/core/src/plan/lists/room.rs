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

/// Of so many that move, one place is kept free to move them one after the other: fewer places would take more
/// writes, more places would put more out for the moment.
const MOVING_PER_PLACE: u64 = 8;

/// What Cloudflare allows, less what is at the edge and stays there whatever is desired, less what a range
/// covers (it keeps its place until the range has one), less what is kept for what moves.
pub(super) fn places(desired: &Desired, observed: &Observed, rules: Rules<'_>) -> u64 {
    let items = observed.count();
    if items + desired.candidates().count() as u64 <= rules.items_max {
        return rules.items_max;
    }
    let edge = Edge { desired, observed, rules };
    let (mut taken, mut moving) = (0, 0);
    for (list, content) in observed.lists() {
        taken += content.foreign().count;
        for address in content.items().keys() {
            if rules.protected.rule(address).is_some() {
                continue;
            }
            match desired.on_list(address) {
                Some(wanted) if wanted == list => {}
                Some(wanted) => moving += u64::from(edge.has_to_come(wanted, address)),
                None => taken += u64::from(edge.keeps_its_place(list, content, address)),
            }
        }
    }
    rules.items_max.saturating_sub(taken + moving.div_ceil(MOVING_PER_PLACE))
}

struct Edge<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    rules: Rules<'a>,
}

impl Edge<'_> {
    fn has(&self, list: Remediation, address: &Address) -> bool {
        let mut lists = self.observed.lists();
        lists.any(|(of, content)| of == list && content.items().contains_key(address))
    }

    fn has_to_come(&self, list: Remediation, address: &Address) -> bool {
        !self.has(list, address) && !self.rules.is_set_aside(address)
    }

    /// Whether what is not desired stays for the moment: a range around it has yet to come, or something inside
    /// it, unless one request can do both at once.
    fn keeps_its_place(&self, list: Remediation, content: &ObservedList, address: &Address) -> bool {
        let mut around = self.desired.ranges_around(address).peekable();
        if around.peek().is_some() {
            let is_twice = list == Remediation::Captcha && self.has(Remediation::Ban, address);
            return !is_twice && !around.any(|(range, on)| self.has(on, &range));
        }
        let may_rewrite =
            content.foreign().count == 0 && content.len() <= REPLACE_ITEMS_MAX as u64;
        let mut inside = self.desired.inside(address);
        inside.any(|(inner, on)| self.has_to_come(on, &inner) && !(may_rewrite && on == list))
    }
}
