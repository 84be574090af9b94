//! Daemons that are killed, stopped, doubled or replaced while runs go on.

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use stoa_proto::VERSION_HEADER;
use stoa_proto::stoa::stoa_client::StoaClient;
use stoa_proto::stoa::{ListRequest, StatusRequest};
use stoa_testkit::{Stoa, cgroups_named, skip, until};

/// Prints `$1` numbered lines, a few hundred a second, and ends with code 3.
const COUNT: &str = "i=0; while [ $i -lt $1 ]; do echo line $i; i=$((i+1)); sleep 0.003; done; exit 3";

fn lines(count: usize) -> String {
    (0..count).map(|number| format!("line {number}\n")).collect()
}

fn kill_daemon(stoa: &Stoa) {
    if let Some(pid) = stoa.daemon_pid() {
        stoa.kill(pid);
    }
}

fn end_kind(record: &Value) -> &str {
    record["end"]["kind"].as_str().expect("an end")
}

#[test]
fn twenty_commands_at_once_start_one_daemon() {
    Stoa::for_each_user(|stoa| {
        let all: Vec<_> = (0..20).map(|_| stoa.stoa(["daemon", "start", "--json"]).start()).collect();
        let pids: BTreeSet<u64> =
            all.into_iter().map(|one| one.finish().ok().json()["pid"].as_u64().expect("a pid")).collect();
        assert_eq!(pids.len(), 1, "{pids:?}");
        let daemons = stoa.processes().iter().filter(|process| process.line == "stoad").count();
        assert_eq!(daemons, 1);
    });
}

#[test]
fn two_daemons_never_share_a_store() {
    let stoa = Stoa::new();
    stoa.stoa(["run", "--name", "first", "--", "true"]).run().ok();
    let elsewhere = stoa.root().join("elsewhere");
    fs::create_dir(&elsewhere).expect("a folder");
    let second = stoa.stoa(["ps"]).env("XDG_RUNTIME_DIR", &elsewhere).run();
    second.code(75).explains("the daemon did not start", "another daemon uses", "XDG_RUNTIME_DIR");
    let by_hand = stoa.any("bash", ["-c", "exec -a stoad \"$0\"", &stoa.program().display().to_string()]).run();
    by_hand.code(75).explains("another daemon uses", "", "");
    assert_eq!(stoa.stoa(["ps", "--json"]).run().ok().json().as_array().map(Vec::len), Some(1));
}

#[test]
fn an_attached_client_survives_the_daemon_and_prints_everything_once() {
    Stoa::for_each_user(|stoa| {
        let run = ["run", "--name", "count", "--", "sh", "-c", COUNT, "sh", "600"];
        let client = stoa.stoa(run).start();
        client.expect_out("line 10\n");
        let waiter = stoa.stoa(["wait", "count"]).start();
        for seen in ["line 100\n", "line 250\n", "line 400\n"] {
            kill_daemon(&stoa);
            client.expect_out(seen);
        }
        let output = client.finish().code(3);
        assert!(output.out() == lines(600), "lines are lost or doubled:\n{}", output.out());
        waiter.finish().code(3);
        assert_eq!(stoa.stoa(["logs", "count"]).run().ok().out(), lines(600));
    });
}

#[test]
fn a_daemon_that_is_stopped_leaves_its_runs_and_tells_its_clients() {
    let stoa = Stoa::new();
    let run = ["run", "--name", "count", "--", "sh", "-c", COUNT, "sh", "500"];
    let client = stoa.stoa(run).start();
    client.expect_out("line 10\n");
    let follower = stoa.stoa(["logs", "-f", "count"]).start();
    follower.expect_out("line 10\n");
    // One that does not even read what it is told.
    let stuck = stoa.stoa(["logs", "-f", "count"]).start();
    stuck.expect_out("line 1\n");
    stuck.signal(Signal::STOP);
    let waiter = stoa.stoa(["wait", "count"]).start();
    let daemon = stoa.daemon_pid().expect("it runs");
    let stopped = stoa.stoa(["daemon", "stop"]).run().ok();
    assert!(stopped.err().contains("runs go on"), "{}", stopped.err());
    assert!(!stoa.processes().iter().any(|process| process.pid == daemon));
    client.finish().code(75).explains("the daemon was stopped", "goes on", "stoa attach");
    follower.finish().code(75).explains("the daemon was stopped", "goes on", "stoa logs -f");
    waiter.finish().code(3);
    let record = stoa.record("count");
    assert_eq!((end_kind(&record), record["exit_code"].as_u64()), ("exited", Some(3)));
    assert_eq!(stoa.stoa(["logs", "count"]).run().ok().out(), lines(500));
}

#[test]
fn commands_during_a_stop_reach_the_next_daemon() {
    let stoa = Stoa::new();
    for _ in 0..10 {
        stoa.stoa(["daemon", "start"]).run().ok();
        let stop = stoa.stoa(["daemon", "stop"]).start();
        let run = stoa.stoa(["run", "--", "true"]).run();
        // Either daemon may have taken it, or the old one left in the middle, which is said and may be tried again.
        let said = run.err().contains("hint: ");
        assert!(run.code == 0 || (run.code == 75 && said), "{}", run.err());
        stop.finish().ok();
    }
}

#[test]
fn a_time_limit_holds_while_no_daemon_lives() {
    Stoa::for_each_user(|stoa| {
        let id = stoa.detach(&["--time-limit", "1s", "--name", "long", "--", "sleep", "1000"]);
        until("it runs", || stoa.record(&id)["state"] == "running");
        kill_daemon(&stoa);
        until("it has ended by itself", || stoa.processes().is_empty());
        let record = stoa.wait(&id);
        assert_eq!((end_kind(&record), record["exit_code"].as_u64()), ("time_limit", Some(143)), "{record}");
    });
}

#[test]
fn what_ended_while_no_daemon_lived_has_its_true_end() {
    Stoa::for_each_user(|stoa| {
        let ends = [("zero", "exit 0"), ("seven", "exit 7"), ("segv", "kill -SEGV $$")];
        for (name, end) in ends {
            let script = format!("while [ ! -e go ]; do sleep 0.02; done; echo last words; {end}");
            stoa.detach(&["--name", name, "--", "sh", "-c", &script]);
        }
        kill_daemon(&stoa);
        stoa.write("go", "");
        until("all have ended", || stoa.processes().is_empty());
        for (name, code) in [("zero", 0), ("seven", 7), ("segv", 139)] {
            stoa.stoa(["wait", name]).run().code(code);
            assert_eq!(stoa.stoa(["logs", name]).run().ok().out(), "last words\n");
        }
    });
}

#[test]
fn limits_and_cgroups_stay_in_force_after_adoption() {
    let stoa = Stoa::new();
    let eat = "while [ ! -e go ]; do sleep 0.02; done; held=x; while :; do held=$held$held; done";
    let id = stoa.detach(&["--memory", "64M", "--pids", "30", "--name", "held", "--", "sh", "-c", eat]);
    until("it runs", || stoa.record(&id)["state"] == "running");
    let groups = cgroups_named(std::slice::from_ref(&id));
    if groups.is_empty() {
        return skip("no cgroup can be made here");
    }
    kill_daemon(&stoa);
    stoa.stoa(["daemon", "start"]).run().ok();
    assert_eq!(cgroups_named(std::slice::from_ref(&id)), groups);
    assert_eq!(stoa.record(&id)["state"], "running");
    stoa.write("go", "");
    assert_eq!(end_kind(&stoa.wait(&id)), "out_of_memory");
    until("its cgroup is removed", || cgroups_named(std::slice::from_ref(&id)).is_empty());
}

#[test]
fn a_restart_of_the_machine_ends_runs_as_lost_with_that_reason() {
    let stoa = Stoa::new();
    let lost = stoa.detach(&["--name", "lost", "--", "sh", "-c", "echo before; sleep 1000"]);
    stoa.stoa(["logs", "-f", "lost"]).start().expect_out("before");
    let ended = stoa.detach(&["--name", "ended", "--", "sh", "-c", "while [ ! -e go ]; do sleep 0.02; done; exit 4"]);
    until("it runs", || stoa.record(&ended)["state"] == "running");
    kill_daemon(&stoa);
    stoa.write("go", "");
    // What a restart does to processes.
    until("one has ended", || !stoa.processes().iter().any(|process| process.line.contains("go ]")));
    until("nothing lives", || {
        stoa.processes().iter().for_each(|process| process.signal(Signal::KILL));
        stoa.processes().is_empty()
    });
    let database = Connection::open(stoa.state().join("stoa.db")).expect("the database");
    database.execute("UPDATE runs SET boot = 'another boot'", []).expect("changed");
    drop(database);
    let record = stoa.wait(&lost);
    assert_eq!((end_kind(&record), record["state"].as_str()), ("lost", Some("lost")));
    assert!(record["end"]["why"].as_str().expect("why").contains("machine was restarted"), "{record}");
    assert_eq!(stoa.stoa(["logs", "lost"]).run().ok().out(), "before\n");
    // Its end was on the disk before the machine went down.
    let record = stoa.wait(&ended);
    assert_eq!((end_kind(&record), record["exit_code"].as_u64()), ("exited", Some(4)));
}

#[test]
fn a_client_of_another_version_is_told_what_to_do() {
    let stoa = Stoa::new();
    let socket =
        stoa.stoa(["daemon", "start", "--json"]).run().ok().json()["socket"].as_str().expect("a path").to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let status = runtime.block_on(async {
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { tokio::net::UnixStream::connect(socket).await.map(hyper_util::rt::TokioIo::new) }
        });
        let endpoint = tonic::transport::Endpoint::from_static("http://stoad.invalid");
        let channel = endpoint.connect_with_connector(connector).await.expect("it listens");
        let mut request = tonic::Request::new(ListRequest { live: false, most: 0 });
        request.metadata_mut().insert(VERSION_HEADER, "0.0.1-old".parse().expect("a value"));
        let mut client = StoaClient::new(channel);
        let refused = client.list(request).await.expect_err("refused");
        // A client that says nothing of its version is no reason to refuse.
        client.status(tonic::Request::new(StatusRequest {})).await.expect("answered");
        refused
    });
    let failure = stoa_proto::failure::from_status(&status);
    assert!(failure.to_string().contains("different versions"), "{failure}");
    assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains("stoa daemon stop")), "{failure}");
}

#[test]
fn retries_go_on_under_the_next_daemon() {
    let stoa = Stoa::new();
    let script = "echo try >> tries; echo attempt; sleep 0.3; [ $(wc -l < tries) -ge 4 ]";
    let id = stoa.detach(&["--retries", "3", "--name", "stubborn", "--", "sh", "-c", script]);
    for attempt in 1..=3 {
        until("the attempt runs", || {
            fs::read_to_string(stoa.project().join("tries")).unwrap_or_default().lines().count() >= attempt
        });
        kill_daemon(&stoa);
        stoa.stoa(["daemon", "start"]).run().ok();
    }
    let record = stoa.wait(&id);
    assert_eq!((record["state"].as_str(), record["attempt"].as_u64()), (Some("succeeded"), Some(4)), "{record}");
    assert_eq!(fs::read_to_string(stoa.project().join("tries")).expect("kept").lines().count(), 4);
    assert_eq!(stoa.stoa(["logs", "stubborn"]).run().ok().out(), "attempt\n".repeat(4));
}

#[test]
fn a_daemon_that_gets_sigterm_stops_politely() {
    let stoa = Stoa::new();
    let id = stoa.detach(&["--name", "goes-on", "--", "sh", "-c", COUNT, "sh", "300"]);
    let daemon = stoa.daemon_pid().expect("it runs");
    stoa.processes().iter().filter(|process| process.pid == daemon).for_each(|p| p.signal(Signal::TERM));
    until("it is gone", || !stoa.processes().iter().any(|process| process.pid == daemon));
    assert!(stoa.daemon_log().contains("\"stopped\""), "{}", stoa.daemon_log());
    assert_eq!(stoa.wait(&id)["exit_code"], 3);
}
