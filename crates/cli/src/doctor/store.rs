//! The key-value store, and what earlier runs left in it: the table "What is remembered" of
//! docs/architecture.md, in words; and what is at the edge before any run has been there.

use super::Finding;
use crate::commands::look::UNKNOWN_WITHOUT_STORE;
use crate::commands::plan::lifted;
use crate::native::Native;
use crate::words::{age, duration, lists_read, plural, until, wait, zone_refusals, zone_wait};
use edge_sync_core::ports::Clock;
use edge_sync_core::run::{GuardStatus, Status, inspect, status};
use edge_sync_core::settings::Settings;
use edge_sync_core::state::edge::Trust;
use edge_sync_core::state::rules::Cause;
use std::time::UNIX_EPOCH;

const CHECK: &str = "key-value store";
const LAST_CHECK: &str = "last run";
const READS_CHECK: &str = "list reads";
const LISTS_CHECK: &str = "list writes";
const CHANGES_CHECK: &str = "rule changes";
const GUARD_CHECK: &str = "guard";
const BUDGET_CHECK: &str = "KV budget";
const FIRST_CHECK: &str = "first contact";

pub(super) async fn examine(native: &Native, settings: &Settings) -> Vec<Finding> {
    let now = native.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let status = match status(settings, native, now) {
        Ok(status) => status,
        Err(error) => {
            let warning = Finding::warn(
                CHECK,
                format!("cannot be read: {}; {UNKNOWN_WITHOUT_STORE}", error.0),
                "if runs have been here, point --state-dir, or --runtime-config-file, at the store that they use; \
                 a component without a store works, but each run knows nothing of the ones before",
            );
            return [Some(warning), first_contact(native, settings).await]
                .into_iter()
                .flatten()
                .collect();
        }
    };
    let mut findings = vec![Finding::ok(CHECK, format!("{} can be read", native.store_place()))];
    findings.push(last_run(&status));
    findings.extend(list_reads(&status));
    findings.extend(list_writes(&status));
    findings.extend(rule_changes(&status));
    findings.extend(guards(&status));
    findings.extend(budget(&status));
    if status.last.is_none() {
        findings.extend(first_contact(native, settings).await);
    }
    findings
}

fn last_run(status: &Status) -> Finding {
    if let Some(left) = status.at_work_secs {
        let text = format!(
            "one is at work, or was interrupted: its lease holds for at most {}",
            duration(left)
        );
        return Finding::ok(LAST_CHECK, text);
    }
    let Some(last) = &status.last else {
        return Finding::skipped(LAST_CHECK, "no run has ended yet, as far as is remembered there");
    };
    let ago = age(status.now.saturating_sub(last.ended));
    let targets = [("lists", &last.lists), ("KV", &last.kv), ("rules", &last.rules)];
    let ends = targets.into_iter().filter_map(|(name, end)| Some((name, end.as_ref()?)));
    let told: Vec<_> = ends
        .clone()
        .map(|(name, end)| match end.said.as_str() {
            "" => format!("{name} {}", end.outcome),
            said => format!("{name} {}: {said}", end.outcome),
        })
        .collect();
    let detail = format!("{ago} ago: {}", told.join("; "));
    match ends.clone().any(|(_, end)| !end.success) {
        true => Finding::warn(
            LAST_CHECK,
            detail,
            "see what is said of the rest here, and `edge-sync plan`; docs/operations.md tells what \
             each means",
        ),
        false => Finding::ok(LAST_CHECK, detail),
    }
}

fn list_reads(status: &Status) -> Option<Finding> {
    let edge = status.lists.as_ref()?.edge?;
    Some(match edge.trust {
        Trust::Ended => Finding::warn(
            READS_CHECK,
            lists_read(edge),
            "that costs a request for each 500 items a run: see docs/operations.md, large lists",
        ),
        Trust::Unknown | Trust::Learned => Finding::ok(READS_CHECK, lists_read(edge)),
    })
}

fn list_writes(status: &Status) -> Option<Finding> {
    let lists = status.lists.as_ref()?;
    let Some(what) = &lists.wait else {
        return Some(Finding::ok(LISTS_CHECK, "none waits"));
    };
    let times = match lists.refused {
        0 | 1 => String::new(),
        n => format!(" ({n} in a row)"),
    };
    let remedy = match what.why {
        "operation" => "nothing: the next run asks for it before it writes",
        "denied" => {
            "give the token the permission of the README, step 3; a new token is tried at once"
        }
        _ => {
            "wait: trying earlier makes it worse (write_backoff_seconds); Workers KV has no such limit \
             (cf_kv_namespace_id)"
        }
    };
    Some(Finding::warn(LISTS_CHECK, format!("{}{times}", wait(what)), remedy))
}

fn rule_changes(status: &Status) -> Vec<Finding> {
    let Some(zones) = &status.rules else { return Vec::new() };
    let waits = zones.iter().filter(|zone| !zone.is_clear()).map(|zone| {
        let why = zone.wait.map(zone_wait);
        let said: Vec<_> = why.into_iter().chain(zone_refusals(zone)).collect();
        let remedy = match zone.wait.map(|wait| wait.why) {
            Some(Cause::Denied) => {
                "give the token the permission Zone > Zone WAF > Edit (in the API: Zone WAF Write) for this zone; a \
                 new token is tried at once"
            }
            Some(Cause::Busy) => {
                "nothing: it is tried again by itself; if it stays so, look who else writes the zone's rules"
            }
            Some(Cause::Refused) | None => {
                "the rule says what it said before; the log of the run that was refused has Cloudflare's words"
            }
        };
        Finding::warn(CHANGES_CHECK, format!("zone {}: {}", zone.zone, said.join("; ")), remedy)
    });
    let waits: Vec<_> = waits.collect();
    match waits.is_empty() {
        true => vec![Finding::ok(CHANGES_CHECK, "none waits")],
        false => waits,
    }
}

fn guards(status: &Status) -> Vec<Finding> {
    let lists = status.lists.as_ref().and_then(|lists| lists.guard.as_ref());
    let kv = status.kv.as_ref().and_then(|kv| kv.guard.as_ref());
    let all = [("lists", lists), ("KV", kv)];
    let held = all.into_iter().filter_map(|(name, guard)| Some((name, guard?)));
    let findings: Vec<_> = held.map(|(name, guard)| guard_of(name, guard)).collect();
    match findings.is_empty() {
        true => vec![Finding::ok(GUARD_CHECK, "holds nothing back")],
        false => findings,
    }
}

fn guard_of(name: &str, guard: &GuardStatus) -> Finding {
    let detail = format!(
        "{name}: holds {} back, found in {} so far; they go {}",
        plural(guard.held, "removal"),
        plural(guard.runs_seen, "run"),
        until(guard.until)
    );
    let remedy = "see with `edge-sync plan` what they are; set removals_approved_until to a time soon after now to \
                  let them go at once";
    Finding::warn(GUARD_CHECK, detail, remedy)
}

fn budget(status: &Status) -> Option<Finding> {
    let kv = status.kv.as_ref()?;
    let day = duration(kv.next_day_secs);
    let used = format!("{} written or deleted today (UTC)", plural(kv.used, "key"));
    let is_spent = [kv.writes_left, kv.deletes_left].contains(&Some(0));
    Some(match (kv.is_day_used_up, is_spent) {
        (true, _) => Finding::warn(
            BUDGET_CHECK,
            format!("Cloudflare says that the day's KV quota is used up; {used}"),
            format!("it begins anew at 00:00 UTC, in {day}; the paid plan has no quota a day"),
        ),
        (false, true) => Finding::warn(
            BUDGET_CHECK,
            format!("spent; {used}"),
            format!("it begins anew at 00:00 UTC, in {day} (kv_daily_writes_max)"),
        ),
        (false, false) => Finding::ok(BUDGET_CHECK, used),
    })
}

/// What is there before any run has been, and is not CrowdSec's: it would go.
async fn first_contact(native: &Native, settings: &Settings) -> Option<Finding> {
    let look = inspect(settings, native, None).await;
    let unless = match look.sides.iter().any(|side| side.side == "store" && side.error.is_some()) {
        true => ", unless an earlier run put them there",
        false => "",
    };
    let lists = look.lists.iter().flat_map(|view| &view.lists);
    let lists = lists.flat_map(|list| list.remove.iter().chain(&list.held));
    let lists = lifted(lists.map(|gone| (gone.why, gone.was_wanted)));
    let keys = look.kv.iter().flat_map(|view| view.delete.iter().chain(&view.held));
    let keys = lifted(keys.map(|gone| (gone.why, gone.was_wanted)));
    if lists + keys == 0 {
        return None;
    }
    let places = [(lists, "item", "on the lists"), (keys, "key", "in KV")];
    let places = places.into_iter().filter(|(count, ..)| *count > 0);
    let places: Vec<_> =
        places.map(|(count, noun, place)| format!("{} {place}", plural(count, noun))).collect();
    Some(Finding::warn(
        FIRST_CHECK,
        format!("not CrowdSec's{unless}: {} that no decision asks for", places.join(" and ")),
        "everything there belongs to the sync, which removes them when the guard lets them go: if they are yours, \
         use another list or prefix; `edge-sync plan` shows them",
    ))
}
