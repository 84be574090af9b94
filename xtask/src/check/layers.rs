//! Who may import whom, after `layers.toml`.

use super::{closure, metadata, source};
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;

/// `layers.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Layers {
    layer: BTreeMap<String, Layer>,
    #[serde(default, rename = "crate")]
    krate: BTreeMap<String, Narrower>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Layer {
    rank: u32,
    rule: String,
    peers: bool,
    crates: Vec<String>,
    may_import: Option<Vec<String>>,
    #[serde(default)]
    never: Vec<String>,
}

/// Rules of one crate beyond those of its layer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Narrower {
    may_import: Option<Vec<String>>,
    max_closure: Option<usize>,
    max_own_lines: Option<usize>,
    #[serde(default)]
    never_in_closure: Vec<String>,
}

/// One crate of the workspace and what its manifest names.
#[derive(Debug)]
struct Member {
    name: String,
    imports: Vec<Import>,
}

#[derive(Debug)]
struct Import {
    name: String,
    for_tests: bool,
}

pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let path = workspace.path("layers.toml");
    let text = fs::read_to_string(&path).context("cannot read layers.toml")?;
    let layers: Layers = toml::from_str(&text).context("layers.toml is not understood")?;
    let members = members(&metadata(workspace)?);
    let mut findings = layers.imports(&members);
    for (name, narrower) in &layers.krate {
        if !members.iter().any(|member| member.name == *name) {
            continue;
        }
        if narrower.max_closure.is_some() || !narrower.never_in_closure.is_empty() {
            let crates = closure(workspace, name, "normal")?;
            findings.extend(narrower.closure(name, &crates));
        }
        findings.extend(narrower.own_lines(name, own_lines(workspace, name)?));
    }
    Ok(findings)
}

fn members(metadata: &Metadata) -> Vec<Member> {
    let member = |package: &cargo_metadata::Package| Member {
        name: package.name.to_string(),
        imports: package
            .dependencies
            .iter()
            .map(|import| Import { name: import.name.clone(), for_tests: import.kind == DependencyKind::Development })
            .collect(),
    };
    let mut members: Vec<Member> = metadata.workspace_packages().into_iter().map(member).collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    members
}

/// Lines of the crate's own sources that are code: no blank line, no comment, no test.
fn own_lines(workspace: &Workspace, name: &str) -> Result<usize> {
    let folder = format!("crates/{name}/src/");
    let files = workspace.files()?;
    let own = files.iter().filter(|file| file.starts_with(&folder) && file.ends_with(".rs"));
    own.map(|file| {
        let text = fs::read_to_string(workspace.path(file)).with_context(|| format!("cannot read {file}"))?;
        Ok(source::code_lines(source::without_tests(&text)))
    })
    .sum()
}

impl Layers {
    fn of(&self, name: &str) -> Option<(&str, &Layer)> {
        let found = self.layer.iter().find(|(_, layer)| layer.crates.iter().any(|member| member == name));
        found.map(|(title, layer)| (title.as_str(), layer))
    }

    fn imports(&self, members: &[Member]) -> Vec<String> {
        let mut findings = Vec::new();
        for member in members {
            let Some((title, layer)) = self.of(&member.name) else {
                findings.push(format!("{}: no layer of layers.toml lists this crate", member.name));
                continue;
            };
            for import in &member.imports {
                findings.extend(self.import(member, title, layer, import));
            }
        }
        findings.dedup();
        findings
    }

    /// The sentence about one import, when it breaks a rule.
    fn import(&self, member: &Member, title: &str, layer: &Layer, import: &Import) -> Option<String> {
        let name = &member.name;
        let Some((target_title, target)) = self.of(&import.name) else {
            let forbidden = !import.for_tests && layer.never.contains(&import.name);
            return forbidden.then(|| format!("{name} ({title}) -> {}: {}", import.name, layer.rule));
        };
        let to_tools = target_title == "tools";
        if import.for_tests && to_tools {
            return None;
        }
        let arrow = format!("{name} ({title}) -> {} ({target_title})", import.name);
        if to_tools && title != "tools" {
            return Some(format!("{arrow}: {}", target.rule));
        }
        let sideways = target.rank == layer.rank && layer.peers;
        let named = layer.may_import.as_ref().is_none_or(|names| names.contains(&import.name));
        if !(target.rank < layer.rank || sideways) || !named {
            return Some(format!("{arrow}: {}", layer.rule));
        }
        let own = self.krate.get(name).and_then(|narrower| narrower.may_import.as_ref());
        let outside = own.filter(|names| !names.contains(&import.name))?;
        Some(format!("{arrow}: {name} may import only {}", outside.join(", ")))
    }
}

impl Narrower {
    fn closure(&self, name: &str, crates: &[(String, String)]) -> Vec<String> {
        let mut findings: Vec<String> = crates
            .iter()
            .filter(|(found, _)| self.never_in_closure.contains(found))
            .map(|(found, version)| format!("{name} is built from {found} {version}, which may not be part of it"))
            .collect();
        if let Some(most) = self.max_closure.filter(|most| crates.len() > *most) {
            let names: Vec<&str> = crates.iter().map(|(name, _)| name.as_str()).collect();
            findings.push(format!(
                "{name} is built from {} crates, {most} at most are allowed: {}",
                crates.len(),
                names.join(" ")
            ));
        }
        findings
    }

    fn own_lines(&self, name: &str, lines: usize) -> Option<String> {
        let most = self.max_own_lines.filter(|most| lines > *most)?;
        Some(format!("{name} has {lines} lines of its own, {most} at most are allowed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers() -> Layers {
        toml::from_str(include_str!("../../../layers.toml")).unwrap()
    }

    fn member(name: &str, imports: &[&str]) -> Member {
        let imports = imports.iter().map(|name| match name.strip_prefix("test:") {
            Some(name) => Import { name: name.to_owned(), for_tests: true },
            None => Import { name: (*name).to_owned(), for_tests: false },
        });
        Member { name: name.to_owned(), imports: imports.collect() }
    }

    fn findings(name: &str, imports: &[&str]) -> Vec<String> {
        layers().imports(&[member(name, imports)])
    }

    #[test]
    fn imports_that_go_down_are_fine() {
        for (name, imports) in [
            ("stoa-run", &["stoa-core", "stoa-sys", "stoa-store", "serde", "tokio"][..]),
            ("stoa-cli", &["stoa-core", "stoa-proto", "stoa-view", "clap"]),
            ("stoa-store", &["stoa-core", "rusqlite"]),
            ("stoa", &["stoa-run", "stoa-lang", "stoa-cli", "stoa-warden"]),
            ("stoa-run", &["stoa-core", "test:stoa-testkit"]),
        ] {
            assert_eq!(findings(name, imports), Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn every_kind_of_wrong_import_is_named_with_its_rule() {
        for (name, import, sentence) in [
            ("stoa-core", "stoa-sys", "stoa-core (pure) -> stoa-sys (mechanism): pure crates do no I/O"),
            ("stoa-core", "tokio", "stoa-core (pure) -> tokio: pure crates do no I/O"),
            ("stoa-store", "stoa-run", "stoa-store (mechanism) -> stoa-run (services): mechanism knows nothing"),
            ("stoa-run", "stoa-lang", "stoa-run (services) -> stoa-lang (services): services are strangers"),
            ("stoa-run", "test:stoa-lang", "stoa-run (services) -> stoa-lang (services): services are strangers"),
            ("stoa-cli", "stoa-run", "stoa-cli (fronts) -> stoa-run (services): fronts reach services through"),
            ("stoa-cli", "stoa-store", "stoa-cli (fronts) -> stoa-store (mechanism): fronts reach services"),
            ("stoa-cli", "rusqlite", "stoa-cli (fronts) -> rusqlite: fronts reach services"),
            ("stoa-run", "stoa-testkit", "stoa-run (services) -> stoa-testkit (tools): tools are never shipped"),
            ("stoa-warden", "stoa-hw", "stoa-warden (programs) -> stoa-hw (mechanism): stoa-warden may import only"),
            ("stoa-new", "stoa-core", "stoa-new: no layer of layers.toml lists this crate"),
        ] {
            let found = findings(name, &[import]);
            assert_eq!(found.len(), 1, "{name} -> {import}: {found:?}");
            assert!(found[0].starts_with(sentence), "{}", found[0]);
        }
    }

    #[test]
    fn a_warden_that_grows_is_stopped() {
        let layers = layers();
        let warden = &layers.krate["stoa-warden"];
        let small: Vec<_> = (0..40).map(|n| (format!("c{n}"), "1.0.0".to_owned())).collect();
        assert_eq!(warden.closure("stoa-warden", &small), Vec::<String>::new());
        let mut large = small;
        large.push(("tokio".to_owned(), "1.54.1".to_owned()));
        let found = warden.closure("stoa-warden", &large);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], "stoa-warden is built from tokio 1.54.1, which may not be part of it");
        assert!(found[1].starts_with("stoa-warden is built from 41 crates, 40 at most are allowed: c0 c1"));
        assert_eq!(warden.own_lines("stoa-warden", 3000), None);
        assert!(warden.own_lines("stoa-warden", 3001).is_some());
    }

    #[test]
    fn a_misspelt_key_is_not_ignored() {
        assert!(toml::from_str::<Layers>("[layer.a]\nrank=0\nrule=''\npeers=true\ncrates=[]\nmay_not=[]").is_err());
    }
}
