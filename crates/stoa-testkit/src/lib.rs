//! An own Stoa for each whole-system test: [`Stoa`] has its state, socket, home and project in a folder of its own and
//! leaves nothing behind.
//!
//! Nothing is started until a command is. Tests wait for events ([`Running::expect_out`], [`Terminal::expect`],
//! `stoa wait`) or for a condition ([`until`]); only `until` ever pauses, and everything has a time limit.
//! Not here: tests of one crate, which lie beside its code.
#![forbid(unsafe_code)]

mod command;
pub mod event_file;
mod filter;
mod process;
mod program;
mod skip;
mod system;
mod terminal;
mod wait;

pub use command::{Cmd, Output, Running};
pub use filter::{has_one_of, without_ids};
pub use process::{Process, cgroups_named, processes_naming};
pub use program::program;
pub use skip::{missing_program, skip};
pub use system::{STRANGER, Stoa, User, is_root};
pub use terminal::Terminal;
pub use wait::{LIMIT, until, until_within};
