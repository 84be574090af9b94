//! Makes the environment of a run: steps that run in the same isolation as the program, with their output shown and kept.

use crate::drive::{Driver, Interrupted, make_folder};
use crate::end;
use crate::output::{self, OutputReader};
use crate::plan::Work;
use crate::supervisor::Supervisor;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use stoa_core::port::{Preparation, Resolved, Step};
use stoa_core::run::{EndReason, Limits, Network, RunState};
use stoa_core::{Exit, Failure};
use stoa_proto::warden::Removed;
use tokio::sync::Mutex as AsyncMutex;

/// How much of the end of a failed step's output is looked at for its reason.
const TAIL_BYTES: usize = 64 << 10;

/// One lock a preparation key: an environment is made once, and whoever wants it too waits.
#[derive(Debug, Default)]
pub(crate) struct Keys(Mutex<HashMap<String, Arc<AsyncMutex<()>>>>);

impl Keys {
    fn get(&self, key: &str) -> Arc<AsyncMutex<()>> {
        self.0.lock().expect("no one panics while holding it").entry(key.to_owned()).or_default().clone()
    }
}

/// Does what `resolved.preparation` says and answers what to execute then.
pub(crate) async fn prepare(driver: &mut Driver, resolved: Resolved) -> Result<Resolved, Interrupted> {
    let Some(preparation) = resolved.preparation.clone() else { return Ok(resolved) };
    driver.change(|record| record.state = RunState::Preparing);
    let key = driver.shared.preparations.get(&preparation.key);
    let _alone = tokio::select! {
        alone = key.lock() => alone,
        killed = driver.told_to_stop() => return Err(Interrupted::Stopped { killed }),
    };
    // Another run may have made it while this one waited.
    let resolved = driver.resolve().await?;
    let Some(preparation) = resolved.preparation.clone() else { return Ok(resolved) };
    if let Some(notice) = &preparation.notice {
        say(driver, &format!("{notice}\n"));
    }
    run_steps(driver, &resolved, &preparation).await?;
    let (languages, of) = (driver.shared.languages.clone(), resolved.clone());
    let sealed = tokio::task::spawn_blocking(move || languages.prepared(&of)).await;
    let environment = sealed.unwrap_or_else(|error| {
        Err(Failure::new(Exit::Internal, "sealing the environment broke off").caused_by(&error))
    })?;
    // What the environment needs to see, such as an interpreter that was downloaded, is known only now.
    let mut resolved = driver.resolve().await?;
    if resolved.preparation.is_some() {
        return Err(Failure::new(Exit::Internal, "an environment that was just made is not found").into());
    }
    resolved.environment = Some(environment);
    Ok(resolved)
}

async fn run_steps(driver: &mut Driver, resolved: &Resolved, preparation: &Preparation) -> Result<(), Interrupted> {
    for (number, step) in preparation.steps.iter().enumerate() {
        say(driver, &format!("{}\n", step.title));
        let state = driver.shared.config.layout.step(&driver.id(), number);
        // Left over when an earlier daemon was killed in the middle.
        match fs::remove_dir_all(&state) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::new(Exit::TryAgain, "cannot begin a step anew").caused_by(&error).into());
            }
            _ => make_folder(&state)?,
        }
        run_step(driver, resolved, step, &state, number).await?;
    }
    Ok(())
}

async fn run_step(
    driver: &mut Driver,
    resolved: &Resolved,
    step: &Step,
    state: &Path,
    number: usize,
) -> Result<(), Interrupted> {
    let work = Work {
        argv: &step.argv,
        env: &step.env,
        mounts: &step.mounts,
        terminal: driver.spec.terminal,
        stdin: false,
        network: Network::Host,
        limits: &Limits::default(),
    };
    let mut plan = driver.plan_work(&work, state, &[]);
    plan.run_id = format!("{}-step-{number}", plan.run_id);
    let (launched, descriptors) = driver.shared.warden.launch(&plan).await?;
    let supervisor = Supervisor::launched(&launched, descriptors, plan.terminal.is_some())
        .map_err(|error| Failure::new(Exit::Internal, "the warden's answer cannot be used").caused_by(&error))?;
    let mut reader = OutputReader::open(state, 0)
        .map_err(|error| Failure::new(Exit::TryAgain, "the output of a step cannot be read").caused_by(&error))?;
    let mut tail = Vec::new();
    let ended = driver.supervise(&supervisor, state, |driver, _| relay(driver, &mut reader, &mut tail)).await;
    relay(driver, &mut reader, &mut tail);
    let counters = driver.remove_cgroup(&plan.run_id).await;
    let end = match &ended {
        Some(ended) => end::judge(ended, &counters, &Limits::default(), &step.argv[0]),
        None => end::killed(&Removed::default(), &Limits::default()),
    };
    match end.reason {
        EndReason::Exited { code: 0 } => Ok(()),
        EndReason::Stopped { killed } => Err(Interrupted::Stopped { killed }),
        EndReason::Infrastructure { failure } => Err(failure.into()),
        EndReason::Exited { .. } => {
            let text = String::from_utf8_lossy(&tail).into_owned();
            Err(driver.shared.languages.explain(resolved, step, &text).into())
        }
        reason => Err(Failure::new(Exit::Failed, format!("{} failed", step.title)).cause(reason.to_string()).into()),
    }
}

/// Copies what a step has printed to the output of the run.
fn relay(driver: &mut Driver, reader: &mut OutputReader, tail: &mut Vec<u8>) {
    loop {
        match reader.next_chunk() {
            Ok(Some(chunk)) => {
                tail.extend_from_slice(&chunk.data);
                let excess = tail.len().saturating_sub(TAIL_BYTES);
                tail.drain(..excess);
                keep(driver, &chunk.data);
            }
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "the output of a step cannot be read");
                return;
            }
        }
    }
}

/// Tells the user something on the way.
fn say(driver: &Driver, text: &str) {
    keep(driver, text.as_bytes());
}

fn keep(driver: &Driver, data: &[u8]) {
    let state = driver.shared.config.layout.state(&driver.id());
    let attempt = driver.record.borrow().attempt;
    match output::append(&state, data, attempt) {
        Ok(kept) => {
            driver.output.send_replace(kept);
        }
        Err(error) => tracing::warn!(%error, "output of a preparation was not kept"),
    }
}
