use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::*;

fn list() -> ListName {
    "crowdsec_ban".parse().unwrap()
}

fn parse(text: &str) -> Result<Expression, NotOurs> {
    Expression::parse(text, &list())
}

fn set(text: &str) -> AddressSet {
    text.split_whitespace().map(|address| address.parse::<Address>().unwrap()).collect()
}

fn countries(text: &str) -> Sorted<Country> {
    text.split_whitespace().map(|code| code.parse().unwrap()).collect()
}

fn asns(text: &str) -> Sorted<Asn> {
    text.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

fn clause<T>(of: T, except: &str) -> Clause<T> {
    Clause { of, except: set(except) }
}

#[test]
fn each_subset_of_parts_has_its_one_text() {
    let nothing = Parts::default;
    for (parts, text) in [
        (nothing(), "(ip.src in $crowdsec_ban)"),
        (
            Parts { lifted: set("192.0.2.9 192.0.2.1"), ..nothing() },
            "(ip.src in $crowdsec_ban and not ip.src in {192.0.2.1 192.0.2.9})",
        ),
        (
            Parts {
                fresh: clause(set("2001:DB8::/32 203.0.113.7/32 203.0.113.7"), ""),
                ..nothing()
            },
            "(ip.src in $crowdsec_ban) or ip.src in {203.0.113.7 2001:db8::/32}",
        ),
        (
            Parts {
                lifted: set("192.0.2.1"),
                fresh: clause(set("203.0.113.0/24"), "203.0.113.7"),
                ..nothing()
            },
            "(ip.src in $crowdsec_ban and not ip.src in {192.0.2.1}) or (ip.src in {203.0.113.0/24} \
             and not ip.src in {203.0.113.7})",
        ),
        (
            Parts { countries: clause(countries("t1 CN"), ""), ..nothing() },
            r#"(ip.src in $crowdsec_ban) or ip.src.country in {"CN" "T1"}"#,
        ),
        (
            Parts {
                countries: clause(countries("CN"), "192.0.2.0/24"),
                asns: clause(asns("AS64497 64496"), "192.0.2.0/24"),
                ..nothing()
            },
            r#"(ip.src in $crowdsec_ban) or (ip.src.country in {"CN"} and not ip.src in {192.0.2.0/24}) or (ip.src.asnum in {64496 64497} and not ip.src in {192.0.2.0/24})"#,
        ),
        (
            Parts { asns: clause(asns("1"), ""), ..nothing() },
            "(ip.src in $crowdsec_ban) or ip.src.asnum in {1}",
        ),
        // Without a clause there is nothing to except.
        (Parts { fresh: clause(set(""), "192.0.2.1"), ..nothing() }, "(ip.src in $crowdsec_ban)"),
    ] {
        let expression = Expression::new(list(), parts).unwrap();
        assert_eq!(expression.to_string(), text);
        assert_eq!(expression.characters(), text.len());
        assert_eq!(parse(text).as_ref(), Ok(&expression), "{text}");
    }
}

#[test]
fn text_with_the_same_value_read_is_the_same_expression() {
    for (text, canonical) in [
        ("ip.src in $crowdsec_ban", "(ip.src in $crowdsec_ban)"),
        ("  (ip.src\r\n in   $crowdsec_ban ) ", "(ip.src in $crowdsec_ban)"),
        (
            "ip.src in $crowdsec_ban and not ip.src in { 192.0.2.1\n192.0.2.2 }",
            "(ip.src in $crowdsec_ban and not ip.src in {192.0.2.1 192.0.2.2})",
        ),
        // As the dashboard lays out what it saves.
        (
            "(ip.src in $crowdsec_ban) or (ip.src in {192.0.2.1}) or (ip.src.country in {\"CN\"})",
            r#"(ip.src in $crowdsec_ban) or ip.src in {192.0.2.1} or ip.src.country in {"CN"}"#,
        ),
        (
            "ip.src in $crowdsec_ban or ip.src in {192.0.2.0/30} and not ip.src in {192.0.2.1}",
            "(ip.src in $crowdsec_ban) or (ip.src in {192.0.2.0/30} and not ip.src in {192.0.2.1})",
        ),
        (
            "(ip.src in $crowdsec_ban) or ip.src in {192.0.2.9 192.0.2.1 192.0.2.9 192.0.2.0/30}",
            "(ip.src in $crowdsec_ban) or ip.src in {192.0.2.0/30 192.0.2.9}",
        ),
        (
            r#"(ip.src in $crowdsec_ban) or ip.src.asnum in {2 1 1}"#,
            "(ip.src in $crowdsec_ban) or ip.src.asnum in {1 2}",
        ),
    ] {
        let read = parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(read.to_string(), canonical, "{text:?}");
    }
}

#[test]
fn text_that_is_not_ours_says_so_and_where() {
    for (text, says) in [
        ("", "ip.src expected at character 1"),
        ("(ip.src in $crowdsec_captcha)", "it does not use the list $crowdsec_ban"),
        ("(ip.src in $crowdsec_ban_2)", "it does not use the list $crowdsec_ban"),
        ("(ip.src in $Crowdsec_ban)", "a list expected at character 12"),
        ("((ip.src in $crowdsec_ban))", "ip.src expected at character 2"),
        ("(ip.src in $crowdsec_ban", ") expected at character 25"),
        ("(ip.src in $crowdsec_ban))", "the end expected at character 26"),
        ("(ip.src in $crowdsec_ban) and ssl", "the end expected"),
        ("(ip.src in $crowdsec_ban and ssl)", "not expected at character 30"),
        ("not (ip.src in $crowdsec_ban)", "ip.src expected"),
        ("(ip.src\tin $crowdsec_ban)", "ip.src expected"),
        ("(ip.src\u{a0}in $crowdsec_ban)", "ip.src expected"),
        ("(ip.src in $crowdsec_ban) OR ip.src in {1.1.1.1}", "the end expected"),
        ("(ip.src in $crowdsec_ban) or ip.src in {}", "an entry of the set expected"),
        ("(ip.src in $crowdsec_ban) or ip.src in {1.1.1.1", "an entry of the set expected"),
        ("(ip.src in $crowdsec_ban) or ip.src in {1.1.1.1, 2.2.2.2}", "an entry of the set"),
        ("(ip.src in $crowdsec_ban) or ip.src in {1.1.1.0/23}", "an entry of the set"),
        ("(ip.src in $crowdsec_ban) or ip.src in {1.1.1.1/32}", "an entry of the set"),
        ("(ip.src in $crowdsec_ban) or ip.src in {2001:DB8::1}", "an entry of the set"),
        ("(ip.src in $crowdsec_ban) or ip.src in {::ffff:1.1.1.1}", "an entry of the set"),
        ("(ip.src in $crowdsec_ban) or ip.src in {1.1.1.1..1.1.1.9}", "an entry of the set"),
        ("(ip.src in $crowdsec_ban) or ip.src in {0.0.0.0/0}", "0.0.0.0/0 is wider than"),
        ("(ip.src in $crowdsec_ban) or ip.src in {2000::/11}", "2000::/11 is wider than"),
        ("(ip.src in $crowdsec_ban and not ip.src in {64.0.0.0/7})", "64.0.0.0/7 is wider than"),
        (
            "(ip.src in $crowdsec_ban) or ip.src in {1.1.1.1} or ip.src in {1.1.1.2}",
            "the next clause",
        ),
        ("ip.src in {1.1.1.1} or (ip.src in $crowdsec_ban)", "a list expected"),
        (
            "(ip.src in $crowdsec_ban) or ip.src.asnum in {1} or ip.src in {1.1.1.1}",
            "the next clause",
        ),
        ("(ip.src in $crowdsec_ban) or ip.geoip.country in {\"CN\"}", "the next clause"),
        ("(ip.src in $crowdsec_ban) or ip.src.country in {CN}", "an entry of the set"),
        ("(ip.src in $crowdsec_ban) or ip.src.country in {\"UK\"}", "an entry of the set"),
        ("(ip.src in $crowdsec_ban) or ip.src.country in {\"cn\"}", "an entry of the set"),
        ("(ip.src in $crowdsec_ban) or ip.src.country in {\"CN}", "an entry of the set"),
        ("(ip.src in $crowdsec_ban) or ip.src.asnum in {01}", "an entry of the set"),
        ("(ip.src in $crowdsec_ban) or ip.src.asnum in {AS1}", "an entry of the set"),
        ("(ip.src in $crowdsec_ban) or ip.src.asnum in {1..2}", "an entry of the set"),
        ("(ip.src in $crowdsec_ban) or", "the next clause expected at character 29"),
        ("é(ip.src in $crowdsec_ban)", "ip.src expected at character 1"),
    ] {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.contains(says), "{text:?}: {error}");
    }
}

#[test]
fn exception_may_be_wider_than_what_may_match() {
    let text =
        r#"(ip.src in $crowdsec_ban) or (ip.src.country in {"CN"} and not ip.src in {fe80::/10})"#;
    assert_eq!(parse(text).unwrap().to_string(), text);
}

#[test]
fn list_name_of_other_characters_is_refused() {
    for (name, is_good) in [
        ("crowdsec_ban", true),
        ("a", true),
        ("cf.open_proxies", true),
        ("9", true),
        ("", false),
        (".a", false),
        ("a.", false),
        ("Ban", false),
        ("a-b", false),
        ("a b", false),
        ("$a", false),
        (&"x".repeat(50), true),
        (&"x".repeat(51), false),
    ] {
        assert_eq!(name.parse::<ListName>().is_ok(), is_good, "{name:?}");
    }
}

#[test]
fn matched_addresses_are_the_lists_without_the_lifted_and_the_fresh_without_the_excepted() {
    let parts = Parts {
        lifted: set("192.0.2.1"),
        fresh: clause(set("203.0.113.0/31"), "203.0.113.1"),
        ..Parts::default()
    };
    let expression = Expression::new(list(), parts).unwrap();
    let matched = expression.matched(&set("192.0.2.1 192.0.2.2"));
    assert_eq!(matched, set("192.0.2.2 203.0.113.0"));
}

fn some_address() -> impl Strategy<Value = Address> {
    let v4 = (any::<u32>(), 8u8..=32).prop_map(|(bits, prefix_len)| {
        Address::from(std::net::IpAddr::V4(Ipv4Addr::from_bits(bits))).within(prefix_len)
    });
    let v6 = (any::<u128>(), 12u8..=128).prop_map(|(bits, prefix_len)| {
        Address::from(std::net::IpAddr::V6(Ipv6Addr::from_bits(bits))).within(prefix_len)
    });
    prop_oneof![v4, v6]
}

fn some_set() -> impl Strategy<Value = AddressSet> {
    vec(some_address(), 0..6).prop_map(|entries| entries.into_iter().collect())
}

fn some_country() -> impl Strategy<Value = Country> {
    proptest::sample::select(vec!["CN", "T1", "XX", "DE", "ZW"])
        .prop_map(|code| code.parse().unwrap())
}

fn some_asn() -> impl Strategy<Value = Asn> {
    (1u32..).prop_map(|number| number.to_string().parse().unwrap())
}

prop_compose! {
    fn some_expression()(
        lifted in some_set(),
        fresh in (some_set(), some_set()),
        countries in (btree_set(some_country(), 0..4), some_set()),
        asns in (btree_set(some_asn(), 0..4), some_set()),
    ) -> Expression {
        let parts = Parts {
            lifted,
            fresh: Clause { of: fresh.0, except: fresh.1 },
            countries: Clause { of: countries.0.into_iter().collect(), except: countries.1 },
            asns: Clause { of: asns.0.into_iter().collect(), except: asns.1 },
        };
        Expression::new(list(), parts).unwrap()
    }
}

/// Other white space in the places where Cloudflare takes it.
fn laid_out_anew(text: &str, blanks: &[String]) -> String {
    let mut blanks = blanks.iter().cycle();
    let mut laid_out = String::new();
    for c in text.chars() {
        match c {
            ' ' => laid_out.push_str(&format!(" {}", blanks.next().unwrap())),
            '(' | ')' | '{' | '}' => {
                let [before, after] = [(); 2].map(|()| blanks.next().unwrap());
                laid_out.push_str(&format!("{before}{c}{after}"));
            }
            _ => laid_out.push(c),
        }
    }
    laid_out
}

/// Whatever is read, its canonical text is read as the same, and is as long as we say.
fn is_settled(text: &str) -> Result<(), TestCaseError> {
    if let Ok(read) = parse(text) {
        let canonical = read.to_string();
        prop_assert_eq!(parse(&canonical), Ok(read.clone()));
        prop_assert_eq!(read.characters(), canonical.chars().count());
    }
    Ok(())
}

proptest! {
    #[test]
    fn canonical_text_read_and_printed_is_itself(expression in some_expression()) {
        let text = expression.to_string();
        prop_assert_eq!(parse(&text), Ok(expression.clone()));
        prop_assert_eq!(expression.characters(), text.len());
        let is_tidy = text.is_ascii() && !text.contains("  ") && !text.contains("{}");
        prop_assert!(is_tidy);
        let other = "other".parse().unwrap();
        prop_assert_eq!(Expression::parse(&text, &other), Err(NotOurs::OtherList { wanted: other }));
    }

    #[test]
    fn canonical_text_with_other_white_space_is_the_same(
        expression in some_expression(),
        blanks in vec("[ \r\n]{0,3}", 1..9),
    ) {
        prop_assert_eq!(parse(&laid_out_anew(&expression.to_string(), &blanks)), Ok(expression));
    }

    #[test]
    fn canonical_text_with_a_damage_is_not_ours_or_settled(
        expression in some_expression(),
        at: proptest::sample::Index,
        length in 0usize..4,
        instead in "[ (){}\"$.,/:0-9a-z\t\r\né]{0,3}",
    ) {
        let mut text = expression.to_string();
        let start = at.index(text.len());
        text.replace_range(start..(start + length).min(text.len()), &instead);
        is_settled(&text)?;
    }

    #[test]
    fn words_of_ours_in_any_order_are_not_ours_or_settled(
        words in vec(proptest::sample::select(vec![
            "(", ")", "{", "}", "ip.src", "ip.src.country", "ip.src.asnum", "in", "and", "not", "or",
            "$crowdsec_ban", "$other", "\"CN\"", "1.2.3.4", "10.0.0.0/8", "64496", "\"",
            "(ip.src in $crowdsec_ban)", "or ip.src in {", "and not ip.src in {1.1.1.1}",
        ]), 0..20),
    ) {
        is_settled(&words.join(" "))?;
        is_settled(&words.concat())?;
    }

    #[test]
    fn any_bytes_are_not_ours_or_settled(bytes in vec(any::<u8>(), 0..200)) {
        is_settled(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn any_text_is_not_ours_or_settled(text in "\\PC{0,80}") {
        is_settled(&text)?;
    }
}
