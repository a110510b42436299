use super::*;
use crate::serving::test_network::{Incoming, SECOND_NS, TestNetwork, address};

const STREAM_ID: i32 = 108;
const US: usize = 0;

/// What a member does with an announcement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Manner {
    Stores,
    Refuses,
    /// Asks for more first.
    Challenges,
    /// Hears it and never answers.
    Ignores,
    /// Answers once its session has timed out.
    TimesOut,
    /// Ends right after it opened the response.
    Ends,
    /// Does not listen.
    Down,
}

/// Behaves as `SessionManager` of 1.51.0: opens a publication, and closes it when connected and done.
struct Member {
    node: usize,
    manner: Manner,
    subscription: Option<SubscriptionId>,
    sessions: Vec<Session>,
    /// Positions that it stored, once for each announcement.
    stored: Vec<i64>,
}

struct Session {
    publication: PublicationId,
    correlation_id: i64,
    log_position: i64,
    opened_ns: u64,
    is_challenged: bool,
    is_answered: bool,
}

impl Member {
    fn new(network: &mut TestNetwork, node: usize, manner: Manner) -> Self {
        let subscription = (manner != Manner::Down)
            .then(|| network.endpoint(node).add_subscription(SubscriptionParams::new(STREAM_ID)));
        Self { node, manner, subscription, sessions: Vec::new(), stored: Vec::new() }
    }

    fn on_message(&mut self, bytes: &[u8], now_ns: u64, network: &mut TestNetwork) {
        match ConsensusMessage::decode(bytes).unwrap() {
            ConsensusMessage::StandbySnapshot(announced) => {
                let entries: Vec<_> = announced.snapshots.iter().collect();
                assert!(entries.iter().all(|entry| entry.archive_endpoint == address(US).to_string()));
                assert_eq!(
                    entries.iter().map(|entry| entry.snapshot.service_id).collect::<Vec<_>>(),
                    [0, -1]
                );
                assert_eq!(
                    announced.response_channel,
                    format!("aeron:udp?endpoint={}|term-length=64k", address(US))
                );
                if self.manner == Manner::Ignores {
                    return;
                }
                let session_id = announced.correlation_id as i32 + self.node as i32;
                let params = PublicationParams::new(session_id, announced.response_stream_id);
                self.sessions.push(Session {
                    publication: network.endpoint(self.node).add_publication(params, address(US), now_ns),
                    correlation_id: announced.correlation_id,
                    log_position: entries[0].snapshot.log_position,
                    opened_ns: now_ns,
                    is_challenged: false,
                    is_answered: false,
                });
            }
            ConsensusMessage::ChallengeResponse(response) => {
                assert_eq!(response.encoded_credentials.0, b"answer");
                let session = self.sessions.iter_mut().find(|session| session.is_challenged).unwrap();
                session.correlation_id = response.correlation_id;
                session.is_answered = true;
            }
            other => panic!("a member is not told {other:?}"),
        }
    }

    fn on_timeout(&mut self, now_ns: u64, network: &mut TestNetwork) {
        let endpoint = network.endpoint(self.node);
        let (manner, stored, subscription) = (self.manner, &mut self.stored, &mut self.subscription);
        self.sessions.retain_mut(|session| {
            if now_ns > session.opened_ns + 10 * SECOND_NS {
                endpoint.close_publication(session.publication, now_ns);
                return false;
            }
            if endpoint.publication_state(session.publication) != PublicationState::Connected {
                return true;
            }
            let mut message = Vec::new();
            match manner {
                Manner::Stores => stored.push(session.log_position),
                Manner::Challenges if session.is_answered => stored.push(session.log_position),
                Manner::Challenges if session.is_challenged => return true,
                Manner::Challenges => {
                    Challenge {
                        correlation_id: session.correlation_id,
                        cluster_session_id: -1,
                        encoded_challenge: b"who",
                    }
                    .encode(&mut message);
                    session.is_challenged = endpoint.offer(session.publication, &message).is_ok();
                    return true;
                }
                Manner::Refuses => {
                    SessionEvent {
                        cluster_session_id: -1,
                        correlation_id: session.correlation_id,
                        leadership_term_id: 0,
                        leader_member_id: 0,
                        code: EventCode::Error,
                        version: CLUSTER_PROTOCOL_VERSION,
                        leader_heartbeat_timeout_ns: 0,
                        detail: "Not configured to accept StandbySnapshot",
                    }
                    .encode(&mut message);
                    if endpoint.offer(session.publication, &message).is_err() {
                        return true;
                    }
                }
                Manner::Ends => {
                    if let Some(subscription) = subscription.take() {
                        endpoint.remove_subscription(subscription, now_ns);
                    }
                }
                Manner::Ignores | Manner::TimesOut | Manner::Down => return true,
            }
            endpoint.close_publication(session.publication, now_ns);
            false
        });
    }
}

struct World {
    network: TestNetwork,
    announcer: Announcer,
    lookups: NameLookups,
    members: Vec<Member>,
    outcomes: Vec<MemberOutcome>,
}

impl World {
    fn new(manners: &[Manner], loss_per_mille: u64, seed: u64) -> Self {
        let mut network = TestNetwork::new(manners.len() + 1, loss_per_mille, seed);
        let member = |(index, manner): (usize, &Manner)| Member::new(&mut network, index + 1, *manner);
        let members = manners.iter().enumerate().map(member).collect();
        let announcer = Announcer::new(AnnouncerConfig {
            endpoint: address(US).into(),
            consensus_stream_id: STREAM_ID,
            credentials: Credentials::ChallengeResponse { initial: Vec::new(), answer: b"answer".to_vec() },
            connect_timeout_ns: 2 * SECOND_NS,
            seed,
        });
        Self { network, announcer, lookups: NameLookups::default(), members, outcomes: Vec::new() }
    }

    fn announce(&mut self, log_position: i64) {
        let set = SnapshotSet {
            leadership_term_id: 0,
            term_base_log_position: 0,
            log_position,
            timestamp: 5,
            consensus_module: 11,
            services: vec![12],
        };
        let members = self.members.iter().map(|member| AnnouncedMember {
            member_id: member.node as i32,
            consensus_endpoint: address(member.node).into(),
        });
        self.announcer.announce(&Announcement::new(&set, members.collect()));
    }

    fn run(&mut self, time_ns: u64) {
        let end_ns = self.network.now_ns + time_ns;
        while self.network.now_ns < end_ns {
            for (node, incoming) in self.network.step() {
                let now_ns = self.network.now_ns;
                match incoming {
                    Incoming::Message { key, bytes, .. } if node == US => {
                        if self.announcer.owns(key.subscription) {
                            self.announcer.on_message(key, &bytes, now_ns, self.network.endpoint(US));
                        }
                    }
                    Incoming::Ended { key, reason } if node == US => {
                        let endpoint = self.network.endpoint(US);
                        self.announcer.on_image_unavailable(key, reason, now_ns, endpoint);
                    }
                    Incoming::Message { bytes, .. } => {
                        self.members[node - 1].on_message(&bytes, now_ns, &mut self.network);
                    }
                    Incoming::Ended { .. } => {}
                }
            }
            let now_ns = self.network.now_ns;
            for member in &mut self.members {
                member.on_timeout(now_ns, &mut self.network);
            }
            let endpoint = self.network.endpoint(US);
            while let Some((lookup, asked)) = self.lookups.poll() {
                assert!(self.announcer.on_resolved(lookup, asked.socket_addr(), now_ns, endpoint));
            }
            self.announcer.on_timeout(now_ns, endpoint, &mut self.lookups);
            while let Some(outcome) = self.announcer.poll_outcome() {
                self.outcomes.push(outcome);
            }
        }
    }

    /// Runs until every announcement has come to its end.
    fn settle(&mut self) {
        for _ in 0..120 {
            if self.announcer.is_idle() {
                return;
            }
            self.run(SECOND_NS);
        }
        panic!("an announcement has no outcome after two minutes: {:?}", self.announcer);
    }

    fn outcome(&self, member_id: i32, log_position: i64) -> &AnnouncementOutcome {
        let of =
            |outcome: &&MemberOutcome| (outcome.member_id, outcome.log_position) == (member_id, log_position);
        let mut found = self.outcomes.iter().filter(of);
        let outcome = &found.next().expect("an outcome").outcome;
        assert!(found.next().is_none(), "one outcome for each member of each announcement");
        outcome
    }
}

#[test]
fn a_set_is_taken_by_a_member_that_ends_its_response_without_a_word() {
    let mut world = World::new(&[Manner::Stores, Manner::Challenges], 0, 1);
    let before = world.network.endpoint(US).stream_count();
    world.announce(4096);
    world.settle();
    for (member_id, member) in [(1, 0), (2, 1)] {
        assert_eq!(world.outcome(member_id, 4096), &AnnouncementOutcome::Taken);
        assert_eq!(world.members[member].stored, [4096]);
    }
    world.run(10 * SECOND_NS);
    assert_eq!(world.network.endpoint(US).stream_count(), before, "nothing is left behind");
}

#[test]
fn a_member_that_refuses_is_quoted() {
    let mut world = World::new(&[Manner::Refuses], 0, 1);
    world.announce(4096);
    world.settle();
    let AnnouncementOutcome::Refused { reason } = world.outcome(1, 4096) else { panic!("not refused") };
    assert_eq!(reason, "Not configured to accept StandbySnapshot");
}

#[test]
fn what_is_not_answered_in_time_is_unknown() {
    for manner in [Manner::Ignores, Manner::TimesOut] {
        let mut world = World::new(&[manner], 0, 1);
        world.announce(4096);
        world.run(4 * SECOND_NS);
        assert!(world.outcomes.is_empty(), "{manner:?}");
        world.settle();
        world.run(20 * SECOND_NS);
        assert!(matches!(world.outcome(1, 4096), AnnouncementOutcome::Unknown { .. }), "{manner:?}");
    }
}

#[test]
fn an_end_of_stream_from_a_consensus_module_that_ended_proves_nothing() {
    let mut world = World::new(&[Manner::Ends], 0, 1);
    world.announce(4096);
    world.settle();
    assert!(world.members[0].stored.is_empty());
    assert!(matches!(world.outcome(1, 4096), AnnouncementOutcome::Unknown { .. }));
}

#[test]
fn a_member_that_does_not_listen_is_unreachable_and_may_be_told_later() {
    let mut world = World::new(&[Manner::Down, Manner::Stores], 0, 1);
    world.announce(4096);
    world.settle();
    assert!(matches!(world.outcome(1, 4096), AnnouncementOutcome::Unreachable { .. }));
    assert_eq!(world.outcome(2, 4096), &AnnouncementOutcome::Taken, "one does not wait for the other");

    world.members[0] = Member::new(&mut world.network, 1, Manner::Stores);
    world.outcomes.clear();
    world.announce(4096);
    world.settle();
    assert_eq!(world.outcome(1, 4096), &AnnouncementOutcome::Taken);
    assert!(matches!(world.outcome(2, 4096), AnnouncementOutcome::Unknown { .. }), "not sent again");
    assert_eq!(world.members[1].stored, [4096]);
}

#[test]
fn sets_reach_a_member_one_after_the_other() {
    let mut world = World::new(&[Manner::Challenges], 0, 1);
    world.announce(4096);
    world.announce(8192);
    world.announce(8192);
    world.settle();
    assert_eq!(world.members[0].stored, [4096, 8192]);
}

#[test]
fn a_member_that_cannot_be_challenged_back_is_quoted() {
    let mut world = World::new(&[Manner::Challenges], 0, 1);
    world.announcer.config.credentials = Credentials::None;
    world.announce(4096);
    world.settle();
    let AnnouncementOutcome::Refused { reason } = world.outcome(1, 4096) else { panic!("not refused") };
    assert!(reason.contains("challenge_answer"), "{reason}");
}

/// Whatever is lost, and whoever is cut off for a while: each announcement has one outcome, none arrives twice, and
/// what counts as taken was stored.
#[test]
fn announcements_over_a_bad_network_arrive_once_or_not_at_all_and_taken_means_stored() {
    const MANNERS: [Manner; 5] =
        [Manner::Stores, Manner::Challenges, Manner::Refuses, Manner::Ignores, Manner::TimesOut];
    let mut taken_count = 0;
    for seed in 0..60 {
        let mut random = seed;
        let loss_per_mille = [0, 50, 200, 400][next_random(&mut random) as usize % 4];
        let manners: Vec<Manner> =
            (0..3).map(|_| MANNERS[next_random(&mut random) as usize % MANNERS.len()]).collect();
        let mut world = World::new(&manners, loss_per_mille, seed);
        let positions = [4096, 8192, 16384];
        for log_position in positions {
            world.announce(log_position);
            let node = next_random(&mut random) as usize % 4;
            world.run(next_random(&mut random) % (2 * SECOND_NS));
            world.network.cut_off(node, true);
            world.run(next_random(&mut random) % (4 * SECOND_NS));
            world.network.cut_off(node, false);
        }
        world.settle();
        world.run(30 * SECOND_NS);
        for member in &world.members {
            let mut stored = member.stored.clone();
            stored.dedup();
            assert_eq!(stored, member.stored, "seed {seed}: a set twice in {:?}", member.stored);
            for log_position in positions {
                let outcome = world.outcome(member.node as i32, log_position);
                let is_stored = member.stored.contains(&log_position);
                match outcome {
                    AnnouncementOutcome::Taken => {
                        taken_count += 1;
                        assert!(is_stored, "seed {seed}: {member_id} did not store", member_id = member.node);
                    }
                    AnnouncementOutcome::Refused { .. } | AnnouncementOutcome::Unreachable { .. } => {
                        assert!(!is_stored, "seed {seed}: {outcome:?}, but stored");
                    }
                    AnnouncementOutcome::Unknown { .. } => {}
                }
            }
        }
    }
    assert!(taken_count > 100, "the network lets something through: {taken_count}");
}
