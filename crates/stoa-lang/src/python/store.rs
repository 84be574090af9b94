//! The folder of environments: keys, readiness, and moving a finished environment into place.

use super::interpreter::Base;
use super::prepare::{PROJECT_LOCK, PYLOCK};
use crate::Config;
use crate::caller::Caller;
use crate::error::PythonError;
use sha2::{Digest, Sha256};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use stoa_core::port::Resolved;
use stoa_core::run::EnvironmentRef;

/// Changes when environments are made differently, so that older ones are not taken for new ones.
const SCHEME: &str = "stoa environment 1";

/// Hex digits of a key: 128 bits, more than enough against chance, short enough for `#!` lines inside the environment.
const KEY_DIGITS: usize = 32;

/// Settings of uv that change what is resolved or installed.
const SETTINGS: [&str; 16] = [
    "PIP_EXTRA_INDEX_URL",
    "PIP_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_EXCLUDE_NEWER",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_FORK_STRATEGY",
    "UV_INDEX",
    "UV_INDEX_STRATEGY",
    "UV_INDEX_URL",
    "UV_NO_BINARY",
    "UV_NO_BUILD",
    "UV_NO_DEV",
    "UV_PRERELEASE",
    "UV_RESOLUTION",
    "UV_TORCH_BACKEND",
];

/// Settings of uv that name files whose content matters; several are separated by spaces.
pub(crate) const SETTING_FILES: [&str; 5] =
    ["UV_BUILD_CONSTRAINT", "UV_CONFIG_FILE", "UV_CONSTRAINT", "UV_EXCLUDE", "UV_OVERRIDE"];

/// Files of one copied source that are looked at; beyond that a change may go unnoticed.
const MOST_COPIED: usize = 5_000;

/// Whether a file or folder is made by tools and not by people.
fn is_by_product(name: &str) -> bool {
    name.starts_with('.') || name.ends_with(".egg-info") || ["__pycache__", "build", "dist", "venv"].contains(&name)
}

/// Where one environment lies, made or not.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) key: String,
    /// `envs/<key>`.
    pub(crate) dir: PathBuf,
    /// Where it is made.
    pub(crate) staging: PathBuf,
    /// What was resolved for this key before, if anything.
    pub(crate) lock: PathBuf,
}

impl Place {
    pub(crate) fn of(key: &str, config: &Config) -> Self {
        Self {
            key: key.to_owned(),
            dir: config.home.join("envs").join(key),
            staging: config.home.join("cache/staging").join(key),
            lock: config.home.join("locks").join(format!("{key}.toml")),
        }
    }

    pub(crate) fn python(&self) -> PathBuf {
        self.dir.join("venv/bin/python")
    }

    /// Whether it is complete and its interpreter still there.
    pub(crate) fn is_ready(&self) -> bool {
        self.dir.join("ready").exists() && self.python().exists()
    }

    /// The installed packages.
    pub(crate) fn packages(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.join("lock.txt")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// Collects what an environment depends on into its key.
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    /// Starts with what matters for every environment: platform, interpreter, settings.
    pub(crate) fn new(caller: &Caller<'_>, config: &Config, base: &Base) -> Self {
        let mut print = Self(Sha256::new());
        print.add("scheme", SCHEME);
        print.add("platform", std::env::consts::ARCH);
        match base {
            Base::Found(python) => print.add("interpreter", &python.identity()),
            Base::Uv { request } => print.add("request", request),
        }
        for name in SETTINGS {
            if let Some(value) = caller.var(name) {
                print.add(name, value);
            }
        }
        for name in SETTING_FILES {
            for file in caller.var(name).into_iter().flat_map(str::split_whitespace) {
                print.file(name, &caller.absolute(file));
            }
        }
        print.file("user settings", &config.user_home.join(".config/uv/uv.toml"));
        print
    }

    /// Adds a labelled text. Lengths are hashed too, so that no two lists of texts look alike.
    pub(crate) fn add(&mut self, label: &str, text: &str) {
        for part in [label, text] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part.as_bytes());
        }
    }

    /// Adds the content of a file, if there is one.
    pub(crate) fn file(&mut self, label: &str, path: &Path) {
        if let Ok(text) = std::fs::read_to_string(path) {
            self.add(label, &text);
        }
    }

    /// Adds the state of files that are copied when they are installed: names, sizes and times, so that a change is noticed.
    pub(crate) fn state(&mut self, paths: &[PathBuf]) {
        for path in paths {
            let mut left = MOST_COPIED;
            self.add("copied", &path.to_string_lossy());
            self.state_below(path, &mut left);
        }
    }

    fn state_below(&mut self, path: &Path, left: &mut usize) {
        let Ok(meta) = std::fs::metadata(path) else { return };
        if *left == 0 {
            return;
        }
        *left -= 1;
        if !meta.is_dir() {
            self.add(&path.to_string_lossy(), &format!("{} {}.{}", meta.len(), meta.mtime(), meta.mtime_nsec()));
            return;
        }
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.retain(|name| !is_by_product(&name.to_string_lossy()));
        names.sort();
        names.iter().for_each(|name| self.state_below(&path.join(name), left));
    }

    pub(crate) fn key(self) -> String {
        let digits = self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        digits[..KEY_DIGITS].to_owned()
    }
}

/// The packages of a `site-packages` below `prefix`, as `name==version` in the order of their names.
pub(crate) fn packages_below(prefix: &Path) -> Vec<String> {
    let versions = std::fs::read_dir(prefix.join("lib")).into_iter().flatten().flatten();
    let sites = versions.filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"));
    let entries =
        sites.filter_map(|entry| std::fs::read_dir(entry.path().join("site-packages")).ok()).flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut packages: Vec<String> = names.filter_map(|name| package_of(&name)).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// `stable_baselines3-2.4.0.dist-info` is `stable-baselines3==2.4.0`.
fn package_of(folder: &str) -> Option<String> {
    let (name, version) = folder.strip_suffix(".dist-info")?.split_once('-')?;
    Some(format!("{}=={version}", name.replace('_', "-").to_ascii_lowercase()))
}

/// Seals the environment that a preparation has made and moves it into place.
pub(crate) fn seal(config: &Config, resolved: &Resolved) -> Result<EnvironmentRef, PythonError> {
    let (Some(preparation), Some(environment)) = (&resolved.preparation, &resolved.environment) else {
        return Err(PythonError::NothingPrepared);
    };
    let place = Place::of(&preparation.key, config);
    let sealed = |packages| EnvironmentRef { lock: packages, ..environment.clone() };
    if place.is_ready() {
        remove(&place.staging)?;
        return Ok(sealed(place.packages()));
    }
    let venv = place.staging.join("venv");
    let incomplete = |source| PythonError::Incomplete { key: place.key.clone(), source };
    std::fs::metadata(venv.join("bin/python")).map_err(incomplete)?;
    let environment = sealed(packages_below(&venv));
    keep_lock(&place)?;
    write_marks(&place, &environment)?;
    let envs = config.home.join("envs");
    make_dir(&envs)?;
    // What lies there is not ready: the rest of a removed Python or of a damaged disk.
    remove(&place.dir)?;
    std::fs::rename(&place.staging, &place.dir).map_err(home_error(&place.dir))?;
    sync_folder(&envs);
    Ok(environment)
}

/// Keeps what was resolved, so that this key always means these versions.
fn keep_lock(place: &Place) -> Result<(), PythonError> {
    let mut resolved = [PYLOCK, PROJECT_LOCK].into_iter().map(|name| place.staging.join(name));
    let Some(resolved) = resolved.find(|path| path.exists()) else { return Ok(()) };
    if place.lock.exists() {
        return Ok(());
    }
    if let Some(dir) = place.lock.parent() {
        make_dir(dir)?;
    }
    let part = place.lock.with_extension("part");
    std::fs::copy(&resolved, &part).and_then(|_| std::fs::rename(&part, &place.lock)).map_err(home_error(&place.lock))
}

/// Writes the list of packages, the description and, last, the mark of readiness.
fn write_marks(place: &Place, environment: &EnvironmentRef) -> Result<(), PythonError> {
    let spec = serde_json::to_string_pretty(environment).expect("a record of strings is JSON");
    let list: String = environment.lock.iter().map(|package| format!("{package}\n")).collect();
    for (name, text) in [("lock.txt", list), ("spec.json", spec)] {
        write(&place.staging.join(name), &text)?;
    }
    // Files that uv wrote must be on the disk before the mark that vouches for them.
    sync_everything(&place.staging);
    write(&place.staging.join("ready"), &place.key)
}

fn write(path: &Path, text: &str) -> Result<(), PythonError> {
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(home_error(path))
}

/// Flushes the file system of a folder; a failure only costs the guarantee after a power cut.
fn sync_everything(dir: &Path) {
    if let Ok(dir) = std::fs::File::open(dir) {
        let _ = rustix::fs::syncfs(&dir);
    }
}

fn sync_folder(dir: &Path) {
    if let Ok(dir) = std::fs::File::open(dir) {
        let _ = dir.sync_all();
    }
}

/// Makes a folder and those above it.
pub(crate) fn make_dir(dir: &Path) -> Result<(), PythonError> {
    std::fs::create_dir_all(dir).map_err(home_error(dir))
}

fn remove(dir: &Path) -> Result<(), PythonError> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(home_error(dir)(error)),
        _ => Ok(()),
    }
}

fn home_error(path: &Path) -> impl Fn(std::io::Error) -> PythonError {
    let path = path.to_owned();
    move |source| PythonError::Home { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Tree, spec};

    fn key(tree: &Tree, env: &[(&str, &str)], texts: &[(&str, &str)]) -> String {
        let spec = spec(tree.path(""), env);
        let mut print = Fingerprint::new(&Caller::new(&spec), &tree.config(), &Base::Uv { request: "3".into() });
        for (label, text) in texts {
            print.add(label, text);
        }
        print.key()
    }

    #[test]
    fn a_key_depends_on_what_is_installed_and_on_nothing_else() {
        let tree = Tree::new();
        tree.write("override.txt", "numpy==1");
        let plain = key(&tree, &[], &[("a", "b")]);
        assert_eq!(plain, key(&tree, &[("EDITOR", "vi")], &[("a", "b")]));
        assert_eq!(plain.len(), KEY_DIGITS);
        for other in [
            key(&tree, &[], &[("ab", "")]),
            key(&tree, &[("UV_INDEX_URL", "http://x")], &[("a", "b")]),
            key(&tree, &[("UV_OVERRIDE", "override.txt")], &[("a", "b")]),
        ] {
            assert_ne!(plain, other);
        }
        let before = key(&tree, &[("UV_OVERRIDE", "override.txt")], &[]);
        tree.write("override.txt", "numpy==2");
        assert_ne!(before, key(&tree, &[("UV_OVERRIDE", "override.txt")], &[]));
    }

    #[test]
    fn packages_are_listed_by_their_names() {
        let tree = Tree::new();
        for name in ["stable_baselines3-2.4.0.dist-info", "NumPy-2.1.0.dist-info", "numpy", "x.egg-link"] {
            tree.dir(&format!("v/lib/python3.12/site-packages/{name}"));
        }
        assert_eq!(packages_below(&tree.path("v")), ["numpy==2.1.0", "stable-baselines3==2.4.0"]);
    }
}
