//! probe
#![cfg(target_family = "wasm")]
mod bindings {
    #![allow(unsafe_code, missing_docs)]
    wit_bindgen::generate!({ world: "edge-sync", path: "wit", async: false, generate_all });
    use super::Component;
    export!(Component);
}
struct Component;
impl bindings::Guest for Component {
    fn handle_cron_event(m: bindings::Metadata) -> Result<(), bindings::Error> {
        println!("cron {}", m.timestamp);
        probe();
        Ok(())
    }
}
impl bindings::exports::wasi::cli::run::Guest for Component {
    fn run() -> Result<(), ()> {
        println!("run");
        probe();
        Ok(())
    }
}
fn probe() {
    println!("{:?}", spin_sdk::variables::get("lapi_url"));
    println!("{:?}", std::time::SystemTime::now());
    println!("tty {:?}", wasi::cli::terminal_stdout::get_terminal_stdout().is_some());
    println!("{:?}", spin_sdk::key_value::Store::open_default().is_ok());
    spin_executor::run(async {
        let r: Result<spin_sdk::http::Response, _> = spin_sdk::http::send(spin_sdk::http::Request::get(spin_sdk::variables::get("lapi_url").unwrap())).await;
        println!("{:?}", r.map(|r| (*r.status(), r.body().len())));
    });
    if std::env::var("FAIL").is_ok() { std::process::exit(1) }
}
