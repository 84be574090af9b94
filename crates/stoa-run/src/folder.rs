//! Where the files of a run lie, below `$STOA_HOME`.

use std::path::{Path, PathBuf};
use stoa_core::RunId;

/// The folders of a `STOA_HOME`.
#[derive(Debug, Clone)]
pub struct Layout {
    home: PathBuf,
}

impl Layout {
    /// The layout below `home`, an absolute path.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        Self { home: home.into() }
    }

    /// `STOA_HOME` itself.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The run database.
    pub fn database(&self) -> PathBuf {
        self.home.join("stoa.db")
    }

    /// The folder of all runs.
    pub fn runs(&self) -> PathBuf {
        self.home.join("runs")
    }

    /// Everything kept of a run.
    pub fn run(&self, id: &RunId) -> PathBuf {
        self.runs().join(id.as_str())
    }

    /// `STOA_RUN_DIR`: what the run itself keeps.
    pub fn files(&self, id: &RunId) -> PathBuf {
        self.run(id).join("files")
    }

    /// What daemon and warden keep of a run's processes; the run never sees it.
    pub fn state(&self, id: &RunId) -> PathBuf {
        self.run(id).join("state")
    }

    /// The state folder of a step of its preparation.
    pub fn step(&self, id: &RunId, number: usize) -> PathBuf {
        self.run(id).join("preparation").join(number.to_string())
    }

    /// The code it ran: patch and untracked files.
    pub fn code(&self, id: &RunId) -> PathBuf {
        self.run(id).join("code")
    }

    /// The record as JSON, from which a damaged database is rebuilt.
    pub fn record(&self, id: &RunId) -> PathBuf {
        self.run(id).join("record.json")
    }

    /// The checkout in which a run repeats an earlier one.
    pub fn checkout(&self, id: &RunId) -> PathBuf {
        self.run(id).join("checkout")
    }

    /// The folder of the Python module `stoa`, on every run's `PYTHONPATH`.
    pub fn python_library(&self) -> PathBuf {
        self.home.join("lib").join("python")
    }
}
