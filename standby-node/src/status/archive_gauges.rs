//! What the archive agent shows of itself in cnc.dat.

use consensus_tap::archive::server::RecordingStore;
use consensus_tap::file::cnc::counters as kind;
use consensus_tap::serving::Serving;

use super::{SocketGauges, SocketRole};
use crate::net::IoCounters;
use crate::store::counters::{Counter, CountersFull, CountersManager};

/// Counters of the archive agent: those of a Java archive, and what came of requests as to a member.
#[derive(Debug)]
pub struct ArchiveGauges {
    control_sessions: Counter,
    replay_sessions: Counter,
    replayed_bytes: Counter,
    requests_answered: Counter,
    requests_refused: Counter,
    socket: SocketGauges,
}

impl ArchiveGauges {
    /// Allocates them.
    ///
    /// # Errors
    /// [`CountersFull`].
    pub fn allocate(
        counters: &mut CountersManager,
        archive_id: i64,
        cluster_id: i32,
    ) -> Result<Self, CountersFull> {
        let requests_answered = counters.allocate_kind(&kind::REQUESTS_ANSWERED, cluster_id, None)?;
        let requests_refused = counters.allocate_kind(&kind::REQUESTS_REFUSED, cluster_id, None)?;
        let socket = SocketGauges::allocate(counters, cluster_id, SocketRole::Archive)?;
        let key = archive_id.to_le_bytes();
        let mut own = |type_id, name: &str| {
            counters.allocate(type_id, &key, &format!("{name} - archiveId={archive_id}"), 0)
        };
        Ok(Self {
            control_sessions: own(kind::ARCHIVE_CONTROL_SESSIONS, "Archive Control Sessions")?,
            replay_sessions: own(kind::ARCHIVE_REPLAY_SESSIONS, "Archive Replay Sessions")?,
            replayed_bytes: own(kind::ARCHIVE_REPLAYED_BYTES, "archive-replayer total read bytes")?,
            requests_answered,
            requests_refused,
            socket,
        })
    }

    /// Shows what the servers do, and what happens at their socket.
    pub fn show<S: RecordingStore>(&self, serving: &Serving<S>, io: &IoCounters) {
        self.socket.show(io);
        let (server, requests) = (serving.archive(), serving.consensus_counters());
        self.requests_answered.set_ordered(requests.answered as i64);
        let unanswered = requests.refused + requests.timed_out + requests.over_limit + requests.invalid;
        self.requests_refused.set_ordered(unanswered as i64);
        self.control_sessions.set_ordered(server.session_count() as i64);
        self.replay_sessions.set_ordered(server.replay_count() as i64);
        self.replayed_bytes.set_ordered(server.stats().replayed_bytes as i64);
    }
}
