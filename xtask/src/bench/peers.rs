//! The programs Stoa is measured against: found, or installed into the user's cache folder.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Where peers that are not installed on the system are kept.
pub(super) fn cache() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(std::env::home_dir()?.join(".cache"))).context("there is no home folder")?;
    let folder = base.join("stoa-bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// A program on `PATH`, also where only root's `PATH` looks.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Whether this process is root: the owner of its own files in `/proc`.
pub(super) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// A program of a Debian package.
pub(super) fn packaged(program: &str, package: &str) -> Result<PathBuf> {
    if let Some(found) = find(program) {
        return Ok(found);
    }
    if is_root() && find("apt-get").is_some() {
        quietly(Command::new("apt-get").args(["install", "-y", "--no-install-recommends", package]))?;
    }
    find(program).with_context(|| format!("`{program}` is missing: apt-get install {package}"))
}

/// A Python interpreter with packages of the configured index, in an environment called `name`. A package that cannot
/// be installed is left out: whoever imports it says so.
pub(super) fn python_packages(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = cache()?.join(name);
    let python = folder.join("bin/python");
    if !python.is_file() {
        quietly(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    for package in packages {
        let there = Command::new(&python).args(["-c", &format!("import {package}")]).output();
        if !there.is_ok_and(|done| done.status.success()) {
            let installed = quietly(Command::new(&python).args(["-m", "pip", "install", "--quiet", package]));
            if let Err(error) = installed {
                println!("skipped: {package}: {error:#}");
            }
        }
    }
    Ok(python)
}

/// A program of a crate of the configured registry.
pub(super) fn rust_package(package: &str) -> Result<PathBuf> {
    let folder = cache()?.join(package);
    let program = folder.join("bin").join(package);
    if !program.is_file() {
        quietly(Command::new("cargo").args(["install", "--quiet", "--locked", package, "--root"]).arg(&folder))?;
    }
    Ok(program)
}

fn quietly(command: &mut Command) -> Result<()> {
    let done = command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !done.status.success() {
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
        bail!("{} failed: {last}", command.get_program().display());
    }
    Ok(())
}
