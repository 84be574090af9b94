//! The warden's client: starts it, sends it plans, gets processes back.
//!
//! There is one warden. When it dies, running runs go on without it and the next launch starts another. It holds a lock from
//! its start to its end, so that a daemon that follows a killed one can tell that no launch is under way any more.

use crate::channel::Channel;
use prost::Message;
use rustix::fs::{MemfdFlags, SealFlags, memfd_create};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use stoa_core::{Exit, Failure};
use stoa_proto::warden::{self as inner, reply::What as Answer, request::What as Question};
use tokio::sync::{Mutex, oneshot};

/// The first argument by which the program knows that it is the warden.
pub(crate) const NAME: &str = "stoa-warden";

/// The descriptor under which the warden finds its socket.
const SOCKET: i32 = 3;

/// Starts and asks the warden.
#[derive(Debug)]
pub(crate) struct Warden {
    program: PathBuf,
    lock: PathBuf,
    connection: Mutex<Option<Arc<Connection>>>,
}

#[derive(Debug)]
struct Connection {
    channel: Channel,
    serial: AtomicU64,
    waiting: std::sync::Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    closed: bool,
    replies: HashMap<u64, oneshot::Sender<Reply>>,
}

type Reply = (Answer, Vec<OwnedFd>);

/// How often a question that may be asked twice is asked when wardens keep ending.
const MOST_ASKED: u32 = 5;

/// Why a question has no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The warden says no, or there is none.
    Refused(Failure),
    /// It ended before it answered: what was asked may be done or not.
    Ended(Failure),
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Refused(failure) | Unanswered::Ended(failure) => failure,
        }
    }
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

impl Warden {
    /// A warden that is `program` started under the name [`NAME`], holding `lock` while it lives.
    pub(crate) fn new(program: PathBuf, lock: PathBuf) -> Self {
        Self { program, lock, connection: Mutex::default() }
    }

    /// Waits until no warden of an earlier daemon lives, then starts one.
    pub(crate) async fn start(&self) -> Result<(), Failure> {
        let lock = self.lock.clone();
        let free = tokio::task::spawn_blocking(move || {
            let file = File::options().create(true).truncate(false).write(true).open(lock)?;
            rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).map_err(io::Error::from)
        });
        free.await
            .map_err(io::Error::other)
            .and_then(|done| done)
            .map_err(|error| Failure::new(Exit::Unavailable, "cannot wait for an earlier warden").caused_by(&error))?;
        self.connected().await.map(drop)
    }

    /// Launches a plan. The descriptors are the control socket and the read ends of the output.
    pub(crate) async fn launch(&self, plan: &inner::LaunchPlan) -> Result<(inner::Launched, Vec<OwnedFd>), Unanswered> {
        let plan = in_memory(&plan.encode_to_vec())
            .map_err(|error| Failure::new(Exit::TryAgain, "cannot hand a plan to the warden").caused_by(&error))?;
        match self.ask(Question::Launch(inner::Launch {}), Some(plan)).await? {
            (Answer::Launched(launched), descriptors) => Ok((launched, descriptors)),
            _ => Err(wrong_answer().into()),
        }
    }

    /// Removes the cgroup of a run that ended; answers what it had counted.
    pub(crate) async fn remove_cgroup(&self, run_id: String) -> Result<inner::Removed, Failure> {
        match self.ask_again(&Question::RemoveCgroup(inner::RemoveCgroup { run_id })).await? {
            (Answer::Removed(removed), _) => Ok(removed),
            _ => Err(wrong_answer()),
        }
    }

    /// What this host can enforce.
    pub(crate) async fn probe(&self) -> Result<Vec<inner::Mechanism>, Failure> {
        match self.ask_again(&Question::Probe(inner::Probe {})).await? {
            (Answer::Probed(probed), _) => Ok(probed.mechanisms),
            _ => Err(wrong_answer()),
        }
    }

    async fn ask(&self, question: Question, descriptor: Option<OwnedFd>) -> Result<Reply, Unanswered> {
        let connection = self.connected().await?;
        let answer = connection.ask(question, descriptor).await.map_err(|error| {
            let failure = Failure::new(Exit::TryAgain, "the warden ended before it answered");
            Unanswered::Ended(failure.caused_by(&error).hint("try again"))
        })?;
        match answer {
            (Answer::Refused(refused), _) => Err(Unanswered::Refused(refused.into())),
            other => Ok(other),
        }
    }

    /// Asks what may be asked twice: of the next warden when one ends before it answers.
    async fn ask_again(&self, question: &Question) -> Result<Reply, Failure> {
        for _ in 1..MOST_ASKED {
            match self.ask(question.clone(), None).await {
                Err(Unanswered::Ended(failure)) => tracing::warn!(%failure, "asking the next warden"),
                other => return Ok(other?),
            }
        }
        Ok(self.ask(question.clone(), None).await?)
    }

    async fn connected(&self) -> Result<Arc<Connection>, Failure> {
        let mut connection = self.connection.lock().await;
        match connection.as_ref().filter(|connection| !connection.closed()) {
            Some(living) => Ok(living.clone()),
            None => {
                let fresh = self.spawn().map_err(|error| {
                    Failure::new(Exit::Unavailable, "cannot start the warden")
                        .cause(format!("{}: {error}", self.program.display()))
                })?;
                Ok(connection.insert(fresh).clone())
            }
        }
    }

    fn spawn(&self) -> io::Result<Arc<Connection>> {
        let (ours, theirs) = stoa_sys::packet::pair()?;
        let mut command = Command::new(&self.program);
        stoa_sys::process::give_descriptor(&mut command, theirs, SOCKET)?;
        let mut child = command
            .arg0(NAME)
            .env_clear()
            .env("STOA_WARDEN_LOCK", &self.lock)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        tracing::info!(pid = child.id(), "the warden has started");
        let connection = Arc::new(Connection {
            channel: Channel::new(ours)?,
            serial: AtomicU64::new(1),
            waiting: Default::default(),
        });
        let reader = connection.clone();
        tokio::spawn(async move {
            reader.read().await;
            // It is gone or going: reaping takes no time worth a thread of its own.
            let status = tokio::task::spawn_blocking(move || child.wait()).await;
            tracing::info!(?status, "the warden has ended");
        });
        Ok(connection)
    }
}

impl Connection {
    async fn ask(&self, question: Question, descriptor: Option<OwnedFd>) -> io::Result<Reply> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            if waiting.closed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            waiting.replies.insert(serial, reply);
        }
        let request = inner::Request { serial, what: Some(question) }.encode_to_vec();
        let descriptors: Vec<_> = descriptor.iter().map(AsFd::as_fd).collect();
        if let Err(error) = self.channel.send(&request, &descriptors).await {
            self.waiting().replies.remove(&serial);
            return Err(error);
        }
        answer.await.map_err(|_| io::ErrorKind::UnexpectedEof.into())
    }

    /// Hands out replies until the warden closes the socket; then everyone who waits gets an error.
    async fn read(&self) {
        while let Ok(Some(packet)) = self.channel.receive().await {
            let Ok(inner::Reply { serial, what: Some(answer) }) = inner::Reply::decode(packet.bytes.as_slice()) else {
                tracing::error!("the warden sent what is no reply");
                break;
            };
            if let Some(reply) = self.waiting().replies.remove(&serial) {
                let _ = reply.send((answer, packet.descriptors));
            }
        }
        let mut waiting = self.waiting();
        waiting.closed = true;
        waiting.replies.clear();
    }

    fn closed(&self) -> bool {
        self.waiting().closed
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no one panics while holding it")
    }
}

fn wrong_answer() -> Failure {
    Failure::new(Exit::Internal, "the warden answered another question than was asked")
}

/// A file in memory with this content.
fn in_memory(content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("plan", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(content)?;
    let all = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, all)?;
    Ok(file.into())
}
