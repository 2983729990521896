//! LAPI's releases, as far as they answer a bouncer differently (facts: crowdsec.md 1.5).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A release of CrowdSec, such as `1.4.6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct LapiVersion(pub u16, pub u16, pub u16);

impl LapiVersion {
    /// What Debian ships, and the only release that the facts were observed on.
    pub const DEBIAN: Self = Self(1, 4, 6);
    /// `limit`, `offset` and `id_gt` work on `GET /v1/decisions`.
    pub(crate) const PAGING: Self = Self(1, 5, 0);
    /// `scope=` is a filter, not only `scopes=`.
    pub(crate) const SCOPE_FILTER: Self = Self(1, 6, 1);
    /// Durations are rounded to whole seconds.
    pub(crate) const WHOLE_SECONDS: Self = Self(1, 6, 3);
    /// `POST /v1/usage-metrics` exists.
    pub(crate) const USAGE_METRICS: Self = Self(1, 6, 3);
}

impl fmt::Display for LapiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl FromStr for LapiVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Option<Vec<u16>> = text.split('.').map(|part| part.parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[major, minor, patch]) => Ok(Self(major, minor, patch)),
            _ => Err(format!("{text:?} is not a release such as 1.4.6")),
        }
    }
}

impl From<LapiVersion> for String {
    fn from(version: LapiVersion) -> Self {
        version.to_string()
    }
}

impl TryFrom<String> for LapiVersion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}
