//! `kill -9` of everything at random moments: what was acknowledged has its true end, and what was written is there.
//!
//! Each program appends to a file of the project, after each line and point it has written, how many there are: that file
//! goes past Stoa and tells afterwards what must have been kept. The seed is printed when a test fails and can be set
//! with `STOA_SEED`.

use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::time::{Duration, SystemTime};
use stoa_testkit::{Process, Running, Stoa, until, until_within};

/// Runs per victim; four kinds of victims make the hundred.
const RUNS: usize = 25;
/// Lines and points of a run.
const LINES: usize = 60;

/// A program that says what it has done in a file of its own, before it does more.
const PROGRAM: &str = r#"
import os, sys, time
import stoa
name, lines, code = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
side = os.open(name + ".side", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for i in range(lines):
    os.write(1, b"line %d\n" % i)
    stoa.log({"value": float(i)}, step=i)
    os.write(side, b"%d\n" % (i + 1))
    time.sleep(0.004)
os.write(side, b"end\n")
sys.exit(code)
"#;

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
struct Random(u64);

impl Random {
    #[expect(clippy::print_stderr, reason = "shown when the test fails")]
    fn seeded() -> Self {
        let seed = std::env::var("STOA_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let seed = seed.unwrap_or(now.subsec_nanos().into());
        eprintln!("STOA_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Lets some time pass.
fn wait(time: Duration) {
    let _never = until_within(time, || false);
}

struct Started {
    name: String,
    code: u64,
    client: Running,
}

fn start(stoa: &Stoa, number: usize, code: u64) -> Started {
    let name = format!("run-{number}");
    let args = ["run", "--name", &name, "--", "python3", "program.py", &name, &LINES.to_string(), &code.to_string()];
    Started { client: stoa.stoa(args).start(), code, name }
}

/// What the program says of itself: lines and points written, and whether it has come to its end.
fn side(stoa: &Stoa, name: &str) -> (usize, bool) {
    let text = fs::read_to_string(stoa.project().join(format!("{name}.side"))).unwrap_or_default();
    (text.lines().filter_map(|line| line.parse().ok()).max().unwrap_or(0), text.ends_with("end\n"))
}

/// Asserts that a run's lines and points are numbered from zero without a gap, and at least as many as it says it wrote.
#[track_caller]
fn assert_kept(stoa: &Stoa, name: &str) {
    let (written, _) = side(stoa, name);
    let logs = stoa.stoa(["logs", name]).run().ok().out();
    let kept = logs.lines().count();
    let expected: String = (0..kept).map(|number| format!("line {number}\n")).collect();
    // A line is one write, so none is cut.
    assert!(logs == expected, "{name}: lines are lost or doubled:\n{logs}");
    assert!(kept >= written, "{name} wrote {written} lines, {kept} are kept");
    let metrics = stoa.stoa(["metrics", name, "value", "--json", "--points", "1000"]).run().ok().json();
    let points = points(&metrics);
    let steps: Vec<u64> = (0..points.len() as u64).collect();
    assert_eq!(points, steps, "{name}: {metrics}");
    assert!(points.len() >= written, "{name} wrote {written} points, {} are kept", points.len());
}

/// The steps of the points of the one series.
fn points(metrics: &Value) -> Vec<u64> {
    let series = metrics["series"].as_array().cloned().unwrap_or_default();
    let steps =
        series.iter().find(|series| series["summary"]["name"] == "value").map(|series| series["points"].clone());
    let steps = steps.unwrap_or_default();
    steps.as_array().into_iter().flatten().filter_map(|point| point["step"].as_u64()).collect()
}

/// Asserts the end of a run whose processes nobody has killed.
#[track_caller]
fn assert_unharmed(stoa: &Stoa, run: &Started) {
    let record = stoa.wait(&run.name);
    assert_eq!(record["end"]["kind"], "exited", "{}: {}", run.name, record["end"]);
    assert_eq!(record["exit_code"].as_u64(), Some(run.code), "{}", run.name);
    assert_eq!(side(stoa, &run.name), (LINES, true), "{}: it ran once and to its end", run.name);
    assert_kept(stoa, &run.name);
}

/// Whether the daemon has taken the run on.
fn known(stoa: &Stoa, name: &str) -> bool {
    stoa.stoa(["show", name]).run().code == 0
}

fn prepared() -> Stoa {
    let stoa = Stoa::new();
    stoa.write("program.py", PROGRAM);
    stoa.stoa(["daemon", "start"]).run().ok();
    stoa
}

fn find(stoa: &Stoa, is_it: impl Fn(&Process) -> bool) -> Option<Process> {
    stoa.processes().into_iter().find(|process| is_it(process))
}

fn is_daemon(process: &Process) -> bool {
    process.line == "stoad"
}

#[test]
fn a_killed_client_harms_no_run() {
    let (stoa, mut random) = (prepared(), Random::seeded());
    let mut judged = 0;
    for number in 0..RUNS {
        let run = start(&stoa, number, random.below(100));
        wait(Duration::from_millis(random.below(250)));
        run.client.signal(Signal::KILL);
        // Killed before it had told the daemon anything, it has started nothing.
        if known(&stoa, &run.name) {
            assert_unharmed(&stoa, &run);
            judged += 1;
        } else {
            assert_eq!(side(&stoa, &run.name), (0, false));
        }
    }
    assert!(judged >= RUNS / 2, "only {judged} runs began before their client was killed");
}

#[test]
fn a_killed_daemon_harms_no_run() {
    let (stoa, mut random) = (prepared(), Random::seeded());
    let mut judged = 0;
    for number in 0..RUNS {
        let run = start(&stoa, number, random.below(100));
        wait(Duration::from_millis(random.below(350)));
        if let Some(daemon) = find(&stoa, is_daemon) {
            daemon.signal(Signal::KILL);
        }
        if random.below(3) == 0 {
            // The next daemon, while it is taking the run up.
            let _met_the_dying_one = stoa.stoa(["daemon", "start"]).run();
            if let Some(daemon) = find(&stoa, is_daemon) {
                daemon.signal(Signal::KILL);
            }
        }
        let Started { name, code, client } = run;
        let output = client.finish();
        let accepted = output.code != 75 || !output.stdout.is_empty();
        if !accepted && !known(&stoa, &name) {
            continue;
        }
        if accepted {
            assert_eq!(output.code, i32::try_from(code).expect("small"), "{name}: {}", output.err());
            let all: String = (0..LINES).map(|number| format!("line {number}\n")).collect();
            assert!(output.out() == all, "{name}: the client lost or doubled lines:\n{}", output.out());
        }
        let record = stoa.wait(&name);
        assert_eq!(
            (record["end"]["kind"].as_str(), record["exit_code"].as_u64()),
            (Some("exited"), Some(code)),
            "{name}"
        );
        assert_eq!(side(&stoa, &name), (LINES, true), "{name}: it ran once and to its end");
        assert_kept(&stoa, &name);
        judged += 1;
    }
    assert!(judged >= RUNS / 2, "only {judged} runs were accepted before the daemon was killed");
}

#[test]
fn a_killed_warden_harms_no_run() {
    let (stoa, mut random) = (prepared(), Random::seeded());
    for number in 0..RUNS {
        let run = start(&stoa, number, random.below(100));
        // Most of its work is at the beginning.
        wait(Duration::from_millis(random.below(if number % 2 == 0 { 40 } else { 350 })));
        let daemon = find(&stoa, is_daemon).expect("it runs");
        if let Some(warden) = find(&stoa, |process| process.parent == daemon.pid && process.line == "stoa-warden") {
            warden.signal(Signal::KILL);
        }
        let Started { name, code, client } = run;
        client.finish().code(u8::try_from(code).expect("small"));
        let record = stoa.wait(&name);
        assert_eq!(
            (record["end"]["kind"].as_str(), record["exit_code"].as_u64()),
            (Some("exited"), Some(code)),
            "{name}"
        );
        assert_eq!(side(&stoa, &name), (LINES, true), "{name}: it ran once and to its end");
        assert_kept(&stoa, &name);
        let isolation = record["isolation"].as_array().expect("mechanisms");
        assert!(!isolation.is_empty(), "{name}: {record}");
    }
}

#[test]
fn a_killed_run_ends_as_killed_with_everything_it_wrote() {
    let (stoa, mut random) = (prepared(), Random::seeded());
    let mut judged = 0;
    for number in 0..RUNS {
        let run = start(&stoa, number, random.below(100));
        // The program, or the init that supervises it.
        let program = |process: &Process| process.line.contains("program.py") && !process.line.contains("stoa run");
        until("the program runs", || find(&stoa, program).is_some() || known_to_have_ended(&stoa, &run.name));
        wait(Duration::from_millis(random.below(250)));
        let Some(program) = find(&stoa, program) else { continue };
        let victim = if number % 2 == 0 { program.pid } else { program.parent };
        let victim = Process { pid: victim, ..program };
        victim.signal(Signal::KILL);
        let output = run.client.finish();
        let record = stoa.wait(&run.name);
        let (_, complete) = side(&stoa, &run.name);
        let end = (record["end"]["kind"].as_str().expect("an end"), record["exit_code"].as_u64().expect("a code"));
        // It may have come to its end just before.
        assert!(end == ("signaled", 137) || (complete && end == ("exited", run.code)), "{}: {record}", run.name);
        assert_eq!(output.code, i32::try_from(end.1).expect("small"));
        assert_kept(&stoa, &run.name);
        judged += usize::from(end.0 == "signaled");
    }
    assert!(judged >= RUNS / 2, "only {judged} runs were killed before their end");
}

fn known_to_have_ended(stoa: &Stoa, name: &str) -> bool {
    let shown = stoa.stoa(["show", "--json", name]).run();
    shown.code == 0 && shown.json()["end"].is_object()
}
