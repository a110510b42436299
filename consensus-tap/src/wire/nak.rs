//! NAK: a receiver asks for a range of a term again.
//!
//! ```text
//!   8            12          16        20            24       28
//!  | session id | stream id | term id | term offset | length |
//! ```
//! Same bytes as `aeron_nak_header_t`.

use super::{FrameType, Reject, fixed_part, i32_at, put_frame_header, put_i32};
use std::fmt;

/// Bytes of the frame.
pub const NAK_LENGTH: usize = 28;

const SESSION_ID_OFFSET: usize = 8;
const STREAM_ID_OFFSET: usize = 12;
const TERM_ID_OFFSET: usize = 16;
const TERM_OFFSET_OFFSET: usize = 20;
const RANGE_LENGTH_OFFSET: usize = 24;
const _: () = assert!(RANGE_LENGTH_OFFSET + size_of::<i32>() == NAK_LENGTH);

/// A NAK. Its range is as sent; the publication that answers it checks it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Nak {
    /// The publication.
    pub session_id: i32,
    /// The stream.
    pub stream_id: i32,
    /// The term of the missing range.
    pub term_id: i32,
    /// Where the missing range begins.
    pub term_offset: i32,
    /// How many bytes are missing.
    pub length: i32,
}

impl Nak {
    /// Reads a datagram.
    ///
    /// # Errors
    /// When the version, type or length is not a NAK's.
    pub fn parse(datagram: &[u8]) -> Result<Self, Reject> {
        let (bytes, _) = fixed_part::<NAK_LENGTH>(datagram, FrameType::Nak)?;
        Ok(Self {
            session_id: i32_at(bytes, SESSION_ID_OFFSET),
            stream_id: i32_at(bytes, STREAM_ID_OFFSET),
            term_id: i32_at(bytes, TERM_ID_OFFSET),
            term_offset: i32_at(bytes, TERM_OFFSET_OFFSET),
            length: i32_at(bytes, RANGE_LENGTH_OFFSET),
        })
    }

    /// The frame's bytes.
    pub fn encode(&self) -> [u8; NAK_LENGTH] {
        let mut bytes = [0; NAK_LENGTH];
        put_frame_header(&mut bytes, NAK_LENGTH as i32, 0, FrameType::Nak);
        put_i32(&mut bytes, SESSION_ID_OFFSET, self.session_id);
        put_i32(&mut bytes, STREAM_ID_OFFSET, self.stream_id);
        put_i32(&mut bytes, TERM_ID_OFFSET, self.term_id);
        put_i32(&mut bytes, TERM_OFFSET_OFFSET, self.term_offset);
        put_i32(&mut bytes, RANGE_LENGTH_OFFSET, self.length);
        bytes
    }
}

impl fmt::Display for Nak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session_id, stream_id, term_id, term_offset, length } = self;
        write!(
            f,
            "NAK stream {stream_id} session {session_id} term {term_id} offset {term_offset} length {length}"
        )
    }
}
