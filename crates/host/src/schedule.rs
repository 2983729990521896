//! When the cron trigger is due. Owns the reading of `cron_expression`, in the syntax of Spin's
//! plugin; not the waiting.

use anyhow::{Context, Result};
use chrono::DateTime;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A `cron_expression`: six fields, seconds first, a seventh (the year) if wanted; in UTC.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
}

impl Schedule {
    /// Reads an expression; the error quotes it.
    pub fn parse(expression: &str) -> Result<Self> {
        // The options of tokio-cron-scheduler, which the plugin uses.
        let cron = CronParser::builder()
            .seconds(Seconds::Required)
            .year(Year::Optional)
            .dom_and_dow(true)
            .build()
            .parse(expression)
            .with_context(|| {
                format!(
                    "cron_expression {expression:?} is not valid; it has six fields: \
                     second minute hour day-of-month month day-of-week"
                )
            })?;
        Ok(Self { cron })
    }

    /// The first due second after `time`; None if there is no more.
    pub fn next_after(&self, time: SystemTime) -> Option<SystemTime> {
        let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
        let time = DateTime::from_timestamp(seconds.try_into().ok()?, 0)?;
        let due = self.cron.find_next_occurrence(&time, false).ok()?;
        Some(UNIX_EPOCH + Duration::from_secs(due.timestamp().try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(expression: &str, time: &str) -> Option<String> {
        let time: DateTime<chrono::Utc> = time.parse().unwrap();
        let time = UNIX_EPOCH + Duration::from_millis(time.timestamp_millis() as u64);
        let due = Schedule::parse(expression).unwrap().next_after(time)?;
        let seconds = due.duration_since(UNIX_EPOCH).unwrap().as_secs();
        Some(DateTime::from_timestamp(seconds as i64, 0).unwrap().to_string())
    }

    #[test]
    fn expression_next_is_the_following_due_second() {
        for (expression, time, due) in [
            ("0 */2 * * * *", "2026-01-01T00:00:00Z", "2026-01-01 00:02:00 UTC"),
            ("0 */2 * * * *", "2026-01-01T00:01:59.9Z", "2026-01-01 00:02:00 UTC"),
            ("* * * * * *", "2026-01-01T00:00:00.5Z", "2026-01-01 00:00:01 UTC"),
            ("30 0 12 * * MON", "2026-01-01T00:00:00Z", "2026-01-05 12:00:30 UTC"),
            ("0 0 0 1 1 * 2030", "2026-01-01T00:00:00Z", "2030-01-01 00:00:00 UTC"),
        ] {
            assert_eq!(next(expression, time).as_deref(), Some(due), "{expression} after {time}");
        }
    }

    #[test]
    fn past_year_next_is_none() {
        assert_eq!(next("0 0 0 1 1 * 2020", "2026-01-01T00:00:00Z"), None);
    }

    #[test]
    fn broken_expression_parse_quotes_it() {
        for expression in ["", "*/2 * * * *", "61 * * * * *", "every minute"] {
            let error = Schedule::parse(expression).unwrap_err().to_string();
            assert!(error.contains(&format!("{expression:?}")), "{error}");
        }
    }
}
