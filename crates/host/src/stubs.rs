//! Stand-ins for interfaces of Spin that this host does not have (Redis, SQLite, …). spin-sdk may
//! import them though they are never called: that must not keep a component from starting. A call
//! is a trap that names the function.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, ResourceType};
use wasmtime::{Engine, error::format_err};

/// Interfaces that a host has are its own affair: only what no linker here defines is a stub.
const HERE: [&str; 2] = ["fermyon:spin/variables@", "fermyon:spin/key-value@"];

/// Defines what `component` imports from Spin and this host lacks. WASI is not Spin's: a component
/// that needs more of it than there is must not start.
pub(crate) fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    engine: &Engine,
    component: &Component,
) -> wasmtime::Result<()> {
    for (name, item) in component.component_type().imports(engine) {
        let of_spin = ["fermyon:", "spin:", "spinframework:"].iter().any(|ns| name.starts_with(ns));
        if !of_spin || HERE.iter().any(|interface| name.starts_with(interface)) {
            continue;
        }
        if let ComponentItem::ComponentInstance(interface) = item.ty {
            let mut instance = linker.instance(name)?;
            for (item_name, item) in interface.exports(engine) {
                stub(&mut instance, name, item_name, &item.ty)?;
            }
        }
    }
    Ok(())
}

fn stub<T: 'static>(
    instance: &mut LinkerInstance<'_, T>,
    interface: &str,
    name: &str,
    item: &ComponentItem,
) -> wasmtime::Result<()> {
    match item {
        ComponentItem::ComponentFunc(_) => {
            let called = format!("{interface}#{name}");
            instance.func_new(name, move |_, _, _, _| {
                Err(format_err!("{called} was called, which this host does not have"))
            })
        }
        ComponentItem::Resource(_) => {
            instance.resource(name, ResourceType::host::<()>(), |_, _| Ok(()))
        }
        // Plain types need no definition.
        _ => Ok(()),
    }
}
