//! Countries and autonomous systems in KV, by the judge's own reading of `docs/kv.md`: whom the Worker meets
//! because of where he comes from.

use std::net::IpAddr;

use serde_json::Value;

use super::super::lists::word;
use super::super::reading::{PASS, Reading, Strength, Want, network};
use super::super::{Judge, Sent, Terms};
use super::{Enforced, shards, strength};

/// An address of whom nothing else is ever said.
const NOWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 112, 1));

/// What stands beside the ranges in the layout `keys`.
pub(super) fn in_ranges(value: &str, into: &mut Enforced) {
    let json: Value = serde_json::from_str(value).unwrap_or_default();
    let lines = json["more"].as_str().unwrap_or_default();
    for (what, value, expires) in lines.lines().filter_map(shards::read) {
        match network(what) {
            Some(net) if value == "never" => drop(into.never.insert(net)),
            _ => into.add_region(what, value, expires),
        }
    }
}

/// Whether Cloudflare knows it: two letters or letter and digit, or a number.
fn is_region(name: &str) -> bool {
    match name.strip_prefix("AS") {
        Some(number) if name.len() > 2 => number.parse::<u32>().is_ok_and(|number| number > 0),
        _ => name.len() == 2,
    }
}

/// What is asked for and can be there.
fn wanted(reading: &Reading) -> impl Iterator<Item = (&String, &Want)> {
    reading.regions.iter().filter(|(name, _)| is_region(name))
}

impl Enforced {
    pub(super) fn add_region(&mut self, what: &str, value: &str, expires: u64) {
        let name = match what.split_once(':') {
            Some(("country", code)) => code.to_owned(),
            Some(("as", number)) => format!("AS{number}"),
            _ => return,
        };
        self.regions.insert(name, (strength(value), expires));
    }

    /// What the Worker does with somebody from there, because of where he comes from.
    fn meets(&self, address: IpAddr, region: &str, unix: u64) -> Strength {
        let found = self.regions.get(region).filter(|(_, ends)| *ends > unix);
        let is_never = || self.never.iter().any(|net| net.contains(&address));
        found.filter(|_| !is_never()).map_or(PASS, |(strength, _)| *strength)
    }

    /// A region that is not met as it should, or an owner who is.
    pub(super) fn regions_lacking(
        &self,
        reading: &Reading,
        terms: &Terms,
        unix: u64,
    ) -> Option<String> {
        let lacks = wanted(reading).find(|(name, want)| {
            let is_over = want.ends <= unix + 120;
            !is_over && self.meets(NOWHERE, name, unix) != want.strength
        });
        let lacks = lacks.map(|(name, want)| {
            format!("who comes from {name} is not {} as it should be", word(want.strength))
        });
        lacks.or_else(|| self.owner_met(terms, unix))
    }

    pub(super) fn owner_met(&self, terms: &Terms, unix: u64) -> Option<String> {
        let is_met = |net: &&ipnet::IpNet| {
            self.regions.keys().any(|name| self.meets(net.addr(), name, unix) != PASS)
        };
        terms
            .own
            .iter()
            .find(is_met)
            .map(|net| format!("{net}, which is the owner's, is met where he comes from"))
    }

    /// A region that nobody asks for and that is there after `until`.
    pub(super) fn region_too_much(&self, reading: &Reading, until: u64) -> Option<&String> {
        let mut there = self.regions.iter().filter(|(_, (_, ends))| *ends > until);
        there.find(|(name, _)| !reading.regions.contains_key(*name)).map(|(name, _)| name)
    }
}

impl Judge {
    /// A write of the value in which regions stand.
    pub(super) fn kv_regions(
        &mut self,
        sent: &Sent,
        (before, after): (&Enforced, &Enforced),
        reading: &Reading,
        terms: &Terms,
        unix: u64,
    ) {
        let is_clock_true = self.past.is_clock_true();
        // Two runs at once of which one has no store, so that no lease tells them apart: who writes last has not seen
        // what the other one wrote, and KV takes both.
        let is_blind = self.runs.values().any(|view| view.is_blind);
        if is_blind && self.runs.get(&sent.run).is_some_and(|view| view.disturbed) {
            return;
        }
        for (name, want) in wanted(reading) {
            let [old, new] = [before, after].map(|all| all.meets(NOWHERE, name, unix));
            if new > old {
                self.marks.met("kv region comes");
            }
            if new < old.min(want.strength) && is_clock_true {
                let text = format!(
                    "who comes from {name} is to be {} and becomes {}",
                    word(want.strength),
                    word(new)
                );
                return self.fail("nobody who is desired leaves the edge", sent.run, sent.at, text);
            }
        }
        if before.regions.keys().any(|name| !after.regions.contains_key(name)) {
            self.marks.met("kv region goes");
        }
        let changes = before.regions != after.regions || before.never != after.never;
        if !after.never.is_empty() && changes {
            self.marks.met("kv region spares the owner");
        }
        if let Some(text) = after.owner_met(terms, unix).filter(|_| changes) {
            return self.fail("what is protected never comes", sent.run, sent.at, text);
        }
        let is_known =
            self.runs.get(&sent.run).is_some_and(|view| !view.disturbed) && is_clock_true;
        // A line that is over meets nobody: where the layouts change places it may stand in the other one still.
        let lasting = after.regions.iter().filter(|(_, (_, ends))| *ends > unix);
        let mut new =
            lasting.map(|(name, _)| name).filter(|name| !before.regions.contains_key(*name));
        if let Some(name) =
            new.find(|name| !reading.regions.contains_key(*name)).filter(|_| is_known)
        {
            let text = format!("{name} is written, and nobody asks for it");
            self.fail("only what is desired is written", sent.run, sent.at, text);
        }
    }
}
