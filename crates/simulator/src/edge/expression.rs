//! A rule's condition, parsed, and whether it holds for a visitor. Logic has three values: of a request
//! only the address, the country and the AS number are known here, and what depends on anything else is
//! not known.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::parser::{self, ParseError};
use super::values::{IntSet, IpSet};

/// What of the language is taken for good, where that is a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// Whether `{}` is a set.
    pub(crate) has_empty_sets: bool,
}

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expression {
    root: Node,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Constant(bool),
    /// It depends on what is not known here.
    Unknown,
    Not(Box<Node>),
    And(Vec<Node>),
    Xor(Vec<Node>),
    Or(Vec<Node>),
    /// The address is one of these.
    SourceIn(IpSet),
    /// The address is on the list of this name, or in a range that is.
    SourceOnList(String),
    /// The country is one of these.
    CountryIn(BTreeSet<String>),
    /// The AS number is one of these.
    AsNumberIn(IntSet),
}

/// What is known of a request.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) ip: IpAddr,
    pub(super) country: &'a str,
    pub(super) asn: u32,
    /// Whether the address is on the list of a name.
    pub(super) is_on_list: &'a dyn Fn(&str) -> bool,
}

impl Expression {
    pub(crate) fn parse(text: &str, dialect: Dialect) -> Result<Self, ParseError> {
        Ok(Self { root: parser::parse(text, dialect)? })
    }

    /// The custom lists that it names. Managed ones (`$cf.open_proxies`) have a dot in their name.
    pub(crate) fn lists(&self) -> BTreeSet<&str> {
        let mut lists = BTreeSet::new();
        let mut nodes = vec![&self.root];
        while let Some(node) = nodes.pop() {
            match node {
                Node::SourceOnList(name) if !name.contains('.') => {
                    lists.insert(name.as_str());
                }
                Node::Not(inner) => nodes.push(inner),
                Node::And(parts) | Node::Xor(parts) | Node::Or(parts) => nodes.extend(parts),
                _ => {}
            }
        }
        lists
    }

    pub(super) fn root(&self) -> &Node {
        &self.root
    }

    /// Whether it holds; `None` = it depends on what is not known.
    pub(super) fn holds(&self, known: Known<'_>) -> Option<bool> {
        self.root.holds(known)
    }
}

impl Node {
    fn holds(&self, known: Known<'_>) -> Option<bool> {
        let all = |parts: &[Node], decisive: bool| {
            let mut is_known = true;
            for part in parts {
                match part.holds(known) {
                    Some(value) if value == decisive => return Some(decisive),
                    Some(_) => {}
                    None => is_known = false,
                }
            }
            is_known.then_some(!decisive)
        };
        match self {
            Self::Constant(value) => Some(*value),
            Self::Unknown => None,
            Self::Not(inner) => inner.holds(known).map(|value| !value),
            Self::And(parts) => all(parts, false),
            Self::Or(parts) => all(parts, true),
            Self::Xor(parts) => {
                parts.iter().try_fold(false, |odd, part| Some(odd ^ part.holds(known)?))
            }
            Self::SourceIn(set) => Some(set.contains(known.ip)),
            Self::SourceOnList(name) => Some((known.is_on_list)(name)),
            Self::CountryIn(set) => Some(set.contains(known.country)),
            Self::AsNumberIn(set) => Some(set.contains(u64::from(known.asn))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALECT: Dialect = Dialect { has_empty_sets: true };

    fn holds(text: &str, ip: &str) -> Option<bool> {
        let expression =
            Expression::parse(text, DIALECT).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let is_on_list = |name: &str| name == "ban" && ip.starts_with("192.0.2.");
        let ip = ip.parse().unwrap();
        expression.holds(Known { ip, country: "CN", asn: 64_496, is_on_list: &is_on_list })
    }

    #[test]
    fn condition_of_each_kind_holds_or_not() {
        for (text, expected) in [
            ("ip.src in $ban", Some(true)),
            ("ip.src in $captcha", Some(false)),
            ("ip.src in $cf.open_proxies", Some(false)),
            ("ip.src in {192.0.2.0/24 ::1}", Some(true)),
            ("ip.src in {192.0.2.2..192.0.2.9}", Some(false)),
            ("not ip.src in {}", Some(true)),
            ("ip.src == 192.0.2.1", Some(true)),
            ("ip.src ne 192.0.2.1", Some(false)),
            ("ip.src.country in {\"T1\" \"CN\"}", Some(true)),
            ("ip.geoip.country ne \"CN\"", Some(false)),
            ("ip.src.asnum in {1 64490..64500}", Some(true)),
            ("ip.src.asnum eq 64497", Some(false)),
            ("ip.src.asnum lt 64496", Some(false)),
            ("ip.src.asnum >= 64496 and ip.src.asnum <= 0xfbf0", Some(true)),
            ("ip.src.asnum > 4294967295", Some(false)),
            ("http.host eq \"a\"", None),
            ("not http.host eq \"a\"", None),
            ("http.host eq \"a\" or ip.src in $ban", Some(true)),
            ("http.host eq \"a\" and ip.src in $ban", None),
            ("http.host eq \"a\" and not ip.src in $ban", Some(false)),
            ("ssl ^^ true", None),
            ("true xor true xor true", Some(true)),
            ("true", Some(true)),
        ] {
            assert_eq!(holds(text, "192.0.2.1"), expected, "{text}");
        }
    }

    #[test]
    fn operators_without_parentheses_bind_not_then_and_then_xor_then_or() {
        for (text, expected) in [
            ("true or false and false", true),
            ("(true or false) and false", false),
            ("true xor true and false", true),
            ("true or true xor true", true),
            ("not false and false", false),
            ("not (false and false)", true),
            ("! not true", true),
            ("not !!true || false", false),
            ("false or not ip.src in {192.0.2.1} and true", false),
        ] {
            assert_eq!(holds(text, "192.0.2.1"), Some(expected), "{text}");
        }
    }

    #[test]
    fn delta_of_a_rule_lifts_and_adds() {
        let text = "(ip.src in $ban and not ip.src in {192.0.2.7}) or ip.src in {198.51.100.0/24}";
        for (ip, expected) in [
            ("192.0.2.1", true),
            ("192.0.2.7", false),
            ("198.51.100.9", true),
            ("203.0.113.1", false),
        ] {
            assert_eq!(holds(text, ip), Some(expected), "{ip}");
        }
    }

    #[test]
    fn lists_named_are_the_custom_ones_however_deep() {
        let text =
            "not (ip.src in $b or true and !ip.src in $a) or ip.src in $cf.vpn xor ip.src in $b";
        let expression = Expression::parse(text, DIALECT).unwrap();
        assert_eq!(expression.lists().into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
