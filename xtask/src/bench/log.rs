//! `log`: one scalar logged from Python, against other loggers; `python/bench_log.py` measures, this reports.

use super::Options;
use super::peers::python_packages;
use super::report::Report;
use super::stats::{Interval, Spread};
use crate::workspace::Workspace;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

/// The loggers people use.
const PEERS: [&str; 4] = ["tensorboardX", "wandb", "mlflow", "trackio"];

/// Seconds per call of one logger, medians over the rounds; the ratio is its processor time over ours.
#[derive(Debug, Clone, Deserialize)]
struct Logger {
    median: f64,
    cpu: f64,
    ratio: f64,
    ratio_min: f64,
    ratio_max: f64,
}

pub(super) fn run(workspace: &Workspace, options: &Options, mut report: Report<'_>) -> Result<bool> {
    let python = python_packages("loggers", &PEERS)?;
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let answer = folder.path().join("figures.json");
    // Its rounds are long: each starts every logger anew and logs ten thousand values.
    let rounds = options.rounds.div_ceil(4).to_string();
    let status = Command::new(python)
        .arg(workspace.path("python/bench_log.py"))
        .args(["--rounds", &rounds, "--json"])
        .arg(&answer)
        .current_dir(folder.path())
        .status()
        .context("cannot start python/bench_log.py")?;
    ensure!(status.success(), "python/bench_log.py ended with {status}");
    let figures: BTreeMap<String, Logger> = serde_json::from_str(&fs::read_to_string(&answer)?)?;
    show(&figures, &mut report)?;
    Ok(report.finish())
}

fn show(figures: &BTreeMap<String, Logger>, report: &mut Report<'_>) -> Result<()> {
    let micros = |seconds: f64| Spread::only(seconds * 1e6);
    let own = figures.get("stoa").context("stoa itself was not measured")?;
    report.figure("log median", micros(own.median), "us");
    report.figure("log cpu", micros(own.cpu), "us");
    for (name, peer) in figures.iter().filter(|(name, _)| *name != "stoa") {
        // The script divides the peer's by ours; a promise is the other way round.
        let ratio = Interval { value: 1.0 / peer.ratio, low: 1.0 / peer.ratio_max, high: 1.0 / peer.ratio_min };
        report.ratio("log cpu", micros(own.cpu), (name, micros(peer.cpu)), ratio, "us");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Promise;

    #[test]
    fn the_scripts_figures_are_judged() {
        let figures: BTreeMap<String, Logger> = serde_json::from_str(
            r#"{"stoa": {"median": 7e-7, "cpu": 9e-7, "close": 0.1, "ratio": 1, "ratio_min": 1, "ratio_max": 1},
                "wandb": {"median": 6e-5, "cpu": 9e-5, "close": 0.1, "ratio": 100, "ratio_min": 90, "ratio_max": 110}}"#,
        )
        .unwrap();
        for (bound, kept) in [("ratio <= 0.05", true), ("ratio <= 0.001", false)] {
            let promises = [Promise {
                measure: "log cpu".to_owned(),
                peer: "wandb".to_owned(),
                bound: bound.parse().unwrap(),
                bench: "log".to_owned(),
            }];
            let mut report = Report::new("log", &promises);
            show(&figures, &mut report).unwrap();
            assert_eq!(report.finish(), kept, "{bound}");
        }
    }
}
