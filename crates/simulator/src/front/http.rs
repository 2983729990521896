//! placeholder
/// p
#[derive(Debug)]
pub struct Ports;
/// p
#[derive(Debug)]
pub struct Running;
/// p
pub fn serve() {}
