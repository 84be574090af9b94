//! Connections of a run's init to the daemon, and the standard input that comes over them.

use prost::Message;
use rustix::net::{SocketFlags, accept_with};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use stoa_proto::warden::{FromInit, ToInit, from_init, to_init};
use stoa_sys::Errno;
use stoa_sys::packet::{self, retry};

/// The most connections at a time; a new one replaces the oldest, whose daemon is most likely dead.
const MOST: usize = 8;

/// Everyone who is connected.
pub(crate) struct Connections {
    sockets: VecDeque<OwnedFd>,
    buffer: Vec<u8>,
    user: u32,
}

impl Connections {
    /// Begins with the socket that the warden made; `user` is the only one whose connections are taken.
    pub(crate) fn new(first: OwnedFd, user: u32) -> Self {
        Self { sockets: VecDeque::from([first]), buffer: Vec::new(), user }
    }

    pub(crate) fn sockets(&self) -> impl Iterator<Item = &OwnedFd> {
        self.sockets.iter()
    }

    /// Takes connections of the same user from outside of the run's PID namespace, in which those have no process id.
    pub(crate) fn accept(&mut self, listener: BorrowedFd<'_>, own_pids: bool) {
        while let Ok(socket) = retry(|| accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)) {
            let trusted = |peer: packet::Peer| peer.user == self.user && (!own_pids || peer.pid == 0);
            if !packet::peer(&socket).is_ok_and(trusted) {
                continue;
            }
            if self.sockets.len() == MOST {
                self.sockets.pop_front();
            }
            self.sockets.push_back(socket);
        }
    }

    /// Receives what has arrived, each message with the place of its sender; closed connections are dropped.
    pub(crate) fn receive(&mut self) -> Vec<(usize, to_init::What)> {
        let mut messages = Vec::new();
        let mut place = 0;
        while place < self.sockets.len() {
            match packet::receive(&self.sockets[place], &mut self.buffer) {
                Ok(Some(packet)) => {
                    let decoded = ToInit::decode(packet.bytes.as_slice()).ok();
                    messages.extend(decoded.and_then(|message| message.what).map(|what| (place, what)));
                }
                Err(Errno::AGAIN) => place += 1,
                Ok(None) | Err(_) => {
                    self.sockets.remove(place);
                    messages.iter_mut().filter(|(of, _)| *of > place).for_each(|(of, _)| *of -= 1);
                }
            }
        }
        messages
    }

    /// Tells everyone. What does not fit a socket is dropped.
    pub(crate) fn tell(&self, what: from_init::What, descriptors: &[BorrowedFd<'_>]) {
        let bytes = FromInit { what: Some(what) }.encode_to_vec();
        for socket in &self.sockets {
            let _full_or_gone = packet::send(socket, &bytes, descriptors);
        }
    }

    /// Answers the one at `place`.
    pub(crate) fn answer(&self, place: usize, what: from_init::What, descriptors: &[BorrowedFd<'_>]) {
        if let Some(socket) = self.sockets.get(place) {
            let _full_or_gone = packet::send(socket, &FromInit { what: Some(what) }.encode_to_vec(), descriptors);
        }
    }
}

/// Standard input on its way to the program.
pub(crate) struct Feed {
    /// Write end of the pipe, or the terminal; `None` when it is closed.
    to: Option<OwnedFd>,
    waiting: VecDeque<u8>,
    ends: bool,
    terminal: bool,
    /// Bytes passed on, or thrown away since the program does not read any more.
    pub(crate) passed: u64,
}

impl Feed {
    pub(crate) fn new(to: Option<OwnedFd>, terminal: bool) -> Self {
        Self { to, waiting: VecDeque::new(), ends: false, terminal, passed: 0 }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend(bytes);
    }

    /// No more comes after what is waiting.
    pub(crate) fn end(&mut self) {
        /// Ctrl-D: ends the input of a program that reads lines from a terminal.
        const END: u8 = 4;
        if self.terminal {
            self.waiting.push_back(END);
        } else {
            self.ends = true;
        }
    }

    /// The descriptor to wait for, while something waits to be written.
    pub(crate) fn wanted(&self) -> Option<BorrowedFd<'_>> {
        let wanted = !self.waiting.is_empty() || self.ends;
        self.to.as_ref().filter(|_| wanted).map(AsFd::as_fd)
    }

    /// Writes what can be written without waiting; answers whether anything was passed on.
    pub(crate) fn pump(&mut self) -> bool {
        let before = self.passed;
        while let Some(to) = &self.to {
            let (front, _) = self.waiting.as_slices();
            if front.is_empty() {
                if self.ends {
                    self.to = None;
                }
                break;
            }
            match retry(|| rustix::io::write(to, front)) {
                Ok(wrote) => {
                    self.waiting.drain(..wrote);
                    self.passed += wrote as u64;
                }
                Err(Errno::AGAIN) => break,
                Err(_) => self.to = None,
            }
        }
        if self.to.is_none() {
            self.passed += self.waiting.len() as u64;
            self.waiting.clear();
        }
        self.passed > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    #[test]
    fn input_waits_for_room_and_ends_after_the_last_byte() {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        let mut feed = Feed::new(Some(write), false);
        feed.push(&vec![b'x'; 100 << 10]);
        feed.end();
        assert!(feed.pump());
        assert_eq!(feed.passed, 64 << 10, "a pipe takes 64 KiB");
        assert!(feed.wanted().is_some());
        let mut got = 0;
        let mut buffer = vec![0; 64 << 10];
        loop {
            match rustix::io::read(&read, buffer.as_mut_slice()) {
                Ok(0) => break,
                Ok(some) => got += some,
                Err(_) => assert!(feed.pump() || feed.wanted().is_none()),
            }
        }
        assert_eq!(got, 100 << 10);
    }

    #[test]
    fn input_of_a_program_that_does_not_read_is_thrown_away() {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        drop(read);
        let mut feed = Feed::new(Some(write), false);
        feed.push(b"unread");
        // The pipe signals SIGPIPE, which the test runner ignores as init blocks it.
        assert!(feed.pump());
        assert_eq!(feed.passed, 6);
        assert!(feed.wanted().is_none());
    }
}
