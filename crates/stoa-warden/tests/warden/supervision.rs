//! Limits, output, input, ends, and what is left when something is killed.

use crate::common::{STRANGER, Warden, plan, root, shell, step, users};
use std::collections::HashSet;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};
use stoa_proto::output::{Stream, records};
use stoa_proto::warden::{
    CgroupLimits, Ended, FromInit, LaunchPlan, ended::Cause, from_init, mount_step::Kind, to_init,
};
use stoa_sys::exit_record;

fn limited(limits: CgroupLimits, plan: LaunchPlan) -> LaunchPlan {
    LaunchPlan { limits: Some(limits), ..plan }
}

#[test]
fn the_end_of_a_program_is_its_own() {
    let mut warden = Warden::start();
    let outcome = warden.sh("exit 42");
    assert_eq!((outcome.ended.cause(), outcome.ended.code, outcome.ended.signal), (Cause::ByItself, 42, 0));
    let outcome = warden.sh("kill -SEGV $$");
    assert_eq!((outcome.ended.cause(), outcome.ended.code, outcome.ended.signal), (Cause::ByItself, 0, 11));
    let outcome = warden.finish(plan(&["/no/such/program"]));
    assert_eq!((outcome.ended.cause(), outcome.ended.code), (Cause::ExecFailed, libc::ENOENT), "{outcome:?}");
    assert_eq!(outcome.ended.what, "/no/such/program");
    let outcome = warden.finish(plan(&["/etc/passwd"]));
    assert_eq!((outcome.ended.cause(), outcome.ended.code), (Cause::ExecFailed, libc::EACCES));
    let outcome = warden.finish(LaunchPlan { cwd: "/no/such/folder".into(), ..plan(&["/bin/true"]) });
    assert_eq!((outcome.ended.cause(), outcome.ended.code), (Cause::SetupFailed, libc::ENOENT));
    assert_eq!(outcome.ended.what, "enter /no/such/folder");
}

#[test]
fn the_record_says_what_was_told() {
    let mut warden = Warden::start();
    let mut run = warden.launch(shell("echo out; echo err >&2; exit 3")).unwrap();
    let told = run.wait();
    let block = fs::read(run.state.join("exit")).unwrap();
    let recorded: Ended = prost::Message::decode(exit_record::read(&block).unwrap()).unwrap();
    assert_eq!(recorded, told);
    assert_eq!((told.output, told.output_lost, told.attempt), (8, 0, 1));
    assert!(told.ended_unix_nanos >= told.started_unix_nanos && told.max_rss > 0);
    warden.remove(&run.id);
}

#[test]
fn what_the_main_program_leaves_behind_ends_with_it() {
    for user in users() {
        let start = Instant::now();
        let outcome = Warden::start_as(user).sh("(trap '' TERM HUP INT; sleep 1000) & setsid sleep 1000 & echo done");
        assert_eq!((outcome.ended.code, outcome.output.as_str()), (0, "done\n"), "{outcome:?}");
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_stop_is_polite_first() {
    let mut warden = Warden::start();
    let mut run =
        warden.launch(shell("trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.01; done")).unwrap();
    run.wait_for("ready");
    run.stop(20_000);
    let ended = run.wait();
    assert_eq!((ended.cause(), ended.code), (Cause::Stopped, 5));
    let output = String::from_utf8(run.output()).unwrap();
    assert!(output.contains("bye\n"), "{output}");
    warden.remove(&run.id);
}

#[test]
fn a_stop_that_is_ignored_becomes_a_kill() {
    for grace in [50, 0] {
        let mut warden = Warden::start();
        let mut run = warden.launch(shell("trap '' TERM; echo ready; while :; do sleep 0.01; done")).unwrap();
        run.wait_for("ready");
        run.stop(grace);
        let ended = run.wait();
        assert_eq!((ended.cause(), ended.signal), (Cause::Killed, 9));
        warden.remove(&run.id);
    }
}

#[test]
fn a_time_limit_ends_even_a_stopped_program() {
    for user in users() {
        let mut warden = Warden::start_as(user);
        let plan = LaunchPlan { time_limit_ms: 100, grace_ms: 100, ..shell("trap '' TERM; kill -STOP $$; sleep 1000") };
        let outcome = warden.finish(plan);
        assert_eq!(outcome.ended.cause(), Cause::TimeLimit, "{outcome:?}");
    }
}

#[test]
fn a_signal_reaches_the_group_of_the_program() {
    let mut warden = Warden::start();
    let mut run =
        warden.launch(shell("trap 'echo got; exit 0' USR1; echo ready; while :; do sleep 0.01; done")).unwrap();
    run.wait_for("ready");
    run.send(to_init::What::Signal(libc::SIGUSR1));
    assert_eq!(run.wait().code, 0);
    let output = String::from_utf8(run.output()).unwrap();
    assert!(output.contains("got\n"), "{output}");
    warden.remove(&run.id);
}

#[test]
fn a_memory_limit_kills_the_program_only_and_is_counted() {
    if !root() {
        eprintln!("skipped: memory limits need root or a delegated cgroup");
        return;
    }
    let mut warden = Warden::start();
    let limits = CgroupLimits { memory_bytes: 64 << 20, ..CgroupLimits::default() };
    let outcome = warden
        .finish(limited(limits, plan(&["/usr/bin/python3", "-c", "x = bytearray(512 << 20); print('survived')"])));
    assert_eq!((outcome.ended.cause(), outcome.ended.signal, outcome.output.as_str()), (Cause::ByItself, 9, ""));
    assert!(outcome.removed.oom_kills >= 1, "{outcome:?}");
    assert!(outcome.removed.peak_memory > 32 << 20 && outcome.removed.peak_memory <= 65 << 20, "{outcome:?}");
}

#[test]
fn a_fork_bomb_is_bounded_and_ends_at_once() {
    for user in users() {
        let mut warden = Warden::start_as(user);
        let limits = CgroupLimits { pids: 40, ..CgroupLimits::default() };
        let bomb = "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nfull = False\nwhile True:\n  try: os.fork()\n  \
                    except OSError:\n    full or os.write(1, b'full ')\n    full = True\n    time.sleep(0.001)\n";
        let mut run = warden.launch(limited(limits, plan(&["/usr/bin/python3", "-c", bomb]))).unwrap();
        run.wait_for("full");
        run.stop(100);
        let start = Instant::now();
        let ended = run.wait();
        assert_eq!(ended.cause(), Cause::Killed, "as {user:?}: {ended:?}");
        assert!(start.elapsed() < Duration::from_secs(5));
        let counted = warden.remove(&run.id);
        assert!(user.is_some() || counted.pids_limit_hits > 0 || !root(), "{counted:?}");
    }
}

#[test]
fn limits_are_visible_inside_and_refused_where_they_cannot_be_kept() {
    let limits = CgroupLimits { cpu_thousandths: 500, memory_bytes: 256 << 20, pids: 99 };
    if root() {
        let script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids/pids.max \
                      /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null";
        let outcome = Warden::start().finish(limited(limits, shell(script)));
        let expected: [&str; 2] = ["268435456\n99\n50000\n", "268435456\n99\n50000 100000\n"];
        assert!(expected.contains(&outcome.output.as_str()), "{outcome:?}");
    }
    if !root() {
        return;
    }
    let mut warden = Warden::start_as(Some(STRANGER));
    let refused = warden.launch(limited(limits, shell("true"))).err().expect("no cgroup is delegated to a stranger");
    assert!(refused.error.contains("limit") && refused.hint.contains("Delegate=yes"), "{refused:?}");
    let degraded = LaunchPlan { allow_degraded: true, ..limited(limits, shell("echo ran")) };
    assert_eq!(warden.finish(degraded).output, "ran\n");
}

#[test]
fn a_hundred_megabytes_of_both_streams_arrive_whole_and_in_order() {
    let program = "import os, sys\n\
                   block = bytes(range(256)) * 256\n\
                   for i in range(800):\n  os.write(1, block)\n  os.write(2, b'e' * 1024) if i % 8 == 0 else None\n  os.write(1, block)\n";
    for user in users() {
        let mut warden = Warden::start_as(user);
        let mut run = warden.launch(plan(&["/usr/bin/python3", "-c", program])).unwrap();
        let ended = run.wait();
        let output = run.output();
        assert_eq!((ended.output, ended.output_lost), (output.len() as u64, 0));
        assert_eq!(output.len(), 1600 * 65536 + 100 * 1024);
        let index = fs::read(run.state.join("output.index")).unwrap();
        let (mut out, mut err, mut at) = (0usize, 0usize, 0u64);
        for record in records(&index) {
            assert_eq!(record.offset, at, "no gap between records");
            at += record.length;
            let bytes = &output[record.offset as usize..(record.offset + record.length) as usize];
            match record.stream {
                Stream::Stdout => {
                    assert!(bytes.iter().enumerate().all(|(place, byte)| usize::from(*byte) == (out + place) % 256));
                    out += bytes.len();
                }
                Stream::Stderr => {
                    assert!(bytes.iter().all(|byte| *byte == b'e'));
                    err += bytes.len();
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((out, err, at), (1600 * 65536, 100 * 1024, ended.output));
        warden.remove(&run.id);
    }
}

#[test]
fn a_full_disk_loses_output_and_nothing_else() {
    if !root() {
        eprintln!("skipped: only root can mount a small file system");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mounted =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(folder.path()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no tmpfs can be mounted here");
        return;
    }
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    let mut warden = Warden::start();
    let plan = LaunchPlan {
        state_dir: state.display().to_string(),
        ..plan(&[
            "/usr/bin/python3",
            "-c",
            "import os\nfor _ in range(64): os.write(1, b'x' * 65536)\nos.write(2, b'end')",
        ])
    };
    let mut run = warden.launch(plan).unwrap();
    let ended = run.wait();
    let recorded: Ended =
        prost::Message::decode(exit_record::read(&fs::read(state.join("exit")).unwrap()).unwrap()).unwrap();
    run.gone();
    warden.remove(&run.id);
    let unmounted = std::process::Command::new("umount").arg(folder.path()).status();
    assert_eq!((ended.cause(), ended.code), (Cause::ByItself, 0));
    assert_eq!(ended.output + ended.output_lost, 64 * 65536 + 3, "{ended:?}");
    assert!(ended.output_lost > 3 << 20);
    assert_eq!(recorded, ended);
    assert!(unmounted.is_ok_and(|status| status.success()));
}

#[test]
fn standard_input_is_passed_on_with_its_end() {
    let mut warden = Warden::start();
    let mut run = warden.launch(LaunchPlan { stdin: true, ..shell("wc -c") }).unwrap();
    const BLOCK: u64 = 32 << 10;
    for sent in 1..=20u64 {
        run.send(to_init::What::Stdin(vec![b'x'; BLOCK as usize]));
        while sent * BLOCK - run.stdin_passed > BLOCK {
            run.next().expect("init lives");
        }
    }
    run.send(to_init::What::StdinEnd(true));
    assert_eq!(run.wait().code, 0);
    assert_eq!(String::from_utf8(run.output()).unwrap().trim(), (20 * BLOCK).to_string());
    warden.remove(&run.id);
    assert_eq!(warden.sh("cat; echo empty").output, "empty\n");
}

#[test]
fn a_run_survives_warden_and_daemon_and_is_adopted() {
    for user in users() {
        let mut warden = Warden::start_as(user);
        let mut run = warden
            .launch(LaunchPlan { stdin: true, ..shell("echo before; read line; echo after $line; exit 4") })
            .unwrap();
        run.wait_for("before");
        warden.child.kill().unwrap();
        warden.child.wait().unwrap();
        // The daemon is gone too: its sockets and pipes are closed.
        let path = run.state.join("control");
        let (near, _far) = stoa_sys::packet::pair().unwrap();
        let old = std::mem::replace(&mut run.control, near);
        drop((old, std::mem::take(&mut run.descriptors)));

        assert!(locked(&run.state), "the run lives");
        if user.is_some() {
            run.control = connect(&path, None);
            assert!(crate::common::receive(&run.control).is_none(), "another user, even root, is not answered");
        }
        run.control = connect(&path, user);
        run.send(to_init::What::Hello(true));
        let packet = crate::common::receive(&run.control).unwrap();
        let Some(from_init::What::Hello(hello)) =
            <FromInit as prost::Message>::decode(packet.bytes.as_slice()).unwrap().what
        else {
            panic!("no hello")
        };
        assert!(hello.started && hello.output == 7 && hello.init_pid == run.launched.init_pid, "{hello:?}");
        assert_eq!(packet.descriptors.len(), 2);
        run.send(to_init::What::Stdin(b"input\n".to_vec()));
        assert_eq!(run.wait().code, 4);
        assert_eq!(run.output(), b"before\nafter input\n");
        run.gone();
        let _ = Warden::start_as(user).remove(&run.id);
    }
}

/// Connects as `user`: init takes nobody else.
fn connect(path: &Path, user: Option<u32>) -> std::os::fd::OwnedFd {
    let connect = || {
        if let Some(user) = user.map(rustix::process::Uid::from_raw) {
            // Of this thread only.
            rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        }
        connect_as_self(path)
    };
    std::thread::scope(|scope| scope.spawn(connect).join().unwrap())
}

fn connect_as_self(path: &Path) -> std::os::fd::OwnedFd {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
}

/// Whether someone holds the lock of the run in `state`.
fn locked(state: &Path) -> bool {
    use rustix::fs::{FlockOperation, flock};
    let file = fs::File::open(state.join("lock")).unwrap();
    flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
}

#[test]
fn a_killed_init_loses_no_output_and_leaves_no_record() {
    let program = "import os\nfor i in range(100000): os.write(1, b'%06d\\n' % i)\nos.write(2, b'!')\nimport time\ntime.sleep(1000)";
    for turn in 0..10u64 {
        let mut warden = Warden::start();
        let mut run = warden.launch(plan(&["/usr/bin/python3", "-c", program])).unwrap();
        while run.told < 7 * (1 + turn * 5000) {
            run.next().expect("init lives");
        }
        let init = rustix::process::Pid::from_raw(run.launched.init_pid).unwrap();
        rustix::process::kill_process(init, rustix::process::Signal::KILL).unwrap();
        run.gone();
        let block = fs::read(run.state.join("exit")).unwrap();
        assert_eq!(exit_record::read(&block), None);
        let open = |name: &str| fs::File::options().read(true).write(true).open(run.state.join(name)).unwrap();
        let (output, index) = (open("output"), open("output.index"));
        let pipes = [(Stream::Stdout, run.descriptors[0].as_fd()), (Stream::Stderr, run.descriptors[1].as_fd())];
        stoa_sys::output::recover(output.as_fd(), index.as_fd(), 1, &pipes).unwrap();
        let text = String::from_utf8(run.output()).unwrap();
        let text = text.trim_end_matches('!');
        for (number, line) in text.lines().enumerate() {
            assert_eq!(line, format!("{number:06}"), "in turn {turn}");
        }
        let covered =
            records(&fs::read(run.state.join("output.index")).unwrap()).last().map(|last| last.offset + last.length);
        assert_eq!(covered, Some(run.output().len() as u64));
        // Descriptors of a dying process are closed one after the other: wait for the lock, as the daemon does.
        let lock = fs::File::open(run.state.join("lock")).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        warden.remove(&run.id);
    }
}

#[test]
fn a_run_cannot_be_started_twice_but_retried() {
    let mut warden = Warden::start();
    let mut run = warden.launch(LaunchPlan { stdin: true, ..shell("echo once; read x") }).unwrap();
    let again = LaunchPlan {
        state_dir: run.state.display().to_string(),
        run_id: run.id.clone(),
        attempt: 2,
        ..shell("echo twice")
    };
    let refused = warden.launch(again.clone()).err().unwrap();
    assert!(refused.error.contains("already running"), "{refused:?}");
    run.send(to_init::What::StdinEnd(true));
    run.wait();
    let mut second = warden.launch(again).unwrap();
    assert_eq!(second.wait().attempt, 2);
    assert_eq!(run.output(), b"once\ntwice\n");
    let attempts: Vec<_> =
        records(&fs::read(run.state.join("output.index")).unwrap()).map(|record| record.attempt).collect();
    assert_eq!(attempts, [1, 2]);
    warden.remove(&run.id);
}

#[test]
fn a_long_state_path_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("x".repeat(100)).join("y".repeat(100));
    fs::create_dir_all(&state).unwrap();
    let mut warden = Warden::start();
    let outcome = warden.finish(LaunchPlan { state_dir: state.display().to_string(), ..shell("echo ran") });
    assert_eq!(outcome.output, "ran\n");
}

#[test]
fn many_short_runs_leave_nothing() {
    let turns = if std::env::var_os("STOA_TEST_LONG").is_some() { 1000 } else { 100 };
    let mut warden = Warden::start();
    let pid = warden.child.id();
    let count = |what: &str| fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count();
    // Other tests mount elsewhere; the warden's way to spoil its own namespace would be a mount over the root.
    let mounts = || {
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        mounts.lines().filter(|line| line.split(' ').nth(4) == Some("/")).count()
    };
    let groups = |run: &crate::common::Run| run.launched.cgroups.clone();
    warden.sh("true");
    let before = (count("fd"), mounts());
    let mut all_groups = HashSet::new();
    for _ in 0..turns {
        let mut run = warden.launch(plan(&["/bin/true"])).unwrap();
        assert_eq!(run.wait().code, 0);
        all_groups.extend(groups(&run));
        warden.remove(&run.id);
        run.gone();
    }
    // The socket of the spare init is there or not.
    assert!(count("fd").abs_diff(before.0) <= 1 && mounts() == before.1, "{} {} {before:?}", count("fd"), mounts());
    assert!(all_groups.iter().all(|folder| !Path::new(folder).exists()));
    // The warden reaps before it answers; what is left is the spare init.
    warden.probe();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    assert!(children.split_whitespace().count() <= 1, "{children}");
}

#[test]
fn a_run_sees_what_was_mounted_after_the_last_run() {
    if !root() {
        eprintln!("skipped: only root can mount");
        return;
    }
    let mut warden = Warden::start();
    let folder = tempfile::Builder::new().tempdir_in("/opt").unwrap();
    let path = folder.path().display().to_string();
    warden.sh("true");
    let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "tmpfs", &path]).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no tmpfs can be mounted here");
        return;
    }
    fs::write(folder.path().join("new"), "").unwrap();
    let outcome = warden.sh(&format!("ls {path}"));
    let unmounted = std::process::Command::new("umount").arg(&path).status();
    assert_eq!(outcome.output, "new\n");
    assert!(unmounted.is_ok_and(|status| status.success()));
    assert_eq!(warden.sh(&format!("ls {path}")).output, "");
}

#[test]
fn a_killed_spare_is_replaced() {
    let mut warden = Warden::start();
    warden.sh("true");
    warden.probe();
    let pid = warden.child.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    for child in children.split_whitespace() {
        let child = rustix::process::Pid::from_raw(child.parse().unwrap()).unwrap();
        let pidfd = rustix::process::pidfd_open(child, rustix::process::PidfdFlags::empty()).unwrap();
        rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL).unwrap();
        let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, None).unwrap();
    }
    assert_eq!(warden.sh("echo fine").output, "fine\n");
}

#[test]
fn bad_requests_are_refused_and_the_warden_goes_on() {
    let mut warden = Warden::start();
    for (bad, part) in [
        (LaunchPlan { argv: vec![], ..shell("") }, "no program"),
        (LaunchPlan { run_id: "../../x".into(), ..shell("true") }, "plain name"),
        (LaunchPlan { mounts: vec![step(Kind::Unspecified, "", "/x")], ..shell("true") }, "no kind"),
        (LaunchPlan { state_dir: "/no/such/state".into(), ..shell("true") }, "No such file"),
    ] {
        let refused = warden.launch(bad).err().expect("refused");
        assert!(refused.causes.iter().any(|cause| cause.contains(part)), "{refused:?}");
    }
    stoa_sys::packet::send(warden.socket(), b"\xff\xff\xff", &[]).unwrap();
    assert!(crate::common::receive(warden.socket()).is_some());
    assert_eq!(warden.sh("echo fine").output, "fine\n");
}

#[test]
fn messages_that_make_no_sense_do_not_disturb_a_run() {
    let mut warden = Warden::start();
    let mut run = warden.launch(LaunchPlan { stdin: true, ..shell("read x; echo $x") }).unwrap();
    stoa_sys::packet::send(&run.control, b"\xff\xff", &[]).unwrap();
    run.send(to_init::What::Signal(9999));
    run.send(to_init::What::Resize(stoa_proto::warden::Terminal { rows: 1, columns: 1 }));
    run.send(to_init::What::Stdin(b"fine\n".to_vec()));
    assert_eq!(run.wait().code, 0);
    assert_eq!(run.output(), b"fine\n");
    warden.remove(&run.id);
}

#[test]
fn a_warden_killed_at_any_moment_leaves_a_whole_run_or_none() {
    let rounds = if std::env::var_os("STOA_TEST_LONG").is_some() { 100 } else { 15 };
    let mut launched = 0;
    for round in 0..rounds {
        let mut warden = Warden::start();
        warden.probe();
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        let plan = LaunchPlan {
            run_id: crate::common::unique_id(),
            state_dir: state.display().to_string(),
            ..shell("echo whole; exit 6")
        };
        let id = plan.run_id.clone();
        warden.request(&plan);
        // Spread over the time that a launch takes.
        let until = Instant::now() + Duration::from_micros(round * 2500 / rounds + u64::from(std::process::id() % 97));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        warden.child.kill().unwrap();
        warden.child.wait().unwrap();
        let acknowledged = warden.replied();
        let Ok(lock) = fs::File::open(state.join("lock")) else {
            assert!(!acknowledged);
            continue;
        };
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let block = fs::read(state.join("exit")).unwrap_or_default();
        let ended = exit_record::read(&block).map(|content| <Ended as prost::Message>::decode(content).unwrap());
        assert!(ended.is_some() || !acknowledged, "in round {round}: acknowledged and no end");
        if let Some(ended) = ended {
            launched += 1;
            assert_eq!((ended.code, fs::read(state.join("output")).unwrap().as_slice()), (6, &b"whole\n"[..]));
        }
        let mut next = Warden::start();
        next.remove(&id);
    }
    assert!(launched > 0, "some moment was late enough");
}
