//! The store behind a thread of its own, so that no async thread waits for a disk.
//!
//! Writes are done in the order they were asked for. A record is also kept as JSON in its run's folder: from there a
//! damaged database is rebuilt. A disk that is full does not lose the end of a run: the write is tried again with the next.

use crate::folder::Layout;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use stoa_core::run::RunRecord;
use stoa_core::{Exit, Failure, RunId};
use stoa_store::{Store, StoreError};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce(&mut Writer) + Send>;

/// The handle of the store's thread.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    jobs: mpsc::Sender<Job>,
}

/// What lives on the thread.
struct Writer {
    store: Store,
    layout: Layout,
    boot: String,
    /// Records whose write failed; written before anything else.
    owed: BTreeMap<RunId, RunRecord>,
}

impl Journal {
    /// Opens the store and starts its thread. A damaged store is set aside and rebuilt from the run folders.
    pub(crate) fn open(layout: Layout, boot: String) -> Result<Self, Failure> {
        let store = open_or_rebuild(&layout, &boot)?;
        let (jobs, queue) = mpsc::channel::<Job>();
        let mut writer = Writer { store, layout, boot, owed: BTreeMap::new() };
        thread::Builder::new()
            .name("journal".into())
            .spawn(move || {
                for job in queue {
                    job(&mut writer);
                }
                writer.pay();
            })
            .map_err(|error| {
                Failure::new(Exit::TryAgain, "cannot start the thread of the run database").caused_by(&error)
            })?;
        Ok(Self { jobs })
    }

    /// Accepts a run: gives it a name, unless `record.name` is set, and writes it. It has a true end from here on.
    pub(crate) async fn accept(&self, mut record: RunRecord, name_base: String) -> Result<RunRecord, Failure> {
        let accepted = self.ask(move |writer| {
            if record.name.is_empty() {
                record.name = format!("{name_base}-{}", writer.store.next_number(&name_base)?);
            } else if let Some(id) = writer.store.live_name(&record.name)? {
                return Err(Failure::new(
                    Exit::Usage,
                    format!("the name `{}` is taken by the live run {id}", record.name),
                )
                .hint(format!("choose another name, or stop that run: `stoa stop {}`", record.name)));
            }
            writer.store.insert(&record, &writer.boot)?;
            Ok(record)
        });
        let accepted = accepted.await?;
        let copy = accepted.clone();
        self.soon(move |writer| writer.keep_copy(&copy));
        Ok(accepted)
    }

    /// Replaces the record and waits until it is written, or owed when the disk is full.
    pub(crate) async fn update(&self, record: RunRecord) {
        let done = self.ask(move |writer| {
            writer.update(record);
            Ok(())
        });
        if let Err(failure) = done.await {
            tracing::error!(%failure, "a record was not written");
        }
    }

    /// Replaces the record without waiting.
    pub(crate) fn update_soon(&self, record: RunRecord) {
        self.soon(move |writer| writer.update(record));
    }

    fn soon(&self, work: impl FnOnce(&mut Writer) + Send + 'static) {
        if self.jobs.send(Box::new(work)).is_err() {
            tracing::error!("the thread of the run database is gone");
        }
    }

    /// The run of this id or name.
    pub(crate) async fn find(&self, run: String) -> Result<RunRecord, Failure> {
        self.ask(move |writer| {
            let record = writer.store.find(&run)?.ok_or_else(|| unknown_run(&run))?;
            Ok(writer.freshest(record))
        })
        .await
    }

    /// Runs, newest first.
    pub(crate) async fn list(&self, live: bool, most: u32) -> Result<Vec<RunRecord>, Failure> {
        self.ask(move |writer| {
            let records = writer.store.list(live, most)?.into_iter().map(|record| writer.freshest(record));
            Ok(records.filter(|record| !live || !record.state.ended()).collect())
        })
        .await
    }

    /// Runs that have not ended, with the boot they started in.
    pub(crate) async fn live(&self) -> Result<Vec<(RunRecord, String)>, Failure> {
        self.ask(|writer| Ok(writer.store.live()?)).await
    }

    /// Forgets a run.
    pub(crate) async fn remove(&self, id: RunId) -> Result<(), Failure> {
        self.ask(move |writer| {
            writer.owed.remove(&id);
            Ok(writer.store.remove(&id)?)
        })
        .await
    }

    /// Waits until everything asked so far is written.
    pub(crate) async fn flush(&self) {
        let _ = self.ask(|_| Ok(())).await;
    }

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let gone = || Failure::new(Exit::Internal, "the thread of the run database is gone");
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |writer| {
            writer.pay();
            let _ = reply.send(work(writer));
        });
        self.jobs.send(job).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// What a user reads when a run is not there.
pub(crate) fn unknown_run(run: &str) -> Failure {
    Failure::new(Exit::Usage, format!("there is no run `{run}`")).hint("`stoa ps --all` lists the runs")
}

impl Writer {
    fn update(&mut self, record: RunRecord) {
        // Changes on the way can be told again from the files of the run; its end cannot.
        if record.state.ended() {
            self.keep_copy(&record);
        }
        match self.store.update(&record) {
            Ok(()) => {
                self.owed.remove(&record.id);
            }
            Err(error) => {
                tracing::error!(%error, run = %record.id, "the record will be written later");
                self.owed.insert(record.id.clone(), record);
            }
        }
    }

    fn pay(&mut self) {
        let store = &self.store;
        self.owed.retain(|_, record| store.update(record).is_err());
    }

    /// The record as it will be written when the disk has space again.
    fn freshest(&self, record: RunRecord) -> RunRecord {
        self.owed.get(&record.id).cloned().unwrap_or(record)
    }

    fn keep_copy(&self, record: &RunRecord) {
        let path = self.layout.record(&record.id);
        let json = serde_json::to_vec(record).expect("a record has string keys and finite numbers only");
        if let Err(error) = write_atomically(&path, &json) {
            tracing::warn!(%error, path = %path.display(), "the copy of a record was not written");
        }
    }
}

/// Writes a file so that a reader sees the old content or the new one, never a part.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let staged = path.with_extension("new");
    let mut file = fs::File::create(&staged)?;
    file.write_all(content)?;
    fs::rename(&staged, path)
}

fn open_or_rebuild(layout: &Layout, boot: &str) -> Result<Store, Failure> {
    let path = layout.database();
    match Store::open(&path) {
        Err(StoreError::Damaged { source, .. }) => {
            let aside = set_aside(&path).map_err(|error| {
                Failure::new(Exit::Internal, "cannot set the damaged run database aside").caused_by(&error)
            })?;
            let store = Store::open(&path)?;
            let restored = restore(&store, layout, boot)?;
            tracing::error!(%source, restored, aside = %aside.display(), "the run database was damaged and is rebuilt");
            Ok(store)
        }
        other => Ok(other?),
    }
}

fn set_aside(path: &Path) -> io::Result<std::path::PathBuf> {
    let free = (1..).map(|number| path.with_extension(format!("db.damaged-{number}"))).find(|aside| !aside.exists());
    let aside = free.expect("the numbers do not end");
    fs::rename(path, &aside)?;
    for suffix in ["db-wal", "db-shm", "db-journal"] {
        match fs::remove_file(path.with_extension(suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

fn restore(store: &Store, layout: &Layout, boot: &str) -> Result<usize, Failure> {
    let entries = match fs::read_dir(layout.runs()) {
        Ok(entries) => entries,
        Err(_) => return Ok(0),
    };
    let mut records: Vec<RunRecord> = entries
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join("record.json")).ok())
        .filter_map(|json| serde_json::from_slice(&json).ok())
        .collect();
    records.sort_by_key(|record| record.created);
    for record in &records {
        store.insert(record, boot)?;
        if record.spec.name.is_some() {
            continue;
        }
        let made_up = record.name.rsplit_once('-').and_then(|(base, number)| Some((base, number.parse::<u64>().ok()?)));
        if let Some((base, number)) = made_up {
            while store.next_number(base)? < number {}
        }
    }
    Ok(records.len())
}
