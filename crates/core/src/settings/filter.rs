//! Which decisions the operator wants at the edge: by origin, and by scenario.
//!
//! All of it is applied here and not by LAPI, whose filters differ from version to version and
//! silently return everything when one is not known (facts crowdsec 1.2).

use wildmatch::WildMatch;

use crate::decision::{Decision, Origin};

/// `origins_include`, `origins_exclude` and `scenarios_exclude`.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    include: Vec<String>,
    exclude: Vec<String>,
    scenarios: Vec<WildMatch>,
}

/// Why a decision is not wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwanted {
    /// Its origin is excluded, or not among those that are included.
    Origin,
    /// Its scenario is excluded.
    Scenario,
}

impl Filter {
    /// Takes only the origins in `include` (all if it is empty) and none in `exclude`, and no
    /// decision whose scenario is like one of `scenarios`, where `*` stands for any text and `?` for
    /// one character.
    pub fn new(include: Vec<String>, exclude: Vec<String>, scenarios: Vec<String>) -> Self {
        let scenarios = scenarios.iter().map(|glob| WildMatch::new(glob)).collect();
        Self { include, exclude, scenarios }
    }

    /// Why `decision` is not wanted; `None` = it is.
    pub fn unwanted(&self, decision: &Decision<'_>, origin: &Origin<'_>) -> Option<Unwanted> {
        let named = |words: &[String]| words.iter().any(|word| origin.is(word));
        if named(&self.exclude) || !(self.include.is_empty() || named(&self.include)) {
            return Some(Unwanted::Origin);
        }
        let scenario = decision.scenario.0.as_deref().unwrap_or("");
        let excluded = self.scenarios.iter().any(|glob| glob.matches(scenario));
        excluded.then_some(Unwanted::Scenario)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::decision::Text;

    fn unwanted(filter: &Filter, origin: &str, scenario: &str) -> Option<Unwanted> {
        let [scope, kind, value] = ["ip", "ban", "1.1.1.1"].map(Cow::Borrowed);
        let (duration, made_by) = (Text::from("1h"), Text::from(origin));
        let decision =
            Decision { scope, kind, value, duration, scenario: Text::from(scenario), made_by };
        filter.unwanted(&decision, &decision.origin())
    }

    fn filter(include: &[&str], exclude: &[&str], scenarios: &[&str]) -> Filter {
        let [include, exclude, scenarios] = [include, exclude, scenarios]
            .map(|words| words.iter().map(|word| (*word).to_owned()).collect());
        Filter::new(include, exclude, scenarios)
    }

    #[test]
    fn no_filter_set_wants_everything() {
        assert_eq!(unwanted(&Filter::default(), "CAPI", ""), None);
    }

    #[test]
    fn origins_included_are_the_only_ones_and_excluded_ones_go() {
        let own = filter(&["crowdsec", "cscli"], &[], &[]);
        assert_eq!(unwanted(&own, "Crowdsec", "x"), None);
        assert_eq!(unwanted(&own, "CAPI", "x"), Some(Unwanted::Origin));
        let no_tor = filter(&["lists"], &["lists:tor"], &[]);
        assert_eq!(unwanted(&no_tor, "lists", "firehol"), None);
        assert_eq!(unwanted(&no_tor, "lists", "tor"), Some(Unwanted::Origin));
    }

    #[test]
    fn scenarios_excluded_are_globs_over_the_whole_name() {
        let filter = filter(&[], &[], &["crowdsecurity/http-*", "?est"]);
        for (scenario, wanted) in [
            ("crowdsecurity/http-probing", false),
            ("crowdsecurity/ssh-bf", true),
            ("my/crowdsecurity/http-probing", true),
            ("test", false),
            ("a test", true),
            ("", true),
        ] {
            assert_eq!(unwanted(&filter, "crowdsec", scenario).is_none(), wanted, "{scenario:?}");
        }
    }
}
