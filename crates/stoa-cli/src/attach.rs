//! Following a run: its output here, input and Ctrl-C to it, its exit code as ours.
//!
//! When the daemon dies meanwhile, the run goes on: the client starts a new daemon and follows on where it was.

use crate::args::{AgainArgs, RunArgs};
use crate::connect::{Client, connect};
use crate::failure::{Trouble, failed};
use crate::input::Input;
use crate::output::Output;
use crate::spec::{self, Streams};
use crate::terminal::{self, KeyMode};
use crate::{Ended, runs, watch};
use std::io::{self, Write};
use stoa_core::run::{EndReason, RunRecord, Variable};
use stoa_core::secret::MASK;
use stoa_core::{Exit, Failure, RunId};
use stoa_proto::stoa as pb;
use stoa_proto::stoa::run_event::What as News;
use stoa_proto::stoa::run_request::What as Order;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Requests that may wait for the connection.
const WAITING: usize = 8;
/// How often a lost daemon is started anew before the client gives up.
const MOST_RECONNECTS: u32 = 20;
/// What a shell reports of a program whose reader went away: 128 + SIGPIPE.
const BROKEN_PIPE_CODE: u8 = 141;

/// `stoa run`.
pub(crate) async fn run(args: Box<RunArgs>, output: &Output) -> Ended {
    let (detach, watched, json) = (args.detach, args.watch, args.json);
    let streams = Streams::find(detach || watched, json);
    let spec = spec::make(*args, streams)?;
    let hidden = spec.hidden_env.clone();
    let follower = Follower::start(Order::Submit(spec.into()), streams, output).await?;
    match (detach, watched) {
        (true, _) => announce(&follower.record, json, output),
        (_, true) => watch::inline(follower, output).await,
        _ => follower.follow(json, &hidden).await,
    }
}

/// `stoa again`.
pub(crate) async fn again(args: AgainArgs, output: &Output) -> Ended {
    let streams = Streams::find(args.detach, args.json);
    let mut client = connect().await?;
    let earlier = runs::find(&mut client, &args.run).await?;
    let masked = earlier.spec.named_env.iter().filter(|variable| variable.value == MASK);
    let secrets = masked.filter_map(|variable| {
        let value = std::env::var(&variable.name).ok()?;
        Some(Variable { name: variable.name.clone(), value }.into())
    });
    let order = Order::Again(pb::Again {
        secrets: secrets.collect(),
        run: earlier.id.into(),
        name: args.name,
        terminal: streams.terminal.map(Into::into),
        stdin: streams.stdin,
    });
    let follower = Follower::start(order, streams, output).await?;
    if args.detach { announce(&follower.record, args.json, output) } else { follower.follow(args.json, &[]).await }
}

/// `stoa attach`.
pub(crate) async fn attach(run: String, output: &Output) -> Ended {
    let streams = Streams { terminal: None, stdin: false };
    let order = Order::Attach(pb::Attach { run, from: None, quiet: false });
    Follower::start(order, streams, output).await?.follow(false, &[]).await
}

fn announce(record: &RunRecord, json: bool, output: &Output) -> Ended {
    if json {
        output.json(record)?;
    } else {
        output.text(&format!("{}\n", record.id));
        output.note(&format!("{} runs; follow it: stoa attach {}", record.name, record.name));
    }
    Ok(Exit::Ok.code())
}

/// A client that follows one run.
pub(crate) struct Follower {
    pub(crate) record: RunRecord,
    orders: mpsc::Sender<pb::RunRequest>,
    events: Streaming<pb::RunEvent>,
    streams: Streams,
    output: Output,
    /// The next byte of output to print.
    offset: u64,
    signals: Signals,
}

/// The signals a client acts on.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    resize: Signal,
    /// How often Ctrl-C was pressed.
    interrupts: u32,
}

/// What happened next.
enum Next {
    News(Box<Option<Result<News, Trouble>>>),
    Input(Option<Vec<u8>>),
    Interrupt,
    Leave,
    Resize,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::new(Exit::Internal, "cannot listen for signals").caused_by(&error))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
            resize: listen(SignalKind::window_change())?,
            interrupts: 0,
        })
    }

    /// Waits for any signal that ends a program.
    async fn told_to_leave(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

impl Follower {
    /// Starts or finds a run; returns when the daemon has accepted it.
    pub(crate) async fn start(order: Order, streams: Streams, output: &Output) -> Result<Self, Failure> {
        // Before the run exists: a Ctrl-C from here on is for it.
        let mut signals = Signals::listen()?;
        let accepted = async {
            let mut client = connect().await?;
            let (orders, mut events) = open(&mut client, order).await?;
            let first = events.message().await.map_err(failed)?.and_then(|event| event.what);
            let Some(News::Accepted(record)) = first else {
                return Err(Failure::new(Exit::Internal, "the daemon did not say that it accepted the run"));
            };
            Ok((orders, events, RunRecord::try_from(record)?))
        };
        let (orders, events, record) = tokio::select! {
            accepted = accepted => accepted?,
            () = signals.told_to_leave() => {
                return Err(Failure::new(Exit::TryAgain, "interrupted before the daemon had accepted the run")
                    .hint("`stoa ps` shows whether it was accepted all the same"));
            }
        };
        Ok(Self { record, orders, events, streams, output: *output, offset: 0, signals })
    }

    /// Prints the run's output until its end, and ends with its exit code.
    async fn follow(mut self, json: bool, hidden: &[String]) -> Ended {
        let keys = self.streams.terminal.and_then(|_| KeyMode::enter());
        let mut input = match self.streams.stdin {
            true => Some(
                Input::read()
                    .map_err(|error| Failure::new(Exit::TryAgain, "cannot read the input").caused_by(&error))?,
            ),
            false => None,
        };
        let code = loop {
            match self.next(&mut input).await {
                Next::News(news) => {
                    if let Some(code) = self.news(*news, &input, json).await? {
                        break code;
                    }
                }
                Next::Input(Some(bytes)) => self.tell(Order::Stdin(bytes)).await,
                Next::Input(None) => {
                    input = None;
                    self.tell(Order::StdinEnd(true)).await;
                }
                Next::Interrupt => self.interrupt().await,
                Next::Resize => self.tell(Order::Resize(terminal::size().into())).await,
                Next::Leave => {
                    drop(keys);
                    return Ok(self.leave());
                }
            }
        };
        drop(keys);
        self.report(json, hidden)?;
        Ok(code)
    }

    async fn next(&mut self, input: &mut Option<Input>) -> Next {
        let terminal = self.streams.terminal.is_some();
        let typed = async {
            match input {
                Some(input) => input.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            event = self.events.message() => Next::News(Box::new(match event {
                Ok(None) => None,
                Ok(Some(event)) => event.what.map(Ok),
                Err(status) => Some(Err(status.into())),
            })),
            _ = self.signals.interrupt.recv() => Next::Interrupt,
            _ = self.signals.terminate.recv() => Next::Leave,
            _ = self.signals.hangup.recv() => Next::Leave,
            _ = self.signals.resize.recv(), if terminal => Next::Resize,
            bytes = typed => Next::Input(bytes),
        }
    }

    /// Takes in an event; answers the exit code at the end.
    async fn news(
        &mut self,
        news: Option<Result<News, Trouble>>,
        input: &Option<Input>,
        json: bool,
    ) -> Result<Option<u8>, Failure> {
        match news {
            Some(Ok(News::Output(piece))) => {
                // A reader that has enough, as in `| head`, ends the program as it would without us. A terminal that is gone does
                // not: the hang-up that follows says what to do.
                let printed = self.print(&piece, json);
                if printed.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
                    self.kill_and_wait().await?;
                    return Ok(Some(BROKEN_PIPE_CODE));
                }
            }
            Some(Ok(News::Ended(record))) => {
                self.record = RunRecord::try_from(record)?;
                return Ok(Some(self.record.exit_code.unwrap_or(Exit::Failed.code())));
            }
            Some(Ok(News::Accepted(record) | News::Changed(record))) => self.record = RunRecord::try_from(record)?,
            Some(Ok(News::StdinPassed(passed))) => {
                if let Some(input) = input {
                    input.passed(passed);
                }
            }
            Some(Ok(News::Notice(text))) => self.output.note(&text),
            Some(Err(Trouble::Answered(failure))) => return Err(failure),
            Some(Err(Trouble::Broken(_))) | None => self.reconnect().await?,
        }
        Ok(None)
    }

    /// Prints a piece of output where it belongs. Fails when the reader of our output has gone.
    fn print(&mut self, piece: &pb::Output, json: bool) -> io::Result<()> {
        self.offset = piece.offset + piece.data.len() as u64;
        match piece.stream() {
            pb::Stream::Stdout | pb::Stream::Terminal if !json => {
                let mut out = io::stdout().lock();
                out.write_all(&piece.data).and_then(|()| out.flush())
            }
            pb::Stream::Lost => {
                self.output.note(&format!("stoa: {} bytes of output could not be kept: the disk is full", piece.lost));
                Ok(())
            }
            _ => {
                let mut error = io::stderr().lock();
                let _nobody_reads = error.write_all(&terminal::own_lines(&piece.data)).and_then(|()| error.flush());
                Ok(())
            }
        }
    }

    /// Tells the run something. A connection that broke shows with the next event.
    pub(crate) async fn tell(&self, order: Order) {
        let _broken = self.orders.send(pb::RunRequest { what: Some(order) }).await;
    }

    /// Ends a run whose output has no reader any more, as SIGPIPE would; what it still says goes nowhere.
    async fn kill_and_wait(&mut self) -> Result<(), Failure> {
        self.tell(Order::Kill(true)).await;
        loop {
            match self.events.message().await.map_err(Trouble::from) {
                Ok(Some(pb::RunEvent { what: Some(News::Ended(_)) })) => return Ok(()),
                Ok(Some(_)) => {}
                Err(Trouble::Answered(failure)) => return Err(failure),
                Ok(None) | Err(Trouble::Broken(_)) => {
                    self.reconnect().await?;
                    self.tell(Order::Kill(true)).await;
                }
            }
        }
    }

    /// Ctrl-C: the first asks the program to end, the second ends it.
    pub(crate) async fn interrupt(&mut self) {
        self.signals.interrupts += 1;
        if self.signals.interrupts == 1 {
            self.tell(Order::Interrupt(true)).await;
        } else {
            self.output.note("stoa: killing the run");
            self.tell(Order::Kill(true)).await;
        }
    }

    /// The next event or signal, for a view that does not print output.
    pub(crate) async fn next_change(&mut self) -> Result<Change, Failure> {
        match self.next(&mut None).await {
            Next::News(news) => match *news {
                Some(Ok(News::Output(piece))) => {
                    self.offset = piece.offset + piece.data.len() as u64;
                    Ok(Change::Output(piece))
                }
                other => {
                    let ended = self.news(other, &None, false).await?;
                    Ok(ended.map_or(Change::Record, Change::Ended))
                }
            },
            Next::Interrupt => Ok(Change::Interrupt),
            Next::Resize | Next::Input(_) => Ok(Change::Record),
            Next::Leave => Ok(Change::Leave),
        }
    }

    /// The client was told to go, or its terminal is: the run goes on.
    pub(crate) fn leave(&self) -> u8 {
        self.output.note(&format!("stoa: {0} goes on; follow it again: stoa attach {0}", self.record.name));
        Exit::TryAgain.code()
    }

    /// The daemon died: starts a new one and follows on from the last byte that was printed.
    async fn reconnect(&mut self) -> Result<(), Failure> {
        let mut last = Failure::new(Exit::TryAgain, "the daemon ended");
        for _ in 0..MOST_RECONNECTS {
            let run = self.record.id.to_string();
            let order = Order::Attach(pb::Attach { run, from: Some(self.offset), quiet: false });
            match connect().await {
                Ok(mut client) => match open(&mut client, order).await {
                    Ok((orders, events)) => {
                        (self.orders, self.events) = (orders, events);
                        return Ok(());
                    }
                    Err(failure) => last = failure,
                },
                Err(failure) => last = failure,
            }
        }
        Err(last.hint(format!("the run goes on; follow it: stoa attach {}", self.record.id)))
    }

    /// What is left to say at the end.
    pub(crate) fn report(&self, json: bool, hidden: &[String]) -> Result<(), Failure> {
        if json {
            self.output.json(&self.record)?;
        }
        let Some(end) = &self.record.end else { return Ok(()) };
        if let Some(failure) = explain(end, &self.record.id) {
            self.output.failure(&failure);
        }
        let failed = !matches!(end, EndReason::Exited { code: 0 } | EndReason::Stopped { .. });
        if failed && !hidden.is_empty() {
            let names = hidden.join(", ");
            self.output.note(&format!("stoa: hidden from the run as secrets: {names}; pass one with --env NAME"));
        }
        Ok(())
    }
}

/// What a view sees of a run.
pub(crate) enum Change {
    Output(pb::Output),
    Record,
    Ended(u8),
    Interrupt,
    Leave,
}

/// Ends that the program's own output does not explain.
fn explain(end: &EndReason, id: &RunId) -> Option<Failure> {
    let failed = |hint: String| Failure::new(Exit::Failed, format!("{id}: {end}")).hint(hint);
    Some(match end {
        EndReason::Exited { .. } | EndReason::Signaled { .. } | EndReason::Stopped { .. } => return None,
        EndReason::OutOfMemory { limit: Some(_) } => {
            failed("raise it with `--memory`, or use less: smaller batches, fewer workers".into())
        }
        EndReason::OutOfMemory { limit: None } => {
            failed("the machine ran out of memory; `stoa doctor` shows how much it has".into())
        }
        EndReason::TimeLimit { .. } => failed("raise it with `--time-limit`".into()),
        EndReason::LimitHit { .. } => failed("raise it with `--pids`".into()),
        EndReason::Infrastructure { failure } => failure.clone(),
        EndReason::Lost { .. } => failed(format!("what was kept: `stoa logs {id}`; repeat it: `stoa again {id}`")),
    })
}

type Opened = (mpsc::Sender<pb::RunRequest>, Streaming<pb::RunEvent>);

async fn open(client: &mut Client, order: Order) -> Result<Opened, Failure> {
    let (orders, requests) = mpsc::channel(WAITING);
    let _capacity = orders.send(pb::RunRequest { what: Some(order) }).await;
    let events = client.run(ReceiverStream::new(requests)).await.map_err(failed)?.into_inner();
    Ok((orders, events))
}
