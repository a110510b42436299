use super::Transmit;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Control frames that wait to be sent. Bounded, and never grown: the protocol repeats what is lost.
#[derive(Debug)]
pub(crate) struct Outbox {
    frames: VecDeque<ControlFrame>,
}

#[derive(Clone, Copy, Debug)]
struct ControlFrame {
    to: SocketAddr,
    length: usize,
    bytes: [u8; Outbox::FRAME_LENGTH_MAX],
}

impl Outbox {
    /// Room for every control frame, an ERR frame with a short text included.
    pub(crate) const FRAME_LENGTH_MAX: usize = 64;
    const FRAME_COUNT_MAX: usize = 256;

    pub(crate) fn new() -> Self {
        Self { frames: VecDeque::with_capacity(Self::FRAME_COUNT_MAX) }
    }

    /// Queues a frame; `false` when there is no room.
    ///
    /// # Panics
    /// When the frame is longer than [`Self::FRAME_LENGTH_MAX`].
    pub(crate) fn push(&mut self, to: SocketAddr, frame: &[u8]) -> bool {
        if self.frames.len() == Self::FRAME_COUNT_MAX {
            return false;
        }
        let mut bytes = [0; Self::FRAME_LENGTH_MAX];
        bytes[..frame.len()].copy_from_slice(frame);
        self.frames.push_back(ControlFrame { to, length: frame.len(), bytes });
        true
    }

    /// Hands out every frame, oldest first, and returns how many there were.
    pub(crate) fn drain(&mut self, send: &mut impl FnMut(Transmit<'_>)) -> usize {
        let count = self.frames.len();
        for frame in self.frames.drain(..) {
            let bytes = &frame.bytes[..frame.length];
            send(Transmit { to: frame.to, bytes, segment_length: frame.length });
        }
        count
    }
}
