//! What KV's day allows: keys written and deleted, each as many as `kv_daily_writes_max` says, but for owners, who
//! leave whatever it says.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytes::Bytes;
use serde_json::Value;
use simulator::KvEntryView;

use super::super::reading::network;
use super::super::{About, Judge, Terms};
use super::{DAY_SECS, Enforced, RANGES, ranges_in, regions, shards};

impl Judge {
    /// What was spent, when the answer says that it was.
    pub(crate) fn kv_answered(&mut self, index: usize, status: u16, body: &Bytes) {
        let sent = self.requests[index].sent.clone();
        let is_put = self.requests[index].about == About::KvPut;
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(view) = self.runs.get(&sent.run) else { return };
        let (terms, is_blind) = (Rc::clone(&view.terms), view.is_blind || view.disturbed);
        let what = if is_put { "put" } else { "delete" };
        self.marks.met(&format!("answer to kv {what} {status}"));
        if status == 429 && !is_put {
            self.kv.exhausted = Some(sent.unix / DAY_SECS);
        }
        if status != 200 || json["success"] != true {
            return;
        }
        // Another run may have written since this request was sent.
        if let Some((of, _, is_known)) = &mut self.kv.last
            && *of == sent.run
        {
            *is_known = !view.is_blind;
        }
        let asked: Value = serde_json::from_slice(&sent.body).unwrap_or_default();
        let day = sent.unix / DAY_SECS;
        if self.kv.day != day {
            (self.kv.day, self.kv.spent) = (day, [0, 0]);
        }
        let owner = |key: &str| {
            let net = key.strip_prefix(&terms.kv_prefix).and_then(network);
            net.is_some_and(|net| terms.protects(&net))
        };
        let items = asked.as_array().into_iter().flatten();
        // An owner may leave a value of many beyond the budget.
        let frees = |item: &Value| named(item).is_some_and(|name| view.kv_frees.contains(name));
        let items = items.filter(|item| !frees(item));
        let counted = items.filter(|item| !item.as_str().is_some_and(owner)).count() as u64;
        self.kv.spent[usize::from(!is_put)] += counted;
        let spent = self.kv.spent[usize::from(!is_put)];
        let is_certain = !is_blind && self.kv.trouble.is_none_or(|trouble| trouble + 2 < day);
        // The setting may be less by now than it was when most of it was spent.
        if terms.kv_daily > 0 && counted > 0 && spent > terms.kv_daily && is_certain {
            let text = format!("{spent} keys ({what}) in a day, of {}", terms.kv_daily);
            self.fail("the day's budget is never exceeded", sent.run, sent.at, text);
        }
    }
}

/// The key that an item of a bulk request writes or deletes.
fn named(item: &Value) -> Option<&str> {
    item["key"].as_str().or_else(|| item.as_str())
}

/// The values of many that are written or deleted and in which an owner stands, or from which on a region does not meet
/// him or meets him again; in whichever layout is served.
pub(super) fn owners_leave(
    there: &BTreeMap<String, KvEntryView>,
    body: &Value,
    terms: &Terms,
) -> Vec<String> {
    // Who is met, and whom no region meets.
    let in_value = |key: &str, value: &str| {
        let (mut nets, mut regions) = (BTreeSet::new(), Enforced::default());
        if key == RANGES {
            nets.extend(ranges_in(value).unwrap_or_default().into_keys());
            regions::in_ranges(value, &mut regions);
        } else if key.strip_prefix(&terms.kv_prefix).is_some_and(shards::is_unit) {
            for (what, value, _) in value.lines().filter_map(shards::read) {
                let into = if value == "never" { &mut regions.never } else { &mut nets };
                into.extend(network(what));
                regions.add_region(what, value, u64::MAX);
            }
        }
        (nets, regions)
    };
    let leaves = |item: &Value| {
        let key = named(item)?;
        let before = there.get(key).map(|entry| in_value(key, &entry.value)).unwrap_or_default();
        let after = in_value(key, item["value"].as_str().unwrap_or_default());
        let is_met = |regions: &Enforced| regions.owner_met(terms, 0).is_some();
        let frees = before.1.never != after.1.never
            || is_met(&before.1) && !is_met(&after.1)
            || before.0.iter().any(|net| terms.protects(net));
        frees.then(|| key.to_owned())
    };
    body.as_array().into_iter().flatten().filter_map(leaves).collect()
}
