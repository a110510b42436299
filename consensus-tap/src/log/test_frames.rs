//! A recording of one publication, written frame by frame for tests.

use crate::wire::data::{BEGIN, END, HEADER_LENGTH, UNFRAGMENTED};
use crate::wire::{DataHeader, FrameType, StreamTerms, TermLength, align};

/// Bytes of a recording from `start` on.
pub(crate) struct Recording {
    pub(crate) terms: StreamTerms,
    pub(crate) start: i64,
    pub(crate) bytes: Vec<u8>,
}

impl Recording {
    pub(crate) fn at(start: i64) -> Self {
        let terms = StreamTerms { initial_term_id: -3, term_length: TermLength::MIN };
        Self { terms, start, bytes: Vec::new() }
    }

    pub(crate) fn position(&self) -> i64 {
        self.start + self.bytes.len() as i64
    }

    /// Appends a frame and returns the position behind it.
    pub(crate) fn frame(&mut self, flags: u8, frame_type: FrameType, payload: &[u8]) -> i64 {
        let length = HEADER_LENGTH + payload.len();
        let header = DataHeader {
            frame_length: length as i32,
            flags,
            frame_type,
            term_offset: self.terms.term_offset(self.position()),
            session_id: 7,
            stream_id: 100,
            term_id: self.terms.term_id(self.position()),
            reserved_value: 0,
        };
        self.bytes.extend_from_slice(&header.encode());
        self.bytes.extend_from_slice(payload);
        self.bytes.resize(self.bytes.len() - length + align(length), 0);
        self.position()
    }

    pub(crate) fn fragment(&mut self, flags: u8, payload: &[u8]) -> i64 {
        self.frame(flags, FrameType::Data, payload)
    }

    /// Appends a message in one frame.
    pub(crate) fn message(&mut self, payload: &[u8]) -> i64 {
        self.fragment(UNFRAGMENTED, payload)
    }

    /// Appends a message in fragments of at most `fragment_length` bytes.
    pub(crate) fn fragmented(&mut self, payload: &[u8], fragment_length: usize) -> i64 {
        let count = payload.len().div_ceil(fragment_length);
        for (index, part) in payload.chunks(fragment_length).enumerate() {
            let begin = if index == 0 { BEGIN } else { 0 };
            let end = if index + 1 == count { END } else { 0 };
            self.fragment(begin | end, part);
        }
        self.position()
    }

    /// Fills the term with padding.
    pub(crate) fn pad(&mut self) -> i64 {
        let left = self.terms.term_end(self.position()) - self.position();
        self.frame(UNFRAGMENTED, FrameType::Pad, &vec![0; left as usize - HEADER_LENGTH])
    }
}
