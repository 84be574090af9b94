//! The run service: takes a specification, plans its sandbox, has the warden launch it, keeps its output and its end.
//!
//! [`Runs`] is the whole of it. Every run is driven by one task ([`drive`]); what it needs of other services comes through
//! the ports of `stoa-core`. Runs outlive this process: [`Runs::adopt`] finds them again.
#![forbid(unsafe_code)]

mod adopt;
mod channel;
mod code;
mod drive;
mod end;
mod folder;
mod journal;
mod output;
mod plan;
mod prepare;
mod project;
mod service;
mod supervisor;
mod warden;

pub use folder::Layout;
pub use output::{Chunk, OutputReader};
pub use service::{AgainRequest, Config, Gpu, Order, Runs, Subscription};
