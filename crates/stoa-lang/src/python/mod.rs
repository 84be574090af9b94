//! Python: from a script to an interpreter with its packages.

mod explain;
mod interpreter;
mod metadata;
mod prepare;
mod source;
mod specifier;
mod store;
mod uv;

#[cfg(test)]
mod tests;

pub use interpreter::Interpreter;
pub use metadata::{BadMetadata, Metadata, read as read_metadata};
pub use specifier::{BadSpecifier, Specifiers, Version};
pub use uv::PINNED as UV_VERSION;

pub(crate) use explain::explain;

use crate::caller::{Caller, text, variable};
use crate::error::PythonError;
use crate::script::Script;
use crate::visible::Visible;
use crate::{Config, environment};
use interpreter::Base;
use prepare::{How, Wanted};
use source::{Project, Requirements, Source};
use std::path::{Path, PathBuf};
use stoa_core::Failure;
use stoa_core::port::Resolved;
use stoa_core::run::{EnvironmentRef, Variable};
use store::{Fingerprint, Place};

/// A request for the environment of one script.
struct Request<'a> {
    config: &'a Config,
    caller: &'a Caller<'a>,
    script: &'a Script,
    args: &'a [String],
}

/// Finds what executes a Python script.
pub(crate) fn resolve(
    config: &Config,
    caller: &Caller<'_>,
    script: &Script,
    args: &[String],
) -> Result<Resolved, Failure> {
    let request = Request { config, caller, script, args };
    Ok(request.resolve()?)
}

/// Seals the environment that a preparation has made.
pub(crate) fn seal(config: &Config, resolved: &Resolved) -> Result<EnvironmentRef, Failure> {
    Ok(store::seal(config, resolved)?)
}

impl Request<'_> {
    fn resolve(&self) -> Result<Resolved, PythonError> {
        match Source::choose(self.caller, self.config, self.script)? {
            Source::Given(python) => Ok(self.plain(&Interpreter::at(&python), "--python")),
            Source::Block(metadata) => self.block(&metadata),
            Source::Environment { prefix, words, active } => Ok(self.existing(&prefix, words, active)),
            Source::Project(project) => self.project(&project),
            Source::Requirements(requirements) => self.requirements(&requirements),
            Source::Plain => Ok(self.plain(&interpreter::default(self.caller, self.config)?, "Python on PATH")),
        }
    }

    fn block(&self, metadata: &Metadata) -> Result<Resolved, PythonError> {
        let words = format!("PEP 723 block of {}", self.script.name());
        let base = interpreter::choose(self.caller, self.config, metadata.requires_python.as_ref())?;
        if let (true, Base::Found(python)) = (metadata.dependencies.is_empty(), &base) {
            return Ok(self.plain(python, &words));
        }
        let lock = self.script.path.with_file_name(format!("{}.lock", self.script.name()));
        let how = How::of(metadata, &self.script.path, lock.is_file());
        let mut print = Fingerprint::new(self.caller, self.config, &base);
        print.add("block", &metadata.text);
        if let Some(dir) = how.script().and_then(Path::parent).filter(|_| metadata.local_sources) {
            print.add("folder", &text(dir));
        }
        let copied = metadata.copied_sources.iter().map(|path| self.script.folder().join(path));
        print.state(&copied.collect::<Vec<_>>());
        print.file("lock", &lock);
        let wanted = Wanted::Block { metadata, how };
        self.managed(print, &base, words, &wanted)
    }

    fn project(&self, project: &Project) -> Result<Resolved, PythonError> {
        let words = project.words();
        let pin = self.pinned_version();
        let requires = match (&project.requires_python, &pin) {
            (Some(requires), Some(pin)) => Some(requires.and(pin)),
            (requires, pin) => requires.as_ref().or(pin.as_ref()).cloned(),
        };
        let base = interpreter::choose(self.caller, self.config, requires.as_ref())?;
        if let (false, Base::Found(python)) = (project.declares, &base) {
            return Ok(self.plain(python, &words));
        }
        let mut print = Fingerprint::new(self.caller, self.config, &base);
        print.add("project", &project.text);
        if let Some(lock) = &project.lock {
            print.add("lock", &lock.text);
        }
        print.file("uv.toml", &project.root.join("uv.toml"));
        print.state(&project.copied);
        // An installed project is linked to its folder, and so are sources on this machine.
        let lock = project.lock.as_ref().map_or("", |lock| lock.text.as_str());
        let local = ["path = ", "editable = ", "directory = ", "virtual = ", "workspace = "];
        if project.package || local.iter().any(|word| project.text.contains(word) || lock.contains(word)) {
            print.add("folder", &text(&project.root));
        }
        self.managed(print, &base, words, &Wanted::Project(project))
    }

    fn requirements(&self, requirements: &Requirements) -> Result<Resolved, PythonError> {
        let words = requirements.path.display().to_string();
        let base = interpreter::choose(self.caller, self.config, None)?;
        if requirements.lines().all(|line| line.is_empty() || line.starts_with('#'))
            && let Base::Found(python) = &base
        {
            return Ok(self.plain(python, &words));
        }
        let mut print = Fingerprint::new(self.caller, self.config, &base);
        let dir = requirements.path.parent().unwrap_or(Path::new("/"));
        for (path, text) in &requirements.files {
            print.add(&path.strip_prefix(dir).unwrap_or(path).display().to_string(), text);
        }
        if requirements.local {
            print.add("folder", &text(dir));
        }
        print.state(&requirements.copied);
        self.managed(print, &base, words, &Wanted::File(requirements))
    }

    /// The version that `.python-version` pins, as uv and pyenv read it.
    fn pinned_version(&self) -> Option<Specifiers> {
        let folders = source::project_folders(self.script.folder(), self.config);
        let versions = folders.iter().find_map(|dir| crate::pyenv::versions_in(&dir.join(".python-version")))?;
        Specifiers::pinned(versions.first()?)
    }

    /// An environment of Stoa's own, made or to be made.
    fn managed(
        &self,
        print: Fingerprint,
        base: &Base,
        source: String,
        wanted: &Wanted<'_>,
    ) -> Result<Resolved, PythonError> {
        let place = Place::of(&print.key(), self.config);
        let ready = place.is_ready();
        let mut visible = Visible::default();
        visible.expect(&place.dir);
        if ready {
            visible.interpreter(&Interpreter::at(&place.python()), self.config);
        } else if let Base::Found(python) = base {
            visible.interpreter(&Interpreter::at(&python.real), self.config);
        }
        if let Wanted::Project(Project { package: true, root, .. }) = wanted {
            visible.write(root);
        }
        let preparation = match ready {
            true => None,
            false => Some(prepare::describe(self.caller, self.config, &place, base, wanted)?),
        };
        let environment = EnvironmentRef {
            language: "python".into(),
            interpreter: place.python(),
            key: Some(place.key.clone()),
            source,
            lock: if ready { place.packages() } else { Vec::new() },
        };
        let activation = self.activation(&place.dir.join("venv"));
        Ok(Resolved { preparation, ..self.finish(environment, visible, activation) })
    }

    /// An environment the user made.
    fn existing(&self, prefix: &Path, source: String, active: bool) -> Resolved {
        let python = Interpreter::at(&prefix.join("bin/python"));
        let mut visible = Visible::default();
        let inside = source::project_folders(self.script.folder(), self.config);
        let inside = inside.iter().chain([&self.caller.spec().cwd]).any(|dir| prefix.starts_with(dir));
        if inside {
            // A part of the project, where `python` could write too.
            visible.write(prefix);
        }
        visible.interpreter(&python, self.config);
        let activation = if active { Vec::new() } else { self.activation(prefix) };
        self.finish(record(&python.path, source, store::packages_below(prefix)), visible, activation)
    }

    /// An interpreter as it is.
    fn plain(&self, python: &Interpreter, source: &str) -> Resolved {
        let mut visible = Visible::default();
        visible.interpreter(python, self.config);
        let packages = python.prefix().map(store::packages_below).unwrap_or_default();
        self.finish(record(&python.path, source.to_owned(), packages), visible, Vec::new())
    }

    /// What `activate` sets, so that programs the script starts find the same environment.
    fn activation(&self, prefix: &Path) -> Vec<Variable> {
        let bin = text(&prefix.join("bin"));
        let path = self.caller.var("PATH").map_or_else(|| bin.clone(), |path| format!("{bin}:{path}"));
        vec![variable("VIRTUAL_ENV", text(prefix)), variable("PATH", path)]
    }

    fn finish(&self, record: EnvironmentRef, mut visible: Visible, mut env: Vec<Variable>) -> Resolved {
        env.extend(environment::common(self.caller, self.config, &mut visible));
        let mut argv = vec![text(&record.interpreter), self.script.argument()];
        argv.extend_from_slice(self.args);
        Resolved { argv, env, mounts: visible.into_mounts(), environment: Some(record), preparation: None }
    }
}

fn record(interpreter: &Path, source: String, lock: Vec<String>) -> EnvironmentRef {
    let interpreter: PathBuf = interpreter.to_owned();
    EnvironmentRef { language: "python".into(), interpreter, key: None, source, lock }
}
