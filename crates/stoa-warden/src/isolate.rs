//! Builds the world that a run sees, step by step, inside its new namespaces. Every step fails closed and is named.
//!
//! One tmpfs gives all folders that are private to the run; each is a subfolder of it bound to its place.

use crate::host::Level;
use rustix::fs::{Mode, OFlags, fstat, mkdirat, openat, symlinkat};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use stoa_proto::warden::{LaunchPlan, MountStep, mount_step::Kind};
use stoa_sys::landlock::{Access, Rules};
use stoa_sys::mount::{self, Attributes};
use stoa_sys::{Errno, process};

/// A step that failed.
#[derive(Debug)]
pub(crate) struct Broken {
    /// What was being done: `mount /proc`.
    pub(crate) what: String,
    /// Why it failed.
    pub(crate) errno: Errno,
}

/// Names the step an error happened in.
pub(crate) trait Doing<T> {
    fn doing(self, what: &str) -> Result<T, Broken>;
}

impl<T> Doing<T> for stoa_sys::Result<T> {
    fn doing(self, what: &str) -> Result<T, Broken> {
        self.map_err(|errno| Broken { what: what.to_owned(), errno })
    }
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, what: &str) -> Result<T, Broken> {
        self.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)).doing(what)
    }
}

/// Parts of `/proc` that can be written as user 0 and reach beyond the run.
const PROC_READ_ONLY: [&str; 5] = ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"];
/// Files and folders that tell about the machine what a run need not know, hidden.
const MASKED: [&str; 14] = [
    "/proc/kcore",
    "/proc/keys",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/acpi",
    "/proc/asound",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
    "/sys/kernel/security",
    "/sys/fs/bpf",
    "/sys/fs/pstore",
];
/// Device nodes that every run has.
const NODES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];
/// What stays visible of `/run`: name resolution, and where NixOS keeps its system.
const KEPT_OF_RUN: [&str; 5] = [
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager/resolv.conf",
    "/run/current-system",
    "/run/opengl-driver",
];
const PRIVATE_TEMPORARY: [(&str, &str); 3] = [("tmp", "/tmp"), ("vartmp", "/var/tmp"), ("shm", "/dev/shm")];

/// Maps the user and group of the caller to themselves, and nobody else.
fn identity(uid: u32, gid: u32) -> Result<(), Broken> {
    fs::write("/proc/self/setgroups", "deny").doing("deny setgroups")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).doing("map the user")?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).doing("map the group")
}

/// The view under construction.
pub(crate) struct View {
    root: OwnedFd,
    scratch: OwnedFd,
    made: u32,
    /// Hidden folders, which become read-only when all mount points in them are made.
    hidden: Vec<OwnedFd>,
    /// What every run may do; the plan adds its places.
    rules: Option<Rules>,
}

impl View {
    /// Everything that is the same for every run.
    pub(crate) fn base(private_network: bool, abi: Option<u32>) -> Result<Self, Broken> {
        let mut view = Self::new()?;
        view.proc()?;
        view.private_folders()?;
        view.devices()?;
        view.run(private_network)?;
        view.rules = abi.map(|abi| rules(abi, |path| view.inside(path))).transpose()?;
        Ok(view)
    }

    /// Adds what `plan` says and makes the view the root. Answers the Landlock rules for it, not in force yet.
    /// `groups` are the run's cgroup folders with the mount points of their hierarchies.
    pub(crate) fn enter(mut self, plan: &LaunchPlan, groups: &[(String, String)]) -> Result<Option<Rules>, Broken> {
        for path in &plan.devices {
            self.bind(path, path, None, false)?;
        }
        for (folder, mount_point) in groups {
            self.bind(folder, mount_point, Some(Attributes::READ_ONLY), false)?;
        }
        for step in &plan.mounts {
            self.step(step)?;
        }
        self.hide_state(plan)?;
        for folder in &self.hidden {
            mount::add_attributes(folder.as_fd(), Attributes::READ_ONLY, false).doing("close hidden folders")?;
        }
        if let Some(rules) = &self.rules {
            allow_plan(rules, plan, |path| self.inside(path))?;
        }
        mount::enter(self.root.as_fd()).doing("make the view the root")?;
        Ok(self.rules)
    }

    fn new() -> Result<Self, Broken> {
        const WHAT: &str = "make the read-only view of the system";
        mount::make_private().doing("detach mount propagation")?;
        let attributes = Attributes::NO_SUID.and(Attributes::NO_DEVICES);
        let scratch = mount::new_file_system("tmpfs", &[("mode", "0755")], attributes).doing("mount a tmpfs")?;
        let root = mount::copy(mount::outside("/").doing(WHAT)?.as_fd(), true).doing(WHAT)?;
        mount::add_attributes(root.as_fd(), attributes.and(Attributes::READ_ONLY), true).doing(WHAT)?;
        mount::attach_over_root(scratch.as_fd()).doing("mount a tmpfs")?;
        mount::attach_over_root(root.as_fd()).doing(WHAT)?;
        Ok(Self { root, scratch, made: 0, hidden: Vec::new(), rules: None })
    }

    fn inside(&self, path: &str) -> stoa_sys::Result<OwnedFd> {
        mount::inside(self.root.as_fd(), path)
    }

    /// Binds a fresh empty folder to `place`.
    fn fresh(&mut self, mode: u32, place: BorrowedFd<'_>) -> stoa_sys::Result<OwnedFd> {
        let name = self.made.to_string();
        self.made += 1;
        mkdirat(&self.scratch, &name, Mode::from(mode))?;
        let folder = openat(&self.scratch, &name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let tree = mount::copy(folder.as_fd(), false)?;
        mount::attach(tree.as_fd(), place)?;
        Ok(tree)
    }

    /// Binds `source`, a path outside, to `target`. `optional`: nothing happens when the source does not exist.
    fn bind(&self, source: &str, target: &str, attributes: Option<Attributes>, optional: bool) -> Result<(), Broken> {
        let what = || format!("bind {source} to {target}");
        let from = match mount::outside(source) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) if optional => return Ok(()),
            found => found.doing(&what())?,
        };
        let folder = mount::is_folder(from.as_fd()).doing(&what())?;
        let tree = mount::copy(from.as_fd(), true).doing(&what())?;
        if let Some(attributes) = attributes {
            mount::add_attributes(tree.as_fd(), attributes, true).doing(&what())?;
        }
        let place = match mount::mount_point(self.root.as_fd(), target, folder) {
            Err(Errno::ROFS | Errno::ACCESS | Errno::PERM) => {
                let what = format!("bind {source}: {target} does not exist and cannot be made in the read-only view");
                return Err(Broken { what, errno: Errno::NOENT });
            }
            place => place.doing(&what())?,
        };
        mount::attach(tree.as_fd(), place.as_fd()).doing(&what())
    }

    /// Hides a file or folder; nothing happens when it does not exist.
    fn hide(&mut self, path: &str) -> Result<(), Broken> {
        let what = || format!("hide {path}");
        let place = match self.inside(path) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => return Ok(()),
            found => found.doing(&what())?,
        };
        if mount::is_folder(place.as_fd()).doing(&what())? {
            let folder = self.fresh(0o755, place.as_fd()).doing(&what())?;
            self.hidden.push(folder);
            return Ok(());
        }
        let null = mount::outside("/dev/null").doing(&what())?;
        let tree = mount::copy(null.as_fd(), false).doing(&what())?;
        mount::add_attributes(tree.as_fd(), Attributes::READ_ONLY, false).doing(&what())?;
        mount::attach(tree.as_fd(), place.as_fd()).doing(&what())
    }

    /// Hides the folder of the run's files wherever a mount shows it.
    fn hide_state(&mut self, plan: &LaunchPlan) -> Result<(), Broken> {
        let state = match mount::outside(&plan.state_dir) {
            Err(Errno::NOENT) => return Ok(()),
            found => fstat(found.doing("hide the files of the run")?).doing("hide the files of the run")?,
        };
        let shown = plan.mounts.iter().filter_map(|step| {
            let below = Path::new(&plan.state_dir).strip_prefix(&step.source).ok()?;
            (!step.source.is_empty()).then(|| Path::new(&step.target).join(below).display().to_string())
        });
        for path in shown.chain([plan.state_dir.clone()]) {
            let same =
                |place: OwnedFd| fstat(place).is_ok_and(|at| (at.st_dev, at.st_ino) == (state.st_dev, state.st_ino));
            if self.inside(&path).is_ok_and(same) {
                self.hide(&path)?;
            }
        }
        Ok(())
    }

    fn proc(&mut self) -> Result<(), Broken> {
        const WHAT: &str = "mount /proc";
        let attributes = Attributes::NO_SUID.and(Attributes::NO_DEVICES).and(Attributes::NO_EXEC);
        // What a process may not trace it does not see either: init among others. Kernels before 5.8 lack the option.
        let proc = match mount::new_file_system("proc", &[("hidepid", "ptraceable")], attributes) {
            Err(Errno::INVAL) => mount::new_file_system("proc", &[], attributes),
            made => made,
        };
        let place = self.inside("/proc").doing(WHAT)?;
        mount::attach(proc.doing(WHAT)?.as_fd(), place.as_fd()).doing(WHAT)?;
        for path in PROC_READ_ONLY {
            let what = || format!("make {path} read-only");
            let place = match self.inside(path) {
                Err(Errno::NOENT) => continue,
                found => found.doing(&what())?,
            };
            let tree = mount::copy(place.as_fd(), false).doing(&what())?;
            mount::add_attributes(tree.as_fd(), Attributes::READ_ONLY, false).doing(&what())?;
            mount::attach(tree.as_fd(), place.as_fd()).doing(&what())?;
        }
        MASKED.into_iter().try_for_each(|path| self.hide(path))
    }

    fn private_folders(&mut self) -> Result<(), Broken> {
        for path in ["/dev", "/run"] {
            let what = format!("mount a private {path}");
            match self.inside(path) {
                Err(Errno::NOENT) => continue,
                place => self.fresh(0o755, place.doing(&what)?.as_fd()).doing(&what)?,
            };
        }
        for (_, path) in PRIVATE_TEMPORARY {
            let what = format!("mount a private {path}");
            let place = match mount::mount_point(self.root.as_fd(), path, true) {
                Err(Errno::ROFS) => continue,
                place => place.doing(&what)?,
            };
            self.fresh(0o1777, place.as_fd()).doing(&what)?;
        }
        Ok(())
    }

    fn devices(&self) -> Result<(), Broken> {
        for path in NODES {
            self.bind(path, path, None, false)?;
        }
        let folder = self.inside("/dev").doing("fill /dev")?;
        for (target, name) in DEVICE_LINKS {
            symlinkat(target, &folder, name).doing("fill /dev")?;
        }
        const WHAT: &str = "mount /dev/pts";
        let place = mount::mount_point(self.root.as_fd(), "/dev/pts", true).doing(WHAT)?;
        let attributes = Attributes::NO_SUID.and(Attributes::NO_EXEC);
        let options = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")];
        let terminals = mount::new_file_system("devpts", &options, attributes).doing(WHAT)?;
        mount::attach(terminals.as_fd(), place.as_fd()).doing(WHAT)
    }

    fn run(&self, private_network: bool) -> Result<(), Broken> {
        let names = if private_network { &KEPT_OF_RUN[3..] } else { &KEPT_OF_RUN[..] };
        let attributes = Attributes::READ_ONLY.and(Attributes::NO_SUID).and(Attributes::NO_DEVICES);
        names.iter().try_for_each(|path| self.bind(path, path, Some(attributes), true))
    }

    fn step(&mut self, step: &MountStep) -> Result<(), Broken> {
        let safe = Attributes::NO_SUID.and(Attributes::NO_DEVICES);
        match step.kind() {
            Kind::BindReadOnly => {
                self.bind(&step.source, &step.target, Some(safe.and(Attributes::READ_ONLY)), step.optional)
            }
            Kind::BindWritable => self.bind(&step.source, &step.target, Some(safe), step.optional),
            Kind::Tmpfs => {
                let what = format!("mount a tmpfs on {}", step.target);
                let place = mount::mount_point(self.root.as_fd(), &step.target, true).doing(&what)?;
                self.fresh(0o755, place.as_fd()).doing(&what).map(drop)
            }
            Kind::Hide => self.hide(&step.target),
            Kind::Unspecified => Ok(()),
        }
    }
}

/// Landlock rules for a run that sees the system as it is, for want of namespaces.
pub(crate) fn rules_without_view(plan: &LaunchPlan, abi: u32) -> Result<Rules, Broken> {
    let rules = rules(abi, mount::outside)?;
    allow_plan(&rules, plan, mount::outside)?;
    Ok(rules)
}

/// Read and execute everything; write only what is private. `find` resolves a path as the run sees it.
fn rules(abi: u32, find: impl Fn(&str) -> stoa_sys::Result<OwnedFd>) -> Result<Rules, Broken> {
    let rules = Rules::new(abi).doing("make Landlock rules")?;
    for (path, access) in [("/", Access::Read), ("/dev", Access::Use), ("/proc", Access::Use)] {
        allow(&rules, path, access, &find)?;
    }
    for (_, path) in PRIVATE_TEMPORARY {
        allow(&rules, path, Access::Write, &find)?;
    }
    Ok(rules)
}

/// Lets the run write where the plan says.
fn allow_plan(
    rules: &Rules,
    plan: &LaunchPlan,
    find: impl Fn(&str) -> stoa_sys::Result<OwnedFd>,
) -> Result<(), Broken> {
    let binds = plan.mounts.iter().filter(|step| step.kind() == Kind::BindWritable).map(|step| &step.target);
    binds.chain(&plan.writable).try_for_each(|path| allow(rules, path, Access::Write, &find))
}

/// What does not exist needs no rule.
fn allow(
    rules: &Rules,
    path: &str,
    access: Access,
    find: impl Fn(&str) -> stoa_sys::Result<OwnedFd>,
) -> Result<(), Broken> {
    let what = || format!("make a Landlock rule for {path}");
    match find(path) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
        place => rules.allow(place.doing(&what())?, access).doing(&what()),
    }
}

/// What comes before the view: identity and network.
pub(crate) fn enter_namespaces(level: Level, user: (u32, u32), private_network: bool) -> Result<(), Broken> {
    if level == Level::Full {
        identity(user.0, user.1)?;
    }
    if private_network {
        process::loopback_up().doing("switch the loopback device on")?;
    }
    Ok(())
}
