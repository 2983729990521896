//! Carries the changes of one zone's rules out, and learns from the answers.
//!
//! A PATCH is in force when it is answered; there is nothing to wait for. There is no lock, so the answer is
//! compared with what was read: what somebody else wrote meanwhile is said and never mended.

use std::time::Duration;

use crate::api::cloudflare::rules::{self, Changed, Ruleset};
use crate::api::cloudflare::{ANSWER_BYTES_MAX, Account, CallError};
use crate::failure::Failure;
use crate::log::{Level, Line};
use crate::observed::rules::{OurRule, ZoneRules};
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

/// Sends the changes of one zone, one after the other; none is begun whose answer could come later than
/// when the run is `until` old.
pub(crate) async fn apply<H: Host>(
    session: &Session<'_, H>,
    account: &Account,
    (zone, observed): (&Id, &ZoneRules),
    patches: Patches,
    history: &mut Remembered<RulesHistory>,
    until: Duration,
) -> AppliedRules {
    let mut applied = AppliedRules::default();
    let mut before = observed.ruleset.clone();
    for patch in patches.steps {
        let Some(OurRule::Ours { rule, .. }) = observed.ours.get(&patch.rule) else { continue };
        let text = patch.to.to_string();
        if history.is_refused(zone.as_str(), &text) {
            applied.failure.get_or_insert(Failure::Zone {
                zone: zone.to_string(),
                what: format!(
                    "Cloudflare has refused what the rule {:?} should say, a short while ago; it says what it said before",
                    rules::reference(patch.rule)
                ),
                source: None,
            });
            if patches.second_needs_first {
                break;
            }
            continue;
        }
        if session.elapsed() + WRITE_TIMEOUT > until {
            applied.waits = Some("no time left in this run; the next run goes on".to_owned());
            break;
        }
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
                let stop = learn(session, zone, &patch, &text, &source, history);
                let what = match source.is_definite() {
                    true => "Cloudflare refused to change",
                    false => "could not confirm the change of",
                };
                applied.failure.get_or_insert(Failure::Zone {
                    zone: zone.to_string(),
                    what: format!("{what} the rule {:?}", rules::reference(patch.rule)),
                    source: Some(source),
                });
                if stop || patches.second_needs_first {
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

/// Remembers what an error says about the next attempts. Whether no other change of the zone is sent.
fn learn<H: Host>(
    session: &Session<'_, H>,
    zone: &Id,
    patch: &Patch,
    text: &str,
    error: &CallError,
    history: &mut Remembered<RulesHistory>,
) -> bool {
    let (host, now) = (session.host(), session.unix_now());
    let status = error.status();
    if error.is_throttled() || status == Some(409) {
        let _ = history.change(host, |history| history.busy(zone.as_str(), now));
        return true;
    }
    if status == Some(400) {
        let parts = patch.to.parts();
        let has_regions = !parts.countries.of.is_empty() || !parts.asns.of.is_empty();
        let _ =
            history.change(host, |history| history.refused(zone.as_str(), text, has_regions, now));
        return false;
    }
    // 403 says the permission, 404 that the rule is to be found again, and what is not definite that it is
    // to be read again: the next run does all of that.
    true
}
