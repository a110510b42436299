//! Datagrams in and out: one trait, two backends.
//!
//! [`DatagramIo`] is all that an agent sees of the network. A [`socket::NetworkSocket`] is bound from a
//! configured `host:port`; [`backend::NetworkBackend`] then chooses who moves its datagrams: `recvmmsg` and
//! `sendmmsg` ([`crate::sys::mmsg`]) or io_uring ([`crate::sys::uring`]). Both split what the kernel merged on
//! receive (GRO) and let it cut what is sent (GSO), so callers deal in datagrams only.

pub mod address;
pub mod backend;
pub mod control;
pub mod fault;
pub mod outgoing;
pub mod send_queue;
pub mod socket;
pub mod split;

#[cfg(test)]
mod conformance;

use std::io;
use std::net::SocketAddr;

use crate::sys::readiness::Readiness;

pub use self::outgoing::Outgoing;

/// One UDP socket, driven by the one thread that polls it. Nothing here blocks, and nothing allocates once
/// the backend is built.
pub trait DatagramIo {
    /// Receives up to `limit` datagrams and calls `on_datagram` with the bytes and the sender of each, in the
    /// order of arrival. Returns how many were handed over; 0 when nothing waits. The bytes live in the
    /// backend's memory and only for the call.
    ///
    /// What the kernel delivered beyond `limit` is kept for the next call.
    ///
    /// # Errors
    ///
    /// Only what makes the socket useless. What a peer or the network can cause is counted instead.
    fn receive(&mut self, limit: usize, on_datagram: impl FnMut(&[u8], SocketAddr)) -> io::Result<usize>;

    /// Queues one run of datagrams for `to`: every `segment_length` bytes are one datagram, the last may be
    /// shorter. The bytes are copied or sent before the call returns. Consecutive calls for one peer with one
    /// segment length are merged, so sending frame by frame costs no more than sending runs.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the queue cannot take the whole run: nothing of it was queued, and the caller tries
    /// again after a later [`flush`](Self::flush). `InvalidInput` when a datagram is longer than UDP allows,
    /// the port is 0, or the address has another family than the socket. Anything else makes the socket useless.
    ///
    /// # Panics
    ///
    /// If `segment_length` is 0, or the run is longer than [`RUN_LENGTH_MAX`].
    fn send(&mut self, to: SocketAddr, bytes: &[u8], segment_length: usize) -> io::Result<()>;

    /// Hands what was queued to the kernel and returns how many datagrams it took since the last flush. What
    /// it does not take now stays queued, in order, for the next flush.
    ///
    /// # Errors
    ///
    /// Only what makes the socket useless. A datagram that the kernel refuses for its destination is dropped
    /// and counted, as the network may do with any datagram.
    fn flush(&mut self) -> io::Result<usize>;

    /// The address the socket is bound to, with the port that the system chose for `:0`.
    fn local_addr(&self) -> SocketAddr;

    /// What happened so far.
    fn counters(&self) -> IoCounters;

    /// Adds the descriptors at which a thread may sleep now until a datagram waits to be received, see poll(2);
    /// none where datagrams come from somewhere else.
    fn sleep_at(&self, readiness: &mut Readiness);
}

/// What the kernel may do for several datagrams at once. Both are on unless something on the way does not
/// bear it; both fall back by themselves where the kernel cannot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Offload {
    /// Cutting runs into datagrams (GSO).
    pub send: bool,
    /// Merging datagrams into runs, which are split again before they are handed over (GRO).
    pub receive: bool,
}

impl Default for Offload {
    fn default() -> Self {
        Self { send: true, receive: true }
    }
}

/// Longest datagram: what fits behind an IPv4 and a UDP header in 65,535 bytes.
pub const DATAGRAM_LENGTH_MAX: usize = 65_507;

/// Longest run that one [`DatagramIo::send`] takes, in bytes. The kernel cuts at most that much in one go.
pub const RUN_LENGTH_MAX: usize = 64 * 1024;

/// Totals of one socket since it was opened. Plain numbers: the agent that owns the socket copies them to
/// where others can read them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct IoCounters {
    /// Datagrams handed to the caller.
    pub datagrams_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Datagrams the kernel took.
    pub datagrams_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Flushes that left something queued because the kernel had no room.
    pub short_sends: u64,
    /// Runs refused because the queue was full.
    pub queue_full: u64,
    /// Datagrams dropped because the kernel refused their destination or their length.
    pub datagrams_refused: u64,
    /// Errors that an ICMP message caused, such as a closed port. Nothing was lost by them here.
    pub icmp_errors: u64,
    /// Datagrams dropped on receive: truncated, or from an address of a family that UDP does not have.
    pub datagrams_malformed: u64,
    /// Times that a multishot receive ended and was armed again; io_uring only.
    pub receive_rearms: u64,
}
