//! What makes a run fail, in words that tell the operator what happened, what the edge holds now,
//! and what to do.
//!
//! Reads "failed to …"; a write whose answer was lost "could not be confirmed": it may have
//! happened.

use std::fmt;

use crate::decision::Remediation;
use crate::settings::{Lists, SettingsError};
use crate::wire::cloudflare::CallError;

/// A part of a target: what is read and written as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// One of the lists.
    List(Remediation),
    /// The KV namespace.
    Namespace,
}

impl Place {
    /// The variable that names it.
    pub fn variable(self) -> &'static str {
        match self {
            Self::List(list) => Lists::variable(list),
            Self::Namespace => "cf_kv_namespace_id",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(list) => write!(f, "the {list} list ({})", self.variable()),
            Self::Namespace => write!(f, "the KV namespace ({})", self.variable()),
        }
    }
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The settings cannot be used; nothing was requested.
    #[error("the settings cannot be used; nothing was requested")]
    Settings(#[from] SettingsError),
    /// A target could not be read; nothing was written to it.
    #[error("failed to read {place}")]
    Read {
        /// What.
        place: Place,
        /// Why.
        source: CallError,
    },
    /// A target's pages do not end; nothing was written to it.
    #[error("failed to read {place}: Cloudflare's pages repeat and do not end")]
    EndlessPages {
        /// What.
        place: Place,
    },
    /// A write was refused: it changed nothing, and no other was tried.
    #[error("Cloudflare refused {operation}; it changed nothing, and no other write was tried")]
    Refused {
        /// Where.
        place: Place,
        /// The write.
        operation: String,
        /// Cloudflare's answer.
        source: CallError,
    },
    /// A write, or the end of its operation, was not seen: it may have happened.
    #[error("could not confirm {operation}; it may have happened, the next run reads again")]
    Unconfirmed {
        /// Where.
        place: Place,
        /// The write.
        operation: String,
        /// What came instead.
        source: CallError,
    },
    /// A bulk operation was accepted and then failed.
    #[error("bulk operation failed: {operation}: Cloudflare says {said:?}")]
    OperationFailed {
        /// The write.
        operation: String,
        /// Cloudflare's words.
        said: String,
    },
}

impl Failure {
    /// The whole story in one line: what failed, why, and the way out if it is known.
    pub fn describe(&self) -> String {
        let mut text = self.to_string();
        if let Some(cause) = self.cause() {
            text.push_str(&format!(": {cause}"));
        }
        if let Some(remedy) = self.remedy() {
            text.push_str("; ");
            text.push_str(&remedy);
        }
        text
    }

    /// What led to it. By `Error::source`, the component would carry how each cause looks to a
    /// debugger, too. No cause has another cause that it does not tell itself.
    fn cause(&self) -> Option<&dyn fmt::Display> {
        match self {
            Self::Settings(error) => Some(error),
            Self::Read { source, .. }
            | Self::Refused { source, .. }
            | Self::Unconfirmed { source, .. } => Some(source),
            Self::EndlessPages { .. } | Self::OperationFailed { .. } => None,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Refused { place: Place::List(_), source, .. } if source.is_throttled() => Some(
                "Cloudflare limits writes to lists; the next is tried after a wait (write_backoff_seconds)"
                    .to_owned(),
            ),
            Self::Refused { source, .. } if source.is_throttled() => {
                Some("Cloudflare limits writes; the next run tries again".to_owned())
            }
            Self::Read { place, source }
            | Self::Unconfirmed { place, source, .. }
            | Self::Refused { place, source, .. } => source.remedy(*place),
            Self::Settings(_) | Self::EndlessPages { .. } | Self::OperationFailed { .. } => None,
        }
    }
}
