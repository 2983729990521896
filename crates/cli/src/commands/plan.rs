//! `edge-sync plan`: what a run would do now, and nothing done.

use super::look::{is_blind, look, sides};
use super::rules;
use super::{AppArgs, print};
use crate::words::{GONE, GOOD, ODD, duration, guard, harmless, plural, thousands, wait, wrapped};
use anyhow::Result;
use edge_sync_core::run::{
    Inspection, KvRemoval, KvView, LayoutView, ListAddition, ListRemoval, ListsView,
};
use std::fmt::Write as _;
use std::process::ExitCode;

/// Show what a run would do, and change nothing.
///
/// Exit code 1 if LAPI, the lists, the rules of a zone or KV cannot be read. Colours under a terminal, unless NO_COLOR is set.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    app: AppArgs,
    /// Print everything as JSON (crates/cli/schemas/plan.json).
    #[arg(long)]
    json: bool,
    /// Exit with 2 if anything differs, 0 if nothing does.
    #[arg(long)]
    exit_code: bool,
    /// How many removals and how many additions are shown one by one.
    #[arg(long, value_name = "N", default_value_t = 20)]
    changes: usize,
}

/// The exit code that says that something differs.
const DIFFERS: u8 = 2;

/// Looks, and shows.
pub async fn execute(args: Args) -> Result<ExitCode> {
    let inspection = look(&args.app.options()?, None).await?;
    let shown = match args.json {
        true => serde_json::to_string_pretty(&inspection)? + "\n",
        false => render(&inspection, args.changes),
    };
    print(&shown)?;
    Ok(match is_blind(&inspection) {
        true => ExitCode::FAILURE,
        false if args.exit_code && differs(&inspection) => ExitCode::from(DIFFERS),
        false => ExitCode::SUCCESS,
    })
}

/// Whether anything is not as desired, also if it waits or is held.
fn differs(inspection: &Inspection) -> bool {
    let lists = inspection.lists.iter().flat_map(|view| &view.lists);
    let mut lists = lists.map(|list| list.add.len() + list.remove.len() + list.held.len());
    let kv = inspection.kv.as_ref();
    lists.any(|count| count > 0)
        || inspection.rules.as_deref().is_some_and(rules::differ)
        || kv.is_some_and(|kv| {
            kv.put.len() + kv.regions.len() + kv.delete.len() + kv.held.len() + kv.waiting.len() > 0
        })
        || kv.is_some_and(|kv| kv.layout.as_ref().is_some_and(|layout| layout.becomes != "kept"))
}

/// What cannot be read; a row for each place; then for each target what goes, what comes, and what it waits for.
pub fn render(inspection: &Inspection, changes_max: usize) -> String {
    let mut shown = sides(inspection);
    let (lists, kv) = (&inspection.lists, &inspection.kv);
    if lists.is_some() || kv.is_some() {
        let _ = writeln!(
            shown,
            "{:<14}{:>8}{:>8}{:>8}{:>8}{:>8}",
            "", "now", "then", "come", "go", "held"
        );
    }
    for list in lists.iter().flat_map(|view| &view.lists) {
        let (come, go, held) = (list.add.len(), list.remove.len(), list.held.len());
        let then = list.now + come as u64 - go as u64;
        row(&mut shown, &format!("{} list", list.list), list.now, then, [come, go, held]);
    }
    if let Some(kv) = kv {
        let new = kv.put.iter().filter(|put| matches!(put.why, "new_ban" | "captcha")).count();
        let then = (kv.now + new as u64).saturating_sub(kv.delete.len() as u64 + kv.running_out);
        row(&mut shown, "KV", kv.now, then, [kv.put.len(), kv.delete.len(), kv.held.len()]);
    }
    if let Some(lists) = lists {
        of_lists(&mut shown, lists, changes_max);
    }
    rules::of_zones(&mut shown, inspection.rules.as_deref().unwrap_or_default());
    if let Some(kv) = kv {
        of_kv(&mut shown, kv, changes_max);
    }
    if let Some(skipped) = &inspection.skipped {
        let reasons = skipped.counts().into_iter().filter(|(_, count)| *count > 0);
        let reasons: Vec<_> = reasons.map(|(why, n)| format!("{why} {}", thousands(n))).collect();
        if !reasons.is_empty() {
            line(&mut shown, &format!("decisions left out: {}", reasons.join(", ")));
        }
    }
    shown
}

fn row(shown: &mut String, place: &str, now: u64, then: u64, counts: [usize; 3]) {
    let [come, go, held] = counts.map(|count| thousands(count as u64));
    let [now, then] = [now, then].map(thousands);
    let _ = writeln!(shown, "{place:<14}{now:>8}{then:>8}{come:>8}{go:>8}{held:>8}");
}

fn line(shown: &mut String, text: &str) {
    let _ = writeln!(shown, "{}", wrapped(text, 4));
}

/// Lines of one kind, as many as are wanted.
fn some(shown: &mut String, style: anstyle::Style, lines: &[String], most: usize) {
    for text in lines.iter().take(most) {
        let _ = writeln!(shown, "{style}{}{style:#}", wrapped(text, 4));
    }
    if lines.len() > most {
        let more = thousands((lines.len() - most) as u64);
        let _ = writeln!(shown, "… and {more} more (--changes)");
    }
}

fn of_lists(shown: &mut String, view: &ListsView, changes_max: usize) {
    let gone = |mark: &str, list: &dyn std::fmt::Display, gone: &ListRemoval, held: &str| {
        let why = removal(gone.why, gone.was_wanted);
        format!("{mark} {} ({list} list; {why}{held})", gone.address)
    };
    let lists = &view.lists;
    let mut lines: Vec<String> = Vec::new();
    for list in lists {
        lines.extend(list.remove.iter().map(|one| gone("-", &list.list, one, "")));
    }
    some(shown, GONE, &lines, changes_max);
    let mut held: Vec<String> = Vec::new();
    for list in lists {
        held.extend(list.held.iter().map(|one| gone("=", &list.list, one, "; held back")));
    }
    some(shown, ODD, &held, changes_max);
    let mut come: Vec<String> = Vec::new();
    for list in lists {
        let addition = |one: &ListAddition| {
            let by = by(&one.origin, &one.scenario);
            format!("+ {} ({} list{by})", one.address, list.list)
        };
        come.extend(list.add.iter().map(addition));
    }
    some(shown, GOOD, &come, changes_max);
    let waits = view.wait.is_some() || view.is_beside_the_wait;
    if lines.is_empty() && come.is_empty() && held.is_empty() {
        line(shown, "lists: nothing to do");
    }
    for operation in &view.operations {
        let (effect, items) = (operation.effect, plural(operation.items, "item"));
        let waits = if view.wait.is_some() { "; waits" } else { "" };
        let _ = writeln!(
            shown,
            "  {} {} list: {items} (+{} -{}){waits}",
            operation.verb,
            effect.list,
            thousands(effect.added),
            thousands(effect.removed),
        );
    }
    if view.is_beside_the_wait {
        line(shown, "an address of yours is tried although other writes wait");
    } else if let Some(what) = view.wait.as_ref().filter(|_| waits) {
        line(shown, &format!("{ODD}lists wait{ODD:#}: {}", wait(what)));
    }
    for origin in view.origins.iter().filter(|origin| origin.dropped > 0) {
        let [dropped, total] = [origin.dropped, origin.total()].map(thousands);
        let origin = harmless(&origin.origin.to_string());
        line(
            shown,
            &format!(
                "{ODD}no place{ODD:#} for {dropped} of {total} from {origin} (list_items_max)"
            ),
        );
    }
    if view.set_aside > 0 {
        let count = plural(view.set_aside, "desired address");
        line(
            shown,
            &format!("{ODD}set aside{ODD:#} for a day, because Cloudflare refuses them: {count}"),
        );
    }
    let gone = lists.iter().flat_map(|list| list.remove.iter().chain(&list.held));
    let unknown = lifted(gone.map(|gone| (gone.why, gone.was_wanted)));
    foreign(shown, view.not_crowdsecs, unknown, "item", "on the lists");
    if let Some(held) = &view.guard {
        line(shown, &format!("{ODD}guard{ODD:#}: {}", guard(held, view.not_crowdsecs)));
    }
    if let Some(yielded) = &view.yielded {
        line(shown, &format!("{ODD}guard{ODD:#}: {yielded}"));
    }
}

/// The first contact with a place that others have used. `known` is how many are certainly not CrowdSec's,
/// `unknown` how many are not, unless a run that cannot be seen has put them there.
fn foreign(shown: &mut String, known: Option<u64>, unknown: u64, noun: &str, place: &str) {
    let (unless, count, as_far) = match known {
        Some(count) => ("", count, ", and none ever did as far as is remembered"),
        None => (", unless an earlier run put them there", unknown, ""),
    };
    if count > 0 {
        let text = format!(
            "{ODD}not CrowdSec's{ODD:#}{unless}: {} {place} that no decision asks for{as_far}. Everything there \
             belongs to the sync: if they are yours, use another one",
            plural(count, noun)
        );
        line(shown, &text);
    }
}

/// How many removals of these may be of what others put there.
pub(crate) fn lifted<'a>(gone: impl Iterator<Item = (&'a str, Option<bool>)>) -> u64 {
    gone.filter(|(why, was_wanted)| *why == "lifted" && *was_wanted != Some(true)).count() as u64
}

fn of_kv(shown: &mut String, view: &KvView, changes_max: usize) {
    let later = |waits: bool| if waits { "; waits" } else { "" };
    let gone = |mark: &str, one: &KvRemoval, held: &str| {
        format!("{mark} {} (KV; {}{held})", harmless(&one.key), removal(one.why, one.was_wanted))
    };
    let delete: Vec<_> = view.delete.iter().map(|one| gone("-", one, later(one.waits))).collect();
    let held: Vec<_> = view.held.iter().map(|one| gone("=", one, "; held back")).collect();
    let put = view.put.iter().map(|put| {
        let (address, value, by) = (put.address, put.value, by(&put.origin, &put.scenario));
        let lasts = duration(put.seconds);
        format!("+ {address} {value} for {lasts} (KV; {}{by}{})", put.why, later(put.waits))
    });
    let regions = view.regions.iter().map(|change| {
        let value = change.value.map_or(String::new(), |value| format!(" {value}"));
        let sign = if change.value.is_some() { "+" } else { "-" };
        format!("{sign} {}{value} (KV; {}{})", change.region, change.why, later(change.waits))
    });
    let put: Vec<_> = regions.chain(put).collect();
    some(shown, GONE, &delete, changes_max);
    some(shown, ODD, &held, changes_max);
    some(shown, GOOD, &put, changes_max);
    if delete.is_empty() && held.is_empty() && put.is_empty() {
        line(shown, "KV: nothing to do");
    }
    if let Some(layout) = &view.layout {
        line(shown, &format!("{ODD}layout{ODD:#}: {}", two_layouts(layout)));
    }
    if view.blocked_ranges > 0 {
        let count = plural(view.blocked_ranges, "range");
        let text =
            format!("{ODD}ranges{ODD:#}: the key \"ranges\" is not ours to write; {count} wait");
        line(shown, &text);
    }
    if !view.waiting.is_empty() {
        let all: Vec<_> =
            view.waiting.iter().map(|(why, n)| format!("{why} {}", thousands(*n))).collect();
        let until = match view.is_over_budget {
            true => format!(
                "; the day's budget begins anew at 00:00 UTC, in {} (kv_daily_writes_max)",
                duration(view.budget.next_day_secs)
            ),
            false => String::new(),
        };
        line(shown, &format!("{ODD}KV waits{ODD:#}: {}{until}", all.join(", ")));
    }
    let gone = view.delete.iter().chain(&view.held);
    let unknown = lifted(gone.map(|gone| (gone.why, gone.was_wanted)));
    foreign(shown, view.not_crowdsecs, unknown, "key", "in KV");
    if let Some(held) = &view.guard {
        line(shown, &format!("{ODD}guard{ODD:#} (KV): {}", guard(held, view.not_crowdsecs)));
    }
    if let Some(yielded) = &view.yielded {
        line(shown, &format!("{ODD}guard{ODD:#} (KV): {yielded}"));
    }
}

/// Which layout Workers read, how far the other is, and what comes next.
fn two_layouts(view: &LayoutView) -> String {
    let LayoutView { served, other, becomes, left, .. } = view;
    let left = match (*becomes, left) {
        ("removed", left) => format!(", {} left", thousands(*left)),
        (_, 0) => ", complete".to_owned(),
        (_, left) => format!(", {} left", plural(*left, "change")),
    };
    let becomes = if *becomes == "kept" { "kept up to date" } else { becomes };
    let next = match (view.next, view.next_secs) {
        (Some("served"), Some(0)) => format!("; {other} are served with the next run"),
        (Some("served"), Some(secs)) => {
            format!(
                "; {other} are served in {}, if every run until then reads them so",
                duration(secs)
            )
        }
        (Some(_), Some(0)) => format!("; {other} go with the next run"),
        (Some(_), Some(secs)) => format!("; {other} go in {}", duration(secs)),
        _ => String::new(),
    };
    format!("{served} are served, {other} are {becomes}{left}{next}")
}

fn removal(why: &'static str, was_wanted: Option<bool>) -> &'static str {
    if was_wanted == Some(false) { "not CrowdSec's" } else { why }
}

/// Who decided it, and why.
fn by(origin: &str, scenario: &str) -> String {
    let parts = [origin, scenario].into_iter().filter(|text| !text.is_empty());
    parts.map(|text| format!("; {}", harmless(text))).collect()
}
