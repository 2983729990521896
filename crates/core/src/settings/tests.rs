use super::*;
use std::collections::BTreeMap;

const ID: &str = "0123456789abcdef0123456789abcdef";

fn good() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("lapi_url", "http://lapi:8080"),
        ("lapi_key", "very-secret-key"),
        ("cf_api_url", "https://api.cloudflare.com"),
        ("cf_account_id", ID),
        ("cf_api_token", "very-secret-token"),
        ("cf_ban_list_id", "11111111111111111111111111111111"),
        ("cf_captcha_list_id", "22222222222222222222222222222222"),
        ("pushgateway_url", PUSHGATEWAY_OFF),
        ("dry_run", "false"),
        ("run_budget_seconds", "110"),
    ])
}

fn now() -> SystemTime {
    humantime::parse_rfc3339("2026-10-18T12:00:00Z").unwrap()
}

fn parse(changes: &[(&'static str, &'static str)]) -> Result<Settings, SettingsError> {
    let mut variables = good();
    variables.extend(changes.iter().copied());
    Settings::parse(|name| variables.get(name).map(|v| v.to_string()), now())
}

fn problems(changes: &[(&'static str, &'static str)]) -> Vec<String> {
    parse(changes).unwrap_err().0.iter().map(ToString::to_string).collect()
}

#[test]
fn good_settings_parsed_are_normalised() {
    let settings = parse(&[
        ("lapi_url", "http://lapi:8080/"),
        ("cf_account_id", "0123456789ABCDEF0123456789abcdef"),
        ("pushgateway_url", "http://[::1]:9091/"),
        ("dry_run", "True"),
    ])
    .unwrap();
    assert_eq!(settings.lapi.to_string(), "http://lapi:8080");
    assert_eq!(settings.account.as_str(), ID);
    assert_eq!(settings.pushgateway.unwrap().to_string(), "http://[::1]:9091");
    assert!(settings.dry_run);
    assert_eq!(settings.run_budget, Duration::from_secs(110));
}

#[test]
fn pushgateway_left_out_parsed_is_off() {
    for off in ["", PUSHGATEWAY_OFF, "http://pushgateway.invalid/"] {
        assert_eq!(parse(&[("pushgateway_url", off)]).unwrap().pushgateway, None, "{off:?}");
    }
}

#[test]
fn nothing_set_parsed_names_every_required_variable() {
    let SettingsError(problems) = Settings::parse(|_| None, now()).unwrap_err();
    let names: Vec<_> = problems.iter().map(|p| p.variable).collect();
    assert_eq!(
        names,
        ["lapi_url", "lapi_key", "cf_api_url", "cf_account_id", "cf_api_token", "cf_ban_list_id"]
    );
}

#[test]
fn each_bad_value_parsed_gives_one_problem_that_says_what_to_do() {
    for (variable, value, says) in [
        ("lapi_key", "", "is empty; register a bouncer"),
        ("lapi_key", "two words", "white space"),
        ("lapi_url", "lapi:8080", "has no scheme; write http://"),
        ("lapi_url", "ftp://lapi", "another scheme"),
        ("lapi_url", "http://lapi:8080/lapi", "only http://lapi:8080,"),
        ("lapi_url", "HTTP://lapi:8080", "capital letters; write http://lapi:8080, because Spin"),
        ("lapi_url", "https://Lapi.Internal", "write https://lapi.internal,"),
        ("lapi_url", "http://[FD00::1]:8080", "write http://[fd00::1]:8080,"),
        ("cf_api_url", "HTTPS://api.cloudflare.com", "write https://api.cloudflare.com,"),
        ("lapi_url", "http://", "has no host name"),
        ("lapi_url", "http://:8080", "has no host name"),
        ("lapi_url", "http://lapi:0", "has a port that"),
        ("lapi_url", "http://lapi:99999", "has a port that"),
        ("lapi_url", "http://la pi", "that no host name has"),
        ("lapi_url", "http://[::1", "not closed"),
        ("lapi_url", "http://[::1]8080", "has a port that"),
        ("cf_api_url", "https://u:p@x", "user name or password"),
        ("cf_account_id", "", "is empty"),
        ("cf_account_id", "my-account", "not 32 hexadecimal digits (it has 10 characters)"),
        ("cf_ban_list_id", "1111111111111111111111111111111", "it has 31 characters"),
        ("cf_ban_list_id", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "not 32 hexadecimal digits"),
        ("cf_captcha_list_id", "11111111111111111111111111111111", "same list as cf_ban_list_id"),
        ("pushgateway_url", "pushgateway:9091", "has no scheme"),
        ("dry_run", "maybe", "neither true nor false"),
        ("run_budget_seconds", "5", "from 60 to 3600"),
        ("run_budget_seconds", "1e3", "from 60 to 3600"),
        ("never_block", "203.0.113.7, home", "\"home\" is not an IPv4 or IPv6 address"),
        ("never_block_builtin", "private,lan", "\"lan\" is none of private, loopback"),
        ("write_backoff_seconds", "1800,soon", "separated by commas"),
        ("write_backoff_seconds", "1800,,7200", "separated by commas"),
        ("write_interval_seconds", "-5", "from 0 to 86400"),
        ("cf_kv_namespace_id", "crowdsec", "not 32 hexadecimal digits"),
        ("kv_key_prefix", "a b", "without white space"),
        ("kv_layout", "shard", "none of keys, shards, both"),
        ("kv_expiry_tolerance_seconds", "-1", "from 60 to 86400"),
        ("kv_daily_writes_max", "many", "not a whole number"),
        ("list_items_max", "0", "from 1 to 500000"),
        ("captcha_as_ban", "true", "needs cf_ban_list_id, and cf_captcha_list_id left empty"),
        ("ban_as_captcha", "true", "needs cf_captcha_list_id, and cf_ban_list_id left empty"),
        ("captcha_as_ban", "perhaps", "neither true nor false"),
        ("log_changes", "none", "neither some nor all"),
        ("scopes", "ip,city", "some of range, country, as"),
        ("scopes", "range", "is not \"ip\""),
        ("cf_rules_zones", "example.com", "copy the zones' ids, not their names"),
        ("cf_rules_zones", "11111111111111111111111111111111,x", "not 32 hexadecimal digits"),
        ("rules_characters_max", "4097", "from 200 to 4096"),
        ("skip_covered", "maybe", "neither true nor false"),
        ("removal_guard_percent", "101", "from 0 to 100"),
        ("removal_guard_count", "some", "not a whole number"),
        ("removal_confirm_runs", "0", "from 1 to 1000"),
        ("removal_confirm_seconds", "86401", "from 0 to 86400"),
        ("removal_confirm_seconds", "-1", "from 0 to 86400"),
        ("removals_approved_until", "yes", "\"yes\" is no time; write it like 2026-"),
        ("removals_approved_until", "2026-10-18", "is no time"),
        ("removals_approved_until", "2026-10-18T15:30:00", "is no time"),
        ("removals_approved_until", "2026-10-18T15:30:00+0200", "is no time"),
        ("removals_approved_until", "2026-10-18T15:30:00+24:00", "is no time"),
        ("removals_approved_until", "2026-10-18T15:30:00+-1:00", "is no time"),
        ("removals_approved_until", "é+02:00", "is no time"),
        ("removals_approved_until", "1960-01-01T00:00:00Z", "is no time"),
        ("removals_approved_until", "2026-10-19T14:00:01+02:00", "more than a day ahead"),
        ("removals_approved_until", "2026-10-19T12:00:01Z", "more than a day ahead"),
        ("removals_approved_until", "9999-12-31T23:59:59Z", "set a time within 24 hours"),
        ("never_block", "203.0.113.7/0", "0.0.0.0/0 is wider than /8"),
        ("never_block", "198.51.100.1, 202.0.0.0/7", "write the addresses or smaller prefixes"),
        ("never_block", "2000::/3", "2000::/3 is wider than /16"),
        ("never_block", "::/0", "::/0 is wider than /16"),
        ("never_block", "fc00::/6", "fc00::/6 is wider than /16"),
    ] {
        let problems = problems(&[(variable, value)]);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(variable), "{problems:?}");
        assert!(problems[0].contains(says), "{problems:?} should say {says:?}");
    }
}

#[test]
fn several_bad_values_parsed_are_all_reported_without_a_secret() {
    let error = parse(&[
        ("lapi_url", "http://user:very-secret-key@lapi"),
        ("lapi_key", "very-secret-key with a space"),
        ("cf_api_token", "very-secret-token\n\nx"),
        ("cf_account_id", "very-secret-token"),
        ("cf_ban_list_id", "very-secret-token"),
        ("cf_api_url", "https://x/very-secret-token"),
        ("pushgateway_url", "very-secret-token"),
    ])
    .unwrap_err();
    assert_eq!(error.0.len(), 7);
    assert!(!error.to_string().contains("very-secret"), "{error}");
    assert!(!format!("{:?}", parse(&[]).unwrap()).contains("very-secret"));
}

#[test]
fn one_list_only_parsed_is_enough() {
    let targets = parse(&[("cf_captcha_list_id", "")]).unwrap().targets;
    assert!(targets.kv.is_none());
    let lists = targets.lists.unwrap();
    assert_eq!(lists.iter().map(|(r, _)| r).collect::<Vec<_>>(), [Remediation::Ban]);
}

#[test]
fn namespace_only_parsed_is_enough_and_has_its_defaults() {
    let targets =
        parse(&[("cf_ban_list_id", ""), ("cf_captcha_list_id", ""), ("cf_kv_namespace_id", ID)])
            .unwrap()
            .targets;
    assert!(targets.lists.is_none());
    let kv = targets.kv.unwrap();
    assert_eq!((kv.prefix.as_str(), kv.tolerance.as_secs()), ("ip:", 600));
    assert_eq!(kv.daily_writes_max, None);
}

#[test]
fn origin_both_included_and_excluded_is_a_problem() {
    let found = problems(&[("origins_include", "CAPI, cscli"), ("origins_exclude", "cscli")]);
    assert_eq!(found, ["origins_exclude: \"cscli\" is in origins_include too"]);
}

#[test]
fn one_list_for_both_is_chosen_only_by_its_setting() {
    let lists =
        |changes: &[(&'static str, &'static str)]| parse(changes).unwrap().targets.lists.unwrap();
    let alone = lists(&[("cf_captcha_list_id", "")]);
    assert_eq!(alone.takes(Remediation::Captcha), None);
    let folded = lists(&[("cf_captcha_list_id", ""), ("captcha_as_ban", "true")]);
    assert_eq!(folded.takes(Remediation::Captcha), Some(Remediation::Ban));
    assert_eq!(folded.takes(Remediation::Ban), Some(Remediation::Ban));
    assert_eq!(
        (alone.items_max, lists(&[("list_items_max", "400000")]).items_max),
        (10_000, 400_000)
    );
}

#[test]
fn guard_and_ranges_left_out_have_their_defaults() {
    let settings = parse(&[]).unwrap();
    let GuardLimits { percent, count, runs, seconds, approved_until } = settings.guard;
    assert_eq!((percent, count, runs, seconds, approved_until), (50, 10, 5, 1_800, None));
    assert_eq!(settings.ranges, Ranges::Ignored);
    let with_ranges = parse(&[("scopes", " Range, ip")]).unwrap().ranges;
    assert_eq!(with_ranges, Ranges::Sent { skip_covered: true });
}

#[test]
fn approval_of_removals_counts_until_its_time_and_not_after() {
    let until = |text| parse(&[("removals_approved_until", text)]).unwrap().guard.approved_until;
    assert_eq!(until("2026-10-18T12:00:01Z"), Some(1_792_324_801));
    assert_eq!(until("2026-10-19T12:00:00Z"), Some(1_792_411_200), "a day ahead");
    assert_eq!(until("2026-10-18T11:59:59Z"), None, "it is over");
    assert_eq!(until("1970-01-01T00:00:00Z"), None);
    for same in ["2026-10-18T15:30:00+02:00", "2026-10-18t06:30:00-07:00", "2026-10-18T13:30:00.5z"]
    {
        assert_eq!(until(same), Some(1_792_330_200), "{same}");
    }
}

#[test]
fn prefix_as_wide_as_may_be_is_protected() {
    for wide in ["11.0.0.0/8", "2001::/16", "fc00::/7", "fd00::/8", "fe80::/10", "224.0.0.0/4"] {
        let settings = parse(&[("never_block", wide), ("never_block_builtin", "none")]).unwrap();
        assert!(settings.protected.rule(&wide.parse().unwrap()).is_some(), "{wide}");
    }
}

#[test]
fn zones_named_are_read_once_each_and_need_a_list() {
    let (one, two) = ("a".repeat(32), "B".repeat(32));
    let text: &'static str = format!(" {one}, {two},,{one} ").leak();
    let rules = parse(&[("cf_rules_zones", text)]).unwrap().targets.rules.unwrap();
    assert_eq!(rules.zones.iter().map(Id::as_str).collect::<Vec<_>>(), [one, two.to_lowercase()]);
    assert_eq!(rules.characters_max, 4_000);
    assert!(parse(&[]).unwrap().targets.rules.is_none());
    let without_lists = [
        ("cf_rules_zones", text),
        ("cf_ban_list_id", ""),
        ("cf_captcha_list_id", ""),
        ("cf_kv_namespace_id", "33333333333333333333333333333333"),
    ];
    let error = parse(&without_lists).unwrap_err();
    assert_eq!((error.0.len(), error.0[0].variable), (1, "cf_rules_zones"), "{error}");
    assert!(error.0[0].message.contains("needs a list"));
}

#[test]
fn scopes_in_any_order_say_what_is_sent_beside_addresses() {
    let settings = parse(&[("scopes", "AS, ip ,country")]).unwrap();
    assert_eq!(settings.ranges, Ranges::Ignored);
    assert_eq!(settings.regions, Regions { countries: true, asns: true });
    assert_eq!(parse(&[]).unwrap().regions, Regions::default());
}
