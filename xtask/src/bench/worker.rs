//! One process per subject that starts the subject's command again and again and times it.
//!
//! A subject may need a mount or network namespace of its own, and daemons beside it. Its worker is started inside all
//! that, so that every subject is timed by the same code and none pays for its surroundings.

use super::processes::{Processes, end, pause};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a worker is looked at before it is killed; together five seconds.
const PATIENCE: u32 = 100;

/// What is timed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subject {
    /// Its name in the report and in `PROMISES.md`.
    pub(crate) name: String,
    /// The command, start to exit.
    pub(crate) command: Vec<String>,
    /// What the worker is started through: `unshare -n sh -c '...; exec "$@"' sh`. Empty is nothing.
    pub(crate) within: Vec<String>,
    /// Variables of the worker and everything below it.
    pub(crate) env: Vec<(String, String)>,
    /// Daemons outside the worker that do part of the work.
    pub(crate) daemons: Vec<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    command: Vec<String>,
    times: usize,
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    /// Nanoseconds of each start to exit.
    Took(Vec<u64>),
    /// The command failed; how, and what it printed.
    Failed(String),
}

/// One round of a subject.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Round {
    /// Seconds from start to exit, of each repetition.
    pub(crate) wall: Vec<f64>,
    /// Processor seconds of all repetitions together, in the whole process tree.
    pub(crate) cpu: f64,
}

/// A running worker. Ends with everything below it when dropped.
pub(crate) struct Worker {
    subject: Subject,
    child: Child,
    /// Closed when the worker is to end.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts the worker and runs the command once, untimed, so that caches are warm and a failure is seen early.
    pub(crate) fn start(subject: Subject) -> Result<Self> {
        let own = std::env::current_exe().context("where is this program?")?;
        let mut line: Vec<String> = subject.within.clone();
        line.extend([own.display().to_string(), "bench-worker".to_owned()]);
        let mut child = Command::new(&line[0])
            .args(&line[1..])
            .envs(subject.env.iter().map(|(name, value)| (name, value)))
            // No git work tree: Stoa would record the state of its code, which no peer does.
            .current_dir(super::peers::cache()?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", line[0]))?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("the pipe was asked for")?);
        let mut worker = Self { subject, child, orders, answers };
        worker.order(1)?;
        Ok(worker)
    }

    pub(crate) fn name(&self) -> &str {
        &self.subject.name
    }

    /// Runs the command `times` times.
    pub(crate) fn round(&mut self, times: usize) -> Result<Round> {
        let before = self.cpu()?;
        let wall = self.order(times)?;
        let cpu = self.cpu()?.saturating_sub(before);
        Ok(Round { wall, cpu: cpu.as_secs_f64() })
    }

    fn cpu(&self) -> Result<Duration> {
        let mut roots = self.subject.daemons.clone();
        roots.push(self.child.id());
        Ok(Processes::now()?.cpu(&roots))
    }

    fn order(&mut self, times: usize) -> Result<Vec<f64>> {
        let order = Order { command: self.subject.command.clone(), times };
        let orders = self.orders.as_mut().context("the worker was told to end")?;
        writeln!(orders, "{}", serde_json::to_string(&order)?)
            .with_context(|| format!("the worker of {} has ended", self.subject.name))?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        match serde_json::from_str(&line).with_context(|| format!("no answer from the worker of {}", self.name()))? {
            Answer::Took(nanos) => Ok(nanos.iter().map(|nanos| *nanos as f64 / 1e9).collect()),
            Answer::Failed(why) => bail!("{}: {why}", self.subject.name),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let own = self.child.id();
        let below = Processes::now().map(|processes| processes.tree(&[own])).unwrap_or_default();
        // A worker ends with its orders and cleans up; daemons beside it have to be told.
        self.orders = None;
        end(&below[1.min(below.len())..]);
        for _ in 0..PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            pause(Duration::from_millis(50));
        }
        // One that does not end is ended; when that fails it has just done so by itself.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// What a worker does: reads orders until its input ends.
pub(crate) fn serve() -> Result<()> {
    let (input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    for line in input.lines() {
        let order: Order = serde_json::from_str(&line?)?;
        writeln!(output, "{}", serde_json::to_string(&carry_out(&order))?)?;
    }
    Ok(())
}

fn carry_out(order: &Order) -> Answer {
    let mut took = Vec::with_capacity(order.times);
    for _ in 0..order.times {
        match once(&order.command) {
            Ok(time) => took.push(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
            Err(error) => return Answer::Failed(format!("{error:#}")),
        }
    }
    Answer::Took(took)
}

fn once(command: &[String]) -> Result<Duration> {
    let (program, arguments) = command.split_first().context("no command")?;
    let start = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    // Waiting before reading is safe: a message that fills the pipe would stop the command, and none is that long.
    let status = child.wait()?;
    let time = start.elapsed();
    if !status.success() {
        let rest = child.wait_with_output()?;
        bail!("`{}` ended with {status}: {}", command.join(" "), String::from_utf8_lossy(&rest.stderr).trim());
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(command: &[&str], times: usize) -> Answer {
        carry_out(&Order { command: command.iter().map(|word| (*word).to_owned()).collect(), times })
    }

    #[test]
    fn commands_are_timed_each() {
        match order(&["true"], 3) {
            Answer::Took(nanos) => assert!(nanos.len() == 3 && nanos.iter().all(|nanos| *nanos > 10_000), "{nanos:?}"),
            Answer::Failed(why) => panic!("{why}"),
        }
    }

    #[test]
    fn a_failing_command_says_why() {
        match order(&["sh", "-c", "echo no luck >&2; exit 3"], 1) {
            Answer::Failed(why) => assert!(why.contains("no luck") && why.contains("3"), "{why}"),
            Answer::Took(_) => panic!("exit code 3 is no success"),
        }
        assert!(matches!(order(&["/nonexistent"], 1), Answer::Failed(_)));
    }
}
