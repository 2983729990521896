//! What `plan` and `why` show of the rules of zones, the small and fast level above the lists.

use crate::words::{GONE, GOOD, ODD, duration, harmless, plural, thousands, wrapped};
use anstyle::Style;
use edge_sync_core::decision::Remediation;
use edge_sync_core::run::{Delta, InRule, RuleView, ZoneView};
use std::fmt::Write as _;

/// How many addresses of a kind are named in one line; JSON has them all.
const NAMED_MAX: usize = 8;

/// What a run would say in the rules of each zone.
pub(super) fn of_zones(shown: &mut String, zones: &[ZoneView]) {
    for zone in zones {
        if let Some(error) = &zone.error {
            let text = format!("{GONE}rules{GONE:#}: {}", harmless(error));
            let _ = writeln!(shown, "{}", wrapped(&text, 4));
            continue;
        }
        let name = harmless(&zone.zone);
        let mut line = |style: Style, text: &str| {
            let text = format!("{style}zone{style:#} {name}: {text}");
            let _ = writeln!(shown, "{}", wrapped(&text, 4));
        };
        if let Some(left) = zone.wait_secs {
            line(ODD, &format!("its rules are left alone for {} more", duration(left)));
        }
        if zone.wrong_order {
            let text = "the challenge stands before the ban, so that who is banned meets a challenge: \
                        move the rule that bans before it";
            line(ODD, text);
        }
        for rule in &zone.rules {
            let (style, text) = of_rule(rule);
            line(style, &format!("{}: {text}", rule.rule));
        }
    }
}

fn of_rule(rule: &RuleView) -> (Style, String) {
    if let Some(problem) = &rule.problem {
        return (ODD, harmless(problem));
    }
    let parts = [
        ("fresh", named(&rule.fresh)),
        ("lifted", named(&rule.lifted)),
        ("by country or AS", named(&rule.regions)),
        ("without room", named(&rule.waiting)),
    ];
    let parts = parts.into_iter().filter(|(_, of)| !of.is_empty());
    let parts: Vec<_> = parts.map(|(what, of)| format!("{what} {of}")).collect();
    let [characters, max] = [rule.characters, rule.characters_max].map(thousands);
    let mut text = match parts.is_empty() {
        true => "says nothing beyond its list".to_owned(),
        false => format!("{}; {characters} of {max} characters", parts.join("; ")),
    };
    if rule.due {
        text.push_str("; to be written with the next run");
    }
    if !rule.enabled {
        text.push_str("; it is switched off: switch it on, if you did not do that on purpose");
    }
    let is_well = rule.enabled && rule.waiting.is_empty() && !rule.due;
    (if is_well { GOOD } else { ODD }, text)
}

fn named<T: ToString>(of: &[T]) -> String {
    let names = of.iter().take(NAMED_MAX).map(|one| harmless(&one.to_string()));
    let names = names.collect::<Vec<_>>().join(" ");
    match of.len() - of.len().min(NAMED_MAX) {
        0 => names,
        more => format!("{names} and {} more", thousands(more as u64)),
    }
}

/// Whether any rule is not as it should be, or cannot be told.
pub(super) fn differ(zones: &[ZoneView]) -> bool {
    zones.iter().any(|zone| {
        let of_rule =
            |rule: &RuleView| rule.due || rule.problem.is_some() || !rule.waiting.is_empty();
        zone.error.is_some() || zone.rules.iter().any(of_rule)
    })
}

/// What the rules of zones do with one address beyond the lists: a line for each that says the same.
pub(super) fn about(rules: &[InRule]) -> Vec<(Style, String)> {
    let mut lines: Vec<(Style, String, u64)> = Vec::new();
    for rule in rules {
        let (style, text) = in_rule(rule);
        match lines.iter_mut().find(|(_, said, _)| *said == text) {
            Some((.., zones)) => *zones += 1,
            None => lines.push((style, text, 1)),
        }
    }
    let lines = lines.into_iter().map(|(style, text, zones)| {
        let text = format!("in {}: {text}", plural(zones, "zone"));
        (style, text)
    });
    lines.collect()
}

fn in_rule(rule: &InRule) -> (Style, String) {
    let (does, undone) = match rule.rule {
        Remediation::Ban => ("blocked", "not blocked"),
        Remediation::Captcha => ("challenged", "not challenged"),
    };
    let delta = "by the rule's delta";
    match (rule.now, rule.wanted) {
        (Some(Delta::Fresh), Some(Delta::Fresh)) => {
            (GOOD, format!("{does} {delta}, waiting for the list"))
        }
        (Some(Delta::Lifted), Some(Delta::Lifted)) => {
            (GOOD, format!("{undone} {delta}, waiting for the list to let it go"))
        }
        (_, Some(Delta::Fresh)) => (ODD, format!("to be {does} {delta} with the next run")),
        (_, Some(Delta::Lifted)) => {
            (ODD, format!("to be {undone} {delta} with the next run, whatever the list says"))
        }
        (_, None) if rule.waiting => {
            (ODD, "no room in the rule: it waits for the list (rules_characters_max)".to_owned())
        }
        (Some(Delta::Fresh), None) => (ODD, format!("{does} {delta}, until the next run")),
        (Some(Delta::Lifted), None) => (ODD, format!("{undone} {delta}, until the next run")),
        (None, None) => (GOOD, "left to the list".to_owned()),
    }
}
