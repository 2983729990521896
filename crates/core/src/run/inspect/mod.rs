//! What a run would do, and why an address is or is not at the edge: for a person who asks, with the
//! same reading, planning and judging as a run, and without any write.
//!
//! What could not be read is `None` all the way, and [`Side`] says why: unknown is not empty.

pub(super) mod kv;
pub(super) mod lists;
pub(super) mod rules;
mod watched;

use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;

use crate::address::Address;
use crate::api::cloudflare::CallError;
use crate::decision::Remediation;
use crate::desired::{Desired, Skipped};
use crate::failure::Failure;
use crate::log::clip;
use crate::observed::rules::ObservedRules;
use crate::ports::{Host, Store, StoreError};
use crate::review::{Refusal, Review, Yielded};
use crate::schedule::lists::Wait;
use crate::session::Session;
use crate::settings::protected::Rule;
use crate::settings::{GuardLimits, Settings};
use crate::state::guard;
use crate::state::writes::Cause;
use crate::state::{
    Ends, GuardHistory, LeaseRecord, Quota, Remembered, RulesHistory, WriteHistory,
};

use super::clients::Clients;
use super::read::{self, Readings, Unavailable};

use kv::{InKv, KvView};
use lists::{ListsView, OnLists};
use rules::{InRule, ZoneView};
pub(super) use watched::Reasons;
use watched::Watched;

/// What a look at everything shows. Field names are an interface (`plan --json`).
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// Everything that a run reads, and whether it could be read.
    pub sides: Vec<Side>,
    /// What was left out of the desired state; `None` = LAPI could not be read.
    pub skipped: Option<Skipped>,
    /// A run is at work, for at most so many seconds more.
    pub at_work_secs: Option<u64>,
    /// What a run would do on the lists; `None` = they are not in use, or a side could not be read.
    pub lists: Option<ListsView>,
    /// The same of KV.
    pub kv: Option<KvView>,
    /// What a run would say in the rules of each zone; `None` = no zone is named. Where LAPI or the lists
    /// could not be read: what the rules say now.
    pub rules: Option<Vec<ZoneView>>,
    /// The address that was asked for.
    pub about: Option<About>,
}

/// Something that a run reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Side {
    /// `lapi`, `lists`, `kv` or `store`.
    pub side: &'static str,
    /// Where it is.
    pub at: String,
    /// Why it could not be read; `None` = it was.
    pub error: Option<String>,
    /// What to do then.
    pub remedy: Option<String>,
}

/// Everything about one address.
#[derive(Debug, Serialize)]
pub struct About {
    /// The address, in canonical form.
    pub address: Address,
    /// The decisions on it, and on prefixes that contain it; `None` = LAPI could not be read.
    pub decisions: Option<Vec<Seen>>,
    /// What protects it, or a part of it.
    pub protected: Option<Rule>,
    /// Where it stands on the lists, if they are in use.
    pub lists: Option<OnLists>,
    /// Where it stands in KV, likewise.
    pub kv: Option<InKv>,
    /// Where it stands in the rules of zones, as far as they say anything about it beyond their lists.
    pub rules: Vec<InRule>,
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// As LAPI has it.
    pub value: String,
    /// As LAPI has it.
    pub scope: String,
    /// As LAPI has it: `ban`, `captcha`, or anything else.
    pub remediation: String,
    /// Who made it, as CrowdSec's metrics name it.
    pub origin: String,
    /// What the address did, or the name of the list.
    pub scenario: String,
    /// How long it still holds, as LAPI writes it.
    pub duration: String,
    /// Why it does not count, by the word that metrics use.
    pub left_out: Option<&'static str>,
    /// What protects an address in its range, if that is why it does not count.
    pub protected: Option<Rule>,
}

/// What is wanted of an address at a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Nothing.
    Nothing,
    /// It is to be refused.
    Ban,
    /// It is to be challenged.
    Captcha,
}

impl From<Option<Remediation>> for Wanted {
    fn from(wanted: Option<Remediation>) -> Self {
        match wanted {
            None => Self::Nothing,
            Some(Remediation::Ban) => Self::Ban,
            Some(Remediation::Captcha) => Self::Captcha,
        }
    }
}

/// What a write to the lists waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaitView {
    /// `throttled`, `failed`, `refused`, `denied`, `unanswered`, `operation`, `interval`, `company`, or `room`.
    pub why: &'static str,
    /// For how long at least, if that is known.
    pub seconds: Option<u64>,
    /// The bulk operation that comes first.
    pub operation: Option<String>,
}

impl WaitView {
    pub(super) fn operation(id: &str) -> Self {
        Self { why: "operation", seconds: None, operation: Some(id.to_owned()) }
    }

    pub(super) fn backoff(left: Duration, cause: Cause) -> Self {
        Self::from(&Wait::Backoff(left, cause))
    }
}

impl From<&Wait> for WaitView {
    fn from(wait: &Wait) -> Self {
        let why = wait.as_str();
        match wait {
            Wait::Operation(id) => Self::operation(id),
            Wait::Backoff(left, _) | Wait::Interval(left) | Wait::Company(left) => {
                Self { why, seconds: Some(left.as_secs()), operation: None }
            }
        }
    }
}

/// When something goes that the guard holds: with the last of `runs` runs from now, and not before `seconds`
/// have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Until {
    /// Runs from now on, the one that lets it go among them.
    pub runs: u64,
    /// Seconds from now on.
    pub seconds: u64,
}

/// What the guard says of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Guard {
    /// How many removals it holds back.
    pub held: u64,
    /// `empty`, `replaced` or `share`.
    pub rule: &'static str,
    /// When the first of them go by themselves.
    pub until: Until,
    /// All of it in words, as a run says it.
    pub said: String,
}

impl Guard {
    fn of<P>(review: &Review<P>) -> Option<Self> {
        let refusal: &Refusal = review.refusal.as_ref()?;
        let rule = match refusal.rule() {
            guard::Rule::Empty => "empty",
            guard::Rule::Replaced => "replaced",
            guard::Rule::Share => "share",
        };
        // The run that this look stands for is the first of them.
        let until = Until { runs: refusal.runs_left() + 1, seconds: refusal.seconds_left() };
        Some(Self { held: review.held.len() as u64, rule, until, said: refusal.to_string() })
    }
}

/// When the guard lets `address` go; `None` = it does not hold it.
fn held_until<P>(
    review: &Review<P>,
    address: &Address,
    limits: &GuardLimits,
    now: u64,
) -> Option<Until> {
    if !review.held.contains(address) {
        return None;
    }
    let held = review.remember.as_ref()?;
    let group = held.streak.groups.get(usize::from(held.groups.get(address)?.0))?;
    Some(Until {
        runs: limits.runs.saturating_sub(group.runs) + 1,
        seconds: group.since.saturating_add(limits.seconds).saturating_sub(now),
    })
}

/// Why removals go that were held so far.
fn yielded<P>(review: &Review<P>) -> Option<String> {
    review.yielded.as_ref().map(Yielded::to_string)
}

/// Looks at everything, and at `address` in particular. Nothing is written, and no lease is taken.
pub async fn inspect<H: Host>(
    settings: &Settings,
    host: &H,
    address: Option<Address>,
) -> Inspection {
    let session = Session::start(host);
    let began = session.unix_now();
    let watch = Watched::new(address, settings);
    let history = Remembered::<WriteHistory>::load(host, began);
    let (clients, memory) = (Clients::new(settings), (&(), history.set_aside()));
    let Readings { desired, lists: read_lists, keys, rules, watch } =
        read::all(&session, &clients, settings, memory, watch, settings.run_budget).await;
    let now = session.unix_now();
    let memory = Memory::load(host, now);
    let reasons = &watch.reasons;
    let look = Look { settings, host, memory: &memory, rules: rules.as_ref(), reasons, began, now };

    let mut sides = vec![Side::lapi(settings, desired.as_ref().err())];
    let desired = desired.ok();
    let mut about = address.map(|address| About {
        address,
        decisions: desired.is_some().then_some(watch.seen),
        protected: settings.protected.rule(&address),
        lists: None,
        kv: None,
        rules: Vec::new(),
    });
    let mut rules_view = look.rules_alone();
    let mut lists = None;
    if let (Some(target), Some(read)) = (&settings.targets.lists, read_lists) {
        sides.push(Side::edge("lists", settings, read.as_ref().err()));
        let observed = read.ok().map(|read| Rc::unwrap_or_clone(read.content));
        let decided =
            desired.as_ref().zip(observed.as_ref()).map(|states| look.decide_lists(target, states));
        if let Some(about) = &mut about {
            let states = (desired.as_ref(), observed.as_ref());
            about.lists = Some(OnLists::of(&about.address, states, decided.as_ref(), &look));
        }
        let states = desired.as_ref().zip(observed.as_ref()).zip(decided.as_ref());
        let seen =
            states.and_then(|(states, decided)| look.rules(target, states, decided, address));
        if let Some((zones, in_rules)) = seen {
            rules_view = Some(zones);
            about.iter_mut().for_each(|about| about.rules.clone_from(&in_rules));
        }
        lists = decided.map(|decided| ListsView::of(&decided, &look));
    }
    let mut kv = None;
    if let (Some(target), Some(observed)) = (&settings.targets.kv, keys) {
        sides.push(Side::edge("kv", settings, observed.as_ref().err()));
        let observed = observed.ok();
        let decided =
            desired.as_ref().zip(observed.as_ref()).map(|states| look.decide_keys(target, states));
        if let Some(about) = &mut about {
            let states = (desired.as_ref(), observed.as_ref());
            about.kv = Some(InKv::of(&about.address, target, states, decided.as_ref(), &look));
        }
        kv = decided.map(|decided| KvView::of(&decided, target, &look));
    }
    sides.push(Side::store(memory.error.as_ref()));
    let skipped = desired.as_ref().map(Desired::skipped).cloned();
    Inspection {
        sides,
        skipped,
        at_work_secs: memory.at_work_secs,
        lists,
        kv,
        rules: rules_view,
        about,
    }
}

/// What a look has at hand.
struct Look<'a, H> {
    settings: &'a Settings,
    host: &'a H,
    memory: &'a Memory,
    /// `None` if no zone is named.
    rules: Option<&'a ObservedRules>,
    reasons: &'a Reasons,
    began: u64,
    now: u64,
}

/// What is remembered, looked at.
struct Memory {
    history: Remembered<WriteHistory>,
    guard: Remembered<GuardHistory>,
    quota: Remembered<Quota>,
    rules: Remembered<RulesHistory>,
    ends: Ends,
    at_work_secs: Option<u64>,
    error: Option<StoreError>,
    /// Whether what was desired last is known, or that nothing ever was.
    knows_ends: bool,
}

impl Memory {
    fn load<H: Host>(host: &H, now: u64) -> Self {
        let history = Remembered::<WriteHistory>::load(host, now);
        let lease = Remembered::<LeaseRecord>::load(host, now);
        let is_first = history.is_new() && lease.is_new();
        let has_ends = Store::get(host, Ends::KEY).is_ok_and(|ends| ends.is_some());
        Self {
            guard: Remembered::load(host, now),
            quota: Remembered::load(host, now),
            rules: Remembered::load(host, now),
            ends: Ends::load(host),
            at_work_secs: lease.left(now).map(|left| left.as_secs()),
            error: history.store_error().cloned(),
            knows_ends: is_first || has_ends,
            history,
        }
    }

    /// Whether some decision once asked for what is at the edge; `None` = that is not known.
    fn was_wanted(&self, address: &Address) -> Option<bool> {
        self.knows_ends.then(|| self.ends.get(address).is_some())
    }
}

impl Side {
    fn lapi(settings: &Settings, error: Option<&Unavailable>) -> Self {
        let remedy = error.map(|error| match error {
            Unavailable::Transport(error) => error.remedy("lapi_url"),
            Unavailable::Status { status: 403, .. } => {
                "compare lapi_key with `cscli bouncers list`; `edge-sync doctor` tells more"
                    .to_owned()
            }
            Unavailable::TooMany(_) => {
                "leave some out with origins_exclude or scenarios_exclude".to_owned()
            }
            Unavailable::Status { .. } | Unavailable::Body(_) => {
                "check that lapi_url is LAPI itself, and read its log".to_owned()
            }
        });
        let error = error.map(|error| clip(&error.to_string(), 400));
        Self { side: "lapi", at: settings.lapi.to_string(), error, remedy }
    }

    fn edge(side: &'static str, settings: &Settings, error: Option<&Failure>) -> Self {
        let remedy = error.and_then(|failure| match failure {
            Failure::Read { source: CallError::Transport(error), .. } => {
                Some(error.remedy("cf_api_url"))
            }
            Failure::Read { resource, source } => {
                Some(source.remedy(*resource).unwrap_or_else(|| {
                    "try again in a few minutes; if it stays, see www.cloudflarestatus.com"
                        .to_owned()
                }))
            }
            _ => None,
        });
        let error = error.map(|failure| match failure {
            Failure::Read { source, .. } => format!("{failure}: {source}"),
            _ => failure.describe(),
        });
        Self { side, at: settings.cloudflare.to_string(), error, remedy }
    }

    fn store(error: Option<&StoreError>) -> Self {
        let remedy = error.map(|_| {
            "point --state-dir, or --runtime-config-file, at the store that the runs use".to_owned()
        });
        let error = error.map(|StoreError(error)| error.clone());
        Self { side: "store", at: "default".to_owned(), error, remedy }
    }
}
