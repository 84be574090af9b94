//! Python interpreters: found on `PATH` and in version managers, described from their paths without starting them.

use super::specifier::{Specifiers, Version};
use crate::caller::Caller;
use crate::error::{NotFoundCause, PythonError};
use crate::{Config, program, pyenv};
use std::path::{Path, PathBuf};

/// Minor versions of Python 3 that are looked for by name, the newest first.
const MINORS: std::ops::RangeInclusive<u32> = 8..=15;

/// A Python and what its path says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// As it is started: a link in a virtual environment stays one, since Python finds its packages by it.
    pub path: PathBuf,
    /// The file behind all links.
    pub real: PathBuf,
    /// Its version, where the path tells.
    pub version: Option<Version>,
    /// `pyvenv.cfg` of the virtual environment it belongs to.
    environment: Option<EnvironmentFile>,
}

/// The two entries of `pyvenv.cfg` that matter here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct EnvironmentFile {
    home: Option<PathBuf>,
    version: Option<Version>,
}

impl Interpreter {
    /// Describes the interpreter at a path.
    pub(crate) fn at(path: &Path) -> Self {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let prefix = path.parent().and_then(Path::parent);
        let environment = prefix.and_then(|prefix| EnvironmentFile::read(&prefix.join("pyvenv.cfg")));
        let version = environment.as_ref().and_then(|file| file.version).or_else(|| version_of(&real));
        Self { path: path.to_owned(), real, version, environment }
    }

    /// Whether a file is named like a Python interpreter.
    pub(crate) fn has_python_name(path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let rest = name.strip_prefix("python").or_else(|| name.strip_prefix("pypy"));
        rest.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b't'))
    }

    /// Whether it belongs to a virtual environment.
    pub(crate) fn is_virtual(&self) -> bool {
        self.environment.is_some()
    }

    /// The `bin` folder of the Python that its virtual environment was made from.
    pub(crate) fn base_folder(&self) -> Option<&Path> {
        self.environment.as_ref()?.home.as_deref()
    }

    /// The installation's folder: the parent of `bin`.
    pub(crate) fn prefix(&self) -> Option<&Path> {
        self.path.parent().and_then(Path::parent)
    }

    /// A text that changes when environments made from it would no longer fit.
    pub(crate) fn identity(&self) -> String {
        let version = self.version.map(|version| version.to_string()).unwrap_or_default();
        format!("{} {version}", self.real.display())
    }
}

impl EnvironmentFile {
    fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        let mut file = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match key.trim() {
                "home" => file.home = Some(PathBuf::from(value.trim())),
                "version" | "version_info" => file.version = Version::parse(value.trim()),
                _ => {}
            }
        }
        Some(file)
    }
}

/// `.../3.12.1/bin/python3.12` is 3.12.1, `/usr/bin/python3.11` is 3.11 of an unknown patch.
fn version_of(real: &Path) -> Option<Version> {
    let name = real.file_name()?.to_str()?;
    let named = name.strip_prefix("python").or_else(|| name.strip_prefix("pypy")).and_then(Version::parse);
    let folders = real.ancestors().skip(1).filter_map(|dir| dir.file_name()?.to_str());
    let full = folders.filter_map(|folder| {
        let text = folder.strip_prefix("cpython-").unwrap_or(folder);
        Version::parse(text).filter(|version| version.patch.is_some())
    });
    let mut full = full.filter(|full| named.is_none_or(|named| (named.major, named.minor) == (full.major, full.minor)));
    full.next().or(named)
}

/// What an environment is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    /// A Python that is here.
    Found(Interpreter),
    /// None here fits for certain: uv looks further and may download one.
    Uv {
        /// What it looks for: `>=3.13`.
        request: String,
    },
}

/// The `python` a shell would start, else `python3`; Python 2 is passed over.
pub(crate) fn default(caller: &Caller<'_>, config: &Config) -> Result<Interpreter, PythonError> {
    let found = ["python", "python3"].into_iter().filter_map(|name| program::on_path(name, caller, config));
    let mut three =
        found.map(|path| Interpreter::at(&path)).filter(|python| python.version.is_none_or(|v| v.major == 3));
    three.next().or_else(|| elsewhere(caller, config).next()).ok_or_else(|| PythonError::NoPython {
        source: if caller.search_path().is_empty() { NotFoundCause::EmptyPath } else { NotFoundCause::Path },
    })
}

/// The Python that fits: the default one if it does, else the newest that is here, else whatever uv finds.
pub(crate) fn choose(caller: &Caller<'_>, config: &Config, requires: Option<&Specifiers>) -> Result<Base, PythonError> {
    let default = default(caller, config)?;
    let Some(requires) = requires else { return Ok(Base::Found(default)) };
    let fits = |python: &Interpreter| python.version.and_then(|version| requires.admit(version)) == Some(true);
    if fits(&default) {
        return Ok(Base::Found(default));
    }
    Ok(elsewhere(caller, config).find(fits).map_or_else(|| Base::Uv { request: requires.to_string() }, Base::Found))
}

/// Pythons beside the default one: `python3.N` on `PATH`, then pyenv's, then uv's; each group from the newest down.
fn elsewhere<'a>(caller: &'a Caller<'_>, config: &'a Config) -> impl Iterator<Item = Interpreter> + 'a {
    let named = MINORS.rev().filter_map(|minor| program::on_path(&format!("python3.{minor}"), caller, config));
    let pyenv = std::iter::once_with(|| pyenv::installed(caller, config)).flatten();
    let uv = std::iter::once_with(|| managed_by_uv(config)).flatten();
    named.chain(pyenv).chain(uv).map(|path| Interpreter::at(&path))
}

/// Pythons that uv downloaded for the user or for Stoa.
fn managed_by_uv(config: &Config) -> Vec<PathBuf> {
    let roots = [config.home.join("tools/python"), config.user_home.join(".local/share/uv/python")];
    let folders = roots.iter().filter_map(|root| std::fs::read_dir(root).ok()).flatten().flatten();
    let mut pythons: Vec<PathBuf> = folders.map(|entry| entry.path().join("bin/python3")).collect();
    pythons.retain(|path| path.exists());
    pythons.sort_by_key(|path| std::cmp::Reverse(Interpreter::at(path).version));
    pythons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Tree, spec};

    fn tree() -> Tree {
        let tree = Tree::new();
        tree.python("usr", "3.11");
        tree.python("home/.pyenv/versions/3.9.18", "3.9");
        tree.python("home/.pyenv/versions/3.13.2", "3.13");
        tree.python("home/.local/share/uv/python/cpython-3.12.4-linux-x86_64-gnu", "3.12");
        tree
    }

    fn chosen(tree: &Tree, requires: &str) -> Base {
        let spec = spec(tree.path(""), &[("PATH", tree.path("usr/bin").to_str().unwrap())]);
        let requires: Specifiers = requires.parse().unwrap();
        choose(&Caller::new(&spec), &tree.config(), Some(&requires)).unwrap()
    }

    #[test]
    fn versions_are_read_from_paths() {
        let tree = tree();
        let version = |path: &str| Interpreter::at(&tree.path(path)).version.unwrap().to_string();
        assert_eq!(version("usr/bin/python"), "3.11");
        assert_eq!(version("home/.pyenv/versions/3.9.18/bin/python"), "3.9.18");
        assert_eq!(version("home/.local/share/uv/python/cpython-3.12.4-linux-x86_64-gnu/bin/python3"), "3.12.4");
        tree.venv("v", "usr", "3.11.2");
        assert_eq!(version("v/bin/python"), "3.11.2");
    }

    #[test]
    fn the_default_python_is_kept_when_it_fits() {
        let tree = tree();
        for (requires, path) in [
            (">=3.10", "usr/bin/python"),
            (">=3.12", "home/.pyenv/versions/3.13.2/bin/python3"),
            ("==3.9.*", "home/.pyenv/versions/3.9.18/bin/python3"),
            ("==3.12.*", "home/.local/share/uv/python/cpython-3.12.4-linux-x86_64-gnu/bin/python3"),
        ] {
            let Base::Found(python) = chosen(&tree, requires) else { panic!("{requires}") };
            assert_eq!(python.path, tree.path(path), "{requires}");
        }
        assert_eq!(chosen(&tree, ">=3.14"), Base::Uv { request: ">=3.14".into() });
        assert_eq!(chosen(&tree, "==3.11.4"), Base::Uv { request: "==3.11.4".into() });
    }

    #[test]
    fn python_2_is_never_the_default() {
        let tree = tree();
        tree.python("old", "2.7");
        let path = format!("{}:{}", tree.path("old/bin").display(), tree.path("usr/bin").display());
        let spec = spec(tree.path(""), &[("PATH", &path)]);
        std::fs::remove_file(tree.path("old/bin/python3")).unwrap();
        std::fs::remove_file(tree.path("old/bin/python")).unwrap();
        tree.link("python2.7", "old/bin/python");
        assert_eq!(default(&Caller::new(&spec), &tree.config()).unwrap().path, tree.path("usr/bin/python3"));
    }

    #[test]
    fn names_of_interpreters() {
        for (name, yes) in
            [("python", true), ("python3.13t", true), ("pypy3.10", true), ("python-config", false), ("pip", false)]
        {
            assert_eq!(Interpreter::has_python_name(Path::new(name)), yes, "{name}");
        }
    }
}
