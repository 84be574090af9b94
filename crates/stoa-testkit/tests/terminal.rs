//! Runs on a terminal: what the program sees, Ctrl-C, a terminal that goes away.

use stoa_testkit::{Stoa, until};

const ISATTY: &str = "for n in 0 1 2; do test -t $n && echo tty $n; done; stty size";

#[test]
fn a_program_on_a_terminal_has_a_terminal_of_the_same_size() {
    Stoa::for_each_user(|stoa| {
        let mut terminal = stoa.terminal(&["run", "--", "sh", "-c", ISATTY], 31, 97);
        terminal.expect("tty 0\r\ntty 1\r\ntty 2\r\n31 97\r\n");
        assert_eq!(terminal.finish(), 0);
    });
}

#[test]
fn a_program_without_a_terminal_has_none() {
    let stoa = Stoa::new();
    let output = stoa.stoa(["run", "--", "sh", "-c", ISATTY]).run();
    assert_eq!(output.out(), "", "{}", output.err());
}

#[test]
fn a_terminal_that_is_resized_resizes_that_of_the_program() {
    let stoa = Stoa::new();
    let script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut terminal = stoa.terminal(&["run", "--", "bash", "-c", script], 24, 80);
    terminal.expect("ready");
    terminal.resize(40, 120);
    terminal.expect("40 120");
    assert_eq!(terminal.finish(), 0);
}

#[test]
fn what_is_typed_reaches_the_program_and_its_echo_appears_once() {
    let stoa = Stoa::new();
    let mut terminal = stoa.terminal(&["run", "--", "sh", "-c", "echo ready; read -r x; echo got $x"], 24, 80);
    terminal.expect("ready");
    terminal.send(b"hello\r");
    terminal.expect("got hello");
    assert_eq!(terminal.finish(), 0);
    assert_eq!(terminal.shown().matches("hello").count(), 2, "{}", terminal.shown());
}

#[test]
fn ctrl_c_interrupts_the_program_and_its_own_exit_code_comes_through() {
    Stoa::for_each_user(|stoa| {
        let script = "trap 'echo stopping; exit 5' INT; echo ready; while :; do sleep 0.05; done";
        let mut terminal = stoa.terminal(&["run", "--name", "polite", "--", "bash", "-c", script], 24, 80);
        terminal.expect("ready");
        terminal.interrupt();
        terminal.expect("stopping");
        assert_eq!(terminal.finish(), 5);
        assert_eq!(stoa.record("polite")["exit_code"], 5);
    });
}

#[test]
fn a_second_ctrl_c_kills_a_program_that_ignores_the_first() {
    Stoa::for_each_user(|stoa| {
        let script = "trap 'echo ignored' INT; echo ready; while :; do sleep 0.05; done";
        let mut terminal = stoa.terminal(&["run", "--name", "stubborn", "--", "bash", "-c", script], 24, 80);
        terminal.expect("ready");
        terminal.interrupt();
        terminal.expect("ignored");
        terminal.interrupt();
        terminal.expect("killing the run");
        assert_eq!(terminal.finish(), 137);
        assert_eq!(stoa.record("stubborn")["state"], "stopped");
    });
}

#[test]
fn a_run_goes_on_when_its_terminal_is_closed_and_can_be_followed_again() {
    Stoa::for_each_user(|stoa| {
        stoa.write("gate", "");
        let script = "echo ready; until test -s gate; do echo tick; sleep 0.02; done; echo $(cat gate)";
        let mut terminal = stoa.terminal(&["run", "--name", "long", "--", "sh", "-c", script], 24, 80);
        terminal.expect("ready");
        let client = terminal.pid();
        terminal.close();
        until("the client leaves", || !stoa.processes().iter().any(|process| process.pid == client));
        assert_eq!(stoa.record("long")["state"], "running");
        let again = stoa.stoa(["attach", "long"]).start();
        again.expect_out("tick");
        stoa.write("gate", "opened");
        again.expect_out("opened");
        assert_eq!(again.finish().code, 0);
        assert_eq!(stoa.record("long")["state"], "succeeded");
    });
}

#[test]
fn a_client_that_is_terminated_says_how_to_follow_the_run_again() {
    let stoa = Stoa::new();
    let client = stoa.stoa(["run", "--name", "left", "--", "sh", "-c", "echo ready; exec sleep 1000"]).start();
    client.expect_out("ready");
    client.signal(rustix::process::Signal::TERM);
    let output = client.finish().code(75);
    assert!(output.err().contains("left goes on; follow it again: stoa attach left"), "{}", output.err());
    assert_eq!(stoa.record("left")["state"], "running");
}

#[test]
fn the_terminal_is_as_before_when_the_run_has_ended() {
    let stoa = Stoa::new();
    let program = stoa.program().display().to_string();
    let line = format!("before=$(stty -g); {program} run -- true; test \"$before\" = \"$(stty -g)\" && echo same");
    let command = stoa.any("sh", ["-c", &line]).env("TERM", "xterm");
    let mut terminal = stoa_testkit::Terminal::start(command, 24, 80);
    terminal.expect("same");
    assert_eq!(terminal.finish(), 0);
}
