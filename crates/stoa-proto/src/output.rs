//! The kept output of a run: a file of raw bytes, `output`, and its index, `output.index`.
//!
//! `output` holds standard output and standard error in the order of their arrival, so that any program can read it.
//! The index says which bytes came from which stream and when: records of [`RECORD_BYTES`] bytes, little-endian,
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | offset in `output` |
//! | 8..16 | nanoseconds since 1970 |
//! | 16..20 | length; for [`Stream::Lost`] the low 32 bits of the bytes lost |
//! | 20 | stream |
//! | 21 | attempt, from 1, at most 255 |
//! | 22..28 | zero; for [`Stream::Lost`] 22..26 the high 32 bits |
//! | 28..32 | CRC-32 of bytes 0..28 |
//!
//! A record is written after its bytes. A torn or damaged record ends the index until it is repaired.

/// Size of an index record.
pub const RECORD_BYTES: usize = 32;

/// Where bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stream {
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
    /// A terminal: both.
    Terminal = 3,
    /// The preparation of the environment.
    Preparation = 4,
    /// No bytes: `length` of them could not be kept here.
    Lost = 5,
}

impl Stream {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Stdout, Self::Stderr, Self::Terminal, Self::Preparation, Self::Lost]
            .into_iter()
            .find(|stream| *stream as u8 == byte)
    }
}

/// A record of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Where in `output` its bytes begin.
    pub offset: u64,
    /// How many bytes; for [`Stream::Lost`] how many are missing.
    pub length: u64,
    /// When they arrived, in nanoseconds since 1970.
    pub time: u64,
    /// Where they came from.
    pub stream: Stream,
    /// Which attempt of the run wrote them.
    pub attempt: u8,
}

impl Record {
    /// The record as it stands in the file. Lengths of kept bytes are below 4 GiB.
    pub fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[0..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.time.to_le_bytes());
        let length = self.length.to_le_bytes();
        bytes[16..20].copy_from_slice(&length[0..4]);
        bytes[20] = self.stream as u8;
        bytes[21] = self.attempt;
        bytes[22..26].copy_from_slice(&length[4..8]);
        let crc = crc32fast::hash(&bytes[0..28]);
        bytes[28..32].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a record; `None` when it is damaged.
    pub fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let (body, crc) = bytes.split_at(28);
        if crc32fast::hash(body).to_le_bytes() != crc {
            return None;
        }
        let word = |from: usize| -> [u8; 8] { std::array::from_fn(|i| bytes[from + i]) };
        let length: [u8; 8] = std::array::from_fn(|i| if i < 4 { bytes[16 + i] } else { bytes[22 + i - 4] });
        Some(Self {
            offset: u64::from_le_bytes(word(0)),
            time: u64::from_le_bytes(word(8)),
            length: u64::from_le_bytes(length),
            stream: Stream::from_byte(bytes[20])?,
            attempt: bytes[21],
        })
    }

    /// How many bytes of `output` it covers.
    pub const fn kept(&self) -> u64 {
        match self.stream {
            Stream::Lost => 0,
            _ => self.length,
        }
    }
}

/// The valid records at the start of `index`, up to the first damaged or torn one.
pub fn records(index: &[u8]) -> impl Iterator<Item = Record> + '_ {
    index.chunks_exact(RECORD_BYTES).map_while(|chunk| Record::decode(chunk.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_reads_back(offset: u64, length in 0u64..1 << 32, time: u64, stream in 1u8..=5, attempt: u8) {
            let record = Record { offset, length, time, stream: Stream::from_byte(stream).unwrap(), attempt };
            prop_assert_eq!(Record::decode(&record.encode()), Some(record));
        }
        #[test]
        fn a_changed_bit_is_seen(bit in 0usize..256) {
            let record = Record { offset: 7, length: 9, time: 11, stream: Stream::Stderr, attempt: 1 };
            let mut bytes = record.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Record::decode(&bytes), None);
        }
    }

    #[test]
    fn reading_stops_at_a_torn_record() {
        let record = Record { offset: 0, length: 5, time: 1, stream: Stream::Stdout, attempt: 1 };
        let mut index = record.encode().to_vec();
        index.extend_from_slice(&record.encode()[..20]);
        assert_eq!(records(&index).collect::<Vec<_>>(), [record]);
    }

    #[test]
    fn more_than_4_gib_can_be_lost() {
        let record = Record { offset: 0, length: 5 << 32, time: 1, stream: Stream::Lost, attempt: 1 };
        assert_eq!(Record::decode(&record.encode()), Some(record));
        assert_eq!(record.kept(), 0);
    }
}
