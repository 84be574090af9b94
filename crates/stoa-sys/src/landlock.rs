//! Landlock: what a process and all its descendants may do with files, whatever the mounts and file modes say.

use crate::raw::{RulesetAttr, landlock_allow, landlock_create, landlock_restrict, landlock_version};
use crate::{Errno, Result};
use rustix::fs::{FileType, fstat};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
/// Remove and make entries of every kind.
const CHANGE_DIR: u64 = 0x1ff0;
/// Link or rename across folders; ABI 2.
const REFER: u64 = 1 << 13;
/// ABI 3.
const TRUNCATE: u64 = 1 << 14;
/// ABI 5.
const IOCTL_DEV: u64 = 1 << 15;
/// What may be granted on a file.
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;
/// Abstract Unix sockets and signals; ABI 6.
const SCOPES: u64 = 3;

/// What a path may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and execute what lies beneath.
    Read,
    /// Also write existing files and use devices.
    Use,
    /// Everything.
    Write,
}

/// The newest Landlock ABI of this kernel; `None` where it has none.
pub fn abi() -> Option<u32> {
    landlock_version().ok().filter(|abi| *abi > 0)
}

/// Rules that are not in force yet.
#[derive(Debug)]
pub struct Rules {
    ruleset: OwnedFd,
    handled: u64,
}

impl Rules {
    /// Rules that allow nothing, with everything that `abi` can control. From ABI 6 on, abstract Unix sockets and processes
    /// outside the domain cannot be reached either.
    ///
    /// # Errors
    /// ENOSYS and EOPNOTSUPP where Landlock is not available.
    pub fn new(abi: u32) -> Result<Self> {
        let mut handled = EXECUTE | WRITE_FILE | READ_FILE | READ_DIR | CHANGE_DIR;
        for (since, right) in [(2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)] {
            if abi >= since {
                handled |= right;
            }
        }
        let attr = RulesetAttr { files: handled, network: 0, scoped: if abi >= 6 { SCOPES } else { 0 } };
        let size = match abi {
            0 => return Err(Errno::NOSYS),
            1..=3 => 8,
            4..=5 => 16,
            _ => 24,
        };
        Ok(Self { ruleset: landlock_create(&attr, size)?, handled })
    }

    /// Allows `access` to the file or folder `place` and what lies beneath.
    ///
    /// # Errors
    /// EBADFD for what is neither, such as a socket.
    pub fn allow(&self, place: impl AsFd, access: Access) -> Result<()> {
        let mut rights = EXECUTE | READ_FILE | READ_DIR;
        if access != Access::Read {
            rights |= WRITE_FILE | TRUNCATE | IOCTL_DEV;
        }
        if access == Access::Write {
            rights |= CHANGE_DIR | REFER;
        }
        rights &= self.handled;
        if !FileType::from_raw_mode(fstat(&place)?.st_mode).is_dir() {
            rights &= OF_FILES;
        }
        landlock_allow(self.ruleset.as_fd(), place.as_fd(), rights)
    }

    /// Puts the rules in force for the calling thread and all its future children.
    ///
    /// # Errors
    /// EPERM when `no_new_privs` is not set.
    pub fn restrict_self(&self) -> Result<()> {
        landlock_restrict(self.ruleset.as_fd())
    }

    /// The descriptor that must stay open until [`Rules::restrict_self`].
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.ruleset.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_accept_files_and_folders() {
        let Some(abi) = abi() else {
            eprintln!("skipped: this kernel has no Landlock");
            return;
        };
        let rules = Rules::new(abi).unwrap();
        for path in ["/", "/dev/null", "/etc/passwd"] {
            rules.allow(crate::mount::outside(path).unwrap(), Access::Write).unwrap();
        }
    }

    #[test]
    fn abi_zero_is_refused() {
        assert_eq!(Rules::new(0).err(), Some(Errno::NOSYS));
    }
}
