//! A part of a write that one request can carry: never empty, never unreasonably large.

#[cfg(all(feature = "small-requests", target_family = "wasm"))]
compile_error!(
    "small-requests is for the simulation; the component would send one request for every three items"
);

/// Items in one POST or DELETE. Cloudflare documents no limit; requests of about 10,000 items have
/// been seen to work (facts cloudflare 1.5), and that is every item an account below Enterprise can
/// have. Fewer in a request would only mean more operations, each of which may be throttled.
pub const BATCH_ITEMS_MAX: usize = if cfg!(feature = "small-requests") { 3 } else { 10_000 };

/// The largest list that one PUT rewrites: 1.5 MB of JSON. Cloudflare documents no limit of its own
/// (facts cloudflare 1.5); its Terraform provider writes lists of every size in one PUT.
pub const REPLACE_ITEMS_MAX: usize = if cfg!(feature = "small-requests") { 6 } else { 50_000 };

/// 1 to [`BATCH_ITEMS_MAX`] items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<T>(Vec<T>);

impl<T> Batch<T> {
    /// As many batches as the items need, in order; none for none.
    pub(crate) fn split(items: impl IntoIterator<Item = T>) -> Vec<Self> {
        let mut batches: Vec<Self> = Vec::new();
        for item in items {
            match batches.last_mut() {
                Some(batch) if batch.0.len() < BATCH_ITEMS_MAX => batch.0.push(item),
                _ => batches.push(Self(vec![item])),
            }
        }
        batches
    }

    /// The items themselves.
    pub(crate) fn into_vec(self) -> Vec<T> {
        self.0
    }

    /// The items.
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }

    /// How many.
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_split_fill_batches_and_none_is_empty() {
        assert!(Batch::<u32>::split([]).is_empty());
        let sizes = |n: usize| Batch::split(0..n).iter().map(Batch::len).collect::<Vec<_>>();
        assert_eq!(sizes(1), [1]);
        assert_eq!(sizes(BATCH_ITEMS_MAX), [BATCH_ITEMS_MAX]);
        assert_eq!(sizes(BATCH_ITEMS_MAX + 1), [BATCH_ITEMS_MAX, 1]);
    }
}
