use super::cluster::Cluster;
use super::invariants::Invariants;
use super::member::Member;
use super::network::Network;
use super::rng::Rng;
use super::standby::{SECOND, Standby};
use consensus_tap::tap::{ReplayStart, Routing, SourceType, TapConfig, TapReport, TapState};
use std::net::SocketAddr;

const MS: u64 = 1_000_000;
/// After the faults, everything must be well this soon.
const CONVERGENCE_NS: u64 = 90 * SECOND;

/// What a broken network left open has ended by then: streams time out after ten seconds.
const AT_REST_AFTER_NS: u64 = 12 * SECOND;

/// A cluster, a standby, and the network between them.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now_ns: u64,
    pub(crate) network: Network,
    pub(crate) cluster: Cluster,
    pub(crate) standby: Standby,
    pub(crate) invariants: Invariants,
    /// Members between whom and the standby nothing is carried.
    pub(crate) cut: Vec<SocketAddr>,
    pub(crate) is_traced: bool,
    faults_seen: u64,
}

impl World {
    /// A world that goes wrong as the seed says.
    pub(crate) fn new(seed: u64, is_traced: bool) -> Self {
        let mut rng = Rng::new(seed);
        let member_count = rng.pick(&[1, 2, 3, 3, 3]);
        let network = Network::new(Rng::new(rng.next()));
        let names = ["m0:1", "m1:1", "m2:1"];
        let configured = rng.between(1, member_count as u64) as usize;
        let mut config = Standby::config(rng.next(), &names[..configured]);
        let service_count = rng.pick(&[1, 1, 2]);
        config.fetch_snapshots = rng.chance(500);
        config.service_count =
            Some(service_count as u8).filter(|_| !config.fetch_snapshots || rng.chance(500));
        config.routing = rng.pick(&[Routing::All, Routing::All, Routing::Single]);
        config.source_type =
            rng.pick(&[SourceType::Any, SourceType::Any, SourceType::Leader, SourceType::Follower]);
        config.replay_start = rng.pick(&[ReplayStart::LatestSnapshot, ReplayStart::Beginning]);
        config.receive_window_length = rng.pick(&[16 * 1024, 128 * 1024]);
        let mut world = Self::of(rng, member_count, service_count, network, config);
        world.is_traced = is_traced;
        world.standby.query_interval_ns = world.rng.pick(&[2, 10, 60]) * SECOND;
        world.cluster.appends_per_mille = world.rng.pick(&[30, 300, 800]);
        world.standby.resolver_fails_per_mille = world.rng.pick(&[0, 0, 100]);
        for member in &mut world.cluster.members {
            member.policy.rejects_heartbeats = world.rng.chance(200);
        }
        world
    }

    /// A calm world: three members, no loss.
    pub(crate) fn calm(member_count: usize, adapt: impl FnOnce(&mut TapConfig)) -> Self {
        let mut rng = Rng::new(7);
        let mut network = Network::new(Rng::new(rng.next()));
        network.heal();
        let mut config = Standby::config(rng.next(), &["m0:1", "m1:1", "m2:1"][..member_count]);
        adapt(&mut config);
        let service_count = config.service_count.map_or(2, i32::from);
        let mut world = Self::of(rng, member_count, service_count, network, config);
        world.cluster.log_length_max = i64::MAX;
        world
    }

    fn of(
        mut rng: Rng,
        member_count: usize,
        service_count: i32,
        network: Network,
        config: TapConfig,
    ) -> Self {
        let cluster = Cluster::new(Rng::new(rng.next()), member_count, service_count);
        let standby = Standby::new(config, Rng::new(rng.next()), 0);
        Self {
            rng,
            now_ns: 0,
            network,
            cluster,
            standby,
            invariants: Invariants::default(),
            cut: Vec::new(),
            is_traced: false,
            faults_seen: 0,
        }
    }

    /// Faults, then healing, then the standby has what the cluster committed, or knows why it cannot.
    pub(crate) fn run(mut self) -> Self {
        let faults_end_ns = self.rng.between(2, 25) * SECOND;
        // A cluster that lived before the standby did.
        if self.rng.chance(500) {
            let head_start_ns = self.rng.between(500, 3_000) * MS;
            self.cut = self.cluster.members.iter().map(|member| member.address).collect();
            while self.now_ns < head_start_ns {
                self.step();
            }
            self.cut.clear();
        }
        if self.rng.chance(400) {
            self.cluster.take_snapshots();
            if self.rng.chance(300) {
                (0..self.cluster.members.len()).for_each(|index| self.cluster.purge(index));
            }
        }
        let fault_per_mille = self.rng.pick(&[0, 5, 15, 40]);
        while self.now_ns < faults_end_ns {
            if self.rng.chance(fault_per_mille) {
                self.inject_fault();
            }
            self.step();
        }
        self.heal();
        self.cluster.appends_per_mille = 0;
        let deadline_ns = self.now_ns + CONVERGENCE_NS;
        let mut steady_since_ns = None;
        while steady_since_ns.is_none_or(|since_ns| self.now_ns < since_ns + AT_REST_AFTER_NS) {
            self.step();
            if !self.is_converged() {
                steady_since_ns = None;
                assert!(self.now_ns < deadline_ns, "does not converge: {}", self.describe());
            } else {
                steady_since_ns.get_or_insert(self.now_ns);
            }
        }
        self.invariants.at_rest(&self.cluster, &self.standby);
        self
    }

    fn heal(&mut self) {
        self.log("heals");
        self.network.heal();
        self.cut.clear();
        self.standby.resolver_fails_per_mille = 0;
        self.standby.refuses_snapshots = false;
        // What failed before is tried again when an operator, or the interval, asks.
        if self.standby.config.fetch_snapshots {
            self.standby.query_snapshots();
        }
        for index in 0..self.cluster.members.len() {
            let member = &mut self.cluster.members[index];
            member.is_paused = false;
            member.is_isolated = false;
            if let Some(module) = member.module_mut() {
                module.is_in_snapshot = false;
            }
            if member.node.is_none() {
                self.cluster.start(index);
            } else if member.module().is_none() {
                member.start_module();
            }
        }
    }

    fn is_converged(&self) -> bool {
        let end = self.standby.recorder.end();
        match self.standby.state() {
            TapState::Following => {
                self.cluster.leader.is_some()
                    && end == self.cluster.committed().end()
                    && (!self.standby.config.fetch_snapshots || self.has_newest_snapshots())
            }
            TapState::LogPurged | TapState::Diverged => true,
            _ => {
                let eligible = |member: &&Member| is_eligible(&self.cluster, &self.standby, member);
                let mut eligible = self.cluster.members.iter().filter(eligible).peekable();
                if eligible.peek().is_none() {
                    return true;
                }
                // Set back to before what can be compared: the operator is told, and decides.
                if self.cluster.committed().end() < end {
                    let is_behind = |report| matches!(report, &TapReport::SourcesBehind { .. });
                    return self.standby.reports.iter().any(is_behind);
                }
                // Nothing to begin from: the log was purged, and its snapshots are not wanted, or are gone.
                let takes_snapshots = self.standby.config.replay_start == ReplayStart::LatestSnapshot;
                self.standby.recorder.log.is_none()
                    && !eligible.any(|member| match takes_snapshots && !member.snapshots.is_empty() {
                        true => member.newest_snapshots().is_some(),
                        false => member.log.start == 0,
                    })
            }
        }
    }

    /// Whether the source has no snapshots that are newer than ours.
    pub(crate) fn has_newest_snapshots(&self) -> bool {
        let source_id = self.standby.tap.status().source_member_id;
        let Some(source) = self.cluster.members.iter().find(|member| member.id == source_id) else {
            return false;
        };
        source.newest_snapshots() <= self.standby.newest_snapshot()
    }

    pub(crate) fn inject_fault(&mut self) {
        self.faults_seen += 1;
        let index = self.rng.below(self.cluster.members.len() as u64) as usize;
        let member = &mut self.cluster.members[index];
        let kind = self.rng.below(24);
        match kind {
            0 | 1 => {
                self.log(format_args!("member {index} dies"));
                self.cluster.kill(index);
            }
            2..=4 if member.node.is_none() => {
                self.log(format_args!("member {index} starts"));
                self.cluster.start(index);
            }
            2..=4 => {
                member.stop_module();
                member.start_module();
                self.log(format_args!("consensus module of member {index} restarts"));
            }
            5 => {
                member.is_paused = !member.is_paused;
                let is_paused = member.is_paused;
                self.log(format_args!("member {index} paused: {is_paused}"));
            }
            6 if self.cluster.leader.is_some() => {
                let leader = self.cluster.leader.unwrap_or(index);
                self.cluster.members[leader].is_isolated = true;
                self.log(format_args!("leader {leader} is cut off from the others"));
            }
            6 | 7 => {
                member.is_isolated = !member.is_isolated;
                let is_isolated = member.is_isolated;
                self.log(format_args!("member {index} cut off from the others: {is_isolated}"));
            }
            16 | 17 => {
                self.cluster.members.iter_mut().for_each(|member| member.is_isolated = false);
                self.cut.clear();
                self.log("all are together again");
            }
            18 => {
                let length_ns = self.rng.between(1, 5) * SECOND;
                self.log("all members are cut off from the standby, and purge what it misses");
                self.cut = self.cluster.members.iter().map(|member| member.address).collect();
                self.pass(length_ns);
                self.cluster.take_snapshots();
                let purged_per_mille = self.rng.pick(&[500, 1000]);
                for index in 0..self.cluster.members.len() {
                    if self.rng.chance(purged_per_mille) {
                        self.cluster.purge(index);
                    }
                }
                self.cut.clear();
            }
            8 => {
                if let Some(module) = member.module_mut() {
                    module.is_in_snapshot = !module.is_in_snapshot;
                    let is_in_snapshot = module.is_in_snapshot;
                    self.log(format_args!("member {index} in a snapshot: {is_in_snapshot}"));
                }
            }
            9 | 19 => {
                let address = member.address;
                let count = self.cut.len();
                self.cut.retain(|cut| *cut != address);
                if self.cut.len() == count {
                    self.cut.push(address);
                }
                self.log(format_args!("member {index} cut off from the standby: {}", self.cut.len() > count));
            }
            10 => {
                let length_ns = self.rng.pick(&[30 * MS, 700 * MS, 6 * SECOND, 12 * SECOND]);
                self.log(format_args!("the network is gone for {} ms", length_ns / MS));
                self.network.fail_until(self.now_ns + length_ns);
            }
            11 => {
                self.log("snapshots");
                self.cluster.take_snapshots();
            }
            12 => {
                self.log(format_args!("member {index} purges"));
                self.cluster.purge(index);
            }
            13 => {
                self.log("the standby restarts");
                self.standby.restart(self.now_ns);
            }
            20 => {
                let knows_it = self.rng.chance(500);
                self.log(format_args!("member {index} loses its snapshots, and knows it: {knows_it}"));
                self.cluster.lose_snapshots(index, knows_it, self.now_ns);
            }
            21 | 22 => {
                self.log("snapshots, and somebody asks for them");
                self.cluster.take_snapshots();
                if self.standby.config.fetch_snapshots {
                    self.standby.query_snapshots();
                }
            }
            23 => {
                self.standby.refuses_snapshots = !self.standby.refuses_snapshots;
                self.log(format_args!("no room for snapshots: {}", self.standby.refuses_snapshots));
            }
            14 => {
                let committed = &self.cluster.committed().bytes;
                let others_are_well = self.cluster.members.iter().all(|other| {
                    let has_all = other.log.bytes.starts_with(committed);
                    other.id == index as i32 || (other.takes_part() && !other.is_recovering && has_all)
                });
                if self.cluster.members.len() == 3 && others_are_well {
                    self.log(format_args!("member {index} loses its disk"));
                    self.cluster.kill(index);
                    self.cluster.wipe(index);
                    self.cluster.start(index);
                }
            }
            _ => {
                if self.rng.chance(150) {
                    let position = self.rng.below(self.cluster.committed().end() as u64 + 1) as i64;
                    self.log(format_args!("the cluster is set back to {position}"));
                    self.cluster.set_back(position);
                }
            }
        }
    }

    /// Lets time pass to the next thing that may happen, and lets it happen.
    pub(crate) fn step(&mut self) {
        let next_ns = self.network.next_arrival_ns().unwrap_or(u64::MAX);
        self.now_ns = next_ns.clamp(self.now_ns + MS / 2, self.now_ns + 10 * MS);
        while let Some(datagram) = self.network.receive(self.now_ns) {
            if self.cut.contains(&datagram.from) || self.cut.contains(&datagram.to) {
                continue;
            }
            let Standby { tap, recorder, address, .. } = &mut self.standby;
            if datagram.to == *address {
                tap.on_datagram(&datagram.bytes, datagram.from, self.now_ns, recorder);
            } else if let Some(member) = self.cluster.members.iter_mut().find(|m| m.address == datagram.to) {
                member.on_datagram(&datagram.bytes, datagram.from, self.now_ns);
            }
        }
        self.cluster.do_work(self.now_ns);
        let report_count = self.standby.reports.len();
        self.standby.do_work(self.now_ns);
        for report in &self.standby.reports[report_count..] {
            if self.is_traced {
                println!("{:>9} us tap: {}", self.now_ns / 1000, in_words(report));
            }
        }
        self.tell_terms();
        self.transmit();
        self.invariants.after_step(&self.cluster, &self.standby, &self.cut, self.now_ns);
    }

    fn transmit(&mut self) {
        let Self { network, standby, cluster, now_ns, invariants, .. } = self;
        let from = standby.address;
        let log_stream_id = cluster.members[0].log.stream_id;
        standby.tap.poll_transmit(*now_ns, &mut |transmit| {
            for datagram in transmit.datagrams() {
                invariants.on_sent(datagram, log_stream_id);
                network.send(from, transmit.to, datagram, *now_ns);
            }
        });
        for member in cluster.members.iter_mut().filter(|member| !member.is_paused) {
            let from = member.address;
            let Some(node) = &mut member.node else { continue };
            node.endpoint.poll_transmit(*now_ns, &mut |transmit| {
                for datagram in transmit.datagrams() {
                    network.send(from, transmit.to, datagram, *now_ns);
                }
            });
        }
    }

    /// What the log says of new terms reaches the tap, as the conductor tells it.
    fn tell_terms(&mut self) {
        let end = self.standby.recorder.end();
        let told = self.standby.tap.status().leadership_term_id;
        let newest = self.cluster.committed().leaderships.iter().rfind(|l| l.base < end);
        if let Some(newest) = newest.filter(|newest| newest.term_id > told) {
            self.standby.tap.on_leadership_term(newest.term_id, newest.leader_id);
        }
    }

    /// Steps until `is_so`, for at most `limit_ns`.
    pub(crate) fn until(&mut self, what: &str, limit_ns: u64, is_so: impl Fn(&Self) -> bool) {
        let deadline_ns = self.now_ns + limit_ns;
        while !is_so(self) {
            assert!(self.now_ns < deadline_ns, "not in time: {what}: {}", self.describe());
            self.step();
        }
    }

    pub(crate) fn pass(&mut self, duration_ns: u64) {
        let end_ns = self.now_ns + duration_ns;
        while self.now_ns < end_ns {
            self.step();
        }
    }

    pub(crate) fn is_following(&self, member_id: i32) -> bool {
        let status = self.standby.tap.status();
        status.state == TapState::Following && status.source_member_id == member_id
    }

    pub(crate) fn is_caught_up(&self) -> bool {
        let end = self.cluster.committed().end();
        self.standby.state() == TapState::Following && end > 0 && self.standby.recorder.end() == end
    }

    /// Whether a candidate was given up with these words.
    pub(crate) fn was_lost_for(&self, words: &str) -> bool {
        self.standby
            .reports
            .iter()
            .any(|report| matches!(report, TapReport::SourceLost { reason, .. } if reason.contains(words)))
    }

    pub(crate) fn describe(&self) -> String {
        let members: Vec<String> = self
            .cluster
            .members
            .iter()
            .map(|member| {
                format!(
                    "member {}: log {}..{} commit {} {:?}",
                    member.id,
                    member.log.start,
                    member.log.end(),
                    member.commit_position(),
                    member.module().map(|module| (module.is_in_election, module.leader_id))
                )
            })
            .collect();
        format!(
            "{:?}, recorded {:?}..{}, committed {}, leader {:?}, {:?}, {:?} {:?}, last said: {:?}\n{}",
            self.standby.tap.status(),
            self.standby.recorder.log.as_ref().map(|log| log.start),
            self.standby.recorder.end(),
            self.cluster.committed().end(),
            self.cluster.leader,
            self.standby.config.source_type,
            self.standby.config.routing,
            self.standby.config.replay_start,
            self.standby.reports.last().map(in_words),
            members.join("\n")
        )
    }

    fn log(&self, line: impl std::fmt::Display) {
        if self.is_traced {
            println!("{:>9} us {line}", self.now_ns / 1000);
        }
    }
}

/// Whether the standby may come to ask a member, and to follow it.
pub(crate) fn is_eligible(cluster: &Cluster, standby: &Standby, member: &Member) -> bool {
    let askable_count = match standby.config.routing {
        Routing::Single => standby.config.consensus_endpoints.len(),
        Routing::All => cluster.members.len(),
    };
    let leader_id = cluster.leader.map_or(-1, |leader| leader as i32);
    (member.id as usize) < askable_count && standby.config.source_type.accepts(member.id, leader_id)
}

fn in_words(report: &TapReport) -> String {
    match report {
        TapReport::SourceChosen(source) => format!("chose member {}", source.member_id),
        TapReport::SourceChanged(source) => format!("member {} says something new", source.member_id),
        other => format!("{other:?}"),
    }
}

/// What happened in all runs together: a simulation without faults proves nothing.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    faults: u64,
    elections: u64,
    truncations: u64,
    dropped_datagrams: u64,
    sources_lost: u64,
    standby_restarts: u64,
    recorded_bytes: u64,
    snapshot_sets: u64,
    snapshot_sets_beside: u64,
    fetches_failed: u64,
    unsafe_replays: u64,
    unresolved: u64,
    following: u64,
    purged: u64,
    diverged: u64,
    without_source: u64,
}

impl Seen {
    pub(crate) fn add(&mut self, world: &World) {
        self.faults += world.faults_seen;
        self.elections += world.cluster.elections;
        self.truncations += world.cluster.truncations;
        self.dropped_datagrams += world.network.dropped_count;
        self.sources_lost += world.standby.tap.status().sources_lost;
        self.standby_restarts += world.standby.restarts;
        self.recorded_bytes += world.standby.recorder.end() as u64;
        self.snapshot_sets += u64::from(world.standby.snapshot_set.is_some());
        self.snapshot_sets_beside += world.standby.set_beside_count;
        let is_failed_fetch = |report: &&TapReport| matches!(report, TapReport::SnapshotsNotFetched { .. });
        self.fetches_failed += world.standby.reports.iter().filter(is_failed_fetch).count() as u64;
        self.unsafe_replays += world.invariants.unsafe_replays_granted();
        self.unresolved += world.standby.unresolved;
        match world.standby.state() {
            TapState::Following => self.following += 1,
            TapState::LogPurged => self.purged += 1,
            TapState::Diverged => self.diverged += 1,
            _ => self.without_source += 1,
        }
    }

    pub(crate) fn assert_that_all_happened(&self) {
        assert!(self.elections > 0 && self.truncations > 0 && self.dropped_datagrams > 0, "{self:?}");
        assert!(self.sources_lost > 0 && self.standby_restarts > 0 && self.snapshot_sets > 0, "{self:?}");
        assert!(self.snapshot_sets_beside > 0 && self.fetches_failed > 0, "{self:?}");
        assert!(self.following > 0 && self.purged > 0 && self.diverged > 0, "{self:?}");
    }
}
