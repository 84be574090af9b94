//! Follows TensorBoard event files of a run and turns their scalars into points.

mod discover;
mod event;
mod records;

use crate::append::Appender;
use crate::format::{Frame, Text, encode_point, encode_text, kind};
use discover::{Found, Seen};
use records::Records;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use stoa_core::metric::Origin;
use stoa_core::port::LiveRun;

pub(crate) use discover::process_ids;

/// The file of the run that the points go to.
const FILE: &std::ffi::CStr = c"tensorboard.stm";
/// Time between two walks through the folders of a run, at the least.
const WALK_EVERY: Duration = Duration::from_secs(5);
/// The first walk, after the run has started.
const FIRST_WALK: Duration = Duration::from_millis(1500);
/// A walk may take this part of the time at the most: the next one waits this many times its duration.
const WALK_PAUSE: u32 = 100;
/// Event files of a run that are followed.
const MAX_FILES: usize = 512;

/// A file's device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// The event files of one run.
#[derive(Debug)]
pub(crate) struct Follower {
    run: PathBuf,
    files: HashMap<Identity, EventFile>,
    appender: Option<Appender>,
    /// How far files were read before this process started, with their names.
    positions: HashMap<Identity, (String, u64)>,
    next_walk: Instant,
}

#[derive(Debug)]
struct EventFile {
    records: Records,
    name: String,
    scope: String,
    /// Tags whose values are not scalars, as their first event says.
    other_kinds: HashSet<String>,
    /// One of the run's own processes has it open.
    by_process: bool,
}

impl Follower {
    pub(crate) fn new(run: &Path, now: Instant) -> Self {
        Self {
            run: run.to_owned(),
            files: HashMap::new(),
            appender: None,
            positions: HashMap::new(),
            next_walk: now + FIRST_WALK,
        }
    }

    /// Looks for event files: those that the run's processes have open and, from time to time, in its folders.
    /// `claimed` says which files other runs' processes have open.
    pub(crate) fn discover(&mut self, run: &LiveRun, pids: &[i32], claimed: &HashSet<Identity>, last: bool) {
        let mut seen = Seen::default();
        discover::open_files(pids, &mut seen);
        for found in seen.take() {
            self.follow(found, true);
        }
        let now = Instant::now();
        if !last && now < self.next_walk {
            return;
        }
        discover::walk_folders(run, &mut seen);
        if !last {
            discover::walk_private_tmp(run, &mut seen);
        }
        for found in seen.take() {
            if !claimed.contains(&found.identity) {
                self.follow(found, false);
            }
        }
        self.next_walk = now + WALK_EVERY.max(now.elapsed() * WALK_PAUSE);
    }

    /// The files that processes of this run have open.
    pub(crate) fn claims(&self) -> impl Iterator<Item = Identity> {
        self.files.iter().filter(|(_, file)| file.by_process).map(|(identity, _)| *identity)
    }

    fn follow(&mut self, found: Found, by_process: bool) {
        if let Some(known) = self.files.get_mut(&found.identity) {
            known.by_process |= by_process;
            return;
        }
        if self.files.len() >= MAX_FILES {
            return;
        }
        if self.appender.is_none() && self.open_appender().is_err() {
            return;
        }
        let name = found.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let position = self.positions.get(&found.identity).filter(|(known, _)| *known == name);
        let records = Records::new(found.file, position.map_or(0, |(_, offset)| *offset));
        let scope = found.path.parent().map(|parent| parent.to_string_lossy().into_owned()).unwrap_or_default();
        let file = EventFile { records, name, scope, other_kinds: HashSet::new(), by_process };
        self.files.insert(found.identity, file);
    }

    /// Opens the run's file of points. What an earlier process wrote counts up to its last resume frame.
    fn open_appender(&mut self) -> io::Result<()> {
        let positions = &mut self.positions;
        let appender = Appender::open(&self.run, FILE, Origin::TensorBoard, &mut |frame| {
            let Frame::Text(text) = frame else { return false };
            if text.kind != kind::RESUME {
                return false;
            }
            positions.extend(resume_position(text));
            true
        })?;
        self.appender = Some(appender);
        Ok(())
    }

    /// Reads what the event files have that is new, and writes it as points: at most so many pieces of each.
    pub(crate) fn read(&mut self, pieces: usize) -> io::Result<()> {
        let Some(appender) = &mut self.appender else { return Ok(()) };
        appender.write()?;
        for (identity, file) in &mut self.files {
            for _ in 0..pieces {
                if !file.copy_piece(*identity, appender)? {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl EventFile {
    /// Copies the scalars of the next piece of the file; answers whether there was one.
    fn copy_piece(&mut self, identity: Identity, appender: &mut Appender) -> io::Result<bool> {
        let (scope, other_kinds, mut lost) = (&self.scope, &mut self.other_kinds, 0);
        let moved = self.records.read_piece(&mut |data| {
            let event = event::parse(data);
            other_kinds.extend(event.other_kinds);
            let time = (event.wall_time.max(0.0) * 1e9) as u64;
            for scalar in event.scalars.iter().filter(|scalar| !other_kinds.contains(&scalar.tag)) {
                match appender.id(scope, &scalar.tag) {
                    Some(id) => encode_point(appender.frames(), id, time, event.step, scalar.value),
                    None => lost += 1,
                }
            }
        })?;
        if !moved {
            return Ok(false);
        }
        let time = crate::append::now();
        if lost > 0 {
            encode_text(appender.frames(), &Text { kind: kind::LOST, time, a: lost, b: 0, bytes: &[] });
        }
        let Identity { device, inode } = identity;
        let offset = self.records.position();
        let json = serde_json::json!({ "device": device, "inode": inode, "offset": offset }).to_string();
        let bytes = [self.name.as_bytes(), json.as_bytes()].concat();
        let resume = Text { kind: kind::RESUME, time, a: self.name.len() as u32, b: 0, bytes: &bytes };
        encode_text(appender.frames(), &resume);
        appender.write()?;
        Ok(true)
    }
}

fn resume_position(text: &Text<'_>) -> Option<(Identity, (String, u64))> {
    let (name, json) = text.split(text.a);
    let json: serde_json::Value = serde_json::from_slice(json).ok()?;
    let number = |key: &str| json[key].as_u64();
    let identity = Identity { device: number("device")?, inode: number("inode")? };
    Some((identity, (String::from_utf8_lossy(name).into_owned(), number("offset")?)))
}
