//! Describes how a missing Python environment is made: the steps, what they may see, and what the user is told before.

use super::interpreter::{Base, Interpreter};
use super::metadata::Metadata;
use super::source::{Project, Requirements};
use super::store::{Place, make_dir};
use super::uv::{self, Uv};
use crate::Config;
use crate::caller::{Caller, text, variable};
use crate::error::PythonError;
use crate::visible::Visible;
use std::path::{Path, PathBuf};
use stoa_core::port::{Preparation, Step};

/// Makes the empty environment. What an interrupted preparation left is removed first. Relocatable, since the
/// environment is moved into place when it is complete.
/// Arguments: staging folder, uv, interpreter or request, further options.
const CREATE: &str = r#"set -eu
staging=$1 uv=$2 python=$3; shift 3
rm -rf "$staging"
mkdir -p "$staging"
exec "$uv" venv --relocatable --no-project --python "$python" "$@" "$staging/venv"
"#;

/// Resolves requirements into `pylock.toml` (PEP 751), which names every file with its address and hash: what is
/// installed later is what was resolved, from the index it was found in.
///
/// PyTorch's builds for the processor or for a certain CUDA lie in an index of their own, which `--torch-backend=auto`
/// chooses by the GPU driver. Where that index cannot be reached, PyPI's build is taken: the CUDA one.
/// Arguments: staging folder, uv, `auto` or `given`, the folder to work in, the name of an input to write or `-`, its
/// text, and the options and inputs of `uv pip compile`.
const RESOLVE: &str = r#"set -u
staging=$1 uv=$2 torch=$3 folder=$4 input=$5 content=$6; shift 6
lock="$staging/pylock.toml" log="$staging/resolve.log"
if [ "$input" != - ]; then printf '%s\n' "$content" >"$staging/$input" || exit 1; set -- "$@" "$staging/$input"; fi
cd "$folder" || exit 1
compile() { "$uv" pip compile --quiet --no-header --python "$staging/venv/bin/python" --output-file "$lock" "$@"; }
if [ "$torch" != auto ]; then compile "$@"; exit; fi
if UV_HTTP_RETRIES=${UV_HTTP_RETRIES:-1} compile --torch-backend auto "$@" 2>"$log"; then
  cat "$log" >&2
elif grep -q 'download\.pytorch\.org' "$log"; then
  echo "note: the package index of PyTorch cannot be reached; taking the build of the default index" >&2
  compile "$@" || exit
elif grep -q "unexpected argument '--torch-backend'" "$log"; then
  compile "$@" || exit
elif grep -qE 'Request failed|Failed to fetch' "$log"; then
  compile --torch-backend auto "$@" || exit
else
  cat "$log" >&2; exit 1
fi
if grep -qE '^name = "nvidia-(cuda|cublas|cudnn)' "$lock"; then
  echo "note: PyTorch's CUDA build is a download of about 3 GB and takes about 5.5 GB of disk" >&2
fi
exit 0
"#;

/// Resolves a block that depends on its script's folder, or that has a lock file beside the script. The script's folder
/// stays as it is. Arguments: staging folder, uv, script, further options.
const EXPORT: &str = r#"set -u
staging=$1 uv=$2 script=$3; shift 3
exec "$uv" export --quiet --script "$script" --python "$staging/venv/bin/python" --format pylock.toml \
  --output-file "$staging/pylock.toml" "$@"
"#;

/// Resolves a block that has settings for uv: as a project of its own, where uv follows sources and indexes.
/// Arguments: staging folder, uv, the project file's text.
const LOCK: &str = r#"set -eu
mkdir -p "$1/project"
printf '%s\n' "$3" >"$1/project/pyproject.toml"
exec "$2" lock --quiet --project "$1/project" --python "$1/venv/bin/python"
"#;

/// Takes the lock of an earlier preparation of the same key.
/// Arguments: staging folder, the kept lock, its name there, and a project file's text or nothing.
const REUSE: &str = r#"set -eu
mkdir -p "$(dirname "$1/$3")"
cp "$2" "$1/$3"
if [ -n "$4" ]; then printf '%s\n' "$4" >"$1/project/pyproject.toml"; fi
"#;

/// Installs what was resolved. Byte code is compiled now, because runs cannot write into a shared environment.
/// Arguments: staging folder, uv, and further options of `uv pip install`.
const INSTALL: &str = r#"set -u
staging=$1 uv=$2; shift 2
cd "$staging" || exit 1
exec "$uv" pip install --no-deps --compile-bytecode --python "$staging/venv/bin/python" \
  --requirement "$staging/pylock.toml" "$@"
"#;

/// The resolved files, relative to the staging folder.
pub(crate) const PYLOCK: &str = "pylock.toml";
pub(crate) const PROJECT_LOCK: &str = "project/uv.lock";

/// How the title of a step begins in which uv looks for a Python.
pub(crate) const FINDING_PYTHON: &str = "Finding Python";

const RESOLVING: &str = "Resolving dependencies";

/// Packages that bring PyTorch along.
const BRING_TORCH: [&str; 24] = [
    "accelerate",
    "bitsandbytes",
    "botorch",
    "fastai",
    "gpytorch",
    "lightning",
    "open-clip-torch",
    "peft",
    "pytorch-lightning",
    "sb3-contrib",
    "sentence-transformers",
    "skorch",
    "stable-baselines3",
    "timm",
    "torch",
    "torch-geometric",
    "torchaudio",
    "torchmetrics",
    "torchrl",
    "torchvision",
    "trl",
    "ultralytics",
    "vllm",
    "xformers",
];

const TORCH_NOTICE: &str = "PyTorch is among the dependencies. Its CUDA build is a download of about 3 GB and takes about \
                            5.5 GB of disk; without a GPU the CPU build of about 200 MB is taken where it can be reached. \
                            This happens once";

/// What is to be installed.
pub(crate) enum Wanted<'a> {
    /// The dependencies of a block.
    Block { metadata: &'a Metadata, how: How<'a> },
    /// A requirements file.
    File(&'a Requirements),
    /// A project, with or without lock.
    Project(&'a Project),
}

/// How the dependencies of a block are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How<'a> {
    /// As a list of requirements, with the right build of PyTorch.
    Requirements,
    /// As a project of its own: it has settings for uv.
    Project,
    /// In the place of the script: it names files near it.
    Script(&'a Path),
    /// From the lock file beside the script.
    Locked(&'a Path),
}

impl<'a> How<'a> {
    /// The way that follows everything the block says.
    pub(crate) fn of(metadata: &Metadata, script: &'a Path, locked: bool) -> Self {
        match (locked, metadata.local_sources, metadata.uv_settings) {
            (true, ..) => Self::Locked(script),
            (_, true, _) => Self::Script(script),
            (.., true) => Self::Project,
            _ => Self::Requirements,
        }
    }

    /// The script, when it is read where it lies.
    pub(crate) fn script(self) -> Option<&'a Path> {
        match self {
            Self::Script(script) | Self::Locked(script) => Some(script),
            Self::Requirements | Self::Project => None,
        }
    }
}

/// The parts all steps share.
pub(crate) struct Plan<'a> {
    caller: &'a Caller<'a>,
    config: &'a Config,
    place: &'a Place,
    base: &'a Base,
    uv: PathBuf,
    env: Vec<stoa_core::run::Variable>,
    mounts: Vec<stoa_core::run::Mount>,
}

/// The preparation of an environment.
pub(crate) fn describe(
    caller: &Caller<'_>,
    config: &Config,
    place: &Place,
    base: &Base,
    wanted: &Wanted<'_>,
) -> Result<Preparation, PythonError> {
    let uv = Uv::find(caller, config, &place.key)?;
    let mut visible = Visible::default();
    let mut env = uv::cache(caller, config, &mut visible)?;
    env.extend(uv::settings(caller, config, &mut visible));
    let venv = place.staging.join("venv");
    env.extend([variable("VIRTUAL_ENV", text(&venv)), variable("UV_PROJECT_ENVIRONMENT", text(&venv))]);
    env.push(variable("UV_PREVIEW_FEATURES", "pylock"));
    env.push(variable("UV_PYTHON_INSTALL_DIR", text(&config.home.join("tools/python"))));
    visible.program(&uv.path, config);
    show_base(base, config, &mut visible)?;
    show_inputs(wanted, &mut visible);
    if place.lock.exists() {
        visible.read(&place.lock);
    }
    let plan = Plan { caller, config, place, base, uv: uv.path, env, mounts: visible.into_mounts() };
    let mut steps: Vec<Step> = uv.install.into_iter().collect();
    steps.push(plan.create());
    match wanted {
        Wanted::Project(Project { lock: Some(_), root, .. }) => steps.push(plan.sync(root)),
        Wanted::Block { metadata, how: How::Project } => {
            steps.extend([plan.lock(metadata), plan.sync_locked()]);
        }
        wanted => steps.extend([plan.resolve(wanted), plan.install(wanted)]),
    }
    Ok(Preparation { key: place.key.clone(), steps, notice: notice(wanted) })
}

/// The interpreter, or a place for the one that uv downloads.
fn show_base(base: &Base, config: &Config, visible: &mut Visible) -> Result<(), PythonError> {
    let tools = config.home.join("tools");
    match base {
        Base::Found(python) => {
            visible.interpreter(python, config);
            visible.interpreter(&Interpreter::at(&python.real), config);
            visible.read(&tools);
        }
        Base::Uv { .. } => {
            make_dir(&tools)?;
            visible.write(&tools);
        }
    }
    Ok(())
}

/// The files that are read, and the project that is built in place.
fn show_inputs(wanted: &Wanted<'_>, visible: &mut Visible) {
    match wanted {
        Wanted::Block { how, .. } => {
            if let Some(dir) = how.script().and_then(Path::parent) {
                visible.read(dir);
            }
        }
        Wanted::File(requirements) => {
            for (path, _) in &requirements.files {
                visible.read(path.parent().unwrap_or(path));
            }
        }
        Wanted::Project(project) => {
            if project.package {
                visible.write(&project.root);
            } else {
                visible.read(&project.root);
            }
            if let Some(dir) = project.lock.as_ref().and_then(|lock| lock.path.parent()) {
                visible.read(dir);
            }
        }
    }
}

impl Plan<'_> {
    fn step(&self, title: &str, argv: Vec<String>) -> Step {
        Step { title: title.to_owned(), argv, env: self.env.clone(), mounts: self.mounts.clone() }
    }

    /// A shell script with the staging folder and uv as its first arguments.
    fn shell(&self, title: &str, script: &str, args: &[String]) -> Step {
        let mut argv = vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned(), "stoa-prepare".to_owned()];
        argv.extend([text(&self.place.staging), text(&self.uv)]);
        argv.extend_from_slice(args);
        self.step(title, argv)
    }

    fn create(&self) -> Step {
        match self.base {
            Base::Found(python) => {
                self.shell("Creating the environment", CREATE, &[text(&python.real), "--quiet".into()])
            }
            Base::Uv { request } => {
                self.shell(&format!("{FINDING_PYTHON} {request}"), CREATE, std::slice::from_ref(request))
            }
        }
    }

    fn resolve(&self, wanted: &Wanted<'_>) -> Step {
        if self.place.lock.exists() {
            return self.reuse(PYLOCK, "");
        }
        match wanted {
            Wanted::Block { how: How::Script(script), .. } => self.shell(RESOLVING, EXPORT, &[text(script)]),
            Wanted::Block { how: How::Locked(script), .. } => {
                self.shell(RESOLVING, EXPORT, &[text(script), "--locked".into()])
            }
            Wanted::Block { metadata, .. } => {
                let block = as_block(&metadata.text);
                self.compile(&self.config.home, Some(("script.py", &block)), Vec::new())
            }
            Wanted::File(requirements) => {
                let folder = requirements.path.parent().unwrap_or(Path::new("/"));
                self.compile(folder, None, vec![text(&requirements.path)])
            }
            Wanted::Project(project) => self.compile(&project.root, None, project_inputs(project)),
        }
    }

    /// `uv pip compile` in a folder, of an input to write or of inputs that are there.
    fn compile(&self, folder: &Path, input: Option<(&str, &str)>, inputs: Vec<String>) -> Step {
        let torch = if self.caller.var("UV_TORCH_BACKEND").is_some() { "given" } else { "auto" };
        let (name, content) = input.unwrap_or(("-", ""));
        let mut args = vec![torch.to_owned(), text(folder), name.to_owned(), content.to_owned()];
        args.extend(inputs);
        self.shell(RESOLVING, RESOLVE, &args)
    }

    fn lock(&self, metadata: &Metadata) -> Step {
        let project = as_project(&metadata.text);
        if self.place.lock.exists() {
            self.reuse(PROJECT_LOCK, &project)
        } else {
            self.shell(RESOLVING, LOCK, &[project])
        }
    }

    fn reuse(&self, name: &str, project: &str) -> Step {
        let mut argv: Vec<String> = ["/bin/sh", "-c", REUSE, "stoa-prepare"].map(str::to_owned).into();
        argv.extend([text(&self.place.staging), text(&self.place.lock), name.to_owned(), project.to_owned()]);
        self.step("Taking the versions resolved before", argv)
    }

    fn install(&self, wanted: &Wanted<'_>) -> Step {
        let args = match wanted {
            Wanted::Project(project) if project.package => vec!["--editable".to_owned(), text(&project.root)],
            _ => Vec::new(),
        };
        self.shell("Installing dependencies", INSTALL, &args)
    }

    /// Installs what [`Plan::lock`] has resolved.
    fn sync_locked(&self) -> Step {
        let args = ["sync", "--frozen", "--compile-bytecode", "--no-install-project", "--project"].map(str::to_owned);
        let project = text(&self.place.staging.join("project"));
        let argv = std::iter::once(text(&self.uv)).chain(args).chain([project]).collect();
        self.step("Installing dependencies", argv)
    }

    /// Installs from `uv.lock`. `--locked` and not `--frozen`: a lock that no longer fits the project is an error that the
    /// user sees, not a package that is missing later.
    fn sync(&self, root: &Path) -> Step {
        let args = ["sync", "--locked", "--compile-bytecode", "--project"].map(str::to_owned);
        let argv = std::iter::once(text(&self.uv)).chain(args).chain([text(root)]).collect();
        self.step("Installing locked dependencies", argv)
    }
}

/// The text of a block as the script that uv reads.
fn as_block(text: &str) -> String {
    let comment = |line: &str| if line.is_empty() { "#".to_owned() } else { format!("# {line}") };
    let lines: Vec<String> = text.split('\n').map(comment).collect();
    format!("# /// script\n{}\n# ///", lines.join("\n"))
}

/// The text of a block as a project file: its fields come before its tables, so a header in front makes them the
/// project's.
fn as_project(text: &str) -> String {
    format!("[project]\nname = \"script\"\nversion = \"0\"\n{text}")
}

fn project_inputs(project: &Project) -> Vec<String> {
    let file = text(&project.root.join("pyproject.toml"));
    let group = project.dev_group.then(|| ["--group".to_owned(), format!("{file}:dev")]);
    group.into_iter().flatten().chain([file]).collect()
}

/// The plain word about PyTorch's size.
fn notice(wanted: &Wanted<'_>) -> Option<String> {
    let brings = |requirement: &str| BRING_TORCH.contains(&name_of(requirement).as_str());
    let torch = match wanted {
        Wanted::Block { metadata, .. } => metadata.dependencies.iter().any(|line| brings(line)),
        Wanted::File(requirements) => requirements.lines().any(brings),
        Wanted::Project(Project { lock: Some(lock), .. }) => lock.text.contains("name = \"torch\""),
        Wanted::Project(project) => project.dependencies.iter().any(|line| brings(line)),
    };
    torch.then(|| TORCH_NOTICE.to_owned())
}

/// The normalized name of a requirement: `Stable_Baselines3[extra]>=2` is `stable-baselines3`.
fn name_of(requirement: &str) -> String {
    let end = requirement.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).unwrap_or(requirement.len());
    requirement[..end].to_ascii_lowercase().replace(['_', '.'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::metadata;
    use proptest::prelude::*;

    #[test]
    fn names_are_normalized() {
        assert_eq!(name_of("Stable_Baselines3[extra]>=2"), "stable-baselines3");
        assert_eq!(name_of("torch @ https://x"), "torch");
        assert_eq!(name_of("# comment"), "");
    }

    proptest! {
        /// uv reads the same block that was read here.
        #[test]
        fn a_block_survives_being_written_again(names in prop::collection::vec("[a-z]{1,8}", 0..5), blank in any::<bool>()) {
            let list: Vec<String> = names.iter().map(|name| format!("  \"{name}\",")).collect();
            let text = format!("dependencies = [\n{}\n{}]", list.join("\n"), if blank { "\n" } else { "" });
            let again = metadata::read(as_block(&text).as_bytes()).unwrap().unwrap();
            prop_assert_eq!(&again.text, &text);
            prop_assert_eq!(&again.dependencies, &names);
            let project: toml::Table = as_project(&text).parse().unwrap();
            prop_assert_eq!(metadata::strings(&project["project"]["dependencies"]), Some(names));
        }
    }
}
