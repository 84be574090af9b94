//! Disks that are full, read-only or damaged, and a clock that goes backwards.

use rusqlite::Connection;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use stoa_testkit::{Cmd, Output, STRANGER, Stoa, is_root, skip, until};
use tempfile::TempDir;

/// A small file system. Its tests need root.
struct Disk {
    folder: TempDir,
    /// What fills it.
    filler: PathBuf,
}

impl Disk {
    /// Of so many MiB; `None`, and the test skipped, where none can be mounted.
    fn mount(mebibytes: u32) -> Option<Self> {
        if !is_root() {
            skip("only root mounts file systems");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("sd").tempdir_in("/var/tmp").expect("a folder");
        let options = format!("size={mebibytes}m,mode=0755");
        if !run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", &folder.path().display().to_string()]) {
            skip("this root may not mount file systems");
            return None;
        }
        let filler = folder.path().join("filler");
        Some(Self { folder, filler })
    }

    /// `STOA_HOME` on it.
    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Leaves so many bytes free, up to a page or two.
    fn fill(&self, leave: u64) {
        let status = rustix::fs::statvfs(self.folder.path()).expect("it is mounted");
        let size = (status.f_bavail * status.f_frsize).saturating_sub(leave);
        let file = fs::File::create(&self.filler).expect("a file");
        let _as_much_as_fits = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size);
        let mut end = file.metadata().expect("its size").len();
        while leave == 0 && file.write_at(&[0; 4096], end).is_ok() {
            end += 4096;
        }
    }

    fn free(&self) {
        fs::remove_file(&self.filler).expect("it was filled");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        assert!(run("umount", &[&self.folder.path().display().to_string()]), "something still uses the file system");
    }
}

fn run(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).status().is_ok_and(|status| status.success())
}

/// A Stoa whose state is on a disk.
struct OnDisk {
    stoa: Stoa,
    disk: Disk,
}

impl OnDisk {
    fn new(mebibytes: u32) -> Option<Self> {
        let disk = Disk::mount(mebibytes)?;
        Some(Self { stoa: Stoa::new(), disk })
    }

    fn stoa(&self, args: &[&str]) -> Cmd {
        self.stoa.stoa(args).env("STOA_HOME", self.disk.home())
    }

    fn record(&self, run: &str) -> Value {
        self.stoa(&["show", "--json", run]).run().ok().json()
    }

    fn daemon_pid(&self) -> u64 {
        self.stoa(&["daemon", "status", "--json"]).run().ok().json()["pid"].as_u64().expect("it runs")
    }

    fn kill_daemon(&self) {
        self.stoa.kill(u32::try_from(self.daemon_pid()).expect("a pid"));
    }

    fn stop(&self) {
        self.stoa(&["daemon", "stop"]).run().ok();
    }
}

#[test]
fn a_disk_that_fills_while_logging_costs_counted_bytes_and_nothing_else() {
    let Some(own) = OnDisk::new(24) else { return };
    own.stoa(&["run", "--", "true"]).run().ok();
    let daemon = own.daemon_pid();
    let printed: u64 = 8 << 20;
    let script =
        format!("echo first; while [ ! -e go ]; do sleep 0.02; done; yes | head -c {printed}; echo last >&2; exit 6");
    let client = own.stoa(&["run", "--name", "chatty", "--", "sh", "-c", &script]).start();
    client.expect_out("first\n");
    own.disk.fill(1 << 20);
    own.stoa.write("go", "");
    let output = client.finish().code(6);
    assert!(output.err().contains("could not be kept"), "the client is told: {}", output.err());
    let check = |record: &Value| {
        let (kept, lost) = (record["output"].as_u64().expect("kept"), record["output_lost"].as_u64().expect("lost"));
        assert_eq!(kept + lost, printed + "first\nlast\n".len() as u64, "{kept} kept, {lost} lost");
        assert!(kept > 500 << 10 && lost > 1 << 20, "{kept} kept, {lost} lost");
        assert_eq!((record["state"].as_str(), record["exit_code"].as_u64()), (Some("failed"), Some(6)));
    };
    check(&own.record("chatty"));
    assert_eq!(own.stoa(&["wait", "chatty"]).run().code, 6);
    assert_eq!(own.daemon_pid(), daemon, "the daemon has survived");
    own.disk.free();
    assert_eq!(own.stoa(&["run", "--", "echo", "again"]).run().ok().out(), "again\n");
    check(&own.record("chatty"));
    own.kill_daemon();
    check(&own.record("chatty"));
    assert!(own.stoa(&["logs", "chatty"]).run().ok().err().contains("could not be kept"));
    own.stop();
}

#[test]
fn a_run_on_a_disk_without_a_free_byte_has_its_true_end_and_keeps_it() {
    let Some(own) = OnDisk::new(24) else { return };
    let script = "while [ ! -e go ]; do sleep 0.02; done; echo lost; exit 5";
    own.stoa(&["run", "--detach", "--name", "pressed", "--", "sh", "-c", script]).run().ok();
    until("it runs", || own.record("pressed")["state"] == "running");
    let waiter = own.stoa(&["wait", "pressed"]).start();
    own.disk.fill(0);
    own.stoa.write("go", "");
    waiter.finish().code(5);
    assert_eq!(own.record("pressed")["exit_code"], 5, "also when asked again");
    assert_eq!(own.stoa(&["ps", "--live", "--json"]).run().ok().json().as_array().map(Vec::len), Some(0));
    own.kill_daemon();
    own.disk.free();
    // Its end lies in a block that was reserved at the start.
    own.stoa(&["wait", "pressed"]).run().code(5);
    assert_eq!(own.record("pressed")["exit_code"], 5);
    own.stop();
}

/// That the disk is full is said, by the database or by the system.
#[track_caller]
fn assert_full(output: &Output) {
    let said = output.err();
    assert!(said.contains("disk is full") || said.contains("No space left"), "{said}");
    assert!(said.contains("hint: "), "{said}");
    assert_ne!(output.code, 0);
}

#[test]
fn a_run_that_a_full_disk_refuses_is_refused_whole() {
    let Some(own) = OnDisk::new(24) else { return };
    own.stoa(&["run", "--name", "before", "--", "true"]).run().ok();
    own.disk.fill(0);
    for _ in 0..3 {
        let refused = own.stoa(&["run", "--name", "refused", "--", "touch", "started"]).run();
        // Accepted or not: the client learns the truth.
        assert_full(&refused.code(75));
    }
    assert!(!own.stoa.project().join("started").exists());
    own.disk.free();
    own.stoa(&["run", "--name", "after", "--", "true"]).run().ok();
    own.kill_daemon();
    own.stoa(&["run", "--name", "later", "--", "true"]).run().ok();
    assert!(!own.stoa.project().join("started").exists(), "it was not started later either");
    let all = own.stoa(&["ps", "--all", "--json"]).run().ok().json();
    for record in all.as_array().expect("runs") {
        assert!(record["end"].is_object(), "{record}");
    }
    let folders = fs::read_dir(own.disk.home().join("runs")).expect("runs").count();
    assert_eq!(folders, all.as_array().map_or(0, Vec::len), "nothing is left of what was refused");
    own.stop();
}

#[test]
fn a_daemon_that_finds_no_space_says_so() {
    let Some(own) = OnDisk::new(4) else { return };
    own.disk.fill(0);
    assert_full(&own.stoa(&["run", "--", "true"]).run());
    own.disk.free();
    own.stoa(&["run", "--", "true"]).run().ok();
    own.stop();
}

#[test]
fn a_home_that_is_read_only_is_named_with_a_way_out() {
    let Some(own) = OnDisk::new(4) else { return };
    let folder = own.disk.folder.path().display().to_string();
    assert!(run("mount", &["-o", "remount,ro", &folder]));
    own.stoa(&["run", "--", "true"]).run().code(69).explains("cannot write", "ead-only file system", "STOA_HOME");
    assert!(run("mount", &["-o", "remount,rw", &folder]));
    own.stoa(&["run", "--", "true"]).run().ok();
    own.stop();
}

#[test]
fn a_home_of_someone_else_is_named_with_a_way_out() {
    if !is_root() {
        return skip("only root makes folders of other users");
    }
    let stoa = Stoa::of(stoa_testkit::User::Stranger);
    fs::create_dir(stoa.state()).expect("a folder of root");
    assert_ne!(stoa.uid(), 0);
    assert_eq!(stoa.uid(), STRANGER);
    stoa.stoa(["run", "--", "true"]).run().code(69).explains("cannot write", "ermission denied", "STOA_HOME");
}

/// The database of a Stoa whose daemon does not run.
fn database(stoa: &Stoa) -> PathBuf {
    stoa.state().join("stoa.db")
}

fn names(stoa: &Stoa) -> Vec<(String, String)> {
    let all = stoa.stoa(["ps", "--all", "--json"]).run().ok().json();
    let text = |record: &Value, field: &str| record[field].as_str().expect("text").to_owned();
    all.as_array().expect("runs").iter().map(|record| (text(record, "name"), text(record, "state"))).collect()
}

fn set_aside(stoa: &Stoa) -> Vec<PathBuf> {
    let entries = fs::read_dir(stoa.state()).expect("the state").flatten().map(|entry| entry.path());
    entries.filter(|path| path.display().to_string().contains(".damaged-")).collect()
}

#[test]
fn a_damaged_store_is_set_aside_and_rebuilt_from_the_run_folders() {
    Stoa::for_each_user(|stoa| {
        for number in 0..40 {
            stoa.stoa(["run", "--", "sh", "-c", &format!("exit {}", number % 2)]).run();
        }
        let live = stoa.detach(&["--name", "live", "--", "sh", "-c", "while [ ! -e go ]; do sleep 0.02; done; exit 8"]);
        until("it runs", || stoa.record(&live)["state"] == "running");
        let before = names(&stoa);
        assert_eq!(before.len(), 41);
        damage(&stoa, |path| {
            // Pages in the middle: what stands at the beginning is whole.
            let file = fs::OpenOptions::new().write(true).open(path).expect("the database");
            let size = file.metadata().expect("its size").len();
            file.write_at(&vec![0xa5; usize::try_from(size / 2).expect("small")], size / 4).expect("damaged");
        });
        assert_eq!(names(&stoa), before);
        assert_eq!(set_aside(&stoa).len(), 1);
        damage(&stoa, |path| {
            fs::write(path, "this is no database at all, and far too long for a header".repeat(99)).expect("written");
        });
        assert_eq!(names(&stoa), before);
        assert_eq!(set_aside(&stoa).len(), 2, "each damaged file is kept");
        damage(&stoa, |path| {
            let size = fs::metadata(path).expect("its size").len();
            fs::OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(size / 2)).expect("cut");
        });
        assert_eq!(names(&stoa), before);
        stoa.write("go", "");
        assert_eq!(stoa.wait(&live)["exit_code"], 8, "the run went on all the while");
        stoa.stoa(["run", "--", "sh", "-c", "true"]).run().ok();
        assert_eq!(names(&stoa)[0].0, "sh-41", "made-up names go on where they were");
    });
}

/// Kills the daemon, lets `change` loose on the database, which then holds everything, and starts a daemon.
fn damage(stoa: &Stoa, change: impl FnOnce(&Path)) {
    if let Some(pid) = stoa.daemon_pid() {
        stoa.kill(pid);
    }
    let path = database(stoa);
    Connection::open(&path)
        .and_then(|database| database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)"))
        .expect("whole");
    change(&path);
    stoa.give(&path);
    stoa.stoa(["daemon", "start"]).run().ok();
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_left_as_it_is() {
    let stoa = Stoa::new();
    stoa.stoa(["run", "--name", "kept", "--", "true"]).run().ok();
    stoa.stoa(["daemon", "stop"]).run().ok();
    let version = |to: u32| {
        Connection::open(database(&stoa)).and_then(|db| db.pragma_update(None, "user_version", to)).expect("changed");
    };
    version(99);
    stoa.stoa(["ps"]).run().code(69).explains("did not start", "newer Stoa", "newer `stoa`");
    assert!(set_aside(&stoa).is_empty());
    version(1);
    assert_eq!(names(&stoa), [("kept".to_owned(), "succeeded".to_owned())]);
}

#[test]
fn records_from_a_clock_that_was_set_back_are_shown_and_sorted() {
    let stoa = Stoa::new();
    stoa.stoa(["run", "--name", "ended", "--", "echo", "x"]).run().ok();
    let live = stoa.detach(&["--name", "live", "--", "sh", "-c", "while [ ! -e go ]; do sleep 0.02; done"]);
    until("it runs", || stoa.record(&live)["state"] == "running");
    stoa.kill(stoa.daemon_pid().expect("it runs"));
    // As if both had begun an hour from now, and the clock was set back before one of them ended.
    const HOUR: u64 = 3_600_000_000_000;
    let database = Connection::open(database(&stoa)).expect("the database");
    for name in ["ended", "live"] {
        let json: String =
            database.query_row("SELECT record FROM runs WHERE name = ?1", [name], |row| row.get(0)).expect("it");
        let mut record: Value = serde_json::from_str(&json).expect("JSON");
        let created = record["created"].as_u64().expect("a moment");
        for field in ["created", "started"] {
            // The start of a run is written a moment after it was told.
            record[field] = (record[field].as_u64().unwrap_or(created) + HOUR).into();
        }
        database
            .execute("UPDATE runs SET record = ?1 WHERE name = ?2", [record.to_string(), name.to_owned()])
            .expect("it");
    }
    drop(database);
    for command in [&["ps"][..], &["show", "ended"], &["show", "live"], &["metrics", "ended"], &["ps", "--json"]] {
        let output = stoa.stoa(command).run().ok();
        assert!(!output.err().contains("panicked"), "{}", output.err());
    }
    stoa.stoa(["run", "--name", "after", "--", "true"]).run().ok();
    stoa.write("go", "");
    assert_eq!(stoa.wait(&live)["state"], "succeeded");
    let order: Vec<String> = names(&stoa).into_iter().map(|(name, _)| name).collect();
    assert_eq!(order, ["after", "live", "ended"], "the order is that of acceptance, not of the clock");
    assert!(!stoa.daemon_log().contains("panic"), "{}", stoa.daemon_log());
}
