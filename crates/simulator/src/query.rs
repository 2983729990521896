//! Query strings as servers read them: `&` and `=` split, `%XX` decoded, and `+` is a space. The last
//! point matters: a client that pastes an opaque cursor unencoded into a URL must fail here, as there.

use memchr::memchr_iter;

/// The decoded parameters of a request, in order.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    /// The first value of a parameter (Go's `Query().Get`, and what LAPI was seen to do).
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

/// The segments of a path, between its slashes. What `str::split` would give, without a search for each.
pub(crate) fn segments(path: &str) -> Vec<&str> {
    let mut segments = Vec::with_capacity(12);
    let mut from = 0;
    for at in memchr_iter(b'/', path.as_bytes()) {
        segments.push(&path[from..at]);
        from = at + 1;
    }
    segments.push(&path[from..]);
    segments
}

/// Decodes one segment of a path, where `+` is itself.
pub(crate) fn decode_segment(text: &str) -> String {
    decode(&text.replace('+', "%2B"))
}

/// Decodes one component; a broken escape stays as it is.
pub(crate) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    // Nearly always nothing is encoded.
    if !bytes.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escaped {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_with_escapes_is_decoded_and_plus_is_a_space() {
        let query = Query::parse(Some("a=1%2B2&b=1+2&a=second&flag&c=%zz"));
        assert_eq!(query.first("a"), Some("1+2"));
        assert_eq!(query.first("b"), Some("1 2"));
        assert_eq!(query.first("flag"), Some(""));
        assert_eq!(query.first("c"), Some("%zz"));
        assert_eq!(query.names().count(), 5);
        assert_eq!(Query::parse(None).names().count(), 0);
        for path in ["", "/", "a", "/a//b/", "/client/v4/accounts/0/rules/lists"] {
            assert_eq!(segments(path), path.split('/').collect::<Vec<_>>());
        }
        assert_eq!(decode_segment("ip%3A%3A1+%2F%"), "ip::1+/%", "in a path plus is plus");
    }
}
