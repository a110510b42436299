//! A snapshot set that is said to be recorded is what the members took.

use crate::tap::cluster::Cluster;
use crate::tap::log::is_same_log;
use crate::tap::standby::Standby;

#[derive(Debug, Default)]
pub(crate) struct Claim {
    checked_count: u64,
}

impl Claim {
    pub(super) fn check(&mut self, cluster: &Cluster, standby: &Standby) {
        let Some((position, recordings)) = &standby.snapshot_set else { return };
        if standby.set_count == self.checked_count {
            return;
        }
        self.checked_count = standby.set_count;
        assert_eq!(recordings.len() as i32, cluster.service_count + 1, "the set at {position}");
        for (recording_id, recorded) in recordings {
            let taken = &cluster.snapshots_taken[recording_id];
            assert!(
                is_same_log(&recorded.bytes, &taken.bytes),
                "snapshot recording {recording_id} is not what the members took"
            );
        }
    }
}
