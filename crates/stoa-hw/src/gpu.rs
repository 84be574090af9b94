//! GPUs and other accelerators: by PCI class, with what the drivers of NVIDIA and AMD add.

use crate::tree::{Tree, field};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use stoa_core::units::Bytes;

/// Base classes of PCI devices: display controllers and processing accelerators (PCI Code and ID Assignment, 1.1).
const DISPLAY: u64 = 0x03;
const ACCELERATOR: u64 = 0x12;

/// Makers of adapters that only draw: hypervisors' screens and servers' remote consoles.
const SCREENS_ONLY: [u64; 8] = [
    0x1013, // Cirrus Logic
    0x102b, // Matrox
    0x1234, // QEMU
    0x1414, // Hyper-V
    0x15ad, // VMware
    0x1a03, // ASPEED
    0x1af4, // virtio
    0x80ee, // VirtualBox
];

/// Nodes that every NVIDIA GPU needs beside its own.
const NVIDIA_SHARED: [&str; 4] = ["nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"];

/// Who made a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// NVIDIA.
    Nvidia,
    /// AMD.
    Amd,
    /// Intel.
    Intel,
    /// Another maker.
    Other,
}

impl Vendor {
    fn from_pci(vendor: u64) -> Self {
        match vendor {
            0x10de => Self::Nvidia,
            0x1002 => Self::Amd,
            0x8086 => Self::Intel,
            _ => Self::Other,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Nvidia => "NVIDIA",
            Self::Amd => "AMD",
            Self::Intel => "Intel",
            Self::Other => "Other",
        }
    }
}

/// A GPU or another accelerator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Who made it.
    pub vendor: Vendor,
    /// Its name; vendor and device number where no driver tells the name.
    pub name: String,
    /// Its bus address, such as `0000:04:00.0`.
    pub address: String,
    /// The vendor's unique id (`GPU-...`), when a driver tells it.
    pub uuid: Option<String>,
    /// The kernel driver that serves it. Without one it cannot be used.
    pub driver: Option<String>,
    /// Its own memory, when the driver tells it without being asked through a library.
    pub memory: Option<Bytes>,
    /// The memory node it is attached to.
    pub numa_node: Option<u32>,
    /// Device nodes that belong to it alone, as paths on the machine.
    pub nodes: Vec<PathBuf>,
    /// Device nodes it needs and shares with its siblings.
    pub shared_nodes: Vec<PathBuf>,
}

impl Gpu {
    /// Whether a run can use it: a driver and a device node are there.
    pub fn usable(&self) -> bool {
        self.driver.is_some() && !self.nodes.is_empty()
    }
}

impl fmt::Display for Gpu {
    /// One line: `NVIDIA H100 80GB HBM3 (0000:04:00.0)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.name, self.address)?;
        if let Some(memory) = self.memory {
            write!(f, ", {memory}")?;
        }
        f.write_str(if self.usable() { ")" } else { ", no driver)" })
    }
}

pub(crate) fn read(tree: Tree<'_>) -> Vec<Gpu> {
    let mut gpus: BTreeMap<String, Gpu> = BTreeMap::new();
    for address in tree.names("sys/bus/pci/devices") {
        if let Some(gpu) = pci(tree, &address) {
            gpus.insert(address, gpu);
        }
    }
    // A container may show the driver's files and not the bus.
    for address in tree.names("proc/driver/nvidia/gpus") {
        gpus.entry(address.clone()).or_insert_with(|| bare(Vendor::Nvidia, "NVIDIA GPU".to_owned(), address));
    }
    for gpu in gpus.values_mut() {
        match gpu.vendor {
            Vendor::Nvidia => nvidia(tree, gpu),
            Vendor::Amd => amd(tree, gpu),
            Vendor::Intel | Vendor::Other => {}
        }
    }
    gpus.extend(windows_subsystem(tree).map(|gpu| (gpu.address.clone(), gpu)));
    gpus.into_values().collect()
}

fn bare(vendor: Vendor, name: String, address: String) -> Gpu {
    Gpu {
        vendor,
        name,
        address,
        uuid: None,
        driver: None,
        memory: None,
        numa_node: None,
        nodes: Vec::new(),
        shared_nodes: Vec::new(),
    }
}

fn pci(tree: Tree<'_>, address: &str) -> Option<Gpu> {
    let folder = format!("sys/bus/pci/devices/{address}");
    let number = |file: &str| tree.number(&format!("{folder}/{file}"));
    let class = number("class")? >> 16;
    let maker = number("vendor")?;
    if !(class == DISPLAY && !SCREENS_ONLY.contains(&maker) || class == ACCELERATOR) {
        return None;
    }
    let vendor = Vendor::from_pci(maker);
    let kind = if class == DISPLAY { "GPU" } else { "accelerator" };
    let device = number("device").unwrap_or(0);
    let name = match vendor {
        Vendor::Other => format!("{kind} {maker:04x}:{device:04x}"),
        _ => format!("{} {kind} {maker:04x}:{device:04x}", vendor.as_str()),
    };
    let mut gpu = bare(vendor, name, address.to_owned());
    gpu.driver = tree.link_name(&format!("{folder}/driver"));
    gpu.numa_node = number("numa_node").and_then(|node| u32::try_from(node).ok());
    gpu.memory = number("mem_info_vram_total").map(Bytes);
    let render = tree.names(&format!("{folder}/drm")).into_iter().filter(|name| name.starts_with("renderD"));
    let accel = tree.names(&format!("{folder}/accel"));
    let nodes =
        render.map(|name| format!("dev/dri/{name}")).chain(accel.iter().map(|name| format!("dev/accel/{name}")));
    gpu.nodes = nodes.filter(|node| tree.exists(node)).map(on_machine).collect();
    Some(gpu)
}

fn on_machine(relative: impl AsRef<str>) -> PathBuf {
    PathBuf::from(format!("/{}", relative.as_ref()))
}

/// What the NVIDIA driver says in `/proc`. Its device nodes are the ones CUDA opens; render nodes are for drawing.
fn nvidia(tree: Tree<'_>, gpu: &mut Gpu) {
    let Some(text) = tree.text(&format!("proc/driver/nvidia/gpus/{}/information", gpu.address)) else {
        return;
    };
    if let Some(model) = field(&text, "Model") {
        gpu.name = if model.starts_with("NVIDIA") { model.to_owned() } else { format!("NVIDIA {model}") };
    }
    gpu.uuid = field(&text, "GPU UUID").filter(|uuid| !uuid.contains('?')).map(str::to_owned);
    gpu.driver.get_or_insert_with(|| "nvidia".to_owned());
    let own = field(&text, "Device Minor").map(|minor| format!("dev/nvidia{minor}"));
    gpu.nodes = own.filter(|node| tree.exists(node)).map(on_machine).into_iter().collect();
    let capabilities = tree.names("dev/nvidia-caps").into_iter().map(|name| format!("dev/nvidia-caps/{name}"));
    let shared = NVIDIA_SHARED.iter().map(|name| format!("dev/{name}")).chain(capabilities);
    gpu.shared_nodes = shared.filter(|node| tree.exists(node)).map(on_machine).collect();
}

/// What `amdgpu` says in sysfs. Compute goes through `/dev/kfd` beside the render node.
fn amd(tree: Tree<'_>, gpu: &mut Gpu) {
    let product = tree.text(&format!("sys/bus/pci/devices/{}/product_name", gpu.address));
    if let Some(product) = product.filter(|name| !name.is_empty()).or_else(|| kfd_name(tree, &gpu.address)) {
        gpu.name = if product.starts_with("AMD") { product } else { format!("AMD {product}") };
    }
    if tree.exists("dev/kfd") {
        gpu.shared_nodes = vec![on_machine("dev/kfd")];
    }
}

/// The chip's name (`gfx1100`) in the compute driver's topology, found by bus address.
fn kfd_name(tree: Tree<'_>, address: &str) -> Option<String> {
    let folder = "sys/class/kfd/kfd/topology/nodes";
    tree.names(folder).iter().find_map(|node| {
        let properties = tree.text(&format!("{folder}/{node}/properties"))?;
        let number = |key: &str| {
            let value = properties.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
            value.trim().parse::<u32>().ok()
        };
        let (location, domain) = (number("location_id")?, number("domain").unwrap_or(0));
        let here = format!("{domain:04x}:{:02x}:{:02x}.{}", location >> 8 & 0xff, location >> 3 & 0x1f, location & 7);
        if here != address {
            return None;
        }
        let version = number("gfx_target_version").filter(|version| *version > 0)?;
        Some(format!("gfx{}{:x}{:x}", version / 10000, version / 100 % 100, version % 100))
    })
}

/// The Windows Subsystem for Linux shows the host's GPU as one node without a bus.
fn windows_subsystem(tree: Tree<'_>) -> Option<Gpu> {
    tree.exists("dev/dxg").then(|| Gpu {
        driver: Some("dxgkrnl".to_owned()),
        nodes: vec![on_machine("dev/dxg")],
        ..bare(Vendor::Other, "GPU of the Windows host".to_owned(), "dxg".to_owned())
    })
}
