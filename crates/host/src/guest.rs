//! The state of one instance: what its imports work on. Owns how the interfaces share it, the
//! variables interface and the memory figure; HTTP and key-value have their own files.

use crate::bindings::fermyon::spin::variables;
use crate::key_value::{KeyValue, KeyValueView};
use crate::outbound::{Outbound, OutboundView};
use std::collections::BTreeMap;
use std::sync::Arc;
use wasmtime::ResourceLimiter;
use wasmtime::component::{HasSelf, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// The `T` of the instance's `Store<T>`.
pub(crate) struct Guest {
    pub(crate) table: ResourceTable,
    pub(crate) wasi: WasiCtx,
    pub(crate) http: WasiHttpCtx,
    pub(crate) outbound: Outbound,
    pub(crate) key_value: KeyValue,
    pub(crate) variables: ComponentVariables,
    pub(crate) memory: MemoryMeter,
}

impl Guest {
    pub(crate) fn key_value(&mut self) -> KeyValueView<'_> {
        KeyValueView { key_value: &self.key_value, table: &mut self.table }
    }

    pub(crate) fn outbound(&mut self) -> OutboundView<'_> {
        OutboundView { outbound: &mut self.outbound, http: &mut self.http, table: &mut self.table }
    }

    pub(crate) fn variables(&mut self) -> &mut ComponentVariables {
        &mut self.variables
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.outbound.hooks,
        }
    }
}

/// The component's own variables, expanded.
#[derive(Clone)]
pub(crate) struct ComponentVariables(pub(crate) Arc<BTreeMap<String, String>>);

/// Ties the linker to [`ComponentVariables`].
pub(crate) type HasVariables = HasSelf<ComponentVariables>;

impl variables::Host for ComponentVariables {
    fn get(&mut self, name: String) -> wasmtime::Result<Result<String, variables::Error>> {
        if let Err(rule) = spin_app::check_name(&name) {
            return Ok(Err(variables::Error::InvalidName(format!("{name:?}: {rule}"))));
        }
        Ok(self.0.get(&name).cloned().ok_or_else(|| {
            variables::Error::Undefined(format!("the component has no variable {name:?}"))
        }))
    }
}

/// Adds up the linear memories of an instance as they grow. They never shrink, so the sum is also
/// the peak.
#[derive(Default)]
pub(crate) struct MemoryMeter {
    pub(crate) bytes: u64,
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.bytes += (desired - current) as u64;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        _desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(true)
    }
}
