//! What a manifest says about one component, once its variables have values: where its code is, what
//! it may reach, what it is told. Whatever works with a component begins here.

use crate::allowed_hosts::AllowedHosts;
use crate::client_tls::{self, ClientTls};
use crate::key_value::Store;
use crate::manifest::{Component, Manifest};
use crate::runtime_config::RuntimeConfig;
use crate::variables::Variables;
use crate::{runtime_config, variables};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which application, and what is supplied to it from outside.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The `spin.toml`.
    pub manifest: PathBuf,
    /// Which of the manifest's components; needed only if its triggers name more than one.
    pub component: Option<String>,
    /// Values for the manifest's variables. The default has none: the environment is read only by
    /// [`Variables::from_env`].
    pub variables: Variables,
    /// Where the key-value store persists; default `.spin` beside the manifest.
    pub state_dir: Option<PathBuf>,
    /// Spin's runtime configuration; it may put the key-value store elsewhere, and say whom to believe in TLS.
    pub runtime_config: Option<PathBuf>,
}

/// See the module.
#[derive(Debug)]
pub struct Resolved {
    /// The component's id in the manifest.
    pub id: String,
    /// The file with its code.
    pub source: PathBuf,
    /// What the manifest sets for it.
    pub environment: BTreeMap<String, String>,
    /// What it may reach.
    pub allowed_hosts: AllowedHosts,
    /// Whom it believes, and as whom it comes.
    pub client_tls: ClientTls,
    /// The component's own variables, expanded.
    pub variables: BTreeMap<String, String>,
    /// The labels of the key-value stores that it may open.
    pub key_value_stores: BTreeSet<String>,
    /// Of its cron triggers.
    pub cron_expressions: Vec<String>,
}

impl Resolved {
    /// Reads the manifest and resolves everything in it, as Spin does before it starts an application.
    pub fn read(options: &Options) -> Result<Self> {
        let path = &options.manifest;
        let (manifest, id) = choose(options)?;
        let declared = &manifest.components[&id];
        let values = variables::resolve(&manifest.variables, &options.variables)?;
        let allowed_hosts = AllowedHosts::resolve(&declared.allowed_outbound_hosts, &values)
            .with_context(|| {
                format!("{}: component.{id}.allowed_outbound_hosts", path.display())
            })?;
        Ok(Self {
            source: folder(options).join(&declared.source),
            environment: declared.environment.clone(),
            allowed_hosts,
            client_tls: client_tls::of_component(&runtime_config(options)?.client_tls, &id),
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
pub fn variables_with_values(options: &Options) -> Result<BTreeMap<String, String>> {
    let (manifest, id) = choose(options)?;
    let values = variables::known(&manifest.variables, &options.variables);
    Ok(expand(&manifest.components[&id], &values).filter_map(Result::ok).collect())
}

/// Where the key-value store and compiled code are kept.
pub fn state_dir(options: &Options) -> PathBuf {
    options.state_dir.clone().unwrap_or_else(|| folder(options).join(".spin"))
}

/// The default key-value store: where the runtime configuration says, else in the state directory.
pub fn store(options: &Options) -> Result<Store> {
    Ok(match runtime_config(options)?.store {
        Some(config) => Store::configured(config),
        None => Store::in_state_dir(&state_dir(options)),
    })
}

fn runtime_config(options: &Options) -> Result<RuntimeConfig> {
    options
        .runtime_config
        .as_deref()
        .map_or_else(|| Ok(RuntimeConfig::default()), runtime_config::read)
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
