//! Nobody serves from below what another standby has that can be asked.

use super::super::node::Node;
use consensus_tap::transition::{Check, Decision};

pub(super) fn check(nodes: &[Node], cut: &[(usize, usize)], index: usize, decision: &Decision) {
    // A cluster that lives goes on appending wherever it is followed.
    let forced = [Check::Behind, Check::StandbyUnreachable, Check::MemberLiving];
    if forced.iter().any(|check| decision.forced.has(*check)) {
        return;
    }
    let own_term = nodes[index].disk.term;
    for (other, node) in nodes.iter().enumerate() {
        let is_cut = cut.contains(&(index.min(other), index.max(other)));
        let is_asked = other != index && node.running.is_some() && !is_cut;
        // Of a log that went another way nothing follows for this one.
        if is_asked && node.disk.term == own_term {
            assert!(
                node.disk.log_end <= decision.base_log_position,
                "{} serves from {}, {} has {}",
                nodes[index].id,
                decision.base_log_position,
                node.id,
                node.disk.log_end
            );
        }
    }
}
