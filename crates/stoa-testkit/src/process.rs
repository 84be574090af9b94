//! Processes and control groups that belong to a test, found without asking Stoa.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A process as `/proc` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its parent's id.
    pub parent: u32,
    /// Its program and arguments, separated by spaces.
    pub line: String,
}

impl Process {
    /// Kills it with a signal, unless it has ended.
    pub fn signal(&self, signal: rustix::process::Signal) {
        signal_pid(self.pid, signal);
    }
}

/// Sends a signal to a process, unless it has ended.
pub(crate) fn signal_pid(pid: u32, signal: rustix::process::Signal) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
    let _gone = rustix::process::kill_process(pid, signal);
}

/// The processes whose environment or arguments contain `text`, and all their descendants. Zombies are left out.
pub fn processes_naming(text: &str) -> Vec<Process> {
    let all = all();
    let mut found: HashSet<u32> = all.values().filter(|process| names(process, text)).map(|p| p.pid).collect();
    loop {
        let more: Vec<u32> = all
            .values()
            .filter(|process| found.contains(&process.parent) && !found.contains(&process.pid))
            .map(|process| process.pid)
            .collect();
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    found.remove(&std::process::id());
    let mut found: Vec<Process> = found.into_iter().filter_map(|pid| all.get(&pid).cloned()).collect();
    found.sort_by_key(|process| process.pid);
    found
}

fn names(process: &Process, text: &str) -> bool {
    let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
    process.line.contains(text) || contains(&environment, text.as_bytes())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn all() -> HashMap<u32, Process> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter_map(|pid| Some((pid, read(pid)?))).collect()
}

/// A process that lives; `None` for one that is gone or a zombie.
fn read(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line).trim_end_matches('\0').replace('\0', " ");
    Some(Process { pid, parent, line })
}

/// Control groups whose folder has one of `names`, in every hierarchy that is mounted.
pub fn cgroups_named(names: &[String]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if !names.is_empty() {
        collect(Path::new("/sys/fs/cgroup"), names, &mut found);
    }
    found
}

fn collect(folder: &Path, names: &[String], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        let name = entry.file_name();
        if names.iter().any(|wanted| name.to_string_lossy().contains(wanted.as_str())) {
            found.push(path);
        } else {
            collect(&path, names, found);
        }
    }
}
