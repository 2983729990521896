//! CrowdSec's Local API: the one request that we make, and what its answers mean.

use crate::settings::Settings;

use super::{Method, Request, excerpt};

/// `GET /v1/decisions`: a full snapshot, every time.
///
/// Without filters and pages, on purpose: an unknown filter silently returns everything, `type=` is
/// case-sensitive, and LAPI 1.4 ignores `limit` (facts crowdsec 1.2). Not `/decisions/stream`: it
/// can end as valid JSON with half of the rows (1.4). The path has no slash at its end: LAPI answers
/// that with 301.
pub fn decisions(settings: &Settings) -> Request {
    Request::new(Method::Get, format!("{}/v1/decisions", settings.lapi))
        .header("x-api-key", settings.lapi_key.expose())
}

/// What an answer with another status than 200 says to the operator.
///
/// 403 is no proof of a wrong key: LAPI also sends it when it cannot read its database (facts 1.3).
pub fn describe_status(status: u16, body: &[u8]) -> String {
    let excerpt = excerpt(body);
    match status {
        403 => format!(
            "HTTP 403 ({excerpt}): lapi_key is not a registered bouncer key (see `cscli bouncers list`), or LAPI cannot read its database"
        ),
        404 => format!("HTTP 404 ({excerpt}): lapi_url does not point at a CrowdSec Local API"),
        300..400 => format!(
            "HTTP {status}: lapi_url is redirected, which is not followed; set it to the address that answers"
        ),
        _ => format!("HTTP {status} ({excerpt})"),
    }
}
