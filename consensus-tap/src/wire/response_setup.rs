//! RSP_SETUP: a receiver tells the sender of a request which session will carry the responses.
//!
//! ```text
//!   8            12          16                    20
//!  | session id | stream id | response session id |
//! ```
//! Same bytes as `aeron_response_setup_header_t`.

use super::{FrameType, Reject, fixed_part, i32_at, put_frame_header, put_i32};
use std::fmt;

/// Bytes of the frame.
pub const RESPONSE_SETUP_LENGTH: usize = 20;

const SESSION_ID_OFFSET: usize = 8;
const STREAM_ID_OFFSET: usize = 12;
const RESPONSE_SESSION_ID_OFFSET: usize = 16;
const _: () = assert!(RESPONSE_SESSION_ID_OFFSET + size_of::<i32>() == RESPONSE_SETUP_LENGTH);

/// A response setup frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResponseSetup {
    /// The publication that carries the requests.
    pub session_id: i32,
    /// The stream of the requests.
    pub stream_id: i32,
    /// The publication that will carry the responses.
    pub response_session_id: i32,
}

impl ResponseSetup {
    /// Reads a datagram.
    ///
    /// # Errors
    /// When the version, type or length is not a response setup's.
    pub fn parse(datagram: &[u8]) -> Result<Self, Reject> {
        let (bytes, _) = fixed_part::<RESPONSE_SETUP_LENGTH>(datagram, FrameType::ResponseSetup)?;
        Ok(Self {
            session_id: i32_at(bytes, SESSION_ID_OFFSET),
            stream_id: i32_at(bytes, STREAM_ID_OFFSET),
            response_session_id: i32_at(bytes, RESPONSE_SESSION_ID_OFFSET),
        })
    }

    /// The frame's bytes.
    pub fn encode(&self) -> [u8; RESPONSE_SETUP_LENGTH] {
        let mut bytes = [0; RESPONSE_SETUP_LENGTH];
        put_frame_header(&mut bytes, RESPONSE_SETUP_LENGTH as i32, 0, FrameType::ResponseSetup);
        put_i32(&mut bytes, SESSION_ID_OFFSET, self.session_id);
        put_i32(&mut bytes, STREAM_ID_OFFSET, self.stream_id);
        put_i32(&mut bytes, RESPONSE_SESSION_ID_OFFSET, self.response_session_id);
        bytes
    }
}

impl fmt::Display for ResponseSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session_id, stream_id, response_session_id } = self;
        write!(f, "RSP_SETUP stream {stream_id} session {session_id} response {response_session_id}")
    }
}
