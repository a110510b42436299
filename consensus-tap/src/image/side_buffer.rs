//! Frames that arrived ahead of a gap.
//!
//! A byte of position p lies at `p mod capacity`, so nothing needs to be placed or moved; slack for one
//! datagram behind the end keeps each one in one piece. Runs of frames are listed by position and never
//! overlap.

use super::packet::Packet;
use std::collections::VecDeque;

/// A buffer as long as the receive window. It allocates when it is made, never later.
#[derive(Debug)]
pub(super) struct SideBuffer {
    bytes: Box<[u8]>,
    /// A power of two.
    capacity: i64,
    runs: VecDeque<Run>,
    run_count_max: usize,
}

/// Whole frames without a gap among them; padding only as the last.
#[derive(Clone, Copy, Debug)]
struct Run {
    position: i64,
    end_position: i64,
    /// Bytes that lie in the buffer: with padding, less than what the positions span.
    length: usize,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Insert {
    /// At least one frame was kept.
    Kept,
    /// Every frame was there already.
    Duplicate,
    /// There was no room for a frame.
    NoRoom,
}

impl SideBuffer {
    /// Runs are separated by gaps, so only a hostile pattern of loss needs many.
    const RUN_COUNT_MAX: usize = 4096;

    pub(super) fn new(window_length: usize, mtu: usize) -> Self {
        let capacity = window_length.next_power_of_two();
        let run_count_max = (capacity / 64).clamp(64, Self::RUN_COUNT_MAX);
        Self {
            bytes: vec![0; capacity + mtu].into_boxed_slice(),
            capacity: capacity as i64,
            runs: VecDeque::with_capacity(run_count_max),
            run_count_max,
        }
    }

    /// Whether [`Self::new`] would make the same for such a window.
    pub(super) fn is_of_shape(&self, window_length: usize, mtu: usize) -> bool {
        let capacity = window_length.next_power_of_two();
        self.capacity == capacity as i64 && self.bytes.len() == capacity + mtu
    }

    /// Forgets every frame.
    pub(super) fn clear(&mut self) {
        self.runs.clear();
    }

    /// Keeps those frames of a packet that are not there yet. All that is kept lies behind
    /// `rebuild_position` and within the capacity from there.
    pub(super) fn insert(&mut self, packet: Packet<'_>, rebuild_position: i64) -> Insert {
        debug_assert!(packet.position > rebuild_position);
        if packet.position + packet.bytes.len() as i64 > rebuild_position + self.capacity {
            return Insert::NoRoom;
        }
        if !self.overlaps(&packet) {
            return if self.keep(packet) { Insert::Kept } else { Insert::NoRoom };
        }
        let mut outcome = Insert::Duplicate;
        for frame in packet.frames() {
            if self.overlaps(&frame) {
                continue;
            }
            if !self.keep(frame) {
                return Insert::NoRoom;
            }
            outcome = Insert::Kept;
        }
        outcome
    }

    /// The run with the lowest position.
    pub(super) fn first(&self) -> Option<Packet<'_>> {
        self.runs.front().map(|run| {
            let offset = self.offset(run.position);
            Packet {
                position: run.position,
                end_position: run.end_position,
                bytes: &self.bytes[offset..offset + run.length],
            }
        })
    }

    /// The position of the first frame.
    pub(super) fn first_position(&self) -> Option<i64> {
        self.runs.front().map(|run| run.position)
    }

    pub(super) fn remove_first(&mut self) {
        self.runs.pop_front();
    }

    fn overlaps(&self, packet: &Packet<'_>) -> bool {
        let index = self.runs.partition_point(|run| run.end_position <= packet.position);
        self.runs.get(index).is_some_and(|run| run.position < packet.end_position)
    }

    /// Copies a packet that overlaps nothing; `false` when there are too many runs.
    fn keep(&mut self, packet: Packet<'_>) -> bool {
        let index = self.runs.partition_point(|run| run.end_position <= packet.position);
        let offset = self.offset(packet.position);
        let follows = index.checked_sub(1).filter(|&before| {
            let run = &self.runs[before];
            // Equal offsets mean that neither padding nor the end of the buffer lies between the two.
            run.end_position == packet.position && self.offset(run.position) + run.length == offset
        });
        match follows {
            Some(before) => {
                let run = &mut self.runs[before];
                run.end_position = packet.end_position;
                run.length += packet.bytes.len();
            }
            None if self.runs.len() == self.run_count_max => return false,
            None => self.runs.insert(
                index,
                Run {
                    position: packet.position,
                    end_position: packet.end_position,
                    length: packet.bytes.len(),
                },
            ),
        }
        self.bytes[offset..offset + packet.bytes.len()].copy_from_slice(packet.bytes);
        true
    }

    fn offset(&self, position: i64) -> usize {
        (position & (self.capacity - 1)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{DataHeader, FrameType, align, data};

    const MTU: usize = 1408;

    /// Frames of the given payload lengths from a position on; the fill is the position, so that bytes in
    /// a wrong place show.
    fn frames_from(position: i64, payload_lengths: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &payload_length in payload_lengths {
            let at = position + bytes.len() as i64;
            let header = DataHeader {
                frame_length: (data::HEADER_LENGTH + payload_length) as i32,
                flags: data::UNFRAGMENTED,
                frame_type: FrameType::Data,
                term_offset: (at & 0xFFFF) as i32,
                session_id: 0,
                stream_id: 0,
                term_id: 0,
                reserved_value: at,
            };
            bytes.extend_from_slice(&header.encode());
            bytes.resize(bytes.len() + align(payload_length), (at / 32) as u8);
        }
        bytes
    }

    fn packet(position: i64, bytes: &[u8]) -> Packet<'_> {
        Packet { position, end_position: position + bytes.len() as i64, bytes }
    }

    fn drain(buffer: &mut SideBuffer) -> Vec<(i64, Vec<u8>)> {
        let mut runs = Vec::new();
        while let Some(first) = buffer.first() {
            runs.push((first.position, first.bytes.to_vec()));
            buffer.remove_first();
        }
        runs
    }

    #[test]
    fn packets_in_any_order_come_out_by_position() {
        let mut buffer = SideBuffer::new(4096, MTU);
        let all = frames_from(64, &[32, 32, 32]);
        for range in [128..192, 0..64, 64..128] {
            let at = 64 + range.start as i64;
            assert_eq!(buffer.insert(packet(at, &all[range]), 0), Insert::Kept);
        }
        let runs = drain(&mut buffer);
        assert_eq!(runs.iter().flat_map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>(), all);
        assert!(runs.is_sorted_by_key(|&(position, _)| position));
    }

    #[test]
    fn packets_that_follow_each_other_become_one_run() {
        let mut buffer = SideBuffer::new(4096, MTU);
        let all = frames_from(64, &[32, 32, 32]);
        for range in [0..64, 64..128, 128..192] {
            buffer.insert(packet(64 + range.start as i64, &all[range]), 0);
        }
        assert_eq!(drain(&mut buffer), [(64, all)]);
    }

    #[test]
    fn frames_that_are_there_are_not_kept_twice() {
        let mut buffer = SideBuffer::new(4096, MTU);
        let all = frames_from(64, &[0, 64, 0, 32, 0]);
        assert_eq!(buffer.insert(packet(96, &all[32..128]), 0), Insert::Kept);
        assert_eq!(buffer.insert(packet(96, &all[32..128]), 0), Insert::Duplicate);
        assert_eq!(buffer.insert(packet(64, &all), 0), Insert::Kept, "frames on both sides of the first");
        assert_eq!(buffer.insert(packet(64, &all), 0), Insert::Duplicate);
        let kept: Vec<u8> = drain(&mut buffer).into_iter().flat_map(|(_, bytes)| bytes).collect();
        assert_eq!(kept, all);
    }

    #[test]
    fn a_packet_at_the_end_of_the_buffer_stays_in_one_piece() {
        let mut buffer = SideBuffer::new(4096, MTU);
        let first = frames_from(4000, &[1376]);
        let second = frames_from(4000 + 1408, &[32]);
        assert_eq!(buffer.insert(packet(4000, &first), 3968), Insert::Kept);
        assert_eq!(buffer.insert(packet(4000 + 1408, &second), 3968), Insert::Kept);
        assert_eq!(drain(&mut buffer), [(4000, first), (5408, second)]);
    }

    #[test]
    fn padding_ends_a_run_and_the_next_begins_behind_it() {
        let mut buffer = SideBuffer::new(4096, MTU);
        let bytes = frames_from(64, &[0]);
        let padding = Packet { position: 64, end_position: 64 + 1024, bytes: &bytes };
        assert_eq!(buffer.insert(padding, 0), Insert::Kept);
        let next = frames_from(1088, &[32]);
        assert_eq!(buffer.insert(packet(1088, &next), 0), Insert::Kept);
        assert_eq!(drain(&mut buffer), [(64, bytes), (1088, next)]);
    }

    #[test]
    fn nothing_is_kept_beyond_the_window() {
        let mut buffer = SideBuffer::new(4096, MTU);
        let bytes = frames_from(4064, &[0]);
        assert_eq!(buffer.insert(packet(4064, &bytes), 0), Insert::Kept);
        assert_eq!(buffer.insert(packet(4096, &frames_from(4096, &[0])), 0), Insert::NoRoom);
        assert_eq!(buffer.insert(packet(4096, &frames_from(4096, &[0])), 32), Insert::Kept);
    }
}
