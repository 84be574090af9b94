//! `idle`: what the daemon costs while nothing runs.

use super::Options;
use super::processes::{Processes, pause, resident, run_time};
use super::report::{Report, progress};
use super::stats::Spread;
use super::stoa::Stoa;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// Memory is read this often.
const PERIOD: Duration = Duration::from_secs(1);

pub(super) fn run(workspace: &Workspace, options: &Options, mut report: Report<'_>) -> Result<bool> {
    let stoa = Stoa::start(workspace, options.stoa.as_deref())?;
    // Idle after work, which is how a daemon spends its life.
    for _ in 0..20 {
        stoa.ask(&["run", "--", "/bin/true"])?;
    }
    let tree = Processes::now()?.tree(&[stoa.pid]);
    let used = || tree.iter().map(|pid| run_time(*pid)).sum::<Result<Duration>>();
    let (start, before) = (Instant::now(), used()?);
    let mut memory = Vec::new();
    for second in 0..options.idle_seconds {
        progress(&format!("second {second} of {}", options.idle_seconds));
        pause(PERIOD);
        let bytes: u64 = tree.iter().map(|pid| resident(*pid)).sum::<Result<u64>>()?;
        memory.push(bytes as f64 / 1e6);
    }
    progress("");
    let share = (used()?.saturating_sub(before)).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    report.figure("daemon memory", Spread::of(&memory).context("nothing was measured")?, "MB");
    report.figure("daemon cpu", Spread::only(share), "% of a core");
    Ok(report.finish())
}
