//! What must hold at every moment of a run, one claim a file.

mod at_rest_one_session;
mod halts_are_true;
mod memory_is_bounded;
mod one_source_at_a_time;
mod recorded_is_committed;
mod replays_are_bounded;
mod snapshots_are_whole;

use super::cluster::Cluster;
use super::standby::Standby;
use std::net::SocketAddr;

/// All claims together, with what they must remember.
#[derive(Debug, Default)]
pub(crate) struct Invariants {
    recorded_is_committed: recorded_is_committed::Claim,
    replays_are_bounded: replays_are_bounded::Claim,
    one_source_at_a_time: one_source_at_a_time::Claim,
    halts_are_true: halts_are_true::Claim,
    snapshots_are_whole: snapshots_are_whole::Claim,
}

impl Invariants {
    pub(crate) fn after_step(
        &mut self,
        cluster: &Cluster,
        standby: &Standby,
        cut: &[SocketAddr],
        now_ns: u64,
    ) {
        self.recorded_is_committed.check(cluster, standby);
        self.replays_are_bounded.check(cluster);
        self.halts_are_true.check(cluster, standby, cut, now_ns);
        memory_is_bounded::check(standby);
        self.snapshots_are_whole.check(cluster, standby);
    }

    /// A datagram left the standby.
    pub(crate) fn on_sent(&mut self, datagram: &[u8], log_stream_id: i32) {
        self.one_source_at_a_time.on_sent(datagram, log_stream_id);
    }

    /// From now on the standby may fail.
    pub(crate) fn disk_is_full(&mut self) {
        self.halts_are_true.is_disk_full = true;
    }

    /// Nothing happens any more.
    pub(crate) fn at_rest(&self, cluster: &Cluster, standby: &Standby) {
        at_rest_one_session::check(cluster, standby);
    }

    pub(crate) fn unsafe_replays_granted(&self) -> u64 {
        self.replays_are_bounded.unsafe_count
    }
}
