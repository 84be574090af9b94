//! `cargo xtask check`: the rules of the code base that the compiler does not know.

mod layers;
mod licences;
mod promises;
mod source;
mod spdx;
mod style;

use crate::workspace::Workspace;
use crate::{docs, proto};
use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand};
use clap::ValueEnum;
use std::process::Command;

pub(crate) use promises::{Bound, Kind as BoundKind, Promise, read as read_promises};

/// A group of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rule {
    /// Who imports whom, and how large the warden may be
    Layers,
    /// What is linked may be used under MIT or Apache-2.0, and one crypto provider
    Licences,
    /// What every file has to look like
    Style,
    /// Every promise names the bench that keeps it
    Promises,
    /// The generated protocol code is fresh
    Proto,
    /// Man pages, completions and the command reference are fresh
    Docs,
}

impl Rule {
    pub(crate) const ALL: [Rule; 6] =
        [Self::Layers, Self::Licences, Self::Style, Self::Promises, Self::Proto, Self::Docs];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Layers => "layers",
            Self::Licences => "licences",
            Self::Style => "style",
            Self::Promises => "promises",
            Self::Proto => "proto",
            Self::Docs => "docs",
        }
    }

    /// What breaks the rules, one sentence each; empty when all is well.
    pub(crate) fn findings(self, workspace: &Workspace) -> Result<Vec<String>> {
        match self {
            Self::Layers => layers::check(workspace),
            Self::Licences => licences::check(workspace),
            Self::Style => style::check(workspace),
            Self::Promises => promises::check(workspace),
            Self::Proto => proto::check(workspace),
            Self::Docs => docs::check(workspace),
        }
        .with_context(|| format!("cannot check {}", self.name()))
    }
}

/// The workspace with everything it is built from.
fn metadata(workspace: &Workspace) -> Result<Metadata> {
    let mut command = MetadataCommand::new();
    command.manifest_path(workspace.path("Cargo.toml")).current_dir(&workspace.root);
    command.exec().context("cargo metadata failed")
}

/// The names of the crates that `package` is built from under its own features, itself left out.
fn closure(workspace: &Workspace, package: &str, edges: &str) -> Result<Vec<(String, String)>> {
    let listed = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["tree", "--package", package, "--edges", edges, "--prefix", "none", "--format", "{p}"])
        .current_dir(&workspace.root)
        .output()
        .context("cannot run cargo tree")?;
    anyhow::ensure!(listed.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&listed.stderr).trim());
    Ok(parse_tree(&String::from_utf8_lossy(&listed.stdout), package))
}

/// Reads lines such as `syn v2.0.100 (proc-macro) (*)` into names and versions, each once.
fn parse_tree(text: &str, root: &str) -> Vec<(String, String)> {
    let mut crates: Vec<(String, String)> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            Some((words.next()?.to_owned(), words.next()?.trim_start_matches('v').to_owned()))
        })
        .filter(|(name, _)| name != root)
        .collect();
    crates.sort();
    crates.dedup();
    crates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_lists_every_crate_once() {
        let text = "stoa-warden v0.1.0 (/x/crates/stoa-warden)\nlibc v0.2.191\nserde_derive v1.0.229 (proc-macro)\n\
                    syn v2.0.100\nsyn v2.0.100 (*)\nsyn v1.0.9\n";
        let names: Vec<String> = parse_tree(text, "stoa-warden").iter().map(|(n, v)| format!("{n} {v}")).collect();
        assert_eq!(names, ["libc 0.2.191", "serde_derive 1.0.229", "syn 1.0.9", "syn 2.0.100"]);
    }
}
