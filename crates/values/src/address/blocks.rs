//! A long array in blocks: one that grows as a whole is there twice while it is moved, and leaves holes in a
//! memory that never shrinks.

/// Entries of a block: a power of two, and some kilobytes.
const BLOCK: usize = 1 << BITS;
const BITS: u32 = 11;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Blocks<E>(Vec<Vec<E>>);

impl<E> Default for Blocks<E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<E> Blocks<E> {
    pub(super) fn push(&mut self, entry: E) {
        match self.0.last_mut() {
            Some(last) if last.len() < BLOCK => last.push(entry),
            last => {
                // The first block grows with a short list; the others are as large as they will be.
                let mut block = Vec::with_capacity(if last.is_some() { BLOCK } else { 0 });
                block.push(entry);
                self.0.push(block);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len().saturating_sub(1) * BLOCK + self.0.last().map_or(0, Vec::len)
    }

    pub(super) fn get(&self, at: usize) -> Option<&E> {
        self.0.get(at >> BITS)?.get(at % BLOCK)
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut E> {
        self.0.get_mut(at >> BITS)?.get_mut(at % BLOCK)
    }

    pub(super) fn last(&self) -> Option<&E> {
        self.0.last()?.last()
    }

    /// How many entries, which stand first, are `before`.
    pub(super) fn partition_point(&self, mut before: impl FnMut(&E) -> bool) -> usize {
        let full = self.0.partition_point(|block| block.last().is_some_and(&mut before));
        full * BLOCK + self.0.get(full).map_or(0, |block| block.partition_point(before))
    }

    pub(super) fn swap(&mut self, one: usize, other: usize) {
        if one != other {
            let (first, second) = self.two(one.min(other), one.max(other));
            std::mem::swap(first, second);
        }
    }

    /// Two entries at once, the second behind the first.
    fn two(&mut self, first: usize, second: usize) -> (&mut E, &mut E) {
        let (before, from) = self.0.split_at_mut(second >> BITS);
        match before.get_mut(first >> BITS) {
            Some(block) => (&mut block[first % BLOCK], &mut from[0][second % BLOCK]),
            None => {
                let (before, from) = from[0].split_at_mut(second % BLOCK);
                (&mut before[first % BLOCK], &mut from[0])
            }
        }
    }

    /// Leaves of those in a row that `is_same` calls the same the first, into which it has taken the others.
    pub(super) fn dedup(&mut self, mut is_same: impl FnMut(&mut E, &E) -> bool) {
        let mut kept = 0;
        for at in 1..self.len() {
            let (last, next) = self.two(kept, at);
            if !is_same(last, next) {
                kept += 1;
                self.swap(kept, at);
            }
        }
        let len = (kept + 1).min(self.len());
        self.0.truncate(len.div_ceil(BLOCK));
        if let Some(last) = self.0.last_mut() {
            last.truncate(len - (len - 1) / BLOCK * BLOCK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_several_blocks_are_found_swapped_and_brought_together() {
        let mut blocks = Blocks::default();
        assert_eq!((blocks.len(), blocks.last(), blocks.get(0)), (0, None, None));
        blocks.dedup(|_, _| true);
        let count = 2 * BLOCK + 7;
        (0..count).for_each(|n| blocks.push((n / 3, 1)));
        assert_eq!((blocks.len(), blocks.last()), (count, Some(&((count - 1) / 3, 1))));
        blocks.swap(0, count - 1);
        blocks.swap(count - 1, 0);
        blocks.swap(1, 5);
        blocks.swap(5, 1);
        blocks.swap(4, 4);
        assert_eq!(blocks.get(BLOCK), Some(&(BLOCK / 3, 1)));
        blocks.dedup(|last, next| {
            let same = last.0 == next.0;
            last.1 += if same { next.1 } else { 0 };
            same
        });
        let len = count.div_ceil(3);
        assert_eq!((blocks.len(), blocks.get(len)), (len, None));
        assert!((0..len).all(|n| blocks.get(n).unwrap().0 == n));
        let sum: usize = (0..len).map(|n| blocks.get(n).unwrap().1).sum();
        assert_eq!(sum, count);
        *blocks.get_mut(0).unwrap() = (9, 9);
        assert_eq!(blocks.get(0), Some(&(9, 9)));
    }

    #[test]
    fn blocks_that_are_exactly_full_stay_so() {
        let mut blocks = Blocks::default();
        (0..2 * BLOCK).for_each(|n| blocks.push(n));
        blocks.dedup(|_, _| false);
        assert_eq!(blocks.len(), 2 * BLOCK);
        blocks.dedup(|_, _| true);
        assert_eq!((blocks.len(), blocks.get(0)), (1, Some(&0)));
    }
}
