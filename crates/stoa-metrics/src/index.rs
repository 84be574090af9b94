//! What is known of one run: its series in bounded memory, its summary values and artifacts.

use crate::append::definition;
use crate::folder::Folder;
use crate::format::{Frame, Text, kind};
use crate::scan::{Tail, Writer};
use crate::sketch::{Sketch, downsample};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};
use stoa_core::metric::{Origin, Point, Series, SeriesQuery, SeriesSummary};

/// Points of all series of a run kept in memory: about 12 MB.
const RUN_BUDGET: usize = 512 * 1024;
/// Points of one series kept in memory, whatever the number of series.
const SERIES_CAP: std::ops::RangeInclusive<usize> = 16..=8192;
/// Points of one series that a single question may ask for.
const MOST_POINTS: usize = 4 << 20;
/// Series of a run; points of a series beyond are counted as lost.
pub(crate) const MAX_SERIES: usize = 131_072;
/// Ids of a file; writers count from 0, so a larger one is damage or mischief.
const MAX_ID: u32 = 1 << 20;
/// The longest name of a series in bytes.
const MAX_NAME: usize = 1024;
/// Summary values and artifacts of a run.
const MAX_FACTS: usize = 65_536;
const UNDEFINED: u32 = u32::MAX;
const REFUSED: u32 = u32::MAX - 1;

/// A file that the script keeps with its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its name below `artifacts/` in the run's folder.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
    /// When it was kept, in nanoseconds since 1970.
    pub time: u64,
}

/// What a run said besides its series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// `stoa.summary`: key and JSON text.
    pub summary: BTreeMap<String, String>,
    /// `stoa.artifact`, by name.
    pub artifacts: BTreeMap<String, Artifact>,
    /// Points that could not be kept: disk full, too many series.
    pub lost: u64,
    /// Bytes of metric files that are damaged and were passed over.
    pub damaged: u64,
    /// Metric files of a later version of Stoa, which are not shown.
    pub unreadable_files: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    name: String,
    scope: String,
    origin: Origin,
}

/// The memory of one run.
#[derive(Debug)]
pub(crate) struct Index {
    files: BTreeMap<CString, KnownFile>,
    store: Store,
}

#[derive(Debug, Default)]
struct KnownFile {
    tail: Tail,
    ids: Vec<u32>,
}

#[derive(Debug)]
struct Store {
    keys: HashMap<Key, u32>,
    series: Vec<(Key, Sketch)>,
    /// The most points of a series in memory; fixed when `only` is set.
    cap: usize,
    only: Option<HashSet<Key>>,
    summary: BTreeMap<String, (u64, String)>,
    artifacts: BTreeMap<String, Artifact>,
    lost: u64,
    /// Frames taken so far.
    taken: u64,
}

impl Default for Index {
    fn default() -> Self {
        Self::new(*SERIES_CAP.end(), None)
    }
}

impl Index {
    fn new(cap: usize, only: Option<HashSet<Key>>) -> Self {
        let store = Store {
            keys: HashMap::new(),
            series: Vec::new(),
            cap,
            only,
            summary: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            lost: 0,
            taken: 0,
        };
        Self { files: BTreeMap::new(), store }
    }

    /// Reads what is new; answers whether anything was.
    pub(crate) fn catch_up(&mut self, run: &Path, writer: Writer) -> io::Result<bool> {
        if writer == Writer::Gone && self.files.values().any(|file| file.tail.skipped_live) {
            // A frame that looked damaged may have been written late, by a process that was stopped in the middle.
            *self = Self::new(self.store.cap, self.store.only.take());
        }
        let Some(folder) = Folder::metrics_of(run)? else { return Ok(false) };
        let mut names: Vec<CString> = folder
            .entries()?
            .filter(|entry| entry.file && entry.name.as_bytes().ends_with(b".stm"))
            .map(|entry| entry.name)
            .collect();
        names.sort_unstable();
        let before = self.store.taken;
        let mut failed = None;
        for name in names {
            let file = self.files.entry(name.clone()).or_default();
            if file.tail.closed || file.tail.unknown_version {
                continue;
            }
            if let Err(error) = read_file(&folder, &name, file, writer, &mut self.store) {
                failed = Some(error);
            }
        }
        match failed {
            Some(error) if self.store.taken == before => Err(error),
            _ => Ok(self.store.taken != before),
        }
    }

    /// About how many points it holds in memory.
    pub(crate) fn weight(&self) -> usize {
        self.store.series.iter().map(|(_, sketch)| sketch.weight() + 8).sum()
    }

    /// Answers a question from what was read.
    pub(crate) fn series(&self, query: &SeriesQuery) -> Vec<Series> {
        let mut found: Vec<Series> = self
            .shown()
            .filter(|(name, ..)| wanted(name, query))
            .map(|(name, key, sketch)| {
                let mut points = Vec::new();
                if query.max_points > 0 {
                    sketch.kept(&mut points);
                    points.sort_by_key(|point| (point.step, point.time));
                    points = downsample(&points, query.max_points);
                }
                Series { summary: summary(name, key, sketch), points }
            })
            .collect();
        found.sort_by(|a, b| (&a.summary.name, a.summary.origin).cmp(&(&b.summary.name, b.summary.origin)));
        found
    }

    /// Whether the files hold more of what was asked than memory does: then an index for just this question.
    pub(crate) fn deeper(&self, query: &SeriesQuery) -> Option<Self> {
        if query.max_points <= self.store.cap {
            return None;
        }
        let only: HashSet<Key> = self
            .shown()
            .filter(|(name, _, sketch)| wanted(name, query) && !sketch.is_exact())
            .map(|(_, key, _)| key.clone())
            .collect();
        (!only.is_empty()).then(|| Self::new(query.max_points.min(MOST_POINTS), Some(only)))
    }

    /// Replaces the points of `answer` by those of a deeper index.
    pub(crate) fn deepen(&self, deep: &Self, query: &SeriesQuery, answer: &mut [Series]) {
        let names: HashMap<&Key, String> = self.shown().map(|(name, key, _)| (key, name)).collect();
        for (key, sketch) in &deep.store.series {
            let Some(name) = names.get(key) else { continue };
            let shown =
                answer.iter_mut().find(|series| series.summary.name == *name && series.summary.origin == key.origin);
            if let Some(shown) = shown {
                let mut points = Vec::new();
                sketch.kept(&mut points);
                points.sort_by_key(|point| (point.step, point.time));
                *shown = Series {
                    summary: summary(name.clone(), key, sketch),
                    points: downsample(&points, query.max_points),
                };
            }
        }
    }

    pub(crate) fn facts(&self) -> Facts {
        Facts {
            summary: self.store.summary.iter().map(|(key, (_, json))| (key.clone(), json.clone())).collect(),
            artifacts: self.store.artifacts.clone(),
            lost: self.store.lost,
            damaged: self.files.values().map(|file| file.tail.damaged).sum(),
            unreadable_files: self.files.values().filter(|file| file.tail.unknown_version).count() as u64,
        }
    }

    /// Each series with the name it is shown by.
    fn shown(&self) -> impl Iterator<Item = (String, &Key, &Sketch)> {
        let names = Scopes::of(self.store.series.iter().map(|(key, _)| key));
        let filled = self.store.series.iter().filter(|(_, sketch)| sketch.count > 0);
        filled.map(move |(key, sketch)| (names.shown(key), key, sketch))
    }
}

fn read_file(
    folder: &Folder,
    name: &CString,
    known: &mut KnownFile,
    writer: Writer,
    store: &mut Store,
) -> io::Result<()> {
    let file = folder.file(name)?;
    let ids = &mut known.ids;
    known.tail.read(&file, writer, &mut |tail, frame, _| {
        let origin = tail.header().map_or(Origin::Script, |header| header.origin);
        store.take(frame, ids, origin, name);
    })
}

fn summary(name: String, key: &Key, sketch: &Sketch) -> SeriesSummary {
    SeriesSummary {
        name,
        origin: key.origin,
        count: sketch.count,
        non_finite: sketch.non_finite,
        min: sketch.min,
        max: sketch.max,
        last: sketch.last,
    }
}

fn wanted(name: &str, query: &SeriesQuery) -> bool {
    let matches = |asked: &String| name == asked || asked.ends_with('/') && name.starts_with(asked);
    query.names.is_empty() || query.names.iter().any(matches)
}

impl Store {
    #[inline]
    fn take(&mut self, frame: &Frame<'_>, ids: &mut Vec<u32>, origin: Origin, file: &CString) {
        self.taken += 1;
        match frame {
            Frame::Point { id, time, step, value } => {
                let point = Point { step: *step, time: *time, value: *value };
                self.point(*id, point, ids, origin, file);
            }
            Frame::Points(batch) => {
                for (id, value) in batch.iter() {
                    self.point(id, Point { step: batch.step, time: batch.time, value }, ids, origin, file);
                }
            }
            Frame::Text(text) => self.text(frame, text, ids, origin),
        }
    }

    #[inline]
    fn point(&mut self, id: u32, point: Point, ids: &mut Vec<u32>, origin: Origin, file: &CString) {
        let index = match ids.get(id as usize) {
            Some(&index) if index < REFUSED => index,
            Some(&REFUSED) => return self.refuse(),
            _ => {
                // The definition was damaged; the points are shown by their id.
                let stem = file.to_string_lossy();
                let name = format!("unnamed/{}/{id}", stem.trim_end_matches(".stm"));
                self.define(id, String::new(), name, ids, origin);
                match ids.get(id as usize) {
                    Some(&index) if index < REFUSED => index,
                    _ => return self.refuse(),
                }
            }
        };
        let cap = self.cap;
        self.series[index as usize].1.push(point, cap);
    }

    fn refuse(&mut self) {
        if self.only.is_none() {
            self.lost += 1;
        }
    }

    fn define(&mut self, id: u32, scope: String, name: String, ids: &mut Vec<u32>, origin: Origin) {
        if id > MAX_ID {
            return;
        }
        if ids.len() <= id as usize {
            ids.resize(id as usize + 1, UNDEFINED);
        }
        let key = Key { name, scope, origin };
        ids[id as usize] = match self.keys.get(&key) {
            Some(index) => *index,
            None if self.only.as_ref().is_some_and(|only| !only.contains(&key)) => REFUSED,
            None if self.series.len() >= MAX_SERIES => REFUSED,
            None => self.add_series(key),
        };
    }

    fn add_series(&mut self, key: Key) -> u32 {
        let index = self.series.len() as u32;
        self.keys.insert(key.clone(), index);
        self.series.push((key, Sketch::default()));
        if self.only.is_none() && self.series.len().is_power_of_two() {
            self.cap = (RUN_BUDGET / self.series.len()).clamp(*SERIES_CAP.start(), *SERIES_CAP.end());
            for (_, sketch) in &mut self.series {
                sketch.shrink(self.cap);
            }
        }
        index
    }

    fn text(&mut self, frame: &Frame<'_>, text: &Text<'_>, ids: &mut Vec<u32>, origin: Origin) {
        match text.kind {
            kind::NAME => {
                if let Some(((scope, mut name), id)) = definition(frame) {
                    name.truncate(name.floor_char_boundary(MAX_NAME));
                    self.define(id, scope, name, ids, origin);
                }
            }
            kind::SUMMARY => {
                let (key, json) = text.split(text.a);
                let key = String::from_utf8_lossy(key).into_owned();
                let known = self.summary.get(&key);
                let newer = known.is_none_or(|(time, _)| *time <= text.time);
                if newer && (known.is_some() || self.summary.len() < MAX_FACTS) {
                    self.summary.insert(key, (text.time, String::from_utf8_lossy(json).into_owned()));
                }
            }
            kind::ARTIFACT => self.artifact(text),
            kind::LOST => self.lost += u64::from(text.a),
            _ => {}
        }
    }

    fn artifact(&mut self, text: &Text<'_>) {
        let (name, json) = text.split(text.a);
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(json) else { return };
        let name = String::from_utf8_lossy(name).into_owned();
        if !self.artifacts.contains_key(&name) && self.artifacts.len() >= MAX_FACTS {
            return;
        }
        let artifact = Artifact {
            name: name.clone(),
            size: json["size"].as_u64().unwrap_or(0),
            sha256: json["sha256"].as_str().unwrap_or_default().to_owned(),
            time: text.time,
        };
        self.artifacts.insert(name, artifact);
    }
}

/// How series of the same name from several folders of event files are told apart.
struct Scopes {
    common: PathBuf,
    /// Tags that occur in more than one folder.
    shared: HashSet<String>,
}

impl Scopes {
    fn of<'a>(keys: impl Iterator<Item = &'a Key>) -> Self {
        let mut common: Option<PathBuf> = None;
        let mut first: HashMap<&str, &str> = HashMap::new();
        let mut shared = HashSet::new();
        for key in keys.filter(|key| !key.scope.is_empty()) {
            let scope = Path::new(&key.scope);
            common = Some(match common {
                None => scope.to_owned(),
                Some(known) => known.ancestors().find(|parent| scope.starts_with(parent)).unwrap_or(scope).to_owned(),
            });
            if *first.entry(&key.name).or_insert(&key.scope) != key.scope {
                shared.insert(key.name.clone());
            }
        }
        Self { common: common.unwrap_or_default(), shared }
    }

    fn shown(&self, key: &Key) -> String {
        if key.scope.is_empty() || !self.shared.contains(&key.name) {
            return key.name.clone();
        }
        let scope = Path::new(&key.scope);
        match scope.strip_prefix(&self.common).unwrap_or(scope).to_str() {
            None | Some("") => key.name.clone(),
            Some(relative) => format!("{relative}/{}", key.name),
        }
    }
}
