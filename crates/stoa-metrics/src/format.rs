//! The metric file format `.stm`, version 1: encoding and decoding of headers and frames. No input or output.
//!
//! A public, stable format. All numbers are little-endian. A file belongs to one writer process; others only read.
//!
//! # Header, 64 bytes
//!
//! | at | type | what |
//! |---|---|---|
//! | 0 | 8 bytes | `89 53 54 4d 0d 0a 1a 0a` (`\x89STM\r\n\x1a\n`) |
//! | 8 | u32 | version, 1 |
//! | 12 | u32 | where the first frame starts, a multiple of 8; 64 in version 1 |
//! | 16 | u32 | origin: 0 script, 1 TensorBoard, 2 system |
//! | 20 | u32 | process id of the writer, in its own PID namespace |
//! | 24 | u64 | when it was made, nanoseconds since 1970 |
//! | 32 | 28 bytes | zero |
//! | 60 | u32 | CRC-32 (IEEE, as in zlib) of bytes 0 to 59 |
//!
//! # Frames
//!
//! Frames follow each other; each starts at a multiple of 8. A frame starts with
//!
//! | at | type | what |
//! |---|---|---|
//! | 0 | u32 | CRC-32 of all bytes of the frame after this field, padding included |
//! | 4 | u32 | kind in the low 8 bits, a number `n` in the high 24 bits |
//! | 8 | u64 | time, nanoseconds since 1970 |
//!
//! | kind | what | after the time | length |
//! |---|---|---|---|
//! | 1 | point of series `n` | step i64, value f64 | 32 |
//! | 2 | `n` points (1 to 65,535) | step i64, `n` values f64, `n` series u32, padding | 24 + 12n, rounded up to 8 |
//! | 3 | name of a series | id u32, length of the scope u32, `n` bytes: scope, then name | as every other kind |
//! | 4 | summary value | length of the key u32, 0 u32, `n` bytes: key, then JSON text | |
//! | 5 | artifact | length of the name u32, 0 u32, `n` bytes: name, then JSON `{"path", "size", "sha256"}` | |
//! | 6 | resume | length of the name u32, 0 u32, `n` bytes: event file's name, then JSON (device, inode, offset) | |
//! | 7 | lost | count of points lost u32, 0 u32 | |
//! | 8 | end: the writer closed the file | 0 u32, 0 u32 | |
//! | other | skipped by readers that do not know it | a u32, b u32, `n` bytes | 24 + n, rounded up to 8 |
//!
//! Padding is zero. Texts are UTF-8. A series' scope is the folder of an event file, empty otherwise. Names are defined
//! before they are used; a point whose name was damaged is still a point, of a series named after its id.
//!
//! # Writing and reading
//!
//! The file is allocated ahead in chunks of zeros and written through a shared memory map, so the kernel keeps what a
//! killed process wrote. Eight zero bytes where a frame should start mean "end so far". A frame whose CRC does not
//! match is either being written this moment or damaged: a reader tries it again later, and if frames that are whole
//! follow (they start at multiples of 8), it goes on with those. On a clean close the file is cut to its content.

use stoa_core::metric::Origin;

/// The first bytes of every file.
pub const MAGIC: [u8; 8] = *b"\x89STM\r\n\x1a\n";
/// The version this crate writes, and the only one it reads.
pub const VERSION: u32 = 1;
/// The length of the header in bytes.
pub const HEADER_LEN: usize = 64;
/// The bytes before the text of a text frame, or before the values of a batch.
const FIXED: usize = 24;
/// A point frame, in bytes.
pub(crate) const POINT_LEN: usize = 32;
/// The most points of a batch frame.
const MAX_BATCH: usize = 65_535;

/// Kinds of frames, by their number in the file.
pub(crate) mod kind {
    pub(crate) const POINT: u8 = 1;
    pub(crate) const POINTS: u8 = 2;
    pub(crate) const NAME: u8 = 3;
    pub(crate) const SUMMARY: u8 = 4;
    pub(crate) const ARTIFACT: u8 = 5;
    pub(crate) const RESUME: u8 = 6;
    pub(crate) const LOST: u8 = 7;
    pub(crate) const END: u8 = 8;
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Who wrote the points.
    pub origin: Origin,
    /// The writer's process id, in its own PID namespace.
    pub pid: u32,
    /// When the file was made, in nanoseconds since 1970.
    pub created: u64,
}

/// Why a header cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadHeader {
    /// All zero: the writer has made the file and not yet the header.
    Zero,
    /// A version this crate does not know.
    Version(u32),
    /// Not a header, or a damaged one.
    Damaged,
}

impl Header {
    /// The header as bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(HEADER_LEN as u32).to_le_bytes());
        bytes[16..20].copy_from_slice(&(self.origin as u32).to_le_bytes());
        bytes[20..24].copy_from_slice(&self.pid.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.created.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header, and where the first frame starts.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<(Self, u64), BadHeader> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(BadHeader::Zero);
        }
        if bytes[..8] != MAGIC || u32_at(bytes, 60) != crc32fast::hash(&bytes[..60]) {
            return Err(BadHeader::Damaged);
        }
        if u32_at(bytes, 8) != VERSION {
            return Err(BadHeader::Version(u32_at(bytes, 8)));
        }
        let first = u64::from(u32_at(bytes, 12));
        if first < HEADER_LEN as u64 || !first.is_multiple_of(8) {
            return Err(BadHeader::Damaged);
        }
        let origin = match u32_at(bytes, 16) {
            1 => Origin::TensorBoard,
            2 => Origin::System,
            _ => Origin::Script,
        };
        Ok((Self { origin, pid: u32_at(bytes, 20), created: u64_at(bytes, 24) }, first))
    }
}

/// One decoded frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Frame<'a> {
    /// One point.
    Point {
        /// Series id, local to the file.
        id: u32,
        /// Nanoseconds since 1970.
        time: u64,
        /// Training step.
        step: i64,
        /// Value.
        value: f64,
    },
    /// Several points of one step.
    Points(Batch<'a>),
    /// Any other frame.
    Text(Text<'a>),
}

/// Several points of one step and time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Batch<'a> {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Training step.
    pub step: i64,
    values: &'a [u8],
    ids: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The points: series id and value.
    pub fn iter(&self) -> impl Iterator<Item = (u32, f64)> + use<'a> {
        let values = self.values.chunks_exact(8).map(|bytes| f64::from_bits(u64_at(bytes, 0)));
        self.ids.chunks_exact(4).map(|bytes| u32_at(bytes, 0)).zip(values)
    }
}

/// A frame with text: a name, a summary value, an artifact, ...
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    /// The kind's number.
    pub kind: u8,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// The first number; what it means depends on the kind.
    pub a: u32,
    /// The second number.
    pub b: u32,
    /// The text.
    pub bytes: &'a [u8],
}

impl<'a> Text<'a> {
    /// The text split at byte `at` (or at its end, when it is shorter).
    pub(crate) fn split(&self, at: u32) -> (&'a [u8], &'a [u8]) {
        self.bytes.split_at((at as usize).min(self.bytes.len()))
    }
}

/// What lies where a frame should start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Next<'a> {
    /// A whole frame, and its length in bytes.
    Frame(Frame<'a>, usize),
    /// Zeros: the end so far.
    End,
    /// A frame of this many bytes seems to start here, and the slice is shorter.
    Short(usize),
    /// Something else.
    Invalid,
}

/// Decodes what starts at the beginning of `bytes`.
#[inline]
pub fn decode(bytes: &[u8]) -> Next<'_> {
    let Some(start) = bytes.first_chunk::<8>() else { return Next::Short(8) };
    let word = u32_at(start, 4);
    if word as u8 == kind::POINT {
        let Some(frame) = bytes.first_chunk::<POINT_LEN>() else { return Next::Short(POINT_LEN) };
        if crc32fast::hash(&frame[4..]) != u32_at(frame, 0) {
            return Next::Invalid;
        }
        let point = Frame::Point {
            id: word >> 8,
            time: u64_at(frame, 8),
            step: u64_at(frame, 16) as i64,
            value: f64::from_bits(u64_at(frame, 24)),
        };
        return Next::Frame(point, POINT_LEN);
    }
    decode_long(bytes, word)
}

fn decode_long(bytes: &[u8], word: u32) -> Next<'_> {
    if word == 0 {
        return if u32_at(bytes, 0) == 0 { Next::End } else { Next::Invalid };
    }
    let Some(len) = frame_len(word) else { return Next::Invalid };
    let Some(frame) = bytes.get(..len) else { return Next::Short(len) };
    if crc32fast::hash(&frame[4..]) != u32_at(frame, 0) {
        return Next::Invalid;
    }
    let n = (word >> 8) as usize;
    let decoded = if word as u8 == kind::POINTS {
        let (values, ids) = frame[FIXED..].split_at(8 * n);
        Frame::Points(Batch { time: u64_at(frame, 8), step: u64_at(frame, 16) as i64, values, ids: &ids[..4 * n] })
    } else {
        Frame::Text(Text {
            kind: word as u8,
            time: u64_at(frame, 8),
            a: u32_at(frame, 16),
            b: u32_at(frame, 20),
            bytes: &frame[FIXED..FIXED + n],
        })
    };
    Next::Frame(decoded, len)
}

/// The length of a frame in bytes, from its second word; `None` when no frame has such a word.
pub(crate) fn frame_len(word: u32) -> Option<usize> {
    let n = (word >> 8) as usize;
    match word as u8 {
        0 => None,
        kind::POINT => Some(POINT_LEN),
        kind::POINTS if (1..=MAX_BATCH).contains(&n) => Some((FIXED + 12 * n).next_multiple_of(8)),
        kind::POINTS => None,
        _ => Some((FIXED + n).next_multiple_of(8)),
    }
}

/// Appends a point frame. Ids have 24 bits.
pub fn encode_point(out: &mut Vec<u8>, id: u32, time: u64, step: i64, value: f64) {
    let start = begin(out, kind::POINT, id as usize, time);
    out.extend_from_slice(&step.to_le_bytes());
    out.extend_from_slice(&value.to_le_bytes());
    finish(out, start);
}

/// Appends a frame of several points of one step; more than 65,535 points become several frames.
pub fn encode_points(out: &mut Vec<u8>, time: u64, step: i64, points: &[(u32, f64)]) {
    for part in points.chunks(MAX_BATCH) {
        let start = begin(out, kind::POINTS, part.len(), time);
        out.extend_from_slice(&step.to_le_bytes());
        for (_, value) in part {
            out.extend_from_slice(&value.to_le_bytes());
        }
        for (id, _) in part {
            out.extend_from_slice(&id.to_le_bytes());
        }
        finish(out, start);
    }
}

/// Appends a text frame. A text above 16 MiB less one byte is cut there.
pub fn encode_text(out: &mut Vec<u8>, text: &Text<'_>) {
    let bytes = &text.bytes[..text.bytes.len().min(0xff_ffff)];
    let start = begin(out, text.kind, bytes.len(), text.time);
    out.extend_from_slice(&text.a.to_le_bytes());
    out.extend_from_slice(&text.b.to_le_bytes());
    out.extend_from_slice(bytes);
    finish(out, start);
}

/// Appends the definition of a series.
pub fn encode_name(out: &mut Vec<u8>, id: u32, time: u64, scope: &str, name: &str) {
    let bytes = [scope.as_bytes(), name.as_bytes()].concat();
    encode_text(out, &Text { kind: kind::NAME, time, a: id, b: scope.len() as u32, bytes: &bytes });
}

fn begin(out: &mut Vec<u8>, kind: u8, n: usize, time: u64) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(u32::from(kind) | (n as u32) << 8).to_le_bytes());
    out.extend_from_slice(&time.to_le_bytes());
    start
}

fn finish(out: &mut Vec<u8>, start: usize) {
    let len = (out.len() - start).next_multiple_of(8);
    out.resize(start + len, 0);
    let crc = crc32fast::hash(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_reads_back_and_a_damaged_one_is_refused() {
        let header = Header { origin: Origin::System, pid: 7, created: 123 };
        let mut bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Ok((header, 64)));
        bytes[20] ^= 1;
        assert_eq!(Header::decode(&bytes), Err(BadHeader::Damaged));
        assert_eq!(Header::decode(&[0; 64]), Err(BadHeader::Zero));
    }

    #[test]
    fn a_header_of_a_later_version_is_named() {
        let mut bytes = Header { origin: Origin::Script, pid: 1, created: 1 }.encode();
        bytes[8] = 2;
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::decode(&bytes), Err(BadHeader::Version(2)));
    }

    proptest! {
        #[test]
        fn every_batch_reads_back(
            time: u64, step: i64, points in proptest::collection::vec((0u32..1 << 24, any::<f64>()), 1..50),
        ) {
            let mut bytes = Vec::new();
            encode_points(&mut bytes, time, step, &points);
            let Next::Frame(Frame::Points(batch), len) = decode(&bytes) else { panic!("{:?}", decode(&bytes)) };
            prop_assert_eq!((len, batch.time, batch.step), (bytes.len(), time, step));
            let read: Vec<_> = batch.iter().map(|(id, value)| (id, value.to_bits())).collect();
            prop_assert_eq!(read, points.iter().map(|(id, value)| (*id, value.to_bits())).collect::<Vec<_>>());
        }

        #[test]
        fn every_flipped_bit_is_noticed(value: f64, bit in 0usize..32 * 8) {
            let mut bytes = Vec::new();
            encode_point(&mut bytes, 9, 1, 2, value);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!matches!(decode(&bytes), Next::Frame(..)));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn every_name_reads_back(scope in ".{0,20}", name in ".{0,20}") {
            let mut bytes = Vec::new();
            encode_name(&mut bytes, 5, 1, &scope, &name);
            let Next::Frame(Frame::Text(text), len) = decode(&bytes) else { panic!() };
            prop_assert_eq!((text.split(text.b), len % 8), ((scope.as_bytes(), name.as_bytes()), 0));
        }
    }
}
