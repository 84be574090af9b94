//! Times launches of `true` by the warden, interleaved with bwrap and a plain start: `cargo run --release --example
//! launch_bench -p stoa-warden [ROUNDS]`. Figures are milliseconds from the request, minimum and median.
#![expect(clippy::print_stdout, reason = "a program that reports")]

use prost::Message;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use std::error::Error;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use stoa_proto::warden::{FromInit, Launch, LaunchPlan, RemoveCgroup, Reply, Request, from_init, reply, request};
use stoa_sys::packet::{self, Packet};
use stoa_sys::process;

type Answer<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    if std::env::args().next().is_some_and(|name| name == "stoa-warden") {
        return stoa_warden::run();
    }
    match bench(std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(200)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn receive(socket: &OwnedFd) -> Answer<Packet> {
    poll(&mut [PollFd::new(socket, PollFlags::IN)], None)?;
    Ok(packet::receive(socket, &mut Vec::new())?.ok_or("closed")?)
}

/// Times from the request to: reply, program started, end told.
fn launch(socket: &OwnedFd, serial: u64, state: &str) -> Answer<[Duration; 3]> {
    let plan = LaunchPlan {
        run_id: format!("bench-{}", std::process::id()),
        attempt: serial as u32,
        state_dir: state.into(),
        argv: vec!["/bin/true".into()],
        env: vec!["PATH=/bin".into()],
        cwd: "/".into(),
        hostname: "bench".into(),
        private_network: std::env::var_os("BENCH_NETWORK").is_some(),
        ..LaunchPlan::default()
    };
    let start = Instant::now();
    let file = memfd_create(c"plan", MemfdFlags::CLOEXEC)?;
    rustix::io::write(&file, &plan.encode_to_vec())?;
    let bytes = Request { serial, what: Some(request::What::Launch(Launch {})) }.encode_to_vec();
    packet::send(socket, &bytes, &[file.as_fd()])?;
    let reply = receive(socket)?;
    let launched = start.elapsed();
    match Reply::decode(reply.bytes.as_slice())?.what {
        Some(reply::What::Launched(_)) => {}
        other => return Err(format!("{other:?}").into()),
    }
    let control = reply.descriptors.first().ok_or("no control socket")?;
    let mut started = Duration::ZERO;
    loop {
        match FromInit::decode(receive(control)?.bytes.as_slice())?.what {
            Some(from_init::What::Started(_)) => started = start.elapsed(),
            Some(from_init::What::Ended(ended)) if ended.cause == 1 => {
                return Ok([launched, started, start.elapsed()]);
            }
            Some(from_init::What::Ended(ended)) => return Err(format!("{ended:?}").into()),
            _ => {}
        }
    }
}

fn remove(socket: &OwnedFd, serial: u64) -> Answer<Duration> {
    let start = Instant::now();
    let run_id = format!("bench-{}", std::process::id());
    let what = Some(request::What::RemoveCgroup(RemoveCgroup { run_id }));
    packet::send(socket, &Request { serial, what }.encode_to_vec(), &[])?;
    receive(socket)?;
    Ok(start.elapsed())
}

fn peer(program: &str, arguments: &[&str]) -> Answer<Duration> {
    let start = Instant::now();
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status()?;
    let took = start.elapsed();
    if status.success() { Ok(took) } else { Err(format!("{program}: {status}").into()) }
}

fn bench(rounds: u64) -> Answer<()> {
    let (near, far) = packet::pair()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg0("stoa-warden");
    process::give_descriptor(&mut command, far, process_socket())?;
    let mut warden = command.spawn()?;
    drop(command);
    let state = std::env::temp_dir().join(format!("stoa-bench-{}", std::process::id()));
    std::fs::create_dir_all(&state)?;
    let text = state.display().to_string();
    let names = ["reply", "started", "ended", "removed", "bwrap", "fork+exec"];
    let mut times: [Vec<Duration>; 6] = Default::default();
    for round in 1..=rounds {
        for file in ["lock", "exit", "output", "output.index", "control"] {
            let _first_round = std::fs::remove_file(state.join(file));
        }
        let [reply, started, ended] = launch(&near, round, &text)?;
        let removed = remove(&near, round)?;
        let unshare =
            ["--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "true"];
        let bwrap = peer("bwrap", &unshare).unwrap_or_default();
        let plain = peer("true", &[])?;
        // As between two commands of a user: the warden has time to prepare for the next.
        poll(&mut [], Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 8_000_000 }))?;
        for (list, time) in times.iter_mut().zip([reply, started, ended, removed, bwrap, plain]) {
            list.push(time);
        }
    }
    drop(near);
    warden.wait()?;
    std::fs::remove_dir_all(&state)?;
    for (name, mut list) in names.into_iter().zip(times) {
        list.sort_unstable();
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        println!("{name:10} {:7.3} {:7.3}", milliseconds(list[0]), milliseconds(list[list.len() / 2]));
    }
    Ok(())
}

fn process_socket() -> i32 {
    stoa_warden::SOCKET
}
