//! What is remembered, for a person who asks how it goes: read from the store alone, nothing is requested and
//! nothing written.

use serde::Serialize;

use crate::decide;
use crate::ports::{Store, StoreError};
use crate::settings::{GuardLimits, Kv, Lists, Settings};
use crate::state::edge::Trust;
use crate::state::guard::{GroupId, Held};
use crate::state::quota::Spending;
use crate::state::rules::{Cause, RegionsTaken};
use crate::state::writes::checksum;
use crate::state::{
    EdgeHistory, GuardHistory, LastRun, LeaseRecord, Quota, Record, Remembered, RulesHistory,
    WriteHistory,
};

use super::edge;
use super::inspect::{Until, WaitView};

/// What earlier runs left. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// When this was asked.
    pub now: u64,
    /// The last run that ended; `None` = none has, as far as is known.
    pub last: Option<LastRun>,
    /// A run is at work, for at most so many seconds more.
    pub at_work_secs: Option<u64>,
    /// The lists, if they are in use.
    pub lists: Option<ListsStatus>,
    /// KV, if it is in use.
    pub kv: Option<KvStatus>,
    /// The rules of each zone that is named, in the order of the setting; `None` = none is.
    pub rules: Option<Vec<ZoneStatus>>,
}

/// What is remembered of the rules of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ZoneStatus {
    /// Its id.
    pub zone: String,
    /// What the next change waits for.
    pub wait: Option<ZoneWait>,
    /// Texts that Cloudflare refused, and that are not sent again for an hour.
    pub refused_texts: u64,
    /// Which countries and autonomous systems are in the next text.
    pub regions: RegionsTaken,
    /// For how many seconds some or all of them are left out.
    pub regions_secs: Option<u64>,
}

/// Why a zone's rules are left alone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ZoneWait {
    /// Why.
    pub why: Cause,
    /// How long.
    pub seconds: u64,
}

impl ZoneStatus {
    /// Whether nothing is remembered that keeps a change from the zone's rules.
    pub fn is_clear(&self) -> bool {
        self.wait.is_none() && self.refused_texts == 0 && self.regions == RegionsTaken::All
    }

    fn of(zone: &str, history: &RulesHistory, token: u32, now: u64) -> Self {
        let wait = history.wait(zone, token, now);
        Self {
            zone: zone.to_owned(),
            wait: wait.map(|(left, why)| ZoneWait { why, seconds: left.as_secs() }),
            refused_texts: history.refused_texts(zone, now),
            regions: history.regions_taken(zone, now),
            regions_secs: history.regions_left(zone, now).map(|left| left.as_secs()),
        }
    }
}

/// What is remembered of the lists.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListsStatus {
    /// What the next write waits for.
    pub wait: Option<WaitView>,
    /// Writes that were throttled, or whose operation failed, in a row.
    pub refused: u32,
    /// For so many seconds only an urgent change is written (`write_interval_seconds`).
    pub interval_secs: Option<u64>,
    /// Addresses that Cloudflare refuses as values.
    pub set_aside: u64,
    /// How many items fit, as Cloudflare has shown, if that is less than the settings say.
    pub items_max: Option<u64>,
    /// How the lists were last read; `None` = by every run whole (`edge_audit_seconds=0`).
    pub edge: Option<EdgeStatus>,
    /// What the guard holds.
    pub guard: Option<GuardStatus>,
}

/// What is remembered of the lists' content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EdgeStatus {
    /// Whether what Cloudflare says of their last change is believed.
    pub trust: Trust,
    /// How many seconds ago all pages were read; `None` = never.
    pub read_secs: Option<u64>,
}

/// What is remembered of KV.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KvStatus {
    /// Keys written and deleted today (UTC).
    pub used: u64,
    /// How many more may be written today; `None` = as many as needed.
    pub writes_left: Option<u64>,
    /// The same of deletes.
    pub deletes_left: Option<u64>,
    /// Cloudflare said that the day's quota is used up.
    pub is_day_used_up: bool,
    /// Seconds until the next day begins.
    pub next_day_secs: u64,
    /// What the guard holds.
    pub guard: Option<GuardStatus>,
}

/// Removals that the guard held back in the last run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GuardStatus {
    /// How many.
    pub held: u64,
    /// In how many runs those of them that wait longest have been found.
    pub runs_seen: u64,
    /// When those go.
    pub until: Until,
}

/// Reads what is remembered. `now` is in Unix seconds.
pub fn status(settings: &Settings, store: &impl Store, now: u64) -> Result<Status, StoreError> {
    let last = load::<LastRun>(store, now)?;
    let lease = load::<LeaseRecord>(store, now)?;
    let guard = load::<GuardHistory>(store, now)?;
    let held = |target| {
        let held = guard.held(store, target)?;
        let looked_at = if last.ended > 0 { last.ended } else { now };
        GuardStatus::of(&held, &settings.guard, looked_at, now)
    };
    let lists = match &settings.targets.lists {
        None => None,
        Some(lists) => {
            let history = load::<WriteHistory>(store, now)?;
            let items_max = history.items_max(lists.items_max, 0, now);
            Some(ListsStatus {
                wait: WaitView::of_history(&history, settings, now),
                refused: history.refused(),
                interval_secs: history
                    .interval_left(&settings.pace, now)
                    .map(|left| left.as_secs()),
                set_aside: history.set_aside().len() as u64,
                items_max: (items_max < lists.items_max).then_some(items_max),
                edge: EdgeStatus::of(settings, lists, store, now)?,
                guard: held(decide::lists::TARGET),
            })
        }
    };
    let kv = match &settings.targets.kv {
        None => None,
        Some(kv) => {
            let quota = load::<Quota>(store, now)?;
            Some(KvStatus { guard: held(decide::kv::TARGET), ..KvStatus::of(&quota, kv, now) })
        }
    };
    let rules = match &settings.targets.rules {
        None => None,
        Some(rules) => {
            let history = load::<RulesHistory>(store, now)?;
            let token = checksum(settings.token.expose());
            let zones = rules.zones.iter();
            Some(zones.map(|zone| ZoneStatus::of(zone.as_str(), &history, token, now)).collect())
        }
    };
    Ok(Status {
        now,
        last: (last.ended > 0).then(|| LastRun::clone(&last)),
        at_work_secs: lease.left(now).map(|left| left.as_secs()),
        lists,
        kv,
        rules,
    })
}

/// A value as a run would read it.
fn load<T: Record>(store: &impl Store, now: u64) -> Result<Remembered<T>, StoreError> {
    let remembered = Remembered::<T>::load(store, now);
    match remembered.store_error() {
        Some(error) => Err(error.clone()),
        None => Ok(remembered),
    }
}

impl WaitView {
    fn of_history(history: &WriteHistory, settings: &Settings, now: u64) -> Option<Self> {
        if let Some(id) = history.operation() {
            return Some(Self::operation(id));
        }
        let token = checksum(settings.token.expose());
        let (left, cause) = history.wait(&settings.pace, token, now)?;
        Some(Self::backoff(left, cause))
    }
}

impl EdgeStatus {
    fn of(
        settings: &Settings,
        lists: &Lists,
        store: &impl Store,
        now: u64,
    ) -> Result<Option<Self>, StoreError> {
        if settings.edge_audit_secs == 0 {
            return Ok(None);
        }
        let mut history = EdgeHistory::clone(&*load::<EdgeHistory>(store, now)?);
        history.bind(edge::checksum_of(settings, lists));
        let read_at = history.read_at();
        let read_secs = (read_at > 0).then(|| now.saturating_sub(read_at));
        Ok(Some(Self { trust: history.trust(), read_secs }))
    }
}

impl KvStatus {
    pub(super) fn of(quota: &Quota, kv: &Kv, now: u64) -> Self {
        let max = kv.daily_writes_max;
        let spendings = [Spending::Writes, Spending::Deletes];
        Self {
            used: quota.used(),
            writes_left: quota.left(Spending::Writes, max, now),
            deletes_left: quota.left(Spending::Deletes, max, now),
            is_day_used_up: spendings.into_iter().any(|spending| quota.is_exhausted(spending, now)),
            next_day_secs: Quota::next_day_in(now),
            guard: None,
        }
    }
}

impl GuardStatus {
    /// `looked_at` is when the last run judged them: what had waited long enough then is not held any more,
    /// though its wait is still remembered.
    fn of(held: &Held, limits: &GuardLimits, looked_at: u64, now: u64) -> Option<Self> {
        let group_of = |id: GroupId| held.streak.groups.get(usize::from(id.0));
        let is_held = |id: &GroupId| {
            group_of(*id).is_some_and(|group| {
                let waited = looked_at.saturating_sub(group.since);
                group.runs < limits.runs || waited < limits.seconds
            })
        };
        let waiting = || held.groups.iter().map(|(_, id)| id).filter(is_held);
        let oldest = group_of(waiting().min()?)?;
        let until = Until {
            runs: limits.runs.saturating_sub(oldest.runs).max(1),
            seconds: oldest.since.saturating_add(limits.seconds).saturating_sub(now),
        };
        Some(Self { held: waiting().count() as u64, runs_seen: oldest.runs, until })
    }
}
