//! The only source of randomness: SplitMix64 over the seed. Good enough to spread identifiers and
//! addresses, small enough to be obviously the same on every machine and in every release.

/// A seeded generator.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// `stream` keeps users of one seed apart, so that a draw here does not shift a draw there.
    pub(crate) fn new(seed: u64, stream: &str) -> Self {
        let salt = stream.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(seed ^ salt)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn next_u128(&mut self) -> u128 {
        u128::from(self.next_u64()) << 64 | u128::from(self.next_u64())
    }

    /// A number in `0..bound`; the bias is far below what anyone here could notice.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// True in `percent` of a hundred draws.
    pub(crate) fn percent(&mut self, percent: u8) -> bool {
        self.below(100) < u64::from(percent)
    }
}

/// The bytes in lower-case hexadecimal digits. By hand: every answer has some, and the formatter takes ten times as
/// long.
pub(crate) fn push_hex(bytes: &[u8], text: &mut String) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    text.reserve(2 * bytes.len());
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// An identifier as Cloudflare writes them: 32 lower-case hexadecimal digits.
pub(crate) fn hex_id(id: u128) -> String {
    let mut text = String::new();
    push_hex(&id.to_be_bytes(), &mut text);
    text
}

/// The number behind an identifier, if it has exactly the form that [`hex_id`] gives.
pub(crate) fn parse_hex_id(text: &str) -> Option<u128> {
    if text.len() != 32 {
        return None;
    }
    text.bytes().try_fold(0, |id: u128, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(id << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_two_streams_differ_and_repeat() {
        let draw = |seed, stream| Random::new(seed, stream).next_u64();
        assert_eq!(draw(1, "items"), draw(1, "items"));
        assert_ne!(draw(1, "items"), draw(1, "decisions"));
        assert_ne!(draw(1, "items"), draw(2, "items"));
    }

    #[test]
    fn hex_id_read_back_accepts_only_its_own_form() {
        let text = hex_id(0x00ab);
        assert_eq!((text.len(), parse_hex_id(&text)), (32, Some(0xab)));
        assert_eq!(
            parse_hex_id(&text.to_uppercase()),
            None,
            "upper case is not what was given out"
        );
        assert_eq!(parse_hex_id("ab"), None);
        assert_eq!(parse_hex_id(&format!("+{}", &text[1..])), None);
    }
}
