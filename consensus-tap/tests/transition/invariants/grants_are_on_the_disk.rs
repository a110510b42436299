//! What a node promises it still knows after a crash.

use super::super::node::Disk;
use consensus_tap::transition::Beacon;

pub(super) fn check(disk: &Disk, beacon: &Beacon) {
    assert!(
        beacon.grant.is_none() || beacon.grant == disk.grant,
        "{} tells of {:?}, its disk of {:?}",
        beacon.member_id,
        beacon.grant,
        disk.grant
    );
}
