//! Standard input for a run, read by a thread of its own.
//!
//! A terminal cannot be read without blocking, and a thread that blocks in `read` must not keep this process from ending: it is
//! not joined.

use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use tokio::sync::mpsc;

/// The most bytes a run may have been sent and not passed on to its program.
const OUTSTANDING: u64 = 64 << 10;
/// The most bytes read at once.
const PIECE: usize = 16 << 10;

/// Input on its way.
#[derive(Debug)]
pub(crate) struct Input {
    pieces: mpsc::Receiver<Vec<u8>>,
    flow: Arc<Flow>,
}

/// How much was sent and how much of it was passed on.
#[derive(Debug, Default)]
struct Flow {
    counts: Mutex<(u64, u64)>,
    room: Condvar,
}

impl Input {
    /// Starts reading standard input.
    pub(crate) fn read() -> io::Result<Self> {
        let (send, pieces) = mpsc::channel(1);
        let flow = Arc::new(Flow::default());
        let of_reader = flow.clone();
        thread::Builder::new().name("input".into()).spawn(move || {
            let mut piece = vec![0; PIECE];
            loop {
                of_reader.wait_for_room();
                let got = match io::stdin().read(&mut piece) {
                    Ok(0) | Err(_) => return,
                    Ok(got) => got,
                };
                of_reader.sent(got as u64);
                if send.blocking_send(piece[..got].to_vec()).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { pieces, flow })
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        self.pieces.recv().await
    }

    /// The run has passed on so many bytes in all.
    pub(crate) fn passed(&self, bytes: u64) {
        if let Ok(mut counts) = self.flow.counts.lock() {
            counts.1 = bytes;
            self.flow.room.notify_one();
        }
    }
}

impl Flow {
    fn wait_for_room(&self) {
        if let Ok(counts) = self.counts.lock() {
            let _room = self
                .room
                .wait_while(counts, |(sent, passed)| sent.saturating_sub(*passed) > OUTSTANDING - PIECE as u64);
        }
    }

    fn sent(&self, bytes: u64) {
        if let Ok(mut counts) = self.counts.lock() {
            counts.0 += bytes;
        }
    }
}
