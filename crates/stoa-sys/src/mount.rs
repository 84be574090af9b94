//! Mounts by descriptor: detached trees, their attributes, and where they are attached.
//!
//! Every path inside a new root is resolved below a descriptor of that root with its own `/` and without magic links, so
//! that a symlink in it can never lead to a file outside.

use crate::raw::{MountAttr, mount_setattr};
use crate::{Errno, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Attributes of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes(u64);

impl Attributes {
    /// Nothing can be written.
    pub const READ_ONLY: Self = Self(1);
    /// Set-user-id bits have no effect.
    pub const NO_SUID: Self = Self(2);
    /// Device nodes have no effect.
    pub const NO_DEVICES: Self = Self(4);
    /// Programs cannot be executed.
    pub const NO_EXEC: Self = Self(8);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

const PRIVATE: u64 = 1 << 18;
/// AT_RECURSIVE.
const RECURSIVE: u32 = 0x8000;

/// Cuts every mount of the calling namespace off from other namespaces, both ways.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN, ENOSYS before Linux 5.12.
pub fn make_private() -> Result<()> {
    let attr = MountAttr { propagation: PRIVATE, ..MountAttr::default() };
    mount_setattr(CWD, c"/", RECURSIVE, &attr)
}

/// Adds `attributes` to the mount at `tree` and, if `recursive`, to all below it.
///
/// # Errors
/// EBUSY when it shall become read-only and something has a file open for writing.
pub fn add_attributes(tree: BorrowedFd<'_>, attributes: Attributes, recursive: bool) -> Result<()> {
    let flags = if recursive { AtFlags::EMPTY_PATH.bits() | RECURSIVE } else { AtFlags::EMPTY_PATH.bits() };
    mount_setattr(tree, c"", flags, &MountAttr { set: attributes.0, ..MountAttr::default() })
}

/// A detached copy of the mount tree at the file or folder `place`.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN, EINVAL when `place` is of another mount namespace.
pub fn copy(place: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(place, c"", if recursive { flags | OpenTreeFlags::AT_RECURSIVE } else { flags })
}

/// Attaches a detached tree on top of `place`.
///
/// # Errors
/// ENOTDIR when one is a folder and the other a file.
pub fn attach(tree: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", place, c"", flags)
}

/// Attaches a detached tree on top of the root of the calling process, which keeps seeing what lies below.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN.
pub fn attach_over_root(tree: BorrowedFd<'_>) -> Result<()> {
    move_mount(tree, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// A new file system, not attached anywhere. An option without value is a flag.
///
/// # Errors
/// ENODEV when the kernel lacks it, EPERM when it may not be mounted here, EINVAL for an option it does not know.
pub fn new_file_system(kind: &str, options: &[(&str, &str)], attributes: Attributes) -> Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        match *value {
            "" => fsconfig_set_flag(context.as_fd(), *name)?,
            value => fsconfig_set_string(context.as_fd(), *name, value)?,
        }
    }
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::from_bits_retain(u32::try_from(attributes.0).map_err(|_| Errno::INVAL)?);
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Names the file or folder at `path` as seen from `root`, symlinks included; never one outside of `root`.
///
/// # Errors
/// ENOENT when it does not exist, ELOOP for a magic link.
pub fn inside(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Names the file or folder at an absolute `path` as the calling process sees it, without magic links.
///
/// # Errors
/// ENOENT when it does not exist, EACCES when it cannot be reached.
pub fn outside(path: &str) -> Result<OwnedFd> {
    openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
}

/// Whether `place` is a folder.
///
/// # Errors
/// None is known for a descriptor that [`inside`] or [`outside`] answered.
pub fn is_folder(place: BorrowedFd<'_>) -> Result<bool> {
    Ok(FileType::from_raw_mode(fstat(place)?.st_mode).is_dir())
}

/// Names the mount point `path` below `root`, made as a folder or an empty file where it is missing.
///
/// # Errors
/// EROFS or EACCES when it is missing in a tree that cannot be written.
pub fn mount_point(root: BorrowedFd<'_>, path: &str, folder: bool) -> Result<OwnedFd> {
    match inside(root, path) {
        Err(Errno::NOENT) => {}
        found => return found,
    }
    let path = path.trim_end_matches('/');
    let (parent, name) = path.rsplit_once('/').ok_or(Errno::NOENT)?;
    let parent = if parent.is_empty() { inside(root, "/")? } else { mount_point(root, parent, true)? };
    if matches!(name, "" | "." | "..") {
        return Err(Errno::INVAL);
    }
    if folder {
        mkdirat(&parent, name, Mode::from(0o755))?;
    } else {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::WRONLY | OFlags::NOFOLLOW;
        openat(&parent, name, flags, Mode::from(0o644))?;
    }
    openat(&parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Makes the tree at `root` the root of the namespace and forgets the old one.
///
/// # Errors
/// EINVAL when `root` is not attached in this namespace.
pub fn enter(root: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", rustix::mount::UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_symlink_cannot_lead_out_of_a_root() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/passwd"), "inner").unwrap();
        symlink("/etc", root.path().join("link")).unwrap();
        symlink("../../../../etc", root.path().join("up")).unwrap();
        let fd = outside(root.path().to_str().unwrap()).unwrap();
        for path in ["/link/passwd", "/up/passwd", "/../../etc/passwd"] {
            let found = fstat(inside(fd.as_fd(), path).unwrap()).unwrap();
            assert_eq!(found.st_size, 5, "{path}");
        }
        symlink("/proc/self/root", root.path().join("magic")).unwrap();
        assert!(inside(fd.as_fd(), "/magic/etc").is_err());
    }

    #[test]
    fn missing_mount_points_are_made_with_their_parents() {
        let root = tempfile::tempdir().unwrap();
        let fd = outside(root.path().to_str().unwrap()).unwrap();
        assert!(is_folder(mount_point(fd.as_fd(), "/a/b/c", true).unwrap().as_fd()).unwrap());
        assert!(!is_folder(mount_point(fd.as_fd(), "/a/b/file", false).unwrap().as_fd()).unwrap());
        assert!(root.path().join("a/b/file").is_file());
    }
}
