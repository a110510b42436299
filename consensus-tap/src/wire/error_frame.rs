//! ERR: a receiver refuses a stream, with a reason.
//!
//! ```text
//!   8            12          16            24          32           36            40
//!  | session id | stream id | receiver id | group tag | error code | text length | text …
//! ```
//! Same bytes as `aeron_error_t`. The group tag counts only with flag 0x08.

use super::{FrameType, Reject, fixed_part, i32_at, i64_at, put_frame_header, put_i32, put_i64};
use std::fmt;

/// Bytes before the text.
pub const ERROR_HEADER_LENGTH: usize = 40;
/// The longest text, in bytes.
pub const ERROR_TEXT_LENGTH_MAX: usize = 1023;
/// The longest frame, in bytes.
pub const ERROR_LENGTH_MAX: usize = ERROR_HEADER_LENGTH + ERROR_TEXT_LENGTH_MAX;
/// Flag: the group tag counts.
pub const HAS_GROUP_TAG: u8 = 0x08;
/// Error code: the receiver's application rejected the image.
pub const IMAGE_REJECTED: i32 = 13;

const SESSION_ID_OFFSET: usize = 8;
const STREAM_ID_OFFSET: usize = 12;
const RECEIVER_ID_OFFSET: usize = 16;
const GROUP_TAG_OFFSET: usize = 24;
const ERROR_CODE_OFFSET: usize = 32;
const TEXT_LENGTH_OFFSET: usize = 36;
const _: () = assert!(TEXT_LENGTH_OFFSET + size_of::<i32>() == ERROR_HEADER_LENGTH);

/// An ERR frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ErrorFrame<'a> {
    /// The publication.
    pub session_id: i32,
    /// The stream.
    pub stream_id: i32,
    /// Who refuses.
    pub receiver_id: i64,
    /// The receiver's group, if it has one.
    pub group_tag: Option<i64>,
    /// Why, as a number; [`IMAGE_REJECTED`] is the only one in use.
    pub error_code: i32,
    /// Why, as text. Should be ASCII; what a peer sent is not checked.
    pub text: &'a [u8],
}

impl<'a> ErrorFrame<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// When the version, type or length is not an ERR frame's, or the text does not fit in the frame.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Reject> {
        let (bytes, length) = fixed_part::<ERROR_HEADER_LENGTH>(datagram, FrameType::Error)?;
        let text_length =
            usize::try_from(i32_at(bytes, TEXT_LENGTH_OFFSET)).map_err(|_| Reject::BadLength)?;
        if text_length > ERROR_TEXT_LENGTH_MAX {
            return Err(Reject::BadLength);
        }
        let text = datagram
            .get(..length)
            .and_then(|frame| frame.get(ERROR_HEADER_LENGTH..ERROR_HEADER_LENGTH + text_length))
            .ok_or(Reject::BadLength)?;
        let has_group_tag = bytes[super::FLAGS_OFFSET] & HAS_GROUP_TAG != 0;
        Ok(Self {
            session_id: i32_at(bytes, SESSION_ID_OFFSET),
            stream_id: i32_at(bytes, STREAM_ID_OFFSET),
            receiver_id: i64_at(bytes, RECEIVER_ID_OFFSET),
            group_tag: has_group_tag.then(|| i64_at(bytes, GROUP_TAG_OFFSET)),
            error_code: i32_at(bytes, ERROR_CODE_OFFSET),
            text,
        })
    }

    /// Writes the frame and returns its length. A text longer than [`ERROR_TEXT_LENGTH_MAX`] is cut.
    pub fn encode(&self, out: &mut [u8; ERROR_LENGTH_MAX]) -> usize {
        let text = &self.text[..self.text.len().min(ERROR_TEXT_LENGTH_MAX)];
        let length = ERROR_HEADER_LENGTH + text.len();
        let flags = if self.group_tag.is_some() { HAS_GROUP_TAG } else { 0 };
        put_frame_header(out, length as i32, flags, FrameType::Error);
        put_i32(out, SESSION_ID_OFFSET, self.session_id);
        put_i32(out, STREAM_ID_OFFSET, self.stream_id);
        put_i64(out, RECEIVER_ID_OFFSET, self.receiver_id);
        put_i64(out, GROUP_TAG_OFFSET, self.group_tag.unwrap_or(0));
        put_i32(out, ERROR_CODE_OFFSET, self.error_code);
        put_i32(out, TEXT_LENGTH_OFFSET, text.len() as i32);
        out[ERROR_HEADER_LENGTH..length].copy_from_slice(text);
        length
    }
}

impl fmt::Display for ErrorFrame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ERR stream {} session {} receiver {:#x} code {} \"{}\"",
            self.stream_id,
            self.session_id,
            self.receiver_id,
            self.error_code,
            self.text.escape_ascii()
        )
    }
}
