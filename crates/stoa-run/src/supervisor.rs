//! The init of a run as the daemon sees it: what it tells, and what it is told.
//!
//! An init outlives this daemon. A later one connects to its socket `control` and gets the same descriptors again.

use crate::channel::Channel;
use crate::output;
use prost::Message;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use stoa_proto::output::Stream;
use stoa_proto::warden::{self as inner, from_init::What, to_init};

/// The socket an init listens on.
const CONTROL: &str = "control";
/// Locked for as long as the init lives.
const LOCK: &str = "lock";
/// The end of a run.
const EXIT: &str = "exit";

/// Between two looks at an init that does not listen: it begins or dies at this moment.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long the programs of a killed init may take to die. The kernel kills them with it.
const DYING: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// A connection to the init of a run.
#[derive(Debug)]
pub(crate) struct Supervisor {
    channel: Channel,
    /// The read ends of the program's output; the terminal's master comes with the news that the program has started.
    pipes: Mutex<Vec<OwnedFd>>,
    terminal: bool,
    pub(crate) init_pid: i32,
    pub(crate) started: bool,
}

/// What an init tells.
#[derive(Debug)]
pub(crate) enum Event {
    /// The program was executed.
    Started(inner::Started),
    /// So many bytes of output are kept.
    Output(u64),
    /// So many bytes of input were passed on.
    StdinPassed(u64),
    /// The end was recorded.
    Ended(Box<inner::Ended>),
    /// The init is gone.
    Gone,
}

impl Supervisor {
    /// The supervisor of a run that was just launched.
    pub(crate) fn launched(launched: &inner::Launched, descriptors: Vec<OwnedFd>, terminal: bool) -> io::Result<Self> {
        let (init_pid, started) = (launched.init_pid, false);
        let mut descriptors = descriptors.into_iter();
        let control = descriptors.next().ok_or_else(|| io::Error::other("the warden sent no control socket"))?;
        Ok(Self {
            channel: Channel::new(control)?,
            pipes: Mutex::new(descriptors.collect()),
            terminal,
            init_pid,
            started,
        })
    }

    /// Connects to a living init. Fails when there is none.
    pub(crate) async fn connect(state: &Path) -> io::Result<Self> {
        let channel = Channel::new(connect(state)?)?;
        let hello = inner::ToInit { what: Some(to_init::What::Hello(true)) };
        channel.send(&hello.encode_to_vec(), &[]).await?;
        loop {
            let packet = channel.receive().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let message = inner::FromInit::decode(packet.bytes.as_slice()).map_err(io::Error::other)?;
            if let Some(What::Hello(hello)) = message.what {
                let terminal = packet.descriptors.len() == 1;
                let pipes = Mutex::new(packet.descriptors);
                return Ok(Self { channel, pipes, terminal, init_pid: hello.init_pid, started: hello.started });
            }
        }
    }

    /// The next thing the init tells.
    pub(crate) async fn next(&self) -> Event {
        loop {
            let Ok(Some(packet)) = self.channel.receive().await else { return Event::Gone };
            match inner::FromInit::decode(packet.bytes.as_slice()).ok().and_then(|message| message.what) {
                Some(What::Started(started)) => {
                    self.pipes().extend(packet.descriptors);
                    return Event::Started(started);
                }
                Some(What::Output(kept)) => return Event::Output(kept),
                Some(What::StdinPassed(passed)) => return Event::StdinPassed(passed),
                Some(What::Ended(ended)) => return Event::Ended(Box::new(ended)),
                Some(What::Hello(_)) | None => {}
            }
        }
    }

    /// Tells the init something. A dead init is no error here: [`Supervisor::next`] says so.
    pub(crate) async fn tell(&self, what: to_init::What) {
        let message = inner::ToInit { what: Some(what) }.encode_to_vec();
        if let Err(error) = self.channel.send(&message, &[]).await {
            tracing::debug!(%error, "the init of a run is gone");
        }
    }

    /// After the init was killed: indexes and keeps what it had not, up to the last word of the programs that die with it.
    pub(crate) async fn recover_output(&self, state: &Path, attempt: u32) -> io::Result<u64> {
        let streams: &[Stream] = if self.terminal { &[Stream::Terminal] } else { &[Stream::Stdout, Stream::Stderr] };
        let pipes = std::mem::take(&mut *self.pipes());
        let state = state.to_owned();
        let recovered = tokio::task::spawn_blocking(move || {
            let pipes: Vec<(Stream, BorrowedFd<'_>)> =
                streams.iter().copied().zip(pipes.iter().map(AsFd::as_fd)).collect();
            let before = recover(&state, attempt, &pipes)?;
            for (_, pipe) in &pipes {
                // A hang-up is told whatever is asked for.
                let _waited_long_enough = poll(&mut [PollFd::new(pipe, PollFlags::empty())], Some(&DYING))?;
            }
            Ok(before + recover(&state, attempt, &pipes)?)
        });
        recovered.await.map_err(io::Error::other)?
    }

    fn pipes(&self) -> MutexGuard<'_, Vec<OwnedFd>> {
        self.pipes.lock().expect("no one panics while holding it")
    }
}

/// Connects to the socket `control` in a folder whose path may be longer than a socket address.
fn connect(state: &Path) -> io::Result<OwnedFd> {
    let folder = rustix::fs::open(state, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{CONTROL}", folder.as_raw_fd()))?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

/// Indexes output that a killed init left without a record, and keeps what is still in `pipes`.
pub(crate) fn recover(state: &Path, attempt: u32, pipes: &[(Stream, BorrowedFd<'_>)]) -> io::Result<u64> {
    let open =
        |name: &str| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(state.join(name));
    let (output, index) = (open(output::OUTPUT)?, open(output::INDEX)?);
    let attempt = u8::try_from(attempt).unwrap_or(u8::MAX);
    Ok(stoa_sys::output::recover(output.as_fd(), index.as_fd(), attempt, pipes)?)
}

/// What the files of a run without a connection say.
#[derive(Debug)]
pub(crate) enum Trace {
    /// No program was ever started for this attempt.
    NeverStarted,
    /// An init lives.
    Alive,
    /// It ended and recorded how.
    Ended(Box<inner::Ended>),
    /// It was killed before it could.
    Killed,
}

/// What has become of the init of a run.
#[derive(Debug)]
pub(crate) enum Found {
    /// No program was ever started for this attempt.
    NeverStarted,
    /// It lives; this is a connection to it.
    Alive(Supervisor),
    /// It ended and recorded how.
    Ended(Box<inner::Ended>),
    /// It was killed before it could.
    Killed,
}

/// Finds the init of a run to which there is no connection, waiting for one that begins or dies at this moment.
pub(crate) async fn find(state: &Path, attempt: u32) -> io::Result<Found> {
    loop {
        match trace(state, attempt)? {
            Trace::NeverStarted => return Ok(Found::NeverStarted),
            Trace::Ended(ended) => return Ok(Found::Ended(ended)),
            Trace::Killed => return Ok(Found::Killed),
            Trace::Alive => match Supervisor::connect(state).await {
                Ok(supervisor) => return Ok(Found::Alive(supervisor)),
                Err(error) => {
                    tracing::debug!(%error, state = %state.display(), "an init does not listen");
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            },
        }
    }
}

/// Looks for the init of a run that this daemon did not start.
pub(crate) fn trace(state: &Path, attempt: u32) -> io::Result<Trace> {
    if let Some(file) = open_if_there(state.join(LOCK))? {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Trace::Alive),
            Err(error) => return Err(error.into()),
        }
    }
    let Some(file) = open_if_there(state.join(EXIT))? else { return Ok(Trace::NeverStarted) };
    let mut block = vec![0; stoa_sys::exit_record::BLOCK];
    let got = file.read_at(&mut block, 0)?;
    let recorded = stoa_sys::exit_record::read(&block[..got]).and_then(|content| inner::Ended::decode(content).ok());
    Ok(match recorded {
        // Attempts are counted up: a later one than the record of the run tells of is the last one, too.
        Some(ended) if ended.attempt >= attempt => Trace::Ended(Box::new(ended)),
        // The record of an earlier attempt: this one had not begun.
        Some(_) => Trace::NeverStarted,
        // A warden that was killed in the middle of a launch, or an init that was before it started anything.
        None if !stoa_sys::exit_record::begun(&block) => Trace::NeverStarted,
        None => Trace::Killed,
    })
}

fn open_if_there(path: PathBuf) -> io::Result<Option<File>> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
