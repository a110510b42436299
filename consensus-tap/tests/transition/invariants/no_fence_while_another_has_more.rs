//! Nobody runs the fence while another standby says that it has more of the log: what it cuts off would be cut
//! off for an activation that is then refused.

use super::super::node::{Effect, MS, Node};
use consensus_tap::transition::{Beacon, Check, UNREAD};

/// What was said longer ago may be out of contact. Short of the timeout, for clocks run at their own pace.
const SAID_WITHIN_NS: u64 = 800 * MS;

fn is_ahead(beacon: &Beacon, node: &Node) -> bool {
    let term = if beacon.log_term_id == UNREAD { beacon.leadership_term_id } else { beacon.log_term_id };
    beacon.log_position > 0 && (term, beacon.log_position) > (node.disk.term, node.disk.log_end)
}

/// What each node, by id, last heard of each other.
#[derive(Debug, Default)]
pub(super) struct Claim {
    heard: Vec<(i32, Beacon, u64)>,
}

impl Claim {
    pub(super) fn on_started(&mut self, id: i32) {
        self.heard.retain(|(to, ..)| *to != id);
    }

    pub(super) fn on_heard(&mut self, id: i32, beacon: &Beacon, now_ns: u64) {
        let order = |beacon: &Beacon| (beacon.incarnation, beacon.sequence);
        let is_of =
            |(to, known, _): &&mut (i32, Beacon, u64)| *to == id && known.member_id == beacon.member_id;
        match self.heard.iter_mut().find(is_of) {
            Some((_, known, _)) if order(known) >= order(beacon) => {}
            Some((_, known, heard_ns)) => (*known, *heard_ns) = (*beacon, now_ns),
            None => self.heard.push((id, *beacon, now_ns)),
        }
    }

    pub(super) fn check(&self, node: &Node, now_ns: u64) {
        let Some(running) = &node.running else { return };
        let fence = running.pending.iter().find_map(|(_, effect)| match effect {
            Effect::Fence { forced, asked_ns } if *asked_ns == now_ns => Some(forced),
            _ => None,
        });
        let Some(forced) = fence.filter(|forced| !forced.has(Check::Behind)) else { return };
        for (to, beacon, heard_ns) in &self.heard {
            let is_said = *to == node.id && now_ns < heard_ns + SAID_WITHIN_NS;
            assert!(
                !is_said || !is_ahead(beacon, node),
                "{} runs its fence at {}, forced {forced:?}, and has heard {beacon:?}",
                node.id,
                node.disk.log_end
            );
        }
    }
}
