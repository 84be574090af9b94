//! Which folders a program needs to see besides the system and the project.
//!
//! A run sees the system folders ([`SYSTEM`]) and its project. Everything else, the user's home above all, is hidden
//! unless it is named here: the folder a program was installed into, the interpreter of its `#!` line, the prefix of a
//! Python and of the Python that a virtual environment was made from. Only names and files are looked at; nothing is started.

use crate::python::Interpreter;
use crate::{Config, shebang};
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use stoa_core::run::Mount;

/// Folders every run sees.
const SYSTEM: [&str; 12] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix", "/snap", "/gnu"];

/// Roots below a home whose programs need the whole tree: version managers with shims, and package managers.
const TOOL_ROOTS: [&str; 9] = [
    ".pyenv/versions",
    ".local/share/mise",
    ".asdf",
    ".local/share/uv",
    ".local/share/pipx",
    ".nix-profile",
    ".juliaup",
    ".julia/juliaup",
    ".volta",
];

/// How many `#!` lines and symbolic links are followed from one program to the next.
const MOST_HOPS: usize = 8;

/// A set of mounts without doubles; a writable one wins over a read-only one of the same path.
#[derive(Debug, Default)]
pub(crate) struct Visible {
    mounts: Vec<Mount>,
}

impl Visible {
    /// Adds a path to read, unless every run sees it.
    pub(crate) fn read(&mut self, path: &Path) {
        if !is_system(path) && path.exists() {
            self.add(path, false);
        }
    }

    /// Adds a path to read that need not exist yet.
    pub(crate) fn expect(&mut self, path: &Path) {
        self.add(path, false);
    }

    /// Adds a path to write below.
    pub(crate) fn write(&mut self, path: &Path) {
        self.add(path, true);
    }

    fn add(&mut self, path: &Path, writable: bool) {
        if path.parent().is_none() {
            return;
        }
        match self.mounts.iter_mut().find(|mount| mount.path == path) {
            Some(mount) => mount.writable |= writable,
            None => self.mounts.push(Mount { path: path.to_owned(), writable }),
        }
    }

    /// Adds what `program` needs: its folder, what its links lead to, and the interpreter of its `#!` line.
    pub(crate) fn program(&mut self, program: &Path, config: &Config) {
        self.follow(program, config, MOST_HOPS);
    }

    fn follow(&mut self, program: &Path, config: &Config, hops: usize) {
        if hops == 0 {
            return;
        }
        self.folder_of(program, config);
        if let Ok(target) = std::fs::read_link(program) {
            let target = resolve_link(program, &target);
            return self.follow(&target, config, hops - 1);
        }
        let mut head = [0; 256];
        let length = std::fs::File::open(program).and_then(|mut file| file.read(&mut head)).unwrap_or(0);
        let interpreter = shebang::parse(&head[..length]).map(|line| PathBuf::from(line.interpreter));
        match interpreter {
            Some(interpreter) if interpreter.is_absolute() => self.follow(&interpreter, config, hops - 1),
            Some(_) => {}
            None if Interpreter::has_python_name(program) => self.interpreter(&Interpreter::at(program), config),
            None => {}
        }
    }

    /// Adds the prefix of an interpreter, of the Python it was made from, and the user's own packages of its version.
    pub(crate) fn interpreter(&mut self, interpreter: &Interpreter, config: &Config) {
        for path in [&interpreter.path, &interpreter.real] {
            self.folder_of(path, config);
        }
        if let Some(home) = interpreter.base_folder() {
            self.folder_of(&home.join("python3"), config);
            if let Ok(real) = home.canonicalize() {
                self.folder_of(&real.join("python3"), config);
            }
        }
        if !interpreter.is_virtual()
            && let Some(version) = interpreter.version
        {
            let folder = format!(".local/lib/python{}.{}", version.major, version.minor);
            self.read(&config.user_home.join(folder));
        }
    }

    /// Adds the folder a program lies in: the installation's prefix where there is one, else no more than needed.
    fn folder_of(&mut self, program: &Path, config: &Config) {
        if is_system(program) {
            return;
        }
        let home = &config.user_home;
        let roots = TOOL_ROOTS.iter().map(|root| home.join(root));
        if let Some(root) = roots.into_iter().find(|root| program.starts_with(root)) {
            return self.read(&one_below(&root, program));
        }
        if let Some(brew) = program.ancestors().find(|dir| dir.ends_with(".linuxbrew")) {
            return self.read(brew);
        }
        let Some(dir) = program.parent() else { return };
        let cargo = home.join(".cargo");
        if dir == cargo.join("bin") {
            return self.rust(&cargo, home);
        }
        let prefix = dir.parent().filter(|_| dir.ends_with("bin") || dir.ends_with("shims"));
        match prefix {
            Some(prefix) if !too_wide(prefix, home) => self.read(prefix),
            Some(_) => self.read(dir),
            None if too_wide(dir, home) => self.read(program),
            None => self.read(dir),
        }
    }

    /// rustup's programs are links to itself; they need the toolchains and the caches of packages.
    fn rust(&mut self, cargo: &Path, home: &Path) {
        for part in ["bin", "registry", "git", "config.toml"] {
            self.read(&cargo.join(part));
        }
        self.read(&home.join(".rustup"));
    }

    pub(crate) fn into_mounts(self) -> Vec<Mount> {
        self.mounts
    }
}

/// `~/.pyenv/versions` and a program in it give `~/.pyenv/versions/3.12.1`; other roots stay as they are.
fn one_below(root: &Path, program: &Path) -> PathBuf {
    if !root.ends_with("versions") {
        return root.to_owned();
    }
    let first = program.strip_prefix(root).ok().and_then(|rest| rest.components().next());
    first.map_or_else(|| root.to_owned(), |first| root.join(first))
}

/// Whether showing a folder would show more than one program's files.
fn too_wide(dir: &Path, home: &Path) -> bool {
    let shared = [home.to_owned(), home.join(".local"), home.join(".config"), home.join(".cache")];
    home.starts_with(dir) || shared.iter().any(|shared| dir == shared) || dir.components().count() <= 2
}

fn is_system(path: &Path) -> bool {
    SYSTEM.iter().any(|dir| path.starts_with(dir))
}

/// The target of a symbolic link as an absolute path, `..` resolved by name.
fn resolve_link(link: &Path, target: &Path) -> PathBuf {
    let joined = link.parent().unwrap_or(Path::new("/")).join(target);
    let mut path = PathBuf::new();
    for part in joined.components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            part => path.push(part),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    fn seen(tree: &Tree, program: &str) -> Vec<String> {
        let mut visible = Visible::default();
        visible.program(&tree.path(program), &tree.config());
        let mounts = visible.into_mounts();
        assert!(mounts.iter().all(|mount| !mount.writable));
        let mut paths: Vec<String> = mounts
            .iter()
            .filter_map(|mount| Some(mount.path.strip_prefix(tree.path("home")).ok()?.display().to_string()))
            .collect();
        paths.sort();
        paths
    }

    #[test]
    fn a_program_shows_its_installation_and_never_the_home() {
        let tree = Tree::new();
        tree.executable("home/bin/tool", "#!/bin/sh\n");
        tree.executable("home/alone", "\u{7f}ELF");
        tree.executable("home/.nvm/versions/node/v20/bin/node", "\u{7f}ELF");
        assert_eq!(seen(&tree, "home/bin/tool"), ["bin"]);
        assert_eq!(seen(&tree, "home/alone"), ["alone"]);
        assert_eq!(seen(&tree, "home/.nvm/versions/node/v20/bin/node"), [".nvm/versions/node/v20"]);
    }

    #[test]
    fn a_link_into_a_tool_environment_shows_that_environment_and_its_python() {
        let tree = Tree::new();
        tree.python("home/.pyenv/versions/3.12.1", "3.12");
        tree.venv("home/.local/share/pipx/venvs/tool", "home/.pyenv/versions/3.12.1", "3.12.1");
        let python = tree.path("home/.local/share/pipx/venvs/tool/bin/python");
        tree.executable("home/.local/share/pipx/venvs/tool/bin/tool", &format!("#!{}\n", python.display()));
        tree.dir("home/.local/bin");
        tree.link("../share/pipx/venvs/tool/bin/tool", "home/.local/bin/tool");
        assert_eq!(seen(&tree, "home/.local/bin/tool"), [".local/bin", ".local/share/pipx", ".pyenv/versions/3.12.1"]);
    }

    #[test]
    fn rust_programs_show_toolchains_but_no_credentials() {
        let tree = Tree::new();
        tree.executable("home/.cargo/bin/rustup", "\u{7f}ELF");
        tree.link("rustup", "home/.cargo/bin/cargo");
        tree.write("home/.cargo/credentials.toml", "");
        tree.dir("home/.rustup/toolchains");
        tree.dir("home/.cargo/registry");
        assert_eq!(seen(&tree, "home/.cargo/bin/cargo"), [".cargo/bin", ".cargo/registry", ".rustup"]);
    }

    #[test]
    fn links_in_a_circle_end() {
        let tree = Tree::new();
        tree.dir("home/bin");
        tree.link("b", "home/bin/a");
        tree.link("a", "home/bin/b");
        assert_eq!(seen(&tree, "home/bin/a"), ["bin"]);
    }
}
