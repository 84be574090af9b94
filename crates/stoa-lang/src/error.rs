//! What can be wrong with a program or script that a user names, with cause, remedy and exit code.

use std::path::PathBuf;
use stoa_core::{Exit, Explain};

/// Why a command cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// No folder of `PATH` has it.
    #[error("cannot find the program `{name}`")]
    NotFound {
        /// What the user typed.
        name: String,
        /// Why.
        #[source]
        source: NotFoundCause,
        /// A script of that name, or a similar program.
        suggestion: Option<String>,
    },
    /// It exists without being executable.
    #[error("cannot execute `{}`", path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: NotExecutableCause,
    },
    /// The command is empty.
    #[error("no program was given")]
    Empty,
}

/// Why a program was not found.
#[derive(Debug, thiserror::Error)]
pub enum NotFoundCause {
    /// Searched everywhere.
    #[error("no folder of PATH has it")]
    Path,
    /// Nothing to search.
    #[error("PATH is empty")]
    EmptyPath,
    /// It was named with a path.
    #[error("`{}` does not exist", .0.display())]
    File(PathBuf),
}

/// Why a file cannot be executed.
#[derive(Debug, thiserror::Error)]
pub enum NotExecutableCause {
    /// A folder.
    #[error("it is a folder")]
    Directory,
    /// Its mode forbids it.
    #[error("it has no execute permission")]
    Permission,
    /// The `#!` line names something that is not there.
    #[error("its `#!` line names `{0}`, which does not exist")]
    Interpreter(String),
    /// The `#!` line ends in a carriage return.
    #[error("its `#!` line ends with a Windows line break")]
    CarriageReturn,
}

impl Explain for ProgramError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { suggestion: Some(suggestion), .. } => Some(suggestion.clone()),
            Self::NotFound { source: NotFoundCause::EmptyPath, .. } => {
                Some("set PATH, or name the program with its full path".into())
            }
            Self::NotFound { .. } => Some("check the spelling, or name the program with its path".into()),
            Self::NotExecutable { source, path } => match source {
                NotExecutableCause::Directory => Some("name a program in it".into()),
                NotExecutableCause::Permission => {
                    Some(format!("run `chmod +x {0}`, or `stoa run {0}` when it is a script", path.display()))
                }
                NotExecutableCause::Interpreter(_) => Some("install it, or correct the first line of the file".into()),
                NotExecutableCause::CarriageReturn => Some(format!("run `sed -i 's/\\r$//' {}`", path.display())),
            },
            Self::Empty => Some("write it after `--`, such as `stoa run -- ./program --flag`".into()),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NotFound { .. } => Exit::NotFound,
            Self::NotExecutable { .. } => Exit::NotExecutable,
            Self::Empty => Exit::Usage,
        }
    }
}

/// Why a script cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// There is no such file.
    #[error("cannot find the script `{}`", path.display())]
    Missing {
        /// As the user typed it.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
        /// What the user may have meant.
        suggestion: Option<String>,
    },
    /// A folder.
    #[error("cannot run `{}`: it is a folder, not a script", path.display())]
    Directory {
        /// As the user typed it.
        path: PathBuf,
        /// Whether `python DIR` would work.
        has_main: bool,
    },
    /// Neither a file nor a folder, such as a socket.
    #[error("cannot run `{}`: it is not a regular file", path.display())]
    NotAFile {
        /// As the user typed it.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read the script `{}`", path.display())]
    Unreadable {
        /// As the user typed it.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The language cannot be told.
    #[error("cannot tell the language of `{}`", path.display())]
    UnknownLanguage {
        /// As the user typed it.
        path: PathBuf,
        /// Why.
        #[source]
        source: UnknownLanguage,
    },
    /// The language is known, its interpreter is not here.
    #[error("cannot run `{}`: its interpreter `{interpreter}` is not on PATH", path.display())]
    NoInterpreter {
        /// As the user typed it.
        path: PathBuf,
        /// The program that was searched.
        interpreter: String,
    },
}

/// Why a language is unknown.
#[derive(Debug, thiserror::Error)]
pub enum UnknownLanguage {
    /// A compiled program.
    #[error("it is a compiled program, not a script")]
    Binary,
    /// Neither the ending nor the first line tells.
    #[error("it has no `#!` line, and its ending is none of {known}")]
    Ending {
        /// The endings that are known.
        known: String,
    },
}

impl Explain for ScriptError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { suggestion, .. } => {
                suggestion.clone().or_else(|| Some("check the path; it is relative to the current folder".into()))
            }
            Self::Directory { path, has_main: true } => {
                Some(format!("run `stoa run {}`", path.join("__main__.py").display()))
            }
            Self::Directory { .. } => Some("name the script to run in it".into()),
            Self::NotAFile { .. } => Some("name a script file".into()),
            Self::Unreadable { path, .. } => Some(format!("run `chmod u+r {}`", path.display())),
            Self::UnknownLanguage { path, source } => Some(match source {
                UnknownLanguage::Binary => format!("run `stoa run -- {}`", as_command(path)),
                UnknownLanguage::Ending { .. } => {
                    format!("name the program that runs it: `stoa run -- PROGRAM {}`", path.display())
                }
            }),
            Self::NoInterpreter { interpreter, .. } => Some(install_hint(interpreter)),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NoInterpreter { .. } => Exit::Unavailable,
            _ => Exit::Usage,
        }
    }
}

/// A path that a shell takes for a program and not for a name on `PATH`.
fn as_command(path: &std::path::Path) -> String {
    let shown = path.display().to_string();
    if shown.contains('/') { shown } else { format!("./{shown}") }
}

/// The Debian and Ubuntu package of an interpreter.
fn install_hint(interpreter: &str) -> String {
    let package = match interpreter {
        "node" => "nodejs",
        "Rscript" => "r-base-core",
        "lua" => "lua5.4",
        "php" => "php-cli",
        name if name.starts_with("python") => "python3",
        name => name,
    };
    format!("install it (Debian, Ubuntu: `apt install {package}`), or add its folder to PATH")
}

/// Why a Python environment cannot be found or described.
#[derive(Debug, thiserror::Error)]
pub enum PythonError {
    /// The inline metadata of a script is wrong.
    #[error("the script metadata of `{}` is not valid", path.display())]
    Metadata {
        /// As the user typed it.
        path: PathBuf,
        /// What is wrong, with its line.
        #[source]
        source: crate::python::BadMetadata,
    },
    /// A project file cannot be used.
    #[error("cannot use `{}`", path.display())]
    ProjectFile {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line where there is one.
        #[source]
        source: BadProjectFile,
    },
    /// `--python` names nothing that can be run.
    #[error("cannot use the interpreter `{given}` of --python")]
    Given {
        /// What the user typed.
        given: String,
        /// Why.
        #[source]
        source: Box<ProgramError>,
    },
    /// An activated environment has gone.
    #[error("the active environment `{}` has no Python", prefix.display())]
    ActiveMissing {
        /// Its folder.
        prefix: PathBuf,
        /// The variable that names it.
        variable: &'static str,
    },
    /// A local environment is damaged.
    #[error("the virtual environment `{}` is damaged", prefix.display())]
    LocalBroken {
        /// Its folder.
        prefix: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No Python at all.
    #[error("cannot find Python")]
    NoPython {
        /// Why.
        #[source]
        source: NotFoundCause,
    },
    /// uv is neither here nor installable.
    #[error("cannot install the dependencies: uv is not on PATH, and no Python here has pip to install it")]
    NoUv,
    /// Stoa's own folder cannot be written.
    #[error("cannot write `{}`", path.display())]
    Home {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A preparation reported success but left no environment.
    #[error("the new environment `{key}` is not complete")]
    Incomplete {
        /// Its key.
        key: String,
        /// What is missing.
        #[source]
        source: std::io::Error,
    },
    /// A resolved program without preparation was handed to `prepared`.
    #[error("there is no preparation to finish")]
    NothingPrepared,
}

/// What is wrong with a project file.
#[derive(Debug, thiserror::Error)]
pub enum BadProjectFile {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It is not TOML.
    #[error("line {line}: {message}")]
    Toml {
        /// Counted from 1.
        line: usize,
        /// What the parser expected.
        message: String,
    },
    /// `requires-python` is not a version specifier.
    #[error("`requires-python` is not a version specifier: {0}")]
    RequiresPython(crate::python::BadSpecifier),
}

impl Explain for PythonError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Metadata { .. } => {
                "correct the `# /// script` block; it looks like `# dependencies = [\"numpy\"]` (PEP 723)".into()
            }
            Self::ProjectFile { path, .. } => {
                format!("correct {}, or run with `--python PATH` to use an interpreter as it is", path.display())
            }
            Self::Given { .. } => "give a path such as `.venv/bin/python`, or a name on PATH".into(),
            Self::ActiveMissing { variable, .. } => {
                format!("run `deactivate`, or `unset {variable}`, or make the environment again")
            }
            Self::LocalBroken { prefix, .. } => {
                format!("make it again: `rm -r {0} && python3 -m venv {0}`", prefix.display())
            }
            Self::NoPython { .. } => {
                "install it (Debian, Ubuntu: `apt install python3`), or name one with `--python`".into()
            }
            Self::NoUv => {
                "install pip (Debian, Ubuntu: `apt install python3-pip`) or uv, or activate a virtual environment"
                    .into()
            }
            Self::Home { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                "free some space, or set STOA_HOME to a folder on another disk".into()
            }
            Self::Home { .. } => "make it writable, or set STOA_HOME to a folder that is".into(),
            Self::Incomplete { .. } => "run the command again".into(),
            Self::NothingPrepared => return None,
        })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Metadata { .. } | Self::ProjectFile { .. } => Exit::Config,
            Self::Given { .. } | Self::ActiveMissing { .. } | Self::LocalBroken { .. } => Exit::Usage,
            Self::NoPython { .. } | Self::NoUv | Self::Home { .. } => Exit::Unavailable,
            Self::Incomplete { .. } => Exit::TryAgain,
            Self::NothingPrepared => Exit::Internal,
        }
    }
}
