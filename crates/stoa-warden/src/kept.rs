//! Keeps the output of a run: moves bytes from its pipes or terminal to files without ever making the program wait for
//! space on the disk.

use rustix::fs::ftruncate;
use rustix::io::{pwrite, read};
use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, splice};
use std::os::fd::BorrowedFd;
use stoa_proto::output::{RECORD_BYTES, Record, Stream};
use stoa_sys::packet::retry;
use stoa_sys::{Errno, output};

/// The most bytes moved at once; also the size that the pipe of a busy stream gets.
const CHUNK: usize = 1 << 20;
/// The longest record that grows.
const MAX_GROWN: u64 = 16 << 20;
/// A pipe that gives this much at once is busy.
const BUSY: usize = 60 << 10;

/// The files of a run's output, and where they end.
pub(crate) struct Kept<'a> {
    output: BorrowedFd<'a>,
    index: BorrowedFd<'a>,
    end: output::End,
    attempt: u8,
    /// Bytes lost in all.
    pub(crate) lost: u64,
    /// Bytes lost that the index does not know of yet.
    unrecorded: u64,
    /// Whether the file system of the output takes `splice`.
    splices: bool,
    /// The last record, while nobody was told of it and it may grow.
    open: Option<Record>,
    /// Streams whose pipe was made larger.
    enlarged: Vec<Stream>,
    buffer: Vec<u8>,
}

/// What came from a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// Bytes; there may be more.
    Some,
    /// Bytes, and hardly more.
    All,
    /// Nothing has arrived.
    Empty,
    /// The other side is closed.
    End,
}

impl<'a> Kept<'a> {
    pub(crate) fn new(output: BorrowedFd<'a>, index: BorrowedFd<'a>, attempt: u32) -> Result<Self, Errno> {
        let mut end = output::end(output, index)?;
        // Bytes that a killed attempt left without a record stay; they are recovered before this one by the daemon.
        end.covered = end.output;
        let attempt = u8::try_from(attempt).unwrap_or(u8::MAX);
        Ok(Self {
            output,
            index,
            end,
            attempt,
            lost: 0,
            unrecorded: 0,
            splices: true,
            open: None,
            enlarged: Vec::new(),
            buffer: Vec::new(),
        })
    }

    /// Length of the output.
    pub(crate) fn length(&self) -> u64 {
        self.end.output
    }

    /// Moves what `from` has, at most [`CHUNK`] bytes.
    pub(crate) fn take(&mut self, from: BorrowedFd<'_>, stream: Stream) -> Moved {
        if self.splices && stream != Stream::Terminal {
            let mut at = self.end.output;
            let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
            match retry(|| splice(from, None, self.output, Some(&mut at), CHUNK, flags)) {
                Ok(0) => return Moved::End,
                Ok(moved) => {
                    self.record(moved as u64, stream);
                    if moved < BUSY {
                        return Moved::All;
                    }
                    if !self.enlarged.contains(&stream) {
                        self.enlarged.push(stream);
                        // Without the larger pipe it is slower, not wrong.
                        let _limit_reached = fcntl_setpipe_size(from, CHUNK);
                    }
                    return Moved::Some;
                }
                Err(Errno::AGAIN) => return Moved::Empty,
                Err(Errno::INVAL) => self.splices = false,
                // Whatever the disk says, the program must not wait for it: the copy below counts what is lost.
                Err(_) => {}
            }
        }
        self.copy(from, stream)
    }

    /// The same through memory.
    fn copy(&mut self, from: BorrowedFd<'_>, stream: Stream) -> Moved {
        self.buffer.resize(64 << 10, 0);
        let got = match retry(|| read(from, self.buffer.as_mut_slice())) {
            Err(Errno::AGAIN) => return Moved::Empty,
            // A terminal answers EIO when its last user is gone.
            Ok(0) | Err(_) => return Moved::End,
            Ok(got) => got,
        };
        let mut written = 0;
        while written < got {
            match retry(|| pwrite(self.output, &self.buffer[written..got], self.end.output + written as u64)) {
                Ok(0) | Err(_) => break,
                Ok(more) => written += more,
            }
        }
        if written > 0 {
            self.record(written as u64, stream);
        }
        self.lose((got - written) as u64);
        Moved::Some
    }

    fn lose(&mut self, bytes: u64) {
        self.lost += bytes;
        self.unrecorded += bytes;
    }

    /// Adds a record for `length` bytes at the end of the output, after one for what was lost before them.
    fn record(&mut self, length: u64, stream: Stream) {
        let recorded = self.record_loss().and_then(|()| self.append(length, stream));
        match recorded {
            Ok(()) => self.end.output += length,
            Err(_) => {
                // The index is full: bytes that nothing tells the stream of are as good as lost.
                let _stays_longer = ftruncate(self.output, self.end.output);
                self.lose(length);
            }
        }
    }

    /// Notes in the index how many bytes are missing here.
    pub(crate) fn record_loss(&mut self) -> Result<(), Errno> {
        if self.unrecorded > 0 {
            self.append(self.unrecorded, Stream::Lost)?;
            self.unrecorded = 0;
        }
        Ok(())
    }

    /// From now on the last record stays as it is: someone may have read it.
    pub(crate) fn seal(&mut self) {
        self.open = None;
    }

    /// Adds a record, or lets the last one grow, so that many small writes in a row do not make an index larger than the output.
    fn append(&mut self, length: u64, stream: Stream) -> Result<(), Errno> {
        let new = Record { offset: self.end.output, length, time: output::now(), stream, attempt: self.attempt };
        let grows =
            |last: &Record| last.stream == stream && stream != Stream::Lost && last.length + length <= MAX_GROWN;
        let (record, at) = match self.open.filter(grows) {
            Some(last) => (Record { length: last.length + length, ..last }, self.end.index - RECORD_BYTES as u64),
            None => (new, self.end.index),
        };
        if pwrite(self.index, &record.encode(), at)? != RECORD_BYTES {
            let _torn_record_is_ignored = ftruncate(self.index, self.end.index);
            return Err(Errno::NOSPC);
        }
        self.end.index = at + RECORD_BYTES as u64;
        self.open = Some(record);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::pread;
    use std::os::fd::AsFd;
    use stoa_proto::output::records;

    fn read_index(index: &std::fs::File) -> Vec<(u64, u64, Stream)> {
        let mut bytes = vec![0; 4096];
        let got = pread(index, bytes.as_mut_slice(), 0).unwrap();
        records(&bytes[..got]).map(|record| (record.offset, record.length, record.stream)).collect()
    }

    #[test]
    fn two_streams_are_kept_in_the_order_of_arrival() {
        let (output, index) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        let (out, err) = (pipe(), pipe());
        let mut kept = Kept::new(output.as_fd(), index.as_fd(), 1).unwrap();
        for (text, (read, write), stream) in [(b"one", &out, Stream::Stdout), (b"two", &err, Stream::Stderr)] {
            rustix::io::write(write, text).unwrap();
            assert_eq!(kept.take(read.as_fd(), stream), Moved::All);
            assert_eq!(kept.take(read.as_fd(), stream), Moved::Empty);
        }
        drop(out.1);
        assert_eq!(kept.take(out.0.as_fd(), Stream::Stdout), Moved::End);
        let mut bytes = [0; 6];
        pread(&output, &mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"onetwo");
        assert_eq!(read_index(&index), [(0, 3, Stream::Stdout), (3, 3, Stream::Stderr)]);
    }

    #[test]
    fn a_record_grows_until_it_was_told_of() {
        let (output, index) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        let mut kept = Kept::new(output.as_fd(), index.as_fd(), 1).unwrap();
        for text in ["a", "b", "c"] {
            rustix::io::write(&write, text.as_bytes()).unwrap();
            kept.take(read.as_fd(), Stream::Stdout);
            if text == "b" {
                kept.seal();
            }
        }
        assert_eq!(read_index(&index), [(0, 2, Stream::Stdout), (2, 1, Stream::Stdout)]);
    }

    #[test]
    fn a_file_that_cannot_be_written_loses_bytes_and_counts_them() {
        let (index, full) =
            (tempfile::tempfile().unwrap(), std::fs::File::options().read(true).write(true).open("/dev/full").unwrap());
        let (read, write) = rustix::pipe::pipe().unwrap();
        let mut kept = Kept::new(full.as_fd(), index.as_fd(), 1).unwrap();
        rustix::io::write(&write, b"lost").unwrap();
        assert_eq!(kept.take(read.as_fd(), Stream::Stdout), Moved::Some);
        assert_eq!((kept.lost, kept.length()), (4, 0));
        kept.record_loss().unwrap();
        assert_eq!(read_index(&index), [(0, 4, Stream::Lost)]);
    }
}
