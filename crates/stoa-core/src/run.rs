//! The run model: what a user asks for ([`RunSpec`]) and what Stoa remembers of it ([`RunRecord`]).

use crate::id::RunId;
use crate::units::{Bytes, Cpus, show_span};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Nanoseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixNanos(pub u64);

impl UnixNanos {
    /// The time from `earlier` to this; zero when the clock was set back between the two.
    pub fn since(self, earlier: UnixNanos) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Program {
    /// A script whose language and dependencies Stoa resolves.
    Script {
        /// As the user typed it, relative to [`RunSpec::cwd`] or absolute.
        path: PathBuf,
        /// Its arguments.
        args: Vec<String>,
    },
    /// Any program, found on `PATH`.
    Command {
        /// Program and arguments; never empty.
        argv: Vec<String>,
    },
}

impl Program {
    /// Program and arguments as one line for tables; not for execution.
    pub fn summary(&self) -> String {
        match self {
            Self::Script { path, args } => {
                std::iter::once(path.display().to_string()).chain(args.iter().cloned()).collect::<Vec<_>>().join(" ")
            }
            Self::Command { argv } => argv.join(" "),
        }
    }
}

/// Limits of a run. `None` is "no limit of its own".
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Processor time per wall-clock time.
    pub cpus: Option<Cpus>,
    /// Memory of all its processes together, page cache included where the kernel counts it.
    pub memory: Option<Bytes>,
    /// Processes and threads.
    pub pids: Option<u32>,
    /// GPUs it sees. `None` is all, `Some(0)` none.
    pub gpus: Option<u32>,
    /// Wall-clock time from start to end.
    pub time: Option<Duration>,
}

/// Whether a run reaches the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// The host's network.
    #[default]
    Host,
    /// Only a loopback device of its own.
    None,
}

/// A path that a run sees at the same place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute.
    pub path: PathBuf,
    /// Whether the run may write below it.
    pub writable: bool,
}

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// An environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value; `***` in a record when the name looks like a secret.
    pub value: String,
}

/// What a user asks for. Made by a client, checked by the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The name the user gave.
    pub name: Option<String>,
    /// What to start.
    pub program: Program,
    /// Absolute path of the working folder.
    pub cwd: PathBuf,
    /// The caller's environment without what looks like a secret.
    pub env: Vec<Variable>,
    /// Variables the user named with `--env`.
    pub named_env: Vec<Variable>,
    /// Names of variables the caller has and the run does not get.
    pub hidden_env: Vec<String>,
    /// Limits.
    pub limits: Limits,
    /// Paths beyond the project folder.
    pub mounts: Vec<Mount>,
    /// Network access.
    pub network: Network,
    /// How often a failed run is started again.
    pub retries: u32,
    /// Start even when some isolation cannot be enforced here.
    pub allow_degraded: bool,
    /// The interpreter to use instead of resolving one (`--python`).
    pub python: Option<PathBuf>,
    /// The caller's terminal, when its input and output are one.
    pub terminal: Option<TerminalSize>,
    /// Whether the caller forwards its standard input; otherwise it is empty.
    pub stdin: bool,
    /// The caller's file mode creation mask.
    #[serde(default = "usual_umask")]
    pub umask: u32,
    /// The run this one repeats.
    pub repeats: Option<RunId>,
}

/// For records of before the mask was recorded.
const fn usual_umask() -> u32 {
    0o022
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Accepted.
    Queued,
    /// Its environment is being made.
    Preparing,
    /// Started.
    Running,
    /// Ended with exit code 0.
    Succeeded,
    /// Ended otherwise.
    Failed,
    /// Ended because a user said so.
    Stopped,
    /// Its end could not be seen.
    Lost,
}

impl RunState {
    /// Every state, in the order a run passes them.
    pub const ALL: [RunState; 7] =
        [Self::Queued, Self::Preparing, Self::Running, Self::Succeeded, Self::Failed, Self::Stopped, Self::Lost];

    /// Whether nothing more will happen.
    pub const fn ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Stopped | Self::Lost)
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum EndReason {
    /// It exited by itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal that Stoa did not send.
    Signaled {
        /// The signal's number.
        signal: i32,
    },
    /// The kernel killed a process of it at the memory limit.
    OutOfMemory {
        /// The limit, when the run had one of its own.
        limit: Option<Bytes>,
    },
    /// It ran into `--time-limit`.
    TimeLimit {
        /// The limit.
        limit: Duration,
    },
    /// It failed after it had run into another limit.
    LimitHit {
        /// Which: `processes`.
        limit: String,
    },
    /// A user stopped it.
    Stopped {
        /// Whether it had to be killed.
        killed: bool,
    },
    /// It could not be prepared or started, or its supervisor ended early.
    Infrastructure {
        /// What happened.
        failure: crate::Failure,
    },
    /// Its end could not be seen.
    Lost {
        /// Why not.
        why: String,
    },
}

impl EndReason {
    /// The state a run with this end is in.
    pub const fn state(&self) -> RunState {
        match self {
            Self::Exited { code: 0 } => RunState::Succeeded,
            Self::Stopped { .. } => RunState::Stopped,
            Self::Lost { .. } => RunState::Lost,
            _ => RunState::Failed,
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(f, "exit code {code}"),
            Self::Signaled { signal } => write!(f, "killed by signal {signal}{}", signal_name(*signal)),
            Self::OutOfMemory { limit: Some(limit) } => write!(f, "out of memory (limit {limit})"),
            Self::OutOfMemory { limit: None } => write!(f, "out of memory"),
            Self::TimeLimit { limit } => write!(f, "time limit of {} reached", show_span(*limit)),
            Self::LimitHit { limit } => write!(f, "limit of {limit} reached"),
            Self::Stopped { killed: false } => write!(f, "stopped"),
            Self::Stopped { killed: true } => write!(f, "stopped (killed)"),
            Self::Infrastructure { failure } => write!(f, "{}", failure.error),
            Self::Lost { why } => write!(f, "lost: {why}"),
        }
    }
}

/// ` (SIGKILL)` for the signals that end programs; empty for the others.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        3 => " (SIGQUIT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        14 => " (SIGALRM)",
        15 => " (SIGTERM)",
        24 => " (SIGXCPU)",
        31 => " (SIGSYS)",
        _ => "",
    }
}

/// Resources a run used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time in user code.
    pub cpu_user: Duration,
    /// Processor time in the kernel.
    pub cpu_system: Duration,
    /// The most memory all its processes held together; `None` when it was not measured.
    pub peak_memory: Option<Bytes>,
    /// Bytes read from storage.
    pub read: Bytes,
    /// Bytes written to storage.
    pub written: Bytes,
    /// The most GPU memory, where there was a GPU.
    pub peak_gpu_memory: Option<Bytes>,
}

/// Whether an isolation mechanism is in force for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// In force.
    InForce,
    /// Not asked for.
    NotAsked,
    /// Asked for, not available, and accepted with `--allow-degraded`.
    Degraded,
}

/// One isolation mechanism of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mechanism {
    /// Its name: `user-namespace`, `landlock`, `seccomp`, `memory-limit`, ...
    pub name: String,
    /// Whether it is in force.
    pub enforcement: Enforcement,
    /// How, or why not: `cgroup v2`, `ABI 7`.
    pub detail: String,
}

/// The state of the project's code when a run was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CodeState {
    /// The top folder of the git work tree.
    pub root: PathBuf,
    /// The commit that was checked out; `None` before the first commit.
    pub commit: Option<String>,
    /// The branch, when one was checked out.
    pub branch: Option<String>,
    /// Whether tracked files differed from the commit; the difference is kept as `code/changes.patch`.
    pub changed: bool,
    /// Untracked files that were kept in `code/untracked/`, relative to the root.
    pub untracked_kept: Vec<String>,
    /// How many untracked files were too large or too many to keep.
    pub untracked_left: u32,
}

/// The environment a script ran in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentRef {
    /// The language: `python`, `bash`, ...
    pub language: String,
    /// The interpreter.
    pub interpreter: PathBuf,
    /// The content hash of a Stoa-made environment; `None` for one the user brought.
    pub key: Option<String>,
    /// Where the dependencies come from: `PEP 723 block of train.py`, `active virtual environment`.
    pub source: String,
    /// The resolved dependencies, one `name==version` each.
    pub lock: Vec<String>,
}

/// The machine a run ran on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Host {
    /// Host name.
    pub name: String,
    /// Kernel release.
    pub kernel: String,
    /// Distribution.
    pub system: String,
    /// Processor model.
    pub cpu: String,
    /// Processors the daemon may use.
    pub cpus: u32,
    /// Installed memory.
    pub memory: Bytes,
    /// GPUs, one line each.
    pub gpus: Vec<String>,
}

/// What Stoa remembers of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// Its name: the user's, or made from the program.
    pub name: String,
    /// What was asked for, secrets masked.
    pub spec: RunSpec,
    /// Where it stands.
    pub state: RunState,
    /// Why it ended.
    pub end: Option<EndReason>,
    /// The exit code a client ends with: the run's own, or 128+n for signal n.
    pub exit_code: Option<u8>,
    /// When it was accepted.
    pub created: UnixNanos,
    /// When its program was started; of the last attempt.
    pub started: Option<UnixNanos>,
    /// When it ended.
    pub ended: Option<UnixNanos>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// What was executed, with the resolved interpreter.
    pub command: Vec<String>,
    /// The folder it may write to and that is kept, `STOA_RUN_DIR` inside.
    pub dir: PathBuf,
    /// The project folder.
    pub project: Option<PathBuf>,
    /// Resources it used.
    pub usage: Usage,
    /// Its isolation.
    pub isolation: Vec<Mechanism>,
    /// The machine.
    pub host: Host,
    /// The code it ran.
    pub code: Option<CodeState>,
    /// The environment it ran in.
    pub environment: Option<EnvironmentRef>,
    /// Bytes of output kept.
    pub output: Bytes,
    /// Bytes of output that could not be kept, for want of disk space.
    pub output_lost: Bytes,
}

impl RunRecord {
    /// How long it ran, until `now` while it runs.
    pub fn duration(&self, now: UnixNanos) -> Option<Duration> {
        self.started.map(|started| self.ended.unwrap_or(now).since(started))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_implies_a_state() {
        assert_eq!(EndReason::Exited { code: 0 }.state(), RunState::Succeeded);
        assert_eq!(EndReason::Exited { code: 3 }.state(), RunState::Failed);
        assert_eq!(EndReason::Stopped { killed: true }.state(), RunState::Stopped);
        assert_eq!(EndReason::Lost { why: "reboot".into() }.state(), RunState::Lost);
        assert!(RunState::ALL.iter().filter(|state| state.ended()).count() == 4);
    }

    #[test]
    fn ends_read_as_sentences() {
        let shown = |end: EndReason| end.to_string();
        assert_eq!(shown(EndReason::OutOfMemory { limit: Some(Bytes(64 << 20)) }), "out of memory (limit 64 MiB)");
        assert_eq!(shown(EndReason::Signaled { signal: 11 }), "killed by signal 11 (SIGSEGV)");
        assert_eq!(shown(EndReason::TimeLimit { limit: Duration::from_secs(90) }), "time limit of 1 m 30 s reached");
    }

    #[test]
    fn a_clock_set_back_gives_no_negative_time() {
        assert_eq!(UnixNanos(5).since(UnixNanos(9)), Duration::ZERO);
    }
}
