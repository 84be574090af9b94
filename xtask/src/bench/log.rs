//! `log`: one scalar logged from Python, against other loggers; measured by `python/bench_log.py` itself.

use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::process::Command;

pub(super) fn run(workspace: &Workspace) -> Result<bool> {
    let script = workspace.path("python/bench_log.py");
    anyhow::ensure!(script.is_file(), "python/bench_log.py is missing");
    let status = Command::new("python3").arg(script).current_dir(&workspace.root).status();
    Ok(status.context("cannot start python3")?.success())
}
