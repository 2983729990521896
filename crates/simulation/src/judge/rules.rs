//! Rules: nobody who is desired slips through because of a change of a rule; what is not ours stays byte for
//! byte; and what the edge does in the end is what is desired. All by the simulator's oracle of the edge, which
//! shares nothing with core.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use ipnet::IpNet;
use simulator::{RuleView, Simulator, Verdict, Visitor};

use super::full;
use super::lists::word;
use super::reading::{BLOCK, CHALLENGE, PASS, Reading, Strength, is_single, written};
use super::{Judge, Sent, Terms, View};

const OURS: &str = "crowdsec_edge_sync";

/// What is known of the zones.
#[derive(Default)]
pub(crate) struct Rules {
    /// Others have changed the rules: what the edge does is not ours alone.
    pub(super) others_wrote: bool,
    /// Others have changed the lists.
    pub(super) others_did: bool,
    /// Who had to go for the more urgent in a full expression, or with an owner's range around him.
    pub(super) displaced: BTreeSet<IpNet>,
    /// Somebody has gone without a place on the lists.
    was_scarce: bool,
    before: Option<Before>,
    readings: Vec<Rc<Reading>>,
}

impl Rules {
    /// The least that a run was asked for it since then: a later one may say by a rule what an operation of an earlier
    /// one still moves, and one after that may be refused to take it back.
    pub(super) fn wanted_since(&self, net: &IpNet, at: Duration) -> Strength {
        let wanted =
            |reading: &Rc<Reading>| reading.lists.get(net).map_or(PASS, |want| want.strength);
        let later = self.readings.iter().filter(|reading| reading.at >= at);
        later.chain(self.readings.last()).map(wanted).min().unwrap_or(BLOCK)
    }
}

/// A zone before a change.
struct Before {
    rules: Vec<RuleView>,
    /// Of each network a visitor, what he is to meet, and what he met.
    verdicts: Vec<(IpNet, IpAddr, Strength, Strength)>,
}

/// What visitors meet once all that is under way has arrived.
fn verdict(simulator: &mut Simulator, zone: &str, ip: IpAddr, visitor: &Visitor) -> Strength {
    let far = simulator.now() + Duration::from_secs(30 * 24 * 3_600);
    strength(simulator.edge().decide_at(zone, far, ip, visitor))
}

fn strength(verdict: Verdict) -> Strength {
    match verdict {
        Verdict::Pass => PASS,
        Verdict::Challenge => CHALLENGE,
        Verdict::Block => BLOCK,
    }
}

/// An address in it that nothing narrower is said of.
fn visitor_of(net: &IpNet, reading: &Reading) -> Option<IpAddr> {
    if is_single(net) {
        return Some(net.addr());
    }
    let narrower = |ip: &IpAddr| {
        reading.lists.keys().any(|other| other != net && net.contains(other) && other.contains(ip))
    };
    [net.addr(), net.broadcast()].into_iter().find(|ip| !narrower(ip))
}

/// What a visitor from there is to meet: the strongest of all that is asked for around him.
fn wanted(reading: &Reading, ip: IpAddr) -> Strength {
    let around = reading.lists.iter().filter(|(net, _)| net.contains(&ip));
    around.map(|(_, want)| want.strength).max().unwrap_or(PASS)
}

impl Judge {
    /// Others change rules from now on.
    pub(crate) fn others_write_rules(&mut self) {
        self.rules.others_wrote = true;
    }

    /// What a run with zones has read.
    pub(super) fn rules_read(&mut self, reading: &Rc<Reading>) {
        self.rules.readings.push(Rc::clone(reading));
        self.rules.was_scarce |= self.lists.is_scarce(reading, &self.terms);
    }

    pub(super) fn rule_write(&mut self, sent: &Sent, zone: &str, simulator: &mut Simulator) {
        let Some(reading) = self.runs.get(&sent.run).and_then(|view| view.reading.clone()) else {
            return;
        };
        let nobody = Visitor::default();
        let nets = reading.lists.keys().filter_map(|net| Some((*net, visitor_of(net, &reading)?)));
        let nets: Vec<(IpNet, IpAddr)> = nets.collect();
        let verdicts = nets.into_iter().map(|(net, ip)| {
            (net, ip, wanted(&reading, ip), verdict(simulator, zone, ip, &nobody))
        });
        let verdicts = verdicts.collect();
        let rules = simulator.cloudflare().rules(zone).unwrap_or_default();
        self.rules.before = Some(Before { rules, verdicts });
    }

    pub(super) fn rule_handled(&mut self, index: usize, zone: &str, simulator: &mut Simulator) {
        let Some(Before { rules, verdicts }) = self.rules.before.take() else { return };
        let (run, at) = (self.requests[index].sent.run, self.requests[index].sent.at);
        let Some(view) = self.runs.get(&run) else { return };
        let (Some(reading), terms) = (view.reading.clone(), Rc::clone(&view.terms)) else { return };
        let others_acted = view.others_acted;
        // What others take after that is unseen.
        let read_at = Some(view.began);
        let after = simulator.cloudflare().rules(zone).unwrap_or_default();
        // Somebody else may act between the two; then it is not ours to judge.
        if !self.rules.others_wrote {
            for (old, new) in rules.iter().zip(&after) {
                let is_ours = old.reference.starts_with(OURS);
                let mut same = new.clone();
                if is_ours {
                    same.expression.clone_from(&old.expression);
                }
                if same != *old {
                    let text = format!("the rule {} was {old:?} and is {new:?}", old.reference);
                    return self.fail("what is not ours is left alone", run, at, text);
                }
            }
            if rules.len() != after.len() {
                let text = format!("{} rules were there, and {} are", rules.len(), after.len());
                return self.fail("what is not ours is left alone", run, at, text);
            }
        }
        let nobody = Visitor::default();
        let mut fell = Vec::new();
        for (net, ip, want, before) in verdicts {
            let now = verdict(simulator, zone, ip, &nobody);
            if now < before.min(want) {
                fell.push((net, want, before, now));
            }
        }
        let went: BTreeSet<IpNet> = fell.iter().map(|(net, ..)| *net).collect();
        let is_known =
            |of: Option<usize>| of.is_none_or(|of| self.waits.knows_operation_of(of, run));
        for (net, want, before, now) in fell {
            let may_go = terms.protects(&net)
                || others_acted
                || self.rules.others_wrote
                || self.lists.taken.by_another(&net, run, read_at, is_known)
                || self.lists.is_scarce(&reading, &terms);
            let loses_room = || {
                let of =
                    rules.iter().zip(&after).filter(|(old, _)| old.reference.starts_with(OURS));
                let mut texts = of.map(|(old, new)| (&*old.expression, &*new.expression));
                texts.any(|of| {
                    of.0 != of.1 && full::may_go(&reading, (&net, &went), of, terms.characters_max)
                })
            };
            let longest = after.iter().filter(|rule| rule.reference.starts_with(OURS));
            let longest = longest.map(|rule| rule.expression.len()).max().unwrap_or_default();
            let is_full = longest + 60 > terms.characters_max;
            if is_full && loses_room() {
                self.rules.displaced.insert(net);
            } else if !may_go {
                let text = format!(
                    "{} was {} and is {} by the changed rule, and is to be {}{}",
                    written(&net),
                    word(before),
                    word(now),
                    word(want),
                    if is_full { " [the delta is full]" } else { "" },
                );
                let text = self.with_refusals(text);
                return self.fail("nobody who is desired leaves the edge", run, at, text);
            }
        }
    }

    /// What the edge does with a visitor in the zone where it does least; `None` = there are no zones that are
    /// ours alone.
    pub(super) fn in_zones(
        &self,
        terms: &Terms,
        net: &IpNet,
        simulator: &mut Simulator,
    ) -> Option<Strength> {
        if self.rules.others_wrote {
            return None;
        }
        self.at_edge(terms, net, simulator)
    }

    /// The same, whoever wrote the rules.
    pub(super) fn at_edge(
        &self,
        terms: &Terms,
        net: &IpNet,
        simulator: &mut Simulator,
    ) -> Option<Strength> {
        let nobody = Visitor::default();
        let zones = terms.zones.iter();
        zones.map(|zone| verdict(simulator, zone, net.addr(), &nobody)).min()
    }

    /// What visitors from there met in the zone where that was least, until `at`.
    pub(super) fn met_before(
        &self,
        terms: &Terms,
        net: &IpNet,
        at: Duration,
        simulator: &mut Simulator,
    ) -> Strength {
        let (nobody, before) = (Visitor::default(), at.saturating_sub(Duration::from_millis(1)));
        let met =
            |zone: &String| strength(simulator.edge().decide_at(zone, before, net.addr(), &nobody));
        terms.zones.iter().map(met).min().unwrap_or(BLOCK)
    }

    /// So that one cause is told from another.
    fn with_refusals(&self, text: String) -> String {
        match self.marks.count("answer value refused") {
            0 => text,
            _ => format!("{text} [values were refused]"),
        }
    }

    /// How a zone differs from what is desired.
    fn zone_differs(
        &self,
        zone: &str,
        reading: &Reading,
        terms: &Terms,
        simulator: &mut Simulator,
        with_leavers: bool,
    ) -> Option<String> {
        let nobody = Visitor::default();
        for net in reading.lists.keys() {
            let Some(ip) = visitor_of(net, reading) else { continue };
            let (want, now) = (wanted(reading, ip), verdict(simulator, zone, ip, &nobody));
            // More than is asked for harms somebody, too; where a removal is held it is meant.
            if now < want || with_leavers && now > want {
                return Some(format!(
                    "{} is {}, and is to be {}",
                    written(net),
                    word(now),
                    word(want)
                ));
            }
        }
        if !with_leavers {
            return None;
        }
        let known = self.past.networks().chain(self.lists.networks());
        for net in known.filter(is_single) {
            let (want, now) =
                (wanted(reading, net.addr()), verdict(simulator, zone, net.addr(), &nobody));
            if now != want && !terms.protects(&net) || now != PASS && terms.protects(&net) {
                return Some(format!(
                    "{} is {}, and is to be {}",
                    written(&net),
                    word(now),
                    word(want)
                ));
            }
        }
        None
    }

    pub(super) fn rules_success(
        &mut self,
        run: usize,
        at: Duration,
        view: &View,
        reading: &Reading,
        simulator: &mut Simulator,
    ) {
        if self.rules.others_wrote || self.lists.is_scarce(reading, &view.terms) {
            return;
        }
        let is_held = view.said.get("lists").is_some_and(|(outcome, _)| outcome == "held");
        for zone in &view.terms.zones {
            let said = view.said.get(&format!("rules{zone}"));
            if let Some((outcome, true)) = said
                && let Some(text) = self.zone_differs(zone, reading, &view.terms, simulator, false)
                && !is_held
            {
                let text = self.with_refusals(format!("zone {zone}: {outcome}, but {text}"));
                self.fail("success is said only where the edge is as desired", run, at, text);
            }
        }
    }

    pub(super) fn rules_converged(
        &self,
        reading: &Reading,
        terms: &Terms,
        simulator: &mut Simulator,
    ) -> Result<(), String> {
        if self.rules.others_wrote || self.lists.is_scarce(reading, terms) {
            return Ok(());
        }
        for zone in &terms.zones {
            if let Some(text) = self.zone_differs(zone, reading, terms, simulator, true) {
                return Err(format!("zone: {text}"));
            }
            if terms.characters_max < 600 {
                continue;
            }
            for (region, want) in &reading.regions {
                let visitor = match region.strip_prefix("AS") {
                    Some(number)
                        if number.bytes().all(|b| b.is_ascii_digit()) && !number.is_empty() =>
                    {
                        Visitor::from("XX", number.parse().unwrap_or_default())
                    }
                    _ if region.len() == 2 => Visitor::from(region, 0),
                    _ => continue,
                };
                let nowhere = IpAddr::from([203, 0, 112, 1]);
                let now = verdict(simulator, zone, nowhere, &visitor);
                if now != want.strength {
                    return Err(format!(
                        "zone: who comes from {region} is {}, and is to be {}",
                        word(now),
                        word(want.strength)
                    ));
                }
            }
        }
        Ok(())
    }

    /// Who was desired all the time and let through for a moment, by the edge's own history.
    pub(crate) fn flickers(&mut self, simulator: &mut Simulator) {
        let terms = Rc::clone(&self.terms);
        if terms.zones.is_empty()
            || self.rules.others_wrote
            || self.rules.others_did
            || self.lists.has_been_full
            || self.rules.was_scarce
        {
            return;
        }
        let readings = self.rules.readings.clone();
        let Some(last) = readings.last() else { return };
        let (now, nobody) = (simulator.now(), Visitor::default());
        let stays = |net: &&IpNet| is_single(net) && !self.rules.displaced.contains(*net);
        for net in last.lists.keys().filter(stays) {
            let want = |reading: &Rc<Reading>| reading.lists.get(net).map(|want| want.strength);
            // From the first reading since when it is desired without a break.
            let since = readings.iter().rposition(|reading| want(reading).is_none());
            let Some(first) = readings.get(since.map_or(0, |at| at + 1)) else { continue };
            let least = readings.iter().filter(|r| r.at >= first.at).filter_map(want).min();
            let (Some(least), false) = (least, terms.protects(net)) else { continue };
            // An operation of before may still be under way.
            let from = first.at + Duration::from_secs(36 * 3_600);
            if from >= now {
                continue;
            }
            for zone in &terms.zones {
                let story = simulator.edge().verdicts_over(zone, net.addr(), &nobody, from..now);
                let fell = story.windows(2).find(|two| {
                    let (before, after) = (strength(two[0].1), strength(two[1].1));
                    after < before.min(least)
                });
                if let Some(two) = fell {
                    let text = format!(
                        "{} was {} and is {} in a zone, though it is to be {} since {}",
                        written(net),
                        word(strength(two[0].1)),
                        word(strength(two[1].1)),
                        word(least),
                        crate::story::moment(first.at)
                    );
                    return self.fail("nobody who is desired leaves the edge", 0, two[1].0, text);
                }
            }
        }
    }
}
