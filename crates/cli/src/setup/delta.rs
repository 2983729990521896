//! What a rule's expression says beyond its list, by the grammar and the reader of a run: setup keeps that, and
//! changes none of it. Not here: when a rule is corrected (`plan`).

use crate::words::delta;
use edge_sync_core::api::cloudflare::expression::{Expression, Parts};

/// What an expression in our form says about the list of this name, by the reading of a run.
pub(super) fn says(list: &str, expression: &str) -> Option<Expression> {
    Expression::parse(expression, &list.parse().ok()?).ok()
}

/// What an expression that is not about our list, or not in our form, says beyond a list.
pub(super) fn beyond_the_list(expression: &str) -> Option<String> {
    let lists = expression.split('$').skip(1).map(|rest| {
        let end = rest.find(|c: char| !is_of_a_name(c));
        &rest[..end.unwrap_or(rest.len())]
    });
    let Some(ours) = lists.into_iter().find_map(|list| says(list, expression)) else {
        return Some("all else that it says".to_owned());
    };
    delta(ours.parts()).map(|delta| format!("its delta ({delta})"))
}

/// Whether an expression says anything beyond the list of this name, in our form.
pub(super) fn has_delta(list: &str, expression: &str) -> bool {
    says(list, expression).is_some_and(|ours| *ours.parts() != Parts::default())
}

/// Whether a list's name goes on with this.
pub(super) fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expression_that_is_dropped_is_told_by_what_it_says_beyond_its_list() {
        let all_else = Some("all else that it says");
        for (expression, beyond) in [
            ("(ip.src in $other)", None),
            ("ip.src in $other_2 ", None),
            ("(ip.src in $other) or ip.src in {192.0.2.1 192.0.2.2}", Some("its delta (2 fresh)")),
            (
                r#"(ip.src in $o.b and not ip.src in {192.0.2.1}) or ip.src.country in {"CN"} or ip.src.asnum in {1 2}"#,
                Some("its delta (1 lifted, 3 by country or AS)"),
            ),
            ("(ip.src in $other) or ip.src in {192.0.2.1} or ssl", all_else),
            ("(ip.src in $other) or ip.src in {0.0.0.0/0}", all_else),
            ("(ip.src in $one) or ip.src in $two", all_else),
            ("ssl", all_else),
            ("$", all_else),
            ("$é ip.src in $Other", all_else),
        ] {
            assert_eq!(beyond_the_list(expression).as_deref(), beyond, "{expression}");
        }
    }

    #[test]
    fn delta_is_there_only_on_top_of_this_list() {
        for (expression, has) in [
            ("(ip.src in $a)", false),
            ("ip.src in $a or ip.src in {192.0.2.1}", true),
            ("ip.src in $b or ip.src in {192.0.2.1}", false),
            ("(ip.src in $a) or ip.src.asnum in {1}", true),
        ] {
            assert_eq!(has_delta("a", expression), has, "{expression}");
        }
    }
}
