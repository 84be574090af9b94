//! The warden's side of a launch: files of the run, its cgroup, pipes, and the fork of its init.

use crate::host::Host;
use crate::init;
use crate::plan;
use crate::refusal::{CgroupFailed, Refusal};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat, unlinkat};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use rustix::pipe::{PipeFlags, pipe_with};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use stoa_proto::warden::{CgroupLimits, LaunchPlan, Launched};
use stoa_sys::cgroup::{Entry, Group, Limits};
use stoa_sys::process::{Fork, Pid, fork, namespace};
use stoa_sys::{Errno, exit_record, packet};

/// The descriptors of a run that its init works with.
pub(crate) struct Files {
    /// Locked as long as the run lives; held, never used.
    pub(crate) lock: OwnedFd,
    pub(crate) listener: OwnedFd,
    pub(crate) control: OwnedFd,
    pub(crate) exit: OwnedFd,
    pub(crate) output: OwnedFd,
    pub(crate) index: OwnedFd,
    pub(crate) null: OwnedFd,
    /// Read and write ends of standard output and standard error; none with a terminal.
    pub(crate) pipes: Option<[(OwnedFd, OwnedFd); 2]>,
    pub(crate) cgroup: Entry,
}

impl Files {
    /// Every descriptor in it.
    pub(crate) fn numbers(&self) -> Vec<i32> {
        let single = [&self.lock, &self.listener, &self.control, &self.exit, &self.output, &self.index, &self.null];
        let pipes = self.pipes.iter().flatten().flat_map(|(read, write)| [read, write]);
        let cgroup = self.cgroup.tasks.iter().chain(&self.cgroup.unified);
        single.into_iter().chain(pipes).chain(cgroup).map(AsRawFd::as_raw_fd).collect()
    }
}

/// A run that was started.
pub(crate) struct Started {
    pub(crate) launched: Launched,
    /// What the daemon gets: control socket, read ends of standard output and standard error.
    pub(crate) descriptors: Vec<OwnedFd>,
    pub(crate) init: Pid,
}

/// Starts the run of the plan in `file`. Returns only in the warden.
pub(crate) fn launch(host: &Host, file: Option<&OwnedFd>) -> Result<Started, Refusal> {
    let plan = match file {
        Some(file) => plan::read(file)?,
        None => return Err(Refusal::Plan { run: String::new(), source: crate::refusal::BadPlan::Missing }),
    };
    let mechanisms = host.enforce(&plan)?;
    let (near, far) = packet::pair().map_err(Refusal::Descriptors)?;
    let mut files = open(&plan, near)?;
    let group = group(host, &plan)?;
    let cgroups = group.folders().map(|folder| folder.display().to_string()).collect();
    let started = group.entry().map_err(Refusal::Descriptors).and_then(|entry| {
        files.cgroup = entry;
        start(host, &plan, &files, &group)
    });
    let init = match started {
        Ok(init) => init,
        Err(refusal) => {
            for folder in group.folders() {
                let _kept = stoa_sys::cgroup::remove(folder);
            }
            return Err(refusal);
        }
    };
    let mut descriptors = vec![far];
    descriptors.extend(files.pipes.into_iter().flatten().map(|(read, _)| read));
    let launched = Launched { init_pid: init.as_raw_nonzero().get(), mechanisms, cgroups };
    Ok(Started { launched, descriptors, init })
}

fn start(host: &Host, plan: &LaunchPlan, files: &Files, group: &Group) -> Result<Pid, Refusal> {
    let mut namespaces = host.level.namespaces();
    if plan.private_network && namespaces != 0 {
        namespaces |= namespace::NETWORK;
    }
    match fork(namespaces).map_err(Refusal::Fork)? {
        Fork::Parent { child, .. } => Ok(child),
        Fork::Child => init::main(host, plan, files, group),
    }
}

fn group(host: &Host, plan: &LaunchPlan) -> Result<Group, Refusal> {
    let CgroupLimits { cpu_thousandths, memory_bytes, pids } = plan.limits.unwrap_or_default();
    let limits = Limits {
        cpu: (cpu_thousandths > 0).then_some(cpu_thousandths),
        memory: (memory_bytes > 0).then_some(memory_bytes),
        pids: (pids > 0).then_some(pids),
    };
    let made = host.groups.create(&plan::group_name(plan), limits);
    made.map_err(|(path, errno)| Refusal::Cgroup(CgroupFailed { path, errno }))
}

/// Opens and makes the files in the state folder.
fn open(plan: &LaunchPlan, control: OwnedFd) -> Result<Files, Refusal> {
    let state = |name: &str| {
        let path = format!("{}/{name}", plan.state_dir);
        move |source| Refusal::State { path, source }
    };
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(CWD, &plan.state_dir, folder, Mode::empty()).map_err(state(""))?;
    let file = |name: &str| {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        openat(&folder, name, flags, Mode::from(0o600)).map_err(state(name))
    };
    let lock = file("lock")?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
        Errno::WOULDBLOCK => Refusal::Running(plan.run_id.clone()),
        other => state("lock")(other),
    })?;
    let exit = file("exit")?;
    exit_record::reserve(&exit).map_err(state("exit"))?;
    let listener = listener(&folder).map_err(state("control"))?;
    let null = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(state("null"))?;
    let (output, index) = (file("output")?, file("output.index")?);
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(Refusal::Descriptors);
    let pipes = if plan.terminal.is_some() { None } else { Some([pipe()?, pipe()?]) };
    Ok(Files { lock, listener, control, exit, output, index, null, pipes, cgroup: Entry::default() })
}

/// The socket `control` in the state folder, whose whole path may be longer than a socket address.
fn listener(folder: &OwnedFd) -> Result<OwnedFd, Errno> {
    match unlinkat(folder, "control", rustix::fs::AtFlags::empty()) {
        Err(Errno::NOENT) => {}
        gone => gone?,
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let path = format!("/proc/self/fd/{}/control", folder.as_fd().as_raw_fd());
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, 8)?;
    Ok(socket)
}
