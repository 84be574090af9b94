//! The warden's side of a launch: files of the run, its cgroup, its pipes, and the order to its init.

use crate::host::Host;
use crate::order::Files;
use crate::plan;
use crate::refusal::{BadPlan, CgroupFailed, Refusal};
use crate::spare::Spares;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, fcntl_setfl, flock, openat, unlinkat};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use rustix::pipe::{PipeFlags, pipe_with};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use stoa_proto::warden::{CgroupLimits, LaunchPlan, Launched};
use stoa_sys::cgroup::{Entry, Group, Limits};
use stoa_sys::{Errno, exit_record, packet};

/// A run that was started.
pub(crate) struct Started {
    pub(crate) launched: Launched,
    /// What the daemon gets: control socket, read ends of standard output and standard error.
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Starts the run of the plan in `file` in a spare init.
pub(crate) fn launch(host: &Host, spares: &mut Spares, file: Option<OwnedFd>) -> Result<Started, Refusal> {
    let file = file.ok_or(Refusal::Plan { run: String::new(), source: BadPlan::Missing })?;
    let plan = plan::read(&file)?;
    let mechanisms = host.enforce(&plan)?;
    let (near, far) = packet::pair().map_err(Refusal::Descriptors)?;
    let mut files = open(&plan, file, near)?;
    let group = group(host, &plan)?;
    let cgroups = group.folders().map(|folder| folder.display().to_string()).collect();
    let started = group.entry().map_err(Refusal::Descriptors).and_then(|entry| {
        files.cgroup = entry;
        let (order, descriptors) = files.pack(group.mounted());
        spares.order(host, plan.private_network, &order, &descriptors)
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
    Ok(Started { launched, descriptors })
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
fn open(plan: &LaunchPlan, plan_file: OwnedFd, control: OwnedFd) -> Result<Files, Refusal> {
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
    let (output, index) = (file("output")?, file("output.index")?);
    // Only the side of init never waits; the program's blocks as every pipe does.
    let pipe = || {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(Refusal::Descriptors)?;
        fcntl_setfl(&read, OFlags::NONBLOCK).map_err(Refusal::Descriptors)?;
        Ok::<_, Refusal>((read, write))
    };
    let pipes = if plan.terminal.is_some() { None } else { Some([pipe()?, pipe()?]) };
    Ok(Files { plan: plan_file, lock, listener, control, exit, output, index, pipes, cgroup: Entry::default() })
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
