//! What follows from a call about a zone's rules that failed, by HTTP status first: a code may be
//! absent (facts cloudflare-rules 1.5 and 10.9). One zone's failure is no other zone's.

use crate::api::cloudflare::CallError;
use crate::ports::TransportError;

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// The API says no: nothing changed, the last good text stays, and it is said aloud. What stands in
    /// the text for good, countries and autonomous systems, is left out of the next attempt.
    KeepLastGood,
    /// The token may not, or is none.
    NotPermitted,
    /// There is no such rule or ruleset any more: the next run finds it by its `ref`.
    FindAgain,
    /// Not now, in this zone. For how long is our own thought: what the answer says is not believed
    /// (facts cloudflare 1.8).
    BackOff,
    /// It may have happened: read again before anything else.
    ReadAgain,
}

impl Consequence {
    /// What follows from this failure.
    pub fn of(error: &CallError) -> Self {
        let head = match error {
            // Never sent.
            CallError::Transport(TransportError::Denied) => return Self::KeepLastGood,
            CallError::Transport(_) => return Self::ReadAgain,
            CallError::Refused { head, .. } | CallError::NotTheApi { head, .. } => head,
        };
        match head.status {
            401 | 403 => Self::NotPermitted,
            404 => Self::FindAgain,
            409 | 429 => Self::BackOff,
            // A server that was tired of waiting for the request may have got it all the same.
            408 => Self::ReadAgain,
            400..500 => Self::KeepLastGood,
            // `success: false` in a 200 is a no as well.
            200..300 if matches!(error, CallError::Refused { .. }) => Self::KeepLastGood,
            _ => Self::ReadAgain,
        }
    }

    /// Whether it is certain that a write changed nothing.
    pub fn is_unchanged(self) -> bool {
        self != Self::ReadAgain
    }
}
