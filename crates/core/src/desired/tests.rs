use super::*;
use crate::decision::Text;
use std::borrow::Cow;

/// Settings with both lists, but for the variables that `changes` sets otherwise.
fn settings(changes: &[(&str, &str)]) -> Settings {
    let usual = [
        ("cf_ban_list_id", "11111111111111111111111111111111"),
        ("cf_captcha_list_id", "22222222222222222222222222222222"),
        ("never_block", "198.51.100.7"),
        ("never_block_builtin", "private"),
    ];
    Settings::of(&[changes, &usual].concat())
}

fn both() -> Settings {
    settings(&[])
}

/// From rows of scope, type and value. A value may carry its remaining time and its origin:
/// `1.1.1.1 for 4h by CAPI`.
fn desired(rows: &[(&str, &str, &str)], settings: &Settings) -> Desired {
    let mut desired = Desired::default();
    rows.iter().for_each(|row| add(&mut desired, *row, settings));
    desired.settle(settings, &SmallMap::new()).unwrap();
    desired
}

fn add(desired: &mut Desired, (scope, kind, value): (&str, &str, &str), settings: &Settings) {
    let (value, origin) = value.split_once(" by ").unwrap_or((value, "crowdsec"));
    let (value, time) = value.split_once(" for ").unwrap_or((value, "1h"));
    let [scope, kind, value] = [scope, kind, value].map(Cow::Borrowed);
    let (duration, scenario) = (Text::from(time), Text::from("crowdsecurity/ssh-bf"));
    let made_by = Text::from(origin);
    desired.add(Ok(Decision { scope, kind, value, duration, scenario, made_by }), settings);
}

fn texts(desired: &Desired, remediation: Remediation) -> Vec<String> {
    desired.addresses(remediation).map(|a| a.to_string()).collect()
}

#[test]
fn ban_and_captcha_on_one_address_in_any_order_and_spelling_become_a_ban() {
    let rows = [("Ip", "captcha", "2001:db8::1"), ("IP", "Ban", "2001:DB8:0::1/128")];
    for rows in [[rows[0], rows[1]], [rows[1], rows[0]]] {
        let desired = desired(&rows, &both());
        assert_eq!(texts(&desired, Remediation::Ban), ["2001:db8::1"]);
        assert_eq!(desired.count(Remediation::Captcha), 0);
    }
}

#[test]
fn one_address_in_five_spellings_takes_one_place() {
    let spellings = ["1.2.3.4", "1.2.3.4/32", " 1.2.3.4", "::ffff:1.2.3.4", "::FFFF:102:304/128"];
    let rows: Vec<_> = spellings.iter().map(|value| ("ip", "ban", *value)).collect();
    assert_eq!(texts(&desired(&rows, &both()), Remediation::Ban), ["1.2.3.4"]);
}

#[test]
fn values_that_cannot_be_sent_are_counted_and_named_and_the_rest_goes() {
    let desired = desired(
        &[
            ("Ip", "ban", "32.0.0.0/3"),
            ("Ip", "ban", "2000::/7"),
            ("Ip", "ban", "010.1.2.3"),
            ("Ip", "ban", "fe80::1%eth0"),
            ("Ip", "ban", "1.2.3.4/33"),
            ("Ip", "ban", "11.30.5.7/16"),
        ],
        &both(),
    );
    assert_eq!(texts(&desired, Remediation::Ban), ["11.30.0.0/16"]);
    assert_eq!(desired.skipped().prefixes.describe(), r#""32.0.0.0/3", "2000::/7""#);
    assert_eq!(
        desired.skipped().not_addresses.describe(),
        r#""010.1.2.3", "fe80::1%eth0", "1.2.3.4/33""#
    );
    assert_eq!(desired.skipped().total(), 5);
}

#[test]
fn other_scopes_and_types_are_counted_by_name_and_ignored() {
    let desired = desired(
        &[
            ("Range", "ban", "1.2.3.0/24"),
            ("range", "ban", "1.2.4.0/24"),
            ("Country", "ban", "FR"),
            ("Ip", "throttle", "1.2.3.4"),
            ("Ip", "", "1.2.3.4"),
            ("IP", "CAPTCHA", "1.2.3.4"),
        ],
        &both(),
    );
    assert_eq!(texts(&desired, Remediation::Captcha), ["1.2.3.4"]);
    assert_eq!(desired.skipped().scopes.describe(), "country 1, range 2");
    assert_eq!(desired.skipped().types.describe(), "(empty) 1, throttle 1");
}

#[test]
fn remediation_without_a_list_is_counted_and_ignored() {
    let rows = [("Ip", "captcha", "1.1.1.1"), ("Ip", "ban", "2.2.2.2")];
    let desired = desired(&rows, &settings(&[("cf_captcha_list_id", "")]));
    assert_eq!(texts(&desired, Remediation::Ban), ["2.2.2.2"]);
    assert_eq!(desired.skipped().without_list.describe(), "captcha 1");
}

const KV_ONLY: [(&str, &str); 3] = [
    ("cf_ban_list_id", ""),
    ("cf_captcha_list_id", ""),
    ("cf_kv_namespace_id", "33333333333333333333333333333333"),
];

#[test]
fn owner_and_ranges_around_him_are_never_desired_and_are_named_with_their_scenario() {
    let rows = [
        ("Ip", "ban", "198.51.100.7"),
        ("Ip", "captcha", "198.51.100.0/24"),
        ("Ip", "ban", "0.0.0.0/0"),
        ("Ip", "ban", "198.51.100.8"),
    ];
    let desired = desired(&rows, &both());
    assert_eq!(texts(&desired, Remediation::Ban), ["198.51.100.8"]);
    assert_eq!(
        desired.skipped().protected.describe(),
        r#""198.51.100.7 (never_block; crowdsecurity/ssh-bf)", "198.51.100.0/24 (never_block; crowdsecurity/ssh-bf)", "0.0.0.0/0 (never_block; crowdsecurity/ssh-bf)""#
    );
}

#[test]
fn key_has_the_strongest_remediation_and_the_longest_time_of_its_decisions() {
    let rows = [
        ("Ip", "ban", "1.1.1.1 for 10m"),
        ("Ip", "captcha", "1.1.1.1/32 for 363h"),
        ("Ip", "captcha", "2.2.2.2 for not-a-duration"),
    ];
    let desired = desired(&rows, &settings(&KV_ONLY));
    let keys: Vec<_> = desired
        .keys()
        .map(|key| (key.address.to_string(), key.value, key.remaining.as_secs()))
        .collect();
    assert_eq!(
        keys,
        [
            ("1.1.1.1".to_owned(), Remediation::Ban, 363 * 3_600),
            ("2.2.2.2".to_owned(), Remediation::Captcha, 3_600)
        ]
    );
    assert_eq!(desired.count(Remediation::Ban), 0, "no list is in use");
}

#[test]
fn prefix_that_no_key_can_express_is_counted() {
    let desired = desired(&[("Ip", "ban", "1.2.3.0/24")], &settings(&KV_ONLY));
    assert_eq!(desired.skipped().prefixes_in_kv.describe(), r#""1.2.3.0/24""#);
    assert_eq!(desired.keys().count(), 0);
}

#[test]
fn captcha_without_a_list_still_has_its_key() {
    let both = settings(&[("cf_captcha_list_id", ""), KV_ONLY[2]]);
    let desired = desired(&[("Ip", "captcha", "1.1.1.1")], &both);
    assert_eq!((desired.keys().count(), desired.count(Remediation::Captcha)), (1, 0));
}

#[test]
fn captcha_with_the_ban_list_only_is_folded_in_if_the_operator_says_so() {
    let rows = [("Ip", "captcha", "1.1.1.1"), ("Ip", "ban", "2.2.2.2")];
    let one_list = [("cf_captcha_list_id", ""), ("captcha_as_ban", "true"), KV_ONLY[2]];
    let desired = desired(&rows, &settings(&one_list));
    assert_eq!(texts(&desired, Remediation::Ban), ["1.1.1.1", "2.2.2.2"]);
    assert_eq!(desired.skipped().total(), 0);
    let keys: Vec<_> = desired.keys().map(|key| key.value).collect();
    assert_eq!(keys, [Remediation::Captcha, Remediation::Ban], "KV can tell them apart");
}

#[test]
fn ban_with_the_captcha_list_only_is_ignored_or_folded_in_likewise() {
    let rows = [("Ip", "captcha", "1.1.1.1"), ("Ip", "ban", "2.2.2.2")];
    let desired_with =
        |fold| desired(&rows, &settings(&[("cf_ban_list_id", ""), ("ban_as_captcha", fold)]));
    assert_eq!(texts(&desired_with("false"), Remediation::Captcha), ["1.1.1.1"]);
    assert_eq!(desired_with("false").skipped().without_list.describe(), "ban 1");
    assert_eq!(texts(&desired_with("true"), Remediation::Captcha), ["1.1.1.1", "2.2.2.2"]);
}

#[test]
fn origins_and_scenarios_not_wanted_are_counted_by_name() {
    let rows = [("Ip", "ban", "1.1.1.1 by CAPI"), ("Ip", "ban", "2.2.2.2 by cscli")];
    let by_origin = desired(&rows, &settings(&[("origins_exclude", "capi")]));
    assert_eq!(texts(&by_origin, Remediation::Ban), ["2.2.2.2"]);
    assert_eq!(by_origin.skipped().origins.describe(), "capi 1");
    let by_scenario = desired(&rows, &settings(&[("scenarios_exclude", "*/ssh-*")]));
    assert_eq!(by_scenario.count(Remediation::Ban), 0);
    assert_eq!(by_scenario.skipped().scenarios.describe(), "crowdsecurity/ssh-bf 2");
}

const RANGES: [(&str, &str); 1] = [("scopes", "ip,range")];

#[test]
fn ranges_switched_on_are_desired_in_canonical_form_whatever_their_scope_says() {
    let rows = [
        ("Range", "ban", "11.30.5.7/16"),
        ("range", "captcha", "20.0.0.6"),
        ("Ip", "ban", "20.2.0.0/24"),
        ("Country", "ban", "FR"),
    ];
    let desired = desired(&rows, &settings(&RANGES));
    assert_eq!(texts(&desired, Remediation::Ban), ["11.30.0.0/16", "20.2.0.0/24"]);
    assert_eq!(texts(&desired, Remediation::Captcha), ["20.0.0.6"]);
    assert_eq!(desired.skipped().total(), 1);
}

#[test]
fn prefix_too_wide_for_a_list_is_split_there_and_whole_in_kv() {
    let settings = settings(&[RANGES[0], KV_ONLY[2]]);
    let desired = desired(&[("Range", "ban", "64.0.0.0/7")], &settings);
    assert_eq!(texts(&desired, Remediation::Ban), ["64.0.0.0/8", "65.0.0.0/8"]);
    let ranges: Vec<_> = desired.ranges().map(|range| range.address.to_string()).collect();
    assert_eq!((ranges, desired.keys().count()), (vec!["64.0.0.0/7".to_owned()], 0));
}

#[test]
fn address_in_a_range_at_least_as_strong_takes_no_place_and_keeps_its_key() {
    let rows = [
        ("Range", "captcha", "203.0.0.0/16"),
        ("Range", "ban", "203.0.113.0/24 for 1h by CAPI"),
        ("Ip", "ban", "203.0.113.7 for 9h by cscli"),
        ("Ip", "captcha", "203.0.113.8"),
        ("Ip", "ban", "203.0.112.1"),
        ("Ip", "captcha", "203.0.112.2"),
        ("Ip", "ban", "2001:db8::1"),
    ];
    let skipping = desired(&rows, &settings(&[RANGES[0], KV_ONLY[2]]));
    assert_eq!(
        texts(&skipping, Remediation::Ban),
        ["203.0.112.1", "203.0.113.0/24", "2001:db8::1"]
    );
    assert_eq!(texts(&skipping, Remediation::Captcha), ["203.0.0.0/16"]);
    assert_eq!((skipping.skipped().covered, skipping.keys().count()), (3, 5));
    let range = skipping.candidate(&"203.0.113.0/24".parse().unwrap()).unwrap();
    assert_eq!(range.source, Source::Own, "as near as what it stands for");
    assert_eq!(range.remaining_secs, 9 * 3_600);
    let known = skipping.known(0).find(|(address, _)| *address == range.address).unwrap().1;
    assert_eq!(known, Known::new(false, 3_600), "it ends by its own decisions");
    let in_kv = skipping.ranges().find(|in_kv| in_kv.address == range.address).unwrap();
    assert_eq!((in_kv.own, in_kv.remaining.as_secs()), (false, 3_600));

    let all = desired(&rows, &settings(&[RANGES[0], ("skip_covered", "false")]));
    assert_eq!(all.count(Remediation::Ban) + all.count(Remediation::Captcha), 7);
}

#[test]
fn range_around_the_owner_is_never_desired_wherever_it_goes() {
    let settings = settings(&[RANGES[0], KV_ONLY[2]]);
    let desired = desired(&[("Range", "ban", "198.51.100.0/24")], &settings);
    assert_eq!((desired.count(Remediation::Ban), desired.ranges().count()), (0, 0));
    assert_eq!(desired.skipped().protected.count, 1);
}

/// Bans of so many addresses, decided here.
fn ban_many(desired: &mut Desired, numbers: std::ops::Range<usize>) {
    let origin = desired.origins.id(&crate::decision::Origin::new("cscli", ""));
    let list = Some(Remediation::Ban);
    let wanted = Wanted { list, key: None, origin, remaining_secs: 3_600 };
    for number in numbers {
        let address = std::net::Ipv4Addr::from_bits(0x0b00_0000 + number as u32);
        desired.want(Address::from(std::net::IpAddr::V4(address)), wanted);
    }
}

/// For a day nobody but a rule may block it.
#[test]
fn range_that_cloudflare_refuses_as_a_value_covers_nobody_and_one_beside_it_does() {
    let rows = [
        ("Range", "ban", "20.2.0.0/24"),
        ("Range", "ban", "20.2.0.0/28"),
        ("Ip", "ban", "20.2.0.3"),
        ("Ip", "ban", "20.2.0.77"),
    ];
    let settings = settings(&RANGES);
    for (refused, on_list) in [
        ("20.3.0.0/24", "20.2.0.0/24"),
        ("20.2.0.0/28", "20.2.0.0/24"),
        ("20.2.0.0/24", "20.2.0.0/24 20.2.0.0/28 20.2.0.77"),
    ] {
        let set_aside = [(refused.parse().unwrap(), u64::MAX)].into_iter().collect();
        let mut desired = Desired::default();
        for (scope, kind, value) in &rows {
            add(&mut desired, (scope, kind, value), &settings);
        }
        desired.settle(&settings, &set_aside).unwrap();
        assert_eq!(texts(&desired, Remediation::Ban).join(" "), on_list, "{refused}");
    }
}

#[test]
fn addresses_of_the_largest_account_are_taken_and_one_more_is_too_many() {
    let mut desired = Desired::default();
    ban_many(&mut desired, 0..ADDRESSES_MAX);
    assert_eq!(desired.settle(&both(), &SmallMap::new()), Ok(()));
    ban_many(&mut desired, ADDRESSES_MAX..ADDRESSES_MAX + 1);
    assert_eq!(desired.settle(&both(), &SmallMap::new()), Err(TooMany));
}

/// To bring decisions together takes time, so that it is not done before there are a quarter more of them.
#[test]
fn far_too_many_addresses_are_told_before_the_last_decision_and_several_on_each_are_not_too_many() {
    let look_at = ADDRESSES_MAX / 4 * 5;
    let mut different = Desired::default();
    ban_many(&mut different, 0..look_at);
    assert_eq!(different.bounded(), Ok(()), "not looked at yet");
    ban_many(&mut different, look_at..look_at + 1);
    assert_eq!(different.bounded(), Err(TooMany));
    let mut again = Desired::default();
    ban_many(&mut again, 0..ADDRESSES_MAX);
    ban_many(&mut again, 0..look_at + 1 - ADDRESSES_MAX);
    assert_eq!(again.bounded(), Ok(()));
    assert_eq!(again.wanted.len(), ADDRESSES_MAX, "one for each address is left");
}
