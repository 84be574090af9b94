//! The streams of a run: events and output towards a client, input and orders from it.

use crate::api::refuse;
use stoa_core::run::{RunRecord, TerminalSize};
use stoa_core::{Exit, Failure};
use stoa_proto::output::Stream;
use stoa_proto::stoa as pb;
use stoa_run::{Chunk, Order, OutputReader, Subscription};
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};

type Events = mpsc::Sender<Result<pb::RunEvent, Status>>;

/// Tells a client that it left or the stream has ended.
struct Closed;

/// Passes what a client sends on to its run, until the client leaves. Leaving does not stop the run.
pub(crate) async fn take_input(mut requests: Streaming<pb::RunRequest>, orders: mpsc::UnboundedSender<Order>) {
    use pb::run_request::What;
    while let Ok(Some(request)) = requests.message().await {
        let order = match request.what {
            Some(What::Stdin(bytes)) => Order::Stdin(bytes),
            Some(What::StdinEnd(_)) => Order::StdinEnd,
            Some(What::Resize(size)) => Order::Resize(TerminalSize::from(size)),
            Some(What::Interrupt(_)) => Order::Interrupt,
            Some(What::Kill(_)) => Order::Kill,
            _ => continue,
        };
        if orders.send(order).is_err() {
            return;
        }
    }
}

/// Sends a run's events until it has ended, the client has left, or the daemon stops.
pub(crate) async fn send_events(
    mut subscription: Subscription,
    quiet: bool,
    events: Events,
    mut stop: watch::Receiver<bool>,
) {
    tokio::select! {
        sent = follow(&mut subscription, quiet, &events) => {
            if let Err(Stopped::Failed(failure)) = sent {
                let _client_left = events.send(Err(refuse(failure))).await;
            }
        }
        () = stopping(&mut stop) => {
            let failure = stopped(&subscription.record.borrow(), "attach");
            let _client_left = events.send(Err(refuse(failure))).await;
        }
    }
}

/// What someone who follows a run is told when the daemon is stopped; `command` follows it again.
pub(crate) fn stopped(record: &RunRecord, command: &str) -> Failure {
    let id = &record.id;
    let failure = Failure::new(Exit::TryAgain, "the daemon was stopped");
    failure
        .cause(if record.state.ended() {
            format!("run {id} has ended")
        } else {
            format!("run {id} goes on without it")
        })
        .hint(format!("`stoa {command} {id}` starts the daemon again and follows the run"))
}

/// Waits until the daemon is told to stop.
pub(crate) async fn stopping(stop: &mut watch::Receiver<bool>) {
    let _stopping_or_gone = stop.wait_for(|stop| *stop).await;
}

/// Why following ended early.
enum Stopped {
    ClientLeft,
    Failed(Failure),
}

impl From<Closed> for Stopped {
    fn from(_: Closed) -> Self {
        Self::ClientLeft
    }
}

impl From<std::io::Error> for Stopped {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(Failure::new(Exit::Failed, "the output of the run cannot be read").caused_by(&error))
    }
}

async fn follow(subscription: &mut Subscription, quiet: bool, events: &Events) -> Result<(), Stopped> {
    use pb::run_event::What;
    let seen = subscription.record.borrow_and_update().clone();
    let mut ended = seen.state.ended();
    send(events, What::Accepted(seen.into())).await?;
    let mut passed = 0;
    loop {
        if !quiet {
            send_output(&mut subscription.reader, events).await?;
        }
        if ended {
            let last = subscription.record.borrow().clone();
            return Ok(send(events, What::Ended(last.into())).await?);
        }
        tokio::select! {
            changed = subscription.record.changed() => {
                // The driving task is gone only after the end was told.
                let record: RunRecord = subscription.record.borrow_and_update().clone();
                ended = record.state.ended() || changed.is_err();
                if !ended {
                    send(events, What::Changed(record.into())).await?;
                }
            }
            Ok(()) = subscription.output.changed() => {}
            Ok(()) = subscription.stdin_passed.changed() => {
                let now = *subscription.stdin_passed.borrow_and_update();
                if now != passed {
                    passed = now;
                    send(events, What::StdinPassed(passed)).await?;
                }
            }
            () = events.closed() => return Err(Stopped::ClientLeft),
        }
    }
}

async fn send(events: &Events, what: pb::run_event::What) -> Result<(), Closed> {
    events.send(Ok(pb::RunEvent { what: Some(what) })).await.map_err(|_| Closed)
}

async fn send_output(reader: &mut OutputReader, events: &Events) -> Result<(), Stopped> {
    while let Some(chunk) = reader.next_chunk()? {
        send(events, pb::run_event::What::Output(output(chunk))).await?;
    }
    Ok(())
}

type Chunks = mpsc::Sender<Result<pb::Output, Status>>;

/// Sends the output of a run, to its end when it is followed, or until the daemon stops.
pub(crate) async fn send_logs(
    mut subscription: Subscription,
    follow: bool,
    chunks: Chunks,
    mut stop: watch::Receiver<bool>,
) {
    let failure = tokio::select! {
        sent = follow_logs(&mut subscription, follow, &chunks) => match sent {
            Err(Stopped::Failed(failure)) => failure,
            Ok(()) | Err(Stopped::ClientLeft) => return,
        },
        () = stopping(&mut stop) => stopped(&subscription.record.borrow(), "logs -f"),
    };
    let _client_left = chunks.send(Err(refuse(failure))).await;
}

async fn follow_logs(subscription: &mut Subscription, follow: bool, chunks: &Chunks) -> Result<(), Stopped> {
    loop {
        let ended = subscription.record.borrow_and_update().state.ended();
        while let Some(chunk) = subscription.reader.next_chunk()? {
            chunks.send(Ok(output(chunk))).await.map_err(|_| Closed)?;
        }
        if ended || !follow {
            return Ok(());
        }
        tokio::select! {
            _ = subscription.record.changed() => {}
            Ok(()) = subscription.output.changed() => {}
            () = chunks.closed() => return Err(Stopped::ClientLeft),
        }
    }
}

fn output(chunk: Chunk) -> pb::Output {
    let stream = match chunk.stream {
        Stream::Stdout => pb::Stream::Stdout,
        Stream::Stderr => pb::Stream::Stderr,
        Stream::Terminal => pb::Stream::Terminal,
        Stream::Preparation => pb::Stream::Preparation,
        Stream::Lost => pb::Stream::Lost,
    };
    pb::Output {
        stream: stream.into(),
        offset: chunk.offset,
        data: chunk.data,
        time: chunk.time,
        attempt: chunk.attempt.into(),
        lost: chunk.lost,
    }
}
