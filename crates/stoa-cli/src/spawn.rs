//! Starts the daemon's process and waits until it serves.
//!
//! An ordinary user's limits need a cgroup that belongs to the user. Where a systemd user manager runs, the daemon is started in
//! a scope of its own with a delegated cgroup; elsewhere, and where that fails, as a plain child.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use stoa_core::{Exit, Failure, Paths};

/// The name under which the program is the daemon.
const NAME: &str = "stoad";

/// Starts the daemon of `paths`; returns when it serves.
pub(crate) fn daemon(paths: &Paths) -> Result<(), Failure> {
    let program = std::env::current_exe().map_err(|error| {
        Failure::new(Exit::Internal, "cannot find the program to start the daemon").caused_by(&error)
    })?;
    let scoped = in_scope(&program, paths).map(|mut command| serve(&mut command));
    match scoped {
        Some(Ok(())) => Ok(()),
        // It was the daemon that failed, not the scope: its words are the answer.
        Some(Err(failure)) if !failure.causes.is_empty() && failure.exit != Exit::Failed => Err(failure),
        _ => serve(Command::new(&program).arg0(NAME)),
    }
}

/// The daemon in a scope of the user's systemd, with the cgroup delegated (systemd.scope(5), `Delegate=`).
fn in_scope(program: &Path, paths: &Paths) -> Option<Command> {
    let manager = PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR")?).join("systemd/private");
    if rustix::process::geteuid().is_root() || !manager.exists() {
        return None;
    }
    // A scope starts a program under its own name, so the name has to be a file's.
    let link = paths.home.join(NAME);
    let staged = paths.home.join("stoad.new");
    let _none_was_left = fs::remove_file(&staged);
    symlink(program, &staged).and_then(|()| fs::rename(&staged, &link)).ok()?;
    let mut command = Command::new("systemd-run");
    command.args(["--user", "--scope", "--quiet", "--collect", "--property=Delegate=yes", "--"]).arg(link);
    Some(command)
}

fn serve(command: &mut Command) -> Result<(), Failure> {
    let mut child = command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error: io::Error| Failure::new(Exit::Failed, "cannot start the daemon").caused_by(&error))?;
    let mut line = [0; 6];
    let ready = child.stdout.as_mut().is_some_and(|stdout| stdout.read_exact(&mut line).is_ok());
    if ready && &line == b"ready\n" {
        return Ok(());
    }
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _not_utf8 = stderr.read_to_string(&mut said);
    }
    let code = child.wait().ok().and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
    Err(read_failure(&said, code.map_or(Exit::Internal, Exit::from_code)))
}

/// The failure a daemon printed as its last words.
fn read_failure(said: &str, exit: Exit) -> Failure {
    let field = |name: &'static str| {
        said.lines().filter_map(move |line| line.trim_start().strip_prefix(name)).map(str::to_owned)
    };
    let mut failure = Failure::new(exit, "the daemon did not start");
    failure.causes = field("error: ").chain(field("cause: ")).collect();
    failure.hint = field("hint: ").next();
    if failure.causes.is_empty() && !said.trim().is_empty() {
        failure.causes.push(said.trim().to_owned());
    }
    failure
}
