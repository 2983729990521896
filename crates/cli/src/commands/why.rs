//! `host why`: everything about one address, and the rule that decides.

use super::AppArgs;
use super::look::{GONE, GOOD, ODD, errors, look, print};
use anyhow::Result;
use comfy_table::{Table, presets};
use edge_sync_core::address::Address;
use edge_sync_core::run::{About, InKv, Inspection, OnLists};
use std::fmt::Write as _;
use std::process::ExitCode;

/// Show why an address is, or is not, at the edge.
///
/// Exit code 1 if a side cannot be read. Colours under a terminal, unless NO_COLOR is set.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An IPv4 or IPv6 address, or a CIDR, in any spelling.
    address: Address,
    #[command(flatten)]
    app: AppArgs,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

/// Looks, and shows.
pub async fn execute(args: Args) -> Result<ExitCode> {
    let inspection = look(&args.app.options(), Some(args.address)).await?;
    let shown = match args.json {
        true => serde_json::to_string_pretty(&inspection.about)? + "\n",
        false => render(&inspection),
    };
    print(&shown, &inspection)
}

/// The decisions in a table, where the address stands, and why.
pub fn render(inspection: &Inspection) -> String {
    let mut shown = String::new();
    for error in errors(inspection) {
        let _ = writeln!(shown, "{GONE}cannot be read{GONE:#}: {error}");
    }
    let Some(about) = &inspection.about else { return shown };
    let _ = writeln!(shown, "{}", about.address);
    if about.decisions.is_empty() {
        shown.push_str("  no decision is on it, or on a prefix that contains it\n");
    } else {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["", "value", "scope", "for", "origin", "scenario", "counts"]);
        for seen in &about.decisions {
            let counts = match seen.left_out {
                None => "yes".to_owned(),
                Some(reason) => format!("no: {}", in_words(reason)),
            };
            let [remediation, value, scope, duration, origin, scenario] = [
                &seen.remediation,
                &seen.value,
                &seen.scope,
                &seen.duration,
                &seen.origin,
                &seen.scenario,
            ];
            table.add_row([remediation, value, scope, duration, origin, scenario, &counts]);
        }
        for line in table.lines() {
            let _ = writeln!(shown, "  {}", line.trim_end());
        }
    }
    if let Some(rule) = about.protected {
        let _ = writeln!(
            shown,
            "{ODD}protected{ODD:#}: never blocked ({rule}); decisions on it are left out"
        );
    }
    if let Some(lists) = &about.lists {
        let (style, text) = on_lists(about, lists);
        let _ = writeln!(shown, "{style}lists{style:#}: {text}");
    }
    if let Some(kv) = &about.kv {
        let (style, text) = in_kv(about, kv);
        let _ = writeln!(shown, "{style}KV{style:#}: {text}");
    }
    shown
}

/// Where it stands on the lists, and which rule decides.
fn on_lists(about: &About, lists: &OnLists) -> (anstyle::Style, String) {
    let is = match lists.at_edge.as_slice() {
        [] => "not at the edge".to_owned(),
        on => {
            let on: Vec<_> = on.iter().map(ToString::to_string).collect();
            format!("on {}", on.join(" and "))
        }
    };
    let inside: Vec<_> =
        lists.inside.iter().map(|(item, list)| format!("; inside {item} ({list})")).collect();
    let is = is + &inside.concat();
    let (style, why) = match (lists.desired, lists.covered_by) {
        (Some(_), _) if lists.without_place => (
            ODD,
            "desired, but others go first: more decisions than places (list_items_max)".to_owned(),
        ),
        (Some(list), _) if lists.at_edge.contains(&list) => (GOOD, "as it should be".to_owned()),
        (Some(list), _) => (ODD, format!("the next write adds it to {list}")),
        (None, Some(range)) => {
            (GOOD, format!("no place of its own: {range} covers it (skip_covered)"))
        }
        (None, None) if !lists.at_edge.is_empty() && lists.held => (
            ODD,
            "no decision asks for it any more; the guard holds the removal back (see `host plan`)"
                .to_owned(),
        ),
        (None, None) if !lists.at_edge.is_empty() => {
            (ODD, format!("{}; the next write removes it", not_desired(about)))
        }
        (None, None) => (GOOD, not_desired(about)),
    };
    (style, format!("{is}: {why}"))
}

fn in_kv(about: &About, kv: &InKv) -> (anstyle::Style, String) {
    let what = if about.address.is_single() { "key" } else { "range" };
    let is = match (kv.at_edge, kv.value) {
        (false, _) => format!("no {what}"),
        (true, None) => format!("a {what} that this program did not write"),
        (true, Some(value)) => format!("{what} says {value}"),
    };
    let inside: Vec<_> =
        kv.inside.iter().map(|(range, value)| format!("; inside {range} ({value})")).collect();
    let is = is + &inside.concat();
    let (style, why) = match kv.desired {
        Some(value) if kv.value == Some(value) => (GOOD, "as it should be".to_owned()),
        Some(value) => (ODD, format!("should be {value}; the next run writes it")),
        None if kv.at_edge => (ODD, format!("{}; the {what} goes or runs out", not_desired(about))),
        None => (GOOD, not_desired(about)),
    };
    (style, format!("{is}: {why}"))
}

/// The rule that keeps it out.
fn not_desired(about: &About) -> String {
    if let Some(rule) = about.protected {
        return format!("protected ({rule})");
    }
    match about.decisions.iter().find_map(|seen| seen.left_out) {
        Some(reason) => format!("none of its decisions counts here: {}", in_words(reason)),
        None if about.decisions.is_empty() => "no decision asks for it".to_owned(),
        None => "no decision asks for exactly this address".to_owned(),
    }
}

/// The reasons for which a decision is left out, as metrics name them, with the setting behind each.
fn in_words(reason: &str) -> &str {
    match reason {
        "origin" => "its origin is not wanted (origins_include, origins_exclude)",
        "scenario" => "its scenario is not wanted (scenarios_exclude)",
        "scope" => "its scope is not sent (scopes)",
        "type" => "it is neither ban nor captcha",
        "not_an_address" => "its value is no address",
        "protected" => "the address is protected (never_block, never_block_builtin)",
        "without_list" => "no list is set for it (captcha_as_ban, ban_as_captcha)",
        "prefix" => "Cloudflare takes no prefix as wide as this",
        "prefix_in_kv" => "a prefix goes into KV only with scopes=ip,range",
        other => other,
    }
}
