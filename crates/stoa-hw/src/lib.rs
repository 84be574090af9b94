//! What machine this is: read once from `/proc`, `/sys` and `/dev`, without starting a process.
//!
//! [`Inventory::read`] takes the root to read below, so that a test hands in a tree of another machine. A file that is
//! missing leaves a gap (`unknown`, an empty list), never an error: an inventory is for showing, recording and placing,
//! and each use decides what it needs. Not here: whether a mechanism can be *enforced* (`stoa-sys` probes that).
#![forbid(unsafe_code)]

mod cgroup;
mod disk;
mod gpu;
mod processor;
mod require;
mod tree;

pub use cgroup::{CgroupLayout, Cgroups};
pub use disk::{Disk, DiskKind};
pub use gpu::{Gpu, Vendor};
pub use processor::{Processor, Virtualization};
pub use require::{Requirement, Verdict, requirements};

use std::path::Path;
use stoa_core::run::Host;
use stoa_core::units::Bytes;
use tree::{Tree, field};

/// What stands where a text could not be read.
const UNKNOWN: &str = "unknown";

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// Host name.
    pub name: String,
    /// Kernel release, such as `6.12.43`.
    pub kernel: String,
    /// Distribution, such as `Debian GNU/Linux 12 (bookworm)`.
    pub system: String,
    /// Processors.
    pub processor: Processor,
    /// Memory the kernel manages; somewhat less than what is built in.
    pub memory: Bytes,
    /// Built-in disks, in the order of their names.
    pub disks: Vec<Disk>,
    /// GPUs and other accelerators, in the order of their bus addresses.
    pub gpus: Vec<Gpu>,
    /// Control groups.
    pub cgroups: Cgroups,
}

impl Inventory {
    /// Reads the machine whose root folder is `root`: `/` for this one.
    pub fn read(root: &Path) -> Self {
        let tree = Tree(root);
        Self {
            name: tree.text("proc/sys/kernel/hostname").unwrap_or_else(unknown),
            kernel: tree.text("proc/sys/kernel/osrelease").unwrap_or_else(unknown),
            system: system(tree).unwrap_or_else(unknown),
            processor: processor::read(tree),
            memory: memory(tree),
            disks: disk::read(tree),
            gpus: gpu::read(tree),
            cgroups: cgroup::read(tree),
        }
    }
}

impl From<&Inventory> for Host {
    fn from(inventory: &Inventory) -> Self {
        Self {
            name: inventory.name.clone(),
            kernel: inventory.kernel.clone(),
            system: inventory.system.clone(),
            cpu: inventory.processor.model.clone(),
            cpus: inventory.processor.allowed,
            memory: inventory.memory,
            gpus: inventory.gpus.iter().map(ToString::to_string).collect(),
        }
    }
}

fn unknown() -> String {
    UNKNOWN.to_owned()
}

/// The distribution's name, after os-release(5): `/etc` first, then `/usr/lib`.
fn system(tree: Tree<'_>) -> Option<String> {
    let text = tree.text("etc/os-release").or_else(|| tree.text("usr/lib/os-release"))?;
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        let value = line.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    };
    value("PRETTY_NAME").or_else(|| value("NAME"))
}

fn memory(tree: Tree<'_>) -> Bytes {
    let kibibytes = tree.text("proc/meminfo").and_then(|text| {
        let total = field(&text, "MemTotal")?;
        total.strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    Bytes(kibibytes.unwrap_or(0).saturating_mul(1024))
}
