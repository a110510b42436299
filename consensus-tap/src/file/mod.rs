//! Files of Aeron, its archive and its cluster: bytes in, values out.
//!
//! Nothing here opens a file. A parser takes an image of the whole file (or of the part named in its docs);
//! a change comes back as [`Edit`]s, in the order in which they must reach the file. All integers are
//! little endian. Every parser is total: a file that is not what it should be gives a [`FormatError`] that
//! names the file offset, what was expected there and what was found.

pub mod activation;
pub mod archive_mark;
pub mod catalog;
pub mod cluster_mark;
pub mod cnc;
pub mod error_log;
pub mod node_state;
pub mod recording_log;
pub mod retention;
pub mod segment;

/// Bytes to be stored at an offset. A list of edits is stored in order: a later one publishes the earlier.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Edit {
    /// Where the bytes go, from the start of the file or region.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What is wrong in a file. Whoever knows the path adds it, and the next step.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FormatError {
    /// The file ends before what its own lengths promise.
    #[error("at offset {offset}: {what} is cut short: expected {expected} bytes, found {found}")]
    Truncated {
        /// Where the incomplete thing begins.
        offset: u64,
        /// What is incomplete.
        what: &'static str,
        /// Bytes it needs.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// From here to the end of the file there are only zeros: space that was allocated, but never written.
    #[error("at offset {offset}: expected {what}, found only zeros to the end of the file")]
    Unwritten {
        /// Where the zeros begin.
        offset: u64,
        /// What should be there.
        what: &'static str,
    },
    /// A field holds what it cannot hold.
    #[error("at offset {offset}: {what}: expected {expected}, found {found}")]
    Unexpected {
        /// Where the field lies.
        offset: u64,
        /// Which field.
        what: &'static str,
        /// What it may hold.
        expected: String,
        /// What it holds.
        found: String,
    },
}

impl FormatError {
    /// The file offset of the fault.
    pub fn offset(&self) -> u64 {
        match self {
            Self::Truncated { offset, .. }
            | Self::Unwritten { offset, .. }
            | Self::Unexpected { offset, .. } => *offset,
        }
    }

    fn unexpected(offset: usize, what: &'static str, expected: impl ToString, found: impl ToString) -> Self {
        let (expected, found) = (expected.to_string(), found.to_string());
        Self::Unexpected { offset: to_u64(offset), what, expected, found }
    }
}

/// Reads fields of a file image; every read is checked and a failed one names its offset.
#[derive(Clone, Copy, Debug)]
struct Image<'a> {
    bytes: &'a [u8],
}

impl<'a> Image<'a> {
    fn take(self, offset: usize, length: usize, what: &'static str) -> Result<&'a [u8], FormatError> {
        let rest = self.bytes.get(offset..).unwrap_or_default();
        rest.get(..length).ok_or(FormatError::Truncated {
            offset: to_u64(offset),
            what,
            expected: to_u64(length),
            found: to_u64(rest.len()),
        })
    }

    fn u16(self, offset: usize, what: &'static str) -> Result<u16, FormatError> {
        self.take(offset, 2, what).map(|b| u16::from_le_bytes([b[0], b[1]]))
    }

    fn i32(self, offset: usize, what: &'static str) -> Result<i32, FormatError> {
        self.take(offset, 4, what).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn i64(self, offset: usize, what: &'static str) -> Result<i64, FormatError> {
        self.take(offset, 8, what)
            .map(|b| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
    }

    /// An ASCII string behind its `u32` length, and the offset behind it.
    fn ascii(self, offset: usize, what: &'static str) -> Result<(String, usize), FormatError> {
        let length = self.i32(offset, what)?;
        let length = usize::try_from(length)
            .map_err(|_| FormatError::unexpected(offset, what, "a length of 0 or more", length))?;
        let start = offset.saturating_add(4);
        let text = self.take(start, length, what)?;
        match text.iter().position(|byte| !byte.is_ascii()) {
            None => Ok((String::from_utf8_lossy(text).into_owned(), start + length)),
            Some(at) => {
                Err(FormatError::unexpected(start + at, what, "ASCII", format_args!("{:#04x}", text[at])))
            }
        }
    }
}

/// Appends an ASCII string behind its `u32` length.
fn put_ascii(out: &mut Vec<u8>, text: &str, what: &'static str) -> Result<(), FormatError> {
    let length = i32::try_from(text.len()).ok().filter(|_| text.is_ascii());
    let length = length.ok_or_else(|| FormatError::unexpected(out.len(), what, "ASCII", text))?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// The major part of a version as Agrona packs it: `major << 16 | minor << 8 | patch`.
const fn major(version: i32) -> u8 {
    version.to_le_bytes()[2]
}

const fn version(major: u8, minor: u8, patch: u8) -> i32 {
    i32::from_le_bytes([patch, minor, major, 0])
}

fn to_u64(value: usize) -> u64 {
    u64::try_from(value).expect("a usize fits in 64 bits on every target")
}
