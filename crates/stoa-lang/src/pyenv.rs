//! Sees through pyenv's shims without starting pyenv, whose shell scripts triple the start-up of Python.
//!
//! The version is chosen as pyenv documents it: `PYENV_VERSION`, then `.python-version` in the working folder and its
//! parents, then `$PYENV_ROOT/version`, then "system". A shim never runs; only names and files are looked at.

use crate::caller::Caller;
use crate::{Config, program};
use std::path::{Path, PathBuf};

/// Whether the file is one of pyenv's shims: it lies in `shims` beside `versions`.
pub(crate) fn is_shim(path: &Path) -> bool {
    root_of(path).is_some()
}

/// pyenv's root, for a path in its `shims` folder.
fn root_of(path: &Path) -> Option<PathBuf> {
    let shims = path.parent()?;
    let root = shims.parent()?;
    (shims.file_name()? == "shims" && root.join("versions").is_dir()).then(|| root.to_owned())
}

/// What the shim would execute; `None` when the chosen versions do not have the program.
pub(crate) fn target(shim: &Path, name: &str, caller: &Caller<'_>, config: &Config) -> Option<PathBuf> {
    let root = root_of(shim)?;
    let chosen = chosen_versions(&root, caller);
    for version in &chosen {
        if version == "system" {
            if let Some(path) = system(name, caller, config) {
                return Some(path);
            }
        } else if let Some(path) = version_folder(&root, version).map(|folder| folder.join("bin").join(name))
            && program::is_executable(&path)
        {
            return Some(path);
        }
    }
    None
}

/// The program on `PATH` outside of pyenv's shims.
fn system(name: &str, caller: &Caller<'_>, _config: &Config) -> Option<PathBuf> {
    let candidates = caller.search_path().into_iter().map(|dir| dir.join(name));
    candidates.filter(|path| !is_shim(path)).find(|path| program::is_executable(path))
}

/// The versions in force, in order.
fn chosen_versions(root: &Path, caller: &Caller<'_>) -> Vec<String> {
    if let Some(given) = caller.var("PYENV_VERSION") {
        return given.split(':').map(str::to_owned).collect();
    }
    let local = caller.cwd().ancestors().find_map(|dir| versions_in(&dir.join(".python-version")));
    local.or_else(|| versions_in(&root.join("version"))).unwrap_or_else(|| vec!["system".to_owned()])
}

/// The versions a version file names; `None` when there is no such file or it names none.
pub(crate) fn versions_in(file: &Path) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(file).ok()?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let versions: Vec<String> = lines.flat_map(str::split_whitespace).map(str::to_owned).collect();
    (!versions.is_empty()).then_some(versions)
}

/// The folder of a version: its exact name, or the newest with that prefix (`3.12` finds `3.12.4`).
fn version_folder(root: &Path, version: &str) -> Option<PathBuf> {
    let versions = root.join("versions");
    let version = version.strip_prefix("python-").unwrap_or(version);
    let exact = versions.join(version);
    if exact.is_dir() {
        return Some(exact);
    }
    let prefix = format!("{version}.");
    let names = std::fs::read_dir(&versions).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let newest = names.filter(|name| name.starts_with(&prefix)).max_by_key(|name| numbers(name))?;
    Some(versions.join(newest))
}

fn numbers(version: &str) -> Vec<u64> {
    version.split('.').map_while(|part| part.parse().ok()).collect()
}

/// All CPython versions of the pyenv installation that is in use, the newest first.
pub(crate) fn installed(caller: &Caller<'_>, config: &Config) -> Vec<PathBuf> {
    let root = caller.var("PYENV_ROOT").map_or_else(|| config.user_home.join(".pyenv"), PathBuf::from);
    let Ok(entries) = std::fs::read_dir(root.join("versions")) else { return Vec::new() };
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.retain(|name| name.starts_with("3."));
    names.sort_by_key(|name| std::cmp::Reverse(numbers(name)));
    names.iter().map(|name| root.join("versions").join(name).join("bin/python3")).filter(|path| path.exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Tree, spec};

    fn pyenv() -> Tree {
        let tree = Tree::new();
        for version in ["3.9.18", "3.12.1", "3.12.10", "2.7.18"] {
            tree.executable(&format!("pyenv/versions/{version}/bin/python"), "");
        }
        tree.executable("pyenv/versions/3.12.1/bin/tool", "");
        tree.executable("pyenv/shims/python", "#!/bin/sh\n");
        tree.executable("pyenv/shims/tool", "#!/bin/sh\n");
        tree.executable("usr/bin/python", "");
        tree.write("pyenv/version", "3.9.18\n");
        tree.dir("project/deep");
        tree
    }

    fn resolve(tree: &Tree, name: &str, extra: &[(&str, &str)]) -> Option<String> {
        let path = format!("{}:{}", tree.path("pyenv/shims").display(), tree.path("usr/bin").display());
        let mut variables = vec![("PATH", path.as_str())];
        variables.extend_from_slice(extra);
        let spec = spec(tree.path("project/deep"), &variables);
        let found = program::on_path(name, &Caller::new(&spec), &tree.config())?;
        Some(found.strip_prefix(tree.path("")).unwrap().display().to_string())
    }

    #[test]
    fn versions_are_chosen_as_pyenv_does() {
        let tree = pyenv();
        assert_eq!(resolve(&tree, "python", &[]).unwrap(), "pyenv/versions/3.9.18/bin/python");
        assert_eq!(
            resolve(&tree, "python", &[("PYENV_VERSION", "3.12")]).unwrap(),
            "pyenv/versions/3.12.10/bin/python"
        );
        assert_eq!(resolve(&tree, "python", &[("PYENV_VERSION", "system")]).unwrap(), "usr/bin/python");
        tree.write("project/.python-version", "# pinned\n3.12.1\n");
        assert_eq!(resolve(&tree, "python", &[]).unwrap(), "pyenv/versions/3.12.1/bin/python");
        assert_eq!(resolve(&tree, "tool", &[]).unwrap(), "pyenv/versions/3.12.1/bin/tool");
    }

    #[test]
    fn a_shim_that_leads_nowhere_is_passed_over() {
        let tree = pyenv();
        assert_eq!(resolve(&tree, "tool", &[]), None);
        assert_eq!(resolve(&tree, "python", &[("PYENV_VERSION", "9.9")]).unwrap(), "usr/bin/python");
    }
}
