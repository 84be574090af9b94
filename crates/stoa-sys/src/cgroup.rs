//! Control groups, version 1 and 2, chosen for each controller by what is mounted.
//!
//! Every run gets a group `stoa/<name>` in each hierarchy that is used, below the group of the calling process (version 1, and
//! version 2 without root) or at the visible root (version 2 as root). Version 2 allows processes only in leaves, so the
//! processes of the own group move to `stoa-daemon` beside it when the kernel asks for it.

use crate::{Errno, Result};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// What a group can limit or count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
    /// Processes and threads.
    Pids,
}

impl Controller {
    const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];
    /// Its name in the kernel.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }
}

/// Limits; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Thousandths of a processor.
    pub cpu: Option<u32>,
    /// Bytes, swap included.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

/// What a group has counted; zero where it did not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// The most memory at a time, in bytes.
    pub peak_memory: u64,
    /// Processes killed at the memory limit.
    pub oom_kills: u64,
    /// Forks refused at the process limit.
    pub pids_limit_hits: u64,
    /// Bytes read from storage.
    pub read_bytes: u64,
    /// Bytes written to storage.
    pub written_bytes: u64,
    /// Microseconds in user code.
    pub cpu_user_us: u64,
    /// Microseconds in the kernel.
    pub cpu_system_us: u64,
}

impl From<Counted> for stoa_proto::warden::Removed {
    fn from(counted: Counted) -> Self {
        Self {
            peak_memory: counted.peak_memory,
            oom_kills: counted.oom_kills,
            pids_limit_hits: counted.pids_limit_hits,
            read_bytes: counted.read_bytes,
            written_bytes: counted.written_bytes,
            cpu_user_us: counted.cpu_user_us,
            cpu_system_us: counted.cpu_system_us,
        }
    }
}

impl Counted {
    fn add(&mut self, other: Self) {
        self.peak_memory = self.peak_memory.max(other.peak_memory);
        self.oom_kills += other.oom_kills;
        self.pids_limit_hits += other.pids_limit_hits;
        self.read_bytes += other.read_bytes;
        self.written_bytes += other.written_bytes;
        self.cpu_user_us += other.cpu_user_us;
        self.cpu_system_us += other.cpu_system_us;
    }
}

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    unified: bool,
    controllers: Vec<String>,
    mount_point: PathBuf,
    own: PathBuf,
}

/// The groups of this host that runs can be put in.
#[derive(Debug, Default)]
pub struct Groups {
    /// Folder `stoa`, whether it is of version 2, and its controllers; each controller once.
    bases: Vec<Base>,
    /// Why a controller is missing.
    missing: Vec<(Controller, String)>,
}

#[derive(Debug)]
struct Base {
    folder: PathBuf,
    mount_point: PathBuf,
    unified: bool,
    controllers: Vec<Controller>,
}

/// The group of one run.
#[derive(Debug)]
pub struct Group {
    /// Folder and the mount point of its hierarchy.
    folders: Vec<(PathBuf, PathBuf)>,
    unified: Option<PathBuf>,
}

/// Descriptors by which a process enters a group.
#[derive(Debug, Default)]
pub struct Entry {
    /// Files that take a `0` from each process of version 1.
    pub tasks: Vec<OwnedFd>,
    /// The folder for CLONE_INTO_CGROUP.
    pub unified: Option<OwnedFd>,
}

/// Reads the hierarchies from the texts of `/proc/self/mountinfo` and `/proc/self/cgroup`.
fn parse(mounts: &str, cgroups: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (left, right): (Vec<_>, Vec<_>) = (left.split(' ').collect(), right.split(' ').collect());
        let (&[_, _, _, root, point, ..], &[kind, _, options, ..]) = (left.as_slice(), right.as_slice()) else {
            continue;
        };
        let options: Vec<&str> = options.split(',').collect();
        let member = |fields: &[&str]| match (kind, fields) {
            ("cgroup2", ["0", "", _]) => true,
            ("cgroup", [_, names, _]) => names.split(',').all(|name| options.contains(&name)) && !names.is_empty(),
            _ => false,
        };
        let Some((names, own)) = cgroups.lines().find_map(|line| {
            let fields: Vec<_> = line.splitn(3, ':').collect();
            member(&fields).then(|| (fields[1], fields[2]))
        }) else {
            continue;
        };
        // In a container the mount shows only what lies below `root`.
        let below = Path::new(own).strip_prefix(root).unwrap_or(Path::new(own));
        let own = Path::new(point).join(below.strip_prefix("/").unwrap_or(below));
        let unified = kind == "cgroup2";
        let controllers = names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        found.push(Hierarchy { unified, controllers, mount_point: point.into(), own });
    }
    found
}

/// Where the processes of the own group go, since version 2 allows them only in leaves.
const LEAF: &str = "stoa-daemon";

impl Groups {
    /// Finds what this process can use, and makes the folders `stoa`.
    pub fn detect() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self::among(parse(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup")))
    }

    fn among(mut hierarchies: Vec<Hierarchy>) -> Self {
        let root = rustix::process::geteuid().is_root();
        for hierarchy in hierarchies.iter_mut().filter(|hierarchy| hierarchy.unified) {
            let names = fs::read_to_string(hierarchy.mount_point.join("cgroup.controllers")).unwrap_or_default();
            hierarchy.controllers = names.split_whitespace().map(str::to_owned).collect();
        }
        let mut groups = Self::default();
        for hierarchy in hierarchies {
            let has = |controller: &Controller| hierarchy.controllers.iter().any(|name| name == controller.name());
            let wanted: Vec<_> = Controller::ALL.into_iter().filter(has).collect();
            if wanted.is_empty() {
                continue;
            }
            match if hierarchy.unified { unified_base(&hierarchy, root, &wanted) } else { plain_base(&hierarchy.own) } {
                Ok(folder) => {
                    let Hierarchy { unified, mount_point, .. } = hierarchy;
                    groups.bases.push(Base { folder, mount_point, unified, controllers: wanted });
                }
                Err(why) => groups.missing.extend(wanted.into_iter().map(|controller| (controller, why.clone()))),
            }
        }
        groups
    }

    /// Whether `controller` can be used: how (`cgroup v2`), or why not.
    ///
    /// # Errors
    /// The reason, as a cause for a user.
    pub fn can(&self, controller: Controller) -> std::result::Result<&'static str, String> {
        if let Some(base) = self.bases.iter().find(|base| base.controllers.contains(&controller)) {
            return Ok(if base.unified { "cgroup v2" } else { "cgroup v1" });
        }
        let why = self.missing.iter().find(|(missing, _)| *missing == controller).map(|(_, why)| why.clone());
        Err(why.unwrap_or_else(|| format!("the `{}` controller is not mounted", controller.name())))
    }

    /// Makes the group `name` with `limits`. Controllers that cannot be used are left out: ask [`Groups::can`].
    /// On version 1 a `cpu` group is made only for a limit: the hierarchies of memory and processes count already.
    ///
    /// # Errors
    /// The folder or file and why it could not be made or written. Nothing stays behind.
    pub fn create(&self, name: &str, limits: Limits) -> std::result::Result<Group, (PathBuf, Errno)> {
        let mut group = Group { folders: Vec::new(), unified: None };
        for base in &self.bases {
            if !base.unified && base.controllers == [Controller::Cpu] && limits.cpu.is_none() {
                continue;
            }
            let folder = base.folder.join(name);
            let made = match fs::create_dir(&folder) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
                made => made,
            };
            let limited = made.map_err(|error| (folder.clone(), errno(&error))).and_then(|()| {
                group.folders.push((folder.clone(), base.mount_point.clone()));
                if base.unified {
                    group.unified = Some(folder.clone());
                }
                limit(&folder, base.unified, &base.controllers, limits)
            });
            if let Err(error) = limited {
                for (folder, _) in &group.folders {
                    let _gone = fs::remove_dir(folder);
                }
                return Err(error);
            }
        }
        Ok(group)
    }

    /// The groups whose names begin with `prefix`, of this run of the program or of an earlier one.
    pub fn find(&self, prefix: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for base in &self.bases {
            let entries = fs::read_dir(&base.folder).into_iter().flatten().flatten();
            found.extend(
                entries
                    .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
                    .map(|entry| entry.path())
                    .filter(|path| path.is_dir()),
            );
        }
        found
    }
}

impl Group {
    /// Its folders.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.iter().map(|(folder, _)| folder.as_path())
    }

    /// Its folders, each with the mount point of its hierarchy.
    pub fn mounted(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.folders.iter().map(|(folder, mount_point)| (folder.as_path(), mount_point.as_path()))
    }

    /// The folder of version 2, if it has one.
    pub fn unified(&self) -> Option<&Path> {
        self.unified.as_deref()
    }

    /// Opens what a process needs to enter it.
    ///
    /// # Errors
    /// EMFILE and ENFILE when no descriptor is left.
    pub fn entry(&self) -> Result<Entry> {
        let mut entry = Entry::default();
        for (folder, _) in &self.folders {
            if self.unified.as_deref() == Some(folder) {
                let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
                entry.unified = Some(openat(CWD, folder, flags, Mode::empty())?);
            } else {
                let flags = OFlags::WRONLY | OFlags::CLOEXEC;
                entry.tasks.push(openat(CWD, folder.join("tasks"), flags, Mode::empty())?);
            }
        }
        Ok(entry)
    }
}

impl Entry {
    /// Puts the calling thread into the groups of version 1.
    ///
    /// # Errors
    /// Whatever the kernel answers.
    pub fn enter(&self) -> Result<()> {
        self.tasks.iter().try_for_each(|tasks| rustix::io::write(tasks, b"0").map(drop))
    }
}

/// Kills every process in the group `folder`.
pub fn kill(folder: &Path) {
    if fs::write(folder.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let members = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    for pid in members.lines().filter_map(|line| line.parse().ok()).filter_map(crate::process::Pid::from_raw) {
        let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Removes an empty group.
///
/// # Errors
/// EBUSY while a process in it is still dying.
pub fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(errno(&error)),
        _ => Ok(()),
    }
}

/// What the groups of a run have counted together.
pub fn counted<'a>(folders: impl IntoIterator<Item = &'a Path>) -> Counted {
    let mut sum = Counted::default();
    for folder in folders {
        sum.add(count(|name| fs::read_to_string(folder.join(name)).unwrap_or_default()));
    }
    sum
}

/// Reads the counters of a group of either version; `read` answers a file's text, empty where it has none.
fn count(read: impl Fn(&str) -> String) -> Counted {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let field = |text: &str, name: &str| {
        let value = text.lines().filter_map(|line| line.split_once(' ')).find(|(key, _)| *key == name);
        value.and_then(|(_, value)| number(value)).unwrap_or(0)
    };
    let mut counted = Counted::default();
    let of_v1 = number(&read("memory.max_usage_in_bytes"));
    counted.peak_memory = of_v1.or_else(|| number(&read("memory.peak"))).unwrap_or(0);
    let events = if of_v1.is_some() { read("memory.oom_control") } else { read("memory.events") };
    counted.oom_kills = field(&events, "oom_kill");
    if of_v1.is_some() {
        return counted;
    }
    counted.pids_limit_hits = field(&read("pids.events"), "max");
    let cpu = read("cpu.stat");
    counted.cpu_user_us = field(&cpu, "user_usec");
    counted.cpu_system_us = field(&cpu, "system_usec");
    for pair in read("io.stat").split_whitespace().filter_map(|pair| pair.split_once('=')) {
        match pair.0 {
            "rbytes" => counted.read_bytes += number(pair.1).unwrap_or(0),
            "wbytes" => counted.written_bytes += number(pair.1).unwrap_or(0),
            _ => {}
        }
    }
    counted
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Makes `stoa` below the own group of version 1.
fn plain_base(own: &Path) -> std::result::Result<PathBuf, String> {
    let folder = own.join("stoa");
    match fs::create_dir(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(cannot(own, &error)),
        _ => writable(&folder).map(|()| folder),
    }
}

fn cannot(folder: &Path, error: &std::io::Error) -> String {
    format!("the cgroup `{}` is not delegated to this user: {}", folder.display(), errno(error))
}

/// Whether groups can be made in `folder`, which may be another user's.
fn writable(folder: &Path) -> std::result::Result<(), String> {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).map_err(|error| cannot(folder, &error.into()))
}

/// Makes `stoa` in the tree of version 2 and switches the controllers on for its children.
fn unified_base(hierarchy: &Hierarchy, root: bool, wanted: &[Controller]) -> std::result::Result<PathBuf, String> {
    let mut why = String::new();
    let own = without_leaf(&hierarchy.own);
    let places = if root { vec![hierarchy.mount_point.as_path(), own] } else { vec![own] };
    for place in places {
        match delegate(place, wanted) {
            Ok(folder) => return Ok(folder),
            Err(error) => why = cannot(place, &error),
        }
    }
    Err(why)
}

/// The group that `own` was before an earlier call moved its processes to the leaf.
fn without_leaf(own: &Path) -> &Path {
    own.parent().filter(|_| own.file_name().is_some_and(|name| name == LEAF)).unwrap_or(own)
}

fn delegate(place: &Path, wanted: &[Controller]) -> std::io::Result<PathBuf> {
    let folder = place.join("stoa");
    if !folder.is_dir() {
        fs::create_dir(&folder)?;
    }
    let mut switch: String = wanted.iter().map(|controller| format!("+{} ", controller.name())).collect();
    if fs::read_to_string(place.join("cgroup.controllers"))?.split_whitespace().any(|name| name == "io") {
        switch.push_str("+io");
    }
    if let Err(error) = fs::write(place.join("cgroup.subtree_control"), &switch) {
        if errno(&error) != Errno::BUSY {
            return Err(error);
        }
        let leaf = place.join(LEAF);
        if !leaf.is_dir() {
            fs::create_dir(&leaf)?;
        }
        for pid in fs::read_to_string(place.join("cgroup.procs"))?.lines() {
            fs::write(leaf.join("cgroup.procs"), pid)?;
        }
        fs::write(place.join("cgroup.subtree_control"), &switch)?;
    }
    fs::write(folder.join("cgroup.subtree_control"), &switch)?;
    Ok(folder)
}

/// Writes the limits that the controllers of `folder` are responsible for.
fn limit(
    folder: &Path,
    unified: bool,
    controllers: &[Controller],
    limits: Limits,
) -> std::result::Result<(), (PathBuf, Errno)> {
    for controller in controllers {
        for (name, value, needed) in settings(unified, *controller, limits) {
            let file = folder.join(name);
            match fs::write(&file, value) {
                Err(error) if needed => return Err((file, errno(&error))),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Files, what is written into them, and whether it must succeed.
fn settings(unified: bool, controller: Controller, limits: Limits) -> Vec<(&'static str, String, bool)> {
    /// Microseconds over which processor time is divided.
    const PERIOD: u32 = 100_000;
    let quota = |thousandths: u32| (u64::from(thousandths) * u64::from(PERIOD) / 1000).max(1000);
    match (controller, unified) {
        (Controller::Cpu, true) => {
            limits.cpu.map(|cpu| ("cpu.max", format!("{} {PERIOD}", quota(cpu)), true)).into_iter().collect()
        }
        (Controller::Cpu, false) => limits.cpu.map_or_else(Vec::new, |cpu| {
            vec![("cpu.cfs_period_us", PERIOD.to_string(), true), ("cpu.cfs_quota_us", quota(cpu).to_string(), true)]
        }),
        (Controller::Memory, true) => limits.memory.map_or_else(Vec::new, |bytes| {
            vec![
                ("memory.max", bytes.to_string(), true),
                ("memory.swap.max", "0".into(), false),
                ("memory.oom.group", "1".into(), false),
            ]
        }),
        (Controller::Memory, false) => limits.memory.map_or_else(Vec::new, |bytes| {
            vec![
                ("memory.limit_in_bytes", bytes.to_string(), true),
                ("memory.memsw.limit_in_bytes", bytes.to_string(), false),
            ]
        }),
        (Controller::Pids, _) => limits.pids.map(|pids| ("pids.max", pids.to_string(), true)).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURE: (&str, &str) = (
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate",
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/stoa.scope",
    );

    fn own(texts: (&str, &str)) -> Vec<(bool, String, String)> {
        let found = parse(texts.0, texts.1).into_iter();
        found.map(|h| (h.unified, h.controllers.join(","), h.own.display().to_string())).collect()
    }

    #[test]
    fn pure_version_2_is_found() {
        let path = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/stoa.scope";
        assert_eq!(own(PURE), [(true, String::new(), path.into())]);
    }

    #[test]
    fn mixed_hierarchies_are_told_apart() {
        let mounts = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
        let cgroups = "9:name=systemd:/\n4:memory:/outer/inner\n1:cpu,cpuacct:/\n0::/";
        let found = own((mounts, cgroups));
        assert_eq!(found[0], (false, "cpu,cpuacct".into(), "/sys/fs/cgroup/cpu,cpuacct/".into()));
        assert_eq!(found[1], (false, "memory".into(), "/sys/fs/cgroup/memory/outer/inner".into()));
        assert!(found[3].0);
    }

    #[test]
    fn a_container_sees_its_own_group_as_the_root_of_the_mount() {
        let mounts = "35 31 0:32 /docker/ab12 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory";
        assert_eq!(own((mounts, "4:memory:/docker/ab12"))[0].2, "/sys/fs/cgroup/memory/");
    }

    #[test]
    fn the_second_start_uses_the_group_of_the_first() {
        assert_eq!(without_leaf(Path::new("/sys/fs/cgroup/a.scope/stoa-daemon")), Path::new("/sys/fs/cgroup/a.scope"));
        assert_eq!(without_leaf(Path::new("/sys/fs/cgroup/a.scope")), Path::new("/sys/fs/cgroup/a.scope"));
    }

    #[test]
    fn limits_become_settings_of_either_version() {
        let limits = Limits { cpu: Some(1500), memory: Some(1 << 30), pids: Some(7) };
        let written = |unified| {
            let all = Controller::ALL.into_iter().flat_map(|controller| settings(unified, controller, limits));
            all.map(|(name, value, _)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            written(true),
            "memory.max=1073741824 memory.swap.max=0 memory.oom.group=1 pids.max=7 cpu.max=150000 100000"
        );
        assert_eq!(
            written(false),
            "memory.limit_in_bytes=1073741824 memory.memsw.limit_in_bytes=1073741824 pids.max=7 \
             cpu.cfs_period_us=100000 cpu.cfs_quota_us=150000"
        );
        assert_eq!(settings(true, Controller::Cpu, Limits::default()), []);
    }

    #[test]
    fn counters_of_both_versions_are_read() {
        let unified = count(|name| {
            match name {
                "memory.peak" => "4096\n",
                "memory.events" => "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n",
                "pids.events" => "max 5\n",
                "cpu.stat" => "usage_usec 30\nuser_usec 10\nsystem_usec 20\n",
                "io.stat" => "8:0 rbytes=100 wbytes=7 rios=1 wios=1\n8:16 rbytes=1 wbytes=1\n",
                _ => "",
            }
            .into()
        });
        let expected = Counted {
            peak_memory: 4096,
            oom_kills: 2,
            pids_limit_hits: 5,
            read_bytes: 101,
            written_bytes: 8,
            cpu_user_us: 10,
            cpu_system_us: 20,
        };
        assert_eq!(unified, expected);
        let plain = count(|name| {
            match name {
                "memory.max_usage_in_bytes" => "8192\n",
                "memory.oom_control" => "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
                _ => "",
            }
            .into()
        });
        assert_eq!(plain, Counted { peak_memory: 8192, oom_kills: 1, ..Counted::default() });
    }
}
