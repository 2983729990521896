//! The lists, as a look shows them.

use serde::Serialize;

use crate::address::Address;
use crate::decide::lists::{Decision, Remembered, TARGET, decide};
use crate::decide::rules::for_lists;
use crate::decision::Remediation;
use crate::desired::{Desired, OriginCounts};
use crate::observed::lists::Observed;
use crate::plan::Why;
use crate::plan::lists::{Addition, ListPlan, Plan, Removal};
use crate::ports::Host;
use crate::schedule::lists::{Effect, Operation};
use crate::settings::Lists;

use super::{Guard, Look, Until, WaitView, Wanted, held_until, yielded};

/// What a run would do on the lists.
#[derive(Debug, Serialize)]
pub struct ListsView {
    /// The lists in use, bans first.
    pub lists: Vec<ListView>,
    /// What would be sent, in order; also while it waits.
    pub operations: Vec<OperationView>,
    /// What it would wait for.
    pub wait: Option<WaitView>,
    /// An owner's address is tried although other writes wait.
    pub is_beside_the_wait: bool,
    /// What the guard holds back.
    pub guard: Option<Guard>,
    /// Why removals go that the guard held so far.
    pub yielded: Option<String>,
    /// Items there that no decision asks for, and none ever did as far as is remembered; `None` = not known.
    pub not_crowdsecs: Option<u64>,
    /// The desired addresses by origin, and how many of them have no place.
    pub origins: Vec<OriginCounts>,
    /// Desired addresses that are not sent for a day, because Cloudflare refuses them as values.
    pub set_aside: u64,
}

/// What would be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperationView {
    /// `POST`, `PUT` or `DELETE`.
    pub verb: &'static str,
    /// How many items its request carries.
    pub items: u64,
    /// What it does.
    #[serde(flatten)]
    pub effect: Effect,
}

/// One list.
#[derive(Debug, Serialize)]
pub struct ListView {
    /// Which.
    pub list: Remediation,
    /// Items there now that are understood.
    pub now: u64,
    /// Items that it should have.
    pub desired: u64,
    /// Items that are not understood, and are left alone.
    pub left_alone: u64,
    /// What comes.
    pub add: Vec<ListAddition>,
    /// What goes.
    pub remove: Vec<ListRemoval>,
    /// What would go, and the guard holds back.
    pub held: Vec<ListRemoval>,
}

/// An item that comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListAddition {
    /// Which address.
    pub address: Address,
    /// Why.
    pub why: &'static str,
    /// Who decided it.
    pub origin: String,
    /// What the address did, or the name of the list.
    pub scenario: String,
}

/// An item that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListRemoval {
    /// Which address.
    pub address: Address,
    /// Why.
    pub why: &'static str,
    /// Whether CrowdSec ever wanted it there; `None` = that is not known.
    pub was_wanted: Option<bool>,
}

/// Where an address stands on the lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OnLists {
    /// The list that it should be on; `None` = LAPI could not be read.
    pub desired: Option<Wanted>,
    /// The lists that it is on now; `None` = they could not be read.
    pub at_edge: Option<Vec<Remediation>>,
    /// Wider items that contain it now, with their lists; `None` = likewise.
    pub inside: Option<Vec<(Address, Remediation)>>,
    /// What follows; `None` = a side could not be read.
    pub verdict: Option<Verdict>,
}

/// What a run would do with an address on the lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The desired range that covers it, so that it has no place of its own.
    pub covered_by: Option<Address>,
    /// It is desired, and has no place.
    pub without_place: bool,
    /// It is desired, and is not sent for a day: Cloudflare refuses it as a value.
    pub set_aside: bool,
    /// List by list: `add`, or the reason why it goes.
    pub change: Vec<(Remediation, &'static str)>,
    /// Whether CrowdSec ever wanted it there, if it is there; `None` = that is not known.
    pub was_wanted: Option<bool>,
    /// When the guard lets its removal go; `None` = it is not held.
    pub held: Option<Until>,
    /// The guard held it so far, and it goes with the next write.
    pub is_let_go: bool,
    /// What the change waits for; `None` = it goes now, or there is none.
    pub wait: Option<WaitView>,
}

impl<H: Host> Look<'_, H> {
    pub(super) fn decide_lists(&self, lists: &Lists, states: (&Desired, &Observed)) -> Decision {
        let held = self.memory.guard.held(self.host, TARGET);
        let remembered = Remembered {
            history: &self.memory.history,
            held: held.as_ref(),
            ends: &self.memory.ends,
        };
        let (desired, observed) = states;
        let rules = self.settings.targets.rules.as_ref().zip(self.rules);
        let by_rules = |plan: &Plan| {
            let known = self.known(plan, &[], observed);
            let history = &self.memory.rules;
            for_lists(self.settings, lists, rules, (desired, known), history, self.now)
        };
        decide(self.settings, lists, states, remembered, by_rules, self.now)
    }

    /// Whether an item that goes was ever wanted.
    fn removal(&self, removal: &Removal) -> ListRemoval {
        let was_wanted = match removal.why {
            Why::Lifted => self.memory.was_wanted(&removal.address),
            Why::RanOut | Why::Displaced | Why::Moved => Some(true),
            _ => None,
        };
        ListRemoval { address: removal.address, why: removal.why.as_str(), was_wanted }
    }

    fn addition(&self, addition: &Addition) -> ListAddition {
        let (origin, scenario) = self.reasons.of(&addition.address).unwrap_or_default();
        ListAddition {
            address: addition.address,
            why: addition.why.as_str(),
            origin: origin.to_owned(),
            scenario: scenario.to_owned(),
        }
    }

    fn list(&self, list: &ListPlan) -> ListView {
        let removals =
            |removals: &[Removal]| removals.iter().map(|gone| self.removal(gone)).collect();
        ListView {
            list: list.list,
            now: list.observed(),
            desired: list.desired,
            left_alone: list.foreign,
            add: list.additions.iter().map(|addition| self.addition(addition)).collect(),
            remove: removals(&list.removals),
            held: removals(&list.held),
        }
    }
}

impl ListsView {
    pub(super) fn of<H: Host>(decision: &Decision, look: &Look<'_, H>) -> Self {
        let Decision { review, schedule, .. } = decision;
        let plan = &review.approved;
        let lists: Vec<ListView> = plan.lists().iter().map(|list| look.list(list)).collect();
        let gone = || lists.iter().flat_map(|list| list.remove.iter().chain(&list.held));
        let strangers = gone().filter(|gone| gone.was_wanted == Some(false)).count() as u64;
        let operations = schedule.operations().iter().map(|operation| OperationView {
            verb: operation.verb(),
            items: operation.len() as u64,
            effect: operation.effect(),
        });
        Self {
            operations: operations.collect(),
            wait: schedule.wait().map(WaitView::from),
            is_beside_the_wait: schedule.is_beside_the_ladder(),
            guard: Guard::of(review),
            yielded: yielded(review),
            not_crowdsecs: look.memory.knows_ends.then_some(strangers),
            origins: plan.origins().to_vec(),
            set_aside: plan.set_aside().count,
            lists,
        }
    }
}

impl OnLists {
    pub(super) fn of<H: Host>(
        address: &Address,
        (desired, observed): (Option<&Desired>, Option<&Observed>),
        decision: Option<&Decision>,
        look: &Look<'_, H>,
    ) -> Self {
        let at_edge = observed.map(|observed| {
            let lists = observed.lists();
            let on = lists.filter(|(_, content)| content.items().contains_key(address));
            on.map(|(list, _)| list).collect::<Vec<_>>()
        });
        let inside = observed.map(|observed| {
            let items = observed
                .lists()
                .flat_map(|(list, content)| content.items().keys().map(move |item| (item, list)));
            items.filter(|(item, _)| item != address && item.contains(address)).collect()
        });
        let verdict = desired.zip(decision).map(|(desired, decision)| {
            Verdict::of(address, desired, at_edge.as_deref().unwrap_or_default(), decision, look)
        });
        let desired = desired.map(|desired| Wanted::from(desired.on_list(address)));
        Self { desired, at_edge, inside, verdict }
    }
}

impl Verdict {
    fn of<H: Host>(
        address: &Address,
        desired: &Desired,
        at_edge: &[Remediation],
        decision: &Decision,
        look: &Look<'_, H>,
    ) -> Self {
        let Decision { review, schedule, .. } = decision;
        let plan = &review.approved;
        let wanted = desired.on_list(address);
        let covered =
            || Remediation::ALL.into_iter().find_map(|on| desired.covering(address, on).next());
        let mut here = Self {
            covered_by: if wanted.is_none() { covered() } else { None },
            set_aside: wanted.is_some_and(|on| !at_edge.contains(&on))
                && look
                    .memory
                    .history
                    .set_aside()
                    .get(address)
                    .is_some_and(|until| *until > look.now),
            held: held_until(review, address, &look.settings.guard, look.now),
            ..Self::default()
        };
        let mut goes_now = true;
        let sent = |is_it: &dyn Fn(&Operation) -> bool| schedule.operations().iter().any(is_it);
        for list in plan.lists() {
            for addition in list.additions.iter().filter(|one| one.address == *address) {
                here.change.push((list.list, "add"));
                goes_now &= sent(&|operation| {
                    operation.effect().list == list.list && operation.adds(&addition.address)
                });
            }
            let removals = list.removals.iter().chain(&list.held);
            for removal in removals.filter(|removal| removal.address == *address) {
                here.change.push((list.list, removal.why.as_str()));
                here.was_wanted = look.removal(removal).was_wanted;
                goes_now &= sent(&|operation| match operation {
                    Operation::Delete { ids, .. } => ids.as_slice().contains(&removal.id),
                    Operation::Replace { list: on, .. } => *on == list.list,
                    Operation::Append { .. } => false,
                });
            }
        }
        let is_added = here.change.iter().any(|(_, what)| *what == "add");
        here.without_place = !here.set_aside
            && wanted.is_some_and(|list| !at_edge.contains(&list) && !is_added)
            || here.change.iter().any(|(_, what)| *what == Why::Displaced.as_str());
        let held_before = look.memory.guard.held(look.host, TARGET);
        here.is_let_go = here.held.is_none()
            && here.change.iter().any(|(_, what)| *what != "add")
            && held_before.is_some_and(|held| held.groups.get(address).is_some());
        if here.held.is_none() && !here.change.is_empty() {
            here.wait = match schedule.wait() {
                Some(wait) => Some(WaitView::from(wait)),
                None if goes_now => None,
                None => Some(WaitView { why: "room", seconds: None, operation: None }),
            };
        }
        here
    }
}
