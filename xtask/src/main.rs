//! Project automation: `cargo xtask check | bench | docs | proto`. Never shipped.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "what a tool finds goes to standard output")]

mod proto;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use workspace::Workspace;

/// Project automation of Stoa.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Writes the Rust code of proto/ into crates/stoa-proto/src/generated
    Proto,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let workspace = Workspace::find()?;
    match arguments.task {
        Task::Proto => {
            for path in proto::write(&workspace)? {
                println!("{}", workspace.show(&path));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
