//! Reading the kept output of a run, while it grows or afterwards, and adding to it before the program starts.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use stoa_proto::output::{RECORD_BYTES, Record, Stream};

/// The raw bytes.
pub(crate) const OUTPUT: &str = "output";
/// Which of them came from where and when.
pub(crate) const INDEX: &str = "output.index";
/// The most bytes in a chunk: well below the 4 MiB a gRPC message may have.
const LARGEST_CHUNK: u64 = 256 << 10;
/// Index records read at a time.
const RECORDS_AT_A_TIME: usize = 1024;

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where it came from.
    pub stream: Stream,
    /// Where in the output it begins.
    pub offset: u64,
    /// Its bytes; empty for [`Stream::Lost`].
    pub data: Vec<u8>,
    /// Bytes that could not be kept here.
    pub lost: u64,
    /// When it arrived, in nanoseconds since 1970.
    pub time: u64,
    /// Which attempt wrote it.
    pub attempt: u8,
}

/// Reads the output of a run in order, from a position on.
#[derive(Debug)]
pub struct OutputReader {
    output: File,
    index: File,
    /// Behind the last record that was read, in bytes of the index. That record may grow until the next one is there.
    position: u64,
    /// Output before this offset was handed out, or is not wanted.
    from: u64,
    /// How many lost bytes the last record read told of.
    lost: u64,
    /// Records read and not handed out yet.
    pending: VecDeque<Record>,
}

impl OutputReader {
    /// Opens the output kept in the state folder of a run; made empty when the run has not begun.
    pub fn open(state: &Path, from: u64) -> io::Result<Self> {
        let (output, index) = open(state)?;
        Ok(Self { output, index, position: 0, from, lost: 0, pending: VecDeque::new() })
    }

    /// How many bytes are kept.
    pub fn kept(&self) -> io::Result<u64> {
        self.output.metadata().map(|data| data.len())
    }

    /// Skips all but the last `lines` lines of what is there. A last line without an end counts.
    pub fn skip_to_tail(&mut self, lines: u64) -> io::Result<()> {
        const BLOCK: u64 = 64 << 10;
        let end = self.kept()?;
        let mut start = end;
        let mut wanted = lines;
        while start > 0 && wanted > 0 {
            let block_start = start.saturating_sub(BLOCK);
            let mut block = vec![0; (start - block_start) as usize];
            self.output.read_exact_at(&mut block, block_start)?;
            // The line feed that ends the last line begins no line after it.
            let ends = block
                .iter()
                .enumerate()
                .rev()
                .filter(|(at, byte)| **byte == b'\n' && block_start + *at as u64 + 1 < end);
            for (at, _) in ends {
                wanted -= 1;
                if wanted == 0 {
                    self.from = block_start + at as u64 + 1;
                    return Ok(());
                }
            }
            start = block_start;
        }
        self.from = if lines == 0 { end } else { 0 };
        Ok(())
    }

    /// The next piece; `None` when there is no more yet.
    pub fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        loop {
            if self.pending.is_empty() && !self.fill()? {
                return Ok(None);
            }
            let Some(mut record) = self.pending.pop_front() else { return Ok(None) };
            if record.stream != Stream::Lost {
                let skip = self.from.saturating_sub(record.offset).min(record.length);
                record.offset += skip;
                record.length -= skip;
                if record.length == 0 {
                    continue;
                }
                if record.length > LARGEST_CHUNK {
                    let rest = Record {
                        offset: record.offset + LARGEST_CHUNK,
                        length: record.length - LARGEST_CHUNK,
                        ..record
                    };
                    self.pending.push_front(rest);
                    record.length = LARGEST_CHUNK;
                }
            }
            let chunk = self.chunk(record)?;
            self.from = self.from.max(chunk.offset + chunk.data.len() as u64);
            return Ok(Some(chunk));
        }
    }

    fn chunk(&mut self, record: Record) -> io::Result<Chunk> {
        let mut data = vec![0; record.kept() as usize];
        self.output.read_exact_at(&mut data, record.offset)?;
        // Small records that follow one another from the same stream go together: a message each would cost more than they.
        while let Some(next) = self.pending.front().copied() {
            let joins = next.stream == record.stream
                && next.stream != Stream::Lost
                && next.attempt == record.attempt
                && next.offset == record.offset + data.len() as u64
                && data.len() as u64 + next.length <= LARGEST_CHUNK;
            if !joins {
                break;
            }
            let start = data.len();
            data.resize(start + next.length as usize, 0);
            self.output.read_exact_at(&mut data[start..], next.offset)?;
            self.pending.pop_front();
        }
        let lost = if record.stream == Stream::Lost { record.length } else { 0 };
        Ok(Chunk {
            stream: record.stream,
            offset: record.offset,
            data,
            lost,
            time: record.time,
            attempt: record.attempt,
        })
    }

    /// Reads more of the index, the last known record again; false when there is no more yet.
    fn fill(&mut self) -> io::Result<bool> {
        let start = self.position.saturating_sub(RECORD_BYTES as u64);
        let mut bytes = vec![0; RECORDS_AT_A_TIME * RECORD_BYTES];
        let got = self.index.read_at(&mut bytes, start)?;
        let mut behind = start;
        for mut record in stoa_proto::output::records(&bytes[..got]) {
            let known = behind < self.position;
            behind += RECORD_BYTES as u64;
            let told = if known { self.lost } else { 0 };
            self.lost = if record.stream == Stream::Lost { record.length } else { 0 };
            match record.stream {
                Stream::Lost => record.length = record.length.saturating_sub(told),
                _ if known && record.offset + record.length <= self.from => record.length = 0,
                _ => {}
            }
            if record.length > 0 {
                self.pending.push_back(record);
            }
        }
        self.position = self.position.max(behind);
        Ok(!self.pending.is_empty())
    }
}

/// Adds bytes of the preparation to the output. Only while no program of the run lives.
pub(crate) fn append(state: &Path, data: &[u8], attempt: u32) -> io::Result<u64> {
    let (output, index) = open(state)?;
    let end = stoa_sys::output::end(output.as_fd(), index.as_fd())?;
    output.write_all_at(data, end.output)?;
    let record = Record {
        offset: end.output,
        length: data.len() as u64,
        time: stoa_sys::output::now(),
        stream: Stream::Preparation,
        attempt: u8::try_from(attempt).unwrap_or(u8::MAX),
    };
    index.write_all_at(&record.encode(), end.index)?;
    Ok(end.output + data.len() as u64)
}

fn open(state: &Path) -> io::Result<(File, File)> {
    let open =
        |name: &str| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(state.join(name));
    Ok((open(OUTPUT)?, open(INDEX)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes pieces as an init would.
    fn written(pieces: &[(Stream, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let (output, index) = open(folder.path()).unwrap();
        let mut offset = 0;
        for (number, (stream, data)) in pieces.iter().enumerate() {
            let length = if *stream == Stream::Lost { 9 } else { data.len() as u64 };
            let record = Record { offset, length, time: number as u64, stream: *stream, attempt: 1 };
            output.write_all_at(data, offset).unwrap();
            index.write_all_at(&record.encode(), (number * RECORD_BYTES) as u64).unwrap();
            offset += data.len() as u64;
        }
        folder
    }

    fn all(reader: &mut OutputReader) -> Vec<(Stream, String, u64)> {
        std::iter::from_fn(|| reader.next_chunk().unwrap())
            .map(|chunk| (chunk.stream, String::from_utf8(chunk.data).unwrap(), chunk.lost))
            .collect()
    }

    #[test]
    fn streams_keep_their_order_and_small_pieces_join() {
        let folder = written(&[
            (Stream::Stdout, b"one\n"),
            (Stream::Stdout, b"two\n"),
            (Stream::Stderr, b"oops\n"),
            (Stream::Lost, b""),
            (Stream::Stdout, b"three\n"),
        ]);
        let mut reader = OutputReader::open(folder.path(), 0).unwrap();
        assert_eq!(
            all(&mut reader),
            [
                (Stream::Stdout, "one\ntwo\n".into(), 0),
                (Stream::Stderr, "oops\n".into(), 0),
                (Stream::Lost, String::new(), 9),
                (Stream::Stdout, "three\n".into(), 0)
            ]
        );
        append(folder.path(), b"more\n", 2).unwrap();
        assert_eq!(all(&mut reader), [(Stream::Preparation, "more\n".into(), 0)], "it follows what is added");
    }

    #[test]
    fn a_record_that_grows_is_handed_out_once() {
        let folder = written(&[(Stream::Stdout, b"one"), (Stream::Stdout, b"two")]);
        let mut reader = OutputReader::open(folder.path(), 0).unwrap();
        assert_eq!(all(&mut reader), [(Stream::Stdout, "onetwo".into(), 0)]);
        assert_eq!(all(&mut reader), []);
        let (output, index) = open(folder.path()).unwrap();
        output.write_all_at(b"-more", 6).unwrap();
        let grown = Record { offset: 3, length: 8, time: 1, stream: Stream::Stdout, attempt: 1 };
        index.write_all_at(&grown.encode(), RECORD_BYTES as u64).unwrap();
        assert_eq!(all(&mut reader), [(Stream::Stdout, "-more".into(), 0)]);
        for lost in [4, 9] {
            let gap = Record { offset: 11, length: lost, time: 2, stream: Stream::Lost, attempt: 1 };
            index.write_all_at(&gap.encode(), 2 * RECORD_BYTES as u64).unwrap();
            assert_eq!(all(&mut reader), [(Stream::Lost, String::new(), if lost == 4 { 4 } else { 5 })]);
        }
    }

    #[test]
    fn reading_begins_where_it_was_asked_to() {
        let folder = written(&[(Stream::Stdout, b"0123456789"), (Stream::Stderr, b"abc")]);
        let mut reader = OutputReader::open(folder.path(), 7).unwrap();
        assert_eq!(all(&mut reader), [(Stream::Stdout, "789".into(), 0), (Stream::Stderr, "abc".into(), 0)]);
    }

    #[test]
    fn the_tail_is_counted_in_lines() {
        let folder = written(&[(Stream::Stdout, b"1\n2\n3\n4\n5")]);
        let tail = |lines| {
            let mut reader = OutputReader::open(folder.path(), 0).unwrap();
            reader.skip_to_tail(lines).unwrap();
            all(&mut reader).into_iter().map(|(_, text, _)| text).collect::<String>()
        };
        assert_eq!([tail(0), tail(1), tail(2), tail(9)], ["", "5", "4\n5", "1\n2\n3\n4\n5"]);
        let ended = written(&[(Stream::Stdout, b"1\n2\n")]);
        let mut reader = OutputReader::open(ended.path(), 0).unwrap();
        reader.skip_to_tail(1).unwrap();
        assert_eq!(all(&mut reader)[0].1, "2\n");
    }

    #[test]
    fn a_large_record_is_handed_out_in_pieces() {
        let data = vec![b'x'; (LARGEST_CHUNK * 2 + 5) as usize];
        let folder = written(&[(Stream::Stdout, &data)]);
        let mut reader = OutputReader::open(folder.path(), 0).unwrap();
        let sizes: Vec<usize> =
            std::iter::from_fn(|| reader.next_chunk().unwrap()).map(|chunk| chunk.data.len()).collect();
        assert_eq!(sizes, [LARGEST_CHUNK as usize, LARGEST_CHUNK as usize, 5]);
    }
}
