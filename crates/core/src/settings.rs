//! Text settings -> checked [`Settings`]. All problems are found at once, by variable name, and no
//! secret is ever repeated in one.
//!
//! Where the texts come from (Spin variables) is the shell's business. Names and defaults are an
//! interface: `spin.toml` declares them, the README's table explains them.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::address::Address;
use crate::decision::Remediation;
use crate::log::clip;
use crate::protected::{GROUPS, Protected};
use crate::secret::Secret;

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
    /// `never_block` and `never_block_builtin`.
    pub protected: Protected,
    /// `write_backoff_seconds` and `write_interval_seconds`.
    pub pace: Pace,
    /// `pushgateway_url`; `None` = no metrics.
    pub pushgateway: Option<Origin>,
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
}

/// The Cloudflare lists in use: one or two, never the same one twice.
#[derive(Debug, Clone)]
pub struct Lists {
    ban: Option<Id>,
    captcha: Option<Id>,
}

impl Lists {
    /// The list that addresses with this remediation belong on, if there is one.
    pub fn get(&self, remediation: Remediation) -> Option<&Id> {
        match remediation {
            Remediation::Ban => self.ban.as_ref(),
            Remediation::Captcha => self.captcha.as_ref(),
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

/// `scheme://host[:port]`, without a slash at the end.
///
/// Not more, because Spin makes `allowed_outbound_hosts` from the same variables and an entry with
/// a path denies every request at run time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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

/// The reserved name (RFC 2606) that means "no Pushgateway". Not the empty string: Spin refuses to
/// load an application whose `allowed_outbound_hosts` expands to one.
pub const PUSHGATEWAY_OFF: &str = "http://pushgateway.invalid";

/// Half an hour, an hour, two, four, six. Every retry of the program before this one made a
/// throttled account worse; six hours lose little, since the limiter that was seen opens once in 72
/// (facts cloudflare 1.8).
const WRITE_BACKOFF_SECONDS: &str = "1800,3600,7200,14400,21600";
const BACKOFF_SECONDS: RangeInclusive<u64> = 60..=604_800;

/// Shorter budgets leave no room for one write: 10 s to send it, 25 s to see it completed.
const RUN_BUDGET_SECONDS: RangeInclusive<u64> = 60..=3600;

impl Settings {
    /// Reads every setting through `get`; a variable that is not set is the same as an empty one.
    pub fn parse(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut reader = Reader { get, problems: Vec::new() };
        let settings = reader.settings();
        match settings {
            Some(settings) if reader.problems.is_empty() => Ok(settings),
            _ => Err(SettingsError(reader.problems)),
        }
    }
}

/// Collects problems instead of stopping at the first.
struct Reader<G> {
    get: G,
    problems: Vec<Problem>,
}

impl<G: Fn(&str) -> Option<String>> Reader<G> {
    fn settings(&mut self) -> Option<Settings> {
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
        let protected = self.protected();
        let backoff = self.backoff();
        let interval = self.number("write_interval_seconds", 0, 0..=86_400);
        let pushgateway = self.pushgateway();
        let dry_run = self.flag("dry_run");
        let run_budget = self.run_budget();
        Some(Settings {
            lapi: lapi?,
            lapi_key: lapi_key?,
            cloudflare: cloudflare?,
            account: account?,
            token: token?,
            targets: targets?,
            protected: protected?,
            pace: Pace { backoff: backoff?, interval: Duration::from_secs(interval?) },
            pushgateway: pushgateway?,
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
        match parse_origin(&text) {
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
        Some(Targets { lists, kv })
    }

    /// `None` if no list is set, or with a problem.
    fn lists(&mut self) -> Option<Lists> {
        let ban = self.id("cf_ban_list_id");
        let captcha = self.id("cf_captcha_list_id");
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
        Some(Lists { ban, captcha })
    }

    /// `None` if no namespace is set, or with a problem. What belongs to it is checked all the same.
    fn kv(&mut self) -> Option<Kv> {
        let namespace = self.id("cf_kv_namespace_id");
        let prefix = self.kv_prefix();
        let tolerance = self.number("kv_expiry_tolerance_seconds", 600, 60..=86_400);
        let daily = self.number("kv_daily_writes_max", 0, 0..=u64::MAX);
        Some(Kv {
            namespace: namespace?,
            prefix: prefix?,
            tolerance: Duration::from_secs(tolerance?),
            daily_writes_max: NonZeroU64::new(daily?),
        })
    }

    fn protected(&mut self) -> Option<Protected> {
        let problems_before = self.problems.len();
        let mut protected = Protected::default();
        let own = self.text("never_block");
        for text in own.split(|c: char| c == ',' || c.is_whitespace()).filter(|t| !t.is_empty()) {
            match text.parse::<Address>() {
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
            empty if empty.is_empty() => "ip:".to_owned(),
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

/// The text is not repeated in a problem beyond its scheme and host: people paste keys into the
/// wrong place, and put passwords into URLs.
fn parse_origin(text: &str) -> Result<Origin, String> {
    if text.is_empty() {
        return Err("is empty; set it to scheme://host[:port]".into());
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("has no scheme; write http://host[:port] or https://host[:port]".into());
    };
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return Err("has another scheme than http and https".into());
    }
    let rest = rest.trim_end_matches('/');
    if rest.contains('@') {
        return Err(
            "has a user name or password in it; it must be only scheme://host[:port]".into()
        );
    }
    if let Some((origin, _)) = rest.split_once(['/', '?', '#']) {
        let shown = clip(origin, 80);
        return Err(format!(
            "has a path; it must be only {scheme}://{shown}, because Spin would deny every request to it"
        ));
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(bracketed) => {
            let (host, after) =
                bracketed.split_once(']').ok_or("has an IPv6 address that is not closed by ]")?;
            host.parse::<std::net::Ipv6Addr>()
                .map_err(|_| "has something else than an IPv6 address between the brackets")?;
            match after {
                "" => (host, None),
                _ => (host, Some(after.strip_prefix(':').unwrap_or("none"))),
            }
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let host_ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(host_ok) {
        return Err("has no host name, or one with a character that no host name has".into());
    }
    if let Some(port) = port
        && (port.starts_with('+') || !port.parse::<u16>().is_ok_and(|port| port > 0))
    {
        return Err("has a port that is not a number from 1 to 65535".into());
    }
    Ok(Origin(format!("{scheme}://{}", rest.to_ascii_lowercase())))
}

#[cfg(test)]
mod tests {
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

    fn parse(changes: &[(&'static str, &'static str)]) -> Result<Settings, SettingsError> {
        let mut variables = good();
        variables.extend(changes.iter().copied());
        Settings::parse(|name| variables.get(name).map(|v| v.to_string()))
    }

    fn problems(changes: &[(&'static str, &'static str)]) -> Vec<String> {
        parse(changes).unwrap_err().0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn good_settings_parsed_are_normalised() {
        let settings = parse(&[
            ("lapi_url", "HTTP://Lapi:8080/"),
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
        let SettingsError(problems) = Settings::parse(|_| None).unwrap_err();
        let names: Vec<_> = problems.iter().map(|p| p.variable).collect();
        assert_eq!(
            names,
            [
                "lapi_url",
                "lapi_key",
                "cf_api_url",
                "cf_account_id",
                "cf_api_token",
                "cf_ban_list_id"
            ]
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
            (
                "cf_captcha_list_id",
                "11111111111111111111111111111111",
                "same list as cf_ban_list_id",
            ),
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
            ("kv_expiry_tolerance_seconds", "-1", "from 60 to 86400"),
            ("kv_daily_writes_max", "many", "not a whole number"),
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
        let targets = parse(&[
            ("cf_ban_list_id", ""),
            ("cf_captcha_list_id", ""),
            ("cf_kv_namespace_id", ID),
        ])
        .unwrap()
        .targets;
        assert!(targets.lists.is_none());
        let kv = targets.kv.unwrap();
        assert_eq!((kv.prefix.as_str(), kv.tolerance.as_secs()), ("ip:", 600));
        assert_eq!(kv.daily_writes_max, None);
    }
}
