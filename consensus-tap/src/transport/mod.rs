//! What all images and publications of one socket share: control frames on their way out, counters, and
//! ids that cannot outlive what they name.

mod counters;
mod outbox;
mod slab;

use std::net::SocketAddr;

pub use counters::TransportCounters;
pub(crate) use outbox::Outbox;
pub(crate) use slab::Slab;
pub use slab::SlabKey;

/// One or several datagrams in one run of bytes: every `segment_length` bytes is one datagram, the last
/// may be shorter. That is the shape in which a kernel's segmentation offload takes them.
#[derive(Clone, Copy, Debug)]
pub struct Transmit<'a> {
    /// Where all of them go.
    pub to: SocketAddr,
    /// The datagrams, back to back: at most [`SEGMENT_COUNT_MAX`] and 65,504 bytes.
    pub bytes: &'a [u8],
    /// Bytes of every datagram but the last. Never 0.
    pub segment_length: usize,
}

/// The most datagrams in one [`Transmit`]: the kernel's own bound on segments.
pub const SEGMENT_COUNT_MAX: usize = 64;

impl<'a> Transmit<'a> {
    /// The datagrams one by one.
    pub fn datagrams(&self) -> std::slice::Chunks<'a, u8> {
        self.bytes.chunks(self.segment_length)
    }
}

/// The socket's own state, as images and publications see it.
#[derive(Debug)]
pub(crate) struct Port {
    /// Who receives here, in every status message.
    pub(crate) receiver_id: i64,
    pub(crate) outbox: Outbox,
    pub(crate) counters: TransportCounters,
}

impl Port {
    pub(crate) fn new(receiver_id: i64) -> Self {
        Self { receiver_id, outbox: Outbox::new(), counters: TransportCounters::default() }
    }

    /// Queues a control frame. `false` when the outbox is full, which is counted; whoever sends control
    /// frames sends them again when time passes without an answer.
    pub(crate) fn send(&mut self, to: SocketAddr, frame: &[u8]) -> bool {
        let queued = self.outbox.push(to, frame);
        if !queued {
            self.counters.outbox_overflows += 1;
        }
        queued
    }
}
