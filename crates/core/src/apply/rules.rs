//! Carries the changes of one zone's rules out, and learns from the answers.
//!
//! A PATCH is in force when it is answered; there is nothing to wait for. There is no lock, so the answer is
//! compared with what was read: what somebody else wrote meanwhile is said and never mended.

use std::time::Duration;

use crate::api::cloudflare::expression::Expression;
use crate::api::cloudflare::rules::{self, Changed, Consequence, Ruleset};
use crate::api::cloudflare::{ANSWER_BYTES_MAX, Account, CallError};
use crate::failure::Failure;
use crate::log::{Level, Line};
use crate::observed::rules::ZoneRules;
use crate::plan::rules::{Patch, Patches};
use crate::ports::Host;
use crate::session::{Api, Session};
use crate::settings::Id;
use crate::state::{Remembered, RulesHistory};

/// How long the answer to a change may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How far the changes of a zone were carried out.
#[derive(Debug, Default)]
pub struct AppliedRules {
    /// PATCH requests that were sent.
    pub writes: u64,
    /// Those that were made.
    pub made: Vec<Patch>,
    /// Why not all of them were.
    pub failure: Option<Failure>,
    /// What waits, and why.
    pub waits: Option<String>,
}

/// What a zone's changes are made with.
pub(crate) struct Target<'a> {
    pub(crate) account: &'a Account,
    pub(crate) zone: &'a Id,
    pub(crate) observed: &'a ZoneRules,
    /// A checksum of the token.
    pub(crate) token: u32,
}

/// Sends the changes of one zone, one after the other; none is begun whose answer could come later than
/// when the run is `until` old.
pub(crate) async fn apply<H: Host>(
    session: &Session<'_, H>,
    target: &Target<'_>,
    patches: Patches,
    history: &mut Remembered<RulesHistory>,
    until: Duration,
) -> AppliedRules {
    let Target { account, zone, observed, .. } = *target;
    let mut applied = AppliedRules::default();
    let fails = |what: String, source| Failure::Zone { zone: zone.to_string(), what, source };
    let mut before = observed.ruleset.clone();
    for patch in patches.steps {
        let name = rules::reference(patch.rule);
        let text = patch.to.to_string();
        if history.is_refused(zone.as_str(), &text, session.unix_now()) {
            let what = format!(
                "Cloudflare has refused what the rule {name:?} should say, a short while ago; it says what it said before"
            );
            applied.failure.get_or_insert(fails(what, None));
            if patches.second_needs_first {
                break;
            }
            continue;
        }
        if session.elapsed() + WRITE_TIMEOUT > until {
            applied.waits = Some("no time left in this run; the next run goes on".to_owned());
            break;
        }
        // As it was read last, which for the second change is the answer to the first: what a person did
        // to the rule meanwhile is given back too.
        let expected = observed.expression(patch.rule);
        let rule = before.rule(patch.rule).filter(|rule| {
            Expression::parse(&rule.expression, patch.to.list()).ok().as_ref() == expected
        });
        let Some(rule) = rule else {
            let what =
                format!("somebody else changed the rule {name:?} meanwhile; the next run reads it");
            applied.failure.get_or_insert(fails(what, None));
            break;
        };
        applied.writes += 1;
        let request = rules::change(account, zone, &before.id, rule, &patch.to);
        let answer = session
            .fetch(Api::Cloudflare, request, WRITE_TIMEOUT, ANSWER_BYTES_MAX)
            .await
            .map_err(CallError::from)
            .and_then(|answer| rules::decode_ruleset(&answer));
        match answer {
            Ok(after) => {
                if let Err(failure) = check(session, zone, &before, &after, &patch, history) {
                    applied.failure.get_or_insert(failure);
                    break;
                }
                before = after;
                applied.made.push(patch);
            }
            Err(source) => {
                let consequence = Consequence::of(&source);
                if source.status().is_some() {
                    learn(session, target, (&patch, &text), consequence, history);
                }
                let what = match consequence.is_unchanged() {
                    true => format!("Cloudflare refused to change the rule {name:?}"),
                    false => format!(
                        "could not confirm the change of the rule {name:?}; it may have happened, the next run reads it"
                    ),
                };
                applied.failure.get_or_insert(fails(what, Some(source)));
                // One text refused is no reason against the other rule's.
                if consequence != Consequence::KeepLastGood || patches.second_needs_first {
                    break;
                }
            }
        }
    }
    applied
}

/// Compares the answer with what was there; `Err` if the change is not in it.
fn check<H: Host>(
    session: &Session<'_, H>,
    zone: &Id,
    before: &Ruleset,
    after: &Ruleset,
    patch: &Patch,
    history: &mut Remembered<RulesHistory>,
) -> Result<(), Failure> {
    let host = session.host();
    let name = rules::reference(patch.rule);
    let _ = history.change(host, |history| history.changed(zone.as_str()));
    match after.compare(before, patch.rule, &patch.to) {
        Changed::Cleanly => Ok(()),
        Changed::Beside => {
            let text = format!(
                "zone {zone}: somebody else wrote its rules while {name:?} was changed; nothing of that is touched"
            );
            host.log(&Line::new(Level::Warn, "rules", text).with("zone", zone));
            Ok(())
        }
        Changed::NotMade => Err(Failure::Zone {
            zone: zone.to_string(),
            what: format!(
                "the change of the rule {name:?} was answered with success, and it does not say what it should; the next run reads it again"
            ),
            source: None,
        }),
    }
}

/// Remembers what an error says about the next attempts. What is not remembered here, the next run sees when
/// it reads: whether the change was made after all, and where the rule is.
fn learn<H: Host>(
    session: &Session<'_, H>,
    target: &Target<'_>,
    (patch, text): (&Patch, &str),
    consequence: Consequence,
    history: &mut Remembered<RulesHistory>,
) {
    let (zone, token, now) = (target.zone.as_str(), target.token, session.unix_now());
    let change: &mut dyn FnMut(&mut RulesHistory) = match consequence {
        Consequence::BackOff => &mut |history| history.busy(zone, token, now),
        Consequence::NotPermitted => &mut |history| history.denied(zone, token, now),
        Consequence::KeepLastGood => &mut |history| {
            let parts = patch.to.parts();
            let has_regions = !parts.countries.of.is_empty() || !parts.asns.of.is_empty();
            history.refused(zone, (text, has_regions), token, now);
        },
        Consequence::FindAgain | Consequence::ReadAgain => return,
    };
    let _ = history.change(session.host(), change);
}
