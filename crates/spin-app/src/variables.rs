//! Where an application's variables get their values: what the caller (normally the environment)
//! supplies, else the manifest's default. Owns Spin's naming rules and the refusal to start without a
//! required value. Values may be secrets, so nothing here prints one.

use crate::manifest::Variable;
use anyhow::{Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Spin's prefix for application variables in the environment.
const ENV_PREFIX: &str = "SPIN_VARIABLE_";

/// A variable of the environment that the manifest does not declare: a slip, most likely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// As it stands in the environment.
    pub name: String,
    /// The one that was meant, if there is one with a name like that.
    pub meant: Option<String>,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a variable of this application, and does nothing", self.name)?;
        match &self.meant {
            Some(meant) => write!(f, "; did you mean {meant}?"),
            None => Ok(()),
        }
    }
}

/// Values supplied from outside the manifest, by the variable's name as the manifest spells it.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Reads every `SPIN_VARIABLE_<NAME>` of the process's environment, as Spin does.
    pub fn from_env() -> Self {
        // `vars_os`: an unrelated variable that is not Unicode must not end the program.
        std::env::vars_os()
            .filter_map(|(name, value)| {
                let name = name.to_str()?.strip_prefix(ENV_PREFIX)?.to_ascii_lowercase();
                Some((name, value.into_string().ok()?))
            })
            .collect()
    }

    /// Sets one value, over what was there.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.0.insert(name.into(), value.into());
        self
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Variables {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(values: I) -> Self {
        Self(values.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl<N: Into<String>, V: Into<String>, const LEN: usize> From<[(N, V); LEN]> for Variables {
    fn from(values: [(N, V); LEN]) -> Self {
        values.into_iter().collect()
    }
}

impl fmt::Debug for Variables {
    /// Names only: the values hold keys and tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The value of every declared variable. All required ones that have none are named at once.
pub(crate) fn resolve(
    declared: &BTreeMap<String, Variable>,
    supplied: &Variables,
) -> Result<BTreeMap<String, String>> {
    let values = known(declared, supplied);
    let missing: Vec<_> =
        declared.keys().filter(|name| !values.contains_key(*name)).map(String::as_str).collect();
    if missing.is_empty() {
        return Ok(values);
    }
    let variables = missing.join(", ");
    let settings: Vec<_> = missing.iter().map(|name| env_name(name)).collect();
    bail!(
        "no value for required variable {variables}: set {} in the environment",
        settings.join(", ")
    )
}

/// The value of every declared variable that has one.
pub(crate) fn known(
    declared: &BTreeMap<String, Variable>,
    supplied: &Variables,
) -> BTreeMap<String, String> {
    declared
        .iter()
        .filter_map(|(name, variable)| {
            let value = supplied.0.get(name).or(variable.default.as_ref())?;
            Some((name.clone(), value.clone()))
        })
        .collect()
}

/// The supplied values that no variable of the manifest takes, in order.
pub fn unknown(declared: &BTreeSet<String>, supplied: &Variables) -> Vec<Unknown> {
    let undeclared = supplied.0.keys().filter(|name| !declared.contains(*name));
    let unknown = undeclared
        .map(|name| Unknown { name: env_name(name), meant: nearest(name, declared).map(env_name) });
    unknown.collect()
}

/// The declared name that `name` is most like: up to a third of its letters may be wrong. Underscores do not
/// count, for they are what is forgotten most easily.
fn nearest<'d>(name: &str, declared: &'d BTreeSet<String>) -> Option<&'d str> {
    let plain = |name: &str| name.replace('_', "");
    let name = plain(name);
    let distance = |other: &str| strsim::osa_distance(&name, &plain(other));
    let (distance, nearest) = declared.iter().map(|other| (distance(other), other)).min()?;
    (distance * 3 <= name.chars().count()).then_some(nearest.as_str())
}

/// The environment variable that supplies `name`.
pub fn env_name(name: &str) -> String {
    format!("{ENV_PREFIX}{}", name.to_ascii_uppercase())
}

/// Spin's rules for names, made so that every name has exactly one environment variable.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        Err("a variable's name starts with a lower-case letter")
    } else if name.contains(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')) {
        Err("a variable's name holds only lower-case letters, digits and underscores")
    } else if name.ends_with('_') || name.contains("__") {
        Err("an underscore in a variable's name stands alone and between other characters")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> BTreeMap<String, Variable> {
        let required = Variable { default: None };
        let defaulted = Variable { default: Some("usual".to_owned()) };
        BTreeMap::from([
            ("key".to_owned(), required.clone()),
            ("token".to_owned(), required),
            ("url".to_owned(), defaulted),
        ])
    }

    #[test]
    fn supplied_value_resolve_beats_default() {
        let values =
            resolve(&declared(), &[("key", "k"), ("token", "t"), ("url", "")].into()).unwrap();
        assert_eq!(values["url"], "", "an empty value is a value, as in Spin");
        let values = resolve(&declared(), &[("key", "k"), ("token", "t")].into()).unwrap();
        assert_eq!(values["url"], "usual");
    }

    #[test]
    fn required_missing_resolve_names_all_and_how_to_set_them() {
        assert_eq!(
            resolve(&declared(), &Variables::default()).unwrap_err().to_string(),
            "no value for required variable key, token: \
             set SPIN_VARIABLE_KEY, SPIN_VARIABLE_TOKEN in the environment"
        );
    }

    #[test]
    fn mistyped_variable_is_told_with_the_nearest_name() {
        let declared = ["dry_run", "lapi_url", "lapi_key", "cf_ban_list_id", "cf_captcha_list_id"];
        let declared = declared.map(str::to_owned).into();
        for (given, meant) in [
            ("dryrun", Some("SPIN_VARIABLE_DRY_RUN")),
            ("lapi_ulr", Some("SPIN_VARIABLE_LAPI_URL")),
            ("lapi_keys", Some("SPIN_VARIABLE_LAPI_KEY")),
            ("cf_ban_list", Some("SPIN_VARIABLE_CF_BAN_LIST_ID")),
            ("greeting", None),
            ("", None),
        ] {
            let told = unknown(&declared, &[(given, "secret")].into());
            assert_eq!(told[0].meant.as_deref(), meant, "{given}");
            assert_eq!(told[0].name, env_name(given));
        }
        assert_eq!(unknown(&declared, &[("dry_run", "")].into()), []);
    }

    #[test]
    fn variables_debug_hides_values() {
        let variables = Variables::from([("key", "secret-value")]);
        assert_eq!(format!("{variables:?}"), r#"{"key"}"#);
    }

    #[test]
    fn names_check_follows_spin() {
        for name in ["a", "abc", "a1b2", "a_1_b"] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
        for name in ["", "A", "1b", "_x", "x.y", "x_", "a__b", "x-y"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
