//! Puts messages together from the frames of a stream.
//!
//! A message in one frame is borrowed from that frame. One in several is collected: the first fragment
//! (BEGIN) starts anew, each next one must begin where the last ended, and the last (END) delivers. A
//! fragment that does not follow drops what was collected, so no message is ever made of strangers.

use crate::wire::data::{BEGIN, END, UNFRAGMENTED};
use crate::wire::{DataFrame, position::MESSAGE_LENGTH_MAX};

/// Collects fragments into messages; one for each stream.
#[derive(Debug)]
pub struct FragmentAssembler {
    message_length_max: usize,
    collected: Vec<u8>,
    /// Where the message that is being collected began and where its next fragment must begin.
    expected: Option<Expected>,
    dropped_count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Expected {
    begin_position: i64,
    next_position: i64,
}

/// A whole message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AssembledMessage<'a> {
    /// The message.
    pub bytes: &'a [u8],
    /// Where its first frame begins.
    pub begin_position: i64,
    /// Where its last frame ends, alignment included: the stream's position once the message is consumed.
    pub end_position: i64,
    /// The reserved value of its last frame.
    pub reserved_value: i64,
}

impl FragmentAssembler {
    /// An assembler that drops messages longer than `message_length_max` bytes. Its buffer grows to the
    /// longest fragmented message seen and is then reused.
    ///
    /// # Panics
    /// When the bound exceeds 16 MiB, the longest message of any Aeron stream.
    pub fn new(message_length_max: usize) -> Self {
        assert!(message_length_max <= MESSAGE_LENGTH_MAX);
        Self { message_length_max, collected: Vec::new(), expected: None, dropped_count: 0 }
    }

    /// Takes the frame that begins at `position`, and returns the message that it completes, if any.
    ///
    /// Padding and heartbeats complete nothing and, unlike a data frame that does not follow, drop
    /// nothing by themselves.
    pub fn on_frame<'a>(&'a mut self, frame: &DataFrame<'a>, position: i64) -> Option<AssembledMessage<'a>> {
        if frame.is_padding() || frame.is_heartbeat() {
            return None;
        }
        let end_position = position.saturating_add(frame.aligned_length() as i64);
        let reserved_value = frame.reserved_value();

        if frame.has_flags(UNFRAGMENTED) {
            self.reset();
            if frame.payload().len() > self.message_length_max {
                self.dropped_count += 1;
                return None;
            }
            return Some(AssembledMessage {
                bytes: frame.payload(),
                begin_position: position,
                end_position,
                reserved_value,
            });
        }

        let begin_position = if frame.has_flags(BEGIN) {
            self.reset();
            self.collected.clear();
            position
        } else {
            match self.expected {
                Some(expected) if expected.next_position == position => expected.begin_position,
                Some(_) => {
                    self.reset();
                    return None;
                }
                // The rest of a message whose begin was never seen, or which was dropped and counted.
                None => return None,
            }
        };
        if self.collected.len() + frame.payload().len() > self.message_length_max {
            self.expected = None;
            self.dropped_count += 1;
            return None;
        }
        self.collected.extend_from_slice(frame.payload());
        if frame.has_flags(END) {
            self.expected = None;
            return Some(AssembledMessage {
                bytes: &self.collected,
                begin_position,
                end_position,
                reserved_value,
            });
        }
        self.expected = Some(Expected { begin_position, next_position: end_position });
        None
    }

    /// Takes back the frame at `position`, which has just completed the message that began at `begin_position`: the
    /// message was not consumed, and the same frame will come again.
    pub(crate) fn put_back(&mut self, frame: &DataFrame<'_>, begin_position: i64, position: i64) {
        if begin_position < position {
            self.collected.truncate(self.collected.len() - frame.payload().len());
            self.expected = Some(Expected { begin_position, next_position: position });
        }
    }

    /// Drops what was collected of an incomplete message, and counts it.
    pub fn reset(&mut self) {
        if self.expected.take().is_some() {
            self.dropped_count += 1;
        }
    }

    /// Where the incomplete message that is being collected begins.
    pub fn incomplete_since(&self) -> Option<i64> {
        self.expected.map(|expected| expected.begin_position)
    }

    /// How many messages were begun and then dropped: too long, or cut off by a frame that did not follow.
    pub fn dropped_count(&self) -> u64 {
        self.dropped_count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::data::HEADER_LENGTH;
    use crate::wire::{DataHeader, FrameType, align};

    fn frame(flags: u8, frame_type: FrameType, payload: &[u8]) -> Vec<u8> {
        let header = DataHeader {
            frame_length: (HEADER_LENGTH + payload.len()) as i32,
            flags,
            frame_type,
            term_offset: 0,
            session_id: 1,
            stream_id: 2,
            term_id: 3,
            reserved_value: 4,
        };
        let mut bytes = header.encode().to_vec();
        bytes.extend_from_slice(payload);
        bytes.resize(align(bytes.len()), 0);
        bytes
    }

    /// Feeds frames back to back from position 320 on and collects the messages.
    fn assemble(assembler: &mut FragmentAssembler, frames: &[(u8, &[u8])]) -> Vec<(Vec<u8>, i64, i64)> {
        let mut position = 320;
        let mut messages = Vec::new();
        for &(flags, payload) in frames {
            let bytes = frame(flags, FrameType::Data, payload);
            if let Some(message) = assembler.on_frame(&DataFrame::parse(&bytes).unwrap(), position) {
                messages.push((message.bytes.to_vec(), message.begin_position, message.end_position));
            }
            position += bytes.len() as i64;
        }
        messages
    }

    #[test]
    fn a_message_in_one_frame_is_borrowed_from_it() {
        let mut assembler = FragmentAssembler::new(16);
        let bytes = frame(UNFRAGMENTED, FrameType::Data, b"whole");
        let message = assembler.on_frame(&DataFrame::parse(&bytes).unwrap(), 64).unwrap();
        assert_eq!(message.bytes.as_ptr(), bytes[HEADER_LENGTH..].as_ptr());
        assert_eq!((message.bytes, message.end_position, message.reserved_value), (&b"whole"[..], 128, 4));
    }

    #[test]
    fn fragments_become_one_message_at_the_end_of_the_last() {
        let mut assembler = FragmentAssembler::new(64);
        let messages = assemble(
            &mut assembler,
            &[(BEGIN, b"ab"), (0, b""), (0, b"cd"), (END, b"e"), (UNFRAGMENTED, b"f")],
        );
        let end = 320 + 64 + 32 + 64 + 64;
        assert_eq!(messages, [(b"abcde".to_vec(), 320, end), (b"f".to_vec(), end, end + 64)]);
        assert_eq!(assembler.dropped_count(), 0);
    }

    #[test]
    fn a_message_that_was_put_back_is_complete_when_its_last_frame_comes_again() {
        let mut assembler = FragmentAssembler::new(64);
        assemble(&mut assembler, &[(BEGIN, b"ab"), (0, b"c")]);
        let last = frame(END, FrameType::Data, b"de");
        let last = DataFrame::parse(&last).unwrap();
        let position = 320 + 64 + 64;
        for _ in 0..3 {
            let message = assembler.on_frame(&last, position).unwrap();
            assert_eq!((message.bytes, message.begin_position), (&b"abcde"[..], 320));
            assembler.put_back(&last, 320, position);
        }
        let whole = frame(UNFRAGMENTED, FrameType::Data, b"f");
        let whole = DataFrame::parse(&whole).unwrap();
        assert!(assembler.on_frame(&last, position).is_some());
        for _ in 0..2 {
            assert_eq!(assembler.on_frame(&whole, 512).unwrap().bytes, b"f");
            assembler.put_back(&whole, 512, 512);
        }
        assert_eq!((assembler.dropped_count(), assembler.incomplete_since()), (0, None));
    }

    #[test]
    fn a_gap_drops_the_incomplete_message_only() {
        let mut assembler = FragmentAssembler::new(64);
        let first = frame(BEGIN, FrameType::Data, b"a");
        let last = frame(END, FrameType::Data, b"b");
        assert!(assembler.on_frame(&DataFrame::parse(&first).unwrap(), 0).is_none());
        assert_eq!(assembler.incomplete_since(), Some(0));
        assert!(assembler.on_frame(&DataFrame::parse(&last).unwrap(), 128).is_none());
        assert_eq!((assembler.incomplete_since(), assembler.dropped_count()), (None, 1));
        assert_eq!(assemble(&mut assembler, &[(END, b"stray"), (UNFRAGMENTED, b"c")]).len(), 1);
        assert_eq!(assembler.dropped_count(), 1, "a message whose begin was never seen is not counted");
    }

    #[test]
    fn padding_does_not_disturb_and_a_new_begin_starts_anew() {
        let mut assembler = FragmentAssembler::new(64);
        let padding = frame(UNFRAGMENTED, FrameType::Pad, &[0; 32]);
        assert!(assembler.on_frame(&DataFrame::parse(&padding).unwrap(), 0).is_none());
        let messages = assemble(&mut assembler, &[(BEGIN, b"lost"), (BEGIN, b"x"), (END, b"y")]);
        assert_eq!(messages, [(b"xy".to_vec(), 384, 512)]);
        assert_eq!(assembler.dropped_count(), 1);
    }

    #[test]
    fn a_message_beyond_the_bound_is_dropped_and_counted_once() {
        let mut assembler = FragmentAssembler::new(4);
        let messages = assemble(
            &mut assembler,
            &[
                (BEGIN, b"abc"),
                (0, b"de"),
                (0, b"f"),
                (END, b"g"),
                (UNFRAGMENTED, b"hijkl"),
                (UNFRAGMENTED, b"ok"),
            ],
        );
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].0, b"ok");
        assert_eq!(assembler.dropped_count(), 2);
    }
}
