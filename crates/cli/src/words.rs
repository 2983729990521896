//! How the tool speaks to people: durations, counts, wrapped lines, and text from outside made harmless.

use anstyle::{AnsiColor, Style};
use edge_sync_core::api::cloudflare::expression::Parts;
use edge_sync_core::run::{EdgeStatus, Guard, Until, WaitView, ZoneStatus, ZoneWait};
use edge_sync_core::state::edge::Trust;
use edge_sync_core::state::rules::{Cause, RegionsTaken};
use textwrap::{Options, WordSeparator, WordSplitter};

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const GONE: Style = AnsiColor::Red.on_default();
pub(crate) const ODD: Style = AnsiColor::Yellow.on_default();

/// What fits beside another window.
const COLUMNS: usize = 80;

/// Broken into lines of at most 80 columns, all but the first indented.
pub(crate) fn wrapped(text: &str, indent: usize) -> String {
    let indent = " ".repeat(indent);
    let options = Options::new(COLUMNS)
        .subsequent_indent(&indent)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .break_words(false);
    textwrap::fill(text, options)
}

/// `45 s`, `28 min`, `3 h 59 min`, `2 d 3 h`; rounded up, for what has yet to pass.
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..86_400 => hours(seconds.div_ceil(60)),
        _ => days(seconds.div_ceil(3_600)),
    }
}

/// The same, rounded down, for what has passed.
pub(crate) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..86_400 => hours(seconds / 60),
        _ => days(seconds / 3_600),
    }
}

fn hours(minutes: u64) -> String {
    match (minutes / 60, minutes % 60) {
        (24.., _) => days(minutes / 60),
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

fn days(hours: u64) -> String {
    match (hours / 24, hours % 24) {
        (days, 0) => format!("{days} d"),
        (days, hours) => format!("{days} d {hours} h"),
    }
}

/// `4,996`.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).expect("digits"))
        .collect();
    groups.join(",")
}

/// `1 item`, `2,000 items`.
pub(crate) fn plural(n: u64, noun: &str) -> String {
    let ending = match n {
        1 => "",
        _ if noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{} {noun}{ending}", thousands(n))
}

/// Text from outside that cannot forge a line, move the cursor, or turn the direction of what follows.
pub(crate) fn harmless(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_line = |c: char| matches!(c, '\u{2028}' | '\u{2029}');
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || turns(c) || is_line(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// When the guard lets something go.
pub(crate) fn until(until: Until) -> String {
    let by_runs = match until.runs {
        1 => "with the next run".to_owned(),
        runs => format!("with the {} run from now", ordinal(runs)),
    };
    match until.seconds {
        0 => by_runs,
        seconds if until.runs == 1 => {
            format!("with the first run in {} or later", duration(seconds))
        }
        seconds => format!("{by_runs}, in {} at the earliest", duration(seconds)),
    }
}

fn ordinal(n: u64) -> String {
    let ending = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

/// Why the guard holds removals back, and when they go. `foreign` is how many are certainly not CrowdSec's.
pub(crate) fn guard(guard: &Guard, foreign: Option<u64>) -> String {
    let why = match guard.rule {
        "empty" | "replaced" if foreign.is_some_and(|foreign| foreign >= guard.held) => {
            "nothing of what is there was ever CrowdSec's, so perhaps it is the wrong place"
        }
        "empty" => "LAPI has no decision left for the edge; perhaps it lost its database",
        "replaced" => "nothing of what is there is desired any more",
        _ => "too many would go at once (removal_guard_percent, removal_guard_count)",
    };
    format!(
        "holds {} back: {why}. They go by themselves {}, or at once with removals_approved_until set to a time \
         soon after now",
        plural(guard.held, "removal"),
        until(guard.until),
    )
}

/// What a write to the lists waits for.
pub(crate) fn wait(wait: &WaitView) -> String {
    let why = match wait.why {
        "throttled" => "Cloudflare throttled the last write",
        "failed" => "the last bulk operation failed",
        "refused" => "Cloudflare refused the last write",
        "denied" => "cf_api_token may not write to the lists",
        "unanswered" => "the last write was not answered",
        "interval" => {
            "nothing urgent, and the last write was a moment ago (write_interval_seconds)"
        }
        "company" => "writes are scarce here, so removals wait for something urgent to go with",
        "operation" => {
            let id = wait.operation.as_deref().unwrap_or_default();
            return format!("bulk operation {} of an earlier run is not finished", harmless(id));
        }
        _ => return "there is no room for it in this write".to_owned(),
    };
    match wait.seconds {
        Some(seconds) => format!("{why}; the next is tried in {}", duration(seconds)),
        None => why.to_owned(),
    }
}

/// What an expression says beyond its list, by how many; `None` = nothing.
pub(crate) fn delta(parts: &Parts) -> Option<String> {
    let Parts { lifted, fresh, countries, asns } = parts;
    let parts = [
        (fresh.of.len(), "fresh"),
        (lifted.len(), "lifted"),
        (countries.of.len() + asns.of.len(), "by country or AS"),
    ];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    let parts: Vec<_> = parts.map(|(count, what)| format!("{count} {what}")).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// What keeps changes from the rules of a zone.
pub(crate) fn zone_wait(wait: ZoneWait) -> String {
    let left = duration(wait.seconds);
    match wait.why {
        Cause::Busy => {
            format!("Cloudflare was busy with its rules; the next change is tried in {left}")
        }
        Cause::Denied => format!(
            "cf_api_token may not change its rules; tried again in {left}, or at once with another token"
        ),
        Cause::Refused => format!(
            "Cloudflare refused one text after the other for its rules; the next is tried in {left}"
        ),
    }
}

/// What Cloudflare refused for the rules of a zone, and what follows.
pub(crate) fn zone_refusals(zone: &ZoneStatus) -> Vec<String> {
    let texts = (zone.refused_texts > 0).then(|| {
        let texts = plural(zone.refused_texts, "text");
        let is = if zone.refused_texts == 1 { "is" } else { "are" };
        format!("{texts} that Cloudflare refused {is} not sent again for an hour")
    });
    let which = match zone.regions {
        RegionsTaken::All => None,
        RegionsTaken::InForce => Some("countries and autonomous systems that are not in force yet"),
        RegionsTaken::None => Some("all countries and autonomous systems"),
    };
    let regions = which.zip(zone.regions_secs).map(|(which, left)| {
        format!("{which} are left out for {}, because Cloudflare refused them", duration(left))
    });
    texts.into_iter().chain(regions).collect()
}

/// How the lists are read, and when they last were as a whole.
pub(crate) fn lists_read(edge: EdgeStatus) -> String {
    let read = match edge.read_secs {
        Some(secs) => format!("read whole {} ago", age(secs)),
        None => "never read whole, as far as is remembered here".to_owned(),
    };
    match edge.trust {
        Trust::Unknown => read,
        Trust::Learned => {
            format!("{read}; one request a run while Cloudflare says that nothing has changed")
        }
        Trust::Ended => format!(
            "{read}, by every run: they have changed when Cloudflare said that they had not"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_as_people_say_them() {
        for (seconds, up, down) in [
            (0, "0 s", "0 s"),
            (59, "59 s", "59 s"),
            (61, "2 min", "1 min"),
            (3_600, "1 h", "1 h"),
            (14_340, "3 h 59 min", "3 h 59 min"),
            (86_399, "1 d", "23 h 59 min"),
            (90_001, "1 d 2 h", "1 d 1 h"),
            (172_800, "2 d", "2 d"),
        ] {
            assert_eq!((duration(seconds), age(seconds)), (up.to_owned(), down.to_owned()));
        }
    }

    #[test]
    fn long_line_wrapped_is_at_most_80_columns_and_hangs() {
        let text = format!("{GOOD}lists{GOOD:#}: {}", "words and words ".repeat(12));
        let shown = anstream::adapter::strip_str(&wrapped(&text, 4)).to_string();
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        assert!(
            shown
                .lines()
                .skip(1)
                .all(|line| line.starts_with("    w") || line.starts_with("    a"))
        );
        assert!(shown.lines().count() > 2);
    }

    #[test]
    fn hostile_text_is_harmless() {
        assert_eq!(harmless("a\n\u{1b}[2Jb\u{202e}c"), r"a\u{a}\u{1b}[2Jb\u{202e}c");
        assert_eq!(harmless("é 中"), "é 中");
    }

    #[test]
    fn guards_end_is_told_by_runs_and_time() {
        for (runs, seconds, says) in [
            (1, 0, "with the next run"),
            (1, 300, "with the first run in 5 min or later"),
            (3, 0, "with the 3rd run from now"),
            (2, 1_750, "with the 2nd run from now, in 30 min at the earliest"),
        ] {
            assert_eq!(until(Until { runs, seconds }), says);
        }
    }
}
