//! What a standby says of itself when it is asked as a member would be.

use std::sync::Arc;

use super::{Request, RequestKind};
use crate::codec::consensus::{
    BackupResponse, HeartbeatResponse, SnapshotEntry, Snapshots, list_with_standby,
};
use crate::file::recording_log::{Entry, SnapshotSet};

/// Where this node stands in its cluster. Changes with a new term, source, leader or snapshot; never by message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// The newest term of our log; nothing is answered before there is one.
    pub last_term: Option<LastTerm>,
    /// The id of our commit-position counter, which bounds replays of our log.
    pub commit_position_counter_id: i32,
    /// Who leads the cluster, -1 while we follow nobody.
    pub leader_member_id: i32,
    /// Whether a source sends us the log now.
    pub is_following: bool,
    /// Whether we lead: then the member list is our own, with our entry in it.
    pub is_leading: bool,
    /// The member list as our last source sent it, empty before the first.
    pub cluster_members: String,
    /// Our complete snapshot sets, newest first.
    pub snapshot_sets: Vec<SnapshotSet>,
}

/// A TERM row of our recording log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LastTerm {
    /// Our recording of the log.
    pub log_recording_id: i64,
    /// The term.
    pub leadership_term_id: i64,
    /// Where it begins.
    pub term_base_log_position: i64,
}

/// Writes answers from the standing.
#[derive(Debug)]
pub(super) struct Answers {
    member_id: i32,
    endpoint: String,
    standing: Arc<Standing>,
    /// The member list with our own entry, or why there can be none.
    members: Result<String, String>,
}

impl Answers {
    pub(super) fn new(member_id: i32, endpoint: String) -> Self {
        let mut answers = Self { member_id, endpoint, standing: Arc::default(), members: Ok(String::new()) };
        answers.on_standing(Arc::new(Standing { leader_member_id: -1, ..Standing::default() }));
        answers
    }

    pub(super) fn on_standing(&mut self, standing: Arc<Standing>) {
        // Standbys above us tell others of a chain that they would be part of. Without a source there is none, and
        // they may well turn to us.
        let with_standbys = standing.is_following;
        self.members = if standing.is_leading {
            Ok(standing.cluster_members.clone())
        } else {
            list_with_standby(&standing.cluster_members, with_standbys, self.member_id, &self.endpoint)
                .map_err(|error| format!("{error}: give this standby a member_id of its own"))
        };
        self.standing = standing;
    }

    pub(super) fn leader_member_id(&self) -> i32 {
        self.standing.leader_member_id
    }

    pub(super) fn leadership_term_id(&self) -> i64 {
        self.standing.last_term.map_or(-1, |term| term.leadership_term_id)
    }

    /// Appends the answer to `request`; nothing while there is none.
    ///
    /// # Errors
    /// In words, when there can be none.
    pub(super) fn encode(&self, request: &Request, out: &mut Vec<u8>) -> Result<(), String> {
        let RequestKind::Backup { log_position } = request.kind else {
            HeartbeatResponse { correlation_id: request.correlation_id }.encode(out);
            return Ok(());
        };
        let Some(term) = self.standing.last_term else { return Ok(()) };
        let cluster_members = self.members.as_deref().map_err(Clone::clone)?;
        let set = SnapshotSet::at_or_before_or_lowest(&self.standing.snapshot_sets, log_position);
        let snapshots: Vec<SnapshotEntry> =
            set.iter().flat_map(|set| set.entries()).map(|entry| snapshot(&entry)).collect();
        BackupResponse {
            correlation_id: request.correlation_id,
            log_recording_id: term.log_recording_id,
            log_leadership_term_id: term.leadership_term_id,
            log_term_base_log_position: term.term_base_log_position,
            last_leadership_term_id: term.leadership_term_id,
            last_term_base_log_position: term.term_base_log_position,
            commit_position_counter_id: self.standing.commit_position_counter_id,
            leader_member_id: self.standing.leader_member_id,
            member_id: self.member_id,
            snapshots: Snapshots::new(&snapshots),
            cluster_members,
        }
        .encode(out);
        Ok(())
    }
}

/// A row of our recording log as messages carry it.
pub(in crate::serving) fn snapshot(entry: &Entry) -> SnapshotEntry {
    SnapshotEntry {
        recording_id: entry.recording_id,
        leadership_term_id: entry.leadership_term_id,
        term_base_log_position: entry.term_base_log_position,
        log_position: entry.log_position,
        timestamp: entry.timestamp,
        service_id: entry.service_id,
    }
}
