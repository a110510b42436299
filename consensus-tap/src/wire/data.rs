//! DATA and PAD frames: one fragment of a stream, behind a 32-byte little-endian header.
//!
//! ```text
//!   0        4    5      6     8             12          16          20        24               32
//!  | length | ver| flags| type| term offset | session id| stream id | term id | reserved value | payload
//! ```
//! Same bytes as `aeron_data_header_t`, and the same in a recording's segment files. Length 0 is a
//! heartbeat: no payload, and its datagram holds nothing else. A datagram may carry several frames, each
//! padded to 32 bytes; [`frames`] walks them. Of a PAD frame only the header is sent, as the last frame
//! of its datagram, while its length tells how far the stream advances.

use super::{
    FRAME_HEADER_LENGTH, FrameType, LENGTH_OFFSET, Reject, align, fmt_flags, i32_at, i64_at,
    put_frame_header, put_i32, put_i64,
};
use std::fmt;

/// Bytes of the header.
pub const HEADER_LENGTH: usize = 32;

/// Flag: the first fragment of a message.
pub const BEGIN: u8 = 0x80;
/// Flag: the last fragment of a message.
pub const END: u8 = 0x40;
/// Flags of a message in one fragment, and of a plain heartbeat.
pub const UNFRAGMENTED: u8 = BEGIN | END;
/// Flag of a heartbeat: the stream ends at its position.
pub const EOS: u8 = 0x20;
/// Flag of a heartbeat, with [`EOS`]: the stream was revoked, what is missing will not come.
pub const REVOKED: u8 = 0x10;

const TERM_OFFSET_OFFSET: usize = FRAME_HEADER_LENGTH;
const SESSION_ID_OFFSET: usize = TERM_OFFSET_OFFSET + size_of::<i32>();
const STREAM_ID_OFFSET: usize = SESSION_ID_OFFSET + size_of::<i32>();
const TERM_ID_OFFSET: usize = STREAM_ID_OFFSET + size_of::<i32>();
const RESERVED_VALUE_OFFSET: usize = TERM_ID_OFFSET + size_of::<i32>();
const _: () = assert!(RESERVED_VALUE_OFFSET + size_of::<i64>() == HEADER_LENGTH);

/// The fields of a DATA or PAD header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DataHeader {
    /// Bytes of header and payload, without alignment; 0 in a heartbeat.
    pub frame_length: i32,
    /// [`BEGIN`], [`END`], [`EOS`], [`REVOKED`].
    pub flags: u8,
    /// [`FrameType::Data`] or [`FrameType::Pad`].
    pub frame_type: FrameType,
    /// Where the frame lies in its term; the current position in a heartbeat.
    pub term_offset: i32,
    /// The publication that sends the stream.
    pub session_id: i32,
    /// The stream.
    pub stream_id: i32,
    /// The term.
    pub term_id: i32,
    /// The application's own value.
    pub reserved_value: i64,
}

impl DataHeader {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        put_frame_header(&mut bytes, self.frame_length, self.flags, self.frame_type);
        put_i32(&mut bytes, TERM_OFFSET_OFFSET, self.term_offset);
        put_i32(&mut bytes, SESSION_ID_OFFSET, self.session_id);
        put_i32(&mut bytes, STREAM_ID_OFFSET, self.stream_id);
        put_i32(&mut bytes, TERM_ID_OFFSET, self.term_id);
        put_i64(&mut bytes, RESERVED_VALUE_OFFSET, self.reserved_value);
        bytes
    }
}

/// A received or recorded frame. `parse` checked every length, so no accessor can panic.
#[derive(Clone, Copy)]
pub struct DataFrame<'a> {
    header: &'a [u8; HEADER_LENGTH],
    payload: &'a [u8],
    frame_type: FrameType,
}

impl<'a> DataFrame<'a> {
    /// Reads the frame at the start of `bytes`; what follows it is not looked at.
    ///
    /// # Errors
    /// [`Reject::Truncated`] when the header does not fit, [`Reject::BadVersion`],
    /// [`Reject::UnexpectedType`] and [`Reject::UnknownType`] when this is no DATA or PAD frame,
    /// [`Reject::BadLength`] when the length is negative, less than a header, or more than a DATA frame's
    /// `bytes` hold. A PAD frame may be longer than `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Reject> {
        let frame_type = FrameType::of(bytes)?;
        if !matches!(frame_type, FrameType::Data | FrameType::Pad) {
            return Err(Reject::UnexpectedType);
        }
        let (header, rest) = bytes.split_first_chunk().ok_or(Reject::Truncated)?;
        let payload_length = match usize::try_from(i32_at(header, LENGTH_OFFSET)) {
            Ok(0) if frame_type == FrameType::Data => 0,
            Ok(length) => length.checked_sub(HEADER_LENGTH).ok_or(Reject::BadLength)?,
            Err(_) => return Err(Reject::BadLength),
        };
        let payload = match frame_type {
            FrameType::Pad => &[],
            _ => rest.get(..payload_length).ok_or(Reject::BadLength)?,
        };
        Ok(Self { header, payload, frame_type })
    }

    /// Bytes of header and payload without alignment, of a PAD frame also those that were not sent; 0 in
    /// a heartbeat.
    pub fn frame_length(&self) -> usize {
        i32_at(self.header, LENGTH_OFFSET).unsigned_abs() as usize
    }

    /// How far the frame advances its stream, in bytes: a multiple of 32, 0 for a heartbeat.
    pub fn aligned_length(&self) -> usize {
        align(self.frame_length())
    }

    /// Whether this is a heartbeat: a position without data.
    pub fn is_heartbeat(&self) -> bool {
        self.frame_length() == 0
    }

    /// Whether this is a PAD frame, which stands for bytes without a message.
    pub fn is_padding(&self) -> bool {
        self.frame_type == FrameType::Pad
    }

    /// [`BEGIN`], [`END`], [`EOS`], [`REVOKED`].
    pub fn flags(&self) -> u8 {
        self.header[super::FLAGS_OFFSET]
    }

    /// Whether all of `flags` are set.
    pub fn has_flags(&self, flags: u8) -> bool {
        self.flags() & flags == flags
    }

    /// Where the frame lies in its term; not checked against any term length.
    pub fn term_offset(&self) -> i32 {
        i32_at(self.header, TERM_OFFSET_OFFSET)
    }

    /// The publication that sends the stream.
    pub fn session_id(&self) -> i32 {
        i32_at(self.header, SESSION_ID_OFFSET)
    }

    /// The stream.
    pub fn stream_id(&self) -> i32 {
        i32_at(self.header, STREAM_ID_OFFSET)
    }

    /// The term.
    pub fn term_id(&self) -> i32 {
        i32_at(self.header, TERM_ID_OFFSET)
    }

    /// The application's own value.
    pub fn reserved_value(&self) -> i64 {
        i64_at(self.header, RESERVED_VALUE_OFFSET)
    }

    /// All fields of the header.
    pub fn header(&self) -> DataHeader {
        DataHeader {
            frame_length: i32_at(self.header, LENGTH_OFFSET),
            flags: self.flags(),
            frame_type: self.frame_type,
            term_offset: self.term_offset(),
            session_id: self.session_id(),
            stream_id: self.stream_id(),
            term_id: self.term_id(),
            reserved_value: self.reserved_value(),
        }
    }

    /// The header as it lies in the datagram or the recording.
    pub fn header_bytes(&self) -> &'a [u8; HEADER_LENGTH] {
        self.header
    }

    /// The fragment's bytes; empty for PAD frames and heartbeats.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

impl fmt::Display for DataFrame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match (self.is_padding(), self.is_heartbeat()) {
            (true, _) => "PAD",
            (_, true) => "HEARTBEAT",
            _ => "DATA",
        };
        write!(
            f,
            "{name} stream {} session {} term {} offset {} length {} flags ",
            self.stream_id(),
            self.session_id(),
            self.term_id(),
            self.term_offset(),
            self.frame_length()
        )?;
        fmt_flags(f, self.flags(), &[(BEGIN, 'B'), (END, 'E'), (EOS, 'S'), (REVOKED, 'R')])
    }
}

impl fmt::Debug for DataFrame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataFrame({self})")
    }
}

/// Walks all frames of a datagram, or of recorded bytes that begin at a frame and end behind one.
///
/// A frame counts with its alignment. A PAD frame counts with its full length, or ends the walk where only
/// its header is there, as in a datagram. The walk ends at the first error.
pub fn frames(bytes: &[u8]) -> Frames<'_> {
    Frames { bytes, walked_length: 0 }
}

/// See [`frames`].
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    walked_length: usize,
}

impl Frames<'_> {
    /// How far the frames yielded so far advance their stream, in bytes; with a PAD frame this may be more
    /// than the bytes given.
    pub fn walked_length(&self) -> usize {
        self.walked_length
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<DataFrame<'a>, Reject>;

    /// The next frame.
    ///
    /// An error is one of [`DataFrame::parse`], [`Reject::BadLength`] for a frame length of 0, and
    /// [`Reject::Unaligned`] where a frame's alignment is missing.
    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let step = DataFrame::parse(self.bytes).and_then(|frame| {
            let length = frame.aligned_length();
            match self.bytes.get(length..) {
                _ if frame.is_heartbeat() => Err(Reject::BadLength),
                Some(rest) => Ok((frame, rest)),
                // Only a header that ends the bytes may stand for a longer frame.
                None if frame.is_padding() && self.bytes.len() == HEADER_LENGTH => {
                    Ok((frame, &self.bytes[HEADER_LENGTH..]))
                }
                None if frame.is_padding() => Err(Reject::BadLength),
                None => Err(Reject::Unaligned),
            }
        });
        Some(match step {
            Ok((frame, rest)) => {
                self.bytes = rest;
                self.walked_length += frame.aligned_length();
                Ok(frame)
            }
            Err(reject) => {
                self.bytes = &[];
                Err(reject)
            }
        })
    }
}

impl std::iter::FusedIterator for Frames<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(frame_length: i32, frame_type: FrameType) -> DataHeader {
        DataHeader {
            frame_length,
            flags: UNFRAGMENTED,
            frame_type,
            term_offset: 96,
            session_id: 0x0102_0304,
            stream_id: 1001,
            term_id: -4,
            reserved_value: -2,
        }
    }

    fn frame(payload: &[u8]) -> Vec<u8> {
        let length = HEADER_LENGTH + payload.len();
        let mut bytes = header(length as i32, FrameType::Data).encode().to_vec();
        bytes.extend_from_slice(payload);
        bytes.resize(align(length), 0);
        bytes
    }

    #[test]
    fn walks_the_frames_of_a_datagram_with_their_alignment() {
        let bytes = [frame(&[1; 248]), frame(&[2; 20]), frame(&[])].concat();
        let mut walk = frames(&bytes);
        assert_eq!(walk.next().unwrap().unwrap().payload(), [1; 248]);
        assert_eq!(walk.walked_length(), 288);
        assert_eq!(walk.next().unwrap().unwrap().payload(), [2; 20]);
        assert!(!walk.next().unwrap().unwrap().is_heartbeat(), "an empty message is data");
        assert!(walk.next().is_none());
        assert_eq!(walk.walked_length(), bytes.len());
    }

    #[test]
    fn padding_counts_in_full_though_only_its_header_is_there() {
        let mut bytes = frame(b"x");
        bytes.extend_from_slice(&header(4096, FrameType::Pad).encode());
        let mut walk = frames(&bytes);
        assert!(walk.by_ref().all(|frame| frame.is_ok()));
        assert_eq!(walk.walked_length(), 64 + 4096);

        // In a recording the whole padding lies there, and more behind it.
        bytes.resize(64 + 4096, 0);
        bytes.extend_from_slice(&frame(b"y"));
        let kinds: Vec<bool> = frames(&bytes).map(|frame| frame.unwrap().is_padding()).collect();
        assert_eq!(kinds, [false, true, false]);

        // Neither is a padding that is only partly there.
        assert_eq!(frames(&bytes[..96 + 32]).last().unwrap().unwrap_err(), Reject::BadLength);
    }

    #[test]
    fn a_walk_ends_at_the_first_error() {
        let mut bytes = [frame(b"a"), frame(b"b")].concat();
        bytes[64] = 0;
        let mut walk = frames(&bytes);
        assert!(walk.next().unwrap().is_ok());
        assert_eq!(walk.next().unwrap().unwrap_err(), Reject::BadLength, "length 0 inside a datagram");
        assert!(walk.next().is_none());

        let cut = frame(b"a");
        assert_eq!(frames(&cut[..33]).next().unwrap().unwrap_err(), Reject::Unaligned);
        assert_eq!(frames(&cut[..32]).next().unwrap().unwrap_err(), Reject::BadLength);
    }

    #[test]
    fn lengths_that_cannot_be_are_rejected() {
        for length in [-1, 1, 31, i32::MIN, i32::MAX] {
            let bytes = header(length, FrameType::Data).encode();
            assert_eq!(DataFrame::parse(&bytes).unwrap_err(), Reject::BadLength, "{length}");
        }
        assert_eq!(DataFrame::parse(&header(0, FrameType::Pad).encode()).unwrap_err(), Reject::BadLength);
    }
}
