//! The decisions as they are read: those on the address that is asked for, and of each address why it is
//! wanted.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::address::Address;
use crate::decision::{Decision, Remediation};
use crate::desired::Desired;
use crate::log::clip;
use crate::run::read::Watch;
use crate::settings::Settings;

use super::Seen;

/// A text of LAPI's is shown so far.
const TEXT_CHARS_MAX: usize = 200;

/// See the module.
#[derive(Clone)]
pub(super) struct Watched<'s> {
    address: Option<Address>,
    settings: &'s Settings,
    pub(super) seen: Vec<Seen>,
    pub(super) reasons: Reasons,
}

impl<'s> Watched<'s> {
    pub(super) fn new(address: Option<Address>, settings: &'s Settings) -> Self {
        Self { address, settings, seen: Vec::new(), reasons: Reasons::default() }
    }
}

/// Why each address is wanted: origin and scenario of the strongest decision on it.
#[derive(Clone, Default)]
pub(in crate::run) struct Reasons {
    /// Origin and scenario; many decisions have the same.
    texts: BTreeMap<(String, String), Rc<(String, String)>>,
    single: BTreeMap<Address, (Remediation, Rc<(String, String)>)>,
    ranges: BTreeMap<Address, (Remediation, Rc<(String, String)>)>,
}

impl Reasons {
    /// Origin and scenario of the decision that asks for `address`, or for a range that it is a part of.
    pub(super) fn of(&self, address: &Address) -> Option<(&str, &str)> {
        let exact = self.single.get(address).or_else(|| self.ranges.get(address));
        let around = || self.ranges.iter().find(|(range, _)| range.contains(address));
        let (_, reason) = exact.or_else(|| around().map(|(_, reason)| reason))?;
        Some((&reason.0, &reason.1))
    }

    fn add(&mut self, address: Address, remediation: Remediation, origin: &str, scenario: &str) {
        let text = (origin.to_owned(), scenario.to_owned());
        let text = self.texts.entry(text.clone()).or_insert_with(|| Rc::new(text)).clone();
        let of = if address.is_single() { &mut self.single } else { &mut self.ranges };
        let known = of.entry(address).or_insert_with(|| (remediation, text.clone()));
        if known.0 < remediation {
            *known = (remediation, text);
        }
    }
}

impl Watch for Watched<'_> {
    fn see(&mut self, decision: &Result<Decision<'_>, serde_json::Error>) {
        let Ok(decision) = decision else { return };
        let Ok(value) = decision.value.parse::<Address>() else { return };
        let is_asked_for = self.address.is_some_and(|address| value.contains(&address));
        if self.address.is_some() && !is_asked_for {
            return;
        }
        // Alone, so that what is left out is this one.
        let mut alone = Desired::default();
        alone.add(Ok(decision.clone()), self.settings);
        let counts = alone.skipped().counts();
        let left_out = counts.iter().find(|(_, count)| *count > 0).map(|(reason, _)| *reason);
        let text = |text: &str| clip(text, TEXT_CHARS_MAX);
        let (origin, scenario) = (
            text(&decision.origin().to_string()),
            text(decision.scenario.0.as_deref().unwrap_or("")),
        );
        let is_wanted = left_out.is_none() || left_out == Some("without_list");
        if let (true, Some(remediation)) = (is_wanted, Remediation::from_type(&decision.kind)) {
            self.reasons.add(value, remediation, &origin, &scenario);
        }
        if is_asked_for {
            self.seen.push(Seen {
                value: text(&decision.value),
                scope: text(&decision.scope),
                remediation: text(&decision.kind),
                origin,
                scenario,
                duration: text(decision.duration.0.as_deref().unwrap_or("")),
                protected: self
                    .settings
                    .protected
                    .rule(&value)
                    .filter(|_| left_out == Some("protected")),
                left_out,
            });
        }
    }
}
