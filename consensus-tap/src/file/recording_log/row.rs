//! One row of a recording log: its fields and its bytes. The layout is drawn in the parent module.

use super::RowError;
use crate::file::{FormatError, Image, put_ascii, to_u64};

/// One row, without its place in the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Recording in the archive beside this file; for a standby snapshot, in the archive of the standby.
    pub recording_id: i64,
    /// The term, or the term in which the snapshot was taken.
    pub leadership_term_id: i64,
    /// Log position at which the term began.
    pub term_base_log_position: i64,
    /// TERM: where the term ended, [`NULL_POSITION`] while it is open. Snapshots: where it was taken.
    pub log_position: i64,
    /// Cluster time, in the cluster's unit (milliseconds by default).
    pub timestamp: i64,
    /// 0 and up, or [`CONSENSUS_MODULE_ID`].
    pub service_id: i32,
    /// What the row is.
    pub kind: EntryKind,
    /// False once invalidated: kept in the file, ignored by every query.
    pub valid: bool,
}

/// What a row is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EntryKind {
    /// A leadership term.
    Term,
    /// A snapshot in the archive beside this file.
    Snapshot,
    /// A snapshot that a standby has announced and that is still in its archive.
    StandbySnapshot {
        /// `host:port` of the standby's archive, 1 to [`ENDPOINT_LENGTH_MAX`] bytes of ASCII.
        endpoint: String,
    },
}

/// Rows start at multiples of this, bytes.
pub const ROW_ALIGNMENT: usize = 64;
/// Longest endpoint of a standby snapshot, bytes.
pub const ENDPOINT_LENGTH_MAX: usize = 4096 - ENDPOINT_OFFSET - 4;
/// `log_position` of a term that has not ended.
pub const NULL_POSITION: i64 = -1;
/// `service_id` of a term, and of the consensus module's own snapshot.
pub const CONSENSUS_MODULE_ID: i32 = -1;

impl Entry {
    /// The row's bytes, zero behind its last field.
    ///
    /// # Errors
    /// [`RowError::BadEndpoint`].
    pub fn encode(&self) -> Result<Vec<u8>, RowError> {
        let mut out = Vec::with_capacity(2 * ROW_ALIGNMENT);
        for field in [
            self.recording_id,
            self.leadership_term_id,
            self.term_base_log_position,
            self.log_position,
            self.timestamp,
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.service_id.to_le_bytes());
        out.extend_from_slice(&self.raw_type().to_le_bytes());
        if let EntryKind::StandbySnapshot { endpoint } = &self.kind {
            let bad = || RowError::BadEndpoint(endpoint.clone());
            if endpoint.is_empty() || endpoint.len() > ENDPOINT_LENGTH_MAX {
                return Err(bad());
            }
            put_ascii(&mut out, endpoint, "endpoint").map_err(|_| bad())?;
        }
        out.resize(out.len().next_multiple_of(ROW_ALIGNMENT), 0);
        Ok(out)
    }

    pub(super) fn raw_type(&self) -> i32 {
        let kind = match self.kind {
            EntryKind::Term => TYPE_TERM,
            EntryKind::Snapshot => TYPE_SNAPSHOT,
            EntryKind::StandbySnapshot { .. } => TYPE_STANDBY_SNAPSHOT,
        };
        if self.valid { kind } else { kind | INVALID_FLAG }
    }
}

const TERM_BASE_LOG_POSITION_OFFSET: usize = 16;
pub(super) const LOG_POSITION_OFFSET: usize = 24;
const SERVICE_ID_OFFSET: usize = 40;
pub(super) const TYPE_OFFSET: usize = 44;
const ENDPOINT_OFFSET: usize = 48;
const _: () = assert!(TERM_BASE_LOG_POSITION_OFFSET + 8 == LOG_POSITION_OFFSET);
const _: () = assert!(TYPE_OFFSET + size_of::<i32>() == ENDPOINT_OFFSET);

const TYPE_TERM: i32 = 0;
const TYPE_SNAPSHOT: i32 = 1;
const TYPE_STANDBY_SNAPSHOT: i32 = 2;
const TYPE_REMOVED: i32 = -1;
pub(super) const INVALID_FLAG: i32 = i32::MIN;

/// The row at `offset`, `None` if removed, and the bytes that it takes.
pub(super) fn parse_row(image: Image<'_>, offset: usize) -> Result<(Option<Entry>, usize), FormatError> {
    let rest = image.bytes.get(offset..).unwrap_or_default();
    let row = image.take(offset, ROW_ALIGNMENT, "row");
    // A TERM row has service id -1, so that not even the very first row can be all zeros.
    if rest.iter().take(ROW_ALIGNMENT).all(|byte| *byte == 0) {
        return Err(FormatError::Unwritten { offset: to_u64(offset), what: "a row" });
    }
    row?;
    let service_id = image.i32(offset + SERVICE_ID_OFFSET, "service id")?;
    let raw_type = image.i32(offset + TYPE_OFFSET, "type")?;
    if raw_type == TYPE_REMOVED {
        return Ok((None, ROW_ALIGNMENT));
    }
    let (kind, length) = match raw_type & !INVALID_FLAG {
        TYPE_TERM if service_id != CONSENSUS_MODULE_ID => {
            let (at, what) = (offset + SERVICE_ID_OFFSET, "service id of a TERM row");
            return Err(FormatError::unexpected(at, what, CONSENSUS_MODULE_ID, service_id));
        }
        TYPE_TERM => (EntryKind::Term, ROW_ALIGNMENT),
        TYPE_SNAPSHOT => (EntryKind::Snapshot, ROW_ALIGNMENT),
        TYPE_STANDBY_SNAPSHOT => {
            let endpoint_length = image.i32(offset + ENDPOINT_OFFSET, "endpoint length")?;
            let what = "endpoint length";
            let length = usize::try_from(endpoint_length)
                .ok()
                .filter(|length| (1..=ENDPOINT_LENGTH_MAX).contains(length))
                .ok_or_else(|| {
                    FormatError::unexpected(offset + ENDPOINT_OFFSET, what, "1 to 4044", endpoint_length)
                })?;
            let length = (ENDPOINT_OFFSET + 4 + length).next_multiple_of(ROW_ALIGNMENT);
            image.take(offset, length, "row")?;
            let (endpoint, _) = image.ascii(offset + ENDPOINT_OFFSET, "endpoint")?;
            (EntryKind::StandbySnapshot { endpoint }, length)
        }
        _ => {
            let expected = "0 TERM, 1 SNAPSHOT, 2 STANDBY_SNAPSHOT, with or without bit 31, or -1";
            let found = format_args!("{raw_type:#x}");
            return Err(FormatError::unexpected(offset + TYPE_OFFSET, "type", expected, found));
        }
    };
    let entry = Entry {
        recording_id: image.i64(offset, "recording id")?,
        leadership_term_id: image.i64(offset + 8, "leadership term id")?,
        term_base_log_position: image.i64(offset + TERM_BASE_LOG_POSITION_OFFSET, "term base")?,
        log_position: image.i64(offset + LOG_POSITION_OFFSET, "log position")?,
        timestamp: image.i64(offset + 32, "timestamp")?,
        service_id,
        kind,
        valid: raw_type & INVALID_FLAG == 0,
    };
    Ok((Some(entry), length))
}
