//! Many runs: nothing of them stays behind, and the daemon does not grow.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use stoa_testkit::{Stoa, cgroups_named, until};

/// Runs before the first measurement: what is set up once is set up then.
const WARM_UP: usize = 60;
/// How much the daemon may grow over a thousand runs, in KiB.
const GROWTH_KIB: u64 = 12 << 10;

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    descriptors: usize,
    threads: usize,
    resident_kib: u64,
}

fn held(pid: u32) -> Held {
    let count = |folder: &str| fs::read_dir(format!("/proc/{pid}/{folder}")).expect("it lives").count();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    let resident_kib = resident.trim().trim_end_matches(" kB").parse().expect("a number");
    Held { descriptors: count("fd"), threads: count("task"), resident_kib }
}

/// Mounts that this process sees: a run's own must not appear here.
fn mounts() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("a table");
    table.lines().filter(|line| line.contains("stoa") || line.contains("/srv/st")).map(str::to_owned).collect()
}

/// Does `runs` runs of `true`, `at_once` at a time.
fn do_runs(stoa: &Stoa, runs: usize, at_once: usize) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < runs {
                    stoa.stoa(["run", "--", "sh", "-c", "echo $STOA_RUN_ID"]).run().ok();
                }
            });
        }
    });
}

fn nothing_leaks(at_once: usize) {
    let stoa = Stoa::new();
    do_runs(&stoa, WARM_UP, at_once);
    let (daemon, warden) = (stoa.daemon_pid().expect("it runs"), stoa.warden_pid().expect("it runs"));
    until("what the last runs used is closed", || held(daemon).descriptors <= 32);
    let before = (held(daemon), held(warden), mounts());
    do_runs(&stoa, 1000, at_once);
    assert_eq!((stoa.daemon_pid(), stoa.warden_pid()), (Some(daemon), Some(warden)), "neither was replaced");
    until("the daemon's descriptors are closed", || held(daemon).descriptors <= before.0.descriptors + 2);
    until("the warden's descriptors are closed", || held(warden).descriptors <= before.1.descriptors + 2);
    let after = (held(daemon), held(warden));
    assert!(after.0.resident_kib < before.0.resident_kib + GROWTH_KIB, "{:?} {:?}", before.0, after.0);
    assert!(after.1.resident_kib < before.1.resident_kib + 1024, "{:?} {:?}", before.1, after.1);
    assert!(after.0.threads <= before.0.threads + 8, "{:?} {:?}", before.0, after.0);
    assert_eq!(mounts(), before.2);
    let ids = stoa.run_ids();
    assert_eq!(ids.len(), 1000 + WARM_UP);
    until("no cgroup is left", || cgroups_named(&ids).is_empty());
    // Daemon, warden, and the spare that waits for the next run.
    until("no process is left", || stoa.processes().len() <= 3);
    let all = stoa.stoa(["ps", "--all", "--json"]).limit(Duration::from_secs(60)).run().ok().json();
    let good = all.as_array().expect("runs").iter().filter(|record| record["state"] == "succeeded").count();
    assert_eq!(good, 1000 + WARM_UP);
}

#[test]
fn a_thousand_runs_in_a_row_leave_nothing_behind() {
    nothing_leaks(1);
}

#[test]
fn a_thousand_runs_eight_at_a_time_leave_nothing_behind() {
    nothing_leaks(8);
}
