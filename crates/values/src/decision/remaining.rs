//! How long a decision still holds: Go's duration text, as LAPI sends it.
//!
//! Source: facts crowdsec 1.1. `875999h59m58.87283113s`, `587.005257ms`, `0s`, `-1m`; LAPI 1.6.3 and
//! later round to whole seconds. There is no unit for days.

use std::time::Duration;

/// Reads a Go duration. What has passed already is zero; what is no duration is `None`.
pub fn parse_go_duration(text: &str) -> Option<Duration> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), digits);
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (unit, after) =
            UNITS.iter().find_map(|(name, nanos)| Some((*nanos, after.strip_prefix(name)?)))?;
        // 30 digits are far beyond what a duration can hold, and still fit.
        if whole.len() > 18 {
            return None;
        }
        nanos += whole.parse::<u128>().unwrap_or(0) * unit;
        let fraction = &fraction[..fraction.len().min(18)];
        if !fraction.is_empty() {
            let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
            nanos += fraction.parse::<u128>().ok()? * unit / scale;
        }
        rest = after;
    }
    if negative {
        return Some(Duration::ZERO);
    }
    let seconds = u64::try_from(nanos / NANOS).ok()?;
    Some(Duration::new(seconds, u32::try_from(nanos % NANOS).ok()?))
}

/// The same in whole seconds, for what nearly all durations are: a few digits of each unit, hours first. `None`
/// for any other, which [`parse_go_duration`] reads.
pub(super) fn plain_secs(text: &str) -> Option<u32> {
    let (mut secs, mut number, mut digits) = (0_u32, 0_u32, 0);
    let mut bytes = text.bytes();
    // What one of the unit before is worth.
    let mut above = u32::MAX;
    while let Some(byte) = bytes.next() {
        let unit = match byte {
            b'0'..=b'9' if digits < 6 => {
                number = number * 10 + u32::from(byte - b'0');
                digits += 1;
                continue;
            }
            b'h' => 3_600,
            b'm' => 60,
            b's' => 1,
            // A part of a second, and then nothing but its unit.
            b'.' if bytes.next_back() == Some(b's') && bytes.all(|byte| byte.is_ascii_digit()) => {
                return (digits > 0 && above > 1).then_some(secs + number);
            }
            _ => return None,
        };
        if digits == 0 || unit >= above {
            return None;
        }
        secs += number * unit;
        (number, digits, above) = (0, 0, unit);
    }
    (digits == 0 && above < u32::MAX).then_some(secs)
}

const NANOS: u128 = 1_000_000_000;

/// Longer names first, so that `m` does not eat the beginning of `ms`. Go writes U+00B5 and reads
/// U+03BC too.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", NANOS),
    ("m", 60 * NANOS),
    ("h", 3_600 * NANOS),
];

fn digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_read_as_go_means_them() {
        for (text, nanos) in [
            ("875999h59m58.87283113s", 3_153_599_998_872_831_130),
            ("587.005257ms", 587_005_257),
            ("3h59m56s", 14_396_000_000_000),
            ("0s", 0),
            ("0", 0),
            ("-1m", 0),
            ("-131.478625ms", 0),
            ("+5s", 5_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("12\u{b5}s", 12_000),
            ("12\u{3bc}s", 12_000),
            ("12us", 12_000),
            ("7ns", 7),
            ("1m1ms", 60_001_000_000),
        ] {
            let read = parse_go_duration(text).map(|d| d.as_nanos());
            assert_eq!(read, Some(nanos), "{text}");
        }
    }

    #[test]
    fn durations_as_lapi_writes_them_are_plain() {
        for (text, secs) in [
            ("875999h59m58.87283113s", Some(3_153_599_998)),
            ("3h59m56s", Some(14_396)),
            ("4h", Some(14_400)),
            ("59m0s", Some(3_540)),
            ("0s", Some(0)),
            ("587.005257ms", None),
            ("1m1ms", None),
            ("1m1h", None),
            ("1s1s", None),
            ("1.5h", None),
            (".5s", None),
            ("-1m", None),
            ("", None),
            ("5", None),
        ] {
            assert_eq!(plain_secs(text), secs, "{text}");
        }
    }

    #[test]
    fn text_that_is_no_duration_read_is_none() {
        for text in ["", "-", "5", "s", "5d", "1h 5m", "h5", "1.2.3s", "9999999999999999999h", "∞"]
        {
            assert_eq!(parse_go_duration(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn plain_duration_read_fast_is_what_the_general_reader_reads(
            text in "[0-9]{0,7}h?[0-9]{0,3}m?[0-9]{0,3}(\\.[0-9]{0,3})?s?|[0-9.hms]{0,12}|[0-9]{0,3}m?s"
        ) {
            if let Some(secs) = plain_secs(&text) {
                let read = parse_go_duration(&text).map(|read| read.as_secs());
                proptest::prop_assert_eq!(read, Some(secs.into()));
            }
        }

        #[test]
        fn any_text_read_never_panics(text in "[-+0-9.hmsnuµμ]{0,40}") {
            let _ = parse_go_duration(&text);
        }
    }
}
