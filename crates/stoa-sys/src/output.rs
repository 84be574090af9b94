//! Puts the kept output of a run in order after its supervisor was killed.
//!
//! The supervisor moves bytes from the pipes of the program to the file `output` and then appends a record to
//! `output.index` (format: [`stoa_proto::output`]). Killed at any moment it leaves at most: a torn record at the end of the
//! index, bytes at the end of `output` that no record covers, and bytes in the pipes, whose read ends the daemon holds too.

use crate::packet::retry;
use crate::{Errno, Result};
use rustix::fs::{fstat, ftruncate};
use rustix::io::{pread, pwrite};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{SystemTime, UNIX_EPOCH};
use stoa_proto::output::{RECORD_BYTES, Record, Stream};

/// Nanoseconds since 1970 by the system clock.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

/// Where the next bytes and the next record go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct End {
    /// Length of `output`.
    pub output: u64,
    /// Length of the valid part of `output.index`.
    pub index: u64,
    /// The last record's stream.
    pub last: Option<Stream>,
    /// How many bytes of `output` the records cover.
    pub covered: u64,
}

/// Finds the end of an output and its index.
///
/// # Errors
/// Whatever the file system answers.
pub fn end(output: impl AsFd, index: impl AsFd) -> Result<End> {
    let mut end = End { output: size(&output)?, ..End::default() };
    let mut whole = size(&index)? / RECORD_BYTES as u64 * RECORD_BYTES as u64;
    // Records are appended one by one: what is damaged is at the end.
    while whole > 0 {
        let mut bytes = [0; RECORD_BYTES];
        let got = pread(&index, &mut bytes, whole - RECORD_BYTES as u64)?;
        if let Some(record) = (got == RECORD_BYTES).then(|| Record::decode(&bytes)).flatten() {
            end.last = Some(record.stream);
            end.covered = record.offset + record.kept();
            break;
        }
        whole -= RECORD_BYTES as u64;
    }
    end.index = whole;
    Ok(end)
}

fn size(file: impl AsFd) -> Result<u64> {
    Ok(fstat(file)?.st_size.max(0).cast_unsigned())
}

/// Covers bytes that no record covers with one, and appends what `pipes` still hold without waiting for more.
/// Only when the supervisor is known to be dead. Answers how many bytes were added to the index.
///
/// # Errors
/// Whatever the file system answers; what was added until then stays.
pub fn recover(
    output: BorrowedFd<'_>,
    index: BorrowedFd<'_>,
    attempt: u8,
    pipes: &[(Stream, BorrowedFd<'_>)],
) -> Result<u64> {
    let mut end = end(output, index)?;
    ftruncate(index, end.index)?;
    let before = end.covered;
    let stray = if end.last == Some(Stream::Terminal) { Stream::Terminal } else { Stream::Stdout };
    append(index, &mut end, stray, attempt)?;
    for (stream, pipe) in pipes {
        rustix::io::ioctl_fionbio(pipe, true)?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            match retry(|| rustix::io::read(pipe, buffer.as_mut_slice())) {
                // EIO: a terminal whose other side is gone.
                Ok(0) | Err(Errno::AGAIN | Errno::IO) => break,
                Ok(got) => {
                    let mut bytes = &buffer[..got];
                    while !bytes.is_empty() {
                        let wrote = retry(|| pwrite(output, bytes, end.output))?;
                        end.output += wrote as u64;
                        bytes = &bytes[wrote..];
                    }
                    append(index, &mut end, *stream, attempt)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(end.covered - before)
}

/// Adds a record for what lies between `covered` and the end of the output.
fn append(index: BorrowedFd<'_>, end: &mut End, stream: Stream, attempt: u8) -> Result<()> {
    // One record covers less than 4 GiB.
    const MOST: u64 = 1 << 30;
    while end.output > end.covered {
        let length = (end.output - end.covered).min(MOST);
        let record = Record { offset: end.covered, length, time: now(), stream, attempt };
        pwrite(index, &record.encode(), end.index)?;
        end.index += RECORD_BYTES as u64;
        end.covered += length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use stoa_proto::output::records;

    #[test]
    fn stray_bytes_torn_records_and_full_pipes_are_recovered() {
        let mut output = tempfile::NamedTempFile::new().unwrap();
        let mut index = tempfile::NamedTempFile::new().unwrap();
        output.write_all(b"kept-stray").unwrap();
        let kept = Record { offset: 0, length: 4, time: 1, stream: Stream::Stderr, attempt: 1 };
        index.write_all(&kept.encode()).unwrap();
        index.write_all(&kept.encode()[..17]).unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        std::fs::File::from(write).write_all(b"-piped").unwrap();

        let pipes = [(Stream::Stderr, read.as_fd())];
        let added = recover(output.as_file().as_fd(), index.as_file().as_fd(), 2, &pipes).unwrap();
        assert_eq!(added, 12);
        assert_eq!(std::fs::read(output.path()).unwrap(), b"kept-stray-piped");
        let bytes = std::fs::read(index.path()).unwrap();
        let got: Vec<_> =
            records(&bytes).map(|record| (record.offset, record.length, record.stream, record.attempt)).collect();
        assert_eq!(got, [(0, 4, Stream::Stderr, 1), (4, 6, Stream::Stdout, 2), (10, 6, Stream::Stderr, 2)]);
        assert_eq!(recover(output.as_file().as_fd(), index.as_file().as_fd(), 2, &[]).unwrap(), 0, "once is enough");
    }

    #[test]
    fn an_untouched_run_has_an_empty_end() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(end(file.as_fd(), file.as_fd()).unwrap(), End::default());
    }
}
