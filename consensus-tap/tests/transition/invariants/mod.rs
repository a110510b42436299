//! What must hold at every moment of a run, one claim a file.

mod grants_are_on_the_disk;
mod no_fence_while_another_has_more;
mod no_lower_than_others;
mod one_leads;
mod recorded_before_served;

use super::node::{Disk, Node};
use super::world::World;
use consensus_tap::transition::{Beacon, Decision};

/// All claims together, with what they must remember.
#[derive(Debug, Default)]
pub(crate) struct Invariants {
    one_leads: one_leads::Claim,
    fences: no_fence_while_another_has_more::Claim,
}

impl Invariants {
    pub(crate) fn after_step(&mut self, nodes: &[Node], cut: &[(usize, usize)], now_ns: u64) {
        self.one_leads.check(nodes, cut, now_ns);
    }

    /// A node begins to serve.
    pub(crate) fn on_lead(&self, nodes: &[Node], cut: &[(usize, usize)], index: usize, decision: &Decision) {
        recorded_before_served::check(&nodes[index].disk, decision);
        no_lower_than_others::check(nodes, cut, index, decision);
    }

    /// A node begins anew: what it heard before is gone.
    pub(crate) fn on_started(&mut self, id: i32) {
        self.fences.on_started(id);
    }

    /// A node heard how another one stands.
    pub(crate) fn on_heard(&mut self, id: i32, beacon: &Beacon, now_ns: u64) {
        self.fences.on_heard(id, beacon, now_ns);
    }

    /// A node has asked for something.
    pub(crate) fn on_asked(&self, node: &Node, now_ns: u64) {
        self.fences.check(node, now_ns);
    }

    /// A node tells others how it stands.
    pub(crate) fn on_told(&self, disk: &Disk, beacon: &Beacon) {
        grants_are_on_the_disk::check(disk, beacon);
    }

    /// Everything has healed, and operators have asked.
    pub(crate) fn at_rest(&self, world: &World) {
        one_leads::check_at_rest(world);
    }
}
