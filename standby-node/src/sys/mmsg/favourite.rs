//! A second socket at the same address for the peer that most datagrams come from: the source that a node follows, or the
//! client that sends most to one that leads.
//!
//! A connected socket spares the kernel the route and an identification of every datagram that is sent to its peer, and a
//! part of the search for the socket of every one that comes: together a tenth of a round trip. It hears from that peer
//! only, and all others go on with the node's own socket, which is polled more rarely while datagrams of the favourite
//! keep coming. The choice follows the datagrams; nothing is lost by a change, as neither socket is ever closed.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use socket2::Socket;

use super::receiver::{Merging, Receiver};
use crate::net::IoCounters;
use crate::net::socket::NetworkSocket;

/// The peer that has a socket of its own, once there is one.
#[derive(Debug)]
pub(super) struct Favourite {
    twin: Twin,
    peer: Option<SocketAddr>,
    receiver: Receiver,
    /// Calls for which what came from the peer before it was connected may still be in the node's own socket: it comes
    /// first.
    settling: u32,
    /// Calls for which its next datagram is waited for.
    warmth: u32,
    /// Calls that did not poll the node's own socket, in a row.
    skipped: u32,
    election: Election,
}

#[derive(Debug)]
enum Twin {
    /// Nobody was chosen yet.
    NotOpened,
    Open(Socket),
    /// The system refuses one, or the node hears at any address, and the kernel is to choose from which it answers.
    Unavailable,
}

impl Favourite {
    pub(super) fn new(socket: &NetworkSocket, merging: Merging) -> Self {
        let is_anywhere = socket.local_addr().ip().is_unspecified();
        Self {
            twin: if is_anywhere { Twin::Unavailable } else { Twin::NotOpened },
            peer: None,
            // Memory is taken here, and not when datagrams are on their way.
            receiver: Receiver::new(merging),
            settling: 0,
            warmth: 0,
            skipped: 0,
            election: Election::default(),
        }
    }

    /// Where datagrams to `peer` are sent from, if it is the favourite.
    #[inline]
    pub(super) fn route(&self) -> Option<(SocketAddr, RawFd)> {
        match (&self.twin, self.peer) {
            (Twin::Open(socket), Some(peer)) => Some((peer, socket.as_raw_fd())),
            _ => None,
        }
    }

    /// Whether the node's own socket is to be polled in this call. It always is, but for three of four calls while the
    /// favourite's next datagram is expected.
    #[inline]
    pub(super) fn lets_others_wait(&mut self) -> bool {
        if self.warmth == 0 || self.settling > 0 || self.skipped + 1 == OTHERS_INTERVAL {
            self.skipped = 0;
            return false;
        }
        self.skipped += 1;
        true
    }

    /// The node's own socket was polled, and `count` datagrams came from there.
    #[inline]
    pub(super) fn on_others(&mut self, socket: &NetworkSocket, receiver: &Receiver, count: usize) {
        self.settling = if count == 0 { 0 } else { self.settling.saturating_sub(1) };
        if count == 0 {
            return;
        }
        self.warmth = 0;
        if let Some(peer) = receiver.last_peer()
            && self.election.is_won_by(peer)
        {
            self.choose(socket, receiver, peer);
        }
    }

    /// As [`DatagramIo::receive`](crate::net::DatagramIo::receive), from the favourite.
    #[inline]
    pub(super) fn receive(
        &mut self,
        limit: usize,
        counters: &mut IoCounters,
        on_datagram: &mut impl FnMut(&[u8], SocketAddr),
    ) -> usize {
        let Twin::Open(socket) = &self.twin else { return 0 };
        if self.settling > 0 {
            return 0;
        }
        let count =
            self.receiver.receive(socket.as_raw_fd(), limit, counters, on_datagram).unwrap_or_else(|_| {
                // An ICMP message, which tells of the peer and not of this node: the own socket hears none.
                counters.icmp_errors += 1;
                0
            });
        if count > 0 {
            self.warmth = WARMTH;
            self.election.oppose();
        } else {
            self.warmth = self.warmth.saturating_sub(1);
        }
        count
    }

    #[cold]
    fn choose(&mut self, own: &NetworkSocket, own_receiver: &Receiver, peer: SocketAddr) {
        if let Twin::NotOpened = self.twin {
            self.twin = own.twin().map_or(Twin::Unavailable, Twin::Open);
        }
        let Twin::Open(socket) = &self.twin else { return };
        // What came in bursts will go on to, and the kernel had better merge it from the first on.
        self.receiver.merge_as(own_receiver, socket.as_raw_fd());
        match socket.connect(&peer.into()) {
            Ok(()) => (self.peer, self.settling) = (Some(peer), SETTLING),
            // It stays with the peer before, or with none.
            Err(_) => self.election = Election::default(),
        }
    }
}

/// Finds the peer that more calls bring datagrams of than of the favourite and all others together.
#[derive(Debug, Default)]
struct Election {
    candidate: Option<SocketAddr>,
    lead: u32,
}

impl Election {
    /// A call had datagrams of `peer`, which is not the favourite; whether that decides.
    #[inline]
    fn is_won_by(&mut self, peer: SocketAddr) -> bool {
        if self.candidate == Some(peer) {
            self.lead += 1;
        } else if self.lead == 0 {
            (self.candidate, self.lead) = (Some(peer), 1);
        } else {
            self.lead -= 1;
        }
        if self.lead < LEAD_TO_WIN {
            return false;
        }
        *self = Self::default();
        true
    }

    /// A call had datagrams of the favourite.
    #[inline]
    fn oppose(&mut self) {
        self.lead = self.lead.saturating_sub(1);
    }
}

/// Calls with datagrams that a peer must be ahead of all others. To choose takes some 10 us the first time, 1 us later.
const LEAD_TO_WIN: u32 = 1024;
/// Enough to empty a socket's buffer at 32 payloads a call, unless others fill it meanwhile: then the order may suffer.
const SETTLING: u32 = 64;
/// Calls without a datagram for which the favourite's next one is expected: fewer than `backoff` spins and yields for, so
/// that as a rule nobody waits longer because the thread sleeps.
const WARMTH: u32 = 24;
/// In that time, the others are polled every so many calls: in a thread that spins, every microsecond.
const OTHERS_INTERVAL: u32 = 4;

#[cfg(test)]
mod tests;
