//! Project automation: `cargo xtask check | bench | docs | proto`. Never shipped.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "what a tool finds goes to standard output")]

mod bench;
mod check;
mod docs;
mod proto;
mod workspace;

use anyhow::Result;
use check::Rule;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
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
    /// Checks the rules that the compiler does not know
    Check {
        /// Which rules; all when none is named
        rules: Vec<Rule>,
    },
    /// Measures Stoa against its peers and its promises
    Bench(Bench),
    /// Writes man pages, completions and the command reference
    Docs,
    /// Writes the Rust code of proto/ into crates/stoa-proto/src/generated
    Proto,
    /// Times the commands it is sent; started by `bench`
    #[command(hide = true)]
    BenchWorker,
}

#[derive(Debug, Args)]
struct Bench {
    /// Which benches
    #[arg(required_unless_present_any = ["list", "all"])]
    names: Vec<String>,
    /// Run all benches
    #[arg(long)]
    all: bool,
    /// Name the benches and leave
    #[arg(long)]
    list: bool,
    /// The program to measure, instead of the newest release build
    #[arg(long)]
    stoa: Option<PathBuf>,
    /// Rounds; in each, every subject has its turn
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    /// Repetitions in a turn
    #[arg(long, default_value_t = 10)]
    times: usize,
    /// How long the idle daemon is watched, in seconds
    #[arg(long, default_value_t = 30)]
    idle_seconds: u64,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let workspace = Workspace::find()?;
    match arguments.task {
        Task::Check { rules } => check(&workspace, &rules),
        Task::Bench(bench) => measure(&workspace, bench),
        Task::Docs => docs::write(&workspace).map(|()| ExitCode::SUCCESS),
        Task::Proto => Ok(wrote(&workspace, &proto::write(&workspace)?)),
        Task::BenchWorker => bench::serve().map(|()| ExitCode::SUCCESS),
    }
}

fn check(workspace: &Workspace, asked: &[Rule]) -> Result<ExitCode> {
    let rules = if asked.is_empty() { &Rule::ALL[..] } else { asked };
    let mut clean = true;
    for rule in rules {
        let start = Instant::now();
        let findings = rule.findings(workspace)?;
        for finding in &findings {
            println!("{finding}");
        }
        let verdict = if findings.is_empty() { "ok".to_owned() } else { format!("{} broken", findings.len()) };
        println!("{:<10} {verdict} ({:.1} s)", rule.name(), start.elapsed().as_secs_f64());
        clean &= findings.is_empty();
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(workspace: &Workspace, asked: Bench) -> Result<ExitCode> {
    if asked.list {
        println!("{}", bench::NAMES.join("\n"));
        return Ok(ExitCode::SUCCESS);
    }
    let options = bench::Options {
        stoa: asked.stoa,
        rounds: asked.rounds.max(1),
        times: asked.times.max(1),
        idle_seconds: asked.idle_seconds.max(1),
    };
    let names = if asked.all { bench::NAMES.map(str::to_owned).to_vec() } else { asked.names };
    let mut kept = true;
    for name in names {
        kept &= bench::run(workspace, &name, &options)?;
    }
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn wrote(workspace: &Workspace, paths: &[PathBuf]) -> ExitCode {
    for path in paths {
        println!("{}", workspace.show(path));
    }
    ExitCode::SUCCESS
}
