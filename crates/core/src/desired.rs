//! Decisions -> what should be at the edge: one remediation for each canonical address.
//!
//! Knows nothing of what is there now.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::address::Address;
use crate::decision::{Decision, Remediation};
use crate::settings::Lists;
use crate::skipped::{Left, Words};

/// What should be at the edge, and what was left out of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    remediations: BTreeMap<Address, Remediation>,
    skipped: Skipped,
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
    /// Remediations that no list is set for.
    pub without_list: Words,
    /// Values of scope `ip` that are no address.
    pub not_addresses: Left,
    /// Prefixes that Cloudflare does not take.
    pub prefixes: Left,
}

impl Skipped {
    /// `(reason, count)` for each reason, as metrics name them.
    pub fn counts(&self) -> [(&'static str, u64); 6] {
        [
            ("malformed", self.malformed.count),
            ("scope", self.scopes.count()),
            ("type", self.types.count()),
            ("without_list", self.without_list.count()),
            ("not_an_address", self.not_addresses.count),
            ("prefix", self.prefixes.count),
        ]
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.counts().iter().map(|(_, count)| count).sum()
    }
}

impl Desired {
    /// Takes one decision, or the reason why it cannot be read, into account. The order in which
    /// decisions come does not matter: LAPI's is unspecified (facts crowdsec 1.2).
    pub fn add(&mut self, decision: Result<Decision<'_>, serde_json::Error>, lists: &Lists) {
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
        if lists.get(remediation).is_none() {
            return self.skipped.without_list.add(remediation.as_str());
        }
        let Ok(address) = decision.value.parse::<Address>() else {
            return self.skipped.not_addresses.add(&decision.value);
        };
        if !address.fits_list() {
            return self.skipped.prefixes.add(&decision.value);
        }
        let strongest = self.remediations.entry(address).or_insert(remediation);
        *strongest = remediation.max(*strongest);
    }

    /// The remediation that `address` should have.
    pub fn get(&self, address: &Address) -> Option<Remediation> {
        self.remediations.get(address).copied()
    }

    /// The addresses that should have `remediation`, in order.
    pub fn addresses(&self, remediation: Remediation) -> impl Iterator<Item = Address> {
        self.remediations
            .iter()
            .filter(move |(_, chosen)| **chosen == remediation)
            .map(|(address, _)| *address)
    }

    /// How many addresses should have `remediation`.
    pub fn count(&self, remediation: Remediation) -> u64 {
        self.remediations.values().filter(|chosen| **chosen == remediation).count() as u64
    }

    /// What was left out.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }
}

#[cfg(test)]
impl Desired {
    /// A desired state from addresses, for the tests of later phases.
    pub(crate) fn of(ban: &[&str], captcha: &[&str]) -> Self {
        let all = [(Remediation::Captcha, captcha), (Remediation::Ban, ban)];
        let remediations = all
            .into_iter()
            .flat_map(|(r, texts)| texts.iter().map(move |t| (t.parse().unwrap(), r)))
            .collect();
        Self { remediations, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    fn lists(captcha: &str) -> Lists {
        crate::settings::Settings::parse(|name| {
            Some(
                match name {
                    "lapi_url" | "cf_api_url" => "http://x",
                    "lapi_key" | "cf_api_token" => "k",
                    "cf_account_id" => "00000000000000000000000000000000",
                    "cf_ban_list_id" => "11111111111111111111111111111111",
                    "cf_captcha_list_id" => captcha,
                    _ => return None,
                }
                .to_owned(),
            )
        })
        .unwrap()
        .lists
    }

    fn both() -> Lists {
        lists("22222222222222222222222222222222")
    }

    fn desired(rows: &[(&str, &str, &str)], lists: &Lists) -> Desired {
        let mut desired = Desired::default();
        for (scope, kind, value) in rows {
            let [scope, kind, value] = [scope, kind, value].map(|t| Cow::Borrowed(*t));
            desired.add(Ok(Decision { scope, kind, value }), lists);
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
                ("Ip", "ban", "0.0.0.0/0"),
                ("Ip", "ban", "::/0"),
                ("Ip", "ban", "010.1.2.3"),
                ("Ip", "ban", "fe80::1%eth0"),
                ("Ip", "ban", "1.2.3.4/33"),
                ("Ip", "ban", "10.30.5.7/16"),
            ],
            &both(),
        );
        assert_eq!(texts(&desired, Remediation::Ban), ["10.30.0.0/16"]);
        assert_eq!(desired.skipped().prefixes.describe(), r#""0.0.0.0/0", "::/0""#);
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
        let desired = desired(&rows, &lists(""));
        assert_eq!(texts(&desired, Remediation::Ban), ["2.2.2.2"]);
        assert_eq!(desired.skipped().without_list.describe(), "captcha 1");
    }
}
