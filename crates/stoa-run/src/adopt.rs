//! Takes up the runs that an earlier daemon left: living ones are followed on, ended ones get the end they recorded.

use crate::drive::{self, Beginning};
use crate::end::{self, End};
use crate::service::Shared;
use crate::supervisor::{self, Found, Supervisor, Trace};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use stoa_core::run::{EndReason, RunRecord, Usage};
use stoa_core::secret::MASK;
use stoa_core::{Exit, Failure};
use stoa_proto::warden::{Ended, Stop, to_init};

/// What a client gets for a run whose end nobody saw.
const LOST_CODE: u8 = Exit::Failed.code();

/// How many of the newest runs may have left a cgroup: more than can end in the few milliseconds before one is removed.
const SWEPT: u32 = 64;

/// Takes up every run that has not ended.
pub(crate) async fn adopt(shared: &Arc<Shared>) -> Result<(), Failure> {
    for (record, boot) in shared.journal.live().await? {
        let id = record.id.clone();
        let beginning = beginning(shared, &record, &boot).await;
        tracing::info!(run = %id, beginning = beginning.as_ref().map_or("lost", Beginning::word), "taking up a run");
        let beginning = beginning.unwrap_or_else(|why| over(EndReason::Lost { why }, LOST_CODE));
        let spec = record.spec.clone();
        drive::start(shared, record, spec, beginning)?;
    }
    tokio::spawn(sweep(shared.clone()));
    Ok(())
}

/// Removes cgroups of runs that ended just before the earlier daemon did: it removes them a moment after telling the end.
async fn sweep(shared: Arc<Shared>) {
    let newest = shared.journal.list(false, SWEPT).await.unwrap_or_default();
    for ended in newest.iter().filter(|record| record.state.ended()) {
        drive::remove_cgroup(&shared, ended.id.as_str()).await;
    }
}

impl Beginning {
    const fn word(&self) -> &'static str {
        match self {
            Self::Fresh { .. } => "from the start",
            Self::Alive(_) => "living",
            Self::Over(..) => "over",
        }
    }
}

/// How a run is taken up, or why its end is unknown.
async fn beginning(shared: &Arc<Shared>, record: &RunRecord, boot: &str) -> Result<Beginning, String> {
    let state = shared.config.layout.state(&record.id);
    let unreadable = |error| format!("its files cannot be read: {error}");
    if boot != shared.config.boot && !matches!(supervisor::trace(&state, record.attempt), Ok(Trace::Ended(_))) {
        keep_stray_output(&state, record);
        remove_cgroup(shared, record).await;
        return Err("the machine was restarted before it ended".into());
    }
    let limits = &record.spec.limits;
    Ok(match supervisor::find(&state, record.attempt).await.map_err(unreadable)? {
        Found::Alive(supervisor) => Beginning::Alive(supervisor),
        Found::Ended(ended) => {
            let counters = remove_cgroup(shared, record).await;
            let program = record.spec.program.summary();
            Beginning::Over(end::judge(&ended, &counters, limits, &program), ended)
        }
        Found::Killed => {
            keep_stray_output(&state, record);
            let counters = remove_cgroup(shared, record).await;
            Beginning::Over(end::killed(&counters, limits), Box::default())
        }
        Found::NeverStarted => {
            // What a killed warden left of a launch.
            remove_cgroup(shared, record).await;
            from_the_start(shared, record).await
        }
    })
}

/// A run that was accepted and not started yet is started now. That needs every variable it was given.
async fn from_the_start(shared: &Arc<Shared>, record: &RunRecord) -> Beginning {
    end_steps(&shared.config.layout.run(&record.id).join("preparation")).await;
    if record.spec.named_env.iter().any(|variable| variable.value == MASK) {
        let failure = Failure::new(Exit::TryAgain, "the daemon ended before the run was started")
            .cause("the values of its secret variables were not kept")
            .hint(format!("start it again: `stoa again {}`", record.id));
        return over(EndReason::Infrastructure { failure }, Exit::TryAgain.code());
    }
    let checkout = Some(shared.config.layout.checkout(&record.id)).filter(|folder| folder.exists());
    Beginning::Fresh { checkout, resolving: None }
}

fn over(reason: EndReason, exit_code: u8) -> Beginning {
    Beginning::Over(End { reason, exit_code, usage: Usage::default() }, Box::<Ended>::default())
}

async fn remove_cgroup(shared: &Shared, record: &RunRecord) -> stoa_proto::warden::Removed {
    shared.warden.remove_cgroup(record.id.to_string()).await.unwrap_or_default()
}

fn keep_stray_output(state: &Path, record: &RunRecord) {
    if let Err(error) = supervisor::recover(state, record.attempt, &[]) {
        tracing::error!(run = %record.id, %error, "output of a run may be lost");
    }
}

/// Ends steps of a preparation that outlived the daemon which wanted them.
async fn end_steps(preparation: &Path) {
    let Ok(entries) = fs::read_dir(preparation) else { return };
    for state in entries.flatten().map(|entry| entry.path()) {
        if !matches!(supervisor::trace(&state, 1), Ok(Trace::Alive)) {
            continue;
        }
        if let Ok(step) = Supervisor::connect(&state).await {
            step.tell(to_init::What::Stop(Stop { signal: 9, grace_ms: 0 })).await;
            while !matches!(step.next().await, supervisor::Event::Gone) {}
        }
    }
}
