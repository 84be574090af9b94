//! The Python module and the service together: what a script logs is what a question answers.

#[cfg(test)]
mod common;

use common::{Run, all, plain, python};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use stoa_metrics::MetricService;

#[test]
fn what_a_script_logs_is_what_a_question_answers() {
    let run = Run::new();
    let script = r#"
import stoa
class Scalar:
    def __float__(self): return 2.5
assert stoa.active and stoa.run_id == "r-00000000"
for n in range(3):
    stoa.log({"loss": 1.0 / (n + 1)}, step=n * 10)
stoa.log({"eval": {"accuracy": 1, "deep": {"x": Scalar()}}, "loss": True}, step=30)
for n in range(3):
    stoa.log({"a": n, "b": -n, "c": float("nan")}, step=n)
stoa.log({"odd": float("inf")}); stoa.log({"odd": -float("inf")}); stoa.log({"odd": 10**400})
stoa.log({"uncounted": 1}, step=2.0)
stoa.log({})
"#;
    let Some(_) = run.python(script) else { return };
    let found = plain(&run.series());
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "eval/accuracy", "eval/deep/x", "loss", "odd", "uncounted"]);
    assert_eq!(found[1].1, [(0, 0.0), (1, -1.0), (2, -2.0)]);
    assert!(found[2].1.iter().all(|(_, value)| value.is_nan()) && found[2].1.len() == 3);
    assert_eq!(found[4].1, [(30, 2.5)]);
    assert_eq!(found[5].1, [(0, 1.0), (10, 0.5), (20, 1.0 / 3.0), (30, 1.0)]);
    assert_eq!(found[6].1, [(0, f64::INFINITY), (1, f64::NEG_INFINITY), (2, f64::INFINITY)]);
    let len = std::fs::metadata(&run.files()[0]).unwrap().len();
    assert!(len < 2000, "a file that was closed is cut to its content, not {len} bytes");
}

#[test]
fn summary_values_and_artifacts_are_kept() {
    let run = Run::new();
    let script = r#"
import os, stoa
stoa.summary(best=0.5, name="net", nested={"list": [1, 2.5, None]})
stoa.summary({"best": 0.9}, nan=float("nan"))
open("model.bin", "wb").write(b"x" * 5)
path = stoa.artifact("model.bin")
assert open(path, "rb").read() == b"xxxxx", path
os.makedirs("out/inner"); open("out/inner/a.txt", "w").write("a"); open("out/b.txt", "w").write("")
stoa.artifact("out", name="results/final")
for bad in ["../x", "/x", "a//b", ""]:
    try: stoa.artifact("model.bin", name=bad)
    except ValueError: pass
    else: raise SystemExit("accepted " + bad)
try: stoa.artifact("missing")
except FileNotFoundError: pass
"#;
    let Some(_) = run.python(script) else { return };
    let facts = MetricService::new().facts(run.path()).unwrap();
    let summary: Vec<(&str, &str)> = facts.summary.iter().map(|(key, json)| (key.as_str(), json.as_str())).collect();
    assert_eq!(
        summary,
        [("best", "0.9"), ("name", "\"net\""), ("nan", "\"NaN\""), ("nested", "{\"list\": [1, 2.5, null]}")]
    );
    let artifacts: Vec<(&str, u64)> = facts.artifacts.values().map(|kept| (kept.name.as_str(), kept.size)).collect();
    assert_eq!(artifacts, [("model.bin", 5), ("results/final/b.txt", 0), ("results/final/inner/a.txt", 1)]);
    assert_eq!(facts.artifacts["model.bin"].sha256, "eaf16bc07968e013f3f94ab1342472434a39fc3475f11cf341a6c3965974f8e9");
    let names = std::fs::read_dir(run.path().join("artifacts")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.count(), 2, "nothing unfinished is left");
}

#[test]
fn wrong_arguments_are_refused_alike_inside_and_outside_a_run() {
    let script = r#"
import stoa
def refused(kind, *args, **named):
    try: stoa.log(*args, **named)
    except kind as error: print(error); return
    raise SystemExit("accepted %r %r" % (args, named))
refused(TypeError, {"loss": "0.5"}, step=1)
refused(TypeError, {"a": {"b": None}})
refused(TypeError, [1, 2])
refused(TypeError, "loss")
refused(TypeError, {"loss": 1}, step="7")
refused(TypeError, {"loss": 1}, step=1.5)
refused(ValueError, {"loss": 1}, step=2**63)
try: stoa.summary(x=object())
except TypeError as error: print(error)
stoa.log({"loss": 1}, step=1); stoa.summary(a=1)
"#;
    let run = Run::new();
    let Some(inside) = run.python(script) else { return };
    let outside = python(script).unwrap().output().unwrap();
    assert!(outside.status.success(), "{}", String::from_utf8_lossy(&outside.stderr));
    assert_eq!(inside.stdout, outside.stdout);
    let text = String::from_utf8(inside.stdout).unwrap();
    assert!(text.contains("'a/b' is of type NoneType"), "{text}");
    assert_eq!(plain(&run.series()), [("loss".to_owned(), vec![(1, 1.0)])]);
}

#[test]
fn threads_lose_no_point() {
    let run = Run::new();
    let script = r#"
import sys, threading, stoa
sys.setswitchinterval(1e-6)
def work(k):
    for n in range(20000): stoa.log({"t%d" % k: n, "u": k} if n % 3 == 0 else {"t%d" % k: n}, step=n)
threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
[t.start() for t in threads]; [t.join() for t in threads]
"#;
    let Some(_) = run.python(script) else { return };
    let found = run.series();
    assert_eq!(found.iter().map(|series| series.summary.count).collect::<Vec<_>>(), [20000, 20000, 20000, 20001]);
    for series in &found[..3] {
        assert!(series.points.iter().enumerate().all(|(n, point)| point.step == n as i64 && point.value == n as f64));
    }
    assert_eq!(MetricService::new().facts(run.path()).unwrap().damaged, 0);
}

#[test]
fn forked_children_write_files_of_their_own() {
    let run = Run::new();
    let script = r#"
import os, stoa
stoa.log({"parent": 0}, step=0)
children = []
for k in range(3):
    pid = os.fork()
    if pid == 0:
        for n in range(1000): stoa.log({"child": n, "parent": -1} if n == 0 else {"child": n}, step=n)
        os._exit(0)
    children.append(pid)
for n in range(1, 1000): stoa.log({"parent": n}, step=n)
for pid in children: assert os.waitpid(pid, 0)[1] == 0
"#;
    let Some(_) = run.python(script) else { return };
    let found = run.series();
    let counts: Vec<(&str, u64)> =
        found.iter().map(|series| (series.summary.name.as_str(), series.summary.count)).collect();
    assert_eq!(counts, [("child", 3000), ("parent", 1003)]);
    assert_eq!(run.files().len(), 4);
}

#[test]
fn a_killed_script_loses_no_point_whose_log_returned() {
    let script = r#"
import os, stoa
for n in range(10**9):
    stoa.log({"loss": n} if n % 5 else {"loss": n, "other": n}, step=n)
    os.write(1, b"%d\n" % n)
"#;
    // Moments that are not multiples of anything; the kill itself comes at a random place of the loop.
    for moment in [1u64, 2, 77, 1023, 2048, 4099, 6011, 9973] {
        let run = Run::new();
        let Some(mut command) = run.script(script) else { return };
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while lines.next().unwrap().unwrap().parse::<u64>().unwrap() < moment {}
        child.kill().unwrap();
        child.wait().unwrap();
        let last: u64 = lines.map_while(Result::ok).filter_map(|line| line.parse().ok()).last().unwrap_or(moment);
        let found = run.series();
        let steps: Vec<i64> = found[0].points.iter().map(|point| point.step).collect();
        assert!(steps.len() as u64 > last, "{} points, but log number {last} had returned", steps.len());
        assert!(steps.iter().enumerate().all(|(n, step)| *step == n as i64));
    }
}

#[test]
fn a_hundred_thousand_names_are_kept_in_bounded_memory() {
    let run = Run::new();
    let script = r#"
import stoa
stoa.log({"name %d" % n: n for n in range(100000)}, step=1)
for n in range(100000, 140000): stoa.log({"name %d" % n: n}, step=1)
stoa.log({"name 5": 6}, step=2)
"#;
    let Some(output) = run.python(script) else { return };
    let service = MetricService::new();
    let found = all(&service, run.path());
    assert_eq!(found.len(), 131_072);
    assert_eq!(service.facts(run.path()).unwrap().lost, 140_000 - 131_072);
    let five = found.iter().find(|series| series.summary.name == "name 5").unwrap();
    assert_eq!(five.points.len(), 2);
    let warnings = String::from_utf8(output.stderr).unwrap();
    assert_eq!(warnings.matches("stoa:").count(), 1, "{warnings}");
}

#[test]
fn a_folder_that_cannot_be_written_costs_one_warning_and_no_exception() {
    let run = Run::new();
    std::fs::remove_dir(run.path().join("metrics")).unwrap();
    std::fs::write(run.path().join("metrics"), "").unwrap();
    let script = r#"
import stoa
for n in range(1000): stoa.log({"a": n, "b": n})
stoa.summary(x=1)
open("model", "w").close(); open("artifacts", "w").close()
assert stoa.artifact("model") is None
assert stoa._lost() == 2000, stoa._lost()
"#;
    let Some(output) = run.python(script) else { return };
    let warnings = String::from_utf8(output.stderr).unwrap();
    assert_eq!(warnings.matches("stoa:").count(), 2, "{warnings}");
}

#[test]
fn logging_goes_on_in_exit_handlers_and_after_them() {
    let run = Run::new();
    let script = r#"
import atexit
atexit.register(lambda: stoa.log({"late": 1}, step=1))  # runs after the module's own
import stoa
stoa.log({"early": 1}, step=1)
atexit.register(lambda: stoa.log({"early": 2}, step=2))
"#;
    let Some(_) = run.python(script) else { return };
    assert_eq!(
        plain(&run.series()),
        [("early".to_owned(), vec![(1, 1.0), (2, 2.0)]), ("late".to_owned(), vec![(1, 1.0)])]
    );
}

#[test]
fn a_signal_handler_may_log() {
    let run = Run::new();
    let script = r#"
import signal, stoa
count = 0
def handler(*_):
    global count
    stoa.log({"signal": count}, step=count); count += 1
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
for n in range(100000): stoa.log({"loop": n}, step=n)
signal.setitimer(signal.ITIMER_REAL, 0)
signal.signal(signal.SIGALRM, signal.SIG_IGN)
stoa.summary(count=count)
"#;
    let Some(_) = run.python(script) else { return };
    let found = run.series();
    let facts = MetricService::new().facts(run.path()).unwrap();
    assert_eq!(
        (found[0].summary.count, found[1].summary.count, facts.damaged),
        (100_000, facts.summary["count"].parse().unwrap(), 0)
    );
}

#[test]
fn a_file_system_that_cannot_allocate_ahead_is_filled_with_zeros() {
    let run = Run::new();
    let script = r#"
import errno, os
def refuse(*_): raise OSError(errno.EOPNOTSUPP, "not here")
os.posix_fallocate = refuse
import stoa
for n in range(10000): stoa.log({"loss": n}, step=n)
import glob
assert all(os.stat(path).st_blocks * 512 >= os.stat(path).st_size for path in glob.glob("metrics/*.stm"))
"#;
    let Some(_) = run.python(script) else { return };
    assert_eq!(run.series()[0].summary.count, 10_000);
}

#[test]
fn a_full_disk_costs_points_and_nothing_else() {
    let mount = tempfile::tempdir().unwrap();
    let flags = rustix::mount::MountFlags::empty();
    if let Err(error) = rustix::mount::mount("tmpfs", mount.path(), "tmpfs", flags, Some(c"size=256k")) {
        eprintln!("skipped: a small file system cannot be mounted here: {error}");
        return;
    }
    let run = Run::new();
    let script = r#"
import os, stoa, stoa._writer as writer
writer.RETRY = 0.0
open("full/filler", "wb").write(bytes(100 * 1024))
for n in range(20000): stoa.log({"loss": n}, step=n)
assert stoa._lost() > 0
os.unlink("full/filler")
stoa.log({"loss": -1}, step=20000)
print(stoa._lost())
"#;
    std::os::unix::fs::symlink(mount.path(), run.path().join("full")).unwrap();
    let dir = mount.path().join("run");
    std::fs::create_dir(&dir).unwrap();
    let output = run.script(script).map(|mut command| command.env("STOA_RUN_DIR", &dir).output().unwrap());
    let checked = output.map(|output| {
        let service = MetricService::new();
        (output, all(&service, &dir), service.facts(&dir).unwrap())
    });
    rustix::mount::unmount(mount.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    let Some((output, found, facts)) = checked else { return };
    assert!(output.status.success(), "{output:?}");
    let lost: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert!(lost > 0 && facts.lost == lost, "{lost} {facts:?}");
    assert_eq!(found[0].summary.count, 20_001 - lost);
    assert_eq!(found[0].summary.last.unwrap().step, 20_000);
    assert_eq!(String::from_utf8(output.stderr).unwrap().matches("stoa:").count(), 1);
}
