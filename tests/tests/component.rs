//! The built file: what it asks of a host, what it offers, how large it is. All of it must hold whichever
//! standard library it is linked with.

use end_to_end::interfaces::{Interfaces, NEWER_FUNCTION};
use end_to_end::{World, workspace};

#[tokio::test]
async fn component_built_imports_nothing_that_a_supported_host_lacks() {
    let imports = World::new().await.load().unwrap().imports();
    let refused = Interfaces::reviewed().refused(&imports);
    assert!(
        refused.is_empty(),
        "{refused:?}: not in tests/golden/component-interfaces.txt; a host without them does not start the component"
    );
    // The list is not idle: these two say that the names were read at all.
    for used in ["wasi:http/outgoing-handler@", "fermyon:spin/variables@"] {
        assert!(imports.iter().any(|name| name.starts_with(used)), "no {used} among {imports:?}");
    }
}

#[test]
fn component_built_calls_no_function_that_is_newer_than_its_hosts() {
    let wasm = std::fs::read(workspace::component()).unwrap();
    let holds = |name: &str| wasm.windows(name.len()).any(|window| window == name.as_bytes());
    assert!(holds("wasi:cli/exit"), "names of interfaces stand in the file as they are");
    assert!(!holds(NEWER_FUNCTION), "{NEWER_FUNCTION} is not in Wasmtime 42");
}

#[tokio::test]
async fn component_built_exports_exactly_what_its_triggers_call() {
    let exports = World::new().await.load().unwrap().exports();
    let reviewed = Interfaces::reviewed();
    let differ = reviewed.exports_that_differ(&exports);
    assert!(differ.is_empty(), "{differ:?} of {exports:?}: promised and missing, or new");
}

#[test]
fn component_built_is_smaller_than_its_promise() {
    let bytes = workspace::component().metadata().unwrap().len();
    let limit = xtask::SIZE_BYTES_MAX;
    assert!(bytes <= limit, "the component has {bytes} bytes, and the limit is {limit}");
}
