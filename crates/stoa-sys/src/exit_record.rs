//! The file `exit` of a run: one fixed block, reserved at the start so that a full disk cannot keep the end of a run
//! from being recorded, and overwritten in place at its end.
//!
//! Layout: 8 bytes magic, 4 bytes length, 4 bytes CRC-32 of the content, the content, zeros up to [`BLOCK`] bytes. Between
//! start and end the magic alone says that the program may have run; all zeros say that it never did.

use crate::Result;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::pwrite;
use std::os::fd::AsFd;

/// Size of the file.
pub const BLOCK: usize = 4096;
/// The longest content.
pub const MAX_CONTENT: usize = BLOCK - HEADER;
const MAGIC: &[u8; 8] = b"STOAEND1";
const BEGUN: &[u8; 8] = b"STOABEG1";
const HEADER: usize = 16;

/// Reserves the block and empties it.
///
/// # Errors
/// ENOSPC when the disk is full.
pub fn reserve(file: impl AsFd) -> Result<()> {
    // File systems without fallocate reserve by the write below.
    let _unsupported = fallocate(&file, FallocateFlags::empty(), 0, BLOCK as u64);
    pwrite(file, &[0; BLOCK], 0).map(drop)
}

/// Notes that the program is about to be started.
///
/// # Errors
/// Whatever the file system answers.
pub fn begin(file: impl AsFd) -> Result<()> {
    pwrite(file, BEGUN, 0).map(drop)
}

/// Whether the program may have been started and its end is not recorded.
pub fn begun(block: &[u8]) -> bool {
    block.starts_with(BEGUN)
}

/// Writes the record. Content beyond [`MAX_CONTENT`] bytes is not written: callers shorten their texts.
///
/// # Errors
/// Whatever the file system answers.
pub fn write(file: impl AsFd, content: &[u8]) -> Result<()> {
    let content = &content[..content.len().min(MAX_CONTENT)];
    let mut block = Vec::with_capacity(HEADER + content.len());
    block.extend_from_slice(MAGIC);
    block.extend_from_slice(&(content.len() as u32).to_le_bytes());
    block.extend_from_slice(&crc32fast::hash(content).to_le_bytes());
    block.extend_from_slice(content);
    pwrite(file, &block, 0).map(drop)
}

/// The content of a record; `None` when the run has not ended, or its end was not written whole.
pub fn read(block: &[u8]) -> Option<&[u8]> {
    let (header, rest) = block.split_at_checked(HEADER)?;
    let length = u32::from_le_bytes(header[8..12].try_into().ok()?) as usize;
    let content = rest.get(..length)?;
    let whole = &header[..8] == MAGIC && header[12..16] == crc32fast::hash(content).to_le_bytes();
    whole.then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_a_reserved_block_is_no_record() {
        let file = tempfile::NamedTempFile::new().unwrap();
        reserve(file.as_file()).unwrap();
        let block = std::fs::read(file.path()).unwrap();
        assert_eq!((block.len(), read(&block), begun(&block)), (BLOCK, None, false));
        begin(file.as_file()).unwrap();
        let block = std::fs::read(file.path()).unwrap();
        assert_eq!((block.len(), read(&block), begun(&block)), (BLOCK, None, true));
        write(file.as_file(), b"the end").unwrap();
        assert_eq!(read(&std::fs::read(file.path()).unwrap()), Some(&b"the end"[..]));
    }

    #[test]
    fn a_torn_record_is_no_record() {
        let file = tempfile::NamedTempFile::new().unwrap();
        write(file.as_file(), b"the end").unwrap();
        let mut block = std::fs::read(file.path()).unwrap();
        block[18] ^= 1;
        assert_eq!(read(&block), None);
        assert_eq!(read(&block[..10]), None);
    }
}
