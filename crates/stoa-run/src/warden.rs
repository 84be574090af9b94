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
    pub(crate) async fn launch(&self, plan: &inner::LaunchPlan) -> Result<(inner::Launched, Vec<OwnedFd>), Failure> {
        let plan = in_memory(&plan.encode_to_vec())
            .map_err(|error| Failure::new(Exit::TryAgain, "cannot hand a plan to the warden").caused_by(&error))?;
        match self.ask(Question::Launch(inner::Launch {}), Some(plan)).await? {
            (Answer::Launched(launched), descriptors) => Ok((launched, descriptors)),
            _ => Err(wrong_answer()),
        }
    }

    /// Removes the cgroup of a run that ended; answers what it had counted.
    pub(crate) async fn remove_cgroup(&self, run_id: String) -> Result<inner::Removed, Failure> {
        match self.ask(Question::RemoveCgroup(inner::RemoveCgroup { run_id }), None).await? {
            (Answer::Removed(removed), _) => Ok(removed),
            _ => Err(wrong_answer()),
        }
    }

    /// What this host can enforce.
    pub(crate) async fn probe(&self) -> Result<Vec<inner::Mechanism>, Failure> {
        match self.ask(Question::Probe(inner::Probe {}), None).await? {
            (Answer::Probed(probed), _) => Ok(probed.mechanisms),
            _ => Err(wrong_answer()),
        }
    }

    async fn ask(&self, question: Question, descriptor: Option<OwnedFd>) -> Result<Reply, Failure> {
        let connection = self.connected().await?;
        let answer = connection.ask(question, descriptor).await.map_err(|error| {
            Failure::new(Exit::TryAgain, "the warden ended before it answered").caused_by(&error).hint("try again")
        })?;
        match answer {
            (Answer::Refused(refused), _) => Err(refused.into()),
            other => Ok(other),
        }
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
