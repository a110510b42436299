//! `recovery-plan`: from which snapshots and which part of the log a node would start, as `ClusterTool` tells it.

use std::fmt::Write as _;

use consensus_tap::file::recording_log::NULL_POSITION;
use serde::Serialize;

use super::recording_check::{Depth, check_recording};
use super::{InspectionError, NodeFiles};

/// What a start needs, and what is there.
#[derive(Clone, Debug, Serialize)]
pub struct RecoveryPlan {
    /// Newest term of the log, else of the snapshot; -1 for none.
    pub last_leadership_term_id: i64,
    /// Where that term began.
    pub last_term_base_log_position: i64,
    /// Where the log's recording ends.
    pub appended_log_position: i64,
    /// Where the newest term is known to have ended, else the snapshot's position.
    pub committed_log_position: i64,
    /// The consensus module's snapshot, then each service's.
    pub snapshots: Vec<PlannedSnapshot>,
    /// The part of the log to be replayed.
    pub log: Option<PlannedLog>,
}

/// One snapshot to be loaded.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedSnapshot {
    /// Its recording.
    pub recording_id: i64,
    /// Its term.
    pub leadership_term_id: i64,
    /// Where that term began.
    pub term_base_log_position: i64,
    /// Where it was taken.
    pub log_position: i64,
    /// Cluster time.
    pub timestamp: i64,
    /// -1: the consensus module.
    pub service_id: i32,
}

/// The log to be replayed.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedLog {
    /// Its recording.
    pub recording_id: i64,
    /// Newest term.
    pub leadership_term_id: i64,
    /// Where that term began.
    pub term_base_log_position: i64,
    /// Where that term ended, -1 while open.
    pub log_position: i64,
    /// Where the replay begins: the snapshot's position, else the recording's start.
    pub start_position: i64,
    /// Where the recording ends.
    pub stop_position: i64,
    /// Term id of position 0.
    pub initial_term_id: i32,
    /// Bytes of a term.
    pub term_buffer_length: i32,
    /// Longest datagram.
    pub mtu_length: i32,
    /// Session of the recorded image.
    pub session_id: i32,
    /// Whether what lies before the replay's beginning is missing: such a plan cannot be carried out.
    pub is_missing_its_beginning: bool,
}

impl RecoveryPlan {
    /// Plans a start with `services` services; by default with as many as the newest snapshot has.
    ///
    /// # Errors
    /// [`InspectionError`].
    pub fn read(files: &NodeFiles, services: Option<usize>) -> Result<Self, InspectionError> {
        let (recording_log, _) = files.recording_log()?;
        let set = files.snapshot_sets(services)?.into_iter().next();
        let snapshots = set.iter().flat_map(|set| {
            // The module first, then the services upwards, as loaders take them.
            set.entries()
                .into_iter()
                .rev()
                .map(|entry| (entry.service_id, entry.recording_id))
                .collect::<Vec<_>>()
        });
        let snapshots: Vec<PlannedSnapshot> = snapshots
            .zip(set.iter().cycle())
            .map(|((service_id, recording_id), set)| PlannedSnapshot {
                recording_id,
                leadership_term_id: set.leadership_term_id,
                term_base_log_position: set.term_base_log_position,
                log_position: set.log_position,
                timestamp: set.timestamp,
                service_id,
            })
            .collect();
        let mut plan = Self {
            last_leadership_term_id: set.as_ref().map_or(-1, |set| set.leadership_term_id),
            last_term_base_log_position: set.as_ref().map_or(0, |set| set.term_base_log_position),
            appended_log_position: set.as_ref().map_or(0, |set| set.log_position),
            committed_log_position: set.as_ref().map_or(0, |set| set.log_position),
            snapshots,
            log: None,
        };
        let Some(term) = recording_log.last_term() else { return Ok(plan) };
        let catalog = files.catalog()?;
        let record = files.record(&catalog, term.entry.recording_id)?;
        let descriptor = &record.descriptor;
        let stop_position = match descriptor.stop_position {
            NULL_POSITION => {
                let check = check_recording(
                    &files.archive(),
                    &files.catalog_path(),
                    record,
                    Depth::LastSegment,
                    true,
                );
                check.data_end.unwrap_or(descriptor.start_position)
            }
            position => position,
        };
        let start_position = set.as_ref().map_or(descriptor.start_position, |set| set.log_position);
        plan.last_leadership_term_id = term.entry.leadership_term_id;
        plan.last_term_base_log_position = term.entry.term_base_log_position;
        plan.appended_log_position = stop_position;
        if term.entry.log_position != NULL_POSITION {
            plan.committed_log_position = term.entry.log_position;
        }
        plan.log = Some(PlannedLog {
            recording_id: descriptor.recording_id,
            leadership_term_id: term.entry.leadership_term_id,
            term_base_log_position: term.entry.term_base_log_position,
            log_position: term.entry.log_position,
            start_position,
            stop_position,
            initial_term_id: descriptor.initial_term_id,
            term_buffer_length: descriptor.term_buffer_length,
            mtu_length: descriptor.mtu_length,
            session_id: descriptor.session_id,
            is_missing_its_beginning: start_position < descriptor.start_position
                || (set.is_none() && descriptor.start_position > 0),
        });
        Ok(plan)
    }

    /// Some lines.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "term {} from {}, appended up to {}, known to be committed up to {}",
            self.last_leadership_term_id,
            self.last_term_base_log_position,
            self.appended_log_position,
            self.committed_log_position
        );
        for snapshot in &self.snapshots {
            let whose = match snapshot.service_id {
                -1 => "consensus module".to_owned(),
                service_id => format!("service {service_id}"),
            };
            let _ = writeln!(
                text,
                "snapshot of {whose}: recording {}, log position {} of term {}",
                snapshot.recording_id, snapshot.log_position, snapshot.leadership_term_id
            );
        }
        if self.snapshots.is_empty() {
            text.push_str("no snapshot\n");
        }
        match &self.log {
            None => text.push_str("no log\n"),
            Some(log) => {
                let _ = writeln!(
                    text,
                    "log: recording {}, from {} to {}",
                    log.recording_id, log.start_position, log.stop_position
                );
                if log.is_missing_its_beginning {
                    text.push_str(
                        "no start is possible: the log before its first position is gone, and no snapshot covers it; \
                         run `reseed`\n",
                    );
                }
            }
        }
        text
    }
}
