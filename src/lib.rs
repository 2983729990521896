//! The component: two exports that do the same, and the adapters to what Spin offers.
//!
//! Spin's cron trigger calls `handle-cron-event`; trigger-command, SpinKube's shim and any other
//! runner of WASI commands call `wasi:cli/run`. Both read the settings from Spin's variables and
//! hand over to `edge_sync_core`, where every decision is made.
#![cfg(target_family = "wasm")]

mod adapters;
mod bindings {
    #![expect(unsafe_code, reason = "generated")]
    wit_bindgen::generate!({
        world: "edge-sync",
        path: "wit",
        // The export is async-typed; lifted synchronously, since no WASI 0.3 may be imported.
        async: false,
        generate_all,
    });
    use super::Component;
    export!(Component);
}

use edge_sync_core::failure::Failure;

struct Component;

impl bindings::Guest for Component {
    fn handle_cron_event(_: bindings::Metadata) -> Result<(), bindings::Error> {
        run().map_err(|failure| bindings::Error::Other(failure.describe()))
    }
}

impl bindings::exports::wasi::cli::run::Guest for Component {
    /// Exits with 1 on failure instead of returning it: the trigger-command inside SpinKube's shim
    /// throws away what is returned, and the Kubernetes Job would count as succeeded. On success it
    /// returns, because `exit(0)` counts as a failure there.
    fn run() -> Result<(), ()> {
        if run().is_err() {
            wasi::cli::exit::exit(Err(()));
        }
        Ok(())
    }
}

fn run() -> Result<(), Failure> {
    let variable = |name: &str| spin_sdk::variables::get(name).ok();
    spin_executor::run(edge_sync_core::run(variable, &adapters::Spin::new()))
}
