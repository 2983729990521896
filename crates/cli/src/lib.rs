//! The tool of a `crowdsec-edge-sync`: sets it up at Cloudflare, checks what it stands on, and explains what it
//! does, wherever the component itself runs. No wasm engine is in it: it calls the core that the component is
//! made of, with the same settings and the same remembered state.
//!
//! [`native`] gives the core what Spin would; [`doctor`] looks at everything that a sync stands on; [`setup`] makes
//! at Cloudflare what it needs; `commands` is the program over all this, and `words` how it speaks to people.

pub mod commands;
pub mod doctor;
pub mod native;
pub mod setup;
mod words;
