//! `python-start`: what `stoa run script.py` adds to `python script.py` once the environment exists.

use super::report::Report;
use super::stoa::Stoa;
use super::worker::Subject;
use super::{Options, interleave};
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::fs;

/// A script with dependencies declared, none of which has to be downloaded.
const SCRIPT: &str = "# /// script\n# requires-python = \">=3.8\"\n# dependencies = []\n# ///\nprint('ready')\n";

pub(super) fn run(workspace: &Workspace, options: &Options, mut report: Report<'_>) -> Result<bool> {
    let stoa = Stoa::start(workspace, options.stoa.as_deref())?;
    let project = stoa.folder().join("project");
    fs::create_dir_all(&project)?;
    let script = project.join("script.py");
    fs::write(&script, SCRIPT)?;
    let script = script.display().to_string();
    // The first run makes the environment; the peer uses the same one.
    stoa.ask(&["run", "--name", "bench-first", &script])?;
    let shown: serde_json::Value = serde_json::from_str(&stoa.ask(&["show", "bench-first", "--json"])?)?;
    let interpreter = shown["environment"]["interpreter"].as_str().context("the run names no interpreter")?;
    let peer = Subject {
        name: "python".to_owned(),
        command: vec![interpreter.to_owned(), script.clone()],
        ..Subject::default()
    };
    report.compare(&interleave(vec![stoa.subject("stoa", &["run", &script]), peer], options)?);
    Ok(report.finish())
}
