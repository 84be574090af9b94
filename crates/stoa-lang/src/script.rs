//! Opens a script and tells its language by ending and `#!` line.

use crate::caller::Caller;
use crate::error::{ScriptError, UnknownLanguage};
use crate::{Config, program, shebang, spelling};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// No more of a script is read; inline metadata stands at the top, and nobody writes a script of this size.
const MOST_READ: u64 = 16 << 20;

/// A language that is run by an interpreter on `PATH`.
struct Language {
    name: &'static str,
    endings: &'static [&'static str],
    interpreter: &'static str,
}

/// Languages beside Python. Compiled ones are not here: they need a build first.
const LANGUAGES: [Language; 10] = [
    Language { name: "bash", endings: &["bash"], interpreter: "bash" },
    Language { name: "sh", endings: &["sh"], interpreter: "sh" },
    Language { name: "zsh", endings: &["zsh"], interpreter: "zsh" },
    Language { name: "javascript", endings: &["js", "mjs", "cjs"], interpreter: "node" },
    Language { name: "r", endings: &["R", "r"], interpreter: "Rscript" },
    Language { name: "julia", endings: &["jl"], interpreter: "julia" },
    Language { name: "ruby", endings: &["rb"], interpreter: "ruby" },
    Language { name: "perl", endings: &["pl"], interpreter: "perl" },
    Language { name: "lua", endings: &["lua"], interpreter: "lua" },
    Language { name: "php", endings: &["php"], interpreter: "php" },
];

const PYTHON_ENDINGS: [&str; 2] = ["py", "pyw"];

/// A script that was opened.
pub(crate) struct Script {
    /// As the user typed it.
    pub(crate) typed: PathBuf,
    /// Absolute.
    pub(crate) path: PathBuf,
    /// What it contains, at most [`MOST_READ`] bytes.
    pub(crate) content: Vec<u8>,
}

/// How a script is run.
pub(crate) enum Runner {
    /// By Python, with its dependencies.
    Python,
    /// By a program that was found.
    Program {
        /// The language's name for records.
        language: String,
        /// The program.
        interpreter: PathBuf,
        /// Its own arguments, before the script.
        args: Vec<String>,
        /// Why this program: for records.
        source: String,
    },
}

impl Script {
    /// Opens and reads a script.
    pub(crate) fn open(typed: &Path, caller: &Caller<'_>) -> Result<Self, ScriptError> {
        let path = caller.absolute(typed);
        let meta = std::fs::metadata(&path).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => ScriptError::Unreadable { path: typed.into(), source: error },
            _ => ScriptError::Missing { path: typed.into(), suggestion: suggest(typed, &path, caller), source: error },
        })?;
        if meta.is_dir() {
            return Err(ScriptError::Directory { has_main: path.join("__main__.py").is_file(), path: typed.into() });
        }
        if !meta.is_file() {
            return Err(ScriptError::NotAFile { path: typed.into() });
        }
        let mut content = Vec::new();
        std::fs::File::open(&path)
            .and_then(|file| file.take(MOST_READ).read_to_end(&mut content))
            .map_err(|source| ScriptError::Unreadable { path: typed.into(), source })?;
        Ok(Self { typed: typed.into(), path, content })
    }

    /// The folder the script lies in.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// The script as an argument: as typed, but never mistaken for an option.
    pub(crate) fn argument(&self) -> String {
        let typed = self.typed.to_string_lossy();
        if typed.starts_with('-') { format!("./{typed}") } else { typed.into_owned() }
    }

    /// Its name for messages: `train.py`.
    pub(crate) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Finds what runs it. Python goes by the ending alone, as `python train.py` does; otherwise the `#!` line decides
    /// before the ending.
    pub(crate) fn runner(&self, caller: &Caller<'_>, config: &Config) -> Result<Runner, ScriptError> {
        let ending = self.path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if PYTHON_ENDINGS.contains(&ending) {
            return Ok(Runner::Python);
        }
        if let Some(line) = shebang::parse(&self.content) {
            if line.is_python() {
                return Ok(Runner::Python);
            }
            if let Some((interpreter, args)) = line.program() {
                return self.by_shebang(&interpreter, args, caller, config);
            }
        }
        let language = LANGUAGES.iter().find(|language| language.endings.contains(&ending));
        let Some(language) = language else {
            return Err(ScriptError::UnknownLanguage { path: self.typed.clone(), source: self.unknown() });
        };
        let interpreter = program::on_path(language.interpreter, caller, config);
        let interpreter = interpreter.ok_or_else(|| self.no_interpreter(language.interpreter))?;
        let source = format!("`{}` on PATH", language.interpreter);
        Ok(Runner::Program { language: language.name.into(), interpreter, args: Vec::new(), source })
    }

    fn by_shebang(
        &self,
        interpreter: &str,
        args: Vec<String>,
        caller: &Caller<'_>,
        config: &Config,
    ) -> Result<Runner, ScriptError> {
        let found = program::find(interpreter, caller, config).map_err(|_| self.no_interpreter(interpreter))?;
        let base = interpreter.rsplit('/').next().unwrap_or_default();
        let known = LANGUAGES.iter().find(|language| language.interpreter == base);
        let language = known.map_or(base, |language| language.name).to_owned();
        let source = format!("`#!` line of {}", self.name());
        Ok(Runner::Program { language, interpreter: found, args, source })
    }

    fn no_interpreter(&self, interpreter: &str) -> ScriptError {
        ScriptError::NoInterpreter { path: self.typed.clone(), interpreter: interpreter.into() }
    }

    fn unknown(&self) -> UnknownLanguage {
        if self.content.starts_with(b"\x7fELF") {
            return UnknownLanguage::Binary;
        }
        let endings = PYTHON_ENDINGS.iter().chain(LANGUAGES.iter().flat_map(|language| language.endings));
        UnknownLanguage::Ending { known: endings.map(|ending| format!(".{ending}")).collect::<Vec<_>>().join(" ") }
    }
}

/// What the user may have meant by a script that is not there.
fn suggest(typed: &Path, path: &Path, caller: &Caller<'_>) -> Option<String> {
    if let Some(near) = spelling::neighbour(path) {
        let near = typed.with_file_name(near.file_name()?);
        return Some(format!("did you mean `{}`?", near.display()));
    }
    let name = typed.to_str().filter(|name| !name.contains('/'))?;
    let on_path = caller.search_path().into_iter().any(|dir| program::is_executable(&dir.join(name)));
    on_path.then(|| format!("to run the program `{name}`, write `stoa run -- {name} ...`"))
}
