//! Rust code of the two protocols, generated without `protoc` and kept under version control.
//!
//! `proto/stoa/v1` is spoken over gRPC and gets clients and servers; `proto/warden/v1` is spoken over a packet
//! socket and gets messages only, so that the warden needs prost and nothing else.

use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the generated code lies.
pub(crate) const GENERATED: &str = "crates/stoa-proto/src/generated";

/// A folder of protocol files and what is made of it.
struct Protocol {
    folder: &'static str,
    services: bool,
}

const PROTOCOLS: [Protocol; 2] =
    [Protocol { folder: "stoa/v1", services: true }, Protocol { folder: "warden/v1", services: false }];

/// Writes the generated code; returns the files written.
pub(crate) fn write(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let target = workspace.path(GENERATED);
    fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
    let fresh = generate(workspace)?;
    for stale in stale_files(&target, &fresh)? {
        fs::remove_file(&stale).with_context(|| format!("cannot remove {}", stale.display()))?;
    }
    let mut written = Vec::new();
    for (name, code) in fresh {
        let path = target.join(name);
        if fs::read_to_string(&path).ok().as_ref() != Some(&code) {
            fs::write(&path, code).with_context(|| format!("cannot write {}", path.display()))?;
        }
        written.push(path);
    }
    Ok(written)
}

/// Names every generated file that differs from what `proto/` says now.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let target = workspace.path(GENERATED);
    let fresh = generate(workspace)?;
    let mut findings: Vec<String> = stale_files(&target, &fresh)?
        .iter()
        .map(|path| format!("{}: nothing in proto/ makes this file: run `cargo xtask proto`", workspace.show(path)))
        .collect();
    for (name, code) in &fresh {
        if fs::read_to_string(target.join(name)).ok().as_ref() != Some(code) {
            findings.push(format!("{GENERATED}/{name}: differs from proto/: run `cargo xtask proto`"));
        }
    }
    Ok(findings)
}

fn stale_files(target: &Path, fresh: &BTreeMap<String, String>) -> Result<Vec<PathBuf>> {
    if !target.is_dir() {
        return Ok(Vec::new());
    }
    let mut stale = Vec::new();
    for entry in fs::read_dir(target).with_context(|| format!("cannot read {}", target.display()))? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // `mod.rs` is written by hand.
        if name != "mod.rs" && !fresh.contains_key(&name) {
            stale.push(path);
        }
    }
    stale.sort();
    Ok(stale)
}

/// The code as it should be: file name to content.
fn generate(workspace: &Workspace) -> Result<BTreeMap<String, String>> {
    let root = workspace.path("proto");
    let scratch = tempfile::tempdir().context("cannot make a folder for the generated code")?;
    for protocol in &PROTOCOLS {
        compile(&root, protocol, scratch.path())?;
    }
    let mut code = BTreeMap::new();
    for entry in fs::read_dir(scratch.path())? {
        let path = entry?.path();
        if fs::read_to_string(&path)?.lines().all(|line| line.starts_with("//") || line.trim().is_empty()) {
            continue;
        }
        format(workspace, &path)?;
        let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
        code.insert(name, without_allows(&fs::read_to_string(&path)?));
    }
    Ok(code)
}

/// The generator silences lints by `allow`, which the workspace forbids; the module that holds the code expects them.
fn without_allows(code: &str) -> String {
    let silences =
        |line: &&str| line.trim_start().starts_with("#[allow(") || line.trim_start().starts_with("#![allow(");
    code.split_inclusive('\n').filter(|line| !silences(line)).collect()
}

fn compile(root: &Path, protocol: &Protocol, target: &Path) -> Result<()> {
    let sources = protocol_files(&root.join(protocol.folder))?;
    if sources.is_empty() {
        return Ok(());
    }
    let descriptors = protox::compile(&sources, [root]).map_err(|error| {
        // The plain text of a protox error is one line; its debug text points into the file.
        anyhow::anyhow!("proto/{} cannot be compiled\n{error:?}", protocol.folder)
    })?;
    tonic_prost_build::configure()
        .build_client(protocol.services)
        .build_server(protocol.services)
        .build_transport(false)
        .out_dir(target)
        .compile_fds(descriptors)
        .with_context(|| format!("no code could be made of proto/{}", protocol.folder))
}

fn protocol_files(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "proto"));
    files.sort();
    Ok(files)
}

fn format(workspace: &Workspace, path: &Path) -> Result<()> {
    let done = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(&workspace.root)
        .arg(path)
        .output()
        .context("cannot run rustfmt: `rustup component add rustfmt`")?;
    if !done.status.success() {
        bail!("rustfmt refused {}: {}", path.display(), String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_silenced_lints_are_taken_out() {
        let code = "mod a {\n    #![allow(dead_code)]\n    #[allow(x)]\n    struct S;\n    // #[derive]\n}\n";
        assert_eq!(without_allows(code), "mod a {\n    struct S;\n    // #[derive]\n}\n");
    }
}
