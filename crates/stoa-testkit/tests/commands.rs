//! Every command, by what it really prints.

use expect_test::{Expect, expect, expect_file};
use serde_json::Value;
use stoa_testkit::{Stoa, until, without_ids};

/// Commands that need no run.
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// Runs commands one after the other and shows them as a terminal would: the command, what it printed, its exit code.
fn transcript(stoa: &Stoa, commands: &[&[&str]]) -> String {
    let mut shown = String::new();
    for args in commands {
        let output = stoa.stoa(*args).run();
        if args.contains(&"--detach") {
            // It is accepted; the next command may come before its start.
            until("the run starts", || stoa.record(output.out().trim())["state"] == "running");
        }
        let code = if output.code == 0 { String::new() } else { format!("[exit code {}]\n", output.code) };
        shown += &format!("$ stoa {}\n{}{}{code}", args.join(" "), output.out(), output.err());
    }
    stoa.filtered(&shown)
}

fn check(stoa: &Stoa, commands: &[&[&str]], expected: &Expect) {
    expected.assert_eq(&transcript(stoa, commands));
}

/// The names of an object's fields, in order.
fn fields(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// A session that uses every command about runs.
const SESSION: [&[&str]; 23] = [
    &["ps"],
    &["run", "--", "echo", "hello"],
    &["run", "--name", "three", "--", "sh", "-c", "echo out; echo err >&2; exit 3"],
    &["run", "--detach", "--name", "long", "--", "sleep", "1000"],
    &["ps"],
    &["ps", "--live"],
    &["rm", "long"],
    &["stop", "long"],
    &["stop", "long"],
    &["wait", "three"],
    &["wait", "long", "echo-1"],
    &["logs", "three"],
    &["logs", "--tail", "1", "echo-1"],
    &["logs", "-f", "echo-1"],
    &["attach", "three"],
    &["again", "echo-1"],
    &["again", "--name", "more", "three"],
    &["metrics", "three"],
    &["run", "--name", "three", "--", "true"],
    &["ps", "--all"],
    &["rm", "long", "three"],
    &["rm", "--ended"],
    &["ps"],
];

#[test]
fn a_session_with_every_command_about_runs() {
    let stoa = Stoa::new();
    check(
        &stoa,
        &SESSION,
        &expect![[r#"
        $ stoa ps
        no runs yet; start one with stoa run SCRIPT
        $ stoa run -- echo hello
        hello
        $ stoa run --name three -- sh -c echo out; echo err >&2; exit 3
        out
        err
        [exit code 3]
        $ stoa run --detach --name long -- sleep 1000
        [ID]
        long runs; follow it: stoa attach long
        $ stoa ps
        RUN  NAME  STATE  WHAT  AGE  TOOK  END
        [ID]  long  ● running  sleep 1000  now  [SPAN]
        [ID]  three  ✗ failed  sh -c echo out; echo err >&2; exit 3  now  [SPAN]  exit code 3
        [ID]  echo-1  ✓ succeeded  echo hello  now  [SPAN]
        $ stoa ps --live
        RUN  NAME  STATE  WHAT  AGE  TOOK
        [ID]  long  ● running  sleep 1000  now  [SPAN]
        $ stoa rm long
        error: [ID] has not ended
          hint: stop it first: `stoa stop [ID]`, or `stoa rm --force [ID]`
        [exit code 2]
        $ stoa stop long
        long stopped
        $ stoa stop long
        long stopped
        $ stoa wait three
        three failed: exit code 3
        [exit code 3]
        $ stoa wait long echo-1
        long stopped: stopped
        echo-1 succeeded: exit code 0
        $ stoa logs three
        out
        err
        $ stoa logs --tail 1 echo-1
        hello
        $ stoa logs -f echo-1
        hello
        $ stoa attach three
        [exit code 3]
        $ stoa again echo-1
        hello
        $ stoa again --name more three
        out
        err
        [exit code 3]
        $ stoa metrics three
        three has no metrics
        $ stoa run --name three -- true
        $ stoa ps --all
        RUN  NAME  STATE  WHAT  AGE  TOOK  END
        [ID]  three  ✓ succeeded  true  now  [SPAN]
        [ID]  more  ✗ failed  sh -c echo out; echo err >&2; exit 3  now  [SPAN]  exit code 3
        [ID]  echo-2  ✓ succeeded  echo hello  now  [SPAN]
        [ID]  long  ■ stopped  sleep 1000  now  [SPAN]
        [ID]  three  ✗ failed  sh -c echo out; echo err >&2; exit 3  now  [SPAN]  exit code 3
        [ID]  echo-1  ✓ succeeded  echo hello  now  [SPAN]
        $ stoa rm long three
        [ID]
        [ID]
        $ stoa rm --ended
        [ID]
        [ID]
        [ID]
        [ID]
        $ stoa ps
        no runs yet; start one with stoa run SCRIPT
    "#]],
    );
}

#[test]
fn the_page_of_a_run_tells_everything_known_of_it() {
    let stoa = Stoa::new();
    stoa.stoa(["run", "--name", "page", "--time-limit", "1m", "--", "sh", "-c", "exit 4"]).run().code(4);
    let page = stoa.stoa(["show", "page"]).run().ok().out();
    let page = stoa.filtered(&page);
    let headings: Vec<&str> = page.lines().filter(|line| !line.starts_with(' ') && !line.is_empty()).collect();
    expect![[r#"
        page  [ID]  ✗ failed
        What
        Times
        Resources
        Isolation
        Host
        Next
    "#]]
    .assert_eq(&(headings.join("\n") + "\n"));
    for line in [
        "end  exit code 4",
        "exit code  4",
        "program  sh -c exit 4",
        "command  /usr/bin/sh -c exit 4",
        "seccomp  in force",
    ] {
        assert!(page.contains(line), "{line:?} is missing:\n{page}");
    }
}

#[test]
fn the_daemon_is_started_shown_and_stopped() {
    let stoa = Stoa::new();
    let status = transcript(&stoa, &[&["daemon", "status"], &["daemon", "start"]]);
    assert!(status.starts_with("$ stoa daemon status\nstopped\nhome  [ROOT]/state\n[exit code 1]\n"), "{status}");
    assert!(status.contains("$ stoa daemon start\nrunning  pid "), "{status}");
    let json = stoa.stoa(["daemon", "status", "--json"]).run().ok().json();
    expect!["home live_runs log memory pid running socket started version"].assert_eq(&fields(&json).join(" "));
    assert_eq!(json["pid"].as_u64().map(|pid| pid as u32), stoa.daemon_pid());
    let again = stoa.stoa(["daemon", "start", "--json"]).run().ok().json();
    assert_eq!(again["pid"], json["pid"], "a daemon that runs is not started again");
    assert_eq!(stoa.stoa(["daemon", "stop", "--json"]).run().ok().json()["running"], false);
    assert_eq!(stoa.stoa(["daemon", "stop"]).run().ok().out().lines().next(), Some("stopped"));
    assert!(
        !stoa.stoa(["daemon", "status", "--json"]).run().code(1).json().as_object().expect("one").contains_key("pid")
    );
}

#[test]
fn every_json_answer_is_one_value_with_its_fields() {
    let stoa = Stoa::new();
    let json = |args: &[&str]| stoa.stoa(args).run().json();
    let run = stoa.stoa(["run", "--json", "--name", "j", "--", "sh", "-c", "echo out"]).run().ok();
    assert_eq!(run.err(), "out\n", "the program's output makes room for the record");
    let run = run.json();
    expect!["attempt code command created dir end ended environment exit_code host id isolation name output output_lost project spec started state usage"].assert_eq(&fields(&run).join(" "));
    expect!["allow_degraded cwd env hidden_env limits mounts name named_env network program python repeats retries stdin terminal umask"].assert_eq(&fields(&run["spec"]).join(" "));
    expect!["cpu_system cpu_user peak_gpu_memory peak_memory read written"].assert_eq(&fields(&run["usage"]).join(" "));
    assert_eq!(json(&["show", "--json", "j"]), run);
    assert_eq!(json(&["ps", "--json"]), Value::Array(vec![run.clone()]));
    assert_eq!(json(&["ps", "--live", "--json"]), Value::Array(vec![]));
    assert_eq!(json(&["wait", "--json", "j"]), Value::Array(vec![run.clone()]));
    assert_eq!(json(&["stop", "--json", "j"]), Value::Array(vec![run.clone()]));
    assert_eq!(json(&["again", "--json", "j"])["spec"]["repeats"], run["id"]);
    let detached = json(&["run", "--json", "--detach", "--", "true"]);
    assert_eq!(fields(&detached), fields(&run));
    stoa.wait(detached["id"].as_str().expect("an id"));
    let logs = stoa.stoa(["logs", "--json", "j"]).run().ok().out();
    let piece: Value = serde_json::from_str(logs.lines().next().expect("a line")).expect("JSON in each line");
    expect!["attempt lost offset stream text time"].assert_eq(&fields(&piece).join(" "));
    assert_eq!((&piece["stream"], &piece["text"]), (&Value::from("stdout"), &Value::from("out\n")));
    expect!["artifacts lost name run series summary"].assert_eq(&fields(&json(&["metrics", "--json", "j"])).join(" "));
    expect!["facts host mechanisms requirements"].assert_eq(&fields(&json(&["doctor", "--json"])).join(" "));
    let id = run["id"].clone();
    assert_eq!(json(&["rm", "--json", "j"]), Value::Array(vec![id]));
}

#[test]
fn a_name_serves_wherever_an_id_does_and_the_newest_run_has_it() {
    let stoa = Stoa::new();
    let first = stoa.stoa(["run", "--json", "--name", "n", "--", "sh", "-c", "echo 1"]).run().ok().json();
    let second = stoa.stoa(["run", "--json", "--name", "n", "--", "sh", "-c", "echo 2"]).run();
    // Whether a name may be used twice is the product's choice; the id always serves, and the name finds a run of that name.
    let found = stoa.record("n");
    assert!(second.code == 2 || found["id"] == second.json()["id"], "{found}");
    let id = first["id"].as_str().expect("an id");
    for name in [id, found["id"].as_str().expect("an id"), "n"] {
        for args in
            [vec!["show", name], vec!["logs", name], vec!["wait", name], vec!["stop", name], vec!["metrics", name]]
        {
            stoa.stoa(args).run().ok();
        }
    }
    assert_eq!(stoa.stoa(["logs", id]).run().out(), "1\n");
    stoa.stoa(["rm", id]).run().ok();
    stoa.stoa(["show", id]).run().code(2);
}

#[test]
fn names_made_from_the_program_are_counted() {
    let stoa = Stoa::new();
    stoa.write("train.sh", "echo trained $1");
    for number in 1..=3 {
        stoa.stoa(["run", "train.sh", &number.to_string()]).run().ok();
        assert_eq!(stoa.stoa(["logs", &format!("train-{number}")]).run().ok().out(), format!("trained {number}\n"));
    }
}

#[test]
fn the_help_of_every_command_is_as_kept() {
    let stoa = Stoa::new();
    let mut all = String::new();
    let commands = [
        "",
        "run",
        "ps",
        "show",
        "logs",
        "attach",
        "wait",
        "stop",
        "again",
        "rm",
        "watch",
        "plot",
        "metrics",
        "doctor",
        "daemon",
        "daemon start",
        "daemon stop",
        "daemon status",
        "completions",
        "exit-codes",
    ];
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().collect();
        let help = stoa.stoa(words.iter().copied().chain(["--help"])).run().ok().out();
        assert!(command == "daemon" || help.contains("Examples:"), "stoa {command} --help has no example");
        all += &format!("$ stoa {command} --help\n{help}\n");
    }
    assert!(stoa.daemon_pid().is_none(), "help needs no daemon");
    // An absolute path: a relative one is looked for below the topmost folder with a Cargo.toml, which may be anybody's.
    expect_file![concat!(env!("CARGO_MANIFEST_DIR"), "/tests/help.txt")].assert_eq(&all);
}

#[test]
fn the_exit_codes_are_listed_and_the_version_is_told() {
    let stoa = Stoa::new();
    check(
        &stoa,
        &[&["exit-codes"]],
        &expect![[r#"
        $ stoa exit-codes
          0  done
          1  the command ran and its answer is "failed"
          2  the command line, or a file named on it, cannot be used
          69  something needed is not available on this machine
          70  a defect of Stoa
          75  a passing condition; the same command may work later
          77  not permitted
          78  a configuration or project file is wrong
          126  the program exists but cannot be executed
          127  the program was not found

        `stoa run`, `again`, `attach` and `wait` end with the exit code of the run: its own, 128+n when signal n ended it,
        or 124 when it ended well at its time limit.
    "#]],
    );
    let version = stoa.stoa(["--version"]).run().ok().out();
    assert_eq!(version, format!("stoa {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_are_made_for_each_shell_and_load_there() {
    let stoa = Stoa::new();
    for shell in SHELLS {
        let script = stoa.stoa(["completions", shell]).run().ok().out();
        for word in ["run", "again", "time-limit"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        stoa.write(format!("complete.{shell}"), &script);
    }
    let script = "source complete.bash && complete -p stoa && COMP_WORDS=(stoa ag) COMP_CWORD=1 && _stoa stoa ag stoa && echo ${COMPREPLY[@]}";
    let output = stoa.any("bash", ["-c", script]).run().ok();
    assert!(output.out().ends_with("again\n"), "{}", output.out());
    stoa.stoa(["completions", "tcsh"]).run().code(2);
}

#[test]
fn colour_is_for_terminals_and_follows_the_conventions() {
    let stoa = Stoa::new();
    stoa.stoa(["run", "--", "true"]).run().ok();
    let escape = |output: stoa_testkit::Output| output.out().contains('\u{1b}');
    assert!(!escape(stoa.stoa(["ps"]).run()));
    assert!(escape(stoa.stoa(["ps"]).env("CLICOLOR_FORCE", "1").env("TERM", "xterm").run()));
    assert!(!escape(stoa.stoa(["ps"]).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1").run()));
    let mut terminal = stoa.terminal(&["ps"], 24, 100);
    assert_eq!(terminal.finish(), 0);
    assert!(terminal.shown().contains('\u{1b}'), "{}", terminal.shown());
    let ascii = stoa.stoa(["ps"]).env("LANG", "C").run().ok().out();
    assert!(ascii.is_ascii(), "{ascii}");
}

#[test]
fn a_reader_that_leaves_ends_a_command_quietly() {
    let stoa = Stoa::new();
    let program = stoa.program().display().to_string();
    let line = format!("{program} --help | head -n 1; {program} run -- yes | head -n 1; echo done");
    let output = stoa.any("bash", ["-c", &line]).run().ok();
    let lines: Vec<String> = output.out().lines().map(str::to_owned).collect();
    assert_eq!(lines[1..], ["y", "done"], "{}", output.err());
    assert!(!output.err().contains("anic"), "{}", output.err());
    assert_eq!(stoa.wait("yes-1")["state"].as_str().map(|state| state == "running"), Some(false));
}

#[test]
fn logs_can_be_followed_and_cut() {
    let stoa = Stoa::new();
    stoa.write("gate", "");
    let script =
        "for i in 1 2 3 4 5; do echo line $i; done; until test -s gate; do sleep 0.01; done; echo last; exit 6";
    let run = stoa.detach(&["--name", "lines", "--", "sh", "-c", script]);
    let follower = stoa.stoa(["logs", "-f", &run]).start();
    follower.expect_out("line 5\n");
    let tail = stoa.stoa(["logs", "-f", "--tail", "2", "lines"]).start();
    tail.expect_out("line 5\n");
    let waiting = stoa.stoa(["wait", "lines"]).start();
    stoa.write("gate", "open");
    assert_eq!(tail.finish().ok().out(), "line 4\nline 5\nlast\n");
    assert_eq!(follower.finish().ok().out(), "line 1\nline 2\nline 3\nline 4\nline 5\nlast\n");
    assert_eq!(waiting.finish().code(6).out(), "lines failed: exit code 6\n");
    assert_eq!(stoa.stoa(["logs", "--tail", "3", "lines"]).run().ok().out(), "line 4\nline 5\nlast\n");
    assert_eq!(stoa.stoa(["logs", "--tail", "0", "lines"]).run().ok().out(), "");
}

#[test]
fn a_run_is_stopped_politely_and_then_by_force() {
    Stoa::for_each_user(|stoa| {
        let polite = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
        let run = stoa.detach(&["--name", "polite", "--", "bash", "-c", polite]);
        stoa.stoa(["logs", "-f", &run]).start().expect_out("ready");
        assert_eq!(stoa.stoa(["stop", "polite"]).run().ok().out(), "polite stopped\n");
        assert_eq!(stoa.stoa(["logs", "polite"]).run().out(), "ready\nbye\n");
        let deaf = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
        stoa.detach(&["--name", "deaf", "--", "bash", "-c", deaf]);
        stoa.stoa(["logs", "-f", "deaf"]).start().expect_out("ready");
        stoa.stoa(["stop", "--grace", "200ms", "deaf"]).run().ok();
        let record = stoa.record("deaf");
        assert_eq!(record["end"], serde_json::json!({"kind": "stopped", "killed": true}));
        assert_eq!((&record["state"], &record["exit_code"]), (&"stopped".into(), &137.into()));
    });
}

#[test]
fn curves_are_drawn_in_the_terminal_and_as_a_picture() {
    let stoa = Stoa::new();
    stoa.write(
        "log.py",
        "import stoa\nfor s in range(20): stoa.log({'loss': 1/(s+1), 'acc': float('nan') if s == 3 else s}, step=s)\n",
    );
    stoa.stoa(["run", "log.py"]).run().ok();
    let plot = stoa.stoa(["plot", "log-1", "loss", "--width", "60", "--height", "8"]).run().ok().out();
    expect![[r#"
        log-1: loss                                     ━━ loss 0.05
        1.0 ┤⢄  ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·
            │ ⠣⡀
        0.5 ┤  ⠘⠤⣀  ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·
            │     ⠉⠑⠒⠤⠤⠤⠤⠤⣀⣀⣀⣀⣀⡀
          0 ┤   ·   ·   ·   ·  ⠈⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠑⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒
            └┬─────────────┬─────────────┬──────────────┬───────────
             0             5            10             15       step
    "#]]
    .assert_eq(&plot);
    assert!(stoa.stoa(["plot", "log-1"]).env("LANG", "C").run().ok().out().is_ascii());
    assert!(
        !stoa.stoa(["plot", "log-1", "loss", "acc", "--log", "--smooth", "0.5", "--time"]).run().ok().out().is_empty()
    );
    stoa.stoa(["plot", "log-1", "loss", "acc", "--svg", "curves.svg"]).run().ok();
    let svg = std::fs::read_to_string(stoa.project().join("curves.svg")).expect("a picture");
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
    assert!(svg.contains("loss") && svg.contains("acc") && svg.contains("1 NaN"), "{svg}");
    let drawn = stoa.stoa(["plot", "log-1", "loss", "--json"]).run().ok().json();
    assert_eq!(drawn[0]["summary"]["count"], 20);
    let metrics = stoa.stoa(["metrics", "log-1", "acc", "--json"]).run().ok().json();
    assert_eq!(metrics["series"].as_array().map(Vec::len), Some(1));
    assert_eq!(metrics["series"][0]["points"][3]["value"], "NaN");
    let table = stoa.stoa(["metrics", "log-1"]).run().ok().out();
    expect![[r#"
        METRIC  POINTS  LAST  MIN  MAX  CURVE
        acc  20  19  0  19  ▁▁▂!▂▃▃▄▄▄▅▅▅▆▆▇▇▇██
        loss  20  0.05  0.05  1  █▄▃▂▂▂▂▂▁▁▁▁▁▁▁▁▁▁▁▁
    "#]]
    .assert_eq(&without_ids(&table));
}

#[test]
fn the_full_screen_view_draws_live_curves_and_leaves_the_terminal_as_it_was() {
    let stoa = Stoa::new();
    stoa.write("gate", "");
    let script = "import stoa, time, os\ns = 0\nwhile not os.path.getsize('gate'):\n    stoa.log({'reward': s}, step=s); s += 1; time.sleep(0.01)\n";
    stoa.write("live.py", script);
    stoa.detach(&["live.py"]);
    let mut watch = stoa.terminal(&["watch", "live-1"], 30, 100);
    watch.expect("reward");
    watch.resize(20, 60);
    watch.expect("reward");
    watch.send(b"q");
    assert_eq!(watch.finish(), 0);
    assert!(watch.shown().contains("\u{1b}[?1049h") && watch.shown().contains("\u{1b}[?1049l"), "{}", watch.shown());
    let mut inline = stoa.terminal(&["run", "--watch", "live.py"], 30, 100);
    inline.expect("reward");
    stoa.write("gate", "open");
    assert_eq!(inline.finish(), 0);
    assert_eq!(stoa.wait("live-1")["state"], "succeeded");
}
