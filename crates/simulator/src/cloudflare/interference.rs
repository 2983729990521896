//! What a fault does inside a product, where the transport cannot.

use super::lists::OperationFate;
use crate::fault::FaultAction;

/// What is to become of one request.
#[derive(Debug, Default)]
pub(crate) struct Interference {
    pub(super) operation: OperationFate,
    /// The state that an operation is told to be in.
    pub(super) operation_state: Option<String>,
    pub(super) page: Option<PageTwist>,
    pub(super) result: Option<ResultTwist>,
    /// The first pairs or names of a KV bulk request that fail, in an answer that says success.
    pub(super) unsuccessful_keys: usize,
}

/// What a fault makes of a page of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageTwist {
    /// Its cursor leads to itself.
    RepeatCursor,
    /// The same, with another cursor each time.
    RepeatPage,
    /// It ends with its first entry once more.
    RepeatItem,
    /// It is empty, and its cursor leads to its content.
    EmptyWithCursor,
}

/// What a fault makes of a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResultTwist {
    /// `"result": null`.
    Null,
    /// No `result`.
    Missing,
}

impl Interference {
    pub(crate) fn of(action: Option<&FaultAction>) -> Self {
        let mut interference = Self::default();
        match action {
            Some(FaultAction::StuckOperation) => interference.operation = OperationFate::Stuck,
            Some(FaultAction::VanishOperation) => interference.operation = OperationFate::Vanished,
            Some(FaultAction::FailOperation(text)) => {
                interference.operation = OperationFate::Fails(text.clone());
            }
            Some(FaultAction::SlowOperation(delay)) => {
                interference.operation = OperationFate::Slow(*delay);
            }
            Some(FaultAction::OperationState(state)) => {
                interference.operation_state = Some(state.clone());
            }
            Some(FaultAction::NullResult) => interference.result = Some(ResultTwist::Null),
            Some(FaultAction::NoResult) => interference.result = Some(ResultTwist::Missing),
            Some(FaultAction::RepeatCursor) => interference.page = Some(PageTwist::RepeatCursor),
            Some(FaultAction::RepeatPage) => interference.page = Some(PageTwist::RepeatPage),
            Some(FaultAction::RepeatItem) => interference.page = Some(PageTwist::RepeatItem),
            Some(FaultAction::EmptyPageWithCursor) => {
                interference.page = Some(PageTwist::EmptyWithCursor);
            }
            Some(FaultAction::UnsuccessfulKeys(count)) => interference.unsuccessful_keys = *count,
            _ => {}
        }
        interference
    }
}
