//! What a user can get wrong: each is answered with error, cause and hint, and the documented exit code.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use stoa_testkit::{Output, Stoa, User, is_root, missing_program, skip};

/// What `stoa run` says to a script of the project.
fn run(stoa: &Stoa, script: &str) -> Output {
    stoa.stoa(["run", script]).run()
}

#[test]
fn a_script_that_is_missing_is_named_and_a_similar_one_suggested() {
    let stoa = Stoa::new();
    run(&stoa, "train.py").code(2).explains("cannot find the script `train.py`", "No such file", "check the path");
    stoa.write("train.py", "");
    run(&stoa, "trian.py").code(2).explains("`trian.py`", "No such file", "train.py");
}

#[test]
fn a_script_that_cannot_be_read_is_said_to_be_so() {
    // Root reads everything.
    if !is_root() {
        return unreadable(&Stoa::new());
    }
    unreadable(&Stoa::of(User::Stranger));
}

fn unreadable(stoa: &Stoa) {
    let script = stoa.write("secret.py", "print(1)");
    fs::set_permissions(script, fs::Permissions::from_mode(0o000)).expect("a mode");
    run(stoa, "secret.py").code(2).explains("cannot read", "ermission denied", "chmod");
}

#[test]
fn a_folder_is_no_script_and_one_with_a_main_module_is_run_another_way() {
    let stoa = Stoa::new();
    stoa.write("folder/data", "");
    run(&stoa, "folder").code(2).explains("it is a folder", "", "name the script");
    stoa.write("package/__main__.py", "");
    run(&stoa, "package").code(2).explains("it is a folder", "", "package/__main__.py");
}

#[test]
fn a_script_in_an_unknown_language_names_the_known_ones() {
    let stoa = Stoa::new();
    for name in ["model.xyz", "no_ending"] {
        stoa.write(name, "what is this\n");
        let hint = format!("stoa run -- PROGRAM {name}");
        run(&stoa, name).code(2).explains("cannot tell the language", ".py", &hint);
    }
}

#[test]
fn a_program_that_is_missing_or_not_executable_ends_as_in_a_shell() {
    Stoa::for_each_user(|stoa| {
        let run = |program: &str| stoa.stoa(["run", "--", program]).run();
        run("no-such-program").code(127).explains("`no-such-program`", "PATH", "spelling");
        run("./no-such-program").code(127).explains("no-such-program", "does not exist", "");
        stoa.write("data.txt", "x");
        run("./data.txt").code(126).explains("data.txt", "no execute permission", "chmod +x");
        run("/usr").code(126).explains("cannot execute", "it is a folder", "");
        let script = stoa.write("old", "#!/no/such/interpreter\n");
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).expect("a mode");
        run("./old").code(126).explains("old", "/no/such/interpreter", "first line");
    });
}

#[test]
fn a_malformed_pep_723_block_is_shown_with_its_line() {
    let stoa = Stoa::new();
    let blocks = [
        ("# dependencies = [", "line 2"),
        ("# dependencies = \"numpy\"", "line 2"),
        ("# dependencies = [\"num py ==\"]", ""),
        ("# requires-python = \">>3\"", ""),
    ];
    for (block, cause) in blocks {
        stoa.write("bad.py", format!("# /// script\n{block}\n# ///\nprint('ran')\n"));
        let output = run(&stoa, "bad.py");
        if block.contains("num py") {
            // Only the package manager knows how a requirement is written; without network it cannot be asked.
            assert!([78, 69].contains(&output.code), "{}", output.err());
        } else {
            assert_eq!(output.clone().code(78).explains("bad.py", cause, "PEP 723").out(), "");
        }
    }
    stoa.write("bad.py", "# /// script\n# dependencies = []\n# ///\n\n# /// script\n# dependencies = []\n# ///\n");
    run(&stoa, "bad.py").code(78).explains("bad.py", "second", "PEP 723");
}

#[test]
fn values_that_are_no_quantities_are_refused_with_examples() {
    let stoa = Stoa::new();
    let cases = [
        ("--memory", "2X", "`2X` is not a memory size"),
        ("--memory", "-1", "not a memory size"),
        ("--memory", "100", "1 MiB"),
        ("--cpus", "0", "`0` is not a number of CPUs"),
        ("--cpus", "many", "not a number of CPUs"),
        ("--time-limit", "3y", "`3y` is not a time span"),
        ("--time-limit", "0s", "not a time span"),
        ("--pids", "0", "0 is not in 1.."),
        ("--retries", "-2", "invalid value"),
        ("--net", "wifi", "[possible values: host, none]"),
        ("--mount", ":ro", "name a file or folder"),
    ];
    for (option, value, said) in cases {
        let output = stoa.stoa(["run", &format!("{option}={value}"), "--", "true"]).run().code(2);
        assert!(output.err().contains(said), "{option} {value}: {}", output.err());
    }
    assert!(stoa.run_ids().is_empty(), "nothing was accepted");
}

#[test]
fn names_that_cannot_serve_as_names_are_refused() {
    let stoa = Stoa::new();
    for name in ["", "a b", "-x", ".x", "a/b", "a\u{7}", &"x".repeat(101)] {
        let output = stoa.stoa(["run", &format!("--name={name}"), "--", "true"]).run();
        output.code(2).explains("cannot be a run's name", "", "letters, digits");
    }
    let output = stoa.stoa(["run", "--name", "r-12345678", "--", "true"]).run();
    output.code(2).explains("reads as a run's id", "", "another name");
}

#[test]
fn a_run_that_is_unknown_is_said_to_be_so_by_every_command() {
    let stoa = Stoa::new();
    for command in ["show", "logs", "wait", "stop", "rm", "again", "attach", "plot", "metrics"] {
        let output = stoa.stoa([command, "nobody"]).run();
        output.code(2).explains("there is no run `nobody`", "", "stoa ps --all");
    }
    stoa.stoa(["show", "r-00000000"]).run().code(2).explains("there is no run `r-00000000`", "", "stoa ps --all");
    stoa.stoa(["watch", "nobody"]).run().code(2).explains("needs a terminal", "", "stoa plot nobody");
}

#[test]
fn things_that_are_not_there_are_refused() {
    let stoa = Stoa::new();
    let run = |options: &[&str]| stoa.stoa(["run"]).args(options).args(["--", "true"]).run();
    run(&["--mount", "/no/such/folder"]).code(2).explains("cannot make", "No such file", "exists");
    run(&["--env", "NOT_SET_ANYWHERE"]).code(2).explains("NOT_SET_ANYWHERE is not set", "", "NOT_SET_ANYWHERE=value");
    run(&["--env", "=1"]).code(2).explains("names no variable", "", "NAME=value");
    run(&["--gpus", "999"]).code(69).explains("999 GPUs were asked for", "", "stoa doctor");
}

#[test]
fn a_working_folder_that_is_gone_is_refused() {
    let stoa = Stoa::new();
    let program = stoa.program().display().to_string();
    let line = format!("mkdir gone && cd gone && rmdir ../gone && {program} run -- true");
    stoa.any("sh", ["-c", &line]).run().code(2).explains("working folder", "No such file", "folder that exists");
}

#[test]
fn memory_below_what_python_needs_is_reported_as_out_of_memory_and_not_as_a_signal() {
    let stoa = Stoa::new();
    stoa.write("train.py", "print('ran')");
    let output = stoa.stoa(["run", "--name", "small", "--memory", "1M", "train.py"]).run();
    if output.code == 69 {
        return skip("this user may not limit memory here");
    }
    let output = output.code(137).explains("out of memory (limit 1 MiB)", "", "--memory");
    assert_eq!(output.out(), "");
    let end = stoa.record("small")["end"].clone();
    assert_eq!(end["kind"], "out_of_memory", "{end}");
}

#[test]
fn a_socket_path_that_is_too_long_is_measured() {
    let stoa = Stoa::new();
    let folder = stoa.root().join("x".repeat(100));
    fs::create_dir(&folder).expect("a folder");
    for args in [["ps", "--all"], ["daemon", "start"], ["daemon", "status"]] {
        let output = stoa.stoa(args).env("XDG_RUNTIME_DIR", &folder).run();
        output.code(69).explains("the socket path is too long", "Linux allows 107", "XDG_RUNTIME_DIR");
    }
}

#[test]
fn a_home_that_cannot_be_written_is_refused_with_a_way_out() {
    let stoa = if is_root() { Stoa::of(User::Stranger) } else { Stoa::new() };
    let home = stoa.root().join("closed");
    fs::create_dir(&home).expect("a folder");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o555)).expect("a mode");
    let ps = |folder: &str| stoa.stoa(["ps"]).env("STOA_HOME", home.join(folder)).run();
    ps("state").code(69).explains("cannot write", "ermission denied", "STOA_HOME");
    ps("").code(69).explains("cannot write", "ermission denied", "STOA_HOME");
    let output = stoa.stoa(["ps"]).env_remove("STOA_HOME").env("HOME", &home).run();
    output.code(69).explains("cannot write", "ermission denied", "STOA_HOME");
}

#[test]
fn a_home_on_a_read_only_file_system_is_refused_with_a_way_out() {
    if !is_root() {
        return skip("only root can mount a read-only file system");
    }
    if missing_program("unshare") {
        return;
    }
    let stoa = Stoa::new();
    let line = format!("mount -t tmpfs -o ro none \"$HOME/p\" && exec {} ps", stoa.program().display());
    let command = stoa.any("sh", ["-c", &line]).env("STOA_HOME", stoa.project()).under(&["unshare", "--mount"]);
    command.run().code(69).explains("cannot write", "Read-only file system", "STOA_HOME");
}

#[test]
fn a_runtime_folder_that_cannot_be_written_is_refused_with_a_way_out() {
    let stoa = if is_root() { Stoa::of(User::Stranger) } else { Stoa::new() };
    let closed = stoa.root().join("closed");
    fs::create_dir(&closed).expect("a folder");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).expect("a mode");
    let output = stoa.stoa(["ps"]).env("XDG_RUNTIME_DIR", &closed).run();
    output.code(69).explains("the daemon did not start", "ermission denied", "");
}

#[test]
fn a_picture_that_cannot_be_written_is_refused() {
    let stoa = Stoa::new();
    stoa.write("log.py", "import stoa\nfor step in range(3): stoa.log({'loss': step}, step=step)\n");
    stoa.stoa(["run", "log.py"]).run().ok();
    let output = stoa.stoa(["plot", "log-1", "loss", "--svg", "/no/such/folder/loss.svg"]).run();
    let output = output.code(2);
    assert!(output.err().contains("cannot write /no/such/folder/loss.svg"), "{}", output.err());
    stoa.stoa(["plot", "log-1", "nothing"]).run().code(1).explains("no metric `nothing`", "", "stoa metrics log-1");
    stoa.stoa(["run", "--name", "silent", "--", "true"]).run().ok();
    stoa.stoa(["plot", "silent"]).run().code(1).explains("silent has no metrics", "", "stoa.log");
}

#[test]
fn a_command_line_that_is_wrong_ends_with_2() {
    let stoa = Stoa::new();
    for args in [&["frobnicate"][..], &["run"], &["ps", "--bad"], &["wait"], &["plot", "x", "--width", "3"]] {
        let output = stoa.stoa(args).run().code(2);
        assert!(output.err().starts_with("error: "), "{}", output.err());
    }
    assert!(stoa.daemon_pid().is_none(), "a wrong command line starts no daemon");
}
