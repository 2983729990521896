//! A full expression: who may go for whom. Class by class, the most urgent first, and what is to be let through
//! before what is to match, together with who is in force inside of it; within a class whoever is in force stays.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::reading::{BLOCK, Reading, network};

/// How urgent it is that this is in force, the smallest first: a ban that was decided here, another, a challenge. It is
/// as urgent as what is in it and needs it.
fn class(reading: &Reading, net: &IpNet, needs_it: impl Fn(&IpNet) -> bool) -> u8 {
    let inside = reading.lists.iter().filter(|(other, _)| net.contains(*other) && needs_it(other));
    let classes = inside.map(|(_, want)| match (want.strength, want.own) {
        (BLOCK, true) => 0,
        (BLOCK, false) => 1,
        _ => 2,
    });
    classes.min().unwrap_or(2)
}

/// What an expression says: what it lets through or takes from regions, and what it matches beyond its list.
#[derive(Default)]
struct Says {
    /// How often each is said: an owner is let through by a region too. (That he was already by the list hid it.)
    first: BTreeMap<String, usize>,
    fresh: BTreeSet<String>,
}

impl Says {
    fn of(expression: &str) -> Self {
        let mut says = Self::default();
        let mut before = "";
        for (at, part) in expression.split(['{', '}']).enumerate() {
            // Outside and inside of braces by turns.
            if at % 2 == 0 {
                before = part.trim_end();
                continue;
            }
            let is_fresh = before.ends_with("or ip.src in") || before.ends_with("or (ip.src in");
            for text in part.split_whitespace().map(str::to_owned) {
                if is_fresh {
                    says.fresh.insert(text);
                } else {
                    *says.first.entry(text).or_default() += 1;
                }
            }
        }
        says
    }
}

/// Whether `gone` may have lost his room in a text: something came that goes before him and all that went with him, or
/// there is less room.
pub(super) fn may_go(
    reading: &Reading,
    (gone, went): (&IpNet, &BTreeSet<IpNet>),
    (before, after): (&str, &str),
    characters_max: usize,
) -> bool {
    if before.len() > characters_max {
        return true;
    }
    let (before, after) = (Says::of(before), Says::of(after));
    let of_gone = class(reading, gone, |inside| went.contains(inside));
    let covers = |net: &IpNet, text: &String| network(text).is_some_and(|it| it.contains(net));
    let mut came = after.fresh.difference(&before.fresh).filter_map(|text| network(text));
    // A range in FRESH is no more, and who was in force by it inside of what is lifted is named.
    let is_kept = |net: &IpNet| {
        before.fresh.iter().any(|text| covers(net, text))
            && after.first.keys().any(|text| covers(net, text))
    };
    if came.clone().any(|net| is_kept(&net)) {
        return true;
    }
    let says_more = |(text, times): (&String, &usize)| {
        before.first.get(text).is_none_or(|before| times > before)
    };
    after.first.iter().any(says_more) || came.any(|net| class(reading, &net, |_| true) < of_gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::reading::{CHALLENGE, Want};

    fn reading(wants: &[(&str, u8, bool)]) -> Reading {
        let want = |(text, strength, own): &(&str, u8, bool)| {
            (network(text).unwrap(), Want { strength: *strength, own: *own, ends: 0 })
        };
        Reading { lists: wants.iter().map(want).collect(), ..Reading::default() }
    }

    #[test]
    fn one_in_force_goes_for_the_more_urgent_and_for_no_equal() {
        let wants = [
            ("1.1.1.1", BLOCK, false),
            ("1.1.1.2", BLOCK, true),
            ("1.1.1.3", BLOCK, false),
            ("1.1.1.4", CHALLENGE, true),
        ];
        let (reading, gone) = (reading(&wants), network("1.1.1.1").unwrap());
        let before = "(ip.src in $l and not ip.src in {9.9.9.9}) or ip.src in {1.1.1.1}";
        let went = BTreeSet::from([gone]);
        let goes = |after: &str| may_go(&reading, (&gone, &went), (before, after), 100);
        for (came, may) in [("1.1.1.2", true), ("1.1.1.3", false), ("1.1.1.4", false)] {
            let after =
                format!("(ip.src in $l and not ip.src in {{9.9.9.9}}) or ip.src in {{{came}}}");
            assert_eq!(goes(&after), may, "{came}");
        }
        assert!(goes("(ip.src in $l and not ip.src in {9.9.9.8 9.9.9.9})"));
        assert!(goes("(ip.src in $l) or ip.src.country in {\"CN\"}"));
        let by_region = "(ip.src in $l and not ip.src in {9.9.9.9}) or (ip.src.country in {\"CN\"}";
        let without = format!("{by_region})");
        let except = format!("{by_region} and not ip.src in {{9.9.9.9}})");
        assert!(may_go(&reading, (&gone, &went), (&without, &except), 100));
        assert!(!may_go(&reading, (&gone, &went), (&except, &without), 100));
        assert!(!goes("(ip.src in $l)"));
        let less = before.len() - 1;
        assert!(may_go(&reading, (&gone, &went), (before, "(ip.src in $l)"), less));
    }

    #[test]
    fn one_in_force_goes_for_who_was_and_is_kept_inside_of_what_is_lifted() {
        let wants = [("1.1.1.1", BLOCK, false), ("2.2.2.2", BLOCK, true)];
        let (reading, gone) = (reading(&wants), network("2.2.2.2").unwrap());
        let went = BTreeSet::from([gone]);
        let goes = |lifted: &str, before: &str, after: &str| {
            let text = |fresh: &str| {
                format!("(ip.src in $l and not ip.src in {{{lifted}}}) or ip.src in {{{fresh}}}")
            };
            may_go(&reading, (&gone, &went), (&text(before), &text(after)), 200)
        };
        assert!(goes("1.1.0.0/16", "1.1.1.0/24 2.2.2.2", "1.1.1.1"));
        // He was not in force, or would be without.
        assert!(!goes("1.1.0.0/16", "2.2.2.2", "1.1.1.1"));
        assert!(!goes("3.3.0.0/16", "1.1.1.0/24 2.2.2.2", "1.1.1.1"));
    }

    #[test]
    fn range_is_as_urgent_as_what_goes_with_it() {
        let wants =
            [("1.1.1.0/24", BLOCK, false), ("1.1.1.1", BLOCK, true), ("2.2.2.2", BLOCK, true)];
        let (reading, gone) = (reading(&wants), network("1.1.1.0/24").unwrap());
        let texts =
            ("(ip.src in $l) or ip.src in {1.1.1.0/24}", "(ip.src in $l) or ip.src in {2.2.2.2}");
        let goes = |went: BTreeSet<IpNet>| may_go(&reading, (&gone, &went), texts, 100);
        // Who is in it is on the list too, or not.
        assert!(goes(BTreeSet::from([gone])));
        assert!(!goes(BTreeSet::from([gone, network("1.1.1.1").unwrap()])));
    }
}
