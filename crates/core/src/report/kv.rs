//! What a run did to the KV namespace, in numbers and in one line.

use crate::api::cloudflare::kv::shards::{Layout, UNITS, Unit, WIDE, unit_key};
use crate::api::cloudflare::kv::{Ranges, ranges_key};
use crate::apply::kv::AppliedKeys;
use crate::decision::Remediation;
use crate::desired::{Desired, OriginCounts};
use crate::log::{Level, Line, clip, plural, thousands};
use crate::observed::kv::ObservedKv;
use crate::plan::kv::layout::{Course, Other};
use crate::plan::kv::{Delete, KvPlan};
use crate::schedule::kv::{Bulk, Schedule};

use super::{Outcome, RunCounts, few};

/// KV's part of a run.
#[derive(Debug)]
pub struct KvReport {
    /// How it ended.
    pub outcome: Outcome,
    /// What was desired, if LAPI could be read.
    pub desired: Option<KeyCounts>,
    /// What should be in KV by origin, if LAPI could be read.
    pub origins: Vec<OriginCounts>,
    /// Keys and ranges that differed, if both sides could be read.
    pub drift: Option<u64>,
    /// Changes that are needed and wait: for quota, or for the next run.
    pub waiting: u64,
    /// Keys and ranges that no decision asks for and that stay, because the guard refused their removal.
    pub held: u64,
    /// Keys and ranges that were there.
    pub there: u64,
    /// What was done.
    pub applied: AppliedKeys,
    /// Keys written and deleted today, as far as we count.
    pub quota_used: u64,
    /// How far one layout has come in taking over from the other; `None` = there is one only.
    pub layout: Option<LayoutReport>,
}

/// How far a layout has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayoutReport {
    /// The layout that is served.
    pub served: Layout,
    /// What becomes of the other one: `written`, `kept`, `removed`.
    pub other: &'static str,
    /// What is left to do there: entries, or keys that are left to be deleted.
    pub left: u64,
}

impl LayoutReport {
    pub(crate) fn of(course: &Course, left: Option<u64>) -> Option<Self> {
        let other = match course.other {
            Other::Left => return None,
            Other::Kept if course.is_waiting() => "written",
            Other::Kept => "kept",
            Other::Cleared => "removed",
        };
        Some(Self { served: course.served, other, left: left.unwrap_or(0) })
    }

    pub(crate) fn done(&mut self, done: u64) {
        self.left = self.left.saturating_sub(done);
    }
}

/// What is desired in KV, keys and ranges, in numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeyCounts {
    /// Addresses and ranges to ban.
    pub ban: u64,
    /// Addresses and ranges to challenge.
    pub captcha: u64,
}

impl From<&Desired> for KeyCounts {
    fn from(desired: &Desired) -> Self {
        let count = |value| desired.count_in_kv(value);
        Self { ban: count(Remediation::Ban), captcha: count(Remediation::Captcha) }
    }
}

/// Says what is going to change in KV, before it is tried.
pub(crate) fn announce(
    plan: &KvPlan,
    schedule: &Schedule,
    observed: &ObservedKv,
    (served, prefix): (Layout, &str),
    all: bool,
) -> Vec<Line> {
    let mut lines = left_alone(plan, schedule, observed, (served, prefix));
    let waiting = schedule.waiting();
    if plan.is_empty() && waiting == 0 && plan.held() == 0 {
        return lines;
    }
    let mut text = format!("kv plan: {plan}");
    if waiting > 0 {
        text.push_str(&format!("; waiting: {}", schedule.describe_waiting()));
    }
    let line = Line::new(Level::Info, "plan", text).with("target", "kv");
    lines.push(line.with("drift", plan.drift()).with("waiting", waiting));
    // What is sent now: what waits would be told again by every run.
    let puts = plan.ranges().puts().iter().chain(plan.puts());
    let puts = puts.filter(|put| !schedule.waits(&put.address)).map(|put| {
        let (address, value, ttl, why) = (put.address, put.value, put.ttl_secs, put.why.as_str());
        (format!("  + {address} {value} for {ttl} s ({why})"), why)
    });
    // They stand in one value with the ranges, and come and go with its write.
    let is_written = schedule.bulks().iter().any(Bulk::has_ranges);
    let regions = plan.ranges().regions().iter().filter(|_| is_written).map(|change| {
        let (region, why) = (&change.region, change.why.as_str());
        let text = match change.value {
            Some(value) => format!("  + {region} {value} ({why})"),
            None => format!("  - {region} ({why})"),
        };
        (text, why)
    });
    let removals = plan.ranges().removals().iter();
    let removals = removals.filter(|removal| !schedule.waits(&removal.range)).map(|removal| {
        let why = removal.why.as_str();
        (format!("  - {} ({why})", removal.range), why)
    });
    let goes = |delete: &&Delete| !delete.address.is_some_and(|a| schedule.waits(&a));
    let deletes = plan.deletes().iter().filter(goes).map(|delete| {
        let why = delete.why.as_str();
        (format!("  - {} ({why})", clip(&delete.key, 80)), why)
    });
    let line = |(text, why): (String, &'static str)| {
        Line::new(Level::Info, "change", text).with("target", "kv").with("why", why)
    };
    lines.extend(removals.chain(deletes).chain(regions).map(line));
    lines.extend(few(puts.map(line), "write", "kv", all));
    lines
}

/// The key of what stands beside the addresses.
pub(crate) fn beside_key(served: Layout, prefix: &str) -> String {
    match served {
        Layout::Keys => ranges_key(prefix),
        Layout::Shards => unit_key(prefix, WIDE),
    }
}

fn left_alone(
    plan: &KvPlan,
    schedule: &Schedule,
    observed: &ObservedKv,
    (served, prefix): (Layout, &str),
) -> Vec<Line> {
    let mut lines = Vec::new();
    let line = |text: String, keys: u64| {
        Line::new(Level::Warn, "left_alone", text).with("target", "kv").with("keys", keys)
    };
    let foreign = observed.keys.iter().map(|keys| keys.foreign());
    for foreign in foreign.filter(|foreign| foreign.count > 0) {
        let text = format!(
            "the KV namespace has keys with our prefix that are no addresses; they are left alone: {}",
            foreign.describe()
        );
        lines.push(line(text, foreign.count));
    }
    let units = observed.shards.iter().flat_map(|shards| {
        let is_foreign = |unit: &usize| shards.units[*unit] == Unit::Foreign;
        (0..UNITS).filter(is_foreign).map(|unit| unit_key(prefix, unit))
    });
    let units: Vec<_> = units.collect();
    if !units.is_empty() {
        let text = format!(
            "the KV namespace has values that this program did not write, so that nothing can be written there; they are left alone: {}; delete them",
            units.join(", ")
        );
        lines.push(line(text, units.len() as u64));
    }
    let left_out = schedule.left_out();
    if left_out.count > 0 {
        let text = format!(
            "there is no room in their KV value for {}: {}; leave decisions out with origins_exclude or scenarios_exclude",
            plural(left_out.count, "entry"),
            left_out.describe()
        );
        lines.push(line(text, left_out.count));
    }
    let is_foreign = observed.of(served).is_some_and(|keys| *keys.ranges() == Ranges::Foreign);
    let key = beside_key(served, prefix);
    if is_foreign {
        let blocked = plan.ranges().blocked();
        let mut text = format!(
            "the KV namespace has a key {key:?} that this program did not write; it is left alone"
        );
        if blocked.count > 0 {
            text.push_str(&format!(
                ", so that {} cannot be sent: {}; delete that key, or leave ranges out with scopes=ip",
                plural(blocked.count, "range"),
                blocked.describe()
            ));
        }
        lines.push(line(text, 1).with("ranges", blocked.count));
    }
    lines
}

impl KvReport {
    /// Keys and ranges that still differ, as far as we know.
    pub fn drift_left(&self) -> Option<u64> {
        let done = self.applied.written + self.applied.refreshed + self.applied.deleted;
        Some(self.drift?.saturating_sub(done))
    }

    /// The line that every run ends with.
    pub fn summary(&self, run: &RunCounts) -> Line {
        let (mut line, mut text) = self.outcome.begin("kv", self.outcome.is_success());
        if let Some(desired) = &self.desired {
            line = run.desired(line, &mut text, desired.ban, desired.captcha);
        }
        if let Some(drift) = self.drift_left() {
            let AppliedKeys { written, refreshed, deleted, .. } = self.applied;
            text.push_str(&format!(
                " · keys: {} written, {} refreshed, {} deleted, {} waiting, drift {}",
                thousands(written),
                thousands(refreshed),
                thousands(deleted),
                thousands(self.waiting),
                thousands(drift)
            ));
            line = line.with("written", written).with("refreshed", refreshed);
            line = line.with("deleted", deleted).with("waiting", self.waiting).with("drift", drift);
        }
        if self.held > 0 {
            line = line.with("held", self.held);
        }
        line = line.with("quota_used", self.quota_used).with("writes", self.applied.writes);
        text.push_str(&format!(" · {}", plural(self.applied.writes, "bulk write")));
        if let Some(LayoutReport { served, other, left }) = self.layout {
            let (served, name) = (served.as_str(), served.other().as_str());
            text.push_str(&format!(
                " · layout: {served} are served, {name} are {other}, {} left",
                thousands(left)
            ));
            line = line.with("layout", served).with("layout_left", left);
        }
        line = run.forgot(line, &mut text, self.there);
        run.end(line, text)
    }
}
