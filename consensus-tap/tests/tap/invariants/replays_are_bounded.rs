//! The tap never receives from a replay that something else than a commit position bounds.

use crate::tap::cluster::Cluster;
use std::collections::HashSet;

#[derive(Debug, Default)]
pub(crate) struct Claim {
    seen: HashSet<i32>,
    /// Replays that were granted with a counter whose module had gone: the trap was there.
    pub(super) unsafe_count: u64,
}

impl Claim {
    pub(super) fn check(&mut self, cluster: &Cluster) {
        for member in &cluster.members {
            let replays = member.node.iter().flat_map(|node| &node.archive.replays);
            for replay in replays.filter(|replay| replay.is_unsafe()) {
                self.unsafe_count += u64::from(self.seen.insert(replay.session_id));
                assert!(!replay.has_receiver(), "member {}: {replay:?} has no bound", member.id);
            }
        }
    }
}
