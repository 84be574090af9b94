//! `stoa again`: a run repeated from its record, in the code as it was.

use std::fs;
use std::path::Path;
use stoa_testkit::{Stoa, missing_program};

fn git(stoa: &Stoa, args: &[&str]) {
    let identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "init.defaultBranch=main"];
    stoa.any("git", identity).args(args).run().ok();
}

#[test]
fn a_run_is_repeated_with_uncommitted_changes_and_untracked_files_as_they_were() {
    if missing_program("git") {
        return;
    }
    Stoa::for_each_user(|stoa| {
        stoa.write("train.sh", "cat conf/model.txt notes.txt; echo $1 $RATE; pwd; echo result > result.txt\n");
        stoa.write("conf/model.txt", "committed\n");
        stoa.write(".gitignore", "ignored.txt\n");
        stoa.write("ignored.txt", "not kept\n");
        git(&stoa, &["init", "--quiet"]);
        git(&stoa, &["add", "."]);
        git(&stoa, &["commit", "--quiet", "--message", "first"]);
        stoa.write("conf/model.txt", "changed\n");
        stoa.write("notes.txt", "untracked\n");
        let run = ["run", "--name", "first", "--env", "RATE=0.1", "train.sh", "seven"];
        let first = stoa.stoa(run).run().ok().out();
        let folder = stoa.project().display().to_string();
        assert_eq!(first, format!("changed\nuntracked\nseven 0.1\n{folder}\n"));
        let code = stoa.record("first")["code"].clone();
        assert_eq!((&code["changed"], &code["branch"]), (&true.into(), &"main".into()), "{code}");
        assert!(code["untracked_kept"].to_string().contains("notes.txt"), "{code}");

        // The work goes on.
        stoa.write("conf/model.txt", "later\n");
        stoa.write("train.sh", "echo rewritten\n");
        fs::remove_file(stoa.project().join("notes.txt")).expect("it goes");
        fs::remove_file(stoa.project().join("result.txt")).expect("it goes");
        git(&stoa, &["commit", "--quiet", "--all", "--message", "second"]);

        let again = stoa.stoa(["again", "--name", "second", "first"]).run().ok();
        assert_eq!(again.out(), first, "{}", again.err());
        assert!(!stoa.project().join("result.txt").exists(), "it ran in a checkout of its own");
        assert_eq!(fs::read_to_string(stoa.project().join("conf/model.txt")).expect("it stays"), "later\n");
        let (first, second) = (stoa.record("first"), stoa.record("second"));
        assert_eq!(second["spec"]["repeats"], first["id"]);
        assert_eq!((&second["code"]["commit"], &second["code"]["changed"]), (&code["commit"], &code["changed"]));

        // A repeated run can be repeated as well, also when the one it repeats is gone.
        stoa.stoa(["rm", first["id"].as_str().expect("an id")]).run().ok();
        let third = stoa.stoa(["again", "--detach", "second"]).run().ok().out();
        assert_eq!(stoa.wait(third.trim())["state"], "succeeded");
        assert_eq!(stoa.stoa(["logs", third.trim()]).run().ok().out(), again.out());
    });
}

#[test]
fn outside_a_repository_a_run_is_repeated_in_its_folder() {
    let stoa = Stoa::new();
    stoa.write("say.sh", "echo $1; exit 4");
    stoa.stoa(["run", "--name", "say", "--time-limit", "1m", "say.sh", "hi"]).run();
    let again = stoa.stoa(["again", "say"]).cwd("/").run().code(4);
    assert_eq!(again.out(), "hi\n");
    assert_eq!(stoa.record("say-1")["spec"]["limits"], stoa.record("say")["spec"]["limits"]);
}

#[test]
fn git_outside_is_not_made_to_run_what_a_run_wrote() {
    if missing_program("git") {
        return;
    }
    let stoa = Stoa::new();
    git(&stoa, &["init", "--quiet"]);
    stoa.write("a", "");
    let script = "printf '#!/bin/sh\\ntouch \"$HOME/escaped\"\\n' > .git/hooks/post-checkout; chmod +x .git/hooks/post-checkout; \
                  git config core.fsmonitor 'touch $HOME/escaped'; echo tried";
    assert_eq!(stoa.stoa(["run", "--", "sh", "-c", script]).run().out(), "tried\n");
    assert!(!stoa.project().join(".git/hooks/post-checkout").exists());
    git(&stoa, &["add", "."]);
    git(&stoa, &["commit", "--quiet", "--message", "one"]);
    stoa.stoa(["run", "--name", "x", "--", "true"]).run().ok();
    stoa.stoa(["again", "x"]).run().ok();
    assert!(!Path::new(&stoa.user_home()).join("escaped").exists());
}
