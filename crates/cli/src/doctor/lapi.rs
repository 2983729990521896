//! CrowdSec's Local API: does it answer, does it take the key, how old is it (facts: crowdsec.md 1.2
//! to 1.5).

use super::Finding;
use super::ask::{ask, describe, get};
use crate::native::Native;
use edge_sync_core::api::lapi::Lapi;
use edge_sync_core::ports::{Answer, Request};
use edge_sync_core::settings::Settings;

const CHECK: &str = "LAPI";
const KEY_CHECK: &str = "LAPI key";

/// An address for documentation (RFC 5737): next to no decision is about it, and LAPI looks for it by
/// number. Without a filter the answer may have 20 MB, and `limit` is ignored before 1.5.0.
const ONE_ADDRESS: &str = "ip=192.0.2.1";

pub(super) async fn examine(native: &Native, settings: &Settings) -> Vec<Finding> {
    let origin = &settings.lapi;
    let health = match ask(native, get(format!("{origin}/health"))).await {
        Ok(health) => health,
        Err(error) => {
            let detail = format!("{origin}: {error}");
            return vec![
                Finding::fail(CHECK, detail, error.remedy("lapi_url")),
                Finding::skipped(KEY_CHECK, "cannot be told before LAPI answers"),
            ];
        }
    };
    vec![reachable(native, settings, &health).await, key(native, settings).await]
}

async fn reachable(native: &Native, settings: &Settings, health: &Answer) -> Finding {
    let origin = &settings.lapi;
    if health.head.status != 200 {
        return Finding::warn(
            CHECK,
            format!("{origin}/health answers {}", describe(health)),
            "check that lapi_url is LAPI itself and not a proxy that hides a part of it",
        );
    }
    // The route exists since 1.6.3, for POST only. No call tells the version itself.
    let usage = ask(native, get(format!("{origin}/v1/usage-metrics"))).await;
    let age = match usage.map(|answer| answer.head.status) {
        Ok(405) => "1.6.3 or newer",
        Ok(404) => "older than 1.6.3",
        _ => "of unknown version",
    };
    Finding::ok(CHECK, format!("{origin} is up; CrowdSec is {age}"))
}

async fn key(native: &Native, settings: &Settings) -> Finding {
    let lapi = Lapi::new(settings.lapi.clone(), settings.lapi_key.clone());
    let decisions = lapi.decisions();
    let url = format!("{}?{ONE_ADDRESS}", decisions.url);
    let answer = match ask(native, Request { url, ..decisions }).await {
        Ok(answer) => answer,
        Err(error) => {
            return Finding::fail(KEY_CHECK, error.to_string(), error.remedy("lapi_url"));
        }
    };
    let said = describe(&answer);
    match answer.head.status {
        // `null` is how LAPI says that there are none.
        200 if answer.body.starts_with(b"null") || answer.body.starts_with(b"[") => {
            Finding::ok(KEY_CHECK, "accepted; decisions can be read")
        }
        403 => Finding::fail(
            KEY_CHECK,
            said,
            "compare lapi_key with `cscli bouncers list`, or make a new one with `cscli bouncers add \
             edge-sync`; if the bouncer is there, read LAPI's log: it answers the same when it cannot \
             read its database",
        ),
        500..600 => Finding::fail(KEY_CHECK, said, "read LAPI's log: it could not look it up"),
        _ => Finding::fail(
            KEY_CHECK,
            format!("{said} is no answer of CrowdSec's Local API"),
            "check that lapi_url is the address of LAPI (port 8080 by default)",
        ),
    }
}
