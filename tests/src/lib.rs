//! What the end-to-end tests stand on: the built component in the host, and a world around it.
//!
//! [`World`] is the simulated one, with any of its services replaceable by a real one: [`RealLapi`],
//! [`RealPushgateway`], and its key-value store by a [`RealRedis`]. [`seed`] runs the program that the
//! component replaces; [`once`] the component in a process of its own. [`kubernetes`], [`helm`] and
//! [`prometheus`] are the tools that judge what is deployed, [`interfaces`] what a host must have; [`tls`] makes
//! certificates of nobody. The tests
//! themselves are in `tests/`, a file for each story.

pub mod debian;
pub mod helm;
pub mod hostile;
pub mod interfaces;
pub mod kubernetes;
pub mod log;
pub mod net;
pub mod node;
pub mod once;
pub mod prometheus;
pub mod python;
pub mod real_lapi;
pub mod real_pushgateway;
pub mod real_redis;
pub mod resources;
pub mod seed;
pub mod skip;
pub mod tls;
pub mod workspace;
pub mod world;

pub use real_lapi::RealLapi;
pub use real_pushgateway::RealPushgateway;
pub use real_redis::RealRedis;
pub use world::World;
