//! `cli`: how long the commands take that people type all day.

use super::report::Report;
use super::stats::Spread;
use super::stoa::Stoa;
use super::{Options, interleave};
use crate::workspace::Workspace;
use anyhow::{Context, Result};

pub(super) fn run(workspace: &Workspace, options: &Options, mut report: Report<'_>) -> Result<bool> {
    let stoa = Stoa::start(workspace, options.stoa.as_deref())?;
    // A table with something in it.
    for _ in 0..3 {
        stoa.ask(&["run", "--", "/bin/true"])?;
    }
    let subjects = vec![stoa.subject("stoa --help", &["--help"]), stoa.subject("stoa ps", &["ps"])];
    for measured in interleave(subjects, options)? {
        report.figure(&measured.name, Spread::of(&measured.walls()).context("nothing was measured")?, "ms");
    }
    Ok(report.finish())
}
