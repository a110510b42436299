//! Who of the cluster's members lives, by one small publication to the consensus endpoint of each.
//!
//! A member's driver sends status messages for a stream for as long as its consensus module subscribes to it,
//! whatever else the module does: also during an election or a snapshot, when it answers no query. Nothing is
//! ever published there. So a member that is not heard of is dead, cut off, or gone; which of them, nobody
//! can tell from here. A refusal by ICMP is as much as silence, for whoever sends it is no member.

use std::net::SocketAddr;

use super::peer_link::PeerLink;
use crate::channel::HostPort;
use crate::endpoint::{Endpoint, LookupToken, NameLookups};
use crate::random::next_random;
use crate::transition::MemberSign;

/// After so long without a sign a name is looked up again.
const LOOKUP_AGAIN_NS: u64 = 10_000_000_000;

/// A member that is to be probed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProbedMember {
    /// Its id.
    pub member_id: i32,
    /// Its consensus endpoint, as reached from here.
    pub consensus_endpoint: HostPort,
}

/// Probes the members of a cluster.
#[derive(Debug)]
pub(super) struct Liveness {
    consensus_stream_id: i32,
    probes: Vec<Probe>,
    random: u64,
}

#[derive(Debug)]
struct Probe {
    member: ProbedMember,
    link: PeerLink,
}

impl Liveness {
    pub(super) fn new(consensus_stream_id: i32, seed: u64) -> Self {
        Self { consensus_stream_id, probes: Vec::new(), random: seed }
    }

    /// Probes these from now on. Who was probed before goes on being so.
    pub(super) fn probe(&mut self, members: &[ProbedMember], now_ns: u64, endpoint: &mut Endpoint) {
        for mut gone in self.probes.extract_if(.., |probe| !members.contains(&probe.member)) {
            gone.link.close(now_ns, endpoint);
        }
        for member in members {
            if !self.probes.iter().any(|probe| probe.member == *member) {
                let name = member.consensus_endpoint.clone();
                let link = PeerLink::new(name, self.consensus_stream_id, LOOKUP_AGAIN_NS);
                self.probes.push(Probe { member: member.clone(), link });
            }
        }
    }

    /// A name was looked up, or could not be (`None`). False when it was not for a probe.
    pub(super) fn on_resolved(
        &mut self,
        token: LookupToken,
        address: Option<SocketAddr>,
        now_ns: u64,
        endpoint: &mut Endpoint,
    ) -> bool {
        let Some(probe) = self.probes.iter_mut().find(|probe| probe.link.awaits(token)) else { return false };
        let session_id = next_random(&mut self.random) as i32;
        probe.link.on_resolved(address, session_id, now_ns, endpoint);
        true
    }

    /// Has names looked up that are due.
    pub(super) fn on_timeout(
        &mut self,
        now_ns: u64,
        endpoint: &Endpoint,
        lookups: &mut NameLookups,
    ) -> usize {
        let mut work = 0;
        for Probe { link, .. } in self.probes.iter_mut().filter(|probe| probe.link.is_lookup_due(now_ns)) {
            match link.last_sign_ns(endpoint).map(|heard_ns| heard_ns + LOOKUP_AGAIN_NS) {
                Some(due_ns) if now_ns < due_ns => link.postpone_lookup(due_ns),
                _ => {
                    link.look_up(lookups);
                    work += 1;
                }
            }
        }
        work
    }

    /// What was heard of each.
    pub(super) fn signs(&self, endpoint: &Endpoint) -> Vec<MemberSign> {
        let sign = |probe: &Probe| MemberSign {
            member_id: probe.member.member_id,
            endpoint: probe.member.consensus_endpoint.to_string(),
            probed_since_ns: probe.link.since_ns(),
            last_sign_ns: probe.link.last_sign_ns(endpoint),
        };
        self.probes.iter().map(sign).collect()
    }

    pub(super) fn close(&mut self, now_ns: u64, endpoint: &mut Endpoint) {
        self.probe(&[], now_ns, endpoint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{ImageKey, ImageSink, Refused, SubscriptionParams};
    use crate::transition::MemberState;

    const MS: u64 = 1_000_000;
    const SECOND_NS: u64 = 1_000 * MS;

    struct NoBytes;

    impl ImageSink for NoBytes {
        fn append(&mut self, _: ImageKey, _: i64, frames: &[u8]) -> Result<(), Refused> {
            panic!("a probe published {} bytes", frames.len())
        }
    }

    /// Our side and a member's driver, joined by a wire that can be cut.
    struct Bench {
        ours: Endpoint,
        lookups: NameLookups,
        liveness: Liveness,
        member: Endpoint,
        is_cut: bool,
        resolves: bool,
        now_ns: u64,
    }

    impl Bench {
        fn new() -> Self {
            let mut member = Endpoint::new(2);
            member.add_subscription(SubscriptionParams::new(108));
            Self {
                ours: Endpoint::new(1),
                lookups: NameLookups::default(),
                liveness: Liveness::new(108, 5),
                member,
                is_cut: false,
                resolves: true,
                now_ns: SECOND_NS,
            }
        }

        fn probe(&mut self) {
            let consensus_endpoint = "m:9003".parse().unwrap();
            self.liveness.probe(
                &[ProbedMember { member_id: 7, consensus_endpoint }],
                self.now_ns,
                &mut self.ours,
            );
        }

        fn run(&mut self, time_ns: u64) {
            let (our_address, address) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
            for _ in 0..time_ns / (10 * MS) {
                self.now_ns += 10 * MS;
                let now_ns = self.now_ns;
                self.liveness.on_timeout(now_ns, &self.ours, &mut self.lookups);
                while let Some((token, _)) = self.lookups.poll() {
                    let found = self.resolves.then_some(address);
                    assert!(self.liveness.on_resolved(token, found, now_ns, &mut self.ours));
                }
                self.ours.on_timeout(now_ns);
                let mut sent = Vec::new();
                self.ours.poll_transmit(now_ns, &mut |out| sent.push(out.bytes.to_vec()));
                for datagram in sent.drain(..).filter(|_| !self.is_cut) {
                    self.member.on_datagram(&datagram, our_address, now_ns, &mut NoBytes);
                }
                while self.member.poll_event().is_some() {}
                self.member.on_timeout(now_ns);
                self.member.poll_transmit(now_ns, &mut |out| sent.push(out.bytes.to_vec()));
                for datagram in sent.drain(..).filter(|_| !self.is_cut) {
                    self.ours.on_datagram(&datagram, address, now_ns, &mut NoBytes);
                }
            }
        }

        fn state(&self) -> MemberState {
            let signs = self.liveness.signs(&self.ours);
            assert_eq!((signs.len(), signs[0].member_id), (1, 7));
            signs[0].state(self.now_ns, SECOND_NS)
        }
    }

    #[test]
    fn a_member_lives_while_its_driver_answers_and_is_silent_a_second_after() {
        let mut bench = Bench::new();
        bench.probe();
        assert_eq!(bench.state(), MemberState::Unknown);
        bench.run(300 * MS);
        assert_eq!(bench.state(), MemberState::Living);
        bench.is_cut = true;
        bench.run(700 * MS);
        assert_eq!(bench.state(), MemberState::Living);
        bench.run(600 * MS);
        assert_eq!(bench.state(), MemberState::Silent);
        // Longer than its driver keeps an image, and we a receiver.
        bench.run(30 * SECOND_NS);
        bench.is_cut = false;
        bench.run(300 * MS);
        assert_eq!(bench.state(), MemberState::Living, "it is back");
    }

    #[test]
    fn a_member_whose_name_does_not_resolve_is_unknown_until_it_does() {
        let mut bench = Bench::new();
        bench.resolves = false;
        bench.probe();
        bench.run(5 * SECOND_NS);
        assert_eq!(bench.state(), MemberState::Unknown);
        bench.resolves = true;
        bench.run(1_300 * MS);
        assert_eq!(bench.state(), MemberState::Living);
    }

    #[test]
    fn naming_the_same_members_again_begins_nothing_anew() {
        let mut bench = Bench::new();
        bench.probe();
        bench.run(300 * MS);
        let since_ns = bench.liveness.signs(&bench.ours)[0].probed_since_ns;
        bench.probe();
        bench.run(300 * MS);
        assert_eq!(bench.liveness.signs(&bench.ours)[0].probed_since_ns, since_ns);
        bench.liveness.close(bench.now_ns, &mut bench.ours);
        assert!(bench.liveness.signs(&bench.ours).is_empty());
    }
}
