//! The expression of our own two rules: the value, its one canonical text, and the reader of it.
//!
//! The list is the base, the expression what differs from it until the list is written again. What
//! we write (facts cloudflare-rules 1.2 and 1.3), with single blanks and nothing else between:
//!
//! ```text
//! expression = "(ip.src in $" name [ except ] ")"     except = LIFTED: on the list, not to match
//!              [ " or " clause( "ip.src", FRESH ) ]           not on the list, to match
//!              [ " or " clause( "ip.src.country", countries ) ]
//!              [ " or " clause( "ip.src.asnum", asns ) ]
//! clause(f, s) = f " in " set(s)
//!              | "(" f " in " set(s) except ")"
//! except     = " and not ip.src in " set(addresses)
//! set(s)     = "{" entry *( " " entry ) "}"           sorted, none twice, none inside another
//! name       = 1*50( a-z | 0-9 | "_" | "." )          no "." at its ends
//! address    = as `Address` prints it: RFC 5952, host bits zero, no /32 and no /128
//! country    = DQUOTE 2( A-Z | 0-9 ) DQUOTE           assigned in ISO 3166-1, or T1, or XX
//! asn        = 1..4294967295                          without leading zeros
//! ```
//!
//! An empty part is left out with all that belongs to it, so each value has exactly one text. LIFTED
//! and FRESH hold nothing wider than /8 (IPv4) and /12 (IPv6): Cloudflare's parser would take
//! `0.0.0.0/0`. An exception may be wider, it only lets through.
//!
//! The reader takes this grammar and, beyond it, only what has the same value and what somebody may
//! well give back to us:
//! - blanks, CR and LF in any number wherever a blank or nothing stands between two words, and around
//!   the whole (not TAB, which is no white space to Cloudflare): an echo may be laid out anew;
//! - each part between two `or` with or without one pair of parentheses: the dashboard writes them
//!   or leaves them out when a person saves the rule. So `ip.src in $name` is the empty delta too;
//! - the entries of a set in any order, and entries twice or inside another: sets are compared by
//!   value, and an echo in another order is no reason to leave a rule alone for ever.
//!
//! Anything else is [`NotOurs`]: also addresses in another spelling, ranges `a..b`, other numbers of
//! parentheses, and the parts in another order. Somebody wrote that on purpose.

mod length;
mod parser;
mod region;
mod set;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use crate::address::Address;
use crate::small::Sorted;

pub use length::{ClauseLength, Length};
pub use parser::NotOurs;
pub use region::{Asn, Country, NotACountry, NotAnAsn};
pub use set::AddressSet;

/// When a rule of ours applies.
///
/// `Display` is the canonical text. Two are equal if they mean the same by the same sets, whatever
/// text they were read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    list: ListName,
    parts: Parts,
}

/// What stands in an expression beside the list's name. All empty = the list alone decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// LIFTED: what does not match although it is on the list.
    pub lifted: AddressSet,
    /// FRESH: what matches although it is not on the list.
    pub fresh: Clause<AddressSet>,
    /// Countries that match.
    pub countries: Clause<Sorted<Country>>,
    /// Autonomous systems that match.
    pub asns: Clause<Sorted<Asn>>,
}

/// What matches but for some addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clause<T> {
    /// What matches. Empty = there is no such clause.
    pub of: T,
    /// The addresses that do not, by this clause.
    pub except: AddressSet,
}

impl Expression {
    /// The list alone: what `setup` writes.
    pub fn of_list(list: ListName) -> Self {
        Self { list, parts: Parts::default() }
    }

    /// An expression with these parts; the exceptions of a clause of nothing are dropped.
    pub fn new(list: ListName, mut parts: Parts) -> Result<Self, TooWide> {
        let too_wide = parts.lifted.iter().chain(&parts.fresh.of).find(|entry| !may_match(entry));
        if let Some(entry) = too_wide {
            return Err(TooWide(*entry));
        }
        for (is_empty, except) in [
            (parts.fresh.of.is_empty(), &mut parts.fresh.except),
            (parts.countries.of.is_empty(), &mut parts.countries.except),
            (parts.asns.of.is_empty(), &mut parts.asns.except),
        ] {
            if is_empty {
                *except = AddressSet::default();
            }
        }
        Ok(Self { list, parts })
    }

    /// Reads the expression of a rule that is to use this list.
    pub fn parse(text: &str, list: &ListName) -> Result<Self, NotOurs> {
        parser::parse(text, list)
    }

    /// The list.
    pub fn list(&self) -> &ListName {
        &self.list
    }

    /// What stands beside it.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Whether it says anything beyond the list: countries and autonomous systems not counted.
    pub fn is_delta_empty(&self) -> bool {
        self.parts.lifted.is_empty() && self.parts.fresh.of.is_empty()
    }

    /// The addresses that match while the list has this content, countries and autonomous systems
    /// left aside.
    pub fn matched(&self, on_list: &AddressSet) -> AddressSet {
        let Parts { lifted, fresh, .. } = &self.parts;
        on_list.difference(lifted).union(&fresh.of.difference(&fresh.except))
    }

    /// How many characters its text has. The text is not built.
    pub fn characters(&self) -> usize {
        Length::of(self).total()
    }
}

/// Whether LIFTED and FRESH may hold it: an own guard, at the bounds that Cloudflare sets for items
/// of a list and forgot for expressions (facts cloudflare-rules 0.3).
pub fn may_match(address: &Address) -> bool {
    let shortest = if address.is_ipv4() { PREFIX_LEN_MIN_V4 } else { PREFIX_LEN_MIN_V6 };
    address.prefix_len() >= shortest
}

const PREFIX_LEN_MIN_V4: u8 = 8;
const PREFIX_LEN_MIN_V6: u8 = 12;

/// The prefix is too wide for an expression of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is wider than a rule may match: /{PREFIX_LEN_MIN_V4} for IPv4, /{PREFIX_LEN_MIN_V6} for IPv6"
)]
pub struct TooWide(pub Address);

/// The name of a list, by which rules use it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListName(String);

/// Facts cloudflare 1.2.
const NAME_CHARACTERS_MAX: usize = 50;

impl ListName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ListName {
    type Err = NotAListName;

    /// Takes what the rules' language can name (facts cloudflare-rules 1.2).
    fn from_str(text: &str) -> Result<Self, NotAListName> {
        let is_good = (1..=NAME_CHARACTERS_MAX).contains(&text.len())
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.'))
            && !text.starts_with('.')
            && !text.ends_with('.');
        is_good.then(|| Self(text.to_owned())).ok_or(NotAListName)
    }
}

impl fmt::Display for ListName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text cannot name a list in a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the name of a list: 1 to {NAME_CHARACTERS_MAX} lower-case letters, digits, _ and . (not at an end)"
)]
pub struct NotAListName;

/// The fields that we ask for.
const ADDRESS: &str = "ip.src";
const COUNTRY: &str = "ip.src.country";
const ASN: &str = "ip.src.asnum";

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { lifted, fresh, countries, asns } = &self.parts;
        write!(f, "({ADDRESS} in ${}", self.list)?;
        write_except(f, lifted)?;
        f.write_str(")")?;
        write_clause(f, ADDRESS, fresh.of.iter(), &fresh.except)?;
        let quoted = countries.of.iter().map(|country| Quoted(*country));
        write_clause(f, COUNTRY, quoted, &countries.except)?;
        write_clause(f, ASN, asns.of.iter(), &asns.except)
    }
}

struct Quoted(Country);

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

fn write_clause<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    field: &str,
    of: impl ExactSizeIterator<Item = T>,
    except: &AddressSet,
) -> fmt::Result {
    if of.len() == 0 {
        return Ok(());
    }
    let (open, close) = if except.is_empty() { ("", "") } else { ("(", ")") };
    write!(f, " or {open}{field} in ")?;
    write_set(f, of)?;
    write_except(f, except)?;
    f.write_str(close)
}

fn write_except(f: &mut fmt::Formatter<'_>, except: &AddressSet) -> fmt::Result {
    if except.is_empty() {
        return Ok(());
    }
    write!(f, " and not {ADDRESS} in ")?;
    write_set(f, except.iter())
}

fn write_set<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    entries: impl Iterator<Item = T>,
) -> fmt::Result {
    let mut before = "{";
    for entry in entries {
        write!(f, "{before}{entry}")?;
        before = " ";
    }
    f.write_str("}")
}
