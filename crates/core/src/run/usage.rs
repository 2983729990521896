//! Tells LAPI what is enforced, so that `cscli metrics show bouncers` shows this bouncer like any other.
//!
//! Every fifteen minutes at most, as CrowdSec recommends; the store remembers when. Without one it is
//! not sent at all. A LAPI before 1.6.3 answers 404, which is no news to anybody.

use crate::api::lapi::{Lapi, Usage};
use crate::log::{Level, Line, clip};
use crate::ports::Host;
use crate::report::Report;
use crate::session::{PUSH_TIMEOUT, collect, within};
use crate::state::{Remembered, UsageSent};

/// How often it is sent (facts crowdsec 1.7).
const INTERVAL_SECS: u64 = 900;

/// Sends what `report` says is enforced, if it is time. That this fails is a warning and nothing more.
pub(crate) async fn send<H: Host>(lapi: &Lapi, report: &Report, host: &H) {
    let Some(origins) = report.enforced() else { return };
    let since_epoch = host.wall().duration_since(std::time::UNIX_EPOCH);
    let now = since_epoch.unwrap_or_default().as_secs();
    if !is_time(host, now) {
        return;
    }
    let active = origins.iter().flat_map(|counts| {
        [("ipv4", counts.ipv4), ("ipv6", counts.ipv6)]
            .map(|(ip_type, value)| (clip(&counts.origin, 255), ip_type, value))
    });
    let usage = Usage {
        began: now.saturating_sub(report.duration.as_secs()),
        now,
        window: INTERVAL_SECS,
        active: active.collect(),
    };
    let answer = within(host, PUSH_TIMEOUT, async {
        let (head, body) = host.send(lapi.usage_metrics(&usage)).await?;
        Ok((head.status, collect(body, 64 << 10).await.unwrap_or_default()))
    });
    let why = match answer.await.and_then(|answer| answer) {
        Ok((200..300 | 404, _)) => return,
        Ok((status, body)) => {
            format!("HTTP {status}: {}", clip(&String::from_utf8_lossy(&body), 120))
        }
        Err(error) => error.to_string(),
    };
    let text = format!("LAPI does not take the usage metrics: {why}");
    host.log(&Line::new(Level::Warn, "usage_metrics", text));
}

/// Whether the last time is long enough ago; remembers this one.
fn is_time(host: &impl Host, now: u64) -> bool {
    let mut sent = Remembered::<UsageSent>::load(host, now);
    if sent.store_error().is_some() {
        return false;
    }
    let is_time = now.saturating_sub(sent.at) >= INTERVAL_SECS;
    let stored = match is_time {
        true => sent.change(host, |sent| sent.at = now),
        // A time that was brought back to now is kept so, or the wait would begin anew at every run.
        false => sent.save(host),
    };
    is_time && stored.is_ok()
}
