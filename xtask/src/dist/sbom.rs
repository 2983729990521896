//! The software bill of materials: CycloneDX 1.5 in JSON. No serial number and no time, which would
//! differ from one making to the next; the standard asks for neither.

use super::crates::{Crate, Crates};
use anyhow::Result;
use serde::Serialize;

/// The document. Structs, not `serde_json::Value`: the order of their keys is in no feature's hands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bom<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    bom_format: &'static str,
    spec_version: &'static str,
    version: u32,
    metadata: Metadata<'a>,
    components: Vec<Component<'a>>,
    dependencies: Vec<Dependency>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    tools: Tools<'a>,
    component: Component<'a>,
}

#[derive(Serialize)]
struct Tools<'a> {
    components: [Tool<'a>; 1],
}

#[derive(Serialize)]
struct Tool<'a> {
    r#type: &'static str,
    name: &'static str,
    version: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Component<'a> {
    r#type: &'static str,
    #[serde(rename = "bom-ref")]
    bom_ref: String,
    name: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash<'a>>,
    licenses: [Licence<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_references: Vec<Reference<'a>>,
}

#[derive(Serialize)]
struct Hash<'a> {
    alg: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct Licence<'a> {
    expression: &'a str,
}

#[derive(Serialize)]
struct Reference<'a> {
    r#type: &'static str,
    url: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    r#ref: String,
    depends_on: Vec<String>,
}

/// The document for a component with this digest, made by this compiler.
pub(super) fn json(crates: &Crates, digest: &str, compiler: &str) -> Result<String> {
    let component = crates.component();
    let all = || std::iter::once(component).chain(crates.parts());
    let bom = Bom {
        schema: "http://cyclonedx.org/schema/bom-1.5.schema.json",
        bom_format: "CycloneDX",
        spec_version: "1.5",
        version: 1,
        metadata: Metadata {
            // Its standard library is in the component too.
            tools: Tools {
                components: [Tool {
                    r#type: "application",
                    name: "rustc",
                    version: compiler.strip_prefix("rustc ").unwrap_or(compiler),
                }],
            },
            component: described("application", component, Some(digest)),
        },
        components: crates
            .parts()
            .map(|part| described("library", part, part.checksum.as_deref()))
            .collect(),
        dependencies: all()
            .map(|one| Dependency {
                r#ref: one.id(),
                depends_on: one.dependencies.iter().cloned().collect(),
            })
            .collect(),
    };
    Ok(serde_json::to_string_pretty(&bom)? + "\n")
}

fn described<'a>(kind: &'static str, one: &'a Crate, digest: Option<&'a str>) -> Component<'a> {
    Component {
        r#type: kind,
        bom_ref: one.id(),
        name: &one.name,
        version: &one.version,
        description: one.description.as_ref().map(|text| words(text)),
        hashes: digest.map(|content| Hash { alg: "SHA-256", content }).into_iter().collect(),
        licenses: [Licence { expression: &one.licence }],
        // The crates of this workspace are in no registry, and another's may have the name there.
        purl: one.checksum.is_some().then(|| purl(one)),
        external_references: one
            .repository
            .as_deref()
            .map(|url| Reference { r#type: "vcs", url })
            .into_iter()
            .collect(),
    }
}

/// <https://github.com/package-url/purl-spec>; of all that a version may hold, only `+` is special there.
fn purl(one: &Crate) -> String {
    format!("pkg:cargo/{}@{}", one.name, one.version.replace('+', "%2B"))
}

/// On one line: manifests break their descriptions.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
