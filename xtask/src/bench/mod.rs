//! `cargo xtask bench`: figures as ratios to peers, both sides interleaved in one run.
//!
//! Machines are noisy and differ; a figure that counts is a ratio. Every round runs each subject some times, in an order
//! that turns from round to round. The ratio is the median over the rounds of (our median / the peer's median), with
//! its bootstrap interval. Processor time is that of the whole process tree, daemons included, as a mean over all
//! repetitions.

mod cli;
mod idle;
mod log;
mod peers;
mod processes;
mod python_start;
mod report;
mod run_true;
mod stats;
mod stoa;
mod worker;

use crate::check::{Promise, read_promises};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use worker::{Round, Subject, Worker};

pub(crate) use worker::serve;

/// The benches by name, in the order they run.
pub(crate) const NAMES: [&str; 5] = ["run-true", "cli", "python-start", "log", "idle"];

/// How much is measured, and with which program.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The `stoa` to measure; `None` finds the newest release build.
    pub(crate) stoa: Option<PathBuf>,
    /// Rounds.
    pub(crate) rounds: usize,
    /// Repetitions of each subject in a round.
    pub(crate) times: usize,
    /// Seconds that the idle daemon is watched.
    pub(crate) idle_seconds: u64,
}

/// Runs one bench. Answers whether every promise that was measured is kept.
pub(crate) fn run(workspace: &Workspace, name: &str, options: &Options) -> Result<bool> {
    let promises: Vec<Promise> =
        read_promises(workspace)?.into_iter().filter(|promise| promise.bench == name).collect();
    let report = report::Report::new(name, &promises);
    match name {
        "run-true" => run_true::run(workspace, options, report),
        "cli" => cli::run(workspace, options, report),
        "python-start" => python_start::run(workspace, options, report),
        "log" => log::run(workspace, options, report),
        "idle" => idle::run(workspace, options, report),
        _ => bail!("there is no bench `{name}`; `cargo xtask bench --list` lists them"),
    }
    .with_context(|| format!("bench {name}"))
}

/// What was measured of one subject.
#[derive(Debug, Clone)]
struct Measured {
    name: String,
    rounds: Vec<Round>,
    times: usize,
}

/// Runs all subjects, interleaved. The first is ours.
fn interleave(subjects: Vec<Subject>, options: &Options) -> Result<Vec<Measured>> {
    let mut workers = subjects.into_iter().map(Worker::start).collect::<Result<Vec<_>>>()?;
    let empty = |worker: &Worker| Measured { name: worker.name().to_owned(), rounds: Vec::new(), times: options.times };
    let mut measured: Vec<Measured> = workers.iter().map(empty).collect();
    let count = workers.len();
    for round in 0..options.rounds {
        report::progress(&format!("round {} of {}", round + 1, options.rounds));
        for place in 0..count {
            let at = (round + place) % count;
            measured[at].rounds.push(workers[at].round(options.times)?);
        }
    }
    report::progress("");
    Ok(measured)
}
