//! The little that is understood of the rules' language: which lists an expression uses.

use std::collections::BTreeSet;

/// The custom lists that an expression names as `$list`. Managed lists (`$cf.open_proxies`) have a dot
/// in their name, and what is in quotes is text.
pub(super) fn lists_used(expression: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for (index, outside) in expression.split('"').enumerate() {
        // Every second piece is inside quotes; an escaped quote in it is beyond this reading.
        if index % 2 == 0 {
            names.extend(outside.split('$').skip(1).map(name).filter(|name| !name.contains('.')));
        }
    }
    names
}

fn name(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'));
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expression_names_custom_lists_and_no_others() {
        for (expression, expected) in [
            ("(ip.src in $ban)", vec!["ban"]),
            ("ip.src in $b or ip.src in $a or ip.src in $b", vec!["a", "b"]),
            ("ip.src in $cf.open_proxies and not ip.src in $good_1", vec!["good_1"]),
            (r#"http.host eq "$x" and ip.src in $y"#, vec!["y"]),
            ("true", vec![]),
        ] {
            assert_eq!(lists_used(expression).into_iter().collect::<Vec<_>>(), expected);
        }
    }
}
