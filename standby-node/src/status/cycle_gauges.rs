//! How long the duty cycles of a hot thread take, as Aeron shows it for its own agents.

use std::time::Duration;

use consensus_tap::file::cnc::counters as kind;

use crate::store::counters::{Counter, CountersFull, CountersManager};

/// Counters of one agent's duty cycles. A cycle includes idling, as with Aeron: it is how long something that arrived
/// may have had to wait.
#[derive(Clone, Debug)]
pub struct CycleGauges {
    /// The longest since the start, in nanoseconds.
    pub max_ns: Counter,
    /// How many took longer than the threshold, which is in the label.
    pub exceeded_count: Counter,
}

impl CycleGauges {
    /// Allocates those of the standby: types 227 and 228.
    ///
    /// # Errors
    /// [`CountersFull`].
    pub fn allocate_for_standby(
        counters: &mut CountersManager,
        cluster_id: i32,
        threshold: Duration,
    ) -> Result<Self, CountersFull> {
        let mut cluster = |type_id, name: &str| counters.allocate_for_cluster(type_id, name, cluster_id, 0);
        Ok(Self {
            max_ns: cluster(kind::STANDBY_CYCLE_TIME_MAX, "Cluster Standby max cycle time in ns")?,
            exceeded_count: cluster(
                kind::STANDBY_CYCLE_TIME_EXCEEDED,
                &exceeded("Cluster Standby", threshold),
            )?,
        })
    }

    /// Allocates those of a service, with the labels of `ClusteredServiceContainer.java`: types 218 and 219.
    ///
    /// # Errors
    /// [`CountersFull`].
    pub fn allocate_for_service(
        counters: &mut CountersManager,
        cluster_id: i32,
        service_id: u8,
        threshold: Duration,
    ) -> Result<Self, CountersFull> {
        let mut service = |type_id, name: &str| {
            counters.allocate_for_service(type_id, name, cluster_id, i32::from(service_id), 0)
        };
        Ok(Self {
            max_ns: service(kind::SERVICE_CYCLE_TIME_MAX, "Cluster container max cycle time in ns")?,
            exceeded_count: service(
                kind::SERVICE_CYCLE_TIME_EXCEEDED,
                &exceeded("Cluster container", threshold),
            )?,
        })
    }
}

fn exceeded(of: &str, threshold: Duration) -> String {
    format!("{of} work cycle time exceeded count: threshold={}ns", threshold.as_nanos())
}
