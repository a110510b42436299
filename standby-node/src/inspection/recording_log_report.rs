//! `recording-log`: the rows, in the order readers go by, as `ClusterTool` prints them.

use std::fmt::Write as _;

use consensus_tap::file::recording_log::{EntryKind, Row};
use serde::Serialize;

use super::{InspectionError, NodeFiles};

/// The rows of a recording log.
#[derive(Clone, Debug, Serialize)]
pub struct RecordingLogReport {
    /// The rows that were not removed, valid or not.
    pub entries: Vec<EntryReport>,
    /// Bytes at the end of the file that are no whole row: a node is appending, or died while it was.
    pub unfinished_bytes: u64,
}

/// One row.
#[derive(Clone, Debug, Serialize)]
pub struct EntryReport {
    /// Recording in the archive; for a standby snapshot, in that of its standby.
    pub recording_id: i64,
    /// Leadership term.
    pub leadership_term_id: i64,
    /// Where the term began.
    pub term_base_log_position: i64,
    /// TERM: where it ended, -1 while open; snapshots: where taken.
    pub log_position: i64,
    /// Cluster time.
    pub timestamp: i64,
    /// -1: the consensus module.
    pub service_id: i32,
    /// `TERM`, `SNAPSHOT`, `STANDBY_SNAPSHOT`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// False once invalidated.
    pub is_valid: bool,
    /// Ordinal in the file.
    pub entry_index: usize,
    /// Where the row lies in the file, bytes.
    pub offset: u64,
    /// Of a standby snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_endpoint: Option<String>,
}

impl RecordingLogReport {
    /// Reads the recording log.
    ///
    /// # Errors
    /// [`InspectionError`].
    pub fn read(files: &NodeFiles) -> Result<Self, InspectionError> {
        let (log, unfinished_bytes) = files.recording_log()?;
        Ok(Self { entries: log.rows().iter().map(EntryReport::new).collect(), unfinished_bytes })
    }

    /// A line each.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for entry in &self.entries {
            let _ = writeln!(text, "{}", entry.to_text());
        }
        if self.entries.is_empty() {
            text.push_str("no entries\n");
        }
        if self.unfinished_bytes > 0 {
            let _ = writeln!(
                text,
                "{} bytes at the end are no whole row: they count for nothing, the next start cuts them off",
                self.unfinished_bytes
            );
        }
        text
    }
}

impl EntryReport {
    fn new(Row { offset, index, entry }: &Row) -> Self {
        let (kind, archive_endpoint) = match &entry.kind {
            EntryKind::Term => ("TERM", None),
            EntryKind::Snapshot => ("SNAPSHOT", None),
            EntryKind::StandbySnapshot { endpoint } => ("STANDBY_SNAPSHOT", Some(endpoint.clone())),
        };
        Self {
            recording_id: entry.recording_id,
            leadership_term_id: entry.leadership_term_id,
            term_base_log_position: entry.term_base_log_position,
            log_position: entry.log_position,
            timestamp: entry.timestamp,
            service_id: entry.service_id,
            kind,
            is_valid: entry.valid,
            entry_index: *index,
            offset: *offset,
            archive_endpoint,
        }
    }

    fn to_text(&self) -> String {
        let mut text = format!(
            "Entry{{recordingId={}, leadershipTermId={}, termBaseLogPosition={}, logPosition={}, timestamp={}, \
             serviceId={}, type={}, isValid={}, entryIndex={}",
            self.recording_id,
            self.leadership_term_id,
            self.term_base_log_position,
            self.log_position,
            self.timestamp,
            self.service_id,
            self.kind,
            self.is_valid,
            self.entry_index
        );
        if let Some(endpoint) = &self.archive_endpoint {
            let _ = write!(text, ", archiveEndpoint={endpoint}");
        }
        text.push('}');
        text
    }
}
