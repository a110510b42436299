//! The last two terms of a stream, as frames.
//!
//! A byte of position p lies at `p mod (2 * term length)`. Frames never cross a term's end, so none wraps.

use crate::wire::data::{BEGIN, END, HEADER_LENGTH, UNFRAGMENTED};
use crate::wire::{DataFrame, DataHeader, FrameType, StreamTerms, align, cut, frames};

/// The frames of a publication.
#[derive(Debug)]
pub(super) struct TermHistory {
    terms: StreamTerms,
    session_id: i32,
    stream_id: i32,
    bytes: Box<[u8]>,
    /// Where the stream began here.
    first_position: i64,
    end_position: i64,
}

/// Whole frames that fit in one datagram. Padding comes last, as its header only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct HistoryPacket {
    /// Bytes to send; 0 when no frame fits.
    pub(super) length: usize,
    /// How far they lead the stream.
    pub(super) advance: i64,
}

impl TermHistory {
    pub(super) fn new(terms: StreamTerms, position: i64, session_id: i32, stream_id: i32) -> Self {
        let capacity = 2 * terms.term_length.bytes() as usize;
        Self {
            terms,
            session_id,
            stream_id,
            bytes: vec![0; capacity].into_boxed_slice(),
            first_position: position,
            end_position: position,
        }
    }

    pub(super) fn terms(&self) -> StreamTerms {
        self.terms
    }

    /// The lowest position that is still here.
    pub(super) fn start_position(&self) -> i64 {
        self.first_position.max(self.end_position - self.bytes.len() as i64)
    }

    pub(super) fn end_position(&self) -> i64 {
        self.end_position
    }

    /// Appends a message, which comes in two parts, in fragments if it is longer than one frame. What does not fit
    /// in the term is padding, and the message begins the next term.
    pub(super) fn append(&mut self, message: [&[u8]; 2], mtu: usize) {
        let message_length = message[0].len() + message[1].len();
        let payload_length_max = mtu - HEADER_LENGTH;
        let whole_frame_count = message_length / payload_length_max;
        let rest_length = message_length % payload_length_max;
        let framed_length = if message_length <= payload_length_max {
            align(HEADER_LENGTH + message_length)
        } else if rest_length == 0 {
            whole_frame_count * mtu
        } else {
            whole_frame_count * mtu + align(HEADER_LENGTH + rest_length)
        };
        let room = (self.terms.term_end(self.end_position) - self.end_position) as usize;
        if framed_length > room {
            self.append_frame(FrameType::Pad, UNFRAGMENTED, room, [&[], &[]]);
        }
        let mut flags = BEGIN;
        let mut start = 0;
        loop {
            let end = message_length.min(start + payload_length_max);
            if end == message_length {
                flags |= END;
            }
            let fragment = cut(message, start, end);
            self.append_frame(FrameType::Data, flags, HEADER_LENGTH + end - start, fragment);
            if end == message_length {
                return;
            }
            flags = 0;
            start = end;
        }
    }

    /// Appends frames that were recorded from a stream of the same terms, and returns how far they led. They
    /// keep flags and reserved values and become frames of this stream. Takes as many as lie at their place, are no
    /// longer than `mtu`, and fit in the term and, padding apart, in `room`.
    pub(super) fn append_recorded(&mut self, recorded: &[u8], mtu: usize, room: i64) -> i64 {
        let start_position = self.end_position;
        let term_end = self.terms.term_end(start_position);
        for frame in frames(recorded) {
            let Ok(frame) = frame else { break };
            let position = self.end_position;
            let is_in_place = frame.term_id() == self.terms.term_id(position)
                && frame.term_offset() == self.terms.term_offset(position)
                && position + frame.aligned_length() as i64 <= term_end;
            let fits = frame.frame_length() <= mtu
                && position + frame.aligned_length() as i64 <= start_position + room;
            if frame.is_heartbeat() || !is_in_place || !(fits || frame.is_padding()) {
                break;
            }
            let header =
                DataHeader { session_id: self.session_id, stream_id: self.stream_id, ..frame.header() };
            self.put_frame(&header, [frame.payload(), &[]]);
        }
        self.end_position - start_position
    }

    /// The whole frames from `position` on that fit in `room` bytes, within one term.
    ///
    /// `position` may come from a peer: where no frame of ours begins there, there is no packet. A payload
    /// that looks like a frame of ours at its own place is one of our frames in all that matters: what is
    /// sent are bytes of this stream's history, within its bounds.
    pub(super) fn packet_at(&self, position: i64, room: usize) -> HistoryPacket {
        let mut packet = HistoryPacket { length: 0, advance: 0 };
        let term_end = self.terms.term_end(position);
        loop {
            let at = position + packet.advance;
            if at >= self.end_position.min(term_end) || packet.length + HEADER_LENGTH > room {
                return packet;
            }
            let Some(frame) = self.frame_at(at) else { return packet };
            let advance = frame.aligned_length();
            let length = if frame.is_padding() { HEADER_LENGTH } else { advance };
            if packet.length + length > room || at + advance as i64 > self.end_position.min(term_end) {
                return packet;
            }
            packet.length += length;
            packet.advance += advance as i64;
            if frame.is_padding() {
                return packet;
            }
        }
    }

    /// Bytes as they lie in the history, within one term.
    pub(super) fn bytes_at(&self, position: i64, length: usize) -> &[u8] {
        let index = self.index(position);
        &self.bytes[index..index + length]
    }

    fn frame_at(&self, position: i64) -> Option<DataFrame<'_>> {
        if position < self.start_position() {
            return None;
        }
        let term_rest = (self.terms.term_end(position) - position) as usize;
        let frame = DataFrame::parse(self.bytes_at(position, term_rest)).ok()?;
        let is_ours = frame.term_offset() == self.terms.term_offset(position)
            && frame.term_id() == self.terms.term_id(position)
            && frame.session_id() == self.session_id
            && frame.stream_id() == self.stream_id
            && !frame.is_heartbeat();
        is_ours.then_some(frame)
    }

    fn append_frame(&mut self, frame_type: FrameType, flags: u8, frame_length: usize, payload: [&[u8]; 2]) {
        let position = self.end_position;
        let header = DataHeader {
            frame_length: frame_length as i32,
            flags,
            frame_type,
            term_offset: self.terms.term_offset(position),
            session_id: self.session_id,
            stream_id: self.stream_id,
            term_id: self.terms.term_id(position),
            reserved_value: 0,
        };
        self.put_frame(&header, payload);
    }

    fn put_frame(&mut self, header: &DataHeader, [first, second]: [&[u8]; 2]) {
        let index = self.index(self.end_position);
        let first_at = index + HEADER_LENGTH;
        let second_at = first_at + first.len();
        let payload_end = second_at + second.len();
        self.bytes[index..first_at].copy_from_slice(&header.encode());
        self.bytes[first_at..second_at].copy_from_slice(first);
        self.bytes[second_at..payload_end].copy_from_slice(second);
        // The alignment is sent too, and must not carry what lay here two terms ago.
        self.bytes[payload_end..align(payload_end)].fill(0);
        self.end_position += align(header.frame_length as usize) as i64;
    }

    fn index(&self, position: i64) -> usize {
        (position & (self.bytes.len() as i64 - 1)) as usize
    }
}
