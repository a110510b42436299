//! What a tap asks of the runtime, and what it reports to the operator.

use super::source::Source;
use crate::archive::Recording;
use crate::channel::HostPort;
use crate::codec::consensus::SnapshotEntry;

/// A request to the runtime. Each is answered by the named input of [`super::Tap`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TapAction {
    /// Look a name up, off the hot thread: answered by `on_resolved`.
    Resolve {
        /// To be given back.
        token: u64,
        /// What to look up.
        endpoint: HostPort,
    },
    /// Create the recording of one snapshot of a set: answered by `on_recording_opened`.
    OpenSnapshot {
        /// Index in the set.
        index: usize,
        /// What it stands for.
        row: SnapshotEntry,
        /// As the member's archive describes it.
        descriptor: Recording,
    },
    /// Every snapshot of the set is recorded to its end: make it durable and enter it. Where there is no log yet,
    /// this is what the services start from.
    SnapshotsRecorded,
    /// The set was given up half-way: remove what was opened.
    DiscardSnapshots,
    /// Create the recording of the log: answered by `on_recording_opened`.
    OpenLog {
        /// Where the log begins here: a snapshot's position, or the source's own start.
        start_position: i64,
        /// As the member's archive describes it.
        descriptor: Recording,
    },
    /// Tell the operator.
    Report(TapReport),
}

/// Something an operator should read in the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TapReport {
    /// A source was chosen.
    SourceChosen(Box<Source>),
    /// The source that is followed says something new: of its members, snapshots, term or leader.
    SourceChanged(Box<Source>),
    /// Following begins at a position.
    Following {
        /// Who is followed.
        member_id: i32,
        /// Where its replay begins.
        replay_position: i64,
    },
    /// A candidate or source was given up, and why; another is tried.
    SourceLost {
        /// Its consensus endpoint.
        endpoint: HostPort,
        /// In words.
        reason: String,
    },
    /// Newer snapshots of the source could not be fetched; following goes on, and they are tried again.
    SnapshotsNotFetched {
        /// The source.
        member_id: i32,
        /// In words.
        reason: String,
    },
    /// Every source has been behind us for a minute.
    SourcesBehind {
        /// Our end.
        position: i64,
        /// Theirs.
        limit: i64,
    },
    /// Following has ended for good, with the files kept.
    Halted {
        /// `LOG_PURGED`, `DIVERGED` or `FAILED`.
        state: super::TapState,
        /// In words, with the next step.
        reason: String,
    },
}
