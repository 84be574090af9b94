//! Tests of the store on real files.

use super::*;
use std::fs;
use stoa_core::run::{EndReason, Host, Limits, Network, Program, RunSpec, UnixNanos, Usage};
use stoa_core::units::Bytes;

fn record(number: u64, name: &str, state: RunState) -> RunRecord {
    RunRecord {
        id: RunId::from_random(number),
        name: name.into(),
        spec: RunSpec {
            name: None,
            program: Program::Command { argv: vec!["true".into()] },
            cwd: "/".into(),
            env: vec![],
            named_env: vec![],
            hidden_env: vec![],
            limits: Limits::default(),
            mounts: vec![],
            network: Network::Host,
            retries: 0,
            allow_degraded: false,
            python: None,
            terminal: None,
            stdin: false,
            umask: 0o022,
            repeats: None,
        },
        state,
        end: None,
        exit_code: None,
        created: UnixNanos(number),
        started: None,
        ended: None,
        attempt: 1,
        command: vec!["/bin/true".into()],
        dir: "/x".into(),
        project: None,
        usage: Usage::default(),
        isolation: vec![],
        host: Host::default(),
        code: None,
        environment: None,
        output: Bytes(0),
        output_lost: Bytes(0),
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("stoa.db")).expect("a new store");
    (folder, store)
}

#[test]
fn a_record_is_found_by_id_and_by_name_newest_first() {
    let (_folder, store) = store();
    for (number, state) in [(1, RunState::Succeeded), (2, RunState::Running)] {
        store.insert(&record(number, "train", state), "boot").expect("inserted");
    }
    assert_eq!(store.find("train").unwrap().unwrap().id, RunId::from_random(2));
    assert_eq!(store.find(RunId::from_random(1).as_str()).unwrap().unwrap().state, RunState::Succeeded);
    assert_eq!(store.find("nothing").unwrap(), None);
    assert_eq!(store.list(false, 0).unwrap().len(), 2);
    assert_eq!(store.list(false, 1).unwrap()[0].id, RunId::from_random(2));
    assert_eq!(store.list(true, 0).unwrap().len(), 1);
    assert_eq!(store.live_name("train").unwrap(), Some(RunId::from_random(2)));
}

#[test]
fn an_update_is_there_after_reopening() {
    let (folder, store) = store();
    let mut run = record(1, "a", RunState::Running);
    store.insert(&run, "boot-1").unwrap();
    assert_eq!(store.live().unwrap(), [(run.clone(), "boot-1".to_owned())]);
    run.state = RunState::Failed;
    run.end = Some(EndReason::Exited { code: 3 });
    store.update(&run).unwrap();
    drop(store);
    let store = Store::open(&folder.path().join("stoa.db")).unwrap();
    assert_eq!(store.find("a").unwrap(), Some(run.clone()));
    assert_eq!(store.live().unwrap(), []);
    store.remove(&run.id).unwrap();
    assert_eq!(store.find("a").unwrap(), None);
}

#[test]
fn an_id_is_never_given_twice() {
    let (_folder, store) = store();
    store.insert(&record(1, "a", RunState::Running), "b").unwrap();
    assert!(store.insert(&record(1, "c", RunState::Running), "b").is_err());
}

#[test]
fn made_up_names_count_on_after_a_removal() {
    let (_folder, store) = store();
    assert_eq!((store.next_number("train").unwrap(), store.next_number("train").unwrap()), (1, 2));
    assert_eq!(store.next_number("eval").unwrap(), 1);
}

#[test]
fn a_damaged_file_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stoa.db");
    fs::write(&path, vec![0x5a; 8192]).unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_damaged_page_is_found_at_the_start() {
    let (folder, store) = store();
    for number in 0..200 {
        store.insert(&record(number, "a", RunState::Succeeded), "b").unwrap();
    }
    drop(store);
    let path = folder.path().join("stoa.db");
    let mut bytes = fs::read(&path).unwrap();
    assert!(bytes.len() > 3 * 4096, "the last connection's close moves the log into the file");
    for byte in &mut bytes[4096..3 * 4096] {
        *byte = !*byte;
    }
    fs::write(&path, bytes).unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_newer_schema_is_refused() {
    let (folder, store) = store();
    store.connection.pragma_update(None, "user_version", migrations::NEWEST + 1).unwrap();
    drop(store);
    let again = Store::open(&folder.path().join("stoa.db"));
    assert!(matches!(again, Err(StoreError::Newer { .. })), "{again:?}");
}

#[test]
fn two_daemons_never_share_a_store() {
    let (folder, store) = store();
    store.insert(&record(1, "a", RunState::Running), "b").unwrap();
    assert!(matches!(Store::open(&folder.path().join("stoa.db")), Err(StoreError::Busy(_))));
}

/// A database of each earlier schema version, as SQL, is brought up to date and its records are read.
#[test]
fn every_earlier_schema_upgrades() {
    // One a version, in their order.
    let dumps = [include_str!("../fixtures/schema-1.sql")];
    assert_eq!(dumps.len(), migrations::NEWEST as usize, "a schema without a stored database");
    for (version, dump) in (1..).zip(dumps) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stoa.db");
        Connection::open(&path).unwrap().execute_batch(dump).unwrap();
        let store = Store::open(&path).unwrap_or_else(|error| panic!("schema {version}: {error}"));
        assert_eq!(store.list(false, 0).unwrap().len(), 1, "schema {version}");
        assert_eq!(store.next_number("true").unwrap(), 2, "schema {version}");
    }
}
