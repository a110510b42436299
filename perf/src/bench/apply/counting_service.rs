use crate::allocations;
use service_api::{ClientSession, Cluster, ClusteredService, ServiceError, SnapshotReader, SnapshotWriter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts messages, and what its thread allocates while it does.
#[derive(Debug)]
pub(super) struct CountingService {
    count: u64,
    warm_up_count: u64,
    last_count: u64,
    allocations_at_start: u64,
    tally: Arc<SharedTally>,
}

/// Figures of the messages behind the warm-up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    pub(super) message_count: u64,
    pub(super) allocation_count: u64,
}

/// Where the service leaves its figures when the last message is through.
#[derive(Debug, Default)]
pub(super) struct SharedTally {
    message_count: AtomicU64,
    allocation_count: AtomicU64,
}

impl Tally {
    pub(super) fn shared() -> SharedTally {
        SharedTally::default()
    }
}

impl SharedTally {
    /// To be called once the service's thread was joined, which orders its stores.
    pub(super) fn taken(&self) -> Tally {
        Tally {
            message_count: self.message_count.load(Ordering::Relaxed),
            allocation_count: self.allocation_count.load(Ordering::Relaxed),
        }
    }
}

impl CountingService {
    pub(super) fn new(warm_up_count: u64, last_count: u64, tally: &Arc<SharedTally>) -> Self {
        Self { count: 0, warm_up_count, last_count, allocations_at_start: 0, tally: Arc::clone(tally) }
    }
}

impl ClusteredService for CountingService {
    fn on_start(
        &mut self,
        _cluster: &Cluster<'_>,
        _snapshot: Option<&mut dyn SnapshotReader>,
    ) -> Result<(), ServiceError> {
        Ok(())
    }

    fn on_session_message(
        &mut self,
        _cluster: &Cluster<'_>,
        _session: Option<ClientSession<'_>>,
        _timestamp: i64,
        _payload: &[u8],
    ) {
        self.count += 1;
        if self.count == self.warm_up_count {
            self.allocations_at_start = allocations::of_this_thread();
        } else if self.count == self.last_count {
            let allocation_count = allocations::of_this_thread() - self.allocations_at_start;
            self.tally.allocation_count.store(allocation_count, Ordering::Relaxed);
            self.tally.message_count.store(self.count - self.warm_up_count, Ordering::Relaxed);
        }
    }

    fn on_take_snapshot(
        &mut self,
        _cluster: &Cluster<'_>,
        _snapshot: &mut dyn SnapshotWriter,
    ) -> Result<(), ServiceError> {
        Ok(())
    }
}
