//! The custom rules of a zone: reading the ruleset, changing the expression of one rule of ours.
//!
//! Source: facts cloudflare-rules 4 and the official schemas `rulesets_*`. A PATCH replaces the whole
//! definition of the rule, so every other field is echoed as it was read; there is no lock, so the answer,
//! which is the complete ruleset, is compared with what was there before.

mod failure;
#[cfg(test)]
mod tests;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::decision::Remediation;
use crate::order::Gather;
use crate::ports::{Answer, Method, Request};
use crate::settings::Id;
use crate::small::SmallMap;

use super::expression::Expression;
use super::{Account, CallError, decode, not_the_api};

pub use failure::Consequence;

/// "Could not find entrypoint ruleset in the phase", with status 404: a zone without custom rules (facts
/// cloudflare 4).
const NO_RULESET: i64 = 10003;

/// Names our rule among those of others.
pub fn reference(remediation: Remediation) -> &'static str {
    match remediation {
        Remediation::Ban => "crowdsec_edge_sync_ban",
        Remediation::Captcha => "crowdsec_edge_sync_captcha",
    }
}

/// The custom rules of a zone, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruleset {
    /// Its id.
    pub id: String,
    /// Its version: one more with every change.
    pub version: Option<u64>,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// One rule, as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its id, which a change of others may renew.
    pub id: String,
    /// Its `ref`.
    pub reference: Option<String>,
    /// When it applies.
    pub expression: String,
    /// What it does.
    pub action: String,
    /// Whether it does it.
    pub enabled: bool,
    /// Every field, to be given back as it is.
    fields: SmallMap<String, Raw>,
}

/// A JSON value, kept as it was written.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(transparent)]
struct Raw(Box<RawValue>);

impl PartialEq for Raw {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

/// What a PATCH does not give back: what Cloudflare makes by itself, and what is changed.
const NOT_ECHOED: [&str; 5] = ["id", "version", "last_updated", "categories", "expression"];

/// What moves without anybody's doing.
const CHANGES_BY_ITSELF: &str = "last_updated";

/// GET: the custom rules of a zone. A zone without any answers 404.
pub fn entrypoint(account: &Account, zone: &Id) -> Request {
    let path = "/rulesets/phases/http_request_firewall_custom/entrypoint";
    let request = account.zone_request(Method::Get, zone, path);
    Request { may_be_absent: true, ..request }
}

/// Reads the answer to [`entrypoint`] or to a change: a zone without custom rules has a ruleset of none.
pub fn decode_ruleset(answer: &Answer) -> Result<Ruleset, CallError> {
    #[derive(Deserialize)]
    struct Wire {
        id: String,
        version: Option<Raw>,
        #[serde(default)]
        rules: Option<Vec<SmallMap<String, Raw>>>,
    }
    let wire = match decode::<Wire>(answer) {
        Err(error) if error.status() == Some(404) && error.has_code(NO_RULESET) => {
            return Ok(Ruleset { id: String::new(), version: None, rules: Vec::new() });
        }
        wire => wire?.filter(|wire| is_plain(&wire.id)).ok_or_else(|| not_the_api(answer))?,
    };
    // A decimal text (facts cloudflare-rules 4.2); a number would say the same.
    let version = wire.version.and_then(|version| version.0.get().trim_matches('"').parse().ok());
    let rules = wire.rules.unwrap_or_default().into_iter().map(Rule::new);
    Ok(Ruleset { id: wire.id, version, rules: rules.collect() })
}

/// Ids go into a path unescaped.
fn is_plain(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// PATCH: gives `rule` another expression, and leaves all else as it was read.
pub fn change(
    account: &Account,
    zone: &Id,
    ruleset: &str,
    rule: &Rule,
    expression: &Expression,
) -> Request {
    let text = expression.to_string();
    let mut body: SmallMap<&str, &RawValue> = rule.echoed().gather();
    let text = serde_json::value::to_raw_value(&text).expect("a text always serialises");
    body.insert("expression", &text);
    let body = serde_json::to_vec(&body).expect("texts always serialise");
    let path = format!("/rulesets/{ruleset}/rules/{}", rule.id);
    account.zone_request(Method::Patch, zone, &path).body("application/json", body)
}

impl Rule {
    fn new(fields: SmallMap<String, Raw>) -> Self {
        let text = |name: &str| -> Option<String> {
            serde_json::from_slice(fields.get(name)?.0.get().as_bytes()).ok().flatten()
        };
        let enabled = fields.get("enabled").is_none_or(|value| value.0.get() != "false");
        Self {
            id: text("id").unwrap_or_default(),
            reference: text("ref"),
            expression: text("expression").unwrap_or_default(),
            action: text("action").unwrap_or_default(),
            enabled,
            fields,
        }
    }

    /// What is given back: every field that is not Cloudflare's own, also one that is not known here.
    /// `null` says as little as nothing, and may be refused.
    fn echoed(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        let fields = self.fields.iter().map(|(name, value)| (name.as_str(), &*value.0));
        fields.filter(|(name, value)| !NOT_ECHOED.contains(name) && value.get() != "null")
    }

    /// Whether it can be changed: a path needs its id, and a definition its action (facts cloudflare-rules 4.1).
    /// What is no word was not meant as one, and is not given back.
    pub fn is_whole(&self) -> bool {
        let is_word = self.action.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        is_plain(&self.id) && (1..=32).contains(&self.action.len()) && is_word
    }

    /// Whether its action keeps anybody out, or challenges him; `log` and `skip` do neither.
    pub fn stops_visitors(&self) -> bool {
        matches!(self.action.as_str(), "block" | "managed_challenge" | "js_challenge" | "challenge")
    }

    /// Whether nobody wrote it between the two readings. Its version tells that too.
    fn is_as(&self, other: &Self) -> bool {
        let names =
            |rule: &Self| rule.fields.keys().filter(|name| *name != CHANGES_BY_ITSELF).count();
        let mut here = self.fields.keys().filter(|name| *name != CHANGES_BY_ITSELF);
        names(self) == names(other) && here.all(|name| self.has_same(name, other))
    }

    /// Whether `after` is what was sent: every field that was given back.
    fn is_echoed_in(&self, after: &Self) -> bool {
        self.echoed().all(|(name, _)| self.has_same(name, after))
    }

    /// Whether a field has the same value in both. As JSON: the same may be laid out in another way. Not
    /// every number that Cloudflare may send is one to us; its text is.
    fn has_same(&self, name: &str, other: &Self) -> bool {
        match (self.fields.get(name), other.fields.get(name)) {
            (Some(Raw(here)), Some(Raw(there))) => is_same(here.get(), there.get(), DEPTH_MAX),
            (here, there) => here.is_none() && there.is_none(),
        }
    }
}

/// How deep a field's value is compared. Cloudflare's have two levels.
const DEPTH_MAX: u8 = 16;

/// Whether two JSON texts say the same: members in any order, texts escaped in any way.
fn is_same(here: &str, there: &str, depth: u8) -> bool {
    fn read<T: DeserializeOwned>(texts: [&str; 2]) -> Option<[T; 2]> {
        let [here, there] = texts.map(|text| serde_json::from_slice(text.as_bytes()).ok());
        Some([here?, there?])
    }
    let Some(depth) = depth.checked_sub(1) else { return here == there };
    let same = |[here, there]: [&Raw; 2]| is_same(here.0.get(), there.0.get(), depth);
    let texts = [here, there];
    here == there
        || match texts.map(|text| text.bytes().next()) {
            [Some(b'{'), Some(b'{')] => {
                read::<SmallMap<String, Raw>>(texts).is_some_and(|[here, there]| {
                    let mut both = here.iter().zip(there.iter());
                    here.len() == there.len()
                        && both.all(|((name, here), (other, there))| {
                            name == other && same([here, there])
                        })
                })
            }
            [Some(b'['), Some(b'[')] => read::<Vec<Raw>>(texts).is_some_and(|[here, there]| {
                let mut both = here.iter().zip(&there);
                here.len() == there.len() && both.all(|(here, there)| same([here, there]))
            }),
            [Some(b'"'), Some(b'"')] => {
                read::<String>(texts).is_some_and(|[here, there]| here == there)
            }
            _ => false,
        }
}

/// What the answer to a change tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// It was made, and nothing else.
    Cleanly,
    /// It was made, and somebody else has written the ruleset meanwhile: other rules differ, or the version
    /// is not the next. Nothing of that is mended.
    Beside,
    /// It was answered with success, and the rule does not say what it should.
    NotMade,
}

impl Ruleset {
    /// The rule with this `ref`, if there is exactly one.
    pub fn rule(&self, remediation: Remediation) -> Option<&Rule> {
        let wanted = Some(reference(remediation));
        let mut rules = self.rules.iter().filter(|rule| rule.reference.as_deref() == wanted);
        rules.next().filter(|_| rules.next().is_none())
    }

    /// Compares the ruleset that a change was answered with with what was there `before`.
    pub fn compare(
        &self,
        before: &Self,
        remediation: Remediation,
        expression: &Expression,
    ) -> Changed {
        let said = self.rule(remediation);
        let is_made = said.is_some_and(|rule| {
            Expression::parse(&rule.expression, expression.list()).as_ref() == Ok(expression)
        });
        if !is_made {
            return Changed::NotMade;
        }
        let wanted = Some(reference(remediation));
        let is_ours = |rule: &Rule| rule.reference.as_deref() == wanted;
        let pairs = || before.rules.iter().zip(&self.rules);
        let same = before.rules.len() == self.rules.len()
            && pairs().all(|(was, is)| is_ours(was) && is_ours(is) || was.is_as(is));
        let kept = match (before.rule(remediation), said) {
            (Some(was), Some(is)) => was.is_echoed_in(is),
            _ => false,
        };
        let next = match (before.version, self.version) {
            (Some(before), Some(after)) => after == before.wrapping_add(1),
            _ => true,
        };
        if same && kept && next { Changed::Cleanly } else { Changed::Beside }
    }
}
