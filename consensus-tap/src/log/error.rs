//! What stops a reader, in words for the operator.

use crate::codec::log::EventError;
use crate::wire::Reject;

/// A log holds what no log of a cluster holds. Delivery stops before it.
///
/// The bytes were checked when they arrived, so this is a damaged file, a fork, or a member at fault. The
/// next step is to compare the recording with another source's around `position`, and to reseed from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the log cannot be read on from position {position}: {fault}; compare it with another source's recording there, and \
     `reseed` where this one is at fault"
)]
pub struct LogError {
    /// Where the frame or message at fault begins.
    pub position: i64,
    /// What is wrong with it.
    pub fault: LogFault,
}

/// What is wrong in a [`LogError`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LogFault {
    /// The frames do not make up messages.
    #[error(transparent)]
    Frame(#[from] FrameFault),
    /// A message is not one of a cluster's log.
    #[error("the message is not one of a cluster's log: {0}")]
    Event(#[from] EventError),
    /// An event that states where it ends was appended elsewhere.
    #[error("the event says that it ends at {stated}, but it ends at {found}")]
    EventPosition {
        /// What the event says.
        stated: i64,
        /// Where it ends.
        found: i64,
    },
    /// A leadership term that states where it begins begins elsewhere.
    #[error("the leadership term says that it begins at {stated}, but its event begins at {found}")]
    TermBase {
        /// What the event says.
        stated: i64,
        /// Where it begins.
        found: i64,
    },
    /// A new leadership term is not newer than the one before.
    #[error("leadership term {found} begins, but term {current} has begun before it")]
    TermOrder {
        /// The term so far.
        current: i64,
        /// The term that begins.
        found: i64,
    },
    /// A message belongs to another leadership term than the one that it stands in.
    #[error("the message is of leadership term {found}, but it stands in term {current}")]
    TermMismatch {
        /// The term so far.
        current: i64,
        /// The message's.
        found: i64,
    },
}

/// Frames that do not make up messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FrameFault {
    /// No frame, or a heartbeat, or a frame that is not whole.
    #[error("no whole DATA or PAD frame: {0}")]
    Malformed(Reject),
    /// The frame's own term does not match its place in the recording.
    #[error(
        "the frame belongs to term {found_term_id} offset {found_term_offset}, its place is term \
         {term_id} offset {term_offset}"
    )]
    Misplaced {
        /// Term of the place.
        term_id: i32,
        /// Offset of the place.
        term_offset: i32,
        /// Term in the frame.
        found_term_id: i32,
        /// Offset in the frame.
        found_term_offset: i32,
    },
    /// The frame is longer than what is left of its term.
    #[error("the frame reaches beyond the end of its term")]
    BeyondTerm,
    /// A fragment continues a message that never began.
    #[error("the frame continues a message that has not begun")]
    NotBegun,
    /// A message begins while another is unfinished, and it is not a new leader's first.
    #[error("the message that begins at {begin_position} is never finished")]
    Unfinished {
        /// Where the unfinished message begins.
        begin_position: i64,
    },
    /// The message exceeds 16 MiB, the longest that Aeron carries.
    #[error("the message exceeds 16 MiB")]
    TooLong,
}

/// A snapshot recording cannot be loaded.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the snapshot cannot be loaded, at position {position} of its recording: {fault}; invalidate it in \
     recording.log and start from an older one, or fetch it anew"
)]
pub struct SnapshotError {
    /// Where in the recording, in bytes.
    pub position: i64,
    /// What is wrong there.
    pub fault: SnapshotFault,
}

/// What is wrong in a [`SnapshotError`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SnapshotFault {
    /// The frames do not make up messages.
    #[error(transparent)]
    Frame(#[from] FrameFault),
    /// A message is not one of a snapshot.
    #[error("the message is not one of a snapshot: {0}")]
    Message(#[from] EventError),
    /// The snapshot is another component's.
    #[error("the snapshot is of type {found}, expected {expected}")]
    WrongType {
        /// The type asked for.
        expected: i64,
        /// The marker's.
        found: i64,
    },
    /// A second BEGIN marker.
    #[error("the snapshot begins a second time")]
    BeginsTwice,
    /// Something stands before the BEGIN marker.
    #[error("the BEGIN marker is missing")]
    BeginMissing,
    /// The recording ends before the END marker, or within a message.
    #[error("the recording ends before the snapshot does")]
    Truncated,
    /// The application's major version differs.
    #[error("the snapshot is of application version {}, incompatible with {}", Version(*.found), Version(*.expected))]
    AppVersion {
        /// The version configured.
        expected: i32,
        /// The marker's.
        found: i32,
    },
    /// Cluster time is counted in another unit.
    #[error("the snapshot counts time in {found:?}, the cluster in {expected:?}")]
    TimeUnit {
        /// The cluster's unit.
        expected: crate::codec::log::ClusterTimeUnit,
        /// The marker's.
        found: crate::codec::log::ClusterTimeUnit,
    },
    /// The snapshot was taken at another place of the log than the recording log says.
    #[error(
        "the snapshot was taken at log position {found_log_position} of leadership term \
         {found_leadership_term_id}, recording.log says {log_position} of term {leadership_term_id}"
    )]
    WrongPlace {
        /// Position expected.
        log_position: i64,
        /// Term expected.
        leadership_term_id: i64,
        /// The marker's position.
        found_log_position: i64,
        /// The marker's term.
        found_leadership_term_id: i64,
    },
    /// The snapshot holds messages of a service that is not configured.
    #[error("the snapshot is of service {service_id}, but there are {service_count} services")]
    UnknownService {
        /// The service in the snapshot.
        service_id: i32,
        /// How many are configured.
        service_count: usize,
    },
    /// A service's pending messages do not follow its newest message in the log one by one.
    #[error("pending message {found} of service {service_id} stands where {expected} is expected")]
    PendingMessageOrder {
        /// The service.
        service_id: usize,
        /// Session id expected.
        expected: i64,
        /// Session id found.
        found: i64,
    },
    /// A service's counters do not match its pending messages.
    #[error(
        "service {service_id} would send {next_service_session_id} next, but after its pending messages \
         {expected} is due"
    )]
    PendingMessageCount {
        /// The service.
        service_id: usize,
        /// Session id expected next.
        expected: i64,
        /// The counter.
        next_service_session_id: i64,
    },
    /// A service's pending messages, or the ring that they are said to need, exceed 1 GiB.
    #[error("the pending messages of service {service_id} need a ring of {capacity} bytes, 1 GiB is allowed")]
    PendingMessageCapacity {
        /// The service.
        service_id: usize,
        /// Bytes.
        capacity: i64,
    },
}

/// A version as people write it.
pub(crate) struct Version(pub(crate) i32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major(), self.0 >> 8 & 0xff, self.0 & 0xff)
    }
}

impl Version {
    pub(crate) fn major(&self) -> i32 {
        self.0 >> 16 & 0xff
    }
}
