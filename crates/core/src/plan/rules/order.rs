//! Which of the two rules is written first, so that nobody who is on one of them before and after is
//! for a moment on neither.
//!
//! Two PATCHes are two moments. Whoever goes from the challenge to the ban needs the ban written first
//! (add before remove), whoever goes the other way needs the challenge first. If somebody goes each
//! way, no order does: then one rule keeps those who leave it for one more run.
//!
//! Addresses are compared with addresses and regions with regions: that somebody's own challenge becomes
//! a ban of his country at the same moment is not looked for.

use crate::api::cloudflare::expression::{AddressSet, Expression, Parts};
use crate::decision::Remediation;
use crate::desired::Region;
use crate::small::Sorted;

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
///
/// `keep` decides anew what a rule should say that matches those who leave it too: what they need is decided
/// together with what all others need, for what goes for their sake, or need not go, depends on it.
pub fn order(
    ban: Option<RuleChange<'_>>,
    captcha: Option<RuleChange<'_>>,
    keep: &mut dyn FnMut(Remediation, &Movers) -> Option<Expression>,
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
    // Whoever leaves has no room of him who comes: the other rule does not match that one any more.
    let mut kept = |rule, leave: &Movers, come: &Movers, on_list| {
        let has = |kept: &Expression| {
            leave.are_matched_by(kept, on_list) && come.are_matched_by(kept, on_list)
        };
        keep(rule, leave).filter(has)
    };
    let steps = match kept(Remediation::Ban, &down, &up, ban.on_list) {
        Some(kept) => Some(ban_first(kept)),
        None => kept(Remediation::Captcha, &up, &down, captcha.on_list).map(captcha_first),
    };
    let has_gap = steps.is_none();
    let mut steps = steps.unwrap_or_else(|| ban_first(ban.desired.clone()));
    // If all that it was to lose are kept, nothing is to be written.
    steps.retain(|patch| match patch.rule {
        Remediation::Ban => patch.to != *ban.observed,
        Remediation::Captcha => patch.to != *captcha.observed,
    });
    Patches { steps, second_needs_first: true, is_unfinished: !has_gap, has_gap }
}

/// Who leaves one rule for the other, and is not there yet.
#[derive(Debug, Clone)]
pub struct Movers {
    /// The addresses and ranges.
    pub addresses: AddressSet,
    /// The regions.
    pub regions: Sorted<Region>,
}

impl Movers {
    fn new(from: &RuleChange<'_>, to: &RuleChange<'_>) -> Self {
        let left = from.observed.matched(from.on_list);
        let left = left.difference(&from.desired.matched(from.on_list));
        // Whether the list has him or is losing him: by the rule he comes either way.
        let come = |list| to.desired.matched(list).difference(&to.observed.matched(list));
        let come = come(to.stays).union(&come(to.on_list));
        let lost = |before: &Expression, after: &Expression| {
            let (mut lost, left) = (regions(before.parts()), regions(after.parts()));
            lost.retain(|region| !left.contains(region));
            lost
        };
        let (mut moving, arrive) =
            (lost(from.observed, from.desired), lost(to.desired, to.observed));
        moving.retain(|region| arrive.contains(region));
        Self { addresses: left.intersection(&come), regions: moving }
    }

    fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.regions.is_empty()
    }

    /// Whether a rule that says this matches all of them.
    fn are_matched_by(&self, rule: &Expression, on_list: &AddressSet) -> bool {
        let (matched, regions) = (rule.matched(on_list), regions(rule.parts()));
        self.addresses.difference(&matched).is_empty()
            && self.regions.iter().all(|region| regions.contains(region))
    }
}

fn regions(parts: &Parts) -> Sorted<Region> {
    let countries = parts.countries.of.iter().map(|country| Region::Country(*country));
    countries.chain(parts.asns.of.iter().map(|asn| Region::As(*asn))).collect()
}
