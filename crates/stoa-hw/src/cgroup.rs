//! How control groups are mounted: version 2, version 1, or both.

use crate::tree::Tree;
use std::path::PathBuf;

/// Which versions of control groups a machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupLayout {
    /// None is mounted.
    None,
    /// Version 1 only.
    V1,
    /// Version 2 only.
    V2,
    /// Controllers in version 1 beside a version 2 tree.
    Mixed,
}

/// The mounted control group trees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cgroups {
    /// Where the version 2 tree is mounted.
    pub v2: Option<PathBuf>,
    /// Controllers of the version 2 tree.
    pub v2_controllers: Vec<String>,
    /// Controllers of version 1 and where each is mounted, in the order of their names; named trees without a
    /// controller (such as `name=systemd`) are left out.
    pub v1: Vec<(String, PathBuf)>,
}

impl Cgroups {
    /// Which versions there are.
    pub fn layout(&self) -> CgroupLayout {
        match (self.v2.is_some(), self.v1.is_empty()) {
            (false, true) => CgroupLayout::None,
            (false, false) => CgroupLayout::V1,
            (true, true) => CgroupLayout::V2,
            (true, false) => CgroupLayout::Mixed,
        }
    }
}

/// Options of a version 1 mount that are no controller.
const MOUNT_OPTIONS: [&str; 6] = ["rw", "ro", "xattr", "clone_children", "noprefix", "release_agent"];

pub(crate) fn read(tree: Tree<'_>) -> Cgroups {
    let mounts = tree.text("proc/self/mountinfo").unwrap_or_default();
    let mut cgroups = Cgroups::default();
    for line in mounts.lines() {
        // `36 35 98:0 /root /mount/point options... - type source superblock-options`, see proc(5).
        let Some((mount, kind)) = line.split_once(" - ") else { continue };
        let (mut mount, mut kind) = (mount.split(' '), kind.split(' '));
        let Some(point) = mount.nth(4).map(unescape) else { continue };
        match kind.next() {
            Some("cgroup2") if cgroups.v2.is_none() => cgroups.v2 = Some(point),
            Some("cgroup") => {
                let options = kind.nth(1).unwrap_or_default().split(',');
                let controllers = options.filter(|option| {
                    let name = option.split('=').next().unwrap_or_default();
                    name != "name" && !name.is_empty() && !MOUNT_OPTIONS.contains(&name)
                });
                cgroups.v1.extend(controllers.map(|controller| (controller.to_owned(), point.clone())));
            }
            _ => {}
        }
    }
    cgroups.v1.sort();
    cgroups.v1.dedup_by(|later, kept| later.0 == kept.0);
    cgroups.v2_controllers = cgroups.v2.as_ref().map_or_else(Vec::new, |point| {
        let file = format!("{}/cgroup.controllers", point.to_string_lossy().trim_start_matches('/'));
        let controllers = tree.text(&file).unwrap_or_default();
        controllers.split_ascii_whitespace().map(str::to_owned).collect()
    });
    cgroups
}

/// Mount points hold spaces, tabs, newlines and backslashes as octal numbers.
fn unescape(text: &str) -> PathBuf {
    let plain = text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\");
    PathBuf::from(plain)
}
