//! Inits that wait for an order: the larger part of a launch, done before anyone asks for it.
//!
//! A spare has its namespaces and the part of the view that every run has in common. It is used once. It holds a copy of the
//! mounts of the host, so it is replaced when those change: a run sees what is mounted when it starts, and no
//! spare keeps a file system busy that was unmounted.

use crate::host::Host;
use crate::init;
use crate::refusal::Refusal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use stoa_sys::process::{Fork, Pid, fork, namespace};
use stoa_sys::{Errno, packet};

/// An init without a run.
struct Spare {
    init: Pid,
    /// Closing it ends the spare.
    orders: OwnedFd,
    private_network: bool,
}

/// At most one spare, of the kind that was asked for last.
pub(crate) struct Spares {
    waiting: Option<Spare>,
    /// The kind of the next spare.
    private_network: bool,
    /// Tells when the mounts of this namespace change.
    mounts: Option<File>,
}

impl Spares {
    pub(crate) fn new() -> Self {
        Self { waiting: None, private_network: false, mounts: File::open("/proc/self/mountinfo").ok() }
    }

    /// The descriptor that shows a change of the mounts, to be waited for with [`PollFlags::PRI`].
    pub(crate) fn mounts(&self) -> Option<BorrowedFd<'_>> {
        self.mounts.as_ref().map(AsFd::as_fd)
    }

    /// Drops a spare that does not see the host as it is.
    pub(crate) fn drop_stale(&mut self, changed: bool) {
        if changed {
            self.waiting = None;
        }
    }

    /// Whether a spare could be made. Without a word from the kernel about its mounts it might show old ones.
    pub(crate) fn wants_one(&self) -> bool {
        self.waiting.is_none() && self.mounts.is_some()
    }

    /// Makes a spare unless one waits.
    pub(crate) fn refill(&mut self, host: &Host) {
        if !self.wants_one() {
            return;
        }
        match start(host, self.private_network) {
            Ok(spare) => self.waiting = Some(spare),
            // Runs can do without; trying again and again would only burn time.
            Err(_) => self.mounts = None,
        }
    }

    /// Gives an order to a spare of the right kind, or to a new init.
    pub(crate) fn order(
        &mut self,
        host: &Host,
        private_network: bool,
        order: &str,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Pid, Refusal> {
        let changed = self.mounts.as_ref().is_none_or(mounts_changed);
        self.drop_stale(changed);
        self.private_network = private_network;
        if let Some(spare) = self.waiting.take().filter(|spare| spare.private_network == private_network) {
            // A spare that something has killed is no reason to fail.
            if packet::send(&spare.orders, order.as_bytes(), descriptors).is_ok() {
                return Ok(spare.init);
            }
        }
        let spare = start(host, private_network).map_err(Refusal::Fork)?;
        packet::send(&spare.orders, order.as_bytes(), descriptors).map_err(Refusal::Fork)?;
        Ok(spare.init)
    }
}

fn mounts_changed(mounts: &File) -> bool {
    let mut fds = [PollFd::new(mounts, PollFlags::PRI)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) != Ok(0)
}

/// Forks an init. Returns only in the warden.
fn start(host: &Host, private_network: bool) -> Result<Spare, Errno> {
    let (orders, init_side) = packet::pair()?;
    let mut namespaces = host.level.namespaces();
    if private_network && namespaces != 0 {
        namespaces |= namespace::NETWORK;
    }
    match fork(namespaces)? {
        Fork::Parent { child, .. } => Ok(Spare { init: child, orders, private_network }),
        Fork::Child => init::main(host, private_network, &init_side),
    }
}
