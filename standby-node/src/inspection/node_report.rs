//! `describe`: who uses or used a directory, and what lies in it, on one screen.

use std::fmt::Write as _;

use consensus_tap::file::cluster_mark::{ACTIVATION_IN_PROGRESS, TERMINATED};
use consensus_tap::file::error_log::ErrorLog;
use consensus_tap::file::recording_log::EntryKind;
use serde::Serialize;

use super::recording_check::{Depth, check_recording};
use super::{InspectionError, NodeFiles, position_text};

/// A node's directory.
#[derive(Clone, Debug, Serialize)]
pub struct NodeReport {
    /// Whether a process uses it now.
    pub is_in_use: bool,
    /// The cluster's mark file.
    pub cluster_mark: Option<MarkReport>,
    /// The archive's mark file.
    pub archive_mark: Option<MarkReport>,
    /// Newest term for which the node was a candidate, -1 for none.
    pub candidate_term_id: i64,
    /// Recording of the log, `None` before there is one.
    pub log: Option<LogReport>,
    /// Up to where the log survives a power cut; `None` where that is not known.
    pub durable_position: Option<i64>,
    /// Log positions of the valid snapshot sets, newest first.
    pub snapshot_positions: Vec<i64>,
    /// Records of the catalog in use.
    pub recording_count: usize,
    /// Rows of recording.log that are terms.
    pub term_count: usize,
}

/// A mark file.
#[derive(Clone, Debug, Serialize)]
pub struct MarkReport {
    /// `BACKUP`, `CONSENSUS_MODULE`, …; `ARCHIVE`.
    pub component: &'static str,
    /// Process, as it sees itself.
    pub pid: i64,
    /// Epoch ms.
    pub start_timestamp: i64,
    /// Epoch ms of the last sign of life; -1 after an orderly end.
    pub activity_timestamp: i64,
    /// Whether its process made it ready.
    pub is_ready: bool,
    /// Member id, or archive id.
    pub id: i64,
    /// Cluster id; `None` for an archive.
    pub cluster_id: Option<i32>,
    /// Channel of control requests.
    pub control_channel: String,
    /// Directory of its cnc.dat.
    pub aeron_directory: String,
    /// What went wrong, oldest first.
    pub errors: Vec<ErrorReport>,
}

/// One distinct error.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorReport {
    /// How often.
    pub count: i32,
    /// Epoch ms.
    pub first_timestamp: i64,
    /// Epoch ms.
    pub last_timestamp: i64,
    /// What.
    pub text: String,
}

/// The log's recording.
#[derive(Clone, Debug, Serialize)]
pub struct LogReport {
    /// Its id.
    pub recording_id: i64,
    /// First position.
    pub start_position: i64,
    /// By the catalog, -1 while active.
    pub stop_position: i64,
    /// Where its frames end, by the files; `None` where they are damaged.
    pub end_position: Option<i64>,
    /// Newest term.
    pub leadership_term_id: i64,
    /// Where that term began.
    pub term_base_log_position: i64,
    /// What is wrong with its last segment.
    pub faults: Vec<String>,
}

impl NodeReport {
    /// Reads the directory.
    ///
    /// # Errors
    /// [`InspectionError`], the first file that cannot be read.
    pub fn read(files: &NodeFiles, now_ms: i64) -> Result<Self, InspectionError> {
        let is_in_use = files.is_in_use(now_ms)?;
        let cluster_mark = files.cluster_mark()?.map(|(mark, errors)| MarkReport {
            component: component_name(mark.component_type),
            pid: mark.pid,
            start_timestamp: mark.start_timestamp,
            activity_timestamp: mark.activity_timestamp,
            is_ready: mark.version > 0,
            id: i64::from(mark.member_id),
            cluster_id: Some(mark.cluster_id),
            control_channel: mark.control_channel,
            aeron_directory: mark.aeron_directory,
            errors: error_reports(&errors),
        });
        let archive_mark = files.archive_mark()?.map(|(mark, errors)| MarkReport {
            component: "ARCHIVE",
            pid: mark.pid,
            start_timestamp: mark.start_timestamp,
            activity_timestamp: mark.activity_timestamp,
            is_ready: mark.version > 0,
            id: mark.archive_id,
            cluster_id: None,
            control_channel: mark.control_channel,
            aeron_directory: mark.aeron_directory,
            errors: error_reports(&errors),
        });
        let catalog = files.catalog()?;
        let (recording_log, _) = files.recording_log()?;
        let log = match recording_log.last_term() {
            None => None,
            Some(term) => {
                let record = files.record(&catalog, term.entry.recording_id)?;
                let descriptor = &record.descriptor;
                let check = check_recording(
                    &files.archive(),
                    &files.catalog_path(),
                    record,
                    Depth::LastSegment,
                    is_in_use,
                );
                Some(LogReport {
                    recording_id: descriptor.recording_id,
                    start_position: descriptor.start_position,
                    stop_position: descriptor.stop_position,
                    end_position: check.data_end,
                    leadership_term_id: term.entry.leadership_term_id,
                    term_base_log_position: term.entry.term_base_log_position,
                    faults: check.faults.iter().map(ToString::to_string).collect(),
                })
            }
        };
        let durable = files.durable_mark()?;
        let durable_position = log.as_ref().and_then(|log| {
            durable.filter(|mark| mark.recording_id == log.recording_id).map(|mark| mark.position)
        });
        let snapshot_positions =
            recording_log.snapshot_sets_as_found().iter().map(|set| set.log_position).collect();
        Ok(Self {
            is_in_use,
            cluster_mark,
            archive_mark,
            candidate_term_id: files.candidate_term()?.map_or(-1, |term| term.candidate_term_id),
            log,
            durable_position,
            snapshot_positions,
            recording_count: catalog
                .records
                .iter()
                .filter(|record| catalog.find(record.descriptor.recording_id).is_some())
                .count(),
            term_count: recording_log
                .rows()
                .iter()
                .filter(|row| row.entry.valid && row.entry.kind == EntryKind::Term)
                .count(),
        })
    }

    /// Some lines.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{}", if self.is_in_use { "in use" } else { "not in use" });
        for (file, mark) in
            [("cluster-mark.dat", &self.cluster_mark), ("archive-mark.dat", &self.archive_mark)]
        {
            match mark {
                None => {
                    let _ = writeln!(text, "{file}: none");
                }
                Some(mark) => mark.write_text(file, &mut text),
            }
        }
        let _ = writeln!(
            text,
            "recordings in use: {}; terms: {}; candidate term: {}",
            self.recording_count,
            self.term_count,
            position_text(self.candidate_term_id)
        );
        match &self.log {
            None => text.push_str("log: none yet\n"),
            Some(log) => {
                let _ = writeln!(
                    text,
                    "log: recording {}, {} to {}{}, term {} from {}",
                    log.recording_id,
                    log.start_position,
                    log.end_position.map_or_else(|| "damage".to_owned(), |end| end.to_string()),
                    if log.stop_position == -1 { " (active)" } else { "" },
                    log.leadership_term_id,
                    log.term_base_log_position
                );
                for fault in &log.faults {
                    let _ = writeln!(text, "  FAULT {fault}");
                }
            }
        }
        let durable = self.durable_position.map_or_else(|| "not known".to_owned(), |at| at.to_string());
        let _ = writeln!(text, "durable position: {durable}");
        let positions: Vec<_> = self.snapshot_positions.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            text,
            "snapshots at: {}",
            if positions.is_empty() { "none".to_owned() } else { positions.join(", ") }
        );
        text
    }
}

impl MarkReport {
    fn write_text(&self, file: &str, text: &mut String) {
        let life = match self.activity_timestamp {
            TERMINATED => "ended in order".to_owned(),
            ACTIVATION_IN_PROGRESS => "was starting".to_owned(),
            at => format!("last sign of life at {at} ms"),
        };
        let _ = writeln!(
            text,
            "{file}: {} {}, pid {}, started at {} ms, {life}{}\n  control channel {}, aeron directory {}",
            self.component,
            self.id,
            self.pid,
            self.start_timestamp,
            if self.is_ready { "" } else { ", never made ready" },
            self.control_channel,
            self.aeron_directory
        );
        for error in &self.errors {
            let _ = writeln!(
                text,
                "  error, {} times, {} to {} ms: {}",
                error.count, error.first_timestamp, error.last_timestamp, error.text
            );
        }
    }
}

fn error_reports(errors: &ErrorLog) -> Vec<ErrorReport> {
    let report = |error: &consensus_tap::file::error_log::Observation| ErrorReport {
        count: error.count,
        first_timestamp: error.first_timestamp,
        last_timestamp: error.last_timestamp,
        text: error.text.clone(),
    };
    errors.observations().iter().map(report).collect()
}

fn component_name(component: consensus_tap::file::cluster_mark::ComponentType) -> &'static str {
    use consensus_tap::file::cluster_mark::ComponentType;
    match component {
        ComponentType::Unknown => "UNKNOWN",
        ComponentType::ConsensusModule => "CONSENSUS_MODULE",
        ComponentType::Container => "CONTAINER",
        ComponentType::Backup => "BACKUP",
        ComponentType::Standby => "STANDBY",
    }
}
