//! `recvmmsg` and `sendmmsg` with GRO and GSO.
//!
//! One call fetches up to 32 payloads of up to 64 KiB, each of which may be many datagrams of one peer that
//! the kernel merged; one call sends up to 64 runs, each of which the kernel may cut into many datagrams.
//! All memory is allocated once. See recvmmsg(2), sendmmsg(2), udp(7).
//!
//! A single datagram is fetched by `recvfrom` and sent by `sendto`, which are cheaper by the headers that the
//! kernel need not copy and check. Merging needs a word of the kernel beside each payload, so it is asked for
//! at the first burst and not before; for good, because a payload that waits merged could not be split without
//! that word.
//!
//! The peer that most datagrams come from gets a connected socket of its own, see `favourite`.

mod favourite;
mod receiver;
mod sender;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use self::favourite::Favourite;
pub(super) use self::receiver::PAYLOAD_LENGTH_MAX;
use self::receiver::{Merging, Receiver};
pub(super) use self::sender::{Sender, Sockets};
use super::readiness::Readiness;
use crate::net::socket::NetworkSocket;
use crate::net::{DatagramIo, IoCounters, Offload};

/// A socket driven by `recvmmsg` and `sendmmsg`.
#[derive(Debug)]
pub struct MmsgIo {
    socket: NetworkSocket,
    receiver: Receiver,
    favourite: Favourite,
    sender: Sender,
    counters: IoCounters,
}

impl MmsgIo {
    /// Takes over `socket`.
    pub fn new(socket: NetworkSocket, offload: Offload) -> Self {
        let merging = if offload.receive { Merging::AtFirstBurst } else { Merging::Never };
        let sender = Sender::new(&socket, offload);
        let favourite = Favourite::new(&socket, merging);
        Self { receiver: Receiver::new(merging), favourite, sender, counters: IoCounters::default(), socket }
    }
}

impl DatagramIo for MmsgIo {
    fn receive(&mut self, limit: usize, mut on_datagram: impl FnMut(&[u8], SocketAddr)) -> io::Result<usize> {
        let Self { socket, receiver, favourite, counters, .. } = self;
        let mut delivered = 0;
        if !favourite.lets_others_wait() {
            delivered = receiver.receive(socket.as_raw_fd(), limit, counters, &mut on_datagram)?;
            favourite.on_others(socket, receiver, delivered);
        }
        if delivered < limit {
            delivered += favourite.receive(limit - delivered, counters, &mut on_datagram);
        }
        Ok(delivered)
    }

    fn send(&mut self, to: SocketAddr, bytes: &[u8], segment_length: usize) -> io::Result<()> {
        self.sender.send(self.sockets(), to, bytes, segment_length, &mut self.counters)
    }

    fn flush(&mut self) -> io::Result<usize> {
        self.sender.flush(self.sockets(), &mut self.counters)
    }

    fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    fn counters(&self) -> IoCounters {
        self.counters
    }

    fn sleep_at(&self, readiness: &mut Readiness) {
        readiness.add(self.socket.as_raw_fd());
        if let Some((_, favourite)) = self.favourite.route() {
            readiness.add(favourite);
        }
    }
}

impl MmsgIo {
    fn sockets(&self) -> Sockets {
        Sockets { own: self.socket.as_raw_fd(), favourite: self.favourite.route() }
    }
}

/// What an error of a send or a receive means for the node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Trouble {
    /// Nothing to receive, or no room to send: later.
    Busy,
    /// An ICMP message about an earlier datagram.
    Icmp,
    /// This run, or this datagram, cannot go where it should.
    Refused,
    /// The socket is of no more use.
    Fatal,
}

pub(super) fn classify(error: &io::Error) -> Trouble {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOBUFS | libc::EINTR | libc::ENOMEM) => Trouble::Busy,
        Some(libc::ECONNREFUSED | libc::ECONNRESET) => Trouble::Icmp,
        Some(
            libc::EMSGSIZE
            | libc::EINVAL
            | libc::EIO
            | libc::EOPNOTSUPP
            | libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENETDOWN
            | libc::EHOSTDOWN
            | libc::EPERM
            | libc::EACCES
            | libc::EADDRNOTAVAIL
            | libc::ENONET
            | libc::EPROTO
            | libc::ENOPROTOOPT,
        ) => Trouble::Refused,
        _ => Trouble::Fatal,
    }
}

/// Asks the kernel to merge datagrams on receive. A kernel before 5.0 cannot: then each comes by itself.
pub(super) fn enable_merging(fd: RawFd) -> bool {
    set_udp_option(fd, libc::UDP_GRO, 1).is_ok()
}

fn set_udp_option(fd: RawFd, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` is `length` bytes long and outlives the call, which only reads it.
    let result = unsafe { libc::setsockopt(fd, libc::SOL_UDP, option, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: a header is integers and pointers, for which zero bytes are valid.
    unsafe { std::mem::zeroed() }
}

#[cfg(test)]
mod tests;
