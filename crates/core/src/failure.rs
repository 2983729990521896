//! What makes a run fail, in words that tell the operator what happened, what the edge holds now,
//! and what to do.
//!
//! Reads "failed to …"; a write whose answer was lost "could not be confirmed": it may have
//! happened.

use std::error::Error;

use crate::decision::Remediation;
use crate::settings::{Lists, SettingsError};
use crate::wire::cloudflare::CallError;

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The settings cannot be used; nothing was requested.
    #[error("the settings cannot be used; nothing was requested")]
    Settings(#[from] SettingsError),
    /// A list could not be read; nothing was written.
    #[error("failed to read the {list} list ({})", Lists::variable(*list))]
    Read {
        /// Which list.
        list: Remediation,
        /// Why.
        source: CallError,
    },
    /// A list's pages do not end; nothing was written.
    #[error("failed to read the {list} list ({}): Cloudflare's pages repeat and do not end", Lists::variable(*list))]
    EndlessPages {
        /// Which list.
        list: Remediation,
    },
    /// A write was refused: it changed nothing, and no other was tried.
    #[error("Cloudflare refused {operation}; it changed nothing, and no other write was tried")]
    Refused {
        /// Which list.
        list: Remediation,
        /// The write.
        operation: String,
        /// Cloudflare's answer.
        source: CallError,
    },
    /// A write, or the end of its operation, was not seen: it may have happened.
    #[error(
        "could not confirm {operation}; it may have happened, the next run reads the list again"
    )]
    Unconfirmed {
        /// Which list.
        list: Remediation,
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
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        if let Some(remedy) = self.remedy() {
            text.push_str("; ");
            text.push_str(&remedy);
        }
        text
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Read { list, source } | Self::Unconfirmed { list, source, .. } => {
                source.remedy(Some(Lists::variable(*list)))
            }
            Self::Refused { source, .. } if source.is_throttled() => {
                Some("Cloudflare limits writes to lists; the next run tries again".to_owned())
            }
            Self::Refused { list, source, .. } => source.remedy(Some(Lists::variable(*list))),
            Self::Settings(_) | Self::EndlessPages { .. } | Self::OperationFailed { .. } => None,
        }
    }
}
