//! The Cloudflare side of the sync, made through the API: the IP lists, the KV namespace, and the two
//! WAF custom rules of each zone. In data-flow order: [`Wish`] -> `observed` (what is there) -> `plan`
//! (pure) -> `apply` (one request for each step) -> `render`. `api` only moves requests.
//!
//! Invariants: nothing is written that the plan did not show; a rule without our `ref`, a list or a
//! ruleset without our description are never changed or removed; a second run finds nothing to do.

mod api;
mod apply;
mod delta;
mod observed;
mod plan;
mod render;
mod wrangler;

pub use api::{Area, CallError, Client};
pub use apply::{Applied, apply};
pub use observed::{ListSeen, NamespaceSeen, Observed, RuleSeen, RulesetSeen, ZoneSeen, observe};
pub use plan::{Entry, Plan, Step, What, plan, plan_removal};
pub use render::{Optional, Report, optional_settings, settings};
pub use wrangler::wrangler_toml;

use anyhow::{Result, ensure};

/// The name of the list of bans, unless another is asked for. Rules name a list by its name.
pub const BAN_LIST: &str = "crowdsec_ban";
/// The name of the list of challenges.
pub const CAPTCHA_LIST: &str = "crowdsec_captcha";
/// The title of the KV namespace. It has no description, so that its title is also the mark by which
/// it is recognised.
pub const NAMESPACE: &str = "crowdsec-edge-sync";
/// The description of a list that setup made, and the mark by which it is recognised.
pub const LIST_DESCRIPTION: &str = "Made by crowdsec-edge-sync setup; its items are CrowdSec's";
/// The same for a ruleset that setup made, where a zone had none.
pub const RULESET_DESCRIPTION: &str = "Made by crowdsec-edge-sync setup";
/// Where custom rules live.
pub const PHASE: &str = "http_request_firewall_custom";

/// What is done with the requests of an address; each has a list and a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remediation {
    /// Blocked.
    Ban,
    /// Challenged.
    Captcha,
}

impl Remediation {
    /// The `ref` of the rule, by which it is found again.
    pub const fn reference(self) -> &'static str {
        match self {
            Self::Ban => "crowdsec_edge_sync_ban",
            Self::Captcha => "crowdsec_edge_sync_captcha",
        }
    }

    /// The action of the rule.
    pub const fn action(self) -> &'static str {
        match self {
            Self::Ban => "block",
            Self::Captcha => "managed_challenge",
        }
    }

    /// The description of the rule, for people at the dashboard.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Ban => "CrowdSec: block banned addresses",
            Self::Captcha => "CrowdSec: challenge suspicious addresses",
        }
    }

    /// The Spin variable that takes the list's id.
    pub const fn setting(self) -> &'static str {
        match self {
            Self::Ban => "cf_ban_list_id",
            Self::Captcha => "cf_captcha_list_id",
        }
    }
}

/// The expression of a rule: the request comes from an address on the list.
pub fn expression(list: &str) -> String {
    format!("(ip.src in ${list})")
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    ban_list: Option<String>,
    captcha_list: Option<String>,
    /// Whether the KV namespace is wanted.
    pub namespace: bool,
    /// Zones, each by id or name, that get the rules.
    pub zones: Vec<String>,
}

impl Wish {
    /// Lists with these names, without namespace and zones; no captcha list if the account has room
    /// for one list only. Fails if Cloudflare would not take a name.
    pub fn new(ban_list: &str, captcha_list: Option<&str>) -> Result<Self> {
        for name in [Some(ban_list), captcha_list].into_iter().flatten() {
            ensure!(
                (1..=50).contains(&name.len())
                    && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')),
                "{name:?} cannot be the name of a list: 1 to 50 lower-case letters, digits and \
                 underscores"
            );
        }
        ensure!(captcha_list != Some(ban_list), "bans and challenges need a list each");
        Ok(Self {
            ban_list: Some(ban_list.to_owned()),
            captcha_list: captcha_list.map(str::to_owned),
            namespace: false,
            zones: Vec::new(),
        })
    }

    /// The KV namespace and nothing else: no list, no rule, and no permission for them.
    pub fn kv_only() -> Self {
        Self { ban_list: None, captcha_list: None, namespace: true, zones: Vec::new() }
    }

    /// The wanted lists, which is also the order of their rules: block before challenge.
    pub fn lists(&self) -> impl Iterator<Item = (Remediation, &str)> {
        let captcha = self.captcha_list.as_deref();
        [(Remediation::Ban, self.ban_list.as_deref()), (Remediation::Captcha, captcha)]
            .into_iter()
            .filter_map(|(remediation, name)| Some((remediation, name?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_names_wished_are_checked() {
        for (ban, captcha, good) in [
            (BAN_LIST, Some(CAPTCHA_LIST), true),
            ("b", None, true),
            ("", None, false),
            ("Ban", None, false),
            ("ban-1", None, false),
            ("ban", Some("captcha list"), false),
            ("same", Some("same"), false),
            (&"x".repeat(51), None, false),
        ] {
            assert_eq!(Wish::new(ban, captcha).is_ok(), good, "{ban} {captcha:?}");
        }
    }
}
