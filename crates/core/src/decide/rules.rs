//! What is decided about the rules of each zone: the delta on top of the lists.
//!
//! Decided twice in a run by the same code: before the lists are written, to know whether the delta has
//! room for what the lists lack, and after, for what they then still lack.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::address::Address;
use crate::address::map::AddressMap;
use crate::api::cloudflare::expression::{AddressSet, Expression};
use crate::api::cloudflare::lists::ItemId;
use crate::decision::{Each, Remediation, Source};
use crate::desired::{Candidate, Desired, Region};
use crate::observed::lists::{Observed, ObservedList};
use crate::observed::rules::{ObservedRules, OurRule, ZoneRules};
use crate::order::Order;
use crate::plan::lists::{Addition, ListPlan, Plan, Rank};
use crate::plan::rules::{
    Decided, Item, Movers, Patches, RuleChange, Situation, Waiting, decide as decide_rule, order,
};
use crate::plan::{Class, Why};
use crate::schedule::lists::{ByRules, Operation, Urgency};
use crate::settings::protected::NEVER_BLOCK;
use crate::settings::{Id, Lists, Rules, Settings};
use crate::small::Sorted;
use crate::state::rules::{Cause, RegionsTaken};
use crate::state::writes::checksum;
use crate::state::{Ends, RulesHistory};

/// What is known of the lists when the rules are decided.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// What the lists should change, as the guard has approved it.
    pub plan: &'a Plan,
    /// What the lists hold, as they were read.
    pub observed: &'a Observed,
    /// Bulk operations of this run that were seen to complete since.
    pub done: &'a [Operation],
    /// What was desired last.
    pub ends: &'a Ends,
    /// Whether the content that was read is surely at the edge.
    pub may_drain: bool,
    /// Whether an operation that was not seen to end, or only just, may take something off what was read.
    pub may_lose: bool,
}

/// What the lists have to do with the rules that use them, the same for every zone.
#[derive(Debug)]
pub struct Base {
    sides: Each<Side>,
    protected: AddressSet,
    never_block: AddressSet,
    may_drain: bool,
    may_lose: bool,
    /// A checksum of the token.
    token: u32,
}

/// One list, and what its rule shall match.
#[derive(Debug)]
struct Side {
    shall_match: Vec<Item>,
    on_list: Vec<Item>,
    content: AddressSet,
    moves_here: AddressSet,
    /// What of the content stays there whatever an operation under way does; `None` = all of it.
    stays: Option<AddressSet>,
    regions: Vec<Region>,
}

/// What is decided about one zone.
#[derive(Debug)]
pub struct Decision {
    /// What each of our rules should say; only of rules that are ours.
    pub rules: Each<Decided>,
    /// The changes, in order.
    pub patches: Patches,
    /// How long the zone is left alone, and why; `None` = its rules may be changed.
    pub wait: Option<(Duration, Cause)>,
    /// Whether one of the texts was refused a short while ago, so that it is not sent.
    pub is_refused: bool,
    /// Which regions the texts have.
    pub regions_taken: RegionsTaken,
}

impl Decision {
    /// Whether the lists' turn has come: something has no room in the delta, or it is nearly full.
    pub fn needs_list_write(&self) -> bool {
        self.rules.values().any(|rule| rule.is_nearly_full || rule.waits_for_list())
    }
}

impl Base {
    /// From what is desired, and what is known of the lists.
    pub fn new(settings: &Settings, lists: &Lists, desired: &Desired, known: Known<'_>) -> Self {
        let addresses = settings.protected.addresses();
        let protected_by = |person: bool| -> AddressSet {
            let of = addresses.iter().filter(|(_, rule)| (*rule == NEVER_BLOCK) == person);
            of.map(|(address, _)| *address).collect()
        };
        let sides =
            known.plan.lists().iter().zip(known.observed.lists()).map(|(plan, (list, content))| {
                let mut side = Side::new(plan, content, desired, known);
                side.regions = regions(desired, lists, list);
                (list, side)
            });
        Self {
            sides: sides.collect(),
            protected: protected_by(false),
            never_block: protected_by(true),
            may_drain: known.may_drain && known.done.is_empty(),
            may_lose: known.may_lose,
            token: checksum(settings.token.expose()),
        }
    }
}

/// The regions that the rule of `list` shall match: decided here first, then what holds longest.
fn regions(desired: &Desired, lists: &Lists, list: Remediation) -> Vec<Region> {
    let wanted = desired.regions().iter();
    let of_list = wanted.filter(|(_, wanted)| lists.takes(wanted.remediation) == Some(list));
    let mut regions: Vec<(Source, std::cmp::Reverse<u64>, Region)> = of_list
        .map(|(region, wanted)| {
            (wanted.source, std::cmp::Reverse(wanted.remaining.as_secs() / 3_600), *region)
        })
        .collect();
    regions.order_by(Ord::cmp);
    regions.into_iter().map(|(.., region)| region).collect()
}

/// Whether who leaves this list for that reason need not be let through by its rule: he is banned, by the rule that
/// comes first, and should that lose him, he is better challenged than let through.
fn is_banned_first(list: Remediation, why: Why) -> bool {
    list == Remediation::Captcha && matches!(why, Why::Moved | Why::Covered)
}

impl Side {
    fn new(plan: &ListPlan, content: &ObservedList, desired: &Desired, known: Known<'_>) -> Self {
        let comes = |(list, address): &(Remediation, Address)| {
            let of = known.plan.lists().iter().find(|of| of.list == *list);
            of.is_some_and(|of| {
                let is_in = |all: &[Addition]| {
                    all.binary_search_by_key(address, |addition| addition.address).is_ok()
                };
                is_in(&of.additions) || is_in(&of.set_aside)
            })
        };
        // What goes only after another has come stays where that will not come, and what is displaced is
        // desired: the rule does not open what the list will lose.
        let mut leaving: AddressMap<Class> = AddressMap::default();
        let all = plan
            .removals
            .iter()
            .filter(|removal| !matches!(removal.why, Why::Surplus | Why::Displaced))
            .filter(|removal| !is_banned_first(plan.list, removal.why))
            .filter(|removal| removal.after.as_ref().is_none_or(comes))
            .map(|removal| (removal.address, removal.class));
        all.for_each(|(address, class)| leaving.push(address, class));
        leaving.settle(|_, _| ());
        let (added, removed) = done(plan, content, known.done);
        // What is held back is not desired: of that only what is remembered tells whose it was.
        let is_own = |address: &Address| match desired.candidate(address) {
            Some(candidate) => candidate.is_own_ban,
            None => known.ends.get(address).is_none_or(|known| known.own || !known.on_list),
        };
        let kept_class = |address: &Address| match plan.list {
            Remediation::Captcha => Class::Captcha,
            Remediation::Ban if is_own(address) => Class::OwnBan,
            Remediation::Ban => Class::CommunityBan,
        };
        let item = |address: Address, class| Item { address, class, order: 0 };
        let is_lost =
            |address: &Address| leaving.contains_key(address) || removed.contains(address);
        let stays = content.items().keys().filter(|address| !is_lost(address));
        let mut shall_match: Vec<Item> =
            stays.map(|address| item(address, kept_class(&address))).collect();
        // What the list refuses as a value, a rule takes.
        let wanted = plan.additions.iter().chain(&plan.set_aside);
        shall_match.extend(wanted.map(|addition| Item {
            address: addition.address,
            class: addition.class,
            order: addition.rank.order(),
        }));
        // Nor does it leave out who has no place only until others have moved.
        if known.plan.keeps_places() {
            let is_there =
                |address: &Address| content.items().contains_key(address) && !is_lost(address);
            shall_match.extend(without_place(plan, desired, is_there));
        }
        shall_match.order_by_key(|item| item.address);
        let there = content.items().keys().filter(|address| !removed.contains(address));
        let on_list: Vec<Item> = there
            .chain(added.into_iter().filter(|address| !content.items().contains_key(address)))
            .map(|address| item(address, leaving.get(&address).copied().unwrap_or(Class::Rest)))
            .collect();
        let content: AddressSet = on_list.iter().map(|item| item.address).collect();
        let is_done = known.done.iter().any(|done| done.effect().list != plan.list);
        let others = known.plan.lists().iter().filter(|other| other.list != plan.list && !is_done);
        let waits = others.flat_map(|other| &other.removals).filter(|removal| {
            removal.why == Why::Moved && removal.after.is_none() && content.covers(&removal.address)
        });
        let moves_here: AddressSet = waits.map(|removal| removal.address).collect();
        let is_sure = known.may_drain || moves_here.is_empty() && leaving.is_empty();
        let stays = (!is_sure).then(|| {
            let stays = |item: &&Item| {
                !leaving.contains_key(&item.address) && !moves_here.covers(&item.address)
            };
            on_list.iter().filter(stays).map(|item| item.address).collect()
        });
        Self { shall_match, on_list, content, moves_here, stays, regions: Vec::new() }
    }
}

impl Side {
    /// What this rule matches now and the other one should match and has no room for; `None` = nothing.
    fn kept(
        &self,
        observed: Option<&Expression>,
        other: &Decided,
    ) -> Option<(Vec<Item>, Vec<Region>)> {
        let observed = observed.filter(|_| !other.waiting.is_empty())?;
        let matched = observed.matched(&self.content);
        let (mut addresses, mut regions) = (Vec::new(), Vec::new());
        for waiting in &other.waiting {
            match *waiting {
                Waiting::Fresh(address, class) => {
                    let parts = matched.intersection(&AddressSet::from_iter([address]));
                    addresses.extend(parts.iter().map(|part| Item {
                        address: *part,
                        // In force here he goes for no challenge.
                        class: class.min(Class::Captcha),
                        order: 0,
                    }));
                }
                Waiting::Region(region) => {
                    regions.extend(is_in_force(observed, region).then_some(region));
                }
                Waiting::Lifted(..) | Waiting::StandIn(_) => {}
            }
        }
        (!addresses.is_empty() || !regions.is_empty()).then_some((addresses, regions))
    }
}

fn is_in_force(observed: &Expression, region: Region) -> bool {
    let parts = observed.parts();
    match region {
        Region::Country(country) => parts.countries.of.contains(&country),
        Region::As(asn) => parts.asns.of.contains(&asn),
    }
}

/// Who is desired on this list, and neither there nor coming.
fn without_place(
    plan: &ListPlan,
    desired: &Desired,
    is_there: impl Fn(&Address) -> bool,
) -> Vec<Item> {
    let has = |all: &[Addition], address: &Address| {
        all.binary_search_by_key(address, |addition| addition.address).is_ok()
    };
    let here = desired.candidates().filter(|candidate| candidate.list == plan.list);
    let without = here.filter(|Candidate { address, .. }| {
        !is_there(address) && !has(&plan.additions, address) && !has(&plan.set_aside, address)
    });
    let item = |candidate: Candidate| Item {
        address: candidate.address,
        class: match plan.list {
            Remediation::Captcha => Class::Captcha,
            Remediation::Ban if candidate.is_own_ban => Class::OwnBan,
            Remediation::Ban => Class::CommunityBan,
        },
        order: Rank::new(&candidate, false).order(),
    };
    without.map(item).collect()
}

/// What the operations of this run have added to, and removed from, this list.
fn done(
    plan: &ListPlan,
    content: &ObservedList,
    operations: &[Operation],
) -> (BTreeSet<Address>, BTreeSet<Address>) {
    let (mut added, mut removed) = (BTreeSet::new(), BTreeSet::new());
    for operation in operations.iter().filter(|done| done.effect().list == plan.list) {
        match operation {
            Operation::Append { items, .. } => {
                added.extend(items.as_slice().iter().map(|item| item.ip));
            }
            Operation::Replace { items, .. } => {
                let now: BTreeSet<Address> = items.as_slice().iter().map(|item| item.ip).collect();
                removed.extend(content.items().keys().filter(|was| !now.contains(was)));
                added = now;
            }
            Operation::Delete { ids, .. } => {
                let ids: Sorted<&ItemId> = ids.as_slice().iter().collect();
                let gone = plan
                    .removals
                    .iter()
                    .filter(|removal| removal.why != Why::Surplus && ids.contains(&&removal.id));
                removed.extend(gone.map(|removal| removal.address));
            }
        }
    }
    (added, removed)
}

/// Decides about one zone. `zone` is its id, `now` is in Unix seconds.
pub fn decide(
    base: &Base,
    rules: &Rules,
    zone: &str,
    observed: &ZoneRules,
    history: &RulesHistory,
    now: u64,
) -> Decision {
    let taken = history.regions_taken(zone, now);
    let decide_one = |list: Remediation, (addresses, regions): &(Vec<Item>, Vec<Region>)| {
        let (observed, side) = (observed.expression(list)?, base.sides.get(list)?);
        let (regions, left_out): (Vec<Region>, Vec<Region>) =
            side.regions.iter().chain(regions).partition(|region| match taken {
                RegionsTaken::All => true,
                RegionsTaken::InForce => is_in_force(observed, **region),
                RegionsTaken::None => false,
            });
        let more;
        let shall_match = match addresses.is_empty() {
            true => &side.shall_match,
            false => {
                more = [&side.shall_match[..], addresses].concat();
                &more
            }
        };
        let situation = Situation {
            shall_match,
            on_list: &side.on_list,
            moves_here: &side.moves_here,
            observed,
            may_drain: base.may_drain,
            may_lose: base.may_lose,
            protected: &base.protected,
            never_block: &base.never_block,
            regions: &regions,
            characters_max: rules.characters_max,
        };
        let mut decided = decide_rule(&situation);
        decided.waiting.extend(left_out.into_iter().map(Waiting::Region));
        Some(decided)
    };
    let lists = || base.sides.iter().map(|(list, _)| list);
    let nobody = (Vec::new(), Vec::new());
    let first: Each<Decided> =
        lists().filter_map(|list| Some((list, decide_one(list, &nobody)?))).collect();
    // Who leaves one rule for the other, which has no room for him, stays until it has.
    let mut decided = first.clone();
    let mut stay = Each::default();
    for (list, side) in base.sides.iter() {
        let Some(there) = first.get(list.other()) else { continue };
        let Some(kept) = side.kept(observed.expression(list), there) else { continue };
        decided.extend(decide_one(list, &kept).map(|decided| (list, decided)));
        stay.insert(list, kept);
    }
    let change = |list: Remediation| {
        let side = base.sides.get(list)?;
        Some(RuleChange {
            observed: observed.expression(list)?,
            desired: &decided.get(list)?.desired,
            on_list: &side.content,
            stays: side.stays.as_ref().unwrap_or(&side.content),
        })
    };
    let mut with_movers = Each::default();
    let mut keep = |list: Remediation, movers: &Movers| {
        let (mut addresses, mut regions) = stay.get(list).cloned().unwrap_or_default();
        // Nobody goes for one who moves: he comes after his equals.
        let movers_here = movers.addresses.iter();
        addresses.extend(movers_here.map(|address| Item {
            address: *address,
            class: Class::Captcha,
            order: u64::MAX,
        }));
        regions.extend(movers.regions.iter().copied());
        let decided = decide_one(list, &(addresses, regions))?;
        let desired = decided.desired.clone();
        with_movers.insert(list, decided);
        Some(desired)
    };
    let patches = order(change(Remediation::Ban), change(Remediation::Captcha), &mut keep);
    let says = |list| patches.steps.iter().find(|patch| patch.rule == list).map(|patch| &patch.to);
    for (list, with) in with_movers.iter() {
        if patches.is_unfinished && says(list).is_none_or(|to| *to == with.desired) {
            decided.insert(list, with.clone());
        }
    }
    let is_refused =
        patches.steps.iter().any(|patch| history.is_refused(zone, &patch.to.to_string(), now));
    let wait = history.wait(zone, base.token, now);
    Decision { patches, rules: decided, wait, is_refused, regions_taken: taken }
}

/// What the rules of the named zones have to do with what is sent to the lists.
pub fn for_lists(
    settings: &Settings,
    lists: &Lists,
    rules: Option<(&Rules, &ObservedRules)>,
    states: (&Desired, Known<'_>),
    history: &RulesHistory,
    now: u64,
) -> ByRules {
    let urgency = urgency(settings, lists, rules, states, history, now);
    let zones = || rules.iter().flat_map(|(_, observed)| &observed.zones);
    let protected: AddressSet =
        settings.protected.addresses().iter().map(|(address, _)| *address).collect();
    if zones().any(|(_, zone)| zone.is_err()) {
        // What its rules let through is not known, so it may be anything.
        let all: AddressSet = Address::everything().into_iter().collect();
        let all = all.difference(&protected);
        let lifted = Remediation::ALL.into_iter().map(|list| (list, all.clone())).collect();
        return ByRules { urgency, lifted };
    }
    let mut lifted = Each::<AddressSet>::default();
    for ours in zones().filter_map(|(_, zone)| Some(&zone.as_ref().ok()?.ours)) {
        for (list, rule) in ours.iter() {
            let OurRule::Ours { expression, .. } = rule else { continue };
            let parts = expression.parts();
            // What is in FRESH too is matched all the same.
            let through = parts.lifted.difference(&parts.fresh.of).difference(&protected);
            let all = lifted.get(list).map_or_else(|| through.clone(), |all| all.union(&through));
            lifted.insert(list, all);
        }
    }
    ByRules { urgency, lifted }
}

/// Whether the lists must be written soon, judged by what the rules can take over.
///
/// With rules that say within one run what the lists lack, nothing is urgent for the lists, unless it has
/// no room there, or rules in other zones use the lists too and have nothing but them.
fn urgency(
    settings: &Settings,
    lists: &Lists,
    rules: Option<(&Rules, &ObservedRules)>,
    (desired, known): (&Desired, Known<'_>),
    history: &RulesHistory,
    now: u64,
) -> Urgency {
    let Some((rules, observed)) = rules else { return Urgency::ByClass };
    let base = Base::new(settings, lists, desired, known);
    let zones: Option<Vec<(&Id, &ZoneRules)>> =
        observed.zones.iter().map(|(zone, read)| Some((zone, read.as_ref().ok()?))).collect();
    let Some(zones) = zones else { return Urgency::ByClass };
    if !observed.covers(lists) {
        return Urgency::ByClass;
    }
    let decisions = zones
        .iter()
        .map(|(zone, rules_there)| decide(&base, rules, zone.as_str(), rules_there, history, now));
    let mut is_full = false;
    for decision in decisions {
        // What cannot be changed says nothing of what the lists lack.
        if decision.wait.is_some() || decision.is_refused {
            return Urgency::ByClass;
        }
        is_full |= decision.needs_list_write();
    }
    if is_full { Urgency::Now } else { Urgency::Never }
}

#[cfg(test)]
mod tests;
