//! What this node serves to others and hears from members, over a network that loses nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use consensus_tap::archive::Credentials;
use consensus_tap::authentication::SharedSecrets;
use consensus_tap::codec::consensus::ConsensusMessage;
use consensus_tap::endpoint::{Endpoint, EndpointEvent, NameLookups};
use consensus_tap::file::recording_log::SnapshotSet;
use consensus_tap::image::{FragmentAssembler, ImageKey, ImageSink, Refused, SubscriptionParams};
use consensus_tap::publication::{PublicationId, PublicationParams};
use consensus_tap::serving::{
    AllowList, AnnouncedMember, Announcement, Announcer, AnnouncerConfig, ConsensusServer,
    ConsensusServerConfig, LastTerm, Standing,
};
use consensus_tap::wire::data::frames;

use crate::script::Script;

const SECOND_NS: u64 = 1_000_000_000;
const CONSENSUS_STREAM_ID: i32 = 108;
const REQUEST_COUNT_MAX: usize = 8;
/// More than a member is told of at once, and streams that take leave.
const STREAM_COUNT_MAX: usize = 64;

/// Messages of a consensus stream in any order, to a server that challenges, and time between them.
///
/// A step is a byte: below 224 a message follows, as a block; above, time passes or the standing changes.
pub fn consensus_server(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut pair = Pair::new();
    pair.theirs.add_subscription(SubscriptionParams::new(CONSENSUS_STREAM_ID));
    let secrets = SharedSecrets { credentials: None, challenge_answer: Some(b"answer".to_vec()) };
    let config = ConsensusServerConfig {
        member_id: 100,
        endpoint: "standby:2".parse().expect("an endpoint"),
        allow_list: AllowList::default(),
        session_timeout_ns: 10 * SECOND_NS,
        request_count_max: REQUEST_COUNT_MAX,
        seed: 1,
    };
    let mut server = ConsensusServer::new(config, Box::new(secrets));
    let mut lookups = NameLookups::default();
    while !script.is_over() {
        let step = script.byte();
        match step {
            0..224 => server.on_message(script.block(), address(1), pair.now_ns, &mut lookups),
            224..248 => pair.now_ns += SECOND_NS / 2,
            _ => server.on_standing(Arc::new(standing(step))),
        }
        // A name that does not resolve, now and then.
        while let Some((lookup, _)) = lookups.poll() {
            let resolved = (step % 8 != 7).then(|| address(1));
            assert!(server.on_resolved(lookup, resolved, pair.now_ns, &mut pair.ours));
        }
        for _ in 0..4 {
            server.on_timeout(pair.now_ns, &mut pair.ours);
            pair.exchange();
        }
        for (_, answer) in pair.to_them.messages.drain(..) {
            assert!(ConsensusMessage::decode(&answer).is_ok_and(|answer| is_an_answer(&answer)));
        }
        while let Some(refused) = server.poll_refused() {
            assert!(!refused.reason.is_empty());
        }
        assert!(pair.ours.stream_count() <= REQUEST_COUNT_MAX);
    }
    let counters = server.counters();
    assert!(counters.answered + counters.refused + counters.timed_out <= counters.requests);
}

/// What a member may send where an announcement's answer is expected, between announcements and time.
///
/// A step is a byte: below 192 a message follows, as a block; above, the member closes its answer, a set is announced,
/// or time passes.
pub fn announcer(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut pair = Pair::new();
    pair.theirs.add_subscription(SubscriptionParams::new(CONSENSUS_STREAM_ID));
    let mut announcer = Announcer::new(AnnouncerConfig {
        endpoint: "standby:2".parse().expect("an endpoint"),
        consensus_stream_id: CONSENSUS_STREAM_ID,
        credentials: Credentials::ChallengeResponse { initial: b"a".to_vec(), answer: b"b".to_vec() },
        connect_timeout_ns: SECOND_NS,
        seed: 1,
    });
    let mut lookups = NameLookups::default();
    let (mut announced_count, mut outcome_count) = (0, 0);
    let mut heard = Vec::new();
    let mut answering: Option<PublicationId> = None;
    announcer.announce(&announcement(64));
    announced_count += 1;
    while !script.is_over() {
        match script.byte() {
            0..192 => {
                let message = script.block();
                if let Some(publication) = answering {
                    // What is longer than the stream allows is not sent.
                    let _ = pair.theirs.offer(publication, message);
                }
            }
            192..208 => {
                if let Some(publication) = answering.take() {
                    pair.theirs.close_publication(publication, pair.now_ns);
                }
            }
            208..224 => {
                announcer.announce(&announcement(64 * (1 + i64::from(script.byte()))));
                announced_count += 1;
            }
            224.. => pair.now_ns += SECOND_NS / 2,
        }
        for _ in 0..4 {
            while let Some((lookup, _)) = lookups.poll() {
                assert!(announcer.on_resolved(lookup, Some(address(1)), pair.now_ns, &mut pair.ours));
            }
            announcer.on_timeout(pair.now_ns, &mut pair.ours, &mut lookups);
            pair.exchange();
            for (key, message) in std::mem::take(&mut pair.to_us.messages) {
                announcer.on_message(key, &message, pair.now_ns, &mut pair.ours);
            }
            for event in std::mem::take(&mut pair.our_events) {
                if let EndpointEvent::ImageUnavailable { key, reason, .. } = event {
                    announcer.on_image_unavailable(key, reason, pair.now_ns, &mut pair.ours);
                }
            }
            for (_, message) in std::mem::take(&mut pair.to_them.messages) {
                match ConsensusMessage::decode(&message) {
                    Ok(ConsensusMessage::StandbySnapshot(snapshot)) => {
                        let log_position =
                            snapshot.snapshots.iter().next().expect("a row").snapshot.log_position;
                        assert!(heard.iter().all(|known| *known < log_position), "twice, or out of order");
                        heard.push(log_position);
                        let session_id = heard.len() as i32;
                        let params = PublicationParams::new(session_id, snapshot.response_stream_id);
                        answering = Some(pair.theirs.add_publication(params, address(0), pair.now_ns));
                    }
                    Ok(ConsensusMessage::ChallengeResponse(_)) => {}
                    other => panic!("a member is not sent {other:?}"),
                }
            }
        }
        while announcer.poll_outcome().is_some() {
            outcome_count += 1;
        }
        assert!(outcome_count <= announced_count);
        assert!(pair.ours.stream_count() <= STREAM_COUNT_MAX);
    }
}

fn is_an_answer(message: &ConsensusMessage<'_>) -> bool {
    use ConsensusMessage as M;
    matches!(message, M::BackupResponse(_) | M::HeartbeatResponse(_) | M::SessionEvent(_) | M::Challenge(_))
}

fn set(log_position: i64) -> SnapshotSet {
    SnapshotSet {
        leadership_term_id: 0,
        term_base_log_position: 0,
        log_position,
        timestamp: 0,
        consensus_module: 1,
        services: vec![2],
    }
}

fn announcement(log_position: i64) -> Announcement {
    let consensus_endpoint = "member:1".parse().expect("an endpoint");
    Announcement::new(&set(log_position), vec![AnnouncedMember { member_id: 0, consensus_endpoint }])
}

fn standing(step: u8) -> Standing {
    Standing {
        last_term: (!step.is_multiple_of(2)).then_some(LastTerm {
            log_recording_id: 0,
            leadership_term_id: 0,
            term_base_log_position: 0,
        }),
        commit_position_counter_id: 7,
        leader_member_id: 0,
        is_following: true,
        is_leading: false,
        cluster_members: "0,i:1,c:1,l:1,u:1,a:1".to_owned(),
        snapshot_sets: vec![set(4096), set(64)],
    }
}

fn address(node: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node + 1], 9000))
}

/// Two endpoints that hear nobody else.
struct Pair {
    now_ns: u64,
    ours: Endpoint,
    theirs: Endpoint,
    to_us: Messages,
    to_them: Messages,
    our_events: Vec<EndpointEvent>,
}

/// Whole messages, as they arrive.
#[derive(Default)]
struct Messages {
    assemblers: Vec<(ImageKey, FragmentAssembler)>,
    messages: Vec<(ImageKey, Vec<u8>)>,
}

impl Pair {
    fn new() -> Self {
        Self {
            now_ns: SECOND_NS,
            ours: Endpoint::new(1),
            theirs: Endpoint::new(2),
            to_us: Messages::default(),
            to_them: Messages::default(),
            our_events: Vec::new(),
        }
    }

    /// Lets a moment pass, in which what was sent arrives.
    fn exchange(&mut self) {
        self.now_ns += 1_000_000;
        let Self { now_ns, ours, theirs, to_us, to_them, our_events } = self;
        ours.on_timeout(*now_ns);
        theirs.on_timeout(*now_ns);
        our_events.extend(std::iter::from_fn(|| ours.poll_event()));
        while theirs.poll_event().is_some() {}
        let mut sent = Vec::new();
        ours.poll_transmit(*now_ns, &mut |run| sent.extend(run.datagrams().map(<[u8]>::to_vec)));
        for datagram in sent.drain(..) {
            theirs.on_datagram(&datagram, address(0), *now_ns, to_them);
        }
        theirs.poll_transmit(*now_ns, &mut |run| sent.extend(run.datagrams().map(<[u8]>::to_vec)));
        for datagram in sent {
            ours.on_datagram(&datagram, address(1), *now_ns, to_us);
        }
    }
}

impl ImageSink for Messages {
    fn append(&mut self, key: ImageKey, position: i64, bytes: &[u8]) -> Result<(), Refused> {
        let index = self.assemblers.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            self.assemblers.push((key, FragmentAssembler::new(64 * 1024)));
            self.assemblers.len() - 1
        });
        let mut position = position;
        for frame in frames(bytes).map(|frame| frame.expect("an endpoint checks frames")) {
            if let Some(message) = self.assemblers[index].1.on_frame(&frame, position) {
                self.messages.push((key, message.bytes.to_vec()));
            }
            position += frame.aligned_length() as i64;
        }
        Ok(())
    }
}
