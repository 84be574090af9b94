//! Processor time and memory of process trees, from `/proc`.

use anyhow::{Context, Result};
use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

/// The kernel counts in hundredths of a second here (`USER_HZ`), on every architecture that Stoa runs on.
const TICK: Duration = Duration::from_millis(10);

/// What `/proc/PID/stat` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    parent: u32,
    /// Its own time and that of the children it waited for.
    ticks: u64,
}

/// A moment's process table.
pub(crate) struct Processes(HashMap<u32, Process>);

impl Processes {
    pub(crate) fn now() -> Result<Self> {
        let mut table = HashMap::new();
        for entry in fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            // A process may end between the two reads.
            let Ok(text) = fs::read_to_string(entry.path().join("stat")) else { continue };
            if let Some(process) = parse(&text) {
                table.insert(pid, process);
            }
        }
        Ok(Self(table))
    }

    /// `roots` and everything below them.
    pub(crate) fn tree(&self, roots: &[u32]) -> Vec<u32> {
        let mut tree: Vec<u32> = roots.iter().copied().filter(|pid| self.0.contains_key(pid)).collect();
        let mut at = 0;
        while at < tree.len() {
            let parent = tree[at];
            let children = self.0.iter().filter(|(_, process)| process.parent == parent).map(|(pid, _)| *pid);
            tree.extend(children.filter(|child| !tree.contains(child)).collect::<Vec<_>>());
            at += 1;
        }
        tree
    }

    /// Processor time of the trees, of ended processes that were waited for too.
    pub(crate) fn cpu(&self, roots: &[u32]) -> Duration {
        let ticks: u64 = self.tree(roots).iter().map(|pid| self.0[pid].ticks).sum();
        TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
    }
}

/// Resident memory of one process in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).context("the process has ended")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the kernel tells no memory use")?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().context("memory use is not a number")?;
    Ok(kibibytes * 1024)
}

/// Time that the threads of a process spent on a processor, to the nanosecond.
pub(crate) fn run_time(pid: u32) -> Result<Duration> {
    let mut nanos = 0u64;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).context("the process has ended")?.flatten() {
        let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        nanos += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanos))
}

/// Asks processes to end.
pub(crate) fn end(pids: &[u32]) {
    let names: Vec<String> = pids.iter().map(u32::to_string).collect();
    if !names.is_empty() {
        // Those that ended by themselves in between are no error.
        let _ = Command::new("kill").args(names).output();
    }
}

/// Lets time pass, by waiting for a message that nobody sends.
pub(crate) fn pause(time: Duration) {
    let (_sender, receiver) = mpsc::channel::<()>();
    // Running out of time is what it is for.
    let _ = receiver.recv_timeout(time);
}

fn parse(stat: &str) -> Option<Process> {
    // The name in parentheses may hold spaces and parentheses; see proc(5) for the fields.
    let (_, after) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let ticks = (11..=14).map(number).sum::<Option<u64>>()?;
    Some(Process { parent: u32::try_from(number(1)?).ok()?, ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_does_not_shift_the_fields() {
        let stat = "42 (a) 7 (b) S 41 42 42 0 -1 4194560 100 0 0 0 3 4 5 6 20 0 1 0 100 1000 10";
        assert_eq!(parse(stat), Some(Process { parent: 41, ticks: 18 }));
        assert_eq!(parse("42 (x"), None);
    }

    #[test]
    fn a_tree_is_found_and_counted() {
        let process = |parent, ticks| Process { parent, ticks };
        let table = Processes(HashMap::from([
            (1, process(0, 100)),
            (10, process(1, 1)),
            (11, process(10, 2)),
            (12, process(11, 3)),
            (20, process(1, 50)),
        ]));
        let mut tree = table.tree(&[10, 99]);
        tree.sort_unstable();
        assert_eq!(tree, [10, 11, 12]);
        assert_eq!(table.cpu(&[10]), Duration::from_millis(60));
    }

    #[test]
    fn this_process_is_seen() {
        let own = std::process::id();
        assert!(Processes::now().unwrap().tree(&[own]).contains(&own));
        assert!(resident(own).unwrap() > 100_000);
    }
}
