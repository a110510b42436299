//! Puts messages into the frames of a stream, as an Aeron publication would.

use crate::wire::data::{BEGIN, END, HEADER_LENGTH, UNFRAGMENTED};
use crate::wire::{DataHeader, FrameType, StreamTerms, align, cut};

/// What every frame says of its stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FramedStream {
    pub(crate) session_id: i32,
    pub(crate) stream_id: i32,
    pub(crate) terms: StreamTerms,
    /// Longest frame with its header, a multiple of 32 bytes.
    pub(crate) mtu_length: i32,
}

/// Frames messages one after the other.
///
/// A message longer than a frame takes follows in fragments; one for which its term has no room left begins
/// in the next term, behind padding. So each message lies within one term, and each run of frames too.
#[derive(Debug)]
pub(crate) struct MessageFramer {
    stream: FramedStream,
    position: i64,
    run: Vec<u8>,
}

impl MessageFramer {
    /// A framer whose first frame lies at `position`.
    ///
    /// # Panics
    /// When the MTU leaves no room for a payload or is no multiple of 32.
    pub(crate) fn new(stream: FramedStream, position: i64) -> Self {
        let mtu_length = stream.mtu_length as usize;
        assert!(mtu_length > HEADER_LENGTH && mtu_length == align(mtu_length), "an MTU of {mtu_length}");
        Self { stream, position, run: Vec::new() }
    }

    /// Where the next frame begins.
    pub(crate) fn position(&self) -> i64 {
        self.position
    }

    /// The longest message, in bytes.
    pub(crate) fn message_length_max(&self) -> usize {
        self.stream.terms.term_length.message_length_max()
    }

    /// Where a message of `length` bytes that is framed next will end.
    pub(crate) fn end_of_next(&self, length: usize) -> i64 {
        let framed_length = self.framed_length(length) as i64;
        let term_end = self.stream.terms.term_end(self.position);
        if self.position + framed_length > term_end {
            term_end + framed_length
        } else {
            self.position + framed_length
        }
    }

    /// Frames a message, which comes in two parts. `append` takes each run of frames with the position of its
    /// first byte: the padding that fills a term by its header alone, then the message.
    ///
    /// # Errors
    /// That of `append`. What it took counts, so that a message that was refused can be offered again.
    ///
    /// # Panics
    /// When the message is longer than [`Self::message_length_max`].
    pub(crate) fn push<E>(
        &mut self,
        message: [&[u8]; 2],
        mut append: impl FnMut(i64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let message_length = message[0].len() + message[1].len();
        assert!(message_length <= self.message_length_max(), "a message of {message_length} bytes");
        let framed_length = self.framed_length(message_length);

        let room = self.stream.terms.term_end(self.position) - self.position;
        if (framed_length as i64) > room {
            let padding = self.header(self.position, room as i32, UNFRAGMENTED, FrameType::Pad);
            append(self.position, &padding.encode())?;
            self.position += room;
        }

        let payload_length_max = self.payload_length_max();
        self.run.clear();
        self.run.reserve(framed_length);
        let mut framed = 0;
        let mut begin = BEGIN;
        loop {
            let framed_to = message_length.min(framed + payload_length_max);
            let payload = cut(message, framed, framed_to);
            let frame_length = HEADER_LENGTH + framed_to - framed;
            framed = framed_to;
            let end = if framed == message_length { END } else { 0 };
            let at = self.position + self.run.len() as i64;
            let header = self.header(at, frame_length as i32, begin | end, FrameType::Data);
            self.run.extend_from_slice(&header.encode());
            self.run.extend_from_slice(payload[0]);
            self.run.extend_from_slice(payload[1]);
            self.run.resize(self.run.len() + align(frame_length) - frame_length, 0);
            begin = 0;
            if end != 0 {
                break;
            }
        }
        append(self.position, &self.run)?;
        self.position += self.run.len() as i64;
        Ok(())
    }

    fn payload_length_max(&self) -> usize {
        self.stream.mtu_length as usize - HEADER_LENGTH
    }

    fn framed_length(&self, length: usize) -> usize {
        let payload_length_max = self.payload_length_max();
        let whole = length / payload_length_max * self.stream.mtu_length as usize;
        let rest = length % payload_length_max;
        let has_rest = rest > 0 || length == 0;
        whole + if has_rest { align(HEADER_LENGTH + rest) } else { 0 }
    }

    fn header(&self, position: i64, frame_length: i32, flags: u8, frame_type: FrameType) -> DataHeader {
        DataHeader {
            frame_length,
            flags,
            frame_type,
            term_offset: self.stream.terms.term_offset(position),
            session_id: self.stream.session_id,
            stream_id: self.stream.stream_id,
            term_id: self.stream.terms.term_id(position),
            reserved_value: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{DataFrame, TermLength, frames};
    use proptest::prelude::*;

    const TERMS: StreamTerms = StreamTerms { initial_term_id: 3, term_length: TermLength::MIN };

    fn framer_at(position: i64) -> MessageFramer {
        let stream = FramedStream { session_id: 9, stream_id: 100, terms: TERMS, mtu_length: 1408 };
        MessageFramer::new(stream, position)
    }

    #[test]
    fn a_run_that_is_refused_comes_again_behind_the_padding_that_was_taken() {
        let mut framer = framer_at(65_536 - 32);
        assert_eq!(framer.end_of_next(8), 65_536 + 64);
        let mut runs = Vec::new();
        for refused in [Some(65_536 - 32), Some(65_536), None] {
            let _ = framer.push([b"head", b"body"], |position, run| {
                if refused == Some(position) {
                    return Err(());
                }
                runs.push((position, run.to_vec()));
                Ok(())
            });
        }
        assert_eq!(framer.position(), 65_536 + 64);
        assert_eq!(runs.iter().map(|(position, _)| *position).collect::<Vec<_>>(), [65_504, 65_536]);
        assert_eq!(DataFrame::parse(&runs[1].1).unwrap().payload(), b"headbody");
    }

    proptest! {
        #[test]
        fn fragments_join_to_the_message_wherever_its_parts_meet(
            length in 0_usize..8192, at in 0_usize..8192, offset in 0_i64..2048,
        ) {
            let message: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            let (head, body) = message.split_at(at.min(length));
            let mut framer = framer_at(offset * 32);
            let end = framer.end_of_next(length);
            let mut joined = Vec::new();
            let mut last_run = Vec::new();
            framer.push([head, body], |_, run| {
                last_run = run.to_vec();
                Ok::<(), ()>(())
            }).unwrap();
            for frame in frames(&last_run) {
                joined.extend_from_slice(frame.unwrap().payload());
            }
            prop_assert_eq!(joined, message);
            prop_assert_eq!(framer.position(), end);
        }
    }
}
