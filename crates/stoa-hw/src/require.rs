//! The system requirements, and how a machine compares with them.

use crate::disk::DiskKind;
use crate::processor::Virtualization;
use crate::{Inventory, Processor};
use stoa_core::units::Bytes;

/// Sizes are sold in powers of ten. The kernel keeps some percent of the memory for itself, so a machine sold with
/// 32 GiB still shows more than 32 GB.
const GB: u64 = 1_000_000_000;
const MINIMUM_MEMORY: u64 = 32 * GB;
const RECOMMENDED_MEMORY: u64 = 128 * GB;
const MINIMUM_DISK: u64 = 500 * GB;
const RECOMMENDED_GPUS: usize = 2;

/// How a machine meets a requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Below the minimum.
    Below,
    /// The minimum, not the recommendation.
    Minimum,
    /// At least what is recommended.
    Recommended,
}

impl Verdict {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Below => "below minimum",
            Self::Minimum => "minimum",
            Self::Recommended => "recommended",
        }
    }
}

/// One requirement beside what the machine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// What it is about.
    pub name: &'static str,
    /// What the machine has.
    pub have: String,
    /// The least that Stoa is made for.
    pub minimum: &'static str,
    /// What makes it a pleasure.
    pub recommended: &'static str,
    /// How the two compare.
    pub verdict: Verdict,
}

/// Compares a machine with the system requirements.
pub fn requirements(inventory: &Inventory) -> Vec<Requirement> {
    vec![processor(&inventory.processor), memory(inventory.memory), disk(inventory), gpus(inventory)]
}

fn grade(minimum: bool, recommended: bool) -> Verdict {
    match (minimum, recommended) {
        (false, _) => Verdict::Below,
        (true, false) => Verdict::Minimum,
        (true, true) => Verdict::Recommended,
    }
}

fn processor(processor: &Processor) -> Requirement {
    let virtualization = match processor.virtualization {
        Some(Virtualization::Vmx) => "VT-x",
        Some(Virtualization::Svm) => "AMD-V",
        Some(Virtualization::KvmDevice) => "KVM",
        None => "no virtualization",
    };
    let guest = if processor.guest { ", in a virtual machine" } else { "" };
    let good = processor.is_64_bit() && processor.virtualization.is_some();
    Requirement {
        name: "processor",
        have: format!(
            "{}, {} x {}, {virtualization}{guest}",
            processor.architecture, processor.online, processor.model
        ),
        minimum: "64-bit with virtualization",
        recommended: "64-bit with virtualization",
        verdict: grade(good, good),
    }
}

fn memory(memory: Bytes) -> Requirement {
    Requirement {
        name: "memory",
        have: gigabytes(memory.0),
        minimum: "32 GB",
        recommended: "128 GB",
        verdict: grade(memory.0 >= MINIMUM_MEMORY, memory.0 >= RECOMMENDED_MEMORY),
    }
}

fn disk(inventory: &Inventory) -> Requirement {
    let size = |kind: Option<DiskKind>| -> u64 {
        let counted = inventory.disks.iter().filter(|disk| kind.is_none_or(|kind| disk.kind == kind));
        counted.fold(0, |sum, disk| sum.saturating_add(disk.size.0))
    };
    let shown: Vec<String> = inventory
        .disks
        .iter()
        .map(|disk| format!("{} {} ({})", gigabytes(disk.size.0), disk.kind, disk.name))
        .collect();
    Requirement {
        name: "disk",
        have: if shown.is_empty() { "none found".to_owned() } else { shown.join(", ") },
        minimum: "500 GB",
        recommended: "500 GB NVMe",
        verdict: grade(size(None) >= MINIMUM_DISK, size(Some(DiskKind::Nvme)) >= MINIMUM_DISK),
    }
}

fn gpus(inventory: &Inventory) -> Requirement {
    let shown: Vec<String> = inventory.gpus.iter().map(ToString::to_string).collect();
    let usable = inventory.gpus.iter().filter(|gpu| gpu.usable()).count();
    Requirement {
        name: "GPUs",
        have: if shown.is_empty() { "none".to_owned() } else { shown.join(", ") },
        minimum: "none",
        recommended: "several",
        verdict: grade(true, usable >= RECOMMENDED_GPUS),
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{} GB", bytes.saturating_add(GB / 2) / GB)
}
