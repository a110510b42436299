//! The cluster, the standbys and what lies between them.

use consensus_tap::transition::{
    Beacon, Check, ForcedChecks, Outcome, RequestKind, SourcePosition, TransitionAction, TransitionState,
};

use super::invariants::Invariants;
use super::node::{Disk, Effect, MS, Node, Serving};
use crate::rng::Rng;

pub(crate) const STEP_NS: u64 = 5 * MS;
const BEACON_INTERVAL_NS: u64 = 100 * MS;
const FAULTS_UNTIL_NS: u64 = 12_000 * MS;
const HEALED_UNTIL_NS: u64 = 30_000 * MS;

/// What happened in one or more runs.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) led: u64,
    pub(crate) led_again: u64,
    /// How often a cluster began.
    pub(crate) began: u64,
    pub(crate) fenced: u64,
    pub(crate) refused: Vec<(&'static str, u64)>,
    pub(crate) crashed_in: Vec<(&'static str, u64)>,
    pub(crate) followed_a_peer: u64,
    pub(crate) rested_active: u64,
    /// How often a fence was run.
    pub(crate) fences: u64,
}

impl Seen {
    pub(crate) fn add(&mut self, other: &Seen) {
        self.led += other.led;
        self.led_again += other.led_again;
        self.began += other.began;
        self.fenced += other.fenced;
        self.followed_a_peer += other.followed_a_peer;
        self.rested_active += other.rested_active;
        self.fences += other.fences;
        for (name, count) in &other.refused {
            count_in(&mut self.refused, name, *count);
        }
        for (name, count) in &other.crashed_in {
            count_in(&mut self.crashed_in, name, *count);
        }
    }

    pub(crate) fn assert_that_all_happened(&self) {
        assert!(self.led > 0 && self.led_again > 0 && self.fenced > 0 && self.followed_a_peer > 0);
        assert!(self.began > 0);
        for name in ["CLAIM", "SEAL", "FENCE", "TERM", "SERVE", "ACTIVE", "FENCED", "FOLLOWING"] {
            assert!(self.crashed_in.iter().any(|(seen, _)| *seen == name), "no crash in {name}");
        }
        for check in [
            Check::MemberLiving,
            Check::StandbyUnreachable,
            Check::StandbyActive,
            Check::ClaimLost,
            Check::Granted,
            Check::FenceFailed,
        ] {
            assert!(self.refused.iter().any(|(name, _)| *name == check.name()), "never {}", check.name());
        }
    }
}

fn count_in(counts: &mut Vec<(&'static str, u64)>, name: &'static str, count: u64) {
    match counts.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known += count,
        None => counts.push((name, count)),
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now_ns: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) seen: Seen,
    /// Pairs of nodes, by index, that do not hear each other.
    pub(crate) cut: Vec<(usize, usize)>,
    pub(crate) is_cluster_living: bool,
    cluster_position: i64,
    loss_per_mille: u64,
    crash_per_mille: u64,
    /// Operators override what can be.
    forces: bool,
    kill_cluster_at_ns: u64,
    in_flight: Vec<(u64, usize, Beacon)>,
    invariants: Invariants,
    rng: Rng,
    is_traced: bool,
}

impl World {
    /// Two standbys whose cluster died a while ago; nothing goes wrong by itself.
    pub(crate) fn quiet() -> Self {
        let mut world = Self::new(7, 2, false);
        world.kill_cluster_at_ns = 500 * MS;
        world.run_until(2_500 * MS);
        world
    }

    /// Two standbys without a cluster, of which the first begins one.
    pub(crate) fn beginning() -> Self {
        let mut world = Self::new(7, 2, false);
        world.kill_cluster_at_ns = 0;
        for node in &mut world.nodes {
            node.disk = Disk { term: -1, ..Disk::default() };
        }
        world.nodes[0].begins_cluster = true;
        world
    }

    pub(crate) fn random(seed: u64, is_traced: bool) -> Self {
        let mut rng = Rng::new(seed);
        let node_count = rng.between(1, 3) as usize;
        let mut world = Self::new(seed, node_count, is_traced);
        world.kill_cluster_at_ns = rng.between(0, 4_000) * MS;
        world.loss_per_mille = rng.pick(&[0, 50, 300]);
        world.crash_per_mille = rng.pick(&[0, 20, 100]);
        world.forces = rng.chance(250);
        if rng.chance(200) {
            world.is_cluster_living = false;
            for node in &mut world.nodes {
                node.disk = Disk { term: -1, ..Disk::default() };
                node.begins_cluster = rng.chance(700);
            }
        }
        world.rng = rng;
        world
    }

    fn new(seed: u64, node_count: usize, is_traced: bool) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed);
        Self {
            now_ns: 0,
            nodes: (0..node_count).map(|index| Node::new(100 + index as i32, &mut rng)).collect(),
            seen: Seen::default(),
            cut: Vec::new(),
            is_cluster_living: true,
            cluster_position: 4096,
            loss_per_mille: 0,
            crash_per_mille: 0,
            forces: false,
            kill_cluster_at_ns: u64::MAX,
            in_flight: Vec::new(),
            invariants: Invariants::default(),
            rng,
            is_traced,
        }
    }

    /// Faults, then none.
    pub(crate) fn run(mut self) -> Self {
        while self.now_ns < FAULTS_UNTIL_NS {
            self.go_wrong();
            self.step();
        }
        self.cut.clear();
        (self.loss_per_mille, self.crash_per_mille) = (0, 0);
        self.nodes.iter_mut().for_each(|node| node.is_fence_failing = false);
        self.is_cluster_living = false;
        let mut asked = 0;
        while self.now_ns < HEALED_UNTIL_NS {
            // Once all is quiet, operators ask one after the other until somebody leads.
            let since_ns = self.now_ns - FAULTS_UNTIL_NS;
            if since_ns == (asked + 1) * 4_000 * MS && self.leading().is_empty() {
                self.flag(
                    (asked as usize) % self.nodes.len(),
                    ForcedChecks::from_bits(1 << 6 | 1 << 3 | 1 << 5),
                );
            }
            asked += u64::from(since_ns == (asked + 1) * 4_000 * MS);
            self.restart_the_dead(100);
            self.step();
        }
        self.invariants.at_rest(&self);
        self.seen.rested_active += u64::from(!self.leading().is_empty());
        self
    }

    pub(crate) fn run_until(&mut self, until_ns: u64) {
        while self.now_ns < until_ns {
            self.step();
        }
    }

    /// Who leads, by index.
    pub(crate) fn leading(&self) -> Vec<(usize, Serving)> {
        let serving = |node: &Node| node.running.as_ref().and_then(|running| running.serving);
        self.nodes.iter().enumerate().filter_map(|(index, node)| Some((index, serving(node)?))).collect()
    }

    pub(crate) fn state(&self, index: usize) -> Option<TransitionState> {
        self.nodes[index].running.as_ref().map(|running| running.transition.state())
    }

    pub(crate) fn flag(&mut self, index: usize, forced: ForcedChecks) -> bool {
        let clock_ns = self.nodes[index].clock(self.now_ns);
        let Some(running) = &mut self.nodes[index].running else { return false };
        let is_taken = running.transition.on_request(false, forced, clock_ns);
        self.trace(index, &format!("flagged, forced {:?}, taken {is_taken}", forced.names()));
        is_taken
    }

    pub(crate) fn kill(&mut self, index: usize, restart_after_ns: u64) {
        if let Some(state) = self.state(index) {
            count_in(&mut self.seen.crashed_in, state.name(), 1);
            self.trace(index, &format!("killed in {}", state.name()));
        }
        self.nodes[index].kill(&mut self.rng);
        self.nodes[index].restart_at_ns = Some(self.now_ns + restart_after_ns);
    }

    pub(crate) fn are_cut(&self, one: usize, other: usize) -> bool {
        self.cut.contains(&(one.min(other), one.max(other)))
    }

    fn go_wrong(&mut self) {
        let node_count = self.nodes.len();
        let index = self.rng.below(node_count as u64) as usize;
        match self.rng.below(1000) {
            0..=2 => {
                let other = self.rng.below(node_count as u64) as usize;
                let pair = (index.min(other), index.max(other));
                if other != index && self.cut.contains(&pair) {
                    self.cut.retain(|cut| *cut != pair);
                } else if other != index {
                    self.cut.push(pair);
                }
            }
            3 if self.crash_per_mille > 0 => {
                let after_ns = self.rng.between(1, 3_000) * MS;
                self.kill(index, after_ns);
            }
            4 => self.nodes[index].is_fence_failing = self.rng.chance(500),
            5..=9 => {
                let forced =
                    if self.forces { ForcedChecks::from_bits(self.rng.next()) } else { ForcedChecks::NONE };
                self.flag(index, forced);
            }
            10..=11 => {
                for index in 0..node_count {
                    self.flag(index, ForcedChecks::NONE);
                }
            }
            _ => {}
        }
        self.restart_the_dead(0);
    }

    fn restart_the_dead(&mut self, after_ms: u64) {
        for node in &mut self.nodes {
            if node.running.is_none() && node.restart_at_ns.is_none() {
                node.restart_at_ns = Some(self.now_ns + after_ms * MS);
            }
        }
    }

    pub(crate) fn step(&mut self) {
        self.now_ns += STEP_NS;
        self.is_cluster_living &= self.now_ns < self.kill_cluster_at_ns;
        if self.is_cluster_living {
            self.cluster_position += 96;
        }
        let ids: Vec<i32> = self.nodes.iter().map(|node| node.id).collect();
        for index in 0..self.nodes.len() {
            if self.nodes[index].restart_at_ns.is_some_and(|at_ns| at_ns <= self.now_ns) {
                let seed = self.rng.next();
                self.nodes[index].start(&ids, self.now_ns, seed);
                self.invariants.on_started(self.nodes[index].id);
                self.trace(index, &format!("started, {:?}", self.nodes[index].disk));
            }
            self.feed(index);
            self.deliver(index);
            self.do_pending(index);
            self.turn(index);
        }
        self.invariants.after_step(&self.nodes, &self.cut, self.now_ns);
    }

    /// The log grows: from the cluster, from another standby, or by leading.
    fn feed(&mut self, index: usize) {
        let clock_ns = self.nodes[index].clock(self.now_ns);
        let cluster = (self.cluster_position, self.is_cluster_living);
        let is_late = self.rng.chance(300);
        let peer = self.nodes[index].running.as_ref().and_then(|running| running.source).and_then(|id| {
            let other = self.nodes.iter().position(|node| node.id == id)?;
            let running = self.nodes[other].running.as_ref().filter(|_| !self.are_cut(index, other))?;
            Some((self.nodes[other].disk, running.serving.map(|serving| serving.base)))
        });
        let Node { disk, running, .. } = &mut self.nodes[index];
        let Some(running) = running else { return };
        if let Some(serving) = running.serving {
            disk.log_end += 32;
            disk.term = serving.term;
            return;
        }
        if cluster.1 {
            running.last_sign_ns = Some(clock_ns);
        }
        if running.is_sealed || !running.transition.may_follow() || is_late {
            return;
        }
        let before = disk.log_end;
        if cluster.1 && disk.term == 0 {
            running.source_position = Some(SourcePosition { position: cluster.0, told_ns: clock_ns });
            disk.log_end = disk.log_end.max(cluster.0 - 96 * (index as i64 + 1));
        } else if let Some((peer, base)) = peer {
            if base.is_some_and(|base| peer.term > disk.term && disk.log_end > base) {
                running.is_diverged = true;
            } else if peer.log_end > disk.log_end && peer.term >= disk.term {
                (disk.log_end, disk.term) = (peer.log_end, peer.term);
            }
        }
        if disk.log_end > before {
            running.last_byte_ns = clock_ns;
        }
    }

    fn deliver(&mut self, index: usize) {
        let now_ns = self.now_ns;
        let due = self.in_flight.extract_if(.., |(due_ns, to, _)| *to == index && *due_ns <= now_ns);
        let due: Vec<Beacon> = due.map(|(_, _, beacon)| beacon).collect();
        let clock_ns = self.nodes[index].clock(now_ns);
        for beacon in due {
            if let Some(running) = &mut self.nodes[index].running {
                running.transition.on_beacon(&beacon, clock_ns);
                self.invariants.on_heard(self.nodes[index].id, &beacon, now_ns);
            }
        }
    }

    fn do_pending(&mut self, index: usize) {
        let now_ns = self.now_ns;
        let Some(running) = &mut self.nodes[index].running else { return };
        let due: Vec<Effect> = running
            .pending
            .extract_if(.., |(due_ns, _)| *due_ns <= now_ns)
            .map(|(_, effect)| effect)
            .collect();
        for effect in due {
            if self.rng.chance(self.crash_per_mille) {
                // Half-way: some disks have it, some have not.
                if let Some(running) = &mut self.nodes[index].running {
                    running.pending.push((now_ns, effect));
                }
                let after_ns = self.rng.between(1, 2_000) * MS;
                return self.kill(index, after_ns);
            }
            self.do_effect(index, &effect);
        }
    }

    fn do_effect(&mut self, index: usize, effect: &Effect) {
        self.trace(index, &format!("{effect:?}"));
        self.nodes[index].put_on_disk(effect);
        let clock_ns = self.nodes[index].clock(self.now_ns);
        let log_end = self.nodes[index].disk.log_end;
        if let Effect::Lead(decision) = effect {
            self.invariants.on_lead(&self.nodes, &self.cut, index, decision);
            self.seen.led += 1;
            self.seen.led_again += u64::from(decision.is_resumed);
            self.seen.began += u64::from(decision.leadership_term_id == 0);
        }
        let fenced = if self.nodes[index].is_fence_failing { Err("it says no".to_owned()) } else { Ok(()) };
        let Some(running) = &mut self.nodes[index].running else { return };
        match effect {
            Effect::SaveGrant(_) => running.transition.on_grant_saved(true),
            Effect::Record(_) => running.transition.on_recorded(Ok(()), clock_ns),
            Effect::RecordFenced => {}
            Effect::Seal => {
                running.is_sealed = true;
                running.transition.on_sealed(log_end, clock_ns);
            }
            Effect::Fence { .. } => {
                self.seen.fences += 1;
                running.transition.on_fenced(fenced);
            }
            Effect::Lead(decision) => {
                running.serving = Some(Serving {
                    term: decision.leadership_term_id,
                    base: decision.base_log_position,
                    was_resumed: decision.is_resumed,
                    forced: decision.forced,
                });
                running.transition.on_leading(clock_ns);
            }
        }
    }

    fn turn(&mut self, index: usize) {
        let clock_ns = self.nodes[index].clock(self.now_ns);
        let facts = self.nodes[index].facts(clock_ns);
        let Some(running) = &mut self.nodes[index].running else { return };
        running.transition.on_timeout(clock_ns, &facts);
        let mut tells = running.beacon_due_ns <= self.now_ns;
        let at_once = self.nodes[index].take_actions(self.now_ns, &mut self.rng);
        self.invariants.on_asked(&self.nodes[index], self.now_ns);
        for action in at_once {
            self.trace(index, &format!("{action:?}"));
            let Some(running) = &mut self.nodes[index].running else { return };
            match action {
                TransitionAction::TellPeers => tells = true,
                TransitionAction::FollowPeer { member_id } => {
                    running.source = Some(member_id);
                    self.seen.followed_a_peer += 1;
                }
                TransitionAction::Unseal => {
                    running.is_sealed = false;
                    running.pending.retain(|(_, effect)| !matches!(effect, Effect::Seal));
                }
                TransitionAction::StopLeading => {
                    running.serving = None;
                    self.seen.fenced += 1;
                    // What it was to remember is on its way; the node ends in order.
                    for (_, effect) in std::mem::take(&mut running.pending) {
                        self.nodes[index].put_on_disk(&effect);
                    }
                    self.nodes[index].running = None;
                    return;
                }
                TransitionAction::Done(outcome) => {
                    if let Outcome::Refused(refusals) = &outcome {
                        let name = refusals.first().map_or("none", |refusal| refusal.check.name());
                        count_in(&mut self.seen.refused, name, 1);
                        let kind = running.transition.report().map(|report| report.kind);
                        if kind == Some(RequestKind::Bootstrap) {
                            // Such a node ends, and whoever looks after it starts it again: as it was, or as
                            // it is told.
                            self.nodes[index].running = None;
                            self.nodes[index].begins_cluster =
                                name == Check::StandbyUnreachable.name() || self.now_ns < FAULTS_UNTIL_NS;
                            self.nodes[index].restart_at_ns = Some(self.now_ns + 500 * MS);
                            return;
                        }
                    }
                    running.outcomes.push(outcome);
                }
                _ => {}
            }
        }
        if tells {
            self.tell(index);
        }
    }

    fn tell(&mut self, index: usize) {
        let Some(running) = &mut self.nodes[index].running else { return };
        running.beacon_due_ns = self.now_ns + BEACON_INTERVAL_NS;
        let beacon = running.transition.beacon();
        self.invariants.on_told(&self.nodes[index].disk, &beacon);
        for other in 0..self.nodes.len() {
            if other != index && !self.are_cut(index, other) && !self.rng.chance(self.loss_per_mille) {
                let due_ns = self.now_ns + self.rng.below(25) * MS;
                self.in_flight.push((due_ns, other, beacon));
            }
        }
    }

    fn trace(&self, index: usize, text: &str) {
        if self.is_traced {
            println!("{:>8.3} s  {}  {text}", self.now_ns as f64 / 1e9, self.nodes[index].id);
        }
    }
}
