//! Reads the texts of the settings, one kind of value after the other, and collects what is wrong.

use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::address::Address;
use crate::decision::Remediation;
use crate::log::clip;
use crate::secret::Secret;

use super::filter::Filter;
use super::origin::{self, Origin, PUSHGATEWAY_OFF};
use super::protected::{self, GROUPS, Protected};
use super::{
    GuardLimits, Id, KV_PREFIX, Kv, KvLayout, Lists, Pace, Problem, Ranges, Regions, Rules,
    Settings, Targets,
};

/// Half an hour, an hour, two, four, six. Every retry of the program before this one made a
/// throttled account worse; six hours lose little, since the limiter that was seen opens once in 72
/// (facts cloudflare 1.8).
const WRITE_BACKOFF_SECONDS: &str = "1800,3600,7200,14400,21600";
const BACKOFF_SECONDS: RangeInclusive<u64> = 60..=604_800;

/// What all lists of an account below Enterprise hold together, and what they hold on Enterprise
/// (facts cloudflare 1.7).
const ITEMS_MAX: u64 = 10_000;
const ITEMS_MAX_ENTERPRISE: u64 = 500_000;

/// The dashboard's editor stops at 4,000 characters, where the API takes 4,096: what is longer, nobody could
/// mend by hand (facts cloudflare-rules 1.1). A shorter text than the least has no room for anything.
const RULES_CHARACTERS: u64 = 4_000;
const RULES_CHARACTERS_RANGE: RangeInclusive<u64> = 200..=4_096;

/// Shorter budgets leave no room for one write: 10 s to send it, 25 s to see it completed.
const RUN_BUDGET_SECONDS: RangeInclusive<u64> = 60..=3600;

/// How far ahead removals may be approved, so that nobody leaves the guard off and forgets it.
const APPROVAL_SECS_MAX: u64 = 24 * 3_600;

/// Collects problems instead of stopping at the first.
pub(super) struct Reader<G> {
    pub(super) get: G,
    pub(super) now: SystemTime,
    pub(super) problems: Vec<Problem>,
}

impl<G: Fn(&str) -> Option<String>> Reader<G> {
    pub(super) fn settings(&mut self) -> Option<Settings> {
        // Each is read before any is unwrapped, so that all problems are found.
        let lapi = self.origin("lapi_url");
        let lapi_key =
            self.secret("lapi_key", "register a bouncer with `cscli bouncers add edge-sync`");
        let cloudflare = self.origin("cf_api_url");
        let account = self.id("cf_account_id");
        if account.is_none() && self.text("cf_account_id").is_empty() {
            self.problem("cf_account_id", "is empty; the account's overview page shows it");
        }
        let token = self.secret(
            "cf_api_token",
            "create one with the permission Account > Account Filter Lists > Edit, and Account > Workers KV Storage > Edit for KV",
        );
        let targets = self.targets();
        let filter = self.filter();
        let scopes = self.scopes();
        let protected = self.protected();
        let guard = self.guard();
        let backoff = self.backoff();
        let interval = self.number("write_interval_seconds", 0, 0..=86_400);
        let edge_audit_secs = self.number("edge_audit_seconds", 600, 0..=86_400);
        let pushgateway = self.pushgateway();
        let log_all_changes = self.log_changes();
        let dry_run = self.flag("dry_run");
        let run_budget = self.run_budget();
        Some(Settings {
            lapi: lapi?,
            lapi_key: lapi_key?,
            cloudflare: cloudflare?,
            account: account?,
            token: token?,
            targets: targets?,
            filter: filter?,
            ranges: scopes?.0,
            regions: scopes?.1,
            protected: protected?,
            guard: guard?,
            pace: Pace { backoff: backoff?, interval: Duration::from_secs(interval?) },
            edge_audit_secs: edge_audit_secs?,
            pushgateway: pushgateway?,
            log_all_changes: log_all_changes?,
            dry_run: dry_run?,
            run_budget: run_budget?,
        })
    }

    fn text(&self, variable: &str) -> String {
        (self.get)(variable).map(|text| text.trim().to_owned()).unwrap_or_default()
    }

    fn problem(&mut self, variable: &'static str, message: impl Into<String>) {
        self.problems.push(Problem { variable, message: message.into() });
    }

    fn origin(&mut self, variable: &'static str) -> Option<Origin> {
        let text = self.text(variable);
        match origin::parse(&text) {
            Ok(origin) => Some(origin),
            Err(message) => {
                self.problem(variable, message);
                None
            }
        }
    }

    fn secret(&mut self, variable: &'static str, remedy: &str) -> Option<Secret> {
        let text = self.text(variable);
        if text.is_empty() {
            self.problem(variable, format!("is empty; {remedy}"));
            return None;
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            self.problem(
                variable,
                "has white space or other characters that no key has; copy it again",
            );
            return None;
        }
        Some(Secret::new(text))
    }

    /// `None` without a problem if the variable is empty.
    fn id(&mut self, variable: &'static str) -> Option<Id> {
        let text = self.text(variable);
        if text.is_empty() {
            return None;
        }
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            // The text is not shown: it may be the token, pasted into the wrong place.
            let length = text.chars().count();
            self.problem(
                variable,
                format!("is not 32 hexadecimal digits (it has {length} characters); copy the id, not the name"),
            );
            return None;
        }
        Some(Id(text.to_ascii_lowercase()))
    }

    fn targets(&mut self) -> Option<Targets> {
        let problems_before = self.problems.len();
        let lists = self.lists();
        let kv = self.kv();
        let rules = self.rules(lists.is_some());
        if self.problems.len() > problems_before {
            return None;
        }
        if lists.is_none() && kv.is_none() {
            self.problem(
                "cf_ban_list_id",
                "is empty, and so are cf_captcha_list_id and cf_kv_namespace_id; set at least one, or nothing can be synced",
            );
            return None;
        }
        Some(Targets { lists, kv, rules })
    }

    /// `None` if no list is set, or with a problem. What belongs to them is checked all the same.
    fn lists(&mut self) -> Option<Lists> {
        let ban = self.id("cf_ban_list_id");
        let captcha = self.id("cf_captcha_list_id");
        let items_max = self.number("list_items_max", ITEMS_MAX, 1..=ITEMS_MAX_ENTERPRISE);
        let captcha_as_ban = self.fold("captcha_as_ban", ban.is_some() && captcha.is_none());
        let ban_as_captcha = self.fold("ban_as_captcha", captcha.is_some() && ban.is_none());
        if ban.is_none() && captcha.is_none() {
            return None;
        }
        if ban == captcha {
            self.problem(
                "cf_captcha_list_id",
                "is the same list as cf_ban_list_id; a banned and a challenged address need different lists",
            );
            return None;
        }
        let fold = captcha_as_ban? || ban_as_captcha?;
        Some(Lists { ban, captcha, fold, items_max: items_max? })
    }

    /// Whether one list stands in for the other, which makes sense only if the other is not set.
    fn fold(&mut self, variable: &'static str, fits: bool) -> Option<bool> {
        let fold = self.flag(variable)?;
        if fold && !fits {
            let [own, other] = match variable {
                "captcha_as_ban" => Remediation::ALL,
                _ => [Remediation::Captcha, Remediation::Ban],
            }
            .map(Lists::variable);
            self.problem(
                variable,
                format!("is for accounts with one list: it needs {own}, and {other} left empty"),
            );
            return None;
        }
        Some(fold)
    }

    /// `None` if no namespace is set, or with a problem. What belongs to it is checked all the same.
    fn kv(&mut self) -> Option<Kv> {
        let namespace = self.id("cf_kv_namespace_id");
        let prefix = self.kv_prefix();
        let tolerance = self.number("kv_expiry_tolerance_seconds", 600, 60..=86_400);
        let daily = self.number("kv_daily_writes_max", 0, 0..=u64::MAX);
        let layout = self.kv_layout();
        Some(Kv {
            namespace: namespace?,
            prefix: prefix?,
            tolerance: Duration::from_secs(tolerance?),
            daily_writes_max: NonZeroU64::new(daily?),
            layout: layout?,
        })
    }

    fn filter(&mut self) -> Option<Filter> {
        let [include, exclude, scenarios] =
            ["origins_include", "origins_exclude", "scenarios_exclude"].map(|variable| {
                let text = self.text(variable);
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                words.map(str::to_owned).collect::<Vec<_>>()
            });
        let both = include.iter().find(|origin| exclude.contains(origin));
        if let Some(origin) = both {
            let shown = clip(origin, 40);
            self.problem("origins_exclude", format!("{shown:?} is in origins_include too"));
            return None;
        }
        Some(Filter::new(include, exclude, scenarios))
    }

    /// `None` if no zone is named, or with a problem.
    fn rules(&mut self, has_lists: bool) -> Option<Rules> {
        let characters_max =
            self.number("rules_characters_max", RULES_CHARACTERS, RULES_CHARACTERS_RANGE);
        let text = self.text("cf_rules_zones");
        let mut zones: Vec<Id> = Vec::new();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            if word.len() != 32 || !word.bytes().all(|b| b.is_ascii_hexdigit()) {
                // The text is not shown: it may be the token, pasted into the wrong place.
                let length = word.chars().count();
                self.problem(
                    "cf_rules_zones",
                    format!("has an id that is not 32 hexadecimal digits (it has {length} characters); copy the zones' ids, not their names, separated by commas"),
                );
                return None;
            }
            let id = Id(word.to_ascii_lowercase());
            if !zones.contains(&id) {
                zones.push(id);
            }
        }
        if zones.is_empty() {
            return None;
        }
        if !has_lists {
            self.problem(
                "cf_rules_zones",
                "needs a list: the rules are a delta on top of cf_ban_list_id and cf_captcha_list_id",
            );
            return None;
        }
        Some(Rules { zones, characters_max: usize::try_from(characters_max?).ok()? })
    }

    fn scopes(&mut self) -> Option<(Ranges, Regions)> {
        let skip_covered = match self.text("skip_covered").as_str() {
            "" => Some(true),
            _ => self.flag("skip_covered"),
        };
        let scopes = match self.text("scopes").to_ascii_lowercase() {
            empty if empty.is_empty() => "ip".to_owned(),
            scopes => scopes,
        };
        let words: Vec<_> = scopes.split(',').map(str::trim).collect();
        let is_known = |word: &&str| matches!(*word, "ip" | "range" | "country" | "as");
        if !words.contains(&"ip") || !words.iter().all(is_known) {
            let shown = clip(&scopes, 40);
            self.problem(
                "scopes",
                format!("{shown:?} is not \"ip\", or \"ip\" with some of range, country, as, separated by commas"),
            );
            return None;
        }
        let ranges = match words.contains(&"range") {
            true => Ranges::Sent { skip_covered: skip_covered? },
            false => Ranges::Ignored,
        };
        let regions =
            Regions { countries: words.contains(&"country"), asns: words.contains(&"as") };
        Some((ranges, regions))
    }

    fn guard(&mut self) -> Option<GuardLimits> {
        let percent = self.number("removal_guard_percent", 50, 0..=100);
        let count = self.number("removal_guard_count", 10, 0..=u64::MAX);
        let runs = self.number("removal_confirm_runs", 5, 1..=1_000);
        let seconds = self.number("removal_confirm_seconds", 1_800, 0..=86_400);
        let approved_until = self.approved_until();
        Some(GuardLimits {
            percent: percent?,
            count: count?,
            runs: runs?,
            seconds: seconds?,
            approved_until: approved_until?,
        })
    }

    fn approved_until(&mut self) -> Option<Option<u64>> {
        const VARIABLE: &str = "removals_approved_until";
        let text = self.text(VARIABLE);
        if text.is_empty() {
            return Some(None);
        }
        let Some(until) = rfc3339(&text) else {
            let shown = clip(&text, 40);
            self.problem(
                VARIABLE,
                format!(
                    "{shown:?} is no time; write it like 2026-01-31T18:00:00Z or 2026-01-31T19:00:00+01:00"
                ),
            );
            return None;
        };
        match until.duration_since(self.now) {
            Err(_) => Some(None),
            Ok(ahead) if ahead <= Duration::from_secs(APPROVAL_SECS_MAX) => {
                Some(until.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs()))
            }
            Ok(_) => {
                let shown = clip(&text, 40);
                self.problem(
                    VARIABLE,
                    format!(
                        "{shown:?} is more than a day ahead, and an approval that is forgotten switches the guard off; set a time within 24 hours from now"
                    ),
                );
                None
            }
        }
    }

    fn protected(&mut self) -> Option<Protected> {
        let problems_before = self.problems.len();
        let mut protected = Protected::default();
        let own = self.text("never_block");
        for text in own.split(|c: char| c == ',' || c.is_whitespace()).filter(|t| !t.is_empty()) {
            match text.parse::<Address>() {
                Ok(address) if protected::is_too_wide(&address) => {
                    self.problem("never_block", format!(
                        "{address} is wider than /{} and would keep so many off the edge that no ban is left; write the addresses or smaller prefixes that are yours",
                        protected::widest(&address),
                    ));
                }
                Ok(address) => protected.add(address),
                Err(error) => {
                    let shown = clip(text, 43);
                    self.problem("never_block", format!("{shown:?} is {error}"));
                }
            }
        }
        let groups = self.text("never_block_builtin");
        let all = GROUPS.map(|(group, _)| group);
        let named: Vec<&str> = match groups.as_str() {
            "" => all.to_vec(),
            "none" => Vec::new(),
            groups => groups.split(',').map(str::trim).collect(),
        };
        for group in named {
            if !protected.add_group(group) {
                let shown = clip(group, 40);
                self.problem(
                    "never_block_builtin",
                    format!("{shown:?} is none of {}, none", all.join(", ")),
                );
            }
        }
        (self.problems.len() == problems_before).then_some(protected)
    }

    fn backoff(&mut self) -> Option<Vec<Duration>> {
        let text = match self.text("write_backoff_seconds") {
            empty if empty.is_empty() => WRITE_BACKOFF_SECONDS.to_owned(),
            text => text,
        };
        let steps: Option<Vec<u64>> = text
            .split(',')
            .map(|step| step.trim().parse().ok().filter(|step| BACKOFF_SECONDS.contains(step)))
            .collect();
        let Some(steps) = steps else {
            let (least, most) = (BACKOFF_SECONDS.start(), BACKOFF_SECONDS.end());
            let shown = clip(&text, 40);
            self.problem(
                "write_backoff_seconds",
                format!("{shown:?} is not a list of whole numbers from {least} to {most}, separated by commas"),
            );
            return None;
        };
        Some(steps.into_iter().map(Duration::from_secs).collect())
    }

    fn kv_prefix(&mut self) -> Option<String> {
        let prefix = match self.text("kv_key_prefix") {
            empty if empty.is_empty() => KV_PREFIX.to_owned(),
            prefix => prefix,
        };
        // A key has at most 512 bytes, and an address up to 43 of them.
        if prefix.len() > 64 || !prefix.bytes().all(|b| b.is_ascii_graphic()) {
            let shown = clip(&prefix, 12);
            self.problem(
                "kv_key_prefix",
                format!("{shown:?} is not 1 to 64 printable ASCII characters without white space"),
            );
            return None;
        }
        Some(prefix)
    }

    fn kv_layout(&mut self) -> Option<KvLayout> {
        match self.text("kv_layout").to_ascii_lowercase().as_str() {
            "" | "keys" => Some(KvLayout::Keys),
            "shards" => Some(KvLayout::Shards),
            "both" => Some(KvLayout::Both),
            other => {
                let shown = clip(other, 12);
                self.problem("kv_layout", format!("{shown:?} is none of keys, shards, both"));
                None
            }
        }
    }

    fn pushgateway(&mut self) -> Option<Option<Origin>> {
        match self.text("pushgateway_url").trim_end_matches('/') {
            "" | PUSHGATEWAY_OFF => Some(None),
            _ => self.origin("pushgateway_url").map(Some),
        }
    }

    fn flag(&mut self, variable: &'static str) -> Option<bool> {
        match self.text(variable).to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" | "" => Some(false),
            other => {
                self.problem(variable, format!("{:?} is neither true nor false", clip(other, 12)));
                None
            }
        }
    }

    fn log_changes(&mut self) -> Option<bool> {
        match self.text("log_changes").to_ascii_lowercase().as_str() {
            "" | "some" => Some(false),
            "all" => Some(true),
            other => {
                self.problem(
                    "log_changes",
                    format!("{:?} is neither some nor all", clip(other, 12)),
                );
                None
            }
        }
    }

    fn run_budget(&mut self) -> Option<Duration> {
        self.number("run_budget_seconds", 110, RUN_BUDGET_SECONDS).map(Duration::from_secs)
    }

    fn number(
        &mut self,
        variable: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let text = self.text(variable);
        let number = if text.is_empty() { Ok(default) } else { text.parse() };
        match number {
            Ok(number) if range.contains(&number) && !text.starts_with('+') => Some(number),
            _ => {
                let shown = clip(&text, 12);
                let (least, most) = (range.start(), range.end());
                self.problem(
                    variable,
                    if *most == u64::MAX {
                        format!("{shown:?} is not a whole number")
                    } else {
                        format!("{shown:?} is not a whole number from {least} to {most}")
                    },
                );
                None
            }
        }
    }
}

/// Reads a time as RFC 3339 has it, with `Z` or an offset from UTC.
fn rfc3339(text: &str) -> Option<SystemTime> {
    let text = text.to_ascii_uppercase();
    let (local, offset) = match text.len().checked_sub("+01:00".len()) {
        Some(at) if !text.ends_with('Z') => text.split_at_checked(at)?,
        _ => return humantime::parse_rfc3339(&text).ok(),
    };
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (hours, minutes) = offset[1..].split_once(':')?;
    if !is_number(hours) || !is_number(minutes) {
        return None;
    }
    let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
    let offset_secs = (hours < 24 && minutes < 60).then_some(hours * 3_600 + minutes * 60)?;
    let local = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    match offset.as_bytes()[0] {
        b'+' => local.checked_sub(Duration::from_secs(offset_secs)),
        b'-' => local.checked_add(Duration::from_secs(offset_secs)),
        _ => None,
    }
}
