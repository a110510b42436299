//! The lightest service that still answers: what is left of a bench's time is the node's.

use service_api::{
    ClientSession, Cluster, ClusteredService, FrozenState, ServiceError, SnapshotReader, SnapshotWriter,
};

/// Counts messages and replies to each, without a look at it: what `CountingAudit` of scripts/interop is in Java.
#[derive(Debug, Default)]
pub(crate) struct MessageCounter {
    count: i64,
}

impl ClusteredService for MessageCounter {
    fn on_start(
        &mut self,
        _cluster: &Cluster<'_>,
        snapshot: Option<&mut dyn SnapshotReader>,
    ) -> Result<(), ServiceError> {
        if let Some(snapshot) = snapshot {
            let count = snapshot.read()?.and_then(|bytes| bytes.try_into().ok());
            self.count = i64::from_le_bytes(count.ok_or("the counter's snapshot has no 8 bytes")?);
        }
        Ok(())
    }

    fn on_session_message(
        &mut self,
        _cluster: &Cluster<'_>,
        session: Option<ClientSession<'_>>,
        _timestamp: i64,
        message: &[u8],
    ) {
        self.count += 1;
        if let Some(session) = session {
            // The head of the message, by which its client knows it, and the count in place of the audit's state.
            let mut reply = [0; REPLY_LENGTH];
            let head = &message[..message.len().min(HEAD_LENGTH)];
            reply[..head.len()].copy_from_slice(head);
            reply[COUNT_OFFSET..].copy_from_slice(&self.count.to_le_bytes());
            // A client that cannot take it is one that no bench has.
            let _ = session.offer(&reply);
        }
    }

    fn on_take_snapshot(
        &mut self,
        _cluster: &Cluster<'_>,
        snapshot: &mut dyn SnapshotWriter,
    ) -> Result<(), ServiceError> {
        Box::new(Count(self.count)).write(snapshot)
    }

    fn freeze(&mut self, _cluster: &Cluster<'_>) -> Option<Box<dyn FrozenState>> {
        Some(Box::new(Count(self.count)))
    }
}

/// All of the state.
struct Count(i64);

impl FrozenState for Count {
    fn write(self: Box<Self>, snapshot: &mut dyn SnapshotWriter) -> Result<(), ServiceError> {
        snapshot.write(&self.0.to_le_bytes())
    }
}

const HEAD_LENGTH: usize = 16;
const COUNT_OFFSET: usize = 24;
const REPLY_LENGTH: usize = 32;
