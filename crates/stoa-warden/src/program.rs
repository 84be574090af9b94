//! The start of the program of a run: what the new process does between its birth and `execve`.

use crate::host::Level;
use crate::plan;
use rustix::fs::{Mode, OFlags, openat};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use stoa_proto::warden::{LaunchPlan, Terminal};
use stoa_sys::cgroup::Entry;
use stoa_sys::landlock::Rules;
use stoa_sys::process::{self, Exec, Failed, Pid};
use stoa_sys::seccomp::Filter;
use stoa_sys::{Errno, Result};

/// The steps, numbered so that a failure crosses the process boundary as one byte.
const STEPS: [&str; 11] = [
    "start a process",
    "begin a session",
    "connect the standard streams",
    "enter the cgroup",
    "make a cgroup namespace",
    "set process limits",
    "drop capabilities",
    "put Landlock in force",
    "close descriptors",
    "put seccomp in force",
    "execute",
];
const EXECUTE: u8 = 10;

/// What a process needs to become the program.
pub(crate) struct Start<'a> {
    /// Standard input, output and error.
    pub(crate) stdio: [BorrowedFd<'a>; 3],
    /// Whether they are a terminal.
    pub(crate) terminal: bool,
    pub(crate) cgroup: &'a Entry,
    pub(crate) level: Level,
    pub(crate) landlock: Option<&'a Rules>,
    pub(crate) seccomp: Option<&'a Filter>,
    /// The most processes of the user namespace, where no cgroup counts them.
    pub(crate) processes: Option<u64>,
}

/// Why the program did not start.
pub(crate) enum NotStarted {
    /// It could not be executed.
    Exec(Errno),
    /// A step before failed.
    Setup(&'static str, Errno),
}

/// Starts the program of `plan`.
pub(crate) fn start(plan: &LaunchPlan, start: &Start<'_>) -> std::result::Result<Pid, NotStarted> {
    let unusable = |errno| NotStarted::Setup("lay out arguments", errno);
    let exec = Exec::new(&plan.argv, &plan.env).map_err(unusable)?;
    let paths = plan::candidates(plan).into_iter().map(CString::new).collect::<std::result::Result<Vec<_>, _>>();
    let paths = paths.map_err(|_| unusable(Errno::INVAL))?;
    let spawned = process::spawn(start.cgroup.unified.as_ref().map(AsFd::as_fd), &mut || match start.prepare() {
        Err(failed) => failed,
        Ok(()) => Failed { step: EXECUTE, errno: exec.run(&paths) },
    });
    spawned.map_err(|failed| match failed.step {
        EXECUTE => NotStarted::Exec(failed.errno),
        step => NotStarted::Setup(STEPS.get(usize::from(step)).copied().unwrap_or("start the program"), failed.errno),
    })
}

impl Start<'_> {
    /// Runs in the new process.
    fn prepare(&self) -> std::result::Result<(), Failed> {
        let at = |step: u8| move |errno| Failed { step, errno };
        rustix::process::setsid().map_err(at(1))?;
        if self.terminal {
            rustix::process::ioctl_tiocsctty(self.stdio[0]).map_err(at(1))?;
        }
        for (standard, from) in self.stdio.into_iter().enumerate() {
            process::onto_standard(from, standard as i32).map_err(at(2))?;
        }
        self.cgroup.enter().map_err(at(3))?;
        if self.level != Level::None {
            process::unshare_cgroup().map_err(at(4))?;
        }
        limit(Resource::Core, 0).map_err(at(5))?;
        if let Some(most) = self.processes {
            limit(Resource::Nproc, most).map_err(at(5))?;
        }
        process::drop_capabilities().map_err(at(6))?;
        if let Some(rules) = self.landlock {
            rules.restrict_self().map_err(at(7))?;
        }
        process::block_signals(false);
        process::cloexec_others().map_err(at(8))?;
        match self.seccomp {
            Some(filter) => filter.install().map_err(at(9)),
            None => Ok(()),
        }
    }
}

fn limit(resource: Resource, most: u64) -> Result<()> {
    let now = rustix::process::getrlimit(resource);
    // A hard limit below is kept: nothing may be raised.
    let most = now.maximum.map_or(most, |hard| hard.min(most));
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
}

/// A terminal of the run's own: the side of init and the side of the program.
pub(crate) fn open_terminal(size: &Terminal, level: Level) -> Result<(OwnedFd, OwnedFd)> {
    let own = if level == Level::None { "/dev/ptmx" } else { "/dev/pts/ptmx" };
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let master = openat(rustix::fs::CWD, own, flags, Mode::empty())?;
    rustix::pty::unlockpt(&master)?;
    let slave =
        rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    resize(master.as_fd(), size)?;
    Ok((master, slave))
}

/// Sets the size of a terminal.
pub(crate) fn resize(terminal: BorrowedFd<'_>, size: &Terminal) -> Result<()> {
    let short = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let size = Winsize { ws_row: short(size.rows), ws_col: short(size.columns), ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size)
}
