//! The application as an OCI image, in the form in which `spin registry push` makes it, so that Spin and SpinKube's
//! shim take it from a registry although it was pushed by other tools. Learnt from Spin 3.6 and 4.0, `crates/oci` and
//! `crates/loader`: a layer with the component, a layer with the locked application, which names the first by its
//! digest, and a configuration that names the second.
//!
//! A manifest with anything that is not understood here is refused: what is left out would be missing at run time only.

use super::oci::{Descriptor, Layout};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

const WASM: &str = "application/vnd.wasm.content.layer.v1+wasm";
const APPLICATION: &str = "application/vnd.fermyon.spin.application.v1+config";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Makes the images of different applications different where only the configuration is looked at.
const DIGEST_LABEL: &str = "com.fermyon.spin.lockedAppDigest";

/// `spin.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    spin_manifest_version: u32,
    application: Application,
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
    trigger: BTreeMap<String, Vec<BTreeMap<String, String>>>,
    component: BTreeMap<String, Component>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Application {
    name: String,
    version: String,
    description: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    default: Option<String>,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    secret: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Component {
    #[expect(dead_code, reason = "the layer is the packed component, whatever its path is")]
    source: String,
    allowed_outbound_hosts: Vec<String>,
    key_value_stores: Vec<String>,
    variables: BTreeMap<String, String>,
}

/// The locked application: what Spin makes of a manifest. Maps are sorted, so that the same manifest gives the same
/// bytes.
#[derive(Serialize)]
struct Locked<'a> {
    /// The first version; there is nothing in it that a reader has to know newer ones for.
    spin_lock_version: u32,
    metadata: Metadata<'a>,
    variables: BTreeMap<&'a str, LockedVariable<'a>>,
    triggers: Vec<LockedTrigger<'a>>,
    components: Vec<LockedComponent<'a>>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    description: &'a str,
    name: &'a str,
    /// For older readers, beside the next.
    trigger: BTreeMap<&'static str, &'a str>,
    /// Settings of all triggers of a type; there are none.
    triggers: BTreeMap<&'a str, ()>,
    version: &'a str,
}

#[derive(Serialize)]
struct LockedVariable<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    secret: bool,
}

#[derive(Serialize)]
struct LockedTrigger<'a> {
    id: String,
    trigger_type: &'a str,
    trigger_config: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct LockedComponent<'a> {
    id: &'a str,
    metadata: ComponentMetadata<'a>,
    source: Source<'a>,
    config: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct ComponentMetadata<'a> {
    allowed_outbound_hosts: &'a [String],
    key_value_stores: &'a [String],
}

#[derive(Serialize)]
struct Source<'a> {
    content_type: &'static str,
    digest: &'a str,
}

/// The image's configuration, which no reader of applications looks at; the platform is the one that Spin writes.
#[derive(Serialize)]
struct Config<'a> {
    architecture: &'static str,
    os: &'static str,
    config: Labels<'a>,
    rootfs: RootFs,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Labels<'a> {
    labels: BTreeMap<&'static str, &'a str>,
}

#[derive(Serialize)]
struct RootFs {
    r#type: &'static str,
    diff_ids: [String; 0],
}

/// Adds the application of a manifest, with this component, as an image. Its tag is the version, for SpinKube, which
/// runs applications with the command trigger; for any other trigger the trigger's type is in the tag too.
pub(super) fn add(layout: &mut Layout, manifest: &str, wasm: &[u8], seconds: u64) -> Result<()> {
    let manifest: Manifest = toml::from_str(manifest)?;
    ensure!(
        manifest.spin_manifest_version == 2,
        "only version 2 of Spin's manifests is understood"
    );
    let trigger = manifest.trigger.keys().next().filter(|_| manifest.trigger.len() == 1);
    let trigger = trigger.context("triggers of one type are understood")?;
    let component = layout.blob(WASM, wasm.to_vec());
    let locked = serde_json::to_vec(&locked(&manifest, trigger, &component)?)?;
    let locked = layout.blob(APPLICATION, locked);
    let config = serde_json::to_vec(&Config {
        architecture: "wasm",
        os: "Wasip1",
        config: Labels { labels: BTreeMap::from([(DIGEST_LABEL, locked.digest.as_str())]) },
        rootfs: RootFs { r#type: "layers", diff_ids: [] },
    })?;
    let config = layout.blob(CONFIG, config);
    let Application { name, version, description } = manifest.application;
    let tag = match trigger.as_str() {
        "command" => version.clone(),
        other => format!("{version}-{other}"),
    };
    let created = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds));
    let annotations = [
        ("org.opencontainers.image.created", created.to_string()),
        ("org.opencontainers.image.description", description),
        ("org.opencontainers.image.title", name),
        ("org.opencontainers.image.version", version),
    ];
    layout.image(&tag, config, vec![component, locked], annotations.into())
}

fn locked<'a>(
    manifest: &'a Manifest,
    trigger: &'a str,
    component: &'a Descriptor,
) -> Result<Locked<'a>> {
    let application = &manifest.application;
    let variables = manifest.variables.iter().map(|(name, variable)| {
        // As Spin has it: one or the other.
        let is_one = variable.required != variable.default.is_some();
        ensure!(is_one, "the variable {name} is required, or has a default");
        let locked =
            LockedVariable { default: variable.default.as_deref(), secret: variable.secret };
        Ok((name.as_str(), locked))
    });
    let triggers = manifest.trigger[trigger].iter().map(|config| {
        let runs = config.get("component").context("a trigger without a component")?;
        ensure!(manifest.component.contains_key(runs), "there is no component {runs}");
        Ok(LockedTrigger {
            id: format!("{runs}-{trigger}-trigger"),
            trigger_type: trigger,
            trigger_config: config,
        })
    });
    let triggers: Vec<_> = triggers.collect::<Result<_>>()?;
    ensure!(triggers.len() == 1, "one trigger is understood: others would need other ids");
    ensure!(manifest.component.len() == 1, "one component is packed");
    let components = manifest.component.iter().map(|(id, part)| LockedComponent {
        id,
        metadata: ComponentMetadata {
            allowed_outbound_hosts: &part.allowed_outbound_hosts,
            key_value_stores: &part.key_value_stores,
        },
        source: Source { content_type: "application/wasm", digest: &component.digest },
        config: &part.variables,
    });
    Ok(Locked {
        spin_lock_version: 0,
        metadata: Metadata {
            description: &application.description,
            name: &application.name,
            trigger: BTreeMap::from([("type", trigger)]),
            triggers: BTreeMap::new(),
            version: &application.version,
        },
        variables: variables.collect::<Result<_>>()?,
        triggers,
        components: components.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Layout, add};

    const GOOD: &str = r#"
spin_manifest_version = 2
[application]
name = "a"
version = "1.0.0"
description = "d"
[variables]
x = { default = "" }
y = { required = true, secret = true }
[[trigger.command]]
component = "c"
[component.c]
source = "c.wasm"
allowed_outbound_hosts = ["{{ x }}"]
key_value_stores = ["default"]
[component.c.variables]
x = "{{ x }}"
"#;

    #[test]
    fn manifest_with_what_would_be_left_out_is_refused() {
        add(&mut Layout::default(), GOOD, b"w", 0).unwrap();
        for (from, to, says) in [
            ("key_value", "files = [\"x\"]\nkey_value", "unknown field `files`"),
            ("[variables]", "[application.trigger.command]\na = 1\n[variables]", "unknown field"),
            ("= true, s", "= true, default = \"\", s", "the variable y"),
            ("{ default = \"\" }", "{}", "the variable x"),
            ("component = \"c\"", "component = \"d\"", "no component d"),
            (
                "[[trigger.command]]",
                "[[trigger.cron]]\ncomponent = \"c\"\n[[trigger.command]]",
                "one type",
            ),
            (
                "[[trigger.command]]",
                "[[trigger.command]]\ncomponent = \"c\"\n[[trigger.command]]",
                "one trigger",
            ),
            ("version = 2", "version = 3", "version 2"),
        ] {
            let manifest = GOOD.replacen(from, to, 1);
            assert_ne!(manifest, GOOD, "{from}");
            let refused = add(&mut Layout::default(), &manifest, b"w", 0).unwrap_err();
            assert!(format!("{refused:#}").contains(says), "{to}: {refused:#}");
        }
    }
}
