//! Project automation: `cargo xtask check | bench | docs | proto`.
fn main() {}
