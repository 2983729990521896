//! Text settings -> checked [`Settings`]. All problems are found at once, by variable name, and no
//! secret is ever repeated in one.
//!
//! Where the texts come from (Spin variables) is the shell's business. Names and defaults are an
//! interface: `spin.toml` declares them, `docs/settings.md` explains them.

pub mod filter;
mod origin;
pub mod protected;
mod reader;

use std::fmt;
use std::num::NonZeroU64;
use std::time::{Duration, SystemTime};

use crate::decision::Remediation;
use crate::secret::Secret;

use filter::Filter;
use protected::Protected;

pub use origin::{Origin, PUSHGATEWAY_OFF};

/// Everything an operator can choose, checked: whoever holds one need not doubt it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `lapi_url`.
    pub lapi: Origin,
    /// `lapi_key`.
    pub lapi_key: Secret,
    /// `cf_api_url`.
    pub cloudflare: Origin,
    /// `cf_account_id`.
    pub account: Id,
    /// `cf_api_token`.
    pub token: Secret,
    /// Where decisions are sent.
    pub targets: Targets,
    /// `origins_include`, `origins_exclude` and `scenarios_exclude`.
    pub filter: Filter,
    /// `scopes` and `skip_covered`.
    pub ranges: Ranges,
    /// `scopes`: whether countries and autonomous systems are sent.
    pub regions: Regions,
    /// `never_block` and `never_block_builtin`.
    pub protected: Protected,
    /// `removal_guard_percent` and what else limits removals.
    pub guard: GuardLimits,
    /// `write_backoff_seconds` and `write_interval_seconds`.
    pub pace: Pace,
    /// `edge_audit_seconds`: the lists are read whole at least so often; 0 = by every run.
    pub edge_audit_secs: u64,
    /// `pushgateway_url`; `None` = no metrics.
    pub pushgateway: Option<Origin>,
    /// `log_changes`: every change is logged, not only removals and the first additions.
    pub log_all_changes: bool,
    /// `dry_run`.
    pub dry_run: bool,
    /// `run_budget_seconds`.
    pub run_budget: Duration,
}

/// Where decisions are sent: at least one of the two.
#[derive(Debug, Clone)]
pub struct Targets {
    /// `cf_ban_list_id` and `cf_captcha_list_id`.
    pub lists: Option<Lists>,
    /// `cf_kv_namespace_id` and what belongs to it.
    pub kv: Option<Kv>,
    /// `cf_rules_zones` and what belongs to it: the rules that use the lists, as the delta on top of them.
    pub rules: Option<Rules>,
}

/// The zones whose rules are the delta on top of the lists. Only together with a list.
#[derive(Debug, Clone)]
pub struct Rules {
    /// `cf_rules_zones`: never none, and none twice.
    pub zones: Vec<Id>,
    /// `rules_characters_max`: the longest expression.
    pub characters_max: usize,
}

/// What becomes of decisions with the scopes `country` and `as`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Regions {
    /// Countries are sent.
    pub countries: bool,
    /// Autonomous systems are sent.
    pub asns: bool,
}

/// What becomes of decisions with the scope `range`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranges {
    /// They are counted and ignored (`scopes=ip`).
    Ignored,
    /// They are sent (`scopes=ip,range`).
    Sent {
        /// `skip_covered`: an address inside a desired range of the same or a stronger remediation
        /// takes no place of its own on a list.
        skip_covered: bool,
    },
}

/// How many removals at once are believed, and what lets more go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardLimits {
    /// `removal_guard_percent`: more than this part of what is at the edge …
    pub percent: u64,
    /// … and more than `removal_guard_count` removals are too many at once.
    pub count: u64,
    /// `removal_confirm_runs`: they go when this many runs in a row want the same; 1 = no guard.
    pub runs: u64,
    /// `removal_confirm_seconds`: and when the first of those runs is this many seconds ago.
    pub seconds: u64,
    /// `removals_approved_until`, Unix seconds: until then a person wants removals to go. `None` if that
    /// is over, or nobody does.
    pub approved_until: Option<u64>,
}

/// How often the lists may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// How long to wait after the first, second, … refused write in a row; the last for all further
    /// ones. Never empty.
    pub backoff: Vec<Duration>,
    /// The shortest time between two writes of which the second is not urgent.
    pub interval: Duration,
}

/// A Workers KV namespace, and how it is used.
#[derive(Debug, Clone)]
pub struct Kv {
    /// `cf_kv_namespace_id`.
    pub namespace: Id,
    /// `kv_key_prefix`: what our keys begin with. Other keys do not exist for us.
    pub prefix: String,
    /// `kv_expiry_tolerance_seconds`: how far a key's expiry may be off without being rewritten.
    pub tolerance: Duration,
    /// `kv_daily_writes_max`: keys that may be written or deleted in a day (UTC).
    pub daily_writes_max: Option<NonZeroU64>,
    /// `kv_layout`.
    pub layout: KvLayout,
}

/// The default of `kv_key_prefix`.
pub const KV_PREFIX: &str = "ip:";

/// How decisions stand in the namespace, `kv_layout`; `docs/kv.md` says how one becomes the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KvLayout {
    /// A key for each address.
    #[default]
    Keys,
    /// 16 values for all of them.
    Shards,
    /// Both are kept up to date: while Workers of before are still in use.
    Both,
}

/// The Cloudflare lists in use: one or two, never the same one twice.
#[derive(Debug, Clone)]
pub struct Lists {
    ban: Option<Id>,
    captcha: Option<Id>,
    /// `captcha_as_ban` or `ban_as_captcha`: what no list of its own is set for goes on the other.
    fold: bool,
    /// `list_items_max`: items over both lists together.
    pub items_max: u64,
}

impl Lists {
    /// The list for this remediation, if there is one.
    pub fn get(&self, remediation: Remediation) -> Option<&Id> {
        match remediation {
            Remediation::Ban => self.ban.as_ref(),
            Remediation::Captcha => self.captcha.as_ref(),
        }
    }

    /// The list that decisions with this remediation go on: its own, or the only one if the
    /// operator wants that.
    pub fn takes(&self, remediation: Remediation) -> Option<Remediation> {
        match self.get(remediation) {
            Some(_) => Some(remediation),
            None if self.fold => Some(remediation.other()),
            None => None,
        }
    }

    /// Those in use, the ban list first.
    pub fn iter(&self) -> impl Iterator<Item = (Remediation, &Id)> {
        Remediation::ALL.into_iter().filter_map(|r| Some((r, self.get(r)?)))
    }

    /// The variable that names the list.
    pub fn variable(remediation: Remediation) -> &'static str {
        match remediation {
            Remediation::Ban => "cf_ban_list_id",
            Remediation::Captcha => "cf_captcha_list_id",
        }
    }
}

/// A Cloudflare identifier of an account, a list or a namespace: 32 hexadecimal digits in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id(String);

impl Id {
    /// As it stands in a URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The settings cannot be used. Lists every problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct SettingsError(pub Vec<Problem>);

/// What is wrong with one variable, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {message}")]
pub struct Problem {
    /// The variable's name.
    pub variable: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

impl Settings {
    /// Reads every setting through `get`; a variable that is not set is the same as an empty one. `now`
    /// says which approvals (`removals_approved_until`) are over, and which are too far ahead.
    pub fn parse(
        get: impl Fn(&str) -> Option<String>,
        now: SystemTime,
    ) -> Result<Self, SettingsError> {
        let mut reader = reader::Reader { get, now, problems: Vec::new() };
        let settings = reader.settings();
        match settings {
            Some(settings) if reader.problems.is_empty() => Ok(settings),
            _ => Err(SettingsError(reader.problems)),
        }
    }
}

#[cfg(test)]
impl Settings {
    /// Of these variables, and what every installation has to set. Of two with one name the first counts.
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        const ALL: [(&str, &str); 5] = [
            ("lapi_url", "http://x"),
            ("lapi_key", "k"),
            ("cf_api_url", "http://x"),
            ("cf_api_token", "k"),
            ("cf_account_id", "00000000000000000000000000000000"),
        ];
        let get = |name: &str| {
            let (_, value) = variables.iter().chain(&ALL).find(|(of, _)| *of == name)?;
            Some((*value).to_owned())
        };
        Self::parse(get, SystemTime::UNIX_EPOCH).unwrap()
    }
}

#[cfg(test)]
mod tests;
