//! What the edge enforced, and when: one entry for each change of a list's content. A test can show
//! with it that an address moving between lists was never absent from both.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use crate::options::duration_text;

/// One change of one list's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EdgeChange {
    /// When it took effect, since the simulator's start.
    #[serde(with = "duration_text")]
    pub at: Duration,
    /// The list.
    pub list_id: String,
    /// The operation that did it; `None` if it was preloaded or done by "another tool".
    pub operation_id: Option<String>,
    /// Values that the list has since then.
    pub added: Vec<String>,
    /// Values that it has no more.
    pub removed: Vec<String>,
}

impl EdgeChange {
    pub(super) fn new(
        at: Duration,
        list_id: &str,
        operation_id: Option<String>,
        added: Vec<String>,
        removed: Vec<String>,
    ) -> Self {
        Self { at, list_id: list_id.to_owned(), operation_id, added, removed }
    }
}

/// The lists that held `value` after each change that touched it.
pub(crate) fn whereabouts(
    history: &[EdgeChange],
    value: &str,
) -> Vec<(Duration, BTreeSet<String>)> {
    let mut lists = BTreeSet::new();
    let mut story = Vec::new();
    for change in history {
        let touched = match change {
            _ if change.added.iter().any(|added| added == value) => {
                lists.insert(change.list_id.clone())
            }
            _ if change.removed.iter().any(|removed| removed == value) => {
                lists.remove(&change.list_id)
            }
            _ => false,
        };
        if touched {
            story.push((change.at, lists.clone()));
        }
    }
    story
}
