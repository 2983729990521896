//! `edge-sync why`: everything about one address, and the rule that decides.

use super::look::{is_blind, look, sides};
use super::rules;
use super::{AppArgs, print};
use crate::words::{GOOD, ODD, duration, harmless, until, wait, wrapped};
use anstyle::Style;
use anyhow::Result;
use edge_sync_core::address::Address;
use edge_sync_core::decision::parse_go_duration;
use edge_sync_core::run::{About, InKv, Inspection, OnLists, Seen, Side, Wanted};
use serde::Serialize;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Show why an address is, or is not, at the edge.
///
/// Exit code 1 if LAPI, the lists, the rules of a zone or KV cannot be read. Colours under a terminal, unless NO_COLOR is set.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An IPv4 or IPv6 address, or a CIDR, in any spelling.
    address: Address,
    #[command(flatten)]
    app: AppArgs,
    /// Print everything as JSON (crates/cli/schemas/why.json); what is not known is null.
    #[arg(long)]
    json: bool,
}

/// What JSON shows.
#[derive(Serialize)]
struct Told<'a> {
    sides: &'a [Side],
    about: &'a Option<About>,
}

/// Looks, and shows.
pub async fn execute(args: Args) -> Result<ExitCode> {
    let inspection = look(&args.app.options()?, Some(args.address)).await?;
    let told = Told { sides: &inspection.sides, about: &inspection.about };
    let shown = match args.json {
        true => serde_json::to_string_pretty(&told)? + "\n",
        false => render(&inspection),
    };
    print(&shown)?;
    Ok(if is_blind(&inspection) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The decisions, where the address stands, and why.
pub fn render(inspection: &Inspection) -> String {
    let mut shown = sides(inspection);
    let Some(about) = &inspection.about else { return shown };
    let _ = writeln!(shown, "{}", about.address);
    let mut line = |text: &str| {
        let _ = writeln!(shown, "{}", wrapped(text, 6));
    };
    match about.decisions.as_deref() {
        None => line("  which decisions are on it is not known"),
        Some([]) => line("  no decision is on it, or on a prefix that contains it"),
        Some(decisions) => decisions.iter().for_each(|seen| line(&decision(about, seen))),
    }
    if let Some(rule) = about.protected {
        let text =
            format!("{ODD}protected{ODD:#}: never blocked ({rule}); decisions on it are left out");
        line(&text);
    }
    if let Some(lists) = &about.lists {
        let (style, text) = on_lists(about, lists);
        line(&format!("{style}lists{style:#}: {text}"));
    }
    for (style, text) in rules::about(&about.rules) {
        line(&format!("{style}rules{style:#}: {text}"));
    }
    if let Some(kv) = &about.kv {
        let (style, text) = in_kv(about, kv);
        line(&format!("{style}KV{style:#}: {text}"));
    }
    shown
}

/// `  ban 203.0.113.0/24 (scope Range) for 3h59m, by crowdsec: crowdsecurity/ssh-bf: counts`.
fn decision(about: &About, seen: &Seen) -> String {
    let [remediation, value, scope, origin, scenario] =
        [&seen.remediation, &seen.value, &seen.scope, &seen.origin, &seen.scenario]
            .map(|text| harmless(text));
    let lasts = match parse_go_duration(&seen.duration) {
        Some(lasts) => duration(lasts.as_secs()),
        None => harmless(&seen.duration),
    };
    let counts = match (seen.left_out, seen.protected) {
        (None, _) => "counts".to_owned(),
        (Some(_), Some(rule)) if about.protected.is_none() => {
            format!("left out whole, because an address in {value} is protected ({rule})")
        }
        (Some(reason), _) => format!("left out: {}", in_words(reason)),
    };
    let scenario = if scenario.is_empty() { scenario } else { format!(", {scenario}") };
    format!(
        "  {remediation} on {value} (scope {scope}) for {lasts}, by {origin}{scenario}: {counts}"
    )
}

/// Where it stands on the lists, and which rule decides.
fn on_lists(about: &About, lists: &OnLists) -> (Style, String) {
    let is = match lists.at_edge.as_deref() {
        None => "whether it is at the edge is not known".to_owned(),
        Some([]) => "not at the edge".to_owned(),
        Some(on) => {
            let on: Vec<_> = on.iter().map(ToString::to_string).collect();
            format!("on {}", on.join(" and "))
        }
    };
    let inside = lists.inside.iter().flatten();
    let inside: Vec<_> = inside.map(|(item, list)| format!("; inside {item} ({list})")).collect();
    let is = is + &inside.concat();
    let Some(desired) = lists.desired else {
        return (ODD, format!("{is}; what is desired is not known"));
    };
    let Some(verdict) = &lists.verdict else {
        let desired = match desired {
            Wanted::Nothing => not_desired(about),
            Wanted::Ban => "it should be on ban".to_owned(),
            Wanted::Captcha => "it should be on captcha".to_owned(),
        };
        return (ODD, format!("{is}; {desired}"));
    };
    let next = match &verdict.wait {
        Some(what) => format!("which waits: {}", wait(what)),
        None => "with the next run".to_owned(),
    };
    let is_there =
        |wanted: &str| lists.at_edge.iter().flatten().any(|list| list.as_str() == wanted);
    let is_at_edge = lists.at_edge.as_ref().is_some_and(|on| !on.is_empty());
    let (style, why) = match (desired, verdict.covered_by) {
        (Wanted::Ban | Wanted::Captcha, _) if verdict.set_aside => (
            ODD,
            "desired, but Cloudflare refuses it as a value; it is tried again within a day"
                .to_owned(),
        ),
        (Wanted::Ban | Wanted::Captcha, _) if verdict.without_place => (
            ODD,
            "desired, but others go first: more decisions than places (list_items_max)".to_owned(),
        ),
        (Wanted::Ban, _) if is_there("ban") => (GOOD, "as it should be".to_owned()),
        (Wanted::Captcha, _) if is_there("captcha") => (GOOD, "as it should be".to_owned()),
        (Wanted::Ban, _) => (ODD, format!("to be added to ban, {next}")),
        (Wanted::Captcha, _) => (ODD, format!("to be added to captcha, {next}")),
        (Wanted::Nothing, Some(range)) if !is_at_edge => {
            (GOOD, format!("no place of its own: {range} covers it (skip_covered)"))
        }
        (Wanted::Nothing, Some(range)) => {
            (ODD, format!("{range} covers it (skip_covered); to be removed, {next}"))
        }
        (Wanted::Nothing, None) if is_at_edge => {
            let why = match verdict.was_wanted {
                Some(false) => {
                    "not CrowdSec's: no decision asks for it, and none ever did as far as is \
                                remembered"
                        .to_owned()
                }
                _ if verdict.change.iter().any(|(_, why)| *why == "ran_out") => {
                    "the time of its decision is over".to_owned()
                }
                _ => not_desired(about),
            };
            let goes = match (verdict.held, verdict.is_let_go) {
                (Some(when), _) => {
                    format!("the guard holds the removal back; it goes {}", until(when))
                }
                (None, true) => format!("the guard held it so far and lets it go, {next}"),
                (None, false) => format!("to be removed, {next}"),
            };
            (ODD, format!("{why}; {goes}"))
        }
        (Wanted::Nothing, None) => (GOOD, not_desired(about)),
    };
    (style, format!("{is}: {why}"))
}

fn in_kv(about: &About, kv: &InKv) -> (Style, String) {
    let what = if about.address.is_single() { "key" } else { "range" };
    let is = match (kv.at_edge, kv.value) {
        (None, _) => format!("whether it has a {what} is not known"),
        (Some(false), _) => format!("no {what}"),
        (Some(true), None) => format!("a {what} that this program did not write"),
        (Some(true), Some(value)) => format!("{what} says {value}"),
    };
    let inside: Vec<_> =
        kv.inside.iter().map(|(range, value)| format!("; inside {range} ({value})")).collect();
    let other = kv.other.as_ref().map(|other| {
        let says = other.value.map_or("not there".to_owned(), |value| value.to_string());
        format!("; in {}, which are not served: {says}", other.layout)
    });
    let is = is + &inside.concat() + &other.unwrap_or_default();
    let Some(desired) = kv.desired else {
        return (ODD, format!("{is}; what is desired is not known"));
    };
    let value = kv.value.map(Some).map(Wanted::from);
    let should = match desired {
        Wanted::Nothing => None,
        Wanted::Ban => Some("ban"),
        Wanted::Captcha => Some("captcha"),
    };
    let Some(verdict) = &kv.verdict else {
        let desired =
            should.map_or_else(|| not_desired(about), |value| format!("it should be {value}"));
        return (ODD, format!("{is}; {desired}"));
    };
    let next = match verdict.waits_for_budget {
        true => "when the day's budget allows (kv_daily_writes_max)",
        false => "with the next run",
    };
    let (style, why) = match should {
        Some(_) if value == Some(desired) && verdict.change.is_none() => {
            (GOOD, "as it should be".to_owned())
        }
        Some(_) if value == Some(desired) => {
            (GOOD, format!("as it should be; written again {next}"))
        }
        Some(value) => (ODD, format!("should be {value}; to be written {next}")),
        None if kv.at_edge == Some(true) => {
            let why = match verdict.was_wanted {
                Some(false) => {
                    "not CrowdSec's: no decision asks for it, and none ever did as far as is \
                                remembered"
                        .to_owned()
                }
                _ => not_desired(about),
            };
            let goes = match (verdict.held, verdict.change) {
                (Some(when), _) => {
                    format!("the guard holds the removal back; it goes {}", until(when))
                }
                (None, Some(_)) if verdict.is_let_go => {
                    format!("the guard held it so far and lets it go, {next}")
                }
                (None, Some(_)) => format!("to be deleted {next}"),
                (None, None) => format!("the {what} runs out, or goes with a later run"),
            };
            (ODD, format!("{why}; {goes}"))
        }
        None => (GOOD, not_desired(about)),
    };
    (style, format!("{is}: {why}"))
}

/// The rule that keeps it out.
fn not_desired(about: &About) -> String {
    if let Some(rule) = about.protected {
        return format!("protected ({rule})");
    }
    let decisions = about.decisions.as_deref().unwrap_or_default();
    let whole = decisions.iter().find_map(|seen| Some((&seen.value, seen.protected?)));
    if let Some((range, rule)) = whole {
        return format!(
            "{} is not sent, because it contains a protected address ({rule})",
            harmless(range)
        );
    }
    match decisions.iter().find_map(|seen| seen.left_out) {
        Some(reason) => format!("none of its decisions counts here: {}", in_words(reason)),
        None if decisions.is_empty() => "no decision asks for it".to_owned(),
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
