//! The commands of `stoa`: parse, ask the daemon, show.
//!
//! A command is a small function over a [`connect::Client`] and an [`output::Output`]. It ends with an exit code of
//! [`stoa_core::Exit`], or with the run's own.
#![forbid(unsafe_code)]

mod args;
mod attach;
mod connect;
mod curves;
mod daemon;
mod doctor;
mod failure;
mod input;
mod logs;
mod output;
mod runs;
mod spawn;
mod spec;
mod terminal;
mod watch;

pub use args::command;

use args::{Args, Command};
use clap::Parser;
use output::Output;
use std::ffi::OsString;
use std::process::ExitCode;
use stoa_core::{Exit, Failure};

/// How a command ended: an exit code of its own or of the run it followed.
pub(crate) type Ended = Result<u8, Failure>;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let args = match Args::try_parse_from(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    let output = Output::new();
    match dispatch(args.command, &output) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit.code())
        }
    }
}

/// Help goes to standard output and is no error; a wrong command line is.
fn usage(error: &clap::Error) -> ExitCode {
    let _closed = error.print();
    ExitCode::from(if error.use_stderr() { Exit::Usage.code() } else { Exit::Ok.code() })
}

fn dispatch(command: Command, output: &Output) -> Ended {
    match command {
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut args::command(), "stoa", &mut std::io::stdout().lock());
            Ok(Exit::Ok.code())
        }
        Command::ExitCodes => {
            output.text(&args::exit_codes());
            Ok(Exit::Ok.code())
        }
        other => runtime()?.block_on(ask(other, output)),
    }
}

/// One thread: a command waits for one daemon.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::TryAgain, "cannot start").caused_by(&error))
}

async fn ask(command: Command, output: &Output) -> Ended {
    match command {
        Command::Run(args) => attach::run(args, output).await,
        Command::Again(args) => attach::again(args, output).await,
        Command::Attach { run } => attach::attach(run, output).await,
        Command::Ps(args) => runs::list(args, output).await,
        Command::Show(args) => runs::show(args, output).await,
        Command::Wait { runs: names, json } => runs::wait(names, json, output).await,
        Command::Stop(args) => runs::stop(args, output).await,
        Command::Rm(args) => runs::remove(args, output).await,
        Command::Logs(args) => logs::show(args, output).await,
        Command::Plot(args) => curves::plot(args, output).await,
        Command::Metrics(args) => curves::metrics(args, output).await,
        Command::Watch { run } => watch::watch(run, output).await,
        Command::Doctor { json } => doctor::examine(json, output).await,
        Command::Daemon { command } => daemon::command(command, output).await,
        Command::Completions { .. } | Command::ExitCodes => Ok(Exit::Ok.code()),
    }
}

/// A path argument as text, for messages that are UTF-8.
pub(crate) fn utf8(text: OsString, what: &str) -> Result<String, Failure> {
    text.into_string().map_err(|text| {
        Failure::new(Exit::Usage, format!("{what} is not UTF-8: `{}`", text.to_string_lossy()))
            .hint("rename the file, or pass it through a file that names it")
    })
}
