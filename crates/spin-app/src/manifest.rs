//! The parts of `spin.toml` (manifest version 2) that a local run needs, checked. Owns the file's
//! shape and the wording of what is wrong with it; not the values of variables, not the meaning of an
//! allowed host. Keys that only other hosts use (`build`, `description`, …) are passed over, and so is
//! `files`: this host mounts nothing.

use crate::template::Template;
use crate::variables::check_name;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A manifest without faults.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) variables: BTreeMap<String, Variable>,
    pub(crate) components: BTreeMap<String, Component>,
    pub(crate) triggers: Triggers,
}

/// `[variables]`: what the application takes from outside.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    /// None = required.
    pub(crate) default: Option<String>,
}

/// `[component.<id>]`.
#[derive(Clone, Debug)]
pub(crate) struct Component {
    /// Relative to the manifest.
    pub(crate) source: String,
    pub(crate) allowed_outbound_hosts: Vec<Template>,
    pub(crate) variables: BTreeMap<String, Template>,
    pub(crate) key_value_stores: BTreeSet<String>,
    pub(crate) environment: BTreeMap<String, String>,
}

/// `[[trigger.<type>]]`, of the two types that this host knows.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Triggers {
    #[serde(default)]
    pub(crate) cron: Vec<CronTrigger>,
    #[serde(default)]
    pub(crate) command: Vec<CommandTrigger>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct CronTrigger {
    pub(crate) component: String,
    pub(crate) cron_expression: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct CommandTrigger {
    pub(crate) component: String,
}

/// The names of the variables that a manifest declares.
pub fn variables(path: &Path) -> Result<BTreeSet<String>> {
    Ok(Manifest::read(path)?.variables.into_keys().collect())
}

impl Manifest {
    /// Reads and checks the file; errors name it and the key.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("failed to read the manifest {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("the manifest {} is not valid", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        // The version first: an old manifest would else be reported as a missing key.
        let version: VersionOnly = toml::from_str(text)?;
        match version.spin_manifest_version {
            Some(2) => {}
            Some(other) => bail!("spin_manifest_version: {other} is not supported, only 2"),
            None => bail!("spin_manifest_version: missing; this host reads version 2"),
        }
        let file: File = toml::from_str(text)?;

        let variables = file
            .variables
            .into_iter()
            .map(|(name, variable)| {
                let key = format!("variables.{name}");
                check_name(&name).map_err(|rule| anyhow!("{key}: {rule}"))?;
                Ok((name, variable.check(&key)?))
            })
            .collect::<Result<BTreeMap<_, _>>>()?;
        let components = file
            .component
            .into_iter()
            .map(|(id, component)| {
                let component = component.check(&format!("component.{id}"), &variables)?;
                Ok((id, component))
            })
            .collect::<Result<BTreeMap<_, _>>>()?;

        let manifest = Self { variables, components, triggers: file.trigger };
        manifest.check_triggers()?;
        Ok(manifest)
    }

    fn check_triggers(&self) -> Result<()> {
        let cron = self.triggers.cron.iter().map(|trigger| ("cron", &trigger.component));
        let command = self.triggers.command.iter().map(|trigger| ("command", &trigger.component));
        for (kind, id) in cron.chain(command) {
            ensure!(
                self.components.contains_key(id),
                "trigger.{kind}.component: there is no [component.{id}]"
            );
        }
        Ok(())
    }

    /// The ids of the components that a trigger names.
    pub(crate) fn triggered(&self) -> BTreeSet<&str> {
        let cron = self.triggers.cron.iter().map(|trigger| trigger.component.as_str());
        let command = self.triggers.command.iter().map(|trigger| trigger.component.as_str());
        cron.chain(command).collect()
    }
}

/// The file as it is written, before the checks.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    variables: BTreeMap<String, RawVariable>,
    #[serde(default)]
    component: BTreeMap<String, RawComponent>,
    #[serde(default)]
    trigger: Triggers,
}

#[derive(Deserialize)]
struct VersionOnly {
    spin_manifest_version: Option<i64>,
}

#[derive(Deserialize)]
struct RawVariable {
    default: Option<String>,
    #[serde(default)]
    required: bool,
}

impl RawVariable {
    fn check(self, key: &str) -> Result<Variable> {
        match (self.default, self.required) {
            (Some(_), true) => bail!("{key}: has a default and is required; it can be only one"),
            (None, false) => bail!("{key}: has neither a default nor required = true"),
            (default, _) => Ok(Variable { default }),
        }
    }
}

#[derive(Deserialize)]
struct RawComponent {
    source: toml::Value,
    #[serde(default)]
    allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    variables: BTreeMap<String, String>,
    #[serde(default)]
    key_value_stores: BTreeSet<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
}

impl RawComponent {
    fn check(self, key: &str, declared: &BTreeMap<String, Variable>) -> Result<Component> {
        let template = |key: String, text: &str| {
            let template = Template::parse(text).with_context(|| key.clone())?;
            if let Some(name) = template.variables().find(|name| !declared.contains_key(*name)) {
                bail!("{key}: there is no variable {name:?} in [variables]");
            }
            Ok(template)
        };
        let toml::Value::String(source) = self.source else {
            bail!("{key}.source: only a file beside the manifest is supported");
        };
        let allowed_outbound_hosts = self
            .allowed_outbound_hosts
            .iter()
            .map(|entry| template(format!("{key}.allowed_outbound_hosts"), entry))
            .collect::<Result<_>>()?;
        let variables = self
            .variables
            .into_iter()
            .map(|(name, value)| {
                let key = format!("{key}.variables.{name}");
                check_name(&name).map_err(|rule| anyhow!("{key}: {rule}"))?;
                let value = template(key, &value)?;
                Ok((name, value))
            })
            .collect::<Result<_>>()?;
        Ok(Component {
            source,
            allowed_outbound_hosts,
            variables,
            key_value_stores: self.key_value_stores,
            environment: self.environment,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        spin_manifest_version = 2
        [application]
        name = "sync"
        [variables]
        key = { required = true, secret = true }
        url = { default = "http://a:1" }
        [[trigger.cron]]
        component = "sync"
        cron_expression = "0 */2 * * * *"
        [component.sync]
        source = "sync.wasm"
        allowed_outbound_hosts = ["{{ url }}", "https://b"]
        key_value_stores = ["default"]
        [component.sync.variables]
        key = "{{ key }}"
        [component.sync.build]
        command = "cargo build"
    "#;

    #[test]
    fn good_manifest_parse_keeps_what_a_run_needs() {
        let manifest = Manifest::parse(GOOD).unwrap();
        assert_eq!(manifest.triggered(), BTreeSet::from(["sync"]));
        assert_eq!(manifest.triggers.cron[0].cron_expression, "0 */2 * * * *");
        assert_eq!(manifest.variables["url"].default.as_deref(), Some("http://a:1"));
        let component = &manifest.components["sync"];
        assert_eq!(component.source, "sync.wasm");
        assert_eq!(component.allowed_outbound_hosts.len(), 2);
        assert!(component.key_value_stores.contains("default"));
    }

    #[test]
    fn broken_manifest_parse_names_the_key() {
        // (the fault, what of GOOD is replaced, by what, what the error says)
        for (fault, from, to, says) in [
            ("version-1", "version = 2", "version = 1", "spin_manifest_version: 1"),
            ("version-missing", "spin_manifest_version = 2", "", "spin_manifest_version: missing"),
            ("not-toml", "[application]", "[application", "line 3"),
            ("source-missing", "source = \"sync.wasm\"", "", "missing field `source`"),
            ("source-remote", "\"sync.wasm\"", "{ url = \"u\", digest = \"d\" }", "sync.source"),
            ("default-number", "\"http://a:1\"", "1", "default = 1"),
            ("variable-neither", "{ required = true, secret = true }", "{}", "variables.key"),
            ("variable-both", "required = true", "required = true, default = \"\"", "only one"),
            ("variable-name", "key = { req", "Key = { req", "variables.Key"),
            ("host-unknown-variable", "{{ url }}", "{{ ulr }}", "no variable \"ulr\""),
            ("host-unclosed", "{{ url }}", "{{ url", "component.sync.allowed_outbound_hosts"),
            ("variable-unknown", "\"{{ key }}\"", "\"{{ kay }}\"", "component.sync.variables.key"),
            ("trigger-component", "component = \"sync\"", "component = \"x\"", "[component.x]"),
            ("trigger-expression", "cron_expression", "cron", "missing field `cron_expression`"),
        ] {
            assert!(GOOD.contains(from), "{fault}");
            let error = Manifest::parse(&GOOD.replacen(from, to, 1)).expect_err(fault);
            let text = format!("{error:#}");
            assert!(text.contains(says), "{fault}: {text}");
        }
    }

    #[test]
    fn missing_file_read_names_it() {
        let error = Manifest::read(Path::new("nowhere/spin.toml")).unwrap_err();
        assert!(error.to_string().contains("nowhere/spin.toml"), "{error}");
    }
}
