//! Tells LAPI what is enforced, so that `cscli metrics show bouncers` shows this bouncer like any other.
//!
//! Every fifteen minutes at most, as CrowdSec recommends; the store remembers when. Without one it is
//! not sent at all. A LAPI before 1.6.3 answers 404, which is no news to anybody.

use serde::{Deserialize, Serialize};

use crate::log::{Level, Line, clip};
use crate::ports::Host;
use crate::report::Report;
use crate::run::PUSH_TIMEOUT;
use crate::session::{collect, within};
use crate::settings::Settings;
use crate::wire::lapi::{Usage, usage_metrics};

const KEY: &str = "usage";
const VERSION: u32 = 1;
/// Facts crowdsec 1.7.
const INTERVAL_SECS: u64 = 900;

#[derive(Serialize, Deserialize)]
struct Sent {
    v: u32,
    /// When it was last tried, Unix seconds.
    at: u64,
}

/// Sends what `report` says is enforced, if it is time. That this fails is a warning and nothing more.
pub(crate) async fn send<H: Host>(settings: &Settings, report: &Report, host: &H) {
    let Some(origins) = report.enforced().filter(|_| !settings.dry_run) else { return };
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
        let (head, body) = host.send(usage_metrics(settings, &usage)).await?;
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

/// Whether the last time is long enough ago; remembers this one. A time in the future is a clock that
/// was put back.
fn is_time(host: &impl Host, now: u64) -> bool {
    let Ok(stored) = host.get(KEY) else { return false };
    let sent = stored.and_then(|bytes| serde_json::from_slice::<Sent>(&bytes).ok());
    let last = sent.filter(|sent| sent.v == VERSION && sent.at <= now).map(|sent| sent.at);
    if last.is_some_and(|at| now < at + INTERVAL_SECS) {
        return false;
    }
    let bytes = serde_json::to_vec(&Sent { v: VERSION, at: now });
    host.set(KEY, &bytes.expect("numbers always serialise")).is_ok()
}
