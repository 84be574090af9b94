//! A daemon of its own for a bench: found, started, stopped, removed.

use super::worker::Subject;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;
use tempfile::TempDir;

/// A running daemon with its own state, in its own folders.
pub(super) struct Stoa {
    program: PathBuf,
    folder: TempDir,
    /// The daemon's process.
    pub(super) pid: u32,
}

impl Stoa {
    /// Starts the daemon of `asked`, or of the newest release build.
    pub(super) fn start(workspace: &Workspace, asked: Option<&Path>) -> Result<Self> {
        let program = match asked {
            Some(path) => path.canonicalize().with_context(|| format!("{} is not there", path.display()))?,
            None => newest_build(workspace)?,
        };
        let folder = tempfile::Builder::new().prefix("stoa-bench-").tempdir().context("cannot make a folder")?;
        let mut stoa = Self { program, folder, pid: 0 };
        stoa.ask(&["daemon", "start"])?;
        let status: serde_json::Value = serde_json::from_str(&stoa.ask(&["daemon", "status", "--json"])?)
            .context("`stoa daemon status --json` does not answer JSON")?;
        let pid = status["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        stoa.pid = pid.context("`stoa daemon status --json` names no pid")?;
        Ok(stoa)
    }

    /// Variables that lead a client to this daemon.
    fn env(&self) -> [(String, String); 2] {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        [("STOA_HOME".to_owned(), path("home")), ("XDG_RUNTIME_DIR".to_owned(), path("run"))]
    }

    /// A folder that is removed with the daemon.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a command and returns what it prints.
    pub(super) fn ask(&self, arguments: &[&str]) -> Result<String> {
        let run = self.folder.path().join("run");
        std::fs::create_dir_all(&run).context("cannot make the socket's folder")?;
        let done = Command::new(&self.program)
            .args(arguments)
            .envs(self.env())
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        if !done.status.success() {
            bail!(
                "`stoa {}` ended with {}: {}",
                arguments.join(" "),
                done.status,
                String::from_utf8_lossy(&done.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    /// A `stoa` command as a subject, the daemon's work counted in.
    pub(super) fn subject(&self, name: &str, arguments: &[&str]) -> Subject {
        let program = self.program.display().to_string();
        let command = std::iter::once(program).chain(arguments.iter().map(|word| (*word).to_owned())).collect();
        Subject { name: name.to_owned(), command, within: Vec::new(), env: self.env().into(), daemons: vec![self.pid] }
    }
}

impl Drop for Stoa {
    fn drop(&mut self) {
        // A daemon that is gone already needs no stopping.
        let _ = self.ask(&["daemon", "stop"]);
    }
}

/// Release builds lie in `release/`, or in `TRIPLE/release/` when built for a named target as `./quickstart` does.
fn newest_build(workspace: &Workspace) -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.path("target"), PathBuf::from);
    let mut candidates = vec![target.join("release/stoa")];
    let below = std::fs::read_dir(&target).into_iter().flatten().flatten();
    candidates.extend(below.map(|entry| entry.path().join("release/stoa")));
    let built = |path: &PathBuf| path.metadata().and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let newest = candidates.into_iter().filter(|path| path.is_file()).max_by_key(built);
    newest.context("no release build found: run `./quickstart --build`, or name a program with --stoa PATH")
}
