//! Starts wardens and runs for the tests: a small daemon.

use prost::Message;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use stoa_proto::warden::{
    Ended, FromInit, Launch, LaunchPlan, Launched, MountStep, Probe, Probed, Refused, RemoveCgroup, Removed, Reply,
    Request, Stop, ToInit, from_init, mount_step::Kind, reply, request, to_init,
};
use stoa_sys::packet::{self, Packet};
use stoa_sys::{Errno, process};

/// The longest a test waits for anything.
const LIMIT: i64 = 60;
/// Who the unprivileged tests are; nobody on any system.
pub(crate) const STRANGER: u32 = 54_321;

/// A warden with its socket.
pub(crate) struct Warden {
    pub(crate) child: Child,
    socket: Option<OwnedFd>,
    pub(crate) user: Option<u32>,
    serial: u64,
}

/// A run that was started.
pub(crate) struct Run {
    pub(crate) launched: Launched,
    pub(crate) control: OwnedFd,
    pub(crate) descriptors: Vec<OwnedFd>,
    pub(crate) state: PathBuf,
    pub(crate) id: String,
    /// What was received before it was waited for.
    pub(crate) terminal: Option<OwnedFd>,
    pub(crate) started: bool,
    pub(crate) told: u64,
    pub(crate) stdin_passed: u64,
    _folder: std::sync::Arc<tempfile::TempDir>,
}

/// Waits until `socket` has a packet; `None` when the peer has closed it.
pub(crate) fn receive(socket: &OwnedFd) -> Option<Packet> {
    let mut fds = [PollFd::new(socket, PollFlags::IN)];
    let got = poll(&mut fds, Some(&Timespec { tv_sec: LIMIT, tv_nsec: 0 })).expect("poll");
    assert!(got > 0, "nothing came in {LIMIT} s");
    match packet::receive(socket, &mut Vec::new()) {
        Err(Errno::CONNRESET) => None,
        received => received.expect("receive"),
    }
}

impl Warden {
    pub(crate) fn start() -> Self {
        Self::start_as(None)
    }

    /// As another user; only root can.
    pub(crate) fn start_as(user: Option<u32>) -> Self {
        Self::start_in(&[], user)
    }

    /// With `wrapper`, a program and its arguments that execute the program named after them.
    pub(crate) fn start_in(wrapper: &[&str], user: Option<u32>) -> Self {
        let (near, far) = packet::pair().expect("socket pair");
        let program = program_for(user);
        let mut command = match wrapper {
            [] => Command::new(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        process::give_descriptor(&mut command, far, 3).expect("descriptor 3");
        let child = command.spawn().expect("start the warden");
        drop(command);
        Self { child, socket: Some(near), user, serial: 0 }
    }

    /// Whether it answers.
    pub(crate) fn alive(&mut self) -> bool {
        self.serial += 1;
        let bytes = Request { serial: self.serial, what: Some(request::What::Probe(Probe {})) }.encode_to_vec();
        packet::send(self.socket(), &bytes, &[]).is_ok() && receive(self.socket()).is_some()
    }

    pub(crate) fn socket(&self) -> &OwnedFd {
        self.socket.as_ref().expect("open until it is dropped")
    }

    pub(crate) fn ask(&mut self, what: request::What, descriptors: &[&OwnedFd]) -> (reply::What, Vec<OwnedFd>) {
        self.serial += 1;
        let bytes = Request { serial: self.serial, what: Some(what) }.encode_to_vec();
        let descriptors: Vec<_> = descriptors.iter().map(|fd| fd.as_fd()).collect();
        packet::send(self.socket(), &bytes, &descriptors).expect("send");
        let packet = receive(self.socket()).expect("the warden lives");
        let reply = Reply::decode(packet.bytes.as_slice()).expect("a reply");
        assert_eq!(reply.serial, self.serial);
        (reply.what.expect("a reply with content"), packet.descriptors)
    }

    pub(crate) fn probe(&mut self) -> Probed {
        match self.ask(request::What::Probe(Probe {}), &[]).0 {
            reply::What::Probed(probed) => probed,
            other => panic!("{other:?}"),
        }
    }

    /// Starts the run of `plan`, whose state folder is made here when it has none.
    pub(crate) fn launch(&mut self, mut plan: LaunchPlan) -> Result<Run, Refused> {
        let folder = std::sync::Arc::new(tempfile::tempdir().expect("a folder"));
        let state = if plan.state_dir.is_empty() {
            let state = folder.path().join("state");
            fs::create_dir(&state).expect("state folder");
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
            chown(&state, self.user, self.user).expect("chown");
            plan.state_dir = state.display().to_string();
            state
        } else {
            PathBuf::from(&plan.state_dir)
        };
        if plan.run_id.is_empty() {
            plan.run_id = unique_id();
        }
        let file = memory_file(&plan);
        match self.ask(request::What::Launch(Launch {}), &[&file]) {
            (reply::What::Refused(refused), _) => Err(refused),
            (reply::What::Launched(launched), mut descriptors) => {
                let control = descriptors.remove(0);
                let id = plan.run_id;
                Ok(Run {
                    launched,
                    control,
                    descriptors,
                    state,
                    id,
                    terminal: None,
                    started: false,
                    told: 0,
                    stdin_passed: 0,
                    _folder: folder,
                })
            }
            other => panic!("{other:?}"),
        }
    }

    /// Asks for a launch without waiting for the reply.
    pub(crate) fn request(&mut self, plan: &LaunchPlan) {
        self.serial += 1;
        let bytes = Request { serial: self.serial, what: Some(request::What::Launch(Launch {})) }.encode_to_vec();
        packet::send(self.socket(), &bytes, &[memory_file(plan).as_fd()]).expect("send");
    }

    /// Whether a reply lies in the socket.
    pub(crate) fn replied(&self) -> bool {
        matches!(packet::receive(self.socket(), &mut Vec::new()), Ok(Some(_)))
    }

    pub(crate) fn remove(&mut self, run: &str) -> Removed {
        match self.ask(request::What::RemoveCgroup(RemoveCgroup { run_id: run.into() }), &[]).0 {
            reply::What::Removed(removed) => removed,
            other => panic!("{other:?}"),
        }
    }

    /// Runs `script` with `/bin/sh` to its end.
    pub(crate) fn sh(&mut self, script: &str) -> Outcome {
        self.finish(shell(script))
    }

    /// Runs `plan` to its end and removes its cgroup.
    pub(crate) fn finish(&mut self, plan: LaunchPlan) -> Outcome {
        let mut run = self.launch(plan).unwrap_or_else(|refused| panic!("refused: {refused:?}"));
        let ended = run.wait();
        let removed = self.remove(&run.id);
        Outcome { output: String::from_utf8_lossy(&run.output()).into_owned(), ended, removed }
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        self.socket = None;
        let _ended = self.child.wait();
    }
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) output: String,
    pub(crate) ended: Ended,
    pub(crate) removed: Removed,
}

impl Run {
    pub(crate) fn send(&self, what: to_init::What) {
        packet::send(&self.control, &ToInit { what: Some(what) }.encode_to_vec(), &[]).expect("send");
    }

    pub(crate) fn stop(&self, grace_ms: u64) {
        self.send(to_init::What::Stop(Stop { signal: 0, grace_ms }));
    }

    /// Receives one message; `None` when init is gone.
    pub(crate) fn next(&mut self) -> Option<from_init::What> {
        let packet = receive(&self.control)?;
        let what = FromInit::decode(packet.bytes.as_slice()).expect("a message").what.expect("content");
        match &what {
            from_init::What::Started(_) => {
                self.started = true;
                self.terminal = packet.descriptors.into_iter().next();
            }
            from_init::What::Output(told) => self.told = *told,
            from_init::What::StdinPassed(passed) => self.stdin_passed = *passed,
            _ => {}
        }
        Some(what)
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> Ended {
        loop {
            match self.next() {
                Some(from_init::What::Ended(ended)) => return ended,
                Some(_) => {}
                None => panic!("init is gone without an end"),
            }
        }
    }

    /// Waits until the output contains `text`.
    pub(crate) fn wait_for(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.output()).contains(text) {
            match self.next() {
                Some(from_init::What::Ended(ended)) => panic!("ended without {text}: {ended:?}"),
                Some(_) => {}
                None => panic!("init is gone"),
            }
        }
    }

    pub(crate) fn output(&self) -> Vec<u8> {
        fs::read(self.state.join("output")).expect("output")
    }

    /// Waits until init is gone with everything it had open.
    pub(crate) fn gone(&mut self) {
        while self.next().is_some() {}
        let init = rustix::process::Pid::from_raw(self.launched.init_pid).expect("a process id");
        if let Ok(init) = rustix::process::pidfd_open(init, rustix::process::PidfdFlags::empty()) {
            let limit = Timespec { tv_sec: LIMIT, tv_nsec: 0 };
            poll(&mut [PollFd::new(&init, PollFlags::IN)], Some(&limit)).expect("poll");
        }
    }
}

/// The warden's program at a place that `user` can execute.
fn program_for(user: Option<u32>) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_stoa-warden"));
    if user.is_none() {
        return built.to_owned();
    }
    // The build folder may lie in a home that only its owner can enter.
    static COPY: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let copy = COPY.get_or_init(|| {
        let folder = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().expect("folder");
        let copy = folder.keep().join("stoa-warden");
        fs::copy(built, &copy).expect("copy");
        copy
    });
    copy.clone()
}

fn memory_file(plan: &LaunchPlan) -> OwnedFd {
    let file = memfd_create(c"plan", MemfdFlags::CLOEXEC).expect("memfd");
    rustix::io::write(&file, &plan.encode_to_vec()).expect("write");
    file
}

pub(crate) fn unique_id() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("t-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A plan that runs `argv`.
pub(crate) fn plan(argv: &[&str]) -> LaunchPlan {
    LaunchPlan {
        argv: argv.iter().map(ToString::to_string).collect(),
        env: vec!["PATH=/usr/local/bin:/usr/bin:/bin".into(), "HOME=/nonexistent".into()],
        cwd: "/".into(),
        grace_ms: 2000,
        hostname: "stoa-test".into(),
        attempt: 1,
        ..LaunchPlan::default()
    }
}

pub(crate) fn shell(script: &str) -> LaunchPlan {
    plan(&["/bin/sh", "-c", script])
}

pub(crate) fn step(kind: Kind, source: &str, target: &str) -> MountStep {
    MountStep { kind: kind.into(), source: source.into(), target: target.into(), optional: false }
}

pub(crate) fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The users a test is to be run as: the present one, and a stranger when the present one is root.
pub(crate) fn users() -> Vec<Option<u32>> {
    if root() {
        return vec![None, Some(STRANGER)];
    }
    eprintln!("skipped: only root can test as another user too");
    vec![None]
}
