//! UDP frames of the Aeron transport, one file each.
//!
//! Every frame starts with the same eight little-endian bytes:
//! ```text
//!   0        4    5      6     8
//!  | length | ver| flags| type| … by type
//! ```
//! A datagram is dispatched on the type of its first frame; only DATA and PAD frames share a datagram.
//! Parsing is total: whatever the bytes are, the answer is a frame or a [`Reject`]. Same bytes as
//! `aeron_udp_protocol.h` of Aeron 1.51.

mod cut;
pub mod data;
pub mod error_frame;
pub mod nak;
pub mod position;
mod reject;
pub mod resolution;
pub mod response_setup;
pub mod rttm;
pub mod setup;
pub mod status_message;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};

pub(crate) use cut::cut;
pub use data::{DataFrame, DataHeader, Frames, frames};
pub use error_frame::ErrorFrame;
pub use nak::Nak;
pub use position::{FRAME_ALIGNMENT, StreamTerms, TermLength, align};
pub use reject::Reject;
pub use resolution::ResolutionFrame;
pub use response_setup::ResponseSetup;
pub use rttm::Rttm;
pub use setup::Setup;
pub use status_message::StatusMessage;

/// Bytes that every frame starts with.
pub const FRAME_HEADER_LENGTH: usize = 8;
/// The only protocol version there is.
pub const VERSION: u8 = 0;
/// The largest UDP payload that Aeron sends, which also bounds the MTU.
pub const DATAGRAM_LENGTH_MAX: usize = 65_504;

const LENGTH_OFFSET: usize = 0;
const VERSION_OFFSET: usize = 4;
const FLAGS_OFFSET: usize = 5;
const TYPE_OFFSET: usize = 6;
const _: () = assert!(TYPE_OFFSET + size_of::<u16>() == FRAME_HEADER_LENGTH);

/// What a frame is, as its type field says.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u16)]
pub enum FrameType {
    /// Fills a term to its end, or stands for an aborted message; only its header is sent.
    Pad = 0x00,
    /// A fragment of a stream, or a heartbeat.
    Data = 0x01,
    /// A receiver misses a range.
    Nak = 0x02,
    /// A receiver's position and window.
    StatusMessage = 0x03,
    /// A receiver refuses the stream.
    Error = 0x04,
    /// A sender describes its stream.
    Setup = 0x05,
    /// Round trip measurement.
    Rttm = 0x06,
    /// Name resolution gossip between drivers.
    Resolution = 0x07,
    /// A receiver names the session of a response channel.
    ResponseSetup = 0x0B,
}

impl FrameType {
    /// The type with this number; `None` for extensions and for the closed transport security frames
    /// (0x08 to 0x0A), whose numbers differ between Aeron's own languages.
    pub fn from_wire(value: u16) -> Option<Self> {
        Some(match value {
            0x00 => Self::Pad,
            0x01 => Self::Data,
            0x02 => Self::Nak,
            0x03 => Self::StatusMessage,
            0x04 => Self::Error,
            0x05 => Self::Setup,
            0x06 => Self::Rttm,
            0x07 => Self::Resolution,
            0x0B => Self::ResponseSetup,
            _ => return None,
        })
    }

    /// The type of a datagram's first frame.
    ///
    /// # Errors
    /// [`Reject::Truncated`] below eight bytes, [`Reject::BadVersion`], [`Reject::UnknownType`].
    pub fn of(datagram: &[u8]) -> Result<Self, Reject> {
        let header = datagram.first_chunk::<FRAME_HEADER_LENGTH>().ok_or(Reject::Truncated)?;
        if header[VERSION_OFFSET] != VERSION {
            return Err(Reject::BadVersion);
        }
        Self::from_wire(u16_at(header, TYPE_OFFSET)).ok_or(Reject::UnknownType)
    }
}

/// The fixed part of a frame of type `expected`, once its version, type and length are checked: the frame
/// length is at least `N`, and the datagram holds all of it. Returns also the frame length.
fn fixed_part<const N: usize>(datagram: &[u8], expected: FrameType) -> Result<(&[u8; N], usize), Reject> {
    if FrameType::of(datagram)? != expected {
        return Err(Reject::UnexpectedType);
    }
    let fixed = datagram.first_chunk::<N>().ok_or(Reject::Truncated)?;
    let length = usize::try_from(i32_at(fixed, LENGTH_OFFSET)).map_err(|_| Reject::BadLength)?;
    if length < N || length > datagram.len() {
        return Err(Reject::BadLength);
    }
    Ok((fixed, length))
}

fn put_frame_header(out: &mut [u8], frame_length: i32, flags: u8, frame_type: FrameType) {
    put_i32(out, LENGTH_OFFSET, frame_length);
    out[VERSION_OFFSET] = VERSION;
    out[FLAGS_OFFSET] = flags;
    out[TYPE_OFFSET..TYPE_OFFSET + 2].copy_from_slice(&(frame_type as u16).to_le_bytes());
}

fn put_i32(out: &mut [u8], at: usize, value: i32) {
    out[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put_i64(out: &mut [u8], at: usize, value: i64) {
    out[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

const fn u16_at<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

const fn i32_at<const N: usize>(bytes: &[u8; N], at: usize) -> i32 {
    i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

const fn i64_at<const N: usize>(bytes: &[u8; N], at: usize) -> i64 {
    (i32_at(bytes, at) as u32 as i64) | ((i32_at(bytes, at + 4) as i64) << 32)
}

/// Writes the letters of the flags that are set, `.` for none, and any unknown bits in hexadecimal.
fn fmt_flags(f: &mut fmt::Formatter<'_>, flags: u8, names: &[(u8, char)]) -> fmt::Result {
    if flags == 0 {
        return f.write_char('.');
    }
    let mut unknown = flags;
    for &(flag, name) in names {
        if flags & flag != 0 {
            f.write_char(name)?;
            unknown &= !flag;
        }
    }
    if unknown != 0 {
        write!(f, "+{unknown:#x}")?;
    }
    Ok(())
}
