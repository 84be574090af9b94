//! Ports: what one service needs of another, as traits that the daemon joins.
//!
//! All are called from blocking threads; none may be called on an async thread.

use crate::failure::Failure;
use crate::id::RunId;
use crate::metric::{Series, SeriesQuery, SeriesSummary};
use crate::run::{EnvironmentRef, Mount, RunSpec, Variable};
use std::path::PathBuf;

/// How a program is started, once its language is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// What to execute; the first is an absolute path.
    pub argv: Vec<String>,
    /// Variables to set, over the caller's.
    pub env: Vec<Variable>,
    /// Paths the program needs to see outside the system and the project, such as its interpreter.
    pub mounts: Vec<Mount>,
    /// The environment it runs in; `None` for a plain command. Its lock may be empty until it is made.
    pub environment: Option<EnvironmentRef>,
    /// What has to be made first; `None` when everything is there.
    pub preparation: Option<Preparation>,
}

/// How a missing environment is made: steps that run in the same isolation as the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preparation {
    /// Preparations of one key never run at the same time.
    pub key: String,
    /// In order; the first that fails ends the preparation.
    pub steps: Vec<Step>,
    /// A plain word for the user before it starts, such as the size of a download.
    pub notice: Option<String>,
}

/// One command of a preparation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it does, for progress: `Resolving dependencies`.
    pub title: String,
    /// What to execute; the first is an absolute path.
    pub argv: Vec<String>,
    /// Variables to set, over the caller's.
    pub env: Vec<Variable>,
    /// Paths it needs.
    pub mounts: Vec<Mount>,
}

/// Turns scripts and commands into something to execute (`stoa-lang`).
pub trait Languages: Send + Sync {
    /// Finds the interpreter and environment of a program. Starts no downloads.
    fn resolve(&self, spec: &RunSpec) -> Result<Resolved, Failure>;
    /// Called after the steps of `resolved.preparation` succeeded: seals the environment and fills in its lock.
    fn prepared(&self, resolved: &Resolved) -> Result<EnvironmentRef, Failure>;
    /// Turns the end of a failed preparation (the last lines it printed) into what the user should read.
    fn explain(&self, resolved: &Resolved, step: &Step, output: &str) -> Failure;
}

/// Where a running run can be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveRun {
    /// Its id.
    pub id: RunId,
    /// Its folder (`STOA_RUN_DIR`); metric files lie in `metrics/` below it.
    pub dir: PathBuf,
    /// Its project folder.
    pub project: Option<PathBuf>,
    /// The first process of its PID namespace, as a process id of the host; `None` once it ended.
    pub init_pid: Option<i32>,
    /// Its cgroup folders, one per hierarchy (one in all for cgroup v2); empty where cgroups cannot be used.
    pub cgroups: Vec<PathBuf>,
    /// When it started, in nanoseconds since 1970.
    pub started: u64,
}

/// Follows the metrics of runs (`stoa-metrics`).
pub trait Metrics: Send + Sync {
    /// Starts following a run. A run that is already followed is followed on.
    fn started(&self, run: LiveRun);
    /// Reads what is left and stops following.
    fn ended(&self, id: &RunId);
    /// The series of a run.
    fn series(&self, dir: &std::path::Path, query: &SeriesQuery) -> Result<Vec<Series>, Failure>;
    /// What is known of each series of a run.
    fn summaries(&self, dir: &std::path::Path) -> Result<Vec<SeriesSummary>, Failure>;
}
