//! The metric service: the port [`Metrics`], plus watching, facts and peak memory.

use crate::follow::follow_runs;
use crate::index::{Facts, Index};
use crate::scan::Writer;
use crate::system::{self, Sampler};
use crate::tensorboard::{Follower, Identity};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use stoa_core::metric::{Series, SeriesQuery, SeriesSummary};
use stoa_core::port::{LiveRun, Metrics};
use stoa_core::units::Bytes;
use stoa_core::{Exit, Explain, Failure, RunId};

/// Points of ended runs kept in memory for the next question (about 7 MB).
const COLD_BUDGET: usize = 300_000;
/// When the first sample of a run is taken; runs that end before cost nothing.
const FIRST_SAMPLE: Duration = Duration::from_millis(500);
/// A run shorter than this is not searched for event files: no program loads a library that writes them and trains in
/// less.
const TOO_SHORT: Duration = Duration::from_millis(100);
/// How long a question waits for the last reading of a run that has just ended.
const LAST_READING: Duration = Duration::from_secs(3);

/// Why a question about a run could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum MetricError {
    /// The metric files cannot be read.
    #[error("cannot read the metrics in `{}`", dir.display())]
    Read {
        /// The run's folder.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Explain for MetricError {
    fn hint(&self) -> Option<String> {
        let Self::Read { source, .. } = self;
        match source.kind() {
            io::ErrorKind::PermissionDenied => Some("run the command as the user who started the run".to_owned()),
            io::ErrorKind::NotADirectory => {
                Some("`metrics` in the run's folder has to be a folder, not a link or a file".to_owned())
            }
            _ => None,
        }
    }

    fn exit(&self) -> Exit {
        let Self::Read { source, .. } = self;
        if source.kind() == io::ErrorKind::PermissionDenied { Exit::NotPermitted } else { Exit::Unavailable }
    }
}

/// What happened in a watched run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// There are new points, summary values or artifacts.
    New,
    /// The run has ended, or is not live; nothing more will come.
    Ended,
}

type Callback = Arc<dyn Fn(Change) + Send + Sync>;

/// Follows live runs and answers questions about all of them. Made once; dropping it stops its thread.
pub struct MetricService {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the service and its thread share.
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    /// Told when the state changed.
    pub(crate) wake: Condvar,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) live: HashMap<RunId, Slot>,
    memories: HashMap<PathBuf, Arc<Memory>>,
    pub(crate) watchers: HashMap<u64, (PathBuf, Callback)>,
    next: u64,
    pub(crate) stop: bool,
}

/// A live run and when it is to be looked at.
pub(crate) struct Slot {
    pub(crate) run: Arc<LiveRun>,
    pub(crate) since: Instant,
    pub(crate) next_sample: Instant,
    pub(crate) next_peek: Instant,
    pub(crate) ending: bool,
    pub(crate) work: Arc<Mutex<Work>>,
    /// Event files that processes of this run have open.
    pub(crate) claims: HashSet<Identity>,
}

/// What only the follower's thread uses of a run.
pub(crate) struct Work {
    pub(crate) events: Follower,
    pub(crate) sampler: Sampler,
    /// The last problem, so that it is reported once and not every second.
    pub(crate) problem: Option<String>,
}

/// What is in memory of one run.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) index: Mutex<Index>,
    /// When it was last used, and how much it held then.
    used: Mutex<(u64, usize)>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is valid after every statement, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for MetricService {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MetricService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let live = lock(&self.shared.state).live.len();
        f.debug_struct("MetricService").field("live", &live).finish_non_exhaustive()
    }
}

impl MetricService {
    /// A service that follows no run yet. Its thread starts with the first run.
    pub fn new() -> Self {
        let shared = Shared { state: Mutex::default(), wake: Condvar::new() };
        Self { shared: Arc::new(shared), thread: Mutex::new(None) }
    }

    /// Calls `on_change` whenever a live run has something new (at most ten times a second), from the service's thread:
    /// it must not block. The last call says [`Change::Ended`]; for a run that is not live it comes at once.
    pub fn watch(&self, dir: &Path, on_change: impl Fn(Change) + Send + Sync + 'static) -> Watch {
        let mut state = lock(&self.shared.state);
        let live = state.live.values().any(|slot| slot.run.dir == dir);
        let id = state.next;
        state.next += 1;
        if live {
            state.watchers.insert(id, (dir.to_owned(), Arc::new(on_change)));
            self.shared.wake.notify_all();
        } else {
            drop(state);
            on_change(Change::Ended);
        }
        Watch { shared: Arc::clone(&self.shared), id }
    }

    /// Like [`MetricService::watch`], for a thread that waits.
    pub fn subscribe(&self, dir: &Path) -> Subscription {
        let news = Arc::new(News::default());
        let told = Arc::clone(&news);
        let watch = self.watch(dir, move |change| told.tell(change));
        Subscription { news, _watch: watch }
    }

    /// Summary values, artifacts and losses of a run.
    pub fn facts(&self, dir: &Path) -> Result<Facts, Failure> {
        self.with_index(dir, |index, _| Ok(index.facts()))
    }

    /// The most memory that was seen in use by a run, for runs whose cgroup cannot say; `None` without a sample.
    pub fn peak_memory(&self, dir: &Path) -> Option<Bytes> {
        let query = SeriesQuery { names: vec![system::MEMORY.to_owned()], max_points: 0 };
        let series = self.series(dir, &query).ok()?;
        Some(Bytes(series.first()?.summary.max? as u64))
    }

    /// Forgets what is in memory of a run, before its folder is removed.
    pub fn forget(&self, dir: &Path) {
        lock(&self.shared.state).memories.remove(dir);
    }

    fn with_index<T>(
        &self,
        dir: &Path,
        answer: impl FnOnce(&mut Index, Writer) -> io::Result<T>,
    ) -> Result<T, Failure> {
        let (memory, writer) = self.shared.memory(dir);
        let mut index = lock(&memory.index);
        let answered = index.catch_up(dir, writer).and_then(|_| answer(&mut index, writer));
        let weight = index.weight();
        drop(index);
        self.shared.used(&memory, weight);
        answered.map_err(|source| MetricError::Read { dir: dir.to_owned(), source }.into())
    }

    fn start_thread(&self) {
        let mut thread = lock(&self.thread);
        if thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        match std::thread::Builder::new().name("metrics".to_owned()).spawn(move || follow_runs(&shared)) {
            Ok(started) => *thread = Some(started),
            Err(error) => tracing::error!(%error, "cannot start the thread that follows metrics"),
        }
    }
}

impl Metrics for MetricService {
    fn started(&self, run: LiveRun) {
        let now = Instant::now();
        let mut state = lock(&self.shared.state);
        if let Some(slot) = state.live.get_mut(&run.id) {
            slot.run = Arc::new(run);
            slot.ending = false;
            return;
        }
        let work = Work { events: Follower::new(&run.dir, now), sampler: Sampler::default(), problem: None };
        let slot = Slot {
            since: now,
            next_sample: now + FIRST_SAMPLE,
            next_peek: now,
            ending: false,
            work: Arc::new(Mutex::new(work)),
            claims: HashSet::new(),
            run: Arc::new(run),
        };
        let idle = state.live.is_empty();
        state.live.insert(slot.run.id.clone(), slot);
        drop(state);
        self.start_thread();
        if idle {
            // With other runs live, the thread wakes up early enough by itself.
            self.shared.wake.notify_all();
        }
    }

    /// Returns at once: the thread does the last reading, and questions about this run wait for it.
    fn ended(&self, id: &RunId) {
        let mut state = lock(&self.shared.state);
        let State { live, watchers, .. } = &mut *state;
        let Some(slot) = live.get_mut(id) else { return };
        let watched = watchers.values().any(|(dir, _)| *dir == slot.run.dir);
        if slot.since.elapsed() < TOO_SHORT && !watched {
            live.remove(id);
            return;
        }
        slot.ending = true;
        self.shared.wake.notify_all();
    }

    fn series(&self, dir: &Path, query: &SeriesQuery) -> Result<Vec<Series>, Failure> {
        self.with_index(dir, |index, writer| {
            let mut found = index.series(query);
            if let Some(mut deep) = index.deeper(query) {
                deep.catch_up(dir, writer)?;
                index.deepen(&deep, query, &mut found);
            }
            Ok(found)
        })
    }

    fn summaries(&self, dir: &Path) -> Result<Vec<SeriesSummary>, Failure> {
        let found = self.series(dir, &SeriesQuery { names: Vec::new(), max_points: 0 })?;
        Ok(found.into_iter().map(|series| series.summary).collect())
    }
}

impl Drop for MetricService {
    fn drop(&mut self) {
        lock(&self.shared.state).stop = true;
        self.shared.wake.notify_all();
        if let Some(thread) = lock(&self.thread).take() {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// The memory of a run, and whether it is still written. Waits for the last reading of a run that is just ending.
    fn memory(&self, dir: &Path) -> (Arc<Memory>, Writer) {
        let ending = |state: &mut State| state.live.values().any(|slot| slot.ending && slot.run.dir == dir);
        let waited = self.wake.wait_timeout_while(lock(&self.state), LAST_READING, ending);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let live = state.live.values().any(|slot| slot.run.dir == dir);
        let memory = Arc::clone(state.memories.entry(dir.to_owned()).or_default());
        (memory, if live { Writer::Live } else { Writer::Gone })
    }

    /// The memory of a run.
    pub(crate) fn memory_of(&self, dir: &Path) -> Arc<Memory> {
        Arc::clone(lock(&self.state).memories.entry(dir.to_owned()).or_default())
    }

    /// Notes the use of a memory, and forgets those of ended runs that were not used for long when there are too many.
    fn used(&self, memory: &Memory, weight: usize) {
        let mut state = lock(&self.state);
        state.next += 1;
        *lock(&memory.used) = (state.next, weight);
        let live: HashSet<PathBuf> = state.live.values().map(|slot| slot.run.dir.clone()).collect();
        let mut cold: Vec<(u64, usize, PathBuf)> = state
            .memories
            .iter()
            .filter(|(dir, _)| !live.contains(*dir))
            .map(|(dir, memory)| {
                let (used, weight) = *lock(&memory.used);
                (used, weight + 100, dir.clone())
            })
            .collect();
        cold.sort_unstable_by_key(|(used, ..)| std::cmp::Reverse(*used));
        let mut total = 0;
        for (_, weight, dir) in cold {
            total += weight;
            if total > COLD_BUDGET {
                state.memories.remove(&dir);
            }
        }
    }

    /// Tells the watchers of a run.
    pub(crate) fn tell(&self, dir: &Path, change: Change) {
        let callbacks: Vec<Callback> = {
            let mut state = lock(&self.state);
            let callbacks = state
                .watchers
                .values()
                .filter(|(watched, _)| watched == dir)
                .map(|(_, call)| Arc::clone(call))
                .collect();
            if change == Change::Ended {
                state.watchers.retain(|_, (watched, _)| watched != dir);
            }
            callbacks
        };
        for callback in callbacks {
            callback(change);
        }
    }
}

/// A watch that lasts until it is dropped.
pub struct Watch {
    shared: Arc<Shared>,
    id: u64,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        lock(&self.shared.state).watchers.remove(&self.id);
    }
}

/// A watch with a place to wait.
#[derive(Debug)]
pub struct Subscription {
    news: Arc<News>,
    _watch: Watch,
}

#[derive(Debug, Default)]
struct News {
    pending: Mutex<(bool, bool)>,
    arrived: Condvar,
}

impl News {
    fn tell(&self, change: Change) {
        let mut pending = lock(&self.pending);
        match change {
            Change::New => pending.0 = true,
            Change::Ended => pending.1 = true,
        }
        self.arrived.notify_all();
    }
}

impl Subscription {
    /// Waits until there is something new since the last call; `None` when nothing came in time.
    pub fn wait(&self, timeout: Duration) -> Option<Change> {
        let quiet = |pending: &mut (bool, bool)| !pending.0 && !pending.1;
        let waited = self.news.arrived.wait_timeout_while(lock(&self.news.pending), timeout, quiet);
        let mut pending = waited.unwrap_or_else(PoisonError::into_inner).0;
        if pending.1 {
            return Some(Change::Ended);
        }
        std::mem::take(&mut pending.0).then_some(Change::New)
    }
}
