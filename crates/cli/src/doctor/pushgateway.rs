//! The Pushgateway: is it ready (its README, "Management API").

use super::Finding;
use super::ask::{ask, describe, get};
use crate::native::Native;
use edge_sync_core::settings::Settings;

const CHECK: &str = "Pushgateway";

pub(super) async fn examine(native: &Native, settings: &Settings) -> Finding {
    let Some(origin) = &settings.pushgateway else {
        return Finding::skipped(CHECK, "off (pushgateway_url is not set): no metrics are pushed");
    };
    // A run without metrics is a run all the same: nothing here fails.
    match ask(native, get(format!("{origin}/-/ready"))).await {
        Ok(answer) if answer.head.status == 200 => Finding::ok(CHECK, format!("{origin} is ready")),
        Ok(answer) => Finding::warn(
            CHECK,
            format!("{origin}/-/ready answers {}", describe(&answer)),
            "check that pushgateway_url is the origin of a Prometheus Pushgateway, and read its log",
        ),
        Err(error) => Finding::warn(
            CHECK,
            format!("{origin}: {error}; runs go on without metrics"),
            error.remedy("pushgateway_url"),
        ),
    }
}
