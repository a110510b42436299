//! Segment files of a recording: their names, the positions they hold, and where their data ends.
//!
//! A recording is a run of files `<recording id>-<base position>.rec`, each exactly `segment_length` long. The
//! byte at offset `o` of a file is the stream's byte at `base position + o`; frames lie in it as on the wire:
//!
//! ```text
//!  base                                 start position                                    base + segment length
//!  | zero (first file only)             | frame | frame | PAD header, rest zero | frame | … | zero until written |
//! ```
//! Base positions count from the term that holds the start position, not from 0, as
//! `AeronArchive.segmentFileBasePosition` does. The data ends at the first frame length that is not positive
//! (`Catalog.recoverStopOffset`); nothing else in the file tells its end.

/// Bytes of a frame's header.
pub const FRAME_HEADER_LENGTH: usize = 32;
/// Every frame begins at a multiple of this many bytes.
pub const FRAME_ALIGNMENT: i32 = 32;
/// Page length that the straddling rule of the archive assumes, whatever the host's is.
pub const STRADDLE_PAGE_LENGTH: usize = 4096;
/// Name ending of a segment file.
pub const SEGMENT_SUFFIX: &str = ".rec";
/// Name ending of a segment file that was prepared ahead and is not part of its recording yet.
pub const PREPARED_SUFFIX: &str = ".rec.next";

const TERM_LENGTH_MIN: i32 = 64 * 1024;
const TERM_LENGTH_MAX: i32 = 1 << 30;
const TYPE_PAD: u16 = 0;
const TYPE_DATA: u16 = 1;

const LENGTH_OFFSET: usize = 0;
const TYPE_OFFSET: usize = 6;
const TERM_OFFSET_OFFSET: usize = 8;
const STREAM_ID_OFFSET: usize = 16;
const TERM_ID_OFFSET: usize = 20;

/// The shape of a recording, as its catalog entry holds it: what maps positions to files and terms.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RecordingGeometry {
    recording_id: i64,
    start_position: i64,
    term_length: i32,
    segment_length: i32,
    initial_term_id: i32,
    stream_id: i32,
}

/// Why a catalog entry describes no possible recording.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum GeometryError {
    /// Recording ids count from 0.
    #[error("recording id {0} is negative")]
    RecordingId(i64),
    /// The start position is negative or not a multiple of 32.
    #[error("start position {0} is not a positive multiple of 32")]
    StartPosition(i64),
    /// The term length is no power of two from 64 KiB to 1 GiB.
    #[error("term length {0} is not a power of two from 64 KiB to 1 GiB")]
    TermLength(i32),
    /// The segment length is no power of two from the term length to 1 GiB.
    #[error("segment length {0} is not a power of two from the term length to 1 GiB")]
    SegmentLength(i32),
}

impl RecordingGeometry {
    /// Checks and keeps the fields of a catalog entry. Lengths are bytes.
    ///
    /// # Errors
    /// [`GeometryError`] when a field has a value that no archive writes.
    pub fn new(
        recording_id: i64,
        start_position: i64,
        term_length: i32,
        segment_length: i32,
        initial_term_id: i32,
        stream_id: i32,
    ) -> Result<Self, GeometryError> {
        if recording_id < 0 {
            return Err(GeometryError::RecordingId(recording_id));
        }
        let lengths = TERM_LENGTH_MIN..=TERM_LENGTH_MAX;
        if !lengths.contains(&term_length) || term_length & (term_length - 1) != 0 {
            return Err(GeometryError::TermLength(term_length));
        }
        if !(term_length..=TERM_LENGTH_MAX).contains(&segment_length)
            || segment_length & (segment_length - 1) != 0
        {
            return Err(GeometryError::SegmentLength(segment_length));
        }
        // Term ids count 2^31 terms before they meet the initial one again.
        let position_max = i64::from(term_length) << 31;
        if !(0..position_max).contains(&start_position) || start_position % i64::from(FRAME_ALIGNMENT) != 0 {
            return Err(GeometryError::StartPosition(start_position));
        }
        Ok(Self { recording_id, start_position, term_length, segment_length, initial_term_id, stream_id })
    }

    /// The same recording, once all below `position` is purged: a segment's base, at or above the start.
    ///
    /// # Panics
    /// When a purge cannot end at `position`.
    pub fn purged_below(mut self, position: i64) -> Self {
        assert!(position >= self.start_position, "{position} lies before the recording");
        assert!(
            position == self.segment_base(position) || position == self.start_position,
            "cut in a segment"
        );
        self.start_position = position;
        self
    }

    /// Which recording of the archive.
    pub fn recording_id(&self) -> i64 {
        self.recording_id
    }

    /// Position of the first recorded byte.
    pub fn start_position(&self) -> i64 {
        self.start_position
    }

    /// Bytes of a term.
    pub fn term_length(&self) -> i32 {
        self.term_length
    }

    /// Bytes of a segment file, a multiple of the term length.
    pub fn segment_length(&self) -> i32 {
        self.segment_length
    }

    /// Term id of position 0 of the stream.
    pub fn initial_term_id(&self) -> i32 {
        self.initial_term_id
    }

    /// Stream id in every recorded frame.
    pub fn stream_id(&self) -> i32 {
        self.stream_id
    }

    /// Base position of the first segment: the beginning of the term that holds the start position.
    pub fn first_segment_base(&self) -> i64 {
        self.term_base(self.start_position)
    }

    /// Base position of the segment that holds the byte at `position`, which lies at or above the start.
    pub fn segment_base(&self, position: i64) -> i64 {
        let first = self.first_segment_base();
        position - (position - first) % i64::from(self.segment_length)
    }

    /// Offset of the byte at `position` within its segment.
    pub fn segment_offset(&self, position: i64) -> usize {
        usize::try_from(position - self.segment_base(position)).unwrap_or_default()
    }

    /// Position behind the last byte of the segment that holds `position`.
    pub fn segment_end(&self, position: i64) -> i64 {
        self.segment_base(position) + i64::from(self.segment_length)
    }

    /// Position of the first byte of the term that holds `position`. A frame always starts there.
    pub fn term_base(&self, position: i64) -> i64 {
        position - i64::from(self.term_offset(position))
    }

    /// Position behind the last byte of the term that holds `position`.
    pub fn term_end(&self, position: i64) -> i64 {
        self.term_base(position) + i64::from(self.term_length)
    }

    /// Offset of `position` within its term.
    pub fn term_offset(&self, position: i64) -> i32 {
        // The mask is below 2^30, so the value fits.
        (position & i64::from(self.term_length - 1)) as i32
    }

    /// Id of the term that holds `position`. Term ids wrap.
    pub fn term_id(&self, position: i64) -> i32 {
        self.initial_term_id.wrapping_add((position >> self.term_length.trailing_zeros()) as i32)
    }

    /// Offset within the segment at `base_position` from which frames can be read: behind the zeros before the
    /// start position in the first segment, else 0.
    pub fn first_frame_offset(&self, base_position: i64) -> usize {
        usize::try_from(self.start_position - base_position).unwrap_or_default()
    }

    /// File name of the segment at `base_position`.
    pub fn segment_name(&self, base_position: i64) -> String {
        SegmentName { recording_id: self.recording_id, base_position }.to_string()
    }

    /// File name of the segment at `base_position` while it is prepared ahead.
    pub fn prepared_name(&self, base_position: i64) -> String {
        format!("{}-{base_position}{PREPARED_SUFFIX}", self.recording_id)
    }
}

/// The name of a segment file.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct SegmentName {
    /// Which recording.
    pub recording_id: i64,
    /// Position of the file's first byte.
    pub base_position: i64,
}

impl SegmentName {
    /// Reads a file name; `None` for any other file of the archive's directory.
    pub fn parse(name: &str) -> Option<Self> {
        let (recording_id, base_position) = name.strip_suffix(SEGMENT_SUFFIX)?.split_once('-')?;
        let parsed =
            Self { recording_id: recording_id.parse().ok()?, base_position: base_position.parse().ok()? };
        // The archive prints plain decimals: a sign or a leading zero is somebody else's file.
        (parsed.recording_id >= 0 && parsed.base_position >= 0 && parsed.to_string() == name)
            .then_some(parsed)
    }
}

impl std::fmt::Display for SegmentName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}{SEGMENT_SUFFIX}", self.recording_id, self.base_position)
    }
}

/// The header of a recorded frame, as far as a recording depends on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FrameHeader {
    /// Bytes of header and payload, at least 32.
    pub length: i32,
    /// Whether it is padding: on the wire and on disk only its header has bytes.
    pub is_padding: bool,
    /// Offset within its term.
    pub term_offset: i32,
    /// Stream id.
    pub stream_id: i32,
    /// Term id.
    pub term_id: i32,
}

impl FrameHeader {
    /// Reads the frame that begins at the first byte of `bytes`. `None` when fewer than 32 bytes are left, the
    /// length is below 32 or so large that its alignment wraps, or the type is neither DATA nor PAD.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<FRAME_HEADER_LENGTH>()?;
        let length = i32_at(header, LENGTH_OFFSET);
        let kind = u16::from_le_bytes([header[TYPE_OFFSET], header[TYPE_OFFSET + 1]]);
        let in_range = (FRAME_HEADER_LENGTH as i32..=TERM_LENGTH_MAX).contains(&length);
        (in_range && matches!(kind, TYPE_PAD | TYPE_DATA)).then(|| Self {
            length,
            is_padding: kind == TYPE_PAD,
            term_offset: i32_at(header, TERM_OFFSET_OFFSET),
            stream_id: i32_at(header, STREAM_ID_OFFSET),
            term_id: i32_at(header, TERM_ID_OFFSET),
        })
    }

    /// Bytes of the stream that the frame occupies.
    pub fn aligned_length(&self) -> i32 {
        // At most 1 GiB (`parse`), so this does not wrap.
        (self.length + (FRAME_ALIGNMENT - 1)) & !(FRAME_ALIGNMENT - 1)
    }

    /// Whether the frame belongs at `position` of the recording and ends within its term.
    pub fn fits(&self, geometry: &RecordingGeometry, position: i64) -> bool {
        self.term_offset == geometry.term_offset(position)
            && self.term_id == geometry.term_id(position)
            && position + i64::from(self.aligned_length()) <= geometry.term_end(position)
    }
}

/// What a scan found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scan {
    /// Offset behind the last whole frame.
    pub stop_offset: usize,
    /// Offset of the last whole frame, `None` when there is none.
    pub last_frame_offset: Option<usize>,
    /// What lies at `stop_offset`.
    pub end: ScanEnd,
}

/// Why a scan ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ScanEnd {
    /// The segment is full.
    Full,
    /// A frame length of zero or less: the ordinary end of the data.
    Unwritten,
    /// Something that is no frame of this recording at this position: the file was damaged, or holds stale
    /// bytes of another use. An archive would read on, or take it for data.
    Damaged,
}

/// Walks the frames of a segment from `from_offset` until a frame length is not positive, the file ends, or a
/// frame is not the one that belongs there; calls `on_frame` with every frame's offset.
///
/// `segment` is the whole file, its first byte at `base_position`. A frame may be longer than what `segment`
/// holds of it only if it is damaged.
pub fn scan(
    geometry: &RecordingGeometry,
    base_position: i64,
    segment: &[u8],
    from_offset: usize,
    mut on_frame: impl FnMut(usize),
) -> Scan {
    let mut offset = from_offset;
    let mut last_frame_offset = None;
    let end = loop {
        let Some(rest) = segment.get(offset..).filter(|rest| !rest.is_empty()) else {
            break ScanEnd::Full;
        };
        let Some(length) = rest.first_chunk().map(|bytes| i32::from_le_bytes(*bytes)) else {
            break ScanEnd::Damaged;
        };
        if length <= 0 {
            break ScanEnd::Unwritten;
        }
        let position = base_position.saturating_add(offset as i64);
        let Some(frame) = FrameHeader::parse(rest).filter(|frame| frame.fits(geometry, position)) else {
            break ScanEnd::Damaged;
        };
        let occupied = frame.aligned_length() as usize;
        if occupied > rest.len() {
            break ScanEnd::Damaged;
        }
        on_frame(offset);
        last_frame_offset = Some(offset);
        offset += occupied;
    };
    Scan { stop_offset: offset, last_frame_offset, end }
}

/// Whether an archive that recovers this segment would refuse to start over its last frame: one that crosses a
/// page boundary and covers a later page (or its part of one) that is all zero may have been torn by a power cut
/// (`Catalog.recoverStopOffset`). A frame whose payload simply is that many zeros looks the same, and so does a
/// long padding frame.
pub fn last_frame_may_be_torn(segment: &[u8], scan: &Scan) -> bool {
    let Some(frame) = scan.last_frame_offset.and_then(|offset| segment.get(offset..scan.stop_offset)) else {
        return false;
    };
    let first_page_rest = STRADDLE_PAGE_LENGTH - scan.last_frame_offset.unwrap_or(0) % STRADDLE_PAGE_LENGTH;
    let Some(later_pages) = frame.get(first_page_rest..) else {
        return false;
    };
    later_pages.chunks(STRADDLE_PAGE_LENGTH).any(|page| page.iter().all(|byte| *byte == 0))
}

/// Whether a power cut may have kept a part of this frame from the disk, which then reads as zeros up to the end
/// of a page: a page that never came there, or came only as far as it had been filled. `frame` is the whole frame
/// as it lies in its file at `offset`. Where nobody can vouch for the frame, a payload of its own that ends a page
/// with that many zeros must count as torn too. Padding has no bytes to lose.
pub fn frame_may_be_torn(frame: &[u8], offset: usize) -> bool {
    let Some(header) = FrameHeader::parse(frame).filter(|header| !header.is_padding) else { return false };
    // Behind its length lies alignment, which is zero.
    let frame = &frame[..frame.len().min(header.length as usize)];
    let first_page_rest = STRADDLE_PAGE_LENGTH - offset % STRADDLE_PAGE_LENGTH;
    let Some(later_pages) = frame.get(first_page_rest..).filter(|pages| !pages.is_empty()) else {
        return false;
    };
    let first_page = frame.get(FRAME_HEADER_LENGTH..first_page_rest).unwrap_or_default();
    let ends_in_zeros = |part: &[u8]| {
        let end = &part[part.len().saturating_sub(TORN_ZERO_LENGTH)..];
        !end.is_empty() && end.iter().all(|byte| *byte == 0)
    };
    ends_in_zeros(first_page) || later_pages.chunks(STRADDLE_PAGE_LENGTH).any(ends_in_zeros)
}

/// So many zeros at the end of a page look like a page that was not filled yet.
const TORN_ZERO_LENGTH: usize = 64;

fn i32_at(header: &[u8; FRAME_HEADER_LENGTH], at: usize) -> i32 {
    i32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

#[cfg(test)]
#[path = "segment/tests.rs"]
mod tests;
