//! What this host can enforce, found once by trying, and what that means for a plan.

use crate::isolate::{self, Broken, Doing, View};
use crate::refusal::{Cause, Refusal};
use rustix::process::{getegid, geteuid};
use std::io::{Read, Write};
use stoa_proto::warden::{Enforcement, LaunchPlan, Mechanism};
use stoa_sys::cgroup::{Controller, Groups};
use stoa_sys::process::{Fork, exit_now, fork, namespace};
use stoa_sys::seccomp::Filter;
use stoa_sys::{Errno, landlock, process};

/// How much of the isolation by namespaces works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// All of it.
    Full,
    /// All but the user namespace; only as root.
    NoUser,
    /// None.
    None,
}

impl Level {
    /// The namespaces to fork into, those for the network aside. Cgroup namespaces are entered by the program itself.
    pub(crate) fn namespaces(self) -> u64 {
        let without_user = namespace::MOUNT | namespace::PID | namespace::IPC | namespace::UTS;
        match self {
            Self::Full => without_user | namespace::USER,
            Self::NoUser => without_user,
            Self::None => 0,
        }
    }
}

/// What the host offers.
pub(crate) struct Host {
    pub(crate) level: Level,
    /// Why the level is not [`Level::Full`].
    why: String,
    /// Why no network namespace can be made.
    no_network: Option<String>,
    pub(crate) landlock: Option<u32>,
    pub(crate) seccomp: Option<Filter>,
    pub(crate) groups: Groups,
    pub(crate) user: (u32, u32),
}

impl Host {
    /// Tries everything.
    pub(crate) fn probe() -> Self {
        let user = (geteuid().as_raw(), getegid().as_raw());
        let (level, why) = match try_level(Level::Full, user, false) {
            Ok(()) => (Level::Full, String::new()),
            Err(why) if user.0 == 0 && try_level(Level::NoUser, user, false).is_ok() => (Level::NoUser, why),
            Err(why) => (Level::None, why),
        };
        let no_network = if level == Level::None { None } else { try_level(level, user, true).err() };
        let filter = Filter::standard();
        let seccomp = try_seccomp(&filter).is_ok().then_some(filter);
        Self { level, why, no_network, landlock: landlock::abi(), seccomp, groups: Groups::detect(), user }
    }

    /// Every mechanism as `plan` asks for it.
    pub(crate) fn mechanisms(&self, plan: &LaunchPlan) -> Vec<Mechanism> {
        let full = self.level == Level::Full;
        let any = self.level != Level::None;
        let mut list = vec![entry("user-namespace", true, full.then(String::new).ok_or_else(|| self.why.clone()))];
        let names = [
            "mount-namespace",
            "pid-namespace",
            "ipc-namespace",
            "uts-namespace",
            "cgroup-namespace",
            "read-only-system",
            "private-tmp",
        ];
        let namespaces = |name| entry(name, true, any.then(String::new).ok_or_else(|| self.why.clone()));
        list.extend(names.map(namespaces));
        let network = match (&self.no_network, any) {
            (Some(why), _) => Err(why.clone()),
            (None, false) => Err(self.why.clone()),
            (None, true) => Ok(String::new()),
        };
        list.push(entry("network-namespace", plan.private_network, network));
        let root_with_all = !any && self.user.0 == 0;
        let capabilities = if root_with_all {
            Ok("all dropped, but files of user 0 stay writable".into())
        } else {
            Ok("all dropped".into())
        };
        list.push(entry("capabilities", true, capabilities));
        list.push(entry("no-new-privileges", true, Ok(String::new())));
        let landlock = self.landlock.map(landlock_detail);
        list.push(entry("landlock", true, landlock.ok_or_else(|| "this kernel has no Landlock".into())));
        let seccomp = self.seccomp.is_some().then(|| "allow-list".into());
        list.push(entry("seccomp", true, seccomp.ok_or_else(|| "this kernel takes no seccomp filter".into())));
        list.extend(self.limits(plan));
        list
    }

    fn limits(&self, plan: &LaunchPlan) -> Vec<Mechanism> {
        let asked = plan.limits.unwrap_or_default();
        let can = |controller| self.groups.can(controller).map(str::to_owned);
        let mut pids = can(Controller::Pids);
        // The kernel counts processes of user 0 of the first user namespace, but does not stop them at RLIMIT_NPROC.
        if pids.is_err() && self.level == Level::Full && self.user.0 != 0 {
            pids = Ok("RLIMIT_NPROC".into());
        }
        vec![
            entry("cpu-limit", asked.cpu_thousandths > 0, can(Controller::Cpu)),
            entry("memory-limit", asked.memory_bytes > 0, can(Controller::Memory)),
            entry("process-limit", asked.pids > 0, pids),
            entry("time-limit", plan.time_limit_ms > 0, Ok("timer".into())),
        ]
    }

    /// The mechanisms of a run by `plan`, or why it is refused.
    pub(crate) fn enforce(&self, plan: &LaunchPlan) -> Result<Vec<Mechanism>, Refusal> {
        let list = self.mechanisms(plan);
        let lacking = list.iter().find(|mechanism| mechanism.enforcement() == Enforcement::Degraded);
        let Some(lacking) = lacking.filter(|_| !plan.allow_degraded) else { return Ok(list) };
        Err(Refusal::Unenforced {
            mechanism: NAMES.into_iter().find(|name| *name == lacking.name).unwrap_or("isolation"),
            source: Cause(lacking.detail.clone()),
            remedy: self.remedy(&lacking.name),
        })
    }

    /// What makes `mechanism` work.
    fn remedy(&self, mechanism: &str) -> String {
        match mechanism {
            "landlock" => "boot a kernel from 5.13 on with `landlock` in its `lsm=` list".into(),
            "seccomp" => "boot a kernel with CONFIG_SECCOMP_FILTER".into(),
            "cpu-limit" | "memory-limit" | "process-limit" if self.user.0 == 0 => {
                "make the cgroup file system writable (in a container: `--cgroupns=private -v /sys/fs/cgroup:/sys/fs/cgroup:rw`)".into()
            }
            "cpu-limit" | "memory-limit" | "process-limit" => {
                "start the daemon in a delegated scope: `systemd-run --user --scope -p Delegate=yes stoa daemon start`".into()
            }
            _ => namespaces_remedy(|path| std::fs::read_to_string(path).ok()),
        }
    }
}

/// All names, for messages.
const NAMES: [&str; 16] = [
    "user-namespace",
    "mount-namespace",
    "pid-namespace",
    "ipc-namespace",
    "uts-namespace",
    "cgroup-namespace",
    "network-namespace",
    "read-only-system",
    "private-tmp",
    "landlock",
    "seccomp",
    "cpu-limit",
    "memory-limit",
    "process-limit",
    "time-limit",
    "capabilities",
];

/// What lets this user make namespaces, by what the kernel's settings say.
fn namespaces_remedy(read: impl Fn(&str) -> Option<String>) -> String {
    let is = |path: &str, value: &str| read(path).is_some_and(|text| text.trim() == value);
    if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        return "allow it: `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu's AppArmor rule)"
            .into();
    }
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return "allow it: `sudo sysctl -w kernel.unprivileged_userns_clone=1`".into();
    }
    if is("/proc/sys/user/max_user_namespaces", "0") {
        return "allow it: `sudo sysctl -w user.max_user_namespaces=15000`".into();
    }
    if read("/.dockerenv").is_some() || read("/run/.containerenv").is_some() {
        return "start the container with `--security-opt seccomp=unconfined --security-opt systempaths=unconfined`"
            .into();
    }
    "allow user namespaces for this user, or start the daemon as root".into()
}

/// The ABI, and what older ones do not cover.
fn landlock_detail(abi: u32) -> String {
    let lacks = match abi {
        ..=2 => ": truncating read-only files is left to the mounts, abstract sockets of the host can be reached",
        3..=5 => ": abstract sockets of the host can be reached",
        _ => "",
    };
    format!("ABI {abi}{lacks}")
}

fn entry(name: &str, asked: bool, state: Result<String, String>) -> Mechanism {
    let (enforcement, detail) = match (asked, state) {
        (false, _) => (Enforcement::NotAsked, String::new()),
        (true, Ok(how)) => (Enforcement::InForce, how),
        (true, Err(why)) => (Enforcement::Degraded, why),
    };
    Mechanism { name: name.into(), enforcement: enforcement.into(), detail }
}

/// Carries the whole set-up out in a child.
fn try_level(level: Level, user: (u32, u32), private_network: bool) -> Result<(), String> {
    let plan = LaunchPlan { state_dir: "/nonexistent".into(), ..LaunchPlan::default() };
    let network = if private_network { namespace::NETWORK } else { 0 };
    trial(level.namespaces() | network, || {
        isolate::enter_namespaces(level, user, private_network)?;
        rustix::system::sethostname(b"stoa").doing("set the host name")?;
        View::base(private_network, landlock::abi())?.enter(&plan, &[])?;
        process::drop_bounding_set().doing("drop capabilities")?;
        process::unshare_cgroup().doing("make a cgroup namespace")?;
        process::drop_capabilities().doing("drop capabilities")
    })
}

fn try_seccomp(filter: &Filter) -> Result<(), String> {
    trial(0, || {
        rustix::thread::set_no_new_privs(true).doing("set no_new_privs")?;
        filter.install().doing("install a seccomp filter")
    })
}

/// Runs `attempt` in a child and answers what it failed at.
fn trial(namespaces: u64, attempt: impl FnOnce() -> Result<(), Broken>) -> Result<(), String> {
    let Ok((mut read, mut write)) = std::io::pipe() else { return Err("no descriptor is left".into()) };
    match fork(namespaces) {
        Err(errno) => Err(format!("a process in new namespaces is refused: {errno}")),
        Ok(Fork::Child) => {
            process::block_signals(true);
            rustix::process::umask(rustix::fs::Mode::empty());
            if let Err(Broken { what, errno }) = attempt() {
                let _unread = write.write_all(format!("cannot {what}: {errno}").as_bytes());
                exit_now(1);
            }
            exit_now(0)
        }
        Ok(Fork::Parent { child, .. }) => {
            drop(write);
            let mut text = String::new();
            let read = read.read_to_string(&mut text);
            let status = stoa_sys::packet::retry(|| {
                rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty())
            });
            let good = matches!(status, Ok(Some((_, status))) if status.exit_status() == Some(0));
            match (good, read.is_ok() && !text.is_empty()) {
                (true, _) => Ok(()),
                (false, true) => Err(text),
                (false, false) => Err(format!("a trial process ended early: {}", Errno::CHILD)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_names_the_setting_that_is_in_the_way() {
        let with = |path: &'static str, value: &'static str| {
            namespaces_remedy(move |asked| (asked == path).then(|| format!("{value}\n")))
        };
        assert!(with("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1").contains("apparmor"));
        assert!(with("/proc/sys/user/max_user_namespaces", "0").contains("max_user_namespaces=15000"));
        assert!(with("/.dockerenv", "").contains("--security-opt"));
        assert!(with("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "0").contains("as root"));
    }

    #[test]
    fn what_is_not_asked_for_is_never_lacking() {
        let list = entry("memory-limit", false, Err("no".into()));
        assert_eq!(list.enforcement(), Enforcement::NotAsked);
        assert_eq!(entry("memory-limit", true, Err("no".into())).enforcement(), Enforcement::Degraded);
    }
}
