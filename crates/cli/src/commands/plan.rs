//! `host plan`: what a run would do now, and nothing done.

use super::AppArgs;
use super::look::{GONE, GOOD, ODD, errors, look, print, thousands};
use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use edge_sync_core::plan::kv::KvPlan;
use edge_sync_core::plan::lists::{Change, ListPlan};
use edge_sync_core::run::{Inspection, KvView, ListsView, Looked};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Show what a run would do, and change nothing.
///
/// Exit code 1 if a side cannot be read. Colours under a terminal, unless NO_COLOR is set.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    app: AppArgs,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
    /// How many changes are shown one by one.
    #[arg(long, value_name = "N", default_value_t = 20)]
    changes: usize,
}

/// Looks, and shows.
pub async fn execute(args: Args) -> Result<ExitCode> {
    let inspection = look(&args.app.options(), None).await?;
    let shown = match args.json {
        true => serde_json::to_string_pretty(&inspection)? + "\n",
        false => render(&inspection, args.changes),
    };
    print(&shown, &inspection)
}

/// A table with a row for each place, then the changes, the writes, and what stands in their way.
pub fn render(inspection: &Inspection, changes_max: usize) -> String {
    let mut shown = String::new();
    for error in errors(inspection) {
        let _ = writeln!(shown, "{GONE}cannot be read{GONE:#}: {error}");
    }
    let (lists, kv) = (seen(&inspection.lists), seen(&inspection.kv));
    if lists.is_none() && kv.is_none() {
        return shown;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["", "now", "then", "come", "go", "why"]);
    lists.iter().flat_map(|lists| lists.plan.lists()).for_each(|list| {
        table.add_row(list_row(list));
    });
    if let Some(kv) = kv {
        table.add_row(kv_row(&kv.plan));
    }
    for column in 1..=4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for line in table.lines() {
        let _ = writeln!(shown, "{}", line.trim_end());
    }
    if let Looked::Seen(skipped) = &inspection.skipped {
        let reasons = skipped.counts().into_iter().filter(|(_, count)| *count > 0);
        let reasons: Vec<_> = reasons.map(|(why, n)| format!("{why} {}", thousands(n))).collect();
        if !reasons.is_empty() {
            let _ = writeln!(shown, "decisions left out: {}", reasons.join(", "));
        }
    }
    if let Some(lists) = lists {
        shown.push_str(&of_lists(lists, changes_max));
    }
    if let Some(kv) = kv {
        shown.push_str(&of_kv(kv, changes_max));
    }
    shown
}

fn seen<T>(looked: &Option<Looked<T>>) -> Option<&T> {
    match looked {
        Some(Looked::Seen(view)) => Some(view),
        _ => None,
    }
}

fn list_row(list: &ListPlan) -> [String; 6] {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for change in &list.changes {
        if let Change::Remove(_, why) = change {
            *reasons.entry(why.as_str()).or_default() += 1;
        }
    }
    let [now, then, come, go] =
        [list.observed(), list.desired, list.added(), list.removed()].map(thousands);
    [list.list.to_string(), now, then, come, go, words(reasons)]
}

fn kv_row(plan: &KvPlan) -> [String; 6] {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    let come: Vec<_> = plan.range_puts().chain(plan.puts()).map(|put| put.why).collect();
    let go = plan.range_removals().map(|removal| removal.why);
    let go: Vec<_> = go.chain(plan.deletes().iter().map(|delete| delete.why)).collect();
    for why in come.iter().chain(&go) {
        *reasons.entry(why.as_str()).or_default() += 1;
    }
    let [now, come, go] = [plan.observed(), come.len() as u64, go.len() as u64].map(thousands);
    ["KV".to_owned(), now, String::new(), come, go, words(reasons)]
}

fn words(reasons: BTreeMap<&str, u64>) -> String {
    let words: Vec<_> =
        reasons.into_iter().map(|(why, n)| format!("{why} {}", thousands(n))).collect();
    words.join(", ")
}

fn of_lists(lists: &ListsView, changes_max: usize) -> String {
    let mut shown = String::new();
    match lists.plan.is_empty() {
        true => shown.push_str("lists: nothing to do\n"),
        false => coloured(&mut shown, &lists.plan.describe(changes_max)),
    }
    let dropped = lists.plan.origins().iter().filter(|origin| origin.dropped > 0);
    for origin in dropped {
        let [dropped, total] = [origin.dropped, origin.total()].map(thousands);
        let _ = writeln!(
            shown,
            "{ODD}no place{ODD:#} for {dropped} of {total} from {} (list_items_max)",
            origin.origin
        );
    }
    if let Some(refusal) = &lists.refusal {
        let _ = writeln!(shown, "{ODD}guard{ODD:#}: {refusal}");
        let left = lists.approved.as_ref().map_or(0, |plan| plan.operations().len());
        let _ = writeln!(
            shown,
            "of the operations above, {left} would be left, without these removals"
        );
    }
    if let Some(left) = lists.rate_limited {
        let minutes = left.as_secs().div_ceil(60);
        let _ = writeln!(
            shown,
            "{ODD}rate limited{ODD:#}: Cloudflare refused the last write; the next is tried in {minutes} min"
        );
    }
    if let Some(id) = &lists.unfinished {
        let _ = writeln!(
            shown,
            "{ODD}unfinished{ODD:#}: bulk operation {id} of an earlier run comes first"
        );
    }
    shown
}

fn of_kv(kv: &KvView, changes_max: usize) -> String {
    let mut text = String::new();
    let puts = kv.plan.range_puts().chain(kv.plan.puts()).map(|put| {
        let (address, value, seconds) = (put.address, put.value, put.ttl_secs);
        format!("+ {address} {value} for {seconds} s (KV; {})", put.why.as_str())
    });
    let deletes = kv.plan.deletes().iter();
    let deletes = deletes.map(|delete| format!("- {} (KV; {})", delete.key, delete.why.as_str()));
    let removals = kv.plan.range_removals();
    let removals = removals.map(|gone| format!("- {} (KV; {})", gone.range, gone.why.as_str()));
    let changes: Vec<_> = puts.chain(removals).chain(deletes).collect();
    let all = changes.len();
    for line in changes.into_iter().take(changes_max) {
        let _ = writeln!(text, "{line}");
    }
    if all > changes_max {
        let _ = writeln!(text, "… and {} more", thousands((all - changes_max) as u64));
    }
    let mut shown = String::new();
    coloured(&mut shown, &text);
    if all == 0 {
        shown.push_str("KV: nothing to do\n");
    }
    if kv.plan.blocked_ranges().count > 0 {
        let _ = writeln!(
            shown,
            "{ODD}ranges{ODD:#}: the key \"ranges\" is not ours to write; without a place: {}",
            kv.plan.blocked_ranges().describe()
        );
    }
    if kv.plan.waiting() > 0 {
        let _ = writeln!(shown, "{ODD}waiting{ODD:#}: {}", kv.plan.describe_waiting());
    }
    if let Some(refusal) = &kv.refusal {
        let _ = writeln!(shown, "{ODD}guard{ODD:#}: {refusal}");
    }
    shown
}

/// What comes in green, what goes in red.
fn coloured(shown: &mut String, text: &str) {
    for line in text.lines() {
        let _ = match line.as_bytes().first() {
            Some(b'+') => writeln!(shown, "{GOOD}{line}{GOOD:#}"),
            Some(b'-') => writeln!(shown, "{GONE}{line}{GONE:#}"),
            _ => writeln!(shown, "{line}"),
        };
    }
}
