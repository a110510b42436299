//! Of nodes that hear each other one leads at most, and where no standby was passed over by force one leads at most.

use super::super::node::Node;
use super::super::world::World;
use consensus_tap::transition::Check;

/// A partition that ends is seen within this time: beacons, their way, and some that are lost.
const NOTICED_WITHIN_NS: u64 = 3_000_000_000;

#[derive(Debug, Default)]
pub(super) struct Claim {
    /// Since when two lead that hear each other.
    since_ns: Option<u64>,
}

impl Claim {
    pub(super) fn check(&mut self, nodes: &[Node], cut: &[(usize, usize)], now_ns: u64) {
        let leading: Vec<usize> =
            (0..nodes.len()).filter(|index| serving(&nodes[*index]).is_some()).collect();
        let was_forced = leading.iter().filter_map(|index| serving(&nodes[*index])).any(|serving| {
            [Check::StandbyUnreachable, Check::Granted].iter().any(|check| serving.forced.has(*check))
        });
        assert!(leading.len() < 2 || was_forced, "two lead: {leading:?}, {nodes:#?}");
        let hear =
            |one: usize, other: usize| one != other && !cut.contains(&(one.min(other), one.max(other)));
        if leading.iter().any(|one| leading.iter().any(|other| hear(*one, *other))) {
            let since_ns = *self.since_ns.get_or_insert(now_ns);
            assert!(now_ns < since_ns + NOTICED_WITHIN_NS, "two go on leading that hear each other");
        } else {
            self.since_ns = None;
        }
    }
}

fn serving(node: &Node) -> Option<super::super::node::Serving> {
    node.running.as_ref()?.serving
}

pub(super) fn check_at_rest(world: &World) {
    let leading = world.leading();
    assert!(leading.len() < 2, "two lead at rest: {leading:?}");
    assert!(!leading.is_empty(), "nobody leads, whoever was asked: {:#?}", world.nodes);
}
