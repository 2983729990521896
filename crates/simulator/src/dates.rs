//! Times as JSON has them. By hand: most of what Cloudflare answers is items with two times each, and the general
//! formatter was a twentieth of a simulation.

use std::time::{SystemTime, UNIX_EPOCH};

/// RFC 3339 in whole seconds, UTC: `2026-07-28T12:00:00Z`. For the years that have four digits.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, left) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let mut text = *b"0000-00-00T00:00:00Z";
    for (at, number) in [
        (0, year / 100),
        (2, year % 100),
        (5, month),
        (8, day),
        (11, left / 3_600),
        (14, left / 60 % 60),
        (17, left % 60),
    ] {
        text[at] = b'0' + (number / 10) as u8;
        text[at + 1] = b'0' + (number % 10) as u8;
    }
    text.into_iter().map(char::from).collect()
}

/// Year, month and day of a day since 1970-01-01. Years begin in March here, so that the leap day ends one.
fn date(days: u64) -> (u64, u64, u64) {
    // Days since 0000-03-01, in periods of 400 years.
    let days = days + 719_468;
    let (period, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (period * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_written_is_as_the_general_formatter_writes_it() {
        // Every day of 270 years, each at another time of the day.
        for day in 0..100_000 {
            let time = UNIX_EPOCH + Duration::from_secs(day * 86_400 + day * 7_919 % 86_400);
            assert_eq!(rfc3339(time), humantime::format_rfc3339_seconds(time).to_string());
        }
    }
}
