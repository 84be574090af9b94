//! The warden: starts runs in isolation and supervises them; the only program of Stoa that may be privileged.
//!
//! One warden belongs to one daemon and ends when the daemon closes its socket. It answers requests of the inner protocol
//! (`proto/warden/v1/warden.proto`) one after the other: it opens the files of a run, makes its cgroup, forks its init into
//! new namespaces and forgets it but for reaping. The init (module `init`) builds the view that the run sees, starts the
//! program, keeps its output and its end, and survives warden and daemon.
//!
//! Order of the steps in a run's init: identity, network, host name, mounts, pivot_root, bounding set, no_new_privs;
//! then in the program: session, streams, cgroup, cgroup namespace, limits, capabilities, Landlock, descriptors, seccomp, exec.
//! Every step fails closed; the one that failed is named in the run's record.
//!
//! Synchronous, single-threaded, no `unsafe`.
#![forbid(unsafe_code)]

mod control;
mod host;
mod init;
mod isolate;
mod kept;
mod launch;
mod order;
mod plan;
mod program;
mod refusal;
mod remains;
mod serve;
mod spare;

pub use serve::{SOCKET, run, serve};
