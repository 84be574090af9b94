//! Python scripts: dependencies from the registry, metrics, event files of TensorBoard.

use stoa_testkit::event_file::EventFile;
use stoa_testkit::{Stoa, missing_program, skip, until};

/// A proxy on which nobody listens: port 9 is "discard", which no machine serves any more.
const DEAD_PROXY: &str = "http://127.0.0.1:9";

const SIX: &str = "# /// script\n# dependencies = [\"six\"]\n# ///\nimport six, sys; print(six.PY3, sys.argv[1:])\n";

/// Whether the registry answers; the test is skipped when it does not.
fn offline(output: &stoa_testkit::Output) -> bool {
    let offline = output.code == 69;
    if offline {
        skip(&format!("no package registry can be reached: {}", output.err().lines().last().unwrap_or_default()));
    }
    offline
}

#[test]
fn dependencies_are_installed_once_and_then_a_run_resolves_nothing() {
    let stoa = Stoa::new();
    stoa.write("s.py", SIX);
    let first = stoa.stoa(["run", "s.py", "a"]).run();
    if offline(&first) {
        return;
    }
    let first = first.ok();
    assert_eq!(first.out(), "True ['a']\n", "only the script prints to standard output");
    for step in ["Resolving dependencies", "Installing dependencies", "six=="] {
        assert!(first.err().contains(step), "progress is shown: {}", first.err());
    }
    // Nothing is resolved: neither a network nor a cache is needed any more.
    let second = stoa.stoa(["run", "--name", "second", "s.py"]).env("HTTPS_PROXY", DEAD_PROXY).run().ok();
    assert_eq!((second.out().as_str(), second.err().as_str()), ("True []\n", ""));
    let environment = stoa.record("second")["environment"].clone();
    assert!(environment["lock"][0].as_str().is_some_and(|line| line.starts_with("six==")), "{environment}");
    assert_eq!(environment["source"], "PEP 723 block of s.py");

    // Another script with the same dependencies shares the environment.
    stoa.write("other/t.py", SIX);
    assert_eq!(stoa.stoa(["run", "other/t.py"]).run().ok().err(), "");
    wrong_dependencies(&stoa);
}

/// Uses the uv that is installed now.
fn wrong_dependencies(stoa: &Stoa) {
    let run = |dependency: &str| {
        stoa.write("wrong.py", format!("# /// script\n# dependencies = [{dependency}]\n# ///\nprint('ran')\n"));
        stoa.stoa(["run", "wrong.py"]).env("UV_HTTP_TIMEOUT", "5")
    };
    let missing = run("\"stoa-does-not-exist-e8f3\"").run().code(78);
    assert_eq!(missing.explains("stoa-does-not-exist-e8f3", "not found", "spelling").out(), "");
    run("\"six==99.1\"").run().code(78).explains("cannot be resolved", "six==99.1", "loosen the version");
    run("\"six<1.10\", \"six>1.15\"").run().code(78).explains("cannot be resolved", "six", "loosen the version");
    run("\"num py ==\"").run().code(78).explains("not written correctly", "", "numpy>=1.26");
    let offline = run("\"idna\"").env("HTTPS_PROXY", DEAD_PROXY).env("UV_HTTP_RETRIES", "0").run();
    offline.code(69).explains("cannot reach the package index", "", "connect to the network");
    let last = stoa.stoa(["ps", "--json"]).run().json()[0].clone();
    assert_eq!((&last["state"], &last["end"]["kind"]), (&"failed".into(), &"infrastructure".into()));
}

#[test]
fn without_a_network_and_without_uv_both_are_named() {
    if !stoa_testkit::is_root() {
        return skip("only root can take the network away");
    }
    if missing_program("unshare") || !missing_uv() {
        return;
    }
    let stoa = Stoa::new();
    stoa.write("s.py", SIX);
    let run = stoa.stoa(["run", "s.py"]).env("PIP_RETRIES", "0").under(&["unshare", "--net"]);
    run.run().code(69).explains("cannot install uv", "", "connect to the network");
}

/// Whether no uv is installed on the machine; says so otherwise.
fn missing_uv() -> bool {
    let found = ["/usr/bin/uv", "/usr/local/bin/uv"].iter().any(|path| std::path::Path::new(path).exists());
    if found {
        skip("uv is installed on this machine");
    }
    !found
}

#[test]
fn an_active_virtual_environment_is_used_as_it_is() {
    let stoa = Stoa::new();
    let made = stoa.any("python3", ["-m", "venv", "--without-pip", "../venv"]).run();
    if made.code != 0 {
        return skip("python3 cannot make virtual environments here");
    }
    stoa.write("s.py", "import sys; print(sys.prefix)");
    let venv = stoa.user_home().join("venv");
    let output = stoa.stoa(["run", "s.py"]).env("VIRTUAL_ENV", &venv).run().ok();
    assert_eq!(output.out().trim(), venv.display().to_string());
    let python = venv.join("bin/python").display().to_string();
    assert_eq!(stoa.stoa(["run", "--python", &python, "s.py"]).run().ok().out(), output.out());
}

#[test]
fn what_a_script_logs_is_there_and_live_and_the_module_does_nothing_outside_a_run() {
    Stoa::for_each_user(|stoa| {
        stoa.write("gate", "");
        let script = "import os, stoa, time\n\
                      for step in range(1000): stoa.log({'loss': 1 / (step + 1)}, step=step)\n\
                      while not os.path.getsize('gate'): time.sleep(0.01)\n\
                      stoa.log({'loss': float('inf')}, step=1000)\n\
                      stoa.summary({'best': 0.001, 'note': 'fine'})\n\
                      open('model.bin', 'wb').write(b'weights')\n\
                      stoa.artifact('model.bin')\n";
        stoa.write("t.py", script);
        let run = stoa.detach(&["t.py"]);
        let count = || {
            stoa.stoa(["metrics", &run, "loss", "--json"]).run().ok().json()["series"][0]["summary"]["count"].clone()
        };
        until("the first points are seen while the run goes on", || count() == 1000);
        assert_eq!(stoa.record(&run)["state"], "running");
        stoa.write("gate", "open");
        assert_eq!(stoa.wait(&run)["state"], "succeeded");
        let metrics = stoa.stoa(["metrics", &run, "--json"]).run().ok().json();
        let series = metrics["series"].as_array().expect("a list");
        let loss = series.iter().find(|series| series["summary"]["name"] == "loss").expect("it was logged");
        assert_eq!((&loss["summary"]["count"], &loss["summary"]["last"]["value"]), (&1001.into(), &"Infinity".into()));
        assert_eq!(metrics["summary"], serde_json::json!({"best": 0.001, "note": "fine"}));
        assert_eq!(
            (&metrics["artifacts"][0]["name"], &metrics["artifacts"][0]["size"]),
            (&"model.bin".into(), &7.into())
        );
        let copy = std::fs::read(metrics["artifacts"][0]["path"].as_str().expect("a path")).expect("it was kept");
        assert_eq!(copy, b"weights");
        let library = stoa.state().join("lib/python");
        let line = "import stoa; stoa.log({'x': 1}); stoa.summary({'y': 2}); print('nothing happened')";
        let outside = stoa.any("python3", ["-c", line]).env("PYTHONPATH", library).run().ok();
        assert_eq!(outside.out(), "nothing happened\n");
    });
}

#[test]
fn event_files_of_tensorboard_are_followed_while_they_grow() {
    let stoa = Stoa::new();
    stoa.write("gate", "");
    stoa.write("logs/started", "");
    let run = stoa.detach(&["--", "sh", "-c", "until test -s gate; do sleep 0.01; done"]);
    // The name says when it was begun: older files in the project are of earlier trainings.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    // Written by somebody else than the run: an event file that appears in its project while it runs is its own.
    let mut file =
        EventFile::create(&stoa.project().join(format!("logs/events.out.tfevents.{now}.host.1.0"))).expect("a file");
    let series = || stoa.stoa(["metrics", &run, "train/loss", "--json"]).run().ok().json()["series"][0].clone();
    for (step, value) in [(1, 0.5), (2, 0.25), (5, f32::NAN)] {
        file.scalar("train/loss", step, 1_700_000_000.0 + step as f64, value).expect("written");
        until("the point is seen", || {
            series()["points"].as_array().is_some_and(|p| p.iter().any(|p| p["step"] == step))
        });
    }
    let seen = series();
    assert_eq!(seen["summary"]["origin"], "tensor_board", "{seen}");
    assert_eq!(seen["points"][1]["value"], 0.25);
    assert_eq!(seen["points"][2]["value"], "NaN");
    file.scalar("train/loss", 6, 1_700_000_006.0, 0.125).expect("written");
    stoa.write("gate", "open");
    stoa.wait(&run);
    assert_eq!(series()["summary"]["last"]["step"], 6, "what was written just before the end is there");
}
