//! Messages and replies of the audit service: see `standby_node::audit`.

/// Bytes of a reply.
pub(crate) const REPLY_LENGTH: usize = 32;
/// Bytes of the shortest message: command and stamp.
pub(crate) const MESSAGE_LENGTH_MIN: usize = 16;

/// What the service says to a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    /// The stamp of the message.
    pub(crate) stamp: u64,
    /// How many messages and timers the service had seen with it.
    pub(crate) count: i64,
}

impl Reply {
    /// Reads a reply; `None` for bytes that are none.
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let words: &[u8; REPLY_LENGTH] = payload.try_into().ok()?;
        let word = |index: usize| words[8 * index..].first_chunk().copied();
        Some(Self { stamp: u64::from_le_bytes(word(1)?), count: i64::from_le_bytes(word(3)?) })
    }
}

/// Makes messages whose length follows from their stamp, so that one can be made again.
#[derive(Debug)]
pub(crate) struct MessageMaker {
    length_min: usize,
    length_max: usize,
    bytes: Vec<u8>,
}

impl MessageMaker {
    /// Lengths in bytes, at least [`MESSAGE_LENGTH_MIN`].
    pub(crate) fn new(length_min: usize, length_max: usize) -> Self {
        let length_min = length_min.max(MESSAGE_LENGTH_MIN);
        let length_max = length_max.max(length_min);
        // Not zeros, which a hash and a file could take for nothing.
        let mut bytes: Vec<u8> = (0..length_max).map(|index| 1 + (index % 255) as u8).collect();
        bytes[..8].fill(0);
        Self { length_min, length_max, bytes }
    }

    /// The message with this stamp: a time on CLOCK_MONOTONIC in nanoseconds, from which the service tells
    /// its lag.
    pub(crate) fn make(&mut self, stamp: u64) -> &[u8] {
        self.bytes[8..16].copy_from_slice(&stamp.to_le_bytes());
        let range = (self.length_max - self.length_min + 1) as u64;
        let spread = stamp.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        &self.bytes[..self.length_min + (spread % range) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_can_be_made_again() {
        let mut maker = MessageMaker::new(64, 256);
        let first = maker.make(7_000_000).to_vec();
        let other = maker.make(7_000_001).to_vec();
        assert_eq!(maker.make(7_000_000), first);
        assert_ne!(first, other);
        assert!((64..=256).contains(&first.len()));
        assert_eq!(MessageMaker::new(0, 0).make(1).len(), MESSAGE_LENGTH_MIN);
    }
}
