//! What the archive agent shows of itself in cnc.dat.

use consensus_tap::archive::server::{ArchiveServer, RecordingStore};
use consensus_tap::file::cnc::counters as kind;

use crate::store::counters::{Counter, CountersFull, CountersManager};

/// Counters of the archive agent, as a Java archive has them.
#[derive(Debug)]
pub struct ArchiveGauges {
    control_sessions: Counter,
    replay_sessions: Counter,
    replayed_bytes: Counter,
}

impl ArchiveGauges {
    /// Allocates them.
    ///
    /// # Errors
    /// [`CountersFull`].
    pub fn allocate(counters: &mut CountersManager, archive_id: i64) -> Result<Self, CountersFull> {
        let key = archive_id.to_le_bytes();
        let mut own = |type_id, name: &str| {
            counters.allocate(type_id, &key, &format!("{name} - archiveId={archive_id}"), 0)
        };
        Ok(Self {
            control_sessions: own(kind::ARCHIVE_CONTROL_SESSIONS, "Archive Control Sessions")?,
            replay_sessions: own(kind::ARCHIVE_REPLAY_SESSIONS, "Archive Replay Sessions")?,
            replayed_bytes: own(kind::ARCHIVE_REPLAYED_BYTES, "archive-replayer total read bytes")?,
        })
    }

    /// Shows what the server does.
    pub fn show<S: RecordingStore>(&self, server: &ArchiveServer<S>) {
        self.control_sessions.set_ordered(server.session_count() as i64);
        self.replay_sessions.set_ordered(server.replay_count() as i64);
        self.replayed_bytes.set_ordered(server.stats().replayed_bytes as i64);
    }
}
