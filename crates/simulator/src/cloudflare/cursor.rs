//! Cursors: opaque to the client, a position and a time to us. They carry a check digest, so that an
//! invented, cut or foreign one is refused, and characters that do not survive in a URL unless the
//! client encodes them. What a position means is the product's business.

use std::time::Duration;

use crate::random::push_hex;

/// A place from which a page is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The page begins after this; `None` = at the beginning.
    pub(super) after: Option<String>,
    /// When it was given out.
    pub(super) issued: Duration,
    /// Makes cursors to one place differ; usually 0.
    pub(super) salt: u64,
}

impl Cursor {
    /// The text that the client gets. `scope` is what it was given out for.
    pub(super) fn encode(&self, scope: &str) -> String {
        let (kind, text) = match &self.after {
            Some(position) => ('a', position.as_str()),
            None => ('s', ""),
        };
        let issued = self.issued.as_millis();
        let payload = match self.salt {
            0 => format!("{kind}{issued:x}.{text}"),
            salt => format!("{kind}{issued:x}-{salt:x}.{text}"),
        };
        let mut cursor = String::with_capacity(2 * payload.len() + 20);
        push_hex(payload.as_bytes(), &mut cursor);
        cursor.push_str("+/");
        push_hex(&digest(scope, &payload).to_be_bytes(), &mut cursor);
        cursor.push_str("==");
        cursor
    }

    pub(super) fn decode(text: &str, scope: &str) -> Option<Self> {
        let (hex, check) = text.strip_suffix("==")?.split_once("+/")?;
        let bytes: Option<Vec<u8>> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok())
            .collect();
        let payload = String::from_utf8(bytes?).ok()?;
        if check != format!("{:016x}", digest(scope, &payload)) {
            return None;
        }
        let (head, text) = payload.split_once('.')?;
        let (issued, salt) = head.split_once('-').unwrap_or((head, "0"));
        let issued = u64::from_str_radix(issued.get(1..)?, 16).ok().map(Duration::from_millis)?;
        let salt = u64::from_str_radix(salt, 16).ok()?;
        let after = head.starts_with('a').then(|| text.to_owned());
        Some(Self { after, issued, salt })
    }
}

/// FNV-1a; nobody attacks a simulator, mistakes are enough.
fn digest(scope: &str, payload: &str) -> u64 {
    scope.bytes().chain(payload.bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_given_back_is_read_and_any_other_is_refused() {
        for after in [None, Some("2001:db8::/32".to_owned())] {
            let issued = Duration::from_millis(1_234);
            let salted = Cursor { after: after.clone(), issued, salt: 7 };
            let cursor = Cursor { after, issued, salt: 0 };
            let text = cursor.encode("list");
            assert_ne!(salted.encode("list"), text);
            assert_eq!(Cursor::decode(&salted.encode("list"), "list"), Some(salted));
            assert_eq!(Cursor::decode(&text, "list"), Some(cursor));
            assert_eq!(Cursor::decode(&text, "another list"), None);
            assert_eq!(Cursor::decode(&text.replace('+', " "), "list"), None, "not encoded");
            assert_eq!(Cursor::decode(&text[2..], "list"), None);
            assert_eq!(Cursor::decode(&text[..text.len() - 1], "list"), None);
        }
        for invented in ["", "==", "+/==", "é+/0==", "0"] {
            assert_eq!(Cursor::decode(invented, "list"), None, "{invented}");
        }
    }
}
