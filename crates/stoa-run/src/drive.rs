//! One task per run: resolve, prepare, launch, supervise, judge, try again, write the end.

use crate::end::{self, End};
use crate::output::OutputReader;
use crate::plan::{self, Place, Work};
use crate::service::{Live, Order, Shared, Subscription, now};
use crate::supervisor::{self, Event, Found, Supervisor};
use crate::warden::Unanswered;
use crate::{code, prepare, project};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use stoa_core::metric::Origin;
use stoa_core::port::{LiveRun, Resolved};
use stoa_core::run::{
    CodeState, EndReason, Mechanism, Program, RunRecord, RunSpec, RunState, UnixNanos, Usage, Variable,
};
use stoa_core::secret::MASK;
use stoa_core::units::Bytes;
use stoa_core::{Exit, Failure, RunId};
use stoa_proto::warden::{self as inner, to_init};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
/// A grace period that does not end: a hundred years.
const NEVER_MS: u64 = 100 * 365 * 86_400 * 1000;

/// The file with the run's cgroup folders, one a line, for a daemon that takes the run up.
const CGROUPS: &str = "cgroups";

/// How often a launch is tried when wardens keep ending in the middle of it.
const MOST_LAUNCHES: u32 = 5;

/// How a driving task takes a run up.
pub(crate) enum Beginning {
    /// From the start. A repeated run has its code in a checkout.
    Fresh { checkout: Option<PathBuf>, resolving: Option<Resolving> },
    /// Its init lives; an earlier daemon started it.
    Alive(Supervisor),
    /// It ended while no daemon was there.
    Over(End, Box<inner::Ended>),
}

/// What drives one run.
pub(crate) struct Driver {
    pub(crate) shared: Arc<Shared>,
    /// As the client sent it, secrets included.
    pub(crate) spec: RunSpec,
    pub(crate) record: watch::Sender<RunRecord>,
    pub(crate) output: watch::Sender<u64>,
    stdin_passed: watch::Sender<u64>,
    orders: mpsc::UnboundedReceiver<Order>,
    checkout: Option<PathBuf>,
    hostname: String,
    /// The cgroup folders of the attempt; empty where they are not known or there are none.
    cgroups: Vec<PathBuf>,
    /// What to execute, asked for while the run was being accepted.
    first: Option<Resolving>,
    following: Option<Following>,
}

/// The answer of the languages, under way.
pub(crate) type Resolving = JoinHandle<Result<Resolved, Failure>>;

/// Waits before a run is followed. Dropping the sender ends the wait; the task answers whether it came to following.
type Following = (oneshot::Sender<()>, JoinHandle<bool>);

/// Time between telling the end of a run and removing what is left of it.
const CLEAN_UP_AFTER: Duration = Duration::from_millis(5);

/// A run shorter than this has no system metrics, and its metric files are read when someone asks.
const FOLLOW_AFTER: Duration = Duration::from_millis(100);

/// What came of a launch.
enum Launch {
    /// An init that lives.
    Alive(Supervisor),
    /// One that has ended meanwhile; without a record when it was killed.
    Over(Option<inner::Ended>),
}

/// Why an attempt did not come to a judged end.
pub(crate) enum Interrupted {
    /// It could not be prepared or started.
    Failed(Failure),
    /// A user stopped it before its program started.
    Stopped { killed: bool },
}

impl From<Failure> for Interrupted {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Unanswered> for Interrupted {
    fn from(unanswered: Unanswered) -> Self {
        Self::Failed(unanswered.into())
    }
}

/// Starts driving a run that is in the store.
pub(crate) fn start(
    shared: &Arc<Shared>,
    record: RunRecord,
    spec: RunSpec,
    beginning: Beginning,
) -> Result<Subscription, Failure> {
    let id = record.id.clone();
    let reader = open_output(shared, &id)?;
    let (record, record_seen) = watch::channel(record);
    let (output, output_seen) = watch::channel(0);
    let (stdin_passed, stdin_seen) = watch::channel(0);
    let (orders, queue) = mpsc::unbounded_channel();
    let live = Live { record: record_seen, output: output_seen, stdin_passed: stdin_seen, orders };
    let subscription = shared.enter(id, live, reader);
    let hostname = shared.config.host.name.clone();
    let driver = Driver {
        shared: shared.clone(),
        spec,
        record,
        output,
        stdin_passed,
        orders: queue,
        checkout: None,
        hostname,
        cgroups: Vec::new(),
        first: None,
        following: None,
    };
    tokio::spawn(driver.drive(beginning));
    Ok(subscription)
}

/// The output of a run from its beginning; made empty for a run that has none.
pub(crate) fn open_output(shared: &Shared, id: &RunId) -> Result<OutputReader, Failure> {
    OutputReader::open(&shared.config.layout.state(id), 0)
        .map_err(|error| Failure::new(Exit::TryAgain, "the output of the run cannot be kept").caused_by(&error))
}

impl Driver {
    async fn drive(mut self, beginning: Beginning) {
        let (end, last, capture) = match beginning {
            Beginning::Over(end, ended) => (end, *ended, None),
            Beginning::Alive(supervisor) => {
                self.cgroups = self.noted_cgroups();
                self.follow(supervisor.init_pid);
                let (end, last) = self.supervised(&supervisor).await;
                let (end, last) = self.try_again(end, last).await;
                (end, last, None)
            }
            Beginning::Fresh { checkout, resolving } => {
                self.checkout = checkout;
                self.first = resolving;
                let capture = self.capture_code();
                let first = self.attempt().await;
                let (end, last) = self.try_again(first.0, first.1).await;
                (end, last, capture)
            }
        };
        self.finish(end, &last, capture).await;
    }

    /// Starts the run again while it fails and has attempts left.
    async fn try_again(&mut self, mut end: End, mut last: inner::Ended) -> (End, inner::Ended) {
        loop {
            let attempt = self.record.borrow().attempt;
            let final_end = matches!(
                end.reason,
                EndReason::Exited { code: 0 }
                    | EndReason::TimeLimit { .. }
                    | EndReason::Stopped { .. }
                    | EndReason::Infrastructure { .. }
                    | EndReason::Lost { .. }
            );
            if final_end || attempt > self.spec.retries || self.lacks_secrets() {
                return (end, last);
            }
            tracing::info!(run = %self.id(), attempt, reason = %end.reason, "the run failed and is started again");
            // Removing takes every attempt's cgroup, so it comes before the next one has its own.
            self.remove_cgroup(self.id().as_str()).await;
            self.change(|record| record.attempt += 1);
            // A daemon that follows this one must know which attempt it finds.
            self.shared.journal.flush().await;
            (end, last) = self.attempt().await;
        }
    }

    /// Whether values of secret variables are missing, as after a restart of the daemon.
    fn lacks_secrets(&self) -> bool {
        self.spec.named_env.iter().any(|variable| variable.value == MASK)
    }

    async fn attempt(&mut self) -> (End, inner::Ended) {
        match self.launch().await {
            Ok(Launch::Alive(supervisor)) => self.supervised(&supervisor).await,
            Ok(Launch::Over(ended)) => self.judged(ended).await,
            Err(Interrupted::Failed(failure)) => {
                let exit_code = failure.exit.code();
                (
                    End { reason: EndReason::Infrastructure { failure }, exit_code, usage: Usage::default() },
                    inner::Ended::default(),
                )
            }
            Err(Interrupted::Stopped { killed }) => {
                let signal = if killed { SIGKILL } else { SIGTERM };
                let exit_code = 128 + signal as u8;
                (
                    End { reason: EndReason::Stopped { killed }, exit_code, usage: Usage::default() },
                    inner::Ended::default(),
                )
            }
        }
    }

    async fn launch(&mut self) -> Result<Launch, Interrupted> {
        let resolved = match self.first.take() {
            Some(resolving) => resolving.await.unwrap_or_else(|error| Err(broke_off(&error)))?,
            None => self.resolve().await?,
        };
        let resolved = match resolved.preparation {
            Some(_) => prepare::prepare(self, resolved).await?,
            None => resolved,
        };
        self.note(|record| {
            record.command.clone_from(&resolved.argv);
            record.environment.clone_from(&resolved.environment);
        });
        let state = self.shared.config.layout.state(&self.id());
        let plan = self.plan(&resolved, &state)?;
        let (launched, launch) = self.launch_once(&plan, &state).await?;
        self.cgroups = launched.cgroups.iter().map(PathBuf::from).collect();
        self.note(|record| {
            record.isolation = launched.mechanisms.into_iter().map(Mechanism::from).collect();
        });
        if let Launch::Alive(supervisor) = &launch {
            self.follow(supervisor.init_pid);
        }
        Ok(launch)
    }

    /// Launches a plan once and only once, whatever happens to the warden meanwhile.
    async fn launch_once(&self, plan: &inner::LaunchPlan, state: &Path) -> Result<(inner::Launched, Launch), Failure> {
        let mut tries = 0;
        loop {
            tries += 1;
            let ended = match self.shared.warden.launch(plan).await {
                Ok((launched, descriptors)) => {
                    let supervisor = Supervisor::launched(&launched, descriptors, plan.terminal.is_some());
                    let supervisor = supervisor.map_err(|error| {
                        Failure::new(Exit::Internal, "the warden's answer cannot be used").caused_by(&error)
                    })?;
                    return Ok((launched, Launch::Alive(supervisor)));
                }
                Err(Unanswered::Refused(failure)) => return Err(failure),
                Err(Unanswered::Ended(failure)) => failure,
            };
            tracing::warn!(run = plan.run_id, "the warden ended in the middle of a launch");
            // The next warden answers when the last one is dead for sure: what that has not started is not started any more.
            let mechanisms = self.shared.warden.probe().await?;
            let launch = match found(state, plan.attempt).await? {
                Found::Alive(supervisor) => Launch::Alive(supervisor),
                Found::Ended(ended) => Launch::Over(Some(*ended)),
                Found::Killed => {
                    if let Err(error) = supervisor::recover(state, plan.attempt, &[]) {
                        tracing::error!(run = plan.run_id, %error, "output of a killed run may be lost");
                    }
                    Launch::Over(None)
                }
                Found::NeverStarted if tries == MOST_LAUNCHES => return Err(ended),
                Found::NeverStarted => {
                    self.remove_cgroup(&plan.run_id).await;
                    continue;
                }
            };
            let mechanisms = mechanisms.into_iter().map(|mechanism| plan::as_asked(plan, mechanism)).collect();
            return Ok((inner::Launched { mechanisms, ..Default::default() }, launch));
        }
    }

    /// Asks the languages what to execute.
    pub(crate) async fn resolve(&self) -> Result<Resolved, Failure> {
        resolve(&self.shared, &self.spec).await.unwrap_or_else(|error| Err(broke_off(&error)))
    }

    fn plan(&self, resolved: &Resolved, state: &Path) -> Result<inner::LaunchPlan, Failure> {
        let gpus = self.shared.assign_gpus(&self.id(), self.spec.limits.gpus)?;
        let work = Work {
            argv: &resolved.argv,
            env: &resolved.env,
            mounts: &resolved.mounts,
            terminal: self.spec.terminal,
            stdin: self.spec.stdin,
            network: self.spec.network,
            limits: &self.spec.limits,
        };
        Ok(self.plan_work(&work, state, &gpus))
    }

    /// The plan of the program or of a step of its preparation.
    pub(crate) fn plan_work(&self, work: &Work<'_>, state: &Path, gpus: &[crate::service::Gpu]) -> inner::LaunchPlan {
        let config = &self.shared.config;
        let record = self.record.borrow();
        let mut devices: Vec<String> = gpus.iter().flat_map(|gpu| gpu.nodes.iter().cloned()).collect();
        devices.sort();
        devices.dedup();
        let device_env = gpu_variables(self.spec.limits.gpus, gpus);
        let place = Place {
            id: record.id.as_str(),
            attempt: record.attempt,
            user_home: &config.user_home,
            sockets: &config.sockets,
            root: config.root,
            stoa_home: config.layout.home(),
            python_library: &config.layout.python_library(),
            state,
            files: &record.dir,
            project: record.project.as_deref(),
            project_source: self.checkout.as_deref(),
            hostname: &self.hostname,
            devices: &devices,
            device_env: &device_env,
        };
        plan::launch_plan(&self.spec, &place, work)
    }

    /// Follows the program to its end and judges it.
    async fn supervised(&mut self, supervisor: &Supervisor) -> (End, inner::Ended) {
        let id = self.id();
        let state = self.shared.config.layout.state(&id);
        let ended = self.supervise(supervisor, &state, |driver, kept| {
            driver.output.send_replace(kept);
        });
        let ended = ended.await;
        let attempt = self.record.borrow().attempt;
        if ended.is_none()
            && let Err(error) = supervisor.recover_output(&state, attempt).await
        {
            tracing::error!(run = %id, %error, "output of a killed run may be lost");
        }
        self.judged(ended).await
    }

    /// Judges what an init recorded; `None` when it was killed before it could.
    async fn judged(&mut self, ended: Option<inner::Ended>) -> (End, inner::Ended) {
        let counters = self.counters().await;
        let limits = &self.spec.limits;
        match ended {
            Some(ended) => (end::judge(&ended, &counters, limits, &self.program()), ended),
            None => (end::killed(&counters, limits), inner::Ended::default()),
        }
    }

    /// Passes orders to an init and its news on, until its end. `None` when it was killed before it could record one.
    pub(crate) async fn supervise(
        &mut self,
        supervisor: &Supervisor,
        state: &Path,
        mut output: impl FnMut(&mut Self, u64),
    ) -> Option<inner::Ended> {
        if supervisor.started && self.record.borrow().started.is_none() {
            self.change(|record| record.state = RunState::Running);
        }
        let mut again;
        let mut supervisor = supervisor;
        loop {
            tokio::select! {
                event = supervisor.next() => match event {
                    Event::Started(started) => self.program_started(UnixNanos(started.unix_nanos), state),
                    Event::Output(kept) => output(self, kept),
                    Event::StdinPassed(passed) => {
                        self.stdin_passed.send_replace(passed);
                    }
                    Event::Ended(ended) => return Some(*ended),
                    Event::Gone => match self.gone(state).await? {
                        Launch::Over(ended) => return ended,
                        Launch::Alive(connected) => {
                            again = connected;
                            supervisor = &again;
                        }
                    },
                },
                Some(order) = self.orders.recv() => supervisor.tell(translate(order)).await,
            }
        }
    }

    /// The connection to an init has ended: so has the init, if it does not take another.
    async fn gone(&self, state: &Path) -> Option<Launch> {
        let attempt = self.record.borrow().attempt;
        match supervisor::find(state, attempt).await {
            Ok(Found::Alive(supervisor)) => Some(Launch::Alive(supervisor)),
            Ok(Found::Ended(ended)) => Some(Launch::Over(Some(*ended))),
            Ok(Found::Killed | Found::NeverStarted) => None,
            Err(error) => {
                tracing::error!(%error, state = %state.display(), "the record of an end cannot be read");
                None
            }
        }
    }

    /// Waits for an order to stop, where there is no process yet to pass it to. Answers whether it was to kill.
    pub(crate) async fn told_to_stop(&mut self) -> bool {
        loop {
            match self.orders.recv().await {
                Some(Order::Kill) => return true,
                Some(Order::Interrupt | Order::Stop { .. }) => return false,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }

    fn program_started(&mut self, at: UnixNanos, state: &Path) {
        // The steps of a preparation start programs too; only the run's own makes it run.
        if state == self.shared.config.layout.state(&self.id()) {
            // Whoever asks sees it at once. It is told and written when it has lived a moment (see `follow`): most short runs
            // end before, and for one whose daemon dies before, the files of its init say that it runs.
            self.note(|record| {
                record.state = RunState::Running;
                record.started = Some(at);
            });
        }
    }

    /// What the attempt used. Its cgroup is removed later; where it is not known, removing it tells.
    async fn counters(&mut self) -> inner::Removed {
        self.stop_following().await;
        let id = self.id();
        if self.cgroups.is_empty() {
            return self.remove_cgroup(id.as_str()).await;
        }
        stoa_sys::cgroup::counted(self.cgroups.iter().map(PathBuf::as_path)).into()
    }

    pub(crate) async fn remove_cgroup(&self, id: &str) -> inner::Removed {
        remove_cgroup(&self.shared, id).await
    }

    async fn finish(&mut self, end: End, last: &inner::Ended, capture: Option<JoinHandle<Option<CodeState>>>) {
        let id = self.id();
        let state = self.shared.config.layout.state(&id);
        let kept = OutputReader::open(&state, 0).and_then(|reader| reader.kept()).unwrap_or(0);
        let mut record = self.record.borrow().clone();
        record.state = end.reason.state();
        record.end = Some(end.reason);
        record.exit_code = Some(end.exit_code);
        record.usage = Usage { peak_gpu_memory: self.peak_gpu_memory().await, ..end.usage };
        if record.started.is_none() && last.started_unix_nanos > 0 {
            record.started = Some(UnixNanos(last.started_unix_nanos));
        }
        record.ended = Some(if last.ended_unix_nanos > 0 { UnixNanos(last.ended_unix_nanos) } else { now() });
        record.output = Bytes(kept);
        record.output_lost = Bytes(last.output_lost);
        let shared = self.shared.clone();
        // `None` when the daemon is closing down: then nobody waits for this.
        let _cleaning = shared.cleaning.try_read().ok();
        self.output.send_replace(kept);
        self.record.send_replace(record.clone());
        // Told before it is written: a daemon that follows a killed one reads the same end from the files of the run's init.
        self.shared.journal.update(record.clone()).await;
        if let Some(capture) = capture {
            // The end does not wait for it; who repeats or removes the run does (see `Shared::settled`).
            record.code = capture.await.ok().flatten();
            self.shared.journal.update(record.clone()).await;
            self.record.send_replace(record);
        }
        self.shared.leave(&id);
        // Whoever waits for the end has it by then: the kernel's work on a cgroup must not stand in the way.
        tokio::time::sleep(CLEAN_UP_AFTER).await;
        self.remove_cgroup(id.as_str()).await;
    }

    /// The most memory in use on a GPU while the run lived, where there is a GPU; of the whole device.
    async fn peak_gpu_memory(&self) -> Option<Bytes> {
        if self.shared.config.gpus.is_empty() {
            return None;
        }
        let (metrics, dir) = (self.shared.metrics.clone(), self.record.borrow().dir.clone());
        let summaries = tokio::task::spawn_blocking(move || metrics.summaries(&dir)).await.ok()?.ok()?;
        let of_gpus = summaries.iter().filter(|series| {
            series.origin == Origin::System && series.name.starts_with("system/gpu") && series.name.ends_with("/memory")
        });
        of_gpus.filter_map(|series| series.max).max_by(f64::total_cmp).map(|bytes| Bytes(bytes as u64))
    }

    /// Captures the code beside the launch. Not for repeated runs: their record points to the one they repeat.
    fn capture_code(&self) -> Option<JoinHandle<Option<CodeState>>> {
        let record = self.record.borrow();
        if record.spec.repeats.is_some() {
            return None;
        }
        let root = project::git_root(record.project.as_ref()?)?;
        let folder = self.shared.config.layout.code(&record.id);
        let (shared, seen) = (self.shared.clone(), self.record.clone());
        Some(tokio::spawn(async move {
            let state = code::capture(root, folder).await?;
            let id = seen.borrow().id.clone();
            if shared.is_live(&id) {
                seen.send_modify(|record| record.code = Some(state.clone()));
                shared.journal.update_soon(seen.borrow().clone());
            }
            Some(state)
        }))
    }

    /// Has the run's metrics followed, once it has lived long enough to be worth it.
    fn follow(&mut self, init_pid: i32) {
        let record = self.record.borrow();
        let project = self.checkout.clone().or_else(|| record.project.clone());
        let run = LiveRun {
            id: record.id.clone(),
            dir: record.dir.clone(),
            project,
            init_pid: Some(init_pid),
            cgroups: self.cgroups.clone(),
            started: record.created.0,
        };
        drop(record);
        let note = self.shared.config.layout.state(&run.id).join(CGROUPS);
        let (metrics, journal, seen) = (self.shared.metrics.clone(), self.shared.journal.clone(), self.record.clone());
        let (ended, sooner) = oneshot::channel();
        let task = tokio::spawn(async move {
            if tokio::time::timeout(FOLLOW_AFTER, sooner).await.is_ok() {
                return false;
            }
            seen.send_modify(|_| {});
            journal.update_soon(seen.borrow().clone());
            let began = tokio::task::spawn_blocking(move || {
                note_cgroups(&note, &run.cgroups);
                metrics.started(run);
            });
            began.await.is_ok()
        });
        self.following = Some((ended, task));
    }

    /// Has the last points read, when the run was followed at all.
    async fn stop_following(&mut self) {
        let Some((ended, task)) = self.following.take() else { return };
        drop(ended);
        if task.await.is_ok_and(|followed| followed) {
            let (metrics, id) = (self.shared.metrics.clone(), self.id());
            tokio::task::spawn_blocking(move || metrics.ended(&id));
        }
    }

    fn noted_cgroups(&self) -> Vec<PathBuf> {
        let noted = fs::read_to_string(self.shared.config.layout.state(&self.id()).join(CGROUPS)).unwrap_or_default();
        noted.lines().map(PathBuf::from).collect()
    }

    pub(crate) fn id(&self) -> RunId {
        self.record.borrow().id.clone()
    }

    fn program(&self) -> String {
        match &self.spec.program {
            Program::Script { path, .. } => path.display().to_string(),
            Program::Command { argv } => argv[0].clone(),
        }
    }

    /// Changes the record without telling anyone yet.
    fn note(&self, change: impl FnOnce(&mut RunRecord)) {
        self.record.send_if_modified(|record| {
            change(record);
            false
        });
    }

    /// Changes the record, tells those who follow it, and has it written.
    pub(crate) fn change(&self, change: impl FnOnce(&mut RunRecord)) {
        self.record.send_modify(change);
        self.shared.journal.update_soon(self.record.borrow().clone());
    }
}

async fn found(state: &Path, attempt: u32) -> Result<Found, Failure> {
    let found = supervisor::find(state, attempt).await;
    found.map_err(|error| Failure::new(Exit::TryAgain, "the files of the run cannot be read").caused_by(&error))
}

/// What an init is told for an order.
fn translate(order: Order) -> to_init::What {
    let stop = |signal, grace_ms| to_init::What::Stop(inner::Stop { signal, grace_ms });
    match order {
        Order::Stdin(bytes) => to_init::What::Stdin(bytes),
        Order::StdinEnd => to_init::What::StdinEnd(true),
        Order::Resize(size) => {
            to_init::What::Resize(inner::Terminal { rows: size.rows.into(), columns: size.columns.into() })
        }
        // Politely, and for as long as it takes: a second Ctrl-C kills.
        Order::Interrupt => stop(SIGINT, NEVER_MS),
        Order::Stop { grace } => stop(SIGTERM, u64::try_from(grace.as_millis()).unwrap_or(u64::MAX).max(1)),
        Order::Kill => stop(SIGKILL, 0),
    }
}

/// A run with a number of GPUs sees these and no others; one without a number sees what there is.
fn gpu_variables(wanted: Option<u32>, gpus: &[crate::service::Gpu]) -> Vec<Variable> {
    if wanted.is_none() {
        return Vec::new();
    }
    let Some(uuids) = gpus.iter().map(|gpu| gpu.uuid.clone()).collect::<Option<Vec<String>>>() else {
        return Vec::new();
    };
    let visible = uuids.join(",");
    let mut variables = vec![Variable { name: "CUDA_VISIBLE_DEVICES".into(), value: visible }];
    if gpus.is_empty() {
        variables.push(Variable { name: "HIP_VISIBLE_DEVICES".into(), value: String::new() });
    }
    variables
}

fn note_cgroups(path: &Path, cgroups: &[PathBuf]) {
    let lines: String = cgroups.iter().map(|folder| format!("{}\n", folder.display())).collect();
    if let Err(error) = fs::write(path, lines) {
        tracing::warn!(%error, path = %path.display(), "system metrics will miss this run after a restart of the daemon");
    }
}

/// Starts asking the languages what to execute for a specification.
pub(crate) fn resolve(shared: &Shared, spec: &RunSpec) -> Resolving {
    let (languages, spec) = (shared.languages.clone(), spec.clone());
    tokio::task::spawn_blocking(move || languages.resolve(&spec))
}

fn broke_off(error: &tokio::task::JoinError) -> Failure {
    Failure::new(Exit::Internal, "resolving the program broke off").caused_by(error)
}

/// Removes the cgroups of a run's attempts, killing what is left in them; answers what they had counted.
pub(crate) async fn remove_cgroup(shared: &Shared, id: &str) -> inner::Removed {
    shared.warden.remove_cgroup(id.to_owned()).await.unwrap_or_else(|failure| {
        tracing::warn!(run = id, %failure, "the cgroup of a run was not removed");
        inner::Removed::default()
    })
}

/// Makes a folder and those above it.
pub(crate) fn make_folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error: io::Error| {
        Failure::new(Exit::TryAgain, format!("cannot make the folder {}", path.display())).caused_by(&error)
    })
}
