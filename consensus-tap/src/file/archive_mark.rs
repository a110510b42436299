//! `archive-mark.dat`: who runs in an archive directory, and its error log.
//!
//! ```text
//!   0            8         12    16                   24                32    40               44
//!  | SBE header | version | pad | activity timestamp | start timestamp | pid | control stream | local …
//!   48              52              56                    60    64           72        136
//!  | events stream | header length | error buffer length | pad | archive id | unused | four strings …
//! ```
//! Zeros follow up to 8192, then the error log (`super::error_log`). Version and activity timestamp as in
//! `super::cluster_mark`. Same bytes as Aeron's `ArchiveMarkFile`, mark schema 100 version 2.

pub use super::cluster_mark::{
    ACTIVATION_IN_PROGRESS, ACTIVITY_TIMESTAMP_OFFSET, ERROR_BUFFER_LENGTH, FILE_LENGTH, HEADER_LENGTH,
    TERMINATED, VERSION_OFFSET,
};
use super::cluster_mark::{STRINGS_OFFSET, check_sbe_header, fill_header, put_sbe_header};
use super::{FormatError, Image, put_ascii};

/// The file's name in the archive directory.
pub const FILE_NAME: &str = "archive-mark.dat";
/// 3.1.0, stored last: the file is ready.
pub const VERSION: i32 = super::version(3, 1, 0);

/// The header of the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ArchiveMark {
    /// [`VERSION`] when ready, 0 before.
    pub version: i32,
    /// Epoch milliseconds of the last sign of life, [`TERMINATED`], or [`ACTIVATION_IN_PROGRESS`].
    pub activity_timestamp: i64,
    /// Epoch milliseconds.
    pub start_timestamp: i64,
    /// Process id, as that process sees it.
    pub pid: i64,
    /// Stream of control requests over the network.
    pub control_stream_id: i32,
    /// Stream of control requests over IPC.
    pub local_control_stream_id: i32,
    /// Stream of recording events.
    pub events_stream_id: i32,
    /// Bytes in front of the error log.
    pub header_length: i32,
    /// Bytes of the error log.
    pub error_buffer_length: i32,
    /// Distinguishes archives; -1 if none.
    pub archive_id: i64,
    /// Channel of control requests over the network.
    pub control_channel: String,
    /// Channel of control requests over IPC.
    pub local_control_channel: String,
    /// Channel of recording events.
    pub events_channel: String,
    /// Directory that holds the archive's cnc.dat.
    pub aeron_directory: String,
}

impl Default for ArchiveMark {
    /// An archive that is not ready yet, on Aeron's default streams.
    fn default() -> Self {
        Self {
            version: 0,
            activity_timestamp: 0,
            start_timestamp: 0,
            pid: 0,
            control_stream_id: 10,
            local_control_stream_id: 10,
            events_stream_id: 30,
            header_length: 8192,
            error_buffer_length: 1024 * 1024,
            archive_id: -1,
            control_channel: String::new(),
            local_control_channel: String::new(),
            events_channel: String::new(),
            aeron_directory: String::new(),
        }
    }
}

impl ArchiveMark {
    /// Reads the header of a file; the error log may be left out of `bytes`.
    ///
    /// # Errors
    /// When it is cut short, has another schema or major version, or a string reaches out of the header.
    /// Files of before 1.44 (without SBE header) are refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let image = Image { bytes: bytes.get(..HEADER_LENGTH).unwrap_or(bytes) };
        check_sbe_header(image, SCHEMA_ID)?;
        let i64_at = |at: usize| image.i64(at, "mark file header");
        let i32_at = |at: usize| image.i32(at, "mark file header");
        image.take(0, STRINGS_OFFSET, "mark file header")?;
        let version = i32_at(8)?;
        if version != 0 && super::major(version) != super::major(VERSION) {
            let found = format_args!("{version:#x}");
            return Err(FormatError::unexpected(8, "version", "major version 3 (0x3xxxx), or 0", found));
        }
        let (control_channel, next) = image.ascii(STRINGS_OFFSET, "control channel")?;
        let (local_control_channel, next) = image.ascii(next, "local control channel")?;
        let (events_channel, next) = image.ascii(next, "events channel")?;
        let (aeron_directory, _) = image.ascii(next, "aeron directory")?;
        Ok(Self {
            version,
            activity_timestamp: i64_at(16)?,
            start_timestamp: i64_at(24)?,
            pid: i64_at(32)?,
            control_stream_id: i32_at(40)?,
            local_control_stream_id: i32_at(44)?,
            events_stream_id: i32_at(48)?,
            header_length: i32_at(52)?,
            error_buffer_length: i32_at(56)?,
            archive_id: i64_at(64)?,
            control_channel,
            local_control_channel,
            events_channel,
            aeron_directory,
        })
    }

    /// The header's [`HEADER_LENGTH`] bytes.
    ///
    /// # Errors
    /// When a string is not ASCII or all together do not fit.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let mut out = Vec::with_capacity(HEADER_LENGTH);
        put_sbe_header(&mut out, SCHEMA_ID);
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        for value in [self.activity_timestamp, self.start_timestamp, self.pid] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        for value in [
            self.control_stream_id,
            self.local_control_stream_id,
            self.events_stream_id,
            self.header_length,
            self.error_buffer_length,
            0,
        ] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.extend_from_slice(&self.archive_id.to_le_bytes());
        out.resize(STRINGS_OFFSET, 0);
        put_ascii(&mut out, &self.control_channel, "control channel")?;
        put_ascii(&mut out, &self.local_control_channel, "local control channel")?;
        put_ascii(&mut out, &self.events_channel, "events channel")?;
        put_ascii(&mut out, &self.aeron_directory, "aeron directory")?;
        fill_header(out)
    }
}

const SCHEMA_ID: u16 = 100;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark() -> ArchiveMark {
        ArchiveMark {
            version: VERSION,
            pid: 4711,
            archive_id: 77,
            control_channel: "aeron:udp?endpoint=localhost:8010".into(),
            aeron_directory: "/dev/shm/a".into(),
            ..ArchiveMark::default()
        }
    }

    #[test]
    fn the_fixed_part_lies_where_java_reads_it() {
        let bytes = mark().encode().unwrap();
        assert_eq!(bytes[..8], [0x80, 0, 0xc8, 0, 100, 0, 2, 0]);
        assert_eq!(bytes[8..12], 196_864_i32.to_le_bytes());
        assert_eq!(bytes[32..40], 4711_i64.to_le_bytes());
        assert_eq!(bytes[52..56], 8192_i32.to_le_bytes());
        assert_eq!(bytes[64..72], 77_i64.to_le_bytes());
        assert_eq!(bytes[136..140], 33_i32.to_le_bytes());
    }

    #[test]
    fn a_header_is_read_back_and_one_of_another_version_is_refused() {
        let mut bytes = mark().encode().unwrap();
        assert_eq!(ArchiveMark::parse(&bytes), Ok(mark()));
        bytes[10] = 2;
        assert_eq!(ArchiveMark::parse(&bytes).unwrap_err().offset(), 8);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            tail in prop::collection::vec(any::<u8>(), 0..400),
            cut in 0_usize..8192,
        ) {
            let _ = ArchiveMark::parse(&tail);
            let mut bytes = mark().encode().unwrap();
            bytes.truncate(cut);
            bytes.extend_from_slice(&tail);
            let _ = ArchiveMark::parse(&bytes);
        }
    }
}
