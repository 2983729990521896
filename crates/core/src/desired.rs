//! Decisions -> what should be at the edge: for each canonical address one remediation, and how long.
//!
//! Knows nothing of what is there now. The two targets do not take the same values: a list takes
//! prefixes and may be missing for one remediation, a KV key is one address. Both views come from
//! one pass over the decisions.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::address::Address;
use crate::decision::{Decision, Remediation};
use crate::log::clip;
use crate::protected::Protected;
use crate::settings::{Lists, Targets};
use crate::skipped::{Left, Words};

/// What should be at the edge, and what was left out of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    wanted: BTreeMap<Address, Wanted>,
    skipped: Skipped,
}

/// What the decisions on one address ask for. Kept small: there may be 150,000.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Wanted {
    list: Option<Remediation>,
    key: Option<Remediation>,
    remaining_secs: u32,
}

/// Decisions that ask nothing of the edge, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Objects that are no decision: a key is missing or of another type.
    pub malformed: Left,
    /// Scopes other than `ip`.
    pub scopes: Words,
    /// Types other than ban and captcha.
    pub types: Words,
    /// Values of scope `ip` that are no address.
    pub not_addresses: Left,
    /// Addresses that are never blocked, with scenario and rule: somebody bans the owner.
    pub protected: Left,
    /// Remediations that no list is set for; they may still have a KV key.
    pub without_list: Words,
    /// Prefixes that a Cloudflare list does not take.
    pub prefixes: Left,
    /// Prefixes that no KV key can express.
    pub prefixes_in_kv: Left,
}

impl Skipped {
    /// `(reason, count)` for each reason, as metrics name them.
    pub fn counts(&self) -> [(&'static str, u64); 8] {
        [
            ("malformed", self.malformed.count),
            ("scope", self.scopes.count()),
            ("type", self.types.count()),
            ("not_an_address", self.not_addresses.count),
            ("protected", self.protected.count),
            ("without_list", self.without_list.count()),
            ("prefix", self.prefixes.count),
            ("prefix_in_kv", self.prefixes_in_kv.count),
        ]
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.counts().iter().map(|(_, count)| count).sum()
    }
}

/// What a decision is taken to last whose duration cannot be read: long enough that its key outlives
/// a few runs, each of which reads the decision again.
const REMAINING_UNKNOWN: Duration = Duration::from_secs(3_600);

impl Desired {
    /// Nothing desired yet.
    pub fn new() -> Self {
        Self { wanted: BTreeMap::new(), skipped: Skipped::default() }
    }

    /// Takes one decision, or the reason why it cannot be read, into account. The order in which
    /// decisions come does not matter: LAPI's is unspecified (facts crowdsec 1.2).
    pub fn add(
        &mut self,
        decision: Result<Decision<'_>, serde_json::Error>,
        targets: &Targets,
        protected: &Protected,
    ) {
        let decision = match decision {
            Ok(decision) => decision,
            Err(error) => return self.skipped.malformed.add(&error.to_string()),
        };
        // Casing is not normalised by every LAPI (1.4 stores "ip", "IP" as posted; facts 1.1).
        if !decision.scope.eq_ignore_ascii_case("ip") {
            return self.skipped.scopes.add(&decision.scope);
        }
        let Some(remediation) = Remediation::from_type(&decision.kind) else {
            return self.skipped.types.add(&decision.kind);
        };
        let Ok(address) = decision.value.parse::<Address>() else {
            return self.skipped.not_addresses.add(&decision.value);
        };
        if let Some(rule) = protected.rule(&address) {
            let scenario = decision.scenario.0.as_deref().unwrap_or("no scenario");
            let what = format!("{address} ({rule}; {})", clip(scenario, 48));
            return self.skipped.protected.add(&what);
        }
        let list = targets
            .lists
            .as_ref()
            .and_then(|lists| self.for_lists(lists, remediation, &address, &decision.value));
        let key = targets.kv.as_ref().and_then(|_| {
            if !address.is_single() {
                self.skipped.prefixes_in_kv.add(&decision.value);
                return None;
            }
            Some(remediation)
        });
        if list.is_none() && key.is_none() {
            return;
        }
        let remaining = decision.remaining().unwrap_or(REMAINING_UNKNOWN);
        let wanted = self.wanted.entry(address).or_insert(Wanted {
            list: None,
            key: None,
            remaining_secs: 0,
        });
        // The strongest remediation and the longest time win, each by itself.
        wanted.list = wanted.list.max(list);
        wanted.key = wanted.key.max(key);
        let secs = u32::try_from(remaining.as_secs()).unwrap_or(u32::MAX);
        wanted.remaining_secs = wanted.remaining_secs.max(secs);
    }

    fn for_lists(
        &mut self,
        lists: &Lists,
        remediation: Remediation,
        address: &Address,
        value: &str,
    ) -> Option<Remediation> {
        if lists.get(remediation).is_none() {
            self.skipped.without_list.add(remediation.as_str());
            return None;
        }
        if !address.fits_list() {
            self.skipped.prefixes.add(value);
            return None;
        }
        Some(remediation)
    }

    /// The list that `address` should be on.
    pub fn on_list(&self, address: &Address) -> Option<Remediation> {
        self.wanted.get(address)?.list
    }

    /// The addresses that should be on this list, in order.
    pub fn addresses(&self, list: Remediation) -> impl Iterator<Item = Address> {
        self.wanted
            .iter()
            .filter(move |(_, wanted)| wanted.list == Some(list))
            .map(|(address, _)| *address)
    }

    /// How many addresses should be on this list.
    pub fn count(&self, list: Remediation) -> u64 {
        self.addresses(list).count() as u64
    }

    /// The addresses that should have a KV key, in order, with value and remaining time.
    pub fn keys(&self) -> impl Iterator<Item = (Address, Remediation, Duration)> {
        self.wanted.iter().filter_map(|(address, wanted)| {
            Some((*address, wanted.key?, Duration::from_secs(wanted.remaining_secs.into())))
        })
    }

    /// Whether `address` should have a KV key.
    pub fn has_key(&self, address: &Address) -> bool {
        self.wanted.get(address).is_some_and(|wanted| wanted.key.is_some())
    }

    /// What was left out.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }
}

impl Default for Desired {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
impl Desired {
    /// A desired state of the lists from addresses, for the tests of later phases.
    pub(crate) fn of(ban: &[&str], captcha: &[&str]) -> Self {
        let all = [(Remediation::Captcha, captcha), (Remediation::Ban, ban)];
        let wanted = all
            .into_iter()
            .flat_map(|(r, texts)| texts.iter().map(move |text| (text.parse().unwrap(), r)))
            .map(|(address, r)| {
                (address, Wanted { list: Some(r), key: Some(r), remaining_secs: 3_600 })
            })
            .collect();
        Self { wanted, ..Self::default() }
    }

    /// A desired state of the KV keys, for the tests of later phases.
    pub(crate) fn of_keys(keys: &[(&str, Remediation, u32)]) -> Self {
        let wanted = keys.iter().map(|(address, key, remaining_secs)| {
            let wanted = Wanted { list: None, key: Some(*key), remaining_secs: *remaining_secs };
            (address.parse().unwrap(), wanted)
        });
        Self { wanted: wanted.collect(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Text;
    use std::borrow::Cow;

    /// Targets with both lists, but for the variables that `changes` sets otherwise.
    fn targets(changes: &[(&str, &str)]) -> Targets {
        crate::settings::Settings::parse(|name| {
            if let Some((_, value)) = changes.iter().find(|(changed, _)| *changed == name) {
                return Some((*value).to_owned());
            }
            let value = match name {
                "lapi_url" | "cf_api_url" => "http://x",
                "lapi_key" | "cf_api_token" => "k",
                "cf_account_id" => "00000000000000000000000000000000",
                "cf_ban_list_id" => "11111111111111111111111111111111",
                "cf_captcha_list_id" => "22222222222222222222222222222222",
                _ => return None,
            };
            Some(value.to_owned())
        })
        .unwrap()
        .targets
    }

    fn both() -> Targets {
        targets(&[])
    }

    fn desired(rows: &[(&str, &str, &str)], targets: &Targets) -> Desired {
        let mut protected = Protected::default();
        protected.add_group("private");
        protected.add("198.51.100.7".parse().unwrap());
        let mut desired = Desired::default();
        for (scope, kind, value) in rows {
            // A value may carry its remaining time: `1.1.1.1 for 4h`.
            let (value, time) = value.split_once(" for ").unwrap_or((value, "1h"));
            let [scope, kind, value] = [scope, kind, value].map(Cow::Borrowed);
            let (duration, scenario) = (Text::from(time), Text::from("crowdsecurity/ssh-bf"));
            let decision = Decision { scope, kind, value, duration, scenario };
            desired.add(Ok(decision), targets, &protected);
        }
        desired
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
        let spellings =
            ["1.2.3.4", "1.2.3.4/32", " 1.2.3.4", "::ffff:1.2.3.4", "::FFFF:102:304/128"];
        let rows: Vec<_> = spellings.iter().map(|value| ("ip", "ban", *value)).collect();
        assert_eq!(texts(&desired(&rows, &both()), Remediation::Ban), ["1.2.3.4"]);
    }

    #[test]
    fn values_that_cannot_be_sent_are_counted_and_named_and_the_rest_goes() {
        let desired = desired(
            &[
                ("Ip", "ban", "64.0.0.0/7"),
                ("Ip", "ban", "2000::/11"),
                ("Ip", "ban", "010.1.2.3"),
                ("Ip", "ban", "fe80::1%eth0"),
                ("Ip", "ban", "1.2.3.4/33"),
                ("Ip", "ban", "11.30.5.7/16"),
            ],
            &both(),
        );
        assert_eq!(texts(&desired, Remediation::Ban), ["11.30.0.0/16"]);
        assert_eq!(desired.skipped().prefixes.describe(), r#""64.0.0.0/7", "2000::/11""#);
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
        let desired = desired(&rows, &targets(&[("cf_captcha_list_id", "")]));
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
            r#""198.51.100.7 (never_block; crowdsecurity/ssh-bf)", "198.51.100.0/24 (never_block; crowdsecurity/ssh-bf)", "0.0.0.0/0 (private; crowdsecurity/ssh-bf)""#
        );
    }

    #[test]
    fn key_has_the_strongest_remediation_and_the_longest_time_of_its_decisions() {
        let rows = [
            ("Ip", "ban", "1.1.1.1 for 10m"),
            ("Ip", "captcha", "1.1.1.1/32 for 363h"),
            ("Ip", "captcha", "2.2.2.2 for not-a-duration"),
        ];
        let desired = desired(&rows, &targets(&KV_ONLY));
        let keys: Vec<_> =
            desired.keys().map(|(a, r, t)| (a.to_string(), r, t.as_secs())).collect();
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
        let desired = desired(&[("Ip", "ban", "1.2.3.0/24")], &targets(&KV_ONLY));
        assert_eq!(desired.skipped().prefixes_in_kv.describe(), r#""1.2.3.0/24""#);
        assert_eq!(desired.keys().count(), 0);
    }

    #[test]
    fn captcha_without_a_list_still_has_its_key() {
        let both = targets(&[("cf_captcha_list_id", ""), KV_ONLY[2]]);
        let desired = desired(&[("Ip", "captcha", "1.1.1.1")], &both);
        assert_eq!((desired.keys().count(), desired.count(Remediation::Captcha)), (1, 0));
    }
}
