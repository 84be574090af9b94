//! Packets with descriptors over SOCK_SEQPACKET sockets.

use crate::{Errno, Result};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The largest packet either side sends.
pub const MAX_PACKET: usize = 128 << 10;
/// The most descriptors a packet carries.
pub const MAX_DESCRIPTORS: usize = 24;

/// A packet as it arrived.
#[derive(Debug)]
pub struct Packet {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its descriptors, close-on-exec.
    pub descriptors: Vec<OwnedFd>,
}

/// Two connected sockets, close-on-exec.
///
/// # Errors
/// EMFILE and ENFILE when no descriptor is left.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Sends a packet without waiting and without SIGPIPE.
///
/// # Errors
/// EAGAIN when the socket is full, EPIPE when the peer is gone.
pub fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL);
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    retry(|| sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags)).map(drop)
}

/// Receives a packet without waiting; `None` when the peer has closed the socket. `buffer` is reused between calls.
///
/// # Errors
/// EAGAIN when none is there, EMSGSIZE when it was longer than [`MAX_PACKET`].
pub fn receive(socket: impl AsFd, buffer: &mut Vec<u8>) -> Result<Option<Packet>> {
    buffer.resize(MAX_PACKET, 0);
    receive_into(socket, buffer)
}

/// Like [`receive`], once, for a packet of at most `longest` bytes.
///
/// # Errors
/// EAGAIN when none is there, EMSGSIZE when it was longer.
pub fn receive_short(socket: impl AsFd, longest: usize) -> Result<Option<Packet>> {
    receive_into(socket, &mut vec![0; longest.min(MAX_PACKET)])
}

fn receive_into(socket: impl AsFd, buffer: &mut [u8]) -> Result<Option<Packet>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = retry(|| recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, flags))?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(Errno::MSGSIZE);
    }
    if received.bytes == 0 && descriptors.is_empty() {
        return Ok(None);
    }
    Ok(Some(Packet { bytes: buffer[..received.bytes].to_vec(), descriptors }))
}

/// Who is at the other end of a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its process id, or 0 when it is of a PID namespace that the caller cannot see.
    pub pid: i32,
    /// Its user.
    pub user: u32,
}

/// Asks who is at the other end of a connected Unix socket.
///
/// # Errors
/// ENOTCONN when nobody is.
pub fn peer(socket: impl AsFd) -> Result<Peer> {
    crate::raw::peer(socket.as_fd()).map(|(pid, user)| Peer { pid, user })
}

/// Repeats a call that a signal interrupted.
pub fn retry<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn bytes_and_descriptors_arrive_together() {
        let (left, right) = pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        send(&left, b"hello", &[read.as_fd()]).unwrap();
        let packet = receive(&right, &mut Vec::new()).unwrap().unwrap();
        assert_eq!(packet.bytes, b"hello");
        std::fs::File::from(write).write_all(b"x").unwrap();
        let mut text = String::new();
        std::fs::File::from(packet.descriptors.into_iter().next().unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
    }

    #[test]
    fn an_empty_socket_and_a_closed_one_are_told_apart() {
        let (left, right) = pair().unwrap();
        assert_eq!(receive(&right, &mut Vec::new()).unwrap_err(), Errno::AGAIN);
        drop(left);
        assert!(receive(&right, &mut Vec::new()).unwrap().is_none());
        assert_eq!(send(&right, b"x", &[]).unwrap_err(), Errno::PIPE);
    }
}
