//! The tool as an OCI image, for a Job in the cluster: one layer with the program, the application's manifest, which it
//! reads its settings by, and the terms. No shell, no certificates (the public roots are in the program), a user without
//! rights; and no library, unless the program could only be built to need some.

use super::archive::{self, File};
use super::oci::Layout;
use super::tool;
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The one for SpinKube: where it runs there is a cluster. Its variables are those of the other.
const MANIFEST: &str = "deploy/spinkube/spin.toml";
/// "nobody", with the number that images without users agree on.
const USER: &str = "65532:65532";

/// The platform, as OCI spells it; the order of the keys decides the digest.
#[derive(Serialize)]
struct Config<'a> {
    created: String,
    architecture: &'a str,
    os: &'static str,
    config: Run<'a>,
    rootfs: RootFs,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Run<'a> {
    user: &'static str,
    entrypoint: [&'static str; 1],
    cmd: [&'static str; 1],
    working_dir: &'static str,
    labels: BTreeMap<&'static str, &'a str>,
}

#[derive(Serialize)]
struct RootFs {
    r#type: &'static str,
    diff_ids: [String; 1],
}

/// What OCI calls a target's processor. None for what is no Linux, or none that images are made for.
pub(super) fn architecture(target: &str) -> Option<&'static str> {
    let (processor, system) = target.split_once('-')?;
    if !system.starts_with("unknown-linux-") {
        return None;
    }
    match processor {
        "x86_64" => Some("amd64"),
        "aarch64" => Some("arm64"),
        _ => None,
    }
}

/// The layout with the image, whose tag is the version. `files` are those of the archive: the manifest is among them.
pub(super) fn tar(
    mut inside: Vec<File>,
    files: &[File],
    architecture: &str,
    version: &str,
    seconds: u64,
) -> Result<Vec<u8>> {
    let manifest = files.iter().find(|file| file.path == MANIFEST).context(MANIFEST)?;
    inside.push(File::new("spin.toml", manifest.bytes.clone()));
    let (layer, digest) = archive::layer(inside, seconds)?;
    let mut layout = Layout::default();
    let layer = layout.blob(LAYER, layer);
    let created = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds));
    let created = created.to_string();
    let about = [
        ("org.opencontainers.image.description", "Checks and explains a crowdsec-edge-sync"),
        ("org.opencontainers.image.licenses", "Apache-2.0"),
        ("org.opencontainers.image.title", tool::PACKAGE),
        ("org.opencontainers.image.version", version),
    ];
    let config = Config {
        created: created.clone(),
        architecture,
        os: "linux",
        config: Run {
            user: USER,
            entrypoint: ["/edge-sync"],
            cmd: ["--help"],
            // Where the manifest is, which the program looks for here.
            working_dir: "/",
            labels: about.into(),
        },
        rootfs: RootFs { r#type: "layers", diff_ids: [format!("sha256:{digest}")] },
    };
    let config = layout.blob(CONFIG, serde_json::to_vec(&config)?);
    let mut annotations: BTreeMap<_, _> =
        about.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    annotations.insert("org.opencontainers.image.created", created);
    layout.image(version, config, vec![layer], annotations)?;
    layout.tar(seconds)
}
