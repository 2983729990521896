//! Countries and autonomous systems, which stand beside the ranges in the same value: which of them differ.
//!
//! They are compared by the rules of keys. The guard does not count them, for they are few and each is
//! somebody's decision; but while it holds anything back, none of them leaves.

use std::net::{IpAddr, Ipv4Addr};

use crate::api::cloudflare::kv::{RangeEntry, Ranges};
use crate::decision::{Remediation, Source};
use crate::desired::{Desired, KeyWanted, Region};
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
        let Ranges::Ours { written, regions: there, never, .. } = observed else {
            return self.compare_regions(desired, &[], 0, rules);
        };
        let in_force = there.iter().filter(|(_, entry)| entry.expires > rules.now);
        let in_force: Vec<_> = in_force.map(|(name, entry)| (name.as_str(), *entry)).collect();
        self.compare_regions(desired, &in_force, *written, rules);
        if !self.ranges.content.regions.is_empty() {
            // An owner who is new among them must not be caught in a country.
            self.ranges.exceptions_differ = self.ranges.content.never != *never;
        }
    }

    fn compare_regions(
        &mut self,
        desired: &Desired,
        there: &[(&str, RangeEntry)],
        written: u64,
        rules: Rules<'_>,
    ) {
        let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED).into();
        for (region, wanted) in desired.regions() {
            let region = name(region);
            let of = there.iter().find(|(name, _)| *name == region);
            let of = of.map(|(_, entry)| entry.as_key(written));
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
            self.ranges.content.regions.insert(region, entry);
        }
        for (name, entry) in there {
            if self.ranges.content.regions.contains_key(*name) {
                continue;
            }
            let (region, entry) = ((*name).to_owned(), *entry);
            if entry.expires <= rules.now + 2 * SLACK_SECS {
                self.running_out += 1;
            } else if is_fresh(&entry.as_key(written), rules) {
                self.wait(Why::Lifted);
                self.ranges.content.regions.insert(region, entry);
            } else {
                let (why, class) = (Why::Lifted, Class::Lift);
                let gone = RegionChange { why, class, own: false, region, value: None, entry };
                self.ranges.regions.push(gone);
            }
        }
        if !self.ranges.content.regions.is_empty() {
            let own = rules.protected.addresses().iter().filter(|(_, rule)| *rule == NEVER_BLOCK);
            self.ranges.content.never = own.map(|(address, _)| *address).collect();
        }
    }
}
