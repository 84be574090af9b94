//! The daemon's log: a file that is set aside when it has grown, so that logs never fill a disk.

use std::fs::{File, OpenOptions, rename};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A log of this size is set aside.
const ROTATE_AT: u64 = 8 << 20;
/// How many logs are kept beside the one being written: at most 32 MiB in all.
const KEPT: u32 = 3;

/// A log file that rotates.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
}

impl LogFile {
    /// Opens or makes the log at `path`.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), open: Mutex::new(Open::at(path)?) })
    }

    fn write_line(&self, line: &[u8]) -> io::Result<()> {
        let mut open = self.open.lock().map_err(|_| io::Error::other("the log is broken"))?;
        if open.size + line.len() as u64 > ROTATE_AT {
            for number in (0..KEPT).rev() {
                let older = self.numbered(number + 1);
                match rename(self.numbered(number), older) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            *open = Open::at(&self.path)?;
        }
        open.size += line.len() as u64;
        open.file.write_all(line)
    }

    fn numbered(&self, number: u32) -> PathBuf {
        match number {
            0 => self.path.clone(),
            _ => self.path.with_extension(format!("log.{number}")),
        }
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }
}

/// One line at a time, as `tracing-subscriber` writes them. A log that cannot be written (full disk) must not stop
/// the daemon: the line is lost.
impl Write for &LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _full_disk = self.write_line(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_has_grown_is_set_aside_and_old_ones_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stoad.log");
        let log = LogFile::open(&path).expect("open");
        let line = vec![b'x'; (ROTATE_AT / 2 + 1) as usize];
        for _ in 0..8 {
            (&log).write_all(&line).expect("written");
        }
        let mut names: Vec<String> = std::fs::read_dir(folder.path())
            .expect("readable")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(names, ["stoad.log", "stoad.log.1", "stoad.log.2", "stoad.log.3"]);
        assert!(std::fs::metadata(&path).expect("there").len() <= ROTATE_AT);
    }
}
