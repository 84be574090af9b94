//! The sandbox of a run as a plan for the warden. Pure: the same input gives the same plan.
//!
//! The warden lays a read-only view of the system with private `/tmp`, `/run`, `/proc` and `/dev`. The steps made here hide
//! the homes and the credentials of the system, then bring back, in this order: caches, what the program needs, the project,
//! what the user named with `--mount`, and the run's own folder. A later step wins over an earlier one.

use std::path::{Path, PathBuf};
use stoa_core::run::{Limits, Mount, Network, Program, RunSpec, TerminalSize, Variable};
use stoa_core::secret::CREDENTIAL_PATHS;
use stoa_proto::warden::{self as inner, mount_step::Kind};

/// Processes and threads a run may have when the user sets no limit: what a fork bomb can reach at the most.
pub(crate) const DEFAULT_PIDS: u32 = 8192;
/// Time between SIGTERM and SIGKILL at the time limit, and of `stoa stop` without `--grace`.
pub(crate) const GRACE_MS: u64 = 10_000;

/// Caches below the home that programs share between runs, with write access: models and compiled kernels.
/// Package caches (pip, uv) are left out: a run that could write them could change what is installed outside.
const SHARED_CACHES: [&str; 9] = [
    ".cache/fontconfig",
    ".cache/huggingface",
    ".cache/jax",
    ".cache/matplotlib",
    ".cache/torch",
    ".cache/torch_extensions",
    ".keras",
    ".nv",
    ".triton",
];
/// Credentials inside those caches.
const CACHED_CREDENTIALS: [&str; 2] = [".cache/huggingface/token", ".cache/huggingface/stored_tokens"];

/// What only root could read; hidden from runs of root. Other users are kept out by the file modes.
const ROOT_SECRETS: [&str; 13] = [
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/kubernetes",
    "/etc/rancher",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/ssh/ssh_host_ecdsa_key",
    "/etc/ssh/ssh_host_ed25519_key",
    "/etc/ssh/ssh_host_rsa_key",
    "/etc/ssl/private",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/lib/kubelet",
];

/// Variables that point into what is hidden: sockets of the session, and Stoa's own state.
const DROPPED_VARIABLES: [&str; 4] = ["DISPLAY", "STOA_HOME", "STOA_LOG", "XDG_RUNTIME_DIR"];

/// Where a run is, beyond its specification.
#[derive(Debug, Clone)]
pub(crate) struct Place<'a> {
    pub(crate) id: &'a str,
    pub(crate) attempt: u32,
    /// The home folder of the user.
    pub(crate) user_home: &'a Path,
    /// Whether the user is root.
    pub(crate) root: bool,
    pub(crate) stoa_home: &'a Path,
    /// The folder of the daemon's socket: a run that could connect to it could start others without isolation.
    pub(crate) sockets: &'a Path,
    pub(crate) python_library: &'a Path,
    pub(crate) state: &'a Path,
    pub(crate) files: &'a Path,
    pub(crate) project: Option<&'a Path>,
    /// The folder that stands in for the project: the checkout of a repeated run.
    pub(crate) project_source: Option<&'a Path>,
    pub(crate) hostname: &'a str,
    /// Device nodes of the GPUs the run sees.
    pub(crate) devices: &'a [String],
    /// Values of CUDA_VISIBLE_DEVICES and the like, when the user limited the GPUs.
    pub(crate) device_env: &'a [Variable],
}

/// What is started in the sandbox: the program of a run or a step of its preparation.
#[derive(Debug, Clone)]
pub(crate) struct Work<'a> {
    pub(crate) argv: &'a [String],
    /// Over the caller's environment.
    pub(crate) env: &'a [Variable],
    pub(crate) mounts: &'a [Mount],
    pub(crate) terminal: Option<TerminalSize>,
    pub(crate) stdin: bool,
    pub(crate) network: Network,
    pub(crate) limits: &'a Limits,
}

/// The plan for one launch.
pub(crate) fn launch_plan(spec: &RunSpec, place: &Place<'_>, work: &Work<'_>) -> inner::LaunchPlan {
    inner::LaunchPlan {
        run_id: place.id.to_owned(),
        state_dir: text(place.state),
        argv: work.argv.to_vec(),
        env: environment(spec, place, work),
        cwd: text(&spec.cwd),
        mounts: mounts(spec, place, work),
        private_network: work.network == Network::None,
        terminal: work.terminal.map(|size| inner::Terminal { rows: size.rows.into(), columns: size.columns.into() }),
        stdin: work.stdin,
        limits: Some(inner::CgroupLimits {
            cpu_thousandths: work.limits.cpus.map_or(0, |cpus| cpus.0),
            memory_bytes: work.limits.memory.map_or(0, |bytes| bytes.0),
            pids: work.limits.pids.unwrap_or(DEFAULT_PIDS),
        }),
        time_limit_ms: work.limits.time.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        grace_ms: GRACE_MS,
        allow_degraded: spec.allow_degraded,
        hostname: place.hostname.to_owned(),
        devices: place.devices.to_vec(),
        writable: Vec::new(),
        attempt: place.attempt,
        umask: spec.umask,
    }
}

/// A mechanism of this host, as a run by `plan` asked for it.
pub(crate) fn as_asked(plan: &inner::LaunchPlan, mut mechanism: inner::Mechanism) -> inner::Mechanism {
    let limits = plan.limits.unwrap_or_default();
    let asked = match mechanism.name.as_str() {
        "network-namespace" => plan.private_network,
        "cpu-limit" => limits.cpu_thousandths > 0,
        "memory-limit" => limits.memory_bytes > 0,
        "time-limit" => plan.time_limit_ms > 0,
        _ => true,
    };
    if !asked {
        mechanism.set_enforcement(inner::Enforcement::NotAsked);
        mechanism.detail.clear();
    }
    mechanism
}

fn environment(spec: &RunSpec, place: &Place<'_>, work: &Work<'_>) -> Vec<String> {
    let own = [
        Variable { name: "STOA_RUN_ID".into(), value: place.id.to_owned() },
        Variable { name: "STOA_RUN_DIR".into(), value: text(place.files) },
    ];
    let dropped = |variable: &&Variable| !DROPPED_VARIABLES.contains(&variable.name.as_str());
    let inherited = spec.env.iter().filter(dropped);
    let mut variables: Vec<(&str, &str)> = Vec::new();
    for variable in inherited.chain(work.env).chain(place.device_env).chain(&spec.named_env).chain(&own) {
        match variables.iter_mut().find(|(name, _)| *name == variable.name) {
            Some(known) => known.1 = &variable.value,
            None => variables.push((&variable.name, &variable.value)),
        }
    }
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn mounts(spec: &RunSpec, place: &Place<'_>, work: &Work<'_>) -> Vec<inner::MountStep> {
    let mut steps = Steps::default();
    hide_homes(&mut steps, place);
    if place.root {
        ROOT_SECRETS.iter().for_each(|path| steps.hide(Path::new(path)));
    }
    if !steps.is_hidden(place.stoa_home) {
        steps.tmpfs(place.stoa_home);
    }
    for folder in socket_folders(spec, place) {
        if !steps.is_hidden(folder) {
            steps.hide(folder);
        }
    }
    for cache in SHARED_CACHES {
        steps.bind(&place.user_home.join(cache), true, true);
    }
    CACHED_CREDENTIALS.iter().for_each(|path| steps.hide(&place.user_home.join(path)));
    for mount in work.mounts {
        steps.bind(&mount.path, mount.writable, false);
    }
    steps.bind(place.python_library, false, true);
    bind_script(&mut steps, spec, place);
    bind_project(&mut steps, spec, place);
    for mount in &spec.mounts {
        steps.bind(&mount.path, mount.writable, false);
    }
    steps.bind(place.files, true, false);
    steps.0
}

/// Empties every folder that holds homes, and the user's own home wherever it is.
fn hide_homes(steps: &mut Steps, place: &Place<'_>) {
    for homes in ["/home", "/root"].map(Path::new) {
        if place.user_home.starts_with(homes) {
            steps.tmpfs(homes);
        } else {
            steps.hide(homes);
        }
    }
    if !steps.is_hidden(place.user_home) && place.user_home.parent().is_some() {
        steps.tmpfs(place.user_home);
    }
}

/// The folders in which the daemon and the programs of the user's session listen. Usually both lie below `/run`.
fn socket_folders<'a>(spec: &'a RunSpec, place: &Place<'a>) -> impl Iterator<Item = &'a Path> + use<'a> {
    let session = spec.env.iter().find(|variable| variable.name == "XDG_RUNTIME_DIR");
    let session = session.map(|variable| Path::new(&variable.value)).filter(|path| path.is_absolute());
    session.into_iter().chain([place.sockets]).filter(|path| path.parent().is_some())
}

/// Brings back a script that lies outside the project, with the folder it may import from. Of a folder that holds more than
/// the script's own files (the home, `/tmp`) only the script itself.
fn bind_script(steps: &mut Steps, spec: &RunSpec, place: &Place<'_>) {
    let Program::Script { path, .. } = &spec.program else { return };
    let script = spec.cwd.join(path);
    let in_project = place.project.is_some_and(|project| script.starts_with(project));
    let Some(folder) = script.parent().filter(|_| !in_project && steps.is_hidden(&script)) else { return };
    let shared = ["/tmp", "/var/tmp", "/dev/shm", "/run"].map(Path::new).contains(&folder);
    let holds_more = shared || [place.user_home, place.stoa_home].iter().any(|inner| inner.starts_with(folder));
    steps.bind(if holds_more { &script } else { folder }, false, true);
}

/// Brings the project back, with the parts of `.git` that name programs to execute read-only: git runs them outside, as the
/// user. What it holds of the user's credentials and of Stoa's state stays hidden.
fn bind_project(steps: &mut Steps, spec: &RunSpec, place: &Place<'_>) {
    let Some(project) = place.project else { return };
    steps.push(Kind::BindWritable, place.project_source.unwrap_or(project), project, false);
    for path in [".git/config", ".git/hooks"] {
        let source = place.project_source.unwrap_or(project).join(path);
        steps.push(Kind::BindReadOnly, &source, &project.join(path), true);
    }
    if place.user_home.starts_with(project) {
        let credentials = CREDENTIAL_PATHS.iter().chain(&CACHED_CREDENTIALS);
        credentials.for_each(|path| steps.hide(&place.user_home.join(path)));
    }
    if place.stoa_home.starts_with(project) {
        steps.tmpfs(place.stoa_home);
        steps.bind(place.python_library, false, true);
    }
    let inside = socket_folders(spec, place).filter(|folder| *folder != project && folder.starts_with(project));
    inside.for_each(|folder| steps.hide(folder));
    if project == Path::new("/tmp") {
        // The real /tmp: what other programs of the user listen on there is no part of the project.
        ["/tmp/.X11-unix", "/tmp/.ICE-unix"].iter().for_each(|path| steps.hide(Path::new(path)));
    }
}

/// The steps so far.
#[derive(Default)]
struct Steps(Vec<inner::MountStep>);

impl Steps {
    fn push(&mut self, kind: Kind, source: &Path, target: &Path, optional: bool) {
        self.0.push(inner::MountStep { kind: kind.into(), source: text(source), target: text(target), optional });
    }

    fn bind(&mut self, path: &Path, writable: bool, optional: bool) {
        self.push(if writable { Kind::BindWritable } else { Kind::BindReadOnly }, path, path, optional);
    }

    fn tmpfs(&mut self, path: &Path) {
        self.push(Kind::Tmpfs, Path::new(""), path, false);
    }

    fn hide(&mut self, path: &Path) {
        self.push(Kind::Hide, Path::new(""), path, true);
    }

    /// Whether a path lies in something that is empty inside.
    fn is_hidden(&self, path: &Path) -> bool {
        let private = ["/tmp", "/var/tmp", "/run", "/dev/shm"].map(PathBuf::from);
        let emptied = self.0.iter().filter(|step| matches!(step.kind(), Kind::Tmpfs | Kind::Hide));
        private.into_iter().chain(emptied.map(|step| PathBuf::from(&step.target))).any(|empty| path.starts_with(empty))
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
