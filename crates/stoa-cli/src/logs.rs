//! `stoa logs`: the kept output of a run.

use crate::Ended;
use crate::args::LogsArgs;
use crate::connect::connect;
use crate::failure::{Trouble, failed};
use crate::output::Output;
use serde::Serialize;
use std::io::{self, Write};
use stoa_core::Exit;
use stoa_proto::stoa as pb;

/// A piece of output as JSON; one a line.
#[derive(Serialize)]
struct Piece<'a> {
    stream: &'a str,
    time: u64,
    attempt: u32,
    offset: u64,
    lost: u64,
    /// Bytes that are no UTF-8 appear as U+FFFD.
    text: String,
}

/// Prints the output: standard output to standard output, the rest to standard error.
pub(crate) async fn show(args: LogsArgs, output: &Output) -> Ended {
    let request = pb::LogsRequest { run: args.run, follow: args.follow, tail: args.tail };
    let mut pieces = connect().await?.logs(request).await.map_err(failed)?.into_inner();
    loop {
        let piece = match pieces.message().await.map_err(Trouble::from) {
            Ok(None) => return Ok(Exit::Ok.code()),
            Ok(Some(piece)) => piece,
            Err(trouble) => return Err(trouble.into()),
        };
        let printed = if args.json { print_json(&piece) } else { print(&piece, output) };
        if printed.is_err() {
            // The reader has what it wanted.
            return Ok(Exit::Ok.code());
        }
    }
}

fn print(piece: &pb::Output, output: &Output) -> io::Result<()> {
    match piece.stream() {
        pb::Stream::Lost => {
            output.note(&format!("stoa: {} bytes of output could not be kept: the disk was full", piece.lost));
            Ok(())
        }
        pb::Stream::Stderr | pb::Stream::Preparation => {
            let mut error = io::stderr().lock();
            error.write_all(&piece.data).and_then(|()| error.flush())
        }
        _ => {
            let mut out = io::stdout().lock();
            out.write_all(&piece.data).and_then(|()| out.flush())
        }
    }
}

fn print_json(piece: &pb::Output) -> io::Result<()> {
    let stream = match piece.stream() {
        pb::Stream::Stdout => "stdout",
        pb::Stream::Stderr => "stderr",
        pb::Stream::Terminal => "terminal",
        pb::Stream::Preparation => "preparation",
        pb::Stream::Lost => "lost",
        pb::Stream::Unspecified => "unknown",
    };
    let text = String::from_utf8_lossy(&piece.data).into_owned();
    let object =
        Piece { stream, time: piece.time, attempt: piece.attempt, offset: piece.offset, lost: piece.lost, text };
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &object)?;
    out.write_all(b"\n").and_then(|()| out.flush())
}
