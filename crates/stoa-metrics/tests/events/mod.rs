//! Event files as TensorBoard's writers make them, and processes that hold them open.

use crate::common::now;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A record of an event file, by TensorFlow's own description of it.
pub(crate) fn event(step: u8, tag: &str, value: f32) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let scalar = [field(1, tag.as_bytes()), [vec![2 << 3 | 5], value.to_le_bytes().to_vec()].concat()].concat();
    let mut message = vec![1 << 3 | 1];
    message.extend(1.7e9f64.to_le_bytes());
    message.extend([2 << 3, step]);
    message.extend(field(5, &field(1, &scalar)));
    record(&message)
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), data, &masked_crc(data)].concat()
}

/// CRC-32C bit by bit, written apart from the one under test.
fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

pub(crate) fn event_file(project: &Path, folder: &str) -> PathBuf {
    std::fs::create_dir_all(project.join(folder)).unwrap();
    project.join(folder).join(format!("events.out.tfevents.{}.host.1.0", now() / 1_000_000_000))
}

/// A process of the run that holds an event file open until it is killed.
pub(crate) fn holder(path: &Path) -> Child {
    let file = std::fs::File::options().append(true).create(true).open(path).unwrap();
    Command::new("sleep").arg("600").stdout(file).stdin(Stdio::null()).spawn().unwrap()
}

pub(crate) fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}
