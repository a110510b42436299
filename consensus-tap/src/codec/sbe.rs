//! Simple Binary Encoding as Aeron's schemas use it: little endian, packed, no padding between fields.
//!
//! ```text
//!  0             2             4            6         8                 8 + block length
//!  | block length | template id | schema id  | version | block …         | groups … | var data …
//! ```
//! A decoder steps by the block length that the sender wrote, so fields appended by a newer version are
//! skipped and fields that an older version lacks read as null. A group is `u16 block length, u16 count`
//! and then its entries; var data is `u32 length` and then bytes.

/// Null of an `int64` field.
pub const NULL_I64: i64 = i64::MIN;
/// Null of an `int32` or enum field.
pub const NULL_I32: i32 = i32::MIN;
/// Bytes of a message header.
pub const HEADER_LENGTH: usize = 8;

const GROUP_HEADER_LENGTH: usize = 4;
const VAR_LENGTH_LENGTH: usize = 4;

/// Why a message was not decoded: counted where it happens, put into words elsewhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The message ends before a field, group or string that its header or lengths promise.
    #[error("message is truncated")]
    Truncated,
    /// The schema id is not the one expected on this stream.
    #[error("schema id {0} is not expected here")]
    UnexpectedSchema(u16),
    /// The template id is not the one asked for.
    #[error("template id {0} is not expected here")]
    UnexpectedTemplate(u16),
    /// A string field holds bytes that are not ASCII.
    #[error("string field is not ASCII")]
    NotAscii,
}

/// The header before every message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MessageHeader {
    /// Bytes of the block that follows, as the sender encoded it.
    pub block_length: u16,
    /// Which message of the schema.
    pub template_id: u16,
    /// Which schema.
    pub schema_id: u16,
    /// The schema version that the sender encoded.
    pub version: u16,
}

/// A message split into its block and what follows it. `parse` checked the block's length.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The header.
    pub header: MessageHeader,
    block: &'a [u8],
    tail: &'a [u8],
}

impl<'a> Message<'a> {
    /// Splits `bytes` into header, block and tail.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when the header or the block does not fit in `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_LENGTH>().ok_or(DecodeError::Truncated)?;
        let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let header = MessageHeader {
            block_length: u16_at(0),
            template_id: u16_at(2),
            schema_id: u16_at(4),
            version: u16_at(6),
        };
        let (block, tail) =
            rest.split_at_checked(usize::from(header.block_length)).ok_or(DecodeError::Truncated)?;
        Ok(Self { header, block, tail })
    }

    /// The `int64` at `offset` of the block, [`NULL_I64`] when the sender's block ends before it.
    pub fn i64(&self, offset: usize) -> i64 {
        i64_in(self.block, offset)
    }

    /// The `int32` or enum at `offset` of the block, [`NULL_I32`] when the sender's block ends before it.
    pub fn i32(&self, offset: usize) -> i32 {
        i32_in(self.block, offset)
    }

    /// The `uint8` at `offset` of the block, 255 (null) when the sender's block ends before it.
    pub fn u8(&self, offset: usize) -> u8 {
        self.block.get(offset).copied().unwrap_or(u8::MAX)
    }

    /// What follows the block: an application payload, or groups and var data.
    pub fn tail(&self) -> &'a [u8] {
        self.tail
    }

    /// Reads groups and var data in their declared order.
    pub fn tail_reader(&self) -> TailReader<'a> {
        TailReader { bytes: self.tail }
    }
}

/// Reads the groups and var data behind a block, in order.
#[derive(Clone, Copy, Debug)]
pub struct TailReader<'a> {
    bytes: &'a [u8],
}

impl<'a> TailReader<'a> {
    /// The header of the next group: block length of an entry, and count of entries.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when the bytes end before it.
    pub fn group(&mut self) -> Result<(u16, u16), DecodeError> {
        let header = self.take(GROUP_HEADER_LENGTH)?;
        Ok((u16::from_le_bytes([header[0], header[1]]), u16::from_le_bytes([header[2], header[3]])))
    }

    /// The block of the next group entry.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when the bytes end before it.
    pub fn entry(&mut self, block_length: u16) -> Result<Entry<'a>, DecodeError> {
        Ok(Entry { block: self.take(usize::from(block_length))? })
    }

    /// The next var data field.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when the bytes end before its length or its end.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.take(VAR_LENGTH_LENGTH)?;
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
        self.take(usize::try_from(length).map_err(|_| DecodeError::Truncated)?)
    }

    /// The next var data field, which must be ASCII.
    ///
    /// # Errors
    /// As [`Self::bytes`], and [`DecodeError::NotAscii`].
    pub fn ascii(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.bytes()?;
        if !bytes.is_ascii() {
            return Err(DecodeError::NotAscii);
        }
        std::str::from_utf8(bytes).map_err(|_| DecodeError::NotAscii)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }
}

/// One entry of a group.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    block: &'a [u8],
}

impl Entry<'_> {
    /// The `int64` at `offset`, [`NULL_I64`] when the sender's entry ends before it.
    pub fn i64(&self, offset: usize) -> i64 {
        i64_in(self.block, offset)
    }

    /// The `int32` at `offset`, [`NULL_I32`] when the sender's entry ends before it.
    pub fn i32(&self, offset: usize) -> i32 {
        i32_in(self.block, offset)
    }
}

/// Appends one message to a buffer: the header at once, then fields in their declared order.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Encoder<'a> {
    /// Writes `header` behind what `out` already holds.
    pub fn new(out: &'a mut Vec<u8>, header: MessageHeader) -> Self {
        let MessageHeader { block_length, template_id, schema_id, version } = header;
        for field in [block_length, template_id, schema_id, version] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        Self { out }
    }

    /// Appends an `int64`.
    pub fn i64(self, value: i64) -> Self {
        self.out.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends an `int32` or an enum.
    pub fn i32(self, value: i32) -> Self {
        self.out.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends a group's header.
    pub fn group(self, block_length: u16, count: u16) -> Self {
        self.out.extend_from_slice(&block_length.to_le_bytes());
        self.out.extend_from_slice(&count.to_le_bytes());
        self
    }

    /// Appends a var data field.
    ///
    /// # Panics
    /// When `bytes` is longer than `u32::MAX`, which no caller's input can be.
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let length = u32::try_from(bytes.len()).expect("var data is bounded by its caller");
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.extend_from_slice(bytes);
        self
    }

    /// Appends bytes as they are: an application payload.
    pub fn payload(self, bytes: &[u8]) -> Self {
        self.out.extend_from_slice(bytes);
        self
    }
}

fn i64_in(block: &[u8], offset: usize) -> i64 {
    block
        .get(offset..)
        .and_then(|rest| rest.first_chunk())
        .map_or(NULL_I64, |bytes| i64::from_le_bytes(*bytes))
}

fn i32_in(block: &[u8], offset: usize) -> i32 {
    block
        .get(offset..)
        .and_then(|rest| rest.first_chunk())
        .map_or(NULL_I32, |bytes| i32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_beyond_the_senders_block_reads_as_null() {
        let mut bytes = Vec::new();
        let header = MessageHeader { block_length: 8, template_id: 1, schema_id: 111, version: 1 };
        let _ = Encoder::new(&mut bytes, header).i64(7).bytes(b"abc");
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.i64(0), 7);
        assert_eq!(message.i64(8), NULL_I64);
        assert_eq!(message.i32(6), NULL_I32);
        assert_eq!(message.tail_reader().ascii(), Ok("abc"));
    }

    #[test]
    fn a_length_that_promises_too_much_is_refused() {
        assert_eq!(Message::parse(&[9, 0, 1, 0, 111, 0, 16, 0, 1]).unwrap_err(), DecodeError::Truncated);
        let mut reader = TailReader { bytes: &[255, 255, 255, 255, 1] };
        assert_eq!(reader.bytes(), Err(DecodeError::Truncated));
    }
}
