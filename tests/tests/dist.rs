//! What is released is what was tested: what `cargo xtask dist` packs, unpacked as a user does it, checked as a
//! user does it, and run from the manifests in it and from the image that a registry would have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use end_to_end::debian::{self, Programs};
use end_to_end::helm::Helm;
use end_to_end::world::{self, cron};
use end_to_end::{World, skip, workspace};
use host::{App, Outcome, Trigger};
use serde_json::{Value, json};
use tempfile::TempDir;
use xtask::dist::Packed;

/// Packs the built component.
fn packed(below: &TempDir) -> Packed {
    xtask::dist::pack(&workspace::component(), below.path()).unwrap()
}

/// Packs and unpacks the archive; gives the folder that was in it.
fn unpacked(below: &TempDir) -> PathBuf {
    let packed = packed(below);
    // In the folder of the files: their digests name them without one.
    run(below.path(), "sha256sum", &["--check", "--quiet"], &packed.digests);
    run(below.path(), "tar", &["-xzf"], &packed.archive);
    below.path().join(packed.folder)
}

fn run(folder: &Path, program: &str, arguments: &[&str], file: &Path) {
    let mut command = Command::new(program);
    command.args(arguments).arg(file).current_dir(folder).stdin(Stdio::null());
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

fn manifests(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(manifests(&path));
        } else if path.ends_with("spin.toml") {
            found.push(path);
        }
    }
    found
}

/// As the manifest says.
fn trigger(manifest: &Path) -> Trigger {
    let manifest: toml::Table = std::fs::read_to_string(manifest).unwrap().parse().unwrap();
    if manifest["trigger"].get("cron").is_some() { cron() } else { Trigger::Command }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archive_unpacked_run_from_each_of_its_manifests_brings_the_edge_in_step() {
    let below = tempfile::tempdir().unwrap();
    let folder = unpacked(&below);
    run(&folder, "sha256sum", &["--check", "--quiet"], Path::new("SHA256SUMS"));
    let manifests = manifests(&folder);
    assert!(manifests.contains(&folder.join("spin.toml")), "{manifests:?}");
    for manifest in manifests {
        assert_syncs(&manifest).await;
    }
}

/// Runs what the manifest names, in a world of its own.
async fn assert_syncs(manifest: &Path) {
    let world = World::new().await;
    world.ban(&["203.0.113.7", "2001:DB8::1"]);
    world.preload(&["192.0.2.1"], &[]);
    let settings = [
        "lapi_url",
        "lapi_key",
        "cf_api_url",
        "cf_account_id",
        "cf_api_token",
        "cf_ban_list_id",
        "cf_captcha_list_id",
        "pushgateway_url",
    ];
    let settings = settings.map(|name| (name.to_owned(), world.setting(name).to_owned()));
    let state = tempfile::tempdir().unwrap();
    // No `component_override`: the manifest's own source is what this is about.
    let app = App::load(host::Options {
        manifest: manifest.to_owned(),
        variables: settings.into_iter().collect(),
        state_dir: Some(state.path().to_owned()),
        cache_dir: Some(workspace::cache().join("compiled")),
        ..host::Options::default()
    });
    let app = app.unwrap_or_else(|error| panic!("{}: {error:#}", manifest.display()));
    let ran = world::run(&app, trigger(manifest)).await;
    assert_eq!(ran.run.outcome, Outcome::Ok, "{}: {}", manifest.display(), ran.run.stdout);
    assert_eq!(ran.summary().get("outcome"), "applied", "{}", manifest.display());
    world.assert_edge(&["203.0.113.7", "2001:db8::1"], &[]);
    world.assert_no_violations();
}

/// An OCI layout, read by its standard and by nothing that wrote it.
struct Layout(PathBuf);

impl Layout {
    fn unpacked(below: &TempDir) -> Self {
        let folder = below.path().join("layout");
        std::fs::create_dir(&folder).unwrap();
        run(&folder, "tar", &["-xf"], &packed(below).image);
        let layout = Self(folder);
        let version: Value = layout.json("oci-layout");
        assert_eq!(version, json!({ "imageLayoutVersion": "1.0.0" }));
        layout
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.0.join(path)).unwrap()).unwrap()
    }

    /// What a descriptor points to, after its size and its digest were checked.
    fn blob(&self, descriptor: &Value) -> Vec<u8> {
        let (kind, digest) = descriptor["digest"].as_str().unwrap().split_once(':').unwrap();
        let path = self.0.join("blobs").join(kind).join(digest);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(descriptor["size"], bytes.len());
        let output = Command::new("sha256sum").arg(&path).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).starts_with(&format!("{digest} ")));
        bytes
    }

    /// The manifests of the images, by tag.
    fn images(&self) -> BTreeMap<String, Value> {
        let index = self.json("index.json");
        assert_eq!(index["schemaVersion"], 2);
        let images = index["manifests"].as_array().unwrap().iter().map(|image| {
            assert_eq!(image["mediaType"], "application/vnd.oci.image.manifest.v1+json");
            let tag = image["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap();
            (tag.to_owned(), serde_json::from_slice(&self.blob(image)).unwrap())
        });
        images.collect()
    }
}

/// What Spin and the shim look for, by media type: the component, and the application that names it.
fn component_and_application(layout: &Layout, image: &Value) -> (Vec<u8>, Value) {
    let layers = image["layers"].as_array().unwrap();
    let of = |media_type: &str| {
        let found: Vec<_> = layers.iter().filter(|one| one["mediaType"] == media_type).collect();
        assert_eq!(found.len(), 1, "{media_type}: {layers:?}");
        found[0]
    };
    assert_eq!(layers.len(), 2, "nothing else");
    let component = of("application/vnd.wasm.content.layer.v1+wasm");
    let application = of("application/vnd.fermyon.spin.application.v1+config");
    let locked: Value = serde_json::from_slice(&layout.blob(application)).unwrap();
    let source = &locked["components"][0]["source"];
    assert_eq!(
        *source,
        json!({ "content_type": "application/wasm", "digest": component["digest"] })
    );
    let config = &image["config"];
    assert_eq!(config["mediaType"], "application/vnd.oci.image.config.v1+json");
    let config: Value = serde_json::from_slice(&layout.blob(config)).unwrap();
    assert_eq!((&config["architecture"], &config["os"]), (&json!("wasm"), &json!("Wasip1")));
    let label = &config["config"]["Labels"]["com.fermyon.spin.lockedAppDigest"];
    assert_eq!(*label, application["digest"]);
    (layout.blob(component), locked)
}

/// The manifest that a locked application was made from, as far as it can be told from it alone.
fn manifest_of(locked: &Value, source: &str) -> toml::Table {
    assert_eq!(locked["spin_lock_version"], 0);
    let keys: BTreeSet<_> = locked.as_object().unwrap().keys().map(String::as_str).collect();
    let known = ["spin_lock_version", "metadata", "variables", "triggers", "components"];
    assert_eq!(keys, BTreeSet::from(known));
    let mut variables = locked["variables"].clone();
    for variable in variables.as_object_mut().unwrap().values_mut() {
        if variable.get("default").is_none() {
            variable["required"] = true.into();
        }
    }
    let metadata = &locked["metadata"];
    let trigger = &locked["triggers"][0];
    let kind = trigger["trigger_type"].as_str().unwrap();
    assert_eq!(metadata["trigger"]["type"], kind);
    let component = &locked["components"][0];
    let id = component["id"].as_str().unwrap();
    assert_eq!(trigger["id"], format!("{id}-{kind}-trigger"));
    let manifest = json!({
        "spin_manifest_version": 2,
        "application": {
            "name": metadata["name"],
            "version": metadata["version"],
            "description": metadata["description"],
        },
        "variables": variables,
        "trigger": { kind: [trigger["trigger_config"]] },
        "component": { id: {
            "source": source,
            "allowed_outbound_hosts": component["metadata"]["allowed_outbound_hosts"],
            "key_value_stores": component["metadata"]["key_value_stores"],
            "variables": component["config"],
        } },
    });
    serde_json::from_value(manifest).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn image_read_back_is_the_application_of_each_manifest_and_syncs() {
    let below = tempfile::tempdir().unwrap();
    let layout = Layout::unpacked(&below);
    let root = workspace::root();
    let manifests = ["deploy/spinkube/spin.toml", "spin.toml"].map(|path| {
        let manifest: toml::Table =
            std::fs::read_to_string(root.join(path)).unwrap().parse().unwrap();
        manifest
    });
    let version = manifests[0]["application"]["version"].as_str().unwrap().to_owned();
    let images = layout.images();
    let tags: Vec<_> = images.keys().cloned().collect();
    assert_eq!(tags, [version.clone(), format!("{version}-cron")]);
    for (manifest, image) in manifests.into_iter().zip(images.values()) {
        let (component, locked) = component_and_application(&layout, image);
        assert!(component == std::fs::read(workspace::component()).unwrap());
        assert_eq!(image["annotations"]["org.opencontainers.image.version"], version);
        let told = manifest_of(&locked, "component.wasm");
        let mut original = manifest;
        let original_component =
            original["component"]["crowdsec-edge-sync"].as_table_mut().unwrap();
        original_component.insert("source".into(), "component.wasm".into());
        original_component.remove("build");
        assert_eq!(told, original);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("component.wasm"), component).unwrap();
        let path = folder.path().join("spin.toml");
        std::fs::write(&path, told.to_string()).unwrap();
        assert_syncs(&path).await;
    }
}

const SKOPEO: debian::Package = debian::Package {
    name: "skopeo",
    programs: &["skopeo"],
    libraries: &["libgpgme11", "libassuan0", "libdevmapper1.02.1"],
};
const UMOCI: debian::Package =
    debian::Package { name: "umoci", programs: &["umoci"], libraries: &[] };

fn program(package: &debian::Package) -> Option<Programs> {
    let name = package.name;
    let found = package.find();
    found.inspect_err(|error| skip::for_want_of(format_args!("{name}: {error:#}"))).ok()
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// What pushes it to a registry reads it.
#[test]
fn image_is_what_skopeo_inspects_and_copies() {
    let Some(skopeo) = program(&SKOPEO) else { return };
    let below = tempfile::tempdir().unwrap();
    let packed = packed(&below);
    for tag in [packed.version.clone(), format!("{}-cron", packed.version)] {
        let from = format!("oci-archive:{}:{tag}", packed.image.display());
        let raw = said(skopeo.command("skopeo").args(["inspect", "--raw", &from]));
        let manifest: Value = serde_json::from_str(&raw).unwrap();
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 2, "{manifest}");
        let config = said(skopeo.command("skopeo").args(["inspect", "--config", &from]));
        assert_eq!(serde_json::from_str::<Value>(&config).unwrap()["architecture"], "wasm");
        // Copying checks every digest.
        let to = below.path().join(&tag);
        let to = format!("dir:{}", to.display());
        said(skopeo.command("skopeo").args(["--insecure-policy", "copy", "--quiet", &from, &to]));
    }
}

/// What a cluster pulls, around any program.
#[test]
fn image_of_the_tool_is_what_skopeo_inspects_and_umoci_unpacks() {
    let (Some(skopeo), Some(umoci)) = (program(&SKOPEO), program(&UMOCI)) else { return };
    let below = tempfile::tempdir().unwrap();
    let [any, dist] = ["any-program", "dist"].map(|name| below.path().join(name));
    std::fs::write(&any, "a program").unwrap();
    let packed = xtask::dist::pack_with_program(&workspace::component(), &any, &dist).unwrap();
    let image = packed.tool_image.expect("an image");
    let from = format!("oci-archive:{}:{}", image.display(), packed.version);
    let inspected = said(skopeo.command("skopeo").args(["inspect", &from]));
    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!((&inspected["Os"], &inspected["Architecture"]), (&"linux".into(), &"amd64".into()));
    assert_eq!(inspected["Labels"]["org.opencontainers.image.version"], packed.version);
    let copy = format!("dir:{}", below.path().join("copy").display());
    said(skopeo.command("skopeo").args(["--insecure-policy", "copy", "--quiet", &from, &copy]));

    let layout = below.path().join("layout");
    std::fs::create_dir(&layout).unwrap();
    run(&layout, "tar", &["-xf"], &image);
    let bundle = below.path().join("bundle");
    let named = format!("{}:{}", layout.display(), packed.version);
    let unpack = ["unpack", "--rootless", "--image", &named];
    said(umoci.command("umoci").args(unpack).arg(&bundle));
    assert_eq!(std::fs::read(bundle.join("rootfs/edge-sync")).unwrap(), b"a program");
    assert!(bundle.join("rootfs/spin.toml").exists());
    let config: Value =
        serde_json::from_slice(&std::fs::read(bundle.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["process"]["args"], json!(["/edge-sync", "--help"]));
}

#[test]
fn image_is_what_umoci_lists() {
    let Some(umoci) = program(&UMOCI) else { return };
    let below = tempfile::tempdir().unwrap();
    let layout = Layout::unpacked(&below);
    let listed = said(umoci.command("umoci").arg("list").arg("--layout").arg(&layout.0));
    let tags: BTreeSet<_> = listed.lines().map(str::to_owned).collect();
    assert_eq!(tags, layout.images().into_keys().collect());
}

#[test]
fn chart_packed_is_one_that_helm_installs() {
    let helm = Helm::find();
    let Ok(helm) = helm.inspect_err(|error| skip::for_want_of(format_args!("Helm: {error:#}")))
    else {
        return;
    };
    let below = tempfile::tempdir().unwrap();
    let packed = packed(&below);
    let refused = helm.render(&packed.chart, "a", "b", &json!({})).unwrap_err().to_string();
    assert!(refused.contains("These values are missing"), "{refused}");
}
