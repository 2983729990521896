//! How long each step took the last time in this checkout, so that a person knows whether to wait or to go for
//! a coffee. A note, not a truth: what cannot be read or written is as if it had never been.

use crate::workspace::notes_dir;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Shorter steps are not worth a word.
const WORTH_SAYING: Duration = Duration::from_secs(2);

/// What is said of a step before it begins: ` (3 min 5 s the last time)`, or nothing.
pub(crate) fn the_last_time(what: &str) -> String {
    match read().get(what).copied().map(Duration::from_secs_f64) {
        Some(last) if last >= WORTH_SAYING => format!(" ({} the last time)", spoken(last)),
        _ => String::new(),
    }
}

/// Keeps it for the next time.
pub(crate) fn remember(what: &str, took: Duration) {
    let mut all = read();
    all.insert(what.to_owned(), took.as_secs_f64());
    if let Ok(text) = serde_json::to_string_pretty(&all) {
        let _ = fs::create_dir_all(notes_dir());
        let _ = fs::write(file(), text + "\n");
    }
}

/// `3 min 5 s`, in whole seconds.
pub(crate) fn spoken(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// Only what is a duration: the file is in reach of everybody.
fn read() -> BTreeMap<String, f64> {
    let text = fs::read_to_string(file()).unwrap_or_default();
    let mut all: BTreeMap<String, f64> = serde_json::from_str(&text).unwrap_or_default();
    all.retain(|_, seconds| Duration::try_from_secs_f64(*seconds).is_ok());
    all
}

fn file() -> PathBuf {
    notes_dir().join("durations.json")
}

#[cfg(test)]
mod tests {
    use super::spoken;
    use std::time::Duration;

    #[test]
    fn duration_spoken_is_whole_seconds_and_minutes() {
        for (millis, text) in [
            (0, "0 s"),
            (999, "0 s"),
            (59_999, "59 s"),
            (60_000, "1 min 0 s"),
            (185_000, "3 min 5 s"),
            (4_000_000, "66 min 40 s"),
        ] {
            assert_eq!(spoken(Duration::from_millis(millis)), text);
        }
    }
}
