//! A Spin application as its files describe it: what `spin.toml` says, which values its variables have,
//! what it may reach, and where its key-value store is. Without running it, and so without an engine.
//!
//! Who runs the component and who only looks at what it would meet both begin here, so that they cannot
//! disagree. `manifest` and `template` read `spin.toml`, [`Variables`] gives it values, [`AllowedHosts`] says
//! what may be reached, [`Resolved`] is all of that for one component; [`Store`] is the default key-value
//! store in Spin's own form, and `runtime_config` says where else it may be, and whom TLS believes ([`ClientTls`]).

mod allowed_hosts;
mod client_tls;
mod key_value;
mod manifest;
mod resolved;
mod runtime_config;
mod template;
mod variables;

pub use allowed_hosts::{AllowedHosts, Origin};
pub use client_tls::ClientTls;
pub use key_value::{DEFAULT_LABEL, SQLITE_FILE, Store};
pub use manifest::variables as declared_variables;
pub use resolved::{Options, Resolved, state_dir, store, variables_with_values};
pub use variables::{Unknown, Variables, check_name, env_name, unknown};
