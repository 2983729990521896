//! The built file: what it asks of a host, what it offers, how large it is.

use end_to_end::{World, workspace};

/// `BLESS=1` writes the file anew; a reviewer then sees the difference.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/component-imports.txt");

async fn interfaces() -> (Vec<String>, Vec<String>) {
    let app = World::new().await.load().unwrap();
    (app.imports(), app.exports())
}

#[tokio::test]
async fn component_built_imports_and_exports_are_those_reviewed() {
    let (imports, exports) = interfaces().await;
    let imports = imports.iter().map(|name| format!("import {name}\n"));
    let exports = exports.iter().map(|name| format!("export {name}\n"));
    let found: String = imports.chain(exports).collect();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(GOLDEN, &found).unwrap();
    }
    let reviewed = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    assert_eq!(found, reviewed, "if this is meant, set BLESS=1 and have the difference reviewed");
}

/// Spin 3.6, in SpinKube's shim, has WASI 0.2 only; and sockets would pass by the allowed hosts.
#[tokio::test]
async fn component_built_needs_nothing_that_a_host_lacks() {
    let (imports, _) = interfaces().await;
    for import in &imports {
        let (name, version) = import.split_once('@').unwrap_or((import, ""));
        let known = match name.split_once(':') {
            Some(("wasi", _)) => version.starts_with("0.2."),
            Some(("fermyon", name)) => name.starts_with("spin/") && version == "2.0.0",
            // Types only, those of the handler.
            Some(("spin", "cron/cron-types")) => version == "3.0.0",
            _ => false,
        };
        assert!(known, "{import} is neither WASI 0.2 nor fermyon:spin@2.0.0");
        assert!(!name.contains("sockets"), "{import}");
    }
}

#[tokio::test]
async fn component_built_serves_the_cron_trigger_and_the_command_trigger() {
    let (_, exports) = interfaces().await;
    assert!(exports.iter().any(|name| name == "handle-cron-event"), "{exports:?}");
    assert!(exports.iter().any(|name| name.starts_with("wasi:cli/run@0.2.")), "{exports:?}");
}

#[test]
fn component_built_is_smaller_than_its_promise() {
    let bytes = workspace::component().metadata().unwrap().len();
    assert!(bytes < 600_000, "the component has {bytes} bytes");
}
