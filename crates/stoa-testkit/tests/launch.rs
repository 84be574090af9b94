//! What a run is started with: environment, folders, limits, input and output.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use stoa_testkit::{Stoa, missing_program, skip};

/// Bytes of every value, none of them text, a prime number of them so that no buffer size divides it.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        // Marsaglia's xorshift64.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(length).collect()
}

#[test]
fn exit_codes_and_signals_come_through() {
    Stoa::for_each_user(|stoa| {
        for code in [0, 1, 2, 69, 127, 255] {
            stoa.stoa(["run", "--", "sh", "-c", &format!("exit {code}")]).run().code(code);
        }
        for (signal, number) in [("TERM", 15), ("KILL", 9), ("SEGV", 11), ("ABRT", 6)] {
            stoa.stoa(["run", "--", "sh", "-c", &format!("kill -{signal} $$")]).run().code(128 + number);
        }
        let ends = stoa.stoa(["ps", "--all", "--json"]).run().json();
        let last = &ends[0]["end"];
        assert_eq!(*last, serde_json::json!({"kind": "signaled", "signal": 6}));
    });
}

#[test]
fn a_run_takes_the_place_of_its_program() {
    Stoa::for_each_user(|stoa| {
        // The same folder, arguments, variables, mask and files afterwards as without Stoa.
        let script = "pwd; umask; printf '[%s]' \"$@\"; echo; echo $EPOCHS; echo made > made; mkdir dir; exit 3";
        let args = ["-c", script, "name", "--epochs", "3", "a b", "", "*", "-x", "ünïcode"];
        let command = |through_stoa: bool| {
            let command = if through_stoa { stoa.stoa(["run", "--", "sh"]) } else { stoa.any("sh", [""; 0]) };
            command.args(args).env("EPOCHS", "7")
        };
        let mask =
            |command: stoa_testkit::Cmd| command.under(&["sh", "-c", "umask 027; exec \"$@\"", "sh"]).run().code(3);
        let modes = || {
            let mode = |name: &str| fs::metadata(stoa.project().join(name)).expect("made").permissions().mode() & 0o777;
            let modes = (mode("made"), mode("dir"));
            fs::remove_file(stoa.project().join("made")).expect("it goes");
            fs::remove_dir(stoa.project().join("dir")).expect("it goes");
            modes
        };
        let plain = mask(command(false));
        let plain_modes = modes();
        let through = mask(command(true));
        assert_eq!(through.out(), plain.out());
        assert_eq!(through.err(), plain.err());
        assert_eq!(modes(), plain_modes);
        assert_eq!(plain_modes, (0o640, 0o750));
    });
}

#[test]
fn scripts_run_in_their_language() {
    let stoa = Stoa::new();
    let scripts = [
        ("s.py", "import sys; print('python', sys.argv[1:])", "python ['1', '--two']\n", "python3"),
        ("s.sh", "echo sh \"$@\"", "sh 1 --two\n", "sh"),
        ("s.bash", "a=(\"$@\"); echo bash ${a[1]}", "bash --two\n", "bash"),
        ("s.pl", "print \"perl @ARGV\\n\"", "perl 1 --two\n", "perl"),
        ("shebang", "#!/usr/bin/env bash\necho ${BASH_VERSION:+bash}", "bash\n", "bash"),
    ];
    for (name, content, printed, interpreter) in scripts {
        if missing_program(interpreter) {
            continue;
        }
        stoa.write(name, content);
        assert_eq!(stoa.stoa(["run", name, "1", "--two"]).run().ok().out(), printed, "{name}");
    }
}

#[test]
fn variables_are_set_and_passed_by_name() {
    let stoa = Stoa::new();
    let script = "echo \"$A|$B|$PASSED\"; test \"$STOA_RUN_DIR\" -ef . ; echo $STOA_RUN_ID";
    let options = ["run", "--name", "v", "--env", "A=1=2", "-e", "B=", "--env", "PASSED", "--", "sh", "-c", script];
    let output = stoa.stoa(options).env("PASSED", "on").env("A", "old").run().ok();
    let record = stoa.record("v");
    assert_eq!(output.out(), format!("1=2||on\n{}\n", record["id"].as_str().expect("an id")));
    let dir =
        stoa.stoa(["run", "--json", "--", "sh", "-c", "echo $STOA_RUN_DIR >&2; echo x > $STOA_RUN_DIR/kept"]).run();
    let kept = std::path::PathBuf::from(dir.json()["dir"].as_str().expect("a path"));
    assert_eq!(dir.err().trim(), kept.display().to_string());
    assert_eq!(fs::read_to_string(kept.join("kept")).expect("kept"), "x\n");
}

#[test]
fn folders_are_mounted_to_read_and_to_write() {
    Stoa::for_each_user(|stoa| {
        for folder in ["../data", "../out"] {
            stoa.write(format!("{folder}/file"), "content\n");
        }
        let script = "cat ../data/file ../out/file; echo new > ../data/file; echo new > ../out/file; rm ../data/file";
        let output = stoa.stoa(["run", "--mount", "~/data:ro", "--mount", "../out", "--", "sh", "-c", script]).run();
        assert_eq!(output.out(), "content\ncontent\n", "{}", output.err());
        assert_eq!(output.err().matches("Read-only file system").count(), 2, "{}", output.err());
        assert_eq!(fs::read_to_string(stoa.user_home().join("data/file")).expect("it stays"), "content\n");
        assert_eq!(fs::read_to_string(stoa.user_home().join("out/file")).expect("it stays"), "new\n");
    });
}

#[test]
fn processors_are_limited_and_told_to_the_libraries() {
    let stoa = Stoa::new();
    stoa.write("t.py", "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['MKL_NUM_THREADS'])");
    let output = stoa.stoa(["run", "--cpus", "1.5", "t.py"]).run();
    if output.code == 69 {
        return skip("this user may not limit processors here");
    }
    assert_eq!(output.ok().out(), "2 2\n");
    // Two threads that compute for 0.6 s of wall-clock time may use 0.25 of that.
    let script = "for n in 1 2; do (end=$(($(date +%s%N) + 600000000)); while [ $(date +%s%N) -lt $end ]; do :; done) & done; wait";
    stoa.stoa(["run", "--name", "slow", "--cpus", "0.25", "--", "bash", "-c", script]).run().ok();
    let record = stoa.record("slow");
    let seconds = |name: &str| {
        let span = &record["usage"][name];
        span["secs"].as_f64().expect("seconds") + span["nanos"].as_f64().expect("nanoseconds") / 1e9
    };
    let nanos = |name: &str| record[name].as_f64().expect("a time");
    let wall = (nanos("ended") - nanos("started")) / 1e9;
    let used = (seconds("cpu_user") + seconds("cpu_system")) / wall;
    assert!(used < 0.4, "it used {used} processors: {record}");
}

#[test]
fn memory_is_limited_for_all_processes_together() {
    let stoa = Stoa::new();
    // Each alone fits; together they do not. Each waits for the others before it ends.
    let script = "import subprocess, sys\n\
                  child = 'x = b\"x\" * (40 << 20); print(1, flush=True); input()'\n\
                  start = lambda: subprocess.Popen([sys.executable, '-c', child], stdin=-1, stdout=-1, stderr=-3)\n\
                  children = [start() for _ in range(3)]\n\
                  ready = [len(child.stdout.readline()) for child in children]\n\
                  for child in children: child.stdin.close()\n\
                  sys.exit(0 if all(ready) else 5)\n";
    stoa.write("three.py", script);
    let output = stoa.stoa(["run", "--name", "m", "--memory", "64M", "three.py"]).run();
    if output.code == 69 {
        return skip("this user may not limit memory here");
    }
    let record = stoa.record("m");
    assert_eq!(record["spec"]["limits"]["memory"], 64 << 20);
    let peak = record["usage"]["peak_memory"].as_u64().expect("measured");
    assert!(peak <= 65 << 20 && peak > 30 << 20, "{peak}");
    assert_ne!(output.code, 0, "{}", output.out());
    output.explains("out of memory (limit 64 MiB)", "", "--memory");
}

#[test]
fn time_is_limited_also_for_a_program_that_ignores_it() {
    Stoa::for_each_user(|stoa| {
        let output = stoa.stoa(["run", "--time-limit", "200ms", "--", "sleep", "1000"]).run();
        let output = output.code(143).explains("time limit of 200 ms reached", "", "--time-limit");
        assert!(output.took < Duration::from_secs(8), "{:?}", output.took);
        let script = "trap 'echo saved; exit 0' TERM; while :; do sleep 0.01; done";
        let output = stoa.stoa(["run", "--time-limit", "300ms", "--", "bash", "-c", script]).run();
        assert_eq!((output.code, output.out().as_str()), (124, "saved\n"), "{}", output.err());
    });
}

#[test]
fn a_run_that_fails_is_started_again_as_often_as_asked() {
    let stoa = Stoa::new();
    let script = "echo try; test -e seen-$((n=$(ls | wc -l)))  ; touch t$n; test $n -ge 2";
    let output = stoa.stoa(["run", "--name", "r", "--retries", "5", "--", "sh", "-c", script]).run().ok();
    assert_eq!(output.out(), "try\ntry\ntry\n");
    assert_eq!((&stoa.record("r")["attempt"], &stoa.record("r")["state"]), (&3.into(), &"succeeded".into()));
    let output = stoa.stoa(["run", "--name", "f", "--retries", "1", "--", "sh", "-c", "echo x; exit 9"]).run().code(9);
    assert_eq!(output.out(), "x\nx\n");
    assert_eq!(stoa.record("f")["attempt"], 2);
}

#[test]
fn a_detached_run_prints_its_id_and_goes_on_without_its_client() {
    Stoa::for_each_user(|stoa| {
        stoa.write("gate", "");
        let script = "until test -s gate; do sleep 0.01; done; echo done";
        let output = stoa.stoa(["run", "--detach", "--name", "d", "--", "sh", "-c", script]).run().ok();
        assert!(output.took < Duration::from_secs(10));
        assert_eq!(output.out().trim(), stoa.record("d")["id"]);
        assert!(output.err().contains("stoa attach d"), "{}", output.err());
        let attached = stoa.stoa(["attach", "d"]).start();
        stoa.write("gate", "open");
        assert_eq!(attached.finish().code, 0);
        assert_eq!(stoa.stoa(["logs", "d"]).run().ok().out(), "done\n");
        // It has no input to wait for.
        let run = stoa.detach(&["--", "cat"]);
        assert_eq!(stoa.wait(&run)["exit_code"], 0);
    });
}

#[test]
fn a_hundred_megabytes_of_input_come_out_unchanged() {
    let stoa = Stoa::new();
    let bytes = noise(100_000_007);
    let output = stoa.stoa(["run", "--", "cat"]).stdin(bytes.clone()).limit(Duration::from_secs(120)).run().ok();
    assert_eq!(output.stdout.len(), bytes.len());
    assert!(output.stdout == bytes, "the bytes differ");
}

#[test]
fn output_that_is_not_text_is_kept_byte_by_byte() {
    Stoa::for_each_user(|stoa| {
        let bytes = noise(1_000_003);
        stoa.write("noise", &bytes);
        let output = stoa.stoa(["run", "--name", "n", "--", "sh", "-c", "cat noise; cat noise >&2"]).run().ok();
        assert!(output.stdout == bytes && output.stderr == bytes, "what was shown differs");
        let logs = stoa.stoa(["logs", "n"]).run().ok();
        assert!(logs.stdout == bytes && logs.stderr == bytes, "what was kept differs");
        assert_eq!(stoa.record("n")["output"], 2_000_006);
    });
}

#[test]
fn input_ends_when_the_callers_ends_and_answers_come_at_once() {
    let stoa = Stoa::new();
    let mut run = stoa
        .stoa(["run", "--", "sh", "-c", "while read -r line; do echo got $line; done; echo end"])
        .stdin_open()
        .start();
    for word in ["one", "two"] {
        run.write(format!("{word}\n").as_bytes());
        run.expect_out(&format!("got {word}\n"));
    }
    run.close_input();
    assert_eq!(run.finish().ok().out(), "got one\ngot two\nend\n");
    // A program that does not read does not hold up its caller.
    let output = stoa.stoa(["run", "--", "true"]).stdin(vec![b'x'; 1 << 20]).run().ok();
    assert!(output.took < Duration::from_secs(10));
}
