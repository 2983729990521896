//! What a run would do, and why an address is or is not at the edge: for a person who asks, with the
//! same reading, planning and judging as a run, and without any write.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::address::Address;
use crate::confirm::{Confirmations, Target};
use crate::decision::{Decision, Remediation};
use crate::desired::{Desired, Skipped};
use crate::failure::Failure;
use crate::guard::{Objection, Refusal};
use crate::log::clip;
use crate::observed::kv::ObservedKeys;
use crate::observed::lists::Observed;
use crate::plan::kv::KvPlan;
use crate::plan::lists::{Change, Lifted, Plan, Rules, diff, diff_with};
use crate::ports::Host;
use crate::session::Session;
use crate::settings::protected::Rule;
use crate::settings::{Kv, Lists, Settings};
use crate::state::{Quota, Remembered, WriteHistory};

use super::clients::Clients;
use super::read::{self, Readings, Watch};

/// What a look at everything shows.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// What was left out of the desired state.
    pub skipped: Looked<Skipped>,
    /// The lists, if they are in use.
    pub lists: Option<Looked<ListsView>>,
    /// KV, if it is in use.
    pub kv: Option<Looked<KvView>>,
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
    /// Everything that differs.
    pub plan: Plan,
    /// What of it would be done, where the guard holds removals back.
    pub approved: Option<Plan>,
    /// Why it does.
    pub refusal: Option<Refusal>,
    /// How long nothing would be written, because Cloudflare refused the last write, in seconds.
    #[serde(serialize_with = "as_seconds")]
    pub rate_limited: Option<Duration>,
    /// The bulk operation of an earlier run that would be waited for.
    pub unfinished: Option<String>,
}

/// What a run would do in KV.
#[derive(Debug, Serialize)]
pub struct KvView {
    /// What would be done.
    pub plan: KvPlan,
    /// Why some removals would not.
    pub refusal: Option<Refusal>,
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
    let Readings { desired, lists, keys, watch } =
        read::all(&session, &Clients::new(settings), settings, watch, settings.run_budget).await;
    let desired = desired.map_err(|unavailable| clip(&unavailable.to_string(), 400));
    let mut about = address.map(|address| About {
        address,
        decisions: watch.seen,
        protected: settings.protected.rule(&address),
        lists: None,
        kv: None,
    });
    let targets = &settings.targets;
    let lists = targets.lists.as_ref().zip(lists).map(|(lists, observed)| {
        let (desired, observed) = both(&desired, observed)?;
        let view = view_lists(host, settings, lists, desired, &observed, session.unix_now());
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
        Ok(view_keys(host, settings, kv, desired, &observed, now))
    });
    let skipped = desired.map(|desired| desired.skipped().clone()).into();
    Inspection { skipped, lists: lists.map(Into::into), kv: kv.map(Into::into), about }
}

fn both<O>(
    desired: &Result<Desired, String>,
    observed: Result<O, Failure>,
) -> Result<(&Desired, O), String> {
    let observed = observed.map_err(|failure| failure.describe())?;
    Ok((desired.as_ref().map_err(Clone::clone)?, observed))
}

fn view_lists<H: Host>(
    host: &H,
    settings: &Settings,
    lists: &Lists,
    desired: &Desired,
    observed: &Observed,
    now: u64,
) -> ListsView {
    let (guard, protected) = (&settings.guard, &settings.protected);
    let rules = Rules { now: host.wall(), items_max: lists.items_max, protected };
    let plan = diff(desired, observed, rules);
    let objection = guard.objection_to_lists(desired, &plan);
    let removals = objection.as_ref().map(Objection::removals);
    let streak = Confirmations::count(host, Target::Lists, removals, false);
    let refusal =
        guard.judge_lists(plan.clone(), objection, streak, (desired, observed, rules)).refusal;
    let held = || diff_with(desired, observed, rules, Lifted::Held);
    let history = Remembered::<WriteHistory>::load(host, now);
    ListsView {
        plan,
        approved: refusal.is_some().then(held),
        refusal,
        rate_limited: history.backoff_left(&settings.pace, now),
        unfinished: history.operation().map(str::to_owned),
    }
}

fn view_keys<H: Host>(
    host: &H,
    settings: &Settings,
    target: &Kv,
    desired: &Desired,
    observed: &ObservedKeys,
    now: u64,
) -> KvView {
    let guard = &settings.guard;
    let plan =
        crate::plan::kv::diff(desired, observed, super::kv_rules(settings, target, now, now));
    let objection = guard.objection_to_keys(desired, &plan);
    let quota = Remembered::<Quota>::load(host, now);
    let removals = objection.as_ref().map(Objection::removals);
    let streak = Confirmations::count(host, Target::Kv, removals, false);
    let verdict = guard.judge_keys(plan.within(quota.left(target)), objection, streak);
    KvView { plan: KvPlan::clone(&verdict.approved), refusal: verdict.refusal }
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
            let changes = list.changes.iter().filter(|change| change.address() == *address);
            here.change.extend(changes.map(|change| match change {
                Change::Add(_) => (list.list, "add"),
                Change::Remove(_, why) => (list.list, why.as_str()),
            }));
        }
        let added = here.change.iter().any(|(_, what)| *what == "add");
        here.without_place = wanted.is_some_and(|list| !here.at_edge.contains(&list)) && !added
            || here.change.iter().any(|(_, what)| *what == "displaced");
        here.held = view.refusal.is_some() && here.change.iter().any(|(_, what)| *what == "lifted");
        here
    }
}

impl InKv {
    fn of(address: &Address, desired: &Desired, observed: &ObservedKeys, now: u64) -> Self {
        let mut desired = desired.keys().chain(desired.ranges());
        let mut here = Self {
            desired: desired.find(|(key, ..)| key == address).map(|(_, value, _)| value),
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

fn as_seconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs()).serialize(serializer)
}
