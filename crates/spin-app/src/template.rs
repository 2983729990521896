//! Text with `{{ variable }}` in it, as Spin's manifest allows for allowed hosts and component
//! variables. Owns the syntax only: which variables exist and what they hold is the caller's.

use anyhow::{Result, anyhow, bail};

/// A parsed template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Literal(String),
    Variable(String),
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, opened)) = rest.split_once("{{") {
            let Some((name, after)) = opened.split_once("}}") else {
                bail!("'{{{{' without '}}}}' in {text:?}");
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            parts.push(Part::Variable(name.trim().to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// Whether the text is the same whatever the variables hold.
    pub(crate) fn is_literal(&self) -> bool {
        self.variables().next().is_none()
    }

    /// The names in the order in which they appear.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    pub(crate) fn expand<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> Result<String> {
        let mut text = String::new();
        for part in &self.parts {
            text.push_str(match part {
                Part::Literal(literal) => literal,
                Part::Variable(name) => {
                    value(name).ok_or_else(|| anyhow!("unknown variable {name:?}"))?
                }
            });
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<String> {
        Template::parse(text)?.expand(|name| match name {
            "url" => Some("http://a:1"),
            "empty" => Some(""),
            _ => None,
        })
    }

    #[test]
    fn template_expand_gives_text() {
        for (template, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("{{url}}", "http://a:1"),
            ("<{{ url }}{{ empty }}>", "<http://a:1>"),
            ("}} {{ url }}", "}} http://a:1"),
        ] {
            assert_eq!(expand(template).unwrap(), expected, "{template:?}");
        }
    }

    #[test]
    fn unknown_variable_expand_names_it() {
        assert_eq!(expand("{{ other }}").unwrap_err().to_string(), "unknown variable \"other\"");
    }

    #[test]
    fn unclosed_braces_parse_fails() {
        assert!(Template::parse("{{ a }} {{ b").is_err());
    }

    #[test]
    fn template_is_literal_only_without_variables() {
        assert!(Template::parse("http://a").unwrap().is_literal());
        assert!(!Template::parse("http://{{ a }}").unwrap().is_literal());
    }
}
