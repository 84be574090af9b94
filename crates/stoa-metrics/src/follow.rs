//! The thread that follows all live runs: samples, event files, and news for the watchers.

use crate::scan::Writer;
use crate::service::{Change, Shared, State, Work, lock};
use crate::system::Gpus;
use crate::tensorboard::{Identity, process_ids};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use stoa_core::port::LiveRun;

/// Time between two samples of a run.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Time between two looks at the files of a watched run.
const PEEK_EVERY: Duration = Duration::from_millis(100);

/// Pieces of 256 KiB read of an event file before it is the next one's turn, so that no run keeps the thread to itself.
const PIECES_AT_ONCE: usize = 256;

/// What is to be done for a run now.
struct Task {
    run: Arc<LiveRun>,
    work: Arc<Mutex<Work>>,
    step: Step,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Look for new points of a watched run.
    Peek,
    /// Also take a sample, and look for new event files.
    Sample,
    /// The run has ended: read what is left.
    Last,
}

/// Follows runs until the service stops.
pub(crate) fn follow_runs(shared: &Shared) {
    let mut gpus = Gpus::default();
    while let Some(tasks) = wait_for_tasks(shared, &mut gpus) {
        for task in tasks {
            carry_out(shared, &task, &mut gpus);
        }
    }
}

/// Sleeps until something is due; without live runs that is until one starts. `None` when the service stops.
fn wait_for_tasks(shared: &Shared, gpus: &mut Gpus) -> Option<Vec<Task>> {
    let mut state = lock(&shared.state);
    loop {
        if state.live.is_empty() {
            if state.stop {
                return None;
            }
            gpus.stop();
            state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        let now = Instant::now();
        let (tasks, next) = due(&mut state, now);
        if !tasks.is_empty() {
            return Some(tasks);
        }
        if state.stop {
            return None;
        }
        let wait = next.saturating_duration_since(now);
        state = shared.wake.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// What is due, and when the next thing will be. A service that stops finishes the runs that have ended and no others:
/// they go on.
fn due(state: &mut State, now: Instant) -> (Vec<Task>, Instant) {
    let watched: HashSet<PathBuf> = state.watchers.values().map(|(dir, _)| dir.clone()).collect();
    let (mut tasks, mut next) = (Vec::new(), now + SAMPLE_EVERY);
    let stop = state.stop;
    for slot in state.live.values_mut() {
        let peeks = watched.contains(&slot.run.dir);
        let step = if slot.ending {
            Some(Step::Last)
        } else if stop {
            None
        } else if slot.next_sample <= now {
            Some(Step::Sample)
        } else {
            (peeks && slot.next_peek <= now).then_some(Step::Peek)
        };
        if step == Some(Step::Sample) {
            // A machine that slept does not make up for the samples it missed.
            slot.next_sample = (slot.next_sample + SAMPLE_EVERY).max(now + SAMPLE_EVERY / 2);
        }
        if step.is_some() {
            slot.next_peek = now + PEEK_EVERY;
        }
        next = next.min(slot.next_sample);
        if peeks {
            next = next.min(slot.next_peek);
        }
        tasks.extend(step.map(|step| Task { run: Arc::clone(&slot.run), work: Arc::clone(&slot.work), step }));
    }
    (tasks, next)
}

fn carry_out(shared: &Shared, task: &Task, gpus: &mut Gpus) {
    let run = &task.run;
    let mut work = lock(&task.work);
    if task.step != Step::Peek {
        // The processes of a run that has ended are gone, and their ids may be those of others by now.
        let pids = if task.step == Step::Last { Vec::new() } else { process_ids(run) };
        discover(shared, run, &mut work, &pids, task.step == Step::Last);
        if task.step == Step::Sample {
            gpus.refresh();
            let sampled = work.sampler.sample(run, &pids, gpus);
            note(run, &mut work.problem, "cannot keep the samples of a run", sampled.err());
        }
    }
    let pieces = if task.step == Step::Last { usize::MAX } else { PIECES_AT_ONCE };
    let read = work.events.read(pieces);
    note(run, &mut work.problem, "cannot keep the points of TensorBoard files", read.err());
    drop(work);
    if task.step == Step::Last {
        finish(shared, run);
    } else if is_watched(shared, &run.dir) && catch_up(shared, &run.dir) {
        shared.tell(&run.dir, Change::New);
    }
}

fn discover(shared: &Shared, run: &LiveRun, work: &mut Work, pids: &[i32], last: bool) {
    let others: HashSet<Identity> = {
        let state = lock(&shared.state);
        let slots = state.live.iter().filter(|(id, _)| **id != run.id);
        slots.flat_map(|(_, slot)| slot.claims.iter().copied()).collect()
    };
    work.events.discover(run, pids, &others, last);
    if let Some(slot) = lock(&shared.state).live.get_mut(&run.id) {
        slot.claims = work.events.claims().collect();
    }
}

/// Reports a problem of a run once, until another one takes its place.
fn note(run: &LiveRun, known: &mut Option<String>, what: &str, error: Option<std::io::Error>) {
    let Some(error) = error else { return };
    let text = format!("{what}: {error}");
    if known.as_ref() != Some(&text) {
        tracing::warn!(run = %run.id, %error, "{what}");
        *known = Some(text);
    }
}

fn is_watched(shared: &Shared, dir: &Path) -> bool {
    lock(&shared.state).watchers.values().any(|(watched, _)| watched == dir)
}

/// Reads what is new of a run into memory; answers whether there was anything.
fn catch_up(shared: &Shared, dir: &Path) -> bool {
    let memory = shared.memory_of(dir);
    let mut index = lock(&memory.index);
    index.catch_up(dir, Writer::Live).unwrap_or(false)
}

fn finish(shared: &Shared, run: &LiveRun) {
    let mut state = lock(&shared.state);
    // It may have been started again in the meantime.
    if state.live.get(&run.id).is_some_and(|slot| slot.ending) {
        state.live.remove(&run.id);
    }
    drop(state);
    shared.wake.notify_all();
    shared.tell(&run.dir, Change::Ended);
}
