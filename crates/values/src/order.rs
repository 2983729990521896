//! Sorting, compiled once.
//!
//! The standard library's sort is compiled anew for each type that is sorted or collected into a tree: five to
//! twenty kilobytes each, a fifth of the component when it had forty of them, and the component is pulled by
//! every node that runs it. These sort and collect what is short or rare; what has a place for each decision
//! keeps the standard library's.

use std::cmp::Ordering;

/// Stable sorting of what is short or rare.
pub trait Order<T> {
    /// Like `sort_by_key`.
    fn order_by_key<'a, K: Ord>(&'a mut self, key: impl Fn(&T) -> K)
    where
        T: 'a;

    /// Like `sort_by`.
    fn order_by(&mut self, compare: impl Fn(&T, &T) -> Ordering);
}

impl<T> Order<T> for [T] {
    fn order_by_key<'a, K: Ord>(&'a mut self, key: impl Fn(&T) -> K)
    where
        T: 'a,
    {
        self.order_by(|a, b| key(a).cmp(&key(b)));
    }

    fn order_by(&mut self, compare: impl Fn(&T, &T) -> Ordering) {
        let mut from = ordered(self.len(), &|a, b| compare(&self[a], &self[b]));
        permute(&mut from, |one, other| self.swap(one, other));
    }
}

/// Puts at each place what stands at the one that `from` names for it, which is used up.
pub fn permute(from: &mut [usize], mut swap: impl FnMut(usize, usize)) {
    // Each cycle of the permutation is gone round once.
    for start in 0..from.len() {
        let mut place = start;
        while from[place] != start {
            let next = from[place];
            swap(place, next);
            from[place] = place;
            place = next;
        }
        from[place] = place;
    }
}

/// The positions of what stands at first, second, … in order.
fn ordered(len: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut positions: Vec<usize> = (0..len).collect();
    positions.sort_by(|a, b| compare(*a, *b));
    positions
}

/// Collecting what is short or rare into a tree.
pub trait Gather: Iterator + Sized {
    /// Like `collect`, one after the other.
    fn gather<C: Default + Extend<Self::Item>>(self) -> C {
        let mut all = C::default();
        all.extend(self);
        all
    }
}

impl<I: Iterator> Gather for I {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn anything_ordered_is_as_the_standard_library_sorts_it(
            mut items in proptest::collection::vec((0_u8..9, any::<u8>()), 0..60)
        ) {
            let mut sorted = items.clone();
            sorted.sort_by_key(|(key, _)| *key);
            items.order_by_key(|(key, _)| *key);
            prop_assert_eq!(items, sorted);
        }
    }

    #[test]
    fn pairs_gathered_the_last_of_a_key_stays_as_with_collect() {
        let pairs = [(2, 'a'), (1, 'b'), (2, 'c')];
        let gathered: BTreeMap<_, _> = pairs.into_iter().gather();
        assert_eq!(gathered, pairs.into_iter().collect());
    }
}
