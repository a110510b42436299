//! The end of most tests: nodes that followed a cluster to its end hold what its members hold.

use std::time::Duration;

use super::audit_log::{AuditLog, Report, compare};
use super::cluster::Cluster;
use super::standby::Standby;

const APPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// Has every member take a last snapshot and end, every standby apply the log to that end, and compares each with
/// every member. Returns the report of the standby that had the fewest positions in common with a member.
///
/// # Panics
/// At a difference, or when something does not end.
pub(crate) fn end_and_compare(cluster: &Cluster, standbys: &[&Standby]) -> Report {
    cluster.shutdown();
    let members = cluster.audit_logs();
    let end = last_position(&members);
    for standby in standbys {
        standby.await_applied(end, APPLY_TIMEOUT);
        standby.stop();
    }
    let logs = standbys.iter().map(|standby| standby.audit_log());
    logs.map(|log| compare_with_members(&members, log))
        .min_by_key(|report| report.common_positions_min)
        .expect("a standby to compare")
}

/// Compares one node with all members. Nodes that joined at different times need not have printed at the same
/// positions, so they are not compared with each other.
///
/// # Panics
/// At a difference.
pub(crate) fn compare_with_members(members: &[AuditLog], node: AuditLog) -> Report {
    let mut logs = members.to_vec();
    logs.push(node);
    compare(&logs).unwrap_or_else(|error| panic!("{error}"))
}

/// The last position that any of the nodes printed.
pub(crate) fn last_position(nodes: &[AuditLog]) -> i64 {
    let positions = nodes.iter().flat_map(|node| &node.lines).map(|line| line.position);
    positions.max().expect("members print audit lines")
}
