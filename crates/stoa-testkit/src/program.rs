//! The `stoa` program under test.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program: `$STOA_BIN`, else `stoa` in the target folder of the running test, built when it is missing.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(find)
}

fn find() -> PathBuf {
    if let Some(named) = std::env::var_os("STOA_BIN") {
        let named = PathBuf::from(named);
        assert!(named.is_file(), "STOA_BIN names no file: {}", named.display());
        return named.canonicalize().expect("a file has a path");
    }
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps");
    let program = folder.join("stoa");
    if !program.is_file() {
        build(folder);
    }
    assert!(program.is_file(), "cargo built no {}", program.display());
    program
}

fn build(folder: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--package", "stoa"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if folder.ends_with("release") {
        command.arg("--release");
    }
    command.env("CARGO_TARGET_DIR", folder.parent().expect("a profile lies in the target folder"));
    let status = command.status().expect("cargo starts");
    assert!(status.success(), "stoa cannot be built: {status}");
}

/// Whether everyone may execute `file`: it and all folders above it are open.
pub(crate) fn is_public(file: &Path) -> bool {
    file.ancestors().all(|path| path.metadata().is_ok_and(|found| found.mode() & 0o001 != 0))
        && file.metadata().is_ok_and(|found| found.mode() & 0o004 != 0)
}
