//! Reads a metric file piece by piece, from where the last reading stopped.

use crate::format::{BadHeader, Frame, HEADER_LEN, Header, Next, POINT_LEN, decode, frame_len, kind};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// How much is read at once. Small enough to stay in the processor's cache.
const PIECE: usize = 512 * 1024;
/// A frame that is invalid for this long, in a file still being written, is damaged and not just unfinished.
const UNFINISHED: Duration = Duration::from_secs(1);
/// Bytes whose CRC may be computed while looking for the next whole frame, over the length of what is searched; bounds
/// the work that a hostile file can cause.
const SEARCH_WORK: usize = 64 << 20;

/// How far a file has been read.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    header: Option<Header>,
    offset: u64,
    /// Since when the frame at `offset` has been invalid.
    invalid_since: Option<Instant>,
    /// The writer closed the file; nothing follows.
    pub(crate) closed: bool,
    /// A version we do not know.
    pub(crate) unknown_version: bool,
    /// Bytes were skipped while the file was still written.
    pub(crate) skipped_live: bool,
    /// Bytes skipped because they were damaged.
    pub(crate) damaged: u64,
}

/// Whether more may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// The run is live: what is invalid now may be valid in a moment.
    Live,
    /// The run has ended: what is invalid is damaged.
    Gone,
}

impl Tail {
    /// What the header says, once it was read.
    pub(crate) fn header(&self) -> Option<Header> {
        self.header
    }

    /// Reads what is new. `sink` gets each frame and the offset after it.
    pub(crate) fn read(
        &mut self,
        file: &File,
        writer: Writer,
        sink: &mut dyn FnMut(&Self, &Frame<'_>, u64),
    ) -> io::Result<()> {
        if self.closed || self.unknown_version {
            return Ok(());
        }
        if self.offset == 0 && !self.read_header(file, writer)? {
            return Ok(());
        }
        let mut piece = Piece::default();
        loop {
            let start = self.offset;
            piece.fill(file, start)?;
            match self.take_frames(&piece.bytes, sink) {
                Stop::Closed => return Ok(()),
                Stop::Short(needed) if !piece.at_end => piece.want = needed,
                Stop::Short(_) if start + piece.bytes.len() as u64 == self.offset => return Ok(()),
                Stop::Zero if writer == Writer::Live => return Ok(()),
                Stop::Zero | Stop::Invalid | Stop::Short(_) => {
                    if !self.skip_damage(file, writer)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Takes the frames of a piece that starts at `offset`.
    fn take_frames(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&Self, &Frame<'_>, u64)) -> Stop {
        let mut at = 0;
        loop {
            let (frame, len) = match decode(&bytes[at..]) {
                Next::Frame(frame, len) => (frame, len),
                Next::End => return Stop::Zero,
                Next::Short(needed) => return Stop::Short(needed),
                Next::Invalid => return Stop::Invalid,
            };
            at += len;
            self.offset += len as u64;
            self.invalid_since = None;
            if matches!(frame, Frame::Text(text) if text.kind == kind::END) {
                self.closed = true;
                return Stop::Closed;
            }
            sink(self, &frame, self.offset);
        }
    }

    fn read_header(&mut self, file: &File, writer: Writer) -> io::Result<bool> {
        let mut bytes = [0; HEADER_LEN];
        let complete = read_up_to(file, &mut bytes, 0)? == HEADER_LEN;
        match Header::decode(&bytes) {
            Ok((header, first)) if complete => {
                self.header = Some(header);
                self.offset = first;
            }
            Err(BadHeader::Version(_)) => self.unknown_version = true,
            _ if !complete || writer == Writer::Live => return Ok(false),
            _ => {
                // The header was lost and the frames, each with its own CRC, need not be.
                self.offset = HEADER_LEN as u64;
            }
        }
        Ok(!self.unknown_version)
    }

    /// Moves to the next whole frame, when what is at `offset` is known to be damaged; false when there is none.
    fn skip_damage(&mut self, file: &File, writer: Writer) -> io::Result<bool> {
        if writer == Writer::Live {
            let since = *self.invalid_since.get_or_insert_with(Instant::now);
            if since.elapsed() < UNFINISHED {
                return Ok(false);
            }
        }
        match find_frame(file, self.offset + 8)? {
            Some(found) => {
                self.damaged += found - self.offset;
                self.skipped_live |= writer == Writer::Live;
                self.offset = found;
                self.invalid_since = None;
                Ok(true)
            }
            None => {
                self.invalid_since = Some(Instant::now());
                Ok(false)
            }
        }
    }
}

/// Why no further frame of a piece can be taken.
enum Stop {
    /// The writer closed the file.
    Closed,
    /// The next frame is of this many bytes, more than the piece has.
    Short(usize),
    /// Eight zero bytes.
    Zero,
    /// No frame.
    Invalid,
}

/// A part of the file in memory.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    want: usize,
    at_end: bool,
}

impl Piece {
    fn fill(&mut self, file: &File, offset: u64) -> io::Result<()> {
        // The first look is small: most readings of a live run find a few points.
        let usual = if self.bytes.is_empty() { 16 * 1024 } else { PIECE };
        self.bytes.resize(self.want.max(usual), 0);
        self.want = 0;
        let len = read_up_to(file, &mut self.bytes, offset)?;
        self.at_end = len < self.bytes.len();
        self.bytes.truncate(len);
        Ok(())
    }
}

fn read_up_to(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut len = 0;
    while len < bytes.len() {
        match file.read_at(&mut bytes[len..], offset + len as u64) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// The offset of the first whole frame at or after `from`.
fn find_frame(file: &File, from: u64) -> io::Result<Option<u64>> {
    let mut bytes = vec![0; PIECE];
    let mut start = from;
    let mut work = SEARCH_WORK;
    loop {
        let Some(data) = next_data(file, start) else { return Ok(None) };
        start = data;
        let len = read_up_to(file, &mut bytes, start)?;
        let whole = len - len % 8;
        for at in (0..whole).step_by(8) {
            if let Some(found) = frame_at(file, &bytes[at..len], start + at as u64, &mut work)? {
                return Ok(Some(found));
            }
        }
        if len < bytes.len() {
            return Ok(None);
        }
        start += whole as u64;
    }
}

/// The first multiple of 8 from `start` on that is not in a hole of the file; `None` when only a hole follows. A file may
/// be larger than its disk.
fn next_data(file: &File, start: u64) -> Option<u64> {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(start)) {
        Ok(data) => Some(start.max(data - data % 8)),
        Err(rustix::io::Errno::NXIO) => None,
        // File systems without holes.
        Err(_) => Some(start),
    }
}

fn frame_at(file: &File, bytes: &[u8], offset: u64, work: &mut usize) -> io::Result<Option<u64>> {
    let word = u32::from_le_bytes(bytes[4..8].try_into().expect("a piece of at least eight bytes"));
    let Some(len) = frame_len(word) else { return Ok(None) };
    // Once the work for long frames is used up, only points are looked for: their cost is fixed.
    if len > POINT_LEN {
        if *work < len {
            return Ok(None);
        }
        *work -= len;
    }
    let found = if len <= bytes.len() {
        matches!(decode(bytes), Next::Frame(..))
    } else {
        let mut whole = vec![0; len];
        read_up_to(file, &mut whole, offset)? == len && matches!(decode(&whole), Next::Frame(..))
    };
    Ok(found.then_some(offset))
}
