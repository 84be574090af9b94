//! Tests that cannot run here say so: one line on standard error, and one in the file that `./check` sums.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

/// Reports the current test as skipped. The caller returns.
///
/// The line goes to standard error and, when the environment variable `STOA_SKIP_LOG` names a file, is appended to it.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let line = format!("skipped: {}: {reason}\n", thread.name().unwrap_or("a test"));
    let _nobody_reads = io::stderr().write_all(line.as_bytes());
    if let Some(log) = std::env::var_os("STOA_SKIP_LOG") {
        let mut log = OpenOptions::new().create(true).append(true).open(log).expect("STOA_SKIP_LOG names a file");
        log.write_all(line.as_bytes()).expect("the skip is logged");
    }
}

/// Reports the current test as skipped when a program it needs is not installed.
pub fn missing_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing = !std::env::split_paths(&path).any(|folder: std::path::PathBuf| is_file(&folder.join(name)));
    if missing {
        skip(&format!("{name} is not installed"));
    }
    missing
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file())
}
