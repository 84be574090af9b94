//! Built-in disks, from `/sys/block`.

use crate::tree::Tree;
use std::fmt;
use stoa_core::units::Bytes;

/// Sectors of sysfs have this many bytes, whatever the disk's own are (`Documentation/ABI/stable/sysfs-block`).
const SECTOR: u64 = 512;

/// Block devices that are no disk of their own: made of memory, of files, or of other disks; and what can be taken out.
const NOT_DISKS: [&str; 9] = ["loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "mtdblock"];

/// What a disk is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskKind {
    /// Flash on PCIe.
    Nvme,
    /// Flash on another bus.
    Solid,
    /// Spinning plates.
    Rotational,
    /// A hypervisor's; what is behind it cannot be seen.
    Virtual,
}

impl fmt::Display for DiskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nvme => "NVMe",
            Self::Solid => "SSD",
            Self::Rotational => "hard disk",
            Self::Virtual => "virtual disk",
        })
    }
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its name in `/dev`.
    pub name: String,
    /// Its size.
    pub size: Bytes,
    /// What it is made of.
    pub kind: DiskKind,
}

pub(crate) fn read(tree: Tree<'_>) -> Vec<Disk> {
    let names = tree.names("sys/block");
    names.into_iter().filter_map(|name| disk(tree, name)).collect()
}

fn disk(tree: Tree<'_>, name: String) -> Option<Disk> {
    let number = |file: &str| tree.number(&format!("sys/block/{name}/{file}"));
    // A hidden device is one path of a multipath NVMe disk that is listed itself.
    if NOT_DISKS.iter().any(|prefix| name.starts_with(prefix))
        || number("removable") == Some(1)
        || number("hidden") == Some(1)
    {
        return None;
    }
    let size = number("size").filter(|sectors| *sectors > 0)?;
    let kind = match number("queue/rotational") {
        _ if name.starts_with("nvme") => DiskKind::Nvme,
        _ if name.starts_with("vd") || name.starts_with("xvd") => DiskKind::Virtual,
        Some(1) => DiskKind::Rotational,
        _ => DiskKind::Solid,
    };
    Some(Disk { name, size: Bytes(size.saturating_mul(SECTOR)), kind })
}
