//! The `stoa` program: composition root of commands, daemon and warden.
//!
//! One file, told apart by the name it is started under: `stoad` is the daemon, `stoa-warden` the warden, anything else
//! the commands.
#![forbid(unsafe_code)]

mod api;
mod attach;
mod daemon;
mod doctor;
mod log_file;
mod metrics;

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let name = std::env::args_os().next().unwrap_or_default();
    match Path::new(&name).file_name().map(OsStrExt::as_bytes) {
        Some(b"stoad") => daemon::main(),
        Some(b"stoa-warden") => stoa_warden::run(),
        _ => stoa_cli::main(),
    }
}
