//! Writes TensorBoard event files by hand, as an independent check of the reader in `stoa-metrics`.
//!
//! Format: records of `length (u64), masked CRC-32C of it, data, masked CRC-32C of data`, little endian; the data is the
//! protocol buffer `tensorflow.Event` with the fields `wall_time` (1), `step` (2), `file_version` (3) and `summary` (5).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// An event file that is being written.
#[derive(Debug)]
pub struct EventFile(File);

impl EventFile {
    /// Makes a file that starts with its version.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut file = Self(OpenOptions::new().create_new(true).append(true).open(path)?);
        let mut event = double(1, 1.0);
        event.extend(bytes(3, b"brain.Event:2"));
        file.record(&event)?;
        Ok(file)
    }

    /// Adds a scalar.
    pub fn scalar(&mut self, name: &str, step: u64, wall_time: f64, value: f32) -> io::Result<()> {
        let mut point = bytes(1, name.as_bytes());
        point.push(2 << 3 | 5);
        point.extend(value.to_le_bytes());
        let mut event = double(1, wall_time);
        event.push(2 << 3);
        event.extend(varint(step));
        event.extend(bytes(5, &bytes(1, &point)));
        self.record(&event)
    }

    fn record(&mut self, data: &[u8]) -> io::Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend(masked(crc32c(&length)).to_le_bytes());
        record.extend(data);
        record.extend(masked(crc32c(data)).to_le_bytes());
        self.0.write_all(&record)
    }
}

fn double(field: u8, value: f64) -> Vec<u8> {
    let mut encoded = vec![field << 3 | 1];
    encoded.extend(value.to_le_bytes());
    encoded
}

fn bytes(field: u8, value: &[u8]) -> Vec<u8> {
    let mut encoded = vec![field << 3 | 2];
    encoded.extend(varint(value.len() as u64));
    encoded.extend(value);
    encoded
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut encoded = Vec::new();
    while value > 0x7f {
        encoded.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    encoded.push(value as u8);
    encoded
}

/// CRC-32C (Castagnoli), bit by bit.
fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

/// The mask of the TFRecord format.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // The check value of CRC-32C in the catalogue of parametrised CRC algorithms (Greg Cook).
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
