//! The steps of a preparation with the real uv and a package that is built here, without a network.
//!
//! Uses the uv of `STOA_TEST_UV`, else of `PATH`; reported as skipped where there is none. `STOA_TEST_DOWNLOADS=1` adds
//! the test that downloads uv, `STOA_TEST_DOWNLOADS=all` the one that downloads PyTorch.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and says what it skips")]

use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use stoa_core::port::{Languages, Resolved, Step};
use stoa_core::run::{Limits, Mount, RunSpec, Variable};
use stoa_core::{Exit, Failure};
use stoa_lang::{Config, LanguageService};

/// Writes a wheel of one module; `sys.argv` is folder, name, version.
const MAKE_WHEEL: &str = r#"
import sys, zipfile
folder, name, version = sys.argv[1:]
info = f"{name}-{version}.dist-info"
with zipfile.ZipFile(f"{folder}/{name}-{version}-py3-none-any.whl", "w") as wheel:
    wheel.writestr(f"{name}.py", f"VERSION = '{version}'\n")
    wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/RECORD", "")
"#;

struct World {
    root: tempfile::TempDir,
    env: Vec<Variable>,
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file())
}

fn given_uv() -> Option<PathBuf> {
    std::env::var_os("STOA_TEST_UV").map(PathBuf::from).filter(|path| path.is_file()).or_else(|| on_path("uv"))
}

impl World {
    /// A home with the real uv and Python first on its path, and no network settings of this machine.
    fn new(with_uv: bool) -> Option<Self> {
        let root = tempfile::tempdir().unwrap();
        for dir in ["home", "state", "bin", "wheels", "home/code/.git"] {
            std::fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        if with_uv {
            let Some(uv) = given_uv() else {
                eprintln!("skipped: no uv in STOA_TEST_UV or on PATH");
                return None;
            };
            std::os::unix::fs::symlink(uv, root.path().join("bin/uv")).unwrap();
        }
        let python = ["python3", "python"].iter().find_map(|name| real_python(name));
        let Some(python) = python else {
            eprintln!("skipped: no Python 3 on PATH");
            return None;
        };
        std::os::unix::fs::symlink(&python, root.path().join("bin/python3")).unwrap();
        let path = format!("{}:/usr/bin:/bin", root.path().join("bin").display());
        let home = root.path().join("home").display().to_string();
        let env = [("PATH", path), ("HOME", home)].map(|(name, value)| Variable { name: name.into(), value });
        Some(Self { root, env: env.to_vec() })
    }

    /// Only the wheels that the test made can be installed: the user's settings say so.
    fn without_index(self) -> Self {
        let settings = format!("no-index = true\nfind-links = [\"{}\"]\n", self.path("wheels").display());
        self.write("home/.config/uv/uv.toml", &settings);
        self
    }

    /// The proxies and certificates of this machine.
    fn with_network(mut self) -> Self {
        let needed =
            |name: &str| ["CERT", "CA_BUNDLE", "PROXY", "proxy", "INDEX"].iter().any(|word| name.contains(word));
        for (name, value) in std::env::vars().filter(|(name, _)| needed(name)) {
            self.set(&name, &value);
        }
        self
    }

    fn set(&mut self, name: &str, value: &str) {
        self.env.push(Variable { name: name.into(), value: value.into() });
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    fn write(&self, relative: &str, content: &str) {
        std::fs::create_dir_all(self.path(relative).parent().unwrap()).unwrap();
        std::fs::write(self.path(relative), content).unwrap();
    }

    fn wheel(&self, name: &str, version: &str) {
        let python = self.path("bin/python3");
        let args = [self.path("wheels").display().to_string(), name.into(), version.into()];
        assert!(Command::new(python).args(["-I", "-c", MAKE_WHEEL]).args(args).status().unwrap().success());
    }

    fn service(&self) -> LanguageService {
        LanguageService::new(Config { home: self.path("state"), user_home: self.path("home") })
    }

    fn spec(&self, script: &str) -> RunSpec {
        let program = json!({ "kind": "script", "path": script, "args": [] });
        serde_json::from_value(json!({
            "name": null, "program": program, "cwd": self.path("home/code"), "env": self.env, "named_env": [],
            "hidden_env": [], "limits": Limits::default(), "mounts": [], "network": "host", "retries": 0,
            "allow_degraded": false, "python": null, "terminal": null, "stdin": false, "umask": 0o022, "repeats": null,
        }))
        .unwrap()
    }

    fn resolve(&self, script: &str) -> Resolved {
        self.service().resolve(&self.spec(script)).unwrap()
    }

    fn execute(&self, argv: &[String], env: &[Variable]) -> Output {
        let all = self.env.iter().chain(env).map(|variable| (&variable.name, &variable.value));
        let program = if argv[0].contains('/') { PathBuf::from(&argv[0]) } else { on_path(&argv[0]).unwrap() };
        Command::new(program)
            .args(&argv[1..])
            .env_clear()
            .envs(all)
            .current_dir(self.path("home/code"))
            .output()
            .unwrap()
    }

    /// Runs the steps up to the first that fails.
    fn prepare(&self, resolved: &Resolved) -> Result<(), (Step, String)> {
        for step in &resolved.preparation.as_ref().unwrap().steps {
            let output = self.execute(&step.argv, &step.env);
            if !output.status.success() {
                return Err((step.clone(), String::from_utf8_lossy(&output.stderr).into_owned()));
            }
        }
        Ok(())
    }

    /// Prepares, seals, resolves again and runs; answers the standard output.
    fn run(&self, script: &str) -> String {
        let first = self.resolve(script);
        self.prepare(&first).unwrap_or_else(|(step, output)| panic!("{}: {output}", step.title));
        self.service().prepared(&first).unwrap();
        let second = self.resolve(script);
        assert_eq!(second.preparation, None);
        let output = self.execute(&second.argv, &second.env);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn failure(&self, script: &str) -> Failure {
        let resolved = self.resolve(script);
        let (step, output) = self.prepare(&resolved).expect_err("the preparation has to fail");
        self.service().explain(&resolved, &step, &output)
    }
}

/// The interpreter behind a name on `PATH`, past any shim.
fn real_python(name: &str) -> Option<PathBuf> {
    let output = Command::new(on_path(name)?).args(["-I", "-c", "import sys; print(sys.executable)"]).output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    path.canonicalize().ok()
}

fn block(dependencies: &str, rest: &str) -> String {
    format!("# /// script\n# dependencies = [{dependencies}]\n# ///\n{rest}\n")
}

#[test]
fn a_script_gets_the_packages_of_its_block() {
    let Some(world) = World::new(true).map(World::without_index) else { return };
    world.wheel("demo_pkg", "1.0");
    world.wheel("demo_pkg", "1.5");
    world.write(
        "home/code/a.py",
        &block("\"demo-pkg<1.2\"", "import demo_pkg, sys; print(demo_pkg.VERSION, sys.path[0])"),
    );
    assert_eq!(world.run("a.py"), format!("1.0 {}", world.path("home/code").display()));
    let environment = world.resolve("a.py").environment.unwrap();
    assert_eq!(environment.lock, ["demo-pkg==1.0"]);
    let venv = environment.interpreter.parent().and_then(Path::parent).unwrap().to_owned();
    let compiled = find(&venv, &|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("demo_pkg.cpython"))
    });
    assert_eq!(compiled.len(), 1, "byte code is compiled while the environment can be written");
}

/// The files below a folder that are wanted; links are not followed (`lib64` is one).
fn find(dir: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(find(&entry.path(), wanted));
        } else if wanted(&entry.path()) {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn packages_are_linked_from_the_cache() {
    use std::os::unix::fs::MetadataExt;
    let Some(world) = World::new(true).map(World::without_index) else { return };
    world.wheel("demo_pkg", "1.0");
    world.write("home/code/a.py", &block("\"demo-pkg\"", "import demo_pkg; print(demo_pkg.VERSION)"));
    assert_eq!(world.run("a.py"), "1.0");
    let modules = find(&world.path("state/envs"), &|path| path.ends_with("demo_pkg.py"));
    assert_eq!(modules.len(), 1);
    assert!(std::fs::metadata(&modules[0]).unwrap().nlink() >= 2, "the file is a hard link into the cache");
}

#[test]
fn a_requirements_file_and_a_project_are_installed() {
    let Some(world) = World::new(true).map(World::without_index) else { return };
    world.wheel("demo_pkg", "1.0");
    world.wheel("other", "2.0");
    world.write("home/code/sub/b.py", "import demo_pkg, other; print(demo_pkg.VERSION, other.VERSION)");
    world.write("home/code/sub/requirements.txt", "-r more.txt\ndemo-pkg\n");
    world.write("home/code/sub/more.txt", "other\n");
    assert_eq!(world.run("sub/b.py"), "1.0 2.0");
    let project = "[project]\nname = \"p\"\nversion = \"1\"\ndependencies = [\"other\"]\n[dependency-groups]\ndev = [\"demo-pkg\"]\n";
    world.write("home/code/pyproject.toml", project);
    assert_eq!(world.run("sub/b.py"), "1.0 2.0");
    assert!(!world.path("home/code/uv.lock").exists(), "the project folder stays as it was");
}

/// The package index that a block names is the one that is asked, and no other package of that name is taken.
#[test]
fn sources_in_a_block_are_followed() {
    let Some(mut world) = World::new(true) else { return };
    world.set("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple");
    world.wheel("demo_pkg", "1.0");
    std::fs::create_dir_all(world.path("private")).unwrap();
    let name = "demo_pkg-1.0-py3-none-any.whl";
    std::fs::rename(world.path("wheels").join(name), world.path("private").join(name)).unwrap();
    world.wheel("demo_pkg", "9.0");
    let wheel = world.path("private/demo_pkg-1.0-py3-none-any.whl").display().to_string();
    let print = "import demo_pkg; print(demo_pkg.VERSION)";
    let script = |source: &str| {
        format!(
            "# /// script\n# dependencies = [\"demo-pkg\"]\n# [tool.uv.sources]\n# demo-pkg = {source}\n# ///\n{print}\n"
        )
    };
    world.write("home/code/a.py", &script(&format!("{{ path = \"{wheel}\" }}")));
    assert_eq!(world.run("a.py"), "1.0");
    let index = format!(
        "# [[tool.uv.index]]\n# name = \"mine\"\n# url = \"{}\"\n# format = \"flat\"\n# explicit = true\n# ///",
        world.path("private").display()
    );
    world
        .write("home/code/b.py", &script("{ index = \"mine\" }").replace("# ///\nimport", &format!("{index}\nimport")));
    assert_eq!(world.run("b.py"), "1.0");
    assert!(!world.path("home/code/a.py.lock").exists());
}

#[test]
fn a_lock_file_is_followed_and_an_old_one_is_an_error() {
    let Some(world) = World::new(true).map(World::without_index) else { return };
    world.wheel("demo_pkg", "1.0");
    world.write("home/code/c.py", "import demo_pkg; print(demo_pkg.VERSION)");
    let project = |more: &str| {
        format!(
            "[project]\nname = \"p\"\nversion = \"1\"\nrequires-python = \">=3.8\"\ndependencies = [\"demo-pkg\"{more}]\n"
        )
    };
    world.write("home/code/pyproject.toml", &project(""));
    let uv = world.path("bin/uv").display().to_string();
    let python = world.path("bin/python3").display().to_string();
    let lock = world.execute(&[uv, "lock".into(), "--python".into(), python], &[]);
    assert!(lock.status.success(), "{}", String::from_utf8_lossy(&lock.stderr));
    world.wheel("demo_pkg", "9.0");
    world.wheel("other", "2.0");
    assert_eq!(world.run("c.py"), "1.0");
    world.write("home/code/pyproject.toml", &project(", \"other\""));
    let failure = world.failure("c.py");
    assert_eq!(failure.exit, Exit::Config);
    assert!(failure.to_string().contains("uv lock"), "{failure}");
}

#[test]
fn dependencies_that_cannot_be_had_are_explained() {
    let Some(world) = World::new(true).map(World::without_index) else { return };
    world.wheel("demo_pkg", "1.0");
    for (name, dependencies, words, exit) in [
        ("missing", "\"no-such-thing\"", "the dependency `no-such-thing` does not exist", Exit::Config),
        ("conflict", "\"demo-pkg<1\", \"demo-pkg>=1\"", "cannot be resolved", Exit::Config),
        ("syntax", "\"demo-pkg >=< 3\"", "is not written correctly", Exit::Config),
    ] {
        world.write(&format!("home/code/{name}.py"), &block(dependencies, ""));
        let failure = world.failure(&format!("{name}.py"));
        assert_eq!(failure.exit, exit, "{failure}");
        assert!(failure.error.contains(words), "{failure}");
        assert!(failure.error.contains("no-such-thing") || failure.error.contains(&format!("{name}.py")), "{failure}");
    }
}

#[test]
fn without_network_and_cache_the_index_is_named() {
    let Some(mut world) = World::new(true) else { return };
    world.set("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple");
    world.set("UV_HTTP_RETRIES", "0");
    world.write("home/code/a.py", &block("\"demo-pkg\"", ""));
    let failure = world.failure("a.py");
    assert_eq!(failure.exit, Exit::Unavailable);
    assert!(failure.causes[0].starts_with("127.0.0.1:9: "), "{failure}");
    world.set("UV_OFFLINE", "1");
    assert_eq!(world.failure("a.py").exit, Exit::Unavailable);
}

#[test]
fn a_python_that_is_nowhere_is_explained() {
    let Some(mut world) = World::new(true) else { return };
    world.set("UV_PYTHON_DOWNLOADS", "never");
    world.write("home/code/a.py", "# /// script\n# requires-python = \">=3.99\"\n# dependencies = []\n# ///\n");
    let failure = world.failure("a.py");
    assert_eq!(failure.exit, Exit::Unavailable);
    assert!(failure.error.starts_with("no Python >=3.99 is here"), "{failure}");
}

/// The command line in a mount namespace where `/tmp`, `/home` and `/root` are empty but for the project and the mounts.
/// The worlds of these tests lie in `/tmp`, so that only what is named can be seen.
fn confined(world: &World, argv: &[String], mounts: &[Mount]) -> Vec<String> {
    let mut line: Vec<String> =
        ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"].map(str::to_owned).into();
    for hidden in ["/tmp", "/home", "/root"] {
        line.extend(["--tmpfs".to_owned(), hidden.to_owned()]);
    }
    let project = Mount { path: world.path("home/code"), writable: true };
    let mut all: Vec<&Mount> = mounts.iter().chain([&project]).collect();
    all.sort_by_key(|mount| mount.path.components().count());
    for mount in all {
        let path = mount.path.display().to_string();
        line.extend([if mount.writable { "--bind" } else { "--ro-bind" }.to_owned(), path.clone(), path]);
    }
    line.extend(["--chdir".to_owned(), world.path("home/code").display().to_string(), "--".to_owned()]);
    line.extend_from_slice(argv);
    line
}

#[test]
fn the_named_mounts_suffice() {
    use std::os::unix::fs::MetadataExt;
    let works = |bwrap: &PathBuf| {
        let status = Command::new(bwrap).args(["--ro-bind", "/", "/", "--", "/bin/true"]).output();
        status.is_ok_and(|output| output.status.success())
    };
    if on_path("bwrap").filter(works).is_none() {
        eprintln!("skipped: no bwrap that works");
        return;
    }
    let Some(world) = World::new(true) else { return };
    let world = world.without_index();
    world.wheel("demo_pkg", "1.0");
    // uv itself reads the wheels, which lie outside of what a preparation names.
    std::fs::rename(world.path("wheels"), world.path("home/code/wheels")).unwrap();
    let settings = world.path("home/.config/uv/uv.toml");
    let text = std::fs::read_to_string(&settings).unwrap().replace("/wheels", "/home/code/wheels");
    std::fs::write(settings, text).unwrap();
    world.write("home/code/a.py", &block("\"demo-pkg\"", "import demo_pkg, ssl; print(demo_pkg.VERSION)"));
    let first = world.resolve("a.py");
    for step in &first.preparation.as_ref().unwrap().steps {
        let output = world.execute(&confined(&world, &step.argv, &step.mounts), &step.env);
        assert!(output.status.success(), "{}: {}", step.title, String::from_utf8_lossy(&output.stderr));
    }
    world.service().prepared(&first).unwrap();
    let module = &find(&world.path("state/envs"), &|path| path.ends_with("demo_pkg.py"))[0];
    assert!(std::fs::metadata(module).unwrap().nlink() >= 2, "hard links work within the mounts");
    let second = world.resolve("a.py");
    let output = world.execute(&confined(&world, &second.argv, &second.mounts), &second.env);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1.0\n");
}

#[test]
fn uv_is_installed_when_there_is_none() {
    if std::env::var_os("STOA_TEST_DOWNLOADS").is_none() {
        eprintln!("skipped: downloads uv; set STOA_TEST_DOWNLOADS=1 to run it");
        return;
    }
    let Some(world) = World::new(false).map(World::with_network).map(World::without_index) else { return };
    world.wheel("demo_pkg", "1.0");
    world.write("home/code/a.py", &block("\"demo-pkg\"", "import demo_pkg; print(demo_pkg.VERSION)"));
    assert_eq!(world.resolve("a.py").preparation.unwrap().steps[0].title, "Installing uv 0.13.9");
    assert_eq!(world.run("a.py"), "1.0");
    world.write("home/code/b.py", &block("\"demo-pkg>=1\"", ""));
    assert_eq!(world.resolve("b.py").preparation.unwrap().steps[0].title, "Creating the environment");
}

/// The path of a new user: uv, then Stable-Baselines3 and PyTorch from the index, then the example itself.
#[test]
fn the_cartpole_example_runs_from_nothing() {
    if std::env::var("STOA_TEST_DOWNLOADS").as_deref() != Ok("all") {
        eprintln!("skipped: downloads 3 GB; set STOA_TEST_DOWNLOADS=all to run it");
        return;
    }
    let Some(world) = World::new(false).map(World::with_network) else { return };
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/cartpole_ppo.py");
    std::fs::copy(example, world.path("home/code/cartpole_ppo.py")).unwrap();
    let started = std::time::Instant::now();
    let resolved = world.resolve("cartpole_ppo.py");
    let preparation = resolved.preparation.as_ref().unwrap();
    eprintln!("notice: {}", preparation.notice.as_deref().unwrap_or_default());
    for step in &preparation.steps {
        let output = world.execute(&step.argv, &step.env);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let notes: Vec<&str> = said.lines().filter(|line| line.starts_with("note: ")).collect();
        eprintln!("{:.1} s: {} {notes:?}", started.elapsed().as_secs_f64(), step.title);
        assert!(output.status.success(), "{}: {said}", step.title);
    }
    world.service().prepared(&resolved).unwrap();
    eprintln!("{:.1} s: sealed", started.elapsed().as_secs_f64());
    let second = world.resolve("cartpole_ppo.py");
    assert_eq!(second.preparation, None);
    let output = world.execute(&second.argv, &second.env);
    let said = String::from_utf8_lossy(&output.stdout);
    eprintln!("{:.1} s: {said}", started.elapsed().as_secs_f64());
    assert!(output.status.success() && said.contains("\nsolved: "), "{}", String::from_utf8_lossy(&output.stderr));
}
