//! An OCI image layout in one tar archive, as `skopeo` and `oras` read it: blobs by digest, and an index that names
//! images by tag. Owns the form of the layout; what an image is made of is not its business.
//!
//! The standard: <https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md>.

use super::archive::{self, File};
use super::hex;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The annotation that is a tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// What points to a blob.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    media_type: String,
    pub(super) digest: String,
    size: usize,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, String>,
}

/// Structs and sorted maps, never `serde_json::Value`: the order of the keys decides the digest.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: &'static str,
    config: Descriptor,
    layers: Vec<Descriptor>,
    annotations: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u32,
    media_type: &'static str,
    manifests: &'a [Descriptor],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    image_layout_version: &'static str,
}

/// A layout that is being filled.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// By digest, so that images which share one have it once.
    blobs: BTreeMap<String, Vec<u8>>,
    images: Vec<Descriptor>,
}

impl Layout {
    /// Adds a blob.
    pub(super) fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let digest = hex(&bytes);
        let size = bytes.len();
        self.blobs.insert(digest.clone(), bytes);
        Descriptor {
            media_type: media_type.to_owned(),
            digest: format!("sha256:{digest}"),
            size,
            annotations: BTreeMap::new(),
        }
    }

    /// Adds an image of blobs that were added.
    pub(super) fn image(
        &mut self,
        tag: &str,
        config: Descriptor,
        layers: Vec<Descriptor>,
        annotations: BTreeMap<&'static str, String>,
    ) -> Result<()> {
        let manifest =
            Manifest { schema_version: 2, media_type: MANIFEST, config, layers, annotations };
        let mut image = self.blob(MANIFEST, serde_json::to_vec(&manifest)?);
        image.annotations.insert(REF_NAME, tag.to_owned());
        self.images.push(image);
        Ok(())
    }

    /// The archive. `seconds` is the time of every file in it, Unix time.
    pub(super) fn tar(self, seconds: u64) -> Result<Vec<u8>> {
        let index = Index { schema_version: 2, media_type: INDEX, manifests: &self.images };
        let mut files = vec![
            File::new(
                "oci-layout",
                serde_json::to_vec(&Version { image_layout_version: "1.0.0" })?,
            ),
            File::new("index.json", serde_json::to_vec(&index)?),
        ];
        let blobs = self.blobs.into_iter();
        files.extend(
            blobs.map(|(digest, bytes)| File::new(&format!("blobs/sha256/{digest}"), bytes)),
        );
        archive::tar(files, seconds)
    }
}
