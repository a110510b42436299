//! RTTM: round trip measurement, a timestamp that the other side sends back.
//!
//! ```text
//!   8            12          16               24                32            40
//!  | session id | stream id | echo timestamp | reception delta | receiver id |
//! ```
//! Same bytes as `aeron_rttm_header_t`.

use super::{FrameType, Reject, fixed_part, fmt_flags, i32_at, i64_at, put_frame_header, put_i32, put_i64};
use std::fmt;

/// Bytes of the frame.
pub const RTTM_LENGTH: usize = 40;
/// Flag: the other side shall answer.
pub const REPLY: u8 = 0x80;

const SESSION_ID_OFFSET: usize = 8;
const STREAM_ID_OFFSET: usize = 12;
const ECHO_TIMESTAMP_OFFSET: usize = 16;
const RECEPTION_DELTA_OFFSET: usize = 24;
const RECEIVER_ID_OFFSET: usize = 32;
const _: () = assert!(RECEIVER_ID_OFFSET + size_of::<i64>() == RTTM_LENGTH);

/// An RTTM frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rttm {
    /// [`REPLY`].
    pub flags: u8,
    /// The publication.
    pub session_id: i32,
    /// The stream.
    pub stream_id: i32,
    /// The asking side's clock when it asked, in nanoseconds; the answer repeats it.
    pub echo_timestamp_ns: i64,
    /// How long the answering side held the frame, in nanoseconds.
    pub reception_delta_ns: i64,
    /// The receiver that asks or is asked; 0 for any.
    pub receiver_id: i64,
}

impl Rttm {
    /// Reads a datagram.
    ///
    /// # Errors
    /// When the version, type or length is not an RTTM's.
    pub fn parse(datagram: &[u8]) -> Result<Self, Reject> {
        let (bytes, _) = fixed_part::<RTTM_LENGTH>(datagram, FrameType::Rttm)?;
        Ok(Self {
            flags: bytes[super::FLAGS_OFFSET],
            session_id: i32_at(bytes, SESSION_ID_OFFSET),
            stream_id: i32_at(bytes, STREAM_ID_OFFSET),
            echo_timestamp_ns: i64_at(bytes, ECHO_TIMESTAMP_OFFSET),
            reception_delta_ns: i64_at(bytes, RECEPTION_DELTA_OFFSET),
            receiver_id: i64_at(bytes, RECEIVER_ID_OFFSET),
        })
    }

    /// What to send back at once: the same timestamp, no flag, no delta.
    pub fn reply(&self) -> Self {
        Self { flags: 0, reception_delta_ns: 0, ..*self }
    }

    /// The frame's bytes.
    pub fn encode(&self) -> [u8; RTTM_LENGTH] {
        let mut bytes = [0; RTTM_LENGTH];
        put_frame_header(&mut bytes, RTTM_LENGTH as i32, self.flags, FrameType::Rttm);
        put_i32(&mut bytes, SESSION_ID_OFFSET, self.session_id);
        put_i32(&mut bytes, STREAM_ID_OFFSET, self.stream_id);
        put_i64(&mut bytes, ECHO_TIMESTAMP_OFFSET, self.echo_timestamp_ns);
        put_i64(&mut bytes, RECEPTION_DELTA_OFFSET, self.reception_delta_ns);
        put_i64(&mut bytes, RECEIVER_ID_OFFSET, self.receiver_id);
        bytes
    }
}

impl fmt::Display for Rttm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RTTM stream {} session {} echo {} delta {} receiver {:#x} flags ",
            self.stream_id,
            self.session_id,
            self.echo_timestamp_ns,
            self.reception_delta_ns,
            self.receiver_id
        )?;
        fmt_flags(f, self.flags, &[(REPLY, 'R')])
    }
}
