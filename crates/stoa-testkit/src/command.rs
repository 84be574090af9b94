//! Commands with their output captured and a time limit.

use crate::wait::{LIMIT, until_within};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A command to be run.
#[derive(Debug)]
pub struct Cmd {
    inner: Command,
    /// The uid and gid to run as; `None` is the caller's.
    user: Option<u32>,
    input: Input,
    limit: Duration,
}

/// Where a command reads from.
#[derive(Debug)]
enum Input {
    /// `/dev/null`.
    Nothing,
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// A pipe that the test writes to.
    Open,
}

/// What a command did.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit code, 128+n when signal n ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// How long it took.
    pub took: Duration,
    line: String,
}

impl Cmd {
    pub(crate) fn new(inner: Command, user: Option<u32>) -> Self {
        Self { inner, user, input: Input::Nothing, limit: LIMIT }
    }

    /// The same command, executed by another program that takes it as its last arguments.
    #[must_use]
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        let (first, options) = wrapper.split_first().expect("a wrapper");
        let mut outer = Command::new("env");
        outer.arg("-i");
        for (name, value) in self.inner.get_envs() {
            if let Some(value) = value {
                let mut assignment = name.to_owned();
                assignment.push("=");
                assignment.push(value);
                outer.arg(assignment);
            }
        }
        outer.arg(first).args(options).arg(self.inner.get_program()).args(self.inner.get_args());
        outer.current_dir(self.inner.get_current_dir().expect("commands run in a folder"));
        self.inner = outer;
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.inner.args(args);
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(name, value);
        self
    }

    /// Removes a variable.
    #[must_use]
    pub fn env_remove(mut self, name: &str) -> Self {
        self.inner.env_remove(name);
        self
    }

    /// Runs it in a folder other than the project.
    #[must_use]
    pub fn cwd(mut self, folder: impl AsRef<Path>) -> Self {
        self.inner.current_dir(folder);
        self
    }

    /// Gives it `bytes` to read.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Input::Bytes(bytes.into());
        self
    }

    /// Gives it a pipe to read that stays open until [`Running::close_input`].
    #[must_use]
    pub fn stdin_open(mut self) -> Self {
        self.input = Input::Open;
        self
    }

    /// Lets it take longer, or less long, than [`LIMIT`].
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Output {
        self.start().finish()
    }

    /// Runs it to its end; `None` when it does not end in time.
    pub(crate) fn try_run(self) -> Option<Output> {
        let running = self.start();
        ended(&running.pidfd, running.limit).then(|| running.finish())
    }

    /// Starts it.
    #[track_caller]
    pub fn start(mut self) -> Running {
        let args: Vec<_> = self.inner.get_args().map(|arg| arg.to_string_lossy()).collect();
        let line = format!("`{} {}`", self.inner.get_program().to_string_lossy(), args.join(" "));
        let (input, limit) = (std::mem::replace(&mut self.input, Input::Nothing), self.limit);
        let stdin = if matches!(input, Input::Nothing) { Stdio::null() } else { Stdio::piped() };
        let mut command = self.into_inner();
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let began = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
        let stdout = Captured::read(child.stdout.take().expect("piped"));
        let stderr = Captured::read(child.stderr.take().expect("piped"));
        let pid = Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("a child that was not waited for has a pidfd");
        if let Input::Bytes(bytes) = input {
            let mut stdin = child.stdin.take().expect("piped");
            std::thread::spawn(move || {
                let _reader_left = stdin.write_all(&bytes);
            });
        }
        Running { child, pidfd, stdout, stderr, began, limit, line }
    }

    /// The command itself, to be started by the caller.
    pub(crate) fn into_inner(mut self) -> Command {
        if let Some(user) = self.user {
            // A change of the user by root also drops the supplementary groups.
            self.inner.uid(user).gid(user);
        }
        self.inner
    }
}

/// A command that was started. Killed when it is dropped before its end.
#[derive(Debug)]
pub struct Running {
    child: Child,
    pidfd: OwnedFd,
    stdout: Captured,
    stderr: Captured,
    began: Instant,
    limit: Duration,
    line: String,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        rustix::process::pidfd_send_signal(&self.pidfd, signal).expect("the command was not waited for");
    }

    /// Writes to its input.
    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().expect("started with stdin_open");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).expect("the command reads");
    }

    /// Ends its input.
    pub fn close_input(&mut self) {
        self.child.stdin = None;
    }

    /// Waits until its standard output contains `text`.
    #[track_caller]
    pub fn expect_out(&self, text: &str) {
        let seen = self.stdout.wait_for(text.as_bytes(), self.limit);
        assert!(seen, "{} never printed {text:?}\n{}\n{}", self.line, self.stdout.text(), self.stderr.text());
    }

    /// Waits until its standard error contains `text`.
    #[track_caller]
    pub fn expect_err(&self, text: &str) {
        let seen = self.stderr.wait_for(text.as_bytes(), self.limit);
        assert!(seen, "{} never said {text:?}\n{}\n{}", self.line, self.stdout.text(), self.stderr.text());
    }

    /// What it printed to standard output so far.
    pub fn out_so_far(&self) -> String {
        self.stdout.text()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn finish(mut self) -> Output {
        if !ended(&self.pidfd, self.limit) {
            let _ended_now = self.child.kill();
            let _status = self.child.wait();
            let (out, err) = (self.stdout.text(), self.stderr.text());
            panic!("{} did not end within {} s\n{out}\n{err}", self.line, self.limit.as_secs());
        }
        self.child.stdin = None;
        let status = self.child.wait().expect("a child is waited for once");
        let took = self.began.elapsed();
        // A process that outlives the command may hold its output open: what came until now is what counts.
        let complete = until_within(Duration::from_secs(5), || self.stdout.ended() && self.stderr.ended());
        let (stdout, stderr) = (self.stdout.bytes(), self.stderr.bytes());
        assert!(complete, "{} left its output open: a process it started holds it", self.line);
        Output { code: code(status), stdout, stderr, took, line: std::mem::take(&mut self.line) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ended_now = self.child.kill();
            let _status = self.child.wait();
        }
    }
}

impl Output {
    /// Its standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Its standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Asserts its exit code.
    #[track_caller]
    pub fn code(self, code: u8) -> Self {
        assert_eq!(
            self.code,
            i32::from(code),
            "{} ended with {}\nstdout: {}\nstderr: {}",
            self.line,
            self.code,
            self.out(),
            self.err()
        );
        self
    }

    /// Asserts that it succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    /// Its standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("{} printed no JSON: {error}\n{}\n{}", self.line, self.out(), self.err()))
    }

    /// Asserts that it explained a failure with `error`, `cause` and `hint` lines, each containing what is given. A failure
    /// whose error says it all has no cause: it is asked for as an empty text.
    #[track_caller]
    pub fn explains(self, error: &str, cause: &str, hint: &str) -> Self {
        let text = self.err();
        let part = |label: &str| {
            text.lines().filter_map(|line| line.trim_start().strip_prefix(label)).collect::<Vec<_>>().join("\n")
        };
        for (label, wanted) in [("error: ", error), ("cause: ", cause), ("hint: ", hint)] {
            let found = part(label);
            let needed = label != "cause: " || !wanted.is_empty();
            assert!(!needed || !found.is_empty(), "{} gave no `{label}`\n{text}", self.line);
            assert!(found.contains(wanted), "{}: `{label}` lacks {wanted:?}\n{text}", self.line);
        }
        self
    }
}

/// Waits for the end of the process behind a pidfd.
pub(crate) fn ended(pidfd: &OwnedFd, limit: Duration) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    let limit = Timespec { tv_sec: limit.as_secs().try_into().expect("a short limit"), tv_nsec: 0 };
    poll(&mut fds, Some(&limit)).expect("poll") > 0
}

pub(crate) fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).expect("it ended")
}

/// A stream that a thread reads.
#[derive(Debug)]
struct Captured {
    shared: Arc<(Mutex<Collected>, Condvar)>,
    _reader: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Collected {
    bytes: Vec<u8>,
    ended: bool,
}

impl Captured {
    fn read(mut stream: impl Read + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new(Collected::default()), Condvar::new()));
        let of_reader = shared.clone();
        let reader = std::thread::spawn(move || {
            let mut piece = vec![0; 64 << 10];
            loop {
                let got = stream.read(&mut piece).unwrap_or(0);
                let mut collected = of_reader.0.lock().expect("no reader panics");
                collected.bytes.extend_from_slice(&piece[..got]);
                collected.ended = got == 0;
                of_reader.1.notify_all();
                if got == 0 {
                    return;
                }
            }
        });
        Self { shared, _reader: reader }
    }

    fn wait_for(&self, text: &[u8], limit: Duration) -> bool {
        let collected = self.shared.0.lock().expect("no reader panics");
        let missing = |collected: &mut Collected| {
            !collected.ended && !collected.bytes.windows(text.len()).any(|window| window == text)
        };
        let waited = self.shared.1.wait_timeout_while(collected, limit, missing).expect("no reader panics");
        waited.0.bytes.windows(text.len()).any(|window| window == text)
    }

    fn ended(&self) -> bool {
        self.shared.0.lock().expect("no reader panics").ended
    }

    fn bytes(&self) -> Vec<u8> {
        self.shared.0.lock().expect("no reader panics").bytes.clone()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}
