//! Commands and scripts of other languages through the whole service, and how bad input is reported.

use crate::LanguageService;
use crate::testing::{Tree, spec};
use std::os::unix::fs::PermissionsExt;
use stoa_core::port::{Languages, Resolved};
use stoa_core::run::{Program, RunSpec};
use stoa_core::{Exit, Failure};

fn base(tree: &Tree) -> RunSpec {
    tree.dir("home/work");
    spec(tree.path("home/work"), &[("PATH", &format!("{}:/usr/bin:/bin", tree.path("home/bin").display()))])
}

fn command(tree: &Tree, argv: &[&str]) -> Result<Resolved, Failure> {
    let program = Program::Command { argv: argv.iter().map(|word| (*word).to_owned()).collect() };
    LanguageService::new(tree.config()).resolve(&RunSpec { program, ..base(tree) })
}

fn script(tree: &Tree, path: &str) -> Result<Resolved, Failure> {
    let program = Program::Script { path: path.into(), args: vec!["a b".into()] };
    LanguageService::new(tree.config()).resolve(&RunSpec { program, ..base(tree) })
}

#[test]
fn a_command_keeps_its_name_and_arguments() {
    let tree = Tree::new();
    let resolved = command(&tree, &["sh", "-c", "exit 3"]).unwrap();
    assert_eq!(resolved.argv, ["/usr/bin/sh", "-c", "exit 3"]);
    assert_eq!((resolved.environment, resolved.preparation), (None, None));
    tree.executable("home/work/tool", "echo no first line\n");
    let path = tree.path("home/work/tool").display().to_string();
    assert_eq!(command(&tree, &["./tool", "x"]).unwrap().argv, ["/bin/sh", &path, "x"]);
}

#[test]
fn a_program_in_the_home_shows_its_folder() {
    let tree = Tree::new();
    tree.executable("home/bin/tool", "#!/bin/sh\n");
    let mounts = command(&tree, &["tool"]).unwrap().mounts;
    assert_eq!(mounts.iter().map(|mount| &mount.path).collect::<Vec<_>>(), [&tree.path("home/bin")]);
}

#[test]
fn commands_that_cannot_be_started_end_as_in_a_shell() {
    let tree = Tree::new();
    tree.write("home/work/data.txt", "x");
    tree.executable("home/work/broken", "#!/no/such/interpreter\n");
    tree.executable("home/work/dos", "#!/bin/sh\r\n");
    tree.executable("home/bin/trainer", "#!/bin/sh\n");
    for (argv, exit, words) in [
        ("no-such-program-here", Exit::NotFound, "no folder of PATH has it"),
        ("trainr", Exit::NotFound, "did you mean `trainer`?"),
        ("./missing", Exit::NotFound, "does not exist"),
        ("./data.txt", Exit::NotExecutable, "chmod +x"),
        ("/usr", Exit::NotExecutable, "it is a folder"),
        ("./broken", Exit::NotExecutable, "/no/such/interpreter"),
        ("./dos", Exit::NotExecutable, "Windows line break"),
    ] {
        let failure = command(&tree, &[argv]).unwrap_err();
        assert_eq!(failure.exit, exit, "{argv}");
        assert!(failure.to_string().contains(words), "{failure}");
        assert!(!failure.causes.is_empty() && failure.hint.is_some(), "{failure}");
    }
    let program = Program::Command { argv: vec!["ls".into()] };
    let bare = RunSpec { program, ..spec(tree.path(""), &[]) };
    let failure = LanguageService::new(tree.config()).resolve(&bare).unwrap_err();
    assert_eq!((failure.exit, failure.causes.as_slice()), (Exit::NotFound, ["PATH is empty".to_owned()].as_slice()));
    assert_eq!(command(&tree, &[]).unwrap_err().exit, Exit::Usage);
}

#[test]
fn scripts_are_run_by_ending_or_first_line() {
    let tree = Tree::new();
    for name in ["node", "Rscript"] {
        tree.executable(&format!("home/bin/{name}"), "\u{7f}ELF");
    }
    tree.write("home/work/a.sh", "echo\n");
    tree.write("home/work/b.sh", "#!/bin/bash -eu\n");
    tree.write("home/work/c.js", "1\n");
    tree.write("home/work/tool", "#!/usr/bin/env -S node --test\n");
    tree.write("home/work/-odd.R", "1\n");
    let argv = |path: &str| script(&tree, path).unwrap().argv;
    let bin = |name: &str| tree.path("home/bin").join(name).display().to_string();
    assert_eq!(argv("a.sh"), ["/usr/bin/sh", "a.sh", "a b"]);
    assert_eq!(argv("./b.sh"), ["/bin/bash", "-eu", "./b.sh", "a b"]);
    assert_eq!(argv("c.js"), [&bin("node"), "c.js", "a b"]);
    assert_eq!(argv("tool"), [&bin("node"), "--test", "tool", "a b"]);
    assert_eq!(argv("-odd.R"), [&bin("Rscript"), "./-odd.R", "a b"]);
    let environment = script(&tree, "b.sh").unwrap().environment.unwrap();
    assert_eq!((environment.language.as_str(), environment.source.as_str()), ("bash", "`#!` line of b.sh"));
}

#[test]
fn scripts_that_cannot_be_run_say_why_and_what_to_do() {
    let tree = Tree::new();
    tree.write("home/work/train.py", "");
    tree.write("home/work/data.csv", "a,b\n");
    tree.write("home/work/prog", "\u{7f}ELF");
    tree.write("home/work/x.jl", "");
    tree.write("home/work/pkg/__main__.py", "");
    tree.executable("home/bin/mytool", "#!/bin/sh\n");
    for (path, exit, words) in [
        ("tarin.py", Exit::Usage, "did you mean `train.py`?"),
        ("mytool", Exit::Usage, "stoa run -- mytool"),
        ("pkg", Exit::Usage, "pkg/__main__.py"),
        ("data.csv", Exit::Usage, "stoa run -- PROGRAM data.csv"),
        ("prog", Exit::Usage, "stoa run -- ./prog"),
        ("/dev/null", Exit::Usage, "not a regular file"),
        ("", Exit::Usage, "folder"),
    ] {
        let failure = script(&tree, path).unwrap_err();
        assert_eq!(failure.exit, exit, "{path}");
        assert!(failure.to_string().contains(words), "{failure}");
        assert!(failure.hint.is_some(), "{failure}");
    }
    match script(&tree, "x.jl") {
        Err(failure) => assert_eq!(failure.exit, Exit::Unavailable, "{failure}"),
        Ok(_) => eprintln!("skipped: Julia is installed, its absence cannot be tested"),
    }
}

#[test]
fn a_script_that_cannot_be_read_is_told_from_one_that_is_missing() {
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: root reads every file");
        return;
    }
    let tree = Tree::new();
    let path = tree.write("home/work/secret.py", "");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    let failure = script(&tree, "secret.py").unwrap_err();
    assert_eq!((failure.exit, failure.hint.as_deref()), (Exit::Usage, Some("run `chmod u+r secret.py`")));
}
