//! When nothing happens any more, the source holds one control session and one replay of ours, and nobody else
//! holds anything.

use crate::tap::cluster::Cluster;
use crate::tap::standby::Standby;
use consensus_tap::tap::TapState;

pub(super) fn check(cluster: &Cluster, standby: &Standby) {
    if standby.state() != TapState::Following {
        return;
    }
    let source = standby.tap.status().source_member_id;
    for member in &cluster.members {
        let Some(node) = &member.node else { continue };
        let expected = usize::from(member.id == source);
        let archive = &node.archive;
        assert_eq!(archive.sessions.len(), expected, "member {}: {:?}", member.id, archive.sessions);
        assert_eq!(archive.replays.len(), expected, "member {}: {:?}", member.id, archive.replays);
    }
}
