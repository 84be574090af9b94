//! Ending a run that has no PID namespace: its processes are the descendants of its init, which adopts their orphans.

use std::collections::HashMap;
use std::fs;
use stoa_sys::process::Pid;

/// Kills every descendant of the calling process that is there now. Orphans stay descendants, so that repeating it until
/// none is left reaches all.
pub(crate) fn kill_descendants() {
    let own = std::process::id();
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents =
        numbers.filter_map(|pid| Some((pid, parent(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?)));
    for pid in descendants(own, &parents.collect()) {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// The parent's id in the text of a `stat` file, whose second field may contain anything.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn descendants(of: u32, parents: &HashMap<u32, u32>) -> Vec<u32> {
    let leads_up = |pid: &u32| {
        let chain = std::iter::successors(parents.get(pid), |parent| parents.get(parent));
        chain.take(parents.len()).any(|parent| *parent == of)
    };
    parents.keys().copied().filter(leads_up).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_a_strange_name() {
        assert_eq!(parent("7 (a) b ) S 3 7 7 0 -1"), Some(3));
        assert_eq!(parent("7"), None);
    }

    #[test]
    fn only_descendants_are_found() {
        let parents = HashMap::from([(1, 0), (10, 1), (11, 10), (12, 11), (20, 1), (21, 20)]);
        let mut found = descendants(10, &parents);
        found.sort_unstable();
        assert_eq!(found, [11, 12]);
    }
}
