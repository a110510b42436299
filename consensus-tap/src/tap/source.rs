//! A member that answered a backup query: whose log we may replay, and up to which counter.

use crate::channel::HostPort;
use crate::codec::consensus::{BackupResponse, ClusterMember, SnapshotEntry, parse_cluster_members};
use crate::module::SERVICE_COUNT_MAX;
use crate::wire::FRAME_ALIGNMENT;

/// What one `BackupResponse` says, checked and owned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    /// The member that answered.
    pub member_id: i32,
    /// Who it says leads, -1 for nobody.
    pub leader_member_id: i32,
    /// Its recording of the log.
    pub log_recording_id: i64,
    /// The counter, in that member's driver, that bounds a replay of its log to what is committed.
    pub commit_position_counter_id: i32,
    /// Its newest leadership term.
    pub leadership_term_id: i64,
    /// Where that term begins.
    pub term_base_log_position: i64,
    /// Its archive's control endpoint.
    pub archive_endpoint: HostPort,
    /// Where its archive opens response channels, for clients that it cannot send to. A standby can be sent to.
    pub archive_response_endpoint: Option<String>,
    /// The consensus endpoints of everybody that it names.
    pub consensus_endpoints: Vec<HostPort>,
    /// Its newest complete set of snapshots, or none.
    pub snapshots: Vec<SnapshotEntry>,
    /// The member list as it came.
    pub cluster_members: String,
}

/// Why a response cannot be used; the message goes to the operator.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SourceError {
    /// The member is older than any that names itself.
    #[error("the member does not say who it is: Aeron 1.44 or newer is needed there")]
    NoMemberId,
    /// The member list lacks the member, or cannot be read.
    #[error("member {member_id} is not in the member list that it sent: \"{members}\"")]
    NotListed {
        /// Who answered.
        member_id: i32,
        /// What it sent.
        members: String,
    },
    /// Another node calls itself what we call ourselves, or we answered ourselves.
    #[error(
        "it answers with the member_id {0}, which is this node's own: give each standby a `member_id` of its own, and \
         name other nodes in `consensus_endpoints`"
    )]
    OwnId(i32),
    /// Whoever answers follows us, directly or through others: nobody would ever hear anything new.
    #[error(
        "it lists the member_id {0}, which is this node's own: it follows us, or a member has the same id, and then \
         this standby needs another `member_id`"
    )]
    FollowsUs(i32),
    /// The response does not decode.
    #[error("the response does not decode: {0}")]
    Decode(#[from] crate::codec::sbe::DecodeError),
}

impl Source {
    /// Checks and copies a response to a node that calls itself `own_member_id`.
    ///
    /// # Errors
    /// [`SourceError`] when the response lacks what a follower needs.
    pub(super) fn from_response(
        response: &BackupResponse<'_>,
        own_member_id: i32,
    ) -> Result<Self, SourceError> {
        if response.member_id == own_member_id {
            return Err(SourceError::OwnId(own_member_id));
        }
        if response.member_id == crate::codec::sbe::NULL_I32 {
            return Err(SourceError::NoMemberId);
        }
        let not_listed = || SourceError::NotListed {
            member_id: response.member_id,
            members: response.cluster_members.to_owned(),
        };
        let members = parse_cluster_members(response.cluster_members).map_err(|_| not_listed())?;
        if members.iter().any(|member| member.id == own_member_id) {
            return Err(SourceError::FollowsUs(own_member_id));
        }
        let member: &ClusterMember =
            members.iter().find(|member| member.id == response.member_id).ok_or_else(not_listed)?;
        Ok(Self {
            member_id: response.member_id,
            leader_member_id: response.leader_member_id,
            log_recording_id: response.log_recording_id,
            commit_position_counter_id: response.commit_position_counter_id,
            leadership_term_id: response.last_leadership_term_id,
            term_base_log_position: response.last_term_base_log_position,
            archive_endpoint: member.archive_endpoint.parse().map_err(|_| not_listed())?,
            archive_response_endpoint: member.archive_response_endpoint.clone(),
            consensus_endpoints: members.iter().filter_map(|m| m.consensus_endpoint.parse().ok()).collect(),
            snapshots: response.snapshots.iter().collect(),
            cluster_members: response.cluster_members.to_owned(),
        })
    }

    /// Whether a response says just what this source was made from. Takes no memory.
    pub(super) fn is_as_in(&self, response: &BackupResponse<'_>) -> bool {
        self.member_id == response.member_id
            && self.leader_member_id == response.leader_member_id
            && self.log_recording_id == response.log_recording_id
            && self.commit_position_counter_id == response.commit_position_counter_id
            && self.leadership_term_id == response.last_leadership_term_id
            && self.term_base_log_position == response.last_term_base_log_position
            && self.cluster_members == response.cluster_members
            && self.snapshots.iter().copied().eq(response.snapshots.iter())
    }

    /// The snapshots in the order consensus module, service 0, 1, …; empty when the member has none.
    ///
    /// # Errors
    /// In words, when there are snapshots that do not make a set: for `service_count` services, or with `None` for
    /// any number of them.
    pub(super) fn snapshot_set(&self, service_count: Option<u8>) -> Result<Vec<SnapshotEntry>, String> {
        let Some(newest) = self.snapshots.iter().map(|row| (row.leadership_term_id, row.log_position)).max()
        else {
            return Ok(Vec::new());
        };
        let rows = || {
            let is_newest = |row: &SnapshotEntry| (row.leadership_term_id, row.log_position) == newest;
            self.snapshots.iter().copied().filter(is_newest)
        };
        let at_newest = |service_id: i32| rows().find(|row| row.service_id == service_id);
        let set: Vec<SnapshotEntry> = (-1..SERVICE_COUNT_MAX as i32).map_while(at_newest).collect();
        let (member_id, position) = (self.member_id, newest.1);
        if position < 0 || position % FRAME_ALIGNMENT as i64 != 0 {
            return Err(format!(
                "member {member_id} names a snapshot at {position}, where no message of a log ends"
            ));
        }
        match service_count {
            Some(count) if set.len() != usize::from(count) + 1 => Err(format!(
                "member {member_id} has snapshots at {position} for another number of services than the {count} \
                 configured here: name in `service` as many as the cluster has"
            )),
            // The consensus module's is missing, or that of a service in the middle.
            None if set.len() != rows().count() => {
                Err(format!("member {member_id} names no complete set of snapshots at {position}"))
            }
            _ => Ok(set),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::consensus::Snapshots;

    fn row(service_id: i32, log_position: i64) -> SnapshotEntry {
        SnapshotEntry {
            recording_id: i64::from(service_id) + 10,
            leadership_term_id: 2,
            term_base_log_position: 0,
            log_position,
            timestamp: 0,
            service_id,
        }
    }

    fn source(snapshots: Vec<SnapshotEntry>) -> Source {
        Source {
            member_id: 1,
            leader_member_id: 0,
            log_recording_id: 0,
            commit_position_counter_id: 67,
            leadership_term_id: 2,
            term_base_log_position: 0,
            archive_endpoint: "a:1".parse().unwrap(),
            archive_response_endpoint: None,
            consensus_endpoints: Vec::new(),
            snapshots,
            cluster_members: String::new(),
        }
    }

    #[test]
    fn a_snapshot_set_is_ordered_from_the_consensus_module_up() {
        for service_count in [Some(2), None] {
            let set = source(vec![row(1, 64), row(0, 64), row(-1, 64)]).snapshot_set(service_count).unwrap();
            assert_eq!(set.iter().map(|row| row.service_id).collect::<Vec<_>>(), [-1, 0, 1]);
        }
    }

    #[test]
    fn a_set_with_a_gap_is_none_whatever_the_number_of_services() {
        for rows in [vec![row(1, 64), row(-1, 64)], vec![row(0, 64)], vec![row(0, 64), row(-1, 32)]] {
            let error = source(rows).snapshot_set(None).unwrap_err();
            assert!(error.contains("no complete set of snapshots at 64"), "{error}");
        }
    }

    #[test]
    fn a_set_for_another_number_of_services_is_refused_in_words() {
        let source = source(vec![row(1, 64), row(0, 64), row(-1, 64)]);
        assert!(source.snapshot_set(Some(1)).unwrap_err().contains("services"));
        assert!(source.snapshot_set(Some(3)).is_err());
    }

    #[test]
    fn a_response_that_says_anything_new_is_not_as_known() {
        let rows = [row(0, 64), row(-1, 64)];
        let known = Source { cluster_members: "1,a:1".to_owned(), ..source(rows.to_vec()) };
        let same = BackupResponse {
            correlation_id: 9,
            log_recording_id: known.log_recording_id,
            log_leadership_term_id: 0,
            log_term_base_log_position: 0,
            last_leadership_term_id: known.leadership_term_id,
            last_term_base_log_position: known.term_base_log_position,
            commit_position_counter_id: known.commit_position_counter_id,
            leader_member_id: known.leader_member_id,
            member_id: known.member_id,
            snapshots: Snapshots::new(&rows),
            cluster_members: "1,a:1",
        };
        assert!(known.is_as_in(&same));
        let newer = [row(0, 128), row(-1, 128)];
        let others = [
            BackupResponse { log_recording_id: 1, ..same },
            BackupResponse { last_leadership_term_id: 3, ..same },
            BackupResponse { last_term_base_log_position: 64, ..same },
            BackupResponse { commit_position_counter_id: 68, ..same },
            BackupResponse { leader_member_id: 1, ..same },
            BackupResponse { member_id: 2, ..same },
            BackupResponse { snapshots: Snapshots::new(&newer), ..same },
            BackupResponse { snapshots: Snapshots::new(&rows[..1]), ..same },
            BackupResponse { cluster_members: "1,a:2", ..same },
        ];
        for other in others {
            assert!(!known.is_as_in(&other), "{other:?}");
        }
    }

    #[test]
    fn no_snapshots_is_an_empty_set() {
        assert_eq!(source(Vec::new()).snapshot_set(Some(1)), Ok(Vec::new()));
        assert_eq!(source(Vec::new()).snapshot_set(None), Ok(Vec::new()));
    }
}
