//! `archive.catalog`: which recordings an archive holds.
//!
//! ```text
//! file header, 32 bytes
//!   0         4              8                   16          20      32
//!  | version | length (32)  | next recording id | alignment | zeros |
//! record, at a multiple of the alignment (64) from offset 32
//!   0                 4       8          12      32                   40               48
//!  | record length-32 | state | checksum | zeros | control session id | correlation id | recording id
//!   56                64               72               80              88                92
//!  | start timestamp | stop timestamp | start position | stop position | initial term id | segment length
//!   96            100   104          108         112
//!  | term length | mtu | session id | stream id | stripped channel … original channel … source identity …
//! ```
//! No SBE headers. The record length includes the zero padding behind the strings. The records end where a
//! length is 0. Recording ids grow in file order and are never used again. Same bytes as Aeron's
//! `io.aeron.archive.Catalog`, version 3.1.0; checksums are not computed (0), as with a Java archive that has
//! no record checksum configured.

use super::segment::{GeometryError, RecordingGeometry};
use super::{FormatError, Image, major, put_ascii, to_u64};

/// The file's name in the archive directory.
pub const FILE_NAME: &str = "archive.catalog";
/// Length of the file when it is created, bytes: zeros behind the header.
pub const CAPACITY_DEFAULT: u64 = 1024 * 1024;
/// Greatest length of the file, bytes.
pub const CAPACITY_MAX: u64 = i32::MAX as u64;
/// Bytes of the file header, where the first record starts.
pub const HEADER_LENGTH: usize = 32;
/// Bytes of a record's header, in front of its descriptor.
pub const RECORD_HEADER_LENGTH: usize = 32;
/// Alignment of records in files that we create, bytes.
pub const ALIGNMENT: i32 = 64;
/// 3.1.0.
pub const VERSION: i32 = super::version(3, 1, 0);
/// `stop_position` of a recording that is being written.
pub const NULL_POSITION: i64 = -1;
/// `stop_timestamp` of a recording that is being written.
pub const NULL_TIMESTAMP: i64 = -1;

/// Where the next recording id lies in the file.
pub const NEXT_RECORDING_ID_OFFSET: u64 = 8;

/// Where fields lie that are updated in place, from the start of a record.
pub mod field {
    /// `i32`, see [`super::RecordState`].
    pub const STATE: u64 = 4;
    /// `i64`.
    pub const CONTROL_SESSION_ID: u64 = 32;
    /// `i64`.
    pub const CORRELATION_ID: u64 = 40;
    /// `i64`, epoch milliseconds.
    pub const STOP_TIMESTAMP: u64 = 64;
    /// `i64`.
    pub const START_POSITION: u64 = 72;
    /// `i64`.
    pub const STOP_POSITION: u64 = 80;
    /// `i32`.
    pub const SESSION_ID: u64 = 104;
}

/// The first 32 bytes of the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Packed version; the major part must be 3.
    pub version: i32,
    /// Id of the next recording, as far as the header knows; see [`Catalog::next_recording_id`].
    pub next_recording_id: i64,
    /// Records start at multiples of this behind the header, bytes.
    pub alignment: i32,
}

/// Whether a record counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecordState {
    /// Not usable: incomplete, or marked so by a tool.
    Invalid = 0,
    /// In use.
    Valid = 1,
    /// Purged.
    Deleted = 2,
}

/// What a record says of its recording.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Descriptor {
    /// Control session that extended the recording last, 0 if none did.
    pub control_session_id: i64,
    /// Correlation id of that request, 0 if none.
    pub correlation_id: i64,
    /// Unique in the archive, 0 and up.
    pub recording_id: i64,
    /// Epoch milliseconds.
    pub start_timestamp: i64,
    /// Epoch milliseconds, [`NULL_TIMESTAMP`] while active.
    pub stop_timestamp: i64,
    /// First position that is recorded.
    pub start_position: i64,
    /// Position behind the last frame, [`NULL_POSITION`] while active.
    pub stop_position: i64,
    /// Term id of the stream at position 0.
    pub initial_term_id: i32,
    /// Bytes of each segment file.
    pub segment_file_length: i32,
    /// Bytes of a term.
    pub term_buffer_length: i32,
    /// Longest datagram of the stream, bytes.
    pub mtu_length: i32,
    /// Session of the recorded image; the last one where the recording was extended.
    pub session_id: i32,
    /// Stream of the recorded image.
    pub stream_id: i32,
    /// Channel with only what identifies it.
    pub stripped_channel: String,
    /// Channel as it was asked for.
    pub original_channel: String,
    /// `host:port` of the sender, or `aeron:ipc`.
    pub source_identity: String,
}

/// One record and its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Where it starts in the file, bytes.
    pub offset: u64,
    /// Bytes it takes, with header and padding.
    pub length: u64,
    /// Whether it counts.
    pub state: RecordState,
    /// Checksum of the descriptor, 0 if none is computed.
    pub checksum: i32,
    /// What it says.
    pub descriptor: Descriptor,
}

/// A whole catalog.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Catalog {
    /// The file header.
    pub header: Header,
    /// All records in file order, whatever their state.
    pub records: Vec<Record>,
    /// Where the next record goes, bytes.
    pub end: u64,
}

impl Catalog {
    /// Reads the image of a whole file, as far as its records go.
    ///
    /// # Errors
    /// When the version is not 3.x, a record reaches beyond the file, or a field cannot hold what it holds.
    /// Files of before 1.30 (alignment 0) are refused: `ArchiveTool migrate` brings them up to date.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let image = Image { bytes };
        let header = Header::parse(image)?;
        // `Header::parse` has checked that it is a positive power of two.
        let alignment = usize::try_from(header.alignment).unwrap_or(HEADER_LENGTH);
        let mut records: Vec<Record> = Vec::new();
        let mut offset = HEADER_LENGTH;
        while offset < bytes.len() {
            let Some(frame) = RecordFrame::parse(image, offset, alignment)? else { break };
            let least = records.last().map_or(0, |last| last.descriptor.recording_id.saturating_add(1));
            match frame.record(image, least) {
                Ok(record) => records.push(record),
                // A power cut left the header of a record that nobody was told of, without its descriptor; or it was
                // given up since.
                Err(_) if frame.state != RecordState::Valid => {}
                Err(error) => return Err(error),
            }
            offset += frame.length;
        }
        Ok(Self { header, records, end: to_u64(offset) })
    }

    /// The id that the next recording gets: the header's, or the one behind the last record's where that is higher. A
    /// power cut may leave a header that is older than the records.
    pub fn next_recording_id(&self) -> i64 {
        let behind_last =
            self.records.last().map_or(0, |last| last.descriptor.recording_id.saturating_add(1));
        self.header.next_recording_id.max(behind_last)
    }

    /// The record of a recording that is in use.
    pub fn find(&self, recording_id: i64) -> Option<&Record> {
        let at = self.records.binary_search_by_key(&recording_id, |r| r.descriptor.recording_id).ok()?;
        self.records.get(at).filter(|record| record.state == RecordState::Valid)
    }
}

impl Header {
    /// The header of a file that we create.
    pub fn new(next_recording_id: i64) -> Self {
        Self { version: VERSION, next_recording_id, alignment: ALIGNMENT }
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_LENGTH] {
        let mut out = [0; HEADER_LENGTH];
        out[..4].copy_from_slice(&self.version.to_le_bytes());
        out[4..8].copy_from_slice(&LENGTH_OF_HEADER.to_le_bytes());
        out[8..16].copy_from_slice(&self.next_recording_id.to_le_bytes());
        out[16..20].copy_from_slice(&self.alignment.to_le_bytes());
        out
    }

    fn parse(image: Image<'_>) -> Result<Self, FormatError> {
        image.take(0, HEADER_LENGTH, "catalog header")?;
        let version = image.i32(0, "version")?;
        if major(version) != major(VERSION) {
            let found = format_args!("{version:#x}");
            return Err(FormatError::unexpected(0, "version", "major version 3 (0x3xxxx)", found));
        }
        let alignment = image.i32(16, "alignment")?;
        if !(32..=4096).contains(&alignment) || alignment.count_ones() != 1 {
            let expected = "a power of two from 32 to 4096";
            return Err(FormatError::unexpected(16, "alignment", expected, alignment));
        }
        let next_recording_id = image.i64(8, "next recording id")?;
        if next_recording_id < 0 {
            return Err(FormatError::unexpected(8, "next recording id", "0 or more", next_recording_id));
        }
        Ok(Self { version, next_recording_id, alignment })
    }
}

/// Bytes that a descriptor of `length` bytes takes in a catalog of ours, its padding included.
pub fn padded_descriptor_length(length: usize) -> usize {
    (RECORD_HEADER_LENGTH + length).next_multiple_of(ALIGNMENT as usize) - RECORD_HEADER_LENGTH
}

impl Descriptor {
    /// The bytes of a record that holds this, header included, padded to `alignment` bytes.
    ///
    /// # Errors
    /// When a string is not ASCII, or the record would be longer than any catalog.
    pub fn encode_record(&self, state: RecordState, alignment: i32) -> Result<Vec<u8>, FormatError> {
        let mut out = vec![0; RECORD_HEADER_LENGTH];
        for value in [
            self.control_session_id,
            self.correlation_id,
            self.recording_id,
            self.start_timestamp,
            self.stop_timestamp,
            self.start_position,
            self.stop_position,
        ] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        for value in [
            self.initial_term_id,
            self.segment_file_length,
            self.term_buffer_length,
            self.mtu_length,
            self.session_id,
            self.stream_id,
        ] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        put_ascii(&mut out, &self.stripped_channel, "stripped channel")?;
        put_ascii(&mut out, &self.original_channel, "original channel")?;
        put_ascii(&mut out, &self.source_identity, "source identity")?;
        out.resize(out.len().next_multiple_of(usize::try_from(alignment).unwrap_or(1).max(1)), 0);
        let length = i32::try_from(out.len() - RECORD_HEADER_LENGTH)
            .map_err(|_| FormatError::unexpected(0, "record length", "less than 2 GiB", out.len()))?;
        out[..4].copy_from_slice(&length.to_le_bytes());
        out[4..8].copy_from_slice(&(state as i32).to_le_bytes());
        Ok(out)
    }

    /// The recording's shape.
    ///
    /// # Errors
    /// [`GeometryError`] when a field holds what no archive writes.
    pub fn geometry(&self) -> Result<RecordingGeometry, GeometryError> {
        RecordingGeometry::new(
            self.recording_id,
            self.start_position,
            self.term_buffer_length,
            self.segment_file_length,
            self.initial_term_id,
            self.stream_id,
        )
    }

    /// Whether the recording is being written: it has no stop position.
    pub fn is_active(&self) -> bool {
        self.stop_position == NULL_POSITION
    }
}

const LENGTH_OF_HEADER: i32 = 32;
const STRINGS_OFFSET: usize = 112;
const _: () = assert!(RECORD_HEADER_LENGTH + 7 * 8 + 6 * 4 == STRINGS_OFFSET);

/// Where a record lies and whether it counts: what its own header says.
struct RecordFrame {
    offset: usize,
    /// With header and padding.
    length: usize,
    state: RecordState,
    checksum: i32,
}

impl RecordFrame {
    /// The record at `offset`, `None` where the records end.
    fn parse(image: Image<'_>, offset: usize, alignment: usize) -> Result<Option<Self>, FormatError> {
        let rest = image.bytes.get(offset..).unwrap_or_default();
        if rest.len() < RECORD_HEADER_LENGTH && rest.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let raw_length = image.i32(offset, "record length")?;
        if raw_length == 0 {
            return Ok(None);
        }
        let length = usize::try_from(raw_length)
            .map_err(|_| FormatError::unexpected(offset, "record length", "0 or more", raw_length))?;
        let length = length.saturating_add(RECORD_HEADER_LENGTH).next_multiple_of(alignment);
        let record = Image { bytes: &image.bytes[..offset + image.take(offset, length, "record")?.len()] };
        let state = match record.i32(offset + 4, "descriptor")? {
            0 => RecordState::Invalid,
            1 => RecordState::Valid,
            2 => RecordState::Deleted,
            found => return Err(FormatError::unexpected(offset + 4, "record state", "0, 1 or 2", found)),
        };
        let checksum = record.i32(offset + 8, "descriptor")?;
        record.take(offset, STRINGS_OFFSET, "descriptor")?;
        Ok(Some(Self { offset, length, state, checksum }))
    }

    /// The whole record; its id is at least `id_least`.
    fn record(&self, image: Image<'_>, id_least: i64) -> Result<Record, FormatError> {
        let Self { offset, length, state, checksum } = *self;
        // `parse` has checked that the record lies within the file.
        let record = Image { bytes: image.bytes.get(..offset + length).unwrap_or_default() };
        let i64_at = |at: usize| record.i64(offset + at, "descriptor");
        let i32_at = |at: usize| record.i32(offset + at, "descriptor");
        let (stripped_channel, next) = record.ascii(offset + STRINGS_OFFSET, "stripped channel")?;
        let (original_channel, next) = record.ascii(next, "original channel")?;
        let (source_identity, _) = record.ascii(next, "source identity")?;
        let recording_id = i64_at(48)?;
        if recording_id < id_least {
            let expected = format_args!("{id_least} or more");
            return Err(FormatError::unexpected(offset + 48, "recording id", expected, recording_id));
        }
        let descriptor = Descriptor {
            control_session_id: i64_at(32)?,
            correlation_id: i64_at(40)?,
            recording_id,
            start_timestamp: i64_at(56)?,
            stop_timestamp: i64_at(64)?,
            start_position: i64_at(72)?,
            stop_position: i64_at(80)?,
            initial_term_id: i32_at(88)?,
            segment_file_length: i32_at(92)?,
            term_buffer_length: i32_at(96)?,
            mtu_length: i32_at(100)?,
            session_id: i32_at(104)?,
            stream_id: i32_at(108)?,
            stripped_channel,
            original_channel,
            source_identity,
        };
        Ok(Record { offset: to_u64(offset), length: to_u64(length), state, checksum, descriptor })
    }
}

#[cfg(test)]
mod tests;
