//! The daemon's life: lock, log, socket, services, ready, serve, stop.
//!
//! It is started by the first command that needs it (`stoa-cli`), with a pipe as its standard output: a line
//! `ready` there says that it serves; on its standard error it says why it cannot.

use crate::api::Api;
use crate::log_file::LogFile;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use stoa_core::paths::LONGEST_SOCKET_PATH;
use stoa_core::{Exit, Failure, Paths};
use stoa_hw::Inventory;
use stoa_lang::LanguageService;
use stoa_metrics::MetricService;
use stoa_proto::stoa::stoa_server::StoaServer;
use stoa_run::{Config, Gpu, Layout, Runs};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;

/// Threads for blocking work idle this long are let go.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// How long a daemon that stops may take until it is gone.
const STOPPING: Duration = Duration::from_secs(8);
/// How long answers under way may take when the daemon stops.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// What requests need to know of the daemon they reached.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) paths: Paths,
    pub(crate) uid: u32,
    pub(crate) inventory: Inventory,
    pub(crate) started: stoa_core::run::UnixNanos,
    /// Set to true when the daemon is to end.
    pub(crate) stop: watch::Sender<bool>,
}

/// Runs the daemon until it is told to stop.
pub(crate) fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!(%failure, "the daemon cannot serve");
            let _nobody_reads = writeln!(io::stderr(), "{failure}");
            ExitCode::from(failure.exit.code())
        }
    }
}

fn serve() -> Result<(), Failure> {
    // The terminal of the command that started it is no business of the daemon. It fails for one started by hand as a leader.
    let _leads_a_session_already = rustix::process::setsid();
    let uid = rustix::process::geteuid().as_raw();
    let paths = Paths::find(|name| std::env::var_os(name).map(PathBuf::from), uid);
    make_private(&paths.home)?;
    let _lock = lock(&paths)?;
    start_log(&paths.log())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .thread_keep_alive(KEEP_ALIVE)
        .thread_name("stoad")
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::TryAgain, "cannot start the daemon's threads").caused_by(&error))?;
    let served = runtime.block_on(run(paths, uid));
    runtime.shutdown_timeout(Duration::from_secs(2));
    served
}

async fn run(paths: Paths, uid: u32) -> Result<(), Failure> {
    tracing::info!(pid = std::process::id(), version = env!("CARGO_PKG_VERSION"), home = %paths.home.display(), "starting");
    let listener = bind(&paths.socket)?;
    let inventory = Inventory::read(Path::new("/"));
    let layout = Layout::new(&paths.home);
    install_python_module(&layout.python_library())?;
    let user_home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let languages = LanguageService::new(stoa_lang::Config { home: paths.home.clone(), user_home: user_home.clone() });
    let metrics = Arc::new(MetricService::new());
    let config = Config {
        warden_lock: paths.home.join("warden.lock"),
        layout,
        user_home,
        sockets: paths.socket.parent().map_or_else(|| paths.home.clone(), Path::to_owned),
        root: uid == 0,
        host: (&inventory).into(),
        gpus: gpus(&inventory),
        boot: boot_id(),
        warden: PathBuf::from("/proc/self/exe"),
    };
    let runs = Runs::open(config, Arc::new(languages), metrics.clone()).await?;
    let (stop, mut stopped) = watch::channel(false);
    let stop_seen = stopped.clone();
    let started = stoa_core::run::UnixNanos(now());
    let identity = Arc::new(Identity { paths, uid, inventory, started, stop });
    let api = Api::new(runs.clone(), metrics, identity.clone());
    say_ready();
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| no_signals(&error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| no_signals(&error))?;
    let told = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = stopped.wait_for(|stop| *stop) => {}
        }
        identity.stop.send_replace(true);
        tracing::info!("stopping; runs go on");
        // No client may find the socket of a daemon that does not accept any more.
        let _gone = fs::remove_file(&identity.paths.socket);
    };
    let mut stopping = stop_seen;
    let server = tonic::transport::Server::builder()
        .add_service(StoaServer::new(api))
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), told);
    tokio::select! {
        served = server => {
            served.map_err(|error| Failure::new(Exit::Internal, "the daemon's server failed").caused_by(&error))?;
        }
        // A client that keeps its connection open does not keep the daemon.
        () = after(&mut stopping, LAST_ANSWERS) => {}
    }
    runs.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Waits until the daemon is told to stop, and a while longer.
async fn after(stop: &mut watch::Receiver<bool>, grace: Duration) {
    // What `wait_for` answers holds a lock on the value, which no sleep may hold.
    drop(stop.wait_for(|stop| *stop).await);
    tokio::time::sleep(grace).await;
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

fn no_signals(error: &io::Error) -> Failure {
    Failure::new(Exit::Internal, "cannot listen for signals").caused_by(error)
}

/// Makes a folder that only its user can look into.
fn make_private(folder: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
        Failure::new(Exit::Unavailable, format!("cannot make the folder {}", folder.display()))
            .caused_by(&error)
            .hint("set STOA_HOME to a folder you can write to")
    })
}

/// Two daemons never share a home.
fn lock(paths: &Paths) -> Result<File, Failure> {
    let path = paths.daemon_lock();
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(|error| {
        Failure::new(Exit::Unavailable, format!("cannot write {}", path.display()))
            .caused_by(&error)
            .hint("set STOA_HOME to a folder you can write to")
    })?;
    let taken = Failure::new(Exit::TryAgain, format!("another daemon uses {}", paths.home.display()))
        .hint("`stoa daemon status` shows it; it may listen on another socket if XDG_RUNTIME_DIR differs");
    let (tell, answer) = mpsc::channel();
    let waiting = file.try_clone().map_err(|error| taken.clone().caused_by(&error))?;
    std::thread::spawn(move || tell.send(flock(&waiting, FlockOperation::LockExclusive)));
    // One that holds it is about to stop: it does not listen any more, or this one would not have been started.
    match answer.recv_timeout(STOPPING) {
        Ok(Ok(())) => Ok(file),
        Ok(Err(errno)) => Err(taken.caused_by(&io::Error::from(errno))),
        Err(timeout) => Err(taken.caused_by(&timeout)),
    }
}

fn start_log(path: &Path) -> Result<(), Failure> {
    let log = LogFile::open(path).map_err(|error| {
        Failure::new(Exit::Unavailable, format!("cannot write {}", path.display())).caused_by(&error)
    })?;
    tracing_subscriber::fmt().json().with_writer(Arc::new(log)).with_max_level(tracing::Level::INFO).init();
    Ok(())
}

fn bind(socket: &Path) -> Result<UnixListener, Failure> {
    let length = socket.as_os_str().len();
    if length > LONGEST_SOCKET_PATH {
        return Err(Failure::new(Exit::Unavailable, format!("the socket path is too long: {}", socket.display()))
            .cause(format!("it has {length} bytes, Linux allows {LONGEST_SOCKET_PATH}"))
            .hint("set XDG_RUNTIME_DIR to a folder with a shorter path"));
    }
    let failed = |error: io::Error| {
        Failure::new(Exit::Unavailable, format!("cannot listen on {}", socket.display()))
            .caused_by(&error)
            .hint("set XDG_RUNTIME_DIR to a folder you can write to")
    };
    if let Some(folder) = socket.parent() {
        make_private(folder)?;
    }
    // We hold the lock of our home, and the socket's name stands for the home: whoever listened here is dead.
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(socket).map_err(failed)?;
    fs::set_permissions(socket, Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Writes the Python module `stoa` where every run finds it.
fn install_python_module(library: &Path) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        for (name, content) in stoa_metrics::python::FILES {
            let path = library.join(name);
            if fs::read(&path).is_ok_and(|known| known == *content) {
                continue;
            }
            fs::create_dir_all(path.parent().unwrap_or(library))?;
            // A run may import it at this moment: it sees the old file or the new one.
            let staged = path.with_extension("new");
            fs::write(&staged, content)?;
            fs::rename(&staged, &path)?;
        }
        Ok(())
    };
    write().map_err(|error| {
        let exit = if error.kind() == io::ErrorKind::StorageFull { Exit::TryAgain } else { Exit::Unavailable };
        Failure::new(exit, format!("cannot write the Python module to {}", library.display()))
            .caused_by(&error)
            .hint("free some space, or set STOA_HOME to a folder you can write to")
    })
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_| "unknown".to_owned(), |id| id.trim().to_owned())
}

fn gpus(inventory: &Inventory) -> Vec<Gpu> {
    let usable = inventory.gpus.iter().filter(|gpu| gpu.usable());
    usable
        .zip(0..)
        .map(|(gpu, index)| {
            let nodes = gpu.nodes.iter().chain(&gpu.shared_nodes).map(|node| node.display().to_string()).collect();
            Gpu { index, uuid: gpu.uuid.clone(), nodes }
        })
        .collect()
}

fn say_ready() {
    // Nobody reads it when the daemon was started by hand and its output closed.
    let _nobody_reads = io::stdout().write_all(b"ready\n").and_then(|()| io::stdout().flush());
}
