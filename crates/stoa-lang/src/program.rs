//! Finds programs on the caller's `PATH`, past the shims that pyenv puts there.

use crate::caller::{Caller, text};
use crate::error::{NotExecutableCause, NotFoundCause, ProgramError};
use crate::{Config, pyenv, shebang, spelling};
use rustix::fs::Access;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Whether this user may execute the file.
pub(crate) fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok()
}

/// The first executable of that name on `PATH`; a pyenv shim is replaced by what it would start.
pub(crate) fn on_path(name: &str, caller: &Caller<'_>, config: &Config) -> Option<PathBuf> {
    caller.search_path().iter().map(|dir| dir.join(name)).find_map(|path| usable(path, name, caller, config))
}

/// The file itself, or what a shim stands for; `None` when it cannot be executed or the shim leads nowhere.
fn usable(path: PathBuf, name: &str, caller: &Caller<'_>, config: &Config) -> Option<PathBuf> {
    if !is_executable(&path) {
        return None;
    }
    if pyenv::is_shim(&path) { pyenv::target(&path, name, caller, config) } else { Some(path) }
}

/// Finds what a shell would execute for `name`.
pub(crate) fn find(name: &str, caller: &Caller<'_>, config: &Config) -> Result<PathBuf, ProgramError> {
    if name.is_empty() {
        return Err(ProgramError::Empty);
    }
    if name.contains('/') {
        return named_file(name, caller, config);
    }
    if let Some(path) = on_path(name, caller, config) {
        return Ok(path);
    }
    let dirs = caller.search_path();
    if let Some(path) = dirs.iter().map(|dir| dir.join(name)).find(|path| path.is_file())
        && !is_executable(&path)
    {
        return Err(not_executable(path, NotExecutableCause::Permission));
    }
    let source = if dirs.is_empty() { NotFoundCause::EmptyPath } else { NotFoundCause::Path };
    Err(ProgramError::NotFound { name: name.into(), source, suggestion: suggest(name, caller) })
}

/// A program that was named with a path.
fn named_file(name: &str, caller: &Caller<'_>, config: &Config) -> Result<PathBuf, ProgramError> {
    let path = caller.absolute(name);
    if path.is_dir() {
        return Err(not_executable(path, NotExecutableCause::Directory));
    }
    if !path.exists() {
        let suggestion = spelling::neighbour(&path).map(|near| format!("did you mean `{}`?", near.display()));
        return Err(ProgramError::NotFound { name: name.into(), source: NotFoundCause::File(path), suggestion });
    }
    if !is_executable(&path) {
        return Err(not_executable(path, NotExecutableCause::Permission));
    }
    if pyenv::is_shim(&path) {
        let shim = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        return Ok(pyenv::target(&path, &shim, caller, config).unwrap_or(path));
    }
    Ok(path)
}

/// The argument list that executes `path`: a text without `#!` line goes to `sh`, as `execvp` has it.
pub(crate) fn argv(path: &Path, args: &[String]) -> Result<Vec<String>, ProgramError> {
    let mut head = [0; 256];
    let length = std::fs::File::open(path).and_then(|mut file| file.read(&mut head)).unwrap_or(0);
    let head = &head[..length];
    let mut argv = vec![text(path)];
    if let Some(line) = shebang::parse(head) {
        check_shebang(path, &line)?;
    } else if length > 0 && !head.contains(&0) && !head.starts_with(b"\x7fELF") {
        argv.insert(0, "/bin/sh".into());
    }
    argv.extend_from_slice(args);
    Ok(argv)
}

fn check_shebang(path: &Path, line: &shebang::Shebang) -> Result<(), ProgramError> {
    if line.carriage_return {
        return Err(not_executable(path.into(), NotExecutableCause::CarriageReturn));
    }
    let interpreter = Path::new(&line.interpreter);
    if interpreter.is_absolute() && !interpreter.exists() {
        return Err(not_executable(path.into(), NotExecutableCause::Interpreter(line.interpreter.clone())));
    }
    Ok(())
}

fn not_executable(path: PathBuf, source: NotExecutableCause) -> ProgramError {
    ProgramError::NotExecutable { path, source }
}

/// A file of that name in the working folder, or a program spelled nearly so.
fn suggest(name: &str, caller: &Caller<'_>) -> Option<String> {
    let here = caller.cwd().join(name);
    if is_executable(&here) {
        return Some(format!("did you mean `./{name}`? the current folder is not on PATH"));
    }
    if here.is_file() {
        return Some(format!("`{name}` is a file here; to run it as a script, leave out the `--`"));
    }
    let names = caller.search_path().into_iter().flat_map(|dir| spelling::names_in(&dir));
    spelling::nearest(name, names).map(|near| format!("did you mean `{near}`?"))
}
