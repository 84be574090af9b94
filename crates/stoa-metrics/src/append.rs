//! Appends the service's own points (TensorBoard, system samples) to metric files of a run.

use crate::folder::Folder;
use crate::format::{Frame, HEADER_LEN, Header, encode_name, kind};
use crate::scan::{Tail, Writer};
use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use stoa_core::metric::Origin;

/// Names of one file; a tag beyond is not kept.
pub(crate) const MAX_NAMES: usize = 131_072;

/// A metric file that this process writes.
#[derive(Debug)]
pub(crate) struct Appender {
    file: File,
    end: u64,
    ids: HashMap<(String, String), u32>,
    next_id: u32,
    pending: Vec<u8>,
}

impl Appender {
    /// Opens or makes a file of a run. `keep` sees each frame that is there and says whether the content up to and with
    /// it is complete; what follows the last complete frame is cut off.
    pub(crate) fn open(
        run: &Path,
        name: &CStr,
        origin: Origin,
        keep: &mut dyn FnMut(&Frame<'_>) -> bool,
    ) -> io::Result<Self> {
        let file = Folder::make_metrics_of(run)?.own_file(name)?;
        let (mut ids, mut staged) = (HashMap::new(), Vec::new());
        let (mut tail, mut complete) = (Tail::default(), HEADER_LEN as u64);
        tail.read(&file, Writer::Gone, &mut |_, frame, after| {
            staged.extend(definition(frame));
            if keep(frame) {
                ids.extend(staged.drain(..));
                complete = after;
            }
        })?;
        if tail.header().is_none() {
            file.write_all_at(&Header { origin, pid: std::process::id(), created: now() }.encode(), 0)?;
        }
        file.set_len(complete)?;
        let next_id = ids.values().max().map_or(0, |id| id + 1);
        Ok(Self { file, end: complete, ids, next_id, pending: Vec::new() })
    }

    /// The id of a series, defined when it is new; `None` when there are too many.
    pub(crate) fn id(&mut self, scope: &str, name: &str) -> Option<u32> {
        let key = (scope.to_owned(), name.to_owned());
        if let Some(id) = self.ids.get(&key) {
            return Some(*id);
        }
        if self.ids.len() >= MAX_NAMES {
            return None;
        }
        let id = self.next_id;
        self.next_id += 1;
        encode_name(&mut self.pending, id, now(), scope, name);
        self.ids.insert(key, id);
        Some(id)
    }

    /// Frames to be written with the next [`Appender::write`].
    pub(crate) fn frames(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Writes the frames collected, whole or not at all; after a failure they are kept for the next try.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_all_at(&self.pending, self.end) {
            // Readers would take the part that was written for damage; when even cutting fails, its CRC still tells
            // them.
            let _ = self.file.set_len(self.end);
            return Err(error);
        }
        self.end += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

/// The series that a frame defines: its scope, name and id.
pub(crate) fn definition(frame: &Frame<'_>) -> Option<((String, String), u32)> {
    let Frame::Text(text) = frame else { return None };
    if text.kind != kind::NAME {
        return None;
    }
    let (scope, name) = text.split(text.b);
    let readable = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Some(((readable(scope), readable(name)), text.a))
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Text, encode_point, encode_text};

    fn open(run: &Path) -> (Appender, u32) {
        let mut frames = 0;
        let appender = Appender::open(run, c"a.stm", Origin::TensorBoard, &mut |frame| {
            frames += 1;
            matches!(frame, Frame::Text(text) if text.kind == kind::RESUME)
        });
        (appender.unwrap(), frames)
    }

    fn write(appender: &mut Appender, name: &str, complete: bool) -> u32 {
        let id = appender.id("", name).unwrap();
        encode_point(appender.frames(), id, 1, 1, 1.0);
        if complete {
            encode_text(appender.frames(), &Text { kind: kind::RESUME, time: 1, a: 0, b: 0, bytes: b"{}" });
        }
        appender.write().unwrap();
        id
    }

    #[test]
    fn what_follows_the_last_complete_frame_is_cut_off_and_its_names_are_defined_anew() {
        let run = tempfile::tempdir().unwrap();
        let (mut appender, _) = open(run.path());
        assert_eq!((write(&mut appender, "a", true), write(&mut appender, "a", true)), (0, 0));
        assert_eq!(write(&mut appender, "b", false), 1);
        drop(appender);
        let (mut appender, frames) = open(run.path());
        assert_eq!(frames, 7, "a name and four frames of `a`, a name and a point of `b`");
        assert_eq!((write(&mut appender, "c", true), write(&mut appender, "a", true)), (1, 0));
        drop(appender);
        assert_eq!(open(run.path()).1, 5 + 5);
    }

    #[test]
    fn a_torn_end_is_cut_off() {
        let run = tempfile::tempdir().unwrap();
        let (mut appender, _) = open(run.path());
        write(&mut appender, "a", true);
        appender.file.write_all_at(&[9; 20], appender.end).unwrap();
        drop(appender);
        let (mut appender, _) = open(run.path());
        write(&mut appender, "a", true);
        drop(appender);
        assert_eq!(open(run.path()).1, 3 + 2);
    }
}
