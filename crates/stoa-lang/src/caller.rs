//! The caller's side of a run: their environment variables, search path and working folder.

use std::path::{Component, Path, PathBuf};
use stoa_core::run::{RunSpec, Variable};

/// Reads a [`RunSpec`] the way the caller's shell would.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    spec: &'a RunSpec,
}

impl<'a> Caller<'a> {
    pub(crate) fn new(spec: &'a RunSpec) -> Self {
        Self { spec }
    }

    pub(crate) fn spec(&self) -> &'a RunSpec {
        self.spec
    }

    pub(crate) fn cwd(&self) -> &'a Path {
        &self.spec.cwd
    }

    /// A variable's value; those named with `--env` win. Empty counts as unset.
    pub(crate) fn var(&self, name: &str) -> Option<&'a str> {
        last(&self.spec.named_env, name).or_else(|| last(&self.spec.env, name)).filter(|value| !value.is_empty())
    }

    /// Whether the user named this variable with `--env`.
    pub(crate) fn named(&self, name: &str) -> bool {
        last(&self.spec.named_env, name).is_some()
    }

    /// The folders of `PATH` in order; an empty part is the working folder, as in every shell.
    pub(crate) fn search_path(&self) -> Vec<PathBuf> {
        self.var("PATH").map_or_else(Vec::new, |path| path.split(':').map(|part| self.absolute(part)).collect())
    }

    /// A path as seen from the working folder, without `.` parts.
    pub(crate) fn absolute(&self, path: impl AsRef<Path>) -> PathBuf {
        self.cwd().join(path).components().filter(|part| !matches!(part, Component::CurDir)).collect()
    }
}

fn last<'a>(variables: &'a [Variable], name: &str) -> Option<&'a str> {
    variables.iter().rev().find(|variable| variable.name == name).map(|variable| variable.value.as_str())
}

/// Makes a variable.
pub(crate) fn variable(name: &str, value: impl Into<String>) -> Variable {
    Variable { name: name.to_owned(), value: value.into() }
}

/// A path as text for an argument list. Paths that are not UTF-8 cannot be expressed in a run's arguments.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::spec;

    #[test]
    fn named_variables_win_and_empty_is_unset() {
        let mut spec = spec("/work", &[("A", "1"), ("B", "2"), ("A", "3"), ("EMPTY", "")]);
        spec.named_env.push(variable("B", "9"));
        let caller = Caller::new(&spec);
        assert_eq!((caller.var("A"), caller.var("B"), caller.var("EMPTY")), (Some("3"), Some("9"), None));
        assert!(caller.named("B") && !caller.named("A"));
    }

    #[test]
    fn an_empty_part_of_the_path_is_the_working_folder() {
        let spec = spec("/project", &[("PATH", "/bin::rel:./x")]);
        let dirs = Caller::new(&spec).search_path();
        assert_eq!(dirs, ["/bin", "/project", "/project/rel", "/project/x"].map(PathBuf::from));
    }
}
