//! The command line: one definition for parser, help, completions and man pages.

use clap::{Args as ClapArgs, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use stoa_core::Exit;
use stoa_core::run::Mount;
use stoa_core::units::{Bytes, Cpus, parse_span};

/// An operating system for AI development and agent training.
#[derive(Debug, Parser)]
#[command(name = "stoa", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Examples:
  stoa run train.py --epochs 3           run a script, isolated, in place of python train.py
  stoa run --memory 2G -- ./simulate     run any program under a limit
  stoa watch train-1                     watch its curves
  stoa ps                                what runs and what ran")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The definition, for completions and man pages.
pub fn command() -> clap::Command {
    Args::command()
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a script or a program, isolated and recorded
    Run(Box<RunArgs>),
    /// List runs
    Ps(PsArgs),
    /// Show everything known of a run
    Show(ShowArgs),
    /// Print the output of a run
    Logs(LogsArgs),
    /// Follow a run: its output here, Ctrl-C stops it
    #[command(after_help = "Examples:\n  stoa attach train-1")]
    Attach {
        /// Name or id of the run
        run: String,
    },
    /// Wait for runs to end, and end with the exit code of the last one
    #[command(after_help = "Examples:\n  stoa wait train-1 && echo done\n  stoa wait train-1 train-2 --json")]
    Wait {
        /// Names or ids of runs
        #[arg(required = true)]
        runs: Vec<String>,
        /// Print the records as JSON
        #[arg(long)]
        json: bool,
    },
    /// Stop runs: SIGTERM, and SIGKILL after a grace period
    Stop(StopArgs),
    /// Repeat a run: same program, arguments, environment, limits and code
    Again(AgainArgs),
    /// Remove runs with everything kept of them
    Rm(RmArgs),
    /// Watch the curves of a run on the whole screen
    #[command(
        after_help = "Examples:\n  stoa watch train-1\n\nKeys: q quit, l log scale, s smooth, t time, p pause, f focus, n and b pages, y system metrics"
    )]
    Watch {
        /// Name or id of the run
        run: String,
    },
    /// Draw curves of a run in the terminal or as SVG
    Plot(PlotArgs),
    /// List the metrics of a run, or print their points
    Metrics(MetricsArgs),
    /// Examine this machine: what can be enforced, and whether it meets the requirements
    #[command(after_help = "Examples:\n  stoa doctor\n  stoa doctor --json")]
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Start, stop or examine the daemon; it also starts by itself
    Daemon {
        #[command(subcommand)]
        command: DaemonCommand,
    },
    /// Print shell completions
    #[command(
        after_help = "Examples:\n  stoa completions bash > ~/.local/share/bash-completion/completions/stoa\n  stoa completions fish > ~/.config/fish/completions/stoa.fish"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// List the exit codes
    #[command(after_help = "Examples:\n  stoa exit-codes")]
    ExitCodes,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  stoa run train.py --epochs 3
  stoa run --watch --name baseline train.py
  stoa run --memory 8G --cpus 4 --time-limit 2h train.py
  stoa run --net none --mount /data:ro -- ./evaluate model.pt
  stoa run --detach train.py && stoa logs -f train-1

Options of stoa come before the script; what follows it belongs to the script.
The exit code is the program's own, or 128+n when signal n ended it.")]
pub(crate) struct RunArgs {
    /// A name for the run; it serves wherever its id does
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Start it and return; prints its id
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Draw its learning curve instead of its output
    #[arg(long, short, conflicts_with_all = ["detach", "json"])]
    pub(crate) watch: bool,
    /// Processors, such as 2 or 0.5
    #[arg(long, value_name = "X")]
    pub(crate) cpus: Option<Cpus>,
    /// Memory of all its processes together, such as 512M or 2G
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    pub(crate) memory: Option<Bytes>,
    /// Processes and threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pids: Option<u32>,
    /// GPUs to have for itself; without this it sees all
    #[arg(long, value_name = "N")]
    pub(crate) gpus: Option<u32>,
    /// Wall-clock time, such as 90s, 10m or 1h30m
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    pub(crate) time_limit: Option<Duration>,
    /// Set a variable, or pass one that is hidden as a secret by its name alone
    #[arg(long, short, value_name = "K[=V]")]
    pub(crate) env: Vec<String>,
    /// Make a file or folder visible, read-only with :ro
    #[arg(long, value_name = "PATH[:ro]", value_parser = parse_mount)]
    pub(crate) mount: Vec<Mount>,
    /// Network access
    #[arg(long, value_name = "host|none", value_enum, default_value = "host")]
    pub(crate) net: Net,
    /// How often to start it again when it fails
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) retries: u32,
    /// Use this Python interpreter with its packages, and resolve nothing
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<PathBuf>,
    /// Start even where some isolation cannot be enforced; the run's record says what is missing
    #[arg(long)]
    pub(crate) allow_degraded: bool,
    /// Print the run's record as JSON at its end; its output goes to standard error
    #[arg(long)]
    pub(crate) json: bool,
    /// A script and its arguments, or after -- a program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "SCRIPT|-- COMMAND")]
    pub(crate) program: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Net {
    /// The network of this machine
    Host,
    /// A loopback device of its own and nothing else
    None,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  stoa ps\n  stoa ps --all\n  stoa ps --live --json")]
pub(crate) struct PsArgs {
    /// All runs, not only the newest
    #[arg(long, short, conflicts_with = "live")]
    pub(crate) all: bool,
    /// Only runs that have not ended
    #[arg(long, short)]
    pub(crate) live: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  stoa show train-1\n  stoa show train-1 --json")]
pub(crate) struct ShowArgs {
    /// Name or id of the run
    pub(crate) run: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  stoa logs train-1\n  stoa logs -f --tail 20 train-1\n  stoa logs train-1 --json")]
pub(crate) struct LogsArgs {
    /// Name or id of the run
    pub(crate) run: String,
    /// Go on until the run has ended
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only the last lines
    #[arg(long, short = 'n', value_name = "LINES")]
    pub(crate) tail: Option<u64>,
    /// One JSON object per piece: stream, time, text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  stoa stop train-1\n  stoa stop --grace 1m train-1\n  stoa stop --kill train-1 train-2"
)]
pub(crate) struct StopArgs {
    /// Names or ids of runs
    #[arg(required = true)]
    pub(crate) runs: Vec<String>,
    /// Time between SIGTERM and SIGKILL
    #[arg(long, value_name = "TIME", value_parser = parse_span, default_value = "10s")]
    pub(crate) grace: Duration,
    /// SIGKILL at once
    #[arg(long, short)]
    pub(crate) kill: bool,
    /// Print the records as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  stoa again train-1\n  stoa again --name rerun train-1\n\nThe code is checked out as it was: commit, uncommitted changes, small untracked files."
)]
pub(crate) struct AgainArgs {
    /// Name or id of the run to repeat
    pub(crate) run: String,
    /// A name for the new run
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Start it and return; prints its id
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Print the run's record as JSON at its end; its output goes to standard error
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  stoa rm train-1\n  stoa rm --force train-1 train-2\n  stoa rm --ended")]
pub(crate) struct RmArgs {
    /// Names or ids of runs
    #[arg(required_unless_present = "ended")]
    pub(crate) runs: Vec<String>,
    /// All runs that have ended
    #[arg(long, conflicts_with = "runs")]
    pub(crate) ended: bool,
    /// Kill runs that have not ended
    #[arg(long, short)]
    pub(crate) force: bool,
    /// Print the ids as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  stoa plot train-1\n  stoa plot train-1 train/loss --log --smooth 0.9\n  stoa plot train-1 loss --svg loss.svg"
)]
pub(crate) struct PlotArgs {
    /// Name or id of the run
    pub(crate) run: String,
    /// Metrics to draw together, or prefixes ending in /; without any, the main ones
    pub(crate) metrics: Vec<String>,
    /// Write an SVG picture
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Logarithmic values
    #[arg(long)]
    pub(crate) log: bool,
    /// Weight of a moving average, from 0 to 1
    #[arg(long, value_name = "W", value_parser = parse_weight)]
    pub(crate) smooth: Option<f64>,
    /// Over time instead of steps
    #[arg(long)]
    pub(crate) time: bool,
    /// Columns, or pixels of an SVG
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(20..=10_000))]
    pub(crate) width: Option<u32>,
    /// Lines, or pixels of an SVG
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(4..=10_000))]
    pub(crate) height: Option<u32>,
    /// Print the drawn points as JSON
    #[arg(long, conflicts_with = "svg")]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  stoa metrics train-1\n  stoa metrics train-1 --json\n  stoa metrics train-1 loss --json --points 100000"
)]
pub(crate) struct MetricsArgs {
    /// Name or id of the run
    pub(crate) run: String,
    /// Only these metrics, or prefixes ending in /
    pub(crate) metrics: Vec<String>,
    /// The most points per metric in JSON; minima and maxima are kept
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub(crate) points: u32,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(crate) enum DaemonCommand {
    /// Start the daemon if it does not run
    #[command(after_help = "Examples:\n  stoa daemon start")]
    Start {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Stop the daemon; runs go on, and the next command starts it again
    #[command(after_help = "Examples:\n  stoa daemon stop")]
    Stop {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show whether the daemon runs, and where
    #[command(after_help = "Examples:\n  stoa daemon status\n  stoa daemon status --json")]
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

fn parse_mount(text: &str) -> Result<Mount, String> {
    let (path, writable) = match text.strip_suffix(":ro") {
        Some(path) => (path, false),
        None => (text.strip_suffix(":rw").unwrap_or(text), true),
    };
    if path.is_empty() {
        return Err("name a file or folder".to_owned());
    }
    Ok(Mount { path: PathBuf::from(path), writable })
}

/// Below this no program starts, and the kernel refuses in the middle of making the sandbox.
const LEAST_MEMORY: Bytes = Bytes(1 << 20);

fn parse_memory(text: &str) -> Result<Bytes, String> {
    let memory: Bytes = text.parse().map_err(|error: stoa_core::units::BadQuantity| error.to_string())?;
    if memory < LEAST_MEMORY {
        return Err(format!("no program runs in {memory}: use {LEAST_MEMORY} or more, with a unit, such as `512M`"));
    }
    Ok(memory)
}

fn parse_weight(text: &str) -> Result<f64, String> {
    let weight = text.parse::<f64>().ok().filter(|weight| (0.0..1.0).contains(weight));
    weight.ok_or_else(|| "the weight is a number from 0 to below 1, such as 0.9".to_owned())
}

/// The page of `stoa exit-codes`.
pub(crate) fn exit_codes() -> String {
    let lines = Exit::ALL.iter().map(|(exit, meaning)| format!("{:>5}  {meaning}\n", exit.code()));
    let own = "\n`stoa run`, `again`, `attach` and `wait` end with the exit code of the run: its own, 128+n when signal n ended it,\n\
               or 124 when it ended well at its time limit.\n";
    lines.chain([own.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn options_after_the_script_belong_to_the_script() {
        let args =
            Args::try_parse_from(["stoa", "run", "--memory", "2G", "train.py", "--memory", "9", "-x"]).expect("valid");
        let Command::Run(run) = args.command else { panic!("not a run") };
        assert_eq!(run.program, ["train.py", "--memory", "9", "-x"]);
        assert_eq!(run.memory, Some(Bytes(2 << 30)));
    }

    #[test]
    fn every_command_has_an_example_in_its_help() {
        fn check(command: &clap::Command, path: &str) {
            for sub in command.get_subcommands() {
                let name = format!("{path} {}", sub.get_name());
                if sub.has_subcommands() {
                    check(sub, &name);
                } else {
                    let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                    assert!(help.contains(&format!("Examples:\n  {name}")), "{name}: {help}");
                }
            }
        }
        check(&command(), "stoa");
    }

    #[test]
    fn mounts_are_writable_unless_said_otherwise() {
        assert_eq!(parse_mount("/data:ro"), Ok(Mount { path: "/data".into(), writable: false }));
        assert_eq!(parse_mount("/data"), Ok(Mount { path: "/data".into(), writable: true }));
        assert!(parse_mount(":ro").is_err());
    }

    #[test]
    fn a_memory_limit_without_its_unit_is_noticed() {
        assert_eq!(parse_memory("2G"), Ok(Bytes(2 << 30)));
        assert_eq!(parse_memory("512").expect_err("too little").lines().count(), 1);
        assert!(parse_memory("1M").is_ok() && parse_memory("1023K").is_err());
    }
}
