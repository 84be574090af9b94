//! The loop of the warden: requests of the daemon, the ends of inits, and groups that wait to be removed.

use crate::host::Host;
use crate::launch;
use crate::refusal::{Cause, Refusal};
use crate::spare::Spares;
use prost::Message;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use stoa_core::Exit;
use stoa_proto::warden::{CgroupLimits, LaunchPlan, Probed, Reply, Request, reply, request};
use stoa_sys::Errno;
use stoa_sys::cgroup::{self, Counted};
use stoa_sys::packet::{self, retry};
use stoa_sys::process;

/// The descriptor of the daemon's socket in a warden that was started as a program.
pub const SOCKET: i32 = 3;
/// The variable that names the file a warden locks as long as it lives.
const LOCK: &str = "STOA_WARDEN_LOCK";
/// How long a group may take to become empty before its removal is refused.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two attempts to remove a group.
const PAUSE: Duration = Duration::from_millis(4);
/// Time without a request before a spare is made: making it must not slow down the run that has just begun.
const QUIET: Duration = Duration::from_millis(4);

/// The whole program: takes the socket from descriptor [`SOCKET`] and the lock file from `STOA_WARDEN_LOCK`, and serves.
pub fn run() -> ExitCode {
    match process::take_descriptor(SOCKET) {
        Ok(socket) => serve(socket),
        Err(_) => ExitCode::from(Exit::Usage.code()),
    }
}

/// Serves the daemon at `socket` until it closes its end.
///
/// The calling process must have one thread. It gets default signal actions, a session of its own, and holds an exclusive
/// lock on the file named by `STOA_WARDEN_LOCK`, waiting for an earlier warden to end.
pub fn serve(socket: OwnedFd) -> ExitCode {
    if !process::single_threaded() {
        return ExitCode::from(Exit::Internal.code());
    }
    process::default_signals();
    let _leads_a_group_already = rustix::process::setsid();
    let (Ok(_lock), Ok(children)) = (lock(), process::watch_children()) else {
        return ExitCode::from(Exit::Unavailable.code());
    };
    let mut warden = Warden { host: Host::probe(), socket, children, spares: Spares::new(), removals: Vec::new() };
    warden.serve();
    ExitCode::SUCCESS
}

/// Waits for the lock of an earlier warden.
fn lock() -> stoa_sys::Result<Option<OwnedFd>> {
    let Some(path) = std::env::var_os(LOCK) else { return Ok(None) };
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let file = openat(CWD, Path::new(&path), flags, Mode::from(0o600))?;
    retry(|| flock(&file, FlockOperation::LockExclusive))?;
    Ok(Some(file))
}

struct Warden {
    host: Host,
    socket: OwnedFd,
    children: OwnedFd,
    spares: Spares,
    removals: Vec<Removal>,
}

/// A run whose groups are being removed.
struct Removal {
    serial: u64,
    run: String,
    folders: Vec<PathBuf>,
    counted: Counted,
    until: Instant,
}

impl Warden {
    fn serve(&mut self) {
        let mut buffer = Vec::new();
        loop {
            match self.wait() {
                Ok(true) => {}
                Ok(false) => self.spares.refill(&self.host),
                Err(_) => return,
            }
            self.reap();
            self.remove();
            loop {
                match packet::receive(&self.socket, &mut buffer) {
                    Ok(Some(packet)) => self.answer(&packet.bytes, packet.descriptors),
                    Err(Errno::AGAIN) => break,
                    Err(Errno::MSGSIZE) => {}
                    Ok(None) | Err(_) => return,
                }
            }
        }
    }

    /// Waits for something to happen; answers whether it did before it was time to look after groups and spares.
    fn wait(&mut self) -> stoa_sys::Result<bool> {
        let pause = if !self.removals.is_empty() { Some(PAUSE) } else { self.spares.wants_one().then_some(QUIET) };
        let pause = pause.map(|pause| Timespec { tv_sec: 0, tv_nsec: pause.subsec_nanos().into() });
        let mut fds = vec![PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&self.children, PollFlags::IN)];
        fds.extend(self.spares.mounts().map(|mounts| PollFd::from_borrowed_fd(mounts, PollFlags::PRI)));
        let happened = retry(|| poll(&mut fds, pause.as_ref()))? > 0;
        let changed = fds.get(2).is_some_and(|mounts| !mounts.revents().is_empty());
        self.spares.drop_stale(changed);
        Ok(happened)
    }

    /// Reaps inits and spares that have ended; what they did is in their records.
    fn reap(&self) {
        let _already_read = rustix::io::read(&self.children, &mut [0u8; 1024][..]);
        while let Ok(Some(_)) = process::reap() {}
    }

    fn answer(&mut self, bytes: &[u8], descriptors: Vec<OwnedFd>) {
        let request = match Request::decode(bytes) {
            Ok(request) => request,
            Err(error) => return self.reply(0, reply::What::Refused(Refusal::from(error).into()), &[]),
        };
        let serial = request.serial;
        match request.what {
            None => self.reply(serial, reply::What::Refused(Refusal::Empty.into()), &[]),
            Some(request::What::Probe(_)) => self.reply(serial, reply::What::Probed(self.probed()), &[]),
            Some(request::What::RemoveCgroup(asked)) => self.begin_removal(serial, asked.run_id),
            Some(request::What::Launch(_)) => match self.launch(descriptors) {
                Err(refusal) => self.reply(serial, reply::What::Refused(refusal.into()), &[]),
                Ok(started) => {
                    let descriptors: Vec<_> = started.descriptors.iter().map(AsFd::as_fd).collect();
                    self.reply(serial, reply::What::Launched(started.launched), &descriptors);
                }
            },
        }
    }

    fn launch(&mut self, descriptors: Vec<OwnedFd>) -> Result<launch::Started, Refusal> {
        launch::launch(&self.host, &mut self.spares, descriptors.into_iter().next())
    }

    /// Every mechanism, as if a plan asked for all.
    fn probed(&self) -> Probed {
        let plan = LaunchPlan {
            private_network: true,
            limits: Some(CgroupLimits { cpu_thousandths: 1, memory_bytes: 1, pids: 1 }),
            time_limit_ms: 1,
            ..LaunchPlan::default()
        };
        Probed { mechanisms: self.host.mechanisms(&plan) }
    }

    /// Kills what is left in the groups of `run`, and removes them now or later.
    fn begin_removal(&mut self, serial: u64, run: String) {
        let folders = self.host.groups.find(&format!("{run}-"));
        folders.iter().for_each(|folder| cgroup::kill(folder));
        let counted = cgroup::counted(folders.iter().map(PathBuf::as_path));
        self.removals.push(Removal { serial, run, folders, counted, until: Instant::now() + PATIENCE });
        self.remove();
    }

    /// Goes on with removals that waited for processes to die.
    fn remove(&mut self) {
        for mut removal in std::mem::take(&mut self.removals) {
            removal.folders.retain(|folder| cgroup::remove(folder) == Err(Errno::BUSY));
            if removal.folders.is_empty() {
                self.reply(removal.serial, reply::What::Removed(removal.counted.into()), &[]);
            } else if Instant::now() > removal.until {
                let source = Cause(format!("`{}` has processes that do not end", removal.folders[0].display()));
                let refusal = Refusal::Busy { run: removal.run, source };
                self.reply(removal.serial, reply::What::Refused(refusal.into()), &[]);
            } else {
                removal.folders.iter().for_each(|folder| cgroup::kill(folder));
                self.removals.push(removal);
            }
        }
    }

    /// Answers the daemon, waiting while its socket is full: an answer is never dropped.
    fn reply(&self, serial: u64, what: reply::What, descriptors: &[BorrowedFd<'_>]) {
        let bytes = Reply { serial, what: Some(what) }.encode_to_vec();
        while packet::send(&self.socket, &bytes, descriptors) == Err(Errno::AGAIN) {
            let mut room = [PollFd::new(&self.socket, PollFlags::OUT)];
            if retry(|| poll(&mut room, None)).is_err() {
                return;
            }
        }
    }
}
