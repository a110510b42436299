//! A snapshot set that is said to be recorded is what the members hold.

use crate::tap::cluster::Cluster;
use crate::tap::log::is_same_log;
use crate::tap::standby::Standby;

pub(super) fn check(cluster: &Cluster, standby: &Standby) {
    let Some((_, recordings)) = &standby.snapshot_set else { return };
    if standby.recorder.log.is_some() {
        // Looked at before the log began.
        return;
    }
    for (recording_id, recorded) in recordings {
        let held = cluster.members.iter().find_map(|member| member.snapshot_recordings.get(recording_id));
        let is_whole = held.is_none_or(|held| is_same_log(&recorded.bytes, &held.bytes));
        assert!(is_whole, "snapshot recording {recording_id} is not what the members have");
    }
}
