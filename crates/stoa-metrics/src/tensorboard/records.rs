//! Reads the record framing of event files (TFRecord): length, masked CRC-32C of it, data, masked CRC-32C of the data.
//!
//! Source: `tensorflow/core/lib/io/record_writer.h` ("Format of a single record").

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes read at once.
const PIECE: usize = 256 * 1024;
/// A record longer than this holds an image, a graph or the like, and is passed over unread.
const LONGEST: u64 = 16 << 20;
/// A length beyond this is damage, even when its checksum fits by chance.
const ABSURD: u64 = 1 << 40;
const HEADER: usize = 12;
const FOOTER: usize = 4;
const TABLE: [[u32; 256]; 8] = tables();

/// An event file and how far it was read.
#[derive(Debug)]
pub(crate) struct Records {
    file: File,
    position: u64,
    damaged: bool,
}

impl Records {
    /// Reads a file from a position on where a record starts.
    pub(crate) fn new(file: File, position: u64) -> Self {
        Self { file, position, damaged: false }
    }

    /// Where the next record starts.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Hands the whole records of the next piece of the file to `sink`. Answers whether the position moved; it does not
    /// when the rest of the file is missing, unfinished or damaged. As in TensorBoard, nothing after a damaged record
    /// is read.
    pub(crate) fn read_piece(&mut self, sink: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        if self.damaged {
            return Ok(false);
        }
        let start = self.position;
        let bytes = self.bytes_at(start, PIECE)?;
        let mut rest = &bytes[..];
        while let Some(length) = self.length(rest) {
            let whole = HEADER as u64 + length + FOOTER as u64;
            if length > LONGEST {
                self.pass_over(whole)?;
                break;
            }
            let Some(record) = rest.get(..whole as usize) else {
                // Longer than the piece: read just this record, when it is the first.
                if self.position == start {
                    let record = self.bytes_at(start, whole as usize)?;
                    self.take(&record, whole, sink);
                }
                break;
            };
            if !self.take(record, whole, sink) {
                break;
            }
            rest = &rest[whole as usize..];
        }
        Ok(self.position != start)
    }

    /// The length of the record that starts here; `None` when its header is unfinished or damaged.
    fn length(&mut self, bytes: &[u8]) -> Option<u64> {
        let header = bytes.first_chunk::<HEADER>()?;
        let length = u64::from_le_bytes(header[..8].try_into().expect("eight bytes"));
        let crc = u32::from_le_bytes(header[8..].try_into().expect("four bytes"));
        if header.iter().all(|byte| *byte == 0) {
            return None;
        }
        if masked(crc32c(&header[..8])) != crc || length > ABSURD {
            self.damaged = true;
            return None;
        }
        Some(length)
    }

    fn take(&mut self, record: &[u8], whole: u64, sink: &mut dyn FnMut(&[u8])) -> bool {
        if (record.len() as u64) < whole {
            return false;
        }
        let (data, crc) = record[HEADER..].split_at(record.len() - HEADER - FOOTER);
        if masked(crc32c(data)) != u32::from_le_bytes(crc.try_into().expect("four bytes")) {
            // Perhaps only unfinished: the next reading tries it again.
            return false;
        }
        sink(data);
        self.position += whole;
        true
    }

    fn pass_over(&mut self, whole: u64) -> io::Result<()> {
        if self.file.metadata()?.len() >= self.position + whole {
            self.position += whole;
        }
        Ok(())
    }

    fn bytes_at(&self, start: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match self.file.read_at(&mut bytes[filled..], start + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }
}

/// The checksum as event files store it.
pub(crate) fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), eight bytes at a time ("slicing-by-8", Kounavis and Berry, 2005).
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    let mut eights = bytes.chunks_exact(8);
    for eight in &mut eights {
        let word = u64::from_le_bytes(eight.try_into().expect("eight bytes")) ^ u64::from(crc);
        crc = (0..8).fold(0, |sum, at| sum ^ TABLE[7 - at][(word >> (8 * at)) as usize & 255]);
    }
    for byte in eights.remainder() {
        crc = crc >> 8 ^ TABLE[0][((crc ^ u32::from(*byte)) & 255) as usize];
    }
    !crc
}

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = before >> 8 ^ tables[0][(before & 255) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// A record as it stands in an event file.
#[cfg(test)]
pub(crate) fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut bytes = length.to_vec();
    bytes.extend_from_slice(&masked(crc32c(&length)).to_le_bytes());
    bytes.extend_from_slice(data);
    bytes.extend_from_slice(&masked(crc32c(data)).to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn all(records: &mut Records) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        while records.read_piece(&mut |data| found.push(data.to_vec())).unwrap() {}
        found
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_growing_file_gives_each_record_once_however_it_is_cut() {
        let whole: Vec<u8> = [b"one".as_slice(), b"", &[7; 300_000]].iter().flat_map(|data| record(data)).collect();
        for cut in [0, 1, 11, 12, 14, 18, 19, 30, 50, whole.len() - 1] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&whole[..cut]).unwrap();
            let mut records = Records::new(file.try_clone().unwrap(), 0);
            let mut found = all(&mut records);
            file.write_all(&whole[cut..]).unwrap();
            found.extend(all(&mut records));
            assert_eq!(found, [b"one".to_vec(), vec![], vec![7; 300_000]], "cut at {cut}");
        }
    }

    #[test]
    fn nothing_is_read_from_damage_on() {
        let mut bytes = record(b"one");
        bytes.extend([1; 64]);
        bytes.extend(record(b"two"));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        assert_eq!(all(&mut Records::new(file, 0)), [b"one"]);
    }

    proptest! {
        #[test]
        fn no_file_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let _ = all(&mut Records::new(file, 0));
        }
    }
}
