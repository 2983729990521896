//! How many places there are to give.
//!
//! What leaves only after something has come stands there for a moment longer, and that needs a place. On full
//! lists somebody, the least important, has to make it; nobody may be off the edge because he moves.

use std::collections::BTreeSet;

use crate::address::Address;
use crate::decision::Remediation;
use crate::desired::Desired;
use crate::observed::lists::{Observed, ObservedList};
use crate::plan::REPLACE_ITEMS_MAX;

use super::Rules;
use super::places::{Claim, Places, Standing, Yields};

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
    /// None is there yet, and it goes all the same: somebody more important would go without.
    LetGo,
}

/// Gives as many places as Cloudflare allows for what is to be there in the end, and for what is there on the way:
/// who leaves only after another has come needs that one's place to be free.
///
/// If nobody less important can make room for those who only move, they stay as they are until there is a place: a
/// challenge instead of a ban, or a ban instead of a challenge, is safer than nothing for as long as the second
/// write takes, which may be days.
///
/// What stays for a range that has no place, or is not there yet, does not stay where somebody more important who was
/// decided here would go without for it; nor does what a range is to ban wait for that where the range was decided here
/// and would never come, or where it challenges it already and somebody who is no less important would be put out: to be
/// challenged for a moment is more than to be let through. No more of it goes than has to ([`spare`]).
pub(super) fn assign<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
    rules: Rules<'_>,
) -> Places<'a> {
    let mut yields = Yields::default();
    let all_stay = assign_with(desired, observed, rules, yields);
    let Some(first) = all_stay.first_without else { return all_stay };
    let or_better = |places: Places<'a>, yields| {
        let some_go = assign_with(desired, observed, rules, yields);
        if some_go.reach() > places.reach() { some_go } else { places }
    };
    let mut places = all_stay;
    if places.has_own_without() && !places.are_kept {
        places = or_better(places, Yields { before_own_bans: true, ..yields });
        yields = places.yields;
    }
    if places.has_own_without() && places.needs(rules).waits > 0 {
        yields.lets_go = Some(first);
        places = or_better(places, yields);
        // Where each of the two alone makes no room, both may.
        if places.has_own_without() && !places.are_kept {
            places = or_better(places, Yields { before_own_bans: true, ..yields });
            yields.before_own_bans = places.yields.before_own_bans;
        }
    }
    if places.has_range_that_challenges() {
        for (equals, own) in [(false, false), (false, true), (true, false), (true, true)] {
            let Some(first) = places.first_put_out() else { break };
            let from = if equals { places.first_equal(first) } else { places.first_without };
            let yields = Yields { weakly_covered: from, own_weakly_covered: own, ..yields };
            places = or_better(places, yields);
        }
    }
    spare(places, rules)
}

/// Lets no more go than has to, so that as many have a place: before its range has come, or where that never does, what
/// goes is let through.
fn spare<'a>(places: Places<'a>, rules: Rules<'_>) -> Places<'a> {
    let going = places.let_go(rules);
    let sparing = |from: &Claim| {
        let yields = Yields { spares: Some(*from), ..places.yields };
        assign_with(places.desired, places.observed, rules, yields)
    };
    // Fewer go, the earlier it begins.
    let enough = going.partition_point(|from| sparing(from).reach() < places.reach());
    match going.get(enough) {
        Some(from) => sparing(from),
        None => places,
    }
}

fn assign_with<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
    rules: Rules<'_>,
    yields: Yields,
) -> Places<'a> {
    let of = |count| Places { yields, ..Places::assign(desired, observed, count) };
    let wanted = desired.candidates().count() as u64;
    if observed.count() + wanted <= rules.items_max {
        return of(wanted);
    }
    // With fewer places fewer ranges have one, and more has to stay because of that.
    let mut in_the_end = wanted.min(rules.items_max);
    let needs = loop {
        let needs = of(in_the_end).needs(rules);
        let fits = rules.items_max.saturating_sub(needs.stays);
        if fits >= in_the_end {
            break needs;
        }
        in_the_end = fits;
    };
    let is_too_many = |needs: &Needs, count: u64| {
        needs.stays + count > rules.items_max || needs.on_the_way() > rules.items_max
    };
    if !is_too_many(&needs, in_the_end) {
        return of(in_the_end);
    }
    // The most that fit, and the fewest that do not.
    let search = |first_too_many: u64, needs_of: &dyn Fn(u64) -> Needs| {
        let (mut fits, mut too_many, mut step) = (0, first_too_many, 1);
        while fits + 1 < too_many {
            let count = too_many.saturating_sub(step).max((fits + too_many) / 2);
            if is_too_many(&needs_of(count), count) {
                too_many = count;
                step *= 2;
            } else {
                fits = count;
            }
        }
        (fits, too_many)
    };
    let (fits, too_many) = search(in_the_end, &|count| of(count).needs(rules));
    let then = of(fits).needs(rules);
    let is_on_the_way = then.is_on_the_way();
    // What would wait for others goes at once, so that there is more room for the next run.
    let all_go = needs.leaving + needs.ranges > 0 && !is_on_the_way && then.waits == 0;
    // A ban that was decided here does not go without for what comes inside of a range that goes: the range goes
    // first, and everything else finds its place where that was. Nor does anybody where it goes first all the same.
    if all_go || of(fits).has_own_without() {
        let without_ranges =
            |count| Needs { ranges: 0, inside: BTreeSet::new(), ..of(count).needs(rules) };
        let (fit, _) = search(in_the_end + 1, &without_ranges);
        if fit > fits {
            return Places { are_kept: fit < in_the_end && in_the_end == wanted, ..of(fit) };
        }
    }
    if !is_on_the_way {
        // Nobody would move thereby.
        let stays = |count: &u64| {
            let needs = of(*count).needs(rules);
            needs.leaving + needs.ranges == 0 && needs.stays + count <= rules.items_max
        };
        if let Some(count) = [in_the_end, too_many].into_iter().find(stays) {
            return of(count);
        }
    }
    Places { are_kept: (is_on_the_way || all_go) && in_the_end == wanted, ..of(fits) }
}

/// What needs places.
#[derive(Debug, Clone, Default)]
struct Needs {
    /// There, and stays whatever is desired: not understood, or its range has no place.
    stays: u64,
    /// Of those, what stays for its range.
    waits: u64,
    /// There, and has a place.
    placed: u64,
    /// Of those, on the wrong list.
    moving: BTreeSet<Address>,
    /// There, and leaves after another has come.
    leaving: u64,
    /// What those wait for.
    awaited: BTreeSet<Address>,
    /// Of that, what some leave in the request that brings it, so that a place is free by then.
    swaps: BTreeSet<Address>,
    /// How many places the first of those requests frees beyond what it brings.
    freed: u64,
    /// Ranges that leave after somebody inside of them has come.
    ranges: u64,
    /// Not there, and has to come before a range around it leaves.
    inside: BTreeSet<Address>,
    /// Ranges that leave in the request that brings what is inside of them.
    replaced: u64,
    /// What those requests bring.
    brought: BTreeSet<Address>,
}

impl Needs {
    fn is_on_the_way(&self) -> bool {
        !self.moving.is_empty() || self.leaving + self.ranges > 0
    }

    /// What is there when all has gone that can, and places for those who have to come first: for all that is
    /// inside of ranges, and else for one after the other.
    fn on_the_way(&self) -> u64 {
        // Who moves and brings a place along goes first.
        let moving = self.moving.difference(&self.swaps).count() as u64;
        let is_all_swaps = self.awaited.is_subset(&self.swaps) && !self.swaps.is_empty();
        let needs_one = self.is_on_the_way() && !(is_all_swaps && moving + self.ranges == 0);
        let coming = moving.div_ceil(MOVING_PER_PLACE).max(u64::from(needs_one));
        // Whoever else moves does so beside such a range, or beside what it was replaced by.
        let mut others = self.moving.difference(&self.brought);
        let is_beside = others.next().is_some() || self.leaving + self.ranges > 0;
        let replaced = self.replaced.min(self.brought.len() as u64);
        let replaced = if needs_one && is_beside { replaced } else { 0 };
        let there = self.stays + self.placed + self.leaving + self.ranges + replaced;
        there.saturating_sub(self.freed) + coming.max(self.inside.len() as u64)
    }
}

/// Whether one request can add to a list and remove from it.
fn may_rewrite(list: &ObservedList) -> bool {
    list.foreign().count == 0 && list.len() <= REPLACE_ITEMS_MAX as u64
}

impl Places<'_> {
    fn needs(&self, rules: Rules<'_>) -> Needs {
        let mut needs = Needs::default();
        for (list, content) in self.observed.lists() {
            needs.stays += content.foreign().count;
            let (before, mut swapped) = (needs.swaps.len() as u64, 0);
            for ref address in content.items().keys() {
                if rules.protected.rule(address).is_some() {
                    continue;
                }
                match (self.on_list(address), self.desired.on_list(address)) {
                    (Some(wanted), _) if wanted == list => needs.placed += 1,
                    (Some(wanted), _) if self.has_to_come(wanted, address, rules) => {
                        needs.placed += 1;
                        needs.moving.insert(*address);
                    }
                    // Refused as a value there, so it stays here.
                    (Some(wanted), _) if !self.is_at_edge(wanted, address) => needs.placed += 1,
                    // A ban that becomes a challenge.
                    (Some(_), _) => {
                        if list == Remediation::Ban {
                            self.wait_for_what_is_inside(list, content, address, rules, &mut needs);
                        }
                    }
                    (None, Some(_)) => {}
                    (None, None) => match self.around(list, address, rules) {
                        Around::Waits => {
                            let waits = u64::from(!self.is_twice(list, address));
                            needs.stays += waits;
                            needs.waits += waits;
                        }
                        Around::LetGo => {}
                        Around::Covered(Some((on, range))) => {
                            needs.leaving += 1;
                            needs.awaited.insert(range);
                            if on == list && may_rewrite(content) {
                                needs.swaps.insert(range);
                                swapped += 1;
                            }
                        }
                        Around::Covered(None) => {}
                        Around::Weaker(Some((_, range))) => {
                            needs.leaving += 1;
                            needs.awaited.insert(range);
                        }
                        Around::Weaker(None) | Around::Nothing => {
                            self.wait_for_what_is_inside(list, content, address, rules, &mut needs);
                        }
                    },
                }
            }
            let brought = needs.swaps.len() as u64 - before;
            needs.freed = needs.freed.max(swapped - brought);
        }
        needs
    }

    /// What goes although no range has come for it, or ever will; in order.
    fn let_go(&self, rules: Rules<'_>) -> Vec<Claim> {
        let mut going = Vec::new();
        if self.yields == Yields::default() {
            return going;
        }
        for (list, content) in self.observed.lists() {
            let undesired = content.items().keys().filter(|address| {
                self.desired.on_list(address).is_none() && rules.protected.rule(address).is_none()
            });
            let goes =
                |address: &Address| matches!(self.around(list, address, rules), Around::LetGo);
            let goes = undesired.filter(goes);
            going.extend(goes.map(|address| self.claim(list, &address)));
        }
        going.sort_unstable();
        going
    }

    /// Whether this list has `address`.
    pub(super) fn is_at_edge(&self, list: Remediation, address: &Address) -> bool {
        let mut lists = self.observed.lists();
        lists.any(|(of, content)| of == list && content.items().contains_key(address))
    }

    fn has_to_come(&self, list: Remediation, address: &Address, rules: Rules<'_>) -> bool {
        !self.is_at_edge(list, address) && !rules.is_set_aside(address)
    }

    /// Whether it is at the edge by itself, as strongly as by a range on `list`.
    fn stands_alone(&self, list: Remediation, address: &Address) -> bool {
        let mut lists = self.observed.lists().filter(|(of, _)| *of >= list);
        lists.any(|(_, content)| content.items().contains_key(address))
    }

    /// Counts a range that leaves after something inside it has come, or in the request that brings it. Where the
    /// ban list has it as well, the challenge is nobody's only protection.
    fn wait_for_what_is_inside(
        &self,
        list: Remediation,
        content: &ObservedList,
        range: &Address,
        rules: Rules<'_>,
        needs: &mut Needs,
    ) {
        if range.is_single() || self.is_twice(list, range) {
            return;
        }
        let inside = self.desired.inside(range).filter(|(inner, on)| {
            self.on_list(inner).is_some()
                && self.has_to_come(*on, inner, rules)
                && !self.stands_alone(list, inner)
        });
        let inside: Vec<(Address, Remediation)> = inside.collect();
        let is_elsewhere = inside.iter().any(|(_, on)| !may_rewrite(content) || *on != list);
        let (ranges, of_inside) = match is_elsewhere {
            true => (&mut needs.ranges, &mut needs.inside),
            false => (&mut needs.replaced, &mut needs.brought),
        };
        *ranges += u64::from(!inside.is_empty());
        of_inside.extend(inside.into_iter().map(|(inner, _)| inner));
    }

    /// Whether a range that is to be a ban is a challenge at the edge.
    fn has_range_that_challenges(&self) -> bool {
        let ranges = self.desired.candidates().filter(|one| !one.address.is_single());
        let mut bans = ranges.filter(|one| one.list == Remediation::Ban);
        bans.any(|one| self.is_at_edge(Remediation::Captcha, &one.address))
    }

    /// The first who goes without and is at the edge.
    fn first_put_out(&self) -> Option<Standing> {
        let without = self.desired.candidates().filter(|one| !self.has(one));
        without.filter(|one| self.observed.has(&one.address)).map(|one| self.order_of(&one)).min()
    }

    /// The first of those who are as important but for their time.
    fn first_equal(&self, (rank, _): Standing) -> Option<Standing> {
        let all = self.desired.candidates().map(|one| self.order_of(&one));
        all.filter(|(other, _)| other.is_equal(&rank)).min()
    }

    /// Whether the ban list has it as well, so that it need not stay here.
    pub(super) fn is_twice(&self, list: Remediation, address: &Address) -> bool {
        list == Remediation::Captcha && self.is_at_edge(Remediation::Ban, address)
    }

    /// See [`Around`]. A range that is at the edge already before one that has yet to come; the widest first. One that
    /// Cloudflare refuses as a value is as one without a place.
    pub(super) fn around(&self, list: Remediation, address: &Address, rules: Rules<'_>) -> Around {
        let around: Vec<_> = self.desired.ranges_around(address).collect();
        let best = |is_strong: bool| {
            let ranges = around.iter().filter(|(_, on)| (*on >= list) == is_strong);
            let placed = ranges.filter(|(range, on)| {
                let may_come = !rules.is_set_aside(range) || self.is_at_edge(*on, range);
                self.on_list(range) == Some(*on) && may_come
            });
            let after = placed.map(|(range, on)| {
                // Where it moves away from it is there as well, until it has come.
                let is_weak = self.is_weakly_covered(address, range);
                let least = if is_weak { Remediation::Captcha } else { list };
                let mut lists = self.observed.lists().filter(|(of, _)| of >= on.min(&least));
                let is_there = lists.any(|(_, content)| content.items().contains_key(range));
                (!is_there).then_some((*on, *range))
            });
            after.min_by_key(Option::is_some)
        };
        let is_twice = self.is_twice(list, address);
        // A weaker one that has its place keeps nothing for one that has none.
        let waits = |least: Remediation| {
            let ranges = around.iter().filter(|(_, on)| *on >= least).map(|(range, _)| *range);
            let stays = self.may_keep(ranges) || self.is_spared(list, address);
            if stays { Around::Waits } else { Around::LetGo }
        };
        if let Some(after) = best(true) {
            match after.filter(|_| !is_twice) {
                Some((_, range))
                    if self.is_in_the_way(list, address, &range)
                        && !self.is_spared(list, address) =>
                {
                    Around::LetGo
                }
                after => Around::Covered(after),
            }
        } else if around.iter().any(|(_, on)| *on >= list) {
            waits(list)
        } else if let Some(after) = best(false) {
            Around::Weaker(after)
        } else if !around.is_empty() {
            waits(Remediation::Captcha)
        } else {
            Around::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::lists::ObservedList;
    use crate::settings::protected::Protected;
    use crate::small::SmallMap;
    use crate::state::Ends;

    const NOW: u64 = 1_793_000_000;
    const ADDRESS: &str = "1.1.1.1";
    const RANGE: &str = "2.2.2.0/24";

    /// What is desired, and what is there: addresses to ban, and to challenge.
    type Lists<'a> = (&'a [&'a str], &'a [&'a str]);

    /// `stays placed moving leaving ranges inside`, if there are so many places.
    fn needs(places: u64, wanted: Lists<'_>, there: Lists<'_>, set_aside: &[&str]) -> [u64; 6] {
        let desired = Desired::of(wanted.0, wanted.1);
        let [on_ban, on_captcha] = [there.0, there.1].map(ObservedList::of);
        let observed = Observed::of(on_ban, on_captcha);
        let until = |address: &&str| (address.parse().unwrap(), NOW + 1);
        let set_aside: SmallMap<Address, u64> = set_aside.iter().map(until).collect();
        let (protected, ends) = (Protected::default(), Ends::default());
        let rules = Rules {
            now: NOW,
            items_max: places,
            protected: &protected,
            ends: &ends,
            set_aside: &set_aside,
        };
        let needs = Places::assign(&desired, &observed, places).needs(rules);
        let Needs { stays, placed, moving, leaving, ranges, inside, .. } = needs;
        [stays, placed, moving.len() as u64, leaving, ranges, inside.len() as u64]
    }

    #[test]
    fn address_that_is_there_needs_one_place_wherever_it_is_and_whether_it_moves_or_not() {
        let ban: Lists<'_> = (&[ADDRESS], &[]);
        let captcha: Lists<'_> = (&[], &[ADDRESS]);
        let both: Lists<'_> = (&[ADDRESS], &[ADDRESS]);
        for wanted in [ban, captcha] {
            assert_eq!(needs(9, wanted, wanted, &[]), [0, 1, 0, 0, 0, 0], "as it should be");
            assert_eq!(needs(9, wanted, both, &[]), [0, 1, 0, 0, 0, 0], "the other one goes");
        }
        for (wanted, there) in [(ban, captcha), (captcha, ban)] {
            assert_eq!(needs(9, wanted, there, &[]), [0, 1, 1, 0, 0, 0], "it moves");
            let refused = needs(9, wanted, there, &[ADDRESS]);
            assert_eq!(refused, [0, 1, 0, 0, 0, 0], "refused as a value, it stays");
        }
    }

    /// Both copies of the range are there, and that of the ban list goes.
    #[test]
    fn banned_range_that_becomes_a_challenge_waits_for_what_comes_inside_of_it() {
        let inside: Lists<'_> = (&[], &[RANGE, "2.2.2.2"]);
        let both: Lists<'_> = (&[RANGE], &[RANGE]);
        assert_eq!(needs(9, inside, both, &[]), [0, 1, 0, 0, 1, 1]);
        // One request takes the range off and brings the ban.
        let same_list: Lists<'_> = (&["2.2.2.2"], &[RANGE]);
        assert_eq!(needs(9, same_list, both, &[]), [0, 1, 0, 0, 0, 0]);
        // What is challenged may be banned at once: nobody is let through by that.
        let stronger: Lists<'_> = (&[RANGE], &["2.2.2.2"]);
        assert_eq!(needs(9, stronger, both, &[]), [0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn address_whose_range_has_no_place_stays_once() {
        let range: Lists<'_> = (&["1.1.1.0/24"], &[]);
        assert_eq!(needs(0, range, (&[ADDRESS], &[]), &[]), [1, 0, 0, 0, 0, 0]);
        assert_eq!(needs(0, range, (&[], &[ADDRESS]), &[]), [1, 0, 0, 0, 0, 0]);
        assert_eq!(needs(0, range, (&[ADDRESS], &[ADDRESS]), &[]), [1, 0, 0, 0, 0, 0]);
        assert_eq!(needs(1, range, (&[ADDRESS], &[]), &[]), [0, 0, 0, 1, 0, 0], "it leaves");
    }
}
