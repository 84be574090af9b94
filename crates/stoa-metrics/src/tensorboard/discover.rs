//! Finds event files of a run: among the open files of its processes, and in its folders.

use super::Identity;
use crate::folder::Folder;
use std::collections::{HashSet, VecDeque};
use std::fs::{File, read_dir, read_link, read_to_string};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use stoa_core::port::LiveRun;

/// What the name of every event file contains.
const MARK: &str = "tfevents";
/// Processes and open files that one look visits.
const MAX_PIDS: usize = 512;
const MAX_OPEN_FILES: usize = 16_384;
/// Bounds of a walk through the folders of a run.
const MAX_DEPTH: usize = 8;
const MAX_ENTRIES: usize = 20_000;
/// Folders with many files and no event files.
const PASSED_OVER: [&str; 9] =
    [".git", ".hg", "node_modules", ".venv", "venv", "__pycache__", ".mypy_cache", ".cache", "site-packages"];
/// The clock of a file system may lag behind by a timer tick, and event files carry whole seconds in their name.
const CLOCK_SLACK: u64 = 2_000_000_000;

/// An event file that was found.
pub(crate) struct Found {
    pub(crate) identity: Identity,
    pub(crate) file: File,
    /// Its path as the run sees it.
    pub(crate) path: PathBuf,
}

/// What one look has found so far.
#[derive(Default)]
pub(crate) struct Seen {
    known: HashSet<Identity>,
    found: Vec<Found>,
}

impl Seen {
    fn add(&mut self, file: File, path: PathBuf) {
        let Ok(metadata) = file.metadata() else { return };
        let identity = Identity { device: metadata.dev(), inode: metadata.ino() };
        if metadata.is_file() && self.known.insert(identity) {
            self.found.push(Found { identity, file, path });
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Found> {
        std::mem::take(&mut self.found)
    }
}

/// The processes of a run: those of its cgroups, or the tree below its first process.
pub(crate) fn process_ids(run: &LiveRun) -> Vec<i32> {
    let mut pids = Vec::new();
    for cgroup in &run.cgroups {
        pids_of_cgroup(cgroup, 0, &mut pids);
        if !pids.is_empty() {
            break;
        }
    }
    if pids.is_empty()
        && let Some(init) = run.init_pid
    {
        pids_of_tree(init, &mut pids);
    }
    pids.sort_unstable();
    pids.dedup();
    pids
}

fn pids_of_cgroup(folder: &Path, depth: usize, pids: &mut Vec<i32>) {
    if depth > MAX_DEPTH || pids.len() >= MAX_PIDS {
        return;
    }
    let listed = read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    pids.extend(listed.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    let Ok(entries) = read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        pids_of_cgroup(&entry.path(), depth + 1, pids);
    }
}

fn pids_of_tree(init: i32, pids: &mut Vec<i32>) {
    let mut queue = VecDeque::from([init]);
    while let Some(pid) = queue.pop_front() {
        if pids.len() >= MAX_PIDS {
            return;
        }
        let Ok(tasks) = read_dir(format!("/proc/{pid}/task")) else { continue };
        pids.push(pid);
        for task in tasks.flatten() {
            let children = read_to_string(task.path().join("children")).unwrap_or_default();
            queue.extend(children.split_ascii_whitespace().filter_map(|child| child.parse::<i32>().ok()));
        }
    }
}

/// Event files that these processes have open for writing. They are opened through the process, so that a file in a
/// private `/tmp`, or one already deleted, works too.
pub(crate) fn open_files(pids: &[i32], seen: &mut Seen) {
    let mut left = MAX_OPEN_FILES;
    for pid in pids {
        let Ok(entries) = read_dir(format!("/proc/{pid}/fd")) else { continue };
        for entry in entries.flatten() {
            left -= 1;
            if left == 0 {
                return;
            }
            let link = entry.path();
            let Ok(target) = read_link(&link) else { continue };
            let text = target.to_string_lossy();
            let path = text.strip_suffix(" (deleted)").unwrap_or(&text);
            if !path.starts_with('/') || !is_event_file(path) || !open_for_writing(&link) {
                continue;
            }
            let path = PathBuf::from(path);
            let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits() as i32;
            if let Ok(file) = File::options().read(true).custom_flags(flags).open(&link) {
                seen.add(file, path);
            }
        }
    }
}

/// A process that only reads an event file, such as TensorBoard itself, does not make it the run's.
fn open_for_writing(link: &Path) -> bool {
    link.symlink_metadata().is_ok_and(|metadata| metadata.mode() & 0o200 != 0)
}

fn is_event_file(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.contains(MARK))
}

/// Event files in the run's folder and its project that were made and written since it started.
pub(crate) fn walk_folders(run: &LiveRun, seen: &mut Seen) {
    let mut walk = Walk::new(run, seen);
    for root in [Some(&run.dir), run.project.as_ref()].into_iter().flatten() {
        if let Ok(folder) = Folder::open(root) {
            walk.folder(&folder, root, 0);
        }
    }
}

/// The same in the private `/tmp` of a run whose first process lives.
pub(crate) fn walk_private_tmp(run: &LiveRun, seen: &mut Seen) {
    if let Some(pid) = run.init_pid.filter(|pid| has_own_tmp(*pid))
        && let Ok(folder) = Folder::open_following(Path::new(&format!("/proc/{pid}/root/")))
        && let Ok(folder) = folder.folder(c"tmp")
    {
        Walk::new(run, seen).folder(&folder, Path::new("/tmp"), 0);
    }
}

/// Whether `/tmp` of a process is not ours: in ours lie the files of everybody.
fn has_own_tmp(pid: i32) -> bool {
    let identity = |path: &str| {
        std::fs::metadata(path).ok().map(|metadata| Identity { device: metadata.dev(), inode: metadata.ino() })
    };
    let theirs = identity(&format!("/proc/{pid}/root/tmp/."));
    theirs.is_some() && theirs != identity("/tmp/.")
}

struct Walk<'a> {
    since: u64,
    left: usize,
    seen: &'a mut Seen,
}

impl<'a> Walk<'a> {
    fn new(run: &LiveRun, seen: &'a mut Seen) -> Self {
        Self { since: run.started.saturating_sub(CLOCK_SLACK), left: MAX_ENTRIES, seen }
    }

    fn folder(&mut self, folder: &Folder, path: &Path, depth: usize) {
        let Ok(entries) = folder.entries() else { return };
        let mut folders = Vec::new();
        for entry in entries {
            if self.left == 0 {
                return;
            }
            self.left -= 1;
            if entry.file && entry.text().contains(MARK) {
                self.file(folder, path, &entry);
            } else if entry.folder && depth < MAX_DEPTH && !PASSED_OVER.contains(&entry.text().as_str()) {
                folders.push(entry);
            }
        }
        for entry in folders {
            if let Ok(inner) = folder.folder(&entry.name) {
                self.folder(&inner, &path.join(entry.path()), depth + 1);
            }
        }
    }

    fn file(&mut self, folder: &Folder, path: &Path, entry: &crate::folder::Entry) {
        let made = made_at(&entry.text());
        if folder.changed(&entry.name) < self.since || made.is_some_and(|made| made < self.since) {
            return;
        }
        if let Ok(file) = folder.file(&entry.name) {
            self.seen.add(file, path.join(entry.path()));
        }
    }
}

/// When an event file was made, in nanoseconds since 1970, as its name says: `events.out.tfevents.1700000000.host.1.0`.
fn made_at(name: &str) -> Option<u64> {
    let after = name.split_once("tfevents.")?.1;
    let seconds: u64 = after.split('.').next()?.parse().ok()?;
    // The end of the second, since the name has whole seconds.
    (seconds > 1_000_000_000).then(|| seconds.saturating_add(1).saturating_mul(1_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn run(dir: &Path, project: &Path) -> LiveRun {
        LiveRun {
            id: "r-00000000".parse().unwrap(),
            dir: dir.to_owned(),
            project: Some(project.to_owned()),
            init_pid: Some(std::process::id() as i32),
            cgroups: Vec::new(),
            started: crate::append::now(),
        }
    }

    #[test]
    fn the_walk_finds_new_files_only_and_follows_no_link() {
        let (dir, project, elsewhere) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let run = run(dir.path(), project.path());
        let make = |path: &str| {
            let path = project.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        make("logs/PPO_1/events.out.tfevents.4000000000.host.1.0");
        make("logs/old/events.out.tfevents.1600000000.host.1.0");
        make(".git/events.out.tfevents.4000000000.host.1.0");
        make("a/b/c/d/e/f/g/h/i/too_deep.tfevents");
        std::fs::write(elsewhere.path().join("x.tfevents"), "").unwrap();
        symlink(elsewhere.path(), project.path().join("link")).unwrap();
        symlink(elsewhere.path().join("x.tfevents"), project.path().join("link.tfevents")).unwrap();
        let mut seen = Seen::default();
        walk_folders(&run, &mut seen);
        let paths: Vec<PathBuf> = seen.take().into_iter().map(|found| found.path).collect();
        assert_eq!(paths, [project.path().join("logs/PPO_1/events.out.tfevents.4000000000.host.1.0")]);
    }

    #[test]
    fn a_file_that_a_process_writes_is_found_even_when_deleted_and_one_it_reads_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (written, read) = (dir.path().join("w.tfevents.1"), dir.path().join("r.tfevents.1"));
        std::fs::write(&read, "").unwrap();
        let _writing = File::create(&written).unwrap();
        let _reading = File::open(&read).unwrap();
        std::fs::remove_file(&written).unwrap();
        let mut seen = Seen::default();
        open_files(&[std::process::id() as i32], &mut seen);
        let paths: Vec<PathBuf> = seen.take().into_iter().map(|found| found.path).collect();
        assert!(paths.contains(&written) && !paths.contains(&read), "{paths:?}");
    }

    #[test]
    fn our_own_children_are_in_our_process_tree() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pids = process_ids(&run(dir.path(), dir.path()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(pids.contains(&(child.id() as i32)) && pids.contains(&(std::process::id() as i32)));
    }
}
