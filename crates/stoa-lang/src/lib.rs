//! Turns a script or command into what has to be executed: interpreter, environment, dependencies, visible folders.
//!
//! [`LanguageService`] implements the port [`stoa_core::port::Languages`]. It starts no program and opens no connection:
//! everything is read from files, so that a second run of a script costs some dozens of `stat` calls. Making an
//! environment is described as [`stoa_core::port::Preparation`], whose steps the daemon runs in the same isolation as
//! the program itself, since building a package runs the package author's code.
//!
//! # Where the dependencies of a Python script come from
//!
//! The first that applies, from the most to the least explicit:
//!
//! 1. `--python PATH`: the user has decided; nothing is resolved.
//! 2. the script's own `# /// script` block (PEP 723): it travels with the script and means the same everywhere.
//! 3. the active virtual environment (`VIRTUAL_ENV`, `CONDA_PREFIX` other than conda's `base`): `python train.py` in
//!    that terminal would use it.
//! 4. `.venv` or `venv` beside the script, in the working folder or above within the project: made for it.
//! 5. `pyproject.toml`, with `uv.lock` when there is one: what the project declares.
//! 6. `requirements.txt` beside the script or in the working folder.
//! 7. the `python` on `PATH`, as it is.
//!
//! The search upwards ends at the root of the Git checkout, below the home folder, and at folders that others may write to.
//!
//! # Environments
//!
//! An environment lies in `$STOA_HOME/envs/<key>/`: `venv/`, `lock.txt` (one `name==version` a line), `spec.json`, and
//! `ready`. The key is a hash of the interpreter, the declared dependencies or the lock file, the index settings, the
//! PyTorch backend and the platform, so that projects that ask for the same share one environment. It is made in
//! `$STOA_HOME/cache/staging/<key>` and moved into place when complete: an interrupted preparation leaves nothing behind
//! that could be mistaken for an environment. What was resolved for a key is kept in `$STOA_HOME/locks/<key>.toml` and
//! used again when the environment has to be rebuilt: the same key means the same versions.
//!
//! uv's cache (`$STOA_HOME/cache/uv`) and the staging folder share one writable mount, because hard links do not cross
//! mounts: packages then cost their disk space once.
//!
//! Not here: running anything (`stoa-run`), the `stoa` Python module itself (`stoa-metrics`).
#![forbid(unsafe_code)]

mod caller;
mod environment;
mod error;
mod program;
mod pyenv;
pub mod python;
mod script;
mod shebang;
mod spelling;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod visible;

pub use error::{
    BadProjectFile, NotExecutableCause, NotFoundCause, ProgramError, PythonError, ScriptError, UnknownLanguage,
};

use caller::Caller;
use script::{Runner, Script};
use std::path::{Path, PathBuf};
use stoa_core::Failure;
use stoa_core::port::{Languages, Resolved, Step};
use stoa_core::run::{EnvironmentRef, Program, RunSpec};
use visible::Visible;

/// Where things lie.
#[derive(Debug, Clone)]
pub struct Config {
    /// Stoa's state (`STOA_HOME`), absolute.
    pub home: PathBuf,
    /// The user's home folder, absolute.
    pub user_home: PathBuf,
}

/// Finds interpreters and environments.
#[derive(Debug, Clone)]
pub struct LanguageService {
    config: Config,
}

impl LanguageService {
    /// A service that keeps its environments below `config.home`. Nothing is created before it is needed.
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    fn command(&self, caller: &Caller<'_>, argv: &[String]) -> Result<Resolved, Failure> {
        let (name, args) = argv.split_first().ok_or(ProgramError::Empty)?;
        let program = program::find(name, caller, &self.config)?;
        let argv = program::argv(&program, args)?;
        let mut visible = Visible::default();
        visible.program(&program, &self.config);
        Ok(self.finish(caller, argv, visible, None))
    }

    fn script(&self, caller: &Caller<'_>, path: &Path, args: &[String]) -> Result<Resolved, Failure> {
        let script = Script::open(path, caller)?;
        match script.runner(caller, &self.config)? {
            Runner::Python => python::resolve(&self.config, caller, &script, args),
            Runner::Program { language, interpreter, args: own, source } => {
                let mut visible = Visible::default();
                visible.program(&interpreter, &self.config);
                let mut argv = program::argv(&interpreter, &own)?;
                argv.push(script.argument());
                argv.extend_from_slice(args);
                let environment = EnvironmentRef { language, interpreter, key: None, source, lock: Vec::new() };
                Ok(self.finish(caller, argv, visible, Some(environment)))
            }
        }
    }

    fn finish(
        &self,
        caller: &Caller<'_>,
        argv: Vec<String>,
        mut visible: Visible,
        environment: Option<EnvironmentRef>,
    ) -> Resolved {
        let env = environment::common(caller, &self.config, &mut visible);
        Resolved { argv, env, mounts: visible.into_mounts(), environment, preparation: None }
    }
}

impl Languages for LanguageService {
    fn resolve(&self, spec: &RunSpec) -> Result<Resolved, Failure> {
        let caller = Caller::new(spec);
        match &spec.program {
            Program::Command { argv } => self.command(&caller, argv),
            Program::Script { path, args } => self.script(&caller, path, args),
        }
    }

    fn prepared(&self, resolved: &Resolved) -> Result<EnvironmentRef, Failure> {
        python::seal(&self.config, resolved)
    }

    fn explain(&self, resolved: &Resolved, step: &Step, output: &str) -> Failure {
        python::explain(resolved, step, output)
    }
}
