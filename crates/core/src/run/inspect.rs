//! What a run would do, and why an address is or is not at the edge: for a person who asks, with the
//! same reading, planning and judging as a run, and without any write.

mod rules;

use serde::Serialize;

use crate::address::Address;
use crate::decide;
use crate::decision::{Decision, Remediation};
use crate::desired::{Desired, Skipped};
use crate::failure::Failure;
use crate::log::clip;
use crate::observed::kv::ObservedKeys;
use crate::observed::lists::Observed;
use crate::plan::kv::KvPlan;
use crate::plan::lists::Plan;
use crate::ports::Host;
use crate::review::Refusal;
use crate::schedule::lists::{Operation, Urgency, Wait};
use crate::session::Session;
use crate::settings::protected::Rule;
use crate::settings::{Kv, Lists, Settings};
use crate::state::{Ends, GuardHistory, Quota, Remembered, RulesHistory, WriteHistory};

use super::clients::Clients;
use super::read::{self, Readings, Watch};

use rules::Look;
pub use rules::{Delta, InRule, RuleView, ZoneView};

/// What a look at everything shows.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// What was left out of the desired state.
    pub skipped: Looked<Skipped>,
    /// The lists, if they are in use.
    pub lists: Option<Looked<ListsView>>,
    /// KV, if it is in use.
    pub kv: Option<Looked<KvView>>,
    /// The rules of each zone, if zones are named: what they would say for what the lists lack now.
    pub rules: Option<Vec<ZoneView>>,
    /// The address that was asked for.
    pub about: Option<About>,
}

/// What a look showed, or why it showed nothing.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Looked<T> {
    /// This.
    Seen(T),
    /// LAPI or Cloudflare could not be read.
    Failed {
        /// Why.
        error: String,
    },
}

impl<T> From<Result<T, String>> for Looked<T> {
    fn from(result: Result<T, String>) -> Self {
        match result {
            Ok(seen) => Self::Seen(seen),
            Err(error) => Self::Failed { error },
        }
    }
}

/// What a run would do on the lists.
#[derive(Debug, Serialize)]
pub struct ListsView {
    /// Everything that differs, and what of it the guard holds back.
    pub plan: Plan,
    /// Why it does.
    pub refusal: Option<Refusal>,
    /// What would be sent, also while it waits.
    pub operations: Vec<Operation>,
    /// What it would wait for.
    pub wait: Option<Wait>,
}

/// What a run would do in KV.
#[derive(Debug, Serialize)]
pub struct KvView {
    /// Everything that differs, and what of it the guard holds back.
    pub plan: KvPlan,
    /// Why it does.
    pub refusal: Option<Refusal>,
    /// What would not be sent, for want of budget or because it cannot be written yet, by reason.
    pub waiting: Vec<(&'static str, u64)>,
}

/// Everything about one address.
#[derive(Debug, Serialize)]
pub struct About {
    /// The address, in canonical form.
    pub address: Address,
    /// The decisions on it, and on prefixes that contain it.
    pub decisions: Vec<Seen>,
    /// What protects it.
    pub protected: Option<Rule>,
    /// Where it stands on the lists, if they are in use and could be read.
    pub lists: Option<OnLists>,
    /// Where it stands in KV, likewise.
    pub kv: Option<InKv>,
    /// Where it stands in the rules of zones, if they say anything about it beyond their lists.
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
}

/// Where an address stands on the lists.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct OnLists {
    /// The list that it should be on.
    pub desired: Option<Remediation>,
    /// The desired range that covers it.
    pub covered_by: Option<Address>,
    /// It is desired, and has no place.
    pub without_place: bool,
    /// The lists that it is on now.
    pub at_edge: Vec<Remediation>,
    /// Wider items that contain it now, with their lists.
    pub inside: Vec<(Address, Remediation)>,
    /// What a run would do with it, list by list: `add` or the reason why it would go.
    pub change: Vec<(Remediation, &'static str)>,
    /// The guard holds its removal back.
    pub held: bool,
}

/// Where an address stands in KV.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct InKv {
    /// The value that it should have.
    pub desired: Option<Remediation>,
    /// It has a key now, or is one of the ranges.
    pub at_edge: bool,
    /// Its value, where this program wrote it.
    pub value: Option<Remediation>,
    /// When it expires, Unix seconds; `None` = never, or not at the edge.
    pub expires: Option<u64>,
    /// Other ranges in KV that it is inside of.
    pub inside: Vec<(Address, Remediation)>,
}

/// Looks at everything, and at `address` in particular. Nothing is written, and no lease is taken.
pub async fn inspect<H: Host>(
    settings: &Settings,
    host: &H,
    address: Option<Address>,
) -> Inspection {
    let session = Session::start(host);
    let watch = Watched { address, settings, seen: Vec::new() };
    let Readings { desired, lists, keys, rules: zones, watch } =
        read::all(&session, &Clients::new(settings), settings, watch, settings.run_budget).await;
    let desired = desired.map_err(|unavailable| clip(&unavailable.to_string(), 400));
    let mut about = address.map(|address| About {
        address,
        decisions: watch.seen,
        protected: settings.protected.rule(&address),
        lists: None,
        kv: None,
        rules: Vec::new(),
    });
    let targets = &settings.targets;
    let memory = Memory::load(host, session.unix_now());
    let now = session.unix_now();
    let look = targets.lists.as_ref().zip(targets.rules.as_ref()).zip(zones.as_ref());
    let look = look.map(|((lists, rules), zones)| {
        let Memory { history, ends, rules: rules_history, .. } = &memory;
        let memory = rules::Memory { rules: rules_history, writes: history, ends };
        Look { settings, lists, rules, zones, memory, now }
    });
    let mut rules_view = look.as_ref().map(Look::view_alone);
    let lists = targets.lists.as_ref().zip(lists).map(|(lists, observed)| {
        let (desired, observed) = both(&desired, observed)?;
        let states = (desired, &observed);
        let view = view_lists(host, settings, lists, states, &memory, look, now);
        if let Some(look) = &look {
            // What is written at once is not said by the rules.
            let done = if view.wait.is_none() { &view.operations[..] } else { &[] };
            let (zones, in_rules) = look.view(states, (&view.plan, done), address.as_ref());
            rules_view = Some(zones);
            if let Some(about) = &mut about {
                about.rules = in_rules;
            }
        }
        if let Some(about) = &mut about {
            about.lists = Some(OnLists::of(&about.address, desired, &observed, &view));
        }
        Ok(view)
    });
    let kv = targets.kv.as_ref().zip(keys).map(|(kv, observed)| {
        let (desired, observed) = both(&desired, observed)?;
        let now = session.unix_now();
        if let Some(about) = &mut about {
            about.kv = Some(InKv::of(&about.address, desired, &observed, now));
        }
        Ok(view_keys(host, settings, kv, (desired, &observed), &memory, now))
    });
    let skipped = desired.map(|desired| desired.skipped().clone()).into();
    let (lists, kv) = (lists.map(Into::into), kv.map(Into::into));
    Inspection { skipped, lists, kv, rules: rules_view, about }
}

fn both<O>(
    desired: &Result<Desired, String>,
    observed: Result<O, Failure>,
) -> Result<(&Desired, O), String> {
    let observed = observed.map_err(|failure| failure.describe())?;
    Ok((desired.as_ref().map_err(Clone::clone)?, observed))
}

/// What is remembered, looked at.
struct Memory {
    history: Remembered<WriteHistory>,
    guard: Remembered<GuardHistory>,
    quota: Remembered<Quota>,
    ends: Ends,
    rules: Remembered<RulesHistory>,
}

impl Memory {
    fn load<H: Host>(host: &H, now: u64) -> Self {
        Self {
            history: Remembered::load(host, now),
            guard: Remembered::load(host, now),
            quota: Remembered::load(host, now),
            ends: Ends::load(host),
            rules: Remembered::load(host, now),
        }
    }
}

fn view_lists<H: Host>(
    host: &H,
    settings: &Settings,
    lists: &Lists,
    states: (&Desired, &Observed),
    memory: &Memory,
    look: Option<Look<'_>>,
    now: u64,
) -> ListsView {
    let held = memory.guard.held(host, decide::lists::TARGET);
    let remembered = decide::lists::Remembered {
        history: &memory.history,
        held: held.as_ref(),
        ends: &memory.ends,
    };
    let urgency = |plan: &Plan| look.map_or(Urgency::ByClass, |look| look.urgency(plan, states));
    let decision = decide::lists::decide(settings, lists, states, remembered, urgency, now);
    ListsView {
        operations: decision.schedule.operations().to_vec(),
        wait: decision.schedule.wait().cloned(),
        plan: Plan::clone(&decision.review.approved),
        refusal: decision.review.refusal,
    }
}

fn view_keys<H: Host>(
    host: &H,
    settings: &Settings,
    target: &Kv,
    states: (&Desired, &ObservedKeys),
    memory: &Memory,
    now: u64,
) -> KvView {
    let held = memory.guard.held(host, decide::kv::TARGET);
    let remembered =
        decide::kv::Remembered { quota: &memory.quota, held: held.as_ref(), ends: &memory.ends };
    let when = decide::kv::When { began: now, now };
    let decision = decide::kv::decide(settings, target, states, remembered, when);
    let waiting = decision.schedule.waiting_by_reason();
    KvView {
        plan: KvPlan::clone(&decision.review.approved),
        refusal: decision.review.refusal,
        waiting: waiting.into_iter().map(|(why, count)| (why.as_str(), count)).collect(),
    }
}

impl OnLists {
    fn of(address: &Address, desired: &Desired, observed: &Observed, view: &ListsView) -> Self {
        let wanted = desired.on_list(address);
        let mut here = Self {
            desired: wanted,
            covered_by: Remediation::ALL
                .into_iter()
                .find_map(|list| desired.covering(address, list))
                .filter(|_| wanted.is_none()),
            ..Self::default()
        };
        for (list, content) in observed.lists() {
            if content.items().contains_key(address) {
                here.at_edge.push(list);
            }
            let wider =
                content.items().keys().filter(|item| *item != address && item.contains(address));
            here.inside.extend(wider.map(|item| (*item, list)));
        }
        for list in view.plan.lists() {
            let additions = list.additions.iter().filter(|addition| addition.address == *address);
            here.change.extend(additions.map(|_| (list.list, "add")));
            let removals = list.removals.iter().chain(&list.held);
            let removals = removals.filter(|removal| removal.address == *address);
            here.change.extend(removals.map(|removal| (list.list, removal.why.as_str())));
            here.held |= list.held.iter().any(|removal| removal.address == *address);
        }
        let added = here.change.iter().any(|(_, what)| *what == "add");
        here.without_place = wanted.is_some_and(|list| !here.at_edge.contains(&list)) && !added
            || here.change.iter().any(|(_, what)| *what == "displaced");
        here
    }
}

impl InKv {
    fn of(address: &Address, desired: &Desired, observed: &ObservedKeys, now: u64) -> Self {
        let mut desired = desired.keys().chain(desired.ranges());
        let mut here = Self {
            desired: desired.find(|wanted| wanted.address == *address).map(|wanted| wanted.value),
            ..Self::default()
        };
        if let Some(entry) = observed.entries().get(address) {
            here.at_edge = true;
            here.value = entry.metadata.map(|metadata| metadata.value);
            here.expires = entry.expires;
        }
        for (range, entry) in observed.ranges().in_force(now) {
            if range == *address {
                here.at_edge = true;
                here.value = Some(entry.value);
                here.expires = Some(entry.expires);
            } else if range.contains(address) {
                here.inside.push((range, entry.value));
            }
        }
        here
    }
}

/// Keeps the decisions on one address.
#[derive(Clone)]
struct Watched<'s> {
    address: Option<Address>,
    settings: &'s Settings,
    seen: Vec<Seen>,
}

impl Watch for Watched<'_> {
    fn see(&mut self, decision: &Result<Decision<'_>, serde_json::Error>) {
        let (Some(address), Ok(decision)) = (self.address, decision) else { return };
        let Ok(value) = decision.value.parse::<Address>() else { return };
        if !value.contains(&address) {
            return;
        }
        // Alone, so that what is left out is this one.
        let mut alone = Desired::default();
        alone.add(Ok(decision.clone()), self.settings);
        let counts = alone.skipped().counts();
        let text = |text: &str| clip(text, 200);
        self.seen.push(Seen {
            value: text(&decision.value),
            scope: text(&decision.scope),
            remediation: text(&decision.kind),
            origin: text(&decision.origin().to_string()),
            scenario: text(decision.scenario.0.as_deref().unwrap_or("")),
            duration: text(decision.duration.0.as_deref().unwrap_or("")),
            left_out: counts.iter().find(|(_, count)| *count > 0).map(|(reason, _)| *reason),
        });
    }
}
