//! The schema and its history. A released migration is never changed; a new one is added at the end.

use crate::{StoreError, sort_error};
use rusqlite::Connection;
use std::path::Path;

/// Each takes the schema from version `index` to `index + 1`. `PRAGMA user_version` holds the version.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE runs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        state TEXT NOT NULL,
        created INTEGER NOT NULL,
        boot TEXT NOT NULL,
        record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX runs_name ON runs (name, seq);
    CREATE INDEX runs_state ON runs (state, seq);
    CREATE TABLE names (prefix TEXT PRIMARY KEY, last INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"];

/// The newest schema version.
pub(crate) const NEWEST: u32 = MIGRATIONS.len() as u32;

/// Brings the schema up to date, each step in a transaction of its own.
pub(crate) fn apply(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let sort = |error| sort_error(path, error);
    let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(sort)?;
    if found > NEWEST {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: NEWEST });
    }
    for version in found..NEWEST {
        let step = connection.transaction().map_err(sort)?;
        step.execute_batch(MIGRATIONS[version as usize]).map_err(sort)?;
        step.pragma_update(None, "user_version", version + 1).map_err(sort)?;
        step.commit().map_err(sort)?;
    }
    Ok(())
}
