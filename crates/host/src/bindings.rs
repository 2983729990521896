//! Generated bindings for the interfaces under `wit/`: what Spin gives a component beyond WASI 0.2,
//! and the handler that its cron trigger calls.

wasmtime::component::bindgen!({
    world: "cron-guest",
    path: "wit",
    imports: { default: trappable },
    exports: { default: async },
    require_store_data_send: true,
    with: { "fermyon:spin/key-value.store": crate::key_value::Store },
});
