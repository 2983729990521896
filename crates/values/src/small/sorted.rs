//! A set as a sorted array: made at once, or in a few goes, and then only asked.

use crate::order::Order;

/// Entries in order, each once. With the methods of `BTreeSet` that are in use; each `extend` sorts, so it is not for
/// thousands of single entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sorted<T>(Vec<T>);

impl<T: Ord> Sorted<T> {
    /// Whether `entry` is one of them.
    pub fn contains(&self, entry: &T) -> bool {
        self.0.binary_search(entry).is_ok()
    }

    /// Adds one entry; whether it is new.
    pub fn insert(&mut self, entry: T) -> bool {
        let place = self.0.binary_search(&entry);
        if let Err(at) = place {
            self.0.insert(at, entry);
        }
        place.is_err()
    }
}

impl<T> Sorted<T> {
    /// All entries, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Leaves only the entries that `keep` keeps.
    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.0.retain(keep);
    }
}

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Ord> Extend<T> for Sorted<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, entries: I) {
        self.0.extend(entries);
        self.0.order_by(T::cmp);
        self.0.dedup();
    }
}

impl<T: Ord> FromIterator<T> for Sorted<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        let mut set = Self::default();
        set.extend(entries);
        set
    }
}

impl<T: Ord, const N: usize> From<[T; N]> for Sorted<T> {
    fn from(entries: [T; N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<'a, T> IntoIterator for &'a Sorted<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn set_after_anything_done_to_it_is_what_a_tree_is(
            steps in proptest::collection::vec((0_u8..3, proptest::collection::vec(0_u8..30, 0..9)), 0..12)
        ) {
            let (mut sorted, mut tree) = (Sorted::default(), BTreeSet::new());
            for (step, entries) in steps {
                match step {
                    0 => entries.iter().for_each(|one| assert_eq!(sorted.insert(*one), tree.insert(*one))),
                    1 => {
                        sorted.extend(entries.clone());
                        tree.extend(entries);
                    }
                    _ => {
                        sorted.retain(|one| !entries.contains(one));
                        tree.retain(|one| !entries.contains(one));
                    }
                }
                prop_assert!(sorted.iter().eq(&tree) && (0..30).all(|one| sorted.contains(&one) == tree.contains(&one)));
                prop_assert_eq!((sorted.len(), sorted.is_empty()), (tree.len(), tree.is_empty()));
            }
        }
    }
}
