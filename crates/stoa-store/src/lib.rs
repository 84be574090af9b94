//! The database of run records: one SQLite file in WAL mode, opened by one daemon.
//!
//! A record is one JSON text; what is searched for stands in columns beside it. Commits survive the death of the
//! process at any moment; after a power cut the last ones may be missing (`synchronous = NORMAL`). A damaged database is told
//! apart, and rebuilt by `stoa-run` from the records it keeps in the run folders.
#![forbid(unsafe_code)]

mod migrations;

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use std::path::{Path, PathBuf};
use std::time::Duration;
use stoa_core::run::{RunRecord, RunState};
use stoa_core::{Exit, Explain, RunId};

/// How long a process that ends may take to give up the database.
const ENDING: Duration = Duration::from_secs(3);

/// Why the store could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is not a database or is damaged.
    #[error("the run database {} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        #[source]
        source: rusqlite::Error,
    },
    /// The file was written by a newer Stoa.
    #[error("the run database {} was written by a newer Stoa (schema {found}, this one knows {known})", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// No space is left.
    #[error("the run database cannot be written: the disk is full")]
    Full(#[source] rusqlite::Error),
    /// Another process has it open.
    #[error("the run database is in use by another process")]
    Busy(#[source] rusqlite::Error),
    /// The folder cannot be written.
    #[error("the run database cannot be written")]
    ReadOnly(#[source] rusqlite::Error),
    /// Any other answer of SQLite.
    #[error("the run database does not answer")]
    Sqlite(#[source] rusqlite::Error),
    /// A record cannot be read back.
    #[error("the record of run {id} cannot be read")]
    Record {
        /// The run.
        id: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
}

impl Explain for StoreError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Damaged { .. } => {
                "run `stoa daemon start`: it sets the file aside and rebuilds it from the run folders".into()
            }
            Self::Newer { .. } => "use the newer `stoa`, or set STOA_HOME to another folder".into(),
            Self::Full(_) => "free some space, for example with `stoa rm`".into(),
            Self::Busy(_) => "run `stoa daemon status`".into(),
            Self::ReadOnly(_) => "set STOA_HOME to a folder you can write to".into(),
            Self::Sqlite(_) | Self::Record { .. } => return None,
        })
    }
    fn exit(&self) -> Exit {
        match self {
            Self::Full(_) | Self::Busy(_) => Exit::TryAgain,
            Self::Newer { .. } | Self::ReadOnly(_) => Exit::Unavailable,
            Self::Damaged { .. } | Self::Sqlite(_) | Self::Record { .. } => Exit::Internal,
        }
    }
}

/// The open database. Calls block; use it from a thread of its own.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

impl Store {
    /// Opens or makes the database at `path` and brings its schema up to date.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let sort = |error| sort_error(path, error);
        let mut connection = Connection::open(path).map_err(sort)?;
        // A process that ends gives its locks up one after the other: the daemon's, which the caller has, may come first.
        connection.busy_timeout(ENDING).map_err(sort)?;
        connection
            .execute_batch(
                "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
                 PRAGMA cache_size = -2048; PRAGMA foreign_keys = ON;",
            )
            .map_err(sort)?;
        // A damaged page is found here rather than in the middle of a run.
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sort)?;
        if verdict != "ok" {
            let failure = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            return Err(sort(rusqlite::Error::SqliteFailure(failure, Some(verdict))));
        }
        migrations::apply(&mut connection, path)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Adds a run. `boot` identifies the boot of the machine it runs in.
    pub fn insert(&self, record: &RunRecord, boot: &str) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("INSERT INTO runs (id, name, state, created, boot, record) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
            .and_then(|mut insert| {
                insert.execute(params![
                    record.id.as_str(),
                    record.name,
                    record.state.as_str(),
                    record.created.0 as i64,
                    boot,
                    to_json(record)
                ])
            })
            .map(drop)
            .map_err(|error| self.sort(error))
    }

    /// Replaces the record of a run; does nothing for a run that was removed.
    pub fn update(&self, record: &RunRecord) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("UPDATE runs SET name = ?2, state = ?3, record = ?4 WHERE id = ?1")
            .and_then(|mut update| {
                update.execute(params![record.id.as_str(), record.name, record.state.as_str(), to_json(record)])
            })
            .map(drop)
            .map_err(|error| self.sort(error))
    }

    /// The run of this id, or the newest one of this name.
    pub fn find(&self, run: &str) -> Result<Option<RunRecord>, StoreError> {
        self.one("SELECT id, record FROM runs WHERE id = ?1 OR name = ?1 ORDER BY id = ?1 DESC, seq DESC LIMIT 1", run)
    }

    /// Runs, newest first: all, or only those that have not ended; at most `most` of them (0: no bound).
    pub fn list(&self, live: bool, most: u32) -> Result<Vec<RunRecord>, StoreError> {
        let only = if live { "WHERE state IN ('queued', 'preparing', 'running')" } else { "" };
        let most = if most == 0 { -1 } else { i64::from(most) };
        let query = format!("SELECT id, record FROM runs {only} ORDER BY seq DESC LIMIT ?1");
        let mut query = self.connection.prepare_cached(&query).map_err(|error| self.sort(error))?;
        let rows = query
            .query_map([most], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
            .map_err(|error| self.sort(error))?;
        rows.map(|row| {
            row.map_err(|error| self.sort(error)).and_then(|(id, json): (String, String)| from_json(id, &json))
        })
        .collect()
    }

    /// Runs that have not ended, with the boot they were started in.
    pub fn live(&self) -> Result<Vec<(RunRecord, String)>, StoreError> {
        self.list(true, 0)?
            .into_iter()
            .map(|record| {
                let boot = self
                    .connection
                    .query_row("SELECT boot FROM runs WHERE id = ?1", [record.id.as_str()], |row| row.get(0))
                    .map_err(|error| self.sort(error))?;
                Ok((record, boot))
            })
            .collect()
    }

    /// Whether a run that has not ended has this name.
    pub fn live_name(&self, name: &str) -> Result<Option<RunId>, StoreError> {
        let found = self.one(
            "SELECT id, record FROM runs WHERE name = ?1 AND state IN ('queued', 'preparing', 'running') LIMIT 1",
            name,
        )?;
        Ok(found.map(|record| record.id))
    }

    /// How many runs there are whose name is `prefix-N`; the base of the next made-up name.
    pub fn next_number(&self, prefix: &str) -> Result<u64, StoreError> {
        // A counter of its own: removing runs must not bring an old name back.
        self.connection
            .prepare_cached(
                "INSERT INTO names (prefix, last) VALUES (?1, 1) ON CONFLICT (prefix) DO UPDATE SET last = last + 1 RETURNING last",
            )
            .and_then(|mut next| next.query_row([prefix], |row| row.get::<_, i64>(0)))
            .map(i64::unsigned_abs)
            .map_err(|error| self.sort(error))
    }

    /// Forgets a run.
    pub fn remove(&self, id: &RunId) -> Result<(), StoreError> {
        self.connection
            .execute("DELETE FROM runs WHERE id = ?1", [id.as_str()])
            .map(drop)
            .map_err(|error| self.sort(error))
    }

    fn one(&self, query: &str, key: &str) -> Result<Option<RunRecord>, StoreError> {
        let row: Option<(String, String)> = self
            .connection
            .prepare_cached(query)
            .and_then(|mut query| query.query_row([key], |row| Ok((row.get(0)?, row.get(1)?))).optional())
            .map_err(|error| self.sort(error))?;
        row.map(|(id, json)| from_json(id, &json)).transpose()
    }

    fn sort(&self, error: rusqlite::Error) -> StoreError {
        sort_error(&self.path, error)
    }
}

/// The states in which a run counts as live, for the SQL above.
const _: () = assert!(!RunState::Queued.ended() && !RunState::Preparing.ended() && !RunState::Running.ended());

fn to_json(record: &RunRecord) -> String {
    serde_json::to_string(record).expect("a record has string keys and finite numbers only")
}

fn from_json(id: String, json: &str) -> Result<RunRecord, StoreError> {
    serde_json::from_str(json).map_err(|source| StoreError::Record { id, source })
}

fn sort_error(path: &Path, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            StoreError::Damaged { path: path.to_owned(), source: error }
        }
        Some(ErrorCode::DiskFull) => StoreError::Full(error),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy(error),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => StoreError::ReadOnly(error),
        _ => StoreError::Sqlite(error),
    }
}

#[cfg(test)]
mod tests;
