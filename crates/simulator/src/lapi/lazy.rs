//! Rows that nobody stores: a body of gigabytes is made while it is read. All rows have the same length,
//! so that the length of the whole is known before the first byte.

use bytes::Bytes;

/// The most there can be: addresses of three digits in each part, away from private and special ones.
const ROWS_MAX: u64 = 20_000_000;
const FIRST_OCTETS_FROM: u64 = 130;
const FIRST_ID: u64 = 1_000_000_000;

/// A row without its separator, id and value. It lives for ever: its time does not get shorter.
const BEFORE_ID: &str = r#"{"duration":"167h59m59.5s","id":"#;
const BEFORE_VALUE: &str =
    r#","origin":"CAPI","scenario":"http:scan","scope":"Ip","type":"ban","value":""#;
const AFTER_VALUE: &str = r#""}"#;
const ID_DIGITS: usize = 10;
const VALUE_BYTES: usize = 15;
/// With the separator before it.
const ROW_BYTES: usize =
    1 + BEFORE_ID.len() + ID_DIGITS + BEFORE_VALUE.len() + VALUE_BYTES + AFTER_VALUE.len();

/// The rest of a body of decisions: so many distinct bans of the community, and the end of the array.
#[derive(Debug, Clone)]
pub struct LazyRows {
    next: u64,
    end: u64,
    /// What stands before the first row: the beginning of the array, or a comma.
    separator: u8,
    /// How many bytes may still be read.
    left: u64,
}

impl LazyRows {
    pub(super) fn new(count: u64, is_beginning: bool) -> Self {
        let end = count.min(ROWS_MAX);
        let separator = if is_beginning { b'[' } else { b',' };
        Self { next: 0, end, separator, left: end * ROW_BYTES as u64 + 1 }
    }

    /// How many bytes are still to come.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks; `block` says when it ends")]
    pub fn len(&self) -> u64 {
        self.left
    }

    /// The next piece of about this size; `None` at the end.
    pub fn block(&mut self, bytes: usize) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        let mut block = Vec::with_capacity(bytes + ROW_BYTES + 1);
        while block.len() < bytes && self.next < self.end {
            self.push_row(&mut block);
        }
        if self.next == self.end && block.len() < bytes {
            // `end` is passed once the array is closed.
            self.end = 0;
            self.next = 1;
            block.push(b']');
        }
        block.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= block.len() as u64;
        Some(block.into())
    }

    /// The same, but nothing comes after so many bytes.
    pub(crate) fn cut(mut self, keep: u64) -> Self {
        self.left = self.left.min(keep);
        self
    }

    fn push_row(&mut self, block: &mut Vec<u8>) {
        block.push(std::mem::replace(&mut self.separator, b','));
        block.extend_from_slice(BEFORE_ID.as_bytes());
        push_digits(FIRST_ID + self.next, ID_DIGITS, block);
        block.extend_from_slice(BEFORE_VALUE.as_bytes());
        let n = self.next;
        push_digits(FIRST_OCTETS_FROM + n / 1_000_000, 3, block);
        for part in [n / 10_000, n / 100, n] {
            block.push(b'.');
            push_digits(100 + part % 100, 3, block);
        }
        block.extend_from_slice(AFTER_VALUE.as_bytes());
        self.next += 1;
    }
}

fn push_digits(mut number: u64, digits: usize, into: &mut Vec<u8>) {
    let from = into.len();
    into.resize(from + digits, b'0');
    for digit in into[from..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn read(mut rows: LazyRows, bytes: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(block) = rows.block(bytes) {
            all.extend_from_slice(&block);
        }
        all
    }

    #[test]
    fn rows_read_in_blocks_of_any_size_are_one_array_of_the_length_that_was_told() {
        for (count, bytes) in
            [(0, 1), (1, 1), (3, 7), (1_000, 64), (1_000, 1 << 20), (30_000, 4_096)]
        {
            let rows = LazyRows::new(count, true);
            let told = rows.len();
            let body = read(rows, bytes);
            assert_eq!(body.len() as u64, told);
            if count == 0 {
                assert_eq!(body, b"]", "there is nothing to open the array with");
                continue;
            }
            let rows: Vec<Value> = serde_json::from_slice(&body).unwrap();
            let values: BTreeSet<&str> =
                rows.iter().filter_map(|row| row["value"].as_str()).collect();
            assert_eq!(values.len() as u64, count, "all distinct");
            assert!(values.iter().all(|value| value.parse::<std::net::Ipv4Addr>().is_ok()));
        }
    }

    #[test]
    fn rows_cut_end_after_so_many_bytes() {
        for keep in [0, 1, 500, 100_000] {
            let body = read(LazyRows::new(1_000, false).cut(keep), 300);
            assert_eq!(body.len() as u64, keep);
            assert_eq!(body.first().copied(), (keep > 0).then_some(b','));
        }
    }

    #[test]
    fn rows_of_a_million_parts_carry_over_into_the_next_octet() {
        let mut rows = LazyRows::new(ROWS_MAX + 5, true);
        assert_eq!(rows.end, ROWS_MAX);
        rows.next = 999_999;
        let block = String::from_utf8(rows.block(2 * ROW_BYTES).unwrap().to_vec()).unwrap();
        assert!(block.contains("\"130.199.199.199\"") && block.contains("\"131.100.100.100\""));
    }
}
