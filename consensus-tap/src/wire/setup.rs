//! SETUP: a sender describes its stream and where it stands.
//!
//! ```text
//!   8             12           16          20                24               28            32    36    40
//!  | term offset | session id | stream id | initial term id | active term id | term length | mtu | ttl |
//! ```
//! Same bytes as `aeron_setup_header_t`. The position is the sender's current one, not its first.

use super::{FrameType, Reject, fixed_part, fmt_flags, i32_at, put_frame_header, put_i32};
use std::fmt;

/// Bytes of the frame.
pub const SETUP_LENGTH: usize = 40;
/// Flag: the publication wants a response channel.
pub const SEND_RESPONSE_SETUP: u8 = 0x80;
/// Flag: the sender's channel has group semantics.
pub const GROUP: u8 = 0x40;

const TERM_OFFSET_OFFSET: usize = 8;
const SESSION_ID_OFFSET: usize = 12;
const STREAM_ID_OFFSET: usize = 16;
const INITIAL_TERM_ID_OFFSET: usize = 20;
const ACTIVE_TERM_ID_OFFSET: usize = 24;
const TERM_LENGTH_OFFSET: usize = 28;
const MTU_OFFSET: usize = 32;
const TTL_OFFSET: usize = 36;
const _: () = assert!(TTL_OFFSET + size_of::<i32>() == SETUP_LENGTH);

/// A SETUP frame. Its numbers are as sent; the image that is made from it checks them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Setup {
    /// [`SEND_RESPONSE_SETUP`], [`GROUP`].
    pub flags: u8,
    /// The sender's position, within the active term.
    pub term_offset: i32,
    /// The publication.
    pub session_id: i32,
    /// The stream.
    pub stream_id: i32,
    /// The term of position 0.
    pub initial_term_id: i32,
    /// The term of the sender's position.
    pub active_term_id: i32,
    /// Bytes of a term.
    pub term_length: i32,
    /// The longest datagram and frame that the sender sends, in bytes.
    pub mtu: i32,
    /// Multicast hops; 0 for unicast.
    pub ttl: i32,
}

impl Setup {
    /// Reads a datagram.
    ///
    /// # Errors
    /// When the version, type or length is not a SETUP's.
    pub fn parse(datagram: &[u8]) -> Result<Self, Reject> {
        let (bytes, _) = fixed_part::<SETUP_LENGTH>(datagram, FrameType::Setup)?;
        Ok(Self {
            flags: bytes[super::FLAGS_OFFSET],
            term_offset: i32_at(bytes, TERM_OFFSET_OFFSET),
            session_id: i32_at(bytes, SESSION_ID_OFFSET),
            stream_id: i32_at(bytes, STREAM_ID_OFFSET),
            initial_term_id: i32_at(bytes, INITIAL_TERM_ID_OFFSET),
            active_term_id: i32_at(bytes, ACTIVE_TERM_ID_OFFSET),
            term_length: i32_at(bytes, TERM_LENGTH_OFFSET),
            mtu: i32_at(bytes, MTU_OFFSET),
            ttl: i32_at(bytes, TTL_OFFSET),
        })
    }

    /// The frame's bytes.
    pub fn encode(&self) -> [u8; SETUP_LENGTH] {
        let mut bytes = [0; SETUP_LENGTH];
        put_frame_header(&mut bytes, SETUP_LENGTH as i32, self.flags, FrameType::Setup);
        put_i32(&mut bytes, TERM_OFFSET_OFFSET, self.term_offset);
        put_i32(&mut bytes, SESSION_ID_OFFSET, self.session_id);
        put_i32(&mut bytes, STREAM_ID_OFFSET, self.stream_id);
        put_i32(&mut bytes, INITIAL_TERM_ID_OFFSET, self.initial_term_id);
        put_i32(&mut bytes, ACTIVE_TERM_ID_OFFSET, self.active_term_id);
        put_i32(&mut bytes, TERM_LENGTH_OFFSET, self.term_length);
        put_i32(&mut bytes, MTU_OFFSET, self.mtu);
        put_i32(&mut bytes, TTL_OFFSET, self.ttl);
        bytes
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SETUP stream {} session {} term {} offset {} initial {} term length {} mtu {} ttl {} flags ",
            self.stream_id,
            self.session_id,
            self.active_term_id,
            self.term_offset,
            self.initial_term_id,
            self.term_length,
            self.mtu,
            self.ttl
        )?;
        fmt_flags(f, self.flags, &[(SEND_RESPONSE_SETUP, 'R'), (GROUP, 'G')])
    }
}
