//! What is decided about the lists.

use crate::desired::Desired;
use crate::observed::lists::Observed;
use crate::plan::lists::{ListPlan, Plan, Rules, diff};
use crate::review::{Review, review};
use crate::schedule::lists::{ByRules, Inputs, Schedule, schedule};
use crate::settings::{Lists, Settings};
use crate::state::Ends;
use crate::state::guard::Held;
use crate::state::writes::{WriteHistory, checksum};

/// What is remembered of earlier runs.
#[derive(Debug, Clone, Copy)]
pub struct Remembered<'a> {
    /// Of the writes.
    pub history: &'a WriteHistory,
    /// Of the removals that the guard held back.
    pub held: Option<&'a Held>,
    /// Of what was desired.
    pub ends: &'a Ends,
}

/// What is decided.
#[derive(Debug)]
pub struct Decision {
    /// What differs, and what of it may be done.
    pub review: Review<Plan>,
    /// What is sent now, or what it waits for.
    pub schedule: Schedule,
    /// Fewer items fit than the settings say, as Cloudflare has shown.
    pub is_capacity_learned: bool,
}

impl Decision {
    /// Whether nothing is taken off, and nothing added where there is not room for everything: all that may be
    /// decided on lists as they are remembered.
    pub fn only_appends(&self) -> bool {
        let plan = &self.review.approved;
        let comes: u64 = plan.lists().iter().map(ListPlan::added).sum();
        let room = plan.room();
        let has_room = plan.dropped() == 0 && room.items + comes <= room.items_max;
        plan.drift() == comes && (comes == 0 || has_room)
    }
}

/// The name under which what the guard holds is remembered.
pub const TARGET: &str = "lists";

/// Decides. `by_rules` tells, of the plan that the guard has approved, what the rules of zones have to do with it;
/// `now` is in Unix seconds.
pub fn decide(
    settings: &Settings,
    lists: &Lists,
    (desired, observed): (&Desired, &Observed),
    remembered: Remembered<'_>,
    by_rules: impl FnOnce(&Plan) -> ByRules,
    now: u64,
) -> Decision {
    let Remembered { history, held, ends } = remembered;
    let items_max = history.items_max(lists.items_max, observed.count(), now);
    let rules = Rules {
        now,
        items_max,
        protected: &settings.protected,
        ends,
        set_aside: history.set_aside(),
    };
    let plan = diff(desired, observed, rules);
    let is_desired = |address: &_| desired.on_list(address).is_some();
    let review = review(plan, held.cloned(), is_desired, &settings.guard, now);
    let token = checksum(settings.token.expose());
    let by_rules = by_rules(&review.approved);
    let inputs = Inputs { observed, history, pace: &settings.pace, token, rules: &by_rules, now };
    let schedule = schedule(&review.approved, inputs);
    Decision { review, schedule, is_capacity_learned: items_max < lists.items_max }
}
