//! Processors: model, count, NUMA nodes, virtualization.

use crate::UNKNOWN;
use crate::tree::{Tree, count_list, field};

/// The first processor's block of `/proc/cpuinfo` fits in this; rendering all of them takes milliseconds on large
/// machines, since the kernel asks each processor for its clock.
const CPUINFO_START: u64 = 8192;

/// How this machine runs virtual machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Virtualization {
    /// Intel VT-x.
    Vmx,
    /// AMD-V.
    Svm,
    /// No processor flag tells, but the kernel offers `/dev/kvm` (ARM, and some guests).
    KvmDevice,
}

/// The processors of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processor {
    /// Model name.
    pub model: String,
    /// `x86_64`, `aarch64`, ...
    pub architecture: String,
    /// Logical processors this process may run on.
    pub allowed: u32,
    /// Logical processors that are on.
    pub online: u32,
    /// Memory nodes.
    pub numa_nodes: u32,
    /// Hardware virtualization, when there is any.
    pub virtualization: Option<Virtualization>,
    /// Whether this machine is itself a guest of a hypervisor.
    pub guest: bool,
}

impl Processor {
    /// Whether it is a 64-bit machine.
    pub fn is_64_bit(&self) -> bool {
        self.architecture.contains("64") || self.architecture == "s390x"
    }
}

pub(crate) fn read(tree: Tree<'_>) -> Processor {
    let first = tree.start("proc/cpuinfo", CPUINFO_START).unwrap_or_default();
    let flags = field(&first, "flags").unwrap_or_default();
    let online = tree.text("sys/devices/system/cpu/online").map_or(0, |list| count_list(&list));
    let allowed = allowed(tree).unwrap_or(online);
    Processor {
        model: model(&first).unwrap_or_else(|| UNKNOWN.to_owned()),
        architecture: architecture(tree, &first),
        allowed: allowed.max(1),
        online: online.max(allowed).max(1),
        numa_nodes: tree.text("sys/devices/system/node/online").map_or(0, |list| count_list(&list)).max(1),
        virtualization: virtualization(flags, tree.exists("dev/kvm")),
        guest: has(flags, "hypervisor") || tree.exists("proc/device-tree/hypervisor"),
    }
}

fn has(flags: &str, flag: &str) -> bool {
    flags.split_ascii_whitespace().any(|each| each == flag)
}

fn virtualization(flags: &str, kvm_device: bool) -> Option<Virtualization> {
    if has(flags, "vmx") {
        Some(Virtualization::Vmx)
    } else if has(flags, "svm") {
        Some(Virtualization::Svm)
    } else {
        kvm_device.then_some(Virtualization::KvmDevice)
    }
}

fn allowed(tree: Tree<'_>) -> Option<u32> {
    let status = tree.text("proc/self/status")?;
    let count = count_list(field(&status, "Cpus_allowed_list")?);
    (count > 0).then_some(count)
}

fn architecture(tree: Tree<'_>, cpuinfo: &str) -> String {
    // Kernels before 6.1 do not say it in /proc; then the first processor tells.
    let guess = || match (field(cpuinfo, "flags"), field(cpuinfo, "CPU architecture")) {
        (Some(flags), _) if has(flags, "lm") => "x86_64",
        (Some(_), _) => "i686",
        (None, Some("8")) => "aarch64",
        _ => UNKNOWN,
    };
    tree.text("proc/sys/kernel/arch").unwrap_or_else(|| guess().to_owned())
}

fn model(cpuinfo: &str) -> Option<String> {
    let named = field(cpuinfo, "model name").filter(|name| !name.is_empty());
    named.map(squeeze).or_else(|| arm_model(cpuinfo))
}

/// Marketing names are padded with spaces and trademarks.
fn squeeze(name: &str) -> String {
    let plain = name.replace("(R)", "").replace("(TM)", "").replace("(tm)", "");
    plain.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// The names of the cores that machines for training are built with, after the part numbers in Arm's technical
/// reference manuals (`MIDR_EL1.PartNum`) and the kernel's `arch/arm64/include/asm/cputype.h`.
const ARM_CORES: [(u32, u32, &str); 13] = [
    (0x41, 0xd08, "Arm Cortex-A72"),
    (0x41, 0xd0b, "Arm Cortex-A76"),
    (0x41, 0xd0c, "Arm Neoverse N1"),
    (0x41, 0xd40, "Arm Neoverse V1"),
    (0x41, 0xd41, "Arm Cortex-A78"),
    (0x41, 0xd42, "Arm Cortex-A78AE"),
    (0x41, 0xd49, "Arm Neoverse N2"),
    (0x41, 0xd4f, "Arm Neoverse V2"),
    (0x41, 0xd84, "Arm Neoverse V3"),
    (0x48, 0xd01, "HiSilicon TSV110"),
    (0x4e, 0x004, "NVIDIA Carmel"),
    (0xc0, 0xac3, "Ampere AmpereOne"),
    (0xc0, 0xac4, "Ampere AmpereOne AC04"),
];

fn arm_model(cpuinfo: &str) -> Option<String> {
    let number = |key: &str| u32::from_str_radix(field(cpuinfo, key)?.strip_prefix("0x")?, 16).ok();
    let (implementer, part) = (number("CPU implementer")?, number("CPU part")?);
    let known = ARM_CORES.iter().find(|(maker, core, _)| (*maker, *core) == (implementer, part));
    Some(
        known.map_or_else(
            || format!("ARM implementer {implementer:#x}, part {part:#x}"),
            |(_, _, name)| (*name).to_owned(),
        ),
    )
}
