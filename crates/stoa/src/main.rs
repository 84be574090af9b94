//! The `stoa` program: composition root of commands, daemon and warden.
fn main() {}
