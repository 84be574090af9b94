//! From the command line and this process's surroundings to a run's specification.

use crate::args::{Net, RunArgs};
use crate::{terminal, utf8};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use stoa_core::run::{Limits, Mount, Network, Program, RunSpec, TerminalSize, Variable};
use stoa_core::secret::is_secret_name;
use stoa_core::{Exit, Failure};

/// What the client connects a run to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Streams {
    /// Input and output are one terminal.
    pub(crate) terminal: Option<TerminalSize>,
    /// Standard input is forwarded.
    pub(crate) stdin: bool,
}

impl Streams {
    /// Looks at this process's standard streams. A detached run gets neither terminal nor input.
    pub(crate) fn find(detached: bool, output_is_data: bool) -> Self {
        if detached {
            return Self { terminal: None, stdin: false };
        }
        let input_is_terminal = terminal::is_terminal(io::stdin());
        let stdin = if input_is_terminal { terminal::in_foreground() } else { has_input() };
        let both = input_is_terminal && stdin && terminal::is_terminal(io::stdout()) && !output_is_data;
        Self { terminal: both.then(terminal::size), stdin }
    }
}

/// Whether standard input is something to read: open, and not `/dev/null`.
fn has_input() -> bool {
    let null = rustix::fs::stat("/dev/null").map(|null| null.st_rdev);
    rustix::fs::fstat(io::stdin()).is_ok_and(|input| {
        let device = rustix::fs::FileType::from_raw_mode(input.st_mode) == rustix::fs::FileType::CharacterDevice;
        !(device && Ok(input.st_rdev) == null)
    })
}

/// Makes the specification of `stoa run`.
pub(crate) fn make(args: RunArgs, streams: Streams) -> Result<RunSpec, Failure> {
    let cwd = std::env::current_dir().map_err(|error| {
        Failure::new(Exit::Usage, "the working folder cannot be used")
            .caused_by(&error)
            .hint("change to a folder that exists")
    })?;
    let (env, hidden_env) = environment();
    let mounts = args.mount.into_iter().map(|mount| resolve_mount(&mount, &cwd)).collect::<Result<_, _>>()?;
    Ok(RunSpec {
        name: args.name,
        program: program(args.program)?,
        env,
        named_env: named_environment(&args.env)?,
        hidden_env,
        limits: Limits {
            cpus: args.cpus,
            memory: args.memory,
            pids: args.pids,
            gpus: args.gpus,
            time: args.time_limit,
        },
        mounts,
        network: match args.net {
            Net::Host => Network::Host,
            Net::None => Network::None,
        },
        retries: args.retries,
        allow_degraded: args.allow_degraded,
        python: args.python.map(|python| absolute(&python, &cwd)),
        terminal: streams.terminal,
        stdin: streams.stdin,
        umask: umask(),
        repeats: None,
        cwd,
    })
}

/// `SCRIPT ARGS`, or `-- COMMAND ARGS`. Clap takes a first `--` away, so the command line itself is looked at.
fn program(words: Vec<std::ffi::OsString>) -> Result<Program, Failure> {
    let line: Vec<_> = std::env::args_os().collect();
    let before = line.len().checked_sub(words.len() + 1).and_then(|at| line.get(at));
    let is_command = before.is_some_and(|word| word == OsStr::new("--"));
    let mut words = words.into_iter().map(|word| utf8(word, "an argument"));
    if is_command {
        return Ok(Program::Command { argv: words.collect::<Result<_, _>>()? });
    }
    let path = words.next().transpose()?.ok_or_else(|| Failure::new(Exit::Usage, "no script was named"))?;
    Ok(Program::Script { path: PathBuf::from(path), args: words.collect::<Result<_, _>>()? })
}

/// This process's environment without secrets, and the names of those.
fn environment() -> (Vec<Variable>, Vec<String>) {
    let mut hidden = Vec::new();
    let mut open = Vec::new();
    for (name, value) in std::env::vars_os() {
        let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) else { continue };
        if is_secret_name(&name) {
            hidden.push(name);
        } else {
            open.push(Variable { name, value });
        }
    }
    hidden.sort();
    (open, hidden)
}

/// `K=V` sets, `K` passes the caller's value on.
fn named_environment(words: &[String]) -> Result<Vec<Variable>, Failure> {
    words
        .iter()
        .map(|word| {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word.as_str(), std::env::var(word).ok()),
            };
            if name.is_empty() {
                return Err(Failure::new(Exit::Usage, format!("`--env {word}` names no variable"))
                    .hint("use `--env NAME=value`"));
            }
            let value = value.ok_or_else(|| {
                Failure::new(Exit::Usage, format!("the variable {name} is not set here"))
                    .hint(format!("use `--env {name}=value`"))
            })?;
            Ok(Variable { name: name.to_owned(), value })
        })
        .collect()
}

fn resolve_mount(mount: &Mount, cwd: &Path) -> Result<Mount, Failure> {
    let path = absolute(&mount.path, cwd);
    match path.canonicalize() {
        Ok(path) => Ok(Mount { path, writable: mount.writable }),
        Err(error) => Err(Failure::new(Exit::Usage, format!("cannot make `{}` visible", mount.path.display()))
            .caused_by(&error)
            .hint("`--mount` takes a file or folder that exists")),
    }
}

fn absolute(path: &Path, cwd: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => cwd.join(path),
    }
}

/// The mask can only be read by setting it. This process has one thread, so nobody sees it change.
fn umask() -> u32 {
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    rustix::process::umask(mask);
    mask.as_raw_mode()
}
