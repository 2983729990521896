//! What a manifest says about one component, once its variables have values: where its code is, what
//! it may reach, what it is told. Both ways to work with a component, [`App`](crate::App) and
//! [`Native`](crate::native::Native), begin here, so that they cannot disagree.

use crate::allowed_hosts::AllowedHosts;
use crate::app::Options;
use crate::key_value::Store;
use crate::manifest::{Component, Manifest};
use crate::{runtime_config, variables};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// See the module.
pub(crate) struct Resolved {
    /// The component's id in the manifest.
    pub(crate) id: String,
    /// The file with its code.
    pub(crate) source: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) allowed_hosts: AllowedHosts,
    /// The component's own variables, expanded.
    pub(crate) variables: BTreeMap<String, String>,
    /// The labels of the key-value stores that it may open.
    pub(crate) key_value_stores: BTreeSet<String>,
    /// Of its cron triggers.
    pub(crate) cron_expressions: Vec<String>,
}

impl Resolved {
    /// Reads the manifest and resolves everything in it, as Spin does before it starts an application.
    pub(crate) fn read(options: &Options) -> Result<Self> {
        let path = &options.manifest;
        let (manifest, id) = choose(options)?;
        let declared = &manifest.components[&id];
        let values = variables::resolve(&manifest.variables, &options.variables)?;
        let allowed_hosts = AllowedHosts::resolve(&declared.allowed_outbound_hosts, &values)
            .with_context(|| {
                format!("{}: component.{id}.allowed_outbound_hosts", path.display())
            })?;
        Ok(Self {
            source: options
                .component_override
                .clone()
                .unwrap_or_else(|| folder(options).join(&declared.source)),
            environment: declared.environment.clone(),
            allowed_hosts,
            variables: expand(declared, &values).collect::<Result<_>>()?,
            key_value_stores: declared.key_value_stores.clone(),
            cron_expressions: manifest
                .triggers
                .cron
                .into_iter()
                .filter(|trigger| trigger.component == id)
                .map(|trigger| trigger.cron_expression)
                .collect(),
            id,
        })
    }
}

/// The component's variables as far as they have values: those that are made from a required one
/// without a value are left out. For finding out what is wrong, where [`Resolved::read`] gives up.
pub(crate) fn variables_with_values(options: &Options) -> Result<BTreeMap<String, String>> {
    let (manifest, id) = choose(options)?;
    let values = variables::known(&manifest.variables, &options.variables);
    Ok(expand(&manifest.components[&id], &values).filter_map(Result::ok).collect())
}

/// Where the key-value store and compiled code are kept.
pub(crate) fn state_dir(options: &Options) -> PathBuf {
    options.state_dir.clone().unwrap_or_else(|| folder(options).join(".spin"))
}

/// The default key-value store: where the runtime configuration says, else in the state directory.
pub(crate) fn store(options: &Options) -> Result<Store> {
    let configured = match &options.runtime_config {
        Some(path) => runtime_config::read(path)?,
        None => None,
    };
    Ok(match configured {
        Some(config) => Store::configured(config),
        None => Store::in_state_dir(&state_dir(options)),
    })
}

fn folder(options: &Options) -> &Path {
    options.manifest.parent().unwrap_or(Path::new(""))
}

fn expand(
    component: &Component,
    values: &BTreeMap<String, String>,
) -> impl Iterator<Item = Result<(String, String)>> {
    component.variables.iter().map(|(name, template)| {
        let value = template.expand(|name| values.get(name).map(String::as_str))?;
        Ok((name.clone(), value))
    })
}

fn choose(options: &Options) -> Result<(Manifest, String)> {
    let path = &options.manifest;
    let manifest = Manifest::read(path)?;
    let id = choose_component(&manifest, options.component.clone())
        .with_context(|| format!("the manifest {}", path.display()))?;
    Ok((manifest, id))
}

fn choose_component(manifest: &Manifest, wanted: Option<String>) -> Result<String> {
    if let Some(id) = wanted {
        return match manifest.components.contains_key(&id) {
            true => Ok(id),
            false => bail!("there is no [component.{id}]"),
        };
    }
    let triggered: Vec<_> = manifest.triggered().into_iter().collect();
    match triggered[..] {
        [id] => Ok(id.to_owned()),
        [] => bail!("there is no [[trigger.cron]] and no [[trigger.command]]"),
        _ => bail!("the triggers name several components: {}; choose one", triggered.join(", ")),
    }
}
