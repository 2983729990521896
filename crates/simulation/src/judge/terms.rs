//! The settings of a run, as far as the promises depend on them. Read by the judge itself; the generator
//! uses the forms that are understood here and no others.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::reading::{BLOCK, CHALLENGE, Strength, network};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Terms {
    pub(crate) ban_list: bool,
    pub(crate) captcha_list: bool,
    fold: bool,
    pub(crate) kv: bool,
    pub(crate) zones: Vec<String>,
    pub(crate) ranges: bool,
    pub(crate) skips_covered: bool,
    pub(crate) countries: bool,
    pub(crate) asns: bool,
    never_block: Vec<Span>,
    /// What of that the operator has set.
    pub(crate) own: Vec<IpNet>,
    origins_exclude: Vec<String>,
    scenarios_exclude: Vec<String>,
    pub(crate) guard_percent: u64,
    pub(crate) guard_count: u64,
    pub(crate) guard_runs: u64,
    pub(crate) guard_seconds: u64,
    pub(crate) is_approved: bool,
    pub(crate) backoff: Vec<u64>,
    pub(crate) interval: u64,
    pub(crate) budget: u64,
    pub(crate) dry_run: bool,
    pub(crate) items_max: usize,
    pub(crate) kv_prefix: String,
    pub(crate) kv_tolerance: u64,
    pub(crate) kv_daily: u64,
    pub(crate) characters_max: usize,
}

/// Of the built-in groups, those that the generator's addresses touch.
const BUILTIN: [&str; 8] = [
    "10.0.0.0/8",
    "192.168.0.0/16",
    "127.0.0.0/8",
    "104.16.0.0/13",
    "fe80::/10",
    "::1/128",
    "fc00::/7",
    "0.0.0.0/8",
];

/// The first and the last address of a network, as numbers: every decision is compared with all that are protected.
#[derive(Debug, Clone, PartialEq)]
struct Span {
    is_v4: bool,
    first: u128,
    last: u128,
}

impl Span {
    fn of(net: &IpNet) -> Self {
        let (first, last) = match net {
            IpNet::V4(net) => (net.network().to_bits().into(), net.broadcast().to_bits().into()),
            IpNet::V6(net) => (net.network().to_bits(), net.broadcast().to_bits()),
        };
        Self { is_v4: matches!(net, IpNet::V4(_)), first, last }
    }

    /// Whether an address is in both: then one is inside the other.
    fn meets(&self, other: &Self) -> bool {
        self.is_v4 == other.is_v4 && self.first <= other.last && other.first <= self.last
    }
}

impl Terms {
    pub(crate) fn of(settings: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| settings.get(name).map_or("", String::as_str);
        let number = |name: &str, default: u64| text(name).parse().unwrap_or(default);
        let flag = |name: &str| text(name) == "true";
        let words = |name: &str| -> Vec<String> {
            let words = text(name).split(',').map(str::trim).filter(|word| !word.is_empty());
            words.map(str::to_owned).collect()
        };
        let scopes = words("scopes");
        let has = |scope: &str| scopes.iter().any(|word| word == scope);
        let backoff: Vec<u64> =
            words("write_backoff_seconds").iter().filter_map(|word| word.parse().ok()).collect();
        let own = words("never_block");
        let nets = own.iter().map(String::as_str).chain(BUILTIN);
        Self {
            ban_list: !text("cf_ban_list_id").is_empty(),
            captcha_list: !text("cf_captcha_list_id").is_empty(),
            fold: flag("captcha_as_ban") || flag("ban_as_captcha"),
            kv: !text("cf_kv_namespace_id").is_empty(),
            zones: words("cf_rules_zones"),
            ranges: has("range"),
            skips_covered: text("skip_covered") != "false",
            countries: has("country"),
            asns: has("as"),
            never_block: nets.filter_map(network).map(|net| Span::of(&net)).collect(),
            own: own.iter().filter_map(|text| network(text)).collect(),
            origins_exclude: words("origins_exclude"),
            scenarios_exclude: words("scenarios_exclude"),
            guard_percent: number("removal_guard_percent", 50),
            guard_count: number("removal_guard_count", 10),
            guard_runs: number("removal_confirm_runs", 5),
            guard_seconds: number("removal_confirm_seconds", 1_800),
            is_approved: !text("removals_approved_until").is_empty(),
            backoff: match backoff.is_empty() {
                true => vec![1_800, 3_600, 7_200, 14_400, 21_600],
                false => backoff,
            },
            interval: number("write_interval_seconds", 0),
            budget: number("run_budget_seconds", 110),
            dry_run: flag("dry_run"),
            items_max: number("list_items_max", 10_000) as usize,
            kv_prefix: match text("kv_key_prefix") {
                "" => "ip:".to_owned(),
                prefix => prefix.to_owned(),
            },
            kv_tolerance: number("kv_expiry_tolerance_seconds", 600),
            kv_daily: number("kv_daily_writes_max", 0),
            characters_max: number("rules_characters_max", 4_000) as usize,
        }
    }

    /// The strength that an item gets for a decision; `None` = no list takes it.
    pub(crate) fn on_list(&self, strength: Strength) -> Option<Strength> {
        match (strength, self.ban_list, self.captcha_list) {
            (BLOCK, true, _) => Some(BLOCK),
            (CHALLENGE, _, true) => Some(CHALLENGE),
            (CHALLENGE, true, _) if self.fold => Some(BLOCK),
            (BLOCK, _, true) if self.fold => Some(CHALLENGE),
            _ => None,
        }
    }

    /// Whether a part of it may never be blocked.
    pub(crate) fn protects(&self, net: &IpNet) -> bool {
        let span = Span::of(net);
        self.never_block.iter().any(|own| own.meets(&span))
    }

    pub(crate) fn leaves_out(&self, origin: &str, scenario: &str) -> bool {
        // Newer versions of CrowdSec name a subscribed list behind its origin.
        let kind = origin.split_once(':').map_or(origin, |(kind, _)| kind);
        let is = |word: &String, text: &str| word.eq_ignore_ascii_case(text);
        self.origins_exclude.iter().any(|word| is(word, origin) || is(word, kind))
            || self.scenarios_exclude.iter().any(|glob| match glob.strip_suffix('*') {
                Some(beginning) => scenario.starts_with(beginning),
                None => scenario == glob,
            })
    }

    pub(crate) fn has_lists(&self) -> bool {
        self.ban_list || self.captcha_list
    }
}
