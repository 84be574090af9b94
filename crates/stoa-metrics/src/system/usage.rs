//! What a run has used so far: from its cgroups (version 1 or 2), or from its processes.

use std::collections::HashMap;
use std::fs::read_to_string;
use std::path::Path;
use stoa_core::port::LiveRun;

/// Totals since the start of a run; `None` where the machine does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) cpu_nanos: Option<u64>,
    /// Bytes in use now.
    pub(super) memory: Option<u64>,
    pub(super) read: Option<u64>,
    pub(super) written: Option<u64>,
}

/// What the processes of a run were last seen to have used, so that the ones that ended still count.
#[derive(Debug, Default)]
pub(super) struct Processes {
    known: HashMap<i32, [u64; 3]>,
    total: [u64; 3],
}

/// What the cgroups say, and for the rest what the processes say.
pub(super) fn of_run(run: &LiveRun, pids: &[i32], processes: &mut Processes) -> Usage {
    let mut usage = Usage::default();
    for cgroup in &run.cgroups {
        let found = of_cgroup(cgroup);
        usage.cpu_nanos = usage.cpu_nanos.or(found.cpu_nanos);
        usage.memory = usage.memory.or(found.memory);
        usage.read = usage.read.or(found.read);
        usage.written = usage.written.or(found.written);
    }
    if usage.cpu_nanos.is_none() || usage.memory.is_none() || usage.read.is_none() {
        let found = processes.look(pids);
        usage.cpu_nanos = usage.cpu_nanos.or(found.cpu_nanos);
        usage.memory = usage.memory.or(found.memory);
        usage.read = usage.read.or(found.read);
        usage.written = usage.written.or(found.written);
    }
    usage
}

fn of_cgroup(folder: &Path) -> Usage {
    let number = |name: &str| read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    let table = |name: &str| read_to_string(folder.join(name)).ok();
    let stat = || table("cpu.stat").and_then(|text| keyed(&text, "usage_usec")).map(|micros| micros * 1000);
    let io = table("io.stat")
        .map(|text| io_stat(&text))
        .or_else(|| table("blkio.throttle.io_service_bytes_recursive").map(|text| blkio(&text)))
        .or_else(|| table("blkio.throttle.io_service_bytes").map(|text| blkio(&text)));
    Usage {
        cpu_nanos: number("cpuacct.usage").or_else(stat),
        memory: number("memory.usage_in_bytes").or_else(|| number("memory.current")),
        read: io.map(|(read, _)| read),
        written: io.map(|(_, written)| written),
    }
}

fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

/// Bytes read and written, of cgroup v2: `8:0 rbytes=90430464 wbytes=299008000 rios=8950 ...`.
fn io_stat(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        let fields = text.split_ascii_whitespace().filter_map(|field| field.strip_prefix(key));
        fields.filter_map(|number| number.parse::<u64>().ok()).sum()
    };
    (sum("rbytes="), sum("wbytes="))
}

/// Bytes read and written, of cgroup v1: `8:0 Read 90430464`.
fn blkio(text: &str) -> (u64, u64) {
    let sum = |word: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(' ')?.1.strip_prefix(word));
        lines.filter_map(|number| number.trim().parse::<u64>().ok()).sum()
    };
    (sum("Read "), sum("Write "))
}

impl Processes {
    fn look(&mut self, pids: &[i32]) -> Usage {
        let (mut memory, mut now) = (0, HashMap::new());
        for pid in pids {
            let Some((nanos, resident)) = stat_of(*pid) else { continue };
            memory += resident;
            let (read, written) = io_of(*pid);
            let used = [nanos, read, written];
            let before = self.known.get(pid).copied().unwrap_or_default();
            for ((total, used), before) in self.total.iter_mut().zip(used).zip(before) {
                // A number that went back belongs to a new process of the same id.
                *total += used.checked_sub(before).unwrap_or(used);
            }
            now.insert(*pid, used);
        }
        if now.is_empty() {
            return Usage::default();
        }
        self.known = now;
        let [cpu, read, written] = self.total;
        Usage { cpu_nanos: Some(cpu), memory: Some(memory), read: Some(read), written: Some(written) }
    }
}

/// Processor time in nanoseconds and resident bytes.
fn stat_of(pid: i32) -> Option<(u64, u64)> {
    let text = read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&text, rustix::param::clock_ticks_per_second(), rustix::param::page_size() as u64)
}

/// `pid (name) state ...`; the name may contain anything, so fields count from the last parenthesis. Numbering as in
/// proc(5): utime is field 14, stime 15, rss 24.
fn parse_stat(text: &str, ticks: u64, page: u64) -> Option<(u64, u64)> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(((field(14)? + field(15)?) * (1_000_000_000 / ticks), field(24)? * page))
}

fn io_of(pid: i32) -> (u64, u64) {
    let text = read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let get = |key| keyed(&text, key).unwrap_or(0);
    (get("read_bytes:"), get("write_bytes:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_of_both_versions_are_read() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(one.path().join("cpuacct.usage"), "1500000000\n").unwrap();
        std::fs::write(one.path().join("memory.usage_in_bytes"), "4096\n").unwrap();
        let blkio = "8:0 Read 10\n8:0 Write 20\n8:0 Sync 30\n8:16 Read 1\n8:16 Write 2\nTotal 33\n";
        std::fs::write(one.path().join("blkio.throttle.io_service_bytes"), blkio).unwrap();
        std::fs::write(two.path().join("cpu.stat"), "usage_usec 1500000\nuser_usec 1\n").unwrap();
        std::fs::write(two.path().join("memory.current"), "4096\n").unwrap();
        std::fs::write(two.path().join("io.stat"), "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n").unwrap();
        let wanted = Usage { cpu_nanos: Some(1_500_000_000), memory: Some(4096), read: Some(11), written: Some(22) };
        assert_eq!([of_cgroup(one.path()), of_cgroup(two.path())], [wanted, wanted]);
    }

    #[test]
    fn a_process_with_a_strange_name_is_read() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 100 1000 12 18446744073709551615";
        assert_eq!(parse_stat(text, 100, 4096), Some((3_000_000_000, 12 * 4096)));
    }

    #[test]
    fn our_own_process_uses_memory_and_time() {
        let usage = Processes::default().look(&[std::process::id() as i32]);
        assert!(usage.memory.is_some_and(|bytes| bytes > 100_000));
        assert!(usage.cpu_nanos.is_some() && usage.read.is_some());
    }
}
