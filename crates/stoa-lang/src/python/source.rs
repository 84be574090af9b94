//! Decides where the dependencies of a Python script come from; the order and its reasons stand in the crate's
//! documentation.

use super::metadata::{self, Metadata, line_of};
use super::specifier::Specifiers;
use crate::Config;
use crate::caller::Caller;
use crate::error::{BadProjectFile, ProgramError, PythonError};
use crate::program;
use crate::script::Script;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A requirements file and all that it includes may be this large together.
const MOST_REQUIREMENTS: usize = 1 << 20;

/// Where the dependencies come from.
pub(crate) enum Source {
    /// `--python`.
    Given(PathBuf),
    /// The block of the script.
    Block(Metadata),
    /// An environment that exists: active in the caller's shell, or local.
    Environment { prefix: PathBuf, words: String, active: bool },
    /// `pyproject.toml`.
    Project(Box<Project>),
    /// `requirements.txt`.
    Requirements(Requirements),
    /// Nothing is declared.
    Plain,
}

/// A project file and its lock.
pub(crate) struct Project {
    /// The folder of `pyproject.toml`.
    pub(crate) root: PathBuf,
    /// `pyproject.toml` as text.
    pub(crate) text: String,
    /// Its dependencies, as far as they are listed.
    pub(crate) dependencies: Vec<String>,
    /// Its `requires-python`.
    pub(crate) requires_python: Option<Specifiers>,
    /// Whether the project itself is installed: it says how it is built.
    pub(crate) package: bool,
    /// Whether it has a `dev` group of dependencies, which uv installs too.
    pub(crate) dev_group: bool,
    /// Whether there is anything to install.
    pub(crate) declares: bool,
    /// Paths that are copied when they are installed, so that their content counts.
    pub(crate) copied: Vec<PathBuf>,
    /// `uv.lock` beside it or at the root of its workspace.
    pub(crate) lock: Option<Lock>,
}

/// A lock file.
pub(crate) struct Lock {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// A requirements file with all it includes.
pub(crate) struct Requirements {
    pub(crate) path: PathBuf,
    /// Name and text of the file and of those it includes.
    pub(crate) files: Vec<(PathBuf, String)>,
    /// Whether a line names a path, so that the file means something else elsewhere.
    pub(crate) local: bool,
    /// Paths that are copied when they are installed, so that their content counts.
    pub(crate) copied: Vec<PathBuf>,
}

impl Source {
    /// The first source that applies.
    pub(crate) fn choose(caller: &Caller<'_>, config: &Config, script: &Script) -> Result<Self, PythonError> {
        if let Some(given) = &caller.spec().python {
            return given_python(given, caller, config).map(Self::Given);
        }
        let block = metadata::read(&script.content)
            .map_err(|source| PythonError::Metadata { path: script.typed.clone(), source })?;
        if let Some(block) = block {
            return Ok(Self::Block(block));
        }
        if let Some(active) = active(caller)? {
            return Ok(active);
        }
        let folders = search_folders(caller, config, script);
        if let Some(local) = local_environment(&folders)? {
            return Ok(local);
        }
        for root in project_folders(script.folder(), config) {
            if let Some(project) = Project::read(&root, config)? {
                return Ok(Self::Project(Box::new(project)));
            }
        }
        let beside = [script.folder(), caller.cwd()].into_iter().map(|dir| dir.join("requirements.txt"));
        match beside.into_iter().find(|path| path.is_file()) {
            Some(path) => Requirements::read(path).map(Self::Requirements),
            None => Ok(Self::Plain),
        }
    }
}

/// `--python`: a path, a folder of an environment, or a name on `PATH`.
fn given_python(given: &Path, caller: &Caller<'_>, config: &Config) -> Result<PathBuf, PythonError> {
    let shown = given.display().to_string();
    let inside = caller.absolute(given).join("bin/python");
    if inside.exists() {
        return Ok(inside);
    }
    program::find(&shown, caller, config)
        .map_err(|source: ProgramError| PythonError::Given { given: shown, source: Box::new(source) })
}

/// The environment that is active in the caller's shell.
fn active(caller: &Caller<'_>) -> Result<Option<Source>, PythonError> {
    // conda keeps `base` active in every shell; like uv, that is taken for an installation, not for a choice.
    let conda = caller.var("CONDA_DEFAULT_ENV").filter(|name| !["base", "root"].contains(name));
    let conda = conda.and_then(|_| caller.var("CONDA_PREFIX"));
    let found = caller.var("VIRTUAL_ENV").map(|prefix| ("VIRTUAL_ENV", prefix));
    let Some((variable, prefix)) = found.or_else(|| conda.map(|prefix| ("CONDA_PREFIX", prefix))) else {
        return Ok(None);
    };
    let prefix = caller.absolute(prefix);
    if !prefix.join("bin/python").exists() {
        return Err(PythonError::ActiveMissing { prefix, variable });
    }
    Ok(Some(Source::Environment { prefix, words: "active virtual environment".into(), active: true }))
}

/// The folders where a local environment may lie: the working folder and those above, then the script's and above.
fn search_folders(caller: &Caller<'_>, config: &Config, script: &Script) -> Vec<PathBuf> {
    let mut folders = project_folders(caller.cwd(), config);
    for dir in project_folders(script.folder(), config) {
        if !folders.contains(&dir) {
            folders.push(dir);
        }
    }
    folders
}

fn local_environment(folders: &[PathBuf]) -> Result<Option<Source>, PythonError> {
    let candidates = folders.iter().flat_map(|dir| [dir.join(".venv"), dir.join("venv")]);
    let Some(prefix) = candidates.into_iter().find(|dir| dir.join("pyvenv.cfg").is_file()) else { return Ok(None) };
    if let Err(source) = std::fs::metadata(prefix.join("bin/python")) {
        return Err(PythonError::LocalBroken { prefix, source });
    }
    let words = format!("virtual environment {}", prefix.display());
    Ok(Some(Source::Environment { prefix, words, active: false }))
}

/// `start` and the folders above it that belong to the same project: up to the root of the Git checkout, below the
/// user's home, and only as long as nobody else may write there.
pub(crate) fn project_folders(start: &Path, config: &Config) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for dir in start.ancestors() {
        let first = folders.is_empty();
        if !first && (dir.parent().is_none() || config.user_home.starts_with(dir) || others_may_write(dir)) {
            break;
        }
        folders.push(dir.to_owned());
        if dir.join(".git").exists() {
            break;
        }
    }
    folders
}

fn others_may_write(dir: &Path) -> bool {
    std::fs::metadata(dir).is_ok_and(|meta| meta.permissions().mode() & 0o002 != 0)
}

impl Project {
    /// Reads `pyproject.toml`; `None` when there is none, or when it only configures tools.
    fn read(root: &Path, config: &Config) -> Result<Option<Self>, PythonError> {
        let path = root.join("pyproject.toml");
        if !path.is_file() {
            return Ok(None);
        }
        let bad = |source| PythonError::ProjectFile { path: path.clone(), source };
        let text = std::fs::read_to_string(&path).map_err(|error| bad(error.into()))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = line_of(&text, error.span().map_or(0, |span| span.start)) + 1;
            bad(BadProjectFile::Toml { line, message: error.message().to_owned() })
        })?;
        let poetry = table.get("tool").and_then(|tool| tool.get("poetry"));
        let project = table.get("project").and_then(toml::Value::as_table);
        if project.is_none() && poetry.is_none() {
            return Ok(None);
        }
        let requires_python = project.and_then(|project| project.get("requires-python")).and_then(toml::Value::as_str);
        let requires_python =
            requires_python.map(str::parse).transpose().map_err(|error| bad(BadProjectFile::RequiresPython(error)))?;
        let dependencies = project.and_then(|project| project.get("dependencies")).and_then(metadata::strings);
        let dependencies = dependencies.unwrap_or_default();
        let dynamic = project.is_some_and(|project| project.contains_key("dynamic"));
        let groups = table.get("dependency-groups").and_then(toml::Value::as_table);
        let dev_group = groups.is_some_and(|groups| groups.contains_key("dev"));
        let package = table.contains_key("build-system");
        let lock = lock_of(root, config);
        let declares =
            !dependencies.is_empty() || dynamic || dev_group || package || poetry.is_some() || lock.is_some();
        let mut copied: Vec<PathBuf> = metadata::copied_by(&table).iter().map(|path| root.join(path)).collect();
        copied.extend(lock.iter().flat_map(Lock::copied));
        let root = root.to_owned();
        Ok(Some(Self { root, text, dependencies, requires_python, package, dev_group, declares, copied, lock }))
    }

    /// `uv.lock of demo`, for records.
    pub(crate) fn words(&self) -> String {
        match &self.lock {
            Some(lock) => lock.path.display().to_string(),
            None => self.root.join("pyproject.toml").display().to_string(),
        }
    }
}

impl Lock {
    /// The paths that are copied: `source = { directory = "../lib" }`.
    fn copied(&self) -> Vec<PathBuf> {
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        let forms = ["source = { directory = \"", "source = { path = \""];
        let rest = |line: &'_ str| forms.iter().find_map(|form| line.trim().strip_prefix(form).map(str::to_owned));
        let names = self.text.lines().filter_map(rest);
        names.filter_map(|rest| rest.split('"').next().map(|path| dir.join(path))).collect()
    }
}

/// `uv.lock` beside the project file, or at the root of the workspace it belongs to.
fn lock_of(root: &Path, config: &Config) -> Option<Lock> {
    let read = |dir: &Path| {
        let path = dir.join("uv.lock");
        std::fs::read_to_string(&path).ok().map(|text| Lock { path, text })
    };
    read(root).or_else(|| {
        let above = project_folders(root, config).into_iter().skip(1);
        let workspace = |dir: &PathBuf| {
            std::fs::read_to_string(dir.join("pyproject.toml")).is_ok_and(|text| text.contains("[tool.uv.workspace]"))
        };
        above.into_iter().find(workspace).and_then(|dir| read(&dir))
    })
}

impl Requirements {
    fn read(path: PathBuf) -> Result<Self, PythonError> {
        let mut requirements = Self { path: path.clone(), files: Vec::new(), local: false, copied: Vec::new() };
        let mut seen = BTreeSet::new();
        requirements.include(path, &mut seen)?;
        Ok(requirements)
    }

    fn include(&mut self, path: PathBuf, seen: &mut BTreeSet<PathBuf>) -> Result<(), PythonError> {
        let total: usize = self.files.iter().map(|(_, text)| text.len()).sum();
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        if total > MOST_REQUIREMENTS || !seen.insert(real) {
            return Ok(());
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|error| PythonError::ProjectFile { path: path.clone(), source: error.into() })?;
        let dir = path.parent().unwrap_or(Path::new("/")).to_owned();
        let included: Vec<PathBuf> = text.lines().filter_map(included_file).map(|name| dir.join(name)).collect();
        self.local |= text.lines().any(names_a_path);
        self.copied.extend(text.lines().filter_map(|line| copied_path(line, &dir)));
        self.files.push((path, text));
        included.into_iter().filter(|path| path.is_file()).try_for_each(|path| self.include(path, seen))
    }

    /// The requirement lines of all files.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.files.iter().flat_map(|(_, text)| text.lines()).map(str::trim)
    }
}

/// The file of `-r FILE`, `-c FILE` and their long forms.
fn included_file(line: &str) -> Option<&str> {
    let line = line.trim();
    let forms = ["--requirement=", "--requirement ", "--constraint=", "--constraint ", "-r", "-c"];
    let rest = forms.iter().find_map(|form| line.strip_prefix(form))?.trim();
    let rest = rest.split(" #").next().unwrap_or(rest).trim();
    (!rest.is_empty() && !rest.contains("://")).then_some(rest)
}

/// The path of a line such as `./lib[extra] ; marker`, which is installed by copying.
fn copied_path(line: &str, dir: &Path) -> Option<PathBuf> {
    let line = line.trim();
    let local = line.starts_with(['.', '/']) || line.starts_with("file:");
    let line = line.strip_prefix("file://").unwrap_or(line);
    let end = line.find([' ', '[', ';', '#']).unwrap_or(line.len());
    local.then(|| dir.join(&line[..end]))
}

/// Whether a requirement line points into this machine's files.
fn names_a_path(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("-e")
        || line.starts_with("--editable")
        || line.starts_with(['.', '/'])
        || line.contains("file:")
        || line.ends_with(".whl")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn the_search_ends_at_the_checkout_and_below_the_home() {
        let tree = Tree::new();
        tree.dir("home/code/repo/.git");
        tree.dir("home/code/repo/src/deep");
        tree.dir("home/notes/deep");
        let found = |start: &str| {
            let folders = project_folders(&tree.path(start), &tree.config());
            let short = |dir: &PathBuf| dir.strip_prefix(tree.path("home")).unwrap().display().to_string();
            folders.iter().map(short).collect::<Vec<_>>()
        };
        assert_eq!(found("home/code/repo/src/deep"), ["code/repo/src/deep", "code/repo/src", "code/repo"]);
        assert_eq!(found("home/notes/deep"), ["notes/deep", "notes"]);
        assert_eq!(found("home"), [""]);
    }

    #[test]
    fn a_folder_that_others_may_write_to_ends_the_search() {
        let tree = Tree::new();
        tree.dir("shared/mine");
        std::fs::set_permissions(tree.path("shared"), std::fs::Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(project_folders(&tree.path("shared/mine"), &tree.config()), [tree.path("shared/mine")]);
    }

    #[test]
    fn included_requirements_are_followed_and_circles_end() {
        let tree = Tree::new();
        tree.write("p/requirements.txt", "numpy\n-r sub/more.txt # why\n-c c.txt\n--requirement=https://x/y\n");
        tree.write("p/sub/more.txt", "-r ../requirements.txt\nscipy\n");
        tree.write("p/c.txt", "scipy<2\n");
        let requirements = Requirements::read(tree.path("p/requirements.txt")).unwrap();
        assert_eq!(requirements.files.len(), 3);
        assert!(!requirements.local);
        tree.write("p/c.txt", "-e .\n");
        assert!(Requirements::read(tree.path("p/requirements.txt")).unwrap().local);
    }

    #[test]
    fn a_project_file_that_only_configures_tools_is_none() {
        let tree = Tree::new();
        tree.write("home/p/pyproject.toml", "[tool.ruff]\nline-length = 100\n");
        assert!(Project::read(&tree.path("home/p"), &tree.config()).unwrap().is_none());
        tree.write("home/p/pyproject.toml", "[project]\nname = \"p\"\n");
        assert!(!Project::read(&tree.path("home/p"), &tree.config()).unwrap().unwrap().declares);
        tree.write("home/p/pyproject.toml", "[project\n");
        let error = Project::read(&tree.path("home/p"), &tree.config()).err().unwrap();
        assert!(std::error::Error::source(&error).unwrap().to_string().starts_with("line 1: "));
    }

    #[test]
    fn a_member_of_a_workspace_uses_the_lock_of_its_root() {
        let tree = Tree::new();
        tree.dir("home/w/.git");
        tree.write("home/w/pyproject.toml", "[tool.uv.workspace]\nmembers = [\"a\"]\n");
        tree.write("home/w/uv.lock", "version = 1\n");
        tree.write("home/w/a/pyproject.toml", "[project]\nname = \"a\"\n");
        let project = Project::read(&tree.path("home/w/a"), &tree.config()).unwrap().unwrap();
        assert_eq!(project.words(), tree.path("home/w/uv.lock").display().to_string());
    }
}
