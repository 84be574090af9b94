//! Finds uv, or describes how it is installed into Stoa's own tools folder; settings and folders it is run with.

use super::interpreter::Interpreter;
use super::store::{SETTING_FILES, make_dir};
use crate::Config;
use crate::caller::{Caller, text, variable};
use crate::error::PythonError;
use crate::program;
use crate::visible::Visible;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use stoa_core::port::Step;
use stoa_core::run::Variable;

/// The version that is installed when there is no uv: one whose messages and options are known to fit.
pub const PINNED: &str = "0.13.9";

/// Installs uv beside the final folder and moves it there, so that an interrupted installation is never used. Two runs
/// that install at the same time do not disturb each other: the second finds the folder taken and drops its own.
/// Arguments: the final folder, the folder to install into, the requirement, and the command that is pip.
const INSTALL: &str = r#"set -eu
tool=$1 work=$2 requirement=$3; shift 3
rm -rf "$work"
"$@" install --disable-pip-version-check --no-input --no-deps --target "$work" "$requirement"
mv -T "$work" "$tool" 2>/dev/null || rm -rf "$work"
[ -x "$tool/bin/uv" ]
"#;

/// Variables that name files of trusted certificates.
const CERTIFICATES: [&str; 4] = ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "PIP_CERT"];

/// Settings of the user's that would refuse or redirect the installation of uv, and a cache that cannot be seen.
const PIP_SETTINGS: [(&str, &str); 4] =
    [("PIP_NO_CACHE_DIR", "1"), ("PIP_REQUIRE_VIRTUALENV", "0"), ("PIP_ROOT_USER_ACTION", "ignore"), ("PIP_USER", "0")];

/// A uv to use.
pub(crate) struct Uv {
    /// The program; it may only exist after `install`.
    pub(crate) path: PathBuf,
    /// How it is installed, when it has to be.
    pub(crate) install: Option<Step>,
}

impl Uv {
    /// The caller's uv, the one Stoa installed, or the step that installs it.
    pub(crate) fn find(caller: &Caller<'_>, config: &Config, key: &str) -> Result<Self, PythonError> {
        let usual = [".local/bin/uv", ".cargo/bin/uv"].map(|path| config.user_home.join(path));
        let found =
            program::on_path("uv", caller, config).or_else(|| usual.into_iter().find(|uv| program::is_executable(uv)));
        if let Some(path) = found {
            return Ok(Self { path, install: None });
        }
        let tool = config.home.join("tools").join(format!("uv-{PINNED}"));
        let path = tool.join("bin/uv");
        if program::is_executable(&path) {
            return Ok(Self { path, install: None });
        }
        Ok(Self { path, install: Some(install(caller, config, &tool, key)?) })
    }
}

/// The step that installs uv with the pip of a Python that is here; the user's environments stay as they are.
fn install(caller: &Caller<'_>, config: &Config, tool: &Path, key: &str) -> Result<Step, PythonError> {
    let names = ["python3", "python", "/usr/bin/python3"];
    let pythons = names.into_iter().filter_map(|name| program::find(name, caller, config).ok());
    let mut with_pip = pythons.map(|path| Interpreter::at(&path)).filter_map(|python| Some((pip(&python)?, python)));
    let Some((pip, python)) = with_pip.next() else { return Err(PythonError::NoUv) };
    let tools = config.home.join("tools");
    make_dir(&tools)?;
    let mut visible = Visible::default();
    visible.interpreter(&python, config);
    visible.write(&tools);
    visible.read(&config.user_home.join(".config/pip"));
    let work = tools.join(format!(".uv-{PINNED}-{key}"));
    let mut argv = vec!["/bin/sh".into(), "-c".into(), INSTALL.into(), "install-uv".into(), text(tool), text(&work)];
    argv.push(format!("uv=={PINNED}"));
    argv.extend([text(&python.path), "-I".into()]);
    argv.extend(pip);
    Ok(Step {
        title: format!("Installing uv {PINNED}"),
        argv,
        env: PIP_SETTINGS.map(|(name, value)| variable(name, value)).into(),
        mounts: visible.into_mounts(),
    })
}

/// The arguments that run pip with this Python: the installed one, or the wheel that Python carries for `ensurepip`.
fn pip(python: &Interpreter) -> Option<Vec<String>> {
    let version = python.version?;
    let library = python.prefix()?.join(format!("lib/python{}.{}", version.major, version.minor));
    let installed = [library.join("site-packages/pip"), PathBuf::from("/usr/lib/python3/dist-packages/pip")];
    let debian = python.real.starts_with("/usr/bin");
    if installed[0].is_dir() || (debian && installed[1].is_dir()) {
        return Some(vec!["-m".into(), "pip".into()]);
    }
    let wheels = [library.join("ensurepip/_bundled"), PathBuf::from("/usr/share/python-wheels")];
    let files = wheels.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten();
    let wheel = files.map(|entry| entry.path()).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("pip-") && name.ends_with(".whl")
    })?;
    Some(vec![text(&wheel.join("pip"))])
}

/// The folder uv caches in, with the variables and mounts for it.
///
/// An existing cache of the user is used, since it may hold gigabytes that need not come over the network again; from
/// another mount packages are copied. Stoa's own cache shares a mount with the staging folder and hard links work.
pub(crate) fn cache(caller: &Caller<'_>, config: &Config, visible: &mut Visible) -> Result<Vec<Variable>, PythonError> {
    let shared = config.home.join("cache");
    make_dir(&shared.join("staging"))?;
    visible.write(&shared);
    let theirs = caller.var("UV_CACHE_DIR").map(|dir| caller.absolute(dir)).or_else(|| usual_cache(caller, config));
    let Some(theirs) = theirs.filter(|dir| !dir.starts_with(&shared)) else {
        let own = shared.join("uv");
        make_dir(&own)?;
        return Ok(vec![variable("UV_CACHE_DIR", text(&own))]);
    };
    make_dir(&theirs)?;
    visible.write(&theirs);
    let mut env = vec![variable("UV_CACHE_DIR", text(&theirs))];
    if caller.var("UV_LINK_MODE").is_none() {
        env.push(variable("UV_LINK_MODE", "copy"));
    }
    Ok(env)
}

/// uv's usual cache when it exists on the same file system as Stoa's state.
fn usual_cache(caller: &Caller<'_>, config: &Config) -> Option<PathBuf> {
    let base = caller.var("XDG_CACHE_HOME").map_or_else(|| config.user_home.join(".cache"), PathBuf::from);
    let dir = base.join("uv");
    let device = |path: &Path| std::fs::metadata(path).ok().map(|meta| meta.dev());
    let same = device(&dir)? == device(&config.home)?;
    (same && rustix::fs::access(&dir, rustix::fs::Access::WRITE_OK).is_ok()).then_some(dir)
}

/// What every command of uv gets: its program, its settings, and an index of pip's when uv has none.
pub(crate) fn settings(caller: &Caller<'_>, config: &Config, visible: &mut Visible) -> Vec<Variable> {
    visible.read(&config.user_home.join(".config/uv"));
    for name in CERTIFICATES {
        caller.var(name).into_iter().for_each(|file| visible.read(&caller.absolute(file)));
    }
    let mut env = Vec::new();
    // The steps work in folders of their own, so what is relative to the caller's is made absolute.
    for name in SETTING_FILES.iter().chain(&["UV_FIND_LINKS"]) {
        let Some(value) = caller.var(name) else { continue };
        let separator = if value.contains(',') { ',' } else { ' ' };
        let parts = value.split(separator).filter(|part| !part.is_empty()).map(|part| {
            if part.contains("://") {
                return part.to_owned();
            }
            let path = caller.absolute(part);
            visible.read(&path);
            text(&path)
        });
        let joined = parts.collect::<Vec<_>>().join(&separator.to_string());
        env.push(variable(name, joined));
    }
    let has_index = ["UV_DEFAULT_INDEX", "UV_INDEX_URL"].iter().any(|name| caller.var(name).is_some());
    if let (Some(index), false) = (caller.var("PIP_INDEX_URL"), has_index) {
        env.push(variable("UV_DEFAULT_INDEX", index));
    }
    let has_extra = ["UV_INDEX", "UV_EXTRA_INDEX_URL"].iter().any(|name| caller.var(name).is_some());
    if let (Some(index), false) = (caller.var("PIP_EXTRA_INDEX_URL"), has_extra) {
        env.push(variable("UV_INDEX", index));
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Tree, spec};

    #[test]
    fn uv_is_taken_from_the_path_then_from_its_usual_place() {
        let tree = Tree::new();
        let path = tree.path("bin").display().to_string();
        let spec = spec(tree.path(""), &[("PATH", &path)]);
        let caller = Caller::new(&spec);
        let missing = Uv::find(&caller, &tree.config(), "k");
        assert!(missing.is_err() || missing.unwrap().install.is_some());
        tree.executable("home/.local/bin/uv", "");
        assert_eq!(Uv::find(&caller, &tree.config(), "k").unwrap().path, tree.path("home/.local/bin/uv"));
        tree.executable("bin/uv", "");
        assert_eq!(Uv::find(&caller, &tree.config(), "k").unwrap().path, tree.path("bin/uv"));
    }

    #[test]
    fn uv_is_installed_with_the_pip_of_a_python_or_the_wheel_it_carries() {
        let tree = Tree::new();
        tree.python("py", "3.12");
        let spec = spec(tree.path(""), &[("PATH", tree.path("py/bin").to_str().unwrap())]);
        tree.write("py/lib/python3.12/ensurepip/_bundled/pip-24.0-py3-none-any.whl", "");
        let step = Uv::find(&Caller::new(&spec), &tree.config(), "k").unwrap().install.unwrap();
        assert!(step.argv.last().unwrap().ends_with("pip-24.0-py3-none-any.whl/pip"), "{:?}", step.argv);
        assert!(step.mounts.iter().any(|mount| mount.path == tree.path("py") && !mount.writable));
        assert!(step.mounts.iter().any(|mount| mount.path == tree.path("state/tools") && mount.writable));
        tree.dir("py/lib/python3.12/site-packages/pip");
        let step = Uv::find(&Caller::new(&spec), &tree.config(), "k").unwrap().install.unwrap();
        assert_eq!(step.argv.last().unwrap(), "pip");
        tree.executable(&format!("state/tools/uv-{PINNED}/bin/uv"), "");
        assert!(Uv::find(&Caller::new(&spec), &tree.config(), "k").unwrap().install.is_none());
    }

    #[test]
    fn an_existing_cache_of_the_user_is_used_and_named_writable() {
        let tree = Tree::new();
        let spec = spec(tree.path(""), &[]);
        let mut visible = Visible::default();
        let env = cache(&Caller::new(&spec), &tree.config(), &mut visible).unwrap();
        assert_eq!(env, [variable("UV_CACHE_DIR", text(&tree.path("state/cache/uv")))]);
        assert_eq!(visible.into_mounts().len(), 1, "one mount, so that hard links work");
        tree.dir("home/.cache/uv");
        let mut visible = Visible::default();
        let env = cache(&Caller::new(&spec), &tree.config(), &mut visible).unwrap();
        assert_eq!(env[0].value, text(&tree.path("home/.cache/uv")));
        assert!(visible.into_mounts().iter().all(|mount| mount.writable));
    }
}
