//! A Stoa of a test's own.

use crate::command::{Cmd, ended};
use crate::process::{Process, cgroups_named, processes_naming};
use crate::program::{is_public, program};
use crate::terminal::Terminal;
use crate::wait::{LIMIT, until_within};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// The unprivileged user of the tests: nobody on any system.
pub const STRANGER: u32 = 65_533;

/// How long the end of a test waits for its processes to go.
const CLEAN_UP: Duration = Duration::from_secs(30);

/// Variables of the caller that a package manager needs behind its proxy or mirror.
const NETWORK: [&str; 14] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "PIP_INDEX_URL",
    "PIP_CONFIG_FILE",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// As whom a test runs its commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// Whoever runs the tests.
    Caller,
    /// The user [`STRANGER`]; only root can become it.
    Stranger,
}

/// A Stoa with state, socket, home and project in a folder of its own. Dropping it stops its daemon, warden and runs and
/// asserts that no process and no control group of them is left.
#[derive(Debug)]
pub struct Stoa {
    root: TempDir,
    program: PathBuf,
    user: User,
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Stoa {
    /// For whoever runs the tests.
    pub fn new() -> Self {
        Self::of(User::Caller)
    }

    /// For a user.
    pub fn of(user: User) -> Self {
        // Not in /tmp: a run has a private one, and what is hidden there would be hidden for that reason alone. The same
        // holds for /var/tmp, but others than root may write to few places. The path stays short for the socket's sake.
        let folder = if is_root() && Path::new("/srv").is_dir() { "/srv" } else { "/var/tmp" };
        let root = tempfile::Builder::new().prefix("st").tempdir_in(folder).expect("a folder of its own");
        let stoa = Self { program: program().to_owned(), root, user };
        fs::set_permissions(stoa.root(), fs::Permissions::from_mode(0o755)).expect("its mode");
        stoa.give(stoa.root());
        for (folder, mode) in [(stoa.user_home(), 0o755), (stoa.project(), 0o755), (stoa.runtime(), 0o700)] {
            fs::DirBuilder::new().mode(mode).create(&folder).expect("a folder");
            stoa.give(&folder);
        }
        stoa.with_public_program()
    }

    /// Calls `test` as the caller and, when that is root, as an unprivileged user as well.
    pub fn for_each_user(test: impl Fn(Stoa)) {
        test(Self::new());
        if is_root() {
            test(Self::of(User::Stranger));
        }
    }

    fn with_public_program(mut self) -> Self {
        if self.user == User::Stranger && !is_public(&self.program) {
            let copy = self.root().join("stoa");
            fs::copy(&self.program, &copy).expect("the program is copied");
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("its mode");
            self.program = copy;
        }
        self
    }

    /// The folder of everything.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// `HOME`.
    pub fn user_home(&self) -> PathBuf {
        self.root().join("home")
    }

    /// The project, in which commands run: a folder of the home.
    pub fn project(&self) -> PathBuf {
        self.user_home().join("p")
    }

    /// `STOA_HOME`.
    pub fn state(&self) -> PathBuf {
        self.root().join("state")
    }

    /// `XDG_RUNTIME_DIR`.
    pub fn runtime(&self) -> PathBuf {
        self.root().join("run")
    }

    /// The program under test.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// As whom commands run.
    pub fn user(&self) -> User {
        self.user
    }

    /// The uid of [`Stoa::user`].
    pub fn uid(&self) -> u32 {
        match self.user {
            User::Caller => rustix::process::geteuid().as_raw(),
            User::Stranger => STRANGER,
        }
    }

    /// Makes a file or folder the user's.
    pub fn give(&self, path: &Path) {
        if self.user == User::Stranger {
            chown(path, Some(STRANGER), Some(STRANGER)).expect("root gives files away");
        }
    }

    /// Writes a file of the project, with the folders above it. Returns its path.
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.project().join(path);
        let folder = path.parent().expect("a file lies in a folder");
        let new: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
        for folder in new.into_iter().rev() {
            fs::create_dir(folder).expect("a folder");
            self.give(folder);
        }
        fs::write(&path, content).expect("a file");
        self.give(&path);
        path
    }

    /// `stoa` with arguments, in the project.
    pub fn stoa(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Cmd {
        self.any(&self.program, args)
    }

    /// Any program with arguments, as the user, in the project, with the variables of this Stoa.
    pub fn any(&self, program: impl AsRef<OsStr>, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Cmd {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.project()).env_clear();
        command.env("PATH", system_path()).env("HOME", self.user_home()).env("LANG", "C.UTF-8").env("TZ", "UTC");
        command.env("STOA_HOME", self.state()).env("XDG_RUNTIME_DIR", self.runtime());
        command.envs(NETWORK.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        Cmd::new(command, (self.user == User::Stranger).then_some(STRANGER))
    }

    /// `stoa run --detach` with arguments; the run's id.
    #[track_caller]
    pub fn detach(&self, args: &[&str]) -> String {
        let output = self.stoa(["run", "--detach"]).args(args).run().ok();
        output.out().trim().to_owned()
    }

    /// The record of a run.
    #[track_caller]
    pub fn record(&self, run: &str) -> Value {
        self.stoa(["show", "--json", run]).run().ok().json()
    }

    /// Waits for the end of a run; its record.
    #[track_caller]
    pub fn wait(&self, run: &str) -> Value {
        let _code_of_the_run = self.stoa(["wait", run]).run();
        let record = self.record(run);
        assert!(record["end"].is_object(), "it was waited for but has not ended: {record}");
        record
    }

    /// A command line on a terminal of its own.
    pub fn terminal(&self, args: &[&str], rows: u16, columns: u16) -> Terminal {
        Terminal::start(self.stoa(args).env("TERM", "xterm-256color"), rows, columns)
    }

    /// The daemon's process id; `None` when none runs.
    pub fn daemon_pid(&self) -> Option<u32> {
        let status = self.stoa(["daemon", "status", "--json"]).run().json();
        status["pid"].as_u64().map(|pid| u32::try_from(pid).expect("a process id"))
    }

    /// The warden's process id; `None` when none runs.
    pub fn warden_pid(&self) -> Option<u32> {
        let daemon = self.daemon_pid()?;
        let warden = self.processes().into_iter().find(|process| process.parent == daemon && is_warden(process));
        warden.map(|process| process.pid)
    }

    /// Kills a process with SIGKILL and waits until all its threads are gone, and with them what it had open.
    pub fn kill(&self, pid: u32) {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        let _gone = pidfd_send_signal(&process, Signal::KILL);
        assert!(ended(&process, LIMIT), "a killed process does not go");
    }

    /// All processes of this Stoa: daemon, warden, inits, runs, commands.
    pub fn processes(&self) -> Vec<Process> {
        processes_naming(&self.root().display().to_string())
    }

    /// The ids of all runs whose folder exists.
    pub fn run_ids(&self) -> Vec<String> {
        let folders = fs::read_dir(self.state().join("runs")).into_iter().flatten().flatten();
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// The daemon's log.
    pub fn daemon_log(&self) -> String {
        fs::read_to_string(self.state().join("stoad.log")).unwrap_or_default()
    }

    /// Replaces what differs between tests: the folder of this Stoa, ids, moments, spans, sizes.
    pub fn filtered(&self, text: &str) -> String {
        crate::without_ids(&text.replace(&self.root().display().to_string(), "[ROOT]"))
    }

    /// Stops the runs and the daemon, politely. Whatever does not follow is killed by [`Drop`].
    fn stop_everything(&self) -> bool {
        let short = Duration::from_secs(20);
        let answer = |args: &[&str]| self.stoa(args).limit(short).try_run().filter(|output| output.code == 0);
        let Some(live) = answer(&["ps", "--live", "--json"]) else { return false };
        let Ok(live) = serde_json::from_slice::<Value>(&live.stdout) else { return false };
        let ids = live.as_array().into_iter().flatten().filter_map(|run| run["id"].as_str());
        let stopped = ids.map(|id| answer(&["stop", "--kill", id])).all(|output| output.is_some());
        let daemons = self.processes().into_iter().filter(is_daemon);
        daemons.for_each(|daemon| daemon.signal(Signal::TERM));
        stopped
    }
}

impl Default for Stoa {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Stoa {
    fn drop(&mut self) {
        if self.processes().is_empty() {
            return;
        }
        let stopped = self.stop_everything();
        let ids = self.run_ids();
        let went = stopped && until_within(CLEAN_UP, || self.processes().is_empty());
        let left = self.processes();
        let killed = until_within(CLEAN_UP, || {
            self.processes().iter().for_each(|process| process.signal(Signal::KILL));
            self.processes().is_empty()
        });
        let groups = cgroups_named(&ids);
        groups.iter().for_each(|group| {
            let _busy_or_gone = fs::remove_dir(group);
        });
        if std::thread::panicking() {
            return;
        }
        assert!(stopped, "runs and daemon cannot be stopped; the daemon's log:\n{}", self.daemon_log());
        assert!(went && killed, "processes are left: {left:#?}");
        assert!(groups.is_empty(), "control groups are left: {groups:#?}");
    }
}

/// The caller's `PATH` without folders of their home: tools there, such as pyenv's, look for settings in a home that the tests
/// replace.
fn system_path() -> OsString {
    let (path, home) = (std::env::var_os("PATH").unwrap_or_default(), std::env::var_os("HOME").unwrap_or_default());
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).filter(|folder| !folder.starts_with(&home)).collect();
    folders.extend(["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from));
    std::env::join_paths(folders).expect("they came from such a list")
}

/// A daemon in a scope of systemd is started by its path.
fn is_daemon(process: &Process) -> bool {
    let program = process.line.split(' ').next().unwrap_or_default();
    Path::new(program).file_name().is_some_and(|name| name == "stoad")
}

fn is_warden(process: &Process) -> bool {
    process.line.contains("stoa-warden")
}
