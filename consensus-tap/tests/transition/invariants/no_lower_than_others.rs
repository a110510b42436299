//! Nobody serves from below what another standby has that can be asked, nor in an older term's log.

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
        if is_asked {
            let (own, others) = ((own_term, decision.base_log_position), (node.disk.term, node.disk.log_end));
            assert!(others <= own, "{} serves from {own:?}, {} has {others:?}", nodes[index].id, node.id);
        }
    }
}
