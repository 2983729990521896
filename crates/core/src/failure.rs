//! What makes a run fail, in words that tell the operator what happened, what the edge holds now,
//! and what to do.
//!
//! Reads "failed to …"; a write whose answer was lost "could not be confirmed": it may have
//! happened.

use std::fmt;

use crate::api::cloudflare::{CallError, Resource};
use crate::desired::TooMany;
use crate::settings::SettingsError;

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The settings cannot be used; nothing was requested.
    #[error("the settings cannot be used; nothing was requested")]
    Settings(#[from] SettingsError),
    /// A target could not be read; nothing was written to it.
    #[error("failed to read {resource}")]
    Read {
        /// What.
        resource: Resource,
        /// Why.
        source: CallError,
    },
    /// A target's pages do not end; nothing was written to it.
    #[error("failed to read {resource}: Cloudflare's pages repeat and do not end")]
    EndlessPages {
        /// What.
        resource: Resource,
    },
    /// LAPI has refused the key since the first run; nothing was touched.
    #[error("LAPI refuses the key, and has never taken it; nothing was touched: {0}")]
    WrongKey(String),
    /// LAPI has more decisions than are taken; nothing was touched.
    #[error(transparent)]
    TooMany(TooMany),
    /// A write was refused: it changed nothing, and no other was tried.
    #[error("Cloudflare refused {operation}; it changed nothing, and no other write was tried")]
    Refused {
        /// Where.
        resource: Resource,
        /// The write.
        operation: String,
        /// Cloudflare's answer.
        source: CallError,
    },
    /// A write, or the end of its operation, was not seen: it may have happened.
    #[error("could not confirm {operation}; it may have happened, the next run reads again")]
    Unconfirmed {
        /// Where.
        resource: Resource,
        /// The write.
        operation: String,
        /// What came instead.
        source: CallError,
    },
    /// The rules of a zone could not be read, or not be changed as they should. Holds the zone and what
    /// happened.
    #[error("zone {zone}: {what}")]
    Zone {
        /// The zone's id.
        zone: String,
        /// What did not work.
        what: String,
        /// Cloudflare's answer, if it is that.
        source: Option<CallError>,
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

    /// Whether Cloudflare only asked to come back later.
    pub fn is_throttled(&self) -> bool {
        matches!(self, Self::Refused { source, .. } if source.is_throttled())
    }

    /// Whether no value of KV can be read any more today, by whoever it be: the Worker lets everybody through.
    pub fn is_reads_used_up(&self) -> bool {
        matches!(self, Self::Read { resource: Resource::Values, source } if source.is_day_used_up())
    }

    /// What led to it. By `Error::source`, the component would carry how each cause looks to a
    /// debugger, too. No cause has another cause that it does not tell itself.
    fn cause(&self) -> Option<&dyn fmt::Display> {
        match self {
            Self::Settings(error) => Some(error),
            Self::Read { source, .. }
            | Self::Refused { source, .. }
            | Self::Unconfirmed { source, .. } => Some(source),
            Self::Zone { source, .. } => source.as_ref().map(|source| source as &dyn fmt::Display),
            Self::EndlessPages { .. }
            | Self::WrongKey(_)
            | Self::TooMany(_)
            | Self::OperationFailed { .. } => None,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Refused { resource: Resource::List(_), source, .. } if source.is_throttled() => Some(
                "Cloudflare limits writes to lists; the next is tried after a wait (write_backoff_seconds)"
                    .to_owned(),
            ),
            Self::Refused { source, .. } if source.is_throttled() => {
                Some("Cloudflare limits writes; the next run tries again".to_owned())
            }
            Self::Read { resource, source }
            | Self::Unconfirmed { resource, source, .. }
            | Self::Refused { resource, source, .. } => source.remedy(*resource),
            Self::Zone { source, .. } => source.as_ref()?.remedy(Resource::Rules),
            Self::Settings(_)
            | Self::EndlessPages { .. }
            | Self::WrongKey(_)
            | Self::TooMany(_)
            | Self::OperationFailed { .. } => None,
        }
    }
}
