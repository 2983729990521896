//! Which of the two rules is written first, so that nobody who is on one of them before and after is
//! for a moment on neither.
//!
//! Two PATCHes are two moments. Whoever goes from the challenge to the ban needs the ban written first
//! (add before remove), whoever goes the other way needs the challenge first. If somebody goes each
//! way, no order does: then one rule keeps those who leave it for one more run.
//!
//! Addresses are compared with addresses and regions with regions: that somebody's own challenge becomes
//! a ban of his country at the same moment is not looked for.

use crate::api::cloudflare::expression::{AddressSet, Clause, Expression, Parts};
use crate::decision::Remediation;

use crate::desired::Region;
use crate::small::Sorted;

use super::CHARACTERS_MAX;

/// What is to happen to a rule.
#[derive(Debug, Clone, Copy)]
pub struct RuleChange<'a> {
    /// What it says.
    pub observed: &'a Expression,
    /// What it should say.
    pub desired: &'a Expression,
    /// What its list holds.
    pub on_list: &'a AddressSet,
    /// The same without what an operation under way may take: who is on this list because of that is not there yet.
    pub stays: &'a AddressSet,
}

/// The PATCHes of one zone in one run, in order; at most one for each rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patches {
    /// What is written.
    pub steps: Vec<Patch>,
    /// Whether somebody would be on neither rule if the second were written without the first.
    pub second_needs_first: bool,
    /// Whether the first keeps somebody whom it should not, until the next run writes it once more.
    pub is_unfinished: bool,
    /// Whether somebody is on neither rule between the two after all, because neither text had room
    /// to keep him.
    pub has_gap: bool,
}

/// One write of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Which rule.
    pub rule: Remediation,
    /// What it then says.
    pub to: Expression,
}

/// Orders the changes of a zone's rules. `None` = there is no such rule.
pub fn order(
    ban: Option<RuleChange<'_>>,
    captcha: Option<RuleChange<'_>>,
    characters_max: usize,
) -> Patches {
    let is_due = |change: &RuleChange<'_>| change.desired != change.observed;
    let (ban, captcha) = (ban.filter(is_due), captcha.filter(is_due));
    let patch = |rule, to: &Expression| Patch { rule, to: to.clone() };
    let (Some(ban), Some(captcha)) = (ban, captcha) else {
        let due = [(Remediation::Ban, ban), (Remediation::Captcha, captcha)];
        let steps = due.into_iter().filter_map(|(rule, due)| Some(patch(rule, due?.desired)));
        return Patches { steps: steps.collect(), ..Patches::default() };
    };
    let ban_first = |ban: Expression| {
        vec![patch(Remediation::Ban, &ban), patch(Remediation::Captcha, captcha.desired)]
    };
    let captcha_first = |captcha: Expression| {
        vec![patch(Remediation::Captcha, &captcha), patch(Remediation::Ban, ban.desired)]
    };

    let (up, down) = (Movers::new(&captcha, &ban), Movers::new(&ban, &captcha));
    if down.is_empty() {
        let steps = ban_first(ban.desired.clone());
        return Patches { steps, second_needs_first: !up.is_empty(), ..Patches::default() };
    }
    if up.is_empty() {
        let steps = captcha_first(captcha.desired.clone());
        return Patches { steps, second_needs_first: true, ..Patches::default() };
    }
    // The ban first if it can be: it has the new bans, and a ban for one more run is no gap.
    let steps = match down.kept_by(ban.desired, characters_max) {
        Some(kept) => Some(ban_first(kept)),
        None => up.kept_by(captcha.desired, characters_max).map(captcha_first),
    };
    let has_gap = steps.is_none();
    Patches {
        steps: steps.unwrap_or_else(|| ban_first(ban.desired.clone())),
        second_needs_first: true,
        is_unfinished: !has_gap,
        has_gap,
    }
}

/// Who leaves one rule for the other, and is not there yet.
struct Movers<'a> {
    addresses: AddressSet,
    regions: Sorted<Region>,
    /// What they come to say there: the exceptions of its regions are the current ones.
    there: &'a Parts,
}

impl<'a> Movers<'a> {
    fn new(from: &RuleChange<'a>, to: &RuleChange<'a>) -> Self {
        let left = from.observed.matched(from.on_list);
        let left = left.difference(&from.desired.matched(from.on_list));
        let come = to.desired.matched(to.stays).difference(&to.observed.matched(to.stays));
        let lost = |before: &Expression, after: &Expression| {
            let (mut lost, left) = (regions(before.parts()), regions(after.parts()));
            lost.retain(|region| !left.contains(region));
            lost
        };
        let (mut moving, arrive) =
            (lost(from.observed, from.desired), lost(to.desired, to.observed));
        moving.retain(|region| arrive.contains(region));
        Self { addresses: left.intersection(&come), regions: moving, there: to.desired.parts() }
    }

    fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.regions.is_empty()
    }

    /// What the rule that they leave should say, and them; `None` = that is too long.
    fn kept_by(&self, desired: &Expression, characters_max: usize) -> Option<Expression> {
        let characters_max = characters_max.min(CHARACTERS_MAX);
        let mut parts = desired.parts().clone();
        let lifted = parts.lifted.iter().filter(|entry| !self.addresses.covers(entry));
        parts.lifted = lifted.copied().collect();
        parts.fresh.of = parts.fresh.of.union(&self.addresses);
        parts.fresh.except = parts.fresh.except.difference(&self.addresses);
        for region in &self.regions {
            match region {
                Region::Country(country) => {
                    keep(&mut parts.countries, *country, &self.there.countries);
                }
                Region::As(asn) => keep(&mut parts.asns, *asn, &self.there.asns),
            }
        }
        let kept = Expression::new(desired.list().clone(), parts).ok()?;
        (kept.characters() <= characters_max).then_some(kept)
    }
}

/// With the exceptions of where they go too: an owner is not caught in a country that stays longer.
fn keep<T: Ord>(clause: &mut Clause<Sorted<T>>, one: T, there: &Clause<Sorted<T>>) {
    clause.of.insert(one);
    clause.except = clause.except.union(&there.except);
}

fn regions(parts: &Parts) -> Sorted<Region> {
    let countries = parts.countries.of.iter().map(|country| Region::Country(*country));
    countries.chain(parts.asns.of.iter().map(|asn| Region::As(*asn))).collect()
}
