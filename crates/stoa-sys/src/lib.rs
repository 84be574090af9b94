//! Linux mechanisms that isolation and supervision are built from.
//!
//! Each module wraps one mechanism in small functions that report a kernel error as [`Errno`] and decide nothing: which
//! mounts, limits and filters a run gets is the caller's business. The only modules with `unsafe` are [`process`]
//! and the `raw` calls; each block says why it is sound.

pub mod cgroup;
pub mod exit_record;
pub mod landlock;
pub mod mount;
pub mod output;
pub mod packet;
pub mod process;
mod raw;
pub mod seccomp;
mod syscalls;

/// A kernel error number.
pub use rustix::io::Errno;
/// What a system call answers.
pub type Result<T> = std::result::Result<T, Errno>;
