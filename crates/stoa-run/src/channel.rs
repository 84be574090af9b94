//! A packet socket with file descriptors ([`stoa_sys::packet`]) for async code.

use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use stoa_sys::packet::{self, Packet};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

/// One end of a packet socket.
#[derive(Debug)]
pub(crate) struct Channel {
    // A packet socket differs from a datagram socket only in being connected and in telling of its peer's end.
    socket: UnixDatagram,
}

impl Channel {
    /// Wraps a connected socket.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self { socket: UnixDatagram::from_std(socket.into())? })
    }

    /// Sends one packet, waiting for room.
    pub(crate) async fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let send = || packet::send(self.socket.as_fd(), bytes, descriptors).map_err(io::Error::from);
        self.socket.async_io(Interest::WRITABLE, send).await
    }

    /// Receives one packet; `None` when the other side has closed.
    pub(crate) async fn receive(&self) -> io::Result<Option<Packet>> {
        let receive = || match packet::receive(self.socket.as_fd(), &mut Vec::new()) {
            // A peer that was killed with packets of ours unread resets the connection: the same as a close.
            Err(Errno::CONNRESET) => Ok(None),
            other => other.map_err(io::Error::from),
        };
        self.socket.async_io(Interest::READABLE, receive).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_packet_arrives_with_its_descriptors() {
        let (a, b) = packet::pair()
            .map(|(a, b)| (Channel::new(a).expect("async"), Channel::new(b).expect("async")))
            .expect("a pair");
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        a.send(b"hello", &[writer.as_fd()]).await.expect("sent");
        let got = b.receive().await.expect("received").expect("a packet");
        assert_eq!((got.bytes.as_slice(), got.descriptors.len()), (b"hello".as_slice(), 1));
        rustix::io::write(&got.descriptors[0], b"x").expect("the pipe's other end");
        assert_eq!(rustix::io::read(&reader, &mut [0u8]).expect("read"), 1);
    }

    #[tokio::test]
    async fn a_closed_peer_ends_the_stream() {
        let (a, b) = packet::pair()
            .map(|(a, b)| (Channel::new(a).expect("async"), Channel::new(b).expect("async")))
            .expect("a pair");
        a.send(b"unread", &[]).await.expect("sent");
        drop(b);
        assert!(a.receive().await.expect("no error").is_none());
    }
}
