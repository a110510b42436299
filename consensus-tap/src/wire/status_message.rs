//! Status message: how far a receiver has consumed a stream, and how much more it takes.
//!
//! ```text
//!   8            12          16        20            24       28            36          44
//!  | session id | stream id | term id | term offset | window | receiver id | group tag |
//! ```
//! Same bytes as `aeron_status_message_header_t`; the group tag is there only when the frame length is 44.

use super::{FrameType, Reject, fixed_part, fmt_flags, i32_at, i64_at, put_frame_header, put_i32, put_i64};
use std::fmt;

/// Bytes of the frame without a group tag.
pub const STATUS_MESSAGE_LENGTH: usize = 36;
/// Bytes of the frame with a group tag.
pub const STATUS_MESSAGE_WITH_GROUP_TAG_LENGTH: usize = 44;
/// Flag: the receiver asks for a SETUP; position and window mean nothing.
pub const SEND_SETUP: u8 = 0x80;
/// Flag: the receiver leaves the stream.
pub const END_OF_STREAM: u8 = 0x40;

const SESSION_ID_OFFSET: usize = 8;
const STREAM_ID_OFFSET: usize = 12;
const TERM_ID_OFFSET: usize = 16;
const TERM_OFFSET_OFFSET: usize = 20;
const WINDOW_OFFSET: usize = 24;
const RECEIVER_ID_OFFSET: usize = 28;
const GROUP_TAG_OFFSET: usize = 36;
const _: () = assert!(RECEIVER_ID_OFFSET + size_of::<i64>() == STATUS_MESSAGE_LENGTH);
const _: () = assert!(GROUP_TAG_OFFSET + size_of::<i64>() == STATUS_MESSAGE_WITH_GROUP_TAG_LENGTH);

/// A status message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StatusMessage {
    /// [`SEND_SETUP`], [`END_OF_STREAM`].
    pub flags: u8,
    /// The publication.
    pub session_id: i32,
    /// The stream.
    pub stream_id: i32,
    /// The term of the consumed position.
    pub consumption_term_id: i32,
    /// The consumed position, within its term.
    pub consumption_term_offset: i32,
    /// How many bytes behind the consumed position the receiver takes.
    pub receiver_window: i32,
    /// Who receives; stable for the life of a socket.
    pub receiver_id: i64,
    /// The group that the receiver belongs to, for tagged flow control.
    pub group_tag: Option<i64>,
}

impl StatusMessage {
    /// Reads a datagram.
    ///
    /// # Errors
    /// When the version, type or length is not a status message's.
    pub fn parse(datagram: &[u8]) -> Result<Self, Reject> {
        let (bytes, length) = fixed_part::<STATUS_MESSAGE_LENGTH>(datagram, FrameType::StatusMessage)?;
        let group_tag = match length {
            STATUS_MESSAGE_LENGTH => None,
            STATUS_MESSAGE_WITH_GROUP_TAG_LENGTH => {
                let tag = datagram.get(GROUP_TAG_OFFSET..).and_then(|rest| rest.first_chunk());
                Some(i64::from_le_bytes(*tag.ok_or(Reject::Truncated)?))
            }
            _ => return Err(Reject::BadLength),
        };
        Ok(Self {
            flags: bytes[super::FLAGS_OFFSET],
            session_id: i32_at(bytes, SESSION_ID_OFFSET),
            stream_id: i32_at(bytes, STREAM_ID_OFFSET),
            consumption_term_id: i32_at(bytes, TERM_ID_OFFSET),
            consumption_term_offset: i32_at(bytes, TERM_OFFSET_OFFSET),
            receiver_window: i32_at(bytes, WINDOW_OFFSET),
            receiver_id: i64_at(bytes, RECEIVER_ID_OFFSET),
            group_tag,
        })
    }

    /// The frame's bytes, and how many of them count.
    pub fn encode(&self) -> ([u8; STATUS_MESSAGE_WITH_GROUP_TAG_LENGTH], usize) {
        let mut bytes = [0; STATUS_MESSAGE_WITH_GROUP_TAG_LENGTH];
        let length = match self.group_tag {
            None => STATUS_MESSAGE_LENGTH,
            Some(tag) => {
                put_i64(&mut bytes, GROUP_TAG_OFFSET, tag);
                STATUS_MESSAGE_WITH_GROUP_TAG_LENGTH
            }
        };
        put_frame_header(&mut bytes, length as i32, self.flags, FrameType::StatusMessage);
        put_i32(&mut bytes, SESSION_ID_OFFSET, self.session_id);
        put_i32(&mut bytes, STREAM_ID_OFFSET, self.stream_id);
        put_i32(&mut bytes, TERM_ID_OFFSET, self.consumption_term_id);
        put_i32(&mut bytes, TERM_OFFSET_OFFSET, self.consumption_term_offset);
        put_i32(&mut bytes, WINDOW_OFFSET, self.receiver_window);
        put_i64(&mut bytes, RECEIVER_ID_OFFSET, self.receiver_id);
        (bytes, length)
    }
}

impl fmt::Display for StatusMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SM stream {} session {} term {} offset {} window {} receiver {:#x}",
            self.stream_id,
            self.session_id,
            self.consumption_term_id,
            self.consumption_term_offset,
            self.receiver_window,
            self.receiver_id
        )?;
        if let Some(tag) = self.group_tag {
            write!(f, " group {tag}")?;
        }
        f.write_str(" flags ")?;
        fmt_flags(f, self.flags, &[(SEND_SETUP, 'S'), (END_OF_STREAM, 'E')])
    }
}
