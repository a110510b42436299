//! The twin of BurstAudit.java: the reference service with one command more.

use service_api::{
    ClientSession, CloseReason, Cluster, ClusteredService, FrozenState, NewLeadershipTerm, Role,
    ServiceError, ServiceId, SnapshotReader, SnapshotWriter, StatusFields,
};
use standby_node::audit::Audit;

/// Command 4 carries a u64 n at offset 16; the service with id 0 then offers n messages of 32 bytes to the cluster,
/// each u64 3, i64 0, u64 index (from 0), u64 [`MARK`].
#[derive(Debug)]
pub(crate) struct BurstAudit(pub(crate) Audit);

const COMMAND_BURST: u64 = 4;
const COMMAND_OFFERED: u64 = 3;
const MARK: u64 = 0x5374_616e_6462_7921;

impl BurstAudit {
    fn burst(cluster: &Cluster<'_>, message: &[u8]) {
        let word = |at: usize| {
            message.get(at..at + 8).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("8 bytes")))
        };
        if cluster.service_id() != ServiceId(0) || word(0) != Some(COMMAND_BURST) {
            return;
        }
        for index in 0..word(16).unwrap_or(0) {
            let words = [COMMAND_OFFERED, 0, index, MARK];
            let offered: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            cluster.offer(&offered).expect("there is room for a burst");
        }
    }
}

impl ClusteredService for BurstAudit {
    fn on_start(
        &mut self,
        cluster: &Cluster<'_>,
        snapshot: Option<&mut dyn SnapshotReader>,
    ) -> Result<(), ServiceError> {
        self.0.on_start(cluster, snapshot)
    }

    fn on_session_open(&mut self, cluster: &Cluster<'_>, session: ClientSession<'_>, timestamp: i64) {
        self.0.on_session_open(cluster, session, timestamp);
    }

    fn on_session_message(
        &mut self,
        cluster: &Cluster<'_>,
        session: Option<ClientSession<'_>>,
        timestamp: i64,
        message: &[u8],
    ) {
        self.0.on_session_message(cluster, session, timestamp, message);
        Self::burst(cluster, message);
    }

    fn on_session_close(
        &mut self,
        cluster: &Cluster<'_>,
        session: ClientSession<'_>,
        timestamp: i64,
        reason: CloseReason,
    ) {
        self.0.on_session_close(cluster, session, timestamp, reason);
    }

    fn on_timer_event(&mut self, cluster: &Cluster<'_>, correlation_id: i64, timestamp: i64) {
        self.0.on_timer_event(cluster, correlation_id, timestamp);
    }

    fn on_take_snapshot(
        &mut self,
        cluster: &Cluster<'_>,
        snapshot: &mut dyn SnapshotWriter,
    ) -> Result<(), ServiceError> {
        self.0.on_take_snapshot(cluster, snapshot)
    }

    fn freeze(&mut self, cluster: &Cluster<'_>) -> Option<Box<dyn FrozenState>> {
        self.0.freeze(cluster)
    }

    fn on_role_change(&mut self, cluster: &Cluster<'_>, role: Role) {
        self.0.on_role_change(cluster, role);
    }

    fn on_new_leadership_term_event(&mut self, cluster: &Cluster<'_>, term: &NewLeadershipTerm) {
        self.0.on_new_leadership_term_event(cluster, term);
    }

    fn on_terminate(&mut self, cluster: &Cluster<'_>) {
        self.0.on_terminate(cluster);
    }

    fn status(&self, fields: &mut StatusFields) {
        self.0.status(fields);
    }
}
