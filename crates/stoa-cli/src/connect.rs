//! The connection to the daemon, which is started when it does not run.

use crate::spawn;
use hyper_util::rt::TokioIo;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use stoa_core::paths::LONGEST_SOCKET_PATH;
use stoa_core::{Exit, Failure, Paths};
use stoa_proto::stoa::stoa_client::StoaClient;
use stoa_proto::{VERSION, VERSION_HEADER};
use tokio::net::UnixStream;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// A client of the daemon.
pub(crate) type Client = StoaClient<InterceptedService<Channel, SayVersion>>;

/// Adds the protocol's version to each call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SayVersion;

impl Interceptor for SayVersion {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(VERSION_HEADER, MetadataValue::from_static(VERSION));
        Ok(request)
    }
}

/// Where this user's daemon is.
pub(crate) fn paths() -> Paths {
    let uid = rustix::process::geteuid().as_raw();
    Paths::find(|name| std::env::var_os(name).map(PathBuf::from), uid)
}

/// Connects to the daemon, starting it first when it does not run.
pub(crate) async fn connect() -> Result<Client, Failure> {
    let paths = paths();
    if let Some(client) = connect_to(&paths).await? {
        return Ok(client);
    }
    start(&paths).await?;
    connect_to(&paths).await?.ok_or_else(|| {
        Failure::new(Exit::TryAgain, "the daemon ended right after its start")
            .hint(format!("its log is {}", paths.log().display()))
    })
}

/// Connects to the daemon if it runs.
pub(crate) async fn connect_if_running() -> Result<Option<Client>, Failure> {
    connect_to(&paths()).await
}

async fn connect_to(paths: &Paths) -> Result<Option<Client>, Failure> {
    let length = paths.socket.as_os_str().len();
    if length > LONGEST_SOCKET_PATH {
        return Err(Failure::new(
            Exit::Unavailable,
            format!("the socket path is too long: {}", paths.socket.display()),
        )
        .cause(format!("it has {length} bytes, Linux allows {LONGEST_SOCKET_PATH}"))
        .hint("set XDG_RUNTIME_DIR to a folder with a shorter path"));
    }
    let stream = match UnixStream::connect(&paths.socket).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => {
            return Err(Failure::new(Exit::NotPermitted, format!("cannot connect to {}", paths.socket.display()))
                .caused_by(&error)
                .hint("it belongs to another user: unset XDG_RUNTIME_DIR and STOA_HOME to use your own"));
        }
    };
    // The one stream serves; a second connection is never made, since a broken one means a dead daemon.
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_| {
        let stream = stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        async move { stream }
    });
    // A Unix socket has no address of this form; the connector above ignores it.
    let channel = Endpoint::from_static("http://stoad.invalid").connect_with_connector(connector).await;
    let channel = channel.map_err(|error| {
        Failure::new(Exit::TryAgain, "the daemon does not answer").caused_by(&error).hint("try again")
    })?;
    Ok(Some(StoaClient::with_interceptor(channel, SayVersion).max_decoding_message_size(64 << 20)))
}

/// Starts the daemon and waits until it serves. Two commands at once start one daemon.
pub(crate) async fn start(paths: &Paths) -> Result<(), Failure> {
    make_private(&paths.home)?;
    let _one_at_a_time = lock(&paths.start_lock())?;
    if connect_to(paths).await?.is_some() {
        return Ok(());
    }
    spawn::daemon(paths)
}

fn make_private(folder: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| unwritable(folder, &error))
}

fn lock(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| unwritable(path, &error))?;
    flock(&file, FlockOperation::LockExclusive).map_err(|errno| unwritable(path, &io::Error::from(errno)))?;
    Ok(file)
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Unavailable, format!("cannot write {}", path.display()))
        .caused_by(error)
        .hint("set STOA_HOME to a folder you can write to")
}

/// A handle of a daemon, to wait for its end. `None` when it has ended already.
pub(crate) fn watch_end(pid: u32) -> Result<Option<OwnedFd>, Failure> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(daemon) => Ok(Some(daemon)),
        Err(Errno::SRCH) => Ok(None),
        Err(errno) => Err(cannot_wait(errno)),
    }
}

/// Waits until a daemon has ended. Its lock would not do: the next daemon may take that at once.
pub(crate) async fn wait_for_end(daemon: OwnedFd) -> Result<(), Failure> {
    // On a thread of its own: the connection, which the daemon waits for, is closed by this one.
    let wait = move || loop {
        match poll(&mut [PollFd::new(&daemon, PollFlags::IN)], None) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(cannot_wait(errno)),
        }
    };
    let ended = tokio::task::spawn_blocking(wait).await;
    ended
        .unwrap_or_else(|error| Err(Failure::new(Exit::Internal, "waiting for the daemon broke off").caused_by(&error)))
}

fn cannot_wait(errno: Errno) -> Failure {
    Failure::new(Exit::Internal, "cannot wait for the end of the daemon").caused_by(&io::Error::from(errno))
}
