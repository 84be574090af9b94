//! The run service's front: submit, attach, stop, repeat, remove.

use crate::drive::{self, Beginning};
use crate::folder::Layout;
use crate::journal::Journal;
use crate::output::OutputReader;
use crate::warden::Warden;
use crate::{adopt, code, project};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use stoa_core::port::{Languages, Metrics};
use stoa_core::run::{Host, Mechanism, RunRecord, RunSpec, RunState, TerminalSize, UnixNanos, Usage, Variable};
use stoa_core::secret::{MASK, is_secret_name};
use stoa_core::units::Bytes;
use stoa_core::{Exit, Failure, RunId};
use tokio::sync::{mpsc, watch};

/// The longest that the daemon's end waits for what ended runs leave behind; a group whose processes hang stays.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(2);

/// A GPU as runs are given it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Its number among the GPUs of this machine.
    pub index: u32,
    /// The vendor's unique id, for `CUDA_VISIBLE_DEVICES`.
    pub uuid: Option<String>,
    /// Its device nodes, those shared with other GPUs included.
    pub nodes: Vec<String>,
}

/// What the service needs to know of its surroundings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where everything is kept.
    pub layout: Layout,
    /// The home folder of the user.
    pub user_home: PathBuf,
    /// The folder of the daemon's socket, which runs do not see.
    pub sockets: PathBuf,
    /// Whether the user is root.
    pub root: bool,
    /// The machine, for records.
    pub host: Host,
    /// Its GPUs.
    pub gpus: Vec<Gpu>,
    /// Identifies this boot of the machine.
    pub boot: String,
    /// The program that is started as the warden.
    pub warden: PathBuf,
    /// Held by the warden while it lives.
    pub warden_lock: PathBuf,
}

/// The run service.
#[derive(Clone)]
pub struct Runs {
    pub(crate) shared: Arc<Shared>,
}

/// What every driving task shares.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) journal: Journal,
    pub(crate) warden: Warden,
    pub(crate) languages: Arc<dyn Languages>,
    pub(crate) metrics: Arc<dyn Metrics>,
    pub(crate) preparations: crate::prepare::Keys,
    /// Held for reading by runs that have ended and whose control groups are still there.
    pub(crate) cleaning: tokio::sync::RwLock<()>,
    live: Mutex<HashMap<RunId, Live>>,
    gpus: Mutex<HashMap<RunId, BTreeSet<u32>>>,
}

/// The handle of a run that has not ended.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) record: watch::Receiver<RunRecord>,
    pub(crate) output: watch::Receiver<u64>,
    pub(crate) stdin_passed: watch::Receiver<u64>,
    pub(crate) orders: mpsc::UnboundedSender<Order>,
}

/// What a client tells a run.
#[derive(Debug)]
pub enum Order {
    /// Input; a client keeps at most 64 KiB outstanding.
    Stdin(Vec<u8>),
    /// The end of the input.
    StdinEnd,
    /// The client's terminal has another size.
    Resize(TerminalSize),
    /// Ctrl-C: SIGINT to the program's process group.
    Interrupt,
    /// SIGTERM, and SIGKILL after the grace period.
    Stop {
        /// The time between the two.
        grace: Duration,
    },
    /// SIGKILL.
    Kill,
}

/// A view of a run that follows it to its end.
#[derive(Debug)]
pub struct Subscription {
    /// The record, again whenever it changes.
    pub record: watch::Receiver<RunRecord>,
    /// Changes when there is more output.
    pub output: watch::Receiver<u64>,
    /// How many bytes of input were passed on.
    pub stdin_passed: watch::Receiver<u64>,
    /// Reads the output.
    pub reader: OutputReader,
    /// Tells the run something; `None` for a run that has ended.
    pub orders: Option<mpsc::UnboundedSender<Order>>,
}

/// What `stoa again` asks for.
#[derive(Debug, Clone, Default)]
pub struct AgainRequest {
    /// The run to repeat.
    pub run: String,
    /// A name for the new run.
    pub name: Option<String>,
    /// The caller's terminal.
    pub terminal: Option<TerminalSize>,
    /// Whether the caller forwards its standard input.
    pub stdin: bool,
    /// Values of variables whose value the record does not hold.
    pub secrets: Vec<Variable>,
}

impl Runs {
    /// Opens the store, starts the warden and takes up the runs of an earlier daemon. Only one process may do this for a
    /// `STOA_HOME`; the caller holds its lock.
    pub async fn open(
        config: Config,
        languages: Arc<dyn Languages>,
        metrics: Arc<dyn Metrics>,
    ) -> Result<Self, Failure> {
        fs::create_dir_all(config.layout.runs()).map_err(|error| unwritable(&config, &error))?;
        let journal = Journal::open(config.layout.clone(), config.boot.clone())?;
        let warden = Warden::new(config.warden.clone(), config.warden_lock.clone());
        warden.start().await?;
        let shared = Arc::new(Shared {
            config,
            journal,
            warden,
            languages,
            metrics,
            preparations: Default::default(),
            cleaning: tokio::sync::RwLock::default(),
            live: Mutex::default(),
            gpus: Mutex::default(),
        });
        adopt::adopt(&shared).await?;
        Ok(Self { shared })
    }

    /// Accepts a run and starts driving it. When this returns, the run is in the store and will have a true end.
    pub async fn submit(&self, spec: RunSpec) -> Result<Subscription, Failure> {
        self.begin(spec, None).await
    }

    /// Repeats a run: the same program, arguments, environment and limits, in a checkout of the code as it was.
    pub async fn again(&self, request: AgainRequest) -> Result<Subscription, Failure> {
        let mut earlier = self.find(&request.run).await?;
        if earlier.state.ended() {
            self.shared.settled(&earlier.id).await;
            earlier = self.find(earlier.id.as_str()).await?;
        }
        let mut spec = earlier.spec.clone();
        spec.name = request.name;
        spec.terminal = request.terminal;
        spec.stdin = request.stdin;
        spec.repeats = Some(earlier.id.clone());
        for variable in &mut spec.named_env {
            if variable.value == MASK {
                let given = request.secrets.iter().find(|secret| secret.name == variable.name);
                let given = given.ok_or_else(|| {
                    Failure::new(Exit::Usage, format!("the value of {} is a secret and was not kept", variable.name))
                        .hint(format!("set it for this command: `{}=... stoa again {}`", variable.name, earlier.id))
                })?;
                variable.value.clone_from(&given.value);
            }
        }
        self.begin(spec, Some(earlier)).await
    }

    async fn begin(&self, spec: RunSpec, repeats: Option<RunRecord>) -> Result<Subscription, Failure> {
        let shared = &self.shared;
        check_name(spec.name.as_deref())?;
        let id = RunId::from_random(random()?);
        let begun = self.accept(id.clone(), spec, repeats).await;
        if begun.is_err() {
            // What was made for a run that is not there; on a full disk every byte counts.
            let _stays_without_a_record = fs::remove_dir_all(shared.config.layout.run(&id));
        }
        begun
    }

    async fn accept(&self, id: RunId, spec: RunSpec, repeats: Option<RunRecord>) -> Result<Subscription, Failure> {
        let shared = &self.shared;
        let layout = &shared.config.layout;
        let folders = [layout.files(&id), layout.state(&id)];
        folders.iter().try_for_each(fs::create_dir_all).map_err(|error| unwritable(&shared.config, &error))?;
        // A run that is accepted is started: whatever a full disk refuses, it refuses before.
        drive::open_output(shared, &id)?;
        let checkout = match repeats.as_ref().and_then(|earlier| earlier.code.as_ref().map(|code| (earlier, code))) {
            Some((earlier, state)) if state.commit.is_some() => {
                let target = layout.checkout(&id);
                let kept = layout.code(&earlier.id);
                code::checkout(state, &kept, &target).await?;
                code::share(&kept, &layout.code(&id)).map_err(|error| unwritable(&shared.config, &error))?;
                Some(target)
            }
            _ => None,
        };
        let (project, code) = match repeats {
            Some(earlier) => (earlier.project, earlier.code.filter(|_| checkout.is_some())),
            None => (project::find(&spec.cwd, &shared.config.user_home), None),
        };
        let record = RunRecord { code, ..self.record(id, &spec, project) };
        // Beside the writing of the record: a program that is known is started that much sooner.
        let resolving = Some(drive::resolve(shared, &spec));
        let accepted = shared.journal.accept(record, name_base(&spec)).await?;
        drive::start(shared, accepted, spec, Beginning::Fresh { checkout, resolving })
    }

    fn record(&self, id: RunId, spec: &RunSpec, project: Option<PathBuf>) -> RunRecord {
        let config = &self.shared.config;
        RunRecord {
            name: spec.name.clone().unwrap_or_default(),
            dir: config.layout.files(&id),
            id,
            spec: masked(spec.clone()),
            state: RunState::Queued,
            end: None,
            exit_code: None,
            created: now(),
            started: None,
            ended: None,
            attempt: 1,
            command: Vec::new(),
            project,
            usage: Usage::default(),
            isolation: Vec::new(),
            host: config.host.clone(),
            code: None,
            environment: None,
            output: Bytes(0),
            output_lost: Bytes(0),
        }
    }

    /// Follows a run, live or ended. `from` is where in the output to begin; the end of what is there when `None`.
    pub async fn attach(&self, run: &str, from: Option<u64>) -> Result<Subscription, Failure> {
        let record = self.find(run).await?;
        let state = self.shared.config.layout.state(&record.id);
        let open = || {
            let reader = OutputReader::open(&state, from.unwrap_or(0))?;
            match from {
                Some(_) => Ok(reader),
                None => reader.kept().and_then(|kept| OutputReader::open(&state, kept)),
            }
        };
        let reader = open().map_err(|error: io::Error| {
            Failure::new(Exit::Failed, format!("the output of {} cannot be read", record.id)).caused_by(&error)
        })?;
        Ok(match self.shared.live().get(&record.id) {
            Some(live) => live.subscription(reader),
            None => ended_subscription(record, reader),
        })
    }

    /// The record of a run by id or name, as fresh as can be.
    pub async fn find(&self, run: &str) -> Result<RunRecord, Failure> {
        if let Ok(id) = run.parse::<RunId>()
            && let Some(live) = self.shared.live().get(&id)
        {
            return Ok(live.record.borrow().clone());
        }
        let record = self.shared.journal.find(run.to_owned()).await?;
        Ok(self.shared.freshest(record))
    }

    /// Runs, newest first.
    pub async fn list(&self, live: bool, most: u32) -> Result<Vec<RunRecord>, Failure> {
        let records = self.shared.journal.list(live, most).await?;
        let fresh = records.into_iter().map(|record| self.shared.freshest(record));
        Ok(fresh.filter(|record| !(live && record.state.ended())).collect())
    }

    /// Stops a run and waits for its end. Done at once when it has ended.
    pub async fn stop(&self, run: &str, order: Order) -> Result<RunRecord, Failure> {
        let record = self.find(run).await?;
        let Some(live) = self.shared.live().get(&record.id).cloned() else { return Ok(record) };
        // A run that ends at this moment does not take the order any more, which is as good.
        let _ = live.orders.send(order);
        let mut changes = live.record;
        let ended = changes.wait_for(|record| record.state.ended()).await.map(|record| record.clone());
        match ended {
            Ok(record) => Ok(record),
            Err(_) => self.find(run).await,
        }
    }

    /// Removes a run with everything kept of it. A live one only by `force`.
    pub async fn remove(&self, run: &str, force: bool) -> Result<RunId, Failure> {
        let record = self.find(run).await?;
        if !record.state.ended() {
            if !force {
                return Err(Failure::new(Exit::Usage, format!("{} has not ended", record.id))
                    .hint(format!("stop it first: `stoa stop {0}`, or `stoa rm --force {0}`", record.id)));
            }
            self.stop(record.id.as_str(), Order::Kill).await?;
        }
        self.shared.settled(&record.id).await;
        let folder = self.shared.config.layout.run(&record.id);
        let removed = tokio::task::spawn_blocking(move || match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        });
        removed.await.map_err(io::Error::other).and_then(|done| done).map_err(|error| {
            Failure::new(Exit::Failed, format!("the folder of {} cannot be removed", record.id)).caused_by(&error)
        })?;
        self.shared.journal.remove(record.id.clone()).await?;
        Ok(record.id)
    }

    /// How many runs have not ended.
    pub fn live_count(&self) -> usize {
        self.shared.live().values().filter(|live| !live.record.borrow().state.ended()).count()
    }

    /// What the warden can enforce on this host.
    pub async fn mechanisms(&self) -> Result<Vec<Mechanism>, Failure> {
        Ok(self.shared.warden.probe().await?.into_iter().map(Mechanism::from).collect())
    }

    /// Waits until everything known is written and ended runs have left nothing. Runs go on; the next daemon takes them up.
    pub async fn close(&self) {
        let cleaned = self.shared.cleaning.write();
        if tokio::time::timeout(CLEAN_UP_LIMIT, cleaned).await.is_err() {
            tracing::warn!("control groups of ended runs are left");
        }
        self.shared.journal.flush().await;
    }
}

impl Live {
    fn subscription(&self, reader: OutputReader) -> Subscription {
        Subscription {
            record: self.record.clone(),
            output: self.output.clone(),
            stdin_passed: self.stdin_passed.clone(),
            reader,
            orders: Some(self.orders.clone()),
        }
    }
}

fn ended_subscription(record: RunRecord, reader: OutputReader) -> Subscription {
    Subscription {
        record: watch::channel(record).1,
        output: watch::channel(0).1,
        stdin_passed: watch::channel(0).1,
        reader,
        orders: None,
    }
}

impl Shared {
    pub(crate) fn live(&self) -> MutexGuard<'_, HashMap<RunId, Live>> {
        self.live.lock().expect("no one panics while holding it")
    }

    /// Makes a run known as live; answers a view of it.
    pub(crate) fn enter(&self, id: RunId, live: Live, reader: OutputReader) -> Subscription {
        let subscription = live.subscription(reader);
        self.live().insert(id, live);
        subscription
    }

    /// A run has ended and its end is written.
    pub(crate) fn leave(&self, id: &RunId) {
        self.live().remove(id);
        self.gpus.lock().expect("no one panics while holding it").remove(id);
    }

    /// Waits until an ended run is left: nothing more is written of it then.
    async fn settled(&self, id: &RunId) {
        let live = self.live().get(id).map(|live| live.record.clone());
        if let Some(mut record) = live {
            while record.changed().await.is_ok() {}
        }
    }

    fn freshest(&self, record: RunRecord) -> RunRecord {
        match self.live().get(&record.id) {
            Some(live) => live.record.borrow().clone(),
            None => record,
        }
    }

    /// The GPUs of a run: all when it asked for no number, else that many that no live run has for itself.
    pub(crate) fn assign_gpus(&self, id: &RunId, wanted: Option<u32>) -> Result<Vec<Gpu>, Failure> {
        let Some(wanted) = wanted else { return Ok(self.config.gpus.clone()) };
        let mut taken = self.gpus.lock().expect("no one panics while holding it");
        taken.remove(id);
        let free = self.config.gpus.iter().filter(|gpu| !taken.values().any(|indexes| indexes.contains(&gpu.index)));
        let chosen: Vec<Gpu> = free.take(wanted as usize).cloned().collect();
        if chosen.len() < wanted as usize {
            let all = self.config.gpus.len();
            let failure = Failure::new(
                if all < wanted as usize { Exit::Unavailable } else { Exit::TryAgain },
                format!("{wanted} GPUs were asked for, {} of {all} are free", chosen.len()),
            );
            return Err(failure.hint("`stoa doctor` lists the GPUs, `stoa ps` the runs that have them"));
        }
        taken.insert(id.clone(), chosen.iter().map(|gpu| gpu.index).collect());
        Ok(chosen)
    }

    /// Whether a record belongs to a run that is driven here.
    pub(crate) fn is_live(&self, id: &RunId) -> bool {
        self.live().contains_key(id)
    }
}

/// The spec as it is recorded: values of variables that look like secrets are masked.
fn masked(mut spec: RunSpec) -> RunSpec {
    for variable in spec.env.iter_mut().chain(&mut spec.named_env) {
        if is_secret_name(&variable.name) {
            MASK.clone_into(&mut variable.value);
        }
    }
    spec
}

/// The program's name without folder and ending: what made-up names begin with.
fn name_base(spec: &RunSpec) -> String {
    let program = match &spec.program {
        stoa_core::run::Program::Script { path, .. } => path.file_stem(),
        stoa_core::run::Program::Command { argv } => std::path::Path::new(&argv[0]).file_name(),
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.') { c } else { '-' };
    let base: String =
        program.map(|name| name.to_string_lossy().chars().map(plain).take(40).collect()).unwrap_or_default();
    let base = base.trim_matches(['-', '.']);
    if base.is_empty() || base == "r" { "run".to_owned() } else { base.to_owned() }
}

/// Names go into commands and tables: letters, digits and `. _ -`, not first a dash, and nothing that reads as an id.
fn check_name(name: Option<&str>) -> Result<(), Failure> {
    let Some(name) = name else { return Ok(()) };
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    let good = !name.is_empty() && name.len() <= 100 && name.chars().all(plain) && !name.starts_with(['-', '.']);
    if !good {
        return Err(Failure::new(Exit::Usage, format!("`{}` cannot be a run's name", name.escape_debug()))
            .hint("use up to 100 letters, digits, `.`, `_` and `-`, not beginning with `-` or `.`"));
    }
    if name.parse::<RunId>().is_ok() {
        return Err(Failure::new(Exit::Usage, format!("`{name}` reads as a run's id")).hint("choose another name"));
    }
    Ok(())
}

fn random() -> Result<u64, Failure> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| Failure::new(Exit::TryAgain, "no random numbers").caused_by(&io::Error::from(errno)))?;
    Ok(u64::from_le_bytes(bytes))
}

/// The system clock.
pub(crate) fn now() -> UnixNanos {
    UnixNanos(stoa_sys::output::now())
}

fn unwritable(config: &Config, error: &io::Error) -> Failure {
    let home = config.layout.home().display();
    let exit = if error.kind() == io::ErrorKind::StorageFull { Exit::TryAgain } else { Exit::Unavailable };
    Failure::new(exit, format!("cannot write below {home}"))
        .caused_by(error)
        .hint("free some space, or set STOA_HOME to a folder you can write to")
}
