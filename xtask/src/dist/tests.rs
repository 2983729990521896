//! The archive, packed with any bytes for a component: what is in it, and that it is always the same.

use super::tool::Tool;
use super::{COMPONENT, DIGESTS, NOTICES, Packed, SBOM, contents, hex, pack_built_by};
use crate::toolchain::TARGET;
use crate::tools::cargo;
use flate2::read::GzDecoder;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;
use tar::Archive;
use tempfile::TempDir;

const WASM: &[u8] = b"\0asm, or so";
const PROGRAM: &[u8] = b"\x7fELF, or so";

static ARCHIVE: LazyLock<Vec<u8>> =
    LazyLock::new(|| packed(&tempfile::tempdir().unwrap(), "archive"));

fn pack_into(folder: &TempDir, name: &str) -> Packed {
    let component = folder.path().join("any.wasm");
    fs::write(&component, WASM).unwrap();
    let program = folder.path().join("any-program");
    fs::write(&program, PROGRAM).unwrap();
    let target = "x86_64-unknown-linux-musl".to_owned();
    let tool = Tool { target, program, compiler: "rustc 4.5.6 (others)".to_owned() };
    let into = folder.path().join(name);
    pack_built_by("rustc 1.2.3 (words)", &component, Some(&tool), &into).unwrap()
}

fn packed(folder: &TempDir, name: &str) -> Vec<u8> {
    fs::read(pack_into(folder, name).archive).unwrap()
}

/// The files below the archive's one folder.
fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = Archive::new(GzDecoder::new(archive));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let (_, path) = path.split_once('/').expect("a folder");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (path.to_owned(), bytes)
    });
    entries.collect()
}

fn text(files: &BTreeMap<String, Vec<u8>>, path: &str) -> String {
    String::from_utf8(files[path].clone()).unwrap()
}

#[test]
fn same_component_packed_twice_gives_the_same_bytes_in_every_file() {
    let folder = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| pack_into(&folder, name).files);
    assert_eq!(one.len(), 9);
    for (one, other) in one.iter().zip(&other) {
        assert_eq!(one.file_name(), other.file_name());
        assert!(fs::read(one).unwrap() == fs::read(other).unwrap(), "{}", one.display());
    }
}

#[test]
fn every_file_that_is_released_has_its_digest_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let packed = pack_into(&folder, "one");
    let digests = fs::read_to_string(&packed.digests).unwrap();
    let mut listed: Vec<_> = digests.lines().map(str::to_owned).collect();
    let others = packed.files.iter().filter(|path| **path != packed.digests);
    let mut expected: Vec<_> = others
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            format!("{}  {name}", hex(&fs::read(path).unwrap()))
        })
        .collect();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    let there = packed.digests.parent().unwrap().read_dir().unwrap().count();
    assert_eq!(there, packed.files.len(), "nothing else");
}

#[test]
fn tool_packed_is_a_program_for_its_target_with_the_terms_of_all_that_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let packed = pack_into(&folder, "one");
    let name =
        concat!("edge-sync-", env!("CARGO_PKG_VERSION"), "-x86_64-unknown-linux-musl.tar.gz");
    let path = packed.files.iter().find(|path| path.ends_with(name)).expect("the tool");
    let archive = fs::read(path).unwrap();
    let files = files(&archive);
    assert_eq!(files.keys().collect::<Vec<_>>(), ["LICENSE", NOTICES, "edge-sync"]);
    assert_eq!(files["edge-sync"], PROGRAM);
    let notices = text(&files, NOTICES);
    for part in ["rustls ", "ring ", "webpki-roots ", "libsqlite3-sys ", "tokio "] {
        assert!(notices.contains(&format!("\n{part}")), "{part}");
    }
    assert!(!notices.contains("\nspin-sdk "), "that is the component's");
    for entry in Archive::new(GzDecoder::new(&*archive)).entries().unwrap() {
        let entry = entry.unwrap();
        let is_program = entry.path().unwrap().ends_with("edge-sync");
        let mode = entry.header().mode().unwrap();
        assert_eq!(mode, if is_program { 0o755 } else { 0o644 }, "{:?}", entry.path());
    }
}

/// The files of a tar archive, by their last names.
fn blobs(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = Archive::new(tar);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (name, bytes)
    });
    entries.collect()
}

#[test]
fn image_of_the_tool_holds_program_manifest_and_terms_and_is_run_by_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let packed = pack_into(&folder, "one");
    let blobs = blobs(&fs::read(packed.tool_image.expect("it was built with musl")).unwrap());
    let blob = |digest: &Value| {
        let digest = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
        assert_eq!(hex(&blobs[digest]), digest);
        &blobs[digest]
    };
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    let index = json(&blobs["index.json"]);
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
    let image = json(blob(&index["manifests"][0]["digest"]));
    let config = json(blob(&image["config"]["digest"]));
    assert_eq!((&config["os"], &config["architecture"]), (&"linux".into(), &"amd64".into()));
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/edge-sync"]));
    assert_eq!(image["layers"].as_array().unwrap().len(), 1);

    let mut layer = Vec::new();
    let packed = blob(&image["layers"][0]["digest"]);
    GzDecoder::new(&**packed).read_to_end(&mut layer).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", hex(&layer)));
    let mut modes = BTreeMap::new();
    for entry in Archive::new(&*layer).entries().unwrap() {
        let entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        modes.insert(path, entry.header().mode().unwrap());
    }
    let expected =
        [("LICENSE", 0o644), (NOTICES, 0o644), ("edge-sync", 0o755), ("spin.toml", 0o644)];
    assert_eq!(modes, expected.map(|(path, mode)| (path.to_owned(), mode)).into());
    let files = self::blobs(&layer);
    assert_eq!(files["edge-sync"], PROGRAM);
    let manifest = String::from_utf8(files["spin.toml"].clone()).unwrap();
    assert!(manifest.contains("[[trigger.command]]"), "the one for the cluster");
}

/// What its libraries are cannot be told of something that is no program.
#[test]
fn tool_whose_libraries_are_unknown_is_in_no_image() {
    let folder = tempfile::tempdir().unwrap();
    let [component, program] = ["any.wasm", "any-program"].map(|name| folder.path().join(name));
    fs::write(&component, WASM).unwrap();
    fs::write(&program, PROGRAM).unwrap();
    let target = "x86_64-unknown-linux-gnu".to_owned();
    let tool = Tool { target, program, compiler: "rustc 4.5.6 (others)".to_owned() };
    let into = folder.path().join("one");
    let packed = pack_built_by("rustc 1.2.3 (words)", &component, Some(&tool), &into).unwrap();
    assert_eq!(packed.tool_image, None);
    assert!(packed.files.iter().any(|path| path.ends_with(concat!(
        "edge-sync-",
        env!("CARGO_PKG_VERSION"),
        "-x86_64-unknown-linux-gnu.tar.gz"
    ))));
}

#[test]
fn sbom_of_the_tool_has_its_own_crates_and_not_the_components() {
    let folder = tempfile::tempdir().unwrap();
    let packed = pack_into(&folder, "one");
    let is_sbom = |path: &&std::path::PathBuf| {
        path.to_str().unwrap().ends_with("-x86_64-unknown-linux-musl.cdx.json")
    };
    let path = packed.files.iter().find(is_sbom).expect("the tool's");
    let sbom: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!(sbom["metadata"]["component"]["name"], "edge-sync");
    assert_eq!(sbom["metadata"]["component"]["hashes"][0]["content"], hex(PROGRAM));
    assert_eq!(sbom["metadata"]["tools"]["components"][0]["version"], "4.5.6 (others)");
    let tree = ["--package", "edge-sync", "--target", "x86_64-unknown-linux-musl"];
    assert_eq!(listed(&sbom), of_tree(&tree));
}

#[test]
fn chart_packed_is_a_folder_with_the_files_of_the_chart() {
    let folder = tempfile::tempdir().unwrap();
    let chart = fs::read(pack_into(&folder, "one").chart).unwrap();
    let files = files(&chart);
    for path in ["Chart.yaml", "values.yaml", "values.schema.json", "templates/cronjob.yaml"] {
        let original = crate::workspace::root().join("deploy/helm").join(path);
        assert_eq!(files[path], fs::read(original).unwrap(), "{path}");
    }
    let mut archive = Archive::new(GzDecoder::new(&*chart));
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        assert!(entry.path().unwrap().starts_with("crowdsec-edge-sync"), "Helm wants the name");
    }
}

#[test]
fn chart_of_another_version_is_not_packed() {
    let files = contents::read(env!("CARGO_PKG_VERSION")).unwrap();
    assert!(contents::chart(&files, env!("CARGO_PKG_VERSION")).is_ok());
    let refused = contents::chart(&files, "9.9.9").unwrap_err().to_string();
    assert!(refused.contains("`version: 9.9.9`"), "{refused}");
}

#[test]
fn archive_says_nothing_about_the_machine_that_made_it() {
    let gzip = GzDecoder::new(&**ARCHIVE);
    let header = gzip.header().unwrap();
    assert_eq!((header.mtime(), header.filename(), header.operating_system()), (0, None, 255));
    let seconds = contents::time_seconds().unwrap();
    let mut before = String::new();
    for entry in Archive::new(gzip).entries().unwrap() {
        let entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        assert!(before < path, "{path} comes after {before}");
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0), "{path}");
        assert_eq!(header.mtime().unwrap(), seconds, "{path}");
        assert!([0o644, 0o755].contains(&header.mode().unwrap()), "{path}");
        before = path;
    }
}

#[test]
fn archive_holds_what_git_knows_and_the_digest_of_each_file() {
    let files = files(&ARCHIVE);
    for path in ["CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md", "spin.toml", NOTICES] {
        assert!(files.contains_key(path), "{path}");
    }
    assert_eq!(files[COMPONENT], WASM);
    let deploy: BTreeSet<_> = contents::all_paths().unwrap().into_iter().collect();
    let deploy: Vec<_> = deploy.iter().filter(|path| path.starts_with("deploy/")).collect();
    assert!(!deploy.is_empty());
    let packed: Vec<_> = files.keys().filter(|path| path.starts_with("deploy/")).collect();
    assert_eq!(packed, deploy);

    let digests = text(&files, DIGESTS);
    let digests: BTreeMap<_, _> = digests
        .lines()
        .map(|line| line.split_once("  ").map(|(digest, path)| (path, digest)).unwrap())
        .collect();
    let others = files.iter().filter(|(path, _)| *path != DIGESTS);
    let expected: BTreeMap<_, _> =
        others.map(|(path, bytes)| (path.as_str(), hex(bytes))).collect();
    assert_eq!(digests, expected.iter().map(|(path, digest)| (*path, &**digest)).collect());
}

#[test]
fn every_packed_manifest_names_the_packed_component_and_keeps_the_rest() {
    let files = files(&ARCHIVE);
    let manifests = files.keys().filter(|path| path.ends_with("spin.toml"));
    let mut found = 0;
    for path in manifests {
        let mut manifest: toml::Table = text(&files, path).parse().unwrap();
        let component = manifest["component"]["crowdsec-edge-sync"].as_table_mut().unwrap();
        let source = component.remove("source").unwrap();
        let folder = Path::new("/archive").join(path);
        let named = folder.parent().unwrap().join(source.as_str().unwrap());
        assert_eq!(without_dots(&named), format!("/archive/{COMPONENT}"), "{path}");
        assert!(!component.contains_key("build"), "{path}: there is nothing to build");

        let original = fs::read_to_string(crate::workspace::root().join(path)).unwrap();
        let mut original: toml::Table = original.parse().unwrap();
        let component = original["component"]["crowdsec-edge-sync"].as_table_mut().unwrap();
        component.remove("source");
        component.remove("build");
        assert_eq!(manifest, original, "{path}");
        found += 1;
    }
    assert!(found > 0);
}

/// `docker build` and Compose work from a release as from a checkout: all that is copied is there, and the manifest in
/// the image names the component beside it.
#[test]
fn packed_dockerfile_copies_what_is_packed_to_where_the_manifest_looks() {
    let files = files(&ARCHIVE);
    let dockerfile = text(&files, "deploy/spinkube/components/deployment/Dockerfile");
    let copied = dockerfile.lines().filter_map(|line| line.strip_prefix("COPY "));
    let copied: Vec<_> = copied.filter(|line| !line.starts_with("--from")).collect();
    assert_eq!(copied, ["spin.toml ./".to_owned(), format!("{COMPONENT} ./")]);
    assert!(files.contains_key("spin.toml") && files.contains_key(COMPONENT));
    let manifest: toml::Table = text(&files, "spin.toml").parse().unwrap();
    let source = &manifest["component"]["crowdsec-edge-sync"]["source"];
    assert_eq!(source.as_str(), Some(COMPONENT));
    assert!(contents::dockerfile("FROM x\nCOPY . .\n").is_err(), "another way to copy it");
}

fn without_dots(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.to_str().unwrap().split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn manifest_of_another_version_or_with_another_source_is_refused() {
    let good = "[application]\nversion = \"1.0.0\"\n[component.x]\n\
                source = \"target/wasm32-wasip2/release/crowdsec_edge_sync.wasm\"\n";
    assert!(contents::manifest("spin.toml", good, "1.0.0").unwrap().contains("\"crowdsec_edge"));
    for (path, text, version, says) in [
        ("spin.toml", good.to_owned(), "1.0.1", "application.version is \"1.0.0\""),
        ("spin.toml", good.replace("release/", "debug/"), "1.0.0", "nothing else is packed"),
        // Below a folder the same words name another file.
        ("deploy/x/spin.toml", good.to_owned(), "1.0.0", "nothing else is packed"),
    ] {
        let error = contents::manifest(path, &text, version).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

/// The judge is what a build of this package links. Cargo's metadata, where the rest is from, resolves features for all
/// members together, and a member may switch something on that the component does not have.
#[test]
fn crates_of_the_sbom_are_those_of_cargo_tree() {
    let sbom = files(&ARCHIVE);
    let sbom: Value = serde_json::from_slice(&sbom[SBOM]).unwrap();
    assert_eq!(listed(&sbom), of_tree(&["--package", "crowdsec-edge-sync", "--target", TARGET]));
}

/// The crates of an SBOM, each once, as cargo writes them.
fn listed(sbom: &Value) -> BTreeSet<String> {
    let parts = sbom["components"].as_array().unwrap();
    let name = |part: &Value| {
        format!("{} v{}", part["name"].as_str().unwrap(), part["version"].as_str().unwrap())
    };
    let listed: BTreeSet<_> = parts.iter().map(name).collect();
    assert_eq!(listed.len(), parts.len(), "each once");
    listed
}

/// What is in a package as cargo shows it, itself not included.
fn of_tree(package: &[&str]) -> BTreeSet<String> {
    let mut tree = cargo("tree");
    tree.args(package).args(["--prefix", "none"]);
    let output = tree.args(["--edges", "normal,no-proc-macro", "--locked"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let lines = tree.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
    lines.skip(1).collect()
}

#[test]
fn sbom_tells_of_each_crate_what_a_scanner_asks_for() {
    let files = files(&ARCHIVE);
    let sbom: Value = serde_json::from_slice(&files[SBOM]).unwrap();
    let component = &sbom["metadata"]["component"];
    assert_eq!(component["hashes"][0]["content"], hex(WASM));
    assert_eq!(sbom["metadata"]["tools"]["components"][0]["version"], "1.2.3 (words)");
    assert!(sbom.get("serialNumber").is_none() && sbom["metadata"].get("timestamp").is_none());

    let mut refs = BTreeSet::from([component["bom-ref"].as_str().unwrap()]);
    for part in sbom["components"].as_array().unwrap() {
        refs.insert(part["bom-ref"].as_str().unwrap());
        assert!(part["licenses"][0]["expression"].is_string(), "{part}");
        if part["name"].as_str().unwrap().starts_with("edge-sync-") {
            assert!(part.get("purl").is_none(), "it is in no registry: {part}");
            continue;
        }
        assert!(part["purl"].as_str().unwrap().starts_with("pkg:cargo/"), "{part}");
        assert_eq!(part["hashes"][0]["content"].as_str().unwrap().len(), 64, "{part}");
    }
    let purl = |name: &str| {
        let mut parts = sbom["components"].as_array().unwrap().iter();
        parts.find(|part| part["name"] == name).unwrap()["purl"].as_str().unwrap().to_owned()
    };
    assert!(purl("wasi").ends_with("%2Bwasi-0.2.0"), "{}", purl("wasi"));
    let dependencies = sbom["dependencies"].as_array().unwrap();
    let told: BTreeSet<_> = dependencies.iter().map(|d| d["ref"].as_str().unwrap()).collect();
    assert_eq!(told, refs);
    for used in dependencies.iter().flat_map(|d| d["dependsOn"].as_array().unwrap()) {
        assert!(refs.contains(used.as_str().unwrap()), "{used}");
    }
}

#[test]
fn notices_hold_the_licence_text_of_every_crate_from_elsewhere() {
    let files = files(&ARCHIVE);
    let sbom: Value = serde_json::from_slice(&files[SBOM]).unwrap();
    let notices = text(&files, NOTICES);
    let (list, texts) = notices.split_once("\n====").unwrap();
    let mut without = Vec::new();
    for part in sbom["components"].as_array().unwrap() {
        let name =
            format!("{} {}", part["name"].as_str().unwrap(), part["version"].as_str().unwrap());
        if part.get("purl").is_none() {
            continue;
        }
        assert!(list.contains(&format!("{name}: ")), "{name}");
        if !texts.contains(&name) {
            without.push(part["name"].as_str().unwrap());
        }
    }
    assert_eq!(without, WITHOUT_TEXT, "their registry files have no licence text");
}

/// Crates that are published without one, all of them under Apache-2.0, whose text is in the archive.
const WITHOUT_TEXT: [&str; 4] = ["routefinder", "smartcow", "spin-executor", "wit-bindgen-rt"];
