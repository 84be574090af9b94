//! What the tests share: a run's folder, Python scripts in it, and questions about it.
#![expect(dead_code, reason = "every test program uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use stoa_core::metric::{Series, SeriesQuery};
use stoa_core::port::{LiveRun, Metrics};
use stoa_metrics::MetricService;

/// How long a test waits for what has to come.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// The folder of one run.
pub(crate) struct Run {
    pub(crate) dir: tempfile::TempDir,
}

impl Run {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("metrics")).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a metric file.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path().join("metrics").join(name), bytes).unwrap();
    }

    /// The metric files, in order.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path().join("metrics")).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// A script of this run, not yet started; `None` (with the reason printed) where there is no Python.
    pub(crate) fn script(&self, text: &str) -> Option<Command> {
        let mut command = python(text)?;
        command.env("STOA_RUN_DIR", self.path()).env("STOA_RUN_ID", "r-00000000").current_dir(self.path());
        Some(command)
    }

    /// Runs a script of this run, which has to succeed.
    pub(crate) fn python(&self, text: &str) -> Option<Output> {
        let output = self.script(text)?.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(output)
    }

    pub(crate) fn live(&self) -> LiveRun {
        LiveRun {
            id: "r-00000000".parse().unwrap(),
            dir: self.path().to_owned(),
            project: None,
            init_pid: None,
            cgroups: Vec::new(),
            started: now(),
        }
    }

    pub(crate) fn series(&self) -> Vec<Series> {
        all(&MetricService::new(), self.path())
    }
}

pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
}

pub(crate) fn all(service: &MetricService, dir: &Path) -> Vec<Series> {
    service.series(dir, &SeriesQuery { names: Vec::new(), max_points: 1_000_000 }).unwrap()
}

/// A script that can import `stoa`, outside a run.
pub(crate) fn python(text: &str) -> Option<Command> {
    static INTERPRETER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let interpreter = INTERPRETER.get_or_init(|| {
        let asked = std::env::var_os("STOA_TEST_PYTHON").unwrap_or_else(|| "python3".into());
        let output = Command::new(asked).args(["-c", "import sys; print(sys.executable)"]).output().ok()?;
        output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
    });
    let Some(interpreter) = interpreter else {
        eprintln!("skipped: no python3 on this machine");
        return None;
    };
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python");
    let mut command = Command::new(interpreter);
    command.arg("-c").arg(text).env("PYTHONPATH", modules).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env_remove("STOA_RUN_DIR").env_remove("STOA_RUN_ID");
    Some(command)
}

/// Name and points (step, value) of each series.
pub(crate) fn plain(series: &[Series]) -> Vec<(String, Vec<(i64, f64)>)> {
    let points = |series: &Series| series.points.iter().map(|point| (point.step, point.value)).collect();
    series.iter().map(|series| (series.summary.name.clone(), points(series))).collect()
}

/// Waits until a question about a live run is answered as wanted.
pub(crate) fn wait_until(service: &MetricService, dir: &Path, mut wanted: impl FnMut(&MetricService) -> bool) {
    let news = service.subscribe(dir);
    let limit = Instant::now() + LIMIT;
    while !wanted(service) {
        assert!(Instant::now() < limit, "it did not come: {:?}", plain(&all(service, dir)));
        news.wait(Duration::from_millis(100));
    }
}
