//! What goes wrong inside a run or at its client: limits, floods of output, programs that will not end, clients that do.

use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::time::Duration;
use stoa_testkit::{Stoa, skip, until, until_within};

/// What a daemon of these tests may use at most, in KiB. The promise for an idle one is 30 MiB; these tests run a debug build.
const MOST_RESIDENT_KIB: u64 = 80 << 10;

/// The most memory a process has ever used, in KiB; `None` when it has ended.
fn peak_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

fn end(record: &Value) -> (&str, u64) {
    (record["end"]["kind"].as_str().expect("an end"), record["exit_code"].as_u64().expect("a code"))
}

/// A shell's loop that never ends and takes hardly any time.
const FOREVER: &str = "while :; do sleep 1; done";

/// Whether this user's runs can have the limit; says so when not.
fn can_limit(stoa: &Stoa, mechanism: &str) -> bool {
    let doctor = stoa.stoa(["doctor", "--json"]).run().json();
    let all = doctor["mechanisms"].as_array().cloned().unwrap_or_default();
    let found = all.iter().find(|found| found["name"] == mechanism);
    let works = found.is_some_and(|found| found["enforcement"] == "in_force");
    if !works {
        skip(&format!("{mechanism} cannot be enforced for uid {} here", stoa.uid()));
    }
    works
}

#[test]
fn a_memory_limit_that_is_hit_is_reported_as_out_of_memory() {
    Stoa::for_each_user(|stoa| {
        if !can_limit(&stoa, "memory-limit") {
            return;
        }
        let eat = "held=x; while :; do held=$held$held; done";
        let output = stoa.stoa(["run", "--name", "eater", "--memory", "64M", "--", "sh", "-c", eat]).run();
        output.code(137).explains("out of memory (limit 64 MiB)", "", "--memory");
    });
}

#[test]
fn a_memory_limit_below_what_a_program_needs_ends_it_with_that_reason() {
    let stoa = Stoa::new();
    if !can_limit(&stoa, "memory-limit") {
        return;
    }
    let output = stoa.stoa(["run", "--memory", "1M", "--name", "tiny", "--", "python3", "-c", "print(1)"]).run();
    assert_ne!(output.code, 0, "{}", output.err());
    let record = stoa.record("tiny");
    assert_eq!(record["end"]["kind"], "out_of_memory", "{}", record["end"]);
}

#[test]
fn a_fork_bomb_is_bounded_and_stopped() {
    Stoa::for_each_user(|stoa| {
        if !can_limit(&stoa, "process-limit") {
            return;
        }
        let bomb = "bomb() { bomb | bomb & }; bomb; while :; do sleep 1; done";
        let id = stoa.detach(&["--pids", "40", "--name", "bomb", "--", "bash", "-c", bomb]);
        stoa.stoa(["logs", "-f", "bomb"]).start().expect_err("fork: ");
        let inside = stoa.processes().iter().filter(|process| process.line.contains("bomb")).count();
        assert!((2..=41).contains(&inside), "{inside} processes");
        // Everyone else has room.
        stoa.stoa(["run", "--", "true"]).run().ok();
        stoa.stoa(["stop", "--kill", "bomb"]).run().ok();
        assert_eq!(stoa.record(&id)["state"], "stopped");
        until("no process of the bomb lives", || !stoa.processes().iter().any(|p| p.line.contains("bomb()")));
    });
}

#[test]
fn a_flood_of_output_is_kept_whole_in_bounded_memory() {
    let stoa = Stoa::new();
    let bytes: u64 = 1 << 30;
    let flood = format!("yes 'a line of output that is repeated again and again' | head -c {bytes}");
    stoa.write("flood.sh", &flood);
    // The client writes to a file, as a shell would let it.
    let command = format!("exec {} run --name flood -- sh flood.sh > seen.txt", stoa.program().display());
    stoa.stoa(["daemon", "start"]).run().ok();
    let client = stoa.any("sh", ["-c", &command]).limit(Duration::from_secs(240)).start();
    let mut most_of_client = 0;
    until_within(Duration::from_secs(240), || {
        let now = peak_kib(client.pid());
        most_of_client = most_of_client.max(now.unwrap_or(0));
        now.is_none()
    });
    client.finish().ok();
    let daemon = peak_kib(stoa.daemon_pid().expect("it runs")).expect("it lives");
    assert!(daemon < MOST_RESIDENT_KIB, "the daemon took {daemon} KiB");
    assert!((1..MOST_RESIDENT_KIB).contains(&most_of_client), "the client took {most_of_client} KiB");
    let check = |source: &str| {
        let check = format!("{source} | cmp - seen.txt && [ $(stat -c %s seen.txt) = {bytes} ]");
        stoa.any("sh", ["-c", &check]).limit(Duration::from_secs(120)).run().ok();
    };
    check("sh flood.sh");
    let record = stoa.record("flood");
    assert_eq!((record["output"].as_u64(), record["output_lost"].as_u64()), (Some(bytes), Some(0)));
    check(&format!("{} logs flood", stoa.program().display()));
}

#[test]
fn output_that_is_not_utf8_comes_through_byte_by_byte() {
    let stoa = Stoa::new();
    let every: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    stoa.write("bytes", &every);
    let output = stoa.stoa(["run", "--name", "bytes", "--", "cat", "bytes"]).run().ok();
    assert_eq!(output.stdout, every);
    assert_eq!(stoa.stoa(["logs", "bytes"]).run().ok().stdout, every);
    let json = stoa.stoa(["logs", "--json", "bytes"]).run().ok();
    let first: Value = serde_json::from_slice(json.stdout.split(|byte| *byte == b'\n').next().expect("a line"))
        .expect("each line is JSON whatever the bytes are");
    assert!(first["text"].as_str().expect("text").contains('\u{fffd}'));
}

#[test]
fn a_program_that_ignores_sigterm_is_killed_after_the_grace_period() {
    Stoa::for_each_user(|stoa| {
        let script = format!("trap 'echo no' TERM; echo ready; {FOREVER}");
        let id = stoa.detach(&["--name", "deaf", "--", "sh", "-c", &script]);
        let logs = stoa.stoa(["logs", "-f", "deaf"]).start();
        logs.expect_out("ready");
        stoa.stoa(["stop", "--grace", "1s", "deaf"]).run().ok();
        let record = stoa.record(&id);
        assert_eq!(end(&record), ("stopped", 137), "{record}");
        assert_eq!(record["end"]["killed"], true);
        assert!(logs.finish().ok().out().contains("no"), "it was asked before it was killed");
    });
}

#[test]
fn one_ctrl_c_asks_the_program_to_end_and_its_answer_counts() {
    let stoa = Stoa::new();
    let script = format!("trap 'echo saving; exit 7' INT; echo ready; {FOREVER}");
    let client = stoa.stoa(["run", "--name", "polite", "--", "sh", "-c", &script]).start();
    client.expect_out("ready");
    client.signal(Signal::INT);
    let output = client.finish().code(7);
    assert_eq!(output.out(), "ready\nsaving\n");
    assert_eq!(end(&stoa.record("polite")), ("stopped", 7));
}

#[test]
fn a_second_ctrl_c_kills_a_program_that_ignores_the_first() {
    let stoa = Stoa::new();
    let script = format!("trap 'echo no' INT; echo ready; {FOREVER}");
    let client = stoa.stoa(["run", "--name", "stubborn", "--", "sh", "-c", &script]).start();
    client.expect_out("ready");
    client.signal(Signal::INT);
    client.expect_out("no");
    client.signal(Signal::INT);
    client.finish().code(137);
    let record = stoa.record("stubborn");
    assert_eq!((end(&record), record["end"]["killed"].as_bool()), (("stopped", 137), Some(true)));
}

#[test]
fn a_run_goes_on_when_its_client_is_killed_or_leaves() {
    let stoa = Stoa::new();
    for signal in [Signal::KILL, Signal::TERM, Signal::HUP] {
        let name = format!("left-{}", signal.as_raw());
        let script = "echo ready; while [ ! -e go ]; do sleep 0.02; done; echo done; exit 5";
        let client = stoa.stoa(["run", "--name", &name, "--", "sh", "-c", script]).start();
        client.expect_out("ready");
        client.signal(signal);
        let left = client.finish();
        if signal != Signal::KILL {
            assert_eq!(left.code, 75, "{}", left.err());
            assert!(left.err().contains(&format!("stoa attach {name}")), "it says how to attach: {}", left.err());
        }
        assert_eq!(stoa.record(&name)["state"], "running");
        let attached = stoa.stoa(["attach", &name]).start();
        stoa.write("go", "");
        attached.finish().code(5);
        assert_eq!(stoa.stoa(["logs", &name]).run().ok().out(), "ready\ndone\n");
        fs::remove_file(stoa.project().join("go")).expect("removed");
    }
}

#[test]
fn a_run_whose_reader_has_gone_ends_as_in_a_pipe() {
    let stoa = Stoa::new();
    let pipe = format!("{} run --name flowing -- yes | head -n 1", stoa.program().display());
    assert_eq!(stoa.any("sh", ["-c", &pipe]).run().ok().out(), "y\n");
    until("the run has ended", || stoa.record("flowing")["end"].is_object());
    assert_eq!(stoa.record("flowing")["state"], "stopped");
}

#[test]
fn a_run_that_fails_is_tried_again_as_often_as_was_asked() {
    let stoa = Stoa::new();
    let third_time = "echo try >> tries; [ $(wc -l < tries) -ge 3 ]";
    let output = stoa.stoa(["run", "--retries", "2", "--name", "third", "--", "sh", "-c", third_time]).run();
    output.ok();
    let record = stoa.record("third");
    assert_eq!((record["attempt"].as_u64(), record["state"].as_str()), (Some(3), Some("succeeded")));
    let output = stoa.stoa(["run", "--retries", "2", "--name", "never", "--", "sh", "-c", "echo x; exit 9"]).run();
    assert_eq!(output.code(9).out(), "x\nx\nx\n", "the output of all attempts is kept");
    assert_eq!(stoa.record("never")["attempt"], 3);
}
