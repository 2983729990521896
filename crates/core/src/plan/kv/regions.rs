//! Countries and autonomous systems, which stand beside the ranges in the same value: which of them differ.
//!
//! They are compared by the rules of keys. The guard does not count them, for they are few and each is
//! somebody's decision; but while it holds anything back, none of them leaves.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use crate::address::Address;
use crate::api::cloudflare::kv::{RangeEntry, Ranges, Regions};
use crate::decision::{Remediation, Source};
use crate::desired::{Desired, KeyWanted, Region};
use crate::order::Gather;
use crate::plan::{Class, Why};
use crate::settings::protected::NEVER_BLOCK;

use super::{KvPlan, Put, Rules, SLACK_SECS, is_fresh, ttl_secs, why_put};

/// A region that comes, changes or goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionChange {
    /// Why.
    pub why: Why,
    /// How urgent it is.
    pub class: Class,
    /// Whether it is of a ban that was decided here.
    pub own: bool,
    /// Which: `country:CN`, `as:64496`.
    pub region: String,
    /// Its value; `None` = it goes.
    pub value: Option<Remediation>,
    pub(super) entry: RangeEntry,
}

/// Its name in the values.
fn name(region: &Region) -> String {
    match region {
        Region::Country(country) => format!("country:{country}"),
        Region::As(asn) => format!("as:{asn}"),
    }
}

impl KvPlan {
    pub(super) fn add_regions(&mut self, desired: &Desired, observed: &Ranges, rules: Rules<'_>) {
        let nothing = Regions::default();
        let (there, written) = match observed {
            Ranges::Ours { regions, written, .. } => (regions, *written),
            Ranges::Absent | Ranges::Foreign => (&nothing, 0),
        };
        let is_in_force = |entry: &&RangeEntry| entry.expires > rules.now;
        let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED).into();
        // What is decided here first: where there is no room for all, the last go without.
        let of = |own: bool| {
            desired
                .regions()
                .iter()
                .filter(move |(_, wanted)| (wanted.source == Source::Own) == own)
        };
        let mut from = 0;
        for (region, wanted) in of(true).chain(of(false)) {
            let region = name(region);
            let of = there
                .get(&region, &mut from)
                .filter(is_in_force)
                .map(|entry| entry.as_key(written));
            // The rules of keys look at value and time, and not at whose key it is.
            let wanted = KeyWanted {
                address: nowhere,
                value: wanted.remediation,
                remaining: wanted.remaining,
                own: wanted.source == Source::Own,
            };
            let expires = rules.now + ttl_secs(wanted.remaining);
            let entry = RangeEntry { value: wanted.value, expires };
            match why_put(of.as_ref(), &wanted, rules) {
                Some(why) => {
                    let Put { class, own, .. } = Put::new(why, of.as_ref(), &wanted, rules);
                    let value = Some(entry.value);
                    let region = region.clone();
                    let change = RegionChange { why, class, own, region, value, entry };
                    self.ranges.regions.push(change);
                }
                None => self.keep += 1,
            }
            self.ranges.content.regions.entries.push((region, entry));
        }
        from = 0;
        for (region, entry) in there.entries.iter().filter(|(_, entry)| is_in_force(&entry)) {
            let content = &mut self.ranges.content.regions;
            if content.get(region, &mut from).is_some() {
                continue;
            }
            let (region, entry) = (region.clone(), *entry);
            if entry.expires <= rules.now + 2 * SLACK_SECS {
                self.running_out += 1;
            } else if is_fresh(&entry.as_key(written), rules) {
                content.entries.push((region, entry));
                self.wait(Why::Lifted);
            } else {
                let (why, class) = (Why::Lifted, Class::Lift);
                let gone = RegionChange { why, class, own: false, region, value: None, entry };
                self.ranges.regions.push(gone);
            }
        }
        let content = &mut self.ranges.content.regions;
        let is_there = there.entries.iter().any(|(_, entry)| is_in_force(&entry));
        // Also if no region is desired: the guard may hold one, and whoever is the owner's is not met by it.
        if is_there || !content.entries.is_empty() {
            let own = rules.protected.addresses().iter().filter(|(_, rule)| *rule == NEVER_BLOCK);
            let own: BTreeSet<Address> = own.map(|(address, _)| *address).gather();
            content.never.extend(own);
            // An owner who is new among them must not be caught in a country; one who goes may wait.
            let is_new = content.never.iter().any(|own| !there.never.contains(own));
            let class = if is_new { Class::Owner } else { Class::Rest };
            let differ = is_there && content.never != there.never;
            self.ranges.exceptions = differ.then_some(class);
        }
    }
}
