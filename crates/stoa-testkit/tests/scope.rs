//! The daemon of an ordinary user is started in a scope of the user's systemd, where there is one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use stoa_testkit::{Stoa, User, is_root};

/// An ordinary user with a systemd user manager, whose `systemd-run` is this script.
fn with_systemd_run(script: &str) -> Stoa {
    let stoa = if is_root() { Stoa::of(User::Stranger) } else { Stoa::new() };
    let manager = stoa.runtime().join("systemd/private");
    fs::create_dir_all(manager.parent().expect("a folder")).expect("made");
    fs::write(&manager, "").expect("written");
    let program = stoa.write("bin/systemd-run", script);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
    stoa
}

fn path(stoa: &Stoa) -> String {
    format!("{}:{}", stoa.project().join("bin").display(), std::env::var("PATH").expect("a PATH"))
}

#[test]
fn the_daemon_gets_a_delegated_cgroup_from_systemd() {
    let stoa = with_systemd_run(
        "#!/bin/sh\necho \"$@\" > \"$STOA_HOME/asked\"\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n",
    );
    stoa.stoa(["run", "--", "true"]).env("PATH", path(&stoa)).run().ok();
    let asked = fs::read_to_string(stoa.state().join("asked")).expect("systemd-run was started");
    assert!(asked.contains("--user --scope") && asked.contains("--property=Delegate=yes"), "{asked}");
    assert!(asked.trim_end().ends_with("/stoad"), "{asked}");
}

#[test]
fn a_systemd_that_refuses_keeps_no_daemon_from_starting() {
    let stoa = with_systemd_run("#!/bin/sh\necho 'Failed to connect to bus: No medium found' >&2\nexit 1\n");
    stoa.stoa(["run", "--", "true"]).env("PATH", path(&stoa)).run().ok();
}
