//! `run-true`: start to exit code of an isolated `true`, against what else isolates or queues programs.

use super::peers::{find, is_root, packaged, python_packages, rust_package};
use super::report::Report;
use super::stoa::Stoa;
use super::worker::Subject;
use super::{Options, interleave};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

/// HyperQueue speaks through its Python package.
const HYPERQUEUE_WORKER: &str = include_str!("hyperqueue_worker.py");

/// The program that is started; its own exec is a part of every figure.
const PROGRAM: &str = "/bin/true";

pub(super) fn run(workspace: &Workspace, options: &Options, mut report: Report<'_>) -> Result<bool> {
    let stoa = Stoa::start(workspace, options.stoa.as_deref())?;
    let mut subjects = vec![stoa.subject("stoa", &["run", "--", PROGRAM])];
    let peers: [(&str, &dyn Fn() -> Result<Subject>); 6] = [
        ("bwrap", &|| bubblewrap("bwrap", &[])),
        ("bwrap, host network", &|| bubblewrap("bwrap, host network", &["--share-net"])),
        ("crun", &|| oci("crun", stoa.folder())),
        ("runc", &|| oci("runc", stoa.folder())),
        ("HyperQueue", &|| hyperqueue(stoa.folder())),
        ("pueue", &|| pueue(stoa.folder())),
    ];
    for (name, peer) in peers {
        match peer() {
            Ok(subject) => subjects.push(subject),
            Err(error) => report.skip(name, &format!("{error:#}")),
        }
    }
    report.compare(&interleave(subjects, options)?);
    Ok(report.finish())
}

fn words(line: &[&str]) -> Vec<String> {
    line.iter().map(|word| (*word).to_owned()).collect()
}

fn bubblewrap(name: &str, more: &[&str]) -> Result<Subject> {
    let program = packaged("bwrap", "bubblewrap")?.display().to_string();
    let mut command = words(&[&program, "--unshare-all"]);
    command.extend(words(more));
    command.extend(words(&["--cap-drop", "ALL", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]));
    command.extend(words(&["--tmpfs", "/tmp", "--die-with-parent", PROGRAM]));
    Ok(Subject { name: name.to_owned(), command, ..Subject::default() })
}

/// An OCI runtime with a prepared bundle: the host's root, read-only, as its file system.
fn oci(runtime: &str, folder: &Path) -> Result<Subject> {
    if !is_root() {
        bail!("binding the root folder into a bundle needs root");
    }
    let program = packaged(runtime, runtime)?.display().to_string();
    let bundle = folder.join(format!("{runtime}-bundle"));
    fs::create_dir_all(bundle.join("rootfs")).context("cannot make a bundle")?;
    let made = Command::new(&program).arg("spec").current_dir(&bundle).output()?;
    if !made.status.success() {
        bail!("{runtime} spec failed: {}", String::from_utf8_lossy(&made.stderr).trim());
    }
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!([PROGRAM]);
    config["root"] = json!({ "path": "rootfs", "readonly": true });
    fs::write(&path, config.to_string())?;
    // crun refuses a machine that has version 1 controllers beside a version 2 tree; without the tree it works.
    let prepare = format!(
        "mount --bind / '{0}/rootfs' && {{ ! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified; }} \
         && exec \"$@\"",
        bundle.display()
    );
    // A container's id must be free: the shell's own number is, and costs no further process.
    let line = format!("exec '{program}' run --bundle '{}' stoa-bench-$$", bundle.display());
    Ok(Subject {
        name: runtime.to_owned(),
        command: words(&["/bin/sh", "-c", &line]),
        within: words(&["unshare", "--mount", "sh", "-c", &prepare, "sh"]),
        ..Subject::default()
    })
}

/// HyperQueue in a network of its own, since it listens on every address.
fn hyperqueue(folder: &Path) -> Result<Subject> {
    let python = python_packages("hyperqueue", &["hyperqueue"])?.display().to_string();
    let script = folder.join("hyperqueue_worker.py");
    fs::write(&script, HYPERQUEUE_WORKER)?;
    // The script is itself the worker: what follows it on the line is not used.
    let line = format!("{} exec '{python}' '{}' 2>/dev/null", own_network()?, script.display());
    Ok(Subject {
        name: "HyperQueue".to_owned(),
        command: words(&[PROGRAM]),
        within: private_network(&line),
        ..Subject::default()
    })
}

/// pueue with its daemon warm, in a folder of its own.
fn pueue(folder: &Path) -> Result<Subject> {
    let client = rust_package("pueue")?;
    let daemon = client.with_file_name("pueued");
    let state = folder.join("pueue");
    fs::create_dir_all(&state)?;
    let config = state.join("pueue.yml");
    let settings = json!({
        "shared": {
            "pueue_directory": state, "runtime_directory": state, "use_unix_socket": true,
            "unix_socket_path": state.join("s"),
        },
        "daemon": { "default_parallel_tasks": 2 },
    });
    // JSON is YAML too.
    fs::write(&config, settings.to_string())?;
    let (client, config) = (client.display(), config.display());
    let line = format!(
        "{} '{}' -c '{config}' >/dev/null 2>&1 & \
         for i in $(seq 100); do '{client}' -c '{config}' status >/dev/null 2>&1 && break; sleep 0.05; done; exec \"$@\"",
        own_network()?,
        daemon.display()
    );
    // `follow` reports the end at once; `wait` looks every two seconds.
    let submit = format!("'{client}' -c '{config}' add --immediate --follow -- {PROGRAM}");
    Ok(Subject {
        name: "pueue".to_owned(),
        command: words(&["/bin/sh", "-c", &submit]),
        within: private_network(&line),
        ..Subject::default()
    })
}

/// The shell line that makes the loopback device of a new network usable.
fn own_network() -> Result<String> {
    let ip = find("ip").context("`ip` is missing: apt-get install iproute2")?;
    Ok(format!("'{}' link set lo up;", ip.display()))
}

fn private_network(line: &str) -> Vec<String> {
    let unshare = if is_root() { "--net" } else { "-rn" };
    words(&["unshare", unshare, "sh", "-c", line, "sh"])
}
