//! The order from the warden to a spare init: one packet with the descriptors of the run.
//!
//! Its text is a line of three numbers (with pipes or not, files of cgroups version 1, folders of version 2), then for each
//! cgroup folder a line of the folder, a tab, and the mount point of its hierarchy.

use rustix::event::{PollFd, PollFlags, poll};
use std::fmt::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use stoa_sys::cgroup::Entry;
use stoa_sys::packet::{self, Packet, retry};

/// The descriptors of a run.
pub(crate) struct Files {
    pub(crate) plan: OwnedFd,
    /// Locked as long as the run lives.
    pub(crate) lock: OwnedFd,
    pub(crate) listener: OwnedFd,
    pub(crate) control: OwnedFd,
    pub(crate) exit: OwnedFd,
    pub(crate) output: OwnedFd,
    pub(crate) index: OwnedFd,
    /// Read and write ends of standard output and standard error; none with a terminal.
    pub(crate) pipes: Option<[(OwnedFd, OwnedFd); 2]>,
    pub(crate) cgroup: Entry,
}

/// The longest order: a handful of paths.
const MAX_ORDER: usize = 16 << 10;

/// Cgroup folders with the mount points of their hierarchies.
pub(crate) type Groups = Vec<(String, String)>;

impl Files {
    /// The order for these files and the given cgroup folders.
    pub(crate) fn pack<'a>(&self, groups: impl Iterator<Item = (&'a Path, &'a Path)>) -> (String, Vec<BorrowedFd<'_>>) {
        let mut text = format!(
            "{} {} {}\n",
            u8::from(self.pipes.is_some()),
            self.cgroup.tasks.len(),
            u8::from(self.cgroup.unified.is_some())
        );
        for (folder, mount_point) in groups {
            let _infallible = writeln!(text, "{}\t{}", folder.display(), mount_point.display());
        }
        let single = [&self.plan, &self.lock, &self.listener, &self.control, &self.exit, &self.output, &self.index];
        let pipes = self.pipes.iter().flatten().flat_map(|(read, write)| [read, write]);
        let cgroup = self.cgroup.tasks.iter().chain(&self.cgroup.unified);
        (text, single.into_iter().chain(pipes).chain(cgroup).map(AsFd::as_fd).collect())
    }

    /// What an order says; `None` for what is no order.
    fn unpack(packet: Packet) -> Option<(Self, Groups)> {
        let text = String::from_utf8(packet.bytes).ok()?;
        let (counts, groups) = text.split_once('\n')?;
        let counts: Vec<usize> = counts.split(' ').filter_map(|count| count.parse().ok()).collect();
        let &[pipes, tasks, unified] = counts.as_slice() else { return None };
        let groups = groups.lines().filter_map(|line| line.split_once('\t'));
        let groups = groups.map(|(folder, point)| (folder.to_owned(), point.to_owned())).collect();
        let mut next = packet.descriptors.into_iter();
        let mut next = || next.next();
        let files = Self {
            plan: next()?,
            lock: next()?,
            listener: next()?,
            control: next()?,
            exit: next()?,
            output: next()?,
            index: next()?,
            pipes: if pipes == 1 { Some([(next()?, next()?), (next()?, next()?)]) } else { None },
            cgroup: Entry {
                tasks: (0..tasks).map(|_| next()).collect::<Option<_>>()?,
                unified: if unified == 1 { Some(next()?) } else { None },
            },
        };
        Some((files, groups))
    }
}

/// Waits for an order; `None` when the warden has closed its side without one.
pub(crate) fn receive(orders: &OwnedFd) -> Option<(Files, Groups)> {
    retry(|| poll(&mut [PollFd::new(orders, PollFlags::IN)], None)).ok()?;
    packet::receive_short(orders, MAX_ORDER).ok().flatten().and_then(Files::unpack)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> OwnedFd {
        tempfile::tempfile().unwrap().into()
    }

    #[test]
    fn an_order_arrives_as_it_was_given() {
        let files = Files {
            plan: file(),
            lock: file(),
            listener: file(),
            control: file(),
            exit: file(),
            output: file(),
            index: file(),
            pipes: Some([(file(), file()), (file(), file())]),
            cgroup: Entry { tasks: vec![file(), file(), file()], unified: Some(file()) },
        };
        rustix::io::write(&files.index, b"index").unwrap();
        let (warden, init) = packet::pair().unwrap();
        let (text, descriptors) = files.pack([(Path::new("/cgroup/run 1"), Path::new("/cgroup"))].into_iter());
        packet::send(&warden, text.as_bytes(), &descriptors).unwrap();
        let (got, groups) = receive(&init).unwrap();
        assert_eq!(rustix::fs::fstat(&got.index).unwrap().st_size, 5);
        assert_eq!((got.pipes.is_some(), got.cgroup.tasks.len(), got.cgroup.unified.is_some()), (true, 3, true));
        assert_eq!(groups, [("/cgroup/run 1".to_owned(), "/cgroup".to_owned())]);
    }

    #[test]
    fn a_warden_that_ends_gives_no_order() {
        let (warden, init) = packet::pair().unwrap();
        drop(warden);
        assert!(receive(&init).is_none());
    }
}
