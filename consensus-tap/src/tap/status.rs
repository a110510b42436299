//! What an operator sees of the tap.

/// Where an operator sees the tap: the value of the standby state counter (type 220).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(i64)]
pub enum TapState {
    /// Looking for a member that answers.
    #[default]
    BackupQuery = 0,
    /// Opening a session with the member's archive.
    ArchiveConnect = 1,
    /// Fetching the members' snapshots.
    SnapshotRetrieve = 2,
    /// Asking for the log's replay.
    LogReplay = 3,
    /// The log arrives.
    Following = 4,
    /// The members no longer have the log that would continue ours; `reseed` is needed.
    LogPurged = 5,
    /// A member's committed log is not a continuation of ours; `reseed` is needed.
    Diverged = 6,
    /// The recording could not go on.
    Failed = 7,
}

impl TapState {
    /// The state's name, as operators see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BackupQuery => "BACKUP_QUERY",
            Self::ArchiveConnect => "ARCHIVE_CONNECT",
            Self::SnapshotRetrieve => "SNAPSHOT_RETRIEVE",
            Self::LogReplay => "LOG_REPLAY",
            Self::Following => "FOLLOWING",
            Self::LogPurged => "LOG_PURGED",
            Self::Diverged => "DIVERGED",
            Self::Failed => "FAILED",
        }
    }

    /// The state with this counter value.
    pub fn from_value(value: i64) -> Option<Self> {
        const ALL: [TapState; 8] = [
            TapState::BackupQuery,
            TapState::ArchiveConnect,
            TapState::SnapshotRetrieve,
            TapState::LogReplay,
            TapState::Following,
            TapState::LogPurged,
            TapState::Diverged,
            TapState::Failed,
        ];
        usize::try_from(value).ok().and_then(|index| ALL.get(index)).copied()
    }
}

/// What is known of the source and the way to it, for counters and `status`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TapStatus {
    /// What the tap is doing.
    pub state: TapState,
    /// The member that is followed, -1 for none.
    pub source_member_id: i32,
    /// The leader as last heard, -1 for unknown.
    pub leader_member_id: i32,
    /// The newest leadership term as last heard, -1 for unknown.
    pub leadership_term_id: i64,
    /// Highest position up to which bytes of the log have arrived, in order or not; -1 before the first.
    pub received_position: i64,
    /// Recorded position of the source's own log, an upper bound of its commit; -1 before the first answer.
    pub source_position: i64,
    /// When `source_position` was told, in the time of the tap's inputs.
    pub source_position_ns: u64,
    /// How often a source was given up.
    pub sources_lost: u64,
    /// Answers to heartbeat requests, of any kind.
    pub heartbeat_responses: u64,
    /// Messages on the control streams that did not decode.
    pub invalid_messages: u64,
    /// Whether newer snapshots of the source are being fetched while its log arrives.
    pub is_fetching_beside: bool,
}

impl TapStatus {
    /// Before anything was heard.
    pub const UNKNOWN: Self = Self {
        state: TapState::BackupQuery,
        source_member_id: -1,
        leader_member_id: -1,
        leadership_term_id: -1,
        received_position: -1,
        source_position: -1,
        source_position_ns: 0,
        sources_lost: 0,
        heartbeat_responses: 0,
        invalid_messages: 0,
        is_fetching_beside: false,
    };
}
