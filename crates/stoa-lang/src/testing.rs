//! Fake homes, interpreters and projects in a temporary folder, for tests.

use crate::Config;
use serde_json::json;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use stoa_core::run::{Limits, RunSpec};

/// A specification with a working folder and variables.
pub(crate) fn spec(cwd: impl Into<PathBuf>, env: &[(&str, &str)]) -> RunSpec {
    let variables: Vec<_> = env.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let program = json!({ "kind": "command", "argv": ["true"] });
    serde_json::from_value(json!({
        "name": null, "program": program, "cwd": cwd.into(), "env": variables, "named_env": [], "hidden_env": [],
        "limits": Limits::default(), "mounts": [], "network": "host", "retries": 0, "allow_degraded": false,
        "python": null, "terminal": null, "stdin": false, "umask": 0o022, "repeats": null,
    }))
    .unwrap()
}

/// A temporary folder with `home/` (the user's) and `state/` (Stoa's).
pub(crate) struct Tree {
    root: tempfile::TempDir,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let tree = Self { root: tempfile::tempdir().unwrap() };
        tree.dir("home");
        tree.dir("state");
        tree
    }

    pub(crate) fn config(&self) -> Config {
        Config { home: self.path("state"), user_home: self.path("home") }
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        if relative.is_empty() { self.root.path().into() } else { self.root.path().join(relative) }
    }

    pub(crate) fn dir(&self, relative: &str) {
        std::fs::create_dir_all(self.path(relative)).unwrap();
    }

    pub(crate) fn write(&self, relative: &str, content: &str) -> PathBuf {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn executable(&self, relative: &str, content: &str) -> PathBuf {
        let path = self.write(relative, content);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub(crate) fn link(&self, target: impl AsRef<Path>, relative: &str) {
        symlink(target, self.path(relative)).unwrap();
    }

    /// A Python installation that looks like one and can do nothing.
    pub(crate) fn python(&self, prefix: &str, version: &str) {
        self.executable(&format!("{prefix}/bin/python{version}"), "\u{7f}ELF");
        self.link(format!("python{version}"), &format!("{prefix}/bin/python3"));
        self.link("python3", &format!("{prefix}/bin/python"));
        self.dir(&format!("{prefix}/lib/python{version}/site-packages"));
    }

    /// A virtual environment of a Python made by [`Tree::python`].
    pub(crate) fn venv(&self, prefix: &str, base: &str, version: &str) {
        let home = self.path(base).join("bin");
        self.write(
            &format!("{prefix}/pyvenv.cfg"),
            &format!("home = {}\nimplementation = CPython\nversion_info = {version}\n", home.display()),
        );
        self.dir(&format!("{prefix}/bin"));
        self.link(home.join("python3"), &format!("{prefix}/bin/python"));
        let minor: Vec<&str> = version.split('.').take(2).collect();
        self.dir(&format!("{prefix}/lib/python{}/site-packages", minor.join(".")));
    }
}
